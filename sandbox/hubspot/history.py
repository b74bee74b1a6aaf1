"""Property history: what was written when, by whom; the newest versions only, as the product keeps them."""

from typing import Any

from sandbox.hubspot.object_types import ObjectType
from sandbox.hubspot.store import Properties, Row, Store
from sandbox.hubspot.wire import stamp, value_of


class HistoryLog:
    """Versions are noted from the first change on; the value at creation is worked out from the row itself."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def note(
        self,
        kind: ObjectType,
        row: Row,
        changed: Properties,
        at_ms: int,
        source_type: str,
        source_id: str | None,
        user_id: int | None,
    ) -> None:
        """One version for every value in `changed` that differs from `row`'s."""
        writer = source_type, source_id, user_id
        versions = [
            (kind.number, row.id, name, at_ms, self._store.next_seq(), value, row.properties.get(name), *writer)
            for name, value in changed.items()
            if value != row.properties.get(name)
        ]
        self._store.db.executemany("INSERT OR REPLACE INTO history VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", versions)

    def versions(self, kind: ObjectType, row: Row, name: str) -> list[dict[str, Any]]:
        """Newest first, at most the type's cap; what has fallen out is gone for good."""
        rows = self._store.db.execute(
            "SELECT at_ms, value, before, source_type, source_id, user_id FROM history "
            "WHERE type = ? AND id = ? AND name = ? ORDER BY at_ms DESC, seq DESC LIMIT ?",
            (kind.number, row.id, name, kind.history_cap),
        ).fetchall()
        found = [_version(at_ms, value, source, source_id, user) for at_ms, value, _, source, source_id, user in rows]
        if len(found) < kind.history_cap:
            first = rows[-1][2] if rows else value_of(kind, row, name)
            if first is not None:
                origin = row.properties.get("hs_object_source") or "IMPORT"
                found.append(_version(row.created_ms, first, origin, row.properties.get("hs_object_source_id"), None))
        return found

    def move(self, kind: ObjectType, old_id: int, new_id: int) -> None:
        sql = "UPDATE OR REPLACE history SET id = ? WHERE type = ? AND id = ?"
        self._store.db.execute(sql, (new_id, kind.number, old_id))

    def forget(self, kind: ObjectType, row_id: int) -> None:
        self._store.db.execute("DELETE FROM history WHERE type = ? AND id = ?", (kind.number, row_id))


def _version(at_ms: int, value: str | None, source: str, source_id: str | None, user_id: int | None) -> dict[str, Any]:
    version: dict[str, Any] = {"value": value or "", "timestamp": stamp(at_ms), "sourceType": source}
    if source_id is not None:
        version["sourceId"] = source_id
    if user_id is not None:
        version["updatedByUserId"] = user_id
    return version
