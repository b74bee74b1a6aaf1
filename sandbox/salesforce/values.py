"""Between JSON and what the database holds: datetimes as UTC milliseconds, booleans as 0 and 1, the rest as it is."""

import math
import re
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sandbox.salesforce.catalog import Field
from sandbox.salesforce.errors import RowError, malformed_json
from sandbox.salesforce.ids import long_id

_DATETIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d(?:\.\d+)?)?)\s*(Z|[+-]\d\d:?\d\d)?", re.IGNORECASE | re.ASCII
)
_EMAIL = re.compile(r"[^@\s,;<>()\[\]\\\"]+@[^@\s,;<>()\[\]\\\"]+\.[^@\s.,;<>()\[\]\\\"]+")
_TEXT = frozenset({"string", "textarea", "email", "phone", "url", "picklist", "combobox", "multipicklist", "anyType"})


def to_milliseconds(text: str) -> int:
    """An ISO 8601 date and time with or without offset (none means UTC); raises ValueError."""
    if (found := _DATETIME.fullmatch(text.strip())) is None:
        raise ValueError(f"no date and time: {text!r}")
    day, clock, offset = found.groups()
    offset = (offset or "Z").upper()
    if offset != "Z" and ":" not in offset:
        offset = offset[:3] + ":" + offset[3:]
    moment = datetime.fromisoformat(f"{day}T{clock[:15]}{'+00:00' if offset == 'Z' else offset}")
    return round(moment.timestamp()) * 1000 if "." not in clock else int(moment.timestamp()) * 1000


def to_text(milliseconds: int) -> str:
    """The API's form, second precision: `2024-04-24T06:16:59.000+0000`."""
    return datetime.fromtimestamp(milliseconds // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")


def to_day(milliseconds: int, time_zone: str) -> str:
    """The date of a moment in an IANA time zone."""
    return datetime.fromtimestamp(milliseconds // 1000, ZoneInfo(time_zone)).date().isoformat()


def stored(one: Field, value: Any) -> object:
    """A JSON value in stored form, refused as the vendor refuses it: type, length, range, picklist, address of an id.

    Raises ApiError (JSON_PARSER_ERROR for a wrong type) or RowError.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    match one.type:
        case "boolean":
            return _boolean(value)
        case "int" | "double" | "currency" | "percent":
            return _number(one, value)
        case "datetime":
            return _datetime(value)
        case "date":
            return _date(value)
        case "id" | "reference":
            return _reference(one, value)
        case kind if kind in _TEXT:
            return _text(one, value)
    raise RowError("INVALID_FIELD_FOR_INSERT_UPDATE", f"Unable to create/update fields: {one.name}.", (one.name,))


def _mismatch(kind: str, value: Any) -> Exception:
    token = {bool: f"VALUE_{str(value).upper()}", int: "VALUE_NUMBER_INT", float: "VALUE_NUMBER_FLOAT"}.get(
        type(value), "VALUE_STRING" if isinstance(value, str) else "START_OBJECT"
    )
    shown = value if isinstance(value, str | int | float) else "{"
    return malformed_json(
        f"Cannot deserialize instance of {kind} from {token} value {shown} "
        "or request may be missing a required field at [line:1, column:2]"
    )


def _boolean(value: Any) -> int:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return int(value.lower() == "true")
    raise _mismatch("boolean", value)


def _number(one: Field, value: Any) -> int | float:
    kind = "int" if one.type == "int" else "currency" if one.type == "currency" else "double"
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _mismatch(kind, value)
    try:
        number = float(value)
    except ValueError:
        raise _mismatch(kind, value) from None
    if not math.isfinite(number):
        raise _mismatch(kind, value)
    precision, scale = one.digits
    if one.type == "int":
        if number != int(number):
            raise _mismatch(kind, value)
        precision, scale = precision or 9, 0
    rounded = _round_half_up(number, scale)
    if precision and abs(rounded) >= 10 ** (precision - scale):
        message = f"{one.label}: value outside of valid range on numeric field: {value}"
        raise RowError("NUMBER_OUTSIDE_VALID_RANGE", message, (one.name,))
    return int(rounded) if one.type == "int" else rounded


def _round_half_up(number: float, scale: int) -> float:
    factor = 10**scale
    return math.copysign(math.floor(abs(number) * factor + 0.5) / factor, number)


def _datetime(value: Any) -> int:
    if isinstance(value, str):
        try:
            if re.fullmatch(r"\d{4}-\d\d-\d\d", value.strip()):
                value = value.strip() + "T00:00:00Z"
            return to_milliseconds(value)
        except ValueError:
            raise _mismatch("datetime", value) from None
    raise _mismatch("datetime", value)


def _date(value: Any) -> str:
    if isinstance(value, str):
        try:
            return date.fromisoformat(value.strip()[:10]).isoformat()
        except ValueError:
            raise _mismatch("date", value) from None
    raise _mismatch("date", value)


def _reference(one: Field, value: Any) -> str:
    record_id = long_id(value)
    if record_id is None:
        raise RowError("MALFORMED_ID", f"{one.label}: id value of incorrect type: {value}", (one.name,))
    return record_id


def _text(one: Field, value: Any) -> str:
    if not isinstance(value, str):
        raise _mismatch("string", value)
    text = value.strip() if one.type != "textarea" else value.rstrip()
    if one.length and len(text) > one.length:
        message = f"{one.label}: data value too large: {text} (max length={one.length})"
        raise RowError("STRING_TOO_LONG", message, (one.name,))
    if one.type == "email" and not _EMAIL.fullmatch(text):
        raise RowError("INVALID_EMAIL_ADDRESS", f"{one.label}: invalid email address: {text}", (one.name,))
    if one.has("r") and one.choices:
        return _restricted(one, text)
    return text


def _restricted(one: Field, text: str) -> str:
    known = {choice.value.lower(): choice.value for choice in one.choices}
    parts = [part.strip() for part in text.split(";")] if one.type == "multipicklist" else [text]
    for part in parts:
        if part.lower() not in known:
            message = f"{one.label}: bad value for restricted picklist field: {part}"
            raise RowError("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", message, (one.name,))
    return ";".join(known[part.lower()] for part in parts)


def loaded(kind: str, value: Any) -> object:
    """A trusted value of a bulk load in stored form: no rule runs, datetimes may be ISO text or milliseconds."""
    if value is None:
        return None
    if kind == "datetime":
        return to_milliseconds(value) if isinstance(value, str) else int(value) // 1000 * 1000
    if kind == "boolean":
        return int(bool(value))
    if kind == "date" and isinstance(value, date):
        return value.isoformat()
    return value
