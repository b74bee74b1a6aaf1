"""The sandbox's entry point: both emulators on their ports, filled with a seeded market or with plain records."""

import errno
import json
import shutil
import signal
import ssl
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from sandbox.clock import Clock
from sandbox.hubspot import HubSpot, HubSpotOptions
from sandbox.market.load import Report, load_market, load_records
from sandbox.market.market import Market, simulate
from sandbox.market.truth import Truth
from sandbox.native import NativeSync, WithNative
from sandbox.salesforce import Salesforce, SalesforceOptions
from sandbox.server import App, Request, Response, Server, reply

Edition = Literal["Free", "Starter", "Professional", "Enterprise"]
EDITIONS: tuple[Edition, ...] = ("Free", "Starter", "Professional", "Enterprise")
SETTLED_MS = 15 * 60_000
"""How long before the start the market's last edit was: incremental readers find it outside their overlap."""
ACCOUNTS = ("salesforce.sqlite3", "hubspot.sqlite3")
DATABASES = (*ACCOUNTS, "truth.sqlite3")


class StartError(Exception):
    """The sandbox cannot be served as asked: a port in use, a folder that holds another sandbox. One clear sentence."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an emulator answers. `tls_url` and `ca` (path of a PEM file) only with TLS."""

    url: str
    token: str
    tls_url: str | None = None
    ca: str | None = None

    def document(self) -> dict[str, str]:
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True)
class SandboxOptions:
    """What to serve. `now_ms` None: the clock starts at real time. `records` replaces the market by plain records.

    `native_sync` switches on HubSpot's native Salesforce sync between the two, with the settings it has when installed.
    `begin_with` names the `database_dir` of an earlier sandbox that has stopped: this one's accounts begin as copies of its.
    """

    seed: int = 1
    people: int = 200
    now_ms: int | None = None
    activities: float = 20.0
    both: float = 0.30
    linked: float = 0.70
    records: int | None = None
    limits: bool = True
    edition: Edition = "Professional"
    index_lag_seconds: float = 5.0
    unique_task_property: bool = True
    unique_activity_fields: bool = True
    native_sync: bool = False
    tls: bool = False
    salesforce_port: int = 0
    hubspot_port: int = 0
    database_dir: str | None = None
    begin_with: str | None = None


class Sandbox:
    """Both emulators in this process: `with Sandbox(seed=1, people=200) as box: box.salesforce.url`.

    Takes the fields of `SandboxOptions`. Raises `StartError` at the start where a port is in use or `database_dir`
    already holds a sandbox. `box.clock` moves time for both; `box.market.truth` knows what is really so; `box.native` is the
    native sync between them.
    """

    salesforce: Endpoint
    hubspot: Endpoint

    def __init__(self, options: SandboxOptions | None = None, /, **fields: object) -> None:
        self.options = options or SandboxOptions(**fields)  # type: ignore[arg-type]
        if self.options.database_dir is not None:
            _claim(Path(self.options.database_dir))
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        if self.options.begin_with is not None:
            self._copy_accounts(Path(self.options.begin_with))
        self.clock = Clock(self.options.now_ms)
        self._servers: list[Server] = []
        self.market: Market = self._draw_market()
        self.salesforce_app = Salesforce(self.clock, self._salesforce_options())
        self.hubspot_app = HubSpot(self.clock, self._hubspot_options())
        self.native = NativeSync(self.clock, self.hubspot_app.portal, self.salesforce_app.org)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, report: Report | None = None) -> bool:
        """Take the ports, fill both, serve. False if `report` stopped the loading: then nothing is served."""
        apps: tuple[tuple[App, int], ...] = (
            (WithTruth(self.salesforce_app, self.market.truth_in_progress), self.options.salesforce_port),
            (WithTruth(self.hubspot_app, self.market.truth_in_progress), self.options.hubspot_port),
        )
        for app, port in apps:
            self._servers.append(_open(WithNative(app, self.native), port, None))
        ca: Path | None = None
        if self.options.tls:
            ca, context = self._certify()
            for server in self._servers[:2]:
                self._servers.append(_open(server.app, 0, context))
                self._servers[-1].faults = server.faults
        if not self._load(report):
            return False
        if self.options.native_sync:
            self.native.configure({"on": True})
        for server in self._servers:
            server.start()
        tokens = (self.salesforce_app.issue_token(), self.hubspot_app.issue_token())
        secure = self._servers[2:] if ca else [None, None]
        self.salesforce, self.hubspot = (
            Endpoint(server.url, token, second.url if second else None, str(ca) if ca else None)
            for server, token, second in zip(self._servers[:2], tokens, secure, strict=True)
        )
        return True

    def stop(self) -> None:
        """Stop serving and remove what is temporary. Stopping twice does nothing."""
        while self._servers:
            self._servers.pop().stop()
        self.native.stop()
        self.salesforce_app.close()
        self.hubspot_app.close()
        self.market.close()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    @property
    def servers(self) -> Mapping[int, Server]:
        """What serves, by port."""
        return {server.port: server for server in self._servers}

    def calls(self) -> dict[str, dict[str, int]]:
        """Calls by emulator and endpoint since the start, those over TLS included."""
        found: dict[str, dict[str, int]] = {}
        for server in self._servers:
            counts = found.setdefault(server.app.name, {})
            for endpoint, count in server.calls().items():
                counts[endpoint] = counts.get(endpoint, 0) + count
        return found

    def _load(self, report: Report | None) -> bool:
        options = self.options
        if options.begin_with is not None and not options.people and options.records is None:
            return True  # whatever there is came with the copies
        if options.records is not None:
            now = self.market.options.now_ms
            return load_records(options.records, now, self.salesforce_app, self.hubspot_app, report)
        return load_market(self.market, self.salesforce_app, self.hubspot_app, report)

    def _draw_market(self) -> Market:
        options = self.options
        path = self._database("truth.sqlite3") or str(self._temporary() / "truth.sqlite3")
        return simulate(
            options.seed,
            options.people if options.records is None else 0,
            self.clock.now_ms() - SETTLED_MS,
            activities=options.activities,
            both=options.both,
            linked=options.linked,
            truth_path=path,
        )

    def _salesforce_options(self) -> SalesforceOptions:
        return SalesforceOptions(
            limits=self.options.limits,
            unique_activity_fields=self.options.unique_activity_fields,
            database=self._database("salesforce.sqlite3"),
        )

    def _hubspot_options(self) -> HubSpotOptions:
        return HubSpotOptions(
            limits=self.options.limits,
            edition=self.options.edition,
            index_lag_seconds=self.options.index_lag_seconds,
            unique_task_property=self.options.unique_task_property,
            database=self._database("hubspot.sqlite3"),
        )

    def _database(self, name: str) -> str | None:
        if self.options.database_dir is not None:
            return str(Path(self.options.database_dir) / name)
        return str(self._temporary() / name) if self.options.begin_with is not None else None

    def _copy_accounts(self, source: Path) -> None:
        for name in ACCOUNTS:
            if not (source / name).is_file():
                raise StartError(f"{source} holds no sandbox ({name} is missing)")
            shutil.copyfile(source / name, str(self._database(name)))

    def _temporary(self) -> Path:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="sandbox-", ignore_cleanup_errors=True)
        return Path(self._folder.name)

    def _certify(self) -> tuple[Path, ssl.SSLContext]:
        from sandbox.certificate import make_certificate

        return make_certificate(self._temporary())


class WithTruth:
    """An emulator that also answers `GET /__sandbox__/truth?id=<record id>` from the market's truth."""

    def __init__(self, app: App, truth: Truth) -> None:
        self._app = app
        self._truth = truth
        self.name = app.name
        self.clock = app.clock
        self.compress = app.compress

    def handle(self, request: Request) -> tuple[str, Response]:
        return self._app.handle(request)

    def control(self, request: Request, name: str) -> Response | None:
        if (request.method, name) != ("GET", "truth"):
            return self._app.control(request, name)
        record_id = request.param("id")
        if record_id is None:
            summary = {"coefficients": self._truth.coefficients(), "conversion": self._truth.conversion_by_channel()}
            return reply(200, summary)
        found = self._truth.describe(record_id, self.clock.now_ms())
        return reply(200, found) if found else reply(404, {"error": f"no record {record_id!r} in the market"})


def run(
    *,
    salesforce_port: int,
    hubspot_port: int,
    seed: int,
    people: int,
    no_limits: bool,
    records: int | None,
    tls: bool = False,
    edition: str = "Professional",
    database_dir: str | None = None,
) -> int:
    """Serve both emulators until SIGTERM or SIGINT; the process's exit code: 0, or 2 where it cannot start.

    Prints one JSON line with the addresses and tokens on stdout once both answer; progress and messages go to stderr.
    """
    if edition not in EDITIONS:
        return _refuse(f"unknown edition {edition!r}: one of {', '.join(EDITIONS)}")
    if people < 0 or (records is not None and records < 0):
        return _refuse("--people and --records must not be negative")
    stopped = threading.Event()
    signals = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda *_: stopped.set()) for number in signals]
    options = SandboxOptions(
        seed=seed,
        people=people,
        records=records,
        limits=not no_limits,
        edition=edition,
        tls=tls,
        salesforce_port=salesforce_port,
        hubspot_port=hubspot_port,
        database_dir=database_dir,
    )
    box: Sandbox | None = None
    try:
        box = Sandbox(options)
        if box.start(_tell_progress(stopped)):
            line = {"salesforce": box.salesforce.document(), "hubspot": box.hubspot.document()}
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()
            stopped.wait()
    except StartError as error:
        return _refuse(str(error))
    finally:
        if box is not None:
            box.stop()
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
    return 0


def _refuse(message: str) -> int:
    sys.stderr.write(f"sandbox: {message}\n")
    return 2


def _tell_progress(stopped: threading.Event) -> Report:
    """Every two seconds a line with the rate and the time left; stops the loading when the process is told to."""
    began = last = time.monotonic()

    def report(done: int, wanted: int) -> bool:
        nonlocal last
        now = time.monotonic()
        if now - last >= 2 and done:
            last = now
            rate = done / (now - began)
            sys.stderr.write(
                f"sandbox: {done:,} of {wanted:,} loaded, {rate:,.0f}/s, {(wanted - done) / rate:,.0f} s left\n"
            )
            sys.stderr.flush()
        return not stopped.is_set()

    return report


def _claim(folder: Path) -> None:
    """Make sure that a new sandbox can be kept in `folder`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StartError(f"cannot keep databases in {folder}: {error.strerror}") from error
    for name in DATABASES:
        if (folder / name).exists():
            raise StartError(f"{folder} already holds a sandbox ({name}): delete it or name another folder")


def _open(app: App, port: int, context: ssl.SSLContext | None) -> Server:
    try:
        return Server(app, port=port, tls=context)
    except (OSError, OverflowError) as error:
        raise StartError(_explain(app.name, port, error)) from error


def _explain(name: str, port: int, error: OSError | OverflowError) -> str:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return f"port {port} for {name} is in use: name another one, or 0 for a free one"
    return f"cannot listen on port {port} for {name}: {error}"
