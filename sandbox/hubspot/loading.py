"""Bulk loads for the market and for load tests: rows straight into the store, indexed at once, no history, no quota."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from operator import itemgetter
from typing import Any

from sandbox.hubspot.object_types import CONTACTS, DEALS, ObjectType, resolve
from sandbox.hubspot.portal import Portal
from sandbox.hubspot.property_api import define
from sandbox.hubspot.store import dump
from sandbox.hubspot.wire import parse_ms, stamp

CHUNK = 5_000


class Loading:
    """What the process that runs the emulator may put in. Values are as on the wire; names must be defined."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal

    @property
    def portal(self) -> Portal:
        """The account itself, for what works in it from inside (`sandbox.native`)."""
        return self._portal

    def define_property(self, object_type: str, definition: Mapping[str, Any]) -> None:
        """A property of the portal's own, as `POST /crm/v3/properties/{type}` would make it."""
        with self._portal.store.transaction():
            kind = resolve(object_type)
            body = dict(definition)
            if body.get("groupName") and body["groupName"] not in self._portal.schema.groups(kind):
                group = {"archived": False, "name": body["groupName"], "label": body["groupName"], "displayOrder": -1}
                self._portal.schema.put_group(kind, group)
            define(self._portal, kind, body)

    def load(self, object_type: str, rows: Iterable[Mapping[str, Any]]) -> list[int]:
        """Rows {"id": int | None, "properties": {name: str | None}, "created_ms", "updated_ms", "archived_ms"?}.

        Returns the ids in order. ValueError for an unknown property; sqlite3.IntegrityError for a doubled id.
        """
        kind = resolve(object_type)
        ids: list[int] = []
        known = frozenset(self._portal.schema.of(kind))
        unique = [name for name in self._portal.schema.unique_names(kind) if name != "email"]
        for chunk in _chunks(rows):
            with self._portal.store.transaction():
                ids += self._load_chunk(kind, chunk, known, unique)
        return ids

    def _load_chunk(
        self, kind: ObjectType, chunk: list[Mapping[str, Any]], known: frozenset[str], unique: list[str]
    ) -> list[int]:
        store = self._portal.store
        loaded: list[tuple[int, int, int, int | None, str]] = []
        claims: list[tuple[int, str, str, int]] = []
        merged: list[tuple[int, int, int]] = []
        for row in chunk:
            given = row["properties"]
            if not known.issuperset(given):
                raise ValueError(f"unknown {kind.singular} properties: {sorted(set(given) - known)}")
            row_id = row.get("id") or store.next_id(kind)
            values = {name: value for name, value in given.items() if value is not None}
            if kind is DEALS:
                values.setdefault("createdate", stamp(row["created_ms"]))
            archived = row.get("archived_ms")
            loaded.append((row_id, row["created_ms"], row["updated_ms"], archived, dump(values)))
            if archived is None:
                claims += _claims(kind, row_id, values, unique)
            absorbed = (values.get("hs_merged_object_ids") or "").split(";")
            merged += [(kind.number, int(old_id), row_id) for old_id in absorbed if old_id]
        store.db.executemany("INSERT OR IGNORE INTO merged VALUES (?, ?, ?)", merged)
        store.load(kind, loaded)
        store.db.executemany("INSERT OR IGNORE INTO unique_value VALUES (?, ?, ?, ?)", claims)
        return [row[0] for row in loaded]

    def load_associations(self, from_type: str, to_type: str, rows: Iterable[tuple[int, int, int]]) -> None:
        """(from id, to id, type id); both directions are stored, and the plain link beside a primary one."""
        source, target = resolve(from_type), resolve(to_type)
        kinds = {kind.type_id: kind for kind in self._portal.links.between(source, target)}
        plain = self._portal.links.plain(source, target)
        sql = "INSERT OR IGNORE INTO association VALUES (?, ?, ?, ?, ?)"
        one, other = source.number, target.number
        for chunk in _chunks(rows):
            links: list[tuple[int, int, int, int, int]] = []
            for from_id, to_id, type_id in chunk:
                links.append((one, from_id, other, to_id, type_id))
                links.append((other, to_id, one, from_id, kinds[type_id].inverse))
                if type_id != plain.type_id:
                    links.append((one, from_id, other, to_id, plain.type_id))
                    links.append((other, to_id, one, from_id, plain.inverse))
            with self._portal.store.transaction():
                self._portal.store.db.executemany(sql, links)

    def load_history(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """{"type", "id", "property", "versions": [{"value", "timestamp", "sourceType", "sourceId"?}]}.

        Versions in any order, the current value among them; `timestamp` in ISO 8601 or epoch milliseconds.
        """
        store = self._portal.store
        sql = "INSERT OR REPLACE INTO history VALUES (?, ?, ?, ?, ?, ?, NULL, ?, ?, NULL)"
        for chunk in _chunks(rows):
            with store.transaction():
                store.db.executemany(sql, _versions(chunk, store.next_seq))

    def load_owners(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """{"id", "email", "firstName", "lastName", "userId"?, "type"?, "archived"?, "teams"?}."""
        now = stamp(self._portal.clock.now_ms())
        with self._portal.store.transaction():
            for row in rows:
                owner = {"type": "PERSON", "createdAt": now, "updatedAt": now, "archived": False, **row}
                owner["id"] = str(row["id"])
                user = row.get("userId", int(owner["id"]))
                owner["userIdIncludingInactive"] = user
                if owner["archived"]:
                    owner.pop("userId", None)  # a removed user keeps only the id "including inactive"
                else:
                    owner["userId"] = user
                self._portal.store.documents.put("owner", owner["id"], owner)

    def load_pipeline(self, pipeline_id: str, label: str, stages: Iterable[tuple[str, str, str]]) -> None:
        """Stages (id, label, probability as text); "1.0" and "0.0" are closed."""
        with self._portal.store.transaction():
            self._portal.pipelines.put(pipeline_id, label, list(stages))


def _claims(
    kind: ObjectType, row_id: int, values: Mapping[str, str], unique: list[str]
) -> Iterator[tuple[int, str, str, int]]:
    if kind is CONTACTS:
        for email in (values.get("email"), *(values.get("hs_additional_emails") or "").split(";")):
            if email:
                yield kind.number, "email", email.strip().lower(), row_id
    for name in unique:
        if values.get(name):
            yield kind.number, name, values[name].strip().lower(), row_id


def _chunks(rows: Iterable[Any]) -> Iterator[list[Any]]:
    waiting = iter(rows)
    while chunk := list(islice(waiting, CHUNK)):
        yield chunk


def _versions(rows: Iterable[Mapping[str, Any]], next_seq: Callable[[], int]) -> Iterator[tuple[Any, ...]]:
    for row in rows:
        number = resolve(row["type"]).number
        for at_ms, version in sorted(((parse_ms(str(v["timestamp"])), v) for v in row["versions"]), key=itemgetter(0)):
            source = version.get("sourceType", "IMPORT"), version.get("sourceId")
            yield number, int(row["id"]), row["property"], at_ms, next_seq(), version["value"], *source
