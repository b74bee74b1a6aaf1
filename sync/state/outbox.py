"""What we owe the CRMs. The intent commits with the score that caused it; the claim commits before the request.

States: `new` (to be sent) → `unknown` (claimed: it may have happened) → `done` | `new` (refused, later) | `dead` (never
will pass; shown, with its reason) | `cancelled` (no longer wanted). Field rows: one per record, the latest wins.
Tasks: one per key, for ever.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, func, select, update

from core.records import Millis, RecordRef, Value
from sync.state import schema as t
from sync.state.rows import digest, select_at, upsert

FIELDS = "fields"
TASK = "task"


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the outbox as claimed or shown."""

    outbox_id: int
    effect: str
    ref: RecordRef
    person_id: int
    key: str | None
    state: str
    version: int
    payload: Mapping[str, Any]
    attempts: int
    code: str | None = None
    message: str | None = None


def want_fields(
    connection: Connection, ref: RecordRef, person_id: int, payload: Mapping[str, Any], *, now: Millis
) -> bool:
    """Owe a record these values, replacing what it was owed before; whether anything is new.

    `payload`: {"values": {field: value}, "reason_key": str}.
    """
    where = (t.outbox.c.effect == FIELDS, *_at(ref))
    before = connection.execute(select(t.outbox).where(*where)).mappings().first()
    content = digest(payload["values"])
    if before is not None and before["digest"] == content and before["state"] in {"new", "unknown"}:
        return False
    row = {
        "person_id": person_id,
        "state": "new",
        "payload": dict(payload),
        "digest": content,
        "attempts": 0,
        "due_at": now,
        "code": None,
        "message": None,
    }
    if before is None:
        connection.execute(
            t.outbox.insert().values(
                effect=FIELDS, system=ref.system, kind=ref.kind, id=ref.id, version=1, created_at=now, **row
            )
        )
    else:
        connection.execute(
            update(t.outbox)
            .where(t.outbox.c.outbox_id == before["outbox_id"])
            .values(version=before["version"] + 1, **row)
        )
    return True


def want_task(
    connection: Connection, ref: RecordRef, person_id: int, key: str, payload: Mapping[str, Any], *, now: Millis
) -> bool:
    """Owe one task under `key`; False if that key was ever owed before."""
    if connection.execute(select(t.outbox.c.outbox_id).where(t.outbox.c.key == key)).first() is not None:
        return False
    connection.execute(
        t.outbox.insert().values(
            effect=TASK,
            system=ref.system,
            kind=ref.kind,
            id=ref.id,
            person_id=person_id,
            key=key,
            state="new",
            version=1,
            payload=dict(payload),
            digest=digest(payload),
            attempts=0,
            created_at=now,
            due_at=now,
        )
    )
    return True


def claim(connection: Connection, system: str, effect: str, limit: int, *, now: Millis) -> list[Entry]:
    """Take up to `limit` due rows by compare-and-set: each goes `new` → `unknown` before its request is sent."""
    due = (
        select(t.outbox)
        .where(
            t.outbox.c.system == system,
            t.outbox.c.effect == effect,
            t.outbox.c.state == "new",
            t.outbox.c.due_at <= now,
        )
        .order_by(t.outbox.c.outbox_id)
        .limit(limit)
    )
    if connection.dialect.name == "postgresql":
        due = due.with_for_update(skip_locked=True)
    taken = []
    for row in connection.execute(due).mappings().all():
        won = connection.execute(
            update(t.outbox)
            .where(
                t.outbox.c.outbox_id == row["outbox_id"],
                t.outbox.c.state == "new",
                t.outbox.c.version == row["version"],
            )
            .values(state="unknown", sent_at=now, attempts=row["attempts"] + 1)
        ).rowcount
        if won == 1:
            taken.append(_entry(row))
    return taken


def reclaim(connection: Connection, system: str, *, now: Millis) -> int:
    """Rows left `unknown` by a run that died: both effects are safe to repeat (absolute values; upsert by key)."""
    return connection.execute(
        update(t.outbox)
        .where(t.outbox.c.system == system, t.outbox.c.state == "unknown")
        .values(state="new", due_at=now)
    ).rowcount


def settle_done(connection: Connection, entries: Sequence[tuple[Entry, str | None]], *, now: Millis) -> None:
    """These arrived. A row that was owed something newer meanwhile stays `new`."""
    acknowledged = []
    for entry, crm_id in entries:
        connection.execute(
            update(t.outbox)
            .where(t.outbox.c.outbox_id == entry.outbox_id, t.outbox.c.version == entry.version)
            .values(state="done", done_at=now, crm_id=crm_id, code=None, message=None)
        )
        if entry.effect == FIELDS:
            acknowledged.append(
                {
                    "system": entry.ref.system,
                    "kind": entry.ref.kind,
                    "id": entry.ref.id,
                    "values": entry.payload["values"],
                    "digest": digest(entry.payload["values"]),
                    "reason_key": entry.payload["reason_key"],
                    "at": now,
                }
            )
    upsert(connection, t.acknowledged, acknowledged)


def settle_later(connection: Connection, entries: Iterable[Entry], *, due_at: Millis, code: str, message: str) -> None:
    """Refused for now, or outcome unknown and safe to repeat: due again at `due_at`."""
    for entry in entries:
        connection.execute(
            update(t.outbox)
            .where(t.outbox.c.outbox_id == entry.outbox_id, t.outbox.c.version == entry.version)
            .values(state="new", due_at=due_at, code=code[:64], message=message[:500])
        )


def settle_dead(connection: Connection, entry: Entry, *, state: str, code: str, message: str, now: Millis) -> None:
    """Never will pass (`dead`), or is no longer wanted (`cancelled`); kept with its reason."""
    connection.execute(
        update(t.outbox)
        .where(t.outbox.c.outbox_id == entry.outbox_id, t.outbox.c.version == entry.version)
        .values(state=state, done_at=now, code=code[:64], message=message[:500])
    )


def cancel_tasks(connection: Connection, person_id: int, *, reason: str, now: Millis) -> int:
    """Take back the tasks of a person that were not sent yet; how many."""
    where = (t.outbox.c.person_id == person_id, t.outbox.c.effect == TASK, t.outbox.c.state == "new")
    values = {"state": "cancelled", "done_at": now, "code": "cancelled", "message": reason}
    return connection.execute(update(t.outbox).where(*where).values(**values)).rowcount


def revive_tasks(connection: Connection, *, now: Millis) -> int:
    """Refused tasks are tried again: their cause, a validation rule say, may be gone. The key keeps them single."""
    where = (t.outbox.c.effect == TASK, t.outbox.c.state == "dead", t.outbox.c.code != "gone")
    return connection.execute(update(t.outbox).where(*where).values(state="new", due_at=now)).rowcount


def retarget(connection: Connection, entry: Entry, ref: RecordRef, *, now: Millis) -> None:
    """The record lives on elsewhere: the same task, under the same key, goes to the survivor."""
    connection.execute(
        update(t.outbox)
        .where(t.outbox.c.outbox_id == entry.outbox_id)
        .values(system=ref.system, kind=ref.kind, id=ref.id, state="new", due_at=now, version=entry.version + 1)
    )


def acknowledged(connection: Connection, refs: Iterable[RecordRef]) -> dict[RecordRef, Mapping[str, Any]]:
    """What each record last took from us: {"values", "digest", "reason_key", "at"}."""
    rows = select_at(connection, t.acknowledged, refs)
    return {RecordRef(row["system"], row["kind"], row["id"]): dict(row) for row in rows}


def owed(connection: Connection, refs: Iterable[RecordRef]) -> dict[RecordRef, Mapping[str, Value]]:
    """Values on their way to each record and not yet acknowledged."""
    out = t.outbox.c
    waiting = (out.effect == FIELDS) & out.state.in_(("new", "unknown"))
    rows = select_at(connection, t.outbox, refs, out.system, out.kind, out.id, out.payload, where=waiting)
    return {RecordRef(row["system"], row["kind"], row["id"]): row["payload"]["values"] for row in rows}


def summary(connection: Connection) -> dict[str, dict[str, int]]:
    """Rows by system and `effect state`, for `status`."""
    statement = select(t.outbox.c.system, t.outbox.c.effect, t.outbox.c.state, func.count()).group_by(
        t.outbox.c.system, t.outbox.c.effect, t.outbox.c.state
    )
    found: dict[str, dict[str, int]] = {}
    for system, effect, state, count in connection.execute(statement):
        found.setdefault(system, {})[f"{effect} {state}"] = count
    return found


def pending(connection: Connection, system: str, effect: str, *, now: Millis) -> int:
    where = (
        t.outbox.c.system == system,
        t.outbox.c.effect == effect,
        t.outbox.c.state == "new",
        t.outbox.c.due_at <= now,
    )
    return connection.execute(select(func.count()).select_from(t.outbox).where(*where)).scalar_one()


def dead(connection: Connection) -> list[Entry]:
    rows = connection.execute(select(t.outbox).where(t.outbox.c.state == "dead").order_by(t.outbox.c.outbox_id))
    return [_entry(row) for row in rows.mappings()]


def _at(ref: RecordRef) -> tuple[Any, ...]:
    return (t.outbox.c.system == ref.system, t.outbox.c.kind == ref.kind, t.outbox.c.id == ref.id)


def _entry(row: RowMapping) -> Entry:
    return Entry(
        outbox_id=row["outbox_id"],
        effect=row["effect"],
        ref=RecordRef(row["system"], row["kind"], row["id"]),
        person_id=row["person_id"],
        key=row["key"],
        state=row["state"],
        version=row["version"],
        payload=row["payload"],
        attempts=row["attempts"],
        code=row["code"],
        message=row["message"],
    )
