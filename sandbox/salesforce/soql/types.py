"""The shapes that a schema and the SOQL engine exchange."""

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

FIELD_TYPES = frozenset(
    [
        "id",
        "string",
        "reference",
        "picklist",
        "multipicklist",
        "textarea",
        "email",
        "phone",
        "url",
        "boolean",
        "int",
        "double",
        "currency",
        "percent",
        "date",
        "datetime",
        "time",
        "combobox",
        "address",
        "base64",
        "anyType",
        "encryptedstring",
    ]
)


@dataclass(frozen=True, slots=True)
class FieldInfo:
    """One field as describe knows it. ``type`` is one of ``FIELD_TYPES``; ``length`` counts characters."""

    name: str
    type: str
    filterable: bool = True
    sortable: bool = True
    groupable: bool = True
    custom: bool = False
    relationship_name: str | None = None
    reference_to: tuple[str, ...] = ()
    length: int = 0
    long_text: bool = False
    case_sensitive: bool = False


@dataclass(frozen=True, slots=True)
class ChildInfo:
    """A child relationship: rows of ``child_sobject`` point at the parent with their ``field``."""

    relationship_name: str
    child_sobject: str
    field: str


@dataclass(frozen=True, slots=True)
class SObjectInfo:
    """One sObject. ``fields`` is keyed by the lower-case API name; ``key_prefix`` has 3 characters."""

    name: str
    key_prefix: str
    fields: Mapping[str, FieldInfo]
    child_relationships: tuple[ChildInfo, ...] = ()
    queryable: bool = True


class SchemaView(Protocol):
    """What the engine asks of a schema."""

    def sobject(self, name: str) -> SObjectInfo | None:
        """The sObject of that API name in any letter case; None when there is none."""
        ...


class SoqlError(Exception):
    """A refused query: HTTP 400 with ``[{"message": message, "errorCode": code}]``."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


FetchPage = Callable[[sqlite3.Connection | None, int, int], list[dict[str, object]]]


@dataclass(frozen=True, slots=True)
class QueryResult:
    """The snapshot of one query.

    ``total_size`` counts all rows; ``is_count`` marks ``SELECT COUNT()``, which has a total and no records.
    ``long_text_columns`` counts the selected custom long-text fields (they make the vendor's pages smaller).
    """

    sobject: str
    total_size: int
    is_count: bool
    long_text_columns: int
    fetch: FetchPage = field(repr=False)

    def page(self, offset: int, size: int, connection: sqlite3.Connection | None = None) -> list[dict[str, object]]:
        """The JSON-ready records ``offset`` to ``offset + size`` (exclusive): fewer at the end, none beyond it.

        Which rows, and their order, is fixed at query time. Values are those of the moment the page is read, and a
        row removed for good in between is left out. Pass the connection of the reading thread when it is not the
        one that ran the query.
        """
        if self.is_count or size <= 0 or offset >= self.total_size:
            return []
        return self.fetch(connection, max(offset, 0), size)

    @property
    def records(self) -> list[dict[str, object]]:
        """All records at once: for small results only."""
        return self.page(0, self.total_size)
