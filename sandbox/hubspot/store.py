"""The portal's rows in SQLite: one table per object type, what search has not indexed yet, history, small documents.

Times are UTC integer milliseconds. Properties are stored as they go over the wire (strings; an absent key is null), so
that reading a row is one JSON decode and filtering is `json_extract`.
"""

import json
import shutil
import sqlite3
import tempfile
import threading
import weakref
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandbox.hubspot.object_types import TYPES, ObjectType

Properties = dict[str, str | None]


@dataclass(slots=True)
class Row:
    """One CRM object as stored."""

    id: int
    created_ms: int
    updated_ms: int
    archived_ms: int | None
    properties: Properties = field(default_factory=dict)


_TABLE = """
CREATE TABLE IF NOT EXISTS {name} (
    id INTEGER PRIMARY KEY, created_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL, archived_ms INTEGER,
    properties TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS {name}_updated ON {name} (updated_ms) WHERE archived_ms IS NULL;
CREATE INDEX IF NOT EXISTS {name}_archived ON {name} (id) WHERE archived_ms IS NOT NULL;
CREATE TABLE IF NOT EXISTS {name}_unindexed (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, until_ms INTEGER NOT NULL, id INTEGER NOT NULL, created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL, archived_ms INTEGER, properties TEXT);
CREATE INDEX IF NOT EXISTS {name}_unindexed_id ON {name}_unindexed (id, seq);
CREATE INDEX IF NOT EXISTS {name}_unindexed_until ON {name}_unindexed (until_ms);
"""

_SHARED = """
CREATE TABLE IF NOT EXISTS unique_value (
    type INTEGER, name TEXT, value TEXT, id INTEGER NOT NULL, PRIMARY KEY (type, name, value)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS merged (type INTEGER, old_id INTEGER, new_id INTEGER NOT NULL, PRIMARY KEY (type, old_id))
    WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS history (
    type INTEGER, id INTEGER, name TEXT, at_ms INTEGER, seq INTEGER, value TEXT, before TEXT, source_type TEXT,
    source_id TEXT, user_id INTEGER, PRIMARY KEY (type, id, name, at_ms, seq)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS association (
    from_type INTEGER, from_id INTEGER, to_type INTEGER, to_id INTEGER, type_id INTEGER,
    PRIMARY KEY (from_type, from_id, to_type, to_id, type_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS document (kind TEXT, key TEXT, body TEXT NOT NULL, PRIMARY KEY (kind, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS email_event (
    created_ms INTEGER, id TEXT, type TEXT, recipient TEXT, campaign_id INTEGER, app_id INTEGER, body TEXT NOT NULL,
    PRIMARY KEY (created_ms, id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS email_event_recipient ON email_event (recipient, created_ms);
CREATE TABLE IF NOT EXISTS form_submission (
    form TEXT, submitted_ms INTEGER, conversion_id TEXT, body TEXT NOT NULL,
    PRIMARY KEY (form, submitted_ms, conversion_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS membership (
    list_id INTEGER, record_id INTEGER, joined_ms INTEGER, PRIMARY KEY (list_id, record_id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS membership_joined ON membership (list_id, joined_ms, record_id);
CREATE INDEX IF NOT EXISTS membership_record ON membership (record_id);
CREATE TABLE IF NOT EXISTS participation (
    id INTEGER PRIMARY KEY, event_id INTEGER, contact_id INTEGER, state TEXT, occurred_ms INTEGER, created_ms INTEGER,
    percentage TEXT, duration_s INTEGER, UNIQUE (event_id, contact_id, state, occurred_ms));
CREATE INDEX IF NOT EXISTS participation_contact ON participation (contact_id);
CREATE TABLE IF NOT EXISTS web_event (
    id TEXT PRIMARY KEY, object_type INTEGER, object_id INTEGER, event_type TEXT, occurred_ms INTEGER,
    properties TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS web_event_object ON web_event (object_type, object_id, occurred_ms);
"""


class Documents:
    """Small JSON documents by kind and key: forms, lists, owners, everything that has few rows."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def get(self, kind: str, key: str) -> Any:
        """The document, or None."""
        row = self._db.execute("SELECT body FROM document WHERE kind = ? AND key = ?", (kind, key)).fetchone()
        return None if row is None else json.loads(row[0])

    def all(self, kind: str) -> dict[str, Any]:
        """All documents of a kind by key, in the order of their keys."""
        sql = "SELECT key, body FROM document WHERE kind = ? ORDER BY key"
        return {key: json.loads(body) for key, body in self._db.execute(sql, (kind,))}

    def put(self, kind: str, key: str, body: Any) -> None:
        self._db.execute("INSERT OR REPLACE INTO document VALUES (?, ?, ?)", (kind, key, dump(body)))

    def drop(self, kind: str, key: str) -> None:
        self._db.execute("DELETE FROM document WHERE kind = ? AND key = ?", (kind, key))


class Store:
    """The database of one portal. Every use runs inside `transaction()`, which holds the portal's one lock."""

    def __init__(self, path: str | None) -> None:
        folder = None if path else tempfile.mkdtemp(prefix="hubspot-sandbox-")
        file = path or str(Path(folder or ".") / "portal.sqlite3")
        self.db = sqlite3.connect(file, check_same_thread=False, isolation_level=None, cached_statements=512)
        self.documents = Documents(self.db)
        self.close = weakref.finalize(self, _dispose, self.db, folder)
        self._lock = threading.RLock()
        self._depth = 0
        self._seq = 0
        self._indexed_changes: dict[str, array[int]] = {kind.name: array("q") for kind in TYPES}
        self._generations: dict[str, int] = dict.fromkeys((kind.name for kind in TYPES), 0)
        for pragma in ("journal_mode=WAL", "synchronous=OFF", "cache_size=-65536", "temp_store=MEMORY"):
            self.db.execute(f"PRAGMA {pragma}")
        tables = "".join(_TABLE.format(name=kind.name) for kind in TYPES)
        self.db.executescript(f"BEGIN; {tables} {_SHARED} COMMIT;")
        self._next_ids = {kind.name: self._free_id(kind) for kind in TYPES}

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; nested uses join the outer one."""
        with self._lock:
            if self._depth:
                yield
                return
            self.db.execute("BEGIN")
            self._depth = 1
            before = self.db.total_changes
            try:
                yield
            except BaseException:
                self.db.execute("ROLLBACK")
                if self.db.total_changes != before:
                    self.forget_index()
                raise
            else:
                self.db.execute("COMMIT")
            finally:
                self._depth = 0

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Inside a transaction: undo only this part if it fails (one row of a batch)."""
        self.db.execute("SAVEPOINT attempt")
        before = self.db.total_changes
        try:
            yield
        except BaseException:
            self.db.execute("ROLLBACK TO attempt")
            self.db.execute("RELEASE attempt")
            if self.db.total_changes != before:
                self.forget_index()
            raise
        self.db.execute("RELEASE attempt")

    def next_seq(self) -> int:
        """Orders history rows of one millisecond."""
        self._seq += 1
        return self._seq

    # Object rows

    def next_id(self, kind: ObjectType) -> int:
        """A new id; ids of removed rows are not given out again while the portal is open."""
        issued = self._next_ids[kind.name]
        self._next_ids[kind.name] += 1
        return issued

    def _free_id(self, kind: ObjectType) -> int:
        found = self.db.execute(f"SELECT max(id) FROM {kind.name}").fetchone()[0]
        merged = self.db.execute("SELECT max(old_id) FROM merged WHERE type = ?", (kind.number,)).fetchone()[0]
        return 1 + max(found or 0, merged or 0, kind.first_id - 1)

    def get(self, kind: ObjectType, ids: Iterable[int]) -> dict[int, Row]:
        """The rows of `ids` that exist, archived ones too."""
        wanted = list(ids)
        rows: dict[int, Row] = {}
        for start in range(0, len(wanted), 500):
            part = wanted[start : start + 500]
            marks = ",".join("?" * len(part))
            sql = f"SELECT id, created_ms, updated_ms, archived_ms, properties FROM {kind.name} WHERE id IN ({marks})"
            rows |= {row[0]: _row(row) for row in self.db.execute(sql, part)}
        return rows

    def page(self, kind: ObjectType, start_id: int, limit: int, archived: bool) -> list[Row]:
        """Up to `limit` rows with id >= `start_id`, by id."""
        sql = (
            f"SELECT id, created_ms, updated_ms, archived_ms, properties FROM {kind.name} "
            f"WHERE id >= ? AND archived_ms IS {'NOT NULL' if archived else 'NULL'} ORDER BY id LIMIT ?"
        )
        return [_row(row) for row in self.db.execute(sql, (start_id, limit))]

    def insert(self, kind: ObjectType, row: Row, visible_ms: int, now_ms: int) -> None:
        if visible_ms > now_ms:
            self.db.execute(
                f"INSERT INTO {kind.name}_unindexed (until_ms, id, created_ms, updated_ms) VALUES (?, ?, ?, ?)",
                (visible_ms, row.id, row.created_ms, row.updated_ms),
            )
        else:
            self._indexed_changes[kind.name].append(row.id)
        self.db.execute(
            f"INSERT INTO {kind.name} VALUES (?, ?, ?, ?, ?)",
            (row.id, row.created_ms, row.updated_ms, row.archived_ms, dump(row.properties)),
        )

    def replace(self, kind: ObjectType, row: Row, visible_ms: int, now_ms: int) -> None:
        """Write `row` over the stored one; search goes on showing the stored one until `visible_ms`."""
        if visible_ms > now_ms:
            self.db.execute(_keep_old(kind, "id = ?"), (visible_ms, row.id))
        else:
            self._indexed_changes[kind.name].append(row.id)
        self.db.execute(
            f"UPDATE {kind.name} SET created_ms = ?, updated_ms = ?, archived_ms = ?, properties = ? WHERE id = ?",
            (row.created_ms, row.updated_ms, row.archived_ms, dump(row.properties), row.id),
        )

    def remove(self, kind: ObjectType, row_id: int) -> None:
        """Take the row away altogether (merge, GDPR), from search too."""
        self.db.execute(f"DELETE FROM {kind.name} WHERE id = ?", (row_id,))
        self.db.execute(f"DELETE FROM {kind.name}_unindexed WHERE id = ?", (row_id,))
        self._indexed_changes[kind.name].append(row_id)

    def touch(self, kind: ObjectType, ids: list[int], patch: Properties, at_ms: int, visible_ms: int) -> None:
        """One timestamp and the same new values for many rows."""
        self.db.execute("CREATE TEMP TABLE IF NOT EXISTS touched (id INTEGER PRIMARY KEY)")
        self.db.execute("DELETE FROM touched")
        self.db.executemany("INSERT OR IGNORE INTO touched VALUES (?)", ((row_id,) for row_id in ids))
        if visible_ms > at_ms:
            self.db.execute(_keep_old(kind, "id IN (SELECT id FROM touched)"), (visible_ms,))
        else:
            self._indexed_changes[kind.name].extend(ids)
        self.db.execute(
            f"UPDATE {kind.name} SET updated_ms = ?, properties = json_patch(properties, ?) "
            "WHERE id IN (SELECT id FROM touched)",
            (at_ms, json.dumps(patch, ensure_ascii=False)),
        )

    def load(self, kind: ObjectType, rows: Iterable[tuple[int, int, int, int | None, str]]) -> None:
        """Rows (id, created_ms, updated_ms, archived_ms, properties as JSON), indexed at once."""
        self.db.executemany(f"INSERT INTO {kind.name} VALUES (?, ?, ?, ?, ?)", rows)
        self._next_ids[kind.name] = max(self._next_ids[kind.name], self._free_id(kind))
        self.forget_index(kind)

    # What search sees

    def settle_index(self, kind: ObjectType, now_ms: int) -> tuple[int, "array[int]"]:
        """Index what has become visible; returns (generation, ids changed in the index since it began)."""
        sql = f"DELETE FROM {kind.name}_unindexed WHERE until_ms <= ? RETURNING id"
        changes = self._indexed_changes[kind.name]
        changes.extend(row[0] for row in self.db.execute(sql, (now_ms,)).fetchall())
        if len(changes) > 1_000_000:
            self.forget_index(kind)
        return self._generations[kind.name], self._indexed_changes[kind.name]

    def forget_index(self, kind: ObjectType | None = None) -> None:
        """Whatever was remembered of search results no longer holds."""
        for name in self._generations if kind is None else (kind.name,):
            self._generations[name] += 1
            self._indexed_changes[name] = array("q")

    def indexed(self, kind: ObjectType, ids: list[int]) -> dict[int, Row]:
        """The rows of `ids` as search shows them: the oldest version not yet replaced in the index."""
        rows = self.get(kind, ids)
        marks = ",".join("?" * len(ids))
        sql = (
            "SELECT id, created_ms, updated_ms, archived_ms, properties, min(seq) "
            f"FROM {kind.name}_unindexed WHERE id IN ({marks}) GROUP BY id"
        )
        for row in self.db.execute(sql, ids):
            if row[4] is not None:
                rows[row[0]] = _row(row)
        return rows


def dump(value: Any) -> str:
    return _encode(value)


_encode: Callable[[Any], str] = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def _row(values: tuple[Any, ...]) -> Row:
    return Row(values[0], values[1], values[2], values[3], json.loads(values[4]))


def _keep_old(kind: ObjectType, where: str) -> str:
    return (
        f"INSERT INTO {kind.name}_unindexed (until_ms, id, created_ms, updated_ms, archived_ms, properties) "
        f"SELECT ?, id, created_ms, updated_ms, archived_ms, properties FROM {kind.name} WHERE {where}"
    )


def _dispose(db: sqlite3.Connection, folder: str | None) -> None:
    db.close()
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
