"""The daily pass looks at everyone, a slice of companies at a time: what it holds does not grow with the people there are.

A slice is whole companies, because account rules see what colleagues did. People without a company have no colleagues and
come in slices of their own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, func, select

from sync.state import State
from sync.state import schema as t

SLICE = 10_000
"""People in a slice, give or take a company."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Some people with all their colleagues.

    Attributes:
        companies: the people of a range of companies; else those without one, in a range of people.
        after, last: ids of companies or people, the first one excluded, the last one included.
    """

    companies: bool
    after: int
    last: int

    def holds(self) -> ColumnElement[bool]:
        """The condition on `person`."""
        column = _column(self.companies)
        return _kind(self.companies) & (column > self.after) & (column <= self.last)

    def people(self) -> Select[Any]:
        """The ids of the people, as a subquery."""
        return select(t.person.c.person_id).where(self.holds())

    def whose(self, column: ColumnElement[Any]) -> list[ColumnElement[bool]]:
        """Rows of the people; a `Narrow`."""
        return [column.in_(self.people())]

    def which_companies(self, column: ColumnElement[Any]) -> list[ColumnElement[bool]]:
        """Rows of the companies; a `Narrow`."""
        return [(column > self.after) & (column <= self.last)] if self.companies else []


def cut_slices(state: State, size: int = SLICE) -> Iterator[Slice]:
    """Everyone in slices, companies first. Each is found when it is asked for: nothing is held in between."""
    for companies in (True, False):
        after = 0
        while (last := _end(state, companies, after, size)) is not None:
            yield Slice(companies, after, last)
            after = last


def count_rows(state: State, table: Table) -> int:
    with state.outside() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def _end(state: State, companies: bool, after: int, size: int) -> int | None:
    """Where a slice that begins after `after` ends; None where nobody is left."""
    with state.read() as connection:
        return _nth(connection, companies, after, size) or _newest(connection, companies, after)


def _nth(connection: Connection, companies: bool, after: int, size: int) -> int | None:
    column = _column(companies)
    statement = select(column).where(_kind(companies), column > after).order_by(column).offset(size - 1).limit(1)
    return connection.execute(statement).scalar()


def _newest(connection: Connection, companies: bool, after: int) -> int | None:
    column = _column(companies)
    return connection.execute(select(func.max(column)).where(_kind(companies), column > after)).scalar()


def _column(companies: bool) -> ColumnElement[int]:
    return t.person.c.company_id if companies else t.person.c.person_id


def _kind(companies: bool) -> ColumnElement[bool]:
    return t.person.c.company_id.is_not(None) if companies else t.person.c.company_id.is_(None)
