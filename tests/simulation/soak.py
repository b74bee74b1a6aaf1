"""`make soak`: a thousand histories in process and sixty runs of real processes, on both databases, held against I1-I14.

Every line of trouble names a seed: `python -m tests.simulation.soak --replay history:17:sqlite` lives it again.
"""

import argparse
import gc
import logging
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.util import Finalize
from pathlib import Path
from traceback import format_exception
from typing import Any

from sqlalchemy import Engine

import sync.state
from sync.state import State
from tests.compile_once import share_compiled_statements
from tests.simulation.histories import Lived, live_through
from tests.simulation.scenarios import SCENARIOS, run_scenario
from tests.sync.databases import Server, keep_in_memory

SHARED_MEMORY = Path("/dev/shm")
PG_EVERY = 5
"""Every fifth history and every second process run uses PostgreSQL."""

WORKERS = (os.cpu_count() or 2) + 1

SQLITE_ONLY = frozenset({"disk_full"})
"""A PostgreSQL server's disk is not ours to fill: for Mikomi its full disk is a server that refuses, as when it is restarted."""


@dataclass(frozen=True, slots=True)
class Job:
    kind: str  # history | process
    seed: int
    database: str
    scenario: str = ""
    mode: str = ""  # of a process run: unique | quarantine

    def __str__(self) -> str:
        return ":".join(part for part in (self.kind, str(self.seed), self.database, self.scenario, self.mode) if part)


def jobs(histories: int, runs: int, first: int) -> list[Job]:
    """Process runs are spread among the histories: they wait most of the time, and others may work meanwhile."""
    names = list(SCENARIOS)
    lived = [Job("history", first + n, "postgresql" if n % PG_EVERY == 0 else "sqlite") for n in range(histories)]
    run = []
    for n in range(runs):
        turn, place = divmod(n, len(names))
        database = "sqlite" if names[place] in SQLITE_ONLY else ("sqlite", "postgresql")[(turn + place) % 2]
        run.append(Job("process", first + n, database, names[place], ("unique", "quarantine")[turn % 2]))
    placed = [((n + 1) / (len(of) + 1), job) for of in (lived, run) for n, job in enumerate(of)]
    return [job for _, job in sorted(placed, key=lambda one: one[0])]


class _Engines:
    """SQLAlchemy's engines, used again for the same database once their state is closed.

    What it spares is PostgreSQL's connections, a tenth of such a history; compiled statements are shared by `compile_once`.
    """

    def __init__(self) -> None:
        self._make, self._close = sync.state._engine, State.close
        self._idle: dict[str, list[Engine]] = defaultdict(list)
        sync.state._engine = self.take
        setattr(State, "close", lambda state: self.put_back(state))  # noqa: B010 - a method is replaced

    def take(self, url: str) -> Engine:
        idle = self._idle[url]
        return idle.pop() if idle else self._make(url)

    def put_back(self, state: State) -> None:
        self._close(state)
        if state.engine not in self._idle[state.url]:
            self._idle[state.url].append(state.engine)


class _Worker:
    """One process of the soak, with a PostgreSQL server of its own, begun when the first job asks for it."""

    def __init__(self) -> None:
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        self._stack = ExitStack()
        Finalize(None, self._stack.close, exitpriority=10)  # a pool's processes end without `atexit`
        self._server: Server | None = None
        self._restart: Callable[[float], None] | None = None
        memory = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None
        self._scratch = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="mikomi-soak-", dir=memory)))
        share_compiled_statements()
        self._engines = _Engines()
        gc.freeze()  # what is loaded by now stays: the collector need not look at it thousands of times
        self._stack.callback(gc.unfreeze)
        gc.set_threshold(20_000, 20, 20)

    def live(self, job: Job) -> Lived:
        if job.database == "sqlite":
            return self._live(job, None)
        if self._server is None:
            self._server, self._restart = self._stack.enter_context(_postgresql())
        with self._server.make() as url:
            return self._live(job, url)

    def _live(self, job: Job, url: str | None) -> Lived:
        try:
            if job.kind == "history":
                return live_through(job.seed, state_url=url, scratch=self._scratch)
            disturb = self._restart if url else None
            return run_scenario(
                job.seed,
                job.scenario,
                unique=job.mode != "quarantine",
                state_url=url,
                scratch=self._scratch,
                disturb=disturb,
            )
        except Exception as error:  # a history that cannot be told is a violation too, and must not end the others
            text = "".join(format_exception(error, limit=-4))
            faults = frozenset({job.scenario} - {""})
            return Lived(job.seed, job.database, "", (), faults, (f"crashed: {error!r}\n{text}",), 0.0)


@contextmanager
def _postgresql() -> Iterator[tuple[Server, Callable[[float], None]]]:
    """A server of our own, and a way to restart it without asking those who use it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pgserver: Any = import_module("pgserver")

    folder = Path(tempfile.mkdtemp(prefix="mikomi-soak-"))
    own = pgserver.get_server(folder, cleanup_mode="stop")

    def restart(seconds: float) -> None:
        options: dict[str, Any] = {"pgdata": own.pgdata, "user": own.system_user}
        socket = own.get_postmaster_info().socket_dir
        pgserver.pg_ctl(["-w", "-m", "immediate", "stop"], **options)
        time.sleep(seconds / 2)
        pgserver.pg_ctl(["-w", "-l", str(own.log), "-o", "-h ''", "-o", f"-k {socket}", "start"], **options)

    try:
        keep_in_memory(own.get_uri())
        server = Server(own.get_uri())
        try:
            yield server, restart
        finally:
            server.close()
    finally:
        own.cleanup()
        if (own.pgdata / "postmaster.pid").exists():  # one that was restarted is no longer the one that it began
            pgserver.pg_ctl(["-w", "-m", "immediate", "stop"], pgdata=own.pgdata, user=own.system_user)
        shutil.rmtree(folder, ignore_errors=True)


_worker: _Worker | None = None


def _live(job: Job) -> Lived:
    global _worker
    if _worker is None:
        _worker = _Worker()
    return _worker.live(job)


def soak(work: Sequence[Job], workers: int, report: Callable[[Job, Lived, int], None]) -> list[tuple[Job, Lived]]:
    done: list[tuple[Job, Lived]] = []
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting = {pool.submit(_live, job): job for job in work}
        for future in as_completed(waiting):
            job = waiting.pop(future)
            lived = future.result()
            done.append((job, lived))
            report(job, lived, len(done))
    return done


def table(done: Sequence[tuple[Job, Lived]]) -> str:
    """Fault, histories that met it, process runs, violations."""
    met: dict[str, Counter[str]] = defaultdict(Counter)
    for job, lived in done:
        for fault in lived.faults or {"(none)"}:
            met[fault][f"{job.kind} {job.database}"] += 1
            met[fault]["violations"] += len([v for v in lived.violations if v[:1] == "I" or v.startswith("crashed")])
    columns = ("history sqlite", "history postgresql", "process sqlite", "process postgresql", "violations")
    lines = ["| fault | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    lines += [
        f"| {fault.replace('_', ' ')} | " + " | ".join(str(counts[column]) for column in columns) + " |"
        for fault, counts in sorted(met.items())
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--histories", type=int, default=1_000)
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--workers", type=int, default=WORKERS, help="as many as cores, and one for those that wait")
    parser.add_argument("--replay", metavar="JOB", help="as printed, for example history:17:sqlite")
    options = parser.parse_args()
    if options.replay:
        kind, seed, database, *more = options.replay.split(":")
        work = [Job(kind, int(seed), database, *more)]
    else:
        work = jobs(options.histories, options.runs, options.seed)
    began = time.monotonic()
    sys.stdout.write(f"{len(work)} histories and runs, seeds from {work[0].seed}, {options.workers} workers\n")

    def report(job: Job, lived: Lived, count: int) -> None:
        if lived.violations:
            sys.stdout.write(
                f"\nVIOLATION {job} ({lived.mode}): {'; '.join(lived.violations[:4])}\n  {' '.join(lived.steps)}\n"
            )
        if count % 50 == 0 or lived.violations or options.replay:
            sys.stdout.write(f"{count}/{len(work)} after {time.monotonic() - began:.0f} s\n")
        sys.stdout.flush()

    with tempfile.TemporaryDirectory(prefix="mikomi-soak-cache-") as cache:
        os.environ["XDG_CACHE_HOME"] = cache  # of the workers, and of the processes that they start
        os.environ.pop("CACHE_DIRECTORY", None)
        done = soak(work, options.workers if len(work) > 1 else 1, report)
    broken = [job for job, lived in done if lived.violations]
    histories = sum(job.kind == "history" for job, _ in done)
    overtaken = sum(lived.overtaken for _, lived in done)
    sys.stdout.write("\n" + table(done) + "\n\n")
    sys.stdout.write(
        f"{histories} histories and {len(done) - histories} process runs in {time.monotonic() - began:.0f} s; "
        f"{sum(len(lived.steps) for _, lived in done)} steps, {overtaken} runs overtaken; "
        f"{len(broken)} with violations{': ' + ', '.join(map(str, broken)) if broken else ''}\n"
    )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
