"""Our own calls by hour: what makes a share of the day outlive a process, and tells whether a connection is well.

Calls are counted before they are sent, a few ahead at a time: a process that is killed leaves too many counted, never too few.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, delete, func, select, update
from sqlalchemy.engine import make_url

from connectors.budget import MemoryLedger
from core.records import Millis
from sync.state import State, open_state
from sync.state import schema as t
from sync.state.kept import get_kept
from sync.state.rows import insert_new

HOUR_MS = 3_600_000
WINDOW_HOURS = 24
AHEAD = 20
"""Calls counted at once: as many transactions less, and as many counted too much after a kill."""

LOOK_AGAIN_MS = 60_000
"""How often a ledger looks whether its connection is in doubt."""


@dataclass(frozen=True, slots=True)
class Health:
    """Calls of the last hour or two, and how many of them failed for a reason of the CRM's or the network's."""

    calls: int
    failed: int


class CallBook:
    """The state in which calls are counted, opened when there is one: before the first sync there is none."""

    def __init__(self, state_url: str) -> None:
        self._state_url = state_url
        self._opened: State | None = None

    def find(self) -> State | None:
        """The open state; None while there is none yet, or where it is this process's alone."""
        if self._opened is None and _exists(self._state_url):
            self._opened = open_state(self._state_url, create=False)
        return self._opened

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None


def _exists(state_url: str) -> bool:
    url = make_url(state_url)
    if url.get_backend_name() != "sqlite":
        return True
    return bool(url.database) and url.database != ":memory:" and Path(str(url.database)).exists()


def calls_since(connection: Connection, system: str, hour: int) -> int:
    """Calls counted in this hour (hours since 1970 UTC) and later."""
    counted = select(func.coalesce(func.sum(t.calls_made.c.calls), 0)).where(*_from(system, hour))
    return int(connection.execute(counted).scalar_one())


def health(connection: Connection, system: str, now: Millis) -> Health:
    """How the calls of this hour and the one before it went."""
    sums = (func.coalesce(func.sum(column), 0) for column in (t.calls_made.c.calls, t.calls_made.c.failed))
    calls, failed = connection.execute(select(*sums).where(*_from(system, now // HOUR_MS - 1))).one()
    return Health(int(calls), int(failed))


def forget_failures(connection: Connection, system: str, now: Millis) -> None:
    """The connection works again: what failed before says nothing about it any more."""
    where = (*_from(system, now // HOUR_MS - 1), t.calls_made.c.failed > 0)
    connection.execute(update(t.calls_made).where(*where).values(failed=0))


def breaker_name(system: str) -> str:
    """The setting that remembers a connection's failed runs: {"runs", "trips", "tripped_at"}; none where all is well."""
    return f"breaker {system}"


class StateLedger:
    """Counts one connection's calls in the state database. See `connectors.budget.CallLedger`.

    Args:
        find_state: the open state, or None while there is none yet: until then calls are counted in memory alone.
        system: connection name.
    """

    def __init__(self, find_state: Callable[[], State | None], system: str) -> None:
        self._find_state = find_state
        self._system = system
        self._fallback = MemoryLedger()
        self._hour = 0
        self._ahead = 0  # counted in `_hour` and not sent yet
        self._total = 0  # of the window when it was last counted, those ahead included
        self._doubtful = False
        self._looked_at: Millis | None = None
        self._worked_at: Millis = 0

    @property
    def doubtful(self) -> bool:
        return self._doubtful

    def take(self, calls: int, allowed: int | None, now: Millis) -> Millis | None:
        state = self._find_state()
        if state is None:
            return self._fallback.take(calls, allowed, now)
        if self._looked_at is None or not 0 <= now - self._looked_at < LOOK_AGAIN_MS:
            tripped_at = (get_kept(state, breaker_name(self._system)) or {}).get("tripped_at")
            self._doubtful = tripped_at is not None and tripped_at > self._worked_at
            self._looked_at = now
        fits = allowed is None or self._total - self._ahead + calls <= allowed
        if self._hour == now // HOUR_MS and self._ahead >= calls and fits:
            self._ahead -= calls
            return None
        return self._count_ahead(state, calls, allowed, now)

    def note(self, *, worked: bool, now: Millis) -> None:
        if worked:
            self._doubtful, self._worked_at = False, now
        elif (state := self._find_state()) is not None:
            with state.begin(fenced=False) as connection:
                self._add(connection, now // HOUR_MS, failed=1)

    def close(self) -> None:
        if self._ahead and (state := self._find_state()) is not None:
            with state.begin(fenced=False) as connection:
                self._give_back(connection)

    def _count_ahead(self, state: State, calls: int, allowed: int | None, now: Millis) -> Millis | None:
        hour = now // HOUR_MS
        with state.begin(fenced=False) as connection:
            _alone(connection, self._system)
            self._give_back(connection)
            self._take_back(connection, hour)
            total = calls_since(connection, self._system, hour - WINDOW_HOURS)
            room = max(calls, AHEAD) if allowed is None else min(max(calls, AHEAD), allowed - total)
            if room < calls:
                self._total = total
                return _free_at(connection, self._system, hour)
            self._add(connection, hour, calls=room)
        self._hour, self._ahead, self._total = hour, room - calls, total + room
        return None

    def _give_back(self, connection: Connection) -> None:
        if self._ahead:
            self._add(connection, self._hour, calls=-self._ahead)
            self._ahead = 0

    def _take_back(self, connection: Connection, hour: int) -> None:
        """Calls that were counted by a clock that stood ahead were made by now; when is not known: they count from now on."""
        ahead = (t.calls_made.c.system == self._system, t.calls_made.c.hour > hour)
        rows, calls = connection.execute(select(func.count(), func.sum(t.calls_made.c.calls)).where(*ahead)).one()
        if rows:
            self._add(connection, hour, calls=int(calls))
            connection.execute(delete(t.calls_made).where(*ahead))

    def _add(self, connection: Connection, hour: int, *, calls: int = 0, failed: int = 0) -> None:
        row = t.calls_made.c
        insert_new(connection, t.calls_made, [{"system": self._system, "hour": hour, "calls": 0, "failed": 0}])
        counted = {"calls": row.calls + calls, "failed": row.failed + failed}
        connection.execute(update(t.calls_made).where(row.system == self._system, row.hour == hour).values(**counted))


def _from(system: str, hour: int) -> tuple[ColumnElement[bool], ...]:
    return (t.calls_made.c.system == system, t.calls_made.c.hour >= max(hour, 1))


def _alone(connection: Connection, system: str) -> None:
    """One process counts at a time. SQLite has one writer anyway; elsewhere the row of hour 0 is held."""
    if connection.dialect.name == "sqlite":
        return
    insert_new(connection, t.calls_made, [{"system": system, "hour": 0, "calls": 0, "failed": 0}])
    held = select(t.calls_made.c.hour).where(t.calls_made.c.system == system, t.calls_made.c.hour == 0)
    connection.execute(held.with_for_update())


def _free_at(connection: Connection, system: str, hour: int) -> Millis:
    """When the oldest calls leave the window: whole hours count, so a day of ours is never more than a day."""
    where = (*_from(system, hour - WINDOW_HOURS), t.calls_made.c.calls > 0)
    oldest = connection.execute(select(func.min(t.calls_made.c.hour)).where(*where)).scalar()
    return ((hour if oldest is None else int(oldest)) + WINDOW_HOURS + 1) * HOUR_MS
