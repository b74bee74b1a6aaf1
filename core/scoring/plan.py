"""A rulebook compiled: Ibis expressions over the tables of `core.scoring.facts`. Pure; whoever runs it reads no clock.

Integer arithmetic only: milli-points, rounded per dimension as `floor(x + .5)`. Lines sum exactly to the total shown.
"""

from functools import cached_property, reduce
from operator import and_

import ibis
from ibis.expr.types import IntegerValue, StringValue, Table

from core.records import DAY_MS
from core.rulebook import DIMENSIONS, DimensionName, InactiveRule, Rulebook
from core.scoring.facts import table
from core.scoring.states import States, build_states
from core.scoring.streams import combine, points_by_rule

TREND_DAYS = 7
TREND_POINTS = 3


class ScoringPlan:
    """What to run over the facts and the rulebook's numbers. Each part is built when it is first asked for."""

    def __init__(self, rulebook: Rulebook) -> None:
        self._rulebook = rulebook

    @cached_property
    def totals(self) -> Table:
        """For every row of `snapshot`: snapshot_id, person_id, as_of, fit, engagement, relationship, priority, total,
        withheld (points), missing, band, last_human_at.
        """
        return _totals(self._rulebook)

    @cached_property
    def earned(self) -> Table:
        """For every row of `asked`, what each rule gave before its cap and floor; a step on the way to lines."""
        return _earned(self._rulebook)

    @cached_property
    def lines(self) -> Table:
        """Over a table `earned` that holds those rows, for every row of `asked`: snapshot_id, rule_id, dimension, kind
        (rule, cap, floor, rounding, clamp, withheld), milli, newest_day, count, machine. All but `withheld` sum to
        1000 x total.
        """
        return _lines(self._rulebook)

    @cached_property
    def trends(self) -> Table:
        """Over a table `total` that holds the totals of now and of seven days before: snapshot_id, trend, for the later
        snapshots.
        """
        return _trends()


def compile_rulebook(rulebook: Rulebook) -> ScoringPlan:
    """The expressions of a rulebook."""
    return ScoringPlan(rulebook)


def _totals(rulebook: Rulebook) -> Table:
    snapshot = table("snapshot")
    states = build_states(rulebook, snapshot)
    earned = points_by_rule(rulebook, snapshot, detail=False)
    base = states.table
    sums = {name: _state_sum(rulebook, states, at) for at, name in enumerate(DIMENSIONS)}
    scores = base.select(
        "snapshot_id",
        "person_id",
        "as_of",
        **{f"{name}_milli": value for name, value in sums.items()},
        missing=base.missing,
        last_human_at=base.last_human_at,
    )
    held: IntegerValue = ibis.literal(0, "int64")
    if earned is not None:
        by_snapshot = _by_snapshot(_clamped(earned))
        milli = {
            f"{name}_milli": scores[f"{name}_milli"] + by_snapshot[f"sum_{at}"].fill_null(0)
            for at, name in enumerate(DIMENSIONS)
        }
        kept = ["snapshot_id", "person_id", "as_of", "missing", "last_human_at"]
        scores = scores.left_join(by_snapshot, "snapshot_id").select(
            *(scores[name] for name in kept), held_milli=by_snapshot.held_milli.fill_null(0), **milli
        )
        held = scores.held_milli
    scores = scores.mutate(
        withheld=_rounded(held),
        **{name: _bounded(rulebook, name, _rounded(scores[f"{name}_milli"])) for name in DIMENSIONS},
    )
    scores = scores.mutate(priority=combine([scores[name] for name in DIMENSIONS]))
    scores = scores.mutate(total=_percent(scores.priority))
    return scores.mutate(band=_band(rulebook, scores)).select(*table("total").columns)


def _earned(rulebook: Rulebook) -> Table:
    asked = table("asked")
    sources = (_state_rows(build_states(rulebook, asked)), _activity_rows(rulebook, asked))
    rows = [part.select(*table("earned").columns) for part in sources if part is not None]
    if not rows:
        return table("earned").filter(ibis.literal(False))
    return rows[0] if len(rows) == 1 else ibis.union(rows[0], *rows[1:])


def _lines(rulebook: Rulebook) -> Table:
    asked = table("asked")
    ruled = _clamped(table("earned"))
    details = {"newest_day": ruled.newest_day, "count": ruled["count"]}
    nothing = {"newest_day": ibis.null("int32"), "count": ibis.literal(0, "int64")}
    own = {"dimension": _named(ruled.dimension), "machine": ibis.literal(False)}
    key = ["snapshot_id", "rule_id"]
    lines = ibis.union(
        ruled.filter(ruled.raw != 0).select(*key, kind=ibis.literal("rule"), milli=ruled.raw, **own, **details),
        ruled.filter(ruled.clean != ruled.raw).select(
            *key,
            kind=ibis.ifelse(ruled.clean < ruled.raw, "cap", "floor"),
            milli=ruled.clean - ruled.raw,
            **own,
            **nothing,
        ),
        ruled.filter(ruled.held != 0).select(
            *key,
            kind=ibis.literal("withheld"),
            milli=ruled.held,
            **(own | {"machine": ruled.machine > 0}),
            **nothing,
        ),
        _part_rows(rulebook, asked, _by_snapshot(ruled)).select(
            "snapshot_id", "rule_id", "kind", "milli", "dimension", "machine", "newest_day", "count"
        ),
    )
    return lines.select("snapshot_id", "rule_id", "dimension", "kind", "milli", "newest_day", "count", "machine")


def _state_sum(rulebook: Rulebook, states: States, dimension: int) -> IntegerValue:
    values = []
    for code, rule in enumerate(rulebook.rules):
        if code in states.points and rule.dimension == DIMENSIONS[dimension]:
            value = states.table[f"p{code}"]
            if isinstance(rule, InactiveRule) and rule.floor is not None:
                value = ibis.greatest(value, ibis.literal(rule.floor * 1000, "int64"))
            values.append(value)
    return combine(values)


def _state_rows(states: States) -> Table | None:
    """State rules as rows like those of activities: the snapshots crossed with the rules, one case over all."""
    if not states.points:
        return None
    rules = table("rule").filter(lambda t: t.is_state).select("rule")
    columns = [*(f"p{code}" for code in states.points), *(f"d{code}" for code in states.newest)]
    wide = states.table.select("snapshot_id", *columns).cross_join(rules)
    none = ibis.null("int32")
    rows = wide.select(
        "snapshot_id",
        "rule",
        raw=ibis.cases(*((wide.rule == code, wide[f"p{code}"]) for code in states.points), else_=0).cast("int64"),
        held=ibis.literal(0, "int64"),
        newest_day=ibis.cases(*((wide.rule == code, wide[f"d{code}"]) for code in states.newest), else_=none).cast(
            "int32"
        )
        if states.newest
        else none,
        count=ibis.literal(0, "int64"),
        machine=ibis.literal(0, "int32"),
    )
    return rows.filter(rows.raw != 0)


def _activity_rows(rulebook: Rulebook, asked: Table) -> Table | None:
    earned = points_by_rule(rulebook, asked, detail=True)
    if earned is None:
        return None
    rows = earned.join(asked.select("snapshot_id", "day"), "snapshot_id")
    return rows.select(
        "snapshot_id",
        "rule",
        "raw",
        "held",
        newest_day=(rows.day - rows.newest_age).cast("int32"),
        count=rows["count"],
        machine=rows.machine.cast("int32"),
    )


def _clamped(rows: Table) -> Table:
    """Rows with their rule's name, dimension, and the sums inside the rule's cap and floor; suspects capped alone."""
    rows = rows.join(table("rule").select("rule", "rule_id", "dimension", "cap", "floor"), "rule")

    def bound(value: IntegerValue) -> IntegerValue:
        return ibis.greatest(ibis.least(value, rows.cap), rows.floor)

    return rows.mutate(clean=bound(rows.raw), held=bound(rows.held)).drop("cap", "floor")


def _by_snapshot(rows: Table) -> Table:
    sums = {f"sum_{at}": rows.clean.sum(where=rows.dimension == at) for at in range(len(DIMENSIONS))}
    return rows.group_by("snapshot_id").aggregate(**sums, held_milli=rows.held.sum())


def _part_rows(rulebook: Rulebook, asked: Table, sums: Table) -> Table:
    """Rounding and clamp of each dimension, and the clamp of the total: what is not zero."""
    scores = asked.select("snapshot_id").left_join(sums, "snapshot_id").drop("snapshot_id_right")
    milli = [scores[f"sum_{at}"].fill_null(0) for at in range(len(DIMENSIONS))]
    rounded = [_rounded(value) for value in milli]
    bounded = [_bounded(rulebook, name, value) for name, value in zip(DIMENSIONS, rounded, strict=True)]
    priority = combine(bounded)
    values = [
        *(whole * 1000 - exact for whole, exact in zip(rounded, milli, strict=True)),
        *((inside - whole) * 1000 for inside, whole in zip(bounded, rounded, strict=True)),
        (_percent(priority) - priority) * 1000,
    ]
    wide = scores.select("snapshot_id", **{f"v{at}": value for at, value in enumerate(values)})
    wide = wide.cross_join(table("part"))
    value = ibis.cases(*((wide.part == at, wide[f"v{at}"]) for at in range(len(values))), else_=0).cast("int64")
    rows = wide.mutate(
        milli=value,
        rule_id=ibis.literal(""),
        machine=ibis.literal(False),
        newest_day=ibis.null("int32"),
        count=ibis.literal(0, "int64"),
    )
    return rows.filter(rows.milli != 0)


def _trends() -> Table:
    total, person = table("total"), table("person")
    before = total.select("person_id", earlier=total.as_of, was=total.priority)
    now = total.mutate(earlier=total.as_of - TREND_DAYS * DAY_MS)
    pairs = now.join(before, ["person_id", "earlier"]).join(person.select("person_id", "first_known_at"), "person_id")
    change = pairs.priority - pairs.was
    return pairs.select(
        "snapshot_id",
        trend=ibis.cases(
            (pairs.first_known_at > pairs.earlier, "unknown"),
            (change >= TREND_POINTS, "rising"),
            (change <= -TREND_POINTS, "falling"),
            else_="flat",
        ),
    )


def _rounded(value: IntegerValue) -> IntegerValue:
    """Milli-points to points, half up."""
    return ((value + 500) // 1000).cast("int64")


def _bounded(rulebook: Rulebook, name: DimensionName, value: IntegerValue) -> IntegerValue:
    bounds = rulebook.dimensions.bounds(name)
    if bounds.cap is not None:
        value = ibis.least(value, ibis.literal(bounds.cap, "int64"))
    if bounds.floor is not None:
        value = ibis.greatest(value, ibis.literal(bounds.floor, "int64"))
    return value


def _percent(value: IntegerValue) -> IntegerValue:
    return ibis.greatest(ibis.least(value, ibis.literal(100, "int64")), ibis.literal(0, "int64"))


def _band(rulebook: Rulebook, scores: Table) -> StringValue:
    branches = []
    for name, band in rulebook.bands.ordered():
        needs = band.needs()
        if needs:
            branches.append((reduce(and_, [scores[part] >= points for part, points in needs.items()]), name))
    return ibis.cases(*branches, else_="D")


def _named(dimension: IntegerValue) -> StringValue:
    return ibis.cases(*((dimension == at, name) for at, name in enumerate(DIMENSIONS)), else_="")
