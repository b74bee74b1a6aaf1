"""What is recorded of HubSpot. For a real portal set MIKOMI_RECORD_HUBSPOT_TOKEN (private app, read scopes)."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from connectors import open_connector
from connectors.hubspot.connector import HubSpotConnector
from connectors.protocol import Connector, FieldWrite, Page, TaskWrite
from core.records import Owner, Record, RecordRef
from sandbox.hubspot import HubSpotOptions
from tests.cassette_kit import NOWHERE, Session
from tests.connectors.clocks import StillClock
from tests.connectors.hubspot.practice import DAY_MS, EVERYTHING, NOW, ZONE, PracticePortal, WaitingClock

NAME = "hubspot"
WEBINAR = 54_001


def read(connector: HubSpotConnector) -> tuple[list[Page], list[Page]]:
    """A first load and the reading right after it."""
    first = list(connector.read({}))
    return first, list(connector.read({page.stream: page.cursor for page in first}))


def look(connector: HubSpotConnector) -> Any:
    """What the doctor says."""
    return connector.check()


def write_scores(connector: HubSpotConnector) -> Any:
    """Scores for every contact, one that is not there, and one task, asked for twice."""
    facts = [fact for page in connector.read({}) for fact in page.facts]
    people = [fact.ref for fact in facts if isinstance(fact, Record)]
    owner = next(fact.ref.id for fact in facts if isinstance(fact, Owner) and fact.email == "rep@seller.example")
    scores = [
        FieldWrite(ref, {"score": 70 + n, "band": "B", "reasons": "・資料請求 +15"}) for n, ref in enumerate(people)
    ]
    missing = FieldWrite(RecordRef(NAME, "contact", "999999999"), {"score": 1})
    task = TaskWrite("mk1-recorded", people[0], owner, "架電: 資料請求のフォロー", "本文", due=20_605)
    return [list(connector.write([*scores, missing])), list(connector.write([task])), list(connector.write([task]))]


SCENARIOS = {"read": read, "look": look, "write_scores": write_scores}


def _open(folder: Path, base_url: str, secret: str, clock: StillClock) -> Connector:
    path = folder / "recorded-token"
    path.write_text(secret, "utf-8")
    path.chmod(0o600)
    settings = {"base_url": base_url, "sandbox": True, "token": {"file": os.fspath(path)}}
    return open_connector(NAME, settings, zone=ZONE, usage=EVERYTHING, language="ja", clock=clock)


@contextmanager
def practice(folder: Path) -> Iterator[Session]:
    """A portal with a few people, and one of every signal."""
    portal = PracticePortal(folder, HubSpotOptions())
    try:
        list(portal.connect().apply_setup())
        _furnish(portal)
        yield Session(
            lambda: _open(folder, portal.server.url, portal.secret, WaitingClock(portal)),
            portal.server.url,
            (portal.secret,),
            "the sandbox of this repository",
            slim=slim,
        )
    finally:
        portal.stop()


def _furnish(portal: PracticePortal) -> None:
    refs = portal.add_people(4)
    stamps = {"created_ms": NOW - 9 * DAY_MS, "updated_ms": NOW - 9 * DAY_MS}
    portal.app.load("companies", [{"id": None, "properties": {"name": "架空商事", "industry": "MACHINERY"}, **stamps}])
    portal.log_call(refs[0])
    portal.log(
        "meetings", refs[:2], hs_timestamp=str(NOW), hs_meeting_start_time=str(NOW), hs_meeting_outcome="COMPLETED"
    )
    portal.log("emails", refs[:1], hs_timestamp=str(NOW), hs_email_direction="INCOMING_EMAIL")
    portal.open_deal(refs[1:3])
    portal.delete(refs[3])
    mail = {"id": "e1", "created": NOW - DAY_MS, "type": "CLICK", "recipient": "person0@buyer.example"}
    portal.app.load_email_events([mail | {"url": "https://seller.example/pricing", "emailCampaignId": 7}])
    portal.app.load_forms([{"id": "f-doc", "name": "製品資料ダウンロード"}])
    values = [{"name": "email", "value": "person1@buyer.example"}]
    portal.app.load_form_submissions(
        [{"formId": "f-doc", "conversionId": "c1", "submittedAt": NOW - DAY_MS, "values": values}]
    )
    portal.app.load_lists([{"listId": 1, "name": "visited /pricing"}])
    portal.app.load_memberships([{"listId": 1, "recordId": refs[0].id, "joined_ms": NOW - DAY_MS}])
    portal.app.load_marketing_events(
        [{"objectId": WEBINAR, "eventName": "はじめての生産管理DX", "eventType": "WEBINAR"}]
    )
    joined = {"eventId": WEBINAR, "contactId": refs[1].id, "state": "ATTENDED", "occurred_ms": NOW - DAY_MS}
    portal.app.load_participations([joined])
    portal.settle()


_KEPT = frozenset({"name", "type", "fieldType", "groupName", "hasUniqueValue", "options", "value"})


def slim(document: Any) -> Any:
    """Property definitions cut to the keys that are read."""
    rows = document.get("results") if isinstance(document, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) and "fieldType" in row for row in rows):
        return document
    own = [
        _only_kept(row) if row["name"].startswith("mikomi_") else {"name": row["name"], "type": row["type"]}
        for row in rows
    ]
    return {"results": own}


def _only_kept(value: Any) -> Any:
    if isinstance(value, list):
        return [_only_kept(item) for item in value]
    if isinstance(value, dict):
        return {key: _only_kept(inner) for key, inner in value.items() if key in _KEPT}
    return value


def real(environ: Mapping[str, str]) -> Session | None:
    """A real portal through a private app's token; None without one. The reading waits for real."""
    secret = environ.get("MIKOMI_RECORD_HUBSPOT_TOKEN", "")
    if not secret:
        return None
    settings = {"token": {"env": "MIKOMI_RECORD_HUBSPOT_TOKEN"}}

    def connect() -> Connector:
        return open_connector(NAME, settings, zone=ZONE, usage=EVERYTHING, language="ja")

    return Session(connect, "https://api.hubapi.com", (secret,), "a real portal (private app)", slim=slim)


def replayed(folder: Path) -> Session:
    return Session(lambda: _open(folder, NOWHERE, "made-up", StillClock(NOW)), NOWHERE, (), "replay")
