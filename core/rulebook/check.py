"""What shape alone cannot say: names that do not exist, bounds that contradict, rules that can never match."""

from collections.abc import Iterable, Iterator

from core.mistakes import suggest
from core.records import ACTIVITY_KINDS, FIELD_TYPES
from core.rulebook.conditions import PROPERTIES, Test, When, Where
from core.rulebook.model import AccountRule, ActivityRule, AttributeRule, Bands, Decay, InactiveRule, Rulebook
from core.rulebook.values import DIMENSIONS
from core.titles import TITLE_RANKS
from core.yamltext import Path

Finding = tuple[Path, str]

_ORDER_TESTS = ("at_least", "at_most", "between")
_TEXT_TESTS = ("contains", "starts_with", "matches")


def check_rulebook(rulebook: Rulebook) -> Iterator[Finding]:
    """Every contradiction in a well-formed rulebook: path and what to change."""
    seen: dict[str, int] = {}
    for at, rule in enumerate(rulebook.rules):
        path: Path = ("rules", at)
        if rule.id in seen:
            yield (*path, "id"), f"the rule id {rule.id!r} is used twice (first in rules[{seen[rule.id]}])"
        seen.setdefault(rule.id, at)
        match rule:
            case AttributeRule():
                yield from _check_attribute(rule, path)
            case ActivityRule():
                yield from _check_activity(rule, path)
            case InactiveRule():
                yield from _check_inactive(rule, path)
            case AccountRule():
                pass
    yield from _check_dimensions(rulebook)
    yield from _check_bands(rulebook.bands, rulebook)
    yield from _check_handover(rulebook)


def _check_attribute(rule: AttributeRule, path: Path) -> Iterator[Finding]:
    if rule.when is not None:
        yield from _check_when(rule.when, (*path, "when"))
    if rule.field is None or rule.bins is None:
        return
    if rule.field not in FIELD_TYPES:
        yield (*path, "field"), _unknown("field", rule.field, FIELD_TYPES)
        return
    ranked = rule.field == "title_rank"
    if FIELD_TYPES[rule.field] != "number" and not ranked:
        yield (*path, "field"), f"{rule.field} is a text: bins need a number, or title_rank"
        return
    if not rule.bins:
        yield (*path, "bins"), "give at least one bin"
    before: float | None = None
    for at, step in enumerate(rule.bins):
        here = (*path, "bins", at)
        if step.below is None:
            if at != len(rule.bins) - 1:
                yield here, "only the last bin may leave out `below`: the bins after it can never match"
            continue
        wrong = _wrong_type(rule.field, step.below)
        if wrong:
            yield (*here, "below"), wrong
            continue
        edge = float(_rank(step.below) if ranked else step.below)
        if before is not None and edge <= before:
            yield (*here, "below"), "bins go upwards: this one can never match"
        if ranked and edge == 0:
            yield (*here, "below"), f"nothing is below {TITLE_RANKS[0]}: this bin can never match"
        before = edge


def _check_when(when: When, path: Path) -> Iterator[Finding]:
    groups = [("all", when.all), ("any", when.any), ("not", None if when.not_ is None else (when.not_,))]
    given = [name for name, parts in groups if parts is not None]
    asked = when.asked()
    if len(given) + (when.field is not None) != 1 or (given and asked):
        yield path, "a condition is one field with its tests, or one of all, any and not"
        return
    if when.field is None:
        for name, parts in groups:
            if parts == ():
                yield (*path, name), "give at least one condition"
            for at, part in enumerate(parts or ()):
                yield from _check_when(part, (*path, name) if name == "not" else (*path, name, at))
        return
    if when.field not in FIELD_TYPES:
        yield (*path, "field"), _unknown("field", when.field, FIELD_TYPES)
        return
    yield from _check_test(when, when.field, path)


def _check_where(where: Where, path: Path) -> Iterator[Finding]:
    groups = [("all", where.all), ("any", where.any), ("not", None if where.not_ is None else (where.not_,))]
    tests = [(name, getattr(where, name)) for name in PROPERTIES if getattr(where, name) is not None]
    if not tests and all(parts is None for _, parts in groups):
        yield path, "an empty condition: leave `where` out to match every activity"
    for name, test in tests:
        yield from _check_test(test, name, (*path, name))
    for name, parts in groups:
        if parts == ():
            yield (*path, name), "give at least one condition"
        for at, part in enumerate(parts or ()):
            yield from _check_where(part, (*path, name) if name == "not" else (*path, name, at))


def _check_test(test: Test, field: str, path: Path) -> Iterator[Finding]:
    asked = test.asked()
    if not asked:
        yield path, f"say what is asked of {field}: equals, in, contains, starts_with, at_least, at_most, between, …"
        return
    if test.exists is False and len(asked) > 1:
        yield path, f"{field} cannot be absent and pass another test: this can never match"
    ordered = _is_number(field) or field == "title_rank"
    for name in asked:
        if name in _ORDER_TESTS and not ordered:
            yield (*path, name), f"{field} is a text without order: {name} needs a number, or title_rank"
        elif name in _TEXT_TESTS and (_is_number(field) or field == "title_rank"):
            yield (*path, name), f"{field} is not free text: use equals, in, at_least, at_most or between"
        else:
            yield from _check_values(test, name, field, (*path, name))
    if ordered and not any(_wrong_type(field, value) for value in _ends(test)):
        low, high = span(test, field)
        exact = [
            _number(field, v)
            for v in ((test.equals,) if test.equals is not None else test.in_ or ())
            if not _wrong_type(field, v)
        ]
        if low > high or (exact and not any(low <= value <= high for value in exact)):
            yield path, f"these tests of {field} contradict each other: this can never match"
    if test.equals is not None and test.in_ is not None and test.equals not in test.in_:
        yield path, f"{field} cannot equal a value that `in` does not list: this can never match"


def _check_values(test: Test, name: str, field: str, path: Path) -> Iterator[Finding]:
    value = getattr(test, "in_" if name == "in" else name)
    if name in ("exists", *_TEXT_TESTS):
        return
    if value == ():
        yield path, "an empty list: this can never match"
    for single in value if isinstance(value, tuple) else (value,):
        wrong = _wrong_type(field, single)
        if wrong:
            yield path, wrong


def _ends(test: Test) -> list[object]:
    return [v for v in (test.at_least, test.at_most, *(test.between or ())) if v is not None]


def span(test: Test, field: str) -> tuple[float, float]:
    """The closed range that at_least, at_most and between leave of an ordered field (a rank counts by its position)."""
    lows = [_number(field, v) for v in (test.at_least, (test.between or (None,))[0]) if v is not None]
    highs = [_number(field, v) for v in (test.at_most, (test.between or (None, None))[1]) if v is not None]
    return max(lows, default=float("-inf")), min(highs, default=float("inf"))


def _number(field: str, value: object) -> float:
    return float(_rank(value) if field == "title_rank" else str(value))


def _rank(value: object) -> int:
    return TITLE_RANKS.index(str(value))


def _is_number(field: str) -> bool:
    return field == "duration" or FIELD_TYPES.get(field) == "number"


def _wrong_type(field: str, value: object) -> str | None:
    if field == "title_rank":
        return None if value in TITLE_RANKS else _unknown("title rank", str(value), TITLE_RANKS)
    if _is_number(field) and isinstance(value, str):
        return f"{field} is a number, {value!r} is a text"
    if not _is_number(field) and not isinstance(value, str):
        return f"{field} is a text: put {value!r} in quotes"
    return None


def _check_activity(rule: ActivityRule, path: Path) -> Iterator[Finding]:
    if not rule.on:
        yield (*path, "on"), "name at least one activity kind"
    for kind in rule.on:
        if kind not in ACTIVITY_KINDS:
            yield (*path, "on"), _unknown("activity kind", kind, ACTIVITY_KINDS)
    if len(set(rule.on)) != len(rule.on):
        yield (*path, "on"), "an activity kind is named twice"
    if rule.where is not None:
        yield from _check_where(rule.where, (*path, "where"))
    yield from _check_clamp(rule.cap, rule.floor, path)
    if rule.points > 0 and rule.cap is not None and rule.cap <= 0:
        yield (*path, "cap"), "a rule that gives points needs a cap above 0: it could never give any"
    if rule.points < 0 and rule.floor is not None and rule.floor >= 0:
        yield (*path, "floor"), "a rule that takes points needs a floor below 0: it could never take any"
    if rule.decay is not None and _is_immediate(rule.decay) and rule.points:
        yield (*path, "decay"), "this decay leaves nothing after one day: use `window: 1d`, which says so"


def _is_immediate(decay: Decay) -> bool:
    return decay.linear is not None and decay.linear.to_zero == 1


def _check_inactive(rule: InactiveRule, path: Path) -> Iterator[Finding]:
    if rule.points >= 0:
        yield (*path, "points"), "silence is a deduction: write a negative number of points"
    if rule.floor is not None and rule.floor >= 0:
        yield (*path, "floor"), "the floor of a deduction is below 0: it could never take any points"
    if len(set(rule.unless)) != len(rule.unless):
        yield (*path, "unless"), "an exception is named twice"


def _check_clamp(cap: int | None, floor: int | None, path: Path) -> Iterator[Finding]:
    if cap is not None and floor is not None and floor > cap:
        yield (*path, "floor"), f"the floor {floor} lies above the cap {cap}"
    if cap is not None and cap < 0:
        yield (*path, "cap"), "a cap is 0 or more"
    if floor is not None and floor > 0:
        yield (*path, "floor"), "a floor is 0 or less: it would give points for nothing"


def _check_dimensions(rulebook: Rulebook) -> Iterator[Finding]:
    for name in DIMENSIONS:
        bounds = rulebook.dimensions.bounds(name)
        yield from _check_clamp(bounds.cap, bounds.floor, ("dimensions", name))


def _check_bands(bands: Bands, rulebook: Rulebook) -> Iterator[Finding]:
    ordered = bands.ordered()
    if bands.D.needs():
        yield ("bands", "D"), "D takes everyone the other bands leave: it has no conditions"
    for name, band in ordered:
        for part, points in band.needs().items():
            cap = 100 if part == "total" else rulebook.dimensions.bounds(part).cap  # type: ignore[arg-type]
            if cap is not None and points > cap:
                yield ("bands", name, part), f"{points} can never be reached: {part} ends at {cap}"
            if part == "total" and points < 0:
                yield ("bands", name, part), "a total lies between 0 and 100"
    for at, (lower, low) in enumerate(ordered):
        for higher, high in ordered[:at]:
            if all(points <= low.needs().get(part, -(10**6)) for part, points in high.needs().items()):
                yield ("bands", lower), f"nobody can ever be {lower}: whoever meets it is already {higher}"
                break
            above, below = high.total, low.total
            if above is not None and below is not None and above < below:
                yield ("bands", lower, "total"), f"{lower} asks for a higher total ({below}) than {higher} ({above})"
                break


def _check_handover(rulebook: Rulebook) -> Iterator[Finding]:
    handover = rulebook.handover
    needed = dict(rulebook.bands.ordered())[handover.band].total
    if handover.band == "D":
        yield ("handover", "band"), "everyone is at least D: hand over from A, B or C"
    if not 0 <= handover.rearm_below <= 100:
        yield ("handover", "rearm_below"), "a total lies between 0 and 100"
    elif needed is not None and handover.rearm_below > needed:
        yield (
            ("handover", "rearm_below"),
            f"{handover.rearm_below} lies above what {handover.band} needs ({needed}): nobody could leave and return",
        )


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    return f"unknown {what} {name!r}{suggest(name, known)}"
