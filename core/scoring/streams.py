"""Activity rules: activities to milli-points per (snapshot, rule).

One join on the activity kind, predicates as code, numbers as tables; then three streams that differ only in how much
work a limit is: none, one per bucket (a minimum), several per bucket (a row number). No tie-break is needed inside a
limit: equal age, equal points.
"""

from collections.abc import Sequence
from functools import reduce

import ibis
from ibis.expr.types import BooleanValue, IntegerValue, Table

from core.records import ACTIVITY_KINDS
from core.rulebook import ActivityRule, Rulebook
from core.rulebook.needs import properties_tested
from core.scoring.facts import table
from core.scoring.numbers import ONE_PER_BUCKET, SEVERAL_PER_BUCKET, WITHOUT_LIMIT
from core.scoring.predicates import holds_where

_ACTIVITY = ("person_id", "kind", "occurred_at", "known_at", "day", "suspect", "duplicate")

_MONTH_EPOCH = 25_508
"""Days from 1900-03-01 to 1970-01-01, plus the offset that makes the integer month formula start there."""


def points_by_rule(rulebook: Rulebook, snapshot: Table, *, detail: bool) -> Table | None:
    """What activities earn: one row per (snapshot, activity rule) with something to say; None without such rules.

    Columns: snapshot_id, rule, raw (milli-points before cap and floor), held (the same of suspects and duplicates,
    ranked alone), and with `detail` also newest_age (days), count (activities that earned points) and machine (whether
    a machine-suspect is among those held).
    """
    streams = [_stream(rulebook, stream, snapshot, detail=detail) for stream in _streams(rulebook)]
    if not streams:
        return None
    hits = streams[0] if len(streams) == 1 else ibis.union(streams[0], *streams[1:])
    hits = hits.join(table("weight"), "slot")
    clean = ~hits.off
    sums = {
        "raw": hits.milli.sum(where=clean).fill_null(0),
        "held": hits.milli.sum(where=hits.off).fill_null(0),
        "gate": hits.gate.sum(),
    }
    if detail:
        earned = clean & (hits.milli != 0)
        sums |= {
            "newest_age": hits.age.min(where=earned),
            "count": hits.count(where=earned),
            "machine": hits.machine.max(where=hits.off & (hits.milli != 0)).fill_null(0),
        }
    sums = sums if _gated(rulebook) else {name: value for name, value in sums.items() if name != "gate"}
    by_rule = hits.group_by("snapshot_id", "rule").aggregate(**sums)
    if _gated(rulebook):
        needs = table("rule").select("rule", "need")
        by_rule = by_rule.join(needs, "rule").filter(lambda t: t.gate >= t.need).drop("gate", "need")
    return by_rule


def _rules(rulebook: Rulebook) -> list[tuple[int, ActivityRule]]:
    return [(code, rule) for code, rule in enumerate(rulebook.rules) if isinstance(rule, ActivityRule) and rule.points]


def _gated(rulebook: Rulebook) -> bool:
    return any(rule.at_least is not None for _, rule in _rules(rulebook))


def _stream_of(rule: ActivityRule) -> int:
    if rule.limit is None:
        return WITHOUT_LIMIT
    return ONE_PER_BUCKET if rule.limit.count == 1 else SEVERAL_PER_BUCKET


def _streams(rulebook: Rulebook) -> list[int]:
    return sorted({_stream_of(rule) for _, rule in _rules(rulebook)})


def _stream(rulebook: Rulebook, stream: int, snapshot: Table, *, detail: bool) -> Table:
    rules = [(code, rule) for code, rule in _rules(rulebook) if _stream_of(rule) == stream]
    hits = _matches(rules, snapshot, stream)
    columns = ["snapshot_id", "rule", "off", "slot", "gate", *(("age", "machine") if detail else ())]
    if stream == WITHOUT_LIMIT:
        return _typed(hits.select(columns))
    hits = hits.mutate(bucket=_bucket(rules, hits))
    keys = ["snapshot_id", "rule", "off", "bucket"]
    if stream == ONE_PER_BUCKET:
        newest = {"slot": hits.slot.min(), "gate": hits.gate.sum()}
        if detail:
            newest |= {"age": hits.age.min(), "machine": hits.machine.max()}
        return _typed(hits.group_by(keys).aggregate(**newest).select(columns))
    rank = ibis.row_number().over(ibis.window(group_by=keys, order_by=hits.age))
    ranked = hits.mutate(rank=rank)
    # Ranked out: earns nothing, and still opens its rule's gate.
    slot = ibis.ifelse(ranked["rank"] < ranked.keep, ranked.slot, ibis.literal(0, "int32"))
    return _typed(ranked.mutate(slot=slot).select(columns))


def _typed(hits: Table) -> Table:
    """The same column types from every stream, so that they can be united."""
    types = {"slot": "int32", "gate": "int64", "age": "int32", "machine": "int32"}
    return hits.mutate(**{name: hits[name].cast(kind) for name, kind in types.items() if name in hits.columns})


def _matches(rules: Sequence[tuple[int, ActivityRule]], snapshot: Table, stream: int) -> Table:
    """Activities known at the snapshot, by rule, young enough to count; the newest of a rule has its lowest slot."""
    activity = table("activity")
    kinds = sorted({ACTIVITY_KINDS[kind] for _, rule in rules for kind in rule.on})
    trigger = table("trigger").filter(lambda t: t.stream == stream).drop("stream")
    asked = sorted({name for _, rule in rules for name in properties_tested(rule.where)})
    found = activity.filter(activity.kind.isin(kinds)).select(*_ACTIVITY, *asked).join(trigger, "kind")
    conditions = [
        (code, holds_where(rule.where, lambda name: found[name])) for code, rule in rules if rule.where is not None
    ]
    if conditions:
        found = found.filter(_chosen(found.rule, conditions))
    hits = found.join(snapshot.select("snapshot_id", "person_id", "as_of", snapshot_day=snapshot.day), "person_id")
    age = (hits.snapshot_day - hits.day).cast("int32")
    hits = hits.filter(hits.occurred_at <= hits.as_of, hits.known_at <= hits.as_of, age < hits.reach)
    age = (hits.snapshot_day - hits.day).cast("int32")
    off = hits.suspect | hits.duplicate
    gated = any(rule.at_least is not None for _, rule in rules)
    opens = (~off & (age < hits.gate_reach)).cast("int32") if gated else ibis.literal(0, "int32")
    return hits.select(
        "snapshot_id",
        "rule",
        "per",
        "keep",
        "day",
        off=off,
        age=age,
        machine=hits.suspect.cast("int32"),
        slot=(hits.first_slot + ibis.least(age, hits.last_age)).cast("int32"),
        gate=opens,
    )


def _chosen(rule: IntegerValue, conditions: Sequence[tuple[int, BooleanValue]]) -> BooleanValue:
    return ibis.cases(*((rule == code, condition) for code, condition in conditions), else_=True)


def _bucket(rules: Sequence[tuple[int, ActivityRule]], hits: Table) -> IntegerValue:
    """A number for the calendar bucket of a local day, by integer arithmetic only (valid 1900-03 to 2100-02)."""
    used = {rule.limit.per for _, rule in rules if rule.limit is not None}
    day = hits.day.cast("int64")
    branches = []
    if "day" in used:
        branches.append((hits.per == 1, day))
    if "week" in used:
        branches.append((hits.per == 2, (day + 3) // 7))  # 1970-01-01 was a Thursday; ISO weeks start on Monday
    if "month" in used:
        z = day + _MONTH_EPOCH
        year = (4 * z + 3) // 1461
        branches.append((hits.per == 3, year * 12 + (5 * (z - 1461 * year // 4) + 2) // 153))
    zero = ibis.literal(0, "int64")
    return ibis.cases(*branches, else_=zero) if branches else zero


def combine(values: Sequence[IntegerValue]) -> IntegerValue:
    """The sum of columns; 0 of none."""
    return reduce(lambda left, right: left + right, values, ibis.literal(0, "int64"))
