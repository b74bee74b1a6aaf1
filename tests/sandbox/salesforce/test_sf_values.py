"""Ids and values: properties that hold for any input."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.salesforce.ids import IdCounters, long_id, suffix
from sandbox.salesforce.values import to_milliseconds, to_text

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
shorts = st.text(ALPHABET, min_size=15, max_size=15)


@pytest.mark.parametrize(
    ("short", "mark"),  # from the vendor's documentation and recorded responses
    [("001D000000IRFma", "IAH"), ("012000000000000", "AAA")],
)
def test_known_suffixes(short: str, mark: str) -> None:
    assert suffix(short) == mark


@given(shorts)
def test_an_18_character_id_survives_a_change_of_letter_case(short: str) -> None:
    full = short + suffix(short)
    assert long_id(short) == full
    assert long_id(full.upper()) == full
    assert long_id(full.lower()) == full


@given(st.text(max_size=20))
def test_other_text_is_no_id(text: str) -> None:
    found = long_id(text)
    assert found is None or found[:15].lower() == text[:15].lower()


def test_ids_sort_as_they_were_made_and_never_come_twice() -> None:
    counters = IdCounters()
    ids = [counters.next("00Q") for _ in range(5000)]
    assert ids == sorted(ids)
    assert len({one.lower() for one in ids}) == 5000
    again = IdCounters()
    again.seen(ids[-1])
    assert again.next("00Q") > ids[-1]


offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1)).map(lambda one: one.replace(microsecond=0))  # noqa: DTZ001


@given(moments, offsets)
def test_datetimes_keep_the_moment_whatever_the_offset(moment: datetime, zone: timezone) -> None:
    aware = moment.replace(tzinfo=UTC)
    text = aware.astimezone(zone).isoformat()
    assert to_milliseconds(text) == int(aware.timestamp()) * 1000
    assert to_milliseconds(to_text(to_milliseconds(text))) == to_milliseconds(text)
