"""Tasks in every state they can be in, on both databases, against a CRM of a few rows."""

import time
from dataclasses import replace
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import delete, select

from connectors import Connector, FoundTask
from core.handover import Episode, task_key
from core.records import RecordRef
from sync.progress import Silent
from sync.reconcile import ReconcileReport, SystemFindings, reconcile
from sync.report import RunReport
from sync.resolve import resolve_touched
from sync.settings import Settings
from sync.state import State, outbox
from sync.state import schema as t
from sync.state.episodes import keep_episodes, load_episodes
from sync.state.loading import person_ids
from sync.state.mirror import NOBODY, store
from sync.state.rows import upsert
from tests.sync.reconcile.fakes import NOW, SmallCrm, person

NAME = "sales"


@pytest.fixture
def crm(state: State, settings: Settings) -> SmallCrm:
    """Five people who were read, none handed over."""
    made = SmallCrm(records={str(n): person(n) for n in range(1, 6)})
    with state.begin() as connection:
        store(connection, made.records.values())
        upsert(connection, t.cursor, [{"system": "hubspot", "stream": "contacts", "value": "end", "updated_at": NOW}])
    resolve_touched(state, settings, RunReport("r", "all", NOW), Silent())
    return made


@pytest.fixture
def settings() -> Settings:
    return Settings(stage="all", connections={"hubspot": {"vendor": "hubspot"}})


def look(state: State, settings: Settings, crm: SmallCrm, *, heal: bool) -> ReconcileReport:
    connectors = {"hubspot": cast("Connector", crm)}
    return reconcile(state, settings, connectors, NAME, heal=heal, progress=Silent(), clock=lambda: NOW)


def findings(state: State, settings: Settings, crm: SmallCrm, *, heal: bool = False) -> SystemFindings:
    found = look(state, settings, crm, heal=heal).systems["hubspot"]
    assert found.error is None, found.error
    return found


def ref(number: int) -> RecordRef:
    return RecordRef("hubspot", "contact", str(number))


def task(number: int, handover: int = 1, *, id: str = "", at: int = 0, **more: Any) -> FoundTask:
    key = task_key("hubspot", ref(number), NAME, handover)
    return FoundTask(key, id or f"t{number}.{handover}", more.pop("ref", ref(number)), NOW + at, **more)


def owe(state: State, found: FoundTask, number: int, condition: str, *, crm_id: str | None = None) -> int:
    """A row of the outbox as a run left it; the person it is about."""
    with state.begin() as connection:
        who = person_ids(connection, [ref(number)])[ref(number)]
        outbox.want_task(connection, ref(number), who, found.key, {"subject": "s"}, now=NOW)
        row = {"state": condition, "crm_id": crm_id, "done_at": NOW if condition == "done" else None}
        connection.execute(t.outbox.update().where(t.outbox.c.key == found.key).values(**row))
    return who


def hand_over(state: State, number: int, *episodes: Episode) -> int:
    with state.begin() as connection:
        who = person_ids(connection, [ref(number)])[ref(number)]
        keep_episodes(connection, who, episodes)
    return who


def rows(state: State) -> dict[str, dict[str, Any]]:
    with state.read() as connection:
        return {row["key"]: dict(row) for row in connection.execute(select(t.outbox)).mappings()}


def episodes(state: State, number: int) -> tuple[Episode, ...]:
    with state.read() as connection:
        who = person_ids(connection, [ref(number)])[ref(number)]
        return load_episodes(connection, [who]).get(who, ())


def test_a_task_that_is_as_it_should_be(state: State, settings: Settings, crm: SmallCrm) -> None:
    made = task(1)
    crm.tasks = [made]
    owe(state, made, 1, "done", crm_id=made.crm_id)
    found = findings(state, settings, crm, heal=True)
    assert (found.tasks, found.differences, found.removed_tasks) == (1, {}, 0)


def test_a_task_that_somebody_deleted_for_good_is_said_and_not_made_again(
    state: State, settings: Settings, crm: SmallCrm
) -> None:
    owe(state, task(1), 1, "done", crm_id="t1.1")
    report = look(state, settings, crm, heal=True)
    assert report.equal
    assert report.systems["hubspot"].removed_tasks == 1
    assert rows(state)[task(1).key]["state"] == "done"


@pytest.mark.parametrize("condition", ["new", "unknown", "dead", "cancelled"])
def test_a_task_that_was_made_after_all(state: State, settings: Settings, crm: SmallCrm, condition: str) -> None:
    made = task(1)
    crm.tasks = [made]
    owe(state, made, 1, condition)
    assert findings(state, settings, crm).differences["unsettled_tasks"].count == 1
    assert rows(state)[made.key]["state"] == condition
    assert findings(state, settings, crm, heal=True).left == 0
    assert (rows(state)[made.key]["state"], rows(state)[made.key]["crm_id"]) == ("done", made.crm_id)
    assert findings(state, settings, crm).differences == {}


def test_forgotten_hand_overs_get_their_own_numbers(state: State, settings: Settings, crm: SmallCrm) -> None:
    """The second one is found by its key, though nothing here or there says its number."""
    crm.tasks = [task(1, 2, at=5), task(1, 1), task(2, 1, deleted=True)]
    found = findings(state, settings, crm)
    assert (found.differences["forgotten_tasks"].count, episodes(state, 1)) == (3, ())
    assert findings(state, settings, crm, heal=True).left == 0
    assert episodes(state, 1) == (
        Episode(1, NAME, "offered", NOW, armed=False, seeded=False, record=ref(1)),
        Episode(2, NAME, "offered", NOW + 5, armed=False, seeded=False, record=ref(1)),
    )
    assert [e.number for e in episodes(state, 2)] == [1]
    assert all(row["state"] == "done" for row in rows(state).values())
    assert findings(state, settings, crm, heal=True).differences == {}


def test_an_episode_that_was_known_by_its_number_gets_its_task(state: State, settings: Settings, crm: SmallCrm) -> None:
    """A pass ran before: it saw the number on the record, and took it for handed over without a task."""
    hand_over(
        state, 1, Episode(1, NAME, "accepted", NOW - 9, seeded=True), Episode(2, NAME, "offered", NOW, seeded=True)
    )
    crm.tasks = [task(1, 2)]
    findings(state, settings, crm, heal=True)
    assert episodes(state, 1) == (
        Episode(1, NAME, "accepted", NOW - 9, seeded=True),
        Episode(2, NAME, "offered", NOW, seeded=False, record=ref(1)),
    )


def test_a_queued_hand_over_that_was_made_meanwhile(state: State, settings: Settings, crm: SmallCrm) -> None:
    hand_over(state, 1, Episode(1, NAME, "queued", NOW - 9, record=ref(1)))
    crm.tasks = [task(1, 1, at=3)]
    findings(state, settings, crm, heal=True)
    assert episodes(state, 1) == (Episode(1, NAME, "offered", NOW + 3, record=ref(1)),)


def test_a_key_of_another_time_still_counts_as_a_hand_over(state: State, settings: Settings, crm: SmallCrm) -> None:
    """The record that the key names was merged away long ago; the task hangs on the survivor."""
    hand_over(state, 1, Episode(1, NAME, "accepted", NOW - 9, record=ref(1)))
    crm.tasks = [replace(task(77), ref=ref(1))]
    findings(state, settings, crm, heal=True)
    assert [(e.number, e.armed, e.record) for e in episodes(state, 1)] == [(1, False, ref(1)), (2, False, ref(1))]


def test_a_task_that_hangs_on_nobody_is_traced_by_its_key(state: State, settings: Settings, crm: SmallCrm) -> None:
    crm.tasks = [task(3, 1, ref=None), task(88, 1, ref=None)]
    found = findings(state, settings, crm, heal=True)
    assert (found.differences["forgotten_tasks"].count, found.left) == (2, 0)
    assert [e.number for e in episodes(state, 3)] == [1]
    assert rows(state)[task(88).key]["person_id"] == NOBODY  # remembered, so that it is no news next week
    assert findings(state, settings, crm).differences == {}


def test_of_two_tasks_the_older_stays_and_an_untouched_one_goes(
    state: State, settings: Settings, crm: SmallCrm
) -> None:
    older, younger = task(1, id="a"), task(1, id="b", at=60_000)
    crm.tasks = [younger, older]
    owe(state, older, 1, "done", crm_id="b")
    found = findings(state, settings, crm)
    assert (found.differences["second_tasks"].count, crm.removed) == (1, [])
    assert findings(state, settings, crm, heal=True).left == 0
    assert crm.removed == ["b"]
    assert rows(state)[older.key]["crm_id"] == "a"
    assert findings(state, settings, crm, heal=True).differences == {}
    with state.read() as connection:
        actions = connection.execute(select(t.audit.c.action).order_by(t.audit.c.seq)).scalars().all()
    assert "remove-double" in actions


def test_a_second_task_that_somebody_works_on_is_never_removed(state: State, settings: Settings, crm: SmallCrm) -> None:
    older, younger = task(1, id="a"), task(1, id="b", at=60_000, touched=True)
    crm.tasks = [older, younger]
    owe(state, older, 1, "done", crm_id="a")
    report = look(state, settings, crm, heal=True)
    assert (report.left, report.equal, crm.removed) == (1, False, [])


def test_two_forgotten_tasks_with_one_key(state: State, settings: Settings, crm: SmallCrm) -> None:
    crm.tasks = [task(1, id="b", at=60_000), task(1, id="a")]
    found = findings(state, settings, crm)
    assert {kind: d.count for kind, d in found.differences.items()} == {"forgotten_tasks": 1, "second_tasks": 1}
    assert findings(state, settings, crm, heal=True).left == 0
    assert (crm.removed, rows(state)[task(1).key]["crm_id"]) == (["b"], "a")
    assert [e.number for e in episodes(state, 1)] == [1]


def test_a_second_one_in_the_bin_is_none(state: State, settings: Settings, crm: SmallCrm) -> None:
    crm.tasks = [task(1, id="a"), task(1, id="b", at=9, deleted=True)]
    owe(state, task(1), 1, "done", crm_id="a")
    assert findings(state, settings, crm, heal=True).differences == {}


def test_a_task_made_in_the_other_system_too_is_an_alert(state: State, settings: Settings, crm: SmallCrm) -> None:
    crm.tasks = [task(1, id="a")]
    owe(state, task(1), 1, "done", crm_id="x")
    with state.begin() as connection:
        connection.execute(t.outbox.update().values(system="salesforce"))
    report = look(state, settings, crm, heal=True)
    assert report.systems["hubspot"].differences["second_tasks"].left == 1
    assert crm.removed == []


def test_a_side_that_is_suddenly_empty_is_not_believed(state: State, settings: Settings, crm: SmallCrm) -> None:
    with state.begin() as connection:
        run = {"run_id": "first", "started_at": NOW - 3 * 86_400_000, "outcome": "ok", "report": {}}
        connection.execute(t.run.insert().values(**run))
    strict = settings.model_copy(update={"guards": settings.guards.model_copy(update={"least": 1})})
    crm.records = {"1": crm.records["1"]}
    report = look(state, strict, crm, heal=True)
    assert report.systems["hubspot"].error
    assert not report.equal
    with state.read() as connection:
        assert connection.execute(select(t.record.c.id).where(t.record.c.deleted_at.is_(None))).all().__len__() == 5
    assert report.left == 4
    assert look(state, settings, crm, heal=True).equal  # so few records never stop anything


@hypothesis_settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_healing_once_is_enough_and_loses_no_task(state: State, settings: Settings, crm: SmallCrm, data: Any) -> None:
    """Whatever state and CRM say of tasks: afterwards every key is once in the CRM's living tasks, and known here as done."""
    with state.begin() as connection:
        connection.execute(delete(t.outbox))
        connection.execute(delete(t.handover))
    numbers = st.tuples(st.integers(1, 7), st.integers(1, 3), st.integers(0, 2), st.booleans(), st.booleans())
    crm.tasks = [
        task(n, h, id=f"t{n}.{h}.{copy}", at=copy, deleted=deleted, ref=None if lost else ref(n))
        for n, h, copy, deleted, lost in data.draw(st.lists(numbers, max_size=10, unique_by=lambda x: x[:3]))
    ]
    for one in crm.tasks:
        condition = data.draw(st.sampled_from(["none", "new", "unknown", "done", "dead"]))
        number = int(one.crm_id[1])
        if condition != "none" and number <= 5 and one.key not in rows(state):
            owe(state, one, number, condition, crm_id=one.crm_id if condition == "done" else None)
    there = {one.key for one in crm.tasks}
    assert findings(state, settings, crm, heal=True).left == 0
    living = [one.key for one in crm.tasks if not one.deleted]
    assert len(living) == len(set(living))
    known = rows(state)
    assert there <= known.keys()
    assert all(known[key]["state"] == "done" for key in there)
    for number in range(1, 6):
        own = episodes(state, number)
        assert len({e.number for e in own}) == len(own)
    again = findings(state, settings, crm, heal=True)
    assert again.differences == {}


def test_a_task_that_a_listing_names_twice_is_one(state: State, settings: Settings, crm: SmallCrm) -> None:
    """Somebody edits it while the pages are read: it comes again at their end."""
    crm.tasks = [task(1, id="a"), task(1, id="a", touched=True)]
    owe(state, task(1), 1, "dead")
    crm.tasks += [task(2, id="c"), task(2, id="c")]
    found = findings(state, settings, crm, heal=True)
    assert (crm.removed, found.left) == ([], 0)
    assert "second_tasks" not in found.differences


@pytest.mark.parametrize("number", [1_000_000, 9_999_999_999, -5, 2.5])
def test_a_number_that_somebody_wrote_costs_no_time(
    state: State, settings: Settings, crm: SmallCrm, number: float
) -> None:
    crm.records["1"] = replace(crm.records["1"], written={"handover_no": number}, modified_at=NOW)
    with state.begin() as connection:
        store(connection, [crm.records["1"]])
    crm.tasks = [replace(task(77), ref=ref(1)), task(1, 2, at=5)]
    began = time.monotonic()
    assert findings(state, settings, crm, heal=True).left == 0
    assert time.monotonic() - began < 5
    assert [e.number for e in episodes(state, 1)] == [1, 2]
