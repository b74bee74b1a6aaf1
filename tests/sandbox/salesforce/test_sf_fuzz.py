"""Whatever is sent, the answer is the vendor's: a known status with a JSON error array, never a broken connection."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sandbox.salesforce.rig import Rig

NAMES = """attributes type id Id records allOrNone LastName Company Email OwnerId Account NumberOfEmployees compositeRequest
batchRequests method url referenceId body FullName Metadata ids fields label IsUnreadByOwner EmailBouncedDate"""
names = st.sampled_from(NAMES.split())
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
    | st.just("\ud800")
    | st.sampled_from(
        ["Lead", "00Q5i0000000001EAA", "POST", "/services/data/v62.0/sobjects/Lead", "@{r.id}", "Lead.A__c"]
    )
)
documents = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=5), max_leaves=12
)
bodies = st.dictionaries(names, documents, max_size=6)
CALLS = [
    ("POST", "/sobjects/Lead"),
    ("POST", "/sobjects/Task"),
    ("POST", "/composite"),
    ("POST", "/composite/batch"),
    ("POST", "/composite/tree/Account"),
    ("POST", "/composite/sobjects"),
    ("PATCH", "/composite/sobjects"),
    ("PATCH", "/composite/sobjects/Lead/Id"),
    ("POST", "/composite/sobjects/Lead"),
    ("POST", "/tooling/sobjects/CustomField"),
]
relaxed = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize(("method", "path"), CALLS)
@relaxed
@given(body=bodies)
def test_any_body_is_answered(rig: Rig, method: str, path: str, body: dict[str, Any]) -> None:
    response = rig.call(method, path, json=body)
    assert response.status_code in {200, 201, 204, 400, 403, 404}
    if response.status_code >= 400 and not path.startswith("/composite/tree"):
        entry = response.json()[0]
        assert entry["errorCode"]
        assert entry["message"]


@relaxed
@given(body=bodies, kind=st.sampled_from(["Lead", "Task", "Nothing"]), all_or_none=documents)
def test_any_record_in_a_list_is_answered(rig: Rig, body: dict[str, Any], kind: str, all_or_none: Any) -> None:
    record = {**body, "attributes": {"type": kind, "referenceId": "r"}}
    for method in ("POST", "PATCH"):
        sent = {"allOrNone": all_or_none, "records": [record, record]}
        response = rig.call(method, "/composite/sobjects", json=sent)
        assert response.status_code in {200, 400}
        assert all("success" in row or "errorCode" in row for row in response.json())
    step = {"method": "POST", "referenceId": "r", "url": f"/services/data/v62.0/sobjects/{kind}", "body": body}
    response = rig.call("POST", "/composite", json={"allOrNone": all_or_none, "compositeRequest": [step]})
    if response.status_code == 200:
        assert response.json()["compositeResponse"][0]["httpStatusCode"] in {201, 400, 404}
    else:
        assert response.json()[0]["errorCode"] == "JSON_PARSER_ERROR"


@relaxed
@given(text=st.text(max_size=40))
def test_any_query_is_answered(rig: Rig, text: str) -> None:
    response = rig.call("GET", "/query", params={"q": text})
    assert response.status_code == 400
    assert response.json()[0]["errorCode"]


@relaxed
@given(path=st.text("abcLead/{}%.?&=0017QI+ ", max_size=30))
def test_any_path_is_answered(rig: Rig, path: str) -> None:
    response = rig.call("GET", "/sobjects/" + path)
    assert response.status_code in {200, 400, 404, 405}


@relaxed
@given(body=st.binary(max_size=60))
def test_any_bytes_are_answered(rig: Rig, body: bytes) -> None:
    response = rig.call("POST", "/sobjects/Lead", data=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 400
    soap = rig.session.post(f"{rig.url}/services/Soap/u/59.0", data=body, timeout=20)
    assert soap.status_code == 500
    token = rig.session.post(f"{rig.url}/services/oauth2/token", data=body, timeout=20)
    assert token.status_code == 400
