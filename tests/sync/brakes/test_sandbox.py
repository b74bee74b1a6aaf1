"""The brakes against both emulators over real HTTP: spent quotas, lost fields and rights, a revoked token."""

import json
import shutil
from collections.abc import Iterator
from copy import copy
from pathlib import Path

import pytest

from sync.cli.pausing import run_resume
from sync.state import schema as t
from sync.state.calls_made import calls_since
from tests.sync.practice import Practice, control, synced


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Practice]:
    """Set up and synced once; each test works on a copy of the state, and gives the CRMs back as they were."""
    with synced(tmp_path_factory.mktemp("prepared"), people=20, stage="fields") as made:
        yield made


@pytest.fixture
def practice(prepared: Practice, tmp_path: Path) -> Practice:
    made = copy(prepared)
    made.folder = tmp_path / "own"
    made.config = dict(prepared.config)
    shutil.copytree(prepared.folder, made.folder)
    return made


def resume(practice: Practice) -> None:
    with practice.app() as app:
        run_resume(app, None, field=None)


def calls_seen(url: str) -> int:
    return sum(control(url, "GET", "calls").values())


def test_fields_that_administrators_take_away_cost_only_themselves(practice: Practice) -> None:
    """Deleted in HubSpot, hidden and locked in Salesforce; a picklist loses a value; all come back."""
    hubspot, salesforce = practice.box.hubspot.url, practice.box.salesforce.url
    user = control(salesforce, "GET", "credentials")["username"]
    control(hubspot, "POST", "properties", {"action": "delete", "type": "contacts", "name": "mikomi_priority"})
    locked = {"user": user, "field": "Lead.Mikomi_Reasons__c", "read": True, "edit": False}
    hidden = {"user": user, "field": "Lead.Phone", "read": False}
    for order in (locked, hidden):
        control(salesforce, "POST", "permissions", order)
    path = practice.folder / "rulebook.yaml"
    path.write_text(path.read_text("utf-8").replace("points: 30", "points: 28", 1), "utf-8")
    report = practice.sync()
    assert [system.error for system in report.systems.values()] == [None, None]
    assert any("mikomi_priority" in line for line in report.systems["hubspot"].lost)
    assert report.systems["salesforce"].lost
    assert report.outcome == "partial"
    assert [system.refused for system in report.systems.values()] == [0, 0]
    scores = {row["person_id"]: row["total"] for row in practice.rows(t.score)}
    people = {row["id"]: row["person_id"] for row in practice.rows(t.record, t.record.c.system == "hubspot")}
    page = practice.hubspot("GET", "/crm/v3/objects/contacts?limit=100&properties=mikomi_score")
    shown = {row["id"]: row["properties"]["mikomi_score"] for row in page["results"]}
    assert {i: float(v) for i, v in shown.items()} == {i: float(scores[people[i]]) for i in shown}
    practice.setup()
    control(salesforce, "POST", "permissions", locked | {"edit": True})
    control(salesforce, "POST", "permissions", hidden | {"read": True})
    assert practice.sync().outcome == "ok"
    page = practice.hubspot("GET", "/crm/v3/objects/contacts?limit=100&properties=mikomi_priority,mikomi_score")
    written = [row["properties"] for row in page["results"] if row["properties"]["mikomi_score"]]
    assert all(row["mikomi_priority"] for row in written)


def test_a_required_field_that_is_hidden_pauses_one_side(practice: Practice) -> None:
    url = practice.box.salesforce.url
    user = control(url, "GET", "credentials")["username"]
    for kind in ("Lead", "Contact"):
        control(url, "POST", "permissions", {"user": user, "field": f"{kind}.Title", "read": False})
    report = practice.sync(strict=True)
    assert report.systems["salesforce"].paused is not None
    assert report.systems["salesforce"].paused["cause"] == "guard"
    assert "title" in report.systems["salesforce"].paused["reason"]
    assert report.systems["hubspot"].error is None
    seen = calls_seen(url)
    assert practice.sync().systems["salesforce"].paused is not None
    assert calls_seen(url) == seen
    for kind in ("Lead", "Contact"):
        control(url, "POST", "permissions", {"user": user, "field": f"{kind}.Title", "read": True})
    resume(practice)
    assert practice.sync().outcome == "ok"


def test_a_day_that_is_spent_pauses_and_nothing_is_called(practice: Practice) -> None:
    url = practice.box.hubspot.url
    body = {"status": "error", "message": "You have reached your daily limit.", "policyName": "DAILY"}
    control(url, "POST", "faults", {"kind": "status", "status": 429, "body": json.dumps(body), "times": None})
    report = practice.sync()
    assert report.systems["hubspot"].paused is not None
    assert report.systems["hubspot"].paused["cause"] == "quota"
    assert report.systems["salesforce"].error is None
    seen = calls_seen(url)
    practice.sync()
    assert calls_seen(url) == seen
    control(url, "DELETE", "faults")
    resume(practice)
    assert practice.sync().outcome == "ok"


def test_every_call_that_left_is_counted(practice: Practice) -> None:
    """What the emulators saw is what the state remembers: over several processes' worth of connectors."""
    practice.sync()
    before = {name: calls_seen(url) for name, url in urls(practice).items()}
    counted = {name: remembered(practice, name) for name in before}
    for _ in range(2):
        practice.sync()
    for name, url in urls(practice).items():
        assert remembered(practice, name) - counted[name] == calls_seen(url) - before[name] > 0


def test_the_granted_calls_are_never_exceeded(practice: Practice) -> None:
    section = practice.config["connections"]["salesforce"]
    used = remembered(practice, "salesforce")
    connections = {**practice.config["connections"], "salesforce": {**section, "quota_calls_per_day": used + 9}}
    practice.write_config(connections=connections)
    before = calls_seen(practice.box.salesforce.url)
    for _ in range(4):
        report = practice.sync()
    assert calls_seen(practice.box.salesforce.url) - before <= 9
    assert remembered(practice, "salesforce") <= used + 9
    assert report.systems["salesforce"].paused is not None
    assert report.systems["hubspot"].error is None


def test_a_revoked_token_is_asked_about_once(practice: Practice, monkeypatch: pytest.MonkeyPatch) -> None:
    url = practice.box.hubspot.url
    monkeypatch.setenv("PRACTICE_HUBSPOT", "pat-na1-00000000-0000-0000-0000-000000000000")
    report = practice.sync(strict=False)
    assert report.systems["hubspot"].paused is not None
    assert report.systems["hubspot"].paused["cause"] == "credential"
    seen = calls_seen(url)
    for _ in range(3):
        assert practice.sync(strict=True).systems["hubspot"].paused is not None
    assert calls_seen(url) == seen
    monkeypatch.setenv("PRACTICE_HUBSPOT", practice.box.hubspot.token)
    assert practice.sync().outcome == "ok"  # another secret ends it by itself


def urls(practice: Practice) -> dict[str, str]:
    return {"salesforce": practice.box.salesforce.url, "hubspot": practice.box.hubspot.url}


def remembered(practice: Practice, name: str) -> int:
    with practice.state() as state, state.read() as connection:
        return calls_since(connection, name, 0)
