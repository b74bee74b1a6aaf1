"""Schema revisions: what they make is what the code says, nothing is lost on the way, and no moment of dying hurts."""

import re
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, MetaData, create_engine, event, inspect, select, text
from sqlalchemy.exc import OperationalError

import sync.state
from core.errors import StateError
from sync.state import HEAD, open_state
from sync.state import schema as t
from sync.state.revisions import find_revision, migrate
from tests.sync.databases import Server
from tests.sync.state.old import ROWS, fill_0001, make_0001, migrations


@pytest.fixture
def empty_postgresql(postgresql: Server) -> Iterator[Engine]:
    with postgresql.make(empty=True) as url:
        engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:", 1))
        yield engine
        engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A database in which nothing is yet."""
    if request.param == "postgresql":
        yield request.getfixturevalue("empty_postgresql")
        return
    engine = create_engine(f"sqlite:///{tmp_path}/state.sqlite3")
    yield engine
    engine.dispose()


def assert_everything_there(engine: Engine) -> None:
    """Each row of the old database, in the columns it had."""
    with engine.connect() as connection:
        for name, rows in ROWS.items():
            table = t.metadata.tables[name]
            found = [dict(row) for row in connection.execute(select(table)).mappings()]
            assert len(found) == len(rows), name
            for row in rows:
                assert any(all(one[key] == value for key, value in row.items()) for one in found), (name, row)


def differences(engine: Engine) -> list[Any]:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        return [d for d in compare_metadata(context, t.metadata) if "alembic_version" not in str(d)]


def test_migrations_make_what_the_schema_says(empty: Engine) -> None:
    migrate(empty)
    assert differences(empty) == []


def fine_print(engine: Engine) -> dict[str, Any]:
    """What autogenerate does not compare: conditions of indexes, clustering, numbers that are never given out twice."""
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            indexes = connection.execute(text("SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"))
            defaults = connection.execute(
                text(
                    "SELECT table_name || '.' || column_name, column_default FROM information_schema.columns"
                    " WHERE table_schema = 'public' AND column_default IS NOT NULL"
                )
            )
            return {name: said for found in (indexes, defaults) for name, said in found}
        rows = connection.execute(text("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL")).all()
    conditions = {name: re.sub(r"\s+", " ", sql).replace('"', "") for kind, name, sql in rows if kind == "index"}
    marks = {
        name: (("AUTOINCREMENT" in sql.upper()), ("WITHOUT ROWID" in sql.upper()))
        for kind, name, sql in rows
        if kind == "table"
    }
    return conditions | marks


def test_migrations_make_the_fine_print_too(empty: Engine, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    migrate(empty)
    made = fine_print(empty)
    if empty.dialect.name == "postgresql":
        server: Server = request.getfixturevalue("postgresql")
        with server.make(empty=True) as url:
            fresh = create_engine(url.replace("postgresql:", "postgresql+psycopg:", 1))
            t.metadata.create_all(fresh)
            wanted = fine_print(fresh)
            fresh.dispose()
    else:
        fresh = create_engine(f"sqlite:///{tmp_path}/fresh.sqlite3")
        t.metadata.create_all(fresh)
        wanted = fine_print(fresh)
        fresh.dispose()
    made = {name: value for name, value in made.items() if "alembic" not in name}
    assert made == wanted


def test_a_difference_would_be_seen(empty: Engine) -> None:
    """The two tests above can fail."""
    migrate(empty)
    with empty.connect() as connection:
        connection.execute(text("DROP INDEX ix_record_buyer"))
        connection.execute(text("ALTER TABLE outbox DROP COLUMN hold_until"))
        connection.commit()
    assert {d[0] for d in differences(empty)} == {"add_index", "add_column"}


def test_one_chain_ends_at_head() -> None:
    script = ScriptDirectory.from_config(migrations())
    assert script.get_heads() == [HEAD]
    revisions = [r.revision for r in script.walk_revisions()]
    assert revisions == sorted(revisions, reverse=True)
    folder = Path(sync.state.__file__).parent / "migrations" / "versions"
    assert {path.name[:4] for path in folder.glob("[0-9]*.py")} == set(revisions)


def test_nothing_is_lost_on_the_way(empty: Engine) -> None:
    fill_0001(empty)
    migrate(empty)
    assert find_revision(empty) == HEAD
    assert_everything_there(empty)
    assert differences(empty) == []
    with empty.connect() as connection:
        assert connection.execute(select(t.outbox.c.hold_until)).scalars().all() == [None]


def test_migrating_again_does_nothing(empty: Engine) -> None:
    fill_0001(empty)
    migrate(empty)
    migrate(empty)
    assert_everything_there(empty)


# --- the copy --------------------------------------------------------------------------------------------------------


def test_an_sqlite_state_is_copied_before(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite3"
    make_0001(path)
    open_state(f"sqlite:///{path}").close()
    copy = tmp_path / f"state.sqlite3.before-{HEAD}"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    engine = create_engine(f"sqlite:///{copy}")
    assert find_revision(engine) == "0001"
    with engine.connect() as connection:
        old = MetaData()
        old.reflect(connection)
        assert {name: len(connection.execute(select(old.tables[name])).all()) for name in ROWS} == {
            name: len(rows) for name, rows in ROWS.items()
        }
    engine.dispose()
    assert sorted(p.name for p in tmp_path.iterdir() if "scratch" in p.name) == []


def test_a_new_or_current_state_is_not_copied(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state.sqlite3"
    open_state(url).close()
    open_state(url).close()
    assert [p.name for p in tmp_path.iterdir() if "before" in p.name] == []


def test_the_first_copy_stays(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite3"
    make_0001(path)
    copy = tmp_path / f"state.sqlite3.before-{HEAD}"
    copy.write_bytes(b"from before")
    open_state(f"sqlite:///{path}").close()
    assert copy.read_bytes() == b"from before"


def test_without_space_for_the_copy_nothing_is_touched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.sqlite3"
    make_0001(path)

    @contextmanager
    def nowhere(folder: Path) -> Iterator[Path]:
        yield folder / "missing" / "scratch"

    monkeypatch.setattr("sync.state.revisions.scratch_file", nowhere)
    with pytest.raises(StateError, match="must be copied"):
        open_state(f"sqlite:///{path}")
    engine = create_engine(f"sqlite:///{path}")
    assert find_revision(engine) == "0001"
    engine.dispose()


# --- dying half-way --------------------------------------------------------------------------------------------------

DYING = """
import os, shutil, signal, sqlite3, sys
from pathlib import Path
from sqlalchemy import Engine, event
from sync.state import open_state
from alembic import command, config  # what a fork would otherwise load anew each time

folder, source = Path(sys.argv[1]), Path(sys.argv[2])

def run(path, last):
    seen = 0
    def die(*_):
        nonlocal seen
        seen += 1
        if seen > last:
            os.kill(os.getpid(), signal.SIGKILL)
    event.listen(Engine, "before_cursor_execute", die)
    event.listen(Engine, "commit", die)
    open_state(f"sqlite:///{path}").close()
    os._exit(0)

statement = 0
while True:
    path = folder / f"{statement}.sqlite3"
    shutil.copyfile(source, path)
    child = os.fork()
    if child == 0:
        run(path, statement)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        sys.exit(os.WEXITSTATUS(status))
    assert os.WTERMSIG(status) == signal.SIGKILL
    statement += 1
"""


def test_killed_at_any_statement_the_state_is_whole(tmp_path: Path) -> None:
    """A process for every statement of the way: it dies just before that one, and another one opens what it left."""
    source = tmp_path / "source.sqlite3"
    make_0001(source)
    folder = tmp_path / "killed"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", DYING, folder, source], timeout=100, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    left = sorted(folder.glob("*.sqlite3"), key=lambda path: int(path.stem))
    assert len(left) > 15
    revisions = []
    for path in left:
        with closing(sqlite3.connect(path)) as raw:
            revisions.append(raw.execute("SELECT version_num FROM alembic_version").fetchone()[0])
            assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        engine = create_engine(f"sqlite:///{path}")
        if revisions[-1] == "0001":
            names = set(inspect(engine).get_table_names())
            assert "audit" not in names, "half a migration was committed"
        engine.dispose()
    assert revisions == sorted(revisions)
    assert set(revisions) == {"0001", HEAD}
    for path in left[:: max(1, len(left) // 8)]:
        state = open_state(f"sqlite:///{path}")
        assert_everything_there(state.engine)
        assert differences(state.engine) == []
        state.close()


def test_a_killed_backend_leaves_the_old_schema(empty_postgresql: Engine) -> None:
    """PostgreSQL ends the session at every tenth statement of the way; then it is done again, whole."""
    engine = empty_postgresql
    fill_0001(engine)
    admin = create_engine(engine.url, isolation_level="AUTOCOMMIT")
    deaths = 0
    for last in range(3, 60, 10):
        seen = 0
        dying = create_engine(engine.url)

        @event.listens_for(dying, "before_cursor_execute")
        def die(connection: Any, *_: Any, last: int = last) -> None:
            nonlocal seen
            seen += 1
            if seen == last:
                pid = connection.connection.driver_connection.info.backend_pid
                with admin.connect() as other:
                    other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})

        try:
            migrate(dying)
        except OperationalError:
            deaths += 1
            assert find_revision(engine) == "0001"
            assert "audit" not in set(inspect(engine).get_table_names())
        finally:
            dying.dispose()
    admin.dispose()
    assert deaths > 1
    migrate(engine)
    assert_everything_there(engine)
    assert differences(engine) == []


# --- two at once -----------------------------------------------------------------------------------------------------


def test_two_that_start_together_migrate_once(empty: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """All have seen the old schema before the first begins to change it."""
    fill_0001(empty)
    together = threading.Barrier(4)

    def find_and_wait(engine: Engine) -> str | None:
        found = find_revision(engine)
        together.wait(timeout=30)
        return found

    monkeypatch.setattr("sync.state.revisions.find_revision", find_and_wait)
    failures: list[BaseException] = []

    def start() -> None:
        engine = create_engine(empty.url)
        if engine.dialect.name == "sqlite":
            event.listen(engine, "connect", lambda raw, _: setattr(raw, "isolation_level", None))
        try:
            migrate(engine)
        except BaseException as error:  # told to the test below
            failures.append(error)
        finally:
            engine.dispose()

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    monkeypatch.undo()
    assert find_revision(empty) == HEAD
    assert_everything_there(empty)


def test_two_processes_that_start_together(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite3"
    make_0001(path)
    code = f"from sync.state import open_state; open_state('sqlite:///{path}').close()"
    started = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) for _ in range(2)]
    for process in started:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said.decode()
    engine = create_engine(f"sqlite:///{path}")
    assert_everything_there(engine)
    assert differences(engine) == []
    engine.dispose()
