"""The objects and fields of a fresh org, read from `facts/*.txt`.

A facts file has one section per object, `[Name keyPrefix properties label labelPlural]`, and one line per field,
`Name type length flags label`, then `digits=precision,scale`, `to=` reference targets, `as=` relationship name, `in=` compound
field, `values=` picklist values (`*` before the default, `value=label` where they differ). `> Relationship Child Field [cascade]`
is a child relationship. Object properties: m mergeable, t layoutable, x undeletable, h searchable. Field flags: c createable,
u updateable, n nillable, f filterable, s sortable, g groupable, i idLookup, d defaultedOnCreate, r restricted picklist,
p permissionable, a name field, l polymorphic key.
"""

import shlex
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files

from sandbox.salesforce.soql import FieldInfo

_AUDIT = """\
CreatedDate datetime 0 fsd 'Created Date'
CreatedById reference 18 fsgd 'Created By ID' to=User as=CreatedBy
LastModifiedDate datetime 0 fsd 'Last Modified Date'
LastModifiedById reference 18 fsgd 'Last Modified By ID' to=User as=LastModifiedBy
SystemModstamp datetime 0 fsd 'System Modstamp'"""
_MACROS = {
    "%id": "Id id 18 fsgid 'Record ID'",
    "%deleted": "IsDeleted boolean 0 fsgd Deleted",
    "%audit": _AUDIT,
}
_NUMBERS = frozenset({"int", "double", "currency", "percent"})


@dataclass(frozen=True, slots=True)
class Choice:
    """One picklist value."""

    value: str
    label: str
    default: bool = False


@dataclass(frozen=True, slots=True)
class Field:
    """One field as describe shows it. `length` counts characters, `digits` is (precision, scale)."""

    name: str
    type: str
    length: int
    flags: frozenset[str]
    label: str
    digits: tuple[int, int] = (0, 0)
    refers_to: tuple[str, ...] = ()
    relationship: str | None = None
    compound: str | None = None
    choices: tuple[Choice, ...] = ()
    custom: bool = False
    external_id: bool = False
    unique: bool = False
    case_sensitive: bool = False
    default: object = None
    help: str | None = None

    def has(self, flag: str) -> bool:
        return flag in self.flags

    @property
    def createable(self) -> bool:
        return "c" in self.flags

    @property
    def updateable(self) -> bool:
        return "u" in self.flags

    @property
    def long_text(self) -> bool:
        return self.type == "textarea" and self.length > 255

    @property
    def sql_type(self) -> str:
        if self.type in ("datetime", "boolean", "int"):
            return "INTEGER"
        return "REAL" if self.type in _NUMBERS else "TEXT"

    @property
    def required(self) -> bool:
        """Must be given at creation and never be null."""
        return self.createable and "n" not in self.flags and "d" not in self.flags and self.type != "boolean"

    @property
    def default_value(self) -> object:
        """What a new record has where nothing is given, in stored form; None for none."""
        if self.default is not None:
            return self.default
        if self.type == "boolean":
            return 0
        return next((choice.value for choice in self.choices if choice.default), None)

    def info(self) -> FieldInfo:
        """As the SOQL engine wants it."""
        return FieldInfo(
            name=self.name,
            type=self.type,
            filterable=self.has("f"),
            sortable=self.has("s"),
            groupable=self.has("g"),
            custom=self.custom,
            relationship_name=self.relationship,
            reference_to=self.refers_to,
            length=self.length,
            long_text=self.long_text,
            case_sensitive=self.case_sensitive,
        )


@dataclass(frozen=True, slots=True)
class Child:
    """Rows of `sobject` point here with their `field`; `cascade` means they go when the parent goes."""

    relationship: str
    sobject: str
    field: str
    cascade: bool


@dataclass(slots=True)
class SObject:
    """One object. `fields` is keyed by the lower-case API name, in describe's order."""

    name: str
    key_prefix: str
    properties: frozenset[str]
    label: str
    label_plural: str
    fields: dict[str, Field] = field(default_factory=dict)
    children: list[Child] = field(default_factory=list)

    def field(self, name: str) -> Field | None:
        return self.fields.get(name.lower())

    def has(self, name: str) -> bool:
        return name.lower() in self.fields

    @property
    def createable(self) -> bool:
        return any(one.createable for one in self.fields.values())

    @property
    def updateable(self) -> bool:
        return any(one.updateable for one in self.fields.values())

    @property
    def addressed(self) -> bool:
        """Has compound addresses."""
        return self.has("Address") or self.has("MailingAddress") or self.has("BillingAddress")

    @property
    def replicateable(self) -> bool:
        return self.has("SystemModstamp") and self.has("IsDeleted")


def read_catalog() -> dict[str, SObject]:
    """The objects of a fresh org by API name; the caller may give them other fields."""
    return {name: replace(sobject) for name, sobject in _read_files().items()}


@cache
def _read_files() -> dict[str, SObject]:
    catalog: dict[str, SObject] = {}
    folder = files("sandbox.salesforce") / "facts"
    for name in ("recorded.txt", "written.txt"):
        _read(folder.joinpath(name).read_text(encoding="utf-8"), catalog)
    for sobject in catalog.values():
        sobject.children = [child for child in sobject.children if child.sobject in catalog]
    return catalog


def _read(text: str, catalog: dict[str, SObject]) -> None:
    for macro, lines in _MACROS.items():
        text = text.replace(macro + "\n", lines + "\n")
    sobject: SObject | None = None
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            name, prefix, properties, label, plural = shlex.split(line[1:-1])
            sobject = catalog.setdefault(name, SObject(name, prefix, frozenset(properties.strip("-")), label, plural))
            continue
        if sobject is None:
            raise ValueError(f"a field before any object: {line!r}")
        words = shlex.split(line)
        if words[0] == ">":
            sobject.children.append(Child(words[1], words[2], words[3], "cascade" in words))
            continue
        one = _parse_field(words)
        sobject.fields[one.name.lower()] = one


def _parse_field(words: list[str]) -> Field:
    name, kind, length, flags, label, *rest = words
    one = Field(name, kind, int(length), frozenset(flags.strip("-")), label)
    for extra in rest:
        key, _, value = extra.partition("=")
        match key:
            case "digits":
                precision, scale = value.split(",")
                one = replace(one, digits=(int(precision), int(scale)))
            case "to":
                one = replace(one, refers_to=tuple(value.split(",")))
            case "as":
                one = replace(one, relationship=value)
            case "in":
                one = replace(one, compound=value)
            case "values":
                one = replace(one, choices=tuple(_parse_choice(choice) for choice in value.split(";")))
            case _:
                raise ValueError(f"unknown word {extra!r} at field {name}")
    return one


def _parse_choice(text: str) -> Choice:
    value, _, label = text.removeprefix("*").partition("=")
    return Choice(value, label or value, default=text.startswith("*"))
