"""The state database: opened with migrate-or-refuse, one writer at a time, short transactions only."""

import select
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import IsolationLevel
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DisconnectionError,
    InternalError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.pool import QueuePool, StaticPool

from core.errors import StateError
from sync.state.faults import AWAY, misfit, unavailable
from sync.state.gate import Aside, gate_of
from sync.state.lease import LIFE_SECONDS, Fence, hold
from sync.state.revisions import HEAD, migrate

__all__ = ["HEAD", "State", "open_state", "readable_by_others"]

BUSY_TIMEOUT_MS = 30_000
"""How long a writer waits for another one's transaction before it is told."""

_PATIENCE = (
    f"SELECT set_config('idle_in_transaction_session_timeout', '{LIFE_SECONDS:.0f}s', true), "
    f"set_config('lock_timeout', '{BUSY_TIMEOUT_MS}ms', true)"
)
"""The bounds of one writing transaction of PostgreSQL. A process that stands still in the middle of one would keep its locks for
as long as it does, and nobody could take over: the server ends it after a lease's life.
"""

_CONNECT = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
"""How PostgreSQL is connected to where `state:` does not say otherwise: a server that vanished is noticed within a minute."""

_RESTED_SECONDS = 5.0
"""After so long a rest a connection of PostgreSQL is tried before it is used."""


class State:
    """An open state database.

    `begin()` is the only way to write: one short transaction, committed at its end or rolled back by any exception.
    """

    def __init__(self, engine: Engine, url: str) -> None:
        self.engine = engine
        self.url = url
        self._sqlite = engine.dialect.name == "sqlite"
        self._private = self._sqlite and make_url(url).database in (None, "", ":memory:")
        self._fence: Fence | None = None
        self._gate = gate_of(str(Path(make_url(url).database or "").absolute()) if self._sqlite else url)
        self._gate.keep(engine)

    @contextmanager
    def begin(self, *, fenced: bool = True) -> Iterator[Connection]:
        """One writing transaction.

        Args:
            fenced: fail instead of committing where another process took the run over. Only for what belongs to no run.

        Raises:
            LeaseLost: this run was overtaken; nothing was written.
            StateUnavailable: the database went away, or takes nothing now; nothing was written.
            StateError: it does not take a value; nothing was written.

        """
        with self._connected() as connection:
            if self._sqlite:
                connection.exec_driver_sql("BEGIN IMMEDIATE")  # writers queue here instead of failing half-way
            else:
                connection.exec_driver_sql(_PATIENCE)
            fence = self._fence if fenced else None
            moment = None
            try:
                if fence is not None:
                    fence.check(connection)
                yield connection
                if fence is not None and fence.is_due():  # other beats wait behind this transaction
                    moment = fence.beat(connection)
            except BaseException:
                connection.rollback()
                raise
            connection.commit()
            if fence is not None and moment is not None:
                fence.confirmed = moment

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A read-only look; several statements see one consistent snapshot."""
        with self._connected("REPEATABLE READ") as connection:
            if self._sqlite:
                connection.exec_driver_sql("BEGIN")
            yield connection  # closing it rolls back

    @contextmanager
    def outside(self) -> Iterator[Connection]:
        """A connection outside any transaction: for a single question (a server is asked once, where a transaction would take
        three ways), and for what a database does as a whole (VACUUM).
        """
        with self._connected("AUTOCOMMIT") as connection:
            yield connection

    @contextmanager
    def alone(self, *, wait_seconds: float = 0.0, life_seconds: float = LIFE_SECONDS) -> Iterator[None]:
        """Be the only run on this database: every commit until the end of the block is fenced.

        Raises:
            AlreadyRunning: another process is at it.

        """
        if self._private:
            yield
            return
        with hold(self, "sync", wait_seconds=wait_seconds, life_seconds=life_seconds) as fence:
            self._fence = fence
            try:
                yield
            finally:
                self._fence = None
                self._rest()

    def require_lease(self) -> None:
        """Before a request that changes something outside: whether this run may still act.

        Raises:
            LeaseLost: it stood still for too long.

        """
        if self._fence is not None:
            self._fence.require()

    @contextmanager
    def strange_reader(self, aside: Aside | None = None) -> Iterator[None]:
        """While something else than this object reads the SQLite file in this process (see `sync.state.gate`)."""
        with self._gate.stranger(aside):
            yield

    @contextmanager
    def beside_stranger(self) -> Iterator[Aside | None]:
        """The way through whatever else reads the SQLite file in this process, if it does; that stays so in the block."""
        with self._gate.beside() as aside:
            yield aside

    @contextmanager
    def _connected(self, isolation: IsolationLevel | None = None) -> Iterator[Connection]:
        """A connection of the pool; SQLite has one level only."""
        try:
            with self._gate.ours(), self._translated(), self.engine.connect() as connection:
                if isolation is not None and not self._sqlite:
                    connection.execution_options(isolation_level=isolation)
                yield connection
        finally:
            if self._fence is None:
                self._rest()

    def _rest(self) -> None:
        """Outside a run SQLite's file is closed: closing writes the whole log into it, so that at rest it is one complete file."""
        if self._sqlite and not self._private:
            self.engine.dispose()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """A database that went away in the middle, or that does not take a value, is said so, in our words."""
        try:
            yield
        except AWAY as error:
            raise unavailable(error) from error
        except DataError as error:
            raise misfit(error) from None  # the driver's own words quote the value

    def close(self) -> None:
        self.engine.dispose()


def open_state(url: str, *, create: bool = True, keep_copy: bool = True) -> State:
    """Open, creating or migrating as needed.

    Args:
        create: make the database if it is not there.
        keep_copy: copy an SQLite database of an older schema before it is migrated.

    Raises:
        StateTooNew: a newer Mikomi wrote it.
        StateError: it cannot be opened, is no Mikomi database, or does not exist and `create` is false.

    """
    try:
        parsed = make_url(url)
        if (
            parsed.drivername == "postgres"
        ):  # as hosters write it; everybody who asks the state for its URL reads the whole name
            parsed = parsed.set(drivername="postgresql")
            url = parsed.render_as_string(hide_password=False)
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
        _migrate(engine, keep_copy=keep_copy)
    except BaseException:
        engine.dispose()
        raise
    return State(engine, url)


def _migrate(engine: Engine, *, keep_copy: bool) -> None:
    try:
        migrate(engine, keep_copy=keep_copy)
    except (OperationalError, InternalError) as error:
        hint = "check `state:` in mikomi.yaml"
        if engine.dialect.name == "postgresql":
            hint = "see whether the database server runs and can be reached; check `state:` in the settings, or MIKOMI_STATE"
        raise StateError(f"the state database cannot be used: {error.orig}", hint=hint) from error
    except SQLAlchemyError as error:
        raise StateError(
            f"this is not a state database of Mikomi: {getattr(error, 'orig', None) or error}",
            hint="check `state:` in mikomi.yaml",
        ) from error


def _engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
        unsaid = {name: value for name, value in _CONNECT.items() if name not in parsed.query}
        engine = create_engine(parsed, hide_parameters=True, connect_args=unsaid)
        _look_before_use(engine)
        return engine
    if parsed.get_backend_name() != "sqlite":
        raise ArgumentError(f"{parsed.get_backend_name()} is not supported; use sqlite or postgresql")
    memory = parsed.database in (None, "", ":memory:")
    engine = create_engine(
        url,
        hide_parameters=True,  # an error's text names the statement, never the values: they are people's
        connect_args={"timeout": BUSY_TIMEOUT_MS / 1000, "check_same_thread": False},
        # The last connection that closes writes the whole log into the file: during a run one stays open between transactions.
        **({"poolclass": StaticPool} if memory else {"poolclass": QueuePool, "pool_size": 1, "max_overflow": -1}),
    )

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA secure_delete=ON")  # what is deleted is overwritten, not only unlinked
        cursor.execute("PRAGMA cache_size=-16384")
        cursor.close()

    return engine


def _look_before_use(engine: Engine) -> None:
    """Open a connection anew that died while it rested.

    A server that goes away says so or hangs up, and either can be read without asking it: so short rests cost nothing. After
    a longer one, or where neither came (its address answers for another one now), it is asked.
    """

    @event.listens_for(engine, "checkin")
    def rest(_connection: Any, record: Any) -> None:
        record.info["rests_since"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def look(connection: Any, record: Any, _fairy: Any) -> None:
        since = record.info.get("rests_since")  # none: it was opened just now
        if since is not None and not _stands(engine, connection, time.monotonic() - since):
            raise DisconnectionError


def _stands(engine: Engine, connection: Any, rested_seconds: float) -> bool:
    try:
        waiting = select.poll()
        waiting.register(connection.fileno(), select.POLLIN)
        if waiting.poll(0):
            return False
        return rested_seconds < _RESTED_SECONDS or engine.dialect.do_ping(connection)
    except engine.dialect.loaded_dbapi.Error:
        return False


def _keep_private(path: Path) -> None:
    """The file holds personal data: it is created readable by its owner only, and one that others may read is narrowed.

    A file of another owner stays as it is; `mikomi doctor` warns of it.
    """
    if not path.exists():
        path.touch(mode=0o600)
    for file in readable_by_others(path):
        with suppress(PermissionError):
            file.chmod(0o600)


def readable_by_others(path: Path) -> list[Path]:
    """What belongs to an SQLite database and is open to more people than its owner."""
    files = [path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))]
    return [file for file in files if file.exists() and file.stat().st_mode & 0o077]


def now_ms() -> int:
    """The machine's own clock, for attempts, leases and run records; cursors and scores use the CRM's time."""
    return time.time_ns() // 1_000_000
