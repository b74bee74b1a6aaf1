"""Push: at-least-once attempts, at-most-one effect.

Every row is claimed (`unknown`, committed) before its request leaves. Field rows hold absolute values: after an answer that
never came the same ones are simply sent again, newer ones wait until the lost request cannot be carried out any more. A task
that may have been made is looked for by its key (`sync.quarantine`) before it is sent again.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from connectors import Connector, FieldWrite, SetupStep, TaskWrite, Write, WriteResult
from core.errors import ConnectorError, Forbidden, Gone, QuotaExhausted, Rejected, Transient, Unauthorized
from core.records import Millis, Record, RecordRef, Tombstone
from sync.answers import readable
from sync.progress import Progress
from sync.quarantine import look_for_tasks
from sync.report import SystemReport
from sync.sending import Bounds, Sending
from sync.state import State, deadletters, outbox
from sync.state import schema as t
from sync.state.episodes import withdraw_offers
from sync.state.kept import get_kept, get_kept_in, keep_in
from sync.state.lease import this_machine
from sync.state.mirror import mark_dirty, store
from sync.state.outbox import FIELDS, TASK, Entry
from sync.state.rows import digest
from sync.traces import note_claimed, note_failed, note_outcomes

HANDOVER_FIELDS = frozenset({"handover_no", "handover_state", "handed_over_at"})
SENDER = "sender"
"""The setting that names the machine whose clock set the bounds of what may still be carried out."""

RETRY_MS = 60_000
"""A row that was refused for now is due again after attempts² minutes, at most an hour; however long an outage lasts."""

MAX_FOLLOWS = 5
"""How often one task follows its record to a survivor (its version counts that); more is a circle."""

TASKS_IN_DOUBT = 100
"""Tasks in one claim where the CRM does not refuse a second one itself: so many at most wait after a crash."""

NOTHING_HAPPENED = (Transient, QuotaExhausted, Unauthorized, Forbidden, Rejected)
"""Faults of a call that was refused or never left. After any other the request may have been carried out."""


def recover(state: State, bounds: Bounds, now: Millis) -> int:
    """Before anything is planned: what a run that died was sending may still be carried out. How many rows."""
    with state.begin() as connection:
        longest = max(outbox.LONGEST_WAIT_MS, bounds.late_commit, bounds.quarantine)
        outbox.shorten_waits(connection, now=now, longest=longest)
        found = outbox.reclaim(connection, now=now, hold=bounds.late_commit, quarantine=bounds.quarantine)
        if get_kept_in(connection, SENDER) not in (None, this_machine()):
            outbox.sent_elsewhere(connection, now=now, hold=bounds.late_commit, quarantine=bounds.quarantine)
        keep_in(connection, SENDER, this_machine())
        return found


def notice_description(state: State, connector: Connector, steps: Sequence[SetupStep], now: Millis) -> None:
    """Where the CRM describes our fields or rights otherwise than the last time, what it refused may pass now."""
    name = f"described {connector.name}"
    described = digest([[step.name, step.done, step.blocked] for step in steps])
    before = get_kept(state, name)
    if before == described:
        return
    with state.begin() as connection:
        keep_in(connection, name, described)
        if before is not None:
            deadletters.revive_all(connection, system=connector.name, now=now)


def deliver(
    state: State,
    connector: Connector,
    report: SystemReport,
    progress: Progress,
    *,
    tasks: bool,
    bounds: Bounds,
    clock: Callable[[], Millis],
) -> None:
    """Send what is owed to one system: tasks before score refreshes.

    Raises:
        ConnectorError: the system failed; what was not sent stays owed.
        LeaseLost: another run took over; nothing more is sent.

    """
    sending = Sending(state, connector, report, bounds, clock)
    now = clock()
    with state.begin() as connection:
        outbox.reclaim(connection, connector.name, now=now, hold=bounds.late_commit, quarantine=bounds.quarantine)
        keep_in(connection, f"task key {connector.name}", connector.capabilities.task_key)
    try:
        fault: Forbidden | None = None
        if tasks:
            try:
                look_for_tasks(sending)
                _drain(sending, TASK, progress)
            except Forbidden as error:  # a right or field that tasks need says nothing about scores
                fault = error
        _drain(sending, FIELDS, progress)
        if fault is not None:
            raise fault
    finally:
        with state.outside() as connection:
            report.dead = deadletters.count_dead(connection, connector.name)


def _drain(sending: Sending, effect: str, progress: Progress) -> None:
    state, connector, due = sending.state, sending.connector, sending.clock()
    with state.outside() as connection:
        total = outbox.pending(connection, connector.name, effect, now=due)
    if not total:
        return
    step = f"write {connector.name} {effect}"
    progress.start(step, total)
    limit, hold = connector.capabilities.batch_size, sending.bounds.late_commit
    if effect == TASK and not sending.unique:
        limit, hold = min(limit, TASKS_IN_DOUBT), sending.bounds.quarantine
    while True:
        state.require_lease()
        with state.begin() as connection:
            now = sending.clock()
            due = min(due, now)  # after a clock was set back, what is put off in this run is not due in it
            entries = outbox.claim(connection, connector.name, effect, limit, now=now, due=due, hold=hold)
            if effect == FIELDS:
                entries = outbox.withhold(connection, entries, HANDOVER_FIELDS)
            note_claimed(connection, entries)
        if not entries:
            break
        state.require_lease()
        _send(sending, entries)
        progress.advance(step, len(entries))
    progress.finish(step)


def _send(sending: Sending, entries: Sequence[Entry]) -> None:
    """One claimed batch: every entry ends as done, due later, looked for, or dead with a reason."""
    results: list[tuple[Entry, WriteResult]] = []
    connector = sending.connector
    lost = connector.counts.lost
    try:
        with readable(connector.name):
            for entry, result in zip(entries, connector.write([_write(entry) for entry in entries]), strict=True):
                results.append((entry, result))
    except ConnectorError as error:
        _put_back(sending, entries[len(results) :], error, lost=connector.counts.lost > lost)
        raise
    finally:
        _settle(sending, results, lost=connector.counts.lost > lost)


def _put_back(sending: Sending, entries: Sequence[Entry], error: ConnectorError, *, lost: bool) -> None:
    """The system failed, not these rows: they wait without losing an attempt's worth of patience."""
    now, code = sending.clock(), type(error).__name__
    harmless = isinstance(error, NOTHING_HAPPENED) and not lost
    with sending.state.begin() as connection:
        if harmless or not entries or entries[0].effect == FIELDS:
            hold = None if harmless else now + sending.bounds.late_commit
            outbox.settle_later(connection, entries, due_at=now, code=code, message=error.message, hold_until=hold)
        else:
            hold = now + sending.bounds.quarantine
            outbox.settle_unknown(connection, entries, hold_until=hold, code=code, message=error.message)
        note_failed(connection, entries, error)


def _write(entry: Entry) -> Write:
    payload: Mapping[str, Any] = entry.payload
    if entry.effect == FIELDS:
        return FieldWrite(entry.ref, payload["values"])
    assert entry.key is not None
    return TaskWrite(
        key=entry.key,
        ref=entry.ref,
        owner_id=payload["owner_id"],
        subject=payload["subject"],
        body=payload["body"],
        due=payload["due"],
        priority=payload["priority"],
    )


def _settle(sending: Sending, results: Sequence[tuple[Entry, WriteResult]], *, lost: bool) -> None:
    """`lost`: an attempt at this batch got no answer, whatever a later one said: it may still be carried out.

    That concerns field values, which it would bring back, and tasks that were refused since. (Where a task is created without
    a unique key there is one attempt, and its result says all.)
    """
    if not results:
        return
    now, report, bounds = sending.clock(), sending.report, sending.bounds
    gone = [(entry, result.error) for entry, result in results if isinstance(result.error, Gone)]
    with sending.state.begin() as connection:
        done = [(entry, result.crm_id) for entry, result in results if result.status == "ok"]
        outbox.settle_done(connection, done, now=now, hold_until=now + bounds.late_commit if lost else None)
        made = {entry.person_id for entry, _ in done if entry.effect == TASK}
        mark_dirty(connection, outbox.unveil(connection, made, "handover_no"))
        report.fields_written += sum(1 for entry, _ in done if entry.effect == FIELDS)
        report.tasks_created += sum(1 for entry, _ in done if entry.effect == TASK)
        for entry, result in results:
            error = result.error
            if result.status == "ok" or isinstance(error, Gone):
                continue
            if result.status == "rejected":
                _bury(sending, connection, entry, error, lost=lost)
                continue
            message, code = error.message if error else "", _code(error)
            doubtful = result.status == "unknown" or (lost and _may_be_late(sending, entry))
            report.postponed += 1
            if entry.effect == TASK and doubtful:
                hold = now + bounds.quarantine
                outbox.settle_unknown(connection, [entry], hold_until=hold, code=code, message=message)
                continue
            due = now + min(outbox.LONGEST_WAIT_MS, RETRY_MS * (entry.attempts + 1) ** 2)
            held = now + bounds.late_commit if doubtful else None
            outbox.settle_later(connection, [entry], due_at=due, code=code, message=message, hold_until=held)
        note_outcomes(connection, results)
    if gone:
        _follow(sending, gone, lost=lost)


def _bury(sending: Sending, connection: Connection, entry: Entry, error: ConnectorError | None, *, lost: bool) -> None:
    """The CRM refuses this row: a dead letter, with the CRM's own words."""
    now = sending.clock()
    hold = now + sending.bounds.quarantine if lost and _may_be_late(sending, entry) else None
    message = error.message if error else ""
    outbox.settle_dead(connection, entry, state="dead", code=_code(error), message=message, now=now, hold_until=hold)
    sending.report.refused += 1


def _code(error: ConnectorError | None) -> str:
    return getattr(error, "code", "") or type(error).__name__


def _may_be_late(sending: Sending, entry: Entry) -> bool:
    """Whether an attempt that got no answer may still be carried out beside one that was answered."""
    return entry.effect == FIELDS or sending.unique


def _follow(sending: Sending, gone: Sequence[tuple[Entry, Gone]], *, lost: bool) -> None:
    """Records that were deleted, merged or converted since we read them: learn where they went, move tasks along.

    One that is there all the same was not what the refusal meant. Whose task comes to nothing is offered anew where they
    live on; one that may have been made all the same is looked for first.
    """
    found = {fact.ref: fact for fact in sending.connector.fetch([entry.ref for entry, _ in gone])}
    with sending.state.begin() as connection:
        now = sending.clock()
        store(connection, found.values())
        for entry, error in gone:
            fact = found.get(entry.ref)
            if isinstance(fact, Record) and fact.successor is None:
                _bury(sending, connection, entry, error, lost=lost)
                continue
            survivor = _survivor(entry.ref, fact, error)
            reason = f"the record lives on as {survivor.kind}" if survivor else "the record is gone"
            if entry.effect == FIELDS:
                outbox.settle_dead(connection, entry, state="cancelled", code=outbox.GONE, message=reason, now=now)
            elif survivor is not None and entry.version <= MAX_FOLLOWS:
                outbox.retarget(connection, entry, survivor, now=now)
            elif lost and _may_be_late(sending, entry):
                hold = now + sending.bounds.quarantine
                outbox.settle_unknown(connection, [entry], hold_until=hold, code=outbox.GONE, message=reason)
            else:
                withdraw_offers(connection, t.outbox.c.outbox_id == entry.outbox_id)
                outbox.settle_dead(connection, entry, state="dead", code=outbox.GONE, message=reason, now=now)
                sending.report.refused += 1


def _survivor(ref: RecordRef, fact: Record | Tombstone | None, error: Gone) -> RecordRef | None:
    if fact is not None and fact.successor is not None:
        return fact.successor
    if fact is not None and fact.ref != ref:
        return fact.ref
    return RecordRef(ref.system, ref.kind, error.survivor) if error.survivor else None
