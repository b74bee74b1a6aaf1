"""Fields of ours that somebody else changed: how often on which record, and which are left alone on a whole side."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, delete, func, select

from core.records import Millis, RecordRef
from sync.state import schema as t
from sync.state.kept import keep_in
from sync.state.rows import select_at, upsert

LIMIT = 3
"""A field that was changed so often on a record is left alone there; on so many records, in the whole connection."""

WITHIN_MS = 14 * 86_400_000
"""A change belongs to the same quarrel if it comes so soon after the one before. A native sync that overwrites a field does it
within minutes, a workflow or a nightly import within a day, a weekly one within a week: each comes round twice in this time.
A person's slip of the hand now and then does not, and never adds up to a field that is left alone."""

_PREFIX = "contested "


def load_contested(connection: Connection, refs: Iterable[RecordRef]) -> dict[RecordRef, dict[str, Mapping[str, Any]]]:
    """What is known of these records, by field: {"times", "theirs", "at"}."""
    found: dict[RecordRef, dict[str, Mapping[str, Any]]] = {}
    for row in select_at(connection, t.contested, refs):
        found.setdefault(RecordRef(row["system"], row["kind"], row["id"]), {})[row["field"]] = dict(row)
    return found


def keep_contested(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """{"system", "kind", "id", "field", "times", "theirs", "at"}."""
    upsert(connection, t.contested, rows)


def left_alone(connection: Connection) -> dict[str, frozenset[str]]:
    """By connection the fields that are no longer written there at all."""
    rows = connection.execute(select(t.setting.c.name, t.setting.c.value).where(t.setting.c.name.startswith(_PREFIX)))
    return {name.removeprefix(_PREFIX): frozenset(value) for name, value in rows}


def leave_alone(connection: Connection, *, now: Millis) -> dict[str, frozenset[str]]:
    """Leave fields alone on a side where that many records contest them at the same time. The new ones, by connection."""
    c = t.contested.c
    current = (c.times >= LIMIT, c.at >= now - WITHIN_MS)
    counted = select(c.system, c.field).where(*current).group_by(c.system, c.field).having(func.count() >= LIMIT)
    known = left_alone(connection)
    fresh: dict[str, set[str]] = {}
    for system, field in connection.execute(counted):
        if field not in known.get(system, ()):
            fresh.setdefault(system, set()).add(field)
    for system, fields in fresh.items():
        keep_in(connection, _PREFIX + system, sorted(fields | known.get(system, frozenset())))
    return {system: frozenset(fields) for system, fields in fresh.items()}


def forget_contested(connection: Connection, system: str, field: str) -> list[RecordRef]:
    """Write the field again: nothing is held against it any more. The records on which something was."""
    c = t.contested.c
    rows = connection.execute(select(c.kind, c.id).where(c.system == system, c.field == field)).all()
    connection.execute(delete(t.contested).where(c.system == system, c.field == field))
    rest = left_alone(connection).get(system, frozenset()) - {field}
    if rest:
        keep_in(connection, _PREFIX + system, sorted(rest))
    else:
        connection.execute(delete(t.setting).where(t.setting.c.name == _PREFIX + system))
    return [RecordRef(system, kind, id) for kind, id in rows]


def count_contested(connection: Connection) -> list[tuple[str, str, int, int]]:
    """(connection, field, records on which it was changed, of these the ones where it is left alone)."""
    c = t.contested.c
    stuck = func.sum(func.cast(c.times >= LIMIT, t.contested.c.times.type))
    statement = (
        select(c.system, c.field, func.count(), stuck)
        .where(c.times > 0)
        .group_by(c.system, c.field)
        .order_by(c.system, c.field)
    )
    return [
        (system, field, records, int(alone or 0)) for system, field, records, alone in connection.execute(statement)
    ]
