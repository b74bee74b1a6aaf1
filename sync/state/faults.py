"""What a database says when it does not do what it was asked, in our words. No value is ever quoted: they are people's."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import BigInteger, Column, Integer, SmallInteger, String, Table
from sqlalchemy.exc import DataError, DBAPIError, InterfaceError, InternalError, OperationalError

from core.errors import StateError, StateUnavailable
from sync.state import schema as t

AWAY = (OperationalError, InterfaceError, InternalError)
"""The database went away, or takes nothing now: a server that was demoted refuses every writing transaction."""

FREE_AND_REPEAT = "free space or start the database again, then repeat the command: nothing is half-done"
_HINTS = {
    "25006": "name the server that takes writes in `state:` (or MIKOMI_STATE), or wait for the failover: nothing is half-done",
    "55P03": "another process stands in the middle of a commit: repeat the command in a minute, and look for one that is stopped",
    "40P01": "another process changed the same rows: repeat the command; nothing is half-done",
    "57P01": "somebody ended this connection: repeat the command; nothing is half-done",
    "25P03": "this process stood still in the middle of a commit: repeat the command; nothing is half-done",
}
"""By SQLSTATE: a server that takes no writes, a lock that was not got in time, two that waited for each
other, a connection or a transaction that was ended."""
_TABLE = re.compile(r'\b(?:INSERT INTO|UPDATE|DELETE FROM|FROM)\s+"?(\w+)"?')


def unavailable(error: DBAPIError) -> StateUnavailable:
    """Of one of `AWAY`."""
    hint = _HINTS.get(getattr(error.orig, "sqlstate", None) or "", FREE_AND_REPEAT)
    return StateUnavailable(f"the state database cannot be used now: {error.orig}", hint=hint)


def misfit(error: DataError) -> StateError:
    """A value that the database does not take: the table, and the column where it can be found out."""
    found = _TABLE.search(error.statement or "")
    table = t.metadata.tables.get(found.group(1)) if found else None
    place = "a table" if table is None else f"table {table.name}"
    if table is not None and (columns := _too_large(table, error.params)):
        place += f", column {', '.join(columns)}"
    return StateError(
        f"a value does not fit into the state database ({place}: {type(error.orig).__name__}); nothing was written",
        hint="this is a fault of Mikomi: please report it with this line",
    )


def _too_large(table: Table, params: Any) -> list[str]:
    """The columns for which one of the statement's values is too long, too large, or holds what text may not."""
    rows: list[Any] = list(params) if isinstance(params, Sequence) else [params]
    found = set()
    for row in (row for row in rows if isinstance(row, Mapping)):
        for name, value in row.items():
            column = table.columns.get(name.partition("__")[0])  # rows of one statement have numbers behind their names
            if column is not None and _is_misfit(column, value):
                found.add(column.name)
    return sorted(found)


def _is_misfit(column: Column[Any], value: Any) -> bool:
    if isinstance(value, str) and isinstance(column.type, String):
        return "\0" in value or (column.type.length is not None and len(value) > column.type.length)
    if isinstance(value, int) and isinstance(column.type, Integer):
        bits = 15 if isinstance(column.type, SmallInteger) else 63 if isinstance(column.type, BigInteger) else 31
        return not -(2**bits) <= value < 2**bits
    return False
