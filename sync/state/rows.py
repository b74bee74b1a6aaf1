"""Writing rows in bulk, the same on SQLite and PostgreSQL."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import Connection, Insert, RowMapping, Select, Table, bindparam, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from core.records import RecordRef

T = TypeVar("T")

CHUNK = 1_000  # ids in one IN list: far below both engines' parameter limits


def upsert(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert, or overwrite the given columns of the row with the same primary key."""
    if not rows:
        return
    connection.execute(_overwrite(connection.dialect.name, table, tuple(rows[0])), list(rows))


def insert_new(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert the rows whose primary key is not there yet."""
    if rows:
        connection.execute(_add(connection.dialect.name, table), list(rows))


def chunks(items: Iterable[T], size: int = CHUNK) -> Iterator[list[T]]:
    iterator = iter(items)
    while part := list(islice(iterator, size)):
        yield part


def by_place(refs: Iterable[RecordRef]) -> Iterator[tuple[str, str, list[str]]]:
    """References as (system, kind, ids), at most `CHUNK` ids each: one indexed, cached statement per part."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for ref in refs:
        grouped.setdefault((ref.system, ref.kind), []).append(ref.id)
    for (system, kind), ids in grouped.items():
        for part in chunks(ids):
            yield system, kind, part


def select_at(
    connection: Connection, table: Table, refs: Iterable[RecordRef], *columns: Any, where: Any = None
) -> Iterator[RowMapping]:
    """The rows of `refs` in a table keyed by (system, kind, id): all columns, or the given ones."""
    statement = _at_place(table, columns)
    if where is not None:
        statement = statement.where(where)
    for system, kind, ids in by_place(refs):
        yield from connection.execute(statement, {"system": system, "kind": kind, "ids": ids}).mappings()


def delete_at(connection: Connection, table: Table, refs: Iterable[RecordRef]) -> None:
    """Delete the rows of `refs` in a table keyed by (system, kind, id)."""
    for system, kind, ids in by_place(refs):
        connection.execute(delete(table).where(table.c.system == system, table.c.kind == kind, table.c.id.in_(ids)))


def digest(document: object) -> str:
    """32 hex digits of the document's canonical JSON: equal documents, equal digests, on every machine."""
    text = json.dumps(document, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


# Building a statement takes longer than SQLite takes to carry it out: those that are asked all day are built once.


@lru_cache(maxsize=256)
def _overwrite(dialect: str, table: Table, names: tuple[str, ...]) -> Insert:
    keys = [column.name for column in table.primary_key]
    insert = _insert(dialect, table)
    changing = {name: insert.excluded[name] for name in names if name not in keys}
    if not changing:
        return insert.on_conflict_do_nothing(index_elements=keys)
    return insert.on_conflict_do_update(index_elements=keys, set_=changing)


@lru_cache(maxsize=256)
def _add(dialect: str, table: Table) -> Insert:
    return _insert(dialect, table).on_conflict_do_nothing()


@lru_cache(maxsize=256)
def _at_place(table: Table, columns: tuple[Any, ...]) -> Select[Any]:
    return select(*(columns or (table,))).where(
        table.c.system == bindparam("system"),
        table.c.kind == bindparam("kind"),
        table.c.id.in_(bindparam("ids", expanding=True)),
    )


def _insert(dialect: str, table: Table) -> sqlite.Insert | postgresql.Insert:
    return sqlite.insert(table) if dialect == "sqlite" else postgresql.insert(table)
