"""Push: at-least-once attempts, at-most-one effect.

Every row is claimed (`unknown`, committed) before its request leaves. Field rows hold absolute values, tasks are upserted
by a key that lives in the CRM: after an answer that never came, both are simply sent again.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from connectors import Connector, FieldWrite, TaskWrite, Write, WriteResult
from core.errors import ConnectorError, Gone
from core.records import Millis, Record, RecordRef, Tombstone
from sync.progress import Progress
from sync.report import SystemReport
from sync.state import State, outbox
from sync.state.mirror import store
from sync.state.outbox import FIELDS, TASK, Entry

RETRY_MS = 60_000
"""A row that was refused for now is due again after attempts² minutes, at most an hour; however long an outage lasts."""

MAX_FOLLOWS = 5
"""How often one task follows its record to a survivor; more is a circle."""


def deliver(
    state: State, connector: Connector, report: SystemReport, progress: Progress, *, tasks: bool, now: Millis
) -> None:
    """Send what is owed to one system: tasks before score refreshes.

    Raises:
        ConnectorError: the system failed; what was not sent stays owed.

    """
    with state.begin() as connection:
        outbox.reclaim(connection, connector.name, now=now)
    if tasks:
        _drain(state, connector, TASK, report, progress, now)
    _drain(state, connector, FIELDS, report, progress, now)


def _drain(
    state: State, connector: Connector, effect: str, report: SystemReport, progress: Progress, now: Millis
) -> None:
    with state.read() as connection:
        total = outbox.pending(connection, connector.name, effect, now=now)
    if not total:
        return
    step = f"write {connector.name} {effect}"
    progress.start(step, total)
    while True:
        with state.begin() as connection:
            entries = outbox.claim(connection, connector.name, effect, connector.capabilities.batch_size, now=now)
        if not entries:
            break
        _send(state, connector, entries, report, now)
        progress.advance(step, len(entries))
    progress.finish(step)


def _send(state: State, connector: Connector, entries: Sequence[Entry], report: SystemReport, now: Millis) -> None:
    """One claimed batch: every entry ends as done, due later, or dead with a reason."""
    results: list[tuple[Entry, WriteResult]] = []
    try:
        for entry, result in zip(entries, connector.write([_write(entry) for entry in entries]), strict=True):
            results.append((entry, result))
    except ConnectorError as error:
        # The system failed, not these rows: they wait without losing an attempt's worth of patience.
        with state.begin() as connection:
            unsent = entries[len(results) :]
            outbox.settle_later(connection, unsent, due_at=now, code=type(error).__name__, message=error.message)
        raise
    finally:
        _settle(state, connector, results, report, now)


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


def _settle(
    state: State, connector: Connector, results: Sequence[tuple[Entry, WriteResult]], report: SystemReport, now: Millis
) -> None:
    gone = [(entry, result.error) for entry, result in results if isinstance(result.error, Gone)]
    with state.begin() as connection:
        done = [(entry, result.crm_id) for entry, result in results if result.status == "ok"]
        outbox.settle_done(connection, done, now=now)
        report.fields_written += sum(1 for entry, _ in done if entry.effect == FIELDS)
        report.tasks_created += sum(1 for entry, _ in done if entry.effect == TASK)
        for entry, result in results:
            error = result.error
            if result.status == "ok" or isinstance(error, Gone):
                continue
            message = error.message if error else ""
            code = getattr(error, "code", "") or type(error).__name__
            if result.status == "rejected":
                outbox.settle_dead(connection, entry, state="dead", code=code, message=message, now=now)
                report.refused += 1
            else:
                wait = min(3_600_000, RETRY_MS * (entry.attempts + 1) ** 2)
                outbox.settle_later(connection, [entry], due_at=now + wait, code=code, message=message)
                report.postponed += 1
    if gone:
        _follow(state, connector, gone, report, now)


def _follow(
    state: State,
    connector: Connector,
    gone: Sequence[tuple[Entry, Gone]],
    report: SystemReport,
    now: Millis,
) -> None:
    """Records that were deleted, merged or converted since we read them: learn where they went, move tasks along."""
    found = {fact.ref: fact for fact in connector.fetch([entry.ref for entry, _ in gone])}
    with state.begin() as connection:
        store(connection, found.values())
        for entry, error in gone:
            survivor = _survivor(entry.ref, found.get(entry.ref), error)
            if entry.effect == TASK and survivor is not None and entry.attempts < MAX_FOLLOWS:
                outbox.retarget(connection, entry, survivor, now=now)
                continue
            reason = f"the record lives on as {survivor.kind}" if survivor else "the record is gone"
            ending = "dead" if entry.effect == TASK else "cancelled"
            outbox.settle_dead(connection, entry, state=ending, code="gone", message=reason, now=now)
            report.refused += entry.effect == TASK


def _survivor(ref: RecordRef, fact: Record | Tombstone | None, error: Gone) -> RecordRef | None:
    if fact is not None and fact.successor is not None:
        return fact.successor
    if fact is not None and fact.ref != ref:
        return fact.ref
    return RecordRef(ref.system, ref.kind, error.survivor) if error.survivor else None
