"""Queries that answer records: what to select, in which order, nested how."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from sandbox.salesforce.soql.errors import (
    refuse,
    too_complicated,
    unknown_children,
    unknown_field,
    unknown_sobject,
)
from sandbox.salesforce.soql.filters import FilterCompiler, count_semi_joins
from sandbox.salesforce.soql.functions import (
    DISPLAY_FUNCTIONS,
    compile_expression,
    is_aggregate,
    only_argument,
    require_sortable,
    unsupported,
)
from sandbox.salesforce.soql.nodes import Call, ChildItem, FieldItem, InQuery, OrderItem, Path, Query, TypeOfItem
from sandbox.salesforce.soql.scope import Column, Compilation, Scope, quote
from sandbox.salesforce.soql.shape import ChildSlot, Entry, Leaf, ParentShape
from sandbox.salesforce.soql.types import SObjectInfo, SoqlError
from sandbox.salesforce.soql.values import find_formatter, localize

MAX_CHILD_QUERIES = 20
MAX_FIELDS_LIMIT = 200
MAX_OFFSET = 2_000
MAX_SEMI_JOINS = 2
# Sources that the vendor refuses in a semi-join.
_NO_SEMI_JOIN = frozenset(
    {"ActivityHistory", "OpenActivity", "Event", "Task", "Note", "Attachment", "NoteAndAttachment"}
)
_STRING_ORDER = frozenset({"string", "picklist", "textarea", "email", "phone", "url", "combobox"})


@dataclass(slots=True)
class RowPlan:
    """A compiled query of records. ``columns[0]`` is the Id; ``foreign_key`` points a child at its parent."""

    scope: Scope
    columns: list[str] = field(default_factory=list)
    entries: dict[str, Entry] = field(default_factory=dict)
    children: "list[tuple[str, RowPlan]]" = field(default_factory=list)
    conditions: list[str] = field(default_factory=list)
    order: str = ""
    limit: int | None = None
    offset: int | None = None
    foreign_key: str = ""
    long_text_columns: int = 0

    def add_column(self, sql: str) -> int:
        """The position of a column in the row, added when it is new."""
        if sql not in self.columns:
            self.columns.append(sql)
        return self.columns.index(sql)

    def write_where(self, *more: str) -> str:
        conditions = [*more, *self.conditions]
        return f"WHERE {' AND '.join(conditions)}" if conditions else ""


def find_sobject(shared: Compilation, source: Path) -> SObjectInfo:
    sobject = shared.schema.sobject(source.text)
    if sobject is None:
        raise unknown_sobject(shared.text, source.pos, source.text)
    if not sobject.queryable:
        raise SoqlError("INVALID_TYPE_FOR_OPERATION", f"entity type {sobject.name} does not support query")
    return sobject


def compile_semi_join(condition: InQuery, scope: Scope) -> str:
    """``field IN (SELECT …)``: one id or reference on each side."""
    shared = scope.shared
    query = condition.query
    outer = compile_expression(condition.expression, scope)
    if outer.info.type not in {"id", "reference"}:
        message = f"The left operand '{outer.info.name}' of a semi join must be an id or reference field"
        raise refuse("MALFORMED_QUERY", shared.text, condition.expression.pos, message)
    sobject = find_sobject(shared, query.source)
    if sobject.name in _NO_SEMI_JOIN:
        message = f"Entity '{sobject.name}' is not supported for semi join inner selects"
        raise refuse("MALFORMED_QUERY", shared.text, query.source.pos, message)
    item = query.items[0]
    if len(query.items) != 1 or not isinstance(item, FieldItem) or not isinstance(item.expression, Path):
        message = "Semi join sub-selects must select exactly one field"
        raise refuse("MALFORMED_QUERY", shared.text, query.pos, message)
    if query.group_by or query.order_by or query.limit is not None or query.offset is not None:
        message = "Semi join sub-selects take no clause after WHERE"
        raise refuse("MALFORMED_QUERY", shared.text, query.pos, message)
    inner = Scope(shared, sobject, query.alias)
    column = inner.find_column(item.expression)
    if column.info.type not in {"id", "reference"}:
        message = f"The inner select field '{column.info.name}' of a semi join must be an id or reference field"
        raise refuse("MALFORMED_QUERY", shared.text, item.expression.pos, message)
    conditions = [f"{column.sql} IS NOT NULL", *shared.write_life(sobject, inner.sql_alias)]
    if query.where is not None:
        conditions.append(FilterCompiler(inner, None).compile(query.where))
    inside = f"{outer.sql} IN (SELECT {column.sql} {inner.write_from()} WHERE {' AND '.join(conditions)})"
    return f"(NOT coalesce({inside}, 0))" if condition.negated else f"({inside})"


def compile_conditions(query: Query, scope: Scope) -> list[str]:
    """All conditions on the rows: life, scope and WHERE."""
    shared = scope.shared
    conditions = shared.write_life(scope.sobject, scope.sql_alias)
    if query.scope is not None and query.scope.lower() != "everything":
        if query.scope.lower() != "mine":
            raise unsupported(f"USING SCOPE {query.scope}")
        if "ownerid" not in scope.sobject.fields or shared.user_id is None:
            raise SoqlError("MALFORMED_QUERY", f"Scope '{query.scope}' is not valid for {scope.sobject.name}")
        conditions.append(f'{scope.sql_alias}."OwnerId" = {shared.bind(shared.user_id)}')
    if query.where is not None:
        if count_semi_joins(query.where) > MAX_SEMI_JOINS:
            message = f"maximum {MAX_SEMI_JOINS} semi join sub-selects are allowed"
            raise refuse("MALFORMED_QUERY", shared.text, query.pos, message)
        conditions.append(FilterCompiler(scope, compile_semi_join).compile(query.where))
    return conditions


def check_window(query: Query, shared: Compilation) -> None:
    """Refuse what REST does not take around a query: ALL ROWS, a far OFFSET."""
    if query.all_rows_pos is not None:
        raise refuse("MALFORMED_QUERY", shared.text, query.all_rows_pos, "ALL ROWS not allowed in this context")
    if query.offset is not None and query.offset > MAX_OFFSET:
        message = f"Maximum SOQL offset allowed is {MAX_OFFSET}"
        raise refuse("NUMBER_OUTSIDE_VALID_RANGE", shared.text, query.offset_pos, message)


def write_order(item: OrderItem, column: Column) -> str:
    """One term of ORDER BY. Text sorts without case; nulls come first in both directions unless told otherwise."""
    collation = " COLLATE NOCASE" if column.info.type in _STRING_ORDER and not column.info.case_sensitive else ""
    # SQLite already puts nulls first when ascending and last when descending: saying so would cost the index.
    nulls = ""
    if item.descending and not item.nulls_last:
        nulls = " NULLS FIRST"
    elif item.nulls_last and not item.descending:
        nulls = " NULLS LAST"
    return f"{column.sql}{collation}{' DESC' if item.descending else ''}{nulls}"


class RowPlanner:
    """Compiles one query of records, and its child subqueries with planners of their own."""

    def __init__(self, shared: Compilation, sobject: SObjectInfo, query: Query, depth: int = 0) -> None:
        self._shared = shared
        self._query = query
        self._depth = depth
        self._scope = Scope(shared, sobject, query.alias)
        self._plan = RowPlan(self._scope)
        self._selected: set[str] = set()

    def plan(self) -> RowPlan:
        query, plan, scope = self._query, self._plan, self._scope
        check_window(query, self._shared)
        plan.add_column(f'{scope.sql_alias}."Id"')
        for item in query.items:
            if isinstance(item, FieldItem):
                self._add_item(item)
            elif isinstance(item, TypeOfItem):
                self._add_typeof(item)
            else:
                self._add_child(item)
        plan.conditions = compile_conditions(query, scope)
        terms = []
        for order in query.order_by:
            if is_aggregate(order.expression):
                message = "Ordered field must be grouped or aggregated"
                raise refuse("MALFORMED_QUERY", self._shared.text, order.expression.pos, message)
            column = compile_expression(order.expression, scope)
            require_sortable(column, scope, order.expression.pos)
            terms.append(write_order(order, column))
        plan.order = f"ORDER BY {', '.join(terms)}" if terms else ""
        plan.limit, plan.offset = query.limit, query.offset
        return plan

    def _add_item(self, item: FieldItem) -> None:
        expression = item.expression
        if isinstance(expression, Path):
            if item.alias is not None:
                message = "only aggregate expressions use field aliasing"
                raise refuse("MALFORMED_QUERY", self._shared.text, expression.pos, message)
            self._add_path(expression)
        elif expression.name == "FIELDS":
            self._add_fields(expression)
        elif expression.name in DISPLAY_FUNCTIONS:
            self._add_display(expression, item.alias)
        else:
            column = compile_expression(expression, self._scope)
            message = f"Field must be grouped or aggregated: {expression.written}({column.info.name})"
            raise SoqlError("MALFORMED_QUERY", message)

    def _add_path(self, path: Path) -> None:
        column = self._scope.find_column(path)
        self._require_new(".".join(self._scope.strip_prefix(path)))
        position = self._plan.add_column(column.sql)
        self._plan.long_text_columns += column.info.custom and column.info.long_text
        self._find_holder(path)[column.info.name] = Leaf(position, find_formatter(column.info.type))

    def _require_new(self, key: str) -> None:
        if key.lower() in self._selected:
            raise SoqlError("INVALID_FIELD", f"duplicate field selected: {key}")
        self._selected.add(key.lower())

    def _find_holder(self, path: Path) -> dict[str, Entry]:
        """The entries of the innermost parent on the path, made on the way."""
        holder: dict[str, Entry] = self._plan.entries
        steps = self._scope.strip_prefix(path)[:-1]
        for count in range(1, len(steps) + 1):
            parent = self._scope.find_parent(steps[:count], path.pos)
            shape = holder.get(parent.name)
            if not isinstance(shape, ParentShape):
                targets = [(sobject.name, self._plan.add_column(f'{alias}."Id"')) for sobject, alias in parent.targets]
                shape = ParentShape(targets)
                holder[parent.name] = shape
            holder = shape.entries
        return holder

    def _add_fields(self, call: Call) -> None:
        group = call.arguments[0] if len(call.arguments) == 1 else None
        which = group.text.upper() if isinstance(group, Path) else ""
        if which not in {"ALL", "STANDARD", "CUSTOM"}:
            raise refuse("MALFORMED_QUERY", self._shared.text, call.pos, "FIELDS takes ALL, STANDARD or CUSTOM")
        limit = self._query.limit
        if which != "STANDARD" and (limit is None or limit > MAX_FIELDS_LIMIT):
            message = f"The SOQL FIELDS function must have a LIMIT of at most {MAX_FIELDS_LIMIT}"
            raise refuse("MALFORMED_QUERY", self._shared.text, call.pos, message)
        sobject = self._scope.sobject
        for info in sobject.fields.values():
            wanted = which == "ALL" or info.custom == (which == "CUSTOM")
            if wanted and self._shared.visible(sobject.name, info.name):
                self._add_path(Path((info.name,), call.pos))

    def _add_display(self, call: Call, alias: str | None) -> None:
        inner = only_argument(call, self._scope)
        column = compile_expression(inner, self._scope)
        if not isinstance(inner, Path) and alias is None:
            message = f"function {call.written} of an expression needs an alias"
            raise refuse("MALFORMED_QUERY", self._shared.text, call.pos, message)
        formatter = find_formatter(column.info.type)
        if call.name == "FORMAT":
            formatter = localize(column.info.type, self._shared.calendar.zone)
        leaf = Leaf(self._plan.add_column(column.sql), formatter)
        if alias is not None:
            self._require_new(alias)
            self._plan.entries[alias] = leaf
        elif isinstance(inner, Path):
            self._require_new(".".join(self._scope.strip_prefix(inner)))
            self._find_holder(inner)[column.info.name] = leaf

    def _add_typeof(self, item: TypeOfItem) -> None:
        steps = self._scope.strip_prefix(item.path)
        parent = self._scope.find_parent(steps, item.path.pos)
        if not parent.is_polymorphic:
            message = f"TYPEOF can only be used with a polymorphic relationship: {item.path.text}"
            raise refuse("MALFORMED_QUERY", self._shared.text, item.path.pos, message)
        self._require_new(".".join(steps))
        aliases = {sobject.name.lower(): (sobject, alias) for sobject, alias in parent.targets}
        branches: dict[str, dict[str, Leaf]] = {}
        for type_path, fields in item.branches:
            target = aliases.get(type_path.text.lower())
            if target is None:
                raise unknown_sobject(self._shared.text, type_path.pos, type_path.text)
            branches[target[0].name] = dict(self._read_branch(fields, *target))
        otherwise = {}
        for path in item.otherwise:
            column = self._scope.find_field(parent, path.text, path.pos)
            otherwise[column.info.name] = Leaf(self._plan.add_column(column.sql), find_formatter(column.info.type))
        targets = [(sobject.name, self._plan.add_column(f'{alias}."Id"')) for sobject, alias in parent.targets]
        holder = self._find_holder(Path(steps, item.path.pos))
        holder[parent.name] = ParentShape(targets, branches=branches, otherwise=otherwise)

    def _read_branch(self, fields: tuple[Path, ...], sobject: SObjectInfo, alias: str) -> Iterator[tuple[str, Leaf]]:
        for path in fields:
            info = sobject.fields.get(path.text.lower())
            if info is None or not self._shared.visible(sobject.name, info.name):
                raise unknown_field(self._shared.text, path.pos, path.text, sobject.name)
            position = self._plan.add_column(f"{alias}.{quote(info.name)}")
            self._plan.long_text_columns += info.custom and info.long_text
            yield info.name, Leaf(position, find_formatter(info.type))

    def _add_child(self, item: ChildItem) -> None:
        query = item.query
        name = query.source.parts[-1]
        known = {child.relationship_name.lower(): child for child in self._scope.sobject.child_relationships}
        child = known.get(name.lower())
        sobject = self._shared.schema.sobject(child.child_sobject) if child else None
        if child is None or sobject is None:
            raise unknown_children(self._shared.text, query.source.pos, name)
        if self._depth >= self._shared.child_depth or len(self._plan.children) >= MAX_CHILD_QUERIES:
            raise too_complicated()
        if query.group_by or any(isinstance(i, FieldItem) and is_aggregate(i.expression) for i in query.items):
            message = "Aggregate expressions are not allowed in a child relationship query"
            raise refuse("MALFORMED_QUERY", self._shared.text, query.pos, message)
        self._require_new(f"({child.relationship_name})")
        plan = RowPlanner(self._shared, sobject, query, self._depth + 1).plan()
        plan.foreign_key = f"{plan.scope.sql_alias}.{quote(child.field)}"
        self._plan.entries[child.relationship_name] = ChildSlot()
        self._plan.children.append((child.relationship_name, plan))
        self._plan.long_text_columns += plan.long_text_columns
