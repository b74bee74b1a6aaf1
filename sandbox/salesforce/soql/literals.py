"""Literals of SOQL: string escapes, dates, datetimes and the relative date literals."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from sandbox.salesforce.soql.errors import refuse
from sandbox.salesforce.soql.nodes import Literal
from sandbox.salesforce.soql.types import SoqlError

MAX_STRING = 4_000
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|([\s\S]))")
_PLAIN_ESCAPES = {
    "n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", '"': '"', "'": "'", "\\": "\\",
    "N": "\n", "R": "\r", "T": "\t", "B": "\b", "F": "\f",
}  # fmt: skip
_SUNDAY = 6


def read_string(text: str, literal: Literal, *, pattern: bool = False) -> str:
    r"""The characters of a quoted literal.

    With ``pattern`` (for LIKE) the result is a SQLite pattern with ``\`` as its escape character: an escaped
    ``\%``, ``\_`` or ``\\`` stays escaped. Outside LIKE those two escapes of wildcards are illegal.
    """

    def replace(match: re.Match[str]) -> str:
        code, letter = match.group(1), match.group(2)
        if code is not None:
            character = chr(int(code, 16))
            return "\\\\" if pattern and character == "\\" else character
        if pattern and letter in "%_\\":
            return f"\\{letter}"
        if letter in _PLAIN_ESCAPES:
            return _PLAIN_ESCAPES[letter]
        message = f"Invalid string literal {literal.text}. Illegal character sequence '\\{letter}' in string literal."
        raise refuse("MALFORMED_QUERY", text, literal.pos, message)

    inner = literal.text[1:-1]
    if "\n" in inner or "\r" in inner:
        raise refuse("MALFORMED_QUERY", text, literal.pos, f"Line breaks not allowed in string literal: {literal.text}")
    value = _ESCAPE.sub(replace, inner) if "\\" in inner else inner
    if len(value) > MAX_STRING:
        message = f"string literal in a filter is longer than {MAX_STRING} characters"
        raise refuse("MALFORMED_QUERY", text, literal.pos, message)
    # Pairs of \uD8xx\uDCxx escapes are one character; a lone surrogate cannot be stored and equals nothing.
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def read_date(text: str, literal: Literal) -> date:
    try:
        return date.fromisoformat(literal.text)
    except ValueError:
        raise refuse("MALFORMED_QUERY", text, literal.pos, f"Invalid date: {literal.text}") from None


def read_datetime(text: str, literal: Literal) -> int:
    """UTC milliseconds of a literal with ``Z`` or an offset."""
    try:
        moment = datetime.fromisoformat(literal.text.upper())
    except ValueError:
        raise refuse("MALFORMED_QUERY", text, literal.pos, f"Invalid datetime: {literal.text}") from None
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def _month_start(day: date, months: int) -> date:
    index = day.year * 12 + day.month - 1 + months
    return date(index // 12, index % 12 + 1, 1)


def _week_start(day: date, weeks: int) -> date:
    since_sunday = (day.weekday() - _SUNDAY) % 7
    return day - timedelta(days=since_sunday) + timedelta(weeks=weeks)


# For each calendar unit, the first day of the unit that is n units after the one that holds a day.
_UNITS: dict[str, Callable[[date, int], date]] = {
    "DAY": lambda day, n: day + timedelta(days=n),
    "WEEK": _week_start,
    "MONTH": _month_start,
    "QUARTER": lambda day, n: _month_start(day, 3 * n - (day.month - 1) % 3),
    "YEAR": lambda day, n: _month_start(day, 12 * n - (day.month - 1)),
}
# The fiscal year of the sandbox's organisation is the calendar year.
_UNITS["FISCAL_QUARTER"] = _UNITS["QUARTER"]
_UNITS["FISCAL_YEAR"] = _UNITS["YEAR"]

_FIXED = re.compile(r"(THIS|LAST|NEXT)_(WEEK|MONTH|QUARTER|YEAR|FISCAL_QUARTER|FISCAL_YEAR)")
_COUNTED = re.compile(r"(?:(LAST|NEXT)_N|N)_(DAY|WEEK|MONTH|QUARTER|YEAR|FISCAL_QUARTER|FISCAL_YEAR)S(_AGO)?")
_DAYS = {"TODAY": (0, 1), "YESTERDAY": (-1, 0), "TOMORROW": (1, 2), "LAST_90_DAYS": (-90, 1), "NEXT_90_DAYS": (1, 91)}


@lru_cache(maxsize=1024)
def find_date_range(formula: str, today: date) -> tuple[date, date] | None:
    """The days ``[start, end)`` that a date literal such as ``LAST_N_DAYS:7`` names on ``today``.

    None when it is no date literal, or lies outside the years 1 to 9999. Weeks start on Sunday.
    """
    name, _, count_text = formula.upper().replace(" ", "").partition(":")
    try:
        if not count_text:
            if name in _DAYS:
                first, last = _DAYS[name]
                return today + timedelta(days=first), today + timedelta(days=last)
            fixed = _FIXED.fullmatch(name)
            if fixed is None:
                return None
            shift = {"THIS": 0, "LAST": -1, "NEXT": 1}[fixed.group(1)]
            unit = _UNITS[fixed.group(2)]
            return unit(today, shift), unit(today, shift + 1)
        counted = _COUNTED.fullmatch(name)
        if counted is None or (counted.group(1) is None) == (counted.group(3) is None):
            return None
        count = int(count_text)
        unit = _UNITS[counted.group(2)]
        if counted.group(3):
            return unit(today, -count), unit(today, 1 - count)
        if counted.group(1) == "NEXT":
            return unit(today, 1), unit(today, count + 1)
        # LAST_N_DAYS runs to the end of today; the larger units end with the last complete one.
        end = 1 if counted.group(2) == "DAY" else 0
        return unit(today, -count), unit(today, end)
    except (OverflowError, ValueError):
        return None


@dataclass(frozen=True, slots=True)
class Calendar:
    """The clock and the zone in which relative date literals are read."""

    now_ms: int
    zone: str

    def today(self) -> date:
        return datetime.fromtimestamp(self.now_ms / 1000, ZoneInfo(self.zone)).date()

    def midnight_ms(self, day: date) -> int:
        """UTC milliseconds of the start of ``day`` in the zone."""
        return int(datetime.combine(day, time(), ZoneInfo(self.zone)).timestamp()) * 1000


def read_date_range(text: str, literal: Literal, calendar: Calendar) -> tuple[date, date]:
    """The days of a relative date literal; any other bare word is taken for an Apex variable, as the vendor does."""
    found = find_date_range(literal.text, calendar.today())
    if found is None:
        raise bind_refused(text, literal)
    return found


def bind_refused(text: str, literal: Literal) -> SoqlError:
    return refuse("MALFORMED_QUERY", text, literal.pos, "Bind variables only allowed in Apex code")
