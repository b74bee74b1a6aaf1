"""The four field rules: who wins, as a table and as laws."""

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.native.rules import RULES, FieldRule, Seen, choose_winner

PREFER, ALWAYS, TWO_WAY = "prefer_salesforce_unless_blank", "always_salesforce", "two_way"


@pytest.mark.parametrize(
    ("rule", "hubspot", "salesforce", "before", "hubspot_newer", "winner"),
    [
        (PREFER, "a", "b", None, True, "salesforce"),
        (PREFER, "a", None, None, False, "hubspot"),
        (PREFER, None, "b", None, True, "salesforce"),
        (PREFER, "a", None, Seen("a", "a"), True, "salesforce"),  # emptied in Salesforce: emptied in HubSpot
        (PREFER, "new", None, Seen("a", None), False, "hubspot"),
        (PREFER, "new", "b", Seen("b", "b"), True, "salesforce"),  # HubSpot's edit is taken back
        (ALWAYS, "a", None, None, True, "salesforce"),
        (ALWAYS, "a", "b", Seen("b", "b"), True, "salesforce"),
        (TWO_WAY, "a", "b", Seen("a", "a"), True, "salesforce"),
        (TWO_WAY, "b", "a", Seen("a", "a"), False, "hubspot"),
        (TWO_WAY, None, "a", Seen("a", "a"), False, "hubspot"),  # deletions too
        (TWO_WAY, "b", "c", Seen("a", "a"), True, "hubspot"),
        (TWO_WAY, "b", "c", Seen("a", "a"), False, "salesforce"),
        (TWO_WAY, "a", None, None, False, "hubspot"),
        (TWO_WAY, "a", "b", Seen("a", "b"), True, None),
        ("dont_sync", "a", "b", None, True, None),
    ],
)
def test_who_wins(
    rule: FieldRule, hubspot: Any, salesforce: Any, before: Seen | None, hubspot_newer: bool, winner: str | None
) -> None:
    assert choose_winner(rule, hubspot, salesforce, before, hubspot_newer=hubspot_newer) == winner


values = st.sampled_from([None, "a", "b", "c"])
seen = st.none() | st.builds(Seen, values, values)


@given(st.sampled_from(RULES), values, values, seen, st.booleans())
def test_after_a_winner_has_been_copied_nobody_wins(
    rule: FieldRule, hubspot: Any, salesforce: Any, before: Seen | None, newer: bool
) -> None:
    winner = choose_winner(rule, hubspot, salesforce, before, hubspot_newer=newer)
    if winner is None:
        return
    value = hubspot if winner == "hubspot" else salesforce
    assert hubspot != salesforce
    for later in (True, False):
        assert choose_winner(rule, value, value, Seen(value, value), hubspot_newer=later) is None


@given(st.sampled_from([PREFER, ALWAYS]), values, values, seen, st.booleans())
def test_hubspot_never_overwrites_a_value_under_the_rules_that_prefer_salesforce(
    rule: FieldRule, hubspot: Any, salesforce: Any, before: Seen | None, newer: bool
) -> None:
    if choose_winner(rule, hubspot, salesforce, before, hubspot_newer=newer) == "hubspot":
        assert salesforce is None
        assert rule == PREFER


def test_the_names_are_those_of_the_settings_page() -> None:
    assert set(RULES) == set(get_args(FieldRule))
