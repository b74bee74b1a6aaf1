"""Attribute history: only changes that lead to today's value, on any of the person's records or its account."""

from typing import Any

from sqlalchemy import insert

from core.records import DAY_MS, FIELD_TYPES
from core.rulebook import Rulebook
from sync.engine import ScoreEngine
from sync.engine.history import trace_changes
from sync.state import State
from sync.state import schema as t
from tests.core.scoring.stage import person_row, rulebook_of
from tests.core.scoring.worlds import NOW, ZONE
from tests.sync.engine.worlds import store_world

Row = dict[str, Any]


def change(field: str, old: str | None, new: str | None, at: int, source_id: str = "h1") -> Row:
    return {"person_id": 1, "field": field, "old": old, "new": new, "at": at, "source_id": source_id}


def traced(changes: list[Row], **today: Any) -> list[tuple[str, object, int]]:
    people = {1: dict.fromkeys(FIELD_TYPES) | today}
    return [(row["field"], row["old"], row["at"]) for row in trace_changes(changes, people, {*today, "title_rank"})]


def test_a_chain_is_followed_back() -> None:
    chain = [change("industry", "A", "B", 10), change("industry", "B", "C", 20, "h2")]
    assert traced(chain, industry="C") == [("industry", "A", 10), ("industry", "B", 20)]


def test_history_of_a_record_that_lost_the_choice_is_no_history() -> None:
    mixed = [change("industry", "A", "B", 10), change("industry", "X", "Y", 20, "other")]
    assert traced(mixed, industry="B") == [("industry", "A", 10)]


def test_numbers_and_widths_are_compared_by_meaning() -> None:
    assert traced([change("employees", "50", "300.0", 10)], employees=300.0) == [("employees", "50", 10)]
    assert traced([change("company", "ＡＢＣ", "株式会社見本", 10)], company="株式会社見本") == [("company", "ABC", 10)]


def test_equal_stamps_keep_the_older_value_first() -> None:
    chain = [change("industry", "A", "B", 10, "h1"), change("industry", "B", "C", 10, "h2")]
    assert traced(chain, industry="C")[0] == ("industry", "A", 10)


def test_a_titles_history_is_its_ranks() -> None:
    rows = traced([change("title", "営業課長", "営業部長", 10)], title="営業部長")
    assert ("title_rank", "section_manager", 10) in rows


def test_history_reaches_the_score(state: State) -> None:
    book: Rulebook = rulebook_of(
        "id: rank, dimension: fit, points: 30, when: {field: title_rank, at_least: general_manager}",
        "id: size, dimension: fit, points: 20, when: {field: employees, at_least: 100}",
    )
    person = person_row(title="営業部長", title_rank="general_manager", employees=300.0)
    store_world(state, {"person": [person], "activity": [], "deal": [], "deal_person": [], "change": []})
    days = {"title": 3, "employees": 5}
    with state.begin() as connection:
        connection.execute(t.record.update().values(account_id="001A"))
        for number, (field, old, new, kind, of) in enumerate(
            [("title", "営業課長", "営業部長", "contact", "0031"), ("employees", "80", "300", "account", "001A")]
        ):
            connection.execute(
                insert(t.change).values(
                    system="salesforce", source_id=f"h{number}", kind=kind, id=of, field=field, old=old, new=new,
                    at=NOW - days[field] * DAY_MS,
                )
            )  # fmt: skip
    engine = ScoreEngine(state, book, ZONE)
    fits = [engine.score_people([1], NOW - ago * DAY_MS)[0].fit for ago in (0, 4, 6)]
    assert fits == [50, 20, 0]
    assert engine.score_people([1], NOW)[0].trend == "rising"
    assert [score.trend for batch in engine.score_all(NOW) for score in batch] == ["rising"]
