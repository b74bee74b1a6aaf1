"""Deals and opportunities, and HubSpot's timeline as Salesforce Tasks."""

from typing import Any

import pytest

from tests.sandbox.native.rig import Joined, joined
from tests.sandbox.native.test_people import make_contact, make_lead

TASK = "Subject, Status, TaskSubtype, WhoId, ActivityDate, CallDisposition, CallDurationInSeconds, CreatedBy.Username"
CONNECTED = "f240bbac-87c9-4f6e-bf70-924b57d47db7"


def customer(pair: Joined) -> tuple[str, dict[str, Any]]:
    """A HubSpot contact linked to a Salesforce contact at an account."""
    contact = make_contact(pair)
    pair.poll()
    pair.tick()
    lead = pair.contact(contact)["salesforceleadid"]
    made = pair.salesforce(action="convert", id=lead, opportunity=False)
    pair.poll()
    pair.tick()
    return contact, made


def log(pair: Joined, kind: str, contact: str, **properties: Any) -> str:
    stamp = {"hs_timestamp": str(pair.box.clock.now_ms())}
    order = {"action": "log_activity", "type": kind, "contacts": [contact], "properties": {**stamp, **properties}}
    return str(pair.hubspot(**order)["id"])


def test_an_opportunity_becomes_a_deal_with_its_people_and_both_follow_each_other() -> None:
    with joined() as pair:
        contact, made = customer(pair)
        fields = {"Name": "基盤刷新", "StageName": "Prospecting", "CloseDate": "2027-01-31", "Amount": 1200000}
        fields |= {"AccountId": made["account"], "ContactId": made["contact"]}
        opportunity = pair.salesforce(action="create", sobject="Opportunity", fields=fields)["id"]
        pair.poll()
        (deal,) = pair.deals()
        assert (deal["dealname"], deal["dealstage"], deal["amount"]) == ("基盤刷新", "appointmentscheduled", "1200000")
        assert deal["hs_salesforceopportunityid"] == opportunity
        assert [one["id"] for one in deal["links"]["contacts"]["results"]] == [contact]
        pair.tick()
        pair.salesforce(action="update", sobject="Opportunity", id=opportunity, fields={"StageName": "Closed Won"})
        pair.poll()
        assert pair.deal(deal["id"])["dealstage"] == "closedwon"
        pair.tick()
        pair.hubspot(action="update", type="deals", id=deal["id"], properties={"amount": "900000"})
        pair.poll()
        assert pair.row("Opportunity", opportunity, "Amount")["Amount"] == 900000


def test_a_deal_becomes_an_opportunity_of_its_contact() -> None:
    with joined() as pair:
        contact, made = customer(pair)
        properties = {"dealname": "増設", "dealstage": "contractsent", "closedate": "2027-02-01", "amount": "5"}
        links = [{"to": {"id": contact}, "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 3}]}]
        deal = pair.hubspot(action="create", type="deals", properties=properties, associations=links)["id"]
        pair.poll()
        (row,) = pair.soql("SELECT Id, Name, StageName, AccountId FROM Opportunity")
        assert (row["Name"], row["StageName"], row["AccountId"]) == ("増設", "Negotiation/Review", made["account"])
        (role,) = pair.soql("SELECT ContactId FROM OpportunityContactRole")
        assert role["ContactId"] == made["contact"]
        for _ in range(2):
            pair.tick(900)
            pair.poll()
        assert pair.deal(deal)["hs_salesforceopportunityid"] == row["Id"]
        assert len(pair.deals()) == len(pair.soql("SELECT Id FROM Opportunity")) == 1


def test_a_deal_of_leads_only_is_a_sync_error() -> None:
    with joined() as pair:
        contact = make_contact(pair)
        pair.poll()
        links = [{"to": {"id": contact}, "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 3}]}]
        properties = {"dealname": "増設", "dealstage": "contractsent", "closedate": "2027-02-01"}
        pair.hubspot(action="create", type="deals", properties=properties, associations=links)
        (error,) = pair.poll()["errors"]
        assert error["category"] == "associations"


def test_a_call_is_copied_once_as_a_completed_task_of_the_integration_user() -> None:
    with joined() as pair:
        contact = make_contact(pair)
        pair.poll()
        pair.tick()
        log(
            pair,
            "calls",
            contact,
            hs_call_title="導入のご相談",
            hs_call_duration="90000",
            hs_call_disposition=CONNECTED,
        )
        for _ in range(3):
            pair.poll()
            pair.tick(900)
        (task,) = pair.soql(f"SELECT {TASK} FROM Task")
        assert (task["Subject"], task["Status"], task["TaskSubtype"]) == ("Call: 導入のご相談", "Completed", "Call")
        assert (task["CallDisposition"], task["CallDurationInSeconds"]) == ("Connected", 90)
        assert task["WhoId"] == pair.contact(contact)["salesforceleadid"]
        assert task["CreatedBy"]["Username"] == "hubspot-integration@portal.example"


@pytest.mark.parametrize(
    ("kind", "properties", "subject", "status"),
    [
        ("meetings", {"hs_meeting_title": "訪問", "hs_meeting_outcome": "COMPLETED"}, "Meeting: 訪問", "Completed"),
        ("emails", {"hs_email_subject": "ご案内", "hs_email_direction": "EMAIL"}, "Email: ご案内", "Completed"),
        ("notes", {"hs_note_body": "来期予算"}, "Note", "Completed"),
        ("tasks", {"hs_task_subject": "折り返し", "hs_task_status": "NOT_STARTED"}, "折り返し", "Not Started"),
    ],
)
def test_every_kind_of_activity_becomes_a_task(
    kind: str, properties: dict[str, str], subject: str, status: str
) -> None:
    with joined() as pair:
        contact = make_contact(pair)
        pair.poll()
        pair.tick()
        log(pair, kind, contact, **properties)
        pair.poll()
        (task,) = pair.soql(f"SELECT {TASK} FROM Task")
        assert (task["Subject"], task["Status"]) == (subject, status)


def test_a_task_that_is_done_in_hubspot_is_done_in_salesforce() -> None:
    with joined() as pair:
        contact = make_contact(pair)
        pair.poll()
        task = log(pair, "tasks", contact, hs_task_subject="折り返し", hs_task_status="NOT_STARTED")
        pair.poll()
        pair.tick()
        pair.hubspot(action="update", type="tasks", id=task, properties={"hs_task_status": "COMPLETED"})
        pair.poll()
        (copy,) = pair.soql(f"SELECT {TASK} FROM Task")
        assert copy["Status"] == "Completed"


def test_form_submissions_are_copied_and_activities_older_than_the_sync_are_not() -> None:
    with joined(on=False) as pair:
        pair.box.hubspot_app.load_forms([{"id": "form-1", "name": "資料ダウンロード"}])
        contact = make_contact(pair)
        log(pair, "calls", contact, hs_call_title="以前の電話")
        pair.tick()
        pair.native({"on": True, "poll_now": True})
        pair.tick()
        pair.submit("form-1", "sato@aoi.example")
        pair.poll()
        (task,) = pair.soql(f"SELECT {TASK} FROM Task")
        assert (task["Subject"], task["TaskSubtype"]) == ("Submitted form: 資料ダウンロード", "Task")


def test_unlinked_people_have_no_copies_and_unknown_settings_are_refused() -> None:
    with joined(creates=None, activities=["calls"]) as pair:
        contact = make_contact(pair)
        make_lead(pair)
        pair.poll()
        log(pair, "calls", contact)
        pair.poll()
        assert pair.soql("SELECT Id FROM Task") == []
        for wrong in ({"inclusion": "everyone"}, {"activities": ["faxes"]}, {"pace": 3}, {"map": [{"rule": "x"}]}):
            with pytest.raises(AssertionError, match="400"):
                pair.native(wrong)
