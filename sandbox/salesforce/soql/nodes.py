"""The syntax tree of a SOQL query. ``pos`` is a 0-based offset into the query text, for error carets."""

from dataclasses import dataclass
from typing import Literal as OneOf

LiteralKind = OneOf["string", "number", "date", "datetime", "time", "boolean", "null", "name", "date_n", "bind"]


@dataclass(frozen=True, slots=True)
class Literal:
    """A literal as written: strings still carry quotes and escapes."""

    kind: LiteralKind
    text: str
    pos: int


@dataclass(frozen=True, slots=True)
class Path:
    """A field path such as ``Account.Owner.Name``."""

    parts: tuple[str, ...]
    pos: int

    @property
    def text(self) -> str:
        return ".".join(self.parts)


@dataclass(frozen=True, slots=True)
class Call:
    """A function call; ``name`` is upper case, ``written`` as typed."""

    name: str
    written: str
    arguments: tuple["Path | Call | Literal", ...]
    pos: int


Expression = Path | Call


@dataclass(frozen=True, slots=True)
class FieldItem:
    expression: Expression
    alias: str | None


@dataclass(frozen=True, slots=True)
class ChildItem:
    query: "Query"
    pos: int


@dataclass(frozen=True, slots=True)
class TypeOfItem:
    """``TYPEOF path WHEN type THEN fields … ELSE fields END``."""

    path: Path
    branches: tuple[tuple[Path, tuple[Path, ...]], ...]
    otherwise: tuple[Path, ...]


SelectItem = FieldItem | ChildItem | TypeOfItem


@dataclass(frozen=True, slots=True)
class Compare:
    """``op`` is one of = != < <= > >= like."""

    expression: Expression
    op: str
    value: Literal


@dataclass(frozen=True, slots=True)
class InList:
    expression: Expression
    negated: bool
    values: tuple[Literal, ...]


@dataclass(frozen=True, slots=True)
class InQuery:
    expression: Expression
    negated: bool
    query: "Query"


@dataclass(frozen=True, slots=True)
class Includes:
    expression: Expression
    negated: bool
    values: tuple[Literal, ...]


@dataclass(frozen=True, slots=True)
class AllOf:
    parts: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    parts: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class NoneOf:
    part: "Condition"


Condition = Compare | InList | InQuery | Includes | AllOf | AnyOf | NoneOf


@dataclass(frozen=True, slots=True)
class OrderItem:
    expression: Expression
    descending: bool
    nulls_last: bool


@dataclass(frozen=True, slots=True)
class Query:
    """One SELECT. ``source`` has one part for an sObject, or a relationship name inside a child subquery."""

    items: tuple[SelectItem, ...]
    source: Path
    alias: str | None
    scope: str | None
    where: Condition | None
    group_by: tuple[Expression, ...]
    having: Condition | None
    order_by: tuple[OrderItem, ...]
    limit: int | None
    offset: int | None
    offset_pos: int
    all_rows_pos: int | None
    pos: int
