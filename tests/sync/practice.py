"""A whole Mikomi against both emulators, in a few lines a test."""

import json
import os
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy import select

from core.rulebook import template_text
from sandbox import Sandbox
from sync.app import App
from sync.cycle import Cycle
from sync.report import RunReport
from sync.state import State, open_state
from sync.state import schema as t
from tests.simulation.wire import without_sockets

MINUTES = 60.0
MORNING_MS = 1_795_482_000_000
"""Tuesday 2026-11-24, ten in the morning in Tokyo: no pass of a test meets midnight by chance."""

QUIET_SECONDS = 20 * MINUTES
"""Past overlap and settle of both connectors: what was written before is read again no more."""


def control(url: str, method: str, name: str, body: Any = None) -> Any:
    """One call of an emulator's control API."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        f"{url}/__sandbox__/{name}", data, {"Content-Type": "application/json"}, method=method
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        text = answer.read()
    return json.loads(text) if text else None


class Practice:
    """One company's installation: settings, rulebook, state, and the emulators they point at."""

    def __init__(self, box: Sandbox, folder: Path, *, stage: str, rulebook: str | None = None, **settings: Any) -> None:
        self.box = box
        self.folder = folder
        admin = control(box.salesforce.url, "GET", "credentials")
        os.environ["PRACTICE_SALESFORCE"] = box.salesforce.token
        os.environ["PRACTICE_ADMIN"] = find_admin_token(admin)
        os.environ["PRACTICE_HUBSPOT"] = box.hubspot.token
        self.config: dict[str, Any] = {
            "stage": stage,
            "language": "ja",
            "connections": {
                "salesforce": {
                    "vendor": "salesforce",
                    "auth": "access_token",
                    "access_token": {"env": "PRACTICE_SALESFORCE"},
                    "setup_access_token": {"env": "PRACTICE_ADMIN"},
                    "base_url": box.salesforce.url,
                    "sandbox": True,
                },
                "hubspot": {
                    "vendor": "hubspot",
                    "token": {"env": "PRACTICE_HUBSPOT"},
                    "base_url": box.hubspot.url,
                    "sandbox": True,
                    "searches_per_second": 0,
                },
            },
            **settings,
        }
        text = rulebook or template_text("b2b-japan-standard").replace("initial: seed", "initial: all")
        (folder / "rulebook.yaml").write_text(text, "utf-8")
        self.write_config()

    def write_config(self, **changes: Any) -> None:
        self.config |= changes
        (self.folder / "mikomi.yaml").write_text(yaml.safe_dump(self.config, allow_unicode=True), "utf-8")

    @property
    def config_file(self) -> Path:
        return self.folder / "mikomi.yaml"

    @contextmanager
    def app(self) -> Iterator[App]:
        app = App(self.config_file)
        try:
            yield app
        finally:
            app.close()

    def setup(self) -> None:
        with self.app() as app:
            for connector in app.connectors.values():
                failed = [r for r in connector.apply_setup() if r.status == "failed"]
                assert failed == []

    def sync(self, **options: Any) -> RunReport:
        """One pass with freshly built objects, as the command line does it."""
        with self.app() as app, app.state() as state:
            return Cycle(state, app.loaded.settings, app.rulebook, app.connectors).run(**options)

    def quiet_calls(self, system: str) -> dict[str, int]:
        """Calls by endpoint of reading one system from where the last pass stopped; nothing is stored."""
        with self.app() as app, app.state() as state, state.read() as connection:
            connector = app.connectors[system]
            connector.prepare()
            before = dict(connector.counts.by_endpoint)
            cursors = dict(
                connection.execute(select(t.cursor.c.stream, t.cursor.c.value).where(t.cursor.c.system == system)).all()
            )
            for _ in connector.read(cursors):
                pass
            after = connector.counts.by_endpoint
            return {name: count - before.get(name, 0) for name, count in after.items() if count > before.get(name, 0)}

    @contextmanager
    def state(self) -> Iterator[State]:
        with self.app() as app:
            opened = open_state(app.loaded.state_url)
            yield opened
            opened.close()

    def rows(self, table: Any, *where: Any) -> list[Mapping[str, Any]]:
        with self.state() as state, state.read() as connection:
            return [dict(row) for row in connection.execute(select(table).where(*where)).mappings()]

    def wait(self, seconds: float = QUIET_SECONDS) -> None:
        self.box.clock.advance(seconds)

    def salesforce_tasks(self) -> list[dict[str, Any]]:
        """All hand-over tasks in Salesforce, the deleted ones included."""
        return self.soql("SELECT Id, WhoId, OwnerId, Subject, Mikomi_Key__c FROM Task WHERE Mikomi_Key__c != null")

    def hubspot_tasks(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        after = ""
        while True:
            path = f"/crm/v3/objects/tasks?limit=100&properties=mikomi_key,hs_task_subject&associations=contacts{after}"
            page = self.hubspot("GET", path)
            found += [task for task in page["results"] if task["properties"].get("mikomi_key")]
            if "paging" not in page:
                return found
            after = f"&after={page['paging']['next']['after']}"

    def soql(self, query: str) -> list[dict[str, Any]]:
        answer = control(self.box.salesforce.url, "POST", "query", {"soql": query})
        return list(answer["records"])

    def hubspot(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.box.hubspot.token}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.box.hubspot.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
        return json.loads(text) if text else None


@contextmanager
def set_up_sandbox(*, seed: int, people: int, **options: Any) -> Iterator[Sandbox]:
    """Both CRMs with a market's people and with our fields, at ten in the morning.

    The first of a kind in this process is filled and set up, which takes as long as a small pass; the others begin as its copies.
    Calls of this process are handed over without sockets (see `wire`); the sandbox serves those of others over HTTP.
    """
    options = {"limits": False, "now_ms": MORNING_MS, **options}
    accounts = _accounts(seed, people, tuple(sorted(options.items())))
    with Sandbox(people=0, begin_with=accounts.name, **options) as box, without_sockets(box):
        yield box


@cache
def _accounts(seed: int, people: int, options: tuple[tuple[str, Any], ...]) -> "tempfile.TemporaryDirectory[str]":
    """What such accounts consist of; the folder goes with the process."""
    folder = tempfile.TemporaryDirectory(prefix="accounts-")
    made = {"seed": seed, "people": people, "database_dir": folder.name, **dict(options)}
    with Sandbox(**made) as box, tempfile.TemporaryDirectory() as apart:
        box.clock.hold()
        Practice(box, Path(apart), stage="all").setup()
    return folder


def find_admin_token(credentials: Mapping[str, Any]) -> str:
    return str(
        credentials["admin_access_token"]
        if "admin_access_token" in credentials
        else credentials["admin"]["access_token"]
    )


def people_by_record(practice: Practice) -> dict[str, int]:
    rows = practice.rows(t.record, t.record.c.person_id.is_not(None))
    return {f"{row['system']}/{row['kind']}/{row['id']}": row["person_id"] for row in rows}


@contextmanager
def synced(folder: Path, *, people: int, stage: str) -> Iterator[Practice]:
    """An installation that is set up and has synced once."""
    with Sandbox(seed=5, people=people, limits=False, now_ms=MORNING_MS) as box:
        made = Practice(box, folder, stage=stage)
        made.setup()
        made.sync()
        yield made
