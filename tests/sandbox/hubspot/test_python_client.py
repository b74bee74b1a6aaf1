"""The unmodified hubspot-api-client for Python against the emulator: typed answers, exact codes, error bodies."""

from typing import Any

import pytest
from hubspot import HubSpot as Client
from hubspot.crm.contacts.exceptions import ApiException

from sandbox.hubspot.object_types import TYPES
from tests.sandbox.hubspot.conftest import START_MS, Account, Opener


@pytest.fixture
def client(account: Account) -> Any:
    return Client(access_token=account.token, host=account.server.url)


def test_contacts_from_create_to_archive(client: Any) -> None:
    api = client.crm.contacts.basic_api
    made = api.create({"properties": {"email": "a@buyer.example", "lastname": "北"}})
    assert made.properties["lastname"] == "北"
    assert made.created_at.tzinfo is not None
    read = api.get_by_id(
        made.id, properties=["lastname"], properties_with_history=["lastname"], associations=["companies"]
    )
    assert read.properties_with_history["lastname"][0].source_type == "INTEGRATION"
    changed = api.update(made.id, {"properties": {"lastname": "南"}})
    assert changed.properties["lastname"] == "南"
    api.archive(made.id)
    assert api.get_page(archived=True).results[0].id == made.id


def test_get_all_pages_through_everything(client: Any, account: Account) -> None:
    rows = [
        {"id": None, "properties": {"email": f"p{n}@buyer.example"}, "created_ms": START_MS, "updated_ms": START_MS}
        for n in range(230)
    ]
    ids = account.app.load("contacts", rows)
    assert [int(row.id) for row in client.crm.contacts.get_all()] == ids


def test_search(client: Any) -> None:
    for n in range(3):
        client.crm.companies.basic_api.create({"properties": {"name": f"c{n}"}})
    from hubspot.crm.companies import Filter, FilterGroup, PublicObjectSearchRequest

    group = FilterGroup(filters=[Filter(property_name="name", operator="CONTAINS_TOKEN", value="c*")])
    request = PublicObjectSearchRequest(filter_groups=[group], limit=2, properties=["name"], sorts=["-name"])
    found = client.crm.companies.search_api.do_search(request)
    assert found.total == 3
    assert [row.properties["name"] for row in found.results] == ["c2", "c1"]
    assert found.paging.next.after == "2"


def test_batches_and_their_partial_answers(client: Any) -> None:
    api = client.crm.contacts.batch_api
    made = api.create({"inputs": [{"properties": {"email": f"p{n}@buyer.example"}} for n in range(2)]})
    assert made.status == "COMPLETE"
    ids = [row.id for row in made.results]
    whole = api.update({"inputs": [{"id": row_id, "properties": {"city": "x"}} for row_id in ids]})
    assert not hasattr(whole, "num_errors")
    partly = api.update({"inputs": [{"id": row_id, "properties": {"city": "x"}} for row_id in [*ids, "999999"]]})
    assert partly.num_errors == 1
    assert partly.errors[0].context == {"ids": ["999999"]}
    read = api.read({"inputs": [{"id": row_id} for row_id in ids], "properties": ["city"], "propertiesWithHistory": []})
    assert {row.properties["city"] for row in read.results} == {"x"}
    assert api.archive({"inputs": [{"id": ids[0]}]}) is None


def test_task_upsert_with_a_unique_key(client: Any) -> None:
    definition = {"name": "own_key", "label": "Key", "type": "string", "fieldType": "text", "groupName": "task"}
    prop = client.crm.properties.core_api.create("tasks", {**definition, "hasUniqueValue": True})
    assert prop.has_unique_value is True
    entry = {"idProperty": "own_key", "id": "k", "properties": {"own_key": "k", "hs_timestamp": str(START_MS)}}
    first, second = (client.crm.objects.tasks.batch_api.upsert({"inputs": [entry]}) for _ in range(2))
    assert (first.results[0].new, second.results[0].new) == (True, False)
    assert first.results[0].id == second.results[0].id


def test_associations(client: Any) -> None:
    contact = client.crm.contacts.basic_api.create({"properties": {"email": "a@buyer.example"}}).id
    company = client.crm.companies.basic_api.create({"properties": {"name": "c"}}).id
    client.crm.associations.v4.basic_api.create_default("contacts", contact, "companies", company)
    page = client.crm.associations.v4.basic_api.get_page("contacts", contact, "companies")
    assert {kind.type_id for kind in page.results[0].association_types} == {1, 279}
    read = client.crm.associations.v4.batch_api.get_page("companies", "contacts", {"inputs": [{"id": company}]})
    assert read.results[0].to[0].to_object_id == contact
    labels = client.crm.associations.v4.schema.definitions_api.get_all("contacts", "companies")
    assert 279 in {label.type_id for label in labels.results}


def test_the_rest_of_the_account(client: Any, account: Account) -> None:
    assert client.crm.owners.owners_api.get_page().results[0].email == "admin@portal.example"
    assert client.crm.pipelines.pipelines_api.get_all("deals").results[0].stages[0].metadata["probability"] == "0.2"
    assert client.crm.properties.groups_api.get_all("contacts").results
    account.app.load_forms([{"id": "f1", "name": "資料請求"}])
    account.app.load_marketing_events([{"objectId": "460", "eventName": "webinar", "eventOrganizer": "us"}])
    assert client.marketing.forms.forms_api.get_page().results[0].name == "資料請求"
    assert client.marketing.events.retrieve_participant_state_api.get_participations_counters_by_marketing_event_id(460)
    made = client.crm.lists.lists_api.create({"name": "l", "objectTypeId": "0-1", "processingType": "MANUAL"})
    assert client.crm.lists.memberships_api.get_page(made.list.list_id).results == []
    details = client.api_request({"method": "GET", "path": "/account-info/v3/details", "base_url": account.server.url})
    assert details.json()["portalId"] == account.app.options.portal_id


@pytest.mark.parametrize("name", [kind.name for kind in TYPES if kind.engagement])
def test_every_kind_of_activity(client: Any, name: str) -> None:
    api = getattr(client.crm.objects, name)
    made = api.basic_api.create({"properties": {"hs_timestamp": "2025-11-01T00:00:00Z"}})
    assert api.basic_api.get_by_id(made.id, properties=["hs_timestamp"]).properties["hs_timestamp"] == (
        "2025-11-01T00:00:00.000Z"
    )


def test_errors_keep_their_bodies(client: Any, open_account: Opener) -> None:
    with pytest.raises(ApiException) as missing:
        client.crm.contacts.basic_api.get_by_id("999999")
    assert (missing.value.status, "OBJECT_NOT_FOUND" in missing.value.body) == (404, True)
    limited = open_account(limits=True)
    hasty = Client(access_token=limited.token, host=limited.server.url)
    for _ in range(5):
        hasty.crm.contacts.search_api.do_search({"limit": 1})
    with pytest.raises(ApiException) as refused:
        hasty.crm.contacts.search_api.do_search({"limit": 1})
    assert refused.value.status == 429
    assert '"policyName":"SECONDLY"' in refused.value.body


def test_oauth_through_the_client(client: Any, account: Account) -> None:
    known = account.get("/__sandbox__/credentials").json
    api = client.auth.oauth.tokens_api if hasattr(client, "auth") else client.oauth.tokens_api
    got = api.create(
        grant_type="refresh_token",
        refresh_token=known["refresh_token"],
        client_id=known["client_id"],
        client_secret=known["client_secret"],
    )
    fresh = Client(access_token=got.access_token, host=account.server.url)
    assert fresh.crm.contacts.basic_api.get_page().results == []
