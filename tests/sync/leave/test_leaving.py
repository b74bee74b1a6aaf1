"""People leave real CRMs (emulated): privacy deletion, hard deletion, `mikomi forget` from the command line."""

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox import Sandbox
from sync.state import schema as t
from tests.sync.cli.rig import mikomi
from tests.sync.leave.worlds import ADDRESS, ASSET, CANARIES, COMPANY, NAME, PHONE, found_in, found_in_files
from tests.sync.practice import Practice, control, set_up_sandbox

HELD = {NAME, "金糸雀", COMPANY, "カナリヤ", ADDRESS, "songbird"}
"""Canaries that a person has whom only these tests make."""


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with set_up_sandbox(seed=3, people=16) as sandbox:
        yield sandbox


@pytest.fixture
def practice(box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Practice:
    monkeypatch.setenv("MIKOMI_STATE_KEY", "k" * 40)
    return Practice(box, tmp_path, stage="all")


def in_hubspot(practice: Practice) -> str:
    """Somebody in HubSpot, with a call; their id."""
    url = practice.box.hubspot.url
    properties = {"email": ADDRESS, "lastname": NAME, "company": COMPANY, "phone": PHONE}
    made = control(url, "POST", "records", {"action": "create", "type": "contacts", "properties": properties})
    call = {"hs_timestamp": "2026-11-20T01:00:00Z", "hs_call_title": ASSET, "hs_call_status": "COMPLETED"}
    order = {"action": "log_activity", "type": "calls", "properties": call, "contacts": [made["id"]]}
    control(url, "POST", "records", order)
    return str(made["id"])


def in_hubspot_as(practice: Practice, email: str, *, calls: int) -> str:
    url = practice.box.hubspot.url
    made = control(url, "POST", "records", {"action": "create", "type": "contacts", "properties": {"email": email}})
    for n in range(calls):
        call = {"hs_timestamp": f"2026-11-{20 + n}T01:00:00Z", "hs_call_status": "COMPLETED"}
        order = {"action": "log_activity", "type": "calls", "properties": call, "contacts": [made["id"]]}
        control(url, "POST", "records", order)
    return str(made["id"])


def in_salesforce(practice: Practice) -> str:
    """The same as a lead in Salesforce; its id."""
    fields = {"LastName": NAME, "Company": COMPANY, "Email": ADDRESS, "Phone": PHONE}
    order = {"action": "create", "sobject": "Lead", "fields": fields}
    return str(control(practice.box.salesforce.url, "POST", "records", order)["id"])


def sync_later(practice: Practice, *, sweep: bool = False) -> None:
    """Past overlaps and settle times."""
    practice.wait()
    report = practice.sync(sweep=sweep)
    assert report.outcome == "ok", report.systems


def text_of(practice: Practice) -> str:
    from tests.sync.leave.worlds import everything

    with practice.state() as state:
        return everything(state)


def leftovers(practice: Practice) -> list[str]:
    """Canaries in the state, and in any file of the installation."""
    return found_in(text_of(practice)) + found_in_files(practice.folder)


def test_privacy_deletion_in_hubspot_and_an_emptied_bin_in_salesforce(practice: Practice) -> None:
    lead, contact = in_salesforce(practice), in_hubspot(practice)
    sync_later(practice)
    assert set(found_in(text_of(practice))) >= HELD | {ASSET}
    practice.hubspot("POST", "/crm/v3/objects/contacts/gdpr-delete", {"objectId": contact})
    sync_later(practice, sweep=True)
    text = text_of(practice)
    assert NAME in text, "Salesforce still has them"
    assert ASSET not in text, "the call was HubSpot's"
    control(practice.box.salesforce.url, "POST", "records", {"action": "hard_delete", "sobject": "Lead", "id": lead})
    sync_later(practice, sweep=True)
    assert leftovers(practice) == []


def test_deleted_taken_back_and_deleted_for_good(practice: Practice) -> None:
    practice.write_config(retention={"deleted": 10})
    lead, contact = in_salesforce(practice), in_hubspot(practice)
    sync_later(practice)
    calls = len(practice.rows(t.activity, t.activity.c.asset == ASSET, t.activity.c.person_id > 0))
    assert calls == 1
    salesforce, hubspot = practice.box.salesforce.url, practice.box.hubspot.url
    control(salesforce, "POST", "records", {"action": "delete", "sobject": "Lead", "id": lead})
    control(hubspot, "POST", "records", {"action": "delete", "type": "contacts", "id": contact})
    sync_later(practice, sweep=True)
    assert practice.rows(t.record, t.record.c.id.in_((lead, contact)), t.record.c.deleted_at.is_(None)) == []
    assert NAME in text_of(practice)
    control(salesforce, "POST", "records", {"action": "undelete", "sobject": "Lead", "id": lead})
    control(hubspot, "POST", "records", {"action": "restore", "type": "contacts", "id": contact})
    sync_later(practice, sweep=True)
    people = {row["person_id"] for row in practice.rows(t.record, t.record.c.id.in_((lead, contact)))}
    assert len(people) == 1
    assert None not in people
    assert len(practice.rows(t.activity, t.activity.c.asset == ASSET, t.activity.c.person_id == people.pop())) == calls
    control(salesforce, "POST", "records", {"action": "delete", "sobject": "Lead", "id": lead})
    control(hubspot, "POST", "records", {"action": "delete", "type": "contacts", "id": contact})
    sync_later(practice, sweep=True)
    practice.wait(9 * 86_400)
    sync_later(practice)
    assert NAME in text_of(practice)
    practice.wait(86_400)
    sync_later(practice)
    assert leftovers(practice) == []


def test_who_was_in_the_bin_on_the_first_day_comes_back_with_what_they_did(practice: Practice) -> None:
    lead, contact = in_salesforce(practice), in_hubspot(practice)
    salesforce, hubspot = practice.box.salesforce.url, practice.box.hubspot.url
    call = {"WhoId": lead, "Subject": ASSET, "Status": "Completed", "TaskSubtype": "Call", "ActivityDate": "2026-11-20"}
    control(salesforce, "POST", "records", {"action": "create", "sobject": "Task", "fields": call})
    practice.box.clock.advance(86_400)
    control(salesforce, "POST", "records", {"action": "delete", "sobject": "Lead", "id": lead})
    control(hubspot, "POST", "records", {"action": "delete", "type": "contacts", "id": contact})
    sync_later(practice)
    sync_later(practice)
    of_them = (t.activity.c.who.in_((f"lead/{lead}", f"contact/{contact}")), t.activity.c.person_id > 0)
    assert practice.rows(t.activity, *of_them) == []
    control(salesforce, "POST", "records", {"action": "undelete", "sobject": "Lead", "id": lead})
    control(hubspot, "POST", "records", {"action": "restore", "type": "contacts", "id": contact})
    sync_later(practice)
    assert {row["who"] for row in practice.rows(t.activity, *of_them)} == {f"lead/{lead}", f"contact/{contact}"}


def test_what_a_failing_call_left_unread_of_them_comes_with_a_later_pass(practice: Practice) -> None:
    hubspot = practice.box.hubspot.url
    contacts = [in_hubspot_as(practice, f"bin{n}@shared.example", calls=3) for n in range(6)]
    practice.box.clock.advance(86_400)
    for contact in contacts:
        control(hubspot, "POST", "records", {"action": "delete", "type": "contacts", "id": contact})
    sync_later(practice)
    sync_later(practice)
    for contact in contacts:
        control(hubspot, "POST", "records", {"action": "restore", "type": "contacts", "id": contact})
    of_them = (t.activity.c.who.in_([f"contact/{contact}" for contact in contacts]), t.activity.c.person_id > 0)
    rule = {"kind": "status", "status": 403, "path": "associations/contacts/calls", "times": None}
    control(hubspot, "POST", "faults", rule)
    practice.wait()
    assert practice.sync().outcome != "ok"
    there = practice.rows(t.record, t.record.c.id.in_(contacts), t.record.c.deleted_at.is_(None))
    assert len(there) == 6, "they are known, and the cursor has gone on"
    assert practice.rows(t.activity, *of_them) == []
    control(hubspot, "DELETE", "faults")
    sync_later(practice)
    assert len(practice.rows(t.activity, *of_them)) == 18
    assert practice.rows(t.setting, t.setting.c.name == "about hubspot")[0]["value"] is None


def test_forget_from_the_command_line(practice: Practice, capfd: pytest.CaptureFixture[str]) -> None:
    lead, contact = in_salesforce(practice), in_hubspot(practice)
    sync_later(practice)
    shown = f"SELECT Mikomi_Score__c, Mikomi_Reasons__c, Mikomi_Handover_No__c FROM Lead WHERE Id = '{lead}'"
    assert practice.soql(shown)[0]["Mikomi_Score__c"] is not None
    said = mikomi("forget", ADDRESS, "--config", practice.config_file)
    assert said.code == 2, "nobody could be asked"
    assert [canary for canary in CANARIES if canary in said.out + said.err] == [], "and so nobody is named"
    assert NAME in text_of(practice)
    said = mikomi("forget", ADDRESS, "--yes", "--config", practice.config_file)
    assert said.code == 0, said.err
    assert [canary for canary in CANARIES if canary in said.out + said.err] == []
    assert leftovers(practice) == []
    sync_later(practice)
    assert practice.soql(shown)[0]["Mikomi_Score__c"] is None
    assert practice.soql(shown)[0]["Mikomi_Reasons__c"] is None
    there = practice.hubspot("GET", f"/crm/v3/objects/contacts/{contact}?properties=mikomi_score,email")["properties"]
    assert not there.get("mikomi_score")
    assert there["email"] == ADDRESS, "the CRM's own copy is not ours to touch"
    # Edited there, they stay unknown here; nothing is written to them again.
    edited = {"action": "update", "sobject": "Lead", "id": lead, "fields": {"Title": NAME}}
    control(practice.box.salesforce.url, "POST", "records", edited)
    control(practice.box.hubspot.url, "POST", "records", {"action": "update", "type": "contacts", "id": contact, "properties": {"jobtitle": NAME}})  # fmt: skip
    practice.wait()
    report = practice.sync(sweep=True)
    for system in report.systems.values():
        assert system.forgotten > 0
    assert leftovers(practice) == []
    assert practice.soql(shown)[0]["Mikomi_Score__c"] is None
    out, err = capfd.readouterr()
    assert [canary for canary in CANARIES if canary in out + err] == []


def test_forget_asks_before_it_says_what_becomes_of_it(practice: Practice, monkeypatch: pytest.MonkeyPatch) -> None:
    sync_later(practice)
    practice.write_config(language="en")
    answers = io.StringIO("n\ny\n")
    monkeypatch.setattr(answers, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", answers)
    unknown = "nobody@nowhere.example"
    said = mikomi("forget", unknown, "--config", practice.config_file)
    assert said.code == 1
    asked = "Nothing is stored here under this address or record.\nRefuse this person from now on? [y/N] "
    assert said.out == asked + "Nothing was changed.\n"
    said = mikomi("forget", unknown, "--config", practice.config_file)
    assert said.out.startswith(asked + "Noted: nothing of this person is stored here from now on.")


def test_backup_and_restore_from_the_command_line(practice: Practice, tmp_path: Path) -> None:
    in_hubspot(practice)
    sync_later(practice)
    before = text_of(practice)
    file = tmp_path.parent / f"{tmp_path.name}-state.sqlite3"
    said = mikomi("backup", file, "--config", practice.config_file)
    assert said.code == 0, said.err
    said = mikomi("forget", ADDRESS, "--yes", "--config", practice.config_file)
    assert said.code == 0, said.err
    assert mikomi("restore", file, "--config", practice.config_file).code == 2, "nobody could be asked"
    said = mikomi("restore", file, "--yes", "--config", practice.config_file)
    assert said.code == 0, said.err
    assert "reconcile --heal" in said.out
    assert set(found_in(before)) >= HELD
    assert leftovers(practice) == []
    sync_later(practice)
    keys = [row["Mikomi_Key__c"] for row in practice.salesforce_tasks()]
    assert len(keys) == len(set(keys))
    os.unlink(file)
