"""Record ids: 15 case-sensitive characters (3 of key prefix, 12 of counter) and a 3-character checksum suffix."""

import re
import threading
from functools import lru_cache

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"  # ASCII order: ids sort as they were made
_SUFFIX = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_LOW = 62**3
_SHAPE = re.compile(r"[A-Za-z0-9]{15}(?:[A-Za-z0-9]{3})?")
_POD = "5i0"  # the server part of an id: constant within one org


def suffix(short: str) -> str:
    """The checksum of a 15-character id: one character per block of five, a bit per upper-case letter."""
    return _mark(short[:5]) + _mark(short[5:10]) + _mark(short[10:15])


@lru_cache(maxsize=65_536)
def _mark(block: str) -> str:
    return _SUFFIX[sum(1 << place for place, character in enumerate(block) if character.isupper())]


@lru_cache(maxsize=65_536)
def _digits(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))


def long_id(text: object) -> str | None:
    """The 18-character form of a 15- or 18-character id, its letter case restored; None if it is no id."""
    if not isinstance(text, str) or not _SHAPE.fullmatch(text):
        return None
    if len(text) == 15:
        return text + suffix(text)
    short, mark = text[:15], text[15:].upper()
    if suffix(short) == mark:
        return short + mark
    return _restore_case(short, mark)


def _restore_case(short: str, mark: str) -> str | None:
    """An 18-character id survives tools that change letter case: the suffix tells which letters were upper case."""
    if any(character not in _SUFFIX for character in mark):
        return None
    restored = "".join(
        character.upper() if _SUFFIX.index(mark[place // 5]) >> (place % 5) & 1 else character.lower()
        for place, character in enumerate(short)
    )
    return restored + mark if suffix(restored) == mark else None


class IdCounters:
    """The next id per key prefix. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: dict[str, int] = {}

    def next(self, prefix: str) -> str:
        with self._lock:
            number = self._last[prefix] = self._last.get(prefix, 0) + 1
        high, low = divmod(number, _LOW)
        short = prefix + _POD + _digits(high, 6) + _digits(low, 3)
        return short + suffix(short)

    def seen(self, record_id: str) -> None:
        """Never hand out an id at or below this one (a database opened again, or rows loaded with their ids)."""
        if record_id[3:6] != _POD:
            return
        number = _value(record_id[6:12]) * _LOW + _value(record_id[12:15])
        with self._lock:
            self._last[record_id[:3]] = max(number, self._last.get(record_id[:3], 0))


@lru_cache(maxsize=65_536)
def _value(digits: str) -> int:
    number = 0
    for character in digits:
        number = number * 62 + _DIGITS.index(character)
    return number
