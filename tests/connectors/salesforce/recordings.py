"""What is recorded of Salesforce. For a real org set MIKOMI_RECORD_SALESFORCE_LOGIN_URL (My Domain), _CLIENT_ID and
_CLIENT_SECRET (client credentials flow).
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from connectors import open_connector
from connectors.protocol import Connector, FieldWrite, Page, TaskWrite
from connectors.salesforce.connector import SalesforceConnector
from core.records import Owner, Record, RecordRef
from sandbox.salesforce import SalesforceOptions
from tests.cassette_kit import NOWHERE, Session
from tests.connectors.clocks import StillClock
from tests.connectors.salesforce.org import EVERYTHING, NAME, TOKYO, PracticeOrg

START_MS = 1_795_132_800_000  # 2026-11-20T00:00Z: recordings do not differ by the hour they were made in


def read(connector: SalesforceConnector) -> tuple[list[Page], list[Page]]:
    """A first load and the quiet reading after it."""
    first = list(connector.read({}))
    return first, list(connector.read({page.stream: page.cursor for page in first}))


def look(connector: SalesforceConnector) -> Any:
    """What the doctor says."""
    return connector.check()


def write_scores(connector: SalesforceConnector) -> Any:
    """Scores for every lead, one record that is not there, and one task, asked for twice."""
    facts = [fact for page in connector.read({}) for fact in page.facts]
    leads = [fact.ref for fact in facts if isinstance(fact, Record) and fact.ref.kind == "lead"]
    owner = next(fact.ref.id for fact in facts if isinstance(fact, Owner) and fact.email == "rep@seller.example")
    missing = RecordRef(NAME, "lead", "00Q000000000099EAA")
    scores = [
        FieldWrite(ref, {"score": 70 + n, "band": "B", "reasons": "・資料請求 +15"}) for n, ref in enumerate(leads)
    ]
    task = TaskWrite("mk1-recorded", leads[0], owner, "架電: 資料請求のフォロー", "本文", due=20_785)
    return [
        list(connector.write([*scores, FieldWrite(missing, {"score": 1})])),
        list(connector.write([task])),
        list(connector.write([task])),
    ]


SCENARIOS = {"read": read, "look": look, "write_scores": write_scores}


def _settings(folder: Path, base_url: str, secret: str, key: str) -> dict[str, object]:
    kept = {}
    for name, text in (("secret", secret), ("key", key)):
        path = folder / name
        path.write_text(text, "utf-8")
        path.chmod(0o600)
        kept[name] = {"file": os.fspath(path)}
    settings: dict[str, object] = {"vendor": "salesforce", "auth": "client_credentials", "client_id": "recorded"}
    return settings | {"client_secret": kept["secret"], "base_url": base_url, "sandbox": True, "page_size": 200}


def _open(settings: Mapping[str, object]) -> Connector:
    return open_connector(NAME, settings, zone=TOKYO, usage=EVERYTHING, language="ja", clock=StillClock(START_MS))


@contextmanager
def practice(folder: Path) -> Iterator[Session]:
    """An org with a few people, a campaign, calls, a meeting and a deal."""
    org = PracticeOrg(folder, SalesforceOptions(client_id="recorded"), start_ms=START_MS)
    try:
        list(org.connect().apply_setup())
        _furnish(org)
        settings = _settings(folder, org.server.url, org.credentials["client_secret"], "")
        secrets = (org.secret, org.credentials["client_secret"], org.credentials["admin_access_token"])
        yield Session(lambda: _open(settings), org.server.url, secrets, "the sandbox of this repository", slim=slim)
    finally:
        org.stop()


_KEPT = frozenset(
    {
        "name",
        "fields",
        "createable",
        "updateable",
        "type",
        "filterable",
        "sortable",
        "groupable",
        "unique",
        "externalId",
    }
    | {"idLookup", "length", "picklistValues", "value", "active"}
)


def slim(document: Any) -> Any:
    """Describes cut to the keys that are read: whole ones are megabytes."""
    if isinstance(document, list):
        return [slim(item) for item in document]
    if not isinstance(document, dict):
        return document
    if "fields" in document and "childRelationships" in document:
        return _only_kept(document)
    return {key: slim(value) for key, value in document.items()}


def _only_kept(value: Any) -> Any:
    if isinstance(value, list):
        return [_only_kept(item) for item in value]
    if isinstance(value, dict):
        return {key: _only_kept(inner) for key, inner in value.items() if key in _KEPT}
    return value


def _furnish(org: PracticeOrg) -> None:
    leads = org.add_people(3)
    contacts = org.add_people(2, "Contact")
    account = org.create("Account", Name="買い手0株式会社", Industry="Manufacturing", NumberOfEmployees=320)
    for ref in contacts:
        org.update(ref, AccountId=account)
    campaign = org.create("Campaign", Name="はじめての生産管理DX", Type="Webinar", IsActive=True)
    org.create("CampaignMember", CampaignId=campaign, LeadId=leads[0].id, Status="Registered")
    org.log_call(leads[1])
    org.open_deal(contacts)
    org.delete(leads[2])
    org.settle()


def real(environ: Mapping[str, str]) -> Session | None:
    """A real org through the client credentials flow; None without credentials."""
    prefix = "MIKOMI_RECORD_SALESFORCE_"
    login, client, secret = (environ.get(prefix + name, "") for name in ("LOGIN_URL", "CLIENT_ID", "CLIENT_SECRET"))
    if not (login and client and secret):
        return None
    settings = {"vendor": "salesforce", "login_url": login, "client_id": client}
    settings["client_secret"] = {"env": f"{prefix}CLIENT_SECRET"}  # type: ignore[assignment]
    return Session(lambda: _open(settings), login, (secret, client), "a real org (client credentials)", slim=slim)


def replayed(folder: Path) -> Session:
    settings = _settings(folder, NOWHERE, "made-up", "")
    return Session(lambda: _open(settings), NOWHERE, (), "replay")
