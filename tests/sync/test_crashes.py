"""Killed anywhere and run again: no second task, nothing lost. In process at every commit; as a process by SIGKILL."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection

from sync.state import State
from sync.state import schema as t
from tests.sync.databases import Spare
from tests.sync.practice import Practice, control, people_by_record, set_up_sandbox


class Crash(BaseException):
    """The process is gone: nothing that was not committed happened."""


@contextmanager
def crash_at(monkeypatch: pytest.MonkeyPatch, commit: int, *, before_commit: bool) -> Iterator[None]:
    """Die at the given commit of the run: just before it, or just after."""
    begin, seen = State.begin, [0]

    @contextmanager
    def begin_or_die(self: State, *, fenced: bool = True) -> Iterator[Connection]:
        seen[0] += fenced  # a lease's beats are not of the run; and a process that is gone holds none
        dying = fenced and seen[0] == commit
        with begin(self, fenced=fenced) as connection:
            yield connection
            if dying and before_commit:
                raise Crash
        if dying:
            raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(State, "begin", begin_or_die)
        yield


def assert_consistent(practice: Practice) -> None:
    """One task a hand-over in the CRMs, under its key; every record shows its person's score."""
    keys = [task["Mikomi_Key__c"] for task in practice.salesforce_tasks()]
    keys += [task["properties"]["mikomi_key"] for task in practice.hubspot_tasks()]
    assert len(keys) == len(set(keys))
    owed = {row["key"]: row["state"] for row in practice.rows(t.outbox, t.outbox.c.effect == "task")}
    assert owed == dict.fromkeys(keys, "done")
    episodes = [row for row in practice.rows(t.handover) if row["state"] == "offered" and not row["seeded"]]
    assert len(episodes) == len(keys)
    assert {row["state"] for row in practice.rows(t.outbox)} == {"done"}
    scores = {row["person_id"]: row["total"] for row in practice.rows(t.score)}
    people = people_by_record(practice)
    for kind in ("Lead", "Contact"):
        for row in practice.soql(f"SELECT Id, Mikomi_Score__c FROM {kind} WHERE Mikomi_Score__c != null"):
            ref = f"salesforce/{kind.lower()}/{row['Id']}"
            assert abs(row["Mikomi_Score__c"] - scores[people[ref]]) < 3  # delta: smaller changes wait
    live = {f"{row['system']}/{row['kind']}/{row['id']}" for row in practice.rows(t.acknowledged)}
    alive = practice.rows(t.record, t.record.c.deleted_at.is_(None), t.record.c.successor_id.is_(None))
    assert {f"{row['system']}/{row['kind']}/{row['id']}" for row in alive} == live


def test_a_crash_at_every_commit_converges(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sync.engine.engine.SMALL", 0)  # in slices, and batches of a few people, as with many thousands
    monkeypatch.setattr("sync.engine.engine.BATCH", 8)
    with set_up_sandbox(seed=11, people=24) as box:
        practice = Practice(box, tmp_path, stage="all", state=database)
        crashes = 0
        for commit in range(1, 400):
            try:
                with crash_at(monkeypatch, commit, before_commit=commit % 2 == 0):
                    practice.sync()
                break
            except Crash:
                crashes += 1
        assert crashes > 10
        assert_consistent(practice)
        practice.wait()
        assert practice.sync().fields_owed == 0


def test_a_lost_answer_makes_no_second_task(database: str, tmp_path: Path) -> None:
    """The CRM commits, the answer never comes: the write is repeated and changes nothing."""
    with set_up_sandbox(seed=11, people=60) as box:
        practice = Practice(box, tmp_path, stage="all", state=database)
        lost = {"kind": "drop_after", "times": 2, "method": "POST"}
        control(box.salesforce.url, "POST", "faults", {**lost, "path": "composite"})
        control(box.hubspot.url, "POST", "faults", {**lost, "path": "tasks/batch|contacts/batch/update"})
        practice.sync()
        control(box.salesforce.url, "DELETE", "faults")
        control(box.hubspot.url, "DELETE", "faults")
        practice.sync()
        assert_consistent(practice)


def test_killed_processes_leave_no_trace(database: str, tmp_path: Path) -> None:
    with set_up_sandbox(seed=12, people=60) as box:
        practice = Practice(box, tmp_path, stage="all", state=database)
        assert practice.rows(t.outbox) == []  # the tables are there: whoever looks in finds them
        slow = {"kind": "delay", "seconds": 1.5, "times": None, "path": "composite|batch/update|batch/upsert"}
        for url in (box.salesforce.url, box.hubspot.url):
            control(url, "POST", "faults", slow)
        command = [sys.executable, "-m", "sync.cli", "sync", "-c", str(practice.config_file)]
        killed = 0
        for _ in range(2):
            process = subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ)
            )
            deadline = time.monotonic() + 60
            while process.poll() is None and time.monotonic() < deadline:
                if practice.rows(t.outbox, t.outbox.c.state == "unknown"):  # in the middle of writing
                    process.send_signal(signal.SIGKILL)
                    killed += 1
                    break
                time.sleep(0.05)
            process.wait(timeout=60)
        for url in (box.salesforce.url, box.hubspot.url):
            control(url, "DELETE", "faults")
        practice.sync()
        assert killed == 2
        assert_consistent(practice)


def keys_of(practice: Practice) -> list[str]:
    keys = [task["Mikomi_Key__c"] for task in practice.salesforce_tasks()]
    return sorted(keys + [task["properties"]["mikomi_key"] for task in practice.hubspot_tasks()])


@pytest.mark.parametrize("lost", ["all of it", "the last days"])
def test_a_lost_or_restored_state_makes_no_second_task(database: str, spare: Spare, tmp_path: Path, lost: str) -> None:
    """Hand-overs that only the CRMs remember are adopted: nobody is handed over because we forgot."""
    with set_up_sandbox(seed=11, people=60) as box:
        practice = Practice(box, tmp_path, stage="all", state=database)
        left = None
        if lost == "the last days":
            practice.write_config(stage="fields")
            practice.sync()
            left = spare(copy_of=database)
            practice.write_config(stage="all")
        practice.sync()
        before = keys_of(practice)
        assert before
        practice.write_config(state=left or spare())
        practice.wait()
        practice.sync()
        assert keys_of(practice) == before
        numbers = [row["number"] for row in practice.rows(t.handover)]
        assert numbers == [1] * len(before)
