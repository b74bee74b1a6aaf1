"""What we owe the CRMs. The intent commits with the score that caused it; the claim commits before the request.

States: `new` (to be sent) → `unknown` (claimed: it may have happened) → `done` | `new` (refused, later) | `dead` (never
will pass; shown, with its reason) | `cancelled` (no longer wanted). Field rows: one per record, the latest wins.
Tasks: one per key, for ever; a task that is `new` was certainly not made, one that may have been stays `unknown` until it was
looked for.

`hold_until`: until then a request whose answer never came may still be carried out. Of field rows the same values may go out
again at once, newer ones wait for it; of tasks only a unique key allows another attempt before.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, case, func, literal_column, or_, select, update

from core.errors import StateError
from core.records import DAY_MS, Millis, RecordRef, Value
from sync.state import schema as t
from sync.state.episodes import withdraw_offers
from sync.state.kept import get_kept_in
from sync.state.mirror.people import expect_shown
from sync.state.rows import chunks, digest, select_at, upsert

FIELDS = "fields"
TASK = "task"
VOLATILE = frozenset({"scored_at", "score_version"})
"""Fields that are written only together with others: alone they are no change."""

CANCELLED, INTERRUPTED = "cancelled", "interrupted"
GONE = "gone"
"""The code of what ended because its record is gone: no day makes it pass, only the record's return."""

RESTORED = "restored"
"""The kept fact that a backup took this state's place; its `known` are the CRMs whose tasks were compared with it since."""

_OPEN = ("new", "unknown")

LONGEST_WAIT_MS = 3_600_000
"""How long a row that was refused for now waits at most."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the outbox as it was before it was claimed, or as it is shown."""

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
    created_at: Millis = 0
    sent_at: Millis | None = None
    hold_until: Millis | None = None
    done_at: Millis | None = None


def want_fields(
    connection: Connection, wanted: Mapping[RecordRef, tuple[int, Mapping[str, Any]]], *, now: Millis
) -> list[RecordRef]:
    """Owe records these values, replacing what they were owed before; those to which anything is new.

    They wait while an earlier request for the record may still be carried out: it must not overtake them. Values that the
    CRM refused for good, or that somebody gave up, are owed again when they differ, not each time that somebody looks.

    Args:
        wanted: by record: its person, and {"values": {field: value}, "reason_key": str}.

    """
    rows = select_at(connection, t.outbox, wanted, where=_IS_FIELDS)
    known = {RecordRef(row["system"], row["kind"], row["id"]): row for row in rows}
    fresh, changed, owed = [], [], []
    for ref, (person_id, payload) in wanted.items():
        before, content = known.get(ref), digest(payload["values"])
        if before is not None and not _is_news(before, content, payload["values"]):
            continue
        held = None if before is None else before["hold_until"]
        row = {
            "person_id": person_id,
            "state": "new",
            "payload": dict(payload),
            "digest": content,
            "attempts": 0,
            "due_at": max(now, held or now),
            "code": None,
            "message": None,
        }
        if before is None:
            place = {"effect": FIELDS, "system": ref.system, "kind": ref.kind, "id": ref.id}
            fresh.append(place | {"version": 1, "created_at": now} | row)
        else:
            changed.append({"b_id": before["outbox_id"], "version": before["version"] + 1} | row)
        owed.append(ref)
    if fresh:
        connection.execute(_NEW, fresh)
    if changed:
        connection.execute(_REPLACED, changed)
    return owed


def _is_news(before: RowMapping, content: str, values: Mapping[str, Any]) -> bool:
    if before["digest"] == content and before["state"] in _OPEN:
        return False
    given_up = before["state"] == "dead" or (before["state"], before["code"]) == ("cancelled", CANCELLED)
    return not given_up or _lasting(before["payload"].get("values", {})) != _lasting(values)


_IS_FIELDS = t.outbox.c.effect == literal_column(f"'{FIELDS}'")  # spelt out, so that their own index is used
_NEW = t.outbox.insert()
_REPLACED = update(t.outbox).where(t.outbox.c.outbox_id == bindparam("b_id"))


def want_task(
    connection: Connection, ref: RecordRef, person_id: int, key: str, payload: Mapping[str, Any], *, now: Millis
) -> bool:
    """Owe one task under `key`; False if that key was ever owed before.

    One that ended because its record was deleted is owed again (the record came out of the bin, or the person lives on in
    another); whether it was made after all is looked for first.
    """
    before = connection.execute(select(t.outbox).where(t.outbox.c.key == key)).mappings().first()
    if before is not None:
        this = t.outbox.c.outbox_id == before["outbox_id"]
        if before["state"] not in {"cancelled", "dead"} or before["code"] != GONE or before["crm_id"] is not None:
            connection.execute(update(t.outbox).where(this).values(person_id=person_id))
            return False
        again = {
            "system": ref.system,
            "kind": ref.kind,
            "id": ref.id,
            "state": "unknown",
            "code": INTERRUPTED,
            "message": "taken back once",
            "person_id": person_id,
            "payload": dict(payload),
            "digest": digest(payload),
            "version": before["version"] + 1,
            "due_at": now,
            "done_at": None,
        }
        connection.execute(update(t.outbox).where(this).values(**again))
        return True
    connection.execute(
        t.outbox.insert().values(
            effect=TASK,
            system=ref.system,
            kind=ref.kind,
            id=ref.id,
            person_id=person_id,
            key=key,
            state="unknown" if _is_doubted(connection, ref.system) else "new",
            version=1,
            payload=dict(payload),
            digest=digest(payload),
            attempts=0,
            created_at=now,
            due_at=now,
        )
    )
    return True


def _is_doubted(connection: Connection, system: str) -> bool:
    """Whether the CRM may have a task of this key that the state has forgotten: then it is looked for first."""
    kept = get_kept_in(connection, RESTORED)
    return kept is not None and system not in kept["known"]


def claim(
    connection: Connection,
    system: str,
    effect: str,
    limit: int,
    *,
    now: Millis,
    due: Millis | None = None,
    hold: Millis = 0,
) -> list[Entry]:
    """Take up to `limit` due rows by compare-and-set: each goes `new` → `unknown` before its request is sent.

    Args:
        due: rows due until then; `now` if not given.
        hold: milliseconds for which a request that is not answered may still be carried out.

    Raises:
        StateError: a task would say something else than it did when it was owed: that must never happen.

    """
    box = t.outbox.c
    rows = (
        select(t.outbox)
        .where(box.system == system, box.effect == effect, box.state == "new", box.due_at <= (due or now))
        .order_by(box.due_at)  # as their index has them: the first ones cost no more where many wait
        .limit(limit)
    )
    if connection.dialect.name == "postgresql":
        rows = rows.with_for_update(skip_locked=True)
    found = sorted(connection.execute(rows).mappings(), key=lambda row: row["outbox_id"])
    for row in found:
        if effect == TASK and digest(row["payload"]) != row["digest"]:
            raise StateError(
                f"task {row['outbox_id']} was changed after it was owed; nothing was sent",
                hint=f"mikomi dead show {row['outbox_id']}; this is a fault of Mikomi or of its database: please report it",
            )
    held = now + hold
    taking = (
        update(t.outbox)
        .where(func.coalesce(box.state, "") == "new")  # no index: SQLite would go through all that is new
        .values(
            state="unknown",
            sent_at=now,
            attempts=box.attempts + 1,
            hold_until=case((box.hold_until > held, box.hold_until), else_=held),
            code=None,
            message=None,
        )
        .returning(box.outbox_id, box.version)
    )
    won: set[tuple[int, int]] = set()
    for part in chunks(row["outbox_id"] for row in found):
        won |= {(id, version) for id, version in connection.execute(taking.where(box.outbox_id.in_(part)))}
    return [to_entry(row) for row in found if (row["outbox_id"], row["version"]) in won]


def reclaim(
    connection: Connection, system: str | None = None, *, now: Millis, hold: Millis = 0, quarantine: Millis = 0
) -> int:
    """Rows that a run which died was sending. How many.

    The requests were sent before now, so what may come of them is bounded from now on. Field values go out again at once;
    newer ones wait for `hold`. Tasks stay `unknown` for `quarantine`: whoever delivers looks for them first.
    """
    box = t.outbox.c
    where = [box.state == "unknown", box.code.is_(None)]
    if system is not None:
        where.append(box.system == system)
    interrupted = {"code": INTERRUPTED, "message": "the run ended before the answer came"}
    fields = update(t.outbox).where(*where, box.effect == FIELDS)
    again = {"state": "new", "due_at": now, "hold_until": now + hold}
    found = connection.execute(fields.values(**again, **interrupted)).rowcount
    tasks = update(t.outbox).where(*where, box.effect == TASK)
    return found + connection.execute(tasks.values(hold_until=now + quarantine, **interrupted)).rowcount


def shorten_waits(connection: Connection, *, now: Millis, longest: Millis) -> None:
    """Let what would wait for more than a day wait for `longest`: a clock that stood ahead had put it off.

    What waits for less is left alone: a clock that jumps back and forth must not shorten the time of a lost request.
    """
    box = t.outbox.c
    for column in (box.due_at, box.hold_until):
        ahead = update(t.outbox).where(box.state.in_(_OPEN), column > now + DAY_MS)
        connection.execute(ahead.values({column: now + longest}))


def unresolved(connection: Connection, system: str) -> list[Entry]:
    """Tasks that may have been made: to be looked for in the CRM."""
    box = t.outbox.c
    where = (box.system == system, box.effect == TASK, box.state == "unknown", box.code.is_not(None))
    return [
        to_entry(row) for row in connection.execute(select(t.outbox).where(*where).order_by(box.outbox_id)).mappings()
    ]


def release(connection: Connection, entry: Entry, *, now: Millis) -> None:
    """The task was certainly not made: to be sent again, or cancelled where nobody wants it any more."""
    values: dict[str, Any] = {"state": "new", "due_at": now, "hold_until": None}
    if entry.code == CANCELLED:
        values = {"state": "cancelled", "done_at": now}
    _settle(connection, [(entry, values)], among="unknown")


def settle_done(
    connection: Connection,
    entries: Sequence[tuple[Entry, str | None]],
    *,
    now: Millis,
    hold_until: Millis | None = None,
) -> None:
    """These arrived. A row that was owed something newer meanwhile stays `new`.

    `hold_until`: where an earlier attempt at the same got no answer: until when it may still be carried out.
    """
    acknowledged, settled = [], []
    for entry, crm_id in entries:
        hold = _later(entry.hold_until, hold_until) if entry.effect == FIELDS else None
        done = {"state": "done", "done_at": now, "crm_id": crm_id, "hold_until": hold, "code": None, "message": None}
        settled.append((entry, done))
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
    _settle(connection, settled)
    upsert(connection, t.acknowledged, acknowledged)
    expect_shown(connection, {entry.ref: entry.payload["values"] for entry, _ in entries if entry.effect == FIELDS})


def settle_later(
    connection: Connection,
    entries: Iterable[Entry],
    *,
    due_at: Millis,
    code: str,
    message: str,
    hold_until: Millis | None = None,
) -> None:
    """Refused for now: due again at `due_at`. Field values whose outcome is unknown too, with their `hold_until`."""
    later = {"state": "new", "due_at": due_at} | _why(code, message)
    _settle(connection, [(entry, later | {"hold_until": _later(entry.hold_until, hold_until)}) for entry in entries])


def settle_unknown(
    connection: Connection, entries: Iterable[Entry], *, hold_until: Millis, code: str, message: str
) -> None:
    """Tasks that may have been made. Until `hold_until` that they are not found says nothing."""
    doubt = {"hold_until": hold_until} | _why(_said(code, 64) or INTERRUPTED, message)
    _settle(connection, [(entry, doubt) for entry in entries])


def settle_dead(
    connection: Connection,
    entry: Entry,
    *,
    state: str,
    code: str,
    message: str,
    now: Millis,
    hold_until: Millis | None = None,
) -> None:
    """Never will pass (`dead`), or is no longer wanted (`cancelled`); kept with its reason."""
    ended = {"state": state, "done_at": now, "hold_until": _later(entry.hold_until, hold_until)}
    _settle(connection, [(entry, ended | _why(code, message))])


def cancel_tasks(connection: Connection, person_id: int, *, reason: str, now: Millis) -> int:
    """Take back the tasks of a person that were not sent yet; how many.

    One that may have been made is left to be looked for, and is not made if it was not. What is gone is owed to nobody.
    """
    box = t.outbox.c
    own = (box.person_id == person_id, box.effect == TASK)
    dead = (box.state == "dead") & (func.coalesce(box.code, "") != GONE)
    doubtful = (box.state == "unknown") | (dead & box.hold_until.is_not(None))
    said = {"code": CANCELLED, "message": reason}
    connection.execute(update(t.outbox).where(*own, doubtful).values(state="unknown", done_at=None, **said))
    unsent = (box.state == "new") | dead
    taken_back = update(t.outbox).where(*own, unsent).values(state="cancelled", done_at=now, **said)
    return connection.execute(taken_back).rowcount


def cancel_gone(connection: Connection, ref: RecordRef, *, now: Millis) -> None:
    """The record was deleted: nothing is owed to it any more, and whoever lives on in another is offered there."""
    unsent = (*_at(ref), t.outbox.c.state == "new")
    withdraw_offers(connection, *unsent)
    said = {"code": GONE, "message": "the record was deleted"}
    connection.execute(update(t.outbox).where(*unsent).values(state="cancelled", done_at=now, **said))


def take_back(connection: Connection, entry: Entry, *, reason: str, now: Millis) -> bool:
    """Take back one task, if it was certainly not made; whether it was."""
    box = t.outbox.c
    where = (box.outbox_id == entry.outbox_id, box.state.in_(("new", "dead")), box.hold_until.is_(None))
    values = {"state": "cancelled", "done_at": now, "code": CANCELLED, "message": reason}
    return connection.execute(update(t.outbox).where(*where).values(**values)).rowcount == 1


def tasks_of(connection: Connection, people: Iterable[int]) -> list[Entry]:
    """Every task that these people were ever owed."""
    box = t.outbox.c
    found: list[Entry] = []
    for part in chunks(people):
        rows = connection.execute(select(t.outbox).where(box.effect == TASK, box.person_id.in_(part)))
        found += [to_entry(row) for row in rows.mappings()]
    return found


def retarget(connection: Connection, entry: Entry, ref: RecordRef, *, now: Millis) -> None:
    """The record lives on elsewhere: the same task, under the same key, goes to the survivor. Its version counts this."""
    connection.execute(
        update(t.outbox)
        .where(t.outbox.c.outbox_id == entry.outbox_id)
        .values(
            system=ref.system,
            kind=ref.kind,
            id=ref.id,
            state="new",
            due_at=now,
            hold_until=None,
            version=entry.version + 1,
        )
    )


def withhold(connection: Connection, entries: Sequence[Entry], names: Collection[str]) -> list[Entry]:
    """Field rows as they may be sent now: whose task is not in the CRM yet must not be shown as handed over.

    A task whose record is gone is not waited for once its person was planned without it: then nothing says any more that
    they are handed over.
    A number that a record shows counts as proof of a task, also for whoever has lost this state.
    """
    people = {entry.person_id for entry in entries}
    box = t.outbox.c
    waiting: set[int] = set()
    for part in chunks(people):
        unplanned = select(t.person.c.person_id).where(t.person.c.person_id == box.person_id, t.person.c.dirty).exists()
        gone = (func.coalesce(box.code, "") == GONE) & box.state.in_(("dead", "cancelled"))
        coming = or_(box.state.in_((*_OPEN, "dead")) & ~gone, gone & unplanned)
        open_tasks = (box.effect == TASK, coming, box.person_id.in_(part))
        waiting |= set(connection.execute(select(box.person_id).where(*open_tasks)).scalars())
    found = []
    for entry in entries:
        if entry.person_id in waiting:
            values = {name: value for name, value in entry.payload["values"].items() if name not in names}
            entry = replace(entry, payload={**entry.payload, "values": values})  # noqa: PLW2901
        found.append(entry)
    return found


def unveil(connection: Connection, people: Collection[int], name: str) -> set[int]:
    """Of these people, those whose records took values of ours without `name`, and are owed nothing that has it."""
    found: set[int] = set()
    row, ack, box = t.record.c, t.acknowledged.c, t.outbox.c
    for part in chunks(people):
        same = (ack.system == row.system) & (ack.kind == row.kind) & (ack.id == row.id)
        shown = select(row.person_id, ack["values"]).join(t.acknowledged, same).where(row.person_id.in_(part))
        found |= {person for person, values in connection.execute(shown) if values.get(name) is None}
        owed_now = (box.effect == FIELDS, box.state.in_(_OPEN), box.person_id.in_(part))
        found -= set(connection.execute(select(box.person_id).where(*owed_now)).scalars())
    return found


def sent_elsewhere(connection: Connection, *, now: Millis, hold: Millis, quarantine: Millis) -> None:
    """Bounds that another machine's clock set are no bounds here: what may still be carried out is so for its whole time."""
    box = t.outbox.c
    for effect, bound in ((FIELDS, hold), (TASK, quarantine)):
        doubtful = (box.effect == effect, box.hold_until.is_not(None), box.state.in_((*_OPEN, "dead")))
        later = {"hold_until": now + bound} | ({"due_at": now + bound} if effect == FIELDS else {})
        connection.execute(update(t.outbox).where(*doubtful).values(**later))


def acknowledged(connection: Connection, refs: Iterable[RecordRef]) -> dict[RecordRef, Mapping[str, Any]]:
    """What each record last took from us: {"values", "digest", "reason_key", "at"}."""
    rows = select_at(connection, t.acknowledged, refs)
    return {RecordRef(row["system"], row["kind"], row["id"]): dict(row) for row in rows}


def owed(connection: Connection, refs: Iterable[RecordRef]) -> dict[RecordRef, Mapping[str, Value]]:
    """Values on their way to each record and not yet acknowledged."""
    out = t.outbox.c
    waiting = _IS_FIELDS & out.state.in_(_OPEN)
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
    return connection.execute(_PENDING, {"system": system, "effect": effect, "now": now}).scalar_one()


_PENDING = (
    select(func.count())
    .select_from(t.outbox)
    .where(
        t.outbox.c.system == bindparam("system"),
        t.outbox.c.effect == bindparam("effect"),
        t.outbox.c.state == "new",
        t.outbox.c.due_at <= bindparam("now"),
    )
)


def _settle(
    connection: Connection, changes: Sequence[tuple[Entry, Mapping[str, Any]]], *, among: str | None = None
) -> None:
    """Change rows that still are what was claimed; the same columns of each."""
    if changes:
        rows = [{"b_id": entry.outbox_id, "b_version": entry.version, **values} for entry, values in changes]
        connection.execute(_CLAIMED if among is None else _CLAIMED.where(t.outbox.c.state == among), rows)


_CLAIMED = update(t.outbox).where(
    t.outbox.c.outbox_id == bindparam("b_id"), t.outbox.c.version == bindparam("b_version")
)


def _later(one: Millis | None, other: Millis | None) -> Millis | None:
    return max((at for at in (one, other) if at is not None), default=None)


def _why(code: str, message: str) -> dict[str, str]:
    return {"code": _said(code, 64), "message": _said(message, 500)}


def _said(text: str, length: int) -> str:
    """A vendor's words as a database takes them."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")[:length]


def _lasting(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in VOLATILE}


def _at(ref: RecordRef) -> tuple[Any, ...]:
    return (t.outbox.c.system == ref.system, t.outbox.c.kind == ref.kind, t.outbox.c.id == ref.id)


def to_entry(row: RowMapping) -> Entry:
    """A row of the table."""
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
        created_at=row["created_at"],
        sent_at=row["sent_at"],
        hold_until=row["hold_until"],
        done_at=row["done_at"],
    )
