"""Deliveries against one emulated CRM over real HTTP: what is owed, what goes wrong, and what the CRM then holds."""

import shutil
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest
from sqlalchemy import select

import sandbox.server
from connectors import Connector
from core.errors import ConnectorError
from core.handover import task_key
from core.records import Millis, RecordRef
from sandbox.hubspot import HubSpotOptions
from sandbox.salesforce import SalesforceOptions
from sync.deliver import deliver
from sync.progress import Silent
from sync.report import SystemReport
from sync.sending import Bounds
from sync.state import State, open_state, outbox
from sync.state import schema as t
from tests.connectors.hubspot.practice import PracticePortal
from tests.connectors.salesforce.org import PracticeOrg

NOW: Millis = 1_795_482_000_000
BOUNDS = Bounds(late_commit=300_000, index_lag=120_000)
DUE = 20_790
VENDORS = ("hubspot", "salesforce")


class Crm(Protocol):
    """What both emulators offer here."""

    owner_id: str

    def connect(self) -> Connector: ...

    def add_people(self, count: int) -> list[RecordRef]: ...

    def stop(self) -> None: ...


@dataclass
class Rig:
    """One outbox, people of its own in a shared CRM, one clock that only tests move."""

    crm: Any
    state: State
    vendor: str
    unique: bool
    connector: Connector
    refs: list[RecordRef]
    now: Millis = NOW
    before: Counter[str] = field(default_factory=Counter)

    def owe_tasks(self) -> list[str]:
        """One task for every person; the keys."""
        keys = []
        with self.state.begin() as connection:
            for number, ref in enumerate(self.refs):
                key = task_key(ref.system, ref, "sales", 1)
                payload = {
                    "owner_id": self.crm.owner_id,
                    "subject": f"架電 {number}",
                    "body": "今すぐ電話する理由:\n・資料請求 +15",
                    "due": DUE,
                    "priority": "high",
                }
                assert outbox.want_task(connection, ref, number + 1, key, payload, now=self.now)
                keys.append(key)
        return keys

    def owe_scores(self, score: int, version: int) -> None:
        with self.state.begin() as connection:
            for number, ref in enumerate(self.refs):
                payload = {"values": {"score": score, "score_version": version}, "reason_key": "r"}
                outbox.want_fields(connection, {ref: (number + 1, payload)}, now=self.now)

    def deliver(self, *, bounds: Bounds = BOUNDS, connector: Connector | None = None) -> SystemReport:
        """One delivery; a failing CRM ends it, as it would a run."""
        own = connector or self.connector
        report = SystemReport()
        try:
            deliver(self.state, own, report, Silent(), tasks=True, bounds=bounds, clock=lambda: self.now)
        except ConnectorError as error:
            report.error = error.message
        return report

    def finish(self) -> None:
        """Nothing goes wrong any more: delivered until nothing is owed, well past every bound."""
        self.heal()
        for _ in range(8):
            self.deliver()
            self.pass_time(600)
            if {row["state"] for row in self.rows()} == {"done"}:
                return
        raise AssertionError([(row["state"], row["code"], row["message"]) for row in self.rows()])

    def pass_time(self, seconds: float) -> None:
        """For us and in the CRM."""
        self.now += round(seconds * 1000)
        self.crm.clock.advance(seconds)

    def fail(self, kind: str, *, times: int = 100, **more: Any) -> None:
        """What goes wrong with every attempt to write."""
        path = "batch/(create|update)" if self.vendor == "hubspot" else "composite/sobjects"
        self.crm.fail_next(kind=kind, times=times, path=path, **more)

    def heal(self) -> None:
        if self.vendor == "hubspot":
            self.crm.heal()
        else:
            self.crm.control("DELETE", "faults")

    def keys(self) -> Counter[str]:
        """How many tasks carry each key, those in the bin too; without what other tests left."""
        return keys_in(self.crm) - self.before

    def delete_task(self, crm_id: str) -> None:
        """A rep throws a task away."""
        if self.vendor == "hubspot":
            self.crm.control("records", {"action": "delete", "type": "tasks", "id": crm_id})
        else:
            self.crm.act("delete", "Task", id=crm_id)

    def touch_task(self, crm_id: str) -> None:
        """A rep writes into a task."""
        if self.vendor == "hubspot":
            order = {
                "action": "update",
                "type": "tasks",
                "id": crm_id,
                "properties": {"hs_task_subject": "明日電話する"},
            }
            self.crm.control("records", order)
        else:
            self.crm.act("update", "Task", id=crm_id, fields={"Subject": "明日電話する"})

    def versions(self) -> list[object]:
        return [self.crm.shown(ref, "score_version") for ref in self.refs]

    def rows(self) -> list[dict[str, Any]]:
        with self.state.read() as connection:
            return [dict(r) for r in connection.execute(select(t.outbox).order_by(t.outbox.c.outbox_id)).mappings()]


def keys_in(crm: Any) -> Counter[str]:
    """How many tasks carry each key of ours, alive or in the bin."""
    if isinstance(crm, PracticeOrg):
        rows = crm.god("SELECT Mikomi_Key__c FROM Task WHERE Mikomi_Key__c != null")
        return Counter(str(row["Mikomi_Key__c"]) for row in rows)
    found: Counter[str] = Counter()
    for archived in ("false", "true"):
        after = "0"
        while after:
            path = f"/crm/v3/objects/tasks?limit=100&properties=mikomi_key&archived={archived}&after={after}"
            page = crm.api("GET", path)
            found.update(str(row["properties"].get("mikomi_key")) for row in page["results"])
            after = page.get("paging", {}).get("next", {}).get("after", "")
    return Counter({key: count for key, count in found.items() if key.startswith("mk1-")})


class Crms:
    """Emulated CRMs, set up once for all tests that can share them: by vendor, and by whether keys can be unique."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[tuple[str, bool], tuple[Crm, Connector]] = {}
        self._template = folder / "template.sqlite3"
        open_state(f"sqlite:///{self._template}").close()

    def stop(self) -> None:
        for crm, _ in self._open.values():
            crm.stop()

    def get(self, vendor: str, unique: bool) -> tuple[Crm, Connector]:
        if (vendor, unique) not in self._open:
            folder = self._folder / f"{vendor}-{unique}"
            folder.mkdir()
            crm: Crm
            if vendor == "hubspot":
                crm = PracticePortal(folder, HubSpotOptions(limits=False, unique_task_property=unique))
            else:
                crm = PracticeOrg(folder, SalesforceOptions(limits=False, unique_activity_fields=unique))
            connector = crm.connect()
            assert {r.status for r in connector.apply_setup()} <= {"created", "unchanged"}
            assert connector.capabilities.task_key is unique
            self._open[vendor, unique] = crm, connector
        return self._open[vendor, unique]

    @contextmanager
    def rig(self, vendor: str, folder: Path, *, unique: bool, people: int = 3, url: str = "") -> Iterator[Rig]:
        crm, connector = self.get(vendor, unique)
        if not url:
            shutil.copy(self._template, folder / "state.sqlite3")
        state = open_state(url or f"sqlite:///{folder / 'state.sqlite3'}")
        rig = Rig(crm, state, vendor, unique, connector, crm.add_people(people), before=keys_in(crm))
        try:
            yield rig
        finally:
            rig.heal()
            state.close()


@pytest.fixture(scope="session")
def crms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crms]:
    opened = Crms(tmp_path_factory.mktemp("crms"))
    yield opened
    opened.stop()


class LateCommits:
    """Holds every late commit of the emulators until a test lets them happen."""

    def __init__(self) -> None:
        self._go = threading.Event()
        self._waiting: list[threading.Thread] = []

    def sleep(self, _seconds: float) -> None:
        self._waiting.append(threading.current_thread())
        assert self._go.wait(30)

    def happen(self) -> int:
        """All of them, now; returns when they are committed."""
        self._go.set()
        for thread in self._waiting:
            thread.join(30)
        return len(self._waiting)


@pytest.fixture
def late_commits(monkeypatch: pytest.MonkeyPatch) -> Iterator[LateCommits]:
    held = LateCommits()
    monkeypatch.setattr(sandbox.server, "time", held)
    yield held
    held.happen()


def assert_each_once(rig: Rig, keys: Sequence[str]) -> None:
    """Nothing twice, nothing lost, nothing invented."""
    assert rig.keys() == Counter(keys)
