"""With the native sync running, one thing is one thing, and our writes stop."""

from typing import Any

import pytest

from core.records import ACTIVITY_KINDS
from sync.state import schema as t
from tests.sync.pair.world import OUR_MAPPING, Company, company

MAPPINGS: dict[str, dict[str, Any]] = {"sane": {}, "ours": {"map": OUR_MAPPING}}
CALL = {
    "hs_call_title": "ご相談",
    "hs_call_status": "COMPLETED",
    "hs_call_disposition": "f240bbac-87c9-4f6e-bf70-924b57d47db7",
}
MAIL = {"hs_email_subject": "ご案内", "hs_email_direction": "EMAIL", "hs_email_status": "SENT"}
REPLY = {"hs_email_subject": "Re: ご案内", "hs_email_direction": "INCOMING_EMAIL", "hs_email_status": "SENT"}


@pytest.mark.parametrize("mapping", sorted(MAPPINGS))
def test_a_life_in_both_crms_is_one_life(mapping: str) -> None:
    """One person, webinar, call, mail, hand-over, conversion and won deal: each once, and then silence."""
    with company(native=MAPPINGS[mapping]) as firm:
        contact = firm.contact()
        firm.go(2)
        assert firm.people() == 1
        firm.attend(contact, "春のウェビナー")
        firm.log("calls", contact, **CALL)
        firm.log("emails", contact, **MAIL)
        firm.log("emails", contact, **REPLY)
        assert firm.settle()[-2:] == [0, 0]
        assert firm.score()["total"] == 66, "title 30, one webinar 20, one call 10, two mails 6"
        once = ("webinar_attend", "call", "email_out", "email_reply")
        assert {kind: len(firm.counted(ACTIVITY_KINDS[kind])) for kind in once} == dict.fromkeys(once, 1)
        assert len(firm.soql("SELECT Id FROM Task WHERE Mikomi_Key__c = null")) == 3, "copied by the native sync"
        lead = firm.record_of(contact)
        assert [task["WhoId"] for task in firm.salesforce_tasks()] == [lead]
        assert firm.hubspot_tasks() == []
        made = firm.in_salesforce(action="convert", id=lead, opportunity="葵商事 導入")
        firm.go(2)
        won = {"StageName": "Closed Won"}
        firm.in_salesforce(action="update", sobject="Opportunity", id=made["opportunity"], fields=won)
        assert firm.settle(5)[-2:] == [0, 0]
        assert firm.people() == 1
        assert firm.record_of(contact) == made["contact"]
        assert {(row["system"], row["is_won"]) for row in firm.rows(t.deal)} == {
            ("hubspot", True),
            ("salesforce", True),
        }
        assert [row["system"] for row in firm.rows(t.deal) if row["duplicate_of"] is None] == ["salesforce"]
        assert firm.score()["total"] == 81, "one won deal 15"
        assert len(firm.salesforce_tasks()) == len(firm.rows(t.handover)) == 1
        assert both_show(firm, contact) == (81, 81)


def test_a_webinar_whose_attendees_are_imported_into_salesforce_days_later_scores_once() -> None:
    with company() as firm:
        contact = firm.contact()
        firm.go(2)
        firm.participate(contact, "春のウェビナー")
        firm.settle(2)
        before = firm.score()
        assert (before["total"], before["band"]) == (50, "A"), "title 30, one webinar 20"
        firm.wait(3 * 86_400.0)
        firm.import_list(contact, "春のウェビナー")
        assert firm.settle(3)[-1] == 0
        after = firm.score()
        assert (after["total"], after["reason_key"]) == (before["total"], before["reason_key"])
        (counted,) = firm.counted(ACTIVITY_KINDS["webinar_attend"])
        assert len(firm.rows(t.activity, t.activity.c.kind == ACTIVITY_KINDS["webinar_attend"])) == 2
        firm.wait(28 * 86_400.0)
        firm.participate(contact, "春のウェビナー", event=990_002)
        firm.import_list(contact, "春のウェビナー")
        firm.settle(2)
        again = firm.counted(ACTIVITY_KINDS["webinar_attend"])
        assert len(again) == 2, "the next instalment of the series"
        assert counted["id"] in {one["id"] for one in again}
        assert firm.score()["total"] == 70
        assert len(firm.salesforce_tasks()) == 1


def both_show(firm: Company, contact: str) -> tuple[float, float]:
    """The score on the HubSpot contact and on its Salesforce contact."""
    shown = firm.hubspot("GET", f"/crm/v3/objects/contacts/{contact}?properties=mikomi_score")["properties"]
    (row,) = firm.soql(f"SELECT Mikomi_Score__c FROM Contact WHERE Id = '{firm.record_of(contact)}'")
    return float(shown["mikomi_score"]), row["Mikomi_Score__c"]


def test_tasks_and_handover_fields_stand_in_one_system_and_the_native_copy_is_no_second_one() -> None:
    """Tasks in HubSpot: the copy in Salesforce is neither a task of ours nor an activity, done or not."""
    with company(pair={"salesforce": "salesforce", "hubspot": "hubspot", "tasks": "hubspot"}) as firm:
        contact = firm.contact()
        firm.go()
        firm.attend(contact, "春のウェビナー")
        assert firm.settle()[-2:] == [0, 0]
        (task,) = firm.hubspot_tasks()
        firm.in_hubspot(action="update", type="tasks", id=task["id"], properties={"hs_task_status": "COMPLETED"})
        assert firm.settle(3) == [0, 0, 0]
        (copy,) = firm.soql("SELECT Subject, Status, Mikomi_Key__c FROM Task")
        assert (copy["Status"], copy["Mikomi_Key__c"]) == ("Completed", None)
        (lead,) = firm.soql("SELECT Mikomi_Score__c, Mikomi_Handover_No__c, Mikomi_Handover_State__c FROM Lead")
        assert [lead[name] for name in ("Mikomi_Score__c", "Mikomi_Handover_No__c")] == [50, None]
        assert lead["Mikomi_Handover_State__c"] is None
        assert handover_in_hubspot(firm, contact) == ("1", "offered")
        seen = {ACTIVITY_KINDS["webinar_register"], ACTIVITY_KINDS["webinar_attend"]}
        assert {row["kind"] for row in firm.rows(t.activity)} == seen


def handover_in_hubspot(firm: Company, contact: str) -> tuple[str | None, str | None]:
    names = "mikomi_handover_no,mikomi_handover_state"
    shown = firm.hubspot("GET", f"/crm/v3/objects/contacts/{contact}?properties={names}")["properties"]
    return shown["mikomi_handover_no"], shown["mikomi_handover_state"]


def test_a_pair_declared_later_takes_the_handover_fields_back_and_hands_over_where_tasks_stand() -> None:
    with company(native={"inclusion": "7"}, pair=None) as firm:
        row = {"listId": "7", "name": "Sync to Salesforce", "objectTypeId": "0-1", "processingType": "DYNAMIC"}
        firm.box.hubspot_app.load_lists([row])
        early = firm.contact()
        for _ in range(2):
            firm.log("calls", early, **CALL)
        firm.go(2)
        assert handover_in_hubspot(firm, early) == ("1", "offered")
        firm.write_config(pair={"salesforce": "salesforce", "hubspot": "hubspot"})
        assert firm.settle(3) == [1, 0, 0]
        assert handover_in_hubspot(firm, early) == (None, None)
        late = firm.contact(email="kato@aoi.example", lastname="加藤")
        for _ in range(2):
            firm.log("calls", late, **CALL)
        firm.go(2)
        assert len(firm.rows(t.unassigned)) == 1, "in HubSpot alone there is no place for the task"
        for contact in (early, late):
            joined = {"listId": 7, "recordId": contact, "joined_ms": firm.box.clock.now_ms()}
            firm.box.hubspot_app.load_memberships([joined])
        assert firm.settle(4)[-2:] == [0, 0]
        assert len(firm.hubspot_tasks()) == 1
        assert [task["WhoId"] for task in firm.salesforce_tasks()] == [firm.record_of(late)]
        assert firm.rows(t.unassigned) == []
        assert firm.people() == 2
