"""Attribute, inactivity, account and deal rules: what holds for a person at a moment, one row per snapshot."""

from collections.abc import Sequence
from dataclasses import dataclass

import ibis
from ibis.expr.types import BooleanValue, IntegerValue, Table, Value

from core.records import ACTIVITY_KINDS, FIELD_TYPES, HUMAN_KINDS
from core.rulebook import AccountRule, AttributeRule, DealRule, InactiveRule, Rulebook, milli
from core.rulebook.needs import fields_needed
from core.scoring.facts import table
from core.scoring.predicates import holds_when
from core.titles import TITLE_RANKS

FOREVER = -1_000_000_000
"""A day before every day: the lower end of "within" where none is given."""


@dataclass(frozen=True, slots=True)
class States:
    """The state rules over snapshots.

    Attributes:
        table: one row per snapshot: snapshot_id, person_id, as_of, missing (attribute rules nobody can decide),
            last_human_at, `p<code>` (milli-points of a rule before cap and floor), `d<code>` (the local day of the
            fact that counted last).
        points: the codes of the rules that have a `p` column.
        newest: the codes of the rules that have a `d` column.
    """

    table: Table
    points: tuple[int, ...]
    newest: tuple[int, ...]


def build_states(rulebook: Rulebook, snapshot: Table) -> States:
    """Join each snapshot with its person, past values, last human activity, company and own deals.

    Each join keeps only what later ones need: wide intermediate tables cost planning time and memory.
    """
    base, attributes = _attributes(rulebook, snapshot)
    human = _last_human(rulebook, snapshot)
    base = _joined(base, human, ["person_id", "as_of"])
    if _asks_company(rulebook):
        base = _joined(base, _companies(rulebook, snapshot, human), ["company_id", "as_of"])
    if _deal_tests(rulebook):
        base = _joined(base, _own_deals(rulebook, snapshot), ["snapshot_id"])
    points: dict[int, IntegerValue] = {code: base[f"p{code}"] for code in attributes}
    newest: dict[int, IntegerValue] = {}
    for code, rule in enumerate(rulebook.rules):
        if isinstance(rule, InactiveRule):
            points[code] = _inactive(rule, base)
        elif isinstance(rule, AccountRule):
            count = base[f"n{code}"].fill_null(0)
            points[code] = ibis.ifelse(count >= rule.account.people_active.at_least, _milli(rule), 0).cast("int64")
            newest[code] = base[f"d{code}"]
        elif isinstance(rule, DealRule):
            count, newest[code] = _deal_values(str(code), base, of_person=rule.deal.of == "person")
            points[code] = ibis.ifelse(count >= rule.deal.test.at_least, _milli(rule), 0).cast("int64")
    slim = base.select(
        "snapshot_id",
        "person_id",
        "as_of",
        "missing",
        "last_human_at",
        **{f"p{code}": value for code, value in sorted(points.items())},
        **{f"d{code}": value for code, value in newest.items()},
    )
    return States(slim, tuple(sorted(points)), tuple(newest))


def _joined(left: Table, right: Table, keys: list[str]) -> Table:
    # Selected inside the join: a `drop` after it would be one more level of SQL.
    added = [name for name in right.columns if name not in keys]
    return left.left_join(right, keys).select(*(left[name] for name in left.columns), *(right[name] for name in added))


def _attributes(rulebook: Rulebook, snapshot: Table) -> tuple[Table, list[int]]:
    """Snapshots with what is known of the person: milli-points by attribute rule (`p<code>`), and how many are missing."""
    rules = [(code, rule) for code, rule in enumerate(rulebook.rules) if isinstance(rule, AttributeRule)]
    fields = sorted(fields_needed(rulebook))
    person = table("person")
    person = person.select("person_id", "company_id", "created_at", "opted_out", "recontact_on", *fields)
    base = _joined(snapshot, person, ["person_id"])
    if fields:
        base = _joined(base, _past_values(fields, snapshot), ["snapshot_id"])
        # Nobody had said anything about someone who was not there yet, not even that a field is empty.
        base = base.mutate(existed=base.created_at <= base.as_of, **{name: _field(name, base) for name in fields})
    columns: dict[str, Value] = {}
    missing: IntegerValue = ibis.literal(0, "int64")
    for code, rule in rules:
        columns[f"p{code}"], gap = _attribute(rule, base)
        missing = missing + gap.cast("int64")
    kept = ("snapshot_id", "person_id", "as_of", "day", "company_id", "opted_out", "recontact_on")
    return base.select(*kept, missing=missing, **columns), [code for code, _ in rules]


def _milli(rule: AccountRule | DealRule | InactiveRule) -> int:
    return milli(rule.points)


def _past_values(fields: Sequence[str], snapshot: Table) -> Table:
    """What fields held at `as_of` where they changed later: the old value of the first later change."""
    change = table("change")
    change = change.filter(change.field.isin(list(fields)))
    later = change.join(snapshot.select("snapshot_id", "person_id", "as_of"), "person_id")
    later = later.filter(later["at"] > later.as_of)
    first = ibis.row_number().over(ibis.window(group_by=["snapshot_id", "field"], order_by=[later["at"], later["id"]]))
    later = later.mutate(place=first).filter(lambda t: t.place == 0)
    columns: dict[str, Value] = {}
    for name in fields:
        columns[f"old_{name}"] = later.old.max(where=later.field == name)
        columns[f"was_{name}"] = later.count(where=later.field == name)
    return later.group_by("snapshot_id").aggregate(**columns)


def _field(name: str, base: Table) -> Value:
    old = base[f"old_{name}"]
    if FIELD_TYPES[name] == "number":
        old = old.try_cast("float64")
    value = ibis.ifelse(base[f"was_{name}"] > 0, old, base[name])
    return value.nullif("") if FIELD_TYPES[name] == "string" else value


def _attribute(rule: AttributeRule, base: Table) -> tuple[IntegerValue, BooleanValue]:
    """Milli-points, and whether the rule cannot be decided."""
    if rule.when is not None:
        holds = holds_when(rule.when, lambda name: base[name])
        assert rule.points is not None  # a `when` rule has points
        points = ibis.ifelse(base.existed & holds, milli(rule.points), 0)
        # Through a number: Ibis writes `NOT (x) IS NULL` for the null test of a negation, and SQL reads NOT last.
        return points.cast("int64"), ~base.existed | holds.cast("int8").isnull()
    assert rule.field is not None  # the other form
    value = base[rule.field]
    unknown = ~base.existed | value.isnull()
    branches: list[tuple[BooleanValue, int]] = [(unknown, 0)]
    rest = 0
    for step in rule.bins or ():
        if step.below is None:
            rest = milli(step.points)
        elif rule.field == "title_rank":
            below = TITLE_RANKS[: TITLE_RANKS.index(str(step.below))]
            branches.append((value.isin(below), milli(step.points)))
        else:
            branches.append((value < step.below, milli(step.points)))
    return ibis.cases(*branches, else_=rest).cast("int64"), unknown


def _last_human(rulebook: Rulebook, snapshot: Table) -> Table:
    """The last human activity per (person, as_of): everyone's in the snapshots' companies where a rule counts people."""
    moments = snapshot.select("person_id", "as_of")
    if any(isinstance(rule, AccountRule) for rule in rulebook.rules):
        person = table("person").select("person_id", "company_id")
        companies = snapshot.join(person, "person_id").filter(lambda t: t.company_id.notnull())
        companies = companies.select("company_id", "as_of").distinct()
        colleagues = person.join(companies, "company_id").select("person_id", "as_of")
        moments = ibis.union(moments, colleagues, distinct=True)
    activity = table("activity")
    codes = sorted(ACTIVITY_KINDS[kind] for kind in HUMAN_KINDS)
    acts = activity.filter(activity.kind.isin(codes), ~activity.suspect)
    acts = acts.select("person_id", "occurred_at", "known_at", "day")
    acts = acts.join(moments, "person_id").filter(lambda t: (t.occurred_at <= t.as_of) & (t.known_at <= t.as_of))
    return acts.group_by("person_id", "as_of").aggregate(
        last_human_at=acts.occurred_at.max(), last_human_day=acts.day.max()
    )


def _inactive(rule: InactiveRule, base: Table) -> IntegerValue:
    periods = (base.day - base.last_human_day).cast("int64") // rule.inactive.for_
    if not rule.inactive.repeat:
        periods = ibis.least(periods, ibis.literal(1, "int64"))
    held_off: BooleanValue = base.last_human_day.isnull()
    for reason in rule.unless:
        if reason == "open_deal":
            held_off = held_off | (_deal_values("open", base, of_person=False)[0] > 0)
        elif reason == "recontact_on_ahead":
            held_off = held_off | (base.recontact_on > base.day).fill_null(False)
        else:
            held_off = held_off | base.opted_out.fill_null(False)
    return ibis.ifelse(held_off, 0, periods * _milli(rule)).cast("int64")


@dataclass(frozen=True, slots=True)
class _DealTest:
    name: str
    state: str
    within: int | None
    of_person: bool


def _deal_tests(rulebook: Rulebook) -> list[_DealTest]:
    tests = [
        _DealTest(str(code), rule.deal.state, rule.deal.test.within, rule.deal.of == "person")
        for code, rule in enumerate(rulebook.rules)
        if isinstance(rule, DealRule)
    ]
    if any("open_deal" in rule.unless for rule in rulebook.rules if isinstance(rule, InactiveRule)):
        tests.append(_DealTest("open", "open", None, of_person=False))
    return tests


def _asks_company(rulebook: Rulebook) -> bool:
    return any(isinstance(rule, AccountRule) for rule in rulebook.rules) or any(
        not test.of_person for test in _deal_tests(rulebook)
    )


def _companies(rulebook: Rulebook, snapshot: Table, human: Table) -> Table:
    """Per (company, as_of): active people by account rule, deals by deal rule."""
    person = table("person").select("person_id", "company_id")
    moments = snapshot.join(person, "person_id").filter(lambda t: t.company_id.notnull())
    moments = moments.select("company_id", "as_of", moment_day=moments.day).distinct()
    result = moments
    counts: dict[str, Value] = {}
    members = moments.join(person, "company_id").join(human, ["person_id", "as_of"])
    for code, rule in enumerate(rulebook.rules):
        if isinstance(rule, AccountRule):
            within = rule.account.people_active.within
            active = members.last_human_day > (FOREVER if within is None else members.moment_day - within)
            counts[f"n{code}"] = members.count(where=active)
            counts[f"d{code}"] = members.last_human_day.max(where=active)
    if counts:
        active = members.group_by("company_id", "as_of").aggregate(**counts)
        result = _joined(result, active, ["company_id", "as_of"])
    tests = [test for test in _deal_tests(rulebook) if not test.of_person]
    if tests:
        deals = moments.join(table("deal"), "company_id").filter(lambda t: t.created_at <= t.as_of)
        by_company = deals.group_by("company_id", "as_of").aggregate(**_deal_columns(tests, deals, "c"))
        result = _joined(result, by_company, ["company_id", "as_of"])
    return result.drop("moment_day")


def _own_deals(rulebook: Rulebook, snapshot: Table) -> Table:
    """Per snapshot: the deals the person takes part in. They also stand for the account of people who have none."""
    taken = table("deal_person").join(table("deal").drop("company_id"), "deal_id")
    deals = snapshot.select("snapshot_id", "person_id", "as_of", moment_day=snapshot.day).join(taken, "person_id")
    deals = deals.filter(deals.created_at <= deals.as_of)
    return deals.group_by("snapshot_id").aggregate(**_deal_columns(_deal_tests(rulebook), deals, "o"))


def _deal_columns(tests: Sequence[_DealTest], deals: Table, prefix: str) -> dict[str, Value]:
    closed = (deals.closed_at <= deals.as_of).fill_null(False)
    over = (deals.won | deals.lost) & deals.closed_at.isnull()  # closed, and nobody says when
    columns: dict[str, Value] = {}
    for test in tests:
        if test.state in ("won", "lost"):
            counts, day = deals[test.state] & closed, deals.closed_day
        else:
            counts = ~closed & ~over if test.state == "open" else ibis.literal(True)
            day = deals.created_day
        if test.within is not None:
            counts = counts & (day > deals.moment_day - test.within)
        columns[f"{prefix}n{test.name}"] = deals.count(where=counts)
        columns[f"{prefix}d{test.name}"] = day.max(where=counts)
    return columns


def _deal_values(name: str, base: Table, *, of_person: bool) -> tuple[IntegerValue, IntegerValue]:
    own_count, own_day = base[f"on{name}"].fill_null(0), base[f"od{name}"]
    if of_person:
        return own_count, own_day
    alone = base.company_id.isnull()
    count = ibis.ifelse(alone, own_count, base[f"cn{name}"].fill_null(0))
    return count, ibis.ifelse(alone, own_day, base[f"cd{name}"])
