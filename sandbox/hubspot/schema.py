"""Property definitions and groups of every object type: HubSpot's own from a data file, the portal's from the store."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any

from sandbox.hubspot.object_types import BY_NUMBER, TYPES, ObjectType
from sandbox.hubspot.store import Store
from sandbox.hubspot.wire import stamp

TYPES_ALLOWED = ("bool", "date", "datetime", "enumeration", "number", "string", "phone_number")
FIELD_TYPES = (
    "booleancheckbox",
    "calculation_equation",
    "checkbox",
    "date",
    "file",
    "html",
    "number",
    "phonenumber",
    "radio",
    "select",
    "text",
    "textarea",
)
MAX_UNIQUE = 10
_BUILT_IN_MS = 1_577_836_800_000  # HubSpot-defined properties are older than any portal here


@dataclass(frozen=True, slots=True)
class Property:
    """One definition. `options` are (value, label, hidden) in display order."""

    name: str
    label: str
    type: str
    field_type: str
    group: str
    options: tuple[tuple[str, str, bool], ...] = ()
    description: str = ""
    hubspot_defined: bool = False
    read_only: bool = False
    calculated: bool = False
    owner: bool = False
    unique: bool = False
    hidden: bool = False
    form_field: bool = False
    display_order: int = -1
    number_hint: str | None = None
    created_ms: int = _BUILT_IN_MS
    updated_ms: int = _BUILT_IN_MS

    @property
    def multiple(self) -> bool:
        return self.type == "enumeration" and self.field_type == "checkbox"

    def values(self) -> frozenset[str]:
        return frozenset(value for value, _, _ in self.options)

    def document(self) -> dict[str, Any]:
        """The definition as the properties API shows it."""
        document: dict[str, Any] = {
            "updatedAt": stamp(self.updated_ms),
            "createdAt": stamp(self.created_ms),
            "name": self.name,
            "label": self.label,
            "type": self.type,
            "fieldType": self.field_type,
            "description": self.description,
            "groupName": self.group,
            "options": [
                {"label": label, "value": value, "displayOrder": place, "hidden": hidden}
                for place, (value, label, hidden) in enumerate(self.options)
            ],
            "displayOrder": self.display_order,
            "calculated": self.calculated,
            "externalOptions": self.owner,
            "archived": False,
            "hasUniqueValue": self.unique and not self.hubspot_defined,
            "hidden": self.hidden,
            "modificationMetadata": {
                "archivable": not self.hubspot_defined,
                "readOnlyDefinition": self.hubspot_defined,
                "readOnlyOptions": self.hubspot_defined,
                "readOnlyValue": self.read_only,
            },
            "formField": self.form_field,
            "dataSensitivity": "non_sensitive",
        }
        if self.hubspot_defined:
            document["hubspotDefined"] = True
        if self.owner:
            document["referencedObjectType"] = "OWNER"
        if self.number_hint:
            document["numberDisplayHint"] = self.number_hint
        return document


class Schema:
    """The definitions in force, per object type; the portal's own ones are kept in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, dict[str, Property]] = {kind.name: dict(_built_in()[kind.name]) for kind in TYPES}
        for key, body in store.documents.all("property").items():
            number, _, name = key.partition("/")
            body["options"] = tuple((value, label, hidden) for value, label, hidden in body["options"])
            self._known[BY_NUMBER[int(number)].name][name] = Property(**body)

    def of(self, kind: ObjectType) -> dict[str, Property]:
        return self._known[kind.name]

    def get(self, kind: ObjectType, name: str) -> Property | None:
        return self._known[kind.name].get(name)

    def defined(self, kind: ObjectType, names: Iterable[str] | None) -> list[str]:
        """Of `names` (None: the defaults) those that exist, sorted; the three system ones are always among them."""
        known = self._known[kind.name]
        if names is None:
            return sorted(kind.defaults)
        wanted = {name.lower() for name in names} & known.keys()
        return sorted(wanted | {kind.created, kind.modified, "hs_object_id"})

    def unique_names(self, kind: ObjectType) -> list[str]:
        return [name for name, prop in self._known[kind.name].items() if prop.unique]

    def put(self, kind: ObjectType, prop: Property) -> None:
        self._known[kind.name][prop.name] = prop
        self._store.documents.put("property", f"{kind.number}/{prop.name}", _fields(prop))

    def drop(self, kind: ObjectType, name: str) -> None:
        del self._known[kind.name][name]
        self._store.documents.drop("property", f"{kind.number}/{name}")

    def groups(self, kind: ObjectType) -> dict[str, dict[str, Any]]:
        """Group documents by name: those that HubSpot's properties use, and the portal's own."""
        names = sorted({prop.group for prop in _built_in()[kind.name].values()})
        built_in = {
            name: {"archived": False, "name": name, "label": name.replace("_", " ").capitalize(), "displayOrder": place}
            for place, name in enumerate(names)
        }
        prefix = f"{kind.number}/"
        own = {
            key.removeprefix(prefix): body
            for key, body in self._store.documents.all("group").items()
            if key.startswith(prefix)
        }
        return built_in | own

    def put_group(self, kind: ObjectType, group: dict[str, Any]) -> None:
        self._store.documents.put("group", f"{kind.number}/{group['name']}", group)

    def drop_group(self, kind: ObjectType, name: str) -> None:
        self._store.documents.drop("group", f"{kind.number}/{name}")

    def set_options(self, kind: ObjectType, name: str, options: Iterable[tuple[str, str]]) -> None:
        """Options that depend on the portal (pipelines, stages); not stored, made again at start."""
        prop = self._known[kind.name][name]
        self._known[kind.name][name] = replace(prop, options=tuple((value, label, False) for value, label in options))


NAME = re.compile(r"[a-z][a-z0-9_]{0,99}")


def _fields(prop: Property) -> dict[str, Any]:
    return {name: getattr(prop, name) for name in Property.__slots__}


@cache
def _built_in() -> dict[str, dict[str, Property]]:
    """HubSpot's own properties by object type, from data/properties.tsv."""
    text = resources.files("sandbox.hubspot").joinpath("data/properties.tsv").read_text("utf-8")
    found: dict[str, dict[str, Property]] = {kind.name: {} for kind in TYPES}
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        owner, name, type_, field_type, group, flags, label, *rest = line.split("\t")
        pairs = [option.partition("=") for option in rest[0].split("|")] if rest and rest[0] else []
        for kind in TYPES:
            if owner not in ("*", kind.name) and not (owner == "engagements" and kind.engagement):
                continue
            found[kind.name][name] = Property(
                name=name,
                label=label,
                type=type_,
                field_type=field_type,
                group=f"{kind.singular}information" if group == "*" else group,
                options=tuple((value, text, False) for value, _, text in pairs),
                hubspot_defined=True,
                read_only="r" in flags,
                calculated="c" in flags,
                owner="o" in flags,
                unique="u" in flags,
            )
    return found
