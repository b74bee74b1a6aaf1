"""Collections, composite, batch and tree."""

from typing import Any

import pytest

from tests.sandbox.salesforce.rig import Rig, refusal


def lead(**fields: Any) -> dict[str, Any]:
    return {"attributes": {"type": "Lead"}, "LastName": "x", "Company": "y", **fields}


def post(rig: Rig, records: list[dict[str, Any]], **more: Any) -> Any:
    return rig.call("POST", "/composite/sobjects", json={"records": records, **more})


class TestCollections:
    def test_rows_answer_in_order_with_200_even_when_all_fail(self, rig: Rig) -> None:
        response = post(rig, [lead(), lead(Email="bad"), lead(Company=None)])
        first, second, third = response.json()
        assert response.status_code == 200
        assert first == {"id": first["id"], "success": True, "errors": []}
        error = {
            "statusCode": "INVALID_EMAIL_ADDRESS",
            "message": "Email: invalid email address: bad",
            "fields": ["Email"],
        }
        assert second == {"success": False, "errors": [error]}
        assert third["errors"][0]["statusCode"] == "REQUIRED_FIELD_MISSING"
        assert len(rig.god("SELECT Id FROM Lead")) == 1

    def test_all_or_none_rolls_back(self, rig: Rig) -> None:
        good, bad = post(rig, [lead(), lead(Email="bad")], allOrNone=True).json()
        assert good["success"] is False
        assert good["errors"][0]["statusCode"] == "ALL_OR_NONE_OPERATION_ROLLED_BACK"
        assert bad["errors"][0]["statusCode"] == "INVALID_EMAIL_ADDRESS"
        assert rig.god("SELECT Id FROM Lead") == []
        assert rig.god("SELECT Id FROM LeadHistory") == []

    def test_update_by_id(self, rig: Rig) -> None:
        one, two = rig.make_lead(), rig.make_lead()
        rig.call("DELETE", f"/sobjects/Lead/{two}")
        records = [
            {"attributes": {"type": "Lead"}, "id": one, "Title": "a"},
            {"attributes": {"type": "Lead"}, "Id": two, "Title": "b"},
            {"attributes": {"type": "Lead"}, "Title": "c"},
            {"attributes": {"type": "Lead"}, "id": "00Q5i0000000zzz", "Title": "d"},
            {"attributes": {"type": "Lead"}, "id": "what", "Title": "e"},
        ]
        results = rig.call("PATCH", "/composite/sobjects", json={"records": records}).json()
        assert results[0] == {"id": one, "success": True, "errors": []}
        codes = [result["errors"][0]["statusCode"] for result in results[1:]]
        assert codes == ["ENTITY_IS_DELETED", "MISSING_ARGUMENT", "INVALID_CROSS_REFERENCE_KEY", "MALFORMED_ID"]
        assert rig.row("Lead", one)["Title"] == "a"

    def test_upsert_is_created_then_updated_and_refuses_a_key_twice(self, rig: Rig) -> None:
        rig.add_field("Activity.Key__c", type="Text", length=64, externalId=True, unique=True, caseSensitive=True)
        who = rig.make_lead()

        def task(key: str) -> dict[str, Any]:
            return {"attributes": {"type": "Task"}, "Key__c": key, "WhoId": who, "Subject": "電話"}

        def send(*keys: str) -> list[dict[str, Any]]:
            body = {"records": [task(key) for key in keys]}
            return list(rig.call("PATCH", "/composite/sobjects/Task/Key__c", json=body, token=rig.token).json())

        first = send("k1", "k2")
        assert [result["created"] for result in first] == [True, True]
        second = send("k1", "k3", "k3", "K1")
        assert [result.get("created") for result in second] == [False, True, None, True]
        assert second[0]["id"] == first[0]["id"]
        assert second[2]["errors"][0]["statusCode"] == "DUPLICATE_VALUE"
        assert len(rig.god("SELECT Id FROM Task")) == 4

    def test_delete_and_retrieve(self, rig: Rig) -> None:
        ids = [rig.make_lead(LastName=name) for name in "abc"]
        response = rig.call("DELETE", f"/composite/sobjects?ids={ids[0]},{ids[1]}&allOrNone=false")
        assert [result["success"] for result in response.json()] == [True, True]
        got = rig.call("GET", f"/composite/sobjects/Lead?ids={ids[0]},{ids[2]}&fields=LastName").json()
        assert [row and row["LastName"] for row in got] == [None, "c"]
        body = {"ids": [ids[2], "nonsense", ids[2]], "fields": ["Id", "Name"]}
        got = rig.call("POST", "/composite/sobjects/Lead", json=body).json()
        assert [row and row["Name"] for row in got] == ["c", None, "c"]
        refused = rig.call("POST", "/composite/sobjects/Lead", json={"ids": ids, "fields": ["Nope"]})
        assert refusal(refused)[:2] == (400, "INVALID_FIELD")
        refused = rig.call("POST", "/composite/sobjects/Lead", json={"ids": ids * 700, "fields": ["Id"]})
        assert refusal(refused)[:2] == (400, "EXCEEDED_ID_LIMIT")

    def test_limits_of_rows_and_chunks(self, rig: Rig) -> None:
        assert refusal(post(rig, [lead()] * 201))[:2] == (400, "EXCEEDED_ID_LIMIT")
        account = {"attributes": {"type": "Account"}, "Name": "a"}
        assert refusal(post(rig, [lead(), account] * 6))[:2] == (400, "LIMIT_EXCEEDED")
        mixed = post(rig, [lead(), account] * 5).json()
        assert all(result["success"] for result in mixed)

    def test_an_unreadable_record_refuses_the_call(self, rig: Rig) -> None:
        assert refusal(post(rig, [lead(), lead(Nope=1)]))[:2] == (400, "INVALID_FIELD")
        assert refusal(post(rig, [{"LastName": "x"}]))[:2] == (400, "INVALID_TYPE")
        assert rig.god("SELECT Id FROM Lead") == []


def step(reference: str, method: str, url: str, body: Any = None) -> dict[str, Any]:
    one = {"referenceId": reference, "method": method, "url": "/services/data/v62.0" + url}
    return {**one, "body": body} if body is not None else one


class TestComposite:
    def send(self, rig: Rig, *steps: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
        response = rig.call("POST", "/composite", json={"compositeRequest": list(steps), **more})
        assert response.status_code == 200, response.text
        return list(response.json()["compositeResponse"])

    def test_references_between_steps(self, rig: Rig) -> None:
        answers = self.send(
            rig,
            step("acc", "POST", "/sobjects/Account", {"Name": "A"}),
            step("con", "POST", "/sobjects/Contact", {"LastName": "x", "AccountId": "@{acc.id}"}),
            step("got", "GET", "/sobjects/Contact/@{con.id}?fields=AccountId"),
            step("q", "GET", "/query?q=SELECT+Name+FROM+Account+WHERE+Id='@{acc.id}'"),
            step("upd", "PATCH", "/sobjects/Contact/@{con.id}", {"Title": "@{q.records[0].Name} part"}),
        )
        assert [answer["httpStatusCode"] for answer in answers] == [201, 201, 200, 200, 204]
        assert answers[2]["body"]["AccountId"] == answers[0]["body"]["id"]
        assert answers[0]["httpHeaders"]["Location"].endswith(answers[0]["body"]["id"])
        assert answers[4]["body"] is None
        assert rig.row("Contact", answers[1]["body"]["id"])["Title"] == "A part"

    def test_a_failed_step_halts_only_what_needs_it(self, rig: Rig) -> None:
        answers = self.send(
            rig,
            step("a", "POST", "/sobjects/Account", {}),
            step("b", "POST", "/sobjects/Contact", {"LastName": "x", "AccountId": "@{a.id}"}),
            step("c", "POST", "/sobjects/Account", {"Name": "B"}),
        )
        assert [answer["httpStatusCode"] for answer in answers] == [400, 400, 201]
        assert answers[0]["body"][0]["errorCode"] == "REQUIRED_FIELD_MISSING"
        assert answers[1]["body"][0]["errorCode"] == "PROCESSING_HALTED"

    def test_all_or_none(self, rig: Rig) -> None:
        steps = [
            step("a", "POST", "/sobjects/Account", {"Name": "A"}),
            step("b", "POST", "/sobjects/Account", {}),
            step("c", "POST", "/sobjects/Account", {"Name": "C"}),
        ]
        answers = self.send(rig, *steps, allOrNone=True)
        codes = [answer["body"][0]["errorCode"] for answer in answers]
        assert codes == ["PROCESSING_HALTED", "REQUIRED_FIELD_MISSING", "PROCESSING_HALTED"]
        assert rig.god("SELECT Id FROM Account") == []

    def test_all_or_none_sees_its_own_rows_and_commits(self, rig: Rig) -> None:
        answers = self.send(
            rig,
            step("a", "POST", "/sobjects/Account", {"Name": "A"}),
            step("q", "GET", "/query?q=SELECT+COUNT()+FROM+Account"),
            allOrNone=True,
        )
        assert answers[1]["body"]["totalSize"] == 1
        assert len(rig.god("SELECT Id FROM Account")) == 1

    def test_queries_bundle_with_their_own_locators_for_one_call(self, rig: Rig) -> None:
        rig.org.load("Lead", ({"LastName": f"x{n}", "Company": "c"} for n in range(2500)))
        before = rig.control("state")["quota"]["used"]
        answers = self.send(
            rig,
            step("leads", "GET", "/query?q=SELECT+Id+FROM+Lead"),
            step("bad", "GET", "/query/?q=select count() from XYZZY"),
        )
        assert rig.control("state")["quota"]["used"] == before + 1
        rest = rig.call("GET", answers[0]["body"]["nextRecordsUrl"]).json()
        assert (rest["done"], len(rest["records"])) == (True, 500)
        assert answers[1]["body"][0]["errorCode"] == "INVALID_TYPE"

    @pytest.mark.parametrize(
        ("steps", "code"),
        [
            ([step(f"r{n}", "GET", "/limits") for n in range(26)], "LIMIT_EXCEEDED"),
            ([step(f"r{n}", "GET", "/query?q=x") for n in range(6)], "LIMIT_EXCEEDED"),
            ([step("same", "GET", "/limits"), step("same", "GET", "/limits")], "INVALID_INPUT"),
            ([step("a-b", "GET", "/limits")], "INVALID_INPUT"),
            ([{"method": "GET"}], "JSON_PARSER_ERROR"),
            ([], "JSON_PARSER_ERROR"),
        ],
    )
    def test_a_malformed_composite_runs_nothing(self, rig: Rig, steps: list[Any], code: str) -> None:
        response = rig.call("POST", "/composite", json={"compositeRequest": steps})
        assert refusal(response)[:2] == (400, code)

    def test_five_collections_update_a_thousand_rows_in_one_call(self, rig: Rig) -> None:
        rig.org.load("Lead", ({"LastName": f"x{n}", "Company": "c"} for n in range(1000)))
        ids = [row["Id"] for row in rig.query("SELECT Id FROM Lead")["records"]]
        steps = []
        for n in range(5):
            rows = [{"attributes": {"type": "Lead"}, "id": one, "Title": "t"} for one in ids[n * 200 : n * 200 + 200]]
            steps.append(step(f"u{n}", "PATCH", "/composite/sobjects", {"records": rows}))
        answers = self.send(rig, *steps)
        assert all(result["success"] for answer in answers for result in answer["body"])
        assert rig.query("SELECT COUNT() FROM Lead WHERE Title = 't'")["totalSize"] == 1000


def test_batch_bills_every_request(rig: Rig) -> None:
    before = rig.control("state")["quota"]["used"]
    requests = [
        {"method": "GET", "url": "v62.0/limits"},
        {"method": "POST", "url": "v62.0/sobjects/Lead", "richInput": {}},
        {"method": "GET", "url": "v62.0/limits"},
    ]
    answer = rig.call("POST", "/composite/batch", json={"haltOnError": True, "batchRequests": requests}).json()
    assert answer["hasErrors"] is True
    assert [one["statusCode"] for one in answer["results"]] == [200, 400, 412]
    assert answer["results"][2]["result"][0]["errorCode"] == "BATCH_PROCESSING_HALTED"
    assert rig.control("state")["quota"]["used"] == before + 3


class TestTree:
    def test_nested_records(self, rig: Rig) -> None:
        contact = {"attributes": {"type": "Contact", "referenceId": "c1"}, "LastName": "x"}
        account = {
            "attributes": {"type": "Account", "referenceId": "a1"},
            "Name": "A",
            "Contacts": {"records": [contact]},
        }
        response = rig.call("POST", "/composite/tree/Account", json={"records": [account]})
        assert response.status_code == 201
        results = {one["referenceId"]: one["id"] for one in response.json()["results"]}
        assert rig.row("Contact", results["c1"])["AccountId"] == results["a1"]

    def test_a_failure_lists_the_bad_ones_and_writes_nothing(self, rig: Rig) -> None:
        good = {"attributes": {"type": "Account", "referenceId": "good"}, "Name": "A"}
        bad = {"attributes": {"type": "Account", "referenceId": "bad"}}
        response = rig.call("POST", "/composite/tree/Account", json={"records": [good, bad]})
        assert response.status_code == 400
        assert [one["referenceId"] for one in response.json()["results"]] == ["bad"]
        assert rig.god("SELECT Id FROM Account") == []


def test_a_locked_row_fails_alone(rig: Rig) -> None:
    one, two = rig.make_lead(), rig.make_lead()
    message = f"unable to obtain exclusive access to this record or 1 records: {two}"
    rig.control("row_faults", {"sobject": "Lead", "code": "UNABLE_TO_LOCK_ROW", "message": message, "record_id": two})
    records = [{"attributes": {"type": "Lead"}, "id": record_id, "Title": "t"} for record_id in (one, two)]
    results = rig.call("PATCH", "/composite/sobjects", json={"records": records}).json()
    assert [result["success"] for result in results] == [True, False]
    assert results[1]["errors"] == [{"statusCode": "UNABLE_TO_LOCK_ROW", "message": message, "fields": []}]
    again = rig.call("PATCH", "/composite/sobjects", json={"records": records}).json()
    assert [result["success"] for result in again] == [True, True]
