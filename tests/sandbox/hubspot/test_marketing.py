"""Forms, email events, webinars, lists and the Events API."""

from typing import Any

import pytest

from tests.sandbox.hubspot.conftest import START_MS, Account, Opener

FORM = "5a4d6b01-0000-4000-9000-000000000001"


@pytest.fixture
def contact(account: Account) -> str:
    return account.create("contacts", email="a@buyer.example", firstname="花", lastname="北")


def _all(account: Account, path: str, key: str = "results", **query: Any) -> list[Any]:
    """Follow `paging` to the end."""
    found: list[Any] = []
    while True:
        page = account.get(path, **query).json
        found += page[key]
        if "paging" not in page:
            return found
        query["after"] = page["paging"]["next"]["after"]


def test_submissions_come_newest_first(account: Account) -> None:
    account.app.load_forms([{"id": FORM, "name": "資料請求"}])
    rows = [
        {
            "formId": FORM,
            "conversionId": f"c{n:03d}",
            "submittedAt": START_MS - 1000 * (n // 2),
            "values": [{"name": "email", "value": f"p{n}@buyer.example"}],
        }
        for n in range(130)
    ]
    account.app.load_form_submissions(rows)
    account.app.load_form_submissions(rows)  # again: nothing new
    path = f"/form-integrations/v1/submissions/forms/{FORM}"
    found = _all(account, path, limit=50)
    times = [row["submittedAt"] for row in found]
    assert times == sorted(times, reverse=True)
    assert {row["conversionId"] for row in found} == {row["conversionId"] for row in rows}
    assert len(found) == 130
    assert len(account.get(path).json["results"]) == 20
    assert account.get(path, limit=51).status == 400
    assert account.get("/form-integrations/v1/submissions/forms/ghost").status == 404
    assert [form["name"] for form in account.get("/marketing/v3/forms").json["results"]] == ["資料請求"]


def test_a_submission_makes_or_moves_its_contact(account: Account, contact: str) -> None:
    account.app.load_forms([{"id": FORM, "name": "資料請求"}])
    account.clock.advance(5)
    for email in ("a@buyer.example", "new@buyer.example"):
        values = [{"name": "email", "value": email}, {"name": "jobtitle", "value": "部長"}]
        account.control("events", {"form_submissions": [{"formId": FORM, "values": values}]})
    names = "jobtitle,recent_conversion_event_name,num_conversion_events"
    for row in account.get("/crm/v3/objects/contacts", properties=names).json["results"]:
        assert row["properties"]["jobtitle"] == "部長"
        assert row["properties"]["recent_conversion_event_name"] == "資料請求"
        assert row["properties"]["num_conversion_events"] == "1"
        assert row["updatedAt"] == "2025-11-30T10:53:25.000Z"
    read = account.get(f"/crm/v3/objects/contacts/{contact}", propertiesWithHistory="jobtitle").json
    assert read["propertiesWithHistory"]["jobtitle"][0]["sourceType"] == "FORM"


def _email_events(count: int) -> list[dict[str, Any]]:
    return [
        {
            "id": f"e{n:04d}",
            "created": START_MS - 1000 * (n // 3),
            "type": "CLICK" if n % 2 else "OPEN",
            "recipient": f"P{n % 5}@buyer.example",
            "emailCampaignId": 100 + n % 2,
            "appId": 1,
            "filteredEvent": n % 10 == 0,
        }
        for n in range(count)
    ]


def test_email_events_by_window_type_and_offset(account: Account) -> None:
    account.app.load_email_events(_email_events(250))
    path = "/email/public/v1/events"
    query: dict[str, Any] = {"limit": 40, "startTimestamp": START_MS - 60_000, "endTimestamp": START_MS - 10_000}
    found: list[Any] = []
    while True:
        page = account.get(path, **query).json
        found += page["events"]
        if not page["hasMore"]:
            break
        query["offset"] = page["offset"]
    expected = {e["id"] for e in _email_events(250) if START_MS - 60_000 <= e["created"] <= START_MS - 10_000}
    assert len(found) == len(expected) == 153
    assert {event["id"] for event in found} == expected
    assert {event["portalId"] for event in found} == {account.app.options.portal_id}
    clicks = account.get(path, eventType="CLICK", recipient="p1@buyer.example", limit=1000).json["events"]
    assert {(event["type"], event["recipient"]) for event in clicks} == {("CLICK", "p1@buyer.example")}
    everything = account.get(path, limit=1000).json["events"]
    assert sum(event.get("filteredEvent", False) for event in everything) == 25
    assert len(account.get(path, limit=1000, excludeFilteredEvents="true").json["events"]) == 225
    assert account.get(path, limit=1001).status == 400
    assert account.get(path, eventType="GLANCE").status == 400
    campaigns = account.get("/email/public/v1/campaigns/by-id").json["campaigns"]
    assert [campaign["id"] for campaign in campaigns] == [100, 101]


def test_an_email_click_now_moves_the_counters(account: Account, contact: str) -> None:
    account.clock.advance(5)
    account.control("events", {"email_events": [{"type": "CLICK", "recipient": "A@buyer.example", "id": "e1"}]})
    names = "hs_email_click,hs_email_last_click_date"
    read = account.get(f"/crm/v3/objects/contacts/{contact}", properties=names).json
    assert read["properties"]["hs_email_click"] == "1"
    assert read["properties"]["hs_email_last_click_date"] == read["updatedAt"] == "2025-11-30T10:53:25.000Z"


def test_webinars(account: Account, contact: str) -> None:
    account.app.load_marketing_events([{"objectId": "460", "eventName": "導入事例セミナー"}])
    root = "/marketing/v3/marketing-events"
    body = {"inputs": [{"vid": int(contact), "interactionDateTime": START_MS - 1000}]}
    for _ in range(2):  # idempotent on contact and time
        written = account.post(f"{root}/460/attendance/REGISTERED/create", body)
        assert written.status == 200
        assert written.json["results"] == [{"vid": int(contact)}]
    row = {"eventId": 460, "contactId": int(contact), "state": "ATTENDED", "occurred_ms": START_MS, "duration_s": 3000}
    account.app.load_participations([{**row, "percentage": "0.83"}])
    counters = account.get(f"{root}/participations/460").json
    assert counters == {"attended": 1, "registered": 1, "cancelled": 0, "noShows": 0}
    found = _all(account, f"{root}/participations/460/breakdown", limit=1)
    assert [entry["properties"]["attendanceState"] for entry in found] == ["REGISTERED", "ATTENDED"]
    assert found[1]["properties"]["attendanceDurationSeconds"] == 3000
    assert found[1]["associations"]["contact"]["contactId"] == contact
    assert found[1]["associations"]["contact"]["email"] == "a@buyer.example"
    assert found[1]["associations"]["marketingEvent"]["name"] == "導入事例セミナー"
    for key in (contact, "a@buyer.example"):
        path = f"{root}/participations/contacts/{key}/breakdown"
        assert account.get(path, state="ATTENDED").json["total"] == 1
    assert account.get(root).json["results"][0]["attendees"] == 1
    assert account.get(f"{root}/participations/999/breakdown").status == 404


def test_lists_and_their_members(account: Account) -> None:
    account.app.load_lists([{"listId": "9", "name": "visited /pricing", "processingType": "DYNAMIC"}])
    rows = [
        {"id": None, "properties": {"email": f"p{n}@buyer.example"}, "created_ms": START_MS, "updated_ms": START_MS}
        for n in range(12)
    ]
    ids = account.app.load("contacts", rows)
    joined = {contact: START_MS - 1000 * ((number * 7) % 5) for number, contact in enumerate(ids)}
    account.app.load_memberships({"listId": 9, "recordId": key, "joined_ms": ms} for key, ms in joined.items())
    by_id = _all(account, "/crm/v3/lists/9/memberships", limit=5)
    assert [int(row["recordId"]) for row in by_id] == ids
    by_join = _all(account, "/crm/v3/lists/9/memberships/join-order", limit=5)
    assert [int(row["recordId"]) for row in by_join] == sorted(ids, key=lambda contact: (joined[contact], contact))
    assert account.get("/crm/v3/lists/9").json["list"]["size"] == 12
    search = account.post("/crm/v3/lists/search", {"query": "PRICING"}).json
    assert [entry["listId"] for entry in search["lists"]] == ["9"]
    assert search["lists"][0]["additionalProperties"]["hs_list_size"] == "12"
    assert account.call("PUT", "/crm/v3/lists/9/memberships/add", [ids[0]]).status == 400
    made = account.post("/crm/v3/lists", {"name": "static", "objectTypeId": "0-1", "processingType": "MANUAL"})
    assert made.status == 200
    path = f"/crm/v3/lists/{made.json['list']['listId']}/memberships"
    added = account.call("PUT", f"{path}/add", [ids[0], "999999"]).json
    assert added == {"recordsIdsAdded": [str(ids[0])], "recordIdsRemoved": [], "recordIdsMissing": ["999999"]}
    record = account.get(f"/crm/v3/lists/records/0-1/{ids[0]}/memberships").json["results"]
    assert {entry["listId"] for entry in record} == {"9", made.json["list"]["listId"]}
    assert account.call("PUT", f"{path}/remove", [ids[0]]).json["recordIdsRemoved"] == [str(ids[0])]


def test_events_are_for_enterprise(account: Account, contact: str) -> None:
    path = "/events/v3/events"
    refused = account.get(path, objectType="contact", objectId=contact)
    assert (refused.status, refused.json["category"]) == (403, "MISSING_SCOPES")
    account.control("edition", {"edition": "Enterprise"})
    assert account.get(path, objectType="contact").status == 400
    assert account.get(path, objectType="contact", objectId=contact).json == {"results": []}


def test_page_views(open_account: Opener) -> None:
    account = open_account(edition="Enterprise", index_lag_seconds=0)
    contact = account.create("contacts", email="a@buyer.example")
    url = "https://www.seller.example/pricing"
    for step in range(5):
        account.clock.advance(1)
        view = {
            "email": "a@buyer.example",
            "eventType": "e_visited_page",
            "properties": {"hs_url": f"{url}?{step % 2}"},
        }
        account.control("events", {"web_events": [view]})
    path = "/events/v3/events"
    query: dict[str, Any] = {"objectType": "contact", "objectId": contact, "limit": 2}
    found = _all(account, path, **query)
    assert [event["occurredAt"][-7:] for event in found] == [f"2{n}.000Z" for n in (5, 4, 3, 2, 1)]
    assert _all(account, path, **query, sort="occurredAt") == found[::-1]
    wanted = {**query, "property.hs_url": f"{url}?1", "occurredAfter": "2025-11-30T10:53:23Z"}
    assert [event["occurredAt"][-7:] for event in _all(account, path, **wanted)] == ["24.000Z"]
    names = "hs_analytics_num_page_views,hs_analytics_last_timestamp,hs_analytics_last_url"
    properties = account.get(f"/crm/v3/objects/contacts/{contact}", properties=names).json["properties"]
    assert properties["hs_analytics_num_page_views"] == "5"
    assert properties["hs_analytics_last_timestamp"] == "2025-11-30T10:53:25.000Z"
    assert properties["hs_analytics_last_url"] == f"{url}?0"
    assert "e_visited_page" in account.get("/events/v3/events/event-types").json["eventTypes"]


def test_custom_events_are_sent_once_per_uuid(open_account: Opener) -> None:
    account = open_account(edition="Enterprise")
    contact = account.create("contacts", email="a@buyer.example")
    made = account.post("/events/v3/event-definitions", {"label": "Score changed", "name": "score_changed"})
    assert made.status == 201
    name = made.json["fullyQualifiedName"]
    event = {"eventName": name, "objectId": contact, "uuid": "u-1", "properties": {"score": "80"}}
    assert [account.post("/events/v3/send", event).status for _ in range(2)] == [204, 204]
    found = account.get("/events/v3/events", objectType="contact", objectId=contact).json["results"]
    assert [(entry["eventType"], entry["properties"]) for entry in found] == [(name, {"score": "80"})]
    assert account.post("/events/v3/send", {**event, "eventName": "ghost"}).status == 404
