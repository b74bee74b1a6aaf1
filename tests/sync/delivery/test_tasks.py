"""At most one task a key, and one in the end: with a unique key (mode A) and without (mode B), whatever goes wrong."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection, update

from connectors import FoundTask
from core.errors import StateError
from core.records import RecordRef
from sync.sending import Bounds
from sync.state import State, open_state
from sync.state import schema as t
from tests.sync.delivery.rig import BOUNDS, VENDORS, Crms, LateCommits, Rig, assert_each_once

MODES = (pytest.param(True, id="unique"), pytest.param(False, id="quarantine"))
FAULTS = {
    "drop_before": {"kind": "drop_before"},
    "drop_after": {"kind": "drop_after"},
    "502 HTML": {"kind": "status", "status": 502, "body": "<html><body>Bad Gateway</body></html>"},
    "503 HTML": {"kind": "status", "status": 503, "body": "<html>Service Unavailable</html>"},
    "502 HTML after the commit": {"kind": "replace", "status": 502, "body": "<html><body>Bad Gateway</body></html>"},
    "503 HTML after the commit": {"kind": "replace", "status": 503, "body": "<html>Service Unavailable</html>"},
    "200 HTML after the commit": {"kind": "replace", "status": 200, "body": "<html>Please sign in</html>"},
    "200 HTML": {"kind": "status", "status": 200, "body": "<html>Please sign in</html>"},
    "429": {"kind": "status", "status": 429, "body": '{"message": "slow down", "policyName": "SECONDLY"}'},
    "truncate": {"kind": "truncate"},
}


class Crash(BaseException):
    """The process is gone: nothing that was not committed happened."""


@pytest.fixture(params=VENDORS)
def vendor(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("unique", MODES)
@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_happens_to_the_answers_each_task_is_made_once(
    crms: Crms, vendor: str, unique: bool, fault: str, tmp_path: Path
) -> None:
    with crms.rig(vendor, tmp_path, unique=unique) as rig:
        keys = rig.owe_tasks()
        rig.fail(**FAULTS[fault])  # type: ignore[arg-type]
        for _ in range(2):
            rig.deliver()
            assert max(rig.keys().values(), default=0) <= 1
        rig.finish()
        assert_each_once(rig, keys)


@pytest.mark.parametrize("unique", MODES)
def test_a_late_commit_meets_no_second_task(
    crms: Crms, vendor: str, unique: bool, tmp_path: Path, late_commits: LateCommits
) -> None:
    with crms.rig(vendor, tmp_path, unique=unique) as rig:
        keys = rig.owe_tasks()
        rig.fail("late_commit", times=1)
        rig.deliver()
        rig.heal()
        rig.pass_time(BOUNDS.late_commit / 1000 - 1)
        rig.deliver()
        if unique:
            assert_each_once(rig, keys)  # repeated at once
        else:
            assert not rig.keys()  # nothing is sent while the first request may still be carried out
        assert late_commits.happen() == 1
        assert_each_once(rig, keys)
        rig.finish()
        assert_each_once(rig, keys)


@contextmanager
def crash_at(monkeypatch: pytest.MonkeyPatch, commit: int, *, before: bool) -> Iterator[None]:
    begin, seen = State.begin, [0]

    @contextmanager
    def begin_or_die(self: State, *, fenced: bool = True) -> Iterator[Connection]:
        seen[0] += 1
        dying = seen[0] == commit
        with begin(self, fenced=fenced) as connection:
            yield connection
            if dying and before:
                raise Crash
        if dying:
            raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(State, "begin", begin_or_die)
        yield


@pytest.mark.parametrize("unique", MODES)
def test_killed_at_every_commit_each_task_is_made_once(
    crms: Crms, vendor: str, unique: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with crms.rig(vendor, tmp_path, unique=unique, people=2) as rig:
        keys = rig.owe_tasks()
        rig.owe_scores(50, 1)
        crashes = 0
        for commit in range(1, 40):
            rig.owe_scores(50 + commit, 1 + commit)
            try:
                with crash_at(monkeypatch, commit, before=commit % 2 == 0):
                    rig.deliver()
                break
            except Crash:
                crashes += 1
            assert max(rig.keys().values(), default=0) <= 1
            rig.pass_time(600)
        assert crashes >= 4
        rig.finish()
        assert_each_once(rig, keys)
        assert rig.versions() == [1 + commit] * 2


@pytest.mark.parametrize("unique", MODES)
def test_two_runners_without_a_lease_make_each_task_once(
    crms: Crms, vendor: str, unique: bool, database: str, tmp_path: Path
) -> None:
    """The worst case: both believe that they are alone."""
    with crms.rig(vendor, tmp_path, unique=unique, people=12, url=database) as rig:
        keys = rig.owe_tasks()
        others = [replace(rig, state=open_state(database), connector=rig.crm.connect()) for _ in range(2)]
        for one in others:
            one.connector.plan_setup()
        barrier = threading.Barrier(2)

        def run(one: Rig) -> None:
            barrier.wait(30)
            one.deliver()

        threads = [threading.Thread(target=run, args=(one,)) for one in others]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        for one in others:
            one.state.close()
        rig.finish()
        assert_each_once(rig, keys)


@pytest.mark.parametrize("unique", MODES)
def test_what_a_rep_deleted_is_not_made_again(crms: Crms, vendor: str, unique: bool, tmp_path: Path) -> None:
    """The answer was lost, the task was there, the rep threw it away: it was handed over, and stays so."""
    with crms.rig(vendor, tmp_path, unique=unique, people=1) as rig:
        keys = rig.owe_tasks()
        rig.fail("drop_after")
        rig.deliver()
        rig.heal()
        [found] = rig.connector.find_tasks({keys[0]: rig.refs[0]})[keys[0]]
        assert (found.ref, found.deleted) == (rig.refs[0], False)
        rig.delete_task(found.crm_id)
        [found] = rig.connector.find_tasks({keys[0]: rig.refs[0]})[keys[0]]
        assert found.deleted
        rig.finish()
        assert_each_once(rig, keys)
        assert rig.rows()[0]["crm_id"] == found.crm_id


# --- the naive ways, planted ---------------------------------------------------------------------------------------------


def test_looking_at_once_instead_of_waiting_doubles_tasks(
    crms: Crms, vendor: str, tmp_path: Path, late_commits: LateCommits
) -> None:
    with crms.rig(vendor, tmp_path, unique=False) as rig:
        keys = rig.owe_tasks()
        rig.fail("late_commit", times=1)
        hasty = Bounds(late_commit=0, index_lag=0)
        rig.deliver(bounds=hasty)
        rig.heal()
        rig.deliver(bounds=hasty)
        late_commits.happen()
        assert rig.keys() == dict.fromkeys(keys, 2)


def test_sending_again_blindly_doubles_tasks(crms: Crms, vendor: str, tmp_path: Path) -> None:
    with crms.rig(vendor, tmp_path, unique=False) as rig:
        keys = rig.owe_tasks()
        rig.fail("drop_after", times=1)
        rig.deliver()
        with rig.state.begin() as connection:
            connection.execute(update(t.outbox).values(state="new", due_at=rig.now))
        rig.deliver(connector=_Blind(rig.connector))  # type: ignore[arg-type]
        assert set(rig.keys()) == set(keys)
        if vendor == "hubspot":  # (Salesforce's writer asks for the keys itself before every call)
            assert rig.keys() == dict.fromkeys(keys, 2)


class _Blind:
    """A connector that finds nothing."""

    def __init__(self, connector: object) -> None:
        self._connector = connector

    def __getattr__(self, name: str) -> object:
        return getattr(self._connector, name)

    def find_tasks(self, _wanted: Mapping[str, RecordRef]) -> Mapping[str, Sequence[FoundTask]]:
        return {}


# --- when the bound was broken -------------------------------------------------------------------------------------------


def test_second_tasks_are_removed_where_nobody_touched_them_and_told(
    crms: Crms, vendor: str, tmp_path: Path, late_commits: LateCommits
) -> None:
    """A commit later than the bound: the first stays, the second goes, a person is told."""
    with crms.rig(vendor, tmp_path, unique=False, people=1) as rig:
        [key] = rig.owe_tasks()
        rig.fail("late_commit", times=1)
        rig.deliver()
        rig.heal()
        rig.pass_time(3_600)
        rig.fail("drop_after", times=1)
        rig.deliver()
        late_commits.happen()
        assert rig.keys() == {key: 2}
        rig.heal()
        rig.pass_time(60)
        report = rig.deliver()
        assert report.doubled == 1
        left = [task for task in rig.connector.find_tasks({key: rig.refs[0]})[key] if not task.deleted]
        assert len(left) == 1
        assert rig.rows()[0]["crm_id"] == left[0].crm_id
        with rig.state.read() as connection:
            actions = [row.action for row in connection.execute(t.audit.select())]
        assert "remove-double" in actions


def test_a_task_that_was_changed_after_it_was_owed_is_not_sent(crms: Crms, vendor: str, tmp_path: Path) -> None:
    """The same key with another payload is a fault that stops."""
    with crms.rig(vendor, tmp_path, unique=True, people=1) as rig:
        rig.owe_tasks()
        with rig.state.begin() as connection:
            payload = {**rig.rows()[0]["payload"], "subject": "another"}
            connection.execute(update(t.outbox).values(payload=payload))
        with pytest.raises(StateError, match="changed after it was owed"):
            rig.deliver()
        assert not rig.keys()
