"""Values and stamps from the wire."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.values import (
    LocalDays,
    clean_email,
    clean_emails,
    clean_text,
    parse_day,
    parse_millis,
    to_flag,
    to_number,
)
from core.records import local_day, to_datetime


@pytest.mark.parametrize(
    ("given_text", "clean"),
    [
        ("株式会社 架空 ", "株式会社 架空"),
        ("㈱架空", "(株)架空"),
        ("ｱｲｳ", "アイウ"),
        ("ＡＢＣ１２３", "ABC123"),
        ("a\x00b", "ab"),
        ("名\x00前", "名前"),
        ("x\ud800y名", "xy名"),
        (" \u3000 ", None),
        ("", None),
        ("\x00", None),
    ],
)
def test_text_is_normalised(given_text: str, clean: str | None) -> None:
    assert clean_text(given_text) == clean


@given(st.text(st.characters(), max_size=60))
def test_clean_text_can_always_be_stored_and_is_stable(text: str) -> None:
    cleaned = clean_text(text)
    if cleaned is not None:
        assert cleaned.encode("utf-8")
        assert "\x00" not in cleaned
        assert clean_text(cleaned) == cleaned


@pytest.mark.parametrize(
    ("value", "email"),
    [
        ("Taro@Buyer.Example ", "taro@buyer.example"),
        ("ｔａｒｏ＠ｂｕｙｅｒ．ｅｘａｍｐｌｅ", "taro@buyer.example"),
        ("no address", None),
        ("@x", None),
        ("x@", None),
        ("a b@c.example", None),
        (None, None),
        (7, None),
    ],
)
def test_addresses(value: object, email: str | None) -> None:
    assert clean_email(value) == email


def test_all_addresses_once_in_order() -> None:
    assert clean_emails("A@x.example", None, "b@x.example;a@X.example; c@x.example;") == (
        "a@x.example",
        "b@x.example",
        "c@x.example",
    )


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("1,200", 1200),
        ("１２", 12),
        ("12.5", 12.5),
        (3.0, 3),
        (True, None),
        ("nan", None),
        ("inf", None),
        ("100-499", None),
        ("", None),
        (None, None),
        ([], None),
    ],
)
def test_numbers(value: object, number: float | None) -> None:
    assert to_number(value) == number


@pytest.mark.parametrize(
    ("value", "flag"), [("true", True), ("False ", False), (True, True), ("", None), (None, None), ("1", None)]
)
def test_flags(value: object, flag: bool | None) -> None:
    assert to_flag(value) is flag


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("2026-05-28T20:26:40.155Z", "2026-05-28T20:26:40.155+00:00"),
        ("2026-05-28T20:26:40Z", "2026-05-28T20:26:40+00:00"),
        ("2026-05-28T20:26:40.000+0000", "2026-05-28T20:26:40+00:00"),
        ("2026-05-28T20:26:40.1Z", "2026-05-28T20:26:40.100+00:00"),
        ("2026-05-29T05:26:40+09:00", "2026-05-28T20:26:40+00:00"),
        ("2026-05-28T20:26:40.155999Z", "2026-05-28T20:26:40.155+00:00"),
        ("1969-12-31T23:59:59.500Z", "1969-12-31T23:59:59.500+00:00"),
    ],
)
def test_stamps(text: str, iso: str) -> None:
    assert parse_millis(text) == round(datetime.fromisoformat(iso).timestamp() * 1000)


@pytest.mark.parametrize("text", ["2026-05-28T20:26:40", "2026-05-28", "yesterday", "", "2026-13-28T20:26:40.155Z"])
def test_a_stamp_without_zone_or_sense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse_millis(text)


@given(st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1)))  # noqa: DTZ001
def test_stamps_agree_with_the_standard_library(moment: datetime) -> None:
    aware = moment.replace(microsecond=moment.microsecond // 1000 * 1000, tzinfo=UTC)
    text = aware.strftime("%Y-%m-%dT%H:%M:%S.") + f"{aware.microsecond // 1000:03d}Z"
    assert to_datetime(parse_millis(text)) == aware


@given(
    st.integers(-10_000_000_000, 4_000_000_000_000),
    st.sampled_from(["Asia/Tokyo", "Asia/Kathmandu", "America/St_Johns", "Europe/London", "Africa/Monrovia"]),
)
def test_local_days_agree_with_the_slow_way(at: int, name: str) -> None:
    zone = ZoneInfo(name)
    days = LocalDays(zone)
    assert days(at) == days(at) == local_day(at, zone)


def test_days() -> None:
    assert parse_day("1970-01-02") == 1
