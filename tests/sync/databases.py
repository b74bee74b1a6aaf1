"""The databases of the tests: SQLite always, PostgreSQL where there is one.

PostgreSQL is the server that `MIKOMI_TEST_PG` names (a URL whose user may create databases), else one that `pgserver`
starts for this process; without either the tests of it are skipped, and say why. Every test gets a database of its own, a
copy of a migrated template.
"""

import os
import shutil
import sqlite3
import tempfile
import warnings
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import cache
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Protocol

import psycopg
import pytest
from psycopg import sql
from sqlalchemy.engine import make_url

from sync.state import open_state

SQLITE, POSTGRESQL = "sqlite", "postgresql"
BOTH = (SQLITE, POSTGRESQL)

_numbers = count(1)


class NoServer(Exception):
    """There is no PostgreSQL here; the reason in one sentence."""


class Server:
    """A PostgreSQL server. `make` gives migrated databases, each dropped when its block ends."""

    def __init__(self, url: str) -> None:
        """`url`: of any database of the server, as a user who may create others."""
        self.url = make_url(url)
        self._administrator = self._connect()
        self._free: list[str] = []  # names of databases that were dropped
        self._template = self._name()
        self._order(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(self._template)))
        open_state(self._of(self._template)).close()

    def close(self) -> None:
        self._drop(self._template)
        self._administrator.close()

    @contextmanager
    def make(self, *, empty: bool = False, copy_of: str | None = None) -> Iterator[str]:
        """A database of its own, as the URL that `open_state` takes.

        Args:
            empty: not even migrated.
            copy_of: the URL of a database that nobody is connected to.

        """
        name = self._name()
        original = make_url(copy_of).database if copy_of else None
        template = sql.Identifier("template0" if empty else original or self._template)
        self._order(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), template))
        try:
            yield self._of(name)
        finally:
            self._drop(name)
            self._free.append(name)

    def _name(self) -> str:
        return self._free.pop() if self._free else f"mikomi_test_{os.getpid()}_{next(_numbers)}"

    def _of(self, name: str) -> str:
        return self.url.set(drivername="postgresql", database=name).render_as_string(hide_password=False)

    def _drop(self, name: str) -> None:
        self._order(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _order(self, statement: sql.Composed) -> None:
        try:
            self._administrator.execute(statement)
        except psycopg.OperationalError:
            if not self._administrator.closed:
                raise
            # The server was restarted in between.
            self._administrator = self._connect()
            self._administrator.execute(statement)

    def _connect(self) -> "psycopg.Connection[tuple[object, ...]]":
        return psycopg.connect(self._of(str(self.url.database)), autocommit=True)


@contextmanager
def start_server() -> Iterator[Server]:
    """The named server, or one of our own until the block ends.

    Raises:
        NoServer: neither is there.

    """
    with ExitStack() as stack:
        named = os.environ.get("MIKOMI_TEST_PG")
        server = Server(named or stack.enter_context(_own_server()))
        stack.callback(server.close)
        yield server


@contextmanager
def _own_server() -> Iterator[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # platformdirs misses XDG_RUNTIME_DIR in containers; nothing is kept there
            from pgserver.postgres_server import get_server
    except ImportError as error:
        reason = "no PostgreSQL: MIKOMI_TEST_PG names no server, and pgserver has no wheel for this Python"
        raise NoServer(reason) from error
    # Not pytest's folder: as root the server runs as a user of its own, who may not look into that.
    folder = Path(tempfile.mkdtemp(prefix="mikomi-pg-"))
    try:
        server = get_server(folder, cleanup_mode="stop")
    except Exception as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise NoServer(f"no PostgreSQL: pgserver cannot start one here ({type(error).__name__}: {error})") from error
    try:
        url = server.get_uri()
        keep_in_memory(url)
        yield url
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def keep_in_memory(url: str) -> None:
    """Let a server of ours not wait for disks: what is tested is what transactions show, never that disks keep it. Nor does it tidy
    up by itself, beside tests that live for seconds.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("ALTER SYSTEM SET full_page_writes = off")
        connection.execute("ALTER SYSTEM SET autovacuum = off")
        connection.execute("SELECT pg_reload_conf()")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """The server of this process, started when the first test asks for it."""
    with ExitStack() as stack:
        try:
            server = stack.enter_context(start_server())
        except NoServer as error:
            pytest.skip(str(error))
        yield server


def new_sqlite(path: Path) -> str:
    """The URL of a migrated database, a copy of one that is made once a process."""
    path.touch(mode=0o600)
    path.write_bytes(_migrated())
    return f"sqlite:///{path}"


@cache
def _migrated() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.sqlite3"
        open_state(f"sqlite:///{path}").close()
        return path.read_bytes()


@contextmanager
def fresh_database(kind: str, request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    """The URL of a new database of one of `BOTH`: for fixtures of any scope."""
    if kind == SQLITE:
        yield new_sqlite(folder / "state.sqlite3")
        return
    server: Server = request.getfixturevalue("postgresql")
    with server.make() as url:
        yield url


class Spare(Protocol):
    """Another database of the same kind: a new one, or a copy of one that nobody is connected to. Its URL."""

    def __call__(self, copy_of: str | None = None) -> str: ...


@pytest.fixture
def spare(database: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Spare]:
    with ExitStack() as stack:

        def make(copy_of: str | None = None) -> str:
            if make_url(database).get_backend_name() == POSTGRESQL:
                server: Server = request.getfixturevalue("postgresql")
                return stack.enter_context(server.make(copy_of=copy_of))
            path = tmp_path / f"spare{next(_numbers)}.sqlite3"
            if copy_of is None:
                return new_sqlite(path)
            with (
                closing(sqlite3.connect(str(make_url(copy_of).database))) as source,
                closing(sqlite3.connect(path)) as target,
            ):
                source.backup(target)
            return f"sqlite:///{path}"

        yield make


@pytest.fixture(params=BOTH)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a new database; every test that asks for it runs on both."""
    with fresh_database(request.param, request, tmp_path) as url:
        yield url


def on_one_database(metafunc: pytest.Metafunc) -> None:
    """A module's `pytest_generate_tests`: each test that asks for a database runs on one of them, half of the tests on either.

    For whole passes, where the CRMs are the subject and half a minute is soon spent; what is about the database itself runs on
    both, and so does a test here that says so (`on_both`). Where there is no PostgreSQL all run on SQLite.
    """
    asked = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    if "database" in metafunc.fixturenames and "database" not in asked:
        here = BOTH if "MIKOMI_TEST_PG" in os.environ or find_spec("pgserver") else (SQLITE,)
        kind = here[zlib.crc32(metafunc.function.__name__.encode()) % len(here)]
        metafunc.definition.add_marker(pytest.mark.parametrize("database", [kind], indirect=True))


on_both = pytest.mark.parametrize("database", BOTH, indirect=True)
