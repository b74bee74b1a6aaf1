"""Rows as facts: which kind of activity, when it happened, since when it was known."""

from collections import Counter
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from connectors.mapping import Usage, load_mapping
from connectors.salesforce.facts import Translator
from connectors.salesforce.schema import Column, Layout, Shape, api_name, lay_out, parse_mapping
from connectors.salesforce.settings import SalesforceSettings
from connectors.salesforce.streams import columns_of, plan_streams
from connectors.values import LocalDays
from core.errors import InvalidMapping
from core.records import (
    ACTIVITY_KINDS,
    FIELD_TYPES,
    Activity,
    ActivityRow,
    Consent,
    Record,
    RecordRef,
    Tombstone,
    to_date,
    to_millis,
)

TOKYO = ZoneInfo("Asia/Tokyo")
SETTINGS = SalesforceSettings.model_validate({"base_url": "http://127.0.0.1:1", "sandbox": True, "client_id": "x"})
LEAD, CONTACT = "00Q000000000001AAA", "003000000000001AAA"
AUDIT = ("Id", "IsDeleted", "CreatedDate", "SystemModstamp", "OwnerId")
PERSON = ("Email", "LastName", "Title", "HasOptedOutOfEmail", "DoNotCall", "EmailBouncedDate", "MasterRecordId")
ALL_USED = Usage(frozenset(FIELD_TYPES), frozenset(ACTIVITY_KINDS), frozenset(FIELD_TYPES))


def shape(name: str, *columns: str, types: Mapping[str, str] | None = None) -> Shape:
    return Shape(
        name,
        {
            c: Column(c, (types or {}).get(c, "string"), True, True, True, True, True, False, 255, ())
            for c in (*AUDIT, *columns)
        },
        createable=True,
        updateable=True,
    )


def shapes() -> dict[str, Shape]:
    task = ("WhoId", "Subject", "IsClosed", "ActivityDate", "CompletedDateTime", "TaskSubtype", "CallType")
    event = ("WhoId", "Subject", "StartDateTime", "EndDateTime", "ActivityDate", "DurationInMinutes", "IsAllDayEvent")
    member = ("LeadId", "ContactId", "Status", "FirstRespondedDate", "CampaignId")
    made = [
        shape("Lead", *PERSON, "Company", "Status", "ConvertedContactId", "Mikomi_Score__c", "Mikomi_Scored_At__c"),
        shape("Contact", *PERSON, "AccountId", "Mikomi_Recontact_On__c", "Mikomi_Response__c"),
        shape("Account", "Name", "Industry"),
        shape("Task", *task, "CallDisposition", "CallDurationInSeconds", "Mikomi_Key__c"),
        shape("Event", *event, "IsChild", "IsRecurrence", "ActivityDateTime"),
        shape("CampaignMember", *member),
        shape("Campaign", "Name", "Type"),
    ]
    return {one.name: one for one in made}


def layout(changes: Mapping[str, Any] | None = None, usage: Usage = ALL_USED) -> Layout:
    settings = SETTINGS.model_copy(update={"mapping": dict(changes or {})})
    written = parse_mapping("crm", load_mapping("connectors.salesforce", settings.mapping), settings)
    there = shapes()
    return lay_out("crm", written, there, there["Account"], usage)


def translator(problems: Counter[str] | None = None, changes: Mapping[str, Any] | None = None) -> Translator:
    counted = problems if problems is not None else Counter()
    return Translator("crm", layout(changes), LocalDays(TOKYO), lambda place: counted.update([place]), "JPY")


def activities(sobject: str, **row: Any) -> tuple[Activity, ...]:
    base = {"Id": "00T000000000001AAA", "IsDeleted": False, "CreatedDate": stamp("2026-10-01T10:00")}
    fact = translator().mapper(sobject)({"SystemModstamp": base["CreatedDate"], **base, **row})
    assert isinstance(fact, ActivityRow)
    return fact.activities


def stamp(local: str) -> str:
    """A Tokyo time as Salesforce sends it."""
    at = datetime.fromisoformat(local).replace(tzinfo=TOKYO).astimezone(ZoneInfo("UTC"))
    return at.strftime("%Y-%m-%dT%H:%M:%S.000+0000")


def at(local: str) -> int:
    return to_millis(datetime.fromisoformat(local).replace(tzinfo=TOKYO))


def task(**row: Any) -> tuple[Activity, ...]:
    logged = {"WhoId": LEAD, "IsClosed": True, "CompletedDateTime": stamp("2026-10-01T10:00"), "TaskSubtype": "Call"}
    return activities("Task", **{**logged, **row})


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ({"TaskSubtype": "Call", "CallDisposition": "Connected"}, "call"),
        ({"TaskSubtype": "Call"}, "call"),
        ({"TaskSubtype": "Call", "CallDisposition": "不在"}, "call_attempt"),
        ({"TaskSubtype": "Call", "CallDisposition": "no answer"}, "call_attempt"),
        ({"TaskSubtype": "Call", "CallDurationInSeconds": 0}, "call_attempt"),
        ({"TaskSubtype": "Call", "CallDurationInSeconds": 0, "CallDisposition": "Connected"}, "call"),
        ({"TaskSubtype": "Email"}, "email_out"),
        ({"TaskSubtype": "Email", "CallType": "Inbound"}, "email_reply"),
        ({"TaskSubtype": "Task"}, None),
        ({"TaskSubtype": "ListEmail"}, None),
        ({"TaskSubtype": "Call", "IsClosed": False}, None),
        ({"TaskSubtype": "Call", "WhoId": None}, None),
        ({"TaskSubtype": "Call", "WhoId": "001000000000001AAA"}, None),
        ({"TaskSubtype": "Call", "Mikomi_Key__c": "mk1-ours"}, None),
    ],
)
def test_what_a_task_is(row: dict[str, Any], kind: str | None) -> None:
    assert [a.kind for a in task(**row)] == ([kind] if kind else [])


@pytest.mark.parametrize(
    ("created", "completed", "due", "day", "occurred"),
    [
        ("2026-10-01T10:00", "2026-10-01T10:00", "2026-10-01", "2026-10-01", "2026-10-01T10:00"),  # logged at once
        ("2026-10-15T09:00", "2026-10-15T09:00", "2026-10-01", "2026-10-01", "2026-10-01T00:00"),  # two weeks late
        ("2026-10-01T10:00", "2026-10-05T16:00", "2026-10-03", "2026-10-05", "2026-10-05T16:00"),  # planned, done late
        ("2026-10-01T10:00", "2026-10-02T16:00", "2026-10-03", "2026-10-02", "2026-10-02T16:00"),  # planned, done early
        ("2026-10-01T10:00", "2026-10-02T16:00", None, "2026-10-02", "2026-10-02T16:00"),
        ("2026-10-01T23:30", "2026-10-02T00:30", None, "2026-10-02", "2026-10-02T00:30"),  # local midnight
    ],
)
def test_when_a_task_happened(created: str, completed: str, due: str | None, day: str, occurred: str) -> None:
    [found] = task(CreatedDate=stamp(created), CompletedDateTime=stamp(completed), ActivityDate=due)
    assert to_date(found.day) == date.fromisoformat(day)
    assert found.occurred_at == at(occurred)
    assert found.known_at == at(completed)
    assert not found.known_inexact


def test_a_task_without_completion_is_inexact() -> None:
    [found] = task(CompletedDateTime=None, ActivityDate="2026-09-01")
    assert (found.known_at, found.known_inexact) == (at("2026-10-01T10:00"), True)
    assert to_date(found.day) == date(2026, 9, 1)


def test_a_call_carries_duration_and_direction() -> None:
    [found] = task(CallDurationInSeconds=180, CallType="Outbound", Subject="架電", WhoId=CONTACT)
    assert (found.duration, found.direction, found.asset) == (180, "outbound", "架電")
    assert found.record == RecordRef("crm", "contact", CONTACT)
    assert found.source == RecordRef("crm", "Task", "00T000000000001AAA")


def event(**row: Any) -> tuple[Activity, ...]:
    held = {"WhoId": CONTACT, "StartDateTime": stamp("2026-10-03T14:00"), "EndDateTime": stamp("2026-10-03T15:00")}
    return activities("Event", **{**held, "DurationInMinutes": 60, **row})


def test_a_meeting_is_known_when_it_ended() -> None:
    [found] = event()
    assert (found.kind, found.occurred_at, found.known_at) == (
        "meeting",
        at("2026-10-03T14:00"),
        at("2026-10-03T15:00"),
    )
    assert found.duration == 3600


def test_a_meeting_entered_later_is_known_when_it_was_entered() -> None:
    [found] = event(CreatedDate=stamp("2026-10-20T09:00"))
    assert found.known_at == at("2026-10-20T09:00")


def test_an_all_day_event_is_its_local_day() -> None:
    [found] = event(IsAllDayEvent=True, ActivityDate="2026-10-03", StartDateTime="2026-10-03T00:00:00.000+0000")
    assert to_date(found.day) == date(2026, 10, 3)
    assert found.occurred_at == at("2026-10-03T00:00")


@pytest.mark.parametrize(
    "row",
    [
        {"WhoId": None},
        {"IsChild": True},
        {"IsRecurrence": True},
        {"Subject": "【中止】訪問・商談"},
        {"Subject": "Canceled: Demo"},
        {"StartDateTime": None},
    ],
)
def test_what_is_no_meeting(row: dict[str, Any]) -> None:
    assert event(**row) == ()


def member(kind: str, status: str, **row: Any) -> tuple[Activity, ...]:
    return activities(
        "CampaignMember", **{"LeadId": LEAD, "Campaign.Type": kind, "Campaign.Name": "秋の会", "Status": status, **row}
    )


@pytest.mark.parametrize(
    ("kind", "status", "expected"),
    [
        ("Webinar", "Registered", ["webinar_register"]),
        ("Webinar", "No Show", ["webinar_register"]),
        ("Webinar", "Attended", ["webinar_register", "webinar_attend"]),
        ("Webinar", "Sent", []),
        ("Trade Show", "Visited Booth", ["event_attend"]),
        ("展示会", "来場", ["event_attend"]),
        ("White Paper", "Downloaded", ["download"]),
        ("Email", "Clicked", ["email_click"]),
        ("Telemarketing", "Responded", []),
    ],
)
def test_what_a_campaign_member_is(kind: str, status: str, expected: list[str]) -> None:
    assert [a.kind for a in member(kind, status)] == expected


def test_registration_dates_from_creation_and_attendance_from_the_response() -> None:
    register, attend = member("Webinar", "Attended", FirstRespondedDate="2026-10-08")
    assert (register.occurred_at, register.known_at) == (at("2026-10-01T10:00"), at("2026-10-01T10:00"))
    assert (attend.occurred_at, attend.known_at) == (at("2026-10-08T00:00"), at("2026-10-08T00:00"))
    assert (attend.campaign, attend.asset, attend.channel) == ("秋の会", "秋の会", "Webinar")


def test_a_list_imported_after_the_show_is_known_since_the_import() -> None:
    [found] = member("Trade Show", "Visited Booth", FirstRespondedDate="2026-09-20")
    assert to_date(found.day) == date(2026, 9, 20)
    assert found.known_at == at("2026-10-01T10:00")


def test_a_response_without_a_date_is_inexact() -> None:
    [found] = member("White Paper", "Downloaded")
    assert found.known_inexact


def test_a_contact_comes_before_the_lead_it_was() -> None:
    [found] = member("White Paper", "Downloaded", ContactId=CONTACT)
    assert found.record == RecordRef("crm", "contact", CONTACT)


# --- people --------------------------------------------------------------------------------------------------------------


def person(sobject: str, **row: Any) -> Any:
    base = {"Id": LEAD if sobject == "Lead" else CONTACT, "IsDeleted": False}
    base |= {"CreatedDate": stamp("2026-10-01T10:00"), "SystemModstamp": stamp("2026-10-02T10:00")}
    base |= {"LastName": "佐藤", "Email": "A.Sato@Buyer.example", "Title": "部長"}
    return translator().mapper(sobject)({**base, **row})


def test_consent_is_what_the_crm_says() -> None:
    assert person("Lead").consent == Consent(None, None, bounced=False)
    refused = person("Lead", HasOptedOutOfEmail=True, DoNotCall=True, EmailBouncedDate=stamp("2026-10-02T10:00"))
    assert refused.consent == Consent(email_opt_out=True, do_not_call=True, bounced=True)


def test_texts_are_cleaned_and_nothing_unstorable_passes() -> None:
    record = person("Lead", Company="ｶﾌﾞ\x00 \ud800買い手", Title="  \n ", Email="ＴＡＲＯ＠buyer.example")
    assert isinstance(record, Record)
    assert record.fields["company"] == "カブ 買い手"
    assert "title" not in record.fields
    assert record.emails == ("taro@buyer.example",)


def test_our_own_values_and_the_reps_answers() -> None:
    written = person("Lead", Mikomi_Score__c=87.0, Mikomi_Scored_At__c=stamp("2026-10-02T10:00"))
    assert written.written == {"score": 87, "scored_at": at("2026-10-02T10:00")}
    answered = person("Contact", Mikomi_Recontact_On__c="2026-12-01", Mikomi_Response__c="rejected")
    assert answered.answers == {"recontact_on": 20788, "response": "rejected"}


def test_merged_and_deleted_people() -> None:
    merged = person("Contact", IsDeleted=True, MasterRecordId="003000000000002AAA")
    assert merged == Tombstone(
        RecordRef("crm", "contact", CONTACT), at("2026-10-02T10:00"), RecordRef("crm", "contact", "003000000000002AAA")
    )
    assert person("Lead", IsDeleted=True, ConvertedContactId=CONTACT).successor == RecordRef("crm", "contact", CONTACT)


# --- layout --------------------------------------------------------------------------------------------------------------


def test_names_of_our_fields_follow_from_the_canonical_ones() -> None:
    assert api_name("handover_no") == "Mikomi_Handover_No__c"
    assert api_name("last_human_contact") == "Mikomi_Last_Human_Contact__c"
    assert api_name("key") == "Mikomi_Key__c"


def test_a_mapping_of_the_settings_replaces_the_default() -> None:
    changed = layout({"fields": {"lead": {"title": "Status"}}})
    assert changed.fields["lead"]["title"] == ("Status",)
    assert changed.fields["lead"]["email"] == ("Email",)


@pytest.mark.parametrize(
    ("mapping", "place", "hint"),
    [
        ({"fields": {"lead": {"title": "Titel"}}}, "fields.lead.title", "did you mean 'Title'?"),
        ({"fields": {"lead": {"titel": "Title"}}}, "fields.lead.titel", "did you mean 'title'?"),
        ({"fields": {"lead": {"title": "Title FROM Lead--"}}}, "fields.lead", "API name"),
        ({"fields": {"person": {}}}, "fields", "lead, contact or account"),
        ({"felder": {}}, "mapping", "known are"),
        ({"activities": {"Task": [{"kind": "phone"}]}}, "activities.Task[1]", ""),
        ({"activities": {"Case": []}}, "activities", "CampaignMember, Task, Event"),
        ({"consent": {"newsletter": "X__c"}}, "consent", "email_opt_out"),
        ({"history": {"lead": {"Title": "job"}}}, "history.lead.Title", "canonical field"),
        ({"fields": {"lead": {"email": None}}}, "fields.lead.email", "map email"),
    ],
)
def test_a_wrong_mapping_names_the_place_and_what_to_do(mapping: dict[str, Any], place: str, hint: str) -> None:
    with pytest.raises(InvalidMapping) as caught:
        layout(mapping)
    assert place in caught.value.place
    assert hint in caught.value.hint


def test_only_what_is_used_is_selected() -> None:
    lean = layout(usage=Usage(frozenset({"title"}), frozenset({"call"}), frozenset()))
    assert "Phone" not in columns_of("Lead", lean)
    assert {"Email", "LastName", "Title", "Company"} <= set(columns_of("Lead", lean))
    names = [
        s.name
        for s in plan_streams(Translator("crm", lean, LocalDays(TOKYO), print, None), Usage(kinds=frozenset({"call"})))
    ]
    assert names == ["Account", "Lead", "Contact", "Task"]
