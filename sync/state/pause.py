"""Connections that must not be called for now: who said so, until when, and why."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal

from sqlalchemy import Connection, delete, select

from core.records import Millis
from sync.state import schema as t
from sync.state.rows import upsert

Cause = Literal["admin", "quota", "errors", "credential", "guard"]

EVERYTHING = "*"
"""In the place of a connection: all of them."""


@dataclass(frozen=True, slots=True)
class Pause:
    """One reason not to call a connection; it may have several.

    Attributes:
        system: connection name, or `EVERYTHING`.
        until: when it ends by itself, by this machine's clock; None: not before a person resumes.
        reason, hint: why, and what ends it, for people.
        at: when it began.
    """

    system: str
    cause: Cause
    until: Millis | None
    reason: str
    hint: str
    at: Millis


def put(connection: Connection, pause: Pause) -> None:
    """Begin a pause, or replace the one of the same cause."""
    upsert(connection, t.pause, [asdict(pause)])


def standing(connection: Connection) -> list[Pause]:
    """Every pause that is written down, also one whose time is over and that nobody has lifted yet; oldest first."""
    rows = connection.execute(select(t.pause).order_by(t.pause.c.at, t.pause.c.system, t.pause.c.cause)).mappings()
    return [Pause(**row) for row in rows]


def lift(connection: Connection, pauses: Iterable[Pause]) -> None:
    for pause in pauses:
        where = (t.pause.c.system == pause.system, t.pause.c.cause == pause.cause)
        connection.execute(delete(t.pause).where(*where))
