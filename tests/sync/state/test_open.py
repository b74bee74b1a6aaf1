"""Opening the state: migrate or refuse, private to its owner, transactions that end."""

import os
import sqlite3
import stat
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import func, select

from core.errors import StateError, StateTooNew
from sync.state import HEAD, open_state
from sync.state import schema as t
from sync.state.kept import get_kept, keep, keep_in


def test_a_new_database_is_private_and_complete(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite3"
    state = open_state(f"sqlite:///{path}")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with state.engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), t.metadata)
    assert [d for d in differences if "alembic_version" not in str(d)] == []


def test_a_database_that_others_may_read_is_narrowed(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite3"
    writing = open_state(f"sqlite:///{path}")
    files = [path, *(tmp_path / f"state.sqlite3-{end}" for end in ("wal", "shm"))]
    with writing.begin() as connection:
        keep_in(connection, "x", 1)
        for file in files:
            file.chmod(0o664)
        open_state(f"sqlite:///{path}", create=False).close()
        assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600] * 3
    writing.close()


def test_the_migrations_folder_ends_at_head() -> None:
    import sync.state

    folder = Path(sync.state.__file__).parent / "migrations" / "versions"
    assert max(path.name[:4] for path in folder.glob("[0-9]*.py")) == HEAD


def test_durability_is_what_the_design_says(tmp_path: Path) -> None:
    state = open_state(f"sqlite:///{tmp_path}/s.sqlite3")
    with state.read() as connection:
        pragmas = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    assert pragmas == ["wal", 2, 1]


def test_a_newer_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite3"
    open_state(f"sqlite:///{path}").close()
    with sqlite3.connect(path) as raw:
        raw.execute("update alembic_version set version_num = '9999'")
    with pytest.raises(StateTooNew, match="9999"):
        open_state(f"sqlite:///{path}")


def test_a_foreign_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite3"
    with sqlite3.connect(path) as raw:
        raw.execute("create table holiday_photos (id integer)")
    with pytest.raises(StateError, match="not Mikomi's"):
        open_state(f"sqlite:///{path}")
    with sqlite3.connect(path) as raw:
        assert [row[0] for row in raw.execute("select name from sqlite_master")] == ["holiday_photos"]


def test_no_database_is_made_where_none_was_asked_for(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="no state database"):
        open_state(f"sqlite:///{tmp_path}/s.sqlite3", create=False)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="folder") as caught:
        open_state(f"sqlite:///{tmp_path}/nowhere/s.sqlite3")
    assert "mkdir" in caught.value.hint


def test_an_interrupted_transaction_leaves_nothing(tmp_path: Path) -> None:
    state = open_state(f"sqlite:///{tmp_path}/s.sqlite3")
    with pytest.raises(KeyboardInterrupt), state.begin() as connection:
        connection.execute(t.setting.insert().values(name="a", value=1))
        raise KeyboardInterrupt
    with state.read() as connection:
        assert connection.execute(select(func.count()).select_from(t.setting)).scalar_one() == 0


@pytest.mark.parametrize("url", ["nonsense", "oracle9://x/y", "mysql+nodriver://x/y"])
def test_a_url_that_cannot_be_opened_is_said_in_one_sentence(url: str) -> None:
    with pytest.raises(StateError, match="cannot be opened") as caught:
        open_state(url)
    assert "state:" in caught.value.hint


def test_a_file_that_is_no_database_is_said_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite3"
    path.write_bytes(b"holiday photos " * 500)
    with pytest.raises(StateError):
        open_state(f"sqlite:///{path}")
    assert path.read_bytes().startswith(b"holiday")


def opened_files(path: Path) -> int:
    """How often this process has a file open."""
    return sum(
        1 for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink() and os.path.realpath(entry) == str(path)
    )


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="the system does not list a process's open files")
def test_one_connection_stays_open_during_a_run_until_another_library_reads(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite3"
    state = open_state(f"sqlite:///{path}")
    with state.alone():
        for _ in range(3):
            with state.begin() as connection:
                connection.execute(select(t.person))
            assert opened_files(path) == 1
        with state.strange_reader():
            assert opened_files(path) == 0
        with state.read() as connection:
            assert connection.execute(select(t.person)).all() == []
        assert opened_files(path) == 1
    assert opened_files(path) == 0


def test_at_rest_the_state_is_one_complete_file(tmp_path: Path) -> None:
    path, copy = tmp_path / "s.sqlite3", tmp_path / "copy.sqlite3"
    state = open_state(f"sqlite:///{path}")
    with state.alone():
        keep(state, "in a run", 1)
        assert Path(f"{path}-wal").exists()
    keep(state, "outside", 2)
    assert not Path(f"{path}-wal").exists()
    copy.write_bytes(path.read_bytes())
    assert [get_kept(open_state(f"sqlite:///{copy}"), name) for name in ("in a run", "outside")] == [1, 2]
