"""Every task of ours in a CRM, held against the outbox; and the other way round (reliability §3.3, "nightly"; I1, I3)."""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import RowMapping, select, update

from connectors import Connector, FoundTask
from core.records import Millis, RecordRef
from sync import audit
from sync.progress import Progress
from sync.quarantine import remove_double, tell_apart
from sync.reconcile.adopt import adopt_task, find_persons, known_tasks
from sync.reconcile.report import SystemFindings
from sync.state import State, outbox
from sync.state import schema as t
from sync.state.loading import person_ids
from sync.state.mirror import NOBODY
from sync.state.rows import chunks

BATCH = 500


@dataclass(slots=True)
class _Seen:
    """What was found in one CRM so far. Tasks that are as they should be cost nine bytes each, whatever their number.

    Attributes:
        ids: outbox numbers of the tasks that were made, in order.
        marks: which of these were seen.
        unknown: by key, the tasks that the state does not know, or believes were not made.
        rows: what the state says of `unknown`.
        suspect: keys that the state knows by another task, with the record and system that it knows them by.

    """

    ids: "array[int]"
    marks: bytearray
    unknown: dict[str, list[FoundTask]] = field(default_factory=dict)
    rows: dict[str, RowMapping] = field(default_factory=dict)
    suspect: dict[str, RecordRef] = field(default_factory=dict)

    def mark(self, outbox_id: int) -> None:
        place = bisect_left(self.ids, outbox_id)
        if place < len(self.ids) and self.ids[place] == outbox_id:
            self.marks[place] = 1

    def left(self) -> int:
        return len(self.marks) - sum(self.marks)


def compare_tasks(
    state: State,
    connector: Connector,
    name: str,
    findings: SystemFindings,
    progress: Progress,
    *,
    heal: bool,
    now: Millis,
) -> None:
    """All tasks of one connection, in both directions.

    Args:
        name: of the hand-over in the rulebook.
        heal: adopt what was forgotten, settle what was done, remove second tasks that nobody touched.

    Raises:
        ConnectorError: the system cannot be asked.

    """
    step = f"compare {connector.name} tasks"
    seen = _made(state, connector.name)
    progress.start(step)
    for part in chunks(connector.our_tasks(), BATCH):
        _sort(state, connector.name, part, seen)
        findings.tasks += len(part)
        progress.advance(step, len(part))
    progress.finish(step)
    findings.removed_tasks += seen.left()
    forgotten = [tell_apart(tasks)[0] for key, tasks in seen.unknown.items() if key not in seen.rows]
    _settle(state, connector.name, seen, findings, heal=heal, now=now)
    _take_in(state, connector.name, name, forgotten, findings, heal=heal)
    _part_doubles(state, connector, seen, findings, heal=heal)


def _made(state: State, system: str) -> _Seen:
    done = (t.outbox.c.effect == outbox.TASK, t.outbox.c.system == system, t.outbox.c.state == "done")
    with state.read() as connection:
        made = (*done, t.outbox.c.crm_id.is_not(None))
        ids = array(
            "q", connection.execute(select(t.outbox.c.outbox_id).where(*made).order_by(t.outbox.c.outbox_id)).scalars()
        )
    return _Seen(ids, bytearray(len(ids)))


def _sort(state: State, system: str, tasks: Iterable[FoundTask], seen: _Seen) -> None:
    """Known and as it should be, or something to look at."""
    tasks = list(tasks)
    with state.read() as connection:
        rows = {row["key"]: row for row in known_tasks(connection, (task.key for task in tasks))}
    for task in tasks:
        row = rows.get(task.key)
        if row is not None and row["state"] == "done" and row["crm_id"] is not None:
            if row["system"] == system:
                seen.mark(row["outbox_id"])
            if (row["system"], row["crm_id"]) != (system, task.crm_id) and not task.deleted:
                seen.suspect[task.key] = RecordRef(row["system"], row["kind"], row["id"])
            continue
        if row is not None:
            seen.rows[task.key] = row
        seen.unknown.setdefault(task.key, []).append(task)


# --- what the state believes was not made ----------------------------------------------------------------------------


def _settle(state: State, system: str, seen: _Seen, findings: SystemFindings, *, heal: bool, now: Millis) -> None:
    """Tasks that were made after all: as if their answer had come now."""
    for part in chunks(seen.rows.items(), BATCH):
        with state.begin() as connection:
            for key, row in part:
                findings.add("unsettled_tasks", f"{key} ({row['state']})", healed=heal)
                if not heal:
                    continue
                values = {"state": "done", "done_at": now, "crm_id": tell_apart(seen.unknown[key])[0].crm_id, "hold_until": None, "code": None, "message": None}  # fmt: skip
                connection.execute(update(t.outbox).where(t.outbox.c.outbox_id == row["outbox_id"]).values(**values))
                ref = RecordRef(row["system"], row["kind"], row["id"])
                audit.note(
                    connection,
                    "adopt",
                    str(ref),
                    old={"state": row["state"]},
                    new={"state": "done", "key": key, "crm_id": values["crm_id"]},
                    why=f"the task is in {system}",
                )


# --- what the state has forgotten ------------------------------------------------------------------------------------


def _take_in(
    state: State, system: str, name: str, tasks: Iterable[FoundTask], findings: SystemFindings, *, heal: bool
) -> None:
    for part in chunks(sorted(tasks, key=lambda task: (task.created_at, task.key)), BATCH):
        if not heal:
            for task in part:
                findings.add("forgotten_tasks", task.key)
            continue
        with state.begin() as connection:
            persons = person_ids(connection, [task.ref for task in part if task.ref is not None])
            strays = [task for task in part if task.ref is None or task.ref not in persons]
            traced = find_persons(connection, strays, system, name)
            for task in part:
                person = persons.get(task.ref) if task.ref is not None else None
                adopt_task(connection, task, system, person or traced.get(task.key, NOBODY), name)
                findings.add("forgotten_tasks", task.key, healed=True)


# --- two tasks with one key ------------------------------------------------------------------------------------------


def _part_doubles(state: State, connector: Connector, seen: _Seen, findings: SystemFindings, *, heal: bool) -> None:
    """Look at all tasks of each suspect key: the oldest stays, younger ones go unless somebody works on them."""
    for part in chunks(seen.suspect.items(), BATCH):
        elsewhere = {key for key, ref in part if ref.system != connector.name}
        for key in sorted(elsewhere):
            findings.add("second_tasks", f"{key} (also in {dict(part)[key].system})")
        found = connector.find_tasks({key: ref for key, ref in part if key not in elsewhere})
        for key, tasks in found.items():
            kept = _part(state, connector, key, tasks, findings, heal=heal)
            if heal:
                _point_at(state, key, kept)
    for key, tasks in seen.unknown.items():
        _part(state, connector, key, tasks, findings, heal=heal)


def _part(
    state: State,
    connector: Connector,
    key: str,
    tasks: Sequence[FoundTask],
    findings: SystemFindings,
    *,
    heal: bool,
) -> FoundTask:
    """The one that stays."""
    kept, others = tell_apart(tasks)
    if others:
        removed = [remove_double(state, connector, task) for task in others] if heal else [False]
        findings.add("second_tasks", key, healed=all(removed))
    return kept


def _point_at(state: State, key: str, kept: FoundTask) -> None:
    with state.begin() as connection:
        connection.execute(update(t.outbox).where(t.outbox.c.key == key).values(crm_id=kept.crm_id))
