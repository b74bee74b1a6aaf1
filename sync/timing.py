"""When things are due: intervals and calendars, in an IANA time zone, right on the days when its clocks change.

APScheduler's triggers are the clock, and only that: who runs is decided by the lease. Its calendar is asked on a clock without
summer time (local wall time as if it were UTC) and answers are carried into the zone here, because in a zone with clock
changes it fires 01:30 twice in autumn and leaves out the midnight after the change in spring (3.11; `tests/sync/serve`). The rule
is the one of cron: what has a fixed hour runs once a day, in the hour that does not exist as long after the change as it
would have been before it; what runs in every hour runs by elapsed time.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from apscheduler.triggers.cron import CronTrigger  # type: ignore[import-untyped]
from apscheduler.triggers.interval import IntervalTrigger  # type: ignore[import-untyped]

from core.records import Millis, to_datetime, to_millis

SHORTEST_SECONDS = 10
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_INTERVAL = re.compile(r"(\d{1,6})\s*([smhdw])")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat", "sun")
_CHANGE = timedelta(hours=25)
"""No clock was ever changed by more at once: Samoa left out a whole day."""


class Timing(Protocol):
    """When something is due."""

    def after(self, at: Millis) -> Millis:
        """The first time after `at`."""
        ...


@dataclass(frozen=True, slots=True)
class Interval:
    """Every so often, counted from the epoch: neither a restart nor a long run moves the beat."""

    seconds: int

    def after(self, at: Millis) -> Millis:
        trigger = IntervalTrigger(seconds=self.seconds, start_date=to_datetime(0), timezone=UTC)
        return _asked(trigger.get_next_fire_time(None, to_datetime(at + 1)))


@dataclass(frozen=True, slots=True)
class Calendar:
    """Minute, hour, day, month and weekday as in a crontab, in a time zone.

    Attributes:
        hourly: it runs in every hour, so that an hour that comes twice, or never, is nothing special.

    """

    trigger: CronTrigger
    zone: ZoneInfo
    hourly: bool

    def after(self, at: Millis) -> Millis:
        return self._by_elapsed_time(at) if self.hourly else self._by_wall_clock(at)

    def _by_elapsed_time(self, at: Millis) -> Millis:
        """The next match on the wall, where it is reached before the clocks change; else the first one after the change."""
        begin = to_datetime(at)
        while True:
            offset = self._offset(begin)
            found = self._next_wall(_wall(begin, offset), inclusive=begin != to_datetime(at)) - offset
            if self._offset(found) == offset:
                return to_millis(found)
            begin = self._change_between(begin, found)

    def _by_wall_clock(self, at: Millis) -> Millis:
        """The earliest instant after `at` of those that a wall clock without repeated and missing hours would name."""
        now = to_datetime(at)
        offset = self._offset(now)
        simple = self._next_wall(_wall(now, offset)) - offset
        if self._offset(now - 2 * _CHANGE) == offset == self._offset(simple):
            return to_millis(simple)
        wall = _wall(now, offset) - _CHANGE
        found: list[datetime] = []
        while True:
            wall = self._next_wall(wall)
            instant = wall.replace(tzinfo=self.zone, fold=0).astimezone(UTC)
            if found and instant - found[0] > _CHANGE:
                return to_millis(min(found))
            if instant > now:
                found.append(instant)

    def _next_wall(self, wall: datetime, *, inclusive: bool = False) -> datetime:
        begin = wall if inclusive else wall + timedelta(milliseconds=1)
        return to_datetime(_asked(self.trigger.get_next_fire_time(None, begin)))

    def _offset(self, instant: datetime) -> timedelta:
        return instant.astimezone(self.zone).utcoffset() or timedelta()

    def _change_between(self, begin: datetime, end: datetime) -> datetime:
        """The first instant, to the second, whose offset is not that of `begin`; `end` has another one."""
        low, high = int(begin.timestamp()), int(end.timestamp())
        before = self._offset(begin)
        while high - low > 1:
            middle = (low + high) // 2
            if self._offset(datetime.fromtimestamp(middle, UTC)) == before:
                low = middle
            else:
                high = middle
        return datetime.fromtimestamp(high, UTC)


def _wall(instant: datetime, offset: timedelta) -> datetime:
    """What a clock on the wall shows, as if it were UTC."""
    return instant + offset


def _asked(found: datetime | None) -> Millis:
    if found is None:
        raise ValueError("this never happens")
    return to_millis(found)


def parse_timing(text: str, zone: ZoneInfo) -> Timing | None:
    """An interval (`90s`, `5m`, `24h`, `7d`), a calendar in five cron fields (`0 4 * * sun`), or None for `never`.

    Raises:
        ValueError: it is none of these, too short, or never comes.

    """
    text = " ".join(text.lower().split())
    if text == "never":
        return None
    if match := _INTERVAL.fullmatch(text):
        seconds = int(match[1]) * _UNITS[match[2]]
        if seconds < SHORTEST_SECONDS:
            raise ValueError(f"{text}: at least {SHORTEST_SECONDS} seconds")
        return Interval(seconds)
    fields = text.split()
    if len(fields) != 5:
        raise ValueError(f"{text!r} is neither an interval (90s, 5m, 24h) nor five cron fields (0 4 * * sun) nor never")
    minute, hour, day, month, weekday = fields
    if day != "*" and weekday != "*":
        raise ValueError(f"{text!r} names both a day of the month and a weekday; give one of them")
    try:
        trigger = CronTrigger(
            minute=minute,
            hour=hour,
            day=day,
            month=month,
            day_of_week=re.sub(r"(?<![\w/])\d", _weekday_name, weekday),
            timezone=UTC,
        )
        calendar = Calendar(trigger, zone, hourly=hour in {"*", "*/1"})
        calendar.after(to_millis(datetime(2026, 1, 1, tzinfo=UTC)))
    except ValueError as error:
        raise ValueError(f"{text!r} is no calendar: {error}") from error
    return calendar


def _weekday_name(match: re.Match[str]) -> str:
    """Cron counts weekdays from Sunday, APScheduler from Monday: names mean the same to both."""
    number = int(match[0])
    if number >= len(_WEEKDAYS):
        raise ValueError(f"weekday {number}: 0 to 7, 0 and 7 are Sunday")
    return _WEEKDAYS[number]


def parse_length(text: str) -> Millis:
    """An interval in milliseconds. Raises ValueError for anything else."""
    if not (match := _INTERVAL.fullmatch(text.strip().lower())):
        raise ValueError(f"{text!r} is no interval: 90s, 5m, 24h, 7d")
    return int(match[1]) * _UNITS[match[2]] * 1000
