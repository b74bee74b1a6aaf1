"""Tables from one state database into another, row by row, whatever either of them is: memory does not grow with them."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Boolean, Connection, MetaData, String, Table, func, select, text

from core.errors import StateError, StateUnavailable
from sync import audit
from sync.state import State, open_state
from sync.state import schema as t

ROWS = 5_000

NUMBERED = {
    table.name: next(iter(table.primary_key)).name
    for table in t.metadata.sorted_tables
    if table.dialect_options["sqlite"].get("autoincrement")
}
"""Tables whose numbers are given out once and never again, and their key."""


def copy_out(state: State, file: Path) -> None:
    """Everything of a state into an empty SQLite file, as one snapshot."""
    copy = open_state(f"sqlite:///{file}", keep_copy=False)
    try:
        with state.read() as source, copy.engine.connect() as target:
            target.exec_driver_sql("PRAGMA synchronous=OFF")  # the file counts only once it is whole and synced
            target.exec_driver_sql("BEGIN")
            for table in t.metadata.sorted_tables:
                statement = select(table).order_by(*table.primary_key)
                streamed = {"stream_results": True, "yield_per": ROWS}
                for part in source.execute(statement, execution_options=streamed).mappings().partitions():
                    target.execute(table.insert(), [dict(row) for row in part])
            raise_numbers(source, target)
            target.commit()
    finally:
        copy.close()


def empty_tables(connection: Connection, tables: Sequence[Table]) -> None:
    """Take all rows out, as part of a transaction."""
    if connection.dialect.name == "postgresql":
        names = ", ".join(f'"{table.name}"' for table in tables)
        connection.execute(text(f"TRUNCATE {names}"))
        return
    for table in reversed(tables):
        connection.execute(table.delete())


@contextmanager
def without_indexes(connection: Connection, table: Table) -> Iterator[None]:
    """Fill a table first and index it then: sorted once instead of millions of rows put in their places."""
    indexes = sorted(table.indexes, key=lambda index: str(index.name))
    for index in indexes:
        index.drop(connection)
    yield
    for index in indexes:
        index.create(connection)


def copy_table(source: Connection, target: Connection, table: Table) -> None:
    """All rows of a table of an SQLite backup into the empty table of a state.

    Raises:
        StateError: a value does not fit.
        StateUnavailable: the database went away.
    """
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    # Both drivers are spoken to directly: millions of rows pass, and none is looked at.
    reading: Any = source.connection.driver_connection
    writing: Any = target.connection.driver_connection
    rows = reading.execute(f'SELECT {names} FROM "{table.name}"')
    if target.dialect.name == "sqlite":
        marks = ", ".join("?" for _ in table.columns)
        try:
            writing.executemany(f'INSERT INTO "{table.name}" ({names}) VALUES ({marks})', rows)
        except sqlite3.IntegrityError as error:
            raise StateError(f"table {table.name} of the backup does not fit: {error}") from error
        except sqlite3.OperationalError as error:
            raise StateUnavailable(
                f"the state database cannot be used now: {error}", hint="free space, then repeat"
            ) from error
        return
    fitting = [_fitting(column) for column in table.columns]
    try:
        with writing.cursor() as cursor, cursor.copy(f'COPY "{table.name}" ({names}) FROM STDIN') as copy:
            for row in rows:
                copy.write_row(
                    [value if value is None else fit(value) for fit, value in zip(fitting, row, strict=True)]
                )
    except psycopg.DataError as error:
        reason = str(error).partition("\n")[0]
        raise StateError(f"table {table.name} of the backup does not fit this database: {reason}") from error
    except psycopg.OperationalError as error:
        raise StateUnavailable(f"the state database cannot be used now: {error}", hint="repeat the command") from error


def _fitting(column: Any) -> Callable[[Any], Any]:
    """SQLite's value of a column as PostgreSQL takes it: without NUL, no longer than the column."""
    if isinstance(column.type, Boolean):
        return bool
    if isinstance(column.type, String):
        length = column.type.length
        return lambda value: str(value).replace("\0", "")[:length]
    return lambda value: value


def raise_numbers(source: Connection, target: Connection) -> None:
    """Numbers go on beyond all that either database ever gave out."""
    for name, key in NUMBERED.items():
        table = t.metadata.tables[name]
        last = max(_last_number(one, name, key) for one in (source, target))
        last = max(last, target.execute(select(func.max(table.c[key]))).scalar() or 0)
        if not last:
            continue
        if target.dialect.name == "postgresql":
            target.execute(
                text("SELECT setval(pg_get_serial_sequence(:name, :key), :last)"),
                {"name": name, "key": key, "last": last},
            )
        elif target.exec_driver_sql("UPDATE sqlite_sequence SET seq = ? WHERE name = ?", (last, name)).rowcount == 0:
            target.exec_driver_sql("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (name, last))


def _last_number(connection: Connection, name: str, key: str) -> int:
    if connection.dialect.name == "sqlite":
        found = connection.exec_driver_sql("SELECT seq FROM sqlite_sequence WHERE name = ?", (name,)).scalar()
    else:
        sequence = connection.execute(
            text("SELECT pg_get_serial_sequence(:name, :key)"), {"name": name, "key": key}
        ).scalar()
        found = connection.execute(text(f"SELECT last_value FROM {sequence} WHERE is_called")).scalar()
    return int(found or 0)


# --- the audit log -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Aside:
    """What is to become of the log that is here. `replaced`: the backup's takes its place; `rows`: ours that follow then."""

    replaced: bool
    rows: Table | None = None


def read_audit_aside(source: Connection, target: Connection) -> Aside:
    """Whether this state's log goes on from the backup's. If not, ours is put into a temporary table, to be told again."""
    theirs, ours = audit.head(source), audit.head(target)
    if ours.seq == 0:
        return Aside(replaced=True)
    same = select(t.audit.c.hash).where(t.audit.c.seq == theirs.seq)
    if theirs.seq == 0 or target.execute(same).scalar() == theirs.hash or audit.anchor(target).seq >= theirs.seq:
        return Aside(replaced=False)
    rows = t.audit.to_metadata(MetaData(), name="carried_audit")
    target.execute(text('CREATE TEMPORARY TABLE "carried_audit" AS SELECT * FROM "audit"'))
    return Aside(replaced=True, rows=rows)


def carry_audit(target: Connection, aside: Aside) -> None:
    """Append to the backup's log what this state's own told, in its order, with its own moments."""
    if aside.rows is None:
        return
    for part in _in_order(target, aside.rows):
        audit.note_many(
            target,
            [
                audit.Note(
                    row["action"],
                    row["subject"],
                    row["why"],
                    old=row["old"],
                    new=row["new"],
                    run_id=row["run_id"],
                    actor=row["actor"],
                    at=row["at"],
                )
                for row in part
            ],
        )
    target.execute(text('DROP TABLE "carried_audit"'))


def _in_order(connection: Connection, table: Table) -> Iterator[list[Any]]:
    last = 0
    while part := list(
        connection.execute(select(table).where(table.c.seq > last).order_by(table.c.seq).limit(1_000)).mappings()
    ):
        yield part
        last = part[-1]["seq"]
