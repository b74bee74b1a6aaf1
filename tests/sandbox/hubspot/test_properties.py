"""Property definitions, groups, unique values and history."""

from typing import Any

import pytest

from tests.sandbox.hubspot.conftest import Account, Opener

ROOT = "/crm/v3/properties/contacts"
BAND = {
    "name": "mikomi_band",
    "label": "見込み度ランク",
    "type": "enumeration",
    "fieldType": "select",
    "groupName": "contactinformation",
    "options": [{"label": f"ランク{v}", "value": v, "displayOrder": n, "hidden": False} for n, v in enumerate("ABCD")],
}
SCORE = {
    "name": "mikomi_score",
    "label": "Score",
    "type": "number",
    "fieldType": "number",
    "groupName": "contactinformation",
}


def test_create_read_change_archive(account: Account) -> None:
    made = account.post(ROOT, BAND)
    assert made.status == 201
    body = made.json
    assert [option["value"] for option in body["options"]] == ["A", "B", "C", "D"]
    expected = {"archivable": True, "readOnlyDefinition": False, "readOnlyOptions": False, "readOnlyValue": False}
    assert body["modificationMetadata"] == expected
    assert "hubspotDefined" not in body
    again = account.post(ROOT, BAND)
    assert (again.status, again.json["category"]) == (409, "OBJECT_ALREADY_EXISTS")
    changed = account.call("PATCH", f"{ROOT}/mikomi_band", {"label": "ランク"})
    assert changed.json["label"] == "ランク"
    contact = account.create("contacts", email="a@buyer.example", mikomi_band="A")
    assert account.call("DELETE", f"{ROOT}/mikomi_band").status == 204
    assert account.get(f"{ROOT}/mikomi_band").status == 404
    asked = account.get(f"/crm/v3/objects/contacts/{contact}", properties="mikomi_band").json["properties"]
    assert "mikomi_band" not in asked


def test_the_list_shows_each_definition_as_it_is_now(account: Account) -> None:
    def listed() -> dict[str, Any]:
        return {one["name"]: one for one in account.get(ROOT).json["results"]}

    made = account.post(ROOT, {**SCORE, "label": 1, "description": True}).json
    assert (made["label"], made["description"]) == ("1", "true")
    assert listed()["mikomi_score"] == made == account.get(f"{ROOT}/mikomi_score").json
    for label in ("点", "Score"):
        changed = account.call("PATCH", f"{ROOT}/mikomi_score", {"label": label}).json
        assert listed()["mikomi_score"] == changed
    refused = account.call("PATCH", f"{ROOT}/mikomi_score", {"label": []})
    assert (refused.status, "START_ARRAY" in refused.json["message"]) == (400, True)
    account.call("DELETE", f"{ROOT}/mikomi_score")
    assert "mikomi_score" not in listed()


REFUSED: list[dict[str, Any]] = [
    {**SCORE, "name": "hs_mine"},
    {**SCORE, "name": "Upper"},
    {**SCORE, "type": "integer"},
    {**SCORE, "fieldType": "select"},
    {**SCORE, "groupName": "no_such_group"},
    {**BAND, "options": []},
    {name: value for name, value in SCORE.items() if name != "label"},
    {**BAND, "hasUniqueValue": True},
    {**SCORE, "label": {"ja": "点"}},
    {**SCORE, "description": ["a", "b"]},
    {**SCORE, "type": ["number"]},
]


@pytest.mark.parametrize("body", REFUSED)
def test_refused_definitions(account: Account, body: dict[str, Any]) -> None:
    answer = account.post(ROOT, body)
    assert answer.status == 400
    assert answer.json["status"] == "error"


def test_builtin_definitions_say_what_an_app_may_write(account: Account) -> None:
    listed = {prop["name"]: prop for prop in account.get(ROOT).json["results"]}
    assert listed["lifecyclestage"]["hubspotDefined"] is True
    assert listed["createdate"]["modificationMetadata"]["readOnlyValue"] is True
    assert listed["notes_last_contacted"]["modificationMetadata"]["readOnlyValue"] is True
    assert listed["hubspot_owner_id"]["referencedObjectType"] == "OWNER"
    assert account.call("DELETE", f"{ROOT}/email").status == 400
    assert account.call("PATCH", f"{ROOT}/email", {"label": "x"}).status == 400


def test_batches(account: Account) -> None:
    made = account.post(f"{ROOT}/batch/create", {"inputs": [BAND, SCORE]})
    assert made.status == 201
    partly = account.post(f"{ROOT}/batch/create", {"inputs": [BAND, {**SCORE, "name": "mikomi_fit"}]})
    assert partly.status == 207
    assert partly.json["errors"][0]["category"] == "OBJECT_ALREADY_EXISTS"
    read = account.post(f"{ROOT}/batch/read", {"inputs": [{"name": "mikomi_band"}, {"name": "ghost"}]})
    assert read.status == 207
    assert [prop["name"] for prop in read.json["results"]] == ["mikomi_band"]
    inputs = [{"name": name} for name in ("mikomi_band", "mikomi_score", "mikomi_fit")]
    assert account.post(f"{ROOT}/batch/archive", {"inputs": inputs}).status == 204
    assert account.get(f"{ROOT}/mikomi_fit").status == 404


def test_groups(account: Account) -> None:
    group = {"name": "mikomi", "label": "見込み", "displayOrder": 1}
    assert account.post(f"{ROOT}/groups", group).status == 201
    assert account.post(f"{ROOT}/groups", group).status == 409
    assert account.get(f"{ROOT}/groups/mikomi").json["label"] == "見込み"
    assert account.post(ROOT, {**SCORE, "groupName": "mikomi"}).status == 201
    assert account.call("DELETE", f"{ROOT}/groups/mikomi").status == 400
    account.call("DELETE", f"{ROOT}/mikomi_score")
    assert account.call("DELETE", f"{ROOT}/groups/mikomi").status == 204
    names = [entry["name"] for entry in account.get(f"{ROOT}/groups").json["results"]]
    assert "contactinformation" in names
    assert "mikomi" not in names


def test_at_most_ten_unique_properties(account: Account) -> None:
    body = {**SCORE, "type": "string", "fieldType": "text", "hasUniqueValue": True}
    answers = [account.post(ROOT, {**body, "name": f"key_{n}"}).status for n in range(11)]
    assert answers == [201] * 10 + [400]


def test_unique_on_tasks_can_be_refused(open_account: Opener) -> None:
    account = open_account(unique_task_property=False)
    body = {"name": "mikomi_key", "label": "Key", "type": "string", "fieldType": "text", "groupName": "task"}
    assert account.post("/crm/v3/properties/tasks", {**body, "hasUniqueValue": True}).status == 400
    assert account.post("/crm/v3/properties/tasks", body).status == 201


def test_an_admin_deletes_a_property_in_the_settings(account: Account) -> None:
    account.post(ROOT, SCORE)
    account.create("contacts", email="a@buyer.example", mikomi_score="50")
    account.control("properties", {"action": "delete", "type": "contacts", "name": "mikomi_score"})
    refused = account.post("/crm/v3/objects/contacts", {"properties": {"mikomi_score": "1"}})
    assert refused.json["errors"][0]["code"] == "PROPERTY_DOESNT_EXIST"


def _history(account: Account, contact: str, name: str) -> Any:
    read = account.get(f"/crm/v3/objects/contacts/{contact}", propertiesWithHistory=name).json
    return read["propertiesWithHistory"][name]


def test_history_is_newest_first_and_names_the_writer(account: Account) -> None:
    contact = account.create("contacts", email="a@buyer.example", jobtitle="主任")
    account.clock.advance(1)
    account.control(
        "records", {"action": "update", "type": "contacts", "id": contact, "properties": {"jobtitle": "課長"}}
    )
    account.clock.advance(1)
    account.call("PATCH", f"/crm/v3/objects/contacts/{contact}", {"properties": {"jobtitle": "部長"}})
    account.call("PATCH", f"/crm/v3/objects/contacts/{contact}", {"properties": {"jobtitle": "部長"}})
    versions = _history(account, contact, "jobtitle")
    assert [(v["value"], v["sourceType"], v["timestamp"][-7:]) for v in versions] == [
        ("部長", "INTEGRATION", "22.000Z"),
        ("課長", "CRM_UI", "21.000Z"),
        ("主任", "INTEGRATION", "20.000Z"),
    ]
    assert versions[0]["sourceId"] == str(account.app.options.app_id)
    assert versions[1]["updatedByUserId"] == 9_586_504


@pytest.mark.parametrize(("kind", "name", "cap"), [("contacts", "city", 20), ("companies", "city", 45)])
def test_history_is_capped(account: Account, kind: str, name: str, cap: int) -> None:
    row = account.create(kind, city="0")
    for step in range(1, 60):
        account.clock.advance(1)
        account.call("PATCH", f"/crm/v3/objects/{kind}/{row}", {"properties": {name: str(step)}})
    body = {"propertiesWithHistory": [name], "inputs": [{"id": row}]}
    read = account.post(f"/crm/v3/objects/{kind}/batch/read", body).json["results"][0]
    values = [version["value"] for version in read["propertiesWithHistory"][name]]
    assert values == [str(step) for step in range(59, 59 - cap, -1)]


def test_loaded_history(account: Account) -> None:
    stamps = [("2025-01-01T00:00:00.000Z", "lead"), ("2025-03-01T00:00:00.000Z", "opportunity")]
    row = {"id": 70, "properties": {"lifecyclestage": "opportunity"}, "created_ms": 1_700_000_000_000}
    account.app.load("contacts", [{**row, "updated_ms": 1_740_787_200_000}])
    versions = [{"value": value, "timestamp": at, "sourceType": "CRM_UI"} for at, value in reversed(stamps)]
    account.app.load_history([{"type": "contacts", "id": 70, "property": "lifecyclestage", "versions": versions}])
    found = _history(account, "70", "lifecyclestage")
    assert [(v["timestamp"], v["value"]) for v in found] == list(reversed(stamps))
