"""Single records and lists: codes, bodies, paging, defaults, the rules of values."""

import json
from typing import Any

import pytest

from tests.sandbox.hubspot.conftest import START_MS, Account


@pytest.mark.parametrize("name", ["contacts", "contact", "0-1", "CONTACT"])
@pytest.mark.parametrize("root", ["/crm/v3/objects", "/crm/objects/2026-03", "/crm/objects/2026-09"])
def test_a_type_goes_by_name_singular_and_id_in_every_version(account: Account, root: str, name: str) -> None:
    made = account.post(f"{root}/{name}", {"properties": {"email": "a@buyer.example"}})
    assert made.status == 201
    assert account.get(f"{root}/{name}/{made.json['id']}").status == 200


def test_create_answers_201_with_strings_and_system_properties(account: Account) -> None:
    made = account.post("/crm/v3/objects/companies", {"properties": {"name": "Kita KK", "numberofemployees": 120}})
    assert made.status == 201
    body = made.json
    assert body["properties"]["numberofemployees"] == "120"
    assert body["properties"]["hs_object_id"] == body["id"]
    assert body["createdAt"] == body["updatedAt"] == "2025-11-30T10:53:20.000Z"
    assert body["properties"]["hs_lastmodifieddate"] == body["updatedAt"]
    assert body["archived"] is False


def test_defaults_undefined_and_empty_properties(account: Account) -> None:
    contact = account.create("contacts", email="a@buyer.example")
    default = account.get(f"/crm/v3/objects/contacts/{contact}").json["properties"]
    assert sorted(default) == ["createdate", "email", "firstname", "hs_object_id", "lastmodifieddate", "lastname"]
    assert default["lastname"] is None
    asked = account.get(f"/crm/v3/objects/contacts/{contact}", properties="jobtitle,no_such").json["properties"]
    assert asked["jobtitle"] is None
    assert "no_such" not in asked
    assert "email" not in asked


def test_list_pages_by_the_id_of_the_next_record(account: Account) -> None:
    made = [account.create("contacts", email=f"p{n}@buyer.example") for n in range(5)]
    first = account.get("/crm/v3/objects/contacts", limit=2).json
    assert [row["id"] for row in first["results"]] == made[:2]
    assert first["paging"]["next"]["after"] == made[2]
    assert first["paging"]["next"]["link"].startswith(account.server.url + "/crm/v3/objects/contacts?limit=2&after=")
    rest = account.get("/crm/v3/objects/contacts", limit=100, after=made[2]).json
    assert [row["id"] for row in rest["results"]] == made[2:]
    assert "paging" not in rest


def test_list_limits(account: Account) -> None:
    assert account.get("/crm/v3/objects/contacts", limit=101).status == 400
    assert account.get("/crm/v3/objects/contacts", limit=51, propertiesWithHistory="email").status == 400
    assert account.get("/crm/v3/objects/contacts", limit=50, propertiesWithHistory="email").status == 200


def test_the_uri_can_be_too_long(account: Account) -> None:
    answer = account.get("/crm/v3/objects/contacts", properties=",".join(f"property_number_{n}" for n in range(900)))
    assert answer.status == 414
    assert answer.headers["content-type"].startswith("text/html")


def test_patch_moves_the_modified_date_even_for_equal_values(account: Account) -> None:
    contact = account.create("contacts", email="a@buyer.example", jobtitle="部長")
    account.clock.advance(3)
    patched = account.call("PATCH", f"/crm/v3/objects/contacts/{contact}", {"properties": {"jobtitle": "部長"}})
    assert patched.status == 200
    assert patched.json["updatedAt"] == "2025-11-30T10:53:23.000Z"
    assert patched.json["createdAt"] == "2025-11-30T10:53:20.000Z"


def test_by_id_property(account: Account) -> None:
    contact = account.create("contacts", email="Taro@Buyer.example")
    found = account.get("/crm/v3/objects/contacts/taro@buyer.example", idProperty="email")
    assert found.json["id"] == contact
    assert found.json["properties"]["email"] == "taro@buyer.example"
    path = "/crm/v3/objects/contacts/taro@buyer.example?idProperty=email"
    assert account.call("PATCH", path, {"properties": {"lastname": "北"}}).json["id"] == contact
    refused = account.get("/crm/v3/objects/contacts/x", idProperty="jobtitle")
    assert refused.status == 400
    assert "non-unique 0-1 property jobtitle" in refused.json["message"]


def test_delete_goes_to_the_archive(account: Account) -> None:
    contact = account.create("contacts", email="a@buyer.example")
    assert account.call("DELETE", f"/crm/v3/objects/contacts/{contact}").status == 204
    assert account.call("DELETE", f"/crm/v3/objects/contacts/{contact}").status == 204
    assert account.get(f"/crm/v3/objects/contacts/{contact}").status == 404
    assert account.get("/crm/v3/objects/contacts").json["results"] == []
    archived = account.get("/crm/v3/objects/contacts", archived="true").json["results"]
    assert [(row["id"], row["archived"], row["archivedAt"]) for row in archived] == [
        (contact, True, "2025-11-30T10:53:20.000Z")
    ]
    assert account.create("contacts", email="a@buyer.example") != contact  # the address is free again


def test_a_second_contact_with_the_same_email_is_a_conflict(account: Account) -> None:
    contact = account.create("contacts", email="a@buyer.example")
    again = account.post("/crm/v3/objects/contacts", {"properties": {"email": "A@buyer.example"}})
    assert again.status == 409
    body = again.json
    assert body.pop("correlationId")
    assert body == {
        "status": "error",
        "message": f"Contact already exists. Existing ID: {contact}",
        "category": "CONFLICT",
    }


def test_an_update_cannot_take_anothers_email(account: Account) -> None:
    first = account.create("contacts", email="a@buyer.example")
    second = account.create("contacts", email="b@buyer.example")
    path = f"/crm/v3/objects/contacts/{second}"
    refused = account.call("PATCH", path, {"properties": {"email": "a@buyer.example"}})
    assert refused.status == 400
    assert refused.json["message"].endswith(f"value=a@buyer.example}} on {second}. {first} already has that value.")


BAD_VALUES = [
    ("contacts", "no_such", "1", "PROPERTY_DOESNT_EXIST", 'Property "no_such" does not exist'),
    ("contacts", "email", "nobody", "INVALID_EMAIL", "Email address nobody is invalid"),
    ("contacts", "createdate", "1", "READ_ONLY_VALUE", '"createdate" is a read only property'),
    ("contacts", "hs_lead_status", "new", "INVALID_OPTION", "new was not one of the allowed options: [ATTEMPTED"),
    (
        "contacts",
        "hs_email_optout",
        "maybe",
        "INVALID_OPTION",
        "maybe was not one of the allowed options: [false, true]",
    ),
    ("contacts", "hs_buying_role", "CHAMPION;KING", "INVALID_OPTION", "KING was not one of"),
    ("contacts", "hubspot_owner_id", "5", "INVALID_OWNER_ID", "Owner with id 5"),
    ("companies", "numberofemployees", "many", "INVALID_INTEGER", "many was not a valid number."),
    ("companies", "closedate", "soon", "INVALID_LONG", "soon was not a valid long."),
    ("companies", "name", "x" * 65_537, "PROPERTY_VALUE_TOO_LONG", "name is longer than 65536 characters"),
]


@pytest.mark.parametrize(("kind", "name", "value", "code", "message"), BAD_VALUES)
def test_refused_values(account: Account, kind: str, name: str, value: str, code: str, message: str) -> None:
    refused = account.post(f"/crm/v3/objects/{kind}", {"properties": {name: value}})
    assert refused.status == 400
    body = refused.json
    assert body["category"] == "VALIDATION_ERROR"
    assert body["errors"][0]["code"] == code
    assert body["errors"][0]["context"] == {"propertyName": [name]}
    assert body["errors"][0]["message"].startswith(message)
    prefix = "Property values were not valid: "
    inner = json.loads(body["message"].removeprefix(prefix))
    assert inner[0]["error"] == code
    assert inner[0]["isValid"] is False
    assert inner[0]["name"] == name


def test_dates_are_midnight_and_times_come_in_two_forms(account: Account) -> None:
    definition = {"name": "renewal", "label": "R", "type": "date", "fieldType": "date"}
    assert account.post("/crm/v3/properties/deals", {**definition, "groupName": "dealinformation"}).status == 201
    deal = account.post(
        "/crm/v3/objects/deals",
        {"properties": {"dealname": "d", "renewal": "2026-04-01", "closedate": "1764547200000"}},
    ).json
    assert deal["properties"]["renewal"] == "2026-04-01"
    assert deal["properties"]["closedate"] == "2025-12-01T00:00:00.000Z"
    path = f"/crm/v3/objects/deals/{deal['id']}"
    refused = account.call("PATCH", path, {"properties": {"renewal": "1764547200001"}})
    assert refused.json["errors"][0]["message"] == "1764547200001 is at 00:00:00.001 UTC, not midnight!"
    offset = account.call("PATCH", path, {"properties": {"closedate": "2025-12-01T09:00:00+09:00"}})
    assert offset.json["properties"]["closedate"] == "2025-12-01T00:00:00.000Z"


def test_empty_text_clears_and_a_leading_semicolon_adds(account: Account) -> None:
    contact = account.create("contacts", email="a@buyer.example", hs_buying_role="CHAMPION", jobtitle="x")
    path = f"/crm/v3/objects/contacts/{contact}"
    body = {"properties": {"jobtitle": "", "hs_buying_role": ";END_USER"}}
    properties = account.call("PATCH", path, body).json["properties"]
    assert properties["jobtitle"] is None
    assert properties["hs_buying_role"] == "CHAMPION;END_USER"


def test_lifecycle_moves_forward_only_for_apps(account: Account) -> None:
    contact = account.create("contacts", email="a@buyer.example", lifecyclestage="opportunity")
    path = f"/crm/v3/objects/contacts/{contact}"

    def stage() -> Any:
        return account.get(path, properties="lifecyclestage").json["properties"]["lifecyclestage"]

    assert account.call("PATCH", path, {"properties": {"lifecyclestage": "lead"}}).status == 200
    assert stage() == "opportunity"
    account.call("PATCH", path, {"properties": {"lifecyclestage": ""}})
    account.call("PATCH", path, {"properties": {"lifecyclestage": "lead"}})
    assert stage() == "lead"
    edit = {"action": "update", "type": "contacts", "id": contact, "properties": {"lifecyclestage": "subscriber"}}
    account.control("records", edit)
    assert stage() == "subscriber"


def test_engagements_need_their_time(account: Account) -> None:
    refused = account.post("/crm/v3/objects/tasks", {"properties": {"hs_task_subject": "Call"}})
    assert refused.status == 400
    assert refused.json["message"] == "Error creating TASK. Some required properties were not set."
    assert refused.json["context"] == {"properties": ["hs_timestamp"]}


def test_deals_know_what_their_stage_means(account: Account) -> None:
    deal = account.create("deals", dealname="d", dealstage="contractsent", amount="100")
    path = f"/crm/v3/objects/deals/{deal}"
    names = "pipeline,hs_is_closed,hs_is_closed_won"
    read = account.get(path, properties=names).json["properties"]
    assert (read["pipeline"], read["hs_is_closed"]) == ("default", "false")
    account.call("PATCH", path, {"properties": {"dealstage": "closedwon"}})
    read = account.get(path, properties=names).json["properties"]
    assert (read["hs_is_closed"], read["hs_is_closed_won"]) == ("true", "true")


def test_tasks_note_their_completion(account: Account) -> None:
    task = account.create("tasks", hs_timestamp=str(START_MS), hs_task_status="NOT_STARTED")
    account.clock.advance(60)
    path = f"/crm/v3/objects/tasks/{task}"
    account.call("PATCH", path, {"properties": {"hs_task_status": "COMPLETED"}})
    done = account.get(path, properties="hs_task_completion_date").json["properties"]
    assert done["hs_task_completion_date"] == "2025-11-30T10:54:20.000Z"


WRONG_CALLS: list[tuple[str, str, Any, int, str]] = [
    ("GET", "/crm/v3/objects/widgets", None, 400, "Unable to infer object type from: widgets"),
    ("GET", "/crm/v3/objects/contacts?associations=gadgets", None, 400, "Unable to infer object type from: gadgets"),
    ("GET", "/crm/v3/objects/contacts/999999", None, 404, "resource not found"),
    ("GET", "/crm/v3/objects/contacts/abc", None, 404, "Object not found.  objectId are usually numeric."),
    ("PATCH", "/crm/v3/objects/contacts/1", {"properties": {}}, 400, "No properties found to update, please"),
    ("POST", "/crm/v3/objects/contacts/batch/read", {"inputs": []}, 400, "Batch input provided should have at least"),
    ("POST", "/crm/v3/objects/contacts/batch/read", {}, 400, "Invalid input JSON on line 1, column 2. Some required"),
    ("POST", "/crm/v3/objects/contacts", [], 400, "Invalid input JSON on line 1, column 1: Cannot deserialize"),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "message"), WRONG_CALLS)
def test_wrong_calls(account: Account, method: str, path: str, body: Any, status: int, message: str) -> None:
    answer = account.call(method, path, body)
    assert answer.status == status
    assert answer.json["status"] == "error"
    assert answer.json["message"].startswith(message)
    assert answer.json["correlationId"]


def test_an_unknown_type_has_no_category(account: Account) -> None:
    assert sorted(account.get("/crm/v3/objects/widgets").json) == ["correlationId", "message", "status"]


def test_what_never_reaches_the_api(account: Account) -> None:
    assert account.get("/crm/v9/nothing").status == 404
    assert account.call("DELETE", "/crm/v3/owners").status == 405
    headers = {"Authorization": f"Bearer {account.token}", "Content-Type": "text/plain"}
    assert account.send("POST", "/crm/v3/objects/contacts", b"{}", headers).status == 415
    headers["Content-Type"] = "application/json"
    broken = account.send("POST", "/crm/v3/objects/contacts", b'{"properties": ', headers)
    assert broken.status == 400
    assert broken.json["message"].startswith("Invalid input JSON on line 1, column 16: ")


def test_a_refused_write_leaves_nothing_behind(account: Account) -> None:
    entry = {"to": {"id": "123456"}, "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 204}]}
    body = {"properties": {"hs_timestamp": str(START_MS)}, "associations": [entry]}
    assert account.post("/crm/v3/objects/tasks", body).status == 400
    assert account.get("/crm/v3/objects/tasks").json["results"] == []
