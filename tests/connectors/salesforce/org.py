"""A practice org over real HTTP, and hands to do in it what its users do."""

import json
import os
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast
from zoneinfo import ZoneInfo

from connectors import open_connector
from connectors.mapping import Usage
from connectors.protocol import Connector
from connectors.salesforce.connector import SalesforceConnector
from connectors.salesforce.schema import KEY_FIELD, KIND_OBJECTS, OUR_FIELDS
from core.records import ACTIVITY_KINDS, FIELD_TYPES, RecordRef, Value
from sandbox.clock import Clock
from sandbox.salesforce import Salesforce, SalesforceOptions
from sandbox.server import Server
from tests.connectors.clocks import PatientClock

TOKYO = ZoneInfo("Asia/Tokyo")
NAME = "salesforce"
EVERYTHING = Usage(frozenset(FIELD_TYPES), frozenset(ACTIVITY_KINDS), frozenset({"title", "status"}))
MINUTE = 60_000
FAMILY = ("佐藤", "鈴木", "高橋", "田中", "伊藤")


class PracticeOrg:
    """One emulated org. `usage` and `settings` may be changed before `connect`."""

    page_size = 200

    def __init__(self, folder: Path, options: SalesforceOptions | None = None, *, start_ms: int | None = None) -> None:
        self.folder = folder
        self.clock = Clock(start_ms)
        self.clock.hold(start_ms)
        self.app = Salesforce(self.clock, options or SalesforceOptions())
        self.server = Server(self.app).start()
        self.waits = PatientClock()
        self.credentials = cast("dict[str, Any]", self.control("GET", "credentials"))
        self.secret: str = self.credentials["access_token"]
        self.owner_id: str = self.app.new_id("User")
        profile = self.god("SELECT Id FROM Profile WHERE Name = 'Mikomi Integration'")[0]["Id"]
        rep: dict[str, object] = {
            "Username": "rep@seller.example",
            "Email": "rep@seller.example",
            "LastName": "営業",
            "FirstName": "太郎",
        }
        rep |= {"Name": "太郎 営業", "IsActive": True, "Id": self.owner_id, "ProfileId": profile}
        rep |= {"Alias": "rep", "CommunityNickname": "rep"}
        self.load("User", [rep | self._stamps(60)])
        self.people = 0

    def stop(self) -> None:
        self.server.stop()
        self.app.close()

    # --- connecting ----------------------------------------------------------------------------------------------------

    def secret_file(self, name: str, text: str) -> dict[str, str]:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        return {"file": os.fspath(path)}

    def settings(self, **changes: object) -> dict[str, object]:
        return {
            "vendor": "salesforce",
            "auth": "access_token",
            "access_token": self.secret_file("token", self.secret),
            "setup_access_token": self.secret_file("admin", self.credentials["admin_access_token"]),
            "base_url": self.server.url,
            "sandbox": True,
            "page_size": self.page_size,
            "call_budget_seconds": 3600,
            **changes,
        }

    def connect(
        self,
        *,
        secret: str | None = None,
        usage: Usage = EVERYTHING,
        language: Literal["ja", "en"] = "en",
        **changes: object,
    ) -> SalesforceConnector:
        if secret is not None:
            changes["access_token"] = self.secret_file("other-token", secret)
        connector: Connector = open_connector(
            NAME, self.settings(**changes), zone=TOKYO, usage=usage, language=language, clock=self.waits
        )
        assert isinstance(connector, SalesforceConnector)
        return connector

    # --- what users do -------------------------------------------------------------------------------------------------

    def control(self, method: str, name: str, body: object = None) -> Any:
        request = urllib.request.Request(
            f"{self.server.url}/__sandbox__/{name}",
            method=method,
            data=json.dumps(body).encode() if body is not None else None,
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.loads(response.read() or b"null")

    def god(self, soql: str) -> list[dict[str, Any]]:
        return cast("list[dict[str, Any]]", self.control("POST", "query", {"soql": soql})["records"])

    def load(self, sobject: str, rows: Iterable[Mapping[str, object]]) -> None:
        self.app.load(sobject, [dict(row) for row in rows])

    def _stamps(self, minutes_ago: int) -> dict[str, object]:
        at = (self.clock.now_ms() - minutes_ago * MINUTE) // 1000 * 1000
        return {"CreatedDate": at, "LastModifiedDate": at, "SystemModstamp": at}

    def add_people(self, count: int, sobject: str = "Lead", *, minutes_ago: int = 60) -> list[RecordRef]:
        kind = {name: kind for kind, name in KIND_OBJECTS.items()}[sobject]
        rows = []
        for _ in range(count):
            n = self.people
            self.people += 1
            row: dict[str, object] = {
                "Id": self.app.new_id(sobject),
                "LastName": FAMILY[n % len(FAMILY)],
                "FirstName": f"花子{n}",
                "Title": "営業部長",
                "Email": f"Hanako.{n}@Buyer{n % 7}.example",
                "OwnerId": self.owner_id,
                **self._stamps(minutes_ago),
            }
            if sobject == "Lead":
                row |= {"Company": f"買い手{n % 7}株式会社", "Status": "Open - Not Contacted"}
            rows.append(row)
        self.load(sobject, rows)
        return [RecordRef(NAME, kind, str(row["Id"])) for row in rows]

    def act(self, action: str, sobject: str, **order: object) -> Any:
        return self.control("POST", "records", {"action": action, "sobject": sobject, **order})

    def create(self, sobject: str, **fields: object) -> str:
        return str(self.act("create", sobject, fields=fields)["id"])

    def update(self, ref: RecordRef, **fields: object) -> None:
        self.act("update", KIND_OBJECTS[ref.kind], id=ref.id, fields=fields)

    def rename(self, refs: Sequence[RecordRef], last_name: str) -> None:
        orders = [
            {"action": "update", "sobject": KIND_OBJECTS[r.kind], "id": r.id, "fields": {"LastName": last_name}}
            for r in refs
        ]
        self.control("POST", "records", orders)

    def answer(self, ref: RecordRef, name: str, value: str) -> None:
        self.update(ref, **{OUR_FIELDS[name]: value})

    def log_call(self, ref: RecordRef) -> None:
        fields = {
            "WhoId": ref.id,
            "Subject": "架電",
            "TaskSubtype": "Call",
            "Status": "Completed",
            "CallType": "Outbound",
        }
        self.create("Task", **fields, CallDisposition="Connected", CallDurationInSeconds=180, OwnerId=self.owner_id)

    def open_deal(self, refs: Sequence[RecordRef]) -> None:
        deal = self.create(
            "Opportunity", Name="導入案件", StageName="Prospecting", CloseDate="2027-03-31", Amount=1_200_000
        )
        for ref in refs:
            if ref.kind == "contact":
                self.create("OpportunityContactRole", OpportunityId=deal, ContactId=ref.id)

    def delete(self, ref: RecordRef) -> None:
        self.act("delete", KIND_OBJECTS[ref.kind], id=ref.id)

    def merge(self, survivor: RecordRef, loser: RecordRef) -> RecordRef:
        sobject = KIND_OBJECTS[survivor.kind]
        self.act("merge", sobject, id=survivor.id, losers=[loser.id])
        return survivor

    def turn_clock(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def settle(self) -> None:
        self.clock.advance(20 * 60)

    def fail_next(
        self, *, kind: str = "status", status: int = 503, body: str = "", times: int = 1, path: str = ""
    ) -> None:
        self.control("POST", "faults", {"kind": kind, "status": status, "body": body, "times": times, "path": path})

    def shown(self, ref: RecordRef, name: str) -> Value:
        own, sobject = OUR_FIELDS[name], KIND_OBJECTS[ref.kind]
        return cast("Value", self.god(f"SELECT {own} FROM {sobject} WHERE Id = '{ref.id}'")[0][own])

    def task_keys(self) -> list[str]:
        try:
            rows = self.god(f"SELECT {KEY_FIELD} FROM Task WHERE {KEY_FIELD} != null")
        except urllib.request.HTTPError:
            return []  # the field is not there yet, so no task carries it
        return [str(row[KEY_FIELD]) for row in rows]

    def calls(self) -> int:
        return sum(n for name, n in self.control("GET", "calls").items() if "oauth2" not in name)
