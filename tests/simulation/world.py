"""One company in one process: both CRMs emulated, Mikomi's parts wired by hand so that time, faults and crashes are ours.

Everything that happens is a method here; `steps` draws them, `watch` holds the invariants against what came of it.
"""

import json
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Self
from urllib.request import Request, urlopen
from zoneinfo import ZoneInfo

from sqlalchemy import select, update

from connectors import Connector, open_connector
from core.errors import ConnectorError, LeaseLost, MikomiError
from core.records import Millis
from core.rulebook import Rulebook, load_rulebook
from sandbox import ACCOUNTS, Sandbox
from sync.app import usage_of
from sync.backup import restore_backup, write_backup
from sync.cycle import Cycle
from sync.progress import Silent
from sync.reconcile import reconcile
from sync.report import RunReport
from sync.settings import Settings
from sync.state import State, open_state
from sync.state import schema as t
from sync.state.calls_made import StateLedger
from tests.simulation.commits import Crash, crashing, watching
from tests.simulation.crms import LATE_SECONDS, Crms, SimulatedClock
from tests.simulation.wire import without_sockets
from tests.sync.databases import new_sqlite
from tests.sync.practice import find_admin_token

START_MS = 1_795_482_000_000  # Tuesday 2026-11-24, ten in the morning in Tokyo
TITLES = ("部長", "課長", "担当", "代表取締役", "")
RULEBOOK = """
name: simulated
timezone: Asia/Tokyo
dimensions: {fit: {cap: 50}, engagement: {cap: 60}, relationship: {cap: 30}}
rules:
  - {id: boss, dimension: fit, points: 35, when: {field: title_rank, at_least: section_manager}, label: {ja: 役職者, en: Manager}}
  - {id: met, dimension: engagement, points: POINTS, on: meeting, decay: {half_life: 60d}, cap: 60, label: {ja: 商談, en: Meeting}}
  - {id: called, dimension: engagement, points: 15, on: call, decay: {half_life: 60d}, cap: 45, label: {ja: 通話, en: Call}}
  - {id: webinar, dimension: engagement, points: 10, on: webinar_attend, label: {ja: ウェビナー, en: Webinar}}
  - {id: won, dimension: relationship, points: 15, deal: {won: {at_least: 1, within: 365d}}, label: {ja: 受注, en: Won}}
  - {id: team, dimension: relationship, points: 10, account: {people_active: {at_least: 2, within: 90d}}, label: {ja: 同僚, en: Colleagues}}
bands: {A: {total: 60}, B: {total: 40}, C: {total: 20}, D: {}}
handover: {name: sales, band: A, recent: 14d, rearm_below: 50, initial: all}
"""

UNUSED = ("emails", "notes", "email_events", "forms", "lists", "marketing_events", "web_events")
"""HubSpot's other sources of activities: nothing here acts there, and each costs calls in every pass."""

PAIR = {"salesforce": "salesforce", "hubspot": "hubspot"}


@dataclass(slots=True)
class Tally:
    """What a history did to itself: for the table of faults, and for what the checks must allow."""

    steps: list[str] = field(default_factory=list)
    faults: set[str] = field(default_factory=set)
    poisoned: set[str] = field(default_factory=set)
    erased: set[str | None] = field(default_factory=set)  # names and addresses of people whom a CRM deleted for good
    erased_keys: set[str] = field(default_factory=set)  # tasks of ours that went with them
    forgotten_keys: set[str] = field(default_factory=set)  # tasks made after the backup that was put back
    webinars: set[tuple[str, str]] = field(default_factory=set)  # (record, name) of each attendance told to both CRMs
    trespasses: list[str] = field(default_factory=list)  # fields that are not ours and changed while we alone worked
    crashed: int = 0
    overtaken: int = 0
    not_stopped: int = 0


@lru_cache(maxsize=8)
def rulebook_with(points: int) -> Rulebook:
    return load_rulebook(RULEBOOK.replace("POINTS", str(points)), source="simulated.yaml")


@dataclass(frozen=True, slots=True)
class Process:
    """What a running Mikomi holds open."""

    mark: str
    settings: Settings
    state: State
    connectors: Mapping[str, Connector]

    def close(self) -> None:
        for connector in self.connectors.values():
            connector.close()
        self.state.close()


class Eye(State):
    """The state as the checks look at it, hundreds of times a history: its connection stays open between looks."""

    def _rest(self) -> None:
        return


class World(Crms):
    """See the module. Use as a context manager."""

    def __init__(
        self,
        folder: Path,
        *,
        state_url: str | None = None,
        unique_task: bool = True,
        accounts: Path | None = None,
        native: Mapping[str, Any] | None = None,
        sockets: bool = True,
        **settings: Any,
    ) -> None:
        """A company's beginning.

        Args:
            folder: for the state and the CRMs' rows.
            state_url: an empty PostgreSQL database; None: SQLite in the folder.
            unique_task: whether the CRMs keep task keys unique.
            accounts: where the CRMs keep their rows, which then begin empty; else they are copies that are set up.
            native: settings of the native sync, which then joins the two as a pair; None: it is off.
            sockets: whether Mikomi's calls go over HTTP; else they are handed over in process (see `wire`).
            settings: Mikomi's, beside those that the world needs.

        """
        self.folder = folder
        self.url = state_url or new_sqlite(folder / "state.sqlite3")
        places = {"database_dir": str(accounts)} if accounts else {"begin_with": str(_set_up(unique_task, folder))}
        self.box = Sandbox(people=0, limits=False, now_ms=START_MS, unique_task_property=unique_task, **places)
        self.unique_task = unique_task
        self.native = native
        self.sockets = sockets
        self.more = settings if native is None else {"pair": PAIR, **settings}
        self.points = 30
        self.people = 0
        self.reports: list[RunReport] = []
        self.stopped: list[MikomiError] = []
        self.restored = False
        self.share: int | None = None  # calls a day that HubSpot's connection was granted
        self.calls_made: list[tuple[Millis, int]] = []  # since the grant: HubSpot's count, by time
        self.backup: Path | None = None
        self.backup_keys: set[str] = set()  # of the tasks that existed when it was taken
        self.tally = Tally()
        self.disturb_database: Callable[[float], None] = time.sleep
        self.on_commit: list[Any] = []
        self._process: Process | None = None

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.callback(self.box.stop)
            self.box.start()
            if not self.sockets:
                undo.enter_context(without_sockets(self.box))
            self._begin()
            self._open = undo.pop_all()
        return self

    def _begin(self) -> None:
        self.box.clock.hold()
        self.clock = SimulatedClock(self.box)
        self.eye = Eye(open_state(self.url).engine, self.url)
        os.environ["SIMULATED_SF"] = self.box.salesforce.token
        os.environ["SIMULATED_HS"] = self.box.hubspot.token
        admin = find_admin_token(self.control("salesforce", "GET", "credentials"))
        os.environ["SIMULATED_ADMIN"] = admin
        self.owner = _first_owner(self.box)
        if self.native is not None:
            self.box.native.configure({"on": True, **self.native})

    def __exit__(self, *_: object) -> None:
        self.end_process()
        self.eye.close()
        self._open.close()

    # --- Mikomi ---------------------------------------------------------------------------------------------------------

    @property
    def settings(self) -> Settings:
        connections = {
            "salesforce": {
                "vendor": "salesforce",
                "auth": "access_token",
                "access_token": {"env": "SIMULATED_SF"},
                "setup_access_token": {"env": "SIMULATED_ADMIN"},
                "base_url": self.box.salesforce.url,
                "sandbox": True,
            },
            "hubspot": {
                "vendor": "hubspot",
                "token": {"env": "SIMULATED_HS"},
                "base_url": self.box.hubspot.url,
                "sandbox": True,
                "searches_per_second": 0,
                "mapping": {"activities": {name: [] for name in self._unused()}},
            },
        }
        for name, more in self.more.get("connections", {}).items():
            connections[name] |= more
        rest = {name: value for name, value in self.more.items() if name != "connections"}
        return Settings(
            **{
                "stage": "all",
                "connections": connections,
                "deliver": {"delta": 1, "refresh_days": 1},
                "tasks": {"fallback_owner": {"hubspot": self.owner}},
                "state": self.url,
                **rest,
            }
        )

    def _unused(self) -> list[str]:
        """Webinars are told to both CRMs, where these are a pair."""
        return [name for name in UNUSED if self.native is None or name != "marketing_events"]

    @contextmanager
    def connectors(self, settings: Settings, state: State | None = None) -> Iterator[Mapping[str, Connector]]:
        """New ones; their calls are counted in `state`, or not at all."""
        built = self._build(settings, state)
        try:
            yield built
        finally:
            for connector in built.values():
                connector.close()

    def _build(self, settings: Settings, state: State | None) -> dict[str, Connector]:
        return {
            name: open_connector(
                name,
                section,
                zone=ZoneInfo("Asia/Tokyo"),
                usage=usage_of(rulebook_with(self.points)),
                clock=self.clock,
                ledger=StateLedger(lambda: state, name),
            )
            for name, section in settings.connections.items()
        }

    def process(self) -> "Process":
        """The process that is running: a pass finds what the pass before left in memory, as in a service.

        Another configuration, a crash and a restored backup end it; the next pass is another process.
        """
        settings = self.settings
        mark = f"{self.points} {settings.model_dump_json()}"
        if self._process is None or self._process.mark != mark:
            self.end_process()
            state = open_state(self.url)
            self._process = Process(mark, settings, state, self._build(settings, state))
        return self._process

    def end_process(self) -> None:
        if self._process is not None:
            self._process.close()
            self._process = None

    def grant(self, calls: int) -> None:
        """From now on this connection may make so many calls a day."""
        self.share = calls
        self.calls_made = [(self.box.clock.now_ms(), self.hubspot_calls())]
        self.more.setdefault("connections", {}).setdefault("hubspot", {})["daily_calls"] = calls

    def lift_share(self) -> None:
        """The connection may make as many calls as it wants again."""
        if self.share is not None:
            self.share = None
            del self.more["connections"]["hubspot"]["daily_calls"]

    def setup(self) -> None:
        with self.connectors(self.settings) as built:
            for connector in built.values():
                failed = [r for r in connector.apply_setup() if r.status == "failed"]
                assert failed == [], failed

    @contextmanager
    def state(self) -> Iterator[State]:
        state = open_state(self.url)
        try:
            yield state
        finally:
            state.close()

    def sync(self, *, crash_at: tuple[int, bool] | None = None, sweep: bool = False) -> RunReport | None:
        """One pass. None where it crashed (as asked) or could not run."""
        self._count_calls()
        process = self.process()
        state = process.state
        with self._nobody_else(), crashing(state, crash_at, self.on_commit):
            cycle = Cycle(state, process.settings, rulebook_with(self.points), process.connectors, clock=self.clock.now)
            try:
                report = cycle.run(sweep=sweep, strict=False)
            except Crash:
                self.tally.crashed += 1
                self._free_lease()
                self.end_process()
                return None
            except (ConnectorError, LeaseLost, MikomiError) as error:
                self.stopped.append(error)
                return None
        self.reports.append(report)
        return report

    def sync_overtaken(self, commit: int) -> bool:
        """One run stands still before a commit, another takes over and ends; the first then goes on. Whether it was stopped."""
        self._count_calls()
        reached, go_on, ended = threading.Event(), threading.Event(), threading.Event()
        found: list[BaseException] = []
        settings = self.settings

        def slow() -> None:
            seen = [0]

            def stand_still() -> None:
                seen[0] += 1
                if seen[0] == commit:
                    reached.set()
                    go_on.wait(60)

            try:
                with self.state() as state, self.connectors(settings, state) as built, watching(state, stand_still):
                    Cycle(state, settings, rulebook_with(self.points), built, clock=self.clock.now).run(strict=False)
            except BaseException as error:
                found.append(error)
            finally:
                ended.set()
                reached.set()

        thread = threading.Thread(target=slow)
        with self._nobody_else():
            thread.start()
            reached.wait(60)
            overtaken = not ended.is_set()
            if overtaken:
                self._free_lease()  # as if its beat had stood still for the lease's life
                self.sync()
            go_on.set()
            thread.join(60)
        for error in found:
            if not isinstance(error, MikomiError):
                raise error
        stopped = any(isinstance(error, LeaseLost) for error in found)
        self.tally.overtaken += overtaken
        self.tally.not_stopped += overtaken and not stopped
        return stopped

    def _count_calls(self) -> None:
        if self.share is not None:
            self.calls_made.append((self.box.clock.now_ms(), self.hubspot_calls()))

    @contextmanager
    def _nobody_else(self) -> Iterator[None]:
        """Only Mikomi works meanwhile: of Salesforce's fields none but its own may change. (HubSpot keeps its history.)"""
        before = self.foreign()
        try:
            yield
        finally:
            after = self.foreign()
            changed = {row for row in before.keys() & after.keys() if before[row] != after[row]}
            self.tally.trespasses += [
                f"a field of {row} that is not ours" for row in before.keys() - after.keys() | changed
            ]

    def _free_lease(self) -> None:
        with self.eye.begin(fenced=False) as connection:
            connection.execute(update(t.lease).values(holder=None))

    def rows(self, table: Any, *where: Any) -> list[dict[str, Any]]:
        with self.eye.read() as connection:
            return [dict(row) for row in connection.execute(select(table).where(*where)).mappings()]

    def take_backup(self) -> None:
        """A copy of the state while nothing runs."""
        self.backup = self.folder / "backup.sqlite3"
        self.backup.unlink(missing_ok=True)
        self.backup_keys = self.task_keys()
        with self.state() as state:
            write_backup(state, self.backup)

    def put_backup_back(self) -> None:
        if self.backup is None:
            return
        self.end_process()
        if self.late_ordered:
            time.sleep(LATE_SECONDS * 3)
        self.tally.forgotten_keys |= self.task_keys() - self.backup_keys
        with self.state() as state, state.alone():
            restore_backup(state, self.backup)
        self.restored = True
        if self.share is not None:  # the calls made since the backup are forgotten with everything else
            self.grant(self.share)

    def reconcile(self) -> None:
        """What an operator does after a restore: look both ways and heal."""
        settings = self.settings
        with self.state() as state, self.connectors(settings, state) as built:
            name = rulebook_with(self.points).handover.name
            reconcile(state, settings, built, name, heal=True, progress=Silent(), clock=self.clock.now)


def _first_owner(box: Sandbox) -> str:
    """Somebody in HubSpot who can take tasks of contacts without an owner."""
    request = Request(
        f"{box.hubspot.url}/crm/v3/owners?limit=1", headers={"Authorization": f"Bearer {box.hubspot.token}"}
    )
    with urlopen(request, timeout=30) as answer:
        return str(json.load(answer)["results"][0]["id"])


def _set_up(unique_task: bool, folder: Path) -> Path:
    """The accounts of two CRMs as `setup` leaves them, in a folder of `folder`."""
    for name, content in _accounts(unique_task).items():
        (folder / "accounts").mkdir(exist_ok=True)
        (folder / "accounts" / name).write_bytes(content)
    return folder / "accounts"


@cache
def _accounts(unique_task: bool) -> Mapping[str, bytes]:
    """Their files. Set up once a process: it takes fifty calls, as long as a quarter of a history."""
    with tempfile.TemporaryDirectory() as folder:
        with World(Path(folder), unique_task=unique_task, accounts=Path(folder)) as world:
            world.setup()
        return {name: (Path(folder) / name).read_bytes() for name in ACCOUNTS}


@contextmanager
def new_folder(scratch: Path | None) -> Iterator[Path]:
    """An empty folder until the block ends: always the same one in `scratch`, so that what is kept by its path is found again."""
    if scratch is None:
        with tempfile.TemporaryDirectory() as made:
            yield Path(made)
        return
    folder = scratch / "world"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
