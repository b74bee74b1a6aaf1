"""The state database: opened with migrate-or-refuse, one writer at a time, short transactions only."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import NullPool, StaticPool

from core.errors import AlreadyRunning, StateError, StateTooNew

__all__ = ["HEAD", "State", "open_state"]

HEAD = "0001"
"""The schema revision this code writes; `migrations/versions` has one file per revision."""

BUSY_TIMEOUT_MS = 30_000


class State:
    """An open state database.

    `begin()` is the only way to write: one short transaction, committed at its end or rolled back by any exception.
    """

    def __init__(self, engine: Engine, url: str) -> None:
        self.engine = engine
        self.url = url

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        with self.engine.connect() as connection:
            if self.engine.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")  # writers queue here instead of failing half-way
            try:
                yield connection
            except BaseException:
                connection.rollback()
                raise
            connection.commit()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A read-only look; sees one consistent snapshot."""
        with self.engine.connect() as connection:
            if self.engine.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN")
            yield connection
            connection.rollback()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Be the only run on this database. The lock is the operating system's: it ends with the process, however.

        Raises:
            AlreadyRunning: another process is at it.
        """
        path = make_url(self.url).database
        if self.engine.dialect.name != "sqlite" or path in (None, "", ":memory:"):
            yield
            return
        with open(f"{path}.lock", "a+", encoding="utf-8", opener=_open_private) as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                lock.seek(0)
                who = lock.read().strip() or "another process"
                raise AlreadyRunning(f"a sync is running already ({who})", hint="wait until it has ended") from error
            lock.truncate(0)
            lock.write(f"process {os.getpid()}")
            lock.flush()
            yield

    def close(self) -> None:
        self.engine.dispose()


def open_state(url: str, *, create: bool = True) -> State:
    """Open, creating or migrating as needed.

    Raises:
        StateTooNew: a newer Mikomi wrote it.
        StateError: it cannot be opened, is no Mikomi database, or does not exist and `create` is false.

    """
    try:
        parsed = make_url(url)
        engine = _engine(url)
    except (ArgumentError, ImportError, ValueError) as error:
        raise StateError(f"the state cannot be opened: {error}", hint="check `state:` in mikomi.yaml") from error
    if parsed.get_backend_name() == "sqlite" and parsed.database and parsed.database != ":memory:":
        path = Path(parsed.database)
        if not path.exists() and not create:
            raise StateError(f"there is no state database at {path}", hint="mikomi sync")
        if not path.parent.is_dir():
            raise StateError(
                f"the folder of the state database does not exist: {path.parent}", hint=f"mkdir -p {path.parent}"
            )
        try:
            _keep_private(path)
        except (OSError, ValueError) as error:
            raise StateError(f"the state cannot be opened: {error}", hint="check `state:` in mikomi.yaml") from error
    try:
        _migrate(engine)
    except OperationalError as error:
        raise StateError(
            f"the state database cannot be used: {error.orig}", hint="check `state:` in mikomi.yaml"
        ) from error
    except SQLAlchemyError as error:
        raise StateError(
            f"this is not a state database of Mikomi: {getattr(error, 'orig', None) or error}",
            hint="check `state:` in mikomi.yaml",
        ) from error
    return State(engine, url)


def _engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True)
    memory = parsed.database in (None, "", ":memory:")
    engine = create_engine(
        url,
        poolclass=StaticPool if memory else NullPool,
        connect_args={"timeout": BUSY_TIMEOUT_MS / 1000, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA cache_size=-65536")
        cursor.close()

    return engine


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _keep_private(path: Path) -> None:
    """The file holds personal data: it is created readable by its owner only."""
    if not path.exists():
        path.touch(mode=0o600)


def _migrate(engine: Engine) -> None:
    with engine.connect() as connection:
        tables = set(inspect(connection).get_table_names())
        found = (
            connection.execute(text("select version_num from alembic_version")).scalar()
            if "alembic_version" in tables
            else None
        )
    if found == HEAD:
        return
    if found is None and tables - {"alembic_version"}:
        raise StateError("this database holds tables that are not Mikomi's", hint="name an empty database in `state:`")
    if found is not None and found > HEAD:
        raise StateTooNew(
            f"the state database has schema {found}, this program knows {HEAD}", hint="install the newer Mikomi again"
        )
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        config.attributes["connection"] = connection
        command.upgrade(config, HEAD)
        connection.commit()


def now_ms() -> int:
    """The machine's own clock, for attempts, leases and run records; cursors and scores use the CRM's time."""
    return time.time_ns() // 1_000_000
