"""The two CRMs of a world, their time and their faults. Whatever is told to the emulators is told in process, not over HTTP."""

import json
import time
from collections.abc import Mapping
from email.message import Message
from typing import Any, Literal
from urllib.error import HTTPError
from urllib.parse import urlsplit

from core.records import Millis
from sandbox import Sandbox
from sandbox.hubspot.object_types import resolve
from sandbox.server import Request

System = Literal["salesforce", "hubspot"]

LATE_SECONDS = 0.03
"""How long after hanging up a late request is carried out, in real time."""

SETTLED = 200.0
"""Seconds after which what the native sync has just written is old enough for both connectors to read it."""

DERIVED = ("SystemModstamp", "LastModifiedDate", "LastModifiedById", "LastActivityDate")
"""What Salesforce itself moves on a record when anything of it, or a task on it, is written."""


class SimulatedClock:
    """The sandbox's clock for Mikomi too, shifted by a skew; a sleep takes no time."""

    def __init__(self, box: Sandbox) -> None:
        self._box = box
        self.skew: Millis = 0
        self._slept = 0.0

    def now(self) -> Millis:
        return self._box.clock.now_ms() + self.skew

    def monotonic(self) -> float:
        return self._box.clock.now_ms() / 1000 + self._slept

    def sleep(self, seconds: float) -> None:
        self._slept += seconds


class Crms:
    """Both emulators, and the native sync between them where there is one."""

    box: Sandbox
    clock: SimulatedClock
    native: Mapping[str, Any] | None = None
    late_ordered = False
    """Whether requests may be carried out behind our back."""

    def control(self, system: System, method: str, name: str, order: Any = None) -> Any:
        """A control call; what is refused is refused as over the network."""
        path = f"/__sandbox__/{name}"
        body = b"" if order is None else json.dumps(order).encode()
        server = self.box.servers[urlsplit(self.url_of(system)).port or 0]
        response = server.answer(Request.read(method, path, {}, body))
        if response.status >= 400:
            raise HTTPError(path, response.status, response.body.decode(), Message(), None)
        return json.loads(response.body) if response.body else None

    def salesforce(self, order: Mapping[str, Any]) -> Any:
        return self.control("salesforce", "POST", "records", order)

    def hubspot(self, order: Mapping[str, Any]) -> Any:
        return self.control("hubspot", "POST", "records", order)

    def soql(self, query: str) -> list[dict[str, Any]]:
        return list(self.control("salesforce", "POST", "query", {"soql": query})["records"])

    def org_rows(self, sobject: str) -> list[dict[str, Any]]:
        """Every row of a Salesforce object as stored, the bin included."""
        return self.box.salesforce_app.org.store.rows(f'SELECT * FROM "{sobject}" ORDER BY Id')

    def hubspot_rows(self, kind: str) -> list[dict[str, Any]]:
        """Every row of a HubSpot type as stored, the archived ones too."""
        names = ("id", "created_ms", "updated_ms", "archived_ms", "properties")
        sql = f"SELECT {', '.join(names)} FROM {resolve(kind).name} ORDER BY id"
        rows = [dict(zip(names, row, strict=True)) for row in self.portal_rows(sql)]
        return [row | {"properties": json.loads(row["properties"])} for row in rows]

    def portal_rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What HubSpot's store says."""
        store = self.box.hubspot_app.portal.store
        with store.transaction():
            return list(store.db.execute(sql))

    def touch(self, system: System, order: Mapping[str, Any]) -> None:
        self.control(system, "POST", "touch", order)

    def row_fault(self, order: Mapping[str, Any]) -> None:
        self.control("salesforce", "POST", "row_faults", order)

    def task_keys(self) -> set[str]:
        """Keys of ours on tasks in either CRM, deleted ones too."""
        found = {row["Mikomi_Key__c"] for row in self.org_rows("Task")}
        found |= {row["properties"].get("mikomi_key") for row in self.hubspot_rows("tasks")}
        return found - {None, ""}

    def hubspot_calls(self) -> int:
        """Calls that HubSpot has counted, without token requests."""
        calls = self.box.calls()["hubspot"]
        return sum(count for name, count in calls.items() if "/oauth/" not in name and not name.startswith("fault "))

    def foreign(self) -> dict[str, tuple[Any, ...]]:
        """What is not ours, by row."""
        found: dict[str, tuple[Any, ...]] = {}
        for sobject in ("Lead", "Contact", "Account", "Opportunity", "Task", "Event"):
            for row in self.org_rows(sobject):
                if sobject != "Task" or row["Mikomi_Key__c"] is None:
                    foreign = (v for n, v in row.items() if n not in DERIVED and not n.startswith("Mikomi_"))
                    found[f"{sobject} {row['Id']}"] = tuple(foreign)
        return found

    def wait(self, seconds: float) -> None:
        """Time goes by; the native sync, if there is one, polls, and what it wrote gets old enough to be read."""
        if self.late_ordered:
            time.sleep(LATE_SECONDS * 2)
        self.box.clock.advance(seconds)
        if self.native is not None:
            self.box.clock.advance(SETTLED)

    def fault(self, system: System, rule: Mapping[str, Any]) -> None:
        self.late_ordered |= rule["kind"] == "late_commit"  # from now on requests may be carried out behind our back
        self.control(system, "POST", "faults", dict(rule))

    def heal(self) -> None:
        if self.late_ordered:
            time.sleep(LATE_SECONDS * 3)
        self.control("salesforce", "DELETE", "faults")
        self.control("hubspot", "DELETE", "faults")
        self.control("salesforce", "DELETE", "row_faults")
        self.late_ordered = False
        self.clock.skew = 0

    def url_of(self, system: System) -> str:
        return self.box.salesforce.url if system == "salesforce" else self.box.hubspot.url
