"""The oracle: the score of one person at one moment, as naively as it can be said, from the specification alone.

Loops over dict rows of the fact tables; no table, no SQL, no expression. Slow on purpose, and independent of
`core.scoring`: of ours it reads only the rulebook's values and the vocabulary.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable
from datetime import date, timedelta
from decimal import ROUND_FLOOR, Decimal, localcontext
from typing import Any

from core.records import ACTIVITY_KINDS, FIELD_TYPES, HUMAN_KINDS
from core.rulebook import AccountRule, ActivityRule, AttributeRule, DealRule, DimensionName, InactiveRule, Rulebook
from core.titles import TITLE_RANKS

Row = dict[str, Any]
DIMENSIONS: tuple[DimensionName, ...] = ("fit", "engagement", "relationship")
HUMAN_CODES = {ACTIVITY_KINDS[kind] for kind in HUMAN_KINDS}


def half_up(value: Decimal) -> int:
    return int((value + Decimal("0.5")).to_integral_value(ROUND_FLOOR))


def fold(text: str, field: str) -> str:
    return text if field == "url" else text.lower()


def passes(test: Any, field: str, value: Any) -> bool | None:
    """Three-valued: None where the value is unknown."""
    known = value is not None and value != ""
    verdicts: list[bool | None] = []
    if test.exists is not None:
        verdicts.append(known == test.exists)
    ranked = field == "title_rank"

    def order(v: Any) -> Any:
        return TITLE_RANKS.index(v) if ranked else v

    is_text = not ranked and field != "duration" and FIELD_TYPES.get(field, "string") == "string"

    def same(a: Any, b: Any) -> bool:
        if not is_text:
            return bool(a == b)
        both = [b] if field == "url" else [b, unicodedata.normalize("NFKC", b)]
        return fold(a, field) in [fold(x, field) for x in both]

    def some(texts: tuple[str, ...], how: Any) -> bool:
        forms = [
            t for text in texts for t in ([text] if field == "url" else [text, unicodedata.normalize("NFKC", text)])
        ]
        return any(how(fold(value, field), fold(form, field)) for form in forms)

    asked: dict[str, Callable[[], bool]] = {
        "equals": lambda: same(value, test.equals),
        "in_": lambda: any(same(value, choice) for choice in test.in_),
        "contains": lambda: some(test.contains, lambda a, b: b in a),
        "starts_with": lambda: some(test.starts_with, lambda a, b: a.startswith(b)),
        "at_least": lambda: order(value) >= order(test.at_least),
        "at_most": lambda: order(value) <= order(test.at_most),
        "between": lambda: order(test.between[0]) <= order(value) <= order(test.between[1]),
        "matches": lambda: (
            re.search(test.matches, value, re.DOTALL | (0 if field == "url" else re.IGNORECASE)) is not None
        ),
    }
    verdicts += [ask() if known else None for name, ask in asked.items() if getattr(test, name) is not None]
    return conjunction(verdicts)


def conjunction(verdicts: list[bool | None]) -> bool | None:
    return False if False in verdicts else None if None in verdicts else True


def holds(node: Any, values: Row, names: tuple[str, ...]) -> bool | None:
    verdicts = [passes(getattr(node, n), n, values[n]) for n in names if getattr(node, n, None) is not None]
    if getattr(node, "field", None) is not None:
        verdicts.append(passes(node, node.field, values[node.field]))
    if node.all is not None:
        verdicts.append(conjunction([holds(part, values, names) for part in node.all]))
    if node.any is not None:
        found = [holds(part, values, names) for part in node.any]
        verdicts.append(True if True in found else None if None in found else False)
    if node.not_ is not None:
        inner = holds(node.not_, values, names)
        verdicts.append(None if inner is None else not inner)
    return conjunction(verdicts)


def weight(rule: ActivityRule, age: int) -> int:
    with localcontext() as context:
        context.prec = 50
        share = Decimal(1)
        if rule.decay and rule.decay.half_life:
            share = Decimal(2) ** (Decimal(-age) / rule.decay.half_life)
        elif rule.decay and rule.decay.linear:
            left = max(0, rule.decay.linear.to_zero - age)
            return half_up(rule.points * 1000 * left / rule.decay.linear.to_zero)
        elif rule.decay and rule.decay.step:
            share = max(Decimal(0), 1 - rule.decay.step.drop / 100 * (age // rule.decay.step.every))
        return half_up(rule.points * 1000 * share)


def bucket(day: int, per: str | None) -> object:
    on = date(1970, 1, 1) + timedelta(days=day)
    return {None: 0, "day": on, "week": on.isocalendar()[:2], "month": (on.year, on.month)}[per]


def clamp(value: int, cap: int | None, floor: int | None) -> int:
    value = value if cap is None else min(value, cap)
    return value if floor is None else max(value, floor)


class Oracle:
    """Scores over one set of facts."""

    def __init__(self, rulebook: Rulebook, facts: dict[str, list[Row]]) -> None:
        self.rulebook, self.facts = rulebook, facts
        self.people = {row["person_id"]: row for row in facts["person"]}

    def known(self, person_id: int, as_of: int) -> list[Row]:
        rows = [a for a in self.facts["activity"] if a["person_id"] == person_id]
        return [a for a in rows if a["occurred_at"] <= as_of and a["known_at"] <= as_of]

    def human(self, person_id: int, as_of: int) -> list[Row]:
        return [a for a in self.known(person_id, as_of) if a["kind"] in HUMAN_CODES and not a["suspect"]]

    def fields(self, person: Row, as_of: int) -> Row:
        if person["created_at"] > as_of:
            return dict.fromkeys(FIELD_TYPES)
        values = {name: person[name] for name in FIELD_TYPES}
        later = [c for c in self.facts["change"] if c["person_id"] == person["person_id"] and c["at"] > as_of]
        for change in sorted(later, key=lambda c: (c["at"], c["id"]), reverse=True):
            number = FIELD_TYPES[change["field"]] == "number"
            values[change["field"]] = float(change["old"]) if number and change["old"] is not None else change["old"]
        return values

    def deals(self, person: Row, snap: Row, state: str, within: int | None, of: str) -> list[int]:
        """The days of the deals in a state."""
        mine = {row["deal_id"] for row in self.facts["deal_person"] if row["person_id"] == person["person_id"]}
        if of == "account" and person["company_id"] is not None:
            mine = {d["deal_id"] for d in self.facts["deal"] if d["company_id"] == person["company_id"]}
        days = []
        for deal in self.facts["deal"]:
            if deal["deal_id"] not in mine or deal["created_at"] > snap["as_of"]:
                continue
            closed = deal["closed_at"] is not None and deal["closed_at"] <= snap["as_of"]
            undated = (deal["won"] or deal["lost"]) and deal["closed_at"] is None
            in_state = {
                "won": deal["won"] and closed,
                "lost": deal["lost"] and closed,
                "open": not closed and not undated,
                "created": True,
            }[state]
            day = deal["closed_day"] if state in ("won", "lost") else deal["created_day"]
            if in_state and (within is None or snap["day"] - day < within):
                days.append(day)
        return days

    def activity(self, rule: ActivityRule, snap: Row) -> Row:
        kinds = {ACTIVITY_KINDS[kind] for kind in rule.on}
        names = ("url", "asset", "campaign", "channel", "direction", "duration")
        matching = [a for a in self.known(snap["person_id"], snap["as_of"]) if a["kind"] in kinds]
        matching = [a for a in matching if rule.where is None or holds(rule.where, a, names) is True]
        aged = [(snap["day"] - a["day"], a) for a in matching]
        aged = [(age, a) for age, a in aged if rule.window is None or age < rule.window]
        result: Row = {"raw": 0, "held": 0, "newest": None, "count": 0, "machine": False}
        if rule.at_least is not None:
            within = rule.at_least.within
            ok = [1 for age, a in aged if not a["suspect"] and not a["duplicate"] and (within is None or age < within)]
            if len(ok) < rule.at_least.count:
                return result
        for name, wanted in (("raw", False), ("held", True)):
            buckets = defaultdict(list)
            for age, a in aged:
                if (a["suspect"] or a["duplicate"]) == wanted:
                    buckets[bucket(a["day"], rule.limit.per if rule.limit else None)].append((age, a))
            for rows in buckets.values():
                rows.sort(key=lambda pair: pair[0])
                kept = rows if rule.limit is None else rows[: rule.limit.count]
                earning = [age for age, _ in kept if weight(rule, age)]
                result[name] += sum(weight(rule, age) for age in earning)
                if not wanted and earning:
                    result["count"] += len(earning)
                    newest = snap["day"] - min(earning)
                    result["newest"] = newest if result["newest"] is None else max(newest, result["newest"])
        return result

    def rule(self, rule: Any, person: Row, snap: Row) -> tuple[Row, bool]:
        """What a rule gives before its cap and floor, and whether it cannot be decided."""
        none = {"raw": 0, "held": 0, "newest": None, "count": 0, "machine": False}
        if isinstance(rule, ActivityRule):
            return self.activity(rule, snap), False
        points = half_up(rule.points * 1000) if rule.points is not None else 0
        if isinstance(rule, AttributeRule):
            values = self.fields(person, snap["as_of"])
            if rule.when is not None:
                verdict = None if person["created_at"] > snap["as_of"] else holds(rule.when, values, ())
                return none | {"raw": points if verdict else 0}, verdict is None
            value = values[rule.field or ""]
            if value is None or value == "":
                return none, True
            rank = TITLE_RANKS.index if rule.field == "title_rank" else float
            for step in rule.bins or ():
                if step.below is None or rank(value) < rank(step.below):
                    return none | {"raw": half_up(step.points * 1000)}, False
            return none, False
        if isinstance(rule, InactiveRule):
            acts = self.human(person["person_id"], snap["as_of"])
            off = {
                "open_deal": bool(self.deals(person, snap, "open", None, "account")),
                "recontact_on_ahead": (person["recontact_on"] or -1) > snap["day"],
                "opted_out": bool(person["opted_out"]),
            }
            if not acts or any(off[reason] for reason in rule.unless):
                return none, False
            periods = (snap["day"] - max(a["day"] for a in acts)) // rule.inactive.for_
            return none | {"raw": points * (periods if rule.inactive.repeat else min(1, periods))}, False
        if isinstance(rule, DealRule):
            test = rule.deal.test
            days = self.deals(person, snap, rule.deal.state, test.within, rule.deal.of)
        else:
            assert isinstance(rule, AccountRule)
            test, days = rule.account.people_active, []
            for other in self.people.values():
                if person["company_id"] is None or other["company_id"] != person["company_id"]:
                    continue
                acts = self.human(other["person_id"], snap["as_of"])
                last = max((a["day"] for a in acts), default=None)
                if last is not None and (test.within is None or snap["day"] - last < test.within):
                    days.append(last)
        return (none | {"raw": points, "newest": max(days)} if len(days) >= test.at_least else none), False

    def score(self, snap: Row) -> tuple[Row, list[Row]]:
        """The score, and its lines (rule, cap, floor, rounding, clamp, withheld), at one snapshot."""
        person = self.people[snap["person_id"]]
        lines: list[Row] = []

        def line(
            rule_id: str, dimension: str, kind: str, milli: int, newest: int | None = None, count: int = 0
        ) -> None:
            if milli:
                lines.append({"rule_id": rule_id, "dimension": dimension, "kind": kind, "milli": milli,
                              "newest_day": newest, "count": count})  # fmt: skip

        sums, held_sum, missing = dict.fromkeys(DIMENSIONS, 0), 0, 0
        for rule in self.rulebook.rules:
            given, unknown = self.rule(rule, person, snap)
            missing += unknown
            cap, floor = (
                None if b is None else b * 1000 for b in (getattr(rule, "cap", None), getattr(rule, "floor", None))
            )
            inside = clamp(given["raw"], cap, floor)
            line(rule.id, rule.dimension, "rule", given["raw"], given["newest"], given["count"])
            line(rule.id, rule.dimension, "cap" if inside < given["raw"] else "floor", inside - given["raw"])
            sums[rule.dimension] += inside
            held = clamp(given["held"], cap, floor)
            line(rule.id, rule.dimension, "withheld", held)
            held_sum += held
        score: Row = {"missing": missing, "withheld": (held_sum + 500) // 1000}
        for name in DIMENSIONS:
            rounded = (sums[name] + 500) // 1000
            bounds = self.rulebook.dimensions.bounds(name)
            score[name] = clamp(rounded, bounds.cap, bounds.floor)
            line("", name, "rounding", rounded * 1000 - sums[name])
            line("", name, "clamp", (score[name] - rounded) * 1000)
        score["priority"] = sum(score[name] for name in DIMENSIONS)
        score["total"] = max(0, min(100, score["priority"]))
        line("", "", "clamp", (score["total"] - score["priority"]) * 1000)
        for letter, band in reversed(self.rulebook.bands.ordered()):
            if all(score[part] >= points for part, points in band.needs().items()):
                score["band"] = letter
        acts = self.human(person["person_id"], snap["as_of"])
        score["last_human_at"] = max((a["occurred_at"] for a in acts), default=None)
        return score, lines
