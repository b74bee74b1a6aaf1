"""Marks for later steps, committed with the facts that cause them: what to resolve again, whom to score again."""

from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import Connection, update

from core.records import RecordRef
from sync.state import schema as t
from sync.state.rows import chunks, insert_new

NOBODY = 0
"""The person_id of activities whose person is not known yet."""

PERSON_KINDS = frozenset({"lead", "contact"})


def touch(connection: Connection, refs: Iterable[RecordRef]) -> None:
    """Remember that a record, account or deal must be resolved again."""
    insert_new(connection, t.touched, [key_of(ref) for ref in dict.fromkeys(refs)])


def mark_dirty(connection: Connection, people: Iterable[int]) -> None:
    """Remember that these people must be scored again."""
    for part in chunks(sorted(set(people) - {NOBODY})):
        connection.execute(update(t.person).where(t.person.c.person_id.in_(part)).values(dirty=True))


def key_of(ref: RecordRef) -> dict[str, str]:
    return {"system": ref.system, "kind": ref.kind, "id": ref.id}


def ids_by(refs: Iterable[RecordRef], place: Callable[[RecordRef], Any]) -> list[tuple[Any, list[str]]]:
    grouped: dict[Any, list[str]] = {}
    for ref in refs:
        grouped.setdefault(place(ref), []).append(ref.id)
    return list(grouped.items())
