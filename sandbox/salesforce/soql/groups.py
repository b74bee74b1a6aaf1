"""Queries with aggregates: COUNT(), GROUP BY and HAVING."""

from dataclasses import dataclass

from sandbox.salesforce.soql.errors import refuse, refuse_syntax
from sandbox.salesforce.soql.filters import FilterCompiler
from sandbox.salesforce.soql.functions import (
    DISPLAY_FUNCTIONS,
    compile_expression,
    is_aggregate,
    only_argument,
    require_groupable,
    require_sortable,
    unsupported,
)
from sandbox.salesforce.soql.nodes import (
    AllOf,
    AnyOf,
    Call,
    Condition,
    Expression,
    FieldItem,
    NoneOf,
    Path,
    Query,
)
from sandbox.salesforce.soql.rows import check_window, compile_conditions, write_order
from sandbox.salesforce.soql.scope import Compilation, Scope
from sandbox.salesforce.soql.shape import Leaf
from sandbox.salesforce.soql.types import SObjectInfo, SoqlError
from sandbox.salesforce.soql.values import Formatter, find_formatter, localize

MAX_GROUPS = 2_000


@dataclass(frozen=True, slots=True)
class GroupPlan:
    """A compiled aggregate query: its SQL and what each column is called."""

    sql: str
    leaves: dict[str, Leaf]


def is_count_query(query: Query) -> bool:
    """Whether the query is ``SELECT COUNT() FROM …``."""
    item = query.items[0]
    return (
        len(query.items) == 1
        and isinstance(item, FieldItem)
        and isinstance(item.expression, Call)
        and item.expression.name == "COUNT"
        and not item.expression.arguments
    )


def is_group_query(query: Query) -> bool:
    return bool(query.group_by) or any(
        isinstance(item, FieldItem) and is_aggregate(item.expression) for item in query.items
    )


def write_window(limit: int | None, offset: int | None, shared: Compilation) -> str:
    if limit is None and offset is None:
        return ""
    window = f" LIMIT {shared.bind(-1 if limit is None else limit)}"
    return window if offset is None else f"{window} OFFSET {shared.bind(offset)}"


def plan_count(shared: Compilation, sobject: SObjectInfo, query: Query) -> str:
    """The SQL of ``SELECT COUNT()``; LIMIT and OFFSET apply to the rows counted."""
    check_window(query, shared)
    if query.group_by:
        raise refuse("MALFORMED_QUERY", shared.text, query.pos, "Grouped query does not support COUNT()")
    if query.order_by:
        message = "Ordered field must be grouped or aggregated: "
        raise SoqlError("MALFORMED_QUERY", f"{message}{_name_of(query.order_by[0].expression)}")
    scope = Scope(shared, sobject, query.alias)
    conditions = compile_conditions(query, scope)
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    window = write_window(query.limit, query.offset, shared)
    return f"SELECT count(*) FROM (SELECT 1 {scope.write_from()}{where}{window})"


def _name_of(expression: Expression) -> str:
    if isinstance(expression, Path):
        return expression.text
    inner = ", ".join(_name_of(part) if isinstance(part, Path | Call) else part.text for part in expression.arguments)
    return f"{expression.written}({inner})"


class GroupPlanner:
    """Compiles one aggregate query."""

    def __init__(self, shared: Compilation, sobject: SObjectInfo, query: Query) -> None:
        self._shared = shared
        self._query = query
        self._scope = Scope(shared, sobject, query.alias)
        self._columns: list[str] = []
        self._leaves: dict[str, Leaf] = {}
        self._grouped: set[str] = set()
        self._unnamed = 0

    def plan(self) -> GroupPlan:
        query, scope, shared = self._query, self._scope, self._shared
        check_window(query, shared)
        if not query.group_by and query.limit is not None:
            message = "Non-grouped query that uses overall aggregate functions cannot also use LIMIT"
            raise SoqlError("MALFORMED_QUERY", message)
        for expression in query.group_by:
            self._add_group(expression)
        for item in query.items:
            if not isinstance(item, FieldItem):
                message = "Grouped query cannot use child relationships in the SELECT list"
                raise refuse("MALFORMED_QUERY", shared.text, query.pos, message)
            self._add_item(item)
        conditions = compile_conditions(query, scope)
        having = ""
        if query.having is not None:
            self._require_grouped_condition(query.having)
            having = f" HAVING {FilterCompiler(scope, None, aggregates=True).compile(query.having)}"
        terms = []
        for order in query.order_by:
            self._require_grouped(order.expression, "Ordered field")
            column = compile_expression(order.expression, scope, aggregates=True)
            require_sortable(column, scope, order.expression.pos)
            terms.append(write_order(order, column))
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        groups = f" GROUP BY {', '.join(sorted(self._grouped))}" if self._grouped else ""
        ordering = f" ORDER BY {', '.join(terms)}" if terms else ""
        window = write_window(query.limit, query.offset, shared)
        columns = ", ".join(self._columns)
        return GroupPlan(
            f"SELECT {columns} {scope.write_from()}{where}{groups}{having}{ordering}{window}", self._leaves
        )

    def _add_group(self, expression: Expression) -> None:
        if isinstance(expression, Call) and expression.name in {"ROLLUP", "CUBE"}:
            raise unsupported(f"GROUP BY {expression.name}")
        if is_aggregate(expression):
            message = f"Grouped field should not be aggregated: {_name_of(expression)}"
            raise refuse("MALFORMED_QUERY", self._shared.text, expression.pos, message)
        column = compile_expression(expression, self._scope)
        require_groupable(column, self._scope, expression.pos)
        self._grouped.add(column.sql)

    def _require_grouped(self, expression: Expression, what: str) -> None:
        if is_aggregate(expression):
            return
        column = compile_expression(expression, self._scope)
        if column.sql not in self._grouped:
            raise SoqlError("MALFORMED_QUERY", f"{what} must be grouped or aggregated: {_name_of(expression)}")

    def _require_grouped_condition(self, condition: Condition) -> None:
        if isinstance(condition, AllOf | AnyOf):
            for part in condition.parts:
                self._require_grouped_condition(part)
        elif isinstance(condition, NoneOf):
            self._require_grouped_condition(condition.part)
        else:
            self._require_grouped(condition.expression, "Field")

    def _add_item(self, item: FieldItem) -> None:
        expression = item.expression
        if isinstance(expression, Call) and not expression.arguments:
            closing = self._shared.text.find(")", expression.pos)
            raise refuse_syntax(self._shared.text, closing, "unexpected token: ')'")
        formatter: Formatter | None = None
        inner = expression
        if isinstance(expression, Call) and expression.name in DISPLAY_FUNCTIONS:
            inner = only_argument(expression, self._scope)
        self._require_grouped(inner, "Field")
        column = compile_expression(inner, self._scope, aggregates=True)
        formatter = find_formatter(column.info.type)
        if isinstance(expression, Call) and expression.name == "FORMAT":
            formatter = localize(column.info.type, self._shared.calendar.zone)
        name = item.alias
        if name is None and isinstance(expression, Path):
            name = column.info.name
        if name is None:
            name = f"expr{self._unnamed}"
            self._unnamed += 1
        if name.lower() in {known.lower() for known in self._leaves}:
            raise refuse("MALFORMED_QUERY", self._shared.text, expression.pos, f"duplicate alias: {name}")
        self._columns.append(column.sql)
        self._leaves[name] = Leaf(len(self._columns) - 1, formatter)
