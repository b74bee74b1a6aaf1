"""Custom fields and permissions: Tooling, plain rows, and what nobody sees until it is granted."""

from typing import Any

import pytest

from tests.sandbox.salesforce.rig import ADMIN, INTEGRATION, Rig, refusal

SCORE = {"label": "Score", "type": "Number", "precision": 3, "scale": 0}


def make_field(rig: Rig, full_name: str, metadata: dict[str, Any], token: str | None = None) -> Any:
    body = {"FullName": full_name, "Metadata": metadata}
    return rig.call("POST", "/tooling/sobjects/CustomField", json=body, token=token)


def user_id(rig: Rig, name: str) -> str:
    return str(rig.god(f"SELECT Id FROM User WHERE Username = '{name}'")[0]["Id"])


def test_a_new_field_is_seen_by_nobody_until_a_permission_set_is_assigned(rig: Rig) -> None:
    made = make_field(rig, "Lead.Mikomi_Score__c", SCORE)
    assert (made.status_code, made.json()["success"], made.json()["id"][:3]) == (201, True, "00N")
    lead = rig.make_lead()
    for token in (rig.token, rig.admin):
        refused = rig.call("GET", "/query", params={"q": "SELECT Mikomi_Score__c FROM Lead"}, token=token)
        assert refusal(refused)[1] == "INVALID_FIELD"
        refused = rig.call("PATCH", f"/sobjects/Lead/{lead}", json={"Mikomi_Score__c": 5}, token=token)
        assert refusal(refused) == (400, "INVALID_FIELD", "No such column 'Mikomi_Score__c' on sobject of type Lead")
        fields = rig.call("GET", "/sobjects/Lead/describe", token=token).json()["fields"]
        assert "Mikomi_Score__c" not in {field["name"] for field in fields}

    parent = rig.make("PermissionSet", Name="Mikomi_Integration", Label="Mikomi")
    grant = {"ParentId": parent, "SobjectType": "Lead", "Field": "Lead.Mikomi_Score__c"}
    permission = rig.make("FieldPermissions", **grant, PermissionsRead=True, PermissionsEdit=False)
    assignment = rig.make("PermissionSetAssignment", PermissionSetId=parent, AssigneeId=user_id(rig, INTEGRATION))
    assert rig.query("SELECT Mikomi_Score__c FROM Lead", token=rig.token)["records"][0]["Mikomi_Score__c"] is None
    refused = rig.call("PATCH", f"/sobjects/Lead/{lead}", json={"Mikomi_Score__c": 5}, token=rig.token)
    assert refusal(refused)[1] == "INVALID_FIELD_FOR_INSERT_UPDATE"

    rig.call("PATCH", f"/sobjects/FieldPermissions/{permission}", json={"PermissionsEdit": True})
    assert rig.call("PATCH", f"/sobjects/Lead/{lead}", json={"Mikomi_Score__c": 5}, token=rig.token).status_code == 204
    field = next(
        one
        for one in rig.call("GET", "/sobjects/Lead/describe", token=rig.token).json()["fields"]
        if one["name"] == "Mikomi_Score__c"
    )
    shown = {key: field[key] for key in ("type", "precision", "scale", "custom", "updateable", "nillable", "label")}
    assert shown == {
        "type": "double",
        "precision": 3,
        "scale": 0,
        "custom": True,
        "updateable": True,
        "nillable": True,
        "label": "Score",
    }
    rig.call("DELETE", f"/sobjects/PermissionSetAssignment/{assignment}")
    refused = rig.call("GET", "/query", params={"q": "SELECT Mikomi_Score__c FROM Lead"}, token=rig.token)
    assert refusal(refused)[1] == "INVALID_FIELD"


def test_permission_rows_are_checked(rig: Rig) -> None:
    make_field(rig, "Lead.A__c", SCORE)
    parent = rig.make("PermissionSet", Name="P", Label="P")

    def wrong(sobject: str, **fields: Any) -> tuple[int, str, str]:
        return refusal(rig.call("POST", f"/sobjects/{sobject}", json=fields))

    grant = {"ParentId": parent, "SobjectType": "Lead", "Field": "Lead.A__c", "PermissionsRead": True}
    code = wrong("FieldPermissions", **{**grant, "Field": "Lead.Nope__c"})
    message = "Field Name: bad value for restricted picklist field: Lead.Nope__c"
    assert code == (400, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", message)
    edit_only = {**grant, "PermissionsRead": False, "PermissionsEdit": True}
    assert wrong("FieldPermissions", **edit_only)[1] == "FIELD_INTEGRITY_EXCEPTION"
    rig.make("FieldPermissions", **grant)
    assert wrong("FieldPermissions", **grant)[1] == "DUPLICATE_VALUE"
    pair = {"PermissionSetId": parent, "AssigneeId": user_id(rig, ADMIN)}
    rig.make("PermissionSetAssignment", **pair)
    assert wrong("PermissionSetAssignment", **pair)[1] == "DUPLICATE_VALUE"
    assert wrong("PermissionSet", Name="p", Label="again")[1] == "DUPLICATE_DEVELOPER_NAME"


def test_object_permissions_through_rows(rig: Rig) -> None:
    parent = rig.make("PermissionSet", Name="P", Label="P")
    rig.make("PermissionSetAssignment", PermissionSetId=parent, AssigneeId=user_id(rig, INTEGRATION))
    rig.make(
        "ObjectPermissions",
        ParentId=parent,
        SobjectType="Lead",
        PermissionsRead=True,
        PermissionsEdit=True,
        PermissionsCreate=True,
    )
    made = rig.call("POST", "/sobjects/Lead", json={"LastName": "x", "Company": "y"}, token=rig.token)
    assert made.status_code == 201


def test_activity_fields_live_on_task_and_event(rig: Rig) -> None:
    refused = make_field(rig, "Task.Mikomi_Key__c", {"label": "Key", "type": "Text", "length": 64})
    message = "Entity Enumeration Or ID: bad value for restricted picklist field: Task"
    assert refusal(refused) == (400, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", message)
    rig.add_field("Activity.Mikomi_Key__c", type="Text", length=64, externalId=True, unique=True, caseSensitive=True)
    for home in ("Task", "Event"):
        fields = rig.call("GET", f"/sobjects/{home}/describe").json()["fields"]
        field = next(one for one in fields if one["name"] == "Mikomi_Key__c")
        shown = (field["externalId"], field["unique"], field["idLookup"], field["caseSensitive"], field["length"])
        assert shown == (True, True, True, True, 64)
    first = rig.call("PATCH", "/sobjects/Task/Mikomi_Key__c/mk1-abc", json={"Subject": "x"}, token=rig.token)
    again = rig.call("PATCH", "/sobjects/Task/Mikomi_Key__c/mk1-abc", json={"Subject": "y"}, token=rig.token)
    assert (first.status_code, again.status_code, first.json()["id"]) == (201, 200, again.json()["id"])
    assert len(rig.god("SELECT Id FROM Task")) == 1


@pytest.mark.parametrize(
    ("full_name", "metadata", "code"),
    [
        ("Lead.Score", SCORE, "FIELD_INTEGRITY_EXCEPTION"),
        ("Lead.A__B__c", SCORE, "FIELD_INTEGRITY_EXCEPTION"),
        ("Nothing.A__c", SCORE, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"),
        ("Lead.A__c", {"label": "A", "type": "Numbr"}, "FIELD_INTEGRITY_EXCEPTION"),
        ("Lead.A__c", {"label": "A", "type": "Number"}, "REQUIRED_FIELD_MISSING"),
        ("Lead.A__c", {"type": "Date"}, "REQUIRED_FIELD_MISSING"),
        ("Lead.A__c", {"label": "A", "type": "Text", "length": 999}, "FIELD_INTEGRITY_EXCEPTION"),
        ("Lead.A__c", {"label": "A", "type": "Date", "externalId": True}, "FIELD_INTEGRITY_EXCEPTION"),
        ("Lead.A__c", {"label": "A", "type": "Picklist"}, "FIELD_INTEGRITY_EXCEPTION"),
    ],
)
def test_a_wrong_field_is_refused(rig: Rig, full_name: str, metadata: dict[str, Any], code: str) -> None:
    assert refusal(make_field(rig, full_name, metadata))[:2] == (400, code)


def test_a_field_twice(rig: Rig) -> None:
    assert make_field(rig, "Lead.A__c", SCORE).status_code == 201
    message = "There is already a field named A on Lead."
    assert refusal(make_field(rig, "Lead.a__c", SCORE)) == (400, "DUPLICATE_DEVELOPER_NAME", message)


def test_only_who_may_customize_makes_fields(rig: Rig) -> None:
    assert refusal(make_field(rig, "Lead.A__c", SCORE, rig.token))[:2] == (403, "INSUFFICIENT_ACCESS")
    refused = rig.call("GET", "/tooling/query", params={"q": "SELECT Id FROM CustomField"}, token=rig.token)
    assert refused.status_code == 403


def test_restricted_picklist_field(rig: Rig) -> None:
    values = [
        {"fullName": "A", "label": "有望", "default": False},
        {"fullName": "B", "label": "育成", "default": False},
    ]
    definition = {"restricted": True, "valueSetDefinition": {"sorted": False, "value": values}}
    rig.add_field("Lead.Band__c", type="Picklist", valueSet=definition)
    lead = rig.make_lead(Band__c="a")
    assert rig.row("Lead", lead)["Band__c"] == "A"
    refused = rig.call("PATCH", f"/sobjects/Lead/{lead}", json={"Band__c": "Z"})
    message = "Band__c: bad value for restricted picklist field: Z"
    assert refusal(refused) == (400, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", message)
    fields = rig.call("GET", "/sobjects/Lead/describe").json()["fields"]
    field = next(one for one in fields if one["name"] == "Band__c")
    assert [(one["value"], one["label"]) for one in field["picklistValues"]] == [("A", "有望"), ("B", "育成")]
    assert field["restrictedPicklist"] is True


def test_checkbox_is_false_on_old_and_new_rows(rig: Rig) -> None:
    old = rig.make_lead()
    rig.add_field("Lead.Flag__c", type="Checkbox", defaultValue="false")
    assert rig.row("Lead", old)["Flag__c"] is False
    assert rig.row("Lead", rig.make_lead())["Flag__c"] is False


def test_tooling_reads_changes_and_deletes(rig: Rig) -> None:
    field_id = make_field(rig, "Lead.A__c", SCORE).json()["id"]
    make_field(rig, "Activity.B__c", {"label": "B", "type": "Date"})

    def ask(soql: str) -> Any:
        return rig.call("GET", "/tooling/query", params={"q": soql})

    found = ask(
        "SELECT Id, DeveloperName, TableEnumOrId FROM CustomField WHERE DeveloperName IN ('A', 'B') ORDER BY Id"
    ).json()
    shown = [(one["DeveloperName"], one["TableEnumOrId"]) for one in found["records"]]
    assert shown == [("A", "Lead"), ("B", "Activity")]
    one = ask("SELECT Id, Metadata FROM CustomField WHERE DeveloperName='A' AND TableEnumOrId='Lead'").json()
    assert (one["records"][0]["Id"], one["records"][0]["Metadata"]["precision"]) == (field_id, 3)
    assert refusal(ask("SELECT Metadata FROM CustomField"))[1] == "MALFORMED_QUERY"
    wider = {"Metadata": {**SCORE, "precision": 5}}
    assert rig.call("PATCH", f"/tooling/sobjects/CustomField/{field_id}", json=wider).status_code == 204
    row = rig.call("GET", f"/tooling/sobjects/CustomField/{field_id}").json()
    assert (row["FullName"], row["Metadata"]["precision"]) == ("Lead.A__c", 5)
    changed = {"Metadata": {**SCORE, "type": "Date"}}
    refused = rig.call("PATCH", f"/tooling/sobjects/CustomField/{field_id}", json=changed)
    assert refusal(refused)[1] == "FIELD_INTEGRITY_EXCEPTION"
    assert rig.call("DELETE", f"/tooling/sobjects/CustomField/{field_id}").status_code == 204
    assert rig.call("GET", f"/tooling/sobjects/CustomField/{field_id}").status_code == 404
    rig.add_field("Lead.A__c", type="Text", length=10)
    assert rig.row("Lead", rig.make_lead(A__c="text"))["A__c"] == "text"


def test_fields_and_rows_survive_a_restart(tmp_path: Any, make_rig: Any) -> None:
    database = str(tmp_path / "org.sqlite3")
    first = make_rig(database=database)
    first.add_field("Lead.Key__c", type="Text", length=20, externalId=True, unique=True)
    lead = first.make_lead(Key__c="k")
    first.close()
    second = make_rig(database=database)
    assert second.call("GET", "/sobjects/Lead/Key__c/k").json()["Id"] == lead
    assert second.make_lead() > lead
    refused = second.call("POST", "/sobjects/Lead", json={"LastName": "x", "Company": "y", "Key__c": "K"})
    assert refusal(refused)[1] == "DUPLICATE_VALUE"
