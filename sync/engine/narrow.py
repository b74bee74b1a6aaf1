"""Which rows a query is about, said once and laid on any column: a few ids, or a slice of everyone."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from sqlalchemy import ColumnElement

from sync.state.rows import chunks

Narrow = Callable[[ColumnElement[Any]], Iterable[ColumnElement[bool]]]
"""A column to conditions that together select the rows: one statement each."""


def among(ids: Iterable[int]) -> Narrow:
    """Rows whose column is one of `ids`."""
    listed = list(ids)

    def narrow(column: ColumnElement[Any]) -> Iterator[ColumnElement[bool]]:
        return (column.in_(part) for part in chunks(listed))

    return narrow
