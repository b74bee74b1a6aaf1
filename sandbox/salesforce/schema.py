"""The org's live schema: the catalog plus custom fields, as the SOQL engine, describe and DML see it."""

import threading

from sandbox.salesforce.catalog import Field, SObject, read_catalog
from sandbox.salesforce.soql import ChildInfo, SObjectInfo

ACTIVITY = ("Task", "Event")


class Schema:
    """Implements the SOQL engine's `SchemaView`. Changes are rare and swap whole values: readers take no lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._objects = {name.lower(): sobject for name, sobject in read_catalog().items()}
        self._by_prefix = {sobject.key_prefix: sobject for sobject in self._objects.values()}
        self._infos: dict[str, SObjectInfo] = {}
        self.version = 1  # grows with every change: caches key on it

    def sobject(self, name: str) -> SObjectInfo | None:
        """See `SchemaView`."""
        key = name.lower()
        info = self._infos.get(key)
        if info is None and (sobject := self._objects.get(key)) is not None:
            info = self._infos[key] = SObjectInfo(
                name=sobject.name,
                key_prefix=sobject.key_prefix,
                fields={lower: one.info() for lower, one in sobject.fields.items()},
                child_relationships=tuple(ChildInfo(c.relationship, c.sobject, c.field) for c in sobject.children),
            )
        return info

    def find(self, name: str) -> SObject | None:
        return self._objects.get(name.lower())

    def get(self, name: str) -> SObject:
        """The object of that name, which is known to exist."""
        return self._objects[name.lower()]

    def of_id(self, record_id: str) -> SObject | None:
        return self._by_prefix.get(record_id[:3])

    def all(self) -> list[SObject]:
        return list(self._objects.values())

    def put_field(self, sobject: str, one: Field) -> None:
        """Add a custom field, or change it."""
        with self._lock:
            target = self.get(sobject)
            target.fields = {**target.fields, one.name.lower(): one}
            self._forget(sobject)

    def drop_field(self, sobject: str, name: str) -> None:
        with self._lock:
            target = self.get(sobject)
            target.fields = {lower: one for lower, one in target.fields.items() if lower != name.lower()}
            self._forget(sobject)

    def restore(self, sobject: str, fields: dict[str, Field]) -> None:
        """Take an object's fields back to what they were."""
        with self._lock:
            self.get(sobject).fields = fields
            self._forget(sobject)

    def _forget(self, sobject: str) -> None:
        self._infos.pop(sobject.lower(), None)
        self.version += 1


def homes(entity: str) -> tuple[str, ...]:
    """Where a custom field of `entity` lives: fields authored on Activity are on Task and Event."""
    return ACTIVITY if entity == "Activity" else (entity,)
