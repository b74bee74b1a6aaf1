"""Slices: everyone once, colleagues together, in order."""

from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select

from sync.engine.slices import Slice, count_rows, cut_slices
from sync.state import State
from sync.state import schema as t


def put_people(state: State, companies: Sequence[int | None]) -> None:
    """One person for each entry, of that company; their ids are not in the companies' order."""
    with state.begin() as connection:
        connection.execute(delete(t.person))
        for number, company in enumerate(companies, start=1):
            row = {"created_at": 0, "first_known_at": 0, "opted_out": False, "dirty": False, "restated": False}
            connection.execute(insert(t.person).values(person_id=number, company_id=company, **row))


def people_in(state: State, one: Slice) -> list[int]:
    with state.read() as connection:
        return sorted(connection.execute(one.people()).scalars())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(companies=st.lists(st.none() | st.integers(1, 12), max_size=40), size=st.integers(1, 15))
def test_everyone_comes_once_and_with_all_colleagues(state: State, companies: list[int | None], size: int) -> None:
    put_people(state, companies)
    seen = [people_in(state, one) for one in cut_slices(state, size)]
    assert sorted(person for people in seen for person in people) == list(range(1, len(companies) + 1))
    assert all(seen), "no slice is empty"
    for people in seen:
        within = {companies[person - 1] for person in people}
        assert None not in within or within == {None}
        largest = max(companies.count(company) for company in within) if within != {None} else 1
        assert len(people) < size + largest
    for company in {*companies} - {None}:
        holding = [people for people in seen if any(companies[person - 1] == company for person in people)]
        assert len(holding) == 1
    assert count_rows(state, t.person) == len(companies)


def test_a_company_larger_than_a_slice_stays_whole(state: State) -> None:
    put_people(state, [7] * 9 + [8])
    assert [len(people_in(state, one)) for one in cut_slices(state, 3)] == [9, 1]


def test_companies_narrow_other_tables_too(state: State) -> None:
    put_people(state, [3, 5, None])
    first, alone = cut_slices(state, 10)
    with state.read() as connection:
        [condition] = first.which_companies(t.person.c.company_id)
        assert sorted(connection.execute(select(t.person.c.person_id).where(condition)).scalars()) == [1, 2]
    assert alone.which_companies(t.person.c.company_id) == []


@pytest.mark.parametrize("size", [1, 5])
def test_nobody_is_in_no_slice(state: State, size: int) -> None:
    assert list(cut_slices(state, size)) == []
