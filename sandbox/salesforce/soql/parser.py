"""SOQL text to syntax tree: an LALR grammar, its tree builder, and the parser's error texts."""

import re
from functools import lru_cache
from pathlib import Path as FilePath
from typing import Any, cast

from lark import Lark, Token, Transformer
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from sandbox.salesforce.soql.errors import refuse_character, refuse_syntax
from sandbox.salesforce.soql.nodes import (
    AllOf,
    AnyOf,
    Call,
    ChildItem,
    Compare,
    Condition,
    Expression,
    FieldItem,
    Includes,
    InList,
    InQuery,
    Literal,
    LiteralKind,
    NoneOf,
    OrderItem,
    Path,
    Query,
    TypeOfItem,
)
from sandbox.salesforce.soql.types import SoqlError

MAX_CHARACTERS = 100_000
MAX_LIMIT = 2**31 - 1

_LITERAL_KINDS: dict[str, LiteralKind] = {
    "STRING": "string",
    "NUMBER": "number",
    "DATE": "date",
    "DATETIME": "datetime",
    "TIME": "time",
    "TRUE": "boolean",
    "FALSE": "boolean",
    "NULL": "null",
    "NAME": "name",
    "DATE_N": "date_n",
    "BIND": "bind",
}
_UNZONED_DATETIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?", re.IGNORECASE)


class _Clause(tuple[str, Any]):
    """A finished clause on its way into the query: its name and its value."""

    __slots__ = ()


class _UnexpectedWordError(Exception):
    """A token that the grammar lets through and SOQL does not."""

    def __init__(self, token: Token) -> None:
        super().__init__(str(token))
        self.token = token


def _path(token: Token) -> Path:
    return Path(tuple(token.split(".")), cast(int, token.start_pos))


def _literal(token: Token) -> Literal:
    return Literal(_LITERAL_KINDS[token.type], str(token), cast(int, token.start_pos))


def _whole_number(token: Token) -> int:
    if not re.fullmatch(r"\+?\d+", token) or int(token) > MAX_LIMIT:
        raise _UnexpectedWordError(token)
    return int(token)


class _TreeBuilder(Transformer[Token, Query]):
    """Called by the parser bottom-up: each method turns the children of one rule into a node."""

    def start(self, parts: list[Query]) -> Query:
        return parts[0]

    def query(self, parts: list[Any]) -> Query:
        select: Token = parts[0]
        clauses = {clause[0]: clause[1] for clause in parts if isinstance(clause, _Clause)}
        source, alias = clauses["source"]
        offset = clauses.get("offset")
        return Query(
            items=clauses["select"],
            source=source,
            alias=alias,
            scope=clauses.get("using"),
            where=clauses.get("where"),
            group_by=clauses.get("group", ((), None))[0],
            having=clauses.get("group", ((), None))[1],
            order_by=clauses.get("order", ()),
            limit=clauses.get("limit"),
            offset=offset[0] if offset else None,
            offset_pos=offset[1] if offset else 0,
            all_rows_pos=clauses.get("all_rows"),
            pos=cast(int, select.start_pos),
        )

    def select_list(self, parts: list[Any]) -> _Clause:
        return _Clause(("select", tuple(parts)))

    def alias(self, parts: list[Token]) -> str:
        return str(parts[0])

    def field_item(self, parts: list[Any]) -> FieldItem:
        return FieldItem(parts[0], parts[1] if len(parts) > 1 else None)

    def child_item(self, parts: list[Any]) -> ChildItem:
        return ChildItem(parts[0], parts[0].pos)

    def typeof_item(self, parts: list[Any]) -> TypeOfItem:
        branches = tuple(clause[1] for clause in parts if isinstance(clause, _Clause) and clause[0] == "when")
        otherwise = [clause[1] for clause in parts if isinstance(clause, _Clause) and clause[0] == "otherwise"]
        return TypeOfItem(_path(parts[1]), branches, otherwise[0] if otherwise else ())

    def when(self, parts: list[Any]) -> _Clause:
        return _Clause(("when", (_path(parts[1]), parts[3])))

    def otherwise(self, parts: list[Any]) -> _Clause:
        return _Clause(("otherwise", parts[1]))

    def name_list(self, parts: list[Token]) -> tuple[Path, ...]:
        return tuple(_path(token) for token in parts)

    def path(self, parts: list[Token]) -> Path:
        return _path(parts[0])

    def argument(self, parts: list[Any]) -> Any:
        return _literal(parts[0]) if isinstance(parts[0], Token) else parts[0]

    def call(self, parts: list[Any]) -> Call:
        name: Token = parts[0]
        return Call(name.upper(), str(name), tuple(parts[1:]), cast(int, name.start_pos))

    def source(self, parts: list[Token]) -> _Clause:
        alias = str(parts[-1]) if len(parts) > 1 else None
        return _Clause(("source", (_path(parts[0]), alias)))

    def using(self, parts: list[Token]) -> _Clause:
        return _Clause(("using", str(parts[2])))

    def where(self, parts: list[Any]) -> _Clause:
        return _Clause(("where", parts[1]))

    def with_clause(self, parts: list[Token]) -> _Clause:
        name = parts[1]
        if name.upper() not in {"SECURITY_ENFORCED", "USER_MODE", "SYSTEM_MODE"}:
            raise _UnexpectedWordError(name)
        return _Clause(("with", str(name)))

    def group(self, parts: list[Any]) -> _Clause:
        having = parts[3][1] if len(parts) > 3 else None
        return _Clause(("group", (parts[2], having)))

    def having(self, parts: list[Any]) -> _Clause:
        return _Clause(("having", parts[1]))

    def expr_list(self, parts: list[Expression]) -> tuple[Expression, ...]:
        return tuple(parts)

    def order(self, parts: list[Any]) -> _Clause:
        return _Clause(("order", tuple(parts[2:])))

    def order_item(self, parts: list[Any]) -> OrderItem:
        words = {part.type for part in parts[1:]}
        return OrderItem(parts[0], "DESC" in words, "LAST" in words)

    def limit(self, parts: list[Token]) -> _Clause:
        return _Clause(("limit", _whole_number(parts[1])))

    def offset(self, parts: list[Token]) -> _Clause:
        return _Clause(("offset", (_whole_number(parts[1]), parts[1].start_pos)))

    def for_clause(self, parts: list[Token]) -> _Clause:
        purpose = parts[1]
        if purpose.upper() not in {"VIEW", "REFERENCE", "UPDATE"}:
            raise _UnexpectedWordError(purpose)
        return _Clause(("for", str(purpose)))

    def update(self, parts: list[Token]) -> _Clause:
        return _Clause(("update", tuple(str(part) for part in parts[1:])))

    def all_rows(self, parts: list[Token]) -> _Clause:
        return _Clause(("all_rows", parts[0].start_pos))

    def single(self, parts: list[Condition]) -> Condition:
        return parts[0]

    def group_of(self, parts: list[Condition]) -> Condition:
        return parts[0]

    def all_of(self, parts: list[Any]) -> AllOf:
        return AllOf(tuple(parts[::2]))

    def any_of(self, parts: list[Any]) -> AnyOf:
        return AnyOf(tuple(parts[::2]))

    def none_of(self, parts: list[Any]) -> NoneOf:
        return NoneOf(parts[1])

    def compare(self, parts: list[Any]) -> Compare:
        operator = re.sub(r"\s", "", parts[1])
        return Compare(parts[0], "!=" if operator == "<>" else operator, parts[2])

    def like(self, parts: list[Any]) -> Compare:
        return Compare(parts[0], "like", parts[2])

    def in_operator(self, parts: list[Token]) -> bool:
        return len(parts) == 2

    def in_list(self, parts: list[Any]) -> InList:
        return InList(parts[0], parts[1], parts[2])

    def in_query(self, parts: list[Any]) -> InQuery:
        return InQuery(parts[0], parts[1], parts[2])

    def in_bind(self, parts: list[Any]) -> InList:
        return InList(parts[0], parts[1], (_literal(parts[2]),))

    def includes(self, parts: list[Any]) -> Includes:
        return Includes(parts[0], parts[1].type == "EXCLUDES", parts[2])

    def literal_list(self, parts: list[Literal]) -> tuple[Literal, ...]:
        return tuple(parts)

    def literal(self, parts: list[Token]) -> Literal:
        return _literal(parts[0])


@lru_cache(maxsize=1)
def _parser() -> Lark:
    grammar = FilePath(__file__).with_name("soql.lark").read_text(encoding="utf-8")
    return Lark(grammar, parser="lalr", transformer=_TreeBuilder(), maybe_placeholders=False, keep_all_tokens=False)


def _explain(text: str, error: UnexpectedInput) -> SoqlError:
    pos = len(text)
    met = "<EOF>"
    if isinstance(error, UnexpectedToken) and error.token.type != "$END":
        pos = cast(int, error.token.start_pos)
        met = str(error.token)
    elif isinstance(error, UnexpectedCharacters):
        pos = cast(int, error.pos_in_stream)
        met = ""
    if pos < len(text) and text[pos] == "'" and met == "":
        line_start = text.rfind("\n") + 1
        row = text.count("\n") + 1
        message = f"line {row}:{len(text) - line_start} mismatched character '<EOF>' expecting '''"
        return refuse_syntax(text, len(text), message)
    # A date with a time but no zone (or whose "+" a careless client let decode to a space) ends in mid-token.
    for unzoned in _UNZONED_DATETIME.finditer(text, max(pos - 10, 0), pos + 32):
        if unzoned.start() < pos <= unzoned.end():
            return refuse_character(text, unzoned.end())
    if met == "":
        if text[pos] in "().,:=<>!+-*/[]{}":
            met = text[pos]
        else:
            return refuse_character(text, pos)
    return refuse_syntax(text, pos, f"unexpected token: '{met}'")


@lru_cache(maxsize=512)
def parse(text: str) -> Query:
    """The syntax tree of ``text``; raises SoqlError MALFORMED_QUERY as the vendor's parser does."""
    if len(text) > MAX_CHARACTERS:
        raise SoqlError("MALFORMED_QUERY", f"SOQL statements cannot be longer than {MAX_CHARACTERS} characters.")
    if "\0" in text:
        raise refuse_character(text, text.index("\0"))
    if not text.strip():
        raise SoqlError("MALFORMED_QUERY", "SOQL statements cannot be empty or null")
    try:
        return cast(Query, _parser().parse(text))
    except UnexpectedInput as error:
        raise _explain(text, error) from None
    except _UnexpectedWordError as word:
        raise refuse_syntax(text, cast(int, word.token.start_pos), f"unexpected token: '{word.token}'") from None
