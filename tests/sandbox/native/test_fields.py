"""Values of mapped fields: how the two sides' forms compare and become each other."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.native.fields import open_channel
from sandbox.salesforce.catalog import Field, read_catalog
from sandbox.salesforce.values import stored

LEAD = read_catalog()["Lead"]


DAY = Field("Next_Due__c", "date", 0, frozenset(), "Next due")


def field(name: str) -> Field:
    found = LEAD.field(name)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("one", "text", "json", "column"),
    [
        (field("Title"), "部長", "部長", "部長"),
        (field("NumberOfEmployees"), "120", 120.0, 120),
        (field("AnnualRevenue"), "1200000", 1200000.0, 1200000.0),
        (field("HasOptedOutOfEmail"), "true", True, 1),
        (field("HasOptedOutOfEmail"), "false", False, 0),
        (field("EmailBouncedDate"), "2026-11-24T01:00:00.000Z", "2026-11-24T01:00:00.000Z", 1_795_482_000_000),
        (DAY, "2026-11-24T00:00:00.000Z", "2026-11-24", "2026-11-24"),
    ],
)
def test_both_forms_of_a_value(one: Field, text: str, json: Any, column: Any) -> None:
    channel = open_channel("x", one, "two_way")
    assert channel.to_salesforce(text) == json
    assert stored(one, json) == column
    assert channel.to_hubspot(column) == text
    assert channel.key_of_hubspot(text) == channel.key_of_salesforce(column)


def test_blank_is_blank_on_both_sides() -> None:
    title, box = open_channel("x", field("Title"), "two_way"), open_channel("x", field("HasOptedOutOfEmail"), "two_way")
    for channel, blanks in ((title, (None,)), (box, (None, 0))):
        for column in blanks:
            assert channel.key_of_salesforce(column) is None
        for text in (None, ""):
            assert channel.key_of_hubspot(text) is None
    assert title.to_hubspot(None) is None
    assert title.to_salesforce(None) is None


def test_what_is_no_number_or_time_is_refused() -> None:
    for name in ("NumberOfEmployees", "EmailBouncedDate"):
        with pytest.raises(ValueError, match="x"):
            open_channel("x", field(name), "two_way").to_salesforce("x")


@given(st.integers(-10_000_000, 10_000_000))
def test_numbers_survive_the_way_there_and_back(number: int) -> None:
    channel = open_channel("x", field("AnnualRevenue"), "two_way")
    assert channel.key_of_hubspot(channel.to_hubspot(float(number))) == number


@given(st.integers(0, 4_000_000_000_000))
def test_moments_compare_in_whole_seconds(at_ms: int) -> None:
    from sandbox.hubspot.wire import stamp

    channel = open_channel("x", field("EmailBouncedDate"), "two_way")
    assert channel.key_of_hubspot(stamp(at_ms)) == channel.key_of_salesforce(at_ms // 1000 * 1000)
