"""Dead letters: writes that a CRM refused for good, by cause; and how they live again or are given up.

A cause is what the CRM said without what differs from row to row. Its letters come from that alone: they stay the same while
other causes come and go, so that nobody replays or drops what they did not mean.
"""

import hashlib
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, case, func, select, update

from core.records import Millis
from sync.state import outbox
from sync.state import schema as t
from sync.state.outbox import CANCELLED, INTERRUPTED, TASK, Entry, to_entry
from sync.state.rows import chunks

GONE = outbox.GONE
"""The code of what ended because its record is gone: it is not tried again day after day."""

_LETTERS = "bcdfghjkmnpqrstvwxyz"  # no vowels, no l: never a word, never `all`
_TRACES = (
    (re.compile(r"\s*\(correlation id [^)]*\)"), ""),
    (re.compile(r"\bmk1-[a-z0-9-]+"), "…"),
    (re.compile(r"\b(?=[A-Za-z]*\d)[A-Za-z0-9]{15}(?:[A-Za-z0-9]{3})?\b"), "…"),  # a Salesforce id
    (re.compile(r"[\w.+-]+@[\w.-]+"), "…"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f-]{27}\b"), "…"),
    (re.compile(r"\d{5,}"), "…"),
)


@dataclass(frozen=True, slots=True)
class Cause:
    """Refusals that are one. `letters` name it on the command line; `ids` are outbox numbers, oldest first."""

    letters: str
    system: str
    effect: str
    code: str
    message: str
    ids: tuple[int, ...]
    example: str
    since: Millis | None


def normalise(message: str) -> str:
    """A CRM's message without ids, addresses and numbers, so that equal causes read equal. Rule texts stay as they are."""
    for pattern, instead in _TRACES:
        message = pattern.sub(instead, message)
    return " ".join(message.split())


def list_dead(connection: Connection, *, system: str | None = None) -> list[Entry]:
    """Every dead row, oldest first."""
    where = [t.outbox.c.state == "dead"]
    if system is not None:
        where.append(t.outbox.c.system == system)
    rows = connection.execute(select(t.outbox).where(*where).order_by(t.outbox.c.outbox_id))
    return [to_entry(row) for row in rows.mappings()]


def count_dead(connection: Connection, system: str) -> int:
    where = (t.outbox.c.state == "dead", t.outbox.c.system == system)
    return int(connection.execute(select(func.count()).select_from(t.outbox).where(*where)).scalar_one())


def group_by_cause(entries: Iterable[Entry]) -> list[Cause]:
    """Causes, those with most rows first."""
    groups: dict[tuple[str, str, str, str], list[Entry]] = {}
    for entry in entries:
        key = (entry.ref.system, entry.effect, entry.code or "", normalise(entry.message or ""))
        groups.setdefault(key, []).append(entry)
    names = _name_all(groups)
    causes = [
        Cause(
            names[key],
            *key,
            tuple(entry.outbox_id for entry in found),
            str(found[-1].ref),
            min((entry.done_at for entry in found if entry.done_at is not None), default=None),
        )
        for key, found in groups.items()
    ]
    return sorted(causes, key=lambda cause: (-len(cause.ids), cause.ids[0]))


def _name_all(keys: Collection[tuple[str, str, str, str]]) -> dict[tuple[str, str, str, str], str]:
    """Two letters a cause, more only where two causes would share them."""
    length = 2
    while True:
        names = {key: _letters(key, length) for key in keys}
        if len(set(names.values())) == len(names) or length == 12:
            return names
        length += 1


def _letters(key: tuple[str, str, str, str], length: int) -> str:
    number = int.from_bytes(hashlib.sha256("\0".join(key).encode("utf-8", "replace")).digest(), "big")
    found = ""
    for _ in range(length):
        number, place = divmod(number, len(_LETTERS))
        found += _LETTERS[place]
    return found


def revive(connection: Connection, entries: Sequence[Entry], *, now: Millis) -> int:
    """Owe these again; how many."""
    return sum(
        _revive(connection, [t.outbox.c.outbox_id.in_(part)], now) for part in chunks(e.outbox_id for e in entries)
    )


def revive_all(connection: Connection, *, now: Millis, system: str | None = None) -> int:
    """Owe again whatever may pass now: a rule, a field or a right may have changed. Records that are gone stay gone."""
    where = [func.coalesce(t.outbox.c.code, "") != GONE]
    return _revive(connection, where if system is None else [*where, t.outbox.c.system == system], now)


def _revive(connection: Connection, chosen: Sequence[ColumnElement[bool]], now: Millis) -> int:
    """A task that may have been made is looked for first. Their people are planned anew, so that what goes out is what is
    true now.
    """
    box = t.outbox.c
    where = [*chosen, box.state == "dead", box.digest != ""]  # of an erased person there is nothing left to send
    # What is owed before whom it is owed to, as planning takes them: two that lock in different orders stop each other.
    people = set(connection.execute(select(box.person_id).where(*where).with_for_update()).scalars())
    said = {"code": INTERRUPTED, "message": "refused after an earlier attempt whose answer was lost"}
    doubtful = update(t.outbox).where(*where, box.effect == TASK, box.hold_until.is_not(None))
    count = connection.execute(doubtful.values(state="unknown", **said)).rowcount
    due = case((box.hold_until > now, box.hold_until), else_=now)
    count += connection.execute(update(t.outbox).where(*where).values(state="new", due_at=due, attempts=0)).rowcount
    for part in chunks(people):
        connection.execute(update(t.person).where(t.person.c.person_id.in_(part)).values(dirty=True))
    return count


def drop(connection: Connection, entries: Sequence[Entry], *, reason: str, now: Millis) -> int:
    """Give these up; how many. They are kept as cancelled: a task's key for ever, score fields until their content changes."""
    count = 0
    for part in chunks(entry.outbox_id for entry in entries):
        where = (t.outbox.c.outbox_id.in_(part), t.outbox.c.state == "dead")
        values = {"state": "cancelled", "done_at": now, "code": CANCELLED, "message": reason[:500]}
        count += connection.execute(update(t.outbox).where(*where).values(**values)).rowcount
    return count
