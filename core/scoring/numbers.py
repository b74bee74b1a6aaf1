"""A rulebook's numbers as small tables: rules, triggers and decay weights. Decimal arithmetic, integer results.

`weight` holds the milli-points of every (rule, age in days) under one dense key, `slot`; a rule's row for age a is
`first_slot + min(a, last_age)`, and its last row is what all greater ages earn. Slot 0 earns nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_FLOOR, Context, Decimal

from core.records import ACTIVITY_KINDS
from core.rulebook import DIMENSIONS, ActivityRule, InactiveRule, Rulebook
from core.rulebook.model import Linear, Step

Rows = Sequence[Mapping[str, object]]

WITHOUT_LIMIT, ONE_PER_BUCKET, SEVERAL_PER_BUCKET = 0, 1, 2
BUCKETS = {None: 0, "day": 1, "week": 2, "month": 3}
UNBOUNDED = 1_000_000
"""Days: more than any age."""
BOUNDLESS = 10**15
"""Milli-points: more than any sum."""

PARTS = (
    *((at, name, "rounding") for at, name in enumerate(DIMENSIONS)),
    *((3 + at, name, "clamp") for at, name in enumerate(DIMENSIONS)),
    (6, "", "clamp"),
)
"""The lines every score has besides its rules: rounding and clamp of each dimension, clamp of the total."""

_EXACT = Context(prec=40)
_OLDEST = 40_000  # days; no fact is older than a century


def weights(rule: ActivityRule) -> list[int]:
    """Milli-points of one activity by age in days, up to the age from which they never change again.

    Points x decay, rounded half up (`floor(x + .5)`), in decimal arithmetic: whole half-lives and straight lines come
    out exact, so that ties round the same way everywhere.
    """
    points = rule.points * 1000
    decay = rule.decay
    if decay is None:
        return [_half_up(points)]
    last = min(rule.window or UNBOUNDED, _OLDEST)
    if decay.half_life is not None:
        worth = _halves(points, decay.half_life)
    elif decay.linear is not None:
        worth = _line(points, decay.linear)
    else:
        assert decay.step is not None  # Decay has exactly one form
        worth = _steps(points, decay.step)
    column: list[int] = []
    for age in range(last):
        column.append(_half_up(worth(age)))
        if column[-1] == 0:
            break
    return column


def _halves(points: Decimal, half_life: int) -> Callable[[int], Decimal]:
    shares = [_EXACT.power(2, _EXACT.divide(Decimal(-day), Decimal(half_life))) for day in range(half_life)]
    return lambda age: _EXACT.divide(_EXACT.multiply(points, shares[age % half_life]), Decimal(2 ** (age // half_life)))


def _line(points: Decimal, linear: Linear) -> Callable[[int], Decimal]:
    # Multiplied before divided: 3 x 5/6 is a tie, 3 x 0.8333… is not.
    return lambda age: _EXACT.divide(points * max(0, linear.to_zero - age), Decimal(linear.to_zero))


def _steps(points: Decimal, step: Step) -> Callable[[int], Decimal]:
    return lambda age: _EXACT.multiply(points, max(Decimal(0), 1 - step.drop * (age // step.every) / 100))


def _half_up(value: Decimal) -> int:
    return int((value + Decimal("0.5")).to_integral_value(ROUND_FLOOR))


def rule_rows(rulebook: Rulebook) -> Rows:
    """One row per rule, in the order of the file: `rule` is its position."""
    rows = []
    for code, rule in enumerate(rulebook.rules):
        is_activity = isinstance(rule, ActivityRule)
        cap = rule.cap if isinstance(rule, ActivityRule) else None
        floor = rule.floor if isinstance(rule, ActivityRule | InactiveRule) else None
        gate = rule.at_least.count if isinstance(rule, ActivityRule) and rule.at_least else 0
        rows.append(
            {
                "rule": code,
                "rule_id": rule.id,
                "dimension": DIMENSIONS.index(rule.dimension),
                "is_state": not is_activity,
                "need": gate,
                "cap": BOUNDLESS if cap is None else cap * 1000,
                "floor": -BOUNDLESS if floor is None else floor * 1000,
            }
        )
    return rows


def trigger_and_weight_rows(rulebook: Rulebook) -> tuple[Rows, Rows]:
    """The triggers (activity kind to rule, with its window, limit and gate) and the weights they point into."""
    triggers: list[dict[str, object]] = []
    slots: list[dict[str, object]] = [{"slot": 0, "milli": 0}]
    for code, rule in enumerate(rulebook.rules):
        if not isinstance(rule, ActivityRule) or not rule.points:
            continue
        column = weights(rule)
        window = rule.window or UNBOUNDED
        gate = min(window, rule.at_least.within or UNBOUNDED) if rule.at_least else 0
        fades = column[-1] == 0
        # Older than this, an activity neither earns nor opens the gate: dropping it early changes nothing.
        reach = min(window, max(len(column) - 1, gate)) if fades else window
        stream, per, keep = WITHOUT_LIMIT, 0, 0
        if rule.limit is not None:
            stream = ONE_PER_BUCKET if rule.limit.count == 1 else SEVERAL_PER_BUCKET
            per, keep = BUCKETS[rule.limit.per], rule.limit.count
        trigger = {
            "rule": code,
            "stream": stream,
            "per": per,
            "keep": keep,
            "reach": reach,
            "gate_reach": gate,
            "last_age": len(column) - 1,
            "first_slot": len(slots),
        }
        triggers += [{"kind": ACTIVITY_KINDS[kind], **trigger} for kind in rule.on]
        slots += [{"slot": len(slots) + age, "milli": value} for age, value in enumerate(column)]
    return triggers, slots


def part_rows() -> Rows:
    """The rows of `part`."""
    return [{"part": part, "dimension": dimension, "kind": kind} for part, dimension, kind in PARTS]


def number_tables(rulebook: Rulebook) -> dict[str, Rows]:
    """Rows of the number tables (`rule`, `trigger`, `weight`, `part`) by name."""
    triggers, weights = trigger_and_weight_rows(rulebook)
    return {"rule": rule_rows(rulebook), "trigger": triggers, "weight": weights, "part": part_rows()}
