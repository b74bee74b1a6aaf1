"""Anybody can write into our fields: a number that we cannot have written stops nobody, and is written over."""

import pytest
from sqlalchemy import select

from sync.state import State
from sync.state import schema as t
from tests.sync.offers.rig import Desk


@pytest.mark.parametrize("number", [9_999_999_999, -1, 1e300])
def test_a_number_out_of_all_bounds_stops_no_pass(state: State, number: float) -> None:
    hostile = {"score_version": number, "handover_no": number}
    desk = Desk(state)
    desk.add("003A")
    desk.add("003B", written=dict(hostile))
    desk.run()
    assert sorted(desk.tasks()) == ["003A", "003B"]
    desk.org.shown["003B"].update(hostile)
    desk.title("003B", "担当")
    desk.run()
    desk.run()
    assert [e.number for e in desk.episodes("003B")] == [1]
    assert (desk.number("003B"), desk.org.shown["003B"]["score_version"]) == (1, 2)
    with state.read() as connection:
        assert max(connection.execute(select(t.score.c.version)).scalars()) <= 2
