"""What the audit log says of writes to a CRM: one row before a request leaves, one when its outcome is known.

The first row commits with the claim. So nothing that we changed can be missing from the log, whatever dies when: a row
without an outcome is a write that may have happened. Values of our fields are shown, texts (reasons, next action, what a task
says) only as digests. Fields that are sent again as the CRM last took them are counted, not listed.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from connectors import OUTPUT_FIELDS, WriteResult
from core.errors import MikomiError
from sync import audit
from sync.audit import Note
from sync.state import outbox
from sync.state.outbox import FIELDS, Entry

WRITE_FIELDS = "write-fields"
CREATE_TASK = "create-task"
CONFIRMED = "confirmed"
REFUSED = "refused"
UNKNOWN = "unknown"
POSTPONED = "postponed"
FOUND = "found"

OUTCOMES = (CONFIRMED, REFUSED, UNKNOWN, POSTPONED, FOUND)
"""What can become of a write."""

_READABLE = {name for name, field in OUTPUT_FIELDS.items() if field.type not in {"text", "long_text"}} | {"rulebook"}
_CODE = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_TASK_READABLE = ("owner_id", "due", "priority")


def note_claimed(connection: Connection, entries: Sequence[Entry]) -> None:
    """These are about to be sent: old values, new values, why. In the transaction of the claim, at its end."""
    if not entries:
        return
    base = outbox.acknowledged(connection, [entry.ref for entry in entries if entry.effect == FIELDS])
    audit.note_many(connection, [_claimed(entry, base.get(entry.ref)) for entry in entries])


def note_outcomes(connection: Connection, results: Sequence[tuple[Entry, WriteResult]]) -> None:
    """What became of them. In the transaction that settles them, at its end."""
    if results:
        audit.note_many(connection, [_outcome(entry, result) for entry, result in results])


def note_failed(connection: Connection, entries: Sequence[Entry], error: MikomiError) -> None:
    """A whole call failed: these were not sent, or nobody knows."""
    cause = type(error).__name__
    action = UNKNOWN if cause == "OutcomeUnknown" else POSTPONED
    audit.note_many(
        connection, [Note(action, str(entry.ref), cause, new={"write": _write(entry)}) for entry in entries]
    )


def note_found(connection: Connection, entry: Entry, crm_id: str | None) -> None:
    """A write whose outcome was unknown was looked up: it had happened, under this id."""
    new = {"write": _write(entry), "crm_id": crm_id}
    audit.note(connection, FOUND, str(entry.ref), new=new, why="looked up in the CRM by its key")


def _write(entry: Entry) -> str:
    """Names one attempt at one write: what both its rows share."""
    return f"{entry.outbox_id}.{entry.version}.{entry.attempts}"


def _claimed(entry: Entry, base: Mapping[str, Any] | None) -> Note:
    if entry.effect != FIELDS:
        told = {name: entry.payload.get(name) for name in _TASK_READABLE}
        new = {"write": _write(entry), "key": entry.key, "says": audit.digest(entry.payload), **told}
        return Note(CREATE_TASK, str(entry.ref), "hand-over", new=new)
    values: Mapping[str, Any] = entry.payload["values"]
    before: Mapping[str, Any] = {} if base is None else base["values"]
    changed = [name for name, value in values.items() if base is None or before.get(name) != value]
    return Note(
        WRITE_FIELDS,
        str(entry.ref),
        _reason(values, before, changed, again=entry.attempts > 0),
        old={name: _shown(name, before[name]) for name in changed if name in before} or None,
        new={
            "write": _write(entry),
            **({"unchanged": len(values) - len(changed)} if len(changed) < len(values) else {}),
            **{name: _shown(name, values[name]) for name in changed},
        },
    )


def _reason(values: Mapping[str, Any], before: Mapping[str, Any], changed: Sequence[str], *, again: bool) -> str:
    """Why fields are written: the first of the changes that count."""
    if not before:
        why = "first write" if any(value is not None for value in values.values()) else "emptied"
    elif not changed:
        why = "written again: the CRM may show something else"
    else:
        why = next(
            (
                f"{name} {before.get(name)} → {values[name]}"
                for name in ("band", "handover_state", "score")
                if name in changed
            ),
            ", ".join(sorted(changed)),
        )
    return f"{why} (another attempt)" if again else why


def _shown(name: str, value: Any) -> Any:
    return value if value is None or name in _READABLE else audit.digest(value)


def _outcome(entry: Entry, result: WriteResult) -> Note:
    new: dict[str, Any] = {"write": _write(entry)}
    if result.status == "ok":
        if entry.effect != FIELDS:
            new["crm_id"] = result.crm_id
        return Note(CONFIRMED, str(entry.ref), "the CRM took it", new=new)
    action = {"rejected": REFUSED, "unknown": UNKNOWN}.get(result.status, POSTPONED)
    # The vendor's code, never its sentence: that may quote the values that it refuses.
    code = str(getattr(result.error, "code", ""))
    why = code if _CODE.fullmatch(code) else type(result.error).__name__ if result.error else result.status
    return Note(action, str(entry.ref), why, new=new)
