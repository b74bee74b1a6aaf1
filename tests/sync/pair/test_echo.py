"""The native sync carries our own values from one CRM to the other: that is no quarrel with anybody, and our writes stop."""

from typing import Any

import pytest

from connectors import OUTPUT_FIELDS
from sync.state import schema as t
from tests.sync.pair.world import RULEBOOK, Company, company
from tests.sync.practice import control

DAY = 86_400.0
FADING = RULEBOOK.replace("on: call, label", "on: call, decay: {half_life: 30d}, label")
CONNECTED = "f240bbac-87c9-4f6e-bf70-924b57d47db7"


def mapping(rule: str, *names: str) -> list[dict[str, str]]:
    """These fields of ours, or all that we write, mapped to one another."""
    fields = names or tuple(field.name for field in OUTPUT_FIELDS.values() if not field.by_rep)
    return [
        {"hubspot": f"mikomi_{name}", "salesforce": f"Mikomi_{'_'.join(map(str.capitalize, name.split('_')))}__c"}
        | {"rule": rule}
        for name in fields
    ]


def callers(firm: Company, count: int) -> list[str]:
    """Leads that nobody but Salesforce knows, each with a call today."""
    leads = []
    for n in range(count):
        person = {"Email": f"sato{n}@aoi.example", "LastName": f"佐藤{n}", "Company": "葵商事", "Title": "部長"}
        leads.append(firm.in_salesforce(action="create", sobject="Lead", fields=person)["id"])
        call = {"Subject": "Call", "Status": "Completed", "TaskSubtype": "Call", "CallDisposition": "connected"}
        firm.in_salesforce(action="create", sobject="Task", fields={"WhoId": leads[-1], **call})
    return leads


def shown(firm: Company, lead: str, contact: str) -> list[tuple[int, int]]:
    """(score, version) as Salesforce and HubSpot show them."""
    (row,) = firm.soql(f"SELECT Mikomi_Score__c, Mikomi_Score_Version__c FROM Lead WHERE Id = '{lead}'")
    path = f"/crm/v3/objects/contacts/{contact}?properties=mikomi_score,mikomi_score_version"
    there = firm.hubspot("GET", path)["properties"]
    pairs = [(row["Mikomi_Score__c"], row["Mikomi_Score_Version__c"])]
    pairs.append((there["mikomi_score"], there["mikomi_score_version"]))
    return [(int(float(score)), int(float(version))) for score, version in pairs]


def quarrels(firm: Company) -> list[dict[str, Any]]:
    return [dict(row) for row in firm.rows(t.contested, t.contested.c.times > 0)]


def totals(firm: Company) -> set[int]:
    return {row["total"] for row in firm.rows(t.score)}


@pytest.mark.parametrize(
    "mapped",
    [
        mapping("prefer_salesforce_unless_blank", "score"),
        mapping("prefer_salesforce_unless_blank"),
        mapping("always_salesforce"),
        mapping("two_way"),
    ],
    ids=["the score alone", "prefer", "always", "two-way"],
)
def test_a_contact_that_appears_or_is_merged_later_shows_what_its_lead_shows(mapped: list[dict[str, str]]) -> None:
    order = {"map": mapped, "creates_contacts": False}
    with company(stage="fields", rulebook=FADING, native=order) as firm:
        leads = callers(firm, 3)
        assert firm.settle(2) == [3, 0]
        firm.wait(4 * DAY)
        assert firm.settle(1) == [0], "a point of decay is not worth a write"
        assert totals(firm) == {39}
        contacts = [firm.contact(email=f"sato{n}@aoi.example", lastname=f"佐藤{n}") for n in range(3)]
        written = firm.settle(5)
        assert written[-3:] == [0, 0, 0], written
        for lead, contact in zip(leads, contacts, strict=True):
            (score, version), there = shown(firm, lead, contact)
            assert (score, version) == there == (39, 2)
        firm.wait(4 * DAY)
        assert firm.settle(1) == [0]
        assert totals(firm) == {38}
        double = firm.contact(email="sato0@mail.example", lastname="佐藤0")
        merged = firm.in_hubspot(action="merge", type="contacts", id=contacts[0], other=double)["id"]
        written = firm.settle(5)
        assert written[-2:] == [0, 0], written
        here, there = shown(firm, leads[0], merged)
        assert here == there
        assert here[0] in totals(firm)
        assert quarrels(firm) == []


def test_while_salesforce_refuses_what_hubspot_took_nothing_is_carried_back_and_forth() -> None:
    order = {"map": mapping("prefer_salesforce_unless_blank", "score"), "creates_contacts": False}
    with company(stage="fields", native=order) as firm:
        leads = callers(firm, 3)
        contacts = [firm.contact(email=f"sato{n}@aoi.example", lastname=f"佐藤{n}") for n in range(3)]
        assert firm.settle(3)[-1] == 0
        rule = {"code": "FIELD_CUSTOM_VALIDATION_EXCEPTION", "message": "電話番号を入力してください"}
        order = {"sobject": "Lead", **rule, "fields": ["Mikomi_Score__c"], "times": None}
        control(firm.box.salesforce.url, "POST", "row_faults", order)
        for contact in contacts:
            call = {"hs_call_title": "ご相談", "hs_call_status": "COMPLETED", "hs_call_disposition": CONNECTED}
            firm.log("calls", contact, **call)
        written = [passing(firm) for _ in range(9)]
        assert written[0] == 3, "HubSpot takes it"
        assert written[-4:] == [0, 0, 0, 0], written
        assert quarrels(firm) == []
        control(firm.box.salesforce.url, "DELETE", "row_faults")
        firm.wait(DAY)
        written = [passing(firm) for _ in range(5)]
        assert written[-2:] == [0, 0], written
        assert totals(firm) == {50}
        for lead, contact in zip(leads, contacts, strict=True):
            assert {score for score, _ in shown(firm, lead, contact)} == {50}
        assert quarrels(firm) == []


def passing(firm: Company) -> int:
    """A poll and a pass; how many records took something from us."""
    firm.tick()
    return sum(system.fields_written for system in firm.sync().systems.values())
