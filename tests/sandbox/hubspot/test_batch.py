"""Batches: exact codes, 207 bodies, all or nothing, what is refused as a whole."""

from typing import Any

from tests.sandbox.hubspot.conftest import START_MS, Account

ROOT = "/crm/v3/objects/contacts/batch"


def _unique_property(account: Account, kind: str = "contacts") -> None:
    group = {"contacts": "contactinformation", "tasks": "task"}[kind]
    body = {"name": "own_key", "label": "Key", "type": "string", "fieldType": "text", "groupName": group}
    assert account.post(f"/crm/v3/properties/{kind}", {**body, "hasUniqueValue": True}).status == 201


def test_read_is_200_or_207_with_the_missing_ids(account: Account) -> None:
    one = account.create("contacts", email="a@buyer.example", jobtitle="部長")
    body: dict[str, Any] = {"properties": ["jobtitle"], "inputs": [{"id": one}]}
    whole = account.post(f"{ROOT}/read", body)
    assert whole.status == 200
    assert sorted(whole.json) == ["completedAt", "results", "startedAt", "status"]
    assert whole.json["results"][0]["properties"]["jobtitle"] == "部長"
    partly = account.post(f"{ROOT}/read", {**body, "inputs": [{"id": one}, {"id": "999999"}]})
    assert partly.status == 207
    assert partly.json["numErrors"] == 1
    assert partly.json["errors"] == [
        {
            "status": "error",
            "category": "OBJECT_NOT_FOUND",
            "message": "Could not get some CONTACT objects, they may be deleted or not exist. Check that ids are valid.",
            "context": {"ids": ["999999"]},
        }
    ]
    by_email = account.post(f"{ROOT}/read", {"idProperty": "email", "inputs": [{"id": "A@buyer.example"}]})
    assert [row["id"] for row in by_email.json["results"]] == [one]


def test_create_is_all_or_nothing(account: Account) -> None:
    inputs: list[dict[str, Any]] = [{"properties": {"email": f"p{n}@buyer.example"}} for n in range(3)]
    made = account.post(f"{ROOT}/create", {"inputs": inputs})
    assert made.status == 201
    assert len(made.json["results"]) == 3
    again = [{"properties": {"email": "new@buyer.example"}}, inputs[1]]
    refused = account.post(f"{ROOT}/create", {"inputs": again})
    assert refused.status == 409
    assert refused.json["message"].startswith("Contact already exists. Existing ID: ")
    assert len(account.get("/crm/v3/objects/contacts").json["results"]) == 3


def test_create_with_trace_ids_is_partial(account: Account) -> None:
    inputs = [
        {"properties": {"email": "a@buyer.example"}, "objectWriteTraceId": "one"},
        {"properties": {"email": "not an address"}, "objectWriteTraceId": "two"},
    ]
    made = account.post(f"{ROOT}/create", {"inputs": inputs})
    assert made.status == 207
    assert [row["objectWriteTraceId"] for row in made.json["results"]] == ["one"]
    assert made.json["errors"][0]["context"]["objectWriteTraceId"] == ["two"]
    assert made.json["errors"][0]["category"] == "VALIDATION_ERROR"
    assert len(account.get("/crm/v3/objects/contacts").json["results"]) == 1


def test_update_is_200_or_207_and_bad_values_refuse_the_batch(account: Account) -> None:
    ids = [account.create("contacts", email=f"p{n}@buyer.example") for n in range(2)]
    inputs = [{"id": row_id, "properties": {"city": "札幌"}} for row_id in ids]
    assert account.post(f"{ROOT}/update", {"inputs": inputs}).status == 200
    missing = {"id": "999999", "properties": {"city": "札幌"}}
    partly = account.post(f"{ROOT}/update", {"inputs": [*inputs, missing]})
    assert partly.status == 207
    assert len(partly.json["results"]) == 2
    assert partly.json["errors"][0]["context"] == {"ids": ["999999"]}
    bad = {"id": ids[1], "properties": {"no_such": "1"}}
    refused = account.post(f"{ROOT}/update", {"inputs": [{"id": ids[0], "properties": {"city": "那覇"}}, bad]})
    assert refused.status == 400
    path = f"/crm/v3/objects/contacts/{ids[0]}"
    assert account.get(path, properties="city").json["properties"]["city"] == "札幌"


def test_the_same_row_twice_and_too_many_rows(account: Account) -> None:
    one = account.create("contacts", email="a@buyer.example")
    twice = [{"id": one, "properties": {"city": "x"}}] * 2
    refused = account.post(f"{ROOT}/update", {"inputs": twice})
    assert refused.status == 400
    assert refused.json["message"] == f"Duplicate IDs found in batch input: [{one}]. IDs must be unique"
    assert refused.json["context"] == {"ids": [one]}
    many = [{"id": str(n), "properties": {"city": "x"}} for n in range(1, 102)]
    assert account.post(f"{ROOT}/update", {"inputs": many}).status == 400


def test_upsert_by_a_unique_property_says_what_is_new(account: Account) -> None:
    _unique_property(account, "tasks")
    root = "/crm/v3/objects/tasks/batch/upsert"

    def entry(key: str, subject: str) -> dict[str, Any]:
        properties = {"own_key": key, "hs_task_subject": subject, "hs_timestamp": str(START_MS)}
        return {"idProperty": "own_key", "id": key, "properties": properties, "objectWriteTraceId": f"t-{key}"}

    first = account.post(root, {"inputs": [entry("mk1-a", "one")]})
    assert first.status == 200
    assert [row["new"] for row in first.json["results"]] == [True]
    second = account.post(root, {"inputs": [entry("mk1-a", "two"), entry("mk1-b", "three")]})
    assert {row["objectWriteTraceId"]: row["new"] for row in second.json["results"]} == {
        "t-mk1-a": False,
        "t-mk1-b": True,
    }
    tasks = account.get("/crm/v3/objects/tasks", properties="hs_task_subject").json["results"]
    assert [row["properties"]["hs_task_subject"] for row in tasks] == ["two", "three"]


def test_upsert_by_record_id_and_by_a_plain_property(account: Account) -> None:
    one = account.create("contacts", email="a@buyer.example")
    by_id = [{"id": one, "properties": {"city": "x"}}, {"id": "999999", "properties": {"city": "x"}}]
    partly = account.post(f"{ROOT}/upsert", {"inputs": by_id})
    assert partly.status == 207
    assert [row["new"] for row in partly.json["results"]] == [False]
    plain = [{"idProperty": "hs_object_id", "id": one, "properties": {"city": "x"}}]
    refused = account.post(f"{ROOT}/upsert", {"inputs": plain})
    assert refused.status == 400
    assert "non-unique 0-1 property hs_object_id in portal ID" in refused.json["message"]


def test_archive_is_204(account: Account) -> None:
    ids = [account.create("contacts", email=f"p{n}@buyer.example") for n in range(3)]
    answer = account.post(f"{ROOT}/archive", {"inputs": [{"id": row_id} for row_id in [*ids[:2], "999999"]]})
    assert (answer.status, answer.text) == (204, "")
    assert [row["id"] for row in account.get("/crm/v3/objects/contacts").json["results"]] == ids[2:]


def test_a_merged_away_id_resolves_alone_but_not_in_a_batch(account: Account) -> None:
    one = account.create("contacts", email="a@buyer.example", city="札幌")
    other = account.create("contacts", email="b@buyer.example", jobtitle="部長")
    body = {"primaryObjectId": one, "objectIdToMerge": other}
    merged = account.post("/crm/v3/objects/contacts/merge", body)
    assert merged.status == 200
    new = merged.json["id"]
    assert new not in (one, other)
    for old in (one, other):
        read = account.get(
            f"/crm/v3/objects/contacts/{old}", properties="hs_merged_object_ids,hs_additional_emails,city,jobtitle"
        ).json
        assert read["id"] == new
        assert set(read["properties"]["hs_merged_object_ids"].split(";")) == {one, other}
        assert read["properties"]["hs_additional_emails"] == "b@buyer.example"
        assert (read["properties"]["city"], read["properties"]["jobtitle"]) == ("札幌", "部長")
        path = f"/crm/v3/objects/contacts/{old}"
        assert account.call("PATCH", path, {"properties": {"zip": "060"}}).json["id"] == new
    partly = account.post(f"{ROOT}/update", {"inputs": [{"id": old, "properties": {"city": "x"}}]})
    assert partly.status == 207
    assert partly.json["errors"][0]["context"] == {"ids": [old]}
    assert [row["id"] for row in account.get("/crm/v3/objects/contacts").json["results"]] == [new]
    assert account.get("/crm/v3/objects/contacts", archived="true").json["results"] == []
    assert account.get("/crm/v3/objects/contacts/b@buyer.example", idProperty="email").json["id"] == new


def test_chained_merges_lead_to_the_last_survivor(account: Account) -> None:
    ids = [account.create("contacts", email=f"p{n}@buyer.example") for n in range(3)]
    merge = "/crm/v3/objects/contacts/merge"
    first = account.post(merge, {"primaryObjectId": ids[0], "objectIdToMerge": ids[1]}).json["id"]
    last = account.post(merge, {"primaryObjectId": ids[2], "objectIdToMerge": first}).json["id"]
    for old in (*ids, first):
        assert account.get(f"/crm/v3/objects/contacts/{old}").json["id"] == last


def test_gdpr_delete(account: Account) -> None:
    one = account.create("contacts", email="a@buyer.example")
    assert account.post("/crm/v3/objects/contacts/gdpr-delete", {"objectId": one}).status == 204
    assert account.get(f"/crm/v3/objects/contacts/{one}").status == 404
    assert account.get("/crm/v3/objects/contacts", archived="true").json["results"] == []
    unknown = {"objectId": "ghost@buyer.example", "idProperty": "email"}
    assert account.post("/crm/v3/objects/contacts/gdpr-delete", unknown).status == 204
    blocked = account.post("/crm/v3/objects/contacts", {"properties": {"email": "ghost@buyer.example"}})
    assert blocked.status == 400
