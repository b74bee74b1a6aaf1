"""A whole installation against hostile people and CRMs that answer with anything: nobody is lost, nothing is stuck."""

import json
import re
import urllib.error
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from connectors.values import clean_text
from sandbox import Sandbox
from sync.redaction import CONTROLS
from sync.state import schema as t
from tests.hostile.poison import TEXTS
from tests.hostile.poisoned import Poison, poisoned
from tests.sync.practice import MORNING_MS, Practice, control, people_by_record, set_up_sandbox

LABEL = 'Call <script>alert(1)</script> & "more"'
RULEBOOK = f"""
name: hostile
timezone: Asia/Tokyo
dimensions: {{fit: {{cap: 60}}, engagement: {{cap: 100}}, relationship: {{cap: 60}}}}
rules:
  - {{id: call, dimension: engagement, points: 60, on: call, label: {{ja: 通話, en: {json.dumps(LABEL)}}}}}
bands: {{A: {{total: 50}}, B: {{total: 30}}, C: {{total: 10}}, D: {{}}}}
handover: {{name: sales, band: A, recent: 14d, rearm_below: 40, initial: all}}
"""
OWNER = "41629779"  # the portal's first user
CONNECTED = "f240bbac-87c9-4f6e-bf70-924b57d47db7"


@pytest.mark.parametrize("seed", range(3))
def test_poisoned_rows_harm_nobody_else(database: str, tmp_path: Path, seed: int) -> None:
    with set_up_sandbox(seed=11, people=40) as box:
        practice = Practice(box, tmp_path, stage="all", state=database)
        with poisoned(box, Poison(seed)) as poison:
            report = practice.sync()
            assert poison.struck > 20
        assert {name: system.error for name, system in report.systems.items()} == {"salesforce": None, "hubspot": None}
        stored = {row["id"] for row in practice.rows(t.record)}
        assert len(stored) > 30
        practice.wait()
        healed = practice.sync(sweep=True)
        assert healed.outcome == "ok"
        nothing_is_stuck(practice)
        everybody_shows_their_score(practice)
        one_task_each(practice)


def test_hostile_people_get_what_everybody_gets(database: str, tmp_path: Path) -> None:
    """Whoever the CRM took: one task that says who they are, in one line and escaped, and the values that are owed."""
    with Sandbox(people=0, now_ms=MORNING_MS, index_lag_seconds=0.0, limits=False) as box:
        practice = Practice(box, tmp_path, stage="all", state=database, rulebook=RULEBOOK, language="en")
        practice.setup()
        leads = [lead for n, text in enumerate(TEXTS) if (lead := take_lead(practice, n, text))]
        contacts = [contact for n, text in enumerate(TEXTS) if (contact := take_contact(practice, n, text))]
        assert min(len(leads), len(contacts)) > len(TEXTS) // 2
        practice.wait()
        assert practice.sync().outcome == "ok"
        nothing_is_stuck(practice)
        everybody_shows_their_score(practice)
        one_task_each(practice)
        assert {row["total"] for row in practice.rows(t.score)} == {60}
        salesforce_tasks_say_who(practice, leads)
        hubspot_tasks_say_who(practice, contacts)
        practice.wait()
        again = practice.sync()
        assert sum(one.fields_written + one.tasks_created for one in again.systems.values()) == 0


def take_lead(practice: Practice, number: int, text: str) -> str | None:
    """The id of a lead with a call, None where Salesforce refuses it."""
    person = {"LastName": text, "Company": text, "Title": text, "Email": f"lead{number}@buyer.example"}
    try:
        lead = control(
            practice.box.salesforce.url, "POST", "records", {"action": "create", "sobject": "Lead", "fields": person}
        )
    except urllib.error.HTTPError:
        return None
    call = {"Subject": "Call", "Status": "Completed", "TaskSubtype": "Call", "CallDisposition": "connected"}
    order = {"action": "create", "sobject": "Task", "fields": {"WhoId": lead["id"], **call}}
    control(practice.box.salesforce.url, "POST", "records", order)
    return str(lead["id"])


def take_contact(practice: Practice, number: int, text: str) -> str | None:
    """The id of a contact with a call, None where HubSpot refuses it."""
    person = {"lastname": text, "company": text, "jobtitle": text, "email": f"contact{number}@buyer.example"}
    order = {"action": "create", "type": "contacts", "properties": {**person, "hubspot_owner_id": OWNER}}
    try:
        contact = str(control(practice.box.hubspot.url, "POST", "records", order)["id"])
    except urllib.error.HTTPError:
        return None
    call = {"hs_call_title": text[:200], "hs_call_status": "COMPLETED", "hs_call_disposition": CONNECTED}
    stamp = {"hs_timestamp": str(practice.box.clock.now_ms())}
    order = {"action": "log_activity", "type": "calls", "contacts": [contact], "properties": {**call, **stamp}}
    control(practice.box.hubspot.url, "POST", "records", order)
    return contact


def nothing_is_stuck(practice: Practice) -> None:
    states = Counter((row["effect"], row["state"]) for row in practice.rows(t.outbox))
    assert {state for _, state in states} == {"done"}, states


def everybody_shows_their_score(practice: Practice) -> None:
    """Every record that is not deleted has a person, and shows that person's score in its CRM."""
    totals = {row["person_id"]: (row["total"], row["band"]) for row in practice.rows(t.score)}
    people = people_by_record(practice)
    shown = shown_scores(practice)
    assert {ref: totals.get(people.get(ref, 0)) for ref in shown} == shown


def shown_scores(practice: Practice) -> Mapping[str, tuple[int, str]]:
    found: dict[str, tuple[int, str]] = {}
    for kind in ("Lead", "Contact"):
        where = "IsDeleted = false" + (" AND IsConverted = false" if kind == "Lead" else "")
        for row in practice.soql(f"SELECT Id, Mikomi_Score__c, Mikomi_Band__c FROM {kind} WHERE {where}"):
            found[f"salesforce/{kind.lower()}/{row['Id']}"] = (row["Mikomi_Score__c"], row["Mikomi_Band__c"])
    for contact in hubspot_objects(practice, "contacts", "mikomi_score,mikomi_band"):
        score = contact["properties"]["mikomi_score"]
        shown = None if score is None else int(score)
        found[f"hubspot/contact/{contact['id']}"] = (shown, contact["properties"]["mikomi_band"])  # type: ignore[assignment]
    return found


def hubspot_objects(practice: Practice, kind: str, properties: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after = ""
    while True:
        page = practice.hubspot(
            "GET", f"/crm/v3/objects/{kind}?limit=100&properties={properties}&associations=contacts{after}"
        )
        found += page["results"]
        if "paging" not in page:
            return found
        after = f"&after={page['paging']['next']['after']}"


def one_task_each(practice: Practice) -> None:
    """The tasks in the CRMs are those that are owed, each once, and nobody has two."""
    made = [task["Mikomi_Key__c"] for task in practice.salesforce_tasks()]
    made += [task["properties"]["mikomi_key"] for task in practice.hubspot_tasks()]
    owed = practice.rows(t.outbox, t.outbox.c.effect == "task")
    assert Counter(made) == Counter(row["key"] for row in owed)
    offered = practice.rows(t.handover, t.handover.c.seeded.is_(False))
    assert Counter(row["person_id"] for row in owed) == Counter(row["person_id"] for row in offered)
    assert set(Counter(row["person_id"] for row in owed).values()) <= {1}


def subject(last_name: str | None, company: str | None, email: str) -> str:
    """What the task of a person is called whom the CRM shows so."""
    name, firm = (clean_text(text or "") for text in (last_name, company))
    whole = f"[A 60] Call {name or email}" + (f" ({firm})" if firm else "")
    return re.sub(f"[{CONTROLS}]", " ", whole)[:255]


def salesforce_tasks_say_who(practice: Practice, leads: list[str]) -> None:
    tasks = {task["WhoId"]: task["Subject"] for task in practice.salesforce_tasks()}
    assert sorted(tasks) == sorted(leads)
    for row in practice.soql("SELECT Id, LastName, Company, Email FROM Lead"):
        assert tasks[row["Id"]] == subject(row["LastName"], row["Company"], row["Email"]).strip()
    assert not any(re.search(f"[{CONTROLS}]", said) for said in tasks.values())


def hubspot_tasks_say_who(practice: Practice, contacts: list[str]) -> None:
    people = {one["id"]: one["properties"] for one in hubspot_objects(practice, "contacts", "lastname,company,email")}
    assert sorted(people) == sorted(contacts)
    tasks = hubspot_objects(practice, "tasks", "mikomi_key,hs_task_subject,hs_task_body")
    seen = []
    for task in tasks:
        (about,) = {link["id"] for link in task["associations"]["contacts"]["results"]}
        person, shown = people[about], task["properties"]
        assert shown["hs_task_subject"] == subject(person["lastname"], person["company"], person["email"])
        assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;more&quot;" in shown["hs_task_body"]
        assert set(re.findall(r"<[^>]*>?", shown["hs_task_body"])) == {"<br>"}
        seen.append(about)
    assert sorted(seen) == sorted(contacts)
