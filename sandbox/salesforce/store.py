"""The org's rows in SQLite: one table per object, one writer, several readers.

Column names are API names; `catalog.Field.sql_type` says how values are held. Tables whose names start with `_` are
the emulator's own. Everything runs in WAL mode: readers see the last commit and never wait for the writer.
"""

import os
import shutil
import sqlite3
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import Any

from sandbox.salesforce.catalog import Field, SObject

Row = dict[str, Any]
_READERS = 4
_CHUNK = 5000
_FOREIGN = frozenset(
    [
        "WhoId",
        "WhatId",
        "AccountId",
        "LeadId",
        "ContactId",
        "OpportunityId",
        "CampaignId",
        "ParentId",
        "AssigneeId",
        "PermissionSetId",
        "ConvertedContactId",
    ]
)
_OWN_TABLES = """
CREATE TABLE IF NOT EXISTS "_custom_field" (Id TEXT PRIMARY KEY, Entity TEXT, FullName TEXT, Definition TEXT,
    CreatedById TEXT, CreatedDate INTEGER, LastModifiedDate INTEGER, UNIQUE (Entity, FullName));
CREATE TABLE IF NOT EXISTS "_deletion" (Id TEXT PRIMARY KEY, SObject TEXT, DeletedDate INTEGER);
CREATE INDEX IF NOT EXISTS "_deletion_time" ON "_deletion" (SObject, DeletedDate);
CREATE TABLE IF NOT EXISTS "_bin" (Root TEXT, SObject TEXT, Id TEXT PRIMARY KEY);
CREATE INDEX IF NOT EXISTS "_bin_root" ON "_bin" (Root);
CREATE TABLE IF NOT EXISTS "_field_denial" (UserId TEXT, Field TEXT, Edit INTEGER, PRIMARY KEY (UserId, Field, Edit));
"""


class Undo(Exception):
    """Raised inside `write()`: undoes the block and goes no further."""


class Slot:
    """A connection and the lock that whoever uses it holds."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.lock = threading.RLock()


class Store:
    """Thread-safe. Inside `write()` a thread reads what it has written; outside, what is committed."""

    def __init__(self, database: str | None) -> None:
        folder = None if database else tempfile.mkdtemp(prefix="sandbox-salesforce-")
        self.path = Path(database) if database else Path(str(folder)) / "org.sqlite"
        self._writer = Slot(self._connect())
        self._writer.connection.execute("PRAGMA cache_size = -262144")
        self._writer.connection.execute("PRAGMA wal_autocheckpoint = 20000")
        self._readers = [Slot(self._connect()) for _ in range(_READERS)]
        self._mine = threading.local()
        self._depth = 0
        self._writing: int | None = None
        self._writer.connection.executescript(_OWN_TABLES)
        connections = [slot.connection for slot in (self._writer, *self._readers)]
        self._finalize = weakref.finalize(self, _close, connections, folder)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None, cached_statements=512)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA cache_size = -65536")
        return connection

    def close(self) -> None:
        self._finalize()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction; inside another of this thread, a savepoint: an exception undoes exactly this block.

        `Undo` does so quietly: the caller goes on after the block.
        """
        with self._writer.lock:
            connection, depth = self._writer.connection, self._depth
            connection.execute("BEGIN IMMEDIATE" if depth == 0 else f"SAVEPOINT s{depth}")
            self._depth, self._writing = depth + 1, threading.get_ident()
            try:
                yield connection
            except BaseException as error:
                connection.execute("ROLLBACK" if depth == 0 else f"ROLLBACK TO s{depth}")
                if depth:
                    connection.execute(f"RELEASE s{depth}")
                if not isinstance(error, Undo):
                    raise
            else:
                connection.execute("COMMIT" if depth == 0 else f"RELEASE s{depth}")
            finally:
                self._depth = depth
                if depth == 0:
                    self._writing = None

    @contextmanager
    def read(self) -> Iterator[Slot]:
        """A connection to read on, held for this thread until the block ends."""
        if self._writing == threading.get_ident():
            yield self._writer
            return
        held: Slot | None = getattr(self._mine, "slot", None)
        if held is not None:
            yield held
            return
        slot = self._take_reader()
        self._mine.slot = slot
        try:
            yield slot
        finally:
            self._mine.slot = None
            slot.lock.release()

    def _take_reader(self) -> Slot:
        for slot in self._readers:
            if slot.lock.acquire(blocking=False):
                return slot
        slot = self._readers[threading.get_ident() // 4096 % _READERS]
        slot.lock.acquire()
        return slot

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[Row]:
        with self.read() as slot:
            cursor = slot.connection.execute(sql, parameters)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, values, strict=True)) for values in cursor]

    def value(self, sql: str, parameters: Sequence[object] = ()) -> Any:
        """The first column of the first row; None if there is no row."""
        with self.read() as slot:
            found = slot.connection.execute(sql, parameters).fetchone()
        return found[0] if found else None

    def get(self, sobject: str, record_id: str) -> Row | None:
        """The row of that 18-character id, deleted or not."""
        found = self.rows(f'SELECT * FROM "{sobject}" WHERE Id = ?', (record_id,))
        return found[0] if found else None

    def insert(self, sobject: str, row: Row) -> None:
        columns = ", ".join(f'"{name}"' for name in row)
        marks = ", ".join("?" * len(row))
        with self.write() as connection:
            connection.execute(f'INSERT INTO "{sobject}" ({columns}) VALUES ({marks})', tuple(row.values()))

    def update(self, sobject: str, record_id: str, changes: Row) -> None:
        if not changes:
            return
        assignments = ", ".join(f'"{name}" = ?' for name in changes)
        with self.write() as connection:
            connection.execute(f'UPDATE "{sobject}" SET {assignments} WHERE Id = ?', (*changes.values(), record_id))

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> int:
        """Run one writing statement; the number of rows it touched."""
        with self.write() as connection:
            return connection.execute(sql, parameters).rowcount

    def load(self, sobject: SObject, rows: Iterable[Row], complete: Callable[[Row], Row]) -> int:
        """Insert many rows fast, replacing rows of the same id; `complete` brings one into stored form."""
        count = 0
        source = iter(rows)
        keys = itemgetter(0)
        while chunk := [complete(row) for row in islice(source, _CHUNK)]:
            count += len(chunk)
            with self.write() as connection:
                for names, group in groupby(sorted(((tuple(row), row) for row in chunk), key=keys), key=keys):
                    columns = ", ".join(f'"{name}"' for name in names)
                    sql = f'INSERT OR REPLACE INTO "{sobject.name}" ({columns}) VALUES ({", ".join("?" * len(names))})'
                    connection.executemany(sql, [tuple(row.values()) for _, row in group])
        return count

    def create_table(self, sobject: SObject) -> None:
        """The table and its indexes, where they do not exist yet."""
        columns = ['"Id" TEXT PRIMARY KEY']
        columns += [f'"{one.name}" {one.sql_type}' for one in sobject.fields.values() if one.name != "Id"]
        with self.write() as connection:
            connection.execute(f'CREATE TABLE IF NOT EXISTS "{sobject.name}" ({", ".join(columns)})')
            stamp = next((name for name in ("SystemModstamp", "CreatedDate") if sobject.has(name)), None)
            if stamp:
                self._index(sobject.name, f'"{stamp}", "Id"', "stamp")
            if stamp and sobject.has("IsDeleted"):
                self._index(sobject.name, f'"{stamp}"', "deleted", 'WHERE "IsDeleted" = 1')
            for one in sobject.fields.values():
                if one.name in _FOREIGN or one.name == "Email":
                    self.index_field(sobject.name, one)

    def add_column(self, sobject: str, one: Field) -> None:
        with self.write() as connection:
            known = {row[1] for row in connection.execute(f'PRAGMA table_info("{sobject}")')}
            if one.name not in known:
                connection.execute(f'ALTER TABLE "{sobject}" ADD COLUMN "{one.name}" {one.sql_type}')
            if one.external_id or one.unique:
                self.index_field(sobject, one)

    def index_field(self, sobject: str, one: Field) -> None:
        """Nulls are left out: most rows have none of these, and no query looks for null by index."""
        folded = one.sql_type == "TEXT" and not one.case_sensitive and not one.refers_to
        columns = f'"{one.name}"{" COLLATE NOCASE" if folded else ""}'
        self._index(sobject, columns, one.name, f'WHERE "{one.name}" IS NOT NULL')

    def _index(self, sobject: str, columns: str, name: str, where: str = "") -> None:
        self.execute(f'CREATE INDEX IF NOT EXISTS "{sobject}_{name}" ON "{sobject}" ({columns}) {where}')


def _close(connections: list[sqlite3.Connection], folder: str | None) -> None:
    for connection in connections:
        connection.close()
    if folder is not None and os.path.isdir(folder):
        shutil.rmtree(folder, ignore_errors=True)
