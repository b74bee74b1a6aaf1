"""The service: does what is due, for years. Which instance works is decided by a lease; what is due, by the agenda.

No failing run ends it: it is tried again, less and less often, and said once. What ends it is being asked to, and at its start
a configuration that cannot work. Settings and rules that change on disk are taken over before the next pass if they are
valid; else the old ones stay in force, and the log and the status say so.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from core.errors import (
    AlreadyRunning,
    CannotStart,
    Interrupted,
    InvalidInput,
    LeaseLost,
    MikomiError,
    StateError,
    StateTooNew,
    StateUnavailable,
)
from core.records import Millis, to_datetime
from sync.app import App
from sync.asked import Asked, StoppableClock
from sync.cycle import Cycle
from sync.health import Health, Heartbeat, Trouble, read_health
from sync.log import get_log
from sync.progress import Silent, Stoppable
from sync.reconcile import ReconcileReport, reconcile
from sync.schedule import BACKUP, CYCLE, DAILY, RECONCILE, Agenda, plan_timings
from sync.state import State, now_ms, open_state
from sync.state.lease import LIFE_SECONDS, Fence, hold

LEASE = "serve"
STANDBY_SECONDS = 5.0
BUSY_MS = 30_000
"""After so long it is tried again where somebody's own `mikomi sync` was at work."""

FIRST_BACKOFF_MS = 30_000
LONGEST_BACKOFF_MS = 15 * 60_000
FIRST_RETRY_MS = 15 * 60_000
LONGEST_RETRY_MS = 4 * 60 * 60_000
"""A job that comes seldom and failed is tried again after so long, twice as long each time; never later than its next time."""

BACKUP_PREFIX = "mikomi-"
"""Of the files that the schedule makes: others in the folder are nobody's to remove."""

SERVER_SECONDS = 60.0
"""So long a database server is waited for at the start; then whoever started us may try again."""

LONGEST_WAIT_SECONDS = 30.0
"""The agenda is looked at so often, so that a clock that was set is noticed."""

_log = get_log(__name__)


class Configured:
    """The configuration in force, and what is on disk."""

    def __init__(self, file: Path, asked: Asked) -> None:
        """Read it.

        Raises:
            InvalidInput: it cannot work.

        """
        self._file = file
        self._clock = StoppableClock(asked)
        self.app = self._open()
        self._seen = self._content(self.app)
        self.refused: str | None = None
        self.worked = False  # a pass could begin with it

    def take_over(self) -> bool:
        """Use what is on disk by now, where it changed and is valid; whether anything else is in force now."""
        content = self._content(self.app)
        if content == self._seen:
            return False
        self._seen = content
        try:
            fresh = self._open()
            if fresh.loaded.state_url != self.app.loaded.state_url:
                fresh.close()
                raise InvalidInput("`state:` names another database", hint="restart the service")
        except MikomiError as error:
            self.refused = str(error)
            _log.warning(
                "changed configuration refused, the old one stays in force", cause=error.message, hint=error.hint
            )
            return False
        self.app.close()
        self.app, self.refused = fresh, None
        self._seen = self._content(fresh)
        _log.info("changed configuration in force")
        return True

    def close(self) -> None:
        self.app.close()

    def _open(self) -> App:
        app = App(self._file, clock=self._clock)
        try:
            plan_timings(app.loaded.settings)
            len(app.connectors)  # built, and with them the rulebook read
        except BaseException:
            app.close()
            raise
        return app

    def _content(self, app: App) -> tuple[bytes | None, bytes | None]:
        found: list[bytes | None] = []
        for path in (self._file, app.loaded.rulebook_file):
            try:
                found.append(path.read_bytes())
            except OSError:
                found.append(None)
        return found[0], found[1]


def serve(
    file: Path,
    asked: Asked,
    *,
    clock: Callable[[], Millis] = now_ms,
    life_seconds: float = LIFE_SECONDS,
    standby_seconds: float = STANDBY_SECONDS,
) -> None:
    """Work until asked to stop; stand by while another instance does.

    Raises:
        InvalidInput, CannotStart: the configuration cannot work; only before the first pass that did.
        StateError: the state cannot be opened; of a server only after it was waited for.

    """
    configured = Configured(file, asked)
    beat = Heartbeat(Health(began_at=clock()), clock)
    told: str | None = None
    try:
        with suppress(Interrupted), _opened(configured.app, asked) as state:
            while not asked.stop.is_set():
                beat.beat()
                try:
                    with hold(state, LEASE, life_seconds=life_seconds) as fence:
                        _log.info("service active", state="active")
                        told = None
                        Service(state, configured, asked, beat, fence, clock).work()
                except (AlreadyRunning, LeaseLost, StateUnavailable) as error:
                    beat.health.role = "standby"
                    if told != error.message:
                        _log.info("service waits", state="standby", cause=error.message)
                        told = error.message
                    asked.wait(standby_seconds)
            with suppress(StateError):
                beat.end(state)
    finally:
        configured.close()


@contextmanager
def _opened(app: App, asked: Asked) -> Iterator[State]:
    """The state. A database server that starts together with us is waited for."""
    began, waiting = time.monotonic(), False
    while True:
        try:
            state = open_state(app.loaded.state_url)
            break
        except StateTooNew:
            raise
        except StateError as error:
            if not app.loaded.state_url.startswith("postgres"):
                raise
            if time.monotonic() - began >= SERVER_SECONDS:
                raise StateUnavailable(error.message, hint=error.hint) from error
            if not waiting:
                _log.warning("waits for the database", cause=error.message)
            waiting = True
        asked.wait(STANDBY_SECONDS)
        if asked.stop.is_set():
            raise Interrupted("stopped before the database was there")
    if waiting:
        _log.info("database answers", seconds=round(time.monotonic() - began, 1))
    try:
        yield state
    finally:
        state.close()


class Service:
    """One instance while it holds the lease."""

    def __init__(
        self,
        state: State,
        configured: Configured,
        asked: Asked,
        beat: Heartbeat,
        fence: Fence,
        clock: Callable[[], Millis],
    ) -> None:
        self._state = state
        self._configured = configured
        self._asked = asked
        self._beat = beat
        self._fence = fence
        self._clock = clock
        self._progress = Stoppable(Silent(), asked.stop.is_set, beat.beat)
        self._unfinished: tuple[Millis, ReconcileReport] | None = None  # a reconciliation that left connections out
        beat.health.role = "active"
        if (before := read_health(state)) is not None:
            beat.health.done, beat.health.good_at = dict(before.done), before.good_at
            beat.health.troubles = dict(before.troubles)
        self._agenda = self._plan()
        self._agenda.due_at[CYCLE] = clock()  # whatever was missed: one pass now

    def work(self) -> None:
        """Do what is due until asked to stop.

        Raises:
            CannotStart: the very first pass could not begin.
            LeaseLost: another instance took over.

        """
        while not self._asked.stop.is_set():
            self._fence.require()
            if self._asked.reload.is_set() or self._agenda.due(self._clock()):
                self._asked.reload.clear()
                if self._configured.take_over():
                    self._unfinished = None
                    self._agenda = self._plan().keep_due(self._agenda, self._clock())
            self._beat.health.refused = self._configured.refused
            jobs = self._agenda.due(self._clock())
            if DAILY in jobs and CYCLE in jobs:  # the day's first pass is a pass
                jobs.remove(CYCLE)
                self._agenda.done(CYCLE, self._clock())
            for job in jobs:
                if not self._asked.stop.is_set():
                    self._do(job)
            self._beat.health.next_at = self._agenda.next_at()
            self._say_alive()
            left = (self._agenda.next_at() - self._clock()) / 1000
            self._asked.wait(min(max(left, 0.0), LONGEST_WAIT_SECONDS))

    def _plan(self) -> Agenda:
        timings = plan_timings(self._configured.app.loaded.settings)
        done = self._beat.health.done
        now = self._clock()
        for job in timings.keys() - {CYCLE}:
            done.setdefault(job, now)  # a job that was never done waits for its time, also over a restart
        for job in self._beat.health.troubles.keys() - timings.keys():
            del self._beat.health.troubles[job]  # it is no longer wanted
        return Agenda.begin(timings, done, now)

    def _say_alive(self) -> None:
        try:
            self._beat.beat(self._state)
        except StateUnavailable:
            self._beat.beat()

    # --- jobs -----------------------------------------------------------------------------------------------------------

    def _do(self, job: str) -> None:
        """One job; whatever happens to it, the next time it is due comes, and sooner where it failed."""
        began = time.monotonic()
        try:
            if job == CYCLE:
                self._pass()
            elif job == DAILY:
                self._daily()
            elif job == RECONCILE:
                self._reconcile()
            elif job == BACKUP:
                self._back_up()
        except Interrupted:
            raise
        except AlreadyRunning as error:
            _log.info("waits for another command", job=job, cause=error.message)
            self._agenda.done(job, self._clock())
            self._agenda.due_at[job] = min(self._agenda.due_at[job], self._clock() + BUSY_MS)
            return
        except LeaseLost:
            raise
        except Exception as error:
            if not self._configured.worked and isinstance(error, CannotStart | InvalidInput):
                raise  # nothing worked yet: somebody is setting it up, and looks
            self._note_failure(job, error)
        else:
            self._note_success(job, round(time.monotonic() - began, 1))

    def _pass(self) -> None:
        """One cycle. Raises where no connection could be served at all."""
        app = self._configured.app
        cycle = Cycle(
            self._state, app.loaded.settings, app.rulebook, app.connectors, progress=self._progress, clock=self._clock
        )
        with app.working_on(self._state):
            report = cycle.run(strict=False)
        self._configured.worked = True
        self._beat.health.ran_at = self._clock()
        if report.outcome == "failed" and any(s.error for s in report.systems.values()):
            worst = next(s for s in report.systems.values() if s.error)
            raise _NothingServed(worst.error or "", hint=worst.hint or "")

    def _daily(self) -> None:
        """The new day's scores, soon after midnight whatever the interval of the cycle; the pass also drops what is too old."""
        self._pass()

    def _reconcile(self) -> None:
        """All connections; where some were left out, those again until the next regular time: looking at a whole CRM is dear.

        Raises:
            _LeftOut: some were left out.

        """
        app, now = self._configured.app, self._clock()
        began, before, wanted = now, None, app.connectors
        if self._unfinished is not None and now < self._agenda.timings[RECONCILE].after(self._unfinished[0]):
            began, before = self._unfinished
            wanted = {name: connector for name, connector in wanted.items() if _why_left_out(before, name)}
        with app.working_on(self._state):
            report = reconcile(
                self._state,
                app.loaded.settings,
                wanted,
                app.rulebook.handover.name,
                heal=True,
                progress=self._progress,
                clock=self._clock,
                before=before,
            )
        found = sum(d.count for s in report.systems.values() for d in s.differences.values())
        level = _log.info if report.equal else _log.warning
        level("reconciled", count=found, failed=report.left)
        left_out = [f"{name}: {why}" for name in report.systems if (why := _why_left_out(report, name))]
        self._unfinished = (began, report) if left_out else None
        if left_out:
            raise _LeftOut("; ".join(left_out))

    def _back_up(self) -> None:
        from sync.backup import list_backups, write_backup

        loaded = self._configured.app.loaded
        folder = loaded.file.parent / loaded.settings.schedule.backup_folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = folder / f"{BACKUP_PREFIX}{to_datetime(self._clock()):%Y%m%dT%H%M%SZ}.sqlite3"
        write_backup(self._state, new)
        # The new one stays, whatever its date: those of a clock that stood ahead look younger.
        others = [file for file in list_backups(folder) if file.name.startswith(BACKUP_PREFIX) and file != new]
        for old in others[: max(0, len(others) + 1 - loaded.settings.schedule.keep_backups)]:
            old.unlink(missing_ok=True)

    # --- transitions ----------------------------------------------------------------------------------------------------

    def _note_failure(self, job: str, error: Exception) -> None:
        """Say it when it begins, and plan the next try."""
        health, now = self._beat.health, self._clock()
        message = error.message if isinstance(error, MikomiError) else type(error).__name__
        known = health.error if job == CYCLE else health.troubles[job].error if job in health.troubles else None
        if message != known:
            _log.error("failed", job=job, exc_info=error, hint=getattr(error, "hint", ""))
        if job in {CYCLE, DAILY}:
            health.failures += 1
            health.error = message
        self._agenda.done(job, now)
        if job == CYCLE:
            wait = min(LONGEST_BACKOFF_MS, FIRST_BACKOFF_MS << min(health.failures - 1, 10))
            self._agenda.due_at[job] = max(self._agenda.due_at[job], now + wait)
            return
        failures = 1 + (health.troubles[job].failures if job in health.troubles else 0)
        wait = min(LONGEST_RETRY_MS, FIRST_RETRY_MS << min(failures - 1, 10))
        self._agenda.due_at[job] = min(self._agenda.due_at[job], now + wait)
        health.troubles[job] = Trouble(failures, message, self._agenda.due_at[job])

    def _note_success(self, job: str, seconds: float) -> None:
        """What failed before works again: of this job, and of passes where it was one."""
        health, now = self._beat.health, self._clock()
        self._agenda.done(job, now)
        trouble = health.troubles.pop(job, None)
        if job != CYCLE:
            health.done[job] = now
        if job in {CYCLE, DAILY}:
            if health.failures:
                _log.info("works again", repeats=health.failures, since=health.good_at)
            health.failures, health.error, health.good_at = 0, None, now
        else:
            _log.info("job done", job=job, seconds=seconds, repeats=trouble.failures if trouble else 0)


def _why_left_out(report: ReconcileReport, name: str) -> str:
    """Why a connection was not looked at whole; empty if it was."""
    findings = report.systems[name]
    return findings.error or findings.skipped or ""


class _LeftOut(MikomiError):
    """A reconciliation that could not look at every connection."""


class _NothingServed(MikomiError):
    """A pass in which every connection failed."""
