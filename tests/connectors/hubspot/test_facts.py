"""Rows as facts: the fine print."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.hubspot.deals import DealReader
from connectors.hubspot.facts import FactReader
from connectors.hubspot.meaning import read_meaning
from connectors.mapping import Usage
from core.errors import InvalidMapping
from core.records import ActivityRow, Consent, RecordRef
from tests.connectors.hubspot.practice import ZONE

FIXTURES = Path(__file__).parents[4] / "shared/fixtures/hubspot/dlt-verified-sources/mock_data.json"


def reader(linked: str | None = "salesforce", **mapping: Any) -> FactReader:
    return FactReader("hubspot", read_meaning(mapping, Usage(), connection="hubspot"), ZONE, linked)


def contact(**properties: Any) -> dict[str, Any]:
    stamps = {"createdAt": "2026-01-01T00:00:00.000Z", "updatedAt": "2026-05-01T00:00:00.123Z"}
    return {"id": "101", "properties": properties, "archived": False, **stamps}


def test_a_contact_whole() -> None:
    row = contact(
        email="Taro@Buyer.example",
        hs_additional_emails="t.yamada@buyer.example;TARO@buyer.example",
        lastname="見込",
        jobtitle="営業本部　部長",
        company="㈱架空商事",
        phone="",
        mobilephone="090",
        annualrevenue="many",
        hubspot_owner_id="501",
        associatedcompanyid="20001",
        hs_merged_object_ids="55;101;56",
        salesforceleadid="00Q5g000001AbCdEAK",
        hs_email_optout="true",
        hs_email_bounce="0",
        mikomi_score="87",
        mikomi_next_due="2026-06-01",
        mikomi_scored_at="2026-05-01T00:00:00.000Z",
        mikomi_response="accepted",
        mikomi_recontact_on="2026-07-01",
        mikomi_trend="",
    )
    read = reader()
    record = read.record(row)
    assert record.ref == RecordRef("hubspot", "contact", "101")
    assert record.emails == ("taro@buyer.example", "t.yamada@buyer.example")
    assert record.fields == {
        "email": "taro@buyer.example",
        "last_name": "見込",
        "title": "営業本部 部長",
        "company": "(株)架空商事",
        "phone": "090",
    }
    assert record.modified_at - record.created_at == 120 * 86_400_000 + 123
    assert record.owner_id == "501"
    assert record.account == RecordRef("hubspot", "account", "20001")
    assert record.absorbed == ("55", "56")
    assert record.links == (RecordRef("salesforce", "lead", "00Q5g000001AbCdEAK"),)
    assert record.consent == Consent(email_opt_out=True, do_not_call=None, bounced=False)
    assert record.written == {"score": 87, "next_due": 20_605, "scored_at": 1_777_593_600_000}
    assert record.answers == {"response": "accepted", "recontact_on": 20_635}
    assert read.problems == {"contacts.annual_revenue": 1}


def test_without_a_linked_system_there_are_no_links() -> None:
    assert reader(linked=None).record(contact(salesforceleadid="00Q5g000001AbCdEAK")).links == ()


@pytest.mark.parametrize("bounced", [{"hs_email_bounce": "2"}, {"hs_email_hard_bounce_reason_enum": "UNKNOWN_USER"}])
def test_bounces(bounced: dict[str, str]) -> None:
    assert reader().record(contact(**bounced)).consent.bounced is True


def test_our_own_values_that_cannot_be_read_are_counted() -> None:
    read = reader()
    assert read.record(contact(mikomi_score="high", mikomi_next_due="soon")).written == {}
    assert read.problems == {"contacts.mikomi_score": 1, "contacts.mikomi_next_due": 1}


def engagement(**properties: Any) -> dict[str, Any]:
    base = {"hs_timestamp": "2026-05-01T00:00:00.000Z", "hs_createdate": "2026-05-15T00:00:00.000Z"}
    return {
        "id": "9",
        "createdAt": "2026-05-15T00:00:00.000Z",
        "updatedAt": "2026-05-16T00:00:00.000Z",
        "properties": base | properties,
    }


@pytest.mark.parametrize(
    ("stream", "properties", "kinds"),
    [
        ("calls", {"hs_call_status": "COMPLETED"}, ["call"]),
        ("calls", {}, ["call"]),
        ("calls", {"hs_call_status": "NO_ANSWER"}, ["call_attempt"]),
        ("calls", {"hs_call_status": "QUEUED"}, []),
        ("calls", {"hs_call_disposition": "73a0d17f-1163-4015-bdd5-ec830791da20"}, ["call_attempt"]),
        ("calls", {"hs_call_disposition": "f240bbac-87c9-4f6e-bf70-924b57d47db7"}, ["call"]),
        ("meetings", {"hs_meeting_outcome": "COMPLETED"}, ["meeting"]),
        ("meetings", {"hs_meeting_outcome": "SCHEDULED"}, ["meeting"]),
        ("meetings", {"hs_meeting_outcome": "NO_SHOW"}, []),
        ("meetings", {"hs_meeting_outcome": "CANCELED"}, []),
        ("emails", {"hs_email_direction": "INCOMING_EMAIL"}, ["email_reply"]),
        ("emails", {"hs_email_direction": "EMAIL"}, ["email_out"]),
        ("emails", {"hs_email_direction": "EMAIL", "hs_email_status": "BOUNCED"}, []),
        ("emails", {"hs_email_direction": "FORWARDED_EMAIL"}, []),
    ],
)
def test_what_engagements_mean(stream: str, properties: dict[str, str], kinds: list[str]) -> None:
    row = reader().engagement(stream, engagement(**properties), ["1"])
    assert [a.kind for a in row.activities] == kinds
    assert row.source == RecordRef("hubspot", stream.removesuffix("s"), "9")


def test_a_call_logged_late_was_not_known_before() -> None:
    [call] = (
        reader()
        .engagement("calls", engagement(hs_call_duration="90500", hs_call_direction="INBOUND"), ["1"])
        .activities
    )
    assert call.known_at - call.occurred_at == 14 * 86_400_000
    assert (call.duration, call.direction, call.day) == (90, "inbound", 20_574)


def test_a_meeting_of_next_week_is_not_known_before_it_begins() -> None:
    row = engagement(hs_meeting_start_time="2026-06-01T01:00:00.000Z", hs_meeting_outcome="SCHEDULED")
    [meeting] = reader().engagement("meetings", row, ["1"]).activities
    assert meeting.known_at == meeting.occurred_at == 1_780_275_600_000


def test_an_outcome_without_history_is_an_estimate() -> None:
    row = engagement(hs_meeting_start_time="2026-05-20T01:00:00.000Z", hs_meeting_outcome="COMPLETED")
    [meeting] = reader().engagement("meetings", row, ["1"]).activities
    assert meeting.known_inexact
    assert meeting.known_at == meeting.occurred_at


def test_without_people_a_row_is_withdrawn() -> None:
    assert reader().engagement("calls", engagement(), []) == ActivityRow(RecordRef("hubspot", "call", "9"), ())


STAGES = {"open": (False, False), "won": (True, True), "lost": (True, False), "won2": (True, True)}


def deal(stage: str, *versions: tuple[str, str], **properties: Any) -> dict[str, Any]:
    history = [{"value": v, "timestamp": t} for v, t in versions]
    return {
        "id": "7",
        "createdAt": "2026-01-01T00:00:00.000Z",
        "updatedAt": "2026-05-01T00:00:00.000Z",
        "properties": {"dealstage": stage, **properties},
        "propertiesWithHistory": {"dealstage": history},
    }


def test_won_is_dated_by_the_change_into_it() -> None:
    row = deal(
        "won2",
        ("won2", "2026-04-03T00:00:00.000Z"),
        ("won", "2026-04-02T00:00:00.000Z"),
        ("open", "2026-04-01T00:00:00.000Z"),
    )
    read = DealReader(reader()).read(row, STAGES, ["1"], None, "JPY")
    assert read.closed_at == 1_775_088_000_000
    assert read.is_won


def test_without_history_the_close_date_counts_from_its_local_start() -> None:
    read = DealReader(reader()).read(
        deal("lost", closedate="2026-04-02T20:00:00.000Z", closed_lost_reason="競合"), STAGES, [], None, None
    )
    assert read.closed_at == 1_775_142_000_000  # 2026-04-03 00:00 in Tokyo
    assert read.loss_reason == "競合"
    assert read.people == ()


def test_an_unknown_stage_goes_by_hubspots_own_flags() -> None:
    read = DealReader(reader()).read(deal("new", hs_is_closed="true", hs_is_closed_won="true"), STAGES, [], None, None)
    assert read.is_won


@pytest.mark.parametrize(
    "mapping",
    [
        {"colour": {}},
        {"contact": {"colour": {}}},
        {"contact": {"consent": {"x": "y"}}},
        {"contact": "x"},
        {"deal": {"x": "y"}},
        {"activities": {"faxes": []}},
        {"activities": {"calls": [{"kind": "fax"}]}},
        {"list_url": "("},
        {"contact": {"more_emails": 3}},
    ],
)
def test_a_wrong_mapping_is_refused(mapping: dict[str, Any]) -> None:
    with pytest.raises(InvalidMapping, match="hubspot: mapping"):
        read_meaning(mapping, Usage(), connection="hubspot")


@pytest.mark.skipif(
    not FIXTURES.exists(), reason="the recorded pages of dlt-verified-sources are not beside the repository"
)
def test_recorded_pages_of_a_real_portal_can_be_read() -> None:
    pages = json.loads(FIXTURES.read_text("utf-8"))
    read = reader()
    contacts = read.each("contacts", pages["mock_contacts_data"]["results"], read.record)
    companies = read.each("companies", pages["mock_companies_data"]["results"], read.account)
    deals = read.each(
        "deals", pages["mock_deals_data"]["results"], lambda r: DealReader(read).read(r, {}, [], None, "USD")
    )
    assert len(contacts) == len(companies) == len(deals) == 2
    assert all(c.emails for c in contacts)
    assert companies[0].fields["company"] == "Hubspot, Inc."
    assert read.problems == {}


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "email",
                "lastname",
                "jobtitle",
                "hs_additional_emails",
                "hs_merged_object_ids",
                "mikomi_score",
                "annualrevenue",
                "hs_email_optout",
                "salesforceleadid",
                "mikomi_next_due",
            ]
        ),
        st.one_of(st.none(), st.text(st.characters(), max_size=30)),
    )
)
def test_no_value_of_a_person_stops_the_page(properties: dict[str, Any]) -> None:
    read = reader()
    assert len(read.each("contacts", [contact(**properties), contact(lastname="後")], read.record)) == 2
