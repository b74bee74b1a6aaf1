"""Versions, limits, quota, describe, and many threads at once."""

import threading
from collections.abc import Callable

import pytest

from tests.sandbox.salesforce.rig import Rig, refusal


def test_versions_need_no_session(rig: Rig) -> None:
    listing = rig.session.get(rig.url + "/services/data/", timeout=20).json()
    assert listing[0] == {"label": "Summer '14", "url": "/services/data/v31.0", "version": "31.0"}
    assert {"label": "Winter '26", "url": "/services/data/v65.0", "version": "65.0"} in listing
    assert listing[-1]["version"] == "68.0"


@pytest.mark.parametrize(
    ("version", "status", "code"),
    [
        ("v31.0", 200, None),
        ("v68.0", 200, None),
        ("v30.0", 410, "UNSUPPORTED_API_VERSION"),
        ("v99.0", 404, "NOT_FOUND"),
        ("v62", 404, "NOT_FOUND"),
        ("62.0", 404, "NOT_FOUND"),
    ],
)
def test_version_roots(rig: Rig, version: str, status: int, code: str | None) -> None:
    response = rig.call("GET", f"/services/data/{version}/")
    assert response.status_code == status
    if code is None:
        assert response.json()["query"] == f"/services/data/{version}/query"
    else:
        assert refusal(response)[1] == code


def test_every_answer_says_what_is_used_errors_too(rig: Rig) -> None:
    assert rig.call("GET", "/limits").headers["Sforce-Limit-Info"] == "api-usage=1/100000"
    assert rig.call("GET", "/sobjects/Nothing").headers["Sforce-Limit-Info"] == "api-usage=2/100000"
    assert rig.call("GET", "/limits").json()["DailyApiRequests"] == {"Max": 100_000, "Remaining": 99_997}


def test_the_quota_rolls_with_the_clock(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(daily_quota=3)
    for _ in range(3):
        assert rig.call("GET", "/limits").status_code == 200
        rig.clock.advance(3600)
    refused = rig.call("GET", "/limits")
    assert refusal(refused) == (403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
    assert refused.headers["Sforce-Limit-Info"] == "api-usage=3/3"
    rig.clock.advance(21 * 3600 + 61)
    assert rig.call("GET", "/limits").status_code == 200
    assert rig.call("GET", "/limits").status_code == 403


def test_quota_by_the_control_api_and_without_limits(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig()
    rig.control("quota", {"used": 100_000})
    assert rig.call("GET", "/limits").status_code == 403
    rig.control("quota", {"limit": 200_000})
    assert rig.call("GET", "/limits").json()["DailyApiRequests"]["Remaining"] == 99_999
    free = make_rig(limits=False, daily_quota=1)
    assert [free.call("GET", "/limits").status_code for _ in range(3)] == [200, 200, 200]


def test_long_addresses_are_refused(rig: Rig) -> None:
    ids = ",".join(["00Q5i0000000001EAA"] * 900)
    response = rig.call("GET", f"/composite/sobjects/Lead?ids={ids}&fields=Id")
    assert response.status_code == 414
    padded = {"X-Padding": "x" * 16_000, "X-More": "y" * 400}
    assert rig.call("GET", "/limits", headers=padded).status_code == 431


class TestDescribe:
    """Values below stand in the recorded describes."""

    def fields(self, rig: Rig, sobject: str) -> dict[str, dict[str, object]]:
        described = rig.call("GET", f"/sobjects/{sobject}/describe").json()
        return {field["name"]: field for field in described["fields"]}

    def test_lead(self, rig: Rig) -> None:
        fields = self.fields(rig, "Lead")

        def flags(name: str) -> tuple[object, ...]:
            return tuple(fields[name][key] for key in ("type", "createable", "updateable", "nillable", "filterable"))

        assert flags("Description") == ("textarea", True, True, True, False)
        assert flags("IsConverted") == ("boolean", True, False, False, True)
        assert flags("EmailBouncedDate") == ("datetime", False, True, True, True)
        assert flags("ConvertedContactId") == ("reference", False, False, True, True)
        assert flags("LastActivityDate") == ("date", False, False, True, True)
        lengths = {name: fields[name]["length"] for name in ("Email", "Company", "Title", "LastName", "Description")}
        assert lengths == {"Email": 80, "Company": 255, "Title": 128, "LastName": 80, "Description": 32000}
        assert fields["Email"]["idLookup"] is True
        assert fields["OwnerId"]["referenceTo"] == ["Group", "User"]
        assert fields["NumberOfEmployees"]["digits"] == 8

    def test_relationships_and_prefixes(self, rig: Rig) -> None:
        lead = rig.call("GET", "/sobjects/Lead/describe").json()
        children = {(one["relationshipName"], one["childSObject"], one["field"]) for one in lead["childRelationships"]}
        assert {("Tasks", "Task", "WhoId"), ("CampaignMembers", "CampaignMember", "LeadId")} <= children
        assert lead["keyPrefix"] == "00Q"
        task = self.fields(rig, "Task")
        assert (task["Subject"]["type"], task["WhoId"]["referenceTo"]) == ("combobox", ["Contact", "Lead"])
        member = self.fields(rig, "CampaignMember")
        assert (member["HasResponded"]["createable"], member["FirstRespondedDate"]["updateable"]) == (False, False)

    def test_global(self, rig: Rig) -> None:
        body = rig.call("GET", "/sobjects").json()
        assert (body["encoding"], body["maxBatchSize"]) == ("UTF-8", 200)
        lead = next(one for one in body["sobjects"] if one["name"] == "Lead")
        assert lead["urls"]["rowTemplate"] == "/services/data/v62.0/sobjects/Lead/{ID}"
        assert (lead["queryable"], lead["mergeable"], lead["keyPrefix"]) == (True, True, "00Q")


def test_threads_write_and_read_at_once(rig: Rig) -> None:
    rig.add_field("Lead.Key__c", type="Text", length=64, externalId=True, unique=True)
    wrong: list[str] = []

    def write(worker: int) -> None:
        for n in range(15):
            body = {"LastName": f"w{worker}", "Company": "c"}
            response = rig.call("PATCH", f"/sobjects/Lead/Key__c/k{n}", json=body, token=rig.admin)
            if response.status_code not in (200, 201):
                wrong.append(response.text)

    def read() -> None:
        for _ in range(15):
            page = rig.call("GET", "/query", params={"q": "SELECT Id, Key__c FROM Lead"})
            keys = [one["Key__c"] for one in page.json()["records"]]
            if len(set(keys)) != len(keys):
                wrong.append(f"a key twice: {keys}")

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    threads += [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert wrong == []
    assert len(rig.god("SELECT Id FROM Lead")) == 15


def test_credentials_and_state(rig: Rig) -> None:
    given = rig.control("credentials")
    assert rig.call("GET", "/limits", token=given["access_token"]).status_code == 200
    assert given["private_key"].startswith("-----BEGIN PRIVATE KEY-----")
    rig.make_lead()
    rig.call("DELETE", f"/sobjects/Lead/{rig.make_lead()}")
    assert rig.control("state")["objects"]["Lead"] == {"rows": 1, "deleted": 1}


def test_wrong_control_calls_are_named(rig: Rig) -> None:
    for name, body in (
        ("records", {"action": "explode", "sobject": "Lead"}),
        ("records", {"action": "create", "sobject": "Nothing", "fields": {}}),
        ("permissions", {"user": "nobody@mikomi.example", "active": False}),
        ("permissions", {"user": "admin@mikomi.example", "field": "Lead.Nope"}),
        ("query", {"soql": "SELECT"}),
    ):
        assert rig.control(name, body, expect=400)["error"]
