"""Setting up: planned, carried out once, blocked with a reason, never destructive."""

import json
from typing import Any

import pytest

from connectors.fields import OUTPUT_FIELDS
from connectors.protocol import SetupStep
from connectors.salesforce.schema import OUR_FIELDS
from core.errors import Forbidden
from tests.connectors.salesforce.org import PracticeOrg


def by_name(steps: Any) -> dict[str, SetupStep]:
    return {step.name: step for step in steps}


def custom_fields(org: PracticeOrg) -> list[str]:
    names = []
    for sobject in ("Lead", "Contact", "Task"):
        path = f"/services/data/v62.0/sobjects/{sobject}/describe"
        names += [f"{sobject}.{f['name']}" for f in _get(org, path)["fields"] if f["name"].startswith("Mikomi_")]
    return names


def _get(org: PracticeOrg, path: str) -> Any:
    import urllib.request

    request = urllib.request.Request(org.server.url + path, headers={"Authorization": f"Bearer {org.secret}"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.loads(response.read())


def test_the_plan_changes_nothing_and_names_everything(org: PracticeOrg) -> None:
    steps = by_name(org.connect(language="ja").plan_setup())
    assert len(steps) == 2 * len(OUTPUT_FIELDS) + 1 + 3
    assert {f"field Lead.{own}" for own in OUR_FIELDS.values()} <= steps.keys()
    assert not any(step.done or step.blocked for step in steps.values())
    assert steps["field Lead.Mikomi_Score__c"].description == "見込み度 (integer)"
    assert custom_fields(org) == []


def test_afterwards_the_integration_user_sees_and_may_write_what_is_ours(org: PracticeOrg) -> None:
    assert {r.status for r in org.connect(language="ja").apply_setup()} == {"created", "unchanged"}
    lead = {f["name"]: f for f in _get(org, "/services/data/v62.0/sobjects/Lead/describe")["fields"]}
    for name, own in OUR_FIELDS.items():
        assert lead[own]["updateable"] is not OUTPUT_FIELDS[name].by_rep, own
    band = {v["value"]: v["label"] for v in lead["Mikomi_Next_Step__c"]["picklistValues"]}
    assert band == {"call": "架電", "nurture": "育成", "wait": "待機", "leave": "対応不要"}
    task = {f["name"]: f for f in _get(org, "/services/data/v62.0/sobjects/Task/describe")["fields"]}
    assert task["Mikomi_Key__c"]["unique"]
    assert task["Mikomi_Key__c"]["externalId"]


def test_a_plan_of_what_is_done_makes_no_call_beyond_the_describe(org: PracticeOrg) -> None:
    list(org.connect().apply_setup())
    connector = org.connect()
    before = org.calls()
    assert all(step.done for step in connector.plan_setup())
    assert org.calls() - before == 1


def test_the_minimal_set(org: PracticeOrg) -> None:
    connector = org.connect(fields="minimal")
    list(connector.apply_setup())
    assert len(custom_fields(org)) == 2 * 6 + 1
    assert all(step.done for step in connector.plan_setup())
    assert not all(step.done for step in org.connect(fields="all").plan_setup())


def test_without_an_administrator_it_says_what_to_give(org: PracticeOrg) -> None:
    connector = org.connect(setup_access_token=None)
    steps = connector.plan_setup()
    blocked = [step for step in steps if step.blocked]
    assert len(blocked) == 2 * len(OUTPUT_FIELDS) + 1
    assert "MIKOMI_SALESFORCE_SETUP_ACCESS_TOKEN" in blocked[0].blocked
    results = list(connector.apply_setup())
    assert "failed" in {r.status for r in results}
    assert "created" not in {r.status for r in results if r.step.name.startswith("field")}
    assert custom_fields(org) == []


def test_an_existing_field_of_another_type_is_left_and_reported(org: PracticeOrg) -> None:
    admin = org.connect(access_token=org.secret_file("adm", org.credentials["admin_access_token"]))
    document = {"FullName": "Lead.Mikomi_Score__c", "Metadata": {"label": "x", "type": "Text", "length": 80}}
    admin._api.send("POST", "tooling/sobjects/CustomField", document, endpoint="x", effect="once")
    connector = org.connect()
    step = by_name(connector.plan_setup())["field Lead.Mikomi_Score__c"]
    assert "another type (string instead of double)" in step.blocked
    results = {r.step.name: r.status for r in connector.apply_setup()}
    assert results["field Lead.Mikomi_Score__c"] == "failed"
    assert results["field Contact.Mikomi_Score__c"] == "created"


def test_an_interrupted_setup_is_finished_by_the_next(org: PracticeOrg) -> None:
    for count, _ in enumerate(org.connect().apply_setup()):
        if count == 20:
            break
    results = list(org.connect().apply_setup())
    assert {r.status for r in results} == {"created", "unchanged"}
    assert all(step.done for step in org.connect().plan_setup())


def test_a_field_that_another_run_made_meanwhile_is_unchanged(org: PracticeOrg) -> None:
    first = org.connect().apply_setup()
    next(first)
    list(org.connect().apply_setup())
    assert {r.status for r in first} <= {"unchanged", "created"}
    assert all(step.done for step in org.connect().plan_setup())


def test_a_lost_answer_creates_no_second_field(org: PracticeOrg) -> None:
    org.fail_next(kind="drop_after", path="tooling/sobjects/CustomField")
    assert "failed" not in {r.status for r in org.connect().apply_setup()}


def test_a_token_of_another_org_is_refused(org: PracticeOrg) -> None:
    foreign = json.dumps({"organization_id": "00D000000000099AAA", "user_id": "005000000000001AAA"})
    org.control("POST", "faults", {"kind": "status", "status": 200, "body": foreign, "skip": 1, "path": "userinfo"})
    with pytest.raises(Forbidden, match="another org"):
        org.connect().plan_setup()
