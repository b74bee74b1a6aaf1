"""Faults that only processes meet: killed, stopped, starved of disk, overtaken by clocks; and those of both CRMs beside them.

A scenario does its worst to two or three processes; then the same world is settled and held against the same invariants.
"""

import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from core.errors import StateUnavailable
from sync.state import schema as t
from tests.hostile.poison import TEXTS
from tests.simulation.crms import System
from tests.simulation.forkserver import Running
from tests.simulation.histories import Lived
from tests.simulation.processes import PATIENCE, Company
from tests.simulation.rest import QUIET_SECONDS, at_the_end, settle
from tests.simulation.seen import Seen
from tests.simulation.steps import HTML, WRITES, take
from tests.simulation.watch import Watch
from tests.simulation.world import new_folder
from tests.sync.state.old import upgrade

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
    while process.poll() is None and not any(row["holder"] for row in company.rows(t.lease)):
        time.sleep(0.1)
    time.sleep(rng.uniform(0.2, 3.0))
    _stop_between_commits(company, process)
    company.control("hubspot", "DELETE", "faults")
    company.control("salesforce", "DELETE", "faults")
    company.end(company.begin_sync())
    finished = process.poll() is not None
    process.send_signal(signal.SIGCONT)
    company.tally.overtaken += not finished
    company.tally.not_stopped += company.end(process) != OVERTAKEN and not finished


def _stop_between_commits(company: Company, process: Running) -> None:
    """SIGSTOP, and its lease is over. Whoever stands still inside a commit holds SQLite's lock: nobody can take over from them."""
    for _ in range(5):
        process.send_signal(signal.SIGSTOP)
        try:
            return company._free_lease()
        except StateUnavailable:
            process.send_signal(signal.SIGCONT)
            time.sleep(0.1)
    raise AssertionError("the database was locked whenever the process was stopped")


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
    """Access tokens die in the middle of a run; refresh tokens rotate, and three processes ask for them."""
    _slow_down(company, 0.1)
    with _refreshing(company):
        # By use and not by time: a renewed token that is refused at once ends the call, and so it should.
        company.control("salesforce", "POST", "tokens", {"ttl_requests": TOKEN_USES})
        company.control("hubspot", "POST", "tokens", {"ttl_requests": TOKEN_USES})
        processes = [company.begin_sync(), company.begin("doctor")]
        _after_a_while(rng)
        processes.append(company.begin("doctor"))
        for process in processes:
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
    _slow_down(company, 0.1)
    process = company.begin_sync()
    time.sleep(rng.uniform(0.1, 2.0))
    company.disturb_database(2.0)
    company.end(process)


def clock_jumps(company: Company, rng: random.Random) -> None:
    _slow_down(company, 0.1)
    process = company.begin_sync()
    while process.poll() is None:
        time.sleep(rng.uniform(0.02, 0.25))  # in most of its calls
        company.shift(rng.choice((-3_600_000, 0, 3_600_000)))
    company.end(process)
    company.wait(1_800)
    for step in ("new_lead", "edit_salesforce", "new_hubspot", "edit_hubspot"):
        take(company, step, rng.randrange)
    company.wait(5_400)  # whoever believed an hour too much has passed these by


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
    """While they are in use an administrator deletes one of our fields, and hides one that is read; later both are back."""
    company.end(company.begin_sync())
    hubspot = {"action": "delete", "type": "contacts", "name": "mikomi_trend"}
    company.control("hubspot", "POST", "properties", hubspot)
    title = {"user": "integration@mikomi.example", "field": "Lead.Title"}
    company.control("salesforce", "POST", "permissions", {**title, "read": False, "edit": False})
    take(company, "meet_hubspot", rng.randrange)
    company.wait(1500)
    company.end(company.begin_sync())
    company.control("salesforce", "POST", "permissions", {**title, "read": True, "edit": False})
    company.setup()


def partly_refused(company: Company, rng: random.Random) -> None:
    """Batches in which a few rows cannot pass: a validation rule, locked rows, and a HubSpot that refuses batches whole."""
    rows = company.soql("SELECT Id FROM Lead")
    chosen = rows[rng.randrange(len(rows))]["Id"]
    refused = {"sobject": "Lead", "code": "FIELD_CUSTOM_VALIDATION_EXCEPTION", "message": "検証", "record_id": chosen}
    company.row_fault({**refused, "times": 3})
    company.tally.poisoned.add(chosen)
    company.row_fault(
        {"sobject": "Task", "code": "UNABLE_TO_LOCK_ROW", "message": "locked", "times": rng.randint(1, 4)}
    )
    body = '{"status":"error","category":"VALIDATION_ERROR","message":"Invalid input","errors":[]}'
    bad = {"kind": "status", "status": 400, "body": body, "path": "contacts/batch/update", "times": rng.randint(1, 2)}
    company.fault("hubspot", bad)
    company.end(company.begin_sync())


def hostile_people(company: Company, rng: random.Random) -> None:
    """What nobody means well by, in every field that people fill in, on both sides, while a process is killed and another runs."""
    for system in ("salesforce", "hubspot"):
        for value in rng.sample(TEXTS, 8):
            company.people += 1
            mail = f"h{company.people}@c{rng.randrange(2)}.example.jp"
            with suppress(HTTPError):  # what the CRM itself refuses never reaches us
                if system == "salesforce":
                    fields = {"LastName": value or "x", "Company": value or "x", "Title": value[:128], "Email": mail}
                    company.salesforce({"action": "create", "sobject": "Lead", "fields": fields})
                else:
                    own = {"lastname": value, "company": value, "jobtitle": value, "email": mail}
                    company.hubspot({"action": "create", "type": "contacts", "properties": own})
    for _ in range(3):
        take(company, "meet_hubspot", rng.randrange)
    _slow_down(company, 0.1)
    process = company.begin_sync()
    _after_a_while(rng)
    process.kill()
    process.wait()
    company.end(company.begin_sync())


def people_interfere(company: Company, rng: random.Random) -> None:
    """Reps write over our scores, work on our tasks and throw them away, between passes and under one."""
    company.end(company.begin_sync())
    _slow_down(company, 0.1)
    process = company.begin_sync()
    while process.poll() is None:
        take(company, rng.choice(("rep_edits_score", "rep_deletes_task", "meet_salesforce")), rng.randrange)
        for task in company.soql("SELECT Id FROM Task WHERE Mikomi_Key__c != null AND IsDeleted = false")[:1]:
            done = {"Status": "Completed", "Subject": "済"}
            company.salesforce({"action": "update", "sobject": "Task", "id": task["Id"], "fields": done})
        company.box.clock.advance(rng.uniform(0, 120))
        time.sleep(0.2)
    company.end(process)


def native_sync(company: Company, rng: random.Random) -> None:
    """HubSpot's own Salesforce sync works beside us: links, mirrors and copies, while people edit both sides and we are killed."""
    company.control("hubspot", "POST", "native", {"on": True})
    names = ("edit_salesforce", "edit_hubspot", "meet_hubspot", "convert", "new_lead", "new_hubspot")
    for _ in range(2):
        company.wait(20 * 60)  # time for a poll
        _slow_down(company, 0.1)
        process = company.begin_sync()
        for _ in range(4):
            take(company, rng.choice(names), rng.randrange)
            company.control("hubspot", "POST", "native", {"poll_now": True})
            time.sleep(0.3)
        process.kill()
        process.wait()
        company.heal()
        company.end(company.begin_sync())


def migration_killed(company: Company, rng: random.Random) -> None:
    """The state is of the version before; processes are killed while they bring it up to date."""
    company.replace_state(lambda connection: upgrade(connection, "0001"))
    for _ in range(4):
        process = company.begin_sync()
        time.sleep(rng.uniform(0.02, 0.6))
        process.kill()
        process.wait()
    company.end(company.begin_sync())


def backup_restored(company: Company, rng: random.Random) -> None:
    company.take_backup()
    company.end(company.begin_sync())
    take(company, "meet_hubspot", rng.randrange)
    company.wait(1500)
    company.end(company.begin_sync())
    company.put_backup_back()
    company.end(company.begin_sync())
    company.end(company.begin("reconcile", "--heal"))


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
        partly_refused,
        hostile_people,
        people_interfere,
        native_sync,
        migration_killed,
        backup_restored,
    )
}

TOKEN_USES = 8
"""After so many calls a token ends, in the middle of a run."""

OVERTAKEN = 3
ALLOWED: Mapping[str, set[int]] = {
    "stopped_and_continued": {0, 1, OVERTAKEN},
    "several_at_once": {0, 1, OVERTAKEN},
    "database_restarted": {0, 1, 2},  # it may be away at the moment when a process opens it
}
"""How processes may end that were not killed: done, or done in part where a fault left something over."""

SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "native_sync": {"pair": {"salesforce": "salesforce", "hubspot": "hubspot"}},
}
"""Settings that a scenario's company has besides the usual."""


def _both(company: Company, rule: dict[str, Any]) -> None:
    systems: tuple[System, ...] = ("salesforce", "hubspot")
    for system in systems:
        company.fault(system, rule)


def _slow_down(company: Company, seconds: float) -> None:
    _both(company, {"kind": "delay", "seconds": seconds, "times": None})


@contextmanager
def _refreshing(company: Company) -> Iterator[None]:
    """Both connections by refresh token: Salesforce's rotates and may be used once."""
    salesforce = company.control("salesforce", "GET", "credentials")
    hubspot = company.control("hubspot", "GET", "credentials")
    secrets = {
        "SIMULATED_SF_SECRET": salesforce["client_secret"],
        "SIMULATED_HS_SECRET": hubspot["client_secret"],
        "SIMULATED_HS_REFRESH": hubspot["refresh_token"],
        "SIMULATED_SF_REFRESH": salesforce["refresh_token"],
    }
    os.environ.update(secrets)
    company.control("salesforce", "POST", "tokens", {"rotate": True})
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
        company.control("salesforce", "POST", "tokens", {"ttl_requests": None})
        company.control("hubspot", "POST", "tokens", {"ttl_requests": None})
        fresh = company.control("salesforce", "GET", "credentials")  # the others' tokens died with these
        os.environ["SIMULATED_SF"], os.environ["SIMULATED_ADMIN"] = fresh["access_token"], fresh["admin_access_token"]
        company.write_configuration()


def run_scenario(
    seed: int,
    name: str,
    *,
    unique: bool = True,
    state_url: str | None = None,
    scratch: Path | None = None,
    disturb: Callable[[float], None] | None = None,
) -> Lived:
    """One process-level run, from a company of a dozen people to rest.

    Args:
        unique: whether the CRMs refuse a second task with the same key; else quarantine.
        disturb: takes the database away for so many seconds.

    """
    rng = random.Random(seed)
    began = time.monotonic()
    settings = SETTINGS.get(name, {})
    with (
        new_folder(scratch) as folder,
        Company(folder, state_url=state_url, unique_task=unique, **settings) as company,
    ):
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
        violations = _judge(company, ALLOWED.get(name, {0, 1}))
        return Lived(
            seed,
            "postgresql" if state_url else "sqlite",
            "unique key" if unique else "quarantine",
            tuple(company.tally.steps),
            frozenset({name}),
            tuple(violations),
            time.monotonic() - began,
            company.tally.overtaken,
        )


def _judge(company: Company, allowed: set[int]) -> list[str]:
    watch = Watch()
    wrong = _ended_well(company, allowed) + watch.after_each(company)
    wrong = wrong or _recover(company) or _ended_well(company, allowed)
    company.box.clock.hold()
    return wrong or watch.after_each(company) or settle(company) or watch.after_each(company) or at_the_end(company)


def _ended_well(company: Company, allowed: set[int]) -> list[str]:
    """How the processes ended that were not killed, and that none of them fell over."""
    wrong = [f"I2: {company.hung} processes did not end within {PATIENCE:.0f} s"] if company.hung else []
    said = company.said.read_text("utf-8", "replace") if company.said.exists() else ""
    if codes := set(company.exits) - allowed:
        complaints = "\n".join(line for line in said.splitlines() if line.startswith(("エラー", "✗")))
        wrong.append(f"I2: processes ended with {sorted(codes)}: {complaints[-600:] or said[-600:]}")
    if "Traceback (most recent call last)" in said:
        wrong.append(f"I2: a process fell over: {said[said.index('Traceback') :][-600:]}")
    return wrong


def _recover(company: Company) -> list[str]:
    """Faults stop: a process must read everything by itself, whatever the ones before have left; what pauses, in its time."""
    company.heal()
    for _ in range(4):
        company.wait(QUIET_SECONDS)
        company.end(company.begin_sync("--sweep"))
        runs = sorted(company.rows(t.run), key=lambda row: row["started_at"])
        if runs and runs[-1]["outcome"] in ("ok", "partial") and not _missing(company):
            return []
        company.wait(6 * 3600.0)
    return [f"I6: healed, and a process does not read {sorted(_missing(company))}: {company.said.read_text()[-600:]}"]


def _missing(company: Company) -> set[str]:
    """Records of people that are in a CRM and not in the state."""
    seen = Seen(company)
    return seen.live.keys() - seen.mirrored.keys()


def _hold(company: Company, seconds: float) -> None:
    """Somebody else writes to the SQLite file for a while."""
    with sqlite3.connect(company.folder / "state.sqlite3", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        time.sleep(seconds)
        other.execute("ROLLBACK")


__all__ = ["SCENARIOS", "run_scenario"]
