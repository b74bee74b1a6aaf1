"""The daily purge: what is old goes, what keeps promises stays; interrupted anywhere it simply goes on."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, select

from core.records import DAY_MS, Change
from core.rulebook import load_rulebook
from sync import retention
from sync.retention import purge, purge_daily, short_retention
from sync.settings import Retention, Settings
from sync.state import State, open_state
from sync.state import schema as t
from sync.state.kept import get_kept, keep
from sync.state.mirror.erase import LEFT
from tests.sync.builders import NOW, a_record, an_activity, ref
from tests.sync.leave.worlds import CONTACT, OTHER, count, put, settle

YEARS = 5 * 365


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIKOMI_STATE_KEY", "k" * 40)


@pytest.fixture(autouse=True)
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rows in a transaction, so that a purge takes many."""
    monkeypatch.setattr(retention, "SLICE", 4)


def fill(state: State, settings: Settings) -> None:
    """Three people and nobody, each with facts on both sides of the limit."""
    for person in range(3):
        at = ref("contact", f"003{person}")
        put(
            state,
            settings,
            a_record(at.id, email=f"p{person}@plain.example", fields={"last_name": f"人{person}"}),
            *(an_activity(f"{person}-{n}", "call", at, days_ago=YEARS - 5 + n) for n in range(11)),
            Change(ref("H", f"old{person}"), at, "title", "a", "b", NOW - (YEARS + 1) * DAY_MS),
            Change(ref("H", f"new{person}"), at, "title", "b", "c", NOW - DAY_MS),
        )
    unknown = "who@nowhere.example"
    for days in (YEARS - 1, YEARS + 1, YEARS + 2):
        put(
            state,
            settings,
            an_activity(f"x{days}", "form_submit", unknown, days_ago=days, system="hubspot", object="form"),
        )


def test_old_facts_go_and_young_ones_stay(state: State, settings: Settings) -> None:
    fill(state, settings)
    with state.begin() as connection:
        connection.execute(t.person.update().values(dirty=False))
    done = purge(state, settings, NOW)
    assert (done.activities, done.changes) == (3 * 5 + 2, 3)
    limit = NOW - YEARS * DAY_MS
    assert count(state, t.activity) == 3 * 6 + 1
    assert count(state, t.activity, t.activity.c.occurred_at < limit) == 0
    assert count(state, t.change) == 3
    assert count(state, t.person, t.person.c.dirty) == 3  # their scores are looked at again
    again = purge(state, settings, NOW)
    assert (again.activities, again.changes) == (0, 0)


class Stop(BaseException):
    """The process is gone."""


def test_interrupted_at_any_transaction_it_goes_on(
    state: State, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(state, settings)
    begin, left = State.begin, 0

    @contextmanager
    def begin_or_die(self: State, *, fenced: bool = True) -> Iterator[Connection]:
        nonlocal left
        left -= 1
        if left < 0:
            raise Stop
        with begin(self, fenced=fenced) as connection:
            yield connection

    monkeypatch.setattr(State, "begin", begin_or_die)
    for patience in range(1, 200):
        left = patience
        try:
            purge(state, settings, NOW)
        except Stop:
            continue
        break
    monkeypatch.undo()
    assert patience > 3
    assert count(state, t.activity) == 3 * 6 + 1
    assert count(state, t.change) == 3


def test_what_tasks_said_goes_and_their_keys_stay(state: State, settings: Settings) -> None:
    settle(state, settings)
    assert purge(state, settings, NOW).payloads == 2  # one each, done forty days ago
    with state.read() as connection:
        rows = connection.execute(select(t.outbox).where(t.outbox.c.effect == "task")).mappings()
        kept = {row["key"]: (row["state"], bool(row["payload"])) for row in rows}
    assert kept == {
        f"key-{contact.id}-{n}": (("done", False) if n == 1 else ("new", True))
        for contact in (CONTACT, OTHER)
        for n in (1, 2)
    }
    assert count(state, t.outbox, t.outbox.c.effect == "fields", t.outbox.c.digest != "") == 2
    assert purge(state, settings, NOW).payloads == 0


def test_runs_and_counted_calls(state: State, settings: Settings) -> None:
    with state.begin() as connection:
        for n, (days, outcome) in enumerate([(1, "ok"), (399, "ok"), (401, "ok"), (401, "running"), (900, "failed")]):
            row = {"run_id": f"r{n}", "started_at": NOW - days * DAY_MS, "outcome": outcome, "report": {}}
            connection.execute(t.run.insert().values(**row))
        for days in (1, 34, 36):
            row = {"system": "hubspot", "hour": (NOW - days * DAY_MS) // 3_600_000, "calls": 1, "failed": 0}
            connection.execute(t.calls_made.insert().values(**row))
    done = purge(state, settings, NOW)
    assert (done.runs, done.calls) == (2, 1)
    with state.read() as connection:
        assert set(connection.execute(select(t.run.c.run_id)).scalars()) == {"r0", "r1", "r3"}


def test_it_is_noted_once_and_only_if_something_went(state: State, settings: Settings) -> None:
    fill(state, settings)
    purge(state, settings, NOW)
    purge(state, settings, NOW)
    with state.read() as connection:
        notes = connection.execute(select(t.audit.c.action, t.audit.c.new)).all()
    assert [(action, new["activities"]) for action, new in notes] == [("purge", 17)]


def test_when_a_pass_purges(state: State, settings: Settings) -> None:
    assert purge_daily(state, settings, NOW, daily=False) is None
    assert purge_daily(state, settings, NOW, daily=True) is not None
    keep(state, LEFT, value=True)
    left = purge_daily(state, settings, NOW, daily=False)
    assert left is not None
    assert left.rewritten
    assert not get_kept(state, LEFT)


def test_a_large_file_is_rewritten_once_a_week(
    state: State, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "size_of", lambda _: retention.REWRITE_BYTES + 1)
    seen = []
    for day in range(9):
        keep(state, LEFT, value=True)
        seen.append(purge(state, settings, NOW + day * DAY_MS).rewritten)
    assert seen == [True, *[False] * 6, True, False]


def test_the_copy_from_before_a_migration_does_not_stay(settings: Settings, tmp_path: Path) -> None:
    state = open_state(f"sqlite:///{tmp_path}/state.sqlite3")
    for name, days in (("0002", 31), ("0003", 29)):
        copy = tmp_path / f"state.sqlite3.before-{name}"
        copy.write_bytes(b"x")
        os.utime(copy, (NOW / 1000 - days * 86_400,) * 2)
    assert purge(state, settings, NOW).copies == 1
    assert [path.name for path in tmp_path.glob("*.before-*")] == ["state.sqlite3.before-0003"]
    state.close()


RULES = """\
name: test
timezone: Asia/Tokyo
rules:
  - {id: calls, dimension: engagement, label: {ja: 電話, en: Calls}, points: 5, on: call, window: 400d}
  - {id: views, dimension: engagement, label: {ja: 閲覧, en: Views}, points: 1, on: page_view, window: 90d}
  - {id: won, dimension: fit, label: {ja: 受注, en: Won}, points: 5, deal: {won: {at_least: 1, within: 800d}}}
  - {id: quiet, dimension: engagement, label: {ja: 静, en: Quiet}, points: -5, inactive: {for: 370d}}
bands: {A: {total: 80}, B: {total: 50}, C: {total: 20}}
"""


def test_rules_that_look_further_back_are_named() -> None:
    rulebook = load_rulebook(RULES)
    assert short_retention(rulebook, Retention(activities=1825)) == []
    found = short_retention(rulebook, Retention(activities=365))
    assert found == [("calls", 400), ("won", 800), ("quiet", 370)]
