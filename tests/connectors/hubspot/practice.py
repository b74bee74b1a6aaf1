"""A HubSpot portal to practise on, over real HTTP, and the hands of its users."""

import json
import os
import stat
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from connectors.hubspot import build
from connectors.mapping import Usage
from connectors.protocol import Connector
from core.records import RecordRef, Value
from sandbox.clock import Clock
from sandbox.hubspot import HubSpot, HubSpotOptions
from sandbox.server import Server
from tests.connectors.clocks import StillClock

NOW = 1_780_000_000_000  # 2026-05-28T20:26:40Z
DAY_MS = 86_400_000
ZONE = ZoneInfo("Asia/Tokyo")
EVERYTHING = Usage()


class WaitingClock(StillClock):
    """Waits take no time here, and pass in the portal."""

    def __init__(self, portal: "PracticePortal") -> None:
        super().__init__(NOW)
        self._portal = portal

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self._portal.clock.advance(seconds)


class PracticePortal:
    """One emulated portal. Signs `tests.contract.connector_contract.PracticeCrm`."""

    name = "hubspot"
    page_size = 4
    owner_id = "501"

    def __init__(self, folder: Path, options: HubSpotOptions | None = None) -> None:
        self.folder = folder
        self.clock = Clock(NOW)
        self.clock.hold(NOW)
        self.app = HubSpot(self.clock, options or HubSpotOptions(limits=False))
        self.server = Server(self.app).start()
        self.secret = self.app.issue_token()
        self.waiting: StillClock = StillClock(NOW)
        self.app.load_owners(
            [{"id": self.owner_id, "email": "rep@seller.example", "firstName": "花子", "lastName": "営業"}]
        )

    def stop(self) -> None:
        self.server.stop()
        self.app.close()

    # --- connecting ---------------------------------------------------------------------------------------------

    def connect(
        self, *, secret: str | None = None, usage: Usage = EVERYTHING, language: str = "ja", **settings: Any
    ) -> Connector:
        path = self.keep_secret(secret or self.secret)
        plain: dict[str, Any] = {
            "base_url": self.server.url,
            "sandbox": True,
            "token": {"file": str(path)},
            "search_page_rows": self.page_size,
            "list_page_rows": self.page_size,
        }
        merged = {key: value for key, value in (plain | settings).items() if value is not None}
        return build(
            self.name, merged, zone=ZONE, usage=usage, language="ja" if language == "ja" else "en", clock=self.waiting
        )

    def keep_secret(self, secret: str, name: str = "token") -> Path:
        path = self.folder / name
        path.write_text(secret)
        path.chmod(stat.S_IRUSR | stat.S_IWUSR)
        assert os.access(path, os.R_OK)
        return path

    # --- what users do ------------------------------------------------------------------------------------------

    def add_people(self, count: int, stamp: int | None = None, **properties: str) -> list[RecordRef]:
        stamp = self.clock.now_ms() - 30 * DAY_MS if stamp is None else stamp
        ids = self.app.load(
            "contacts",
            (
                {
                    "id": None,
                    "properties": {
                        "email": f"person{n}-{self.clock.now_ms() % 1000}@buyer.example",
                        "lastname": f"見込{n}",
                        "firstname": "太郎",
                        "jobtitle": "部長",
                        "company": "架空商事",
                        "hubspot_owner_id": self.owner_id,
                        "lifecyclestage": "lead",
                        **properties,
                    },
                    "created_ms": stamp,
                    "updated_ms": stamp,
                }
                for n in range(count)
            ),
        )
        return [RecordRef(self.name, "contact", str(i)) for i in ids]

    def rename(self, refs: Sequence[RecordRef], last_name: str) -> None:
        self.control("touch", {"type": "contacts", "ids": [r.id for r in refs], "properties": {"lastname": last_name}})

    def edit(self, ref: RecordRef, **properties: str) -> None:
        self.control("records", {"action": "update", "type": "contacts", "id": ref.id, "properties": properties})

    def answer(self, ref: RecordRef, name: str, value: str) -> None:
        self.edit(ref, **{f"mikomi_{name}": value})

    def log(self, object_type: str, refs: Sequence[RecordRef], **properties: str) -> str:
        order = {
            "action": "log_activity",
            "type": object_type,
            "contacts": [r.id for r in refs],
            "properties": properties,
        }
        return str(self.control("records", order)["id"])

    def log_call(self, ref: RecordRef) -> None:
        self.log(
            "calls", [ref], hs_timestamp=str(self.clock.now_ms()), hs_call_status="COMPLETED", hs_call_duration="90000"
        )

    def open_deal(self, refs: Sequence[RecordRef], stage: str = "qualifiedtobuy") -> str:
        properties = {"dealname": "架空案件", "dealstage": stage, "pipeline": "default", "amount": "1200000"}
        order = {
            "action": "create",
            "type": "deals",
            "properties": properties,
            "associations": [
                {"to": {"id": r.id}, "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 3}]}
                for r in refs
            ],
        }
        return str(self.control("records", order)["id"])

    def delete(self, ref: RecordRef) -> None:
        self.control("records", {"action": "delete", "type": "contacts", "id": ref.id})

    def merge(self, survivor: RecordRef, loser: RecordRef) -> RecordRef:
        row = self.control("records", {"action": "merge", "type": "contacts", "id": survivor.id, "other": loser.id})
        return RecordRef(self.name, "contact", str(row["id"]))

    def turn_clock(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def settle(self) -> None:
        self.clock.advance(20 * 60)

    # --- what goes wrong, and what shows ------------------------------------------------------------------------

    def fail_next(
        self,
        *,
        kind: str = "status",
        status: int = 503,
        body: str = "",
        times: int = 1,
        path: str = "",
        headers: Mapping[str, str] | None = None,
        method: str | None = None,
        skip: int = 0,
    ) -> None:
        rule = {"kind": kind, "status": status, "body": body, "times": times, "path": path, "skip": skip}
        self.control("faults", rule | {"headers": dict(headers or {}), "method": method})

    def credentials(self) -> dict[str, Any]:
        return self._http("GET", "/__sandbox__/credentials")

    def heal(self) -> None:
        self._http("DELETE", "/__sandbox__/faults")

    def shown(self, ref: RecordRef, name: str) -> Value:
        value = self.row("contacts", ref.id).get(f"mikomi_{name}")
        return int(value) if name in {"score", "fit", "score_version"} and value is not None else value

    def row(self, object_type: str, identifier: str) -> dict[str, Any]:
        row = self.api(
            "GET", f"/crm/v3/objects/{object_type}/{identifier}?properties={','.join(self.names(object_type))}"
        )
        properties: dict[str, Any] = row["properties"]
        return properties

    def names(self, object_type: str) -> list[str]:
        definitions = self.api("GET", f"/crm/v3/properties/{object_type}")["results"]
        return [
            p["name"]
            for p in definitions
            if p["name"].startswith(("mikomi_", "hs_task", "hs_timestamp", "hubspot_owner"))
        ]

    def tasks(self) -> list[dict[str, Any]]:
        names = ",".join(self.names("tasks"))
        rows = self.api("GET", f"/crm/v3/objects/tasks?limit=100&associations=contacts&properties={names}")["results"]
        return list(rows)

    def task_keys(self) -> list[str]:
        return [row["properties"]["mikomi_key"] for row in self.tasks() if row["properties"].get("mikomi_key")]

    def calls(self) -> int:
        return sum(
            n for name, n in self.server.calls().items() if "/oauth/" not in name and not name.startswith("fault")
        )

    # --- wires --------------------------------------------------------------------------------------------------

    def control(self, name: str, order: Mapping[str, Any]) -> dict[str, Any]:
        return self._http("POST", f"/__sandbox__/{name}", order)

    def api(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return self._http(method, path, body, {"Authorization": f"Bearer {self.secret}"})

    def _http(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        request = urllib.request.Request(
            self.server.url + path,
            data=json.dumps(body).encode() if body is not None else None,
            headers={"Content-Type": "application/json", **(headers or {})},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            raw = answer.read()
        document = json.loads(raw) if raw else {}
        return document if isinstance(document, dict) else {"rules": document}


def ids_of(refs: Iterable[RecordRef]) -> set[str]:
    return {ref.id for ref in refs}
