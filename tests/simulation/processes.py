"""Real `mikomi sync` processes under faults that only processes meet: killed, stopped, starved of disk, overtaken by clocks.

A scenario does its worst to two or three processes; then the same world is settled and held against the same invariants.
"""

import os
import random
import resource
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.simulation.histories import Lived
from tests.simulation.steps import HTML, WRITES, take
from tests.simulation.watch import Watch, at_the_end, settle
from tests.simulation.world import RULEBOOK, System, World, new_folder
from tests.sync.practice import control

PATIENCE = 60.0
"""Seconds after which a process counts as hanging: a violation."""

QUICK = {
    "salesforce": {"timeout_seconds": 1.5, "attempts": 3, "call_budget_seconds": 6},
    "hubspot": {"timeout_seconds": 1.5, "call_attempts": 3, "call_budget_seconds": 6},
}
"""The processes give up soon, so that scenarios about silence are short."""


class Company(World):
    """A world whose Mikomi can also be run as processes, from a folder with its configuration."""

    def __init__(
        self, folder: Path, *, state_url: str | None = None, unique_task: bool = True, **settings: Any
    ) -> None:
        super().__init__(folder, state_url=state_url, unique_task=unique_task, **settings)
        self.hung = 0

    def write_configuration(self, **changes: Any) -> None:
        settings = self.settings.model_dump(mode="json", exclude_defaults=True) | {"language": "ja", **changes}
        settings["connections"] = {name: section | QUICK[name] for name, section in settings["connections"].items()}
        (self.folder / "mikomi.yaml").write_text(yaml.safe_dump(settings, allow_unicode=True), "utf-8")
        (self.folder / "rulebook.yaml").write_text(RULEBOOK.replace("POINTS", str(self.points)), "utf-8")
        self.shift(0)

    def shift(self, jump_ms: int) -> None:
        """Let the processes' wall clock show the simulation's time, `jump_ms` off."""
        offset = self.box.clock.now_ms() - time.time_ns() // 1_000_000 + jump_ms
        (self.folder / "clock").write_bytes(struct.pack("<q", offset))

    def begin_sync(self, *options: str, limit_bytes: int | None = None) -> "subprocess.Popen[bytes]":
        self.shift(0)
        environment = os.environ | {"SIMULATED_CLOCK": str(self.folder / "clock"), "PYTHONWARNINGS": "ignore"}
        command = [sys.executable, "-m", "tests.simulation.launcher", "sync", "--json", "-c"]
        with (self.folder / "out").open("ab") as out:
            return subprocess.Popen(
                [*command, str(self.folder / "mikomi.yaml"), *options],
                stdout=out,
                stderr=out,
                env=environment,
                preexec_fn=None if limit_bytes is None else lambda: _limit(limit_bytes),
            )

    def end(self, process: "subprocess.Popen[bytes]") -> int:
        try:
            return process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.hung += 1
            process.kill()
            return process.wait()


def _limit(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


Scenario = Callable[[Company, random.Random], None]


def _after_a_while(rng: random.Random, longest: float = 4.0) -> None:
    time.sleep(rng.uniform(0.2, longest))


def killed(company: Company, rng: random.Random) -> None:
    """SIGKILL at random, twice, while it is slow enough to be in the middle of something."""
    _slow_down(company, 0.15)
    for _ in range(2):
        process = company.begin_sync()
        _after_a_while(rng, 6.0)
        process.kill()
        process.wait()


def stopped_and_continued(company: Company, rng: random.Random) -> None:
    """SIGSTOP; another process takes over; SIGCONT: the first one must not commit any more."""
    _slow_down(company, 0.15)
    process = company.begin_sync()
    time.sleep(rng.uniform(2.0, 5.0))
    process.send_signal(signal.SIGSTOP)
    company._free_lease()
    control(company.box.hubspot.url, "DELETE", "faults")
    control(company.box.salesforce.url, "DELETE", "faults")
    company.end(company.begin_sync())
    process.send_signal(signal.SIGCONT)
    company.end(process)


def several_at_once(company: Company, rng: random.Random) -> None:
    processes = [company.begin_sync() for _ in range(3)]
    for process in processes:
        company.end(process)


def answer_lost(company: Company, rng: random.Random) -> None:
    _both(company, {"kind": "drop_after", "path": WRITES, "times": 2, "skip": rng.randrange(2)})
    company.end(company.begin_sync())


def late_commit(company: Company, rng: random.Random) -> None:
    """The server carries out after we gave up; the processes' holds are longer than that."""
    _both(company, {"kind": "late_commit", "seconds": rng.uniform(0.5, 2.5), "path": WRITES, "times": 2})
    company.end(company.begin_sync())
    time.sleep(2.6)


def index_lag(company: Company, rng: random.Random) -> None:
    """Search shows nothing new for two minutes; a task whose answer was lost is not in it yet."""
    company.box.hubspot_app._portal.lag_ms = 120_000
    _both(company, {"kind": "drop_after", "path": "tasks|composite", "times": 1, "skip": rng.randrange(2)})
    company.end(company.begin_sync())


def truncated(company: Company, rng: random.Random) -> None:
    _both(company, {"kind": "truncate", "rate": 0.3, "times": 12, "seed": rng.randrange(1000)})
    company.end(company.begin_sync())


def html_bodies(company: Company, rng: random.Random) -> None:
    page = {"kind": "status", "status": 502, "body": HTML, "headers": {"Content-Type": "text/html"}}
    _both(company, {**page, "rate": 0.3, "times": 12, "seed": rng.randrange(1000)})
    _both(company, {**page, "status": 200, "skip": 3, "times": 1})
    company.end(company.begin_sync())


def slow_loris(company: Company, rng: random.Random) -> None:
    """Answers that drip, and answers that stand still."""
    _both(company, {"kind": "slow", "seconds": 4.0, "rate": 0.2, "times": 3, "seed": rng.randrange(1000)})
    _both(company, {"kind": "delay", "seconds": 3.0, "rate": 0.2, "times": 3, "seed": rng.randrange(1000)})
    company.end(company.begin_sync())


def storm_429(company: Company, rng: random.Random) -> None:
    storm = {
        "kind": "status",
        "status": 429,
        "body": '{"policyName":"TEN_SECONDLY_ROLLING"}',
        "headers": {"Retry-After": "1"},
    }
    _both(company, {**storm, "rate": 0.5, "times": 30, "seed": rng.randrange(1000)})
    company.end(company.begin_sync())


def storm_503(company: Company, rng: random.Random) -> None:
    _both(company, {"kind": "status", "status": 503, "rate": 0.5, "times": 30, "seed": rng.randrange(1000)})
    company.end(company.begin_sync())


def daily_quota_gone(company: Company, rng: random.Random) -> None:
    body = '{"status":"error","policyName":"DAILY","errorType":"RATE_LIMIT","message":"daily limit"}'
    company.fault("hubspot", {"kind": "status", "status": 429, "body": body, "times": None, "skip": rng.randrange(40)})
    gone = '[{"errorCode":"REQUEST_LIMIT_EXCEEDED","message":"TotalRequests Limit exceeded."}]'
    company.fault(
        "salesforce", {"kind": "status", "status": 403, "body": gone, "times": None, "skip": rng.randrange(12)}
    )
    company.end(company.begin_sync())
    company.end(company.begin_sync())


def token_expired(company: Company, rng: random.Random) -> None:
    """Access tokens die in the middle of a run; refresh tokens rotate."""
    with _refreshing(company):
        process = company.begin_sync()
        for _ in range(3):
            _after_a_while(rng, 1.5)
            control(company.box.salesforce.url, "POST", "tokens", {"expire": True})
            control(company.box.hubspot.url, "POST", "tokens", {"expire": True})
        company.end(process)


def disk_full(company: Company, rng: random.Random) -> None:
    """No file may grow beyond what the state has now and a little."""
    state = company.folder / "state.sqlite3"
    if state.exists():
        for more in (8_192, rng.randrange(20_000, 400_000)):
            company.end(company.begin_sync(limit_bytes=state.stat().st_size + more))
    else:
        company.end(company.begin_sync(limit_bytes=65_536))


def database_restarted(company: Company, rng: random.Random) -> None:
    """PostgreSQL goes away at once and comes back; SQLite is held by somebody else for two seconds."""
    process = company.begin_sync()
    time.sleep(rng.uniform(1.5, 4.0))
    company.disturb_database(2.0)
    company.end(process)


def clock_jumps(company: Company, rng: random.Random) -> None:
    _slow_down(company, 0.1)
    process = company.begin_sync()
    while process.poll() is None:
        time.sleep(0.3)
        company.shift(rng.choice((-3_600_000, 0, 3_600_000)))
    company.end(process)


def crm_clock_off(company: Company, rng: random.Random) -> None:
    """Our clock is ten minutes off theirs, now ahead, now behind."""
    for _ in range(2):
        process = company.begin_sync()
        company.shift(rng.choice((-600_000, 600_000)))
        company.end(process)
        take(company, "meet_hubspot", rng.randrange)
        company.wait(900)


def changing_while_read(company: Company, rng: random.Random) -> None:
    """People go on working while it runs: edits, merges, deletions, conversions, one stamp for many."""
    _slow_down(company, 0.1)
    process = company.begin_sync()
    names = ("edit_salesforce", "edit_hubspot", "merge_salesforce", "merge_hubspot", "convert", "delete_hubspot", "new_lead",
             "meet_salesforce", "meet_hubspot", "same_stamp", "late_visible", "rep_deletes_task")  # fmt: skip
    while process.poll() is None:
        take(company, rng.choice(names), rng.randrange)
        company.box.clock.advance(rng.uniform(0, 20))
        time.sleep(0.2)
    company.end(process)


def field_taken_away(company: Company, rng: random.Random) -> None:
    """An administrator deletes one of our fields while it is in use, and `setup` makes it again later."""
    company.end(company.begin_sync())
    control(
        company.box.hubspot.url, "POST", "properties", {"action": "delete", "type": "contacts", "name": "mikomi_trend"}
    )
    take(company, "meet_hubspot", rng.randrange)
    company.wait(1500)
    company.end(company.begin_sync())
    company.setup()


def backup_restored(company: Company, rng: random.Random) -> None:
    company.take_backup()
    company.end(company.begin_sync())
    take(company, "meet_hubspot", rng.randrange)
    company.wait(1500)
    company.end(company.begin_sync())
    company.put_backup_back()
    company.end(company.begin_sync())


SCENARIOS: dict[str, Scenario] = {
    function.__name__: function
    for function in (
        killed,
        stopped_and_continued,
        several_at_once,
        answer_lost,
        late_commit,
        index_lag,
        truncated,
        html_bodies,
        slow_loris,
        storm_429,
        storm_503,
        daily_quota_gone,
        token_expired,
        disk_full,
        database_restarted,
        clock_jumps,
        crm_clock_off,
        changing_while_read,
        field_taken_away,
        backup_restored,
    )
}


def _both(company: Company, rule: dict[str, Any]) -> None:
    systems: tuple[System, ...] = ("salesforce", "hubspot")
    for system in systems:
        company.fault(system, rule)


def _slow_down(company: Company, seconds: float) -> None:
    _both(company, {"kind": "delay", "seconds": seconds, "times": None})


@contextmanager
def _refreshing(company: Company) -> Iterator[None]:
    """Both connections by refresh token: Salesforce's rotates and may be used once."""
    salesforce = control(company.box.salesforce.url, "GET", "credentials")
    hubspot = control(company.box.hubspot.url, "GET", "credentials")
    secrets = {
        "SIMULATED_SF_SECRET": salesforce["client_secret"],
        "SIMULATED_HS_SECRET": hubspot["client_secret"],
        "SIMULATED_HS_REFRESH": hubspot["refresh_token"],
        "SIMULATED_SF_REFRESH": salesforce["refresh_token"],
    }
    os.environ.update(secrets)
    control(company.box.salesforce.url, "POST", "tokens", {"rotate": True})
    dumped = company.settings.model_dump(mode="json", exclude_defaults=True)
    connections = {name: dict(section) for name, section in dumped["connections"].items()}
    own = connections["salesforce"]
    own.pop("access_token")
    own |= {
        "auth": "refresh_token",
        "client_id": salesforce["client_id"],
        "client_secret": {"env": "SIMULATED_SF_SECRET"},
        "refresh_token": {"env": "SIMULATED_SF_REFRESH"},
    }
    connections["hubspot"].pop("token")
    connections["hubspot"]["oauth"] = {
        "client_id": hubspot["client_id"],
        "client_secret": {"env": "SIMULATED_HS_SECRET"},
        "refresh_token": {"env": "SIMULATED_HS_REFRESH"},
    }
    company.write_configuration(connections=connections)
    try:
        yield
    finally:
        fresh = control(company.box.salesforce.url, "GET", "credentials")  # the others' tokens died with these
        os.environ["SIMULATED_SF"], os.environ["SIMULATED_ADMIN"] = fresh["access_token"], fresh["admin_access_token"]
        company.write_configuration()


def run_scenario(
    seed: int,
    name: str,
    *,
    state_url: str | None = None,
    scratch: Path | None = None,
    disturb: Callable[[float], None] | None = None,
) -> Lived:
    """One process-level run, from a company of a dozen people to rest."""
    rng = random.Random(seed)
    began = time.monotonic()
    with new_folder(scratch) as folder, Company(folder, state_url=state_url) as company:
        company.disturb_database = disturb or (lambda seconds: _hold(company, seconds))
        company.write_configuration()
        company.box.clock.release()
        for step in [
            *["new_lead"] * 6,
            *["new_hubspot"] * 6,
            *["meet_hubspot"] * 5,
            *["meet_salesforce"] * 5,
            "wait_longer",
        ]:
            take(company, step, rng.randrange)
        SCENARIOS[name](company, rng)
        company.box.clock.hold()
        violations = _judge(company)
        return Lived(
            seed,
            "postgresql" if state_url else "sqlite",
            "unique key",
            tuple(company.tally.steps),
            frozenset({name}),
            tuple(violations),
            time.monotonic() - began,
        )


def _judge(company: Company) -> list[str]:
    watch = Watch()
    wrong = watch.after_each(company)
    if company.hung:
        wrong.append(f"I2: {company.hung} processes did not end within {PATIENCE:.0f} s")
    return wrong or settle(company) or watch.after_each(company) or at_the_end(company)


def _hold(company: Company, seconds: float) -> None:
    """Somebody else writes to the SQLite file for a while."""
    import sqlite3

    with sqlite3.connect(company.folder / "state.sqlite3", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        time.sleep(seconds)
        other.execute("ROLLBACK")


__all__ = ["SCENARIOS", "Company", "run_scenario"]
