"""Nonsense in, an error body out: no request may break the emulator, and none that fails may leave a trace."""

import json
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.clock import Clock
from sandbox.hubspot import HubSpot, HubSpotOptions, routes
from sandbox.server import Request
from tests.sandbox.hubspot.conftest import START_MS

ROUTES = sorted((method, template) for method, _, template, _ in routes.build()._routes)
KEYS = [
    "inputs",
    "id",
    "properties",
    "associations",
    "to",
    "from",
    "types",
    "type",
    "associationCategory",
    "associationTypeId",
    "filterGroups",
    "filters",
    "propertyName",
    "operator",
    "value",
    "values",
    "highValue",
    "sorts",
    "limit",
    "after",
    "query",
    "idProperty",
    "objectWriteTraceId",
    "email",
    "name",
    "label",
    "fieldType",
    "groupName",
    "options",
    "primaryObjectId",
    "objectIdToMerge",
    "objectId",
    "vid",
    "interactionDateTime",
    "eventName",
    "occurredAt",
    "processingType",
    "objectTypeId",
    "offset",
    "count",
    "listIds",
    "processingTypes",
    "label",
    "inverseLabel",
    "token",
    "tokenKey",
    "propertiesWithHistory",
    "displayOrder",
    "hidden",
    "externalEventId",
    "eventOrganizer",
    "externalAccountId",
    "direction",
    "uuid",
]
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 10**12),
    st.sampled_from(
        ["", "1", "1001", "0-1", "contacts", "email", "EQ", "IN", "GTE", "hs_object_id", "x", "北", "-1", "²"]
    ),
    st.sampled_from(["HUBSPOT_DEFINED", "MANUAL", "number", "select", "contactinformation", "2025-13-45", "9" * 40]),
)
BODIES = st.recursive(
    VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=12,
)
NAMED = st.dictionaries(st.sampled_from(KEYS), BODIES, max_size=6)
NAMES = ["contacts", "0-2", "tasks", "widgets", "1001", "1", "email", "x", "ATTENDED", "²", "9" * 30]
QUERY_KEYS = [
    *("limit", "after", "before", "properties", "propertiesWithHistory", "associations", "archived", "idProperty"),
    *("startTimestamp", "endTimestamp", "eventType", "recipient", "offset", "objectType", "objectId", "occurredAfter"),
    *("state", "sort", "email", "formTypes", "property.hs_url", "listIds"),
]
SENSIBLE: list[Any] = [
    {
        "properties": {"email": "c@buyer.example", "hubspot_owner_id": "1"},
        "associations": [
            {"to": {"id": "1"}, "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 279}]}
        ],
    },
    {"inputs": [{"id": "1001", "idProperty": "email", "properties": {"city": "x"}, "objectWriteTraceId": "t"}]},
    {
        "inputs": [
            {
                "from": {"id": "1001"},
                "to": {"id": "1"},
                "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 279}],
            }
        ]
    },
    {"inputs": [{"from": {"id": "1001"}, "to": [{"id": "1"}]}]},
    {"inputs": [{"id": "1001", "after": "5", "vid": 1001, "email": "a@buyer.example", "interactionDateTime": 5}]},
    {"properties": ["email"], "propertiesWithHistory": ["city"], "idProperty": "email", "inputs": [{"id": "1001"}]},
    {
        "filterGroups": [
            {"filters": [{"propertyName": "createdate", "operator": "BETWEEN", "value": "1", "highValue": "2"}]}
        ],
        "sorts": [{"propertyName": "email", "direction": "ASCENDING"}],
        "limit": 5,
        "after": "0",
        "query": "x",
        "properties": ["email"],
    },
    {
        "filterGroups": [
            {
                "filters": [
                    {"propertyName": "hs_object_id", "operator": "IN", "values": ["1"]},
                    {"propertyName": "email", "operator": "CONTAINS_TOKEN", "value": "a*"},
                ]
            }
        ],
        "sorts": ["-email"],
    },
    {
        "name": "n",
        "label": "l",
        "type": "enumeration",
        "fieldType": "select",
        "groupName": "contactinformation",
        "options": [{"label": "a", "value": "b", "displayOrder": 1}],
        "hasUniqueValue": True,
        "displayOrder": 1,
    },
    {"primaryObjectId": "1001", "objectIdToMerge": "1002"},
    {"objectId": "a@buyer.example", "idProperty": "email"},
    {
        "name": "l2",
        "objectTypeId": "0-1",
        "processingType": "MANUAL",
        "offset": 0,
        "count": 5,
        "query": "l",
        "listIds": ["1"],
    },
    {"eventName": "x", "objectId": "1001", "occurredAt": "2025-01-01T00:00:00Z", "properties": {"a": "b"}, "uuid": "u"},
    ["1001", 1002],
    [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 279}],
]


@st.composite
def bent(draw: st.DrawFn) -> Any:
    """A sensible body with one part of it replaced by nonsense."""
    body = json.loads(json.dumps(draw(st.sampled_from(SENSIBLE))))
    place = body
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            return body
        key = draw(st.sampled_from(keys))
        if isinstance(place[key], (dict, list)) and draw(st.integers(0, 3)):
            place = place[key]
            continue
        place[key] = draw(BODIES)
        return body


QUERIES = st.dictionaries(
    st.sampled_from(QUERY_KEYS),
    st.sampled_from(
        [
            "",
            "1",
            "0",
            "-3",
            "true",
            "contact",
            "contacts,deals",
            "email",
            "abc",
            "%%",
            "²",
            "9" * 40,
            "5-7",
            "ATTENDED",
        ]
    ),
    max_size=4,
)


@pytest.fixture(scope="module")
def app() -> Any:
    made = HubSpot(Clock(START_MS), HubSpotOptions(limits=False, edition="Enterprise", index_lag_seconds=0))
    row = {"id": 1001, "properties": {"email": "a@buyer.example"}, "created_ms": 1, "updated_ms": 1}
    made.load("contacts", [row, {**row, "id": 1002, "properties": {"email": "b@buyer.example"}}])
    made.load_lists([{"listId": "1", "name": "l"}])
    made.load_forms([{"id": "x", "name": "f"}])
    made.load_marketing_events([{"objectId": "1", "eventName": "w"}])
    yield made
    made.close()


@given(st.data())
@settings(max_examples=600, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_request_breaks_it(app: HubSpot, data: st.DataObject) -> None:
    method, template = data.draw(st.sampled_from(ROUTES))
    path = "/".join(
        quote(data.draw(st.sampled_from(NAMES))) if part.startswith("{") else part for part in template.split("/")
    )
    query = data.draw(QUERIES)
    body = (
        b""
        if method in ("GET", "DELETE")
        else json.dumps(data.draw(BODIES | NAMED | bent() | bent() | st.sampled_from(SENSIBLE))).encode()
    )
    kind = (
        "application/x-www-form-urlencoded" if path.startswith("/oauth/v") and "token" in path else "application/json"
    )
    token = app._portal.tokens.issue(None)
    request = Request(
        method=method,
        target=f"{path}?{urlencode(query)}",
        path=path,
        raw_path=path,
        query={name: [value] for name, value in query.items()},
        headers={"authorization": f"Bearer {token}", "content-type": kind},
        body=body,
        base_url="http://127.0.0.1",
    )
    before = app._portal.store.db.total_changes
    _, response = app.handle(request)
    assert 200 <= response.status < 500
    if response.status >= 400 and response.content_type and "json" in response.content_type:
        document = json.loads(response.body)
        assert document["message"]
        assert document["correlationId"]
    if method == "GET":
        assert app._portal.store.db.total_changes == before
