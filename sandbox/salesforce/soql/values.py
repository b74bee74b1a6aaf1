"""Stored values to JSON values."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from sandbox.salesforce.soql.types import FieldInfo

Formatter = Callable[[object], object]

NUMBER_TYPES = frozenset({"double", "currency", "percent"})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=65_536)
def format_datetime(milliseconds: int) -> str:
    """``2024-04-24T06:16:59.000+0000`` of UTC milliseconds."""
    moment = _EPOCH + timedelta(milliseconds=milliseconds)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}+0000"


def _datetime(value: object) -> object:
    return format_datetime(value) if isinstance(value, int) else value


def _boolean(value: object) -> object:
    # A checkbox is never null in the API.
    return bool(value)


def _number(value: object) -> object:
    return float(value) if isinstance(value, int) else value


def _integer(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


_FORMATTERS: dict[str, Formatter] = {"datetime": _datetime, "boolean": _boolean, "int": _integer}
_FORMATTERS.update(dict.fromkeys(NUMBER_TYPES, _number))


def find_formatter(field_type: str) -> Formatter | None:
    """How values of a type are written; None when they are written as stored."""
    return _FORMATTERS.get(field_type)


def format_value(info: FieldInfo, value: object) -> object:
    """The JSON value of a stored one: datetimes with milliseconds and ``+0000``, booleans, numbers, strings."""
    formatter = _FORMATTERS.get(info.type)
    return value if formatter is None else formatter(value)


def localize(field_type: str, zone: str) -> Formatter:
    """How ``FORMAT()`` writes values: US English, in the organisation's zone."""

    def write(value: object) -> object:
        if value is None:
            return None
        if field_type == "datetime" and isinstance(value, int):
            moment = (_EPOCH + timedelta(milliseconds=value)).astimezone(ZoneInfo(zone))
            half = "AM" if moment.hour < 12 else "PM"
            return f"{moment.month}/{moment.day}/{moment.year}, {moment.hour % 12 or 12}:{moment:%M} {half}"
        if field_type == "date" and isinstance(value, str):
            year, month, day = value.split("-")
            return f"{int(month)}/{int(day)}/{year}"
        if field_type == "boolean":
            return "true" if value else "false"
        if isinstance(value, int):
            return f"{value:,}"
        if isinstance(value, float):
            places = 2 if field_type == "currency" else 3
            written = f"{value:,.{places}f}"
            return written if field_type == "currency" else written.rstrip("0").rstrip(".")
        return value

    return write
