"""Associations between records: types, pairs in both directions, labels."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import groupby, islice
from typing import Any

from sandbox.hubspot.errors import invalid
from sandbox.hubspot.object_types import COMPANIES, TYPES, ObjectType, resolve
from sandbox.hubspot.store import Store

FIRST_OWN_TYPE = 10_001
"""Type ids of a portal's own labels start here (real ones are portal-specific too)."""


@dataclass(frozen=True, slots=True)
class AssociationType:
    """One direction of one kind of link. `inverse` is the type id of the other direction."""

    source: ObjectType
    target: ObjectType
    type_id: int
    inverse: int
    label: str | None
    primary: bool
    category: str = "HUBSPOT_DEFINED"
    name: str | None = None

    def document(self) -> dict[str, Any]:
        return {"category": self.category, "typeId": self.type_id, "label": self.label}

    @property
    def legacy_name(self) -> str:
        """The v3 name: `contact_to_company`; the unlabelled company link has its own."""
        name = f"{self.source.singular}_to_{self.target.singular}"
        has_primary = any(t.primary for t in built_in() if (t.source, t.target) == (self.source, self.target))
        return name if self.primary or not has_primary else f"{name}_unlabeled"


class Associations:
    """The links of the portal. Ids are integers; both directions of every link are stored."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._types: dict[tuple[str, str, int], AssociationType] = {}
        for kind in built_in():
            self._types[kind.source.name, kind.target.name, kind.type_id] = kind
        for body in store.documents.all("association_type").values():
            self._know(body)

    def between(self, source: ObjectType, target: ObjectType) -> list[AssociationType]:
        return [kind for kind in self._types.values() if kind.source is source and kind.target is target]

    def plain(self, source: ObjectType, target: ObjectType) -> AssociationType:
        """The unlabelled type from `source` to `target`."""
        for kind in self.between(source, target):
            if kind.label is None and not kind.primary:
                return kind
        raise invalid(f"There are no default associations between {source.name} and {target.name}.")

    def type(self, source: ObjectType, target: ObjectType | None, category: str, type_id: int) -> AssociationType:
        """The type that a caller named; 400 where there is none from `source` (to `target`)."""
        for kind in self._types.values():
            same_target = target is None or kind.target is target
            if kind.source is source and same_target and kind.type_id == type_id and kind.category == category:
                return kind
        where = f" to {target.name}" if target else ""
        raise invalid(f"{category} association type {type_id} is not valid from {source.name}{where}.")

    def add(self, source_id: int, target_id: int, kind: AssociationType) -> bool:
        """Link both ways; a primary link replaces the earlier primary. Returns whether anything is new."""
        before = self._store.db.total_changes
        if kind.primary and kind.target is COMPANIES:
            self._unset_primary(source_id, kind)
        elif self._types[kind.target.name, kind.source.name, kind.inverse].primary and kind.source is COMPANIES:
            self._unset_primary(target_id, self._types[kind.target.name, kind.source.name, kind.inverse])
        self._insert(source_id, target_id, kind)
        plain = self.plain(kind.source, kind.target) if kind.primary or kind.label else kind
        if plain is not kind:
            self._insert(source_id, target_id, plain)
        return self._store.db.total_changes > before

    def add_plain(self, source: ObjectType, source_id: int, target: ObjectType, target_id: int) -> bool:
        """The default link; a record's first company becomes its primary one, as in the product."""
        kind = self.plain(source, target)
        for primary in self.between(source, target):
            if primary.primary and target is COMPANIES and not self._has(source_id, primary):
                kind = primary
        return self.add(source_id, target_id, kind)

    def remove(self, source: ObjectType, source_id: int, target: ObjectType, target_id: int) -> None:
        """Cut every link between two records."""
        for one, one_id, other, other_id in (
            (source, source_id, target, target_id),
            (target, target_id, source, source_id),
        ):
            self._store.db.execute(
                "DELETE FROM association WHERE from_type = ? AND from_id = ? AND to_type = ? AND to_id = ?",
                (one.number, one_id, other.number, other_id),
            )

    def remove_label(self, source_id: int, target_id: int, kind: AssociationType) -> None:
        sql = "DELETE FROM association WHERE from_type=? AND from_id=? AND to_type=? AND to_id=? AND type_id=?"
        numbers = kind.source.number, kind.target.number
        self._store.db.execute(sql, (numbers[0], source_id, numbers[1], target_id, kind.type_id))
        self._store.db.execute(sql, (numbers[1], target_id, numbers[0], source_id, kind.inverse))

    def remove_all(self, kind: ObjectType, record_id: int) -> None:
        """Cut every link of a record that goes away."""
        for other in TYPES:
            for target_id, _ in list(self._grouped(kind, record_id, other, 0, "")):
                self.remove(kind, record_id, other, target_id)

    def move(self, kind: ObjectType, old_id: int, new_id: int) -> None:
        """Give the links of one record to another (merge)."""
        for other in TYPES:
            for target_id, type_ids in list(self._grouped(kind, old_id, other, 0, "")):
                self.remove(kind, old_id, other, target_id)
                for type_id in type_ids:
                    link = self._types[kind.name, other.name, type_id]
                    if link.primary and self._has(new_id, link):
                        link = self.plain(kind, other)
                    self._insert(new_id, target_id, link)

    def of(
        self, source: ObjectType, source_id: int, target: ObjectType, after: int = 0, limit: int | None = None
    ) -> Iterator[tuple[int, list[int]]]:
        """(target id, type ids) of a record's links to `target`, from target id `after` on, by id.

        Archived targets do not show; their links are there again when they are restored.
        """
        live = f"AND NOT EXISTS (SELECT 1 FROM {target.name} WHERE id = to_id AND archived_ms IS NOT NULL)"
        yield from islice(self._grouped(source, source_id, target, after, live), limit)

    def _grouped(
        self, source: ObjectType, source_id: int, target: ObjectType, after: int, condition: str
    ) -> Iterator[tuple[int, list[int]]]:
        sql = (
            "SELECT to_id, type_id FROM association WHERE from_type = ? AND from_id = ? AND to_type = ? "
            f"AND to_id >= ? {condition} ORDER BY to_id, type_id"
        )
        rows = self._store.db.execute(sql, (source.number, source_id, target.number, after)).fetchall()
        for target_id, group in groupby(rows, key=lambda row: int(row[0])):
            yield target_id, [type_id for _, type_id in group]

    def documents(self, source: ObjectType, target: ObjectType, type_ids: Iterable[int]) -> list[dict[str, Any]]:
        return [self._types[source.name, target.name, type_id].document() for type_id in type_ids]

    def known(self, source: ObjectType, target: ObjectType, type_id: int) -> AssociationType:
        return self._types[source.name, target.name, type_id]

    def define(self, source: ObjectType, target: ObjectType, name: str, label: str, inverse: str | None) -> list[int]:
        """A label of the portal's own, both directions; returns the new type ids."""
        used = [kind.type_id for kind in self._types.values() if kind.type_id >= FIRST_OWN_TYPE]
        first = max(used, default=FIRST_OWN_TYPE - 1) + 1
        second = first if source is target and inverse is None else first + 1
        for own, other, type_id, back, text in (
            (source, target, first, second, label),
            (target, source, second, first, inverse or label),
        ):
            body = {"source": own.name, "target": other.name, "type_id": type_id, "inverse": back}
            self._store.documents.put("association_type", f"{own.name}/{type_id}", body | {"label": text, "name": name})
            self._know(body | {"label": text, "name": name})
        return [first] if first == second else [first, second]

    def _know(self, body: dict[str, Any]) -> None:
        kind = AssociationType(
            resolve(body["source"]),
            resolve(body["target"]),
            body["type_id"],
            body["inverse"],
            body["label"],
            primary=False,
            category="USER_DEFINED",
            name=body["name"],
        )
        self._types[kind.source.name, kind.target.name, kind.type_id] = kind

    def _has(self, source_id: int, kind: AssociationType) -> bool:
        sql = "SELECT 1 FROM association WHERE from_type=? AND from_id=? AND to_type=? AND type_id=? LIMIT 1"
        values = (kind.source.number, source_id, kind.target.number, kind.type_id)
        return self._store.db.execute(sql, values).fetchone() is not None

    def _unset_primary(self, source_id: int, kind: AssociationType) -> None:
        rows = self._store.db.execute(
            "SELECT to_id FROM association WHERE from_type=? AND from_id=? AND to_type=? AND type_id=?",
            (kind.source.number, source_id, kind.target.number, kind.type_id),
        ).fetchall()
        for (target_id,) in rows:
            self.remove_label(source_id, target_id, kind)

    def _insert(self, source_id: int, target_id: int, kind: AssociationType) -> None:
        self._store.db.executemany(
            "INSERT OR IGNORE INTO association VALUES (?, ?, ?, ?, ?)",
            (
                (kind.source.number, source_id, kind.target.number, target_id, kind.type_id),
                (kind.target.number, target_id, kind.source.number, source_id, kind.inverse),
            ),
        )


@cache
def built_in() -> tuple[AssociationType, ...]:
    """HubSpot-defined types, each direction once, from data/associations.tsv."""
    text = resources.files("sandbox.hubspot").joinpath("data/associations.tsv").read_text("utf-8")
    found: dict[tuple[str, str, int], AssociationType] = {}
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        source, target, type_id, inverse, label, primary = line.split("\t")
        one, other, is_primary = resolve(source), resolve(target), primary == "primary"
        for kind in (
            AssociationType(one, other, int(type_id), int(inverse), label or None, is_primary),
            AssociationType(other, one, int(inverse), int(type_id), label or None, is_primary),
        ):
            found.setdefault((kind.source.name, kind.target.name, kind.type_id), kind)
    return tuple(found.values())
