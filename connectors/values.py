"""Values and stamps from the wire to ours: cheap enough to run on every property of every row."""

import re
import unicodedata
from datetime import date, datetime, tzinfo
from math import isfinite

from core.records import Day, Millis, local_day, to_day

LONGEST_ADDRESS = 254
"""Characters of a mail address (RFC 5321); what is longer is none."""

_EXACT = 2**53  # above, whole numbers are no longer exact in a double
_LARGEST = 1e300
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def clean_text(value: str) -> str | None:
    """NFKC, without NUL and lone surrogates, trimmed; None if nothing is left."""
    if not value.isascii():
        value = unicodedata.normalize("NFKC", _UNSTORABLE.sub("", value))
    elif "\x00" in value:
        value = value.replace("\x00", "")
    return value.strip() or None


def clean_email(value: object) -> str | None:
    """A mail address in lower case; None where there is none (no `@`, or blanks inside)."""
    text = clean_text(value) if isinstance(value, str) else None
    if (
        text is None
        or "@" not in text
        or " " in text
        or text[0] == "@"
        or text[-1] == "@"
        or len(text) > LONGEST_ADDRESS
    ):
        return None
    return text.lower()


def clean_emails(*values: object, separator: str = ";") -> tuple[str, ...]:
    """All addresses in the values, each once, in order; a value may hold several."""
    seen: dict[str, None] = {}
    for value in values:
        if isinstance(value, str):
            for part in value.split(separator):
                if email := clean_email(part):
                    seen[email] = None
    return tuple(seen)


def to_number(value: object) -> int | float | None:
    """A finite number from a number or its text (`1,200` too); integral ones as int. None if it is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        text = clean_text(value)
        try:
            value = float(text.replace(",", "")) if text else None
        except ValueError:
            return None
    if not isinstance(value, (int, float)) or (isinstance(value, float) and not isfinite(value)):
        return None
    if abs(value) >= _EXACT:
        return float(value) if abs(value) < _LARGEST else None
    return int(value) if value == int(value) else value


def to_flag(value: object) -> bool | None:
    """True and false as booleans or as CRMs spell them; None if neither."""
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}.get(value.strip().lower()) if isinstance(value, str) else None


_MIDNIGHTS: dict[str, Millis] = {}
_CACHE_LIMIT = 100_000


def parse_millis(text: str) -> Millis:
    """An ISO stamp with zone (`…Z`, `+0000`, `+09:00`; fraction or not) as UTC milliseconds, finer digits cut off.

    Raises:
        ValueError: malformed, or without a zone.
    """
    size = len(text)
    if (size == 24 and text[23] == "Z") or (
        size == 28 and text[23:] == "+0000"
    ):  # what both CRMs send, 99 % of the time
        fraction = int(text[20:23])
    elif size == 20 and text[19] == "Z":
        fraction = 0
    else:
        value = datetime.fromisoformat(text)
        if value.tzinfo is None:
            raise ValueError("stamp without a time zone")
        return int((value.replace(microsecond=0)).timestamp()) * 1000 + value.microsecond // 1000
    midnight = _MIDNIGHTS.get(text[:10])
    if midnight is None:
        midnight = _remember_midnight(text[:10])
    return midnight + int(text[11:13]) * 3_600_000 + int(text[14:16]) * 60_000 + int(text[17:19]) * 1000 + fraction


def _remember_midnight(text: str) -> Millis:
    if len(_MIDNIGHTS) > _CACHE_LIMIT:
        _MIDNIGHTS.clear()
    midnight = _MIDNIGHTS[text] = parse_day(text) * 86_400_000
    return midnight


def parse_day(text: str) -> Day:
    """`YYYY-MM-DD` as a calendar day. Raises ValueError if malformed."""
    return to_day(date.fromisoformat(text))


class LocalDays:
    """The calendar day of an instant in one zone, remembered per quarter of an hour.

    Since 1972 every zone's midnight falls on a UTC quarter; older instants are computed each time.
    """

    QUARTER = 900_000
    EXACT_BEFORE = 63_072_000_000  # 1972-01-01

    def __init__(self, zone: tzinfo) -> None:
        self.zone = zone
        self._days: dict[int, Day] = {}

    def __call__(self, at: Millis) -> Day:
        if at < self.EXACT_BEFORE:
            return local_day(at, self.zone)
        quarter = at // self.QUARTER
        day = self._days.get(quarter)
        if day is None:
            if len(self._days) > _CACHE_LIMIT:
                self._days.clear()
            day = self._days[quarter] = local_day(at, self.zone)
        return day
