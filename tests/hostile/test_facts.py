"""The reading doors: whatever stands in a row, its fact can be stored, or the row is counted and left out."""

import json
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as budget
from hypothesis import strategies as st

from connectors.hubspot.deals import DealReader
from connectors.hubspot.facts import FactReader
from connectors.hubspot.meaning import read_meaning
from connectors.mapping import Usage
from connectors.salesforce.facts import Translator
from connectors.salesforce.read import flatten
from connectors.soundness import LONGEST_TEXT, UNREADABLE, check
from connectors.values import LocalDays, clean_email, clean_text, to_number
from core.records import ActivityRow, Consent, Fact, Record, RecordRef, Tombstone
from sync.state import State, open_state
from sync.state.mirror import store
from tests.connectors.hubspot.practice import ZONE
from tests.connectors.salesforce.test_sf_facts import TOKYO, layout
from tests.hostile.poison import LONG, TEXTS, VALUES
from tests.hostile.poisoned import leaves

STAMP = "2026-05-01T00:00:00.123Z"
BASE = {"id": "101", "createdAt": STAMP, "updatedAt": STAMP, "archived": False}
HUBSPOT: dict[str, dict[str, Any]] = {
    "contacts": {
        **BASE,
        "properties": {
            "email": "taro@buyer.example",
            "hs_additional_emails": "t.yamada@buyer.example",
            "lastname": "見込",
            "jobtitle": "部長",
            "company": "架空商事",
            "annualrevenue": "12",
            "hubspot_owner_id": "501",
            "associatedcompanyid": "20001",
            "hs_merged_object_ids": "55;56",
            "salesforceleadid": "00Q5g000001AbCdEAK",
            "hs_email_optout": "true",
            "hs_email_bounce": "0",
            "mikomi_score": "87",
            "mikomi_next_due": "2026-06-01",
            "mikomi_scored_at": STAMP,
            "mikomi_band": "A",
            "mikomi_response": "accepted",
            "mikomi_recontact_on": "2026-07-01",
        },
        "linked": {"companies": ["20001"]},
        "propertiesWithHistory": {"jobtitle": [{"value": "部長", "timestamp": STAMP, "updatedByUserId": 5}]},
    },
    "companies": {
        **BASE,
        "properties": {
            "name": "架空商事",
            "domain": "buyer.example",
            "numberofemployees": "5",
            "hubspot_owner_id": "5",
        },
    },
    "deals": {
        **BASE,
        "properties": {
            "dealname": "x",
            "dealstage": "closedwon",
            "amount": "5",
            "closedate": STAMP,
            "createdate": STAMP,
            "hs_is_closed": "true",
            "hs_is_closed_won": "true",
            "hubspot_owner_id": "5",
            "deal_currency_code": "JPY",
        },
        "propertiesWithHistory": {"dealstage": [{"value": "closedwon", "timestamp": STAMP, "sourceType": "CRM_UI"}]},
    },
    "meetings": {
        **BASE,
        "properties": {
            "hs_meeting_start_time": STAMP,
            "hs_meeting_end_time": STAMP,
            "hs_meeting_outcome": "COMPLETED",
            "hs_meeting_title": "x",
            "hs_createdate": STAMP,
            "hs_timestamp": STAMP,
        },
        "propertiesWithHistory": {"hs_meeting_outcome": [{"value": "COMPLETED", "timestamp": STAMP}]},
    },
    "calls": {
        **BASE,
        "properties": {
            "hs_timestamp": STAMP,
            "hs_createdate": STAMP,
            "hs_call_title": "x",
            "hs_call_status": "COMPLETED",
            "hs_call_duration": "60000",
            "hs_call_direction": "INBOUND",
        },
    },
}
SF = "2026-05-01T00:00:00.000+0000"
AUDIT = {"IsDeleted": False, "CreatedDate": SF, "SystemModstamp": SF, "OwnerId": "0055g00000AbCdEAAV"}
SALESFORCE: dict[str, dict[str, Any]] = {
    "Lead": {
        "Id": "00Q000000000001AAA", "Email": "a@b.example", "LastName": "見込", "Title": "部長", "Company": "架空商事",
        "HasOptedOutOfEmail": False, "DoNotCall": False, "EmailBouncedDate": None, "MasterRecordId": None,
        "ConvertedContactId": None, "Status": "Open", "Mikomi_Score__c": 5, "Mikomi_Scored_At__c": SF,
    },
    "Contact": {
        "Id": "003000000000001AAA", "Email": "a@b.example", "LastName": "見込", "Title": "部長", "MasterRecordId": None,
        "HasOptedOutOfEmail": True, "AccountId": "001000000000001AAA", "Mikomi_Recontact_On__c": "2026-05-01",
        "Mikomi_Response__c": "accepted", "DoNotCall": None, "EmailBouncedDate": SF,
    },
    "Account": {"Id": "001000000000001AAA", "Name": "架空商事", "Industry": "x", "ParentId": None, "MasterRecordId": None},
    "Task": {
        "Id": "00T000000000001AAA", "WhoId": "00Q000000000001AAA", "Subject": "電話", "IsClosed": True,
        "ActivityDate": "2026-04-30", "CompletedDateTime": SF, "TaskSubtype": "Call", "CallType": "Inbound",
        "CallDisposition": "x", "CallDurationInSeconds": 60, "Mikomi_Key__c": None,
    },
    "Event": {
        "Id": "00U000000000001AAA", "WhoId": "003000000000001AAA", "Subject": "打合せ", "StartDateTime": SF,
        "EndDateTime": SF, "ActivityDate": "2026-04-30", "DurationInMinutes": 30, "IsAllDayEvent": False,
        "IsChild": False, "IsRecurrence": False, "ActivityDateTime": SF,
    },
    "CampaignMember": {
        "Id": "00v000000000001AAA", "LeadId": "00Q000000000001AAA", "ContactId": None, "Status": "Attended",
        "Campaign": {"Name": "春のウェビナー", "Type": "Webinar"}, "FirstRespondedDate": "2026-05-01",
    },
    "User": {"Id": "005000000000001AAA", "Name": "営業 花子", "Email": "rep@seller.example", "IsActive": True},
    "Opportunity": {
        "Id": "006000000000001AAA", "StageName": "Closed Won", "IsClosed": True, "IsWon": True, "Amount": 5.0,
        "CloseDate": "2026-05-01", "LastStageChangeDate": SF, "Name": "x", "AccountId": "001000000000001AAA",
    },
}  # fmt: skip
SALESFORCE = {name: {**AUDIT, **row} for name, row in SALESFORCE.items()}
FREE = budget(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def state() -> Iterator[State]:
    opened = open_state("sqlite://")
    yield opened
    opened.close()


@st.composite
def poisoned(draw: st.DrawFn, rows: dict[str, dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    """A row of one kind with one to three bad values anywhere in it, or with something left out."""
    name = draw(st.sampled_from(sorted(rows)))
    row: dict[str, Any] = json.loads(json.dumps(rows[name]))
    for _ in range(draw(st.integers(1, 3))):
        place, key = draw(st.sampled_from(list(leaves(row)) or [(row, "id")]))
        if draw(st.booleans()) or key not in place:
            place[key] = deepcopy(draw(VALUES))  # the next bad value may land inside this one
        else:
            del place[key]
    return name, row


def hubspot_facts(name: str, row: dict[str, Any], problems: Counter[str]) -> list[Fact]:
    reader = FactReader("hubspot", read_meaning({}, Usage(), connection="hubspot"), ZONE, "salesforce")
    found: list[Fact] = []
    if name == "contacts":
        found += reader.each(name, [row], reader.record)
        for changes in reader.each(name, [row], lambda r: reader.changes("contacts", r, {"jobtitle": "title"})):
            found += changes
        found += [
            stone for stones in reader.each(name, [row], lambda r: reader.absorbed("contact", r)) for stone in stones
        ]
    elif name == "companies":
        found += reader.each(name, [row], reader.account)
    elif name == "deals":
        deals = DealReader(reader)
        found += reader.each(name, [row], lambda r: deals.read(r, {"closedwon": (True, True)}, ["101"], "7", "JPY"))
    else:
        found += reader.each(name, [row], lambda r: reader.engagement(name, r, ["101"]))
    problems.update(reader.problems)
    return found


def salesforce_facts(name: str, row: dict[str, Any], problems: Counter[str]) -> list[Fact]:
    def problem(place: str) -> None:
        problems[place] += 1

    mapper = Translator("salesforce", layout(), LocalDays(TOKYO), problem, "JPY").mapper(name)
    try:
        fact = mapper(flatten(row, ("Campaign.Name", "Campaign.Type")))
        return [] if fact is None else [check(fact, problem)]
    except UNREADABLE:
        problem(f"{name} row")
        return []


def keep(state: State, facts: list[Fact]) -> None:
    """Stored, and as text that any database takes."""
    for fact in facts:
        text = repr(fact)
        assert "\\x00" not in text
        assert "\\ud8" not in text
        assert "\\udf" not in text
        assert check(fact, lambda place: pytest.fail(place)) is fact
    with state.begin() as connection:
        store(connection, facts)


@FREE
@given(poisoned(HUBSPOT))
def test_any_hubspot_row_is_a_sound_fact_or_counted(state: State, row: tuple[str, dict[str, Any]]) -> None:
    problems: Counter[str] = Counter()
    facts = hubspot_facts(*row, problems)
    assert facts or problems
    keep(state, facts)


@FREE
@given(poisoned(SALESFORCE))
def test_any_salesforce_row_is_a_sound_fact_or_counted(state: State, row: tuple[str, dict[str, Any]]) -> None:
    problems: Counter[str] = Counter()
    facts = salesforce_facts(*row, problems)
    _, values = row
    assert facts or problems
    who = [values[field] for field in ("WhoId", "ContactId", "LeadId") if values.get(field)]
    if not all(map(is_salesforce_id, who)) and not any(isinstance(fact, Tombstone) for fact in facts):
        assert problems
    keep(state, facts)


def is_salesforce_id(value: object) -> bool:
    return isinstance(value, str) and len(value) in {15, 18} and value.isascii() and value.isalnum()


@pytest.mark.parametrize(
    ("name", "field"),
    [("Task", "WhoId"), ("Event", "WhoId"), ("CampaignMember", "LeadId"), ("CampaignMember", "ContactId")],
)
@pytest.mark.parametrize(
    "who", ["x", "\0", "00Q' OR Id != '", "=cmd|' /C calc'!A0", "00Q000000000001AAA\n", LONG, True, ["x"]]
)
def test_an_activity_of_somebody_unreadable_is_counted(name: str, field: str, who: object, state: State) -> None:
    problems: Counter[str] = Counter()
    facts = salesforce_facts(name, {**SALESFORCE[name], field: who}, problems)
    assert set(problems) <= {f"{name}.{field}", f"{name} row"}
    assert problems
    keep(state, facts)


@pytest.mark.parametrize("who", [None, "", "001000000000001AAA"])
def test_a_task_of_nobody_or_of_a_company_is_nobodys_mistake(who: str | None, state: State) -> None:
    problems: Counter[str] = Counter()
    (fact,) = salesforce_facts("Task", {**SALESFORCE["Task"], "WhoId": who}, problems)
    assert isinstance(fact, ActivityRow)
    assert (fact.activities, problems) == ((), {})


@pytest.mark.parametrize("name", HUBSPOT)
def test_a_good_hubspot_row_passes_untouched(name: str, state: State) -> None:
    problems: Counter[str] = Counter()
    keep(state, hubspot_facts(name, HUBSPOT[name], problems))
    assert problems == {}


@pytest.mark.parametrize("name", SALESFORCE)
def test_a_good_salesforce_row_passes_untouched(name: str, state: State) -> None:
    problems: Counter[str] = Counter()
    assert len(salesforce_facts(name, dict(SALESFORCE[name]), problems)) == 1
    assert problems == {}


def test_one_bad_value_costs_only_itself() -> None:
    problems: list[str] = []
    ref = RecordRef("hubspot", "contact", "1")
    record = Record(ref, {"last_name": "x" * 100_000, "employees": 10**40}, 0, 0, emails=("a@b.example", "\ud800@c.example"), owner_id="a/b", account=RecordRef("hubspot", "account", ""), consent=Consent("yes"), written={"reasons": "a\0b", "score": 5})  # type: ignore[arg-type]  # fmt: skip
    found = check(record, problems.append)
    assert isinstance(found, Record)
    assert found.fields == {"last_name": "x" * LONGEST_TEXT, "email": "a@b.example"}
    assert (found.owner_id, found.account, found.emails, found.consent) == (None, None, ("a@b.example",), Consent())
    assert found.written == {"reasons": "ab", "score": 5}
    assert len(problems) == len(set(problems)) == 7


@given(st.sampled_from(TEXTS) | st.text(st.characters(codec=None)))
def test_texts_that_pass_can_be_stored(text: str) -> None:
    cleaned = clean_text(text)
    assert cleaned is None or (cleaned.encode("utf-8") and "\0" not in cleaned and clean_text(cleaned) == cleaned)
    address = clean_email(text)
    assert address is None or len(address) <= 254


@given(st.floats() | st.integers() | st.sampled_from([*TEXTS, LONG, 10**400, -(10**400), "1e308", "-0", -0.0]))
def test_numbers_that_pass_fit_into_a_double(value: object) -> None:
    number = to_number(value)
    assert number is None or float(number) == number
    assert not isinstance(number, int) or abs(number) < 2**53
