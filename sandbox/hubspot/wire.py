"""How values and rows look on the wire: times, ids, the record document."""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from sandbox.hubspot.object_types import ObjectType
from sandbox.hubspot.store import Row

_WHOLE = re.compile(r"[0-9]{1,18}")
_EPOCH_DAYS = datetime(1970, 1, 1, tzinfo=UTC).toordinal()
_STAMP = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?\s*(Z|[+-]\d\d:?\d\d)?)?", re.IGNORECASE
)


def stamp(ms: int) -> str:
    """`YYYY-MM-DDTHH:MM:SS.mmmZ`."""
    seconds, rest = divmod(ms, 1000)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{rest:03d}Z"


def parse_ms(text: str) -> int:
    """Milliseconds from an epoch-millisecond string or ISO 8601; no offset means UTC. ValueError if neither."""
    text = text.strip()
    if re.fullmatch(r"-?\d+", text) and not re.fullmatch(r"\d{4}", text):
        return int(text)
    found = _STAMP.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no time")
    year, month, day, hour, minute, second, fraction, offset = found.groups()
    base = datetime(int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0), tzinfo=UTC)
    ms = (base.toordinal() - _EPOCH_DAYS) * 86_400_000
    ms += (base.hour * 3600 + base.minute * 60 + base.second) * 1000 + int((fraction or "0").ljust(3, "0")[:3])
    if offset and offset.upper() != "Z":
        sign = -1 if offset[0] == "+" else 1
        ms += sign * (int(offset[1:3]) * 60 + int(offset[-2:])) * 60_000
    return ms


def value_of(kind: ObjectType, row: Row, name: str) -> str | None:
    """A property's value as shown: system ones come from the row's columns."""
    if name == "hs_object_id":
        return str(row.id)
    if name == kind.modified:
        return stamp(row.updated_ms)
    if name == kind.created:
        return row.properties.get(name) or stamp(row.created_ms)
    return row.properties.get(name)


def project(kind: ObjectType, row: Row, names: Sequence[str]) -> dict[str, str | None]:
    return {name: value_of(kind, row, name) for name in names}


def record(kind: ObjectType, row: Row, names: Sequence[str]) -> dict[str, Any]:
    """The record document with the properties `names` (defined ones, sorted)."""
    document: dict[str, Any] = {
        "id": str(row.id),
        "properties": project(kind, row, names),
        "createdAt": stamp(row.created_ms),
        "updatedAt": stamp(row.updated_ms),
        "archived": row.archived_ms is not None,
    }
    if row.archived_ms is not None:
        document["archivedAt"] = stamp(row.archived_ms)
    return document


def whole(value: Any) -> int | None:
    """A whole number from 0 up that a 64-bit column takes, from text or number; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    text = str(value)
    return int(text) if _WHOLE.fullmatch(text) else None


def split_names(values: Iterable[str]) -> list[str]:
    """Property names from repeated and comma-separated query values, each once."""
    names = [name.strip() for value in values for name in value.split(",")]
    return list(dict.fromkeys(name for name in names if name))
