"""When things are due: against a plain reading of the wall clock, in zones with and without clock changes."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidSettings
from core.records import Millis, to_datetime, to_millis
from sync.schedule import Agenda, plan_timings
from sync.settings import Schedule, Settings, load_settings
from sync.timing import Interval, Timing, parse_length, parse_timing

NEW_YORK, TOKYO = ZoneInfo("America/New_York"), ZoneInfo("Asia/Tokyo")
ZONES = [
    *("Asia/Tokyo", "America/New_York", "Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe"),
    *("Asia/Kolkata", "Africa/Casablanca", "Pacific/Apia", "UTC"),
]


def at(*parts: int, zone: ZoneInfo = NEW_YORK, fold: int = 0) -> Millis:
    return to_millis(datetime(*parts, tzinfo=zone, fold=fold))  # type: ignore[arg-type,misc]


def timing(text: str, zone: ZoneInfo = NEW_YORK) -> Timing:
    found = parse_timing(text, zone)
    assert found is not None
    return found


def runs(when: Timing, begin: Millis, end: Millis) -> list[Millis]:
    """All times from `begin` (excluded) to `end`."""
    found = []
    while (begin := when.after(begin)) <= end:
        found.append(begin)
    return found


def on_the_wall(times: list[Millis], zone: ZoneInfo) -> list[str]:
    return [f"{to_datetime(t).astimezone(zone):%m-%d %H:%M %Z}" for t in times]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30 2 * * *", ["03-07 02:30 EST", "03-08 03:30 EDT", "03-09 02:30 EDT"]),  # 02:30 does not exist on the 8th
        ("0 3 * * *", ["03-07 03:00 EST", "03-08 03:00 EDT", "03-09 03:00 EDT"]),
        ("0 0 * * *", ["03-07 00:00 EST", "03-08 00:00 EST", "03-09 00:00 EDT"]),
    ],
)
def test_the_night_that_loses_an_hour_loses_no_run(text: str, expected: list[str]) -> None:
    found = runs(timing(text), at(2026, 3, 6, 12), at(2026, 3, 9, 12))
    assert on_the_wall(found, NEW_YORK) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30 1 * * *", ["10-31 01:30 EDT", "11-01 01:30 EDT", "11-02 01:30 EST"]),  # 01:30 comes twice on the 1st
        ("0 2 * * *", ["10-31 02:00 EDT", "11-01 02:00 EST", "11-02 02:00 EST"]),
        ("0 0 * * *", ["10-31 00:00 EDT", "11-01 00:00 EDT", "11-02 00:00 EST"]),
    ],
)
def test_the_night_that_has_an_hour_twice_doubles_no_run(text: str, expected: list[str]) -> None:
    found = runs(timing(text), at(2026, 10, 30, 12), at(2026, 11, 2, 12))
    assert on_the_wall(found, NEW_YORK) == expected


@pytest.mark.parametrize(("begin", "hours"), [(at(2026, 3, 7), 71), (at(2026, 10, 31), 73)])
def test_what_runs_in_every_hour_runs_by_elapsed_time(begin: Millis, hours: int) -> None:
    end = begin + hours * 3_600_000
    assert f"{to_datetime(end).astimezone(NEW_YORK):%H:%M}" == "00:00"
    found = runs(timing("*/5 * * * *"), begin, end)
    assert {after - before for before, after in pairwise([begin, *found])} == {300_000}
    assert len(found) == hours * 12


def test_a_half_hour_change_keeps_the_minute() -> None:
    """Lord Howe's clocks move by thirty minutes."""
    zone = ZoneInfo("Australia/Lord_Howe")
    found = runs(timing("15 * * * *", zone), at(2026, 4, 4, 12, zone=zone), at(2026, 4, 5, 12, zone=zone))
    assert {to_datetime(t).astimezone(zone).minute for t in found} == {15}
    assert {after - before for before, after in pairwise(found)} == {3_600_000, 3_600_000 // 2 * 3}


@given(
    zone=st.sampled_from(ZONES).map(ZoneInfo),
    hour=st.integers(0, 23),
    minute=st.integers(0, 59),
    begin=st.integers(1_230_768_000, 1_893_456_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
)
def test_a_daily_time_comes_once_on_every_day(zone: ZoneInfo, hour: int, minute: int, begin: datetime) -> None:
    """The oracle: each calendar day's wall time, taken the first time it comes, or later by the hour that is missing."""
    when = timing(f"{minute} {hour} * * *", zone)
    first = begin.astimezone(zone).date()
    wanted = [
        datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone).astimezone(UTC)
        for day in (first + timedelta(days=n) for n in range(-1, 9))
    ]
    end = to_millis(begin) + 7 * 86_400_000
    assert runs(when, to_millis(begin), end) == sorted(
        {to_millis(w) for w in wanted if to_millis(begin) < to_millis(w) <= end}
    )


def test_a_day_that_does_not_exist_is_made_up_for() -> None:
    """Samoa went from Thursday to Saturday: Friday's run comes a day later, where it would have been, and is then one with it."""
    zone = ZoneInfo("Pacific/Apia")
    found = runs(timing("0 4 * * *", zone), at(2011, 12, 28, 12, zone=zone), at(2012, 1, 2, 12, zone=zone))
    assert [f"{to_datetime(t).astimezone(zone):%m-%d %H:%M}" for t in found] == [
        "12-29 04:00",
        "12-31 04:00",
        "01-01 04:00",
        "01-02 04:00",
    ]


@given(
    text=st.sampled_from(["*/7 * * * *", "0 * * * *", "30 1,2 * * *", "0 4 * * sun", "5 0 1 * *", "0 */2 * * 1-5"]),
    zone=st.sampled_from(ZONES).map(ZoneInfo),
    now=st.integers(1_300_000_000_000, 1_900_000_000_000),
    step=st.integers(0, 90_000_000),
)
def test_time_only_goes_forward(text: str, zone: ZoneInfo, now: Millis, step: int) -> None:
    when = timing(text, zone)
    following = when.after(now)
    assert following > now
    assert when.after(following - 1) == following
    assert when.after(now + step) >= following


@pytest.mark.parametrize(
    ("text", "day"),
    [("0 4 * * 0", "Sun"), ("0 4 * * 7", "Sun"), ("0 4 * * sun", "Sun"), ("0 4 * * 1", "Mon"), ("0 4 * * 6", "Sat")],
)
def test_weekdays_are_counted_as_cron_does(text: str, day: str) -> None:
    found = timing(text, TOKYO).after(at(2026, 11, 24, 12, zone=TOKYO))
    assert f"{to_datetime(found).astimezone(TOKYO):%a %H:%M}" == f"{day} 04:00"


def test_working_days_as_a_range() -> None:
    found = runs(timing("0 9 * * 1-5", TOKYO), at(2026, 11, 23, 0, zone=TOKYO), at(2026, 11, 30, 0, zone=TOKYO))
    assert [f"{to_datetime(t).astimezone(TOKYO):%a}" for t in found] == ["Mon", "Tue", "Wed", "Thu", "Fri"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "5 minutes",
        "0s",
        "9s",
        "* * * *",
        "60 * * * *",
        "0 4 * * 8",
        "0 4 1 * mon",
        "0 4 31 feb *",
        "x y z a b",
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        parse_timing(text, TOKYO)


def test_never_and_lengths() -> None:
    assert parse_timing("Never", TOKYO) is None
    assert parse_timing(" 90 s ", TOKYO) == Interval(90)
    assert parse_length("24h") == 86_400_000
    with pytest.raises(ValueError, match="interval"):
        parse_length("0 4 * * *")


@pytest.mark.parametrize(
    ("key", "value"), [("reconcile", "0 25 * * *"), ("sweep", "0 4 * * *"), ("cycle", "never"), ("backup", "nightly")]
)
def test_a_wrong_time_is_named_with_its_line(tmp_path: Path, key: str, value: str) -> None:
    file = tmp_path / "mikomi.yaml"
    file.write_text(f"connections: {{hubspot: {{vendor: hubspot}}}}\nschedule:\n  {key}: {value}\n", "utf-8")
    with pytest.raises(InvalidSettings, match=rf"mikomi\.yaml:3: schedule\.{key}"):
        load_settings(file)


def test_jobs_that_are_never_are_left_out(settings: Settings) -> None:
    assert list(plan_timings(settings)) == ["cycle", "daily", "reconcile"]
    never = settings.model_copy(update={"schedule": Schedule(reconcile="never", backup="0 3 * * *")})
    assert list(plan_timings(never)) == ["cycle", "daily", "backup"]


# --- the agenda ------------------------------------------------------------------------------------------------------


def test_an_interval_is_counted_from_the_schedule_not_from_the_end() -> None:
    agenda = Agenda.begin({"cycle": Interval(300)}, {}, now=1_000)
    assert agenda.next_at() == 300_000
    assert agenda.due(300_000) == ["cycle"]
    agenda.done("cycle", 410_000)  # the run took almost two minutes
    assert agenda.next_at() == 600_000


def test_missed_times_are_one() -> None:
    agenda = Agenda.begin({"cycle": Interval(300)}, {}, now=0)
    assert agenda.due(3_000_000) == ["cycle"]  # ten of them while the machine slept
    agenda.done("cycle", 3_000_100)
    assert agenda.due(3_000_200) == []
    assert agenda.next_at() == 3_300_000


def test_what_was_missed_while_down_is_due_at_once_and_a_new_job_waits() -> None:
    weekly = timing("0 4 * * sun", TOKYO)
    sunday = at(2026, 11, 22, 4, zone=TOKYO)
    down = Agenda.begin({"reconcile": weekly}, {"reconcile": sunday - 86_400_000}, now=sunday + 3_600_000)
    assert down.due(sunday + 3_600_000) == ["reconcile"]
    fresh = Agenda.begin({"reconcile": weekly}, {}, now=sunday + 3_600_000)
    assert fresh.due(sunday + 3_600_000) == []
    assert fresh.next_at() == sunday + 7 * 86_400_000


def test_a_clock_that_was_put_back_stops_nothing() -> None:
    agenda = Agenda.begin({"cycle": Interval(300)}, {}, now=36_000_000)
    assert agenda.due(36_300_000) == ["cycle"]
    agenda.done("cycle", 36_300_000)
    assert agenda.due(100_000) == []  # ten hours back
    assert agenda.due(300_000) == ["cycle"]


def test_a_failing_job_waits_longer() -> None:
    agenda = Agenda.begin({"cycle": Interval(60)}, {}, now=0)
    agenda.done("cycle", 60_000, not_before=500_000)
    assert agenda.due(499_999) == []
    assert agenda.due(500_000) == ["cycle"]
