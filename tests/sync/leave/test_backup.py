"""Backup and restore: whole, consistent, in either direction; what must never be turned back is not."""

import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, insert, select, update

from core.errors import InvalidInput, StateError, StateTooNew, StateUnavailable
from core.records import RecordRef
from sync import audit
from sync.backup import open_for_restore, read_origin, restore_backup, write_backup
from sync.forget import forget
from sync.settings import Settings
from sync.state import HEAD, State, open_state
from sync.state import schema as t
from sync.state.kept import get_kept, keep
from tests.sync.builders import NOW, a_record
from tests.sync.databases import BOTH, fresh_database
from tests.sync.leave.worlds import (
    ADDRESS,
    CONTACT,
    OTHER,
    count,
    everything,
    found_in,
    found_in_files,
    numbers,
    put,
    settle,
    the_contact,
)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIKOMI_STATE_KEY", "k" * 40)


@pytest.fixture(params=BOTH)
def elsewhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[State]:
    """Another, empty state: each of the two databases."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    with fresh_database(request.param, request, folder) as url:
        opened = open_state(url)
        yield opened
        opened.close()


def rows(state: State, *left_out: str) -> dict[str, list[dict[str, Any]]]:
    """All tables, in the order of their keys."""
    with state.read() as connection:
        return {
            table.name: [dict(row) for row in connection.execute(select(table).order_by(*table.primary_key)).mappings()]
            for table in t.metadata.sorted_tables
            if table.name not in left_out
        }


def contents(state: State) -> dict[str, list[dict[str, Any]]]:
    """What a restore brings back; the log and the facts about the state gain a line by it."""
    return rows(state, "audit", "lease", "setting")


def test_restored_elsewhere_it_is_the_same(state: State, elsewhere: State, settings: Settings, tmp_path: Path) -> None:
    settle(state, settings)
    keep(state, "pass", "x")
    file = tmp_path / "b.sqlite3"
    size = write_backup(state, file, now=NOW)
    assert size == file.stat().st_size
    origin = read_origin(file)
    assert (origin.made_at, origin.database, origin.people) == (NOW, state.engine.dialect.name, 2)
    expected = contents(state)
    for row in expected["outbox"]:  # may have been sent since: as a run that died would leave it
        if row["effect"] == "task" and row["state"] in {"new", "unknown"}:
            row |= {"state": "unknown", "code": None, "message": None}
    restore_backup(elsewhere, file, now=NOW)
    assert contents(elsewhere) == expected
    assert get_kept(elsewhere, "pass") == "x"
    assert get_kept(elsewhere, "backup") is None
    put(elsewhere, settings, a_record("003N", email="new@plain.example"))  # and it works
    assert len(numbers(elsewhere)) == 5


def test_numbers_go_on_beyond_both(state: State, elsewhere: State, settings: Settings, tmp_path: Path) -> None:
    settle(state, settings)
    with state.begin() as connection:  # the last one left again: its number is not given out twice
        gone = connection.execute(
            insert(t.person)
            .values(created_at=0, first_known_at=0, opted_out=False, dirty=True, restated=False)
            .returning(t.person.c.person_id)
        ).scalar_one()
        connection.execute(t.person.delete().where(t.person.c.person_id == gone))
    file = tmp_path / "b.sqlite3"
    write_backup(state, file)
    restore_backup(elsewhere, file)
    put(elsewhere, settings, a_record("003N", email="new@plain.example"))
    assert numbers(elsewhere)[RecordRef("salesforce", "contact", "003N")] == gone + 1
    put(state, settings, *(a_record(f"003N{n}", email=f"new{n}@plain.example") for n in range(5)))
    highest = max(numbers(state).values())
    restore_backup(state, file)  # an older one, into the same state
    put(state, settings, a_record("003M", email="newest@plain.example"))
    assert numbers(state)[RecordRef("salesforce", "contact", "003M")] == highest + 1


def test_a_backup_is_private_durable_and_never_overwrites(state: State, settings: Settings, tmp_path: Path) -> None:
    settle(state, settings)
    file = tmp_path / "b.sqlite3"
    write_backup(state, file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert sorted(p.name for p in tmp_path.iterdir() if "b.sqlite3" in p.name or "scratch" in p.name) == ["b.sqlite3"]
    before = file.read_bytes()
    with pytest.raises(InvalidInput, match="exists"):
        write_backup(state, file)
    assert file.read_bytes() == before
    with pytest.raises(InvalidInput, match="no folder"):
        write_backup(state, tmp_path / "nowhere" / "b.sqlite3")


def test_what_a_killed_backup_left_is_removed(state: State, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    (folder / ".mikomi-scratch-999999999-x").write_bytes(b"somebody")
    (folder / f".mikomi-scratch-{os.getpid()}-y").write_bytes(b"another backup of ours, under way")
    write_backup(state, folder / "b.sqlite3")
    assert sorted(path.name for path in folder.iterdir()) == [f".mikomi-scratch-{os.getpid()}-y", "b.sqlite3"]


def test_it_is_one_moment_while_others_write(state: State, settings: Settings, tmp_path: Path) -> None:
    """Pairs of rows are written together; a backup never has one without the other."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def write() -> None:
        number = 0
        try:
            while not stop.is_set():
                number += 1
                with state.begin() as connection:
                    connection.execute(t.setting.insert().values(name=f"a{number}", value=number))
                    connection.execute(
                        t.pause.insert().values(system=f"s{number}", cause="admin", reason="", hint="", at=0)
                    )
        except BaseException as error:  # told to the test below
            failures.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for n in range(4):
            file = tmp_path / f"b{n}.sqlite3"
            write_backup(state, file)
            with closing(sqlite3.connect(file)) as raw:
                left = raw.execute("SELECT count(*) FROM setting WHERE name LIKE 'a%'").fetchone()
                right = raw.execute("SELECT count(*) FROM pause").fetchone()
            assert left == right
    finally:
        stop.set()
        writer.join()
    assert failures == []


def test_no_space_leaves_no_file(state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sync.backup.publish", full)
    with pytest.raises(StateUnavailable, match="No space"):
        write_backup(state, tmp_path / "b.sqlite3")
    assert [path.name for path in tmp_path.iterdir() if "scratch" in path.name or path.name == "b.sqlite3"] == []


@pytest.mark.parametrize("content", [b"", b"holiday photos " * 900, b"SQLite format 3\0" + b"x" * 5000])
def test_what_is_no_backup_is_refused(state: State, settings: Settings, tmp_path: Path, content: bytes) -> None:
    settle(state, settings)
    before = everything(state)
    file = tmp_path / "b.sqlite3"
    file.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"no backup|damaged"):
        restore_backup(state, file)
    assert everything(state) == before


def test_a_cut_off_file_is_refused(state: State, settings: Settings, tmp_path: Path) -> None:
    settle(state, settings)
    file = tmp_path / "b.sqlite3"
    write_backup(state, file)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    before = everything(state)
    with pytest.raises(InvalidInput):
        restore_backup(state, file)
    assert everything(state) == before


def test_a_newer_one_is_refused(state: State, tmp_path: Path) -> None:
    file = tmp_path / "b.sqlite3"
    write_backup(state, file)
    with closing(sqlite3.connect(file)) as raw, raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StateTooNew, match="9999"):
        restore_backup(state, file)


def test_a_restore_that_fails_changes_nothing(
    state: State, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(state, settings)
    file = tmp_path / "b.sqlite3"
    write_backup(state, file)
    put(state, settings, a_record("003N", email="new@plain.example"))
    before = everything(state)

    class Stop(BaseException):
        pass

    def die(*_: object) -> None:
        raise Stop

    monkeypatch.setattr("sync.backup.carry_audit", die)
    with pytest.raises(Stop):
        restore_backup(state, file)
    assert everything(state) == before


def test_what_was_forgotten_since_stays_forgotten(state: State, settings: Settings, tmp_path: Path) -> None:
    settle(state, settings)
    file = tmp_path.parent / f"{tmp_path.name}-backup.sqlite3"
    write_backup(state, file)
    forget(state, ADDRESS, now=NOW)
    restored = restore_backup(state, file, now=NOW)
    assert restored.forgotten_again == 3
    assert found_in(everything(state)) == []
    assert found_in_files(tmp_path) == []
    assert set(numbers(state)) == {OTHER}
    assert put(state, settings, the_contact()).refused == 1
    with state.read() as connection:
        assert audit.verify(connection).intact


def test_another_key_is_said_before_anything_is_replaced(
    state: State, elsewhere: State, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(state, settings)
    forget(state, ADDRESS, now=NOW)
    file = tmp_path / "b.sqlite3"
    write_backup(state, file)
    monkeypatch.setenv("MIKOMI_STATE_KEY", "another" * 6)
    with pytest.raises(StateError, match="state key"):
        restore_backup(elsewhere, file)
    assert count(elsewhere, t.record) == 0
    forget(elsewhere, "else@songbird.example", now=NOW)
    with pytest.raises(StateError, match="another state key"):
        restore_backup(elsewhere, file)


def test_what_belongs_to_now_is_not_turned_back(state: State, settings: Settings, tmp_path: Path) -> None:
    settle(state, settings)
    credential = {"system": "hubspot", "name": "token", "secret": "old", "version": 1, "updated_at": 1}
    pause = {"system": "hubspot", "cause": "admin", "reason": "then", "hint": "", "at": 1}
    with state.begin() as connection:
        connection.execute(t.credential.insert().values(**credential))
        connection.execute(t.pause.insert().values(**pause))
        connection.execute(t.run.insert().values(run_id="r1", started_at=1, outcome="ok", report={}))
    file = tmp_path / "b.sqlite3"
    with state.alone():
        write_backup(state, file)
    with state.begin() as connection:
        connection.execute(update(t.credential).values(secret="rotated", version=2))
        connection.execute(t.pause.delete())
        connection.execute(t.calls_made.insert().values(system="hubspot", hour=1, calls=9, failed=0))
    with state.alone():
        restore_backup(state, file)
        with state.begin() as connection:  # the lease is still ours
            connection.execute(t.setting.insert().values(name="still", value=1))
    now = rows(state)
    assert [(row["secret"], row["version"]) for row in now["credential"]] == [("rotated", 2)]
    assert (now["pause"], [row["calls"] for row in now["calls_made"]]) == ([], [9])
    with closing(sqlite3.connect(file)) as raw:
        assert raw.execute("SELECT holder FROM lease").fetchall() == [(None,)]


def note(state: State, why: str) -> None:
    with state.begin() as connection:
        audit.note(connection, "test", "x", why=why)


def whys(state: State) -> list[str]:
    with state.read() as connection:
        assert audit.verify(connection).intact
        return list(connection.execute(select(t.audit.c.why).order_by(t.audit.c.seq)).scalars())


def test_the_audit_log_goes_on(state: State, tmp_path: Path) -> None:
    note(state, "before")
    file = tmp_path / "b.sqlite3"
    write_backup(state, file)
    note(state, "after")
    restore_backup(state, file)
    assert whys(state) == ["before", "after", "asked for by `mikomi restore`"]


def test_two_audit_logs_become_one(state: State, elsewhere: State, tmp_path: Path) -> None:
    for n in range(3):
        note(state, f"there {n}")
    file = tmp_path / "b.sqlite3"
    write_backup(state, file)
    for n in range(2):
        note(elsewhere, f"here {n}")
    with elsewhere.begin() as connection:
        at = connection.execute(select(func.min(t.audit.c.at))).scalar_one()
    restore_backup(elsewhere, file)
    assert whys(elsewhere) == ["there 0", "there 1", "there 2", "here 0", "here 1", "asked for by `mikomi restore`"]
    with elsewhere.read() as connection:
        assert connection.execute(select(t.audit.c.at).where(t.audit.c.why == "here 0")).scalar() == at


def test_an_older_backup_is_brought_up_to_date(elsewhere: State, settings: Settings, tmp_path: Path) -> None:
    from tests.sync.state.old import make_0001

    file = tmp_path / "old.sqlite3"
    make_0001(file)
    assert read_origin(file).revision == "0001" != HEAD
    before = file.read_bytes()
    restore_backup(elsewhere, file)
    assert numbers(elsewhere)[CONTACT] == 41
    assert file.read_bytes() == before
    put(elsewhere, settings, a_record("003N", email="new@plain.example"))
    assert numbers(elsewhere)[RecordRef("salesforce", "contact", "003N")] == 44


def test_a_broken_state_is_put_aside(settings: Settings, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state.sqlite3"
    state = open_state(url)
    settle(state, settings)
    people = numbers(state)
    file = tmp_path / "b.sqlite3"
    write_backup(state, file)
    state.close()
    (tmp_path / "state.sqlite3").write_bytes(b"\xff" * 20_000)
    with open_for_restore(url) as (fresh, aside):
        assert aside is not None
        assert aside.read_bytes() == b"\xff" * 20_000
        restore_backup(fresh, file)
        assert numbers(fresh) == people


def test_a_foreign_database_is_never_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "photos.sqlite3"
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("CREATE TABLE holiday_photos (id integer)")
    with pytest.raises(StateError, match="not Mikomi's"), open_for_restore(f"sqlite:///{path}"):
        raise AssertionError("opened")
    assert path.exists()


def test_text_that_postgresql_refuses_is_fitted(
    request: pytest.FixtureRequest, settings: Settings, tmp_path: Path
) -> None:
    source = open_state(f"sqlite:///{tmp_path}/s.sqlite3")
    put(source, settings, a_record("003A", email="a@plain.example"))
    with source.begin() as connection:
        connection.execute(update(t.person).values(title="部\0長"))
        connection.execute(update(t.record).values(fields={"title": "部\0長"}, owner_id="5" * 90))
    file = tmp_path / "b.sqlite3"
    write_backup(source, file)
    source.close()
    with fresh_database("postgresql", request, tmp_path) as url:
        target = open_state(url)
        restore_backup(target, file)
        with target.read() as connection:
            assert connection.execute(select(t.person.c.title)).scalar() == "部長"
            assert connection.execute(select(t.record.c.owner_id)).scalar() == "5" * 64
        target.close()
