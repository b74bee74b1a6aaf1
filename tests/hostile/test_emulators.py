"""Both emulators answer whatever they are sent: a status and a document, never a broken connection."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from sandbox import Sandbox
from tests.hostile.poison import TEXTS, WRONG
from tests.sync.practice import MORNING_MS

DEPTHS = (50, 900, 990, 100_000)


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with Sandbox(seed=5, people=5, now_ms=MORNING_MS, limits=False) as opened:
        yield opened


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as opened:
        yield opened


def send(session: requests.Session, url: str, token: str, method: str, body: bytes) -> requests.Response:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    return session.request(method, url, data=body, headers=headers, timeout=30)


HUBSPOT = [
    ("POST", "/crm/v3/objects/contacts", ("properties", "lastname")),
    ("POST", "/crm/v3/objects/contacts", ("properties", "email")),
    ("POST", "/crm/v3/objects/contacts", ("properties", "createdate")),
    ("POST", "/crm/v3/objects/tasks", ("properties", "hs_timestamp")),
    ("POST", "/crm/v3/objects/tasks", ("properties", "hs_task_body")),
    ("POST", "/crm/v3/objects/deals", ("properties", "amount")),
    ("POST", "/crm/v3/objects/contacts/batch/upsert", ("inputs", "0", "id")),
    ("POST", "/crm/v3/objects/contacts/batch/read", ("inputs", "0", "id")),
    ("POST", "/crm/v3/objects/contacts/search", ("filterGroups", "0", "filters", "0", "value")),
    ("POST", "/crm/v3/objects/contacts/search", ("query",)),
    ("POST", "/crm/v3/objects/contacts/search", ("after",)),
    ("POST", "/crm/v3/properties/contacts", ("name",)),
]
SALESFORCE = [
    ("POST", "/sobjects/Lead", ("LastName",)),
    ("POST", "/sobjects/Lead", ("Email",)),
    ("POST", "/sobjects/Lead", ("OwnerId",)),
    ("POST", "/sobjects/Lead", ("NumberOfEmployees",)),
    ("POST", "/sobjects/Task", ("ActivityDate",)),
    ("POST", "/sobjects/Task", ("WhoId",)),
    ("PATCH", "/composite/sobjects", ("records", "0", "Id")),
    ("POST", "/composite/sobjects", ("records", "0", "Company")),
]
FRAMES: dict[str, Any] = {
    "properties": {"properties": {}},
    "inputs": {"inputs": [{"id": "1", "idProperty": "email", "properties": {"email": "a@b.example"}}]},
    "filterGroups": {"filterGroups": [{"filters": [{"propertyName": "email", "operator": "EQ", "value": "x"}]}]},
    "records": {"records": [{"attributes": {"type": "Lead"}, "LastName": "x", "Company": "y"}]},
    "name": {"name": "x", "label": "x", "type": "string", "fieldType": "text", "groupName": "contactinformation"},
}


def frame(path: tuple[str, ...], value: Any) -> bytes:
    document: Any = json.loads(json.dumps(FRAMES.get(path[0], {"LastName": "x", "Company": "y", "Subject": "z"})))
    place = document
    for step in path[:-1]:
        place = place[int(step)] if step.isdigit() else place[step]
    place[path[-1]] = value
    return json.dumps(document).encode()


def is_answer(response: requests.Response) -> bool:
    return response.status_code in {200, 201, 204, 207, 400, 404, 409, 413} and (
        not response.content or response.json() is not None
    )


@pytest.mark.parametrize(("method", "path", "place"), HUBSPOT)
def test_hubspot_answers_hostile_values(
    box: Sandbox, session: requests.Session, method: str, path: str, place: tuple[str, ...]
) -> None:
    for value in (*TEXTS, *WRONG):
        response = send(session, box.hubspot.url + path, box.hubspot.token, method, frame(place, value))
        assert is_answer(response), (value, response.status_code)


@pytest.mark.parametrize(("method", "path", "place"), SALESFORCE)
def test_salesforce_answers_hostile_values(
    box: Sandbox, session: requests.Session, method: str, path: str, place: tuple[str, ...]
) -> None:
    for value in (*TEXTS, *WRONG):
        url = f"{box.salesforce.url}/services/data/v62.0{path}"
        response = send(session, url, box.salesforce.token, method, frame(place, value))
        assert is_answer(response), (value, response.status_code)


@pytest.mark.parametrize("depth", DEPTHS)
def test_deep_bodies_are_refused(box: Sandbox, session: requests.Session, depth: int) -> None:
    deep = ("[" * depth + "]" * depth).encode()
    bodies = (b'{"properties":{"lastname":' + deep + b"}}", b'{"inputs":' + deep + b"}", b'{"x":' + deep + b"}")
    for body in bodies:
        for path in ("/crm/v3/objects/contacts", "/crm/v3/objects/contacts/batch/create", "/oauth/v1/token"):
            answered = send(session, box.hubspot.url + path, box.hubspot.token, "POST", body).status_code
            assert answered in ({400, 415} if depth > 1000 else {200, 201, 207, 400, 415})
        for path in ("/sobjects/Lead", "/composite", "/composite/sobjects"):
            url = f"{box.salesforce.url}/services/data/v62.0{path}"
            assert send(session, url, box.salesforce.token, "POST", body).status_code == 400
        for url in (box.hubspot.url, box.salesforce.url):
            assert send(session, f"{url}/__sandbox__/records", "", "POST", body).status_code == 400


def test_a_body_of_ten_megabytes_is_answered(box: Sandbox, session: requests.Session) -> None:
    body = frame(("properties", "lastname"), "x" * 10_000_000)
    url = f"{box.hubspot.url}/crm/v3/objects/contacts"
    assert send(session, url, box.hubspot.token, "POST", body).status_code in {400, 413}
    url = f"{box.salesforce.url}/services/data/v62.0/sobjects/Lead"
    assert send(session, url, box.salesforce.token, "POST", frame(("LastName",), "x" * 10_000_000)).status_code == 400


def test_hostile_values_through_the_control_api_are_answered(box: Sandbox, session: requests.Session) -> None:
    """What an administrator's hand can put in; half a surrogate pair is no text and is refused."""
    for value in (*TEXTS, *WRONG):
        body = json.dumps({"action": "create", "type": "contacts", "properties": {"lastname": value}}).encode()
        assert send(session, f"{box.hubspot.url}/__sandbox__/records", "", "POST", body).status_code in {200, 400}
        document = {"action": "create", "sobject": "Lead", "fields": {"LastName": value, "Company": "x"}}
        body = json.dumps(document).encode()
        assert send(session, f"{box.salesforce.url}/__sandbox__/records", "", "POST", body).status_code in {200, 400}
