"""One holder at a time: who waits, who takes over and when, and what a holder that was overtaken may still do."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import select, update

import sync.state
from core.errors import AlreadyRunning, LeaseLost, StateUnavailable
from sync.engine.load import through_adbc
from sync.state import State, lease, open_state
from sync.state import schema as t
from sync.state.kept import get_kept, keep, keep_in
from tests.sync.databases import Server

LIFE = 0.8
"""Seconds: long enough for a busy machine to beat in, four times."""

ANOTHER = 60.0
"""A life that no test lives to see the end of: whoever gets the lease got it at once."""


@pytest.fixture
def other(database: str) -> Iterator[State]:
    """What another instance has open."""
    opened = open_state(database)
    yield opened
    opened.close()


def put_holder(state: State, *, host: str = "", boot: str = "", space: str = "", pid: int = 0, start: str = "") -> None:
    """Somebody else holds the lease, and does not beat. What is not given is this process's own."""
    own = lease.whoami().split("/")
    given = (host, boot, space, str(pid) if pid else "", start)
    holder = "/".join(theirs or ours for theirs, ours in zip(given, own, strict=True))
    with state.begin() as connection:
        connection.execute(t.lease.delete())
        connection.execute(t.lease.insert().values(name="sync", holder=holder, token=7, beats=3))


def overtake(state: State) -> None:
    """Another instance has the lease now."""
    with state.begin(fenced=False) as connection:
        connection.execute(update(t.lease).values(token=t.lease.c.token + 1, holder="elsewhere/b/s/1/1"))


def beats(state: State) -> int:
    with state.read() as connection:
        return int(connection.execute(select(t.lease.c.beats)).scalar_one())


def test_a_living_holder_is_not_disturbed(state: State, other: State) -> None:
    with state.alone(life_seconds=LIFE):
        with pytest.raises(AlreadyRunning, match=f"process {os.getpid()}"), other.alone(life_seconds=LIFE):
            raise AssertionError("two at once")
        keep(state, "still", 1)
        state.require_lease()
    with other.alone(life_seconds=LIFE):
        keep(other, "after", 1)


def test_who_waits_comes_after(state: State, other: State) -> None:
    order: list[str] = []

    def wait_for_it() -> None:
        with other.alone(wait_seconds=20, life_seconds=ANOTHER):
            order.append("second")

    waiting = threading.Thread(target=wait_for_it)
    with state.alone(life_seconds=LIFE):
        waiting.start()
        time.sleep(2 * LIFE)  # the beat moves all the while
        order.append("first")
    waiting.join(20)
    assert order == ["first", "second"]


def test_a_beat_that_stands_still_is_taken_over(state: State) -> None:
    put_holder(state, host="elsewhere")
    began = time.monotonic()
    with state.alone(life_seconds=LIFE):
        assert time.monotonic() - began >= LIFE
        keep(state, "taken", 1)
    assert get_kept(state, "taken") == 1


def test_the_commit_of_an_overtaken_holder_fails(state: State, other: State) -> None:
    with state.alone(life_seconds=ANOTHER):
        overtake(other)
        with pytest.raises(LeaseLost):
            keep(state, "late", 1)
        with pytest.raises(LeaseLost):  # known from now on, without asking the database again
            state.require_lease()
    assert get_kept(state, "late") is None


def test_a_beat_that_finds_another_holder_closes_the_fence_at_once(state: State, other: State) -> None:
    with state.alone(life_seconds=LIFE):
        overtake(other)
        deadline = time.monotonic() + LIFE * 0.9  # the life itself would close it only after that
        with pytest.raises(LeaseLost):
            while time.monotonic() < deadline:
                state.require_lease()
                time.sleep(0.01)


def test_without_a_confirmed_beat_the_fence_closes(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sync.state.lease._keep_beating", lambda *_: None)
    with state.alone(life_seconds=LIFE):
        state.require_lease()
        time.sleep(LIFE)
        with pytest.raises(LeaseLost):
            state.require_lease()


# --- who is gone -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "holder",
    [{"host": "elsewhere", "boot": "b"}, {"space": "4026000000"}],
    ids=["another machine", "another container"],
)
def test_who_cannot_be_looked_for_is_waited_out(state: State, holder: dict[str, str]) -> None:
    put_holder(state, pid=2**22 + 1, start="1", **holder)
    began = time.monotonic()
    with state.alone(life_seconds=LIFE):
        assert time.monotonic() - began >= LIFE


def test_another_start_is_believed_only_where_nobody_else_can_have_the_file(state: State) -> None:
    """Machines that are clones of each other share a name: on a server they would take the lease from one another for ever."""
    put_holder(state, boot="another-start", pid=1)
    began = time.monotonic()
    with state.alone(life_seconds=LIFE):
        waited = time.monotonic() - began >= LIFE
    assert waited == (state.engine.dialect.name == "postgresql")


def test_a_process_of_this_machine_that_is_gone_is_not_waited_for(state: State) -> None:
    put_holder(state, pid=2**22 + 1, start="1")
    began = time.monotonic()
    with state.alone(life_seconds=ANOTHER):
        assert time.monotonic() - began < ANOTHER / 2


def test_a_process_that_got_the_number_of_another_is_not_the_holder(state: State) -> None:
    put_holder(state, start="1")
    began = time.monotonic()
    with state.alone(life_seconds=ANOTHER):
        assert time.monotonic() - began < ANOTHER / 2


def test_a_killed_process_is_not_waited_for(state: State, database: str) -> None:
    code = (
        "import sys, time; from sync.state import open_state\n"
        "with open_state(sys.argv[1]).alone(): print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, database], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
    with state.alone(life_seconds=ANOTHER):
        keep(state, "at once", 1)


# --- beats that would have to wait -----------------------------------------------------------------------------------


def watch(other: State, got: list[str], until: threading.Event) -> None:
    """Try to get the lease until asked to stop."""
    while not until.is_set():
        try:
            with other.alone(wait_seconds=0, life_seconds=LIFE):
                got.append("taken over")
                return
        except AlreadyRunning:
            continue


def test_a_long_transaction_of_its_own_costs_no_lease(state: State, other: State) -> None:
    got: list[str] = []
    over = threading.Event()
    watching = threading.Thread(target=watch, args=(other, got, over))
    with state.alone(life_seconds=LIFE):
        watching.start()
        with state.begin() as connection:
            keep_in(connection, "long", 1)
            time.sleep(2.5 * LIFE)
        state.require_lease()
        time.sleep(LIFE / 2)
        keep(state, "after", 1)
        assert got == []
        over.set()
        watching.join(20)
        state.require_lease()
    assert get_kept(state, "after") == 1


def test_a_beat_counts_from_when_it_was_allowed(state: State, other: State) -> None:
    """The holder's row was locked for long: what was sent before does not count from when it was sent."""
    with ExitStack() as held, state.alone(life_seconds=LIFE):
        connection = held.enter_context(other.begin(fenced=False))
        connection.execute(update(t.lease).values(beats=t.lease.c.beats))
        before = connection.execute(select(t.lease.c.beats)).scalar_one()
        time.sleep(1.2 * LIFE)
        held.close()
        deadline = time.monotonic() + 0.7 * LIFE
        while beats(other) == before and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
        state.require_lease()


def test_beats_go_on_while_another_library_has_the_file_open(tmp_path: Path) -> None:
    import adbc_driver_sqlite.dbapi as adbc

    path = tmp_path / "s.sqlite3"
    state = open_state(f"sqlite:///{path}")
    with state.alone(life_seconds=LIFE):
        keep(state, "before", 1)
        with (
            state.strange_reader(partial(through_adbc, str(path))),
            closing(adbc.connect(str(path))) as reading,
            closing(reading.cursor()) as cursor,
        ):
            cursor.execute("SELECT beats FROM lease")
            rows = cursor.fetch_record_batch()
            seen = []
            for _ in range(5):
                time.sleep(LIFE / 2)
                state.require_lease()
                with closing(adbc.connect(str(path))) as looking, closing(looking.cursor()) as look:
                    look.execute("SELECT beats FROM lease")
                    seen += [row[0] for row in look.fetchall()]
            assert seen == sorted(set(seen))
            assert sum(len(batch) for batch in rows) == 1
        keep(state, "after", 1)
        with state.read() as connection:
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
    assert (get_kept(state, "before"), get_kept(state, "after")) == (1, 1)
    state.close()


def test_who_was_overtaken_while_another_library_read_knows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sync.state.lease.BEAT_SECONDS", 0.1)
    path = tmp_path / "s.sqlite3"
    state = open_state(f"sqlite:///{path}")
    code = (
        "import sqlite3, sys\n"
        "with sqlite3.connect(sys.argv[1]) as raw: raw.execute('UPDATE lease SET token = token + 1')"
    )
    with state.alone(life_seconds=ANOTHER), state.strange_reader(partial(through_adbc, str(path))):
        state.require_lease()
        subprocess.run([sys.executable, "-c", code, str(path)], check=True)
        deadline = time.monotonic() + 10
        with pytest.raises(LeaseLost):
            while time.monotonic() < deadline:
                state.require_lease()
                time.sleep(0.05)
    state.close()


def test_lease_is_free_after_its_end_also_where_the_block_failed(state: State, other: State) -> None:
    with pytest.raises(ZeroDivisionError), state.alone(life_seconds=ANOTHER):
        raise ZeroDivisionError
    with other.alone(life_seconds=ANOTHER):
        keep(other, "next", 1)


def test_who_stands_still_in_the_middle_of_a_commit_does_not_hold_the_others_for_ever(
    postgresql: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL ends it; on SQLite the others are told that the database is locked, after a while."""
    short = sync.state._PATIENCE.replace("60s", "300ms")
    monkeypatch.setattr(sync.state, "_PATIENCE", short)
    with postgresql.make() as url, closing(open_state(url)) as still, closing(open_state(url)) as other:
        keep(still, "x", 1)
        with pytest.raises(StateUnavailable), still.begin() as connection:
            keep_in(connection, "x", 2)
            keep(other, "x", 3)  # waits for the row until the server has ended the one before
        assert get_kept(other, "x") == 3


def test_who_waits_for_one_that_stands_still_in_a_commit_is_told(
    postgresql: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync.state, "_PATIENCE", sync.state._PATIENCE.replace("30000ms", "300ms"))
    with postgresql.make() as url, closing(open_state(url)) as still, closing(open_state(url)) as other:
        keep(still, "x", 1)
        with still.begin() as connection:
            keep_in(connection, "x", 2)
            with pytest.raises(StateUnavailable) as caught:
                keep(other, "x", 3)
        assert "in the middle of a commit" in caught.value.hint
        assert get_kept(other, "x") == 2
