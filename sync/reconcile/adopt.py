"""A task that hangs in the CRM and that this state does not know (it was restored from a backup): taken in as ours.

Its key goes into the outbox as done, for ever, and its hand-over becomes an episode of the person: so the same person is
not handed over again, and numbers go on from where they were. The key is a hash; which hand-over it names is found by
computing the keys that this person could have had.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, select

from connectors import FoundTask
from core.handover import Episode, State, task_key
from core.records import RecordRef
from sync import audit
from sync.plan import STATES
from sync.shown import shown_number
from sync.state import outbox
from sync.state import schema as t
from sync.state.episodes import keep_episodes, load_episodes
from sync.state.loading import refs_of_people
from sync.state.mirror import NOBODY, mark_dirty
from sync.state.rows import chunks, digest

NUMBERS_AHEAD = 12
"""So many hand-overs beyond the last one that is known are tried for a person."""

MOST_HANDOVERS = 1_000
"""Nobody is handed over more often: where a CRM shows a higher number, no more than these are tried."""

NUMBERS_OF_STRAYS = 4
"""So many are tried for every record, for a task that hangs on no record any more."""


def adopt_task(connection: Connection, task: FoundTask, system: str, person_id: int, name: str) -> Episode | None:
    """Take in one task; the episode that it stands for, or None where nobody is known whom it is about.

    Args:
        person_id: whom it is about; `NOBODY` if that cannot be known: then only the key is remembered.
        name: of the hand-over in the rulebook.

    """
    ref = task.ref or RecordRef(system, "", "")
    done: dict[str, Any] = {
        "effect": outbox.TASK,
        "system": system,
        "kind": ref.kind,
        "id": ref.id,
        "person_id": person_id,
        "key": task.key,
        "state": "done",
        "version": 1,
        "payload": {},
        "digest": digest({}),
        "attempts": 0,
        "created_at": task.created_at,
        "sent_at": task.created_at,
        "due_at": task.created_at,
        "done_at": task.created_at,
        "crm_id": task.crm_id,
    }
    connection.execute(t.outbox.insert().values(**done))
    episode = None
    if person_id != NOBODY:
        known = load_episodes(connection, [person_id]).get(person_id, ())
        episode = _episode(connection, task, person_id, known, name)
        keep_episodes(connection, person_id, sorted({e.number: e for e in (*known, episode)}.values()))
        connection.execute(delete(t.unassigned).where(t.unassigned.c.person_id == person_id))
        mark_dirty(connection, [person_id])
    audit.note(
        connection,
        "adopt",
        str(ref) if task.ref else f"{system}/task/{task.crm_id}",
        new={"key": task.key, "crm_id": task.crm_id, "number": episode.number if episode else None},
        why="found in the CRM, forgotten here",
    )
    return episode


def find_persons(connection: Connection, strays: Iterable[FoundTask], system: str, name: str) -> dict[str, int]:
    """Whom tasks are about that hang on no known record: by key, every record's possible keys are computed, row by row."""
    wanted = {task.key for task in strays}
    found: dict[str, int] = {}
    last: tuple[str, str] = ("", "")
    while wanted:
        row = t.record.c
        after = (row.kind > last[0]) | ((row.kind == last[0]) & (row.id > last[1]))
        rows = connection.execute(
            select(row.kind, row.id, row.person_id)
            .where(row.system == system, row.person_id.is_not(None), after)
            .order_by(row.kind, row.id)
            .limit(5_000)
        ).all()
        if not rows:
            break
        for kind, id, person_id in rows:
            for number in range(1, NUMBERS_OF_STRAYS + 1):
                key = task_key(system, RecordRef(system, kind, id), name, number)
                if key in wanted:
                    found[key] = person_id
        last = (rows[-1][0], rows[-1][1])
    return found


def _episode(connection: Connection, task: FoundTask, person_id: int, known: Sequence[Episode], name: str) -> Episode:
    """The hand-over that the task's key names; where no key of this person fits, the next one."""
    refs = {*refs_of_people(connection, [person_id]), *([task.ref] if task.ref else [])}
    written = _written(connection, person_id)
    highest = max([0, *(e.number for e in known), *(shown_number(w, "handover_no") for w in written)])
    names = {name: None} | {e.name: None for e in known}
    named = _decipher(task.key, refs, list(names), min(highest, MOST_HANDOVERS) + NUMBERS_AHEAD)
    if named is None:
        return _nameless(task, known, name)
    record, name, number = named
    if any(e.record is not None and e.number != number for e in known) and task.ref is not None:
        record = task.ref  # a person's keys name the record of the first task; this one's hangs where it hangs
    before = next((e for e in known if e.number == number), None)
    if before is not None and before.state != "queued":
        return replace(before, name=name, seeded=False, record=record)
    return Episode(number, name, _state(written, number), task.created_at, armed=False, seeded=False, record=record)


def _nameless(task: FoundTask, known: Sequence[Episode], name: str) -> Episode:
    """A key from another time (the record was merged since): an episode that had no task gets it, else a new one."""
    without = [e for e in known if e.seeded and e.record is None]
    if without:
        return replace(without[0], seeded=False, record=task.ref)
    number = 1 + max((e.number for e in known), default=0)
    return Episode(number, name, "offered", task.created_at, record=task.ref)


def _decipher(
    key: str, refs: Iterable[RecordRef], names: Sequence[str], highest: int
) -> tuple[RecordRef, str, int] | None:
    for ref in sorted(refs):
        for name in names:
            for number in range(1, highest + 1):
                if task_key(ref.system, ref, name, number) == key:
                    return ref, name, number
    return None


def _written(connection: Connection, person_id: int) -> list[Mapping[str, Any]]:
    """Our fields on the person's living records, as the CRMs show them."""
    alive = (t.record.c.person_id == person_id, t.record.c.deleted_at.is_(None))
    return list(connection.execute(select(t.record.c.written).where(*alive)).scalars())


def _state(written: Iterable[Mapping[str, Any]], number: int) -> State:
    for shown in written:
        state = shown.get("handover_state")
        if shown.get("handover_no") == number and state in STATES:
            found: State = state
            return found
    return "offered"


def known_tasks(connection: Connection, keys: Iterable[str]) -> Iterator[RowMapping]:
    """What the outbox says of these keys."""
    box = t.outbox.c
    columns = (box.outbox_id, box.system, box.kind, box.id, box.key, box.state, box.crm_id, box.person_id)
    for part in chunks(keys):
        yield from connection.execute(select(*columns).where(box.key.in_(part))).mappings()
