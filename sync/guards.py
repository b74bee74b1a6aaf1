"""Stops before harm: a side that is suddenly empty, a rulebook that would move too many, a flood of hand-overs, a mass of writes.

A guard names what it stopped (`rulebook:<digest>`, `emptied:salesforce:2026-11-22`). Nothing of it is written until a person says
that name, in `mikomi sync --allow NAME` or in `guards: {allow: [NAME]}`, or the cause is gone. Reading goes on meanwhile. What is
judged is what stands in the state, so that a run that was killed in between is judged again, and what was allowed once stays
allowed until it is done. A dry run keeps no permission and buries nobody on one: its `--allow` only shows what would be written.
On the first day, and for small numbers, no guard stops. A pass without changes costs no more than a look at a setting.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace

from sqlalchemy import Connection, func, select

from connectors.protocol import Page
from core.errors import GuardStop
from core.records import DAY_MS, Day, Fact, Millis, RecordRef, Tombstone, local_day, to_date
from sync import audit
from sync.engine import ScoreEngine
from sync.plan import Moment, Planned, PlanSettings
from sync.report import RunReport
from sync.settings import Settings
from sync.state import State, outbox
from sync.state import schema as t
from sync.state.kept import get_kept, keep, keep_in
from sync.state.mirror import PERSON_KINDS
from sync.state.rows import chunks, select_at
from sync.state.stops import Stop, drop_stops, keep_stop, load_stops
from sync.texts import speaker

ACCEPTED = "rulebook accepted"
"""The setting with the scoring digest that scores may be stored with."""

AVERAGE_DAYS = 30
FLOOD = 5
"""So many times the daily average is a flood."""

SWEEP_AGAIN_MS = 60 * 60_000
"""A sweep that was stopped costs calls: it is not made again with every pass."""

PAGE = 1_000


@dataclass(slots=True)
class Guarding:
    """The guards of one run.

    Args:
        allow: names that a person confirmed for this run, besides those of the settings.
        sweep: a person asked for a sweep: it is made even if the last one was stopped a moment ago.
        now: this machine's time.
        halted: something was stopped that concerns every connection: nothing is written in this run.
        basis: digest of rules, texts, stage and fields: everything is written anew when it changes.
    """

    state: State
    settings: Settings
    report: RunReport
    now: Millis
    basis: str
    allow: Collection[str] = ()
    sweep: bool = False
    halted: bool = field(default=False, init=False)
    _offers: int | None = field(default=None, init=False)
    _most_offers: int = field(default=0, init=False)

    # --- a side suddenly empty ---------------------------------------------------------------------------------------

    def holds(self, system: str) -> bool:
        """Whether a sweep of a connection was stopped, and must be made again before the connection is written."""
        return self._standing(f"emptied {system}") is not None

    def hold_back(self, system: str, pages: Iterable[Page]) -> Iterator[Page]:
        """A sweep's pages; those that bury come last, and only if they bury no more than is usual.

        Raises:
            GuardStop: `emptied:<system>:<day>`; nothing was buried.

        """
        stop = self._standing(f"emptied {system}")
        settled = stop is None or self.sweep or self._is_allowed(stop)
        if stop is not None and not settled and 0 <= self.now - stop.tried_at < SWEEP_AGAIN_MS:
            raise GuardStop(stop.guard, stop.message, hint=stop.hint)
        held: list[tuple[Page, Tombstone]] = []
        counted: Counter[str] = Counter()
        known: dict[str, int] = {}
        for page in pages:
            stones, others = self._part(page)
            held += [(page, stone) for stone in stones]
            counted.update(stone.ref.kind for stone in stones)
            for kind in {stone.ref.kind for stone in stones}:
                self.judge_burial(system, kind, counted[kind], known)
            yield replace(page, facts=tuple(others))
        for part in chunks(held, PAGE):
            for stream in dict.fromkeys(page.stream for page, _ in part):
                facts = tuple(stone for page, stone in part if page.stream == stream)
                yield Page(stream, facts, part[0][0].cursor)
        if stop is not None:
            self._settle([f"emptied {system}"])

    def watch(self, system: str, pages: Iterable[Page]) -> Iterator[Page]:
        """The pages of ordinary reading, up to the one that would bury more than is usual.

        Raises:
            GuardStop: `emptied:<system>:<day>`; that page and what follows is not stored, and is read again.

        """
        counted: Counter[str] = Counter()
        known: dict[str, int] = {}
        for page in pages:
            stones, _ = self._part(page)
            counted.update(stone.ref.kind for stone in stones)
            for kind in {stone.ref.kind for stone in stones}:
                self.judge_burial(system, kind, counted[kind], known)
            yield page

    def judge_burial(self, system: str, kind: str, gone: int, known: dict[str, int] | None = None) -> None:
        """Whether so many records of a kind may be buried at once. `known`: live ones by kind, filled in as needed.

        Raises:
            GuardStop: `emptied:<system>:<day>`.

        """
        limits = self.settings.guards
        if gone <= limits.least:
            return
        known = {} if known is None else known
        if kind not in known:
            with self.state.outside() as connection:
                known[kind] = _count_live(connection, system, kind)
        if gone * 100 <= limits.emptied * known[kind] or self._is_first_day():
            return
        say = speaker(self.settings.language)
        self._require_allowed(
            f"emptied {system}",
            f"emptied:{system}:{self._today()}",
            say(
                "{gone} or more of {known} {kind} records are gone from {system} at once; at most {percent} % may unasked. "
                "None was taken out here, and nothing is written to {system}",
                gone=f"{gone:,}",
                known=f"{known[kind]:,}",
                kind=kind,
                system=system,
                percent=limits.emptied,
            ),
            say("look into the CRM: was something deleted, or a permission taken? If it is right"),
            rehearsed=False,
        )

    def _part(self, page: Page) -> tuple[list[Tombstone], list[Fact]]:
        """The facts of a page that would bury something alive, and the others."""
        stones = [fact for fact in page.facts if isinstance(fact, Tombstone) and fact.successor is None]
        if not stones:
            return [], list(page.facts)
        with self.state.read() as connection:
            alive = _alive(connection, [stone.ref for stone in stones])
        burying = [stone for stone in stones if stone.ref in alive]
        held = {id(stone) for stone in burying}
        return burying, [fact for fact in page.facts if id(fact) not in held]

    # --- another rulebook ----------------------------------------------------------------------------------------------

    def judge_rulebook(self, engine: ScoreEngine, plan: PlanSettings, moment: Moment) -> None:
        """Before anything is stored with another rulebook: whom it would move to another band.

        Raises:
            GuardStop: `rulebook:<digest>`.

        """
        if get_kept(self.state, ACCEPTED) == plan.digest:
            return
        name = f"rulebook:{plan.digest}"
        if self.settings.stage != "observe" and not self._is_first_day():
            stop = self._standing("rulebook")
            judged = stop is not None and stop.guard == name and stop.day == moment.today
            if stop is not None and judged and not self._is_allowed(stop) and not self.report.dry_run:
                raise GuardStop(name, stop.message, hint=stop.hint)  # scoring everyone once a day is enough
            moves, people = _band_moves(self.state, engine, moment.as_of)
            limits = self.settings.guards
            if moves.total() > limits.least and moves.total() * 100 > limits.moved * people:
                say = speaker(self.settings.language)
                self._require_allowed(
                    "rulebook",
                    name,
                    say(
                        "with this rulebook {entering} {entering:person|people} would enter band A, {lately} in the last 24 "
                        "hours; {moved} of {people} would change bands ({listed}); at most {percent} % may unasked. Nothing "
                        "was stored",
                        entering=f"{sum(count for (_, to), count in moves.items() if to == 'A'):,}",
                        lately=f"{_entered_lately(self.state, self.now):,}",
                        moved=f"{moves.total():,}",
                        people=f"{people:,}",
                        listed=", ".join(f"{old} → {new} {count:,}" for (old, new), count in moves.most_common()),
                        percent=limits.moved,
                    ),
                    say("look with `mikomi sync --dry-run`, and correct the rulebook. If it is right"),
                    day=moment.today,
                )
        if not self.report.dry_run:
            with self.state.begin() as connection:
                keep_in(connection, ACCEPTED, plan.digest)

    # --- a flood of hand-overs -------------------------------------------------------------------------------------------

    def judge_offers(self, connection: Connection, planned: Planned) -> None:
        """Inside the transaction that would store a batch: whether its hand-overs are still as many as on other days.

        Raises:
            GuardStop: `offered:<day>`; the batch must be rolled back.

        """
        if not planned.tasks:
            return
        limits = self.settings.guards
        if self._offers is None:
            self._offers = _count_unsent(connection)  # those of this batch are among them
            self._most_offers = max(limits.offered, round(FLOOD * _daily_offers(connection, self.now)))
        else:
            self._offers += len(planned.tasks)
        if self._offers <= max(self._most_offers, limits.least) or self._is_first_day(connection):
            return
        stop = load_stops(connection).get("offered")
        name = stop.guard if stop is not None else f"offered:{self._today()}"
        say = speaker(self.settings.language)
        found = Stop(
            name,
            say(
                "{offers} people or more would be handed over in one pass; at most {most} may unasked ({limit}, or five times "
                "the daily average). No further task was made, none was sent",
                offers=f"{self._offers:,}",
                most=f"{self._most_offers:,}",
                limit=limits.offered,
            ),
            _how_to_allow(say("look with `mikomi sync --dry-run` who they are. If it is right"), name),
            stop.at if stop is not None else self.now,
            self.now,
        )
        if self._is_allowed(stop or found):
            if stop is None or not stop.allowed:
                keep_stop(connection, "offered", replace(found, allowed=True))
                audit.note(connection, "allow", name, why=found.message, run_id=self.report.run_id)
        elif not self.report.dry_run:
            raise GuardStop(name, found.message, hint=found.hint)
        elif all(guard["guard"] != name for guard in self.report.guards):
            self.note(GuardStop(name, found.message, hint=found.hint))

    # --- a mass of writes --------------------------------------------------------------------------------------------------

    def judge_writes(self, systems: Iterable[str]) -> None:
        """Before anything is sent: whether more records are about to be written than what happened to people explains.

        Raises:
            GuardStop: `written:<system>:<day>`; nothing was sent to anybody.

        """
        limits, say = self.settings.guards, speaker(self.settings.language)
        for system in systems:
            with self.state.outside() as connection:
                owed = outbox.pending(connection, system, outbox.FIELDS, now=self.now)
            delivered = get_kept(self.state, f"delivered {system}") if owed > limits.least else None
            if delivered is None or delivered != self.basis or self._is_first_day():
                continue  # other rules, another stage or other fields write everybody anew
            with self.state.read() as connection:
                owed = _count_unexpected(connection, system, self.now, self.settings.deliver.refresh_days * DAY_MS)
                known = sum(_count_live(connection, system, kind) for kind in PERSON_KINDS)
            if owed > limits.least and owed * 100 > limits.written * known:
                self._require_allowed(
                    f"written {system}",
                    f"written:{system}:{self._today()}",
                    say(
                        "{owed} of {known} records in {system} would be written in one pass, though neither rules nor stage "
                        "changed; at most {percent} % may unasked. Nothing was sent",
                        owed=f"{owed:,}",
                        known=f"{known:,}",
                        system=system,
                        percent=limits.written,
                    ),
                    say("look what changed with `mikomi status` and `mikomi explain`. If it is right"),
                )

    # --- the end of a run ----------------------------------------------------------------------------------------------------

    def finish(self, delivered: Iterable[str]) -> None:
        """The run came to its end and nothing stopped it. `delivered`: connections that were written to without a fault."""
        settled = ["rulebook", "offered"]
        for system in delivered:
            with self.state.outside() as connection:
                owed = outbox.pending(connection, system, outbox.FIELDS, now=self.now)
            if not owed:
                settled.append(f"written {system}")
                if get_kept(self.state, f"delivered {system}") != self.basis:
                    keep(self.state, f"delivered {system}", self.basis)
        self._settle(settled)

    def note(self, stop: GuardStop, *, system: str | None = None) -> None:
        """Put a stop into the report; one that was found inside a transaction that is gone is remembered now.

        Args:
            system: the connection it concerns; the others are written. None: nothing is written.

        """
        if system is None:
            self.halted = True
        else:
            self.report.system(system).guarded = True
        self.report.guards.append({"guard": stop.guard, "message": stop.message, "hint": stop.hint})
        if stop.guard.startswith("offered:") and not self.report.dry_run:
            before = self._standing("offered")
            at = before.at if before is not None else self.now
            with self.state.begin() as connection:
                keep_stop(connection, "offered", Stop(stop.guard, stop.message, stop.hint, at, self.now))

    # --- what all of them need -------------------------------------------------------------------------------------------------

    def _require_allowed(
        self, key: str, name: str, message: str, hint: str, *, day: Day | None = None, rehearsed: bool = True
    ) -> None:
        """Stop, unless a person allowed it, now or before; a dry run only says that it would be stopped.

        Args:
            rehearsed: a dry run undoes what is judged here. What it does not undo needs a permission that a real run kept.

        """
        before = self._standing(key)
        if before is not None and key != "rulebook":
            name = before.guard  # the day on which it was stopped first
        if before is not None and before.guard != name:
            before = None
        at = before.at if before is not None else self.now
        stop = Stop(name, message, _how_to_allow(hint, name), at, self.now, day)
        kept = before is not None and before.allowed
        allowed = kept or (self._is_allowed(stop) and (rehearsed or not self.report.dry_run))
        if not kept and not (allowed and self.report.dry_run):
            with self.state.begin() as connection:
                keep_stop(connection, key, replace(stop, allowed=allowed))
                if allowed:
                    audit.note(connection, "allow", name, why=message, run_id=self.report.run_id)
        if not allowed and self.report.dry_run and key == "rulebook":
            self.note(GuardStop(name, message, hint=stop.hint))
        elif not allowed:
            raise GuardStop(name, message, hint=stop.hint)

    def _settle(self, keys: Iterable[str]) -> None:
        with self.state.outside() as connection:
            standing = set(load_stops(connection)) & set(keys)
        if standing:
            with self.state.begin() as connection:
                drop_stops(connection, standing)

    def _standing(self, key: str) -> Stop | None:
        with self.state.outside() as connection:
            return load_stops(connection).get(key)

    def _is_allowed(self, stop: Stop) -> bool:
        return stop.allowed or stop.guard in self.allow or stop.guard in self.settings.guards.allow

    def _is_first_day(self, connection: Connection | None = None) -> bool:
        if connection is None:
            with self.state.outside() as own:
                return self._is_first_day(own)
        began = connection.execute(select(func.min(t.run.c.started_at))).scalar()
        return began is None or abs(self.now - int(began)) < DAY_MS

    def _today(self) -> str:
        return to_date(local_day(self.now, self.settings.zone)).isoformat()


def _how_to_allow(hint: str, name: str) -> str:
    return f"{hint}: mikomi sync --allow {name}"


def _count_live(connection: Connection, system: str, kind: str) -> int:
    """Records of a kind that are neither deleted nor merged away."""
    table = {"account": t.account, "deal": t.deal}.get(kind, t.record)
    where = [table.c.system == system, table.c.deleted_at.is_(None)]
    if table is t.record:
        where.append(t.record.c.kind == kind)
    return int(connection.execute(select(func.count()).select_from(table).where(*where)).scalar_one())


def _alive(connection: Connection, refs: Collection[RecordRef]) -> set[RecordRef]:
    """Which of these are in the mirror and alive."""
    own = t.record.c
    people = select_at(connection, t.record, refs, own.system, own.kind, own.id, where=own.deleted_at.is_(None))
    found = {RecordRef(row["system"], row["kind"], row["id"]) for row in people}
    for kind, table in (("account", t.account), ("deal", t.deal)):
        wanted = {(ref.system, ref.id) for ref in refs if ref.kind == kind}
        for system in {system for system, _ in wanted}:
            for part in chunks(identifier for own_system, identifier in wanted if own_system == system):
                where = (table.c.system == system, table.c.id.in_(part), table.c.deleted_at.is_(None))
                found |= {
                    RecordRef(system, kind, i) for i in connection.execute(select(table.c.id).where(*where)).scalars()
                }
    return found


def _band_moves(state: State, engine: ScoreEngine, as_of: Millis) -> tuple[Counter[tuple[str, str]], int]:
    """Everybody scored with the engine's rulebook, nothing stored: (band now, band then) to people; and how many were compared."""
    moves: Counter[tuple[str, str]] = Counter()
    people = 0
    for batch in engine.score_all(as_of, trend=False):
        bands: dict[int, str] = {}
        with state.read() as connection:
            for part in chunks(score.person_id for score in batch):
                known = select(t.score.c.person_id, t.score.c.band).where(t.score.c.person_id.in_(part))
                bands |= {row.person_id: row.band for row in connection.execute(known)}
        people += len(bands)
        for score in batch:
            before = bands.get(score.person_id)
            if before is not None and before != score.band:
                moves[before, score.band] += 1
    return moves, people


def _entered_lately(state: State, now: Millis) -> int:
    """How many people came into band A in the runs of the last day; what a dry run showed has not happened."""
    with state.outside() as connection:
        reports = connection.execute(select(t.run.c.report).where(t.run.c.started_at >= now - DAY_MS)).scalars()
        return sum(
            int(count)
            for report in reports
            if not report.get("dry_run")
            for move, count in (report.get("moves") or {}).items()
            if move.endswith(">A")
        )


def _count_unexpected(connection: Connection, system: str, now: Millis, refresh: Millis) -> int:
    """Records about to be written that were written less than a refresh period ago: what they owe now is news."""
    box, taken = t.outbox.c, t.acknowledged.c
    same = (box.system == taken.system) & (box.kind == taken.kind) & (box.id == taken.id)
    where = (box.system == system, box.effect == outbox.FIELDS, box.state == "new", box.due_at <= now)
    recent = taken.at > now - refresh
    statement = select(func.count()).select_from(t.outbox.join(t.acknowledged, same)).where(*where, recent)
    return int(connection.execute(statement).scalar_one())


def _count_unsent(connection: Connection) -> int:
    """Tasks that wait for their first sending."""
    box = t.outbox.c
    where = (box.effect == outbox.TASK, box.state == "new", box.sent_at.is_(None))
    return int(connection.execute(select(func.count()).select_from(t.outbox).where(*where)).scalar_one())


def _daily_offers(connection: Connection, now: Millis) -> float:
    """Tasks a day since the first one, over a month at most; those that wait are not counted."""
    box = t.outbox.c
    where = (box.effect == outbox.TASK, box.sent_at.is_not(None), box.created_at >= now - AVERAGE_DAYS * DAY_MS)
    count, first = connection.execute(select(func.count(), func.min(box.created_at)).where(*where)).one()
    return int(count) / max(1.0, (now - int(first)) / DAY_MS) if count else 0.0
