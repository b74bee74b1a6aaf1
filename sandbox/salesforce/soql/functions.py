"""Expressions of SOQL in SQL: fields, date functions and aggregates, and the functions SQLite lacks."""

import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from sandbox.salesforce.soql.errors import refuse, refuse_syntax
from sandbox.salesforce.soql.nodes import Call, Expression, Path
from sandbox.salesforce.soql.scope import Column, Scope
from sandbox.salesforce.soql.types import FieldInfo, SoqlError
from sandbox.salesforce.soql.values import NUMBER_TYPES

AGGREGATES = frozenset({"COUNT", "COUNT_DISTINCT", "SUM", "AVG", "MIN", "MAX"})
DISPLAY_FUNCTIONS = frozenset({"TOLABEL", "FORMAT"})
# strftime pieces of each date function; the weeks of the vendor start with the first day of the month or year.
_DATE_PARTS = {
    "CALENDAR_YEAR": "CAST(strftime('%Y', {0}) AS INTEGER)",
    "CALENDAR_QUARTER": "(CAST(strftime('%m', {0}) AS INTEGER) + 2) / 3",
    "CALENDAR_MONTH": "CAST(strftime('%m', {0}) AS INTEGER)",
    "DAY_IN_MONTH": "CAST(strftime('%d', {0}) AS INTEGER)",
    "DAY_IN_WEEK": "CAST(strftime('%w', {0}) AS INTEGER) + 1",
    "DAY_IN_YEAR": "CAST(strftime('%j', {0}) AS INTEGER)",
    "DAY_ONLY": "strftime('%Y-%m-%d', {0})",
    "HOUR_IN_DAY": "CAST(strftime('%H', {0}) AS INTEGER)",
    "WEEK_IN_MONTH": "(CAST(strftime('%d', {0}) AS INTEGER) + 6) / 7",
    "WEEK_IN_YEAR": "(CAST(strftime('%j', {0}) AS INTEGER) + 6) / 7",
}
for _fiscal in ("YEAR", "QUARTER", "MONTH"):
    _DATE_PARTS[f"FISCAL_{_fiscal}"] = _DATE_PARTS[f"CALENDAR_{_fiscal}"]
_DATETIME_ONLY = frozenset({"DAY_ONLY", "HOUR_IN_DAY"})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _shift_to_zone(milliseconds: int | None, zone: str) -> int | None:
    if milliseconds is None:
        return None
    offset = (_EPOCH + timedelta(milliseconds=milliseconds)).astimezone(ZoneInfo(zone)).utcoffset()
    return milliseconds + (offset or timedelta()) // timedelta(milliseconds=1)


def _fold(value: str | int | float | None) -> str | int | float | None:
    return value.lower() if isinstance(value, str) else value


def install_functions(connection: sqlite3.Connection) -> None:
    """Give the connection ``soql_fold`` (case folding beyond ASCII) and ``soql_local`` (UTC to zone milliseconds)."""
    try:
        connection.execute("SELECT soql_fold(''), soql_local(0, 'UTC')")
    except sqlite3.OperationalError:
        connection.create_function("soql_fold", 1, _fold, deterministic=True)
        connection.create_function("soql_local", 2, _shift_to_zone, deterministic=True)


def is_aggregate(expression: Expression) -> bool:
    if not isinstance(expression, Call):
        return False
    if expression.name in AGGREGATES:
        return True
    inner = expression.arguments[0] if expression.arguments else None
    return expression.name == "FORMAT" and isinstance(inner, Call) and is_aggregate(inner)


def only_argument(call: Call, scope: Scope) -> Expression:
    """The one field or call inside the parentheses."""
    if len(call.arguments) != 1 or not isinstance(call.arguments[0], Path | Call):
        raise refuse_syntax(scope.shared.text, call.pos + len(call.written), "unexpected token: '('")
    return call.arguments[0]


def compile_expression(expression: Expression, scope: Scope, *, aggregates: bool = False) -> Column:
    """The SQL of a field, a date function or (where allowed) an aggregate."""
    if isinstance(expression, Path):
        return scope.find_column(expression)
    if expression.name in _DATE_PARTS:
        return _compile_date_part(expression, scope)
    if expression.name in AGGREGATES:
        if not aggregates:
            message = f"Aggregate expressions are not allowed in this clause: {expression.written}"
            raise refuse("MALFORMED_QUERY", scope.shared.text, expression.pos, message)
        return _compile_aggregate(expression, scope)
    if expression.name in DISPLAY_FUNCTIONS:
        return compile_expression(only_argument(expression, scope), scope, aggregates=aggregates)
    raise refuse_syntax(scope.shared.text, expression.pos + len(expression.written), "unexpected token: '('")


def _compile_date_part(call: Call, scope: Scope) -> Column:
    inner = only_argument(call, scope)
    text = scope.shared.text
    local = isinstance(inner, Call) and inner.name == "CONVERTTIMEZONE"
    column = compile_expression(only_argument(inner, scope), scope) if local and isinstance(inner, Call) else None
    if column is None:
        column = compile_expression(inner, scope)
    kind = column.info.type
    if kind == "datetime":
        milliseconds = column.sql
        if local:
            scope.shared.needs_functions = True
            milliseconds = f"soql_local({column.sql}, {scope.shared.bind_zone()})"
        moment = f"{milliseconds} / 1000, 'unixepoch'"
    elif kind == "date" and not local and call.name not in _DATETIME_ONLY:
        moment = column.sql
    else:
        raise refuse(
            "INVALID_FIELD", text, call.pos, f"field {column.info.name} does not support the function {call.name}"
        )
    result_type = "date" if call.name == "DAY_ONLY" else "int"
    return Column(f"({_DATE_PARTS[call.name].format(moment)})", FieldInfo(call.written, result_type), column.entity)


def _compile_aggregate(call: Call, scope: Scope) -> Column:
    column = compile_expression(only_argument(call, scope), scope)
    info = column.info
    name = call.name
    numeric = info.type == "int" or info.type in NUMBER_TYPES
    unsuitable = info.long_text or info.type in {"address", "base64", "encryptedstring"}
    if (
        unsuitable
        or (name in {"SUM", "AVG"} and not numeric)
        or (name in {"MIN", "MAX"} and info.type in {"boolean", "multipicklist"})
    ):
        message = f"field {info.name} does not support aggregate operator {name}"
        raise refuse("INVALID_FIELD", scope.shared.text, call.pos, message)
    if name == "COUNT":
        return Column(f"count({column.sql})", FieldInfo("count", "int"), column.entity)
    if name == "COUNT_DISTINCT":
        return Column(f"count(DISTINCT {column.sql})", FieldInfo("count", "int"), column.entity)
    if name == "AVG":
        return Column(f"avg({column.sql})", FieldInfo("avg", "double"), column.entity)
    return Column(f"{name.lower()}({column.sql})", replace(info, name=name.lower()), column.entity)


def require_sortable(column: Column, scope: Scope, pos: int) -> None:
    info = column.info
    if not info.sortable or info.long_text or info.type in {"multipicklist", "address", "base64"}:
        message = f"field '{info.name}' can not be sorted in a query call"
        raise refuse("MALFORMED_QUERY", scope.shared.text, pos, message)


def require_groupable(column: Column, scope: Scope, pos: int) -> None:
    info = column.info
    if not info.groupable or info.long_text or info.type in {"datetime", "multipicklist", "address", "base64"}:
        message = f"field '{info.name}' can not be grouped in a query call"
        raise refuse("MALFORMED_QUERY", scope.shared.text, pos, message)


def unsupported(what: str) -> SoqlError:
    """SOQL that is real but not built into this sandbox: said plainly rather than answered wrongly."""
    return SoqlError("MALFORMED_QUERY", f"{what} is not supported by this sandbox")
