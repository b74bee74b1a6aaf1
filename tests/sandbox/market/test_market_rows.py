"""The rows are a consistent CRM: ids, references, stamps, and the accidents that real CRMs are full of."""

import re
from collections import Counter, defaultdict
from itertools import pairwise
from typing import Any

import pytest

from sandbox.market.mint import iso, salesforce_id
from sandbox.market.model import DAY
from sandbox.market.spelling import narrow_kana, widen
from tests.sandbox.market.gather import NOW, Rows, gather

REFERENCES = {
    "Lead": {"MasterRecordId": "Lead", "ConvertedContactId": "Contact", "ConvertedAccountId": "Account"},
    "Contact": {"AccountId": "Account"},
    "Account": {"ParentId": "Account"},
    "Opportunity": {"AccountId": "Account", "OwnerId": "User"},
    "OpportunityContactRole": {"OpportunityId": "Opportunity", "ContactId": "Contact"},
    "OpportunityHistory": {"OpportunityId": "Opportunity"},
    "CampaignMember": {"CampaignId": "Campaign", "LeadId": "Lead", "ContactId": "Contact"},
    "CampaignMemberStatus": {"CampaignId": "Campaign"},
    "LeadHistory": {"LeadId": "Lead"},
    "Task": {"OwnerId": "User", "AccountId": "Account"},
    "Event": {"OwnerId": "User", "AccountId": "Account"},
}


@pytest.fixture(scope="module")
def rows() -> Rows:
    return gather()


def ids(rows: Rows, sobject: str) -> set[str]:
    return {row["Id"] for row in rows.salesforce[sobject]}


def test_salesforce_ids_are_real_ones(rows: Rows) -> None:
    # Worked by hand: bits of upper-case letters per block of five characters.
    assert salesforce_id("001", 1) == "0015Mk000000001QAA"
    assert salesforce_id("00Q", 61)[:15] == "00Q5Mk00000000z"
    seen: set[str] = set()
    for table in rows.salesforce.values():
        for row in table:
            assert re.fullmatch(r"[A-Za-z0-9]{15}[A-Z0-5]{3}", row["Id"])
            assert row["Id"] not in seen
            seen.add(row["Id"])


def test_every_reference_has_its_record(rows: Rows) -> None:
    for sobject, fields in REFERENCES.items():
        for name, target in fields.items():
            known = ids(rows, target)
            for row in rows.salesforce[sobject]:
                assert row[name] is None or row[name] in known, (sobject, name, row)
    people = ids(rows, "Lead") | ids(rows, "Contact")
    for sobject in ("Task", "Event"):
        assert all(row["WhoId"] in people for row in rows.salesforce[sobject])
    assert all(row["AccountId"] for row in rows.salesforce["Opportunity"])
    assert all(row["AccountId"] for row in rows.salesforce["Contact"])


def test_hubspot_references_have_their_records(rows: Rows) -> None:
    known = {kind: {row["id"] for row in table} for kind, table in rows.hubspot.items()}
    for (source, target), links in rows.associations.items():
        assert len(links) == len(set(links))
        for from_id, to_id, _ in links:
            assert from_id in known[source]
            assert to_id in known[target]
    events = {int(row["objectId"]) for row in rows.streams["marketing_events"]}
    forms = {row["id"] for row in rows.streams["forms"]}
    lists = {int(row["listId"]) for row in rows.streams["lists"]}
    owners = {row["id"] for row in rows.streams["owners"]}
    assert all(p["eventId"] in events and p["contactId"] in known["contacts"] for p in rows.streams["participations"])
    assert all(s["formId"] in forms for s in rows.streams["submissions"])
    assert all(m["listId"] in lists and int(m["recordId"]) in known["contacts"] for m in rows.streams["memberships"])
    assert all(w["objectId"].isdigit() and int(w["objectId"]) in known["contacts"] for w in rows.streams["web_events"])
    assert all(row["properties"].get("hubspot_owner_id") in owners | {None} for row in rows.hubspot["contacts"])


def test_one_list_membership_and_one_webinar_state_per_contact(rows: Rows) -> None:
    memberships = Counter((m["listId"], m["recordId"]) for m in rows.streams["memberships"])
    assert max(memberships.values()) == 1
    states = Counter((p["eventId"], p["contactId"], p["state"]) for p in rows.streams["participations"])
    assert max(states.values()) == 1
    members = Counter((m["CampaignId"], m["LeadOrContactId"]) for m in rows.salesforce["CampaignMember"])
    assert max(members.values()) == 1


def test_nothing_is_stamped_after_now(rows: Rows) -> None:
    for sobject, table in rows.salesforce.items():
        for row in table:
            assert row["CreatedDate"] <= NOW, (sobject, row)
            assert row.get("SystemModstamp", 0) <= NOW, (sobject, row)
            assert row.get("SystemModstamp", row["CreatedDate"]) >= row["CreatedDate"]
            assert row["CreatedDate"] % 1000 == 0
    for table in rows.hubspot.values():
        for row in table:
            assert row["created_ms"] <= row["updated_ms"] <= NOW
    assert all(event["created"] <= NOW for event in rows.streams["email_events"])
    assert all(event["sentBy"]["created"] < event["created"] for event in rows.streams["email_events"])
    assert all(row["submittedAt"] <= NOW for row in rows.streams["submissions"])
    assert all(row["joined_ms"] <= NOW for row in rows.streams["memberships"])
    assert all(row["occurred_ms"] <= row["created_ms"] <= NOW for row in rows.streams["participations"])
    assert all(row["occurredAt"] <= iso(NOW) for row in rows.streams["web_events"])
    assert all(version["timestamp"] <= NOW for row in rows.streams["history"] for version in row["versions"])


def test_the_history_ends_in_what_the_record_shows(rows: Rows) -> None:
    for kind in ("contacts", "deals"):
        shown = {row["id"]: row["properties"] for row in rows.hubspot[kind]}
        steps = [row for row in rows.streams["history"] if row["type"] == kind]
        for row in steps:
            stamps = [version["timestamp"] for version in row["versions"]]
            assert stamps == sorted(set(stamps), reverse=True)
            assert row["versions"][0]["value"] == shown[row["id"]][row["property"]]
        assert len(steps) >= len(shown)


def test_a_record_is_not_older_than_what_it_shows(rows: Rows) -> None:
    """An incremental reader finds every change: a stamp is never before the newest activity on the record."""
    modified = {row["Id"]: row["SystemModstamp"] for name in ("Lead", "Contact") for row in rows.salesforce[name]}
    for name in ("Task", "Event"):
        for row in rows.salesforce[name]:
            assert modified[row["WhoId"]] >= row["CreatedDate"] - 1000
    updated = {row["id"]: row["updated_ms"] for row in rows.hubspot["contacts"]}
    for kind in ("calls", "meetings", "emails", "notes"):
        created = {row["id"]: row["created_ms"] for row in rows.hubspot[kind]}
        for engagement, contact, _ in rows.associations[kind, "contacts"]:
            assert updated[contact] >= created[engagement]


def test_lead_history_is_seen_by_who_reads_the_lead(rows: Rows) -> None:
    leads = {row["Id"]: row for row in rows.salesforce["Lead"]}
    kinds: Counter[str] = Counter()
    for row in rows.salesforce["LeadHistory"]:
        lead = leads[row["LeadId"]]
        kinds[row["Field"]] += 1
        assert lead["CreatedDate"] <= row["CreatedDate"] <= lead["SystemModstamp"], row
        if row["Field"] in {"Title", "Status"}:
            assert row["NewValue"] == lead[row["Field"]]
    assert min(kinds[name] for name in ("Title", "Status", "leadConverted", "leadMerged")) > 0


def test_only_reserved_domains_and_impossible_numbers(rows: Rows) -> None:
    mails = [row["Email"] for name in ("Lead", "Contact", "User") for row in rows.salesforce[name] if row["Email"]]
    mails += [row["properties"]["email"] for row in rows.hubspot["contacts"] if "email" in row["properties"]]
    assert all(re.fullmatch(r"[a-z0-9.]+@[a-z0-9]+\.example", mail) for mail in mails)
    phones = [row["Phone"] for name in ("Lead", "Contact") for row in rows.salesforce[name]]
    assert all(re.fullmatch(r"03-0000-\d{4}", phone) for phone in phones)


def test_hubspot_knows_an_email_once_and_salesforce_often_twice(rows: Rows) -> None:
    mails = Counter(row["properties"].get("email") for row in rows.hubspot["contacts"])
    mails.pop(None)
    assert max(mails.values()) == 1
    twice = Counter(
        row["Email"] for name in ("Lead", "Contact") for row in rows.salesforce[name] if not row["IsDeleted"]
    )
    assert sum(count > 1 for count in twice.values()) > 50


def test_converted_leads_point_to_their_contact_and_their_tasks_moved_there(rows: Rows) -> None:
    converted = [row for row in rows.salesforce["Lead"] if row["IsConverted"]]
    assert len(converted) > 100
    assert any(row["ConvertedOpportunityId"] is None for row in converted)
    assert sum(row["ConvertedOpportunityId"] is not None for row in converted) > 80
    contacts = {row["Id"]: row for row in rows.salesforce["Contact"]}
    gone = {row["Id"] for row in converted}
    assert not any(row["WhoId"] in gone for name in ("Task", "Event") for row in rows.salesforce[name])
    for row in converted:
        assert contacts[row["ConvertedContactId"]]["Email"] == row["Email"]
        assert row["Status"] == "Closed - Converted"
    moved = [row for row in rows.salesforce["CampaignMember"] if row["LeadId"] in gone]
    assert moved
    assert all(row["ContactId"] for row in moved)


def test_the_accidents_happen(rows: Rows) -> None:
    leads = rows.salesforce["Lead"]
    assert any(row["IsDeleted"] and row["MasterRecordId"] for row in leads), "merged"
    assert any(row["IsDeleted"] and not row["MasterRecordId"] for row in leads), "deleted"
    assert any(row["HasOptedOutOfEmail"] for row in leads)
    assert any(row["EmailBouncedDate"] for row in leads)
    assert any("hs_merged_object_ids" in row["properties"] for row in rows.hubspot["contacts"])
    assert any("archived_ms" in row for row in rows.hubspot["contacts"])
    assert any(row["properties"].get("hs_email_optout") == "true" for row in rows.hubspot["contacts"])
    assert any(row["ParentId"] for row in rows.salesforce["Account"]), "plants"
    assert any(not row["IsActive"] for row in rows.salesforce["User"])
    queue = rows.salesforce["Group"][0]["Id"]
    assert any(row["OwnerId"] == queue for row in leads)
    names = " ".join(row["Company"] for row in leads)
    for spelling in ("株式会社", "(株)", "㈱", "（株）", "Co., Ltd.", "工場"):
        assert spelling in names
    assert any(re.search("[ｦ-ﾟ]", row["Company"]) for row in leads), "half-width kana"
    titles = [row for row in rows.streams["history"] if row["property"] == "jobtitle"]
    assert any(len(row["versions"]) == 2 for row in titles), "promotions"


def test_role_mailboxes_are_shared_by_different_people(rows: Rows) -> None:
    users: dict[str, set[int]] = defaultdict(set)
    truth = rows.market.truth
    for row in rows.salesforce["Lead"]:
        if row["Email"] and re.match(r"(info|sales|contact)@", row["Email"]):
            person = truth.person_of("salesforce", row["Id"])
            assert person is not None
            users[row["Email"]].add(person)
    assert sum(len(people) > 1 for people in users.values()) > 5


def test_one_address_two_family_names(rows: Rows) -> None:
    """The same e-mail in both CRMs under two people: not a role mailbox, and not the same person."""
    truth = rows.market.truth
    owner = {row["properties"].get("email"): row["id"] for row in rows.hubspot["contacts"]}
    conflicts = 0
    for row in rows.salesforce["Lead"]:
        other = owner.get(row["Email"]) if row["Email"] else None
        if other is None or re.match(r"(info|sales|contact)@", row["Email"]):
            continue
        if truth.person_of("salesforce", row["Id"]) != truth.person_of("hubspot", str(other)):
            conflicts += 1
    assert conflicts >= 3


def test_thirty_percent_are_in_both_with_and_without_links(rows: Rows) -> None:
    systems: dict[int, set[str]] = defaultdict(set)
    for record in rows.market.truth.records():
        systems[record.person].add(record.system)
    share = sum(len(found) == 2 for found in systems.values()) / len(systems)
    assert 0.27 <= share <= 0.33
    truth = rows.market.truth
    linked = 0
    for row in rows.hubspot["contacts"]:
        for name in ("salesforceleadid", "salesforcecontactid"):
            if name in row["properties"]:
                linked += 1
                assert truth.person_of("salesforce", row["properties"][name]) == truth.person_of(
                    "hubspot", str(row["id"])
                )
    assert linked > 300
    both = [p for p in truth.people() if len(systems[p.id]) == 2]
    assert 0.6 < sum(p.linked for p in both) / len(both) < 0.8
    assert any("hs_salesforceopportunityid" in row["properties"] for row in rows.hubspot["deals"])


def test_a_webinar_is_seen_in_both_systems_for_linked_people(rows: Rows) -> None:
    names = {row["Id"]: row["Name"] for row in rows.salesforce["Campaign"]}
    events = {int(row["objectId"]): row["eventName"] for row in rows.streams["marketing_events"]}
    truth = rows.market.truth
    salesforce = {
        (truth.person_of("salesforce", row["LeadOrContactId"]), names[row["CampaignId"]])
        for row in rows.salesforce["CampaignMember"]
        if row["Status"] == "Attended"
    }
    hubspot = {
        (truth.person_of("hubspot", str(row["contactId"])), events[row["eventId"]])
        for row in rows.streams["participations"]
        if row["state"] == "ATTENDED"
    }
    assert len(salesforce & hubspot) > 50
    assert salesforce - hubspot
    assert hubspot - salesforce


def test_machines_click_within_seconds_of_delivery(rows: Rows) -> None:
    bursts: dict[Any, set[str]] = defaultdict(set)
    for event in rows.streams["email_events"]:
        if event["type"] == "CLICK" and event["created"] - event["sentBy"]["created"] < 15_000:
            bursts[event["recipient"], event["emailCampaignId"]].add(event["url"])
    assert sum(len(links) >= 3 for links in bursts.values()) > 50
    filtered = [event["filteredEvent"] for event in rows.streams["email_events"]]
    assert any(filtered)
    assert not all(filtered)
    proxies = [event for event in rows.streams["email_events"] if "Apple" in event["browser"]["name"]]
    assert len(proxies) > 100
    assert all(event["type"] == "OPEN" for event in proxies)


def test_no_mail_is_read_after_an_opt_out_or_a_bounce(rows: Rows) -> None:
    checked = 0
    for household in rows.market.households():
        for person in household.people:
            end = min(person.opted_out_ms or NOW, person.bounced_ms or NOW)
            mails = [act for act in person.acts if act.kind.startswith("email_o") and act.machine]
            checked += bool(mails) and end < NOW
            sent = rows.market.programme.newsletters
            assert all(sent[act.topic] < end for act in mails)
    assert checked > 5


def test_calls_are_logged_late_and_meetings_left_open(rows: Rows) -> None:
    calls = rows.hubspot["calls"]
    late = [row for row in calls if row["created_ms"] - parse(row["properties"]["hs_timestamp"]) > 3 * DAY]
    assert 0.1 < len(late) / len(calls) < 0.3
    past = [row for row in rows.hubspot["meetings"] if parse(row["properties"]["hs_meeting_end_time"]) < NOW]
    outcomes = Counter(row["properties"]["hs_meeting_outcome"] for row in past)
    assert 0.2 < outcomes["SCHEDULED"] / len(past) < 0.5
    assert outcomes["NO_SHOW"] > 0
    assert any(row["StartDateTime"] > NOW for row in rows.salesforce["Event"]), "next week's meetings are planned"


def test_deals_have_their_whole_life(rows: Rows) -> None:
    deals = rows.salesforce["Opportunity"]
    stages: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for row in rows.salesforce["OpportunityHistory"]:
        stages[row["OpportunityId"]].append((row["CreatedDate"], row["StageName"]))
    for deal in deals:
        steps = stages[deal["Id"]]
        assert steps == sorted(steps, key=lambda step: step[0])
        assert steps[-1][1] == deal["StageName"]
        assert deal["Amount"] > 0
        assert deal["Amount"] % 10_000 == 0
        assert deal["IsClosed"] == deal["StageName"].startswith("Closed")
    closed = [deal for deal in deals if deal["IsClosed"]]
    assert 0.2 < sum(deal["IsWon"] for deal in closed) / len(closed) < 0.6
    assert any(deal["Description"] and "失注理由" in deal["Description"] for deal in closed)
    assert any(not deal["IsClosed"] for deal in deals)
    with_people = {row["OpportunityId"] for row in rows.salesforce["OpportunityContactRole"]}
    assert 0 < len(with_people) < len(deals)


def test_open_to_dos_and_notes_lie_beside_the_activities(rows: Rows) -> None:
    tasks = Counter(row["IsClosed"] for row in rows.salesforce["Task"])
    assert tasks[True] > 10 * tasks[False] > 100
    assert all((row["CompletedDateTime"] is not None) if row["IsClosed"] else True for row in rows.salesforce["Task"])
    assert len(rows.hubspot["notes"]) > 100


def test_twenty_activities_a_person(rows: Rows) -> None:
    acts = sum(len(person.acts) for household in rows.market.households() for person in household.people)
    assert acts / 3_000 == pytest.approx(20, rel=0.06)


def test_silence_of_months_is_common(rows: Rows) -> None:
    gaps = 0
    for household in rows.market.households():
        for person in household.people:
            times = [act.at for act in person.acts]
            gaps += any(later - earlier > 60 * DAY for earlier, later in pairwise(times))
    assert gaps > 1_000


def test_spelling_tools() -> None:
    assert narrow_kana("テックガ株式会社") == "ﾃｯｸｶﾞ株式会社"
    assert widen("IT 1") == "ＩＴ　１"


def parse(text: str) -> int:
    from datetime import datetime

    return round(datetime.fromisoformat(text).timestamp() * 1000)
