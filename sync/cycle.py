"""One pass: extract, resolve, clean, score, plan, deliver. Named steps, one report.

A CRM that fails stops itself, never the others: what was read is stored, what is owed stays owed, and the report says why.
Scores are as of the newest time that any CRM gave in this run, so that facts and clock agree.
"""

import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, func, select, update

from connectors import Connector
from core.errors import CannotStart, ConnectorError, GuardStop, InvalidInput
from core.records import Millis, local_day
from core.rulebook import Rulebook
from sync.answers import readable
from sync.changes import note_changes
from sync.clean import clean_people
from sync.deliver import deliver, recover
from sync.drift import settle_shown
from sync.engine import Scored, ScoreEngine
from sync.extract import extract
from sync.guards import Guarding
from sync.journal import watched
from sync.pauses import note_failure, note_success
from sync.plan import Moment, Planned, PlanSettings, plan_people
from sync.planning import build_plan, note_wording, pass_signature
from sync.progress import Progress, Silent
from sync.report import RunReport
from sync.resolve import resolve_touched
from sync.restored import notice_copy, take_in_tasks
from sync.retention import purge_daily
from sync.sending import bounds_of
from sync.settings import Settings
from sync.start import start_run
from sync.state import State, deadletters, now_ms
from sync.state import schema as t
from sync.state.kept import get_kept, keep, keep_in
from sync.state.rows import chunks
from sync.texts import speaker
from sync.timing import parse_length

BATCH = 500
FULL_PASS_FROM = 20_000
"""From this many touched people on, streaming everyone is cheaper than fetching each."""


class _DryRunEnd(Exception):
    """Rolls a planning transaction back after its result was taken."""


class Cycle:
    """Everything one pass needs. `run` may be called again and again; each run is complete in itself."""

    def __init__(
        self,
        state: State,
        settings: Settings,
        rulebook: Rulebook,
        connectors: Mapping[str, Connector],
        *,
        progress: Progress | None = None,
        clock: Callable[[], Millis] = now_ms,
    ) -> None:
        self._state = state
        self._settings = settings
        self._rulebook = rulebook
        self._connectors = connectors
        self._progress = progress or Silent()
        self._clock = clock
        self._guards: Guarding  # of the run that is under way

    def run(
        self, *, dry_run: bool = False, sweep: bool = False, strict: bool = True, allow: Collection[str] = ()
    ) -> RunReport:
        """One pass.

        Args:
            dry_run: the CRMs are read but nothing is owed or sent: the report says what would be.
            sweep: look for deletions and association-only changes even if the last look is recent.
            strict: begin only if every CRM can be reached; else those that can are served.
            allow: names of guard stops that a person confirmed.

        Raises:
            CannotStart: wrong credential, scope, mapping or set-up; nothing was read or written.

        """
        report = RunReport(uuid.uuid4().hex, self._settings.stage, self._clock(), dry_run=dry_run)
        for connector in self._connectors.values():  # a service's live on: the report counts what this run did
            connector.counts.clear()
            connector.problems.clear()
        with self._state.alone(), watched(self._state, report):
            _require_same_days(self._state, self._settings.timezone)
            _require_known_systems(self._state, self._connectors)
            start_run(self._state, self._settings, self._connectors, report, self._clock(), strict=strict)
            basis = pass_signature(self._settings, self._rulebook, today=0)
            self._guards = Guarding(self._state, self._settings, report, self._clock(), basis, allow, sweep)
            if not dry_run:
                note_changes(self._state, self._settings, self._rulebook)
                notice_copy(self._state)
                recover(self._state, bounds_of(self._settings), self._clock())
            return self._pass(report, sweep=sweep)

    # --- steps --------------------------------------------------------------------------------------------------------

    def _pass(self, report: RunReport, *, sweep: bool) -> RunReport:
        self._store(report, "running")
        try:
            for name, connector in self._alive(report):
                with self._guard(name, report):
                    every = parse_length(self._settings.schedule.sweep)
                    extract(
                        self._state,
                        connector,
                        report.system(name),
                        self._progress,
                        sweep=sweep or self._guards.holds(name),
                        sweep_every=every,
                        guard=self._guards.hold_back,
                        watch=self._guards.watch,
                    )
            resolve_touched(self._state, self._settings, report, self._progress)
            settle_shown(self._state, now=self._clock())
            self._take_in(report)
            try:
                self._score(report)
                if not report.dry_run and self._settings.stage != "observe":
                    self._deliver(report)
            except GuardStop as stop:
                self._guards.note(stop)
            self._end(report)
        except BaseException:
            self._close(report)
            self._store(report, "failed")
            raise
        self._close(report)
        self._store(report, report.outcome)
        return report

    def _take_in(self, report: RunReport) -> None:
        """After a restore: whoever was handed over since is known again before anybody is handed over."""
        if report.dry_run or self._settings.stage != "all":
            return
        name, systems, bounds = self._rulebook.handover.name, self._connectors.keys(), bounds_of(self._settings)
        for system, connector in self._alive(report):
            with self._guard(system, report):
                now = self._clock()
                take_in_tasks(self._state, connector, name, systems, self._progress, bounds=bounds, now=now)

    def _score(self, report: RunReport) -> None:
        as_of = self._as_of(report)
        if as_of is None:
            return
        zone = self._settings.zone
        moment = Moment(as_of, local_day(as_of, zone), self._clock())
        plan = build_plan(self._state, self._settings, self._rulebook, moment)
        engine = ScoreEngine(self._state, self._rulebook, zone)
        signature = pass_signature(self._settings, self._rulebook, moment.today)
        report.as_of = as_of
        report.daily = get_kept(self._state, "pass") != signature
        report.cut_short = True
        self._guards.judge_rulebook(engine, plan, moment)
        ids = self._touched_people()
        clean_people(self._state, self._settings, ids)
        if report.daily and not report.dry_run:
            with self._state.begin() as connection:
                deadletters.revive_all(connection, now=moment.now)
        self._score_and_plan(engine, plan, moment, ids, signature, report)
        report.cut_short = False

    def _score_and_plan(
        self,
        engine: ScoreEngine,
        plan: PlanSettings,
        moment: Moment,
        ids: Sequence[int],
        signature: str,
        report: RunReport,
    ) -> None:
        if report.daily or len(ids) >= FULL_PASS_FROM:
            self._score_everyone(engine, plan, moment, report)
            if not report.dry_run:
                with self._state.begin() as connection:
                    keep_in(connection, "pass", signature)
                    note_wording(connection, plan)
                    if self._settings.stage == "all":
                        _start_handover(connection, plan, moment)
        else:
            with self._state.read() as connection:
                near = sorted({*ids, *_neighbours(connection, ids)})
            self._score_some(engine, plan, moment, near, report)

    def _score_everyone(self, engine: ScoreEngine, plan: PlanSettings, moment: Moment, report: RunReport) -> None:
        self._progress.start("score")
        for batch in engine.score_all(moment.as_of):
            self._plan(batch, plan, moment, report)
            self._progress.advance("score", len(batch))
        self._progress.finish("score")

    def _score_some(
        self, engine: ScoreEngine, plan: PlanSettings, moment: Moment, ids: Sequence[int], report: RunReport
    ) -> None:
        if not ids:
            return
        self._progress.start("score", len(ids))
        for part in chunks(ids, BATCH):
            self._plan(engine.score_people(part, moment.as_of), plan, moment, report)
            self._progress.advance("score", len(part))
        self._progress.finish("score")

    def _plan(self, scored: Sequence[Scored], plan: PlanSettings, moment: Moment, report: RunReport) -> None:
        planned = Planned()
        try:
            with self._state.begin() as connection:
                planned = plan_people(connection, scored, plan, moment)
                self._guards.judge_offers(connection, planned)
                if report.dry_run:
                    report.planned += _describe(connection, planned)
                    raise _DryRunEnd
        except _DryRunEnd:
            pass  # the transaction is rolled back, its result is in `planned`
        report.people_scored += len(scored)
        report.scores_changed += planned.scores_changed
        report.fields_owed += len(planned.writes)
        report.tasks_owed += len(planned.tasks)
        report.unassigned += planned.unassigned
        report.seeded += planned.seeded
        report.count_moves(planned.moves)

    def _deliver(self, report: RunReport) -> None:
        tasks, bounds = self._settings.stage == "all", bounds_of(self._settings)
        self._guards.judge_writes(name for name, _ in self._alive(report))
        for name, connector in self._alive(report):
            with self._guard(name, report):
                system = report.system(name)
                deliver(self._state, connector, system, self._progress, tasks=tasks, bounds=bounds, clock=self._clock)

    def _end(self, report: RunReport) -> None:
        """What the run leaves for the next one: connections that work, guards that have nothing to stop any more."""
        with self._state.outside() as connection:
            report.people = connection.execute(select(func.count()).select_from(t.person)).scalar_one()
        alive = [name for name, _ in self._alive(report)]
        for name in alive:
            note_success(self._state, self._settings, report, name, self._clock())
        if not report.dry_run and report.as_of is not None:
            purge_daily(self._state, self._settings, report.as_of, daily=report.daily)
        if not report.dry_run and not self._guards.halted:
            self._guards.finish(alive if self._settings.stage != "observe" else ())

    # --- what the steps need ------------------------------------------------------------------------------------------

    def _alive(self, report: RunReport) -> list[tuple[str, Connector]]:
        """The systems that are not paused, and have neither failed nor been stopped in this run."""
        return [(name, c) for name, c in self._connectors.items() if not report.system(name).stopped]

    def _as_of(self, report: RunReport) -> Millis | None:
        """The newest CRM time; None where no CRM could be read at all.

        CRMs tell it in whole seconds: what they showed was known by the end of that second.
        """
        read = [c for name, c in self._connectors.items() if report.system(name).is_readable]
        newest = max((connector.now() for connector in read), default=None)
        return None if newest is None else newest // 1000 * 1000 + 999

    def _touched_people(self) -> list[int]:
        with self._state.outside() as connection:
            return list(connection.execute(select(t.person.c.person_id).where(t.person.c.dirty)).scalars())

    @contextmanager
    def _guard(self, name: str, report: RunReport) -> Iterator[None]:
        """A failing system is reported, paused if need be, and left alone for the rest of the run."""
        try:
            with readable(name):
                yield
        except GuardStop as stop:
            self._guards.note(stop, system=name)
        except (ConnectorError, InvalidInput) as error:  # a secret that cannot be read any more, too
            note_failure(self._state, self._settings, report, name, error, self._clock())

    def _close(self, report: RunReport) -> None:
        say = speaker(self._settings.language)
        for name, connector in self._connectors.items():
            system = report.system(name)
            counts = connector.counts
            system.stream_calls, system.other_calls, system.write_calls = counts.stream, counts.other, counts.write
            left_out = sorted(connector.problems.items())
            system.problems = [
                *system.lost,
                *(say("{place}: {count} left out", place=place, count=f"{count:,}") for place, count in left_out),
            ]
        report.finished_at = self._clock()

    def _store(self, report: RunReport, outcome: str) -> None:
        row: dict[str, Any] = {
            "started_at": report.started_at,
            "finished_at": report.finished_at,
            "outcome": outcome,
            "report": asdict(report) | {"planned": []},
        }
        with self._state.begin() as connection:
            if connection.execute(update(t.run).where(t.run.c.run_id == report.run_id).values(**row)).rowcount == 0:
                connection.execute(t.run.insert().values(run_id=report.run_id, **row))


def _neighbours(connection: Connection, ids: Sequence[int]) -> Iterator[int]:
    """The people of the same companies: their account rules see what these people did."""
    for part in chunks(ids):
        companies = select(t.person.c.company_id).where(
            t.person.c.person_id.in_(part), t.person.c.company_id.is_not(None)
        )
        yield from connection.execute(
            select(t.person.c.person_id).where(t.person.c.company_id.in_(companies))
        ).scalars()


def _describe(connection: Connection, planned: Planned) -> list[dict[str, Any]]:
    """What a dry run shows of one batch: the field writes and tasks that would be owed."""
    found = []
    for ref in planned.writes:
        where = (
            t.outbox.c.effect == "fields",
            t.outbox.c.system == ref.system,
            t.outbox.c.kind == ref.kind,
            t.outbox.c.id == ref.id,
        )
        payload = connection.execute(select(t.outbox.c.payload).where(*where)).scalar_one()
        found.append({"effect": "fields", "record": str(ref), "values": payload["values"]})
    for key in planned.tasks:
        row = connection.execute(select(t.outbox).where(t.outbox.c.key == key)).mappings().one()
        found.append(
            {"effect": "task", "record": f"{row['system']}/{row['kind']}/{row['id']}", "key": key, **row["payload"]}
        )
    return found


def _require_same_days(state: State, zone: str) -> None:
    """Stored days are local: a state of one time zone cannot be read in another."""
    kept = get_kept(state, "timezone")
    if kept is None:
        keep(state, "timezone", zone)
    elif kept != zone:
        raise CannotStart(
            f"the state counts days in {kept}, the settings in {zone}",
            hint=f"write `timezone: {kept}` again, or name a new database in `state:` and sync (all is read anew)",
        )


def _require_known_systems(state: State, connectors: Mapping[str, Connector]) -> None:
    """A connection that was renamed or taken away still has its people here: nobody guesses what is meant."""
    with state.outside() as connection:
        found = set(connection.execute(select(t.cursor.c.system).distinct()).scalars())
    if lost := sorted(found - set(connectors)):
        raise CannotStart(
            f"the state holds records of {', '.join(lost)}, which the settings no longer name",
            hint="name the connection as it was, or a new database in `state:` (people handed over stay so: the CRMs know)",
        )


def _start_handover(connection: Connection, plan: PlanSettings, moment: Moment) -> None:
    """The first pass over all people is complete: from now on only newcomers and risers are offered."""
    if plan.started_at is None:
        keep_in(connection, f"handover started {plan.policy.name}", moment.as_of)
