"""The engine on a real state database: small batches, the full pass and the oracle say the same."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import insert, update

from core.errors import StateUnavailable
from core.records import DAY_MS, local_day
from core.rulebook import Rulebook, load_rulebook, scoring_digest, template_text
from core.scoring import as_stored
from sync.engine import Scored, ScoreEngine
from sync.state import State, open_state
from sync.state import schema as t
from tests.core.scoring.oracle import Oracle
from tests.core.scoring.worlds import NOW, ZONE, facts_of
from tests.sync.databases import BOTH, fresh_database
from tests.sync.engine.worlds import store_world

World = dict[str, list[dict[str, Any]]]
PEOPLE = 30


@pytest.fixture(scope="module")
def book() -> Rulebook:
    text = template_text("b2b-japan-standard")
    return load_rulebook(
        text.replace("ここにターゲット業種1を記入", "製造業").replace("ここにターゲット業種2を記入", "IT")
    )


@pytest.fixture(scope="module")
def world() -> World:
    world = facts_of(5, people=PEOPLE)
    world["change"] = []
    for deal in world["deal"]:
        if not (deal["won"] or deal["lost"]):
            deal["closed_at"] = deal["closed_day"] = None
    return world


@pytest.fixture(scope="module", params=BOTH)
def filled(world: World, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[State]:
    with fresh_database(request.param, request, tmp_path_factory.mktemp("engine")) as url:
        state = open_state(url)
        store_world(state, world)
        yield state
        state.close()


def streaming(state: State, book: Rulebook, **options: Any) -> ScoreEngine:
    """An engine that takes even these few people in slices, as it does large companies."""
    return ScoreEngine(state, book, ZONE, small=0, **options)


HOW = pytest.mark.parametrize("engine_of", [streaming, lambda state, book: ScoreEngine(state, book, ZONE)], ids=["slices", "small"])  # fmt: skip
Maker = Callable[[State, Rulebook], ScoreEngine]


def everyone(engine: ScoreEngine, as_of: int = NOW) -> list[Scored]:
    scores = [score for batch in engine.score_all(as_of) for score in batch]
    return sorted(scores, key=lambda score: score.person_id)


@pytest.mark.parametrize("as_of", [NOW, NOW - 30 * DAY_MS])
def test_all_ways_and_the_oracle_agree(filled: State, world: World, book: Rulebook, as_of: int) -> None:
    engine = ScoreEngine(filled, book, ZONE)
    some = engine.score_people(range(1, PEOPLE + 1), as_of)
    assert some == everyone(engine, as_of) == everyone(streaming(filled, book), as_of)
    oracle = Oracle(book, world)
    for score in some:
        at = {"person_id": score.person_id, "as_of": as_of, "day": local_day(as_of, ZONE)}
        expected, _ = oracle.score(at)
        before, _ = oracle.score(at | {"as_of": as_of - 7 * DAY_MS, "day": at["day"] - 7})
        assert {name: getattr(score, name) for name in expected} == expected
        rise = expected["priority"] - before["priority"]
        assert score.trend == ("rising" if rise >= 3 else "falling" if rise <= -3 else "flat")
        assert score.lines is not None
        assert sum(line.milli for line in score.lines if line.kind != "withheld") == 1000 * score.total


def test_one_person_alone_scores_as_in_company(filled: State, book: Rulebook) -> None:
    """The colleagues' facts come along, although only one is asked for."""
    engine = ScoreEngine(filled, book, ZONE)
    together = {score.person_id: score for score in engine.score_people(range(1, PEOPLE + 1), NOW)}
    assert any(line.rule_id == "buying-group" for score in together.values() for line in score.lines or ())
    for person_id in (1, 2, 3, 11, 17):
        assert engine.score_people([person_id], NOW) == [together[person_id]]
    assert engine.score_people([10**9], NOW) == []
    assert engine.score_people([], NOW) == []


@HOW
def test_unchanged_people_keep_their_stored_reasons(
    state: State, book: Rulebook, world: World, engine_of: Maker
) -> None:
    store_world(state, world)
    engine = engine_of(state, book)
    first = everyone(engine)
    keep(state, first, scoring_digest(book))
    again = everyone(engine)
    assert [score.lines for score in again] == [None] * PEOPLE
    assert [(s.total, s.reasons, s.reason_key, s.trend) for s in again] == [
        (s.total, s.reasons, s.reason_key, s.trend) for s in first
    ]
    with state.begin() as connection:
        connection.execute(update(t.person).where(t.person.c.person_id == 4).values(dirty=True))
        connection.execute(update(t.score).where(t.score.c.person_id == 5).values(total=-1))
        connection.execute(update(t.score).where(t.score.c.person_id == 6).values(digest="other"))
    assert [score.person_id for score in everyone(engine) if score.lines is not None] == [4, 5, 6]


def keep(state: State, scores: list[Scored], digest: str) -> None:
    """What the cycle stores of scores."""
    names = ("person_id", "as_of", "total", "priority", "fit", "engagement", "relationship", "withheld", "band", "trend",
             "last_human_at", "reason_key")  # fmt: skip
    with state.begin() as connection:
        for score in scores:
            values = {name: getattr(score, name) for name in names}
            reasons = [as_stored(reason) for reason in score.reasons]
            connection.execute(insert(t.score).values(**values, reasons=reasons, digest=digest, version=1))
        connection.execute(update(t.person).values(dirty=False))


def test_the_full_pass_without_adbc_says_the_same(filled: State, world: World, book: Rulebook) -> None:
    """A database in memory has no address for another driver: rows come through SQLAlchemy."""
    memory = open_state("sqlite://")
    store_world(memory, world)
    assert everyone(streaming(memory, book)) == everyone(streaming(filled, book))
    memory.close()


def test_progress_is_told_and_nothing_is_left_behind(
    state: State, world: World, book: Rulebook, tmp_path: Path
) -> None:
    store_world(state, world)
    told: list[tuple[int, int]] = []
    for _ in streaming(state, book).score_all(NOW, lambda done, count: told.append((done, count))):
        pass
    alone = sum(person["company_id"] is None for person in world["person"])
    assert told == [(PEOPLE - alone, PEOPLE), (PEOPLE, PEOPLE)]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".mikomi")] == []


@pytest.mark.parametrize(
    ("people", "activities", "few"), [(PEOPLE, 10**6, True), (PEOPLE - 1, 10**6, False), (PEOPLE, 5, False)]
)
def test_few_people_with_few_activities_are_one_batch(
    filled: State, book: Rulebook, monkeypatch: pytest.MonkeyPatch, people: int, activities: int, few: bool
) -> None:
    monkeypatch.setattr("sync.engine.engine.SMALL_ACTIVITIES", activities)
    told: list[tuple[int, int]] = []
    engine = ScoreEngine(filled, book, ZONE, small=people)
    for _ in engine.score_all(NOW, lambda done, count: told.append((done, count))):
        pass
    assert (told == [(PEOPLE, PEOPLE)]) is few


def test_a_pass_that_is_broken_off_leaves_no_session_with_people(filled: State, book: Rulebook) -> None:
    from sync.engine import warm

    warm.drop_warm()
    batches = ScoreEngine(filled, book, ZONE).score_all(NOW)
    next(batches)
    cast("Generator[object]", batches).close()
    assert warm._kept == []


@pytest.mark.parametrize("size", [3, 11])
def test_slices_of_any_size_say_the_same(filled: State, book: Rulebook, size: int) -> None:
    """The colleagues and deals that a score looks at are in the slice, however small it is."""
    whole = everyone(streaming(filled, book))
    assert any(line.rule_id == "buying-group" for score in whole for line in score.lines or ())
    assert everyone(streaming(filled, book, slice_size=size)) == whole


@HOW
def test_an_empty_state_has_no_scores(state: State, book: Rulebook, engine_of: Maker) -> None:
    assert everyone(engine_of(state, book)) == []


@HOW
def test_a_pass_without_trend(filled: State, book: Rulebook, engine_of: Maker) -> None:
    engine = engine_of(filled, book)
    plain = [score for batch in engine.score_all(NOW, trend=False) for score in batch]
    assert {score.trend for score in plain} == {"unknown"}
    totals = {score.person_id: score.total for score in everyone(engine)}
    assert {score.person_id: score.total for score in plain} == totals


def test_facts_of_unknown_people_and_deleted_deals_do_not_count(state: State, book: Rulebook, world: World) -> None:
    store_world(state, world)
    before = everyone(streaming(state, book))
    with state.begin() as connection:
        stray = {"person_id": 0, "occurred_at": NOW, "id": 10**6, "kind": 9, "known_at": NOW, "day": 20_000,
                 "suspect": False, "source": 1, "source_id": "x", "who": "email/x@mail.example", "known_inexact": False,
                 "machine": False}  # fmt: skip
        connection.execute(insert(t.activity).values(**stray))
        deal = {"system": "salesforce", "id": "006gone", "company_id": 1, "stage": "x", "is_closed": True, "is_won": True,
                "created_at": 0, "closed_at": NOW - DAY_MS, "modified_at": 0}  # fmt: skip
        connection.execute(insert(t.deal).values(**deal, deal_id=10**6, deleted_at=NOW))
        connection.execute(insert(t.deal).values(**(deal | {"id": "006twin"}), deal_id=10**6 + 1, duplicate_of=1))
    assert everyone(streaming(state, book)) == before
    assert ScoreEngine(state, book, ZONE).score_people(range(1, PEOPLE + 1), NOW) == before


def test_a_database_that_is_away_is_said_so(filled: State, book: Rulebook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filled, "url", "postgresql://nobody@127.0.0.1:1/nothing")
    with pytest.raises(StateUnavailable, match="cannot be read now"):
        everyone(streaming(filled, book))


def test_a_database_that_goes_away_in_the_middle_is_said_so(
    filled: State, book: Rulebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow as pa

    from sync.engine import load

    def break_off(schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        yield pa.RecordBatch.from_pylist([], schema=schema)
        raise OSError("the server closed the connection")

    @contextmanager
    def reader(state: State, name: str, query: object, columns: list[str]) -> Iterator[pa.RecordBatchReader]:
        schema = pa.schema([(column, pa.int64()) for column in columns])
        yield pa.RecordBatchReader.from_batches(schema, break_off(schema))

    monkeypatch.setattr(load, "_reader", reader)
    with pytest.raises(StateUnavailable, match="cannot be read now"):
        everyone(streaming(filled, book))


@pytest.mark.parametrize("url", ["sqlite:///{folder}/state.sqlite3", "postgresql://somewhere/state", "sqlite://"])
def test_what_a_killed_pass_left_behind_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    from sync.engine.load import spill_folder

    if "{folder}" not in url:
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    finished = subprocess.Popen([sys.executable, "-c", ""])
    finished.wait(timeout=60)
    left, ours = tmp_path / f".mikomi-score-{finished.pid}-x", tmp_path / f".mikomi-score-{os.getpid()}-y"
    for folder in (left, ours):
        folder.mkdir()
    with spill_folder(url.format(folder=tmp_path)) as folder:
        assert folder.parent == tmp_path
        assert (left.exists(), ours.exists()) == (False, True)
    assert not folder.exists()


def test_no_room_for_temporary_files_is_said_so(tmp_path: Path) -> None:
    from sync.engine.load import spill_folder

    with pytest.raises(StateUnavailable, match="temporary folder"), spill_folder(f"sqlite:///{tmp_path}/gone/state.db"):
        pass


def test_a_kept_session_holds_no_facts_and_none_is_kept_after_an_error(filled: State, book: Rulebook) -> None:
    from core.scoring.facts import SCHEMAS
    from sync.engine import warm
    from sync.engine.sql import compiled

    sql = compiled(book)
    warm.drop_warm()
    ScoreEngine(filled, book, ZONE).score_people(range(1, PEOPLE + 1), NOW)
    (kept,) = warm._kept
    tables = {*SCHEMAS, "trend"} - {"rule", "trigger", "weight", "part"}
    assert {name for name in tables if kept.rows(f'SELECT 1 FROM "{name}" LIMIT 1')} == set()
    with warm.warm_session(sql) as first, warm.warm_session(sql) as second:
        assert first is kept
        assert second is not kept, "nobody else uses it meanwhile"
    assert warm._kept == [second, first]
    with pytest.raises(ZeroDivisionError), warm.warm_session(sql):
        raise ZeroDivisionError
    assert warm._kept == [first]
    text = template_text("b2b-japan-standard")
    books = [load_rulebook(re.sub(r"points: \d+", f"points: {points}", text, count=1)) for points in (11, 12, 13)]
    for other in books:
        ScoreEngine(filled, other, ZONE).score_people([1], NOW)
    assert [session.installed for session in warm._kept] == [compiled(other).digest for other in books[1:]]
    warm.drop_warm()
    assert warm._kept == []
