"""Are both sides equal? Records, score fields and tasks, in both directions; `heal` puts right what can be.

Incremental reading believes modified stamps and its own memory. This does not: every living person, company and deal is read
and held against the mirror by content, every score field against what the CRM took from us, every task of ours against
the outbox. What is ordinary news is read first, as any pass does it, so that only what no pass would have found is left.

Nothing is written into a CRM here, except that a second task which nobody touched is removed: fields are owed, and the next
pass sends them under all its guards. No person and no task in use is ever deleted.
"""

import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict

from sqlalchemy import select

from connectors import Connector, Cursor
from core.errors import ConnectorError, GuardStop, InvalidInput
from core.records import DAY_MS, Fact, Millis, Tombstone
from sync import audit
from sync.answers import readable
from sync.drift import settle_shown
from sync.extract import extract, known_refs
from sync.guards import Guarding
from sync.pauses import apply_pauses, note_failure
from sync.progress import Progress
from sync.reconcile.records import bury, compare_page, living
from sync.reconcile.report import KINDS, Difference, Kind, ReconcileReport, SystemFindings, findings_from
from sync.reconcile.tasks import compare_tasks
from sync.report import RunReport, SystemReport
from sync.resolve import resolve_touched
from sync.settings import Settings
from sync.state import State, now_ms
from sync.state import schema as t
from sync.state.kept import get_kept, keep, unkeep
from sync.state.mirror import PERSON_KINDS

__all__ = ["KINDS", "Difference", "Kind", "ReconcileReport", "SystemFindings", "reconcile"]

WAIT_SECONDS = 60.0
"""How long a pass that is under way is waited for."""

RESUMED_MS = DAY_MS
"""Work that was stopped is taken up again within a day."""

_KINDS = PERSON_KINDS | {"account", "deal"}


def reconcile(
    state: State,
    settings: Settings,
    connectors: Mapping[str, Connector],
    name: str,
    *,
    heal: bool,
    progress: Progress,
    clock: Callable[[], Millis] = now_ms,
    wait_seconds: float = WAIT_SECONDS,
    before: ReconcileReport | None = None,
) -> ReconcileReport:
    """Hold every connection against the state.

    Args:
        name: of the hand-over in the rulebook.
        heal: put right what can be, else only say it.
        wait_seconds: for a pass that is under way.
        before: what was found of connections that are not looked at again now: it stays in the report.

    Raises:
        AlreadyRunning: a pass is under way.
        Interrupted: asked to stop; the next one goes on from here.

    """
    run = RunReport(uuid.uuid4().hex, settings.stage, clock())
    report = ReconcileReport(heal, run.started_at, systems={} if before is None else dict(before.systems))
    with audit.acting(run_id=run.run_id), state.alone(wait_seconds=wait_seconds):
        apply_pauses(state, settings, run, clock())
        for connector in connectors.values():
            findings = report.systems[connector.name] = SystemFindings()
            if (paused := run.system(connector.name).paused) is not None:
                findings.skipped = f"paused: {paused['reason']}"
                continue
            with _reported(findings, connector, state, settings, run, clock):
                guarding = Guarding(state, settings, run, clock(), basis="")
                _compare_records(state, guarding, connector, findings, progress, heal=heal)
        if heal:
            resolve_touched(state, settings, run, progress)
            settle_shown(state, now=clock())
        for connector in connectors.values():
            findings = report.systems[connector.name]
            if findings.error is None and findings.skipped is None:
                with _reported(findings, connector, state, settings, run, clock):
                    compare_tasks(state, connector, name, findings, progress, heal=heal, now=clock())
        report.finished_at = clock()
        keep(state, "reconciled", report.as_dict())
    return report


@contextmanager
def _reported(
    findings: SystemFindings,
    connector: Connector,
    state: State,
    settings: Settings,
    run: RunReport,
    clock: Callable[[], Millis],
) -> Iterator[None]:
    """A connection that fails is reported, and paused where that is called for; the others go on."""
    before = _calls(connector)
    try:
        with readable(connector.name):
            yield
    except GuardStop as error:
        findings.error, findings.hint = error.message, error.hint
    except (ConnectorError, InvalidInput) as error:
        note_failure(state, settings, run, connector.name, error, clock())
        findings.error, findings.hint = str(error), error.hint
    finally:
        findings.calls += _calls(connector) - before


def _calls(connector: Connector) -> int:
    counts = connector.counts
    return counts.stream + counts.other + counts.write


# --- records ---------------------------------------------------------------------------------------------------------


def _compare_records(
    state: State,
    guarding: Guarding,
    connector: Connector,
    findings: SystemFindings,
    progress: Progress,
    *,
    heal: bool,
) -> None:
    if not _cursors(state, connector):
        findings.skipped = "nothing was read from it yet"
        return
    connector.lenient = True
    connector.prepare()
    extract(state, connector, SystemReport(), progress, sweep=False, sweep_every=None)
    step = f"compare {connector.name}"
    progress.start(step)
    write = guarding.settings.stage != "observe"
    for facts in _whole_pages(state, connector, findings, heal=heal, now=guarding.now):
        compare_page(state, facts, findings, heal=heal, write=write)
        progress.advance(step, len(facts))
    gone: list[Tombstone] = []
    for page in connector.sweep(known_refs(state, connector.name)):
        facts, stones = _part(page.facts)
        if facts:
            compare_page(state, facts, findings, heal=heal, write=write)
        gone += living(state, stones)
        progress.advance(step, len(page.facts))
    for stone in gone:
        findings.add("gone_there", stone.ref)
    if heal and gone:
        _judge(guarding, connector.name, gone)
        bury(state, gone)
        findings.differences["gone_there"].healed = len(gone)
        keep(state, f"swept {connector.name}", connector.now())
    unkeep(state, _place(connector))
    progress.finish(step)


def _whole_pages(
    state: State, connector: Connector, findings: SystemFindings, *, heal: bool, now: Millis
) -> Iterator[Sequence[Fact]]:
    """What the connector must read from the start, because a sweep does not show it; what is gone is left to the sweep.

    After every page that was dealt with its place and the findings are kept, so that stopped work goes on from there.
    """
    whole = connector.capabilities.whole_streams
    if not whole:
        return
    places: dict[str, Cursor] = {}
    kept = get_kept(state, _place(connector))
    if kept is not None and kept["heal"] == heal and now - kept["at"] < RESUMED_MS:
        places = {stream: Cursor(place) for stream, place in kept["places"].items()}
        findings.take_over(findings_from(kept["findings"]))
    after = {name: cursor for name, cursor in _cursors(state, connector).items() if name not in whole}
    for page in connector.read(after | places):
        if page.stream in whole:
            yield _part(page.facts)[0]
            places[page.stream] = page.cursor
            said = {"heal": heal, "at": now, "places": places, "findings": asdict(findings)}
            keep(state, _place(connector), said)


def _part(facts: Sequence[Fact]) -> tuple[list[Fact], list[Tombstone]]:
    """The living, and those gone of whom the mirror keeps a row."""
    stones = [fact for fact in facts if isinstance(fact, Tombstone) and fact.ref.kind in _KINDS]
    return [fact for fact in facts if not (isinstance(fact, Tombstone) and fact.ref.kind in _KINDS)], stones


def _cursors(state: State, connector: Connector) -> dict[str, Cursor]:
    with state.read() as connection:
        own = t.cursor.c.system == connector.name
        rows = connection.execute(select(t.cursor.c.stream, t.cursor.c.value).where(own)).all()
    return {stream: Cursor(value) for stream, value in rows}


def _place(connector: Connector) -> str:
    return f"reconcile {connector.name}"


def _judge(guarding: Guarding, system: str, gone: Sequence[Tombstone]) -> None:
    """A side that is suddenly empty is not believed unasked. Raises GuardStop."""
    for kind, count in Counter(stone.ref.kind for stone in gone if stone.successor is None).items():
        guarding.judge_burial(system, kind, count)
