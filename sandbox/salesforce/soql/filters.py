"""WHERE and HAVING to SQL.

SOQL knows two truth values: a comparison with a null field is false, except ``= null`` and ``!=`` of anything else.
SQL's third value is cut off where it would matter, under NOT.
"""

from collections.abc import Callable
from dataclasses import replace

from sandbox.salesforce.soql.errors import refuse, too_complicated
from sandbox.salesforce.soql.functions import compile_expression
from sandbox.salesforce.soql.literals import (
    bind_refused,
    read_date,
    read_date_range,
    read_datetime,
    read_string,
)
from sandbox.salesforce.soql.nodes import (
    AllOf,
    AnyOf,
    Compare,
    Condition,
    Expression,
    Includes,
    InList,
    InQuery,
    Literal,
    NoneOf,
    Path,
)
from sandbox.salesforce.soql.scope import Column, Scope
from sandbox.salesforce.soql.values import NUMBER_TYPES

_MAX_DEPTH = 100
_ID_TYPES = frozenset({"id", "reference"})
_STRING_TYPES = _ID_TYPES | {
    "string", "picklist", "multipicklist", "textarea", "email", "phone", "url", "combobox", "encryptedstring", "anyType",
}  # fmt: skip
_TYPE_NAMES = {"datetime": "dateTime"}
_CHECKSUM_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"

# A branch of an OR with one of these operators implies the bound.
_BOUNDS = {">=": {"=", ">", ">="}, "<=": {"=", "<", "<="}}

SemiJoin = Callable[[InQuery, Scope], str]


def lengthen_id(short: str) -> str:
    """The 18-character form of a 15-character id: three letters that keep the case of five characters each."""
    suffix = ""
    for start in (0, 5, 10):
        bits = sum(1 << place for place, letter in enumerate(short[start : start + 5]) if "A" <= letter <= "Z")
        suffix += _CHECKSUM_LETTERS[bits]
    return short + suffix


def _has_wide_case(value: str) -> bool:
    """Whether letters beyond ASCII have two cases, which SQLite's NOCASE and LIKE do not know."""
    return not value.isascii() and any(not c.isascii() and c.lower() != c.upper() for c in value)


def join_balanced(parts: list[str], word: str) -> str:
    """``a AND b AND c …`` as a shallow tree: SQLite limits the depth of an expression, a long chain is deep."""
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    return f"({join_balanced(parts[:middle], word)} {word} {join_balanced(parts[middle:], word)})"


def _find_common_bounds(condition: AnyOf) -> list[Compare]:
    """What every branch implies: ``x > 5 OR (x = 5 AND y > 1)`` cannot hold unless ``x >= 5``.

    Said aloud, it lets SQLite enter the index at the right place when a client reads on from the last row it has.
    """
    bounds: list[Compare] = []
    for bound, operators in _BOUNDS.items():
        shared: dict[tuple[Path, str], Compare] | None = None
        for branch in condition.parts:
            found = {
                (replace(part.expression, pos=0), part.value.text): part
                for part in (branch.parts if isinstance(branch, AllOf) else (branch,))
                if isinstance(part, Compare)
                and part.op in operators
                and isinstance(part.expression, Path)
                and part.value.kind in {"datetime", "date", "number"}
            }
            shared = found if shared is None else {key: part for key, part in shared.items() if key in found}
        bounds.extend(replace(part, op=bound) for part in (shared or {}).values())
    return bounds


class FilterCompiler:
    """Compiles the conditions of one scope. ``aggregates`` allows aggregate functions (HAVING)."""

    def __init__(self, scope: Scope, semi_join: SemiJoin | None, *, aggregates: bool = False) -> None:
        self._scope = scope
        self._shared = scope.shared
        self._text = scope.shared.text
        self._semi_join = semi_join
        self._aggregates = aggregates

    def compile(self, condition: Condition, depth: int = 0, *, inside_or: bool = False) -> str:
        if depth > _MAX_DEPTH:
            raise too_complicated()
        if isinstance(condition, AllOf):
            return join_balanced(
                [self.compile(part, depth + 1, inside_or=inside_or) for part in condition.parts], "AND"
            )
        if isinstance(condition, AnyOf):
            parts = [self.compile(part, depth + 1, inside_or=True) for part in condition.parts]
            bounds = [self._compare(bound) for bound in _find_common_bounds(condition)]
            return join_balanced([*bounds, join_balanced(parts, "OR")], "AND")
        if isinstance(condition, NoneOf):
            return self._negate(self.compile(condition.part, depth + 1, inside_or=inside_or))
        if isinstance(condition, Compare):
            return self._compare(condition)
        if isinstance(condition, InList):
            return self._in_list(condition)
        if isinstance(condition, Includes):
            return self._includes(condition)
        if inside_or:
            message = "Semi join sub-selects are not allowed with the 'OR' operator"
            raise refuse("MALFORMED_QUERY", self._text, condition.query.pos, message)
        if self._semi_join is None:
            message = "Semi join sub-selects are only allowed in the WHERE clause of the outermost query"
            raise refuse("MALFORMED_QUERY", self._text, condition.query.pos, message)
        return self._semi_join(condition, self._scope)

    @staticmethod
    def _negate(sql: str) -> str:
        return f"(NOT coalesce({sql}, 0))"

    def _find_operand(self, expression: Expression) -> Column:
        column = compile_expression(expression, self._scope, aggregates=self._aggregates)
        info = column.info
        if not info.filterable or info.long_text or info.type in {"address", "base64", "encryptedstring"}:
            message = f"field '{info.name}' can not be filtered in a query call"
            raise refuse("INVALID_FIELD", self._text, expression.pos, message)
        return column

    def _compare(self, condition: Compare) -> str:
        column = self._find_operand(condition.expression)
        op, literal = condition.op, condition.value
        pos = condition.expression.pos
        if literal.kind == "null":
            # Nothing is less or greater than null.
            if op in {"=", "like"}:
                return f"({column.sql} IS NULL)"
            return f"({column.sql} IS NOT NULL)" if op == "!=" else "0"
        self._require_operator(column, op, pos)
        self._require_type(column, literal, pos)
        kind = column.info.type
        if op == "like":
            return self._like(column, literal)
        if kind in {"date", "datetime"} and literal.kind in {"name", "date_n"}:
            return self._compare_range(column, op, literal)
        if kind in _STRING_TYPES:
            return self._compare_text(column, op, literal, pos)
        value = self._shared.bind(self._read_scalar(column, literal))
        return f"({column.sql} IS NOT {value})" if op == "!=" else f"({column.sql} {op} {value})"

    def _require_operator(self, column: Column, op: str, pos: int) -> None:
        kind = column.info.type
        ordered = op in {"<", "<=", ">", ">="}
        if (op == "like" and (kind not in _STRING_TYPES or kind in _ID_TYPES or kind == "multipicklist")) or (
            ordered and kind in {"boolean", "multipicklist"}
        ):
            message = f"invalid operator on {kind} field"
            raise refuse("INVALID_QUERY_FILTER_OPERATOR", self._text, pos, message)

    def _require_type(self, column: Column, literal: Literal, pos: int) -> None:
        kind = column.info.type
        given = literal.kind
        if given == "bind":
            raise bind_refused(self._text, literal)
        if given in {"name", "date_n"}:
            # A bare word that is no date literal is refused as a variable whatever the field's type.
            read_date_range(self._text, literal, self._shared.calendar)
        if kind in _STRING_TYPES:
            fits = given == "string"
        elif kind == "boolean":
            fits = given == "boolean"
        elif kind == "int" or kind in NUMBER_TYPES:
            fits = given == "number"
        elif kind in {"date", "datetime"}:
            fits = given in {kind, "name", "date_n"}
        else:
            fits = given == kind
        if not fits:
            quotes = "should be" if kind in _STRING_TYPES else "should not be"
            wanted = "string" if kind in _STRING_TYPES else _TYPE_NAMES.get(kind, kind)
            message = (
                f"value of filter criterion for field '{column.info.name}' must be of type {wanted} "
                f"and {quotes} enclosed in quotes"
            )
            raise refuse("INVALID_FIELD", self._text, pos, message)

    def _read_scalar(self, column: Column, literal: Literal) -> object:
        if literal.kind == "boolean":
            return int(literal.text.lower() == "true")
        if literal.kind == "number":
            whole = int(literal.text) if literal.text.lstrip("+-").isdigit() else None
            return whole if whole is not None and -(2**63) <= whole < 2**63 else float(literal.text)
        if literal.kind == "date":
            return read_date(self._text, literal).isoformat()
        if literal.kind == "datetime":
            return read_datetime(self._text, literal)
        if literal.kind == "time":
            seconds, _, fraction = literal.text[:-1].partition(".")
            return f"{seconds}.{fraction[:3]:<03}Z"
        raise refuse("INVALID_FIELD", self._text, literal.pos, f"unexpected value for field '{column.info.name}'")

    def _read_id(self, literal: Literal, pos: int) -> str:
        value = read_string(self._text, literal)
        if value and (len(value) not in {15, 18} or not (value.isascii() and value.isalnum())):
            raise refuse("INVALID_QUERY_FILTER_OPERATOR", self._text, pos, f"invalid ID field: {value}")
        return lengthen_id(value) if len(value) == 15 else value

    def _fold(self, column: Column, value: str) -> tuple[str, str]:
        """The column and the value so that ``=``, ``<`` and IN ignore case."""
        if column.info.type in _ID_TYPES or column.info.case_sensitive:
            return column.sql, value
        if _has_wide_case(value):
            self._shared.needs_functions = True
            return f"soql_fold({column.sql})", value.lower()
        return f"{column.sql} COLLATE NOCASE", value

    def _compare_text(self, column: Column, op: str, literal: Literal, pos: int) -> str:
        is_id = column.info.type in _ID_TYPES
        value = self._read_id(literal, pos) if is_id else read_string(self._text, literal)
        if not value and op in {"=", "!="}:
            # The vendor stores no empty strings: '' means null.
            empty = f"({column.sql} IS NULL OR {column.sql} = '')"
            return empty if op == "=" else f"(NOT {empty})"
        left, value = self._fold(column, value)
        bound = self._shared.bind(value)
        return f"({left} IS NOT {bound})" if op == "!=" else f"({left} {op} {bound})"

    def _like(self, column: Column, literal: Literal) -> str:
        pattern = read_string(self._text, literal, pattern=True)
        left = column.sql
        if _has_wide_case(pattern):
            self._shared.needs_functions = True
            left, pattern = f"soql_fold({left})", pattern.lower()
        return f"({left} LIKE {self._shared.bind(pattern)} ESCAPE '\\')"

    def _compare_range(self, column: Column, op: str, literal: Literal) -> str:
        """A relative date names days: ``=`` is inside them, ``<`` before the first, ``>`` after the last."""
        calendar = self._shared.calendar
        first, end = read_date_range(self._text, literal, calendar)
        in_days = column.info.type == "date"
        start = self._shared.bind(first.isoformat() if in_days else calendar.midnight_ms(first))
        stop = self._shared.bind(end.isoformat() if in_days else calendar.midnight_ms(end))
        inside = f"({column.sql} >= {start} AND {column.sql} < {stop})"
        return {
            "=": inside,
            "!=": self._negate(inside),
            "<": f"({column.sql} < {start})",
            "<=": f"({column.sql} < {stop})",
            ">": f"({column.sql} >= {stop})",
            ">=": f"({column.sql} >= {start})",
        }[op]

    def _in_list(self, condition: InList) -> str:
        column = self._find_operand(condition.expression)
        pos = condition.expression.pos
        kind = column.info.type
        plain: dict[str, list[str]] = {}
        parts: list[str] = []
        for literal in condition.values:
            if literal.kind == "null":
                parts.append(f"({column.sql} IS NULL)")
                continue
            self._require_type(column, literal, pos)
            if kind in {"date", "datetime"} and literal.kind in {"name", "date_n"}:
                parts.append(self._compare_range(column, "=", literal))
            elif kind in _STRING_TYPES:
                value = self._read_id(literal, pos) if kind in _ID_TYPES else read_string(self._text, literal)
                if not value:
                    parts.append(f"({column.sql} IS NULL OR {column.sql} = '')")
                    continue
                left, value = self._fold(column, value)
                plain.setdefault(left, []).append(self._shared.bind(value))
            else:
                bound = self._shared.bind(self._read_scalar(column, literal))
                plain.setdefault(column.sql, []).append(bound)
        parts.extend(f"({left} IN ({', '.join(values)}))" for left, values in plain.items())
        inside = join_balanced(parts, "OR")
        return self._negate(inside) if condition.negated else inside

    def _includes(self, condition: Includes) -> str:
        column = self._find_operand(condition.expression)
        pos = condition.expression.pos
        if column.info.type != "multipicklist":
            message = "includes or excludes operator only valid on multipicklist field"
            raise refuse("INVALID_QUERY_FILTER_OPERATOR", self._text, pos, message)
        alternatives = []
        for literal in condition.values:
            if literal.kind == "null":
                alternatives.append(f"({column.sql} IS NULL)")
                continue
            self._require_type(column, literal, pos)
            chosen = read_string(self._text, literal).split(";")
            self._shared.needs_functions = True
            alternatives.append(
                join_balanced(
                    [
                        f"instr(';' || soql_fold({column.sql}) || ';', {self._shared.bind(f';{value.lower()};')}) > 0"
                        for value in chosen
                    ],
                    "AND",
                )
            )
        inside = join_balanced([f"({part})" for part in alternatives], "OR")
        return self._negate(inside) if condition.negated else inside


def count_semi_joins(condition: Condition | None) -> int:
    if isinstance(condition, InQuery):
        return 1
    if isinstance(condition, AllOf | AnyOf):
        return sum(count_semi_joins(part) for part in condition.parts)
    return count_semi_joins(condition.part) if isinstance(condition, NoneOf) else 0
