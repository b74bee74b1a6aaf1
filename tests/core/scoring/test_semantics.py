"""What each rule means, one case at a time: the settled examples, boundaries, and what must change nothing."""

from datetime import date
from typing import Any

import ibis
import pytest

from core.records import ACTIVITY_KINDS, DAY_MS, to_day
from core.rulebook import load_rulebook, scoring_digest, template_text
from core.scoring import compile_rulebook
from sync.engine.session import Session
from sync.engine.sql import PlanSql
from tests.core.scoring.oracle import Oracle
from tests.core.scoring.stage import Row, activity_row, person_row, rulebook_of, run, snapshot_row, world_of

VIEW, OPEN, MEETING, CALL = (ACTIVITY_KINDS[k] for k in ("page_view", "email_open", "meeting", "call"))
TODAY = to_day(date(2025, 11, 25))
PRICING = (
    "id: pricing-page, dimension: engagement, points: 15, on: page_view, where: {url: {contains: /pricing}}, "
    "decay: {half_life: 45d}, at_least: {count: 2, within: 14d}, limit: {count: 1, per: day}, cap: 45"
)


def day(month: int, number: int) -> int:
    return to_day(date(2025, month, number))


def view(number: int, on: int, **values: Any) -> Row:
    return activity_row(number, VIEW, on, url="https://seller.example/pricing", **values)


def milli(session: Session, rule: str, activity: list[Row], **world: list[Row]) -> int:
    """Milli-points of the only rule, after its bounds."""
    _, lines = run(session, rulebook_of(rule), world_of(activity=activity, **world), [snapshot_row(TODAY)])
    return sum(line["milli"] for line in lines[1] if line["kind"] in ("rule", "cap", "floor"))


def test_settled_golden_example(session: Session) -> None:
    views = [view(1, day(11, 22)), view(2, day(11, 22)), view(3, day(11, 10)), view(4, day(11, 1))]
    assert milli(session, PRICING, views) == 36_593
    assert milli(session, PRICING, views[:1]) == 0


@pytest.mark.parametrize(
    ("decay", "age", "expected"),
    [
        ("half_life: 10d", 0, 10_000),
        ("half_life: 10d", 10, 5_000),
        ("half_life: 10d", 30, 1_250),
        ("linear: {to_zero: 30d}", 20, 3_333),
        ("linear: {to_zero: 30d}", 30, 0),
        ("step: {drop: 25%, every: 7d}", 6, 10_000),
        ("step: {drop: 25%, every: 7d}", 7, 7_500),
        ("step: {drop: 25%, every: 7d}", 28, 0),
    ],
)
def test_decay_by_calendar_days(session: Session, decay: str, age: int, expected: int) -> None:
    rule = f"id: r, dimension: engagement, points: 10, on: page_view, decay: {{{decay}}}"
    assert milli(session, rule, [view(1, TODAY - age)]) == expected


def test_ties_round_half_up(session: Session) -> None:
    half = "id: r, dimension: engagement, points: 0.003, on: page_view, decay: {linear: {to_zero: 6d}}"
    assert milli(session, half, [view(1, TODAY - 1)]) == 3  # 3 x 5/6 = 2.5
    lost = "id: r, dimension: engagement, points: -0.003, on: page_view, decay: {linear: {to_zero: 6d}}"
    assert milli(session, lost, [view(1, TODAY - 1)]) == -2  # floor(-2.5 + .5)


def test_window_is_younger_than(session: Session) -> None:
    rule = "id: r, dimension: engagement, points: 10, on: page_view, window: 30d"
    assert milli(session, rule, [view(1, TODAY - 29)]) == 10_000
    assert milli(session, rule, [view(1, TODAY - 30)]) == 0


def test_gate_counts_before_limits_and_selects_nothing(session: Session) -> None:
    rule = (
        "id: r, dimension: engagement, points: 10, on: page_view, "
        "at_least: {count: 2, within: 7d}, limit: {count: 1, per: day}"
    )
    assert milli(session, rule, [view(1, TODAY), view(2, TODAY), view(3, TODAY - 50)]) == 20_000
    assert milli(session, rule, [view(1, TODAY), view(2, TODAY - 7), view(3, TODAY - 50)]) == 0
    assert milli(session, rule, [view(1, TODAY), view(2, TODAY, suspect=True)]) == 0
    assert milli(session, rule, [view(1, TODAY), view(2, TODAY, duplicate=True)]) == 0


def test_gate_opens_with_activities_that_faded(session: Session) -> None:
    """The horizon may not drop what only the gate still sees."""
    rule = (
        "id: r, dimension: engagement, points: 10, on: page_view, "
        "at_least: {count: 2, within: 90d}, decay: {linear: {to_zero: 5d}}"
    )
    assert milli(session, rule, [view(1, TODAY), view(2, TODAY - 80)]) == 10_000
    assert milli(session, rule, [view(1, TODAY), view(2, TODAY - 90)]) == 0


@pytest.mark.parametrize(("per", "expected"), [("day", 40_000), ("week", 30_000), ("month", 20_000)])
def test_buckets_are_local_days_iso_weeks_and_months(session: Session, per: str, expected: int) -> None:
    # Sunday 2 November and Monday 3 November lie in two ISO weeks; 31 October in the week of the 2nd.
    views = [view(1, day(10, 31)), view(2, day(11, 2)), view(3, day(11, 3)), view(4, day(11, 10)), view(5, day(11, 10))]
    rule = f"id: r, dimension: engagement, points: 10, on: page_view, limit: {{count: 1, per: {per}}}"
    assert milli(session, rule, views) == expected


def test_limit_without_a_bucket_takes_the_newest_of_all(session: Session) -> None:
    rule = "id: r, dimension: engagement, points: 8, on: page_view, limit: {count: 2}, decay: {half_life: 10d}"
    assert milli(session, rule, [view(1, TODAY - 20), view(2, TODAY), view(3, TODAY - 10)]) == 12_000


def test_suspects_and_twins_are_ranked_and_capped_alone(session: Session) -> None:
    rule = "id: r, dimension: engagement, points: 10, on: page_view, limit: {count: 1, per: day}, cap: 15"
    views = [
        view(1, TODAY),
        view(2, TODAY, suspect=True),
        view(3, TODAY - 1, suspect=True),
        view(4, TODAY, duplicate=True),
    ]
    totals, lines = run(session, rulebook_of(rule), world_of(activity=views), [snapshot_row(TODAY)])
    held = [line for line in lines[1] if line["kind"] == "withheld"]
    assert (totals[1]["total"], totals[1]["withheld"]) == (10, 15)
    assert [(line["milli"], line["machine"]) for line in held] == [(15_000, True)]


def test_only_what_was_known_counts(session: Session) -> None:
    rule = "id: r, dimension: relationship, points: 10, on: [call, meeting]"
    noon = snapshot_row(TODAY)["as_of"]
    late = activity_row(1, CALL, TODAY - 10, known_at=noon + 1)
    exact = activity_row(2, CALL, TODAY - 10, known_at=noon)
    coming = activity_row(3, MEETING, TODAY + 7, known_at=0)
    later_today = activity_row(4, MEETING, TODAY) | {"occurred_at": noon + 1}
    assert milli(session, rule, [late]) == 0
    assert milli(session, rule, [exact]) == 10_000
    assert milli(session, rule, [coming, later_today]) == 0


def test_silence(session: Session) -> None:
    rule = "id: r, dimension: engagement, points: -10, inactive: {for: 30d, repeat: true}, floor: -30"
    assert milli(session, rule, [activity_row(1, CALL, TODAY - 29)]) == 0
    assert milli(session, rule, [activity_row(1, CALL, TODAY - 30)]) == -10_000
    assert milli(session, rule, [activity_row(1, CALL, TODAY - 89)]) == -20_000
    assert milli(session, rule, [activity_row(1, CALL, TODAY - 900)]) == -30_000
    assert milli(session, rule, []) == 0, "nobody is punished who never acted"
    assert milli(session, rule, [activity_row(1, OPEN, TODAY - 900)]) == 0, "an open is no act"
    recent_scan = [activity_row(1, CALL, TODAY - 40), view(2, TODAY - 1, suspect=True)]
    assert milli(session, rule, recent_scan) == -10_000, "a scanner ends no silence"


@pytest.mark.parametrize(
    ("reason", "person", "deals"),
    [
        ("recontact_on_ahead", {"recontact_on": TODAY + 1}, []),
        ("opted_out", {"opted_out": True}, []),
        ("open_deal", {"company_id": 5}, [(5, None)]),
    ],
)
def test_silence_is_excused(session: Session, reason: str, person: Row, deals: list[tuple[int, int | None]]) -> None:
    rule = f"id: r, dimension: engagement, points: -10, inactive: {{for: 30d}}, unless: [{reason}]"
    rows = [deal_row(at, company, closed) for at, (company, closed) in enumerate(deals)]
    acts = [activity_row(1, CALL, TODAY - 40)]
    assert milli(session, rule, acts, person=[person_row(**person)], deal=rows) == 0
    assert milli(session, rule, acts) == -10_000
    due = person_row(recontact_on=TODAY)
    assert milli(session, rule, acts, person=[due]) == -10_000, "the day itself is not ahead"


def deal_row(number: int, company: int | None, closed: int | None, *, won: bool = False) -> Row:
    created = TODAY - 400
    return {"deal_id": number, "company_id": company, "created_at": created * DAY_MS, "created_day": created,
            "closed_at": None if closed is None else closed * DAY_MS, "closed_day": closed, "won": won,
            "lost": closed is not None and not won}  # fmt: skip


def test_deals_of_account_and_person(session: Session) -> None:
    mine = [person_row(company_id=5)]
    won = deal_row(1, 5, TODAY - 99, won=True)
    rule = "id: r, dimension: relationship, points: 25, deal: {won: {at_least: 1, within: 100d}}"
    assert milli(session, rule, [], person=mine, deal=[won]) == 25_000
    assert milli(session, rule, [], person=mine, deal=[deal_row(1, 5, TODAY - 100, won=True)]) == 0
    assert milli(session, rule, [], person=mine, deal=[deal_row(1, 6, TODAY - 9, won=True)]) == 0
    own = rule.replace("within: 100d}", "within: 100d}, of: person")
    assert milli(session, own, [], person=mine, deal=[won]) == 0
    assert milli(session, own, [], person=mine, deal=[won], deal_person=[{"deal_id": 1, "person_id": 1}]) == 25_000


def test_buying_group_counts_people_with_the_scored_one(session: Session) -> None:
    rule = "id: r, dimension: relationship, points: 15, account: {people_active: {at_least: 3, within: 90d}}"
    people = [person_row(number, company_id=7) for number in (1, 2, 3)]
    acts = [activity_row(number, CALL, TODAY - number, person_id=number) for number in (1, 2, 3)]
    assert milli(session, rule, acts, person=people) == 15_000
    assert milli(session, rule, [*acts[:2], activity_row(3, CALL, TODAY - 90, person_id=3)], person=people) == 0
    assert (
        milli(session, rule, [*acts[:2], activity_row(3, CALL, TODAY, person_id=3, suspect=True)], person=people) == 0
    )
    assert milli(session, rule, acts * 2, person=[person_row()]) == 0, "no company, no group"


def test_attribute_history_is_read_at_the_moment(session: Session) -> None:
    book = rulebook_of("id: r, dimension: fit, points: 30, when: {field: title_rank, at_least: general_manager}")
    promoted = (TODAY - 3) * DAY_MS
    change = {"id": 1, "person_id": 1, "field": "title_rank", "old": "staff", "new": "director", "at": promoted}
    world = world_of(person=[person_row(title_rank="director")], change=[change])
    moments = [snapshot_row(TODAY, number=1), snapshot_row(TODAY - 7, number=2)]
    totals, _ = run(session, book, world, moments)
    assert [totals[1]["fit"], totals[2]["fit"]] == [30, 0]


def test_unknown_gives_nothing_even_negated(session: Session) -> None:
    book = rulebook_of("id: r, dimension: fit, points: 30, when: {not: {field: industry, equals: 教育}}")
    totals, _ = run(session, book, world_of(person=[person_row(industry=None)]), [snapshot_row(TODAY)])
    assert (totals[1]["fit"], totals[1]["missing"]) == (0, 1)
    totals, _ = run(session, book, world_of(person=[person_row(industry="製造業")]), [snapshot_row(TODAY)])
    assert (totals[1]["fit"], totals[1]["missing"]) == (30, 0)


@pytest.mark.parametrize(
    ("field", "test", "value", "matches"),
    [
        ("industry", "equals: it", "IT", True),
        ("industry", "equals: ＩＴ", "IT", True),
        ("company", "contains: 株式会社", "株式会社見本", True),
        ("industry", "equals: IT", "IT業", False),
        ("website", "starts_with: https://A", "https://a.example", True),
        ("employees", "between: [100, 300]", 300.0, True),
        ("employees", "between: [100, 300]", 300.5, False),
        ("title", "matches: 部長$", "営業部長", True),
    ],
)
def test_conditions(session: Session, field: str, test: str, value: Any, *, matches: bool) -> None:
    book = rulebook_of(f"id: r, dimension: fit, points: 30, when: {{field: {field}, {test}}}")
    totals, _ = run(session, book, world_of(person=[person_row(**{field: value})]), [snapshot_row(TODAY)])
    assert totals[1]["fit"] == (30 if matches else 0)


def test_addresses_are_compared_as_they_are(session: Session) -> None:
    rule = "id: r, dimension: engagement, points: 10, on: page_view, where: {url: {contains: /Pricing}}"
    assert milli(session, rule, [view(1, TODAY)]) == 0
    assert milli(session, rule, [view(1, TODAY) | {"url": "https://seller.example/Pricing"}]) == 10_000


def test_no_floor_unless_given(session: Session) -> None:
    rules = (
        "id: a, dimension: fit, points: 50, when: {field: employees, at_least: 1}",
        "id: b, dimension: engagement, points: -30, inactive: {for: 30d}",
    )
    world = world_of(person=[person_row(employees=5.0)], activity=[activity_row(1, CALL, TODAY - 31)])
    totals, _ = run(session, rulebook_of(*rules), world, [snapshot_row(TODAY)])
    assert (totals[1]["total"], totals[1]["engagement"]) == (20, -30)
    floored = rulebook_of(*rules, head="dimensions: {engagement: {floor: 0}}")
    totals, _ = run(session, floored, world, [snapshot_row(TODAY)])
    assert totals[1]["total"] == 50


def test_priority_orders_people_whom_the_clamp_makes_equal(session: Session) -> None:
    book = rulebook_of("id: a, dimension: fit, points: 130, when: {field: employees, at_least: 1}")
    totals, lines = run(session, book, world_of(person=[person_row(employees=5.0)]), [snapshot_row(TODAY)])
    assert (totals[1]["total"], totals[1]["priority"]) == (100, 130)
    assert sorted((line["kind"], line["milli"]) for line in lines[1]) == [("clamp", -30_000), ("rule", 130_000)]


def test_trend(session: Session) -> None:
    book = rulebook_of("id: r, dimension: engagement, points: 10, on: page_view, window: 6d")
    people = [person_row(1), person_row(2), person_row(3, first_known_at=snapshot_row(TODAY - 7)["as_of"] + 1)]
    acts = [view(1, TODAY), view(2, TODAY - 7, person_id=2), view(3, TODAY, person_id=3)]
    moments = [
        snapshot_row(on, person, 2 * person + late)
        for person in (1, 2, 3)
        for late, on in enumerate((TODAY, TODAY - 7))
    ]
    run(session, book, world_of(person=people, activity=acts), moments)
    found = {row["snapshot_id"]: row["trend"] for row in session.rows('SELECT * FROM "trend"')}
    assert found == {2: "rising", 4: "falling", 6: "unknown"}


def test_a_fact_that_matches_nothing_changes_nothing(session: Session) -> None:
    book = load_rulebook(template_text("b2b-japan-standard"))
    acts = [view(1, TODAY - 1), view(2, TODAY - 2), activity_row(3, MEETING, TODAY - 9)]
    before = run(session, book, world_of(activity=acts), [snapshot_row(TODAY)])
    noise = [activity_row(9, ACTIVITY_KINDS["email_out"], TODAY), activity_row(10, OPEN, TODAY),
             activity_row(11, VIEW, TODAY - 3, person_id=99)]  # fmt: skip
    after = run(session, book, world_of(activity=[*acts, *noise]), [snapshot_row(TODAY)])
    key = str
    assert before[0] == after[0]
    assert sorted(before[1][1], key=key) == sorted(after[1][1], key=key)


def test_decay_never_raises_a_score(session: Session) -> None:
    book = rulebook_of("id: r, dimension: engagement, points: 33, on: page_view, decay: {half_life: 9d}")
    moments = [snapshot_row(TODAY + later, number=later) for later in range(60)]
    totals, _ = run(session, book, world_of(activity=[view(1, TODAY)]), moments)
    scores = [totals[later]["total"] for later in range(60)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == 33
    assert scores[-1] == 0


@pytest.mark.parametrize("name", ["article", "b2b-japan-standard"])
def test_templates_agree_with_the_oracle(session: Session, name: str) -> None:
    from tests.core.scoring.worlds import NOW, facts_of, snapshots_of

    book, world = load_rulebook(template_text(name)), facts_of(11, people=20)
    snapshots = snapshots_of(world, [NOW])
    totals, _ = run(session, book, world, snapshots)
    oracle = Oracle(book, world)
    for snap in snapshots:
        score, _ = oracle.score(snap)
        assert {part: totals[snap["snapshot_id"]][part] for part in score} == score


def test_sql_is_stable_and_small() -> None:
    book = load_rulebook(template_text("b2b-japan-standard"))
    relabelled = load_rulebook(template_text("b2b-japan-standard").replace("料金ページの閲覧", "価格ページ"))
    assert scoring_digest(book) == scoring_digest(relabelled)
    assert PlanSql(book).totals == PlanSql(relabelled).totals
    assert len(PlanSql(book).totals) < 25_000


@pytest.mark.parametrize("dialect", ["postgres", "snowflake"])
def test_expressions_belong_to_no_engine(dialect: str) -> None:
    """Nothing in a plan is DuckDB's own: other engines' SQL can be written from it without a connection."""
    plan = compile_rulebook(load_rulebook(template_text("b2b-japan-standard")))
    for expression in (plan.totals, plan.earned, plan.lines, plan.trends):
        assert ibis.to_sql(expression, dialect=dialect).startswith(("SELECT", "WITH"))
