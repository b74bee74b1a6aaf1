"""A company with both CRMs joined by the native sync, Mikomi between them, and a clock that moves by polls only."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sandbox import Sandbox
from sync.cycle import Cycle
from sync.report import RunReport
from sync.state import schema as t
from tests.simulation.wire import without_sockets
from tests.sync.practice import MORNING_MS, Practice, control, people_by_record

RULEBOOK = """
name: pair
timezone: Asia/Tokyo
dimensions: {fit: {cap: 60}, engagement: {cap: 100}, relationship: {cap: 60}}
rules:
  - {id: decision-maker, dimension: fit, points: 30, when: {field: title_rank, at_least: general_manager},
     label: {ja: 部長以上, en: Decision-maker}}
  - {id: webinar, dimension: engagement, points: 20, on: webinar_attend, label: {ja: ウェビナー, en: Webinar}}
  - {id: call, dimension: engagement, points: 10, on: call, label: {ja: 通話, en: Call}}
  - {id: mail, dimension: engagement, points: 3, on: [email_reply, email_out], label: {ja: メール, en: Mail}}
  - {id: won, dimension: relationship, points: 15, deal: {won: {at_least: 1, within: 365d}},
     label: {ja: 受注, en: Won}}
bands: {A: {total: 50}, B: {total: 30}, C: {total: 10}, D: {}}
handover: {name: sales, band: A, recent: 14d, rearm_below: 40, initial: all}
"""

POLL = 15 * 60.0
SETTLED = 3 * 60.0
OWNER = "41629779"  # the portal's first user
PAIR = {"salesforce": "salesforce", "hubspot": "hubspot"}
OUR_MAPPING = [
    {"hubspot": f"mikomi_{name}", "salesforce": f"Mikomi_{label}__c", "rule": rule}
    for name, label, rule in (
        ("score", "Score", "two_way"),
        ("fit", "Fit", "prefer_salesforce_unless_blank"),
        ("band", "Band", "always_salesforce"),
        ("reasons", "Reasons", "two_way"),
        ("scored_at", "Scored_At", "two_way"),
        ("handover_no", "Handover_No", "two_way"),
        ("handover_state", "Handover_State", "prefer_salesforce_unless_blank"),
        ("last_human_contact", "Last_Human_Contact", "two_way"),
    )
]
"""What an administrator does who maps every property there is."""


class Company(Practice):
    """`settle` lets the time of a few polls pass, with a sync after each, and counts what we write."""

    _open: ExitStack | None = None
    _cycle: Cycle

    def sync(self, **options: Any) -> RunReport:
        """One pass with the objects of the last one, as a service that runs on does it."""
        if self._open is None:
            self._open = ExitStack()
            app = self._open.enter_context(self.app())
            state = self._open.enter_context(app.state())
            self._cycle = Cycle(state, app.loaded.settings, app.rulebook, app.connectors)
        return self._cycle.run(**options)

    def write_config(self, **changes: Any) -> None:
        self.close()
        super().write_config(**changes)

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def native(self, **order: Any) -> Any:
        return control(self.box.hubspot.url, "POST", "native", order)

    def in_hubspot(self, **order: Any) -> Any:
        return control(self.box.hubspot.url, "POST", "records", order)

    def in_salesforce(self, **order: Any) -> Any:
        return control(self.box.salesforce.url, "POST", "records", order)

    def contact(self, **properties: str) -> str:
        person = {"email": "sato@aoi.example", "lastname": "佐藤", "firstname": "恵", "company": "葵商事"}
        person |= {"jobtitle": "部長", "hubspot_owner_id": OWNER, **properties}
        return str(self.in_hubspot(action="create", type="contacts", properties=person)["id"])

    def log(self, kind: str, contact: str, **properties: Any) -> str:
        stamp = {"hs_timestamp": str(self.box.clock.now_ms())}
        order = {"action": "log_activity", "type": kind, "contacts": [contact], "properties": {**stamp, **properties}}
        return str(self.in_hubspot(**order)["id"])

    def attend(self, contact: str, name: str, event: int = 990_001, *, record: str | None = None) -> None:
        """The webinar tool tells both CRMs: a participation in HubSpot, a campaign member in Salesforce.

        Args:
            record: the person's live record in Salesforce; None: the one that the native sync knows.
        """
        self.participate(contact, name, event)
        self.import_list(contact, name, record=record)

    def participate(self, contact: str, name: str, event: int = 990_001) -> None:
        """The webinar tool tells HubSpot that somebody attended just now."""
        now = self.box.clock.now_ms()
        row = {"objectId": str(event), "eventName": name, "eventType": "WEBINAR", "externalEventId": f"webinar-{event}"}
        self.box.hubspot_app.load_marketing_events([row])
        participation = {"eventId": event, "contactId": int(contact), "state": "ATTENDED"}
        control(self.box.hubspot.url, "POST", "events", {"participations": [{**participation, "occurred_ms": now}]})

    def import_list(self, contact: str, name: str, *, record: str | None = None) -> None:
        """Somebody makes the webinar's attendees members of a campaign in Salesforce."""
        person = record or self.record_of(contact)
        fields = {"Name": name, "Type": "Webinar", "IsActive": True}
        campaign = self.in_salesforce(action="create", sobject="Campaign", fields=fields)["id"]
        status = {"CampaignId": campaign, "Label": "Attended", "SortOrder": 5, "HasResponded": True}
        self.in_salesforce(action="create", sobject="CampaignMemberStatus", fields=status)
        who = {"LeadId": person} if person.startswith("00Q") else {"ContactId": person}
        member = {"CampaignId": campaign, "Status": "Attended", **who}
        self.in_salesforce(action="create", sobject="CampaignMember", fields=member)

    def record_of(self, contact: str) -> str:
        """The Salesforce record that the native sync has linked to a contact."""
        return str(self.native()["links"]["contacts"][contact])

    def tick(self) -> None:
        """The native sync polls; then as much time passes as we stay behind what is new."""
        self.box.clock.advance(POLL)
        self.box.clock.advance(SETTLED)

    def go(self, passes: int = 1) -> list[RunReport]:
        """Passes, each after the time of a poll."""
        reports = []
        for _ in range(passes):
            self.tick()
            reports.append(self.sync())
            assert reports[-1].outcome == "ok", reports[-1].systems
        return reports

    def settle(self, passes: int = 4) -> list[int]:
        """Records that we wrote in each pass."""
        return [sum(s.fields_written + s.tasks_created for s in report.systems.values()) for report in self.go(passes)]

    def score(self) -> dict[str, Any]:
        """The only person's score."""
        (row,) = self.rows(t.score)
        return dict(row)

    def people(self) -> int:
        return len(set(people_by_record(self).values()))

    def counted(self, kind: int) -> list[dict[str, Any]]:
        """Activities of a kind that count: no duplicates."""
        return [dict(a) for a in self.rows(t.activity, t.activity.c.kind == kind) if a["duplicate_of"] is None]


@contextmanager
def company(
    *, stage: str = "all", native: dict[str, Any] | None = None, rulebook: str = RULEBOOK, **settings: Any
) -> Iterator[Company]:
    """Empty accounts, joined, set up, the clock held at ten in the morning; in memory, where disks are slow to sync."""
    memory = Path("/dev/shm")
    with (
        TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder,
        Sandbox(people=0, now_ms=MORNING_MS, index_lag_seconds=0.0, limits=False) as box,
        without_sockets(box),
    ):
        box.clock.hold(MORNING_MS)
        settings = {"pair": PAIR, "language": "en", **settings}
        made = Company(box, Path(folder), stage=stage, rulebook=rulebook, **settings)
        made.setup()
        made.native(on=True, **(native or {}))
        try:
            yield made
        finally:
            made.close()
