"""A session with its statements planned, kept between the batches and passes of a process: making one costs more than a small
pass does.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sync.engine.session import Session
from sync.engine.sql import PlanSql

MEMORY = "512MB"
"""What a small batch may take: it takes a fraction."""

KEPT = 2
"""The rulebook in use, and the one before or after it where two are compared."""

_lock = threading.Lock()
_kept: list[Session] = []


@contextmanager
def warm_session(sql: PlanSql) -> Iterator[Session]:
    """A session for small batches with a rulebook's statements prepared; nobody else uses it meanwhile.

    It is kept when it is given back, emptied of people; after an error it is not.
    """
    session = _take(sql) or _make(sql)
    try:
        yield session
        session.empty()
    except BaseException:
        session.close()
        raise
    _keep(session)


def drop_warm() -> None:
    """Give the memory of what is kept back."""
    with _lock:
        dropped, _kept[:] = list(_kept), []
    for session in dropped:
        session.close()


def _take(sql: PlanSql) -> Session | None:
    with _lock:
        for session in _kept:
            if session.installed == sql.digest:
                _kept.remove(session)
                return session
    return None


def _make(sql: PlanSql) -> Session:
    session = Session(memory_limit=MEMORY, threads=1)
    session.install(sql)
    session.prepare(sql)
    return session


def _keep(session: Session) -> None:
    with _lock:
        _kept.append(session)
        outlived = _kept.pop(0) if len(_kept) > KEPT else None
    if outlived is not None:
        outlived.close()
