"""One pass: extract, resolve, clean, score, plan, deliver. Named steps, one report.

A CRM that fails stops itself, never the others: what was read is stored, what is owed stays owed, and the report says why.
Scores are as of the newest time that any CRM gave in this run, so that facts and clock agree.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, func, select, update

from connectors import Connector
from core.errors import CannotStart, ConnectorError, MikomiError, QuotaExhausted, Transient
from core.records import Millis, local_day
from core.rulebook import Rulebook
from sync.clean import mark_activities
from sync.deliver import deliver
from sync.engine import Scored, ScoreEngine
from sync.extract import extract
from sync.plan import Moment, Planned, PlanSettings, plan_people
from sync.planning import build_plan, pass_signature
from sync.progress import Progress, Silent
from sync.ready import cannot_start
from sync.report import RunReport
from sync.resolve import resolve_touched, vendors_of
from sync.settings import Settings
from sync.state import State, now_ms, outbox
from sync.state import schema as t
from sync.state.kept import get_kept, keep, keep_in
from sync.state.rows import chunks

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

    def run(self, *, dry_run: bool = False, sweep: bool = False, strict: bool = True) -> RunReport:
        """One pass.

        Args:
            dry_run: the CRMs are read but nothing is owed or sent: the report says what would be.
            sweep: look for deletions and association-only changes even if the last look is recent.
            strict: begin only if every CRM can be reached; else those that can are served.

        Raises:
            CannotStart: wrong credential, scope, mapping or set-up; nothing was read or written.

        """
        report = RunReport(uuid.uuid4().hex, self._settings.stage, self._clock(), dry_run=dry_run)
        with self._state.alone():
            _require_same_days(self._state, self._settings.timezone)
            _require_known_systems(self._state, self._connectors)
            self._prepare(report, strict=strict)
            return self._pass(report, sweep=sweep)

    # --- steps --------------------------------------------------------------------------------------------------------

    def _pass(self, report: RunReport, *, sweep: bool) -> RunReport:
        self._store(report, "running")
        try:
            for name, connector in self._alive(report):
                with self._guard(name, report):
                    extract(self._state, connector, report.system(name), self._progress, sweep=sweep)
            resolve_touched(self._state, self._settings, report, self._progress)
            self._score(report)
            if not report.dry_run and self._settings.stage != "observe":
                self._deliver(report)
        except BaseException:
            self._close(report)
            self._store(report, "failed")
            raise
        self._close(report)
        self._store(report, report.outcome)
        return report

    def _prepare(self, report: RunReport, *, strict: bool) -> None:
        """Everything that would stop a run half-way is found before it begins."""
        problems: list[tuple[str, MikomiError]] = []
        for name, connector in self._connectors.items():
            try:
                connector.prepare()
                if not report.dry_run:
                    self._require_setup(name, connector)
            except (Transient, QuotaExhausted) as error:
                if strict:
                    problems.append((name, error))
                else:
                    report.system(name).error, report.system(name).hint = error.message, error.hint
            except MikomiError as error:
                problems.append((name, error))
        if problems:
            raise cannot_start(problems)

    def _require_setup(self, name: str, connector: Connector) -> None:
        """Before anything is written: the fields must be there, and tasks need their unique key (SETTLED 25)."""
        stage = self._settings.stage
        if stage == "observe":
            return
        open_steps = [step for step in connector.plan_setup() if not step.done]
        if open_steps:
            listed = ", ".join(step.name for step in open_steps[:5]) + (" …" if len(open_steps) > 5 else "")
            raise CannotStart(
                f"connection {name} is not set up for stage {stage}: {listed}",
                hint="mikomi setup --plan, then mikomi setup --apply (or `stage: observe`)",
            )
        if stage == "all" and connector.capabilities.task_key is False:
            raise CannotStart(
                f"connection {name} cannot keep task keys unique, so stage all is refused",
                hint="use `stage: fields`, or let `mikomi setup --apply` create the key field",
            )

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
        ids = self._touched_people()
        self._clean(ids)
        if report.daily and not report.dry_run:
            with self._state.begin() as connection:
                outbox.revive_tasks(connection, now=moment.now)
        with closing(engine):
            self._score_and_plan(engine, plan, moment, ids, signature, report)
        with self._state.read() as connection:
            report.people = connection.execute(select(func.count()).select_from(t.person)).scalar_one()

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

    def _clean(self, ids: Sequence[int]) -> None:
        vendors = vendors_of(self._settings)
        for part in chunks(ids, BATCH):
            with self._state.begin() as connection:
                mark_activities(connection, part, vendors=vendors, signals=self._settings.signals)

    def _deliver(self, report: RunReport) -> None:
        tasks = self._settings.stage == "all"
        for name, connector in self._alive(report):
            with self._guard(name, report):
                deliver(self._state, connector, report.system(name), self._progress, tasks=tasks, now=self._clock())

    # --- what the steps need ------------------------------------------------------------------------------------------

    def _alive(self, report: RunReport) -> list[tuple[str, Connector]]:
        """The systems that have not failed in this run."""
        return [(name, c) for name, c in self._connectors.items() if report.system(name).error is None]

    def _as_of(self, report: RunReport) -> Millis | None:
        """The newest CRM time; None where no CRM could be read at all."""
        return max((connector.now() for _, connector in self._alive(report)), default=None)

    def _touched_people(self) -> list[int]:
        with self._state.read() as connection:
            return list(connection.execute(select(t.person.c.person_id).where(t.person.c.dirty)).scalars())

    @contextmanager
    def _guard(self, name: str, report: RunReport) -> Iterator[None]:
        """A failing system is reported and left alone for the rest of the run."""
        system = report.system(name)
        try:
            yield
        except QuotaExhausted as error:
            system.error, system.hint = error.message, error.hint
            until = error.resets_at.astimezone(self._settings.zone) if error.resets_at else None
            system.paused_until = f"{until:%Y-%m-%d %H:%M %Z}" if until else None
        except ConnectorError as error:
            system.error, system.hint = error.message, error.hint

    def _close(self, report: RunReport) -> None:
        for name, connector in self._connectors.items():
            system = report.system(name)
            counts = connector.counts
            system.stream_calls, system.other_calls, system.write_calls = counts.stream, counts.other, counts.write
            system.problems = [f"{place}: {count} left out" for place, count in sorted(connector.problems.items())]
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
    with state.read() as connection:
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
