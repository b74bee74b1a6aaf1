"""The control API, bulk loads, and many callers at once."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from sandbox.clock import Clock
from sandbox.hubspot import HubSpot, HubSpotOptions
from tests.sandbox.hubspot.conftest import START_MS, Account, Opener


def test_a_users_edits_cost_no_quota_and_show_as_theirs(open_account: Opener) -> None:
    account = open_account(limits=True, index_lag_seconds=0)
    made = account.control("records", {"action": "create", "type": "contacts", "properties": {"email": "a@b.example"}})
    contact = made["id"]
    edit = {"action": "update", "type": "contacts", "id": "a@b.example", "idProperty": "email"}
    account.control("records", {**edit, "properties": {"hs_analytics_source": "OFFLINE", "city": "津"}})
    account.control("records", {"action": "delete", "type": "contacts", "id": contact})
    assert account.get(f"/crm/v3/objects/contacts/{contact}").status == 404
    account.control("records", {"action": "restore", "type": "contacts", "id": contact})
    read = account.get(f"/crm/v3/objects/contacts/{contact}", properties="hs_object_source,city").json["properties"]
    assert (read["hs_object_source"], read["city"]) == ("CRM_UI", "津")
    assert account.get("/account-info/v3/api-usage/daily/private-apps").json["results"][0]["currentUsage"] == 3


def test_merge_associate_and_erase(account: Account) -> None:
    one, other = (account.create("contacts", email=f"{n}@buyer.example") for n in range(2))
    company = account.create("companies", name="c")
    link = {"action": "associate", "type": "contacts", "id": one, "to_type": "companies", "to": company, "type_id": 1}
    account.control("records", link)
    merged = account.control("records", {"action": "merge", "type": "contacts", "id": one, "other": other})["id"]
    path = f"/crm/v4/objects/contacts/{merged}/associations/companies"
    assert len(account.get(path).json["results"]) == 1
    account.control("records", {**link, "action": "dissociate", "id": merged})
    assert account.get(path).json["results"] == []
    account.control("records", {"action": "gdpr_delete", "type": "contacts", "id": merged})
    rows = account.get("/__sandbox__/state").json["rows"]
    assert (rows["contacts"], rows["contacts_archived"], rows["companies"]) == (0, 0, 1)


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("records", {"action": "juggle", "type": "contacts"}),
        ("records", {"action": "update", "type": "contacts", "id": "999", "properties": {}}),
        ("edition", {"edition": "Ultimate"}),
        ("events", {"smoke_signals": [{}]}),
        ("touch", {"type": "contacts", "count": 1, "properties": {"email": "x"}}),
    ],
)
def test_wrong_orders_say_so(account: Account, name: str, body: dict[str, Any]) -> None:
    answer = account.call("POST", f"/__sandbox__/{name}", body)
    assert answer.status == 400
    assert answer.json["error"]


def test_endpoints_are_counted_by_stream(account: Account) -> None:
    account.get("/crm/v3/objects/0-1")
    account.get("/crm/objects/2026-09/contact")
    account.post("/crm/v3/objects/deals/search", {})
    calls = account.get("/__sandbox__/calls").json
    assert calls["GET /crm/v3/objects/contacts"] == 2
    assert calls["POST /crm/v3/objects/deals/search"] == 1


def test_loads_refuse_what_the_portal_does_not_know(account: Account) -> None:
    row = {"id": 5, "properties": {"shoe_size": "27"}, "created_ms": START_MS, "updated_ms": START_MS}
    with pytest.raises(ValueError, match="shoe_size"):
        account.app.load("contacts", [row])
    definition = {"name": "shoe_size", "label": "S", "type": "number", "fieldType": "number", "groupName": "feet"}
    account.app.define_property("contacts", definition)
    assert account.app.load("contacts", [row]) == [5]
    assert account.create("contacts", email="a@b.example") != "5"


def test_loaded_rows_are_found_at_once_and_merged_ids_resolve(open_account: Opener) -> None:
    account = open_account(index_lag_seconds=60)
    properties = {"email": "a@b.example", "hs_additional_emails": "old@b.example", "hs_merged_object_ids": "71;72"}
    row = {"id": 80, "properties": properties, "created_ms": START_MS - 5000, "updated_ms": START_MS - 1000}
    gone = {"id": 81, "properties": {}, "created_ms": START_MS - 5000, "updated_ms": START_MS, "archived_ms": START_MS}
    account.app.load("contacts", [row, gone])
    assert account.search("contacts", ("email", "EQ", "a@b.example"))["total"] == 1
    assert account.get("/crm/v3/objects/contacts/71").json["id"] == "80"
    assert account.get("/crm/v3/objects/contacts/old@b.example", idProperty="email").json["id"] == "80"
    archived = account.get("/crm/v3/objects/contacts", archived="true").json["results"]
    assert [entry["id"] for entry in archived] == ["81"]


def test_a_portal_on_disk_is_there_again(tmp_path: Path) -> None:
    options = HubSpotOptions(database=str(tmp_path / "portal.sqlite3"))
    clock = Clock(START_MS)
    first = HubSpot(clock, options)
    first.load("contacts", [{"id": 9, "properties": {"email": "a@b.example"}, "created_ms": 1, "updated_ms": 1}])
    definition = {"name": "size", "label": "S", "type": "number", "fieldType": "number", "groupName": "g"}
    first.define_property("contacts", definition)
    first.close()
    second = HubSpot(clock, options)
    row = {"id": None, "properties": {"size": "1"}, "created_ms": 2, "updated_ms": 2}
    assert second.load("contacts", [row]) == [1001]
    second.close()


def test_many_callers_at_once_lose_nothing(account: Account) -> None:
    """Eight threads create and update through their own connections; every write is there, every id its own."""
    import http.client

    statuses: list[int] = []

    def work(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", account.server.port, timeout=30)
        headers = {"Authorization": f"Bearer {account.token}", "Content-Type": "application/json"}
        for step in range(10):
            inputs = [{"properties": {"email": f"w{number}-{step}-{n}@buyer.example"}} for n in range(5)]
            connection.request("POST", "/crm/v3/objects/contacts/batch/create", json.dumps({"inputs": inputs}), headers)
            response = connection.getresponse()
            response.read()
            statuses.append(response.status)
        connection.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [201] * 80
    assert account.get("/__sandbox__/state").json["rows"]["contacts"] == 400
    assert account.search("contacts")["total"] == 400


def test_bulk_load_and_search_stay_quick(account: Account) -> None:
    """A guard against a slow path, an order of magnitude under the figures reached."""
    import time

    count = 20_000
    rows = (
        {
            "id": None,
            "properties": {"email": f"p{n}@buyer.example", "firstname": "x", "lastname": "y"},
            "created_ms": START_MS - n,
            "updated_ms": START_MS - n,
        }
        for n in range(count)
    )
    began = time.process_time()
    ids = account.app.load("contacts", rows)
    assert count / (time.process_time() - began) > 5_000
    last = str(ids[10_000])
    sort = [{"propertyName": "hs_object_id", "direction": "ASCENDING"}]
    account.search("contacts", ("hs_object_id", "GT", "0"), sorts=sort, limit=200)
    began = time.process_time()
    for _ in range(10):
        account.search("contacts", ("hs_object_id", "GT", last), sorts=sort, limit=200)
    assert (time.process_time() - began) / 10 < 0.1
