"""The daily pass: a slice's facts, streamed from the state database into DuckDB.

Both databases go through ADBC, which hands over columns without a Python object per value. SQLite's driver guesses types
from the first rows, so every column is given a type that cannot be misread: text is never null (empty means unknown in the
fact tables), and absent numbers are a value that no fact has.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import tzinfo
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
from adbc_driver_manager import Error as DriverError
from sqlalchemy import Select, String, func, literal, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url

from core.errors import StateUnavailable
from core.records import Day, Millis
from sync.engine.fetch import fetch_deals
from sync.engine.history import load_changes, stored_fields, trace_changes
from sync.engine.needs import Needs
from sync.engine.session import STREAM_ERRORS, Session, arrow_schema
from sync.engine.slices import Slice
from sync.state import State
from sync.state import schema as t

ROWS, BYTES = 16_384, 2_000_000
"""A batch on the way: at most so many rows (SQLite) or about so many bytes (PostgreSQL)."""
ABSENT = -(2**53)
"""Stands for an absent number on the way: far outside every stamp, day, count or amount."""

_PERSON = ("person_id", "company_id", "created_at", "first_known_at", "opted_out", "recontact_on")
_ACTIVITY = ("person_id", "kind", "occurred_at", "known_at", "day", "suspect")


@contextmanager
def spill_folder(url: str) -> Iterator[Path]:
    """A folder for DuckDB's temporary files, removed afterwards: beside an SQLite database (same disk, same care), else in
    the system's place for such.

    Folders that killed processes left behind hold personal data: they are removed first.

    Raises:
        StateUnavailable: none can be made there.

    """
    parsed = make_url(url)
    place = Path(tempfile.gettempdir())
    if parsed.get_backend_name() == "sqlite" and parsed.database not in (None, "", ":memory:"):
        place = Path(str(parsed.database)).resolve().parent
    for left in place.glob(f"{_SPILL}*"):
        if not _is_running(left.name.removeprefix(_SPILL).partition("-")[0]):
            shutil.rmtree(left, ignore_errors=True)
    try:
        made = tempfile.TemporaryDirectory(prefix=f"{_SPILL}{os.getpid()}-", dir=place)
    except OSError as error:
        raise StateUnavailable(f"no temporary folder can be made in {place}: {error.strerror}", hint=_HINT) from error
    with made as folder:
        yield Path(folder)


_SPILL = ".mikomi-score-"
_HINT = "free space or start the database again, then repeat the command: nothing is half-done"


def _is_running(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        return True  # somebody else's process
    return True


def load_slice(
    session: Session,
    state: State,
    needs: Needs,
    people: Slice,
    *,
    moments: Sequence[tuple[Millis, Day]],
    zone: tzinfo,
) -> int:
    """Fill every fact table and `snapshot` (one row per person and moment). Returns the number of people."""
    fields = sorted({*needs.fields, *stored_fields(needs.fields)})
    person = [t.person.c[name] for name in (*_PERSON, *fields)]
    a = t.activity.c
    activity = [a[name] for name in (*_ACTIVITY, *needs.properties)]
    twin = a.duplicate_of.is_not(None).label("duplicate")
    activities = select(*_safe(activity), twin).where(a.person_id.in_(people.people()), a.kind.in_(needs.kinds))
    _stream(session, state, "person", select(*_safe(person)).where(people.holds()), _absent(person))
    _stream(session, state, "activity", activities, _absent(activity))
    with state.read() as connection:
        if needs.deals:
            deals, roles = fetch_deals(connection, zone, people.whose, people.which_companies)
            session.replace("deal", deals)
            session.replace("deal_person", roles)
        if needs.fields:
            changes = list(load_changes(connection, needs.fields, min(at for at, _ in moments), people.whose))
            known = session.people({row["person_id"] for row in changes}, fields)
            session.replace("change", trace_changes(changes, known, needs.fields))
    return session.take_snapshots(moments)


def _safe(columns: Sequence[Any]) -> list[Any]:
    return [
        func.coalesce(column, "" if isinstance(column.type, String) else literal(ABSENT)).label(column.name)
        if column.nullable
        else column
        for column in columns
    ]


def _stream(session: Session, state: State, name: str, query: Select[Any], absent: Sequence[str]) -> None:
    """Append a query's rows to a fact table; `absent` are the columns in which `ABSENT` stands for null.

    Raises:
        StateUnavailable: the database went away, or there is no room to spill.

    """
    columns = [column.name for column in query.selected_columns]
    chosen = (f'NULLIF("{c}", {ABSENT}) AS "{c}"' if c in absent else f'"{c}"' for c in columns)
    try:
        with _reader(state, name, query, columns) as reader:
            session.append(name, reader, chosen=", ".join(chosen))
    except (DriverError, *STREAM_ERRORS) as error:
        raise StateUnavailable(
            f"the state database cannot be read now: {str(error).splitlines()[0]}",
            hint=_HINT,
        ) from error


def _absent(columns: Sequence[Any]) -> list[str]:
    return [column.name for column in columns if column.nullable and not isinstance(column.type, String)]


@contextmanager
def _reader(state: State, name: str, query: Select[Any], columns: Sequence[str]) -> Iterator[Any]:
    """The query's rows as Arrow batches."""
    url = make_url(state.url)
    if url.get_backend_name() == "postgresql":
        opened = _read_postgresql(url, query)
    elif url.database not in (None, "", ":memory:"):
        opened = _read_sqlite(state, url, query)
    else:
        opened = _read_memory(state, name, query, columns)
    with opened as reader:
        yield reader


@contextmanager
def _read_sqlite(state: State, url: URL, query: Select[Any]) -> Iterator[Any]:
    import adbc_driver_sqlite.dbapi as adbc

    text = query.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
    with (
        state.strange_reader(partial(through_adbc, str(url.database))),
        adbc.connect(str(url.database)) as source,
        source.cursor() as cursor,
    ):
        cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": str(ROWS)})
        cursor.execute(str(text))
        yield cursor.fetch_record_batch()


def through_adbc(path: str, change: str, count: str, values: tuple[str | int, ...]) -> int:
    """See `sync.state.gate.Aside`. Another process that is writing is not waited for."""
    import adbc_driver_sqlite.dbapi as adbc

    try:
        with adbc.connect(path) as connection, connection.cursor() as cursor:
            cursor.execute(change, values)
            cursor.execute(count, values)
            [found] = cursor.fetchone() or (0,)
            connection.commit()
    except DriverError as error:
        reason = str(error).splitlines()[0]
        raise StateUnavailable(f"the state database cannot be used now: {reason}", hint=_HINT) from error
    return int(found)


@contextmanager
def _read_postgresql(url: URL, query: Select[Any]) -> Iterator[Any]:
    import adbc_driver_postgresql.dbapi as adbc

    # Not the driver's own spelling of parameters: it would double every percent sign.
    dialect = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]
    text = query.compile(dialect=dialect, compile_kwargs={"literal_binds": True})
    address = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with adbc.connect(address) as source, source.cursor() as cursor:
        cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(BYTES)})
        cursor.execute(str(text))
        yield cursor.fetch_record_batch()


@contextmanager
def _read_memory(state: State, name: str, query: Select[Any], columns: Sequence[str]) -> Iterator[Any]:
    """A database in this process's memory has no address that another driver could open."""
    schema = pa.schema([(column, _wire_type(name, column)) for column in columns])
    with state.engine.connect() as connection:
        batches = (
            pa.RecordBatch.from_pylist([dict(row) for row in part], schema=schema)
            for part in connection.execute(query).mappings().partitions(ROWS)
        )
        yield pa.RecordBatchReader.from_batches(schema, batches)


def _wire_type(name: str, column: str) -> pa.DataType:
    kind = arrow_schema(name, [column]).field(column).type
    return pa.int64() if pa.types.is_integer(kind) else kind
