"""Associations: v4 and v3 shapes, primary companies, labels, roll-ups."""

from typing import Any

from tests.sandbox.hubspot.conftest import START_MS, Account

V4 = "/crm/v4/associations"


def _task(account: Account, contact: str) -> Any:
    spec = [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 204}]
    body = {"properties": {"hs_timestamp": str(START_MS)}, "associations": [{"to": {"id": contact}, "types": spec}]}
    return account.post("/crm/v3/objects/tasks", body)


def test_inline_at_create_and_read_from_both_sides(account: Account) -> None:
    contact = account.create("contacts", email="a@buyer.example")
    made = _task(account, contact)
    assert made.status == 201
    task = made.json["id"]
    read = account.post(f"{V4}/contacts/tasks/batch/read", {"inputs": [{"id": contact}]})
    assert read.status == 200
    kinds = [{"category": "HUBSPOT_DEFINED", "typeId": 203, "label": None}]
    assert read.json["results"] == [
        {"from": {"id": contact}, "to": [{"toObjectId": int(task), "associationTypes": kinds}]}
    ]
    back = account.post("/crm/associations/2026-03/tasks/contacts/batch/read", {"inputs": [{"id": task}]})
    assert back.json["results"][0]["to"][0]["toObjectId"] == int(contact)
    listed = account.get("/crm/v3/objects/contacts", associations="tasks,companies").json["results"][0]
    assert listed["associations"] == {"tasks": {"results": [{"id": task, "type": "contact_to_task"}]}}


def test_none_found_is_207(account: Account) -> None:
    contact = account.create("contacts", email="a@buyer.example")
    answer = account.post(f"{V4}/0-1/companies/batch/read", {"inputs": [{"id": contact}]})
    assert answer.status == 207
    assert answer.json["results"] == []
    assert answer.json["errors"] == [
        {
            "status": "error",
            "category": "OBJECT_NOT_FOUND",
            "subCategory": "crm.associations.NO_ASSOCIATIONS_FOUND",
            "message": f"No company is associated with contact {contact}.",
            "context": {"fromObjectId": [contact], "fromObjectType": ["contact"], "toObjectType": ["company"]},
        }
    ]


def _companies(account: Account, contact: str) -> dict[int, list[int]]:
    read = account.post(f"{V4}/contacts/companies/batch/read", {"inputs": [{"id": contact}]}).json
    return {to["toObjectId"]: [kind["typeId"] for kind in to["associationTypes"]] for to in read["results"][0]["to"]}


def test_one_primary_company_at_a_time(account: Account) -> None:
    contact = account.create("contacts", email="a@buyer.example")
    one, other = account.create("companies", name="one"), account.create("companies", name="other")
    for company in (one, other):
        path = f"/crm/v4/objects/contacts/{contact}/associations/default/companies/{company}"
        assert account.call("PUT", path).status == 200
    assert _companies(account, contact) == {int(one): [1, 279], int(other): [279]}
    primary = [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 1}]
    body = {"inputs": [{"from": {"id": contact}, "to": {"id": other}, "types": primary}]}
    made = account.post(f"{V4}/contacts/companies/batch/create", body)
    assert made.status == 201
    assert made.json["results"][0]["labels"] == ["Primary"]
    assert _companies(account, contact) == {int(one): [279], int(other): [1, 279]}
    body["inputs"] = [{"from": {"id": contact}, "to": [{"id": one}]}]
    assert account.post(f"{V4}/contacts/companies/batch/archive", body).status == 204
    assert list(_companies(account, contact)) == [int(other)]


def test_association_changes_do_not_move_the_modified_date(account: Account) -> None:
    contact, company = account.create("contacts", email="a@buyer.example"), account.create("companies", name="one")
    before = account.get(f"/crm/v3/objects/contacts/{contact}").json["updatedAt"]
    account.clock.advance(10)
    path = f"/crm/v4/objects/contacts/{contact}/associations/companies/{company}"
    types = [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 279}]
    assert account.call("PUT", path, types).status == 201
    assert account.call("DELETE", path).status == 204
    assert account.get(f"/crm/v3/objects/contacts/{contact}").json["updatedAt"] == before


def test_a_logged_call_moves_the_roll_ups_and_the_modified_date(account: Account) -> None:
    contact = account.create("contacts", email="a@buyer.example")
    account.clock.advance(10)
    order = {
        "action": "log_activity",
        "type": "calls",
        "properties": {"hs_timestamp": str(START_MS + 5_000), "hs_call_duration": "60000"},
        "contacts": [contact],
    }
    account.control("records", order)
    names = "notes_last_contacted,num_contacted_notes,num_notes"
    read = account.get(f"/crm/v3/objects/contacts/{contact}", properties=names).json
    assert read["updatedAt"] == "2025-11-30T10:53:30.000Z"
    assert read["properties"]["notes_last_contacted"] == "2025-11-30T10:53:25.000Z"
    assert (read["properties"]["num_contacted_notes"], read["properties"]["num_notes"]) == ("1", "1")


def test_a_new_task_bumps_its_contact(account: Account) -> None:
    contact = account.create("contacts", email="a@buyer.example")
    account.clock.advance(10)
    _task(account, contact)
    assert account.get(f"/crm/v3/objects/contacts/{contact}").json["updatedAt"] == "2025-11-30T10:53:30.000Z"


def test_v3_shapes(account: Account) -> None:
    contact, company = account.create("contacts", email="a@buyer.example"), account.create("companies", name="one")
    root = "/crm/v3/associations/contacts/companies"
    entry = {"from": {"id": contact}, "to": {"id": company}, "type": "contact_to_company"}
    assert account.post(f"{root}/batch/create", {"inputs": [entry]}).status == 201
    read = account.post(f"{root}/batch/read", {"inputs": [{"id": contact}]})
    assert read.status == 200
    assert read.json["results"][0]["to"] == [
        {"id": company, "type": "contact_to_company"},
        {"id": company, "type": "contact_to_company_unlabeled"},
    ]


def test_labels(account: Account) -> None:
    made = account.post(f"{V4}/contacts/companies/labels", {"label": "決裁者", "name": "approver"})
    assert made.status == 200
    type_id = made.json["results"][0]["typeId"]
    assert made.json["results"][0]["category"] == "USER_DEFINED"
    labels = account.get(f"{V4}/contacts/companies/labels").json["results"]
    assert {"category": "HUBSPOT_DEFINED", "typeId": 1, "label": "Primary"} in labels
    contact, company = account.create("contacts", email="a@buyer.example"), account.create("companies", name="one")
    types = [{"associationCategory": "USER_DEFINED", "associationTypeId": type_id}]
    pair = {"from": {"id": contact}, "to": {"id": company}, "types": types}
    assert account.post(f"{V4}/contacts/companies/batch/create", {"inputs": [pair]}).status == 201
    assert set(_companies(account, contact)[int(company)]) == {279, type_id}
    assert account.post(f"{V4}/contacts/companies/batch/labels/archive", {"inputs": [pair]}).status == 204
    assert _companies(account, contact)[int(company)] == [279]


def test_wrong_links(account: Account) -> None:
    contact = account.create("contacts", email="a@buyer.example")
    wrong = [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 3}]
    entry = {"from": {"id": contact}, "to": {"id": "1"}, "types": wrong}
    answer = account.post(f"{V4}/contacts/companies/batch/create", {"inputs": [entry]})
    assert answer.status == 207
    assert answer.json["errors"][0]["category"] == "VALIDATION_ERROR"
    assert _task(account, "999999").status == 400


def test_links_of_many_are_paged(account: Account) -> None:
    company = int(account.create("companies", name="one"))
    rows = [
        {"id": None, "properties": {"email": f"p{n}@buyer.example"}, "created_ms": START_MS, "updated_ms": START_MS}
        for n in range(700)
    ]
    ids = account.app.load("contacts", rows)
    account.app.load_associations("contacts", "companies", [(contact, company, 1) for contact in ids])
    seen: list[int] = []
    after: str | None = None
    while True:
        entry = {"id": str(company)} | ({"after": after} if after else {})
        result = account.post(f"{V4}/companies/contacts/batch/read", {"inputs": [entry]}).json["results"][0]
        seen += [to["toObjectId"] for to in result["to"]]
        if "paging" not in result:
            break
        after = result["paging"]["next"]["after"]
    assert seen == ids
    assert [kind["typeId"] for kind in result["to"][0]["associationTypes"]] == [2, 280]


def test_merge_moves_the_links(account: Account) -> None:
    one, other = (
        account.create("contacts", email="a@buyer.example"),
        account.create("contacts", email="b@buyer.example"),
    )
    task = _task(account, other).json["id"]
    body = {"primaryObjectId": one, "objectIdToMerge": other}
    new = account.post("/crm/v3/objects/contacts/merge", body).json["id"]
    read = account.post(f"{V4}/tasks/contacts/batch/read", {"inputs": [{"id": task}]}).json
    assert [to["toObjectId"] for to in read["results"][0]["to"]] == [int(new)]


def test_links_to_archived_records_do_not_show(account: Account) -> None:
    contact = account.create("contacts", email="a@buyer.example")
    task = _task(account, contact).json["id"]
    path = f"/crm/v4/objects/contacts/{contact}/associations/tasks"
    account.call("DELETE", f"/crm/v3/objects/tasks/{task}")
    assert account.get(path).json["results"] == []
    account.control("records", {"action": "restore", "type": "tasks", "id": task})
    assert [to["toObjectId"] for to in account.get(path).json["results"]] == [int(task)]
