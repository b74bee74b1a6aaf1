"""Runs compiled queries on SQLite and builds the records of each page."""

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sandbox.salesforce.soql.errors import too_complicated
from sandbox.salesforce.soql.functions import install_functions
from sandbox.salesforce.soql.groups import (
    MAX_GROUPS,
    GroupPlanner,
    is_count_query,
    is_group_query,
    plan_count,
    write_window,
)
from sandbox.salesforce.soql.literals import Calendar
from sandbox.salesforce.soql.parser import parse
from sandbox.salesforce.soql.rows import RowPlan, RowPlanner, find_sobject
from sandbox.salesforce.soql.scope import Compilation
from sandbox.salesforce.soql.shape import Row, build_record
from sandbox.salesforce.soql.types import QueryResult, SchemaView, SoqlError

_ID_LENGTH = 18
# Subqueries in subqueries came with v58.0: five levels in all, the outermost query among them.
_NESTED_SINCE = 58.0
_NESTED_DEPTH = 4
# What SQLite says when a statement outgrows its limits; any other failure is not the query's fault.
_TOO_MUCH = ("too large", "too many", "stack overflow", "tables in a join", "too complex", "too big", "too deep")


def run_query(
    text: str,
    *,
    schema: SchemaView,
    connection: sqlite3.Connection,
    now_ms: int,
    include_deleted: bool,
    visible: Callable[[str, str], bool],
    row_filter: Callable[[str], str | None],
    api_version: str = "62.0",
    time_zone: str = "UTC",
    user_id: str | None = None,
) -> QueryResult:
    """Run a SOQL query; raises SoqlError with the vendor's code and text.

    ``now_ms`` (UTC milliseconds) and ``time_zone`` (IANA name of the organisation's zone) give relative date literals
    their meaning. ``visible(sobject, field)`` is field-level security. ``row_filter(sobject)`` is an SQL predicate on
    the table's bare column names that every row shown must meet, or None; it is trusted text. ``user_id`` is who
    ``USING SCOPE mine`` means. Without ``include_deleted`` rows in the recycle bin and archived activities are left
    out.
    """
    query = parse(text)
    shared = Compilation(
        text=text,
        schema=schema,
        visible=visible,
        row_filter=row_filter,
        include_deleted=include_deleted,
        calendar=Calendar(now_ms, time_zone),
        user_id=user_id,
        child_depth=_NESTED_DEPTH if float(api_version) >= _NESTED_SINCE else 1,
    )
    sobject = find_sobject(shared, query.source)
    if is_count_query(query):
        sql = plan_count(shared, sobject, query)
        total = next(_run(connection, shared, sql))[0]
        assert isinstance(total, int)
        return QueryResult(sobject.name, total, True, 0, lambda _connection, _offset, _size: [])
    if is_group_query(query):
        groups = GroupPlanner(shared, sobject, query).plan()
        records = []
        for row in _run(connection, shared, groups.sql):
            record: dict[str, object] = {"attributes": {"type": "AggregateResult"}}
            for key, leaf in groups.leaves.items():
                value = row[leaf.position]
                record[key] = value if leaf.formatter is None or value is None else leaf.formatter(value)
            records.append(record)
        if len(records) > MAX_GROUPS:
            message = (
                "Aggregate query does not support queryMore(), use LIMIT to restrict the results to a single batch"
            )
            raise SoqlError("EXCEEDED_ID_LIMIT", message)
        return QueryResult(
            sobject.name, len(records), False, 0, lambda _connection, offset, size: records[offset : offset + size]
        )
    plan = RowPlanner(shared, sobject, query).plan()
    window = write_window(plan.limit, plan.offset, shared)
    sql = f"SELECT {plan.columns[0]} {plan.scope.write_from()} {plan.write_where()} {plan.order}{window}"
    pages = _Pages(connection, _take_snapshot(_run(connection, shared, sql)), _PageReader(shared, plan, api_version))
    return QueryResult(sobject.name, len(pages.snapshot) // _ID_LENGTH, False, plan.long_text_columns, pages.fetch)


def _run(connection: sqlite3.Connection, shared: Compilation, sql: str, **more: object) -> Iterator[Row]:
    if shared.needs_functions:
        install_functions(connection)
    cursor = connection.cursor()
    # The caller's connection may build its own kind of rows; plain tuples are read by position.
    cursor.row_factory = None
    values: Mapping[str, object] = {**shared.values, **more} if more else shared.values
    try:
        yield from cursor.execute(sql, values)
    except sqlite3.OperationalError as error:
        if any(words in str(error) for words in _TOO_MUCH):
            raise too_complicated() from error
        raise


def _take_snapshot(rows: Iterator[Row]) -> str:
    """All ids end to end: 18 bytes a row, so that a result of a million rows takes 18 MB."""
    ids = [str(row[0]) for row in rows]
    snapshot = "".join(ids)
    if len(snapshot) != _ID_LENGTH * len(ids):
        raise ValueError("an Id in the table is not 18 characters long")
    return snapshot


@dataclass(frozen=True, slots=True)
class _Pages:
    """The ids of a result, and who reads the records of a slice of them."""

    connection: sqlite3.Connection
    snapshot: str
    reader: "_PageReader"

    def fetch(self, connection: sqlite3.Connection | None, offset: int, size: int) -> list[dict[str, object]]:
        end = min((offset + size) * _ID_LENGTH, len(self.snapshot))
        ids = [self.snapshot[at : at + _ID_LENGTH] for at in range(offset * _ID_LENGTH, end, _ID_LENGTH)]
        return self.reader.read(connection or self.connection, ids)


class _PageReader:
    """Reads records by id, with their parents and children."""

    def __init__(self, shared: Compilation, plan: RowPlan, api_version: str) -> None:
        self._shared = shared
        self._plan = plan
        self._build = build_record(plan.scope.sobject.name, plan.entries, api_version)
        self._children = [(key, _ChildReader(shared, child, api_version)) for key, child in plan.children]
        self._sql = (
            f"SELECT {', '.join(plan.columns)} {plan.scope.write_from()} "
            f"WHERE {plan.columns[0]} IN (SELECT value FROM json_each(:page_ids))"
        )

    def read(self, connection: sqlite3.Connection, ids: Sequence[str]) -> list[dict[str, object]]:
        """The records of ``ids`` in that order, without those that are gone."""
        rows = {row[0]: row for row in _run(connection, self._shared, self._sql, page_ids=json.dumps(list(ids)))}
        build = self._build
        found = {key: build(rows[key]) for key in ids if key in rows}
        fill_children(connection, self._children, found)
        return list(found.values())


class _ChildReader:
    """Reads the child rows of many parents at once."""

    def __init__(self, shared: Compilation, plan: RowPlan, api_version: str) -> None:
        self._shared = shared
        self._build = build_record(plan.scope.sobject.name, plan.entries, api_version)
        self._children = [(key, _ChildReader(shared, child, api_version)) for key, child in plan.children]
        columns = [*plan.columns, f"{plan.foreign_key} AS parent_id"]
        among = f"{plan.foreign_key} IN (SELECT value FROM json_each(:page_ids))"
        body = f"{plan.scope.write_from()} {plan.write_where(among)}"
        if plan.limit is None and plan.offset is None:
            self._sql = f"SELECT {', '.join(columns)} {body} {plan.order}"
        else:
            # LIMIT and OFFSET of a subquery hold for each parent.
            named = [f"{column} AS c{place}" for place, column in enumerate(columns[:-1])]
            names = [f"c{place}" for place in range(len(named))]
            numbered = f"row_number() OVER (PARTITION BY {plan.foreign_key} {plan.order}) AS place"
            first = shared.bind(plan.offset or 0)
            last = shared.bind((plan.offset or 0) + (2**31 if plan.limit is None else plan.limit))
            self._sql = (
                f"SELECT {', '.join(names)}, parent_id FROM "
                f"(SELECT {', '.join([*named, columns[-1], numbered])} {body}) "
                f"WHERE place > {first} AND place <= {last} ORDER BY place"
            )

    def read(self, connection: sqlite3.Connection, parent_ids: Sequence[str]) -> dict[str, list[dict[str, object]]]:
        """Child records by the id of their parent."""
        rows = list(_run(connection, self._shared, self._sql, page_ids=json.dumps(list(parent_ids))))
        found = {str(row[0]): self._build(row) for row in rows}
        fill_children(connection, self._children, found)
        grouped: dict[str, list[dict[str, object]]] = {}
        for row in rows:
            grouped.setdefault(str(row[-1]), []).append(found[str(row[0])])
        return grouped


def fill_children(
    connection: sqlite3.Connection,
    readers: Sequence[tuple[str, _ChildReader]],
    records: Mapping[str, dict[str, object]],
) -> None:
    """Put each child result into its parent's record: an object with the rows, or null when there are none."""
    for key, reader in readers:
        children = reader.read(connection, list(records))
        for record_id, record in records.items():
            rows = children.get(record_id)
            record[key] = {"totalSize": len(rows), "done": True, "records": rows} if rows else None
