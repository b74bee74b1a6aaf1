"""SOQL text: values escaped where they land, names checked, queries for keyset reading."""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from core.records import Millis

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)*")
_ID = re.compile(r"[A-Za-z0-9]{15}([A-Za-z0-9]{3})?")
_ESCAPES = str.maketrans(
    {"\\": "\\\\", "'": "\\'", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}
)


def quote(value: str) -> str:
    """A string literal."""
    return f"'{value.translate(_ESCAPES)}'"


def quote_all(values: Iterable[str]) -> str:
    """The right side of IN."""
    return "(" + ",".join(quote(value) for value in values) + ")"


def is_id(value: str) -> bool:
    return _ID.fullmatch(value) is not None


def checked_name(name: str) -> str:
    """An object or field name, dotted or not; anything else is refused (it would be SOQL, not a name)."""
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"not a field name: {name!r}")
    return name


def stamp(at: Millis) -> str:
    """A datetime literal; Salesforce's stamps have whole seconds, so milliseconds appear only where they are not 0."""
    value = datetime.fromtimestamp(at / 1000, UTC)
    return value.strftime("%Y-%m-%dT%H:%M:%SZ") if at % 1000 == 0 else f"{value:%Y-%m-%dT%H:%M:%S}.{at % 1000:03d}Z"


def select(fields: Sequence[str], sobject: str, where: str = "", tail: str = "") -> str:
    text = f"SELECT {','.join(fields)} FROM {sobject}"
    return f"{text}{' WHERE ' + where if where else ''}{' ' + tail if tail else ''}"


def keyset(key: str, *, low: Millis | None, high: Millis | None, after: tuple[Millis, str] | None = None) -> str:
    """The WHERE of a window [low, high) in stamps, behind the row (stamp, id) if given."""
    parts = []
    if after is not None:
        at = stamp(after[0])
        parts.append(f"(({key} = {at} AND Id > {quote(after[1])}) OR {key} > {at})")
    elif low is not None:
        parts.append(f"{key} >= {stamp(low)}")
    if high is not None:
        parts.append(f"{key} < {stamp(high)}")
    return " AND ".join(parts)
