"""One record at a time: codes, bodies, and what is refused."""

from email.utils import formatdate
from typing import Any

import pytest

from tests.sandbox.salesforce.rig import INTEGRATION, Rig, refusal


def test_create_read_update_delete(rig: Rig) -> None:
    made = rig.call("POST", "/sobjects/Lead/", json={"LastName": "佐藤", "FirstName": "花子", "Company": "見込み商事"})
    record_id = made.json()["id"]
    assert made.status_code == 201
    assert made.json() == {"id": record_id, "success": True, "errors": []}
    assert made.headers["Location"] == f"/services/data/v62.0/sobjects/Lead/{record_id}"
    row = rig.row("Lead", record_id)
    assert row["attributes"] == {"type": "Lead", "url": f"/services/data/v62.0/sobjects/Lead/{record_id}"}
    assert (row["Name"], row["Status"], row["Title"]) == ("花子 佐藤", "Open - Not Contacted", None)
    assert row["CreatedDate"] == row["SystemModstamp"] == "2026-05-28T20:26:40.000+0000"
    rig.clock.advance(90.7)
    changed = rig.call("PATCH", f"/sobjects/Lead/{record_id[:15]}", json={"Title": "部長", "FirstName": None})
    assert (changed.status_code, changed.content) == (204, b"")
    row = rig.row("Lead", record_id)
    assert (row["Name"], row["Title"], row["SystemModstamp"]) == ("佐藤", "部長", "2026-05-28T20:28:10.000+0000")
    assert rig.call("DELETE", f"/sobjects/Lead/{record_id}").status_code == 204
    for method, body in (("GET", None), ("PATCH", {"Title": "x"}), ("DELETE", None)):
        refused = rig.call(method, f"/sobjects/Lead/{record_id}", json=body)
        assert refusal(refused) == (404, "ENTITY_IS_DELETED", "entity is deleted")


def test_chosen_fields(rig: Rig) -> None:
    record_id = rig.make_lead()
    row = rig.call("GET", f"/sobjects/Lead/{record_id}?fields=LastName,email").json()
    assert set(row) == {"attributes", "LastName", "Email", "Id"}
    refused = rig.call("GET", f"/sobjects/Lead/{record_id}?fields=Nope")
    assert refusal(refused) == (400, "INVALID_FIELD", "No such column 'Nope' on sobject of type Lead")


LONG = "x" * 81
REFUSED: list[tuple[dict[str, Any], str, str, list[str] | None]] = [
    ({}, "REQUIRED_FIELD_MISSING", "Required fields are missing: [LastName, Company]", ["LastName", "Company"]),
    (
        {"LastName": " ", "Company": "c"},
        "REQUIRED_FIELD_MISSING",
        "Required fields are missing: [LastName]",
        ["LastName"],
    ),
    ({"Nope": 1}, "INVALID_FIELD", "No such column 'Nope' on sobject of type Lead", None),
    ({"LastName": LONG}, "STRING_TOO_LONG", f"Last Name: data value too large: {LONG} (max length=80)", ["LastName"]),
    ({"Email": "no address"}, "INVALID_EMAIL_ADDRESS", "Email: invalid email address: no address", ["Email"]),
    (
        {"OwnerId": "00Q000000000000EAA"},
        "MALFORMED_ID",
        "Owner ID: id value of incorrect type: 00Q000000000000EAA",
        ["OwnerId"],
    ),
    ({"OwnerId": "x"}, "MALFORMED_ID", "Owner ID: id value of incorrect type: x", ["OwnerId"]),
    ({"OwnerId": "005000000000000AAA"}, "INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", ["OwnerId"]),
    (
        {"NumberOfEmployees": 10**9},
        "NUMBER_OUTSIDE_VALID_RANGE",
        "Employees: value outside of valid range on numeric field: 1000000000",
        ["NumberOfEmployees"],
    ),
    (
        {"CleanStatus": "Dirty"},
        "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
        "Clean Status: bad value for restricted picklist field: Dirty",
        ["CleanStatus"],
    ),
    (
        {"ConvertedDate": "2026-01-01", "Name": "x"},
        "INVALID_FIELD_FOR_INSERT_UPDATE",
        (
            "Unable to create/update fields: ConvertedDate, Name. Please check the security settings of this field and "
            "verify that it is read/write for your profile or permission set."
        ),
        ["ConvertedDate", "Name"],
    ),
]


@pytest.mark.parametrize(("fields", "code", "message", "names"), REFUSED)
def test_a_wrong_record_is_refused_in_the_vendors_words(
    rig: Rig, fields: dict[str, Any], code: str, message: str, names: list[str] | None
) -> None:
    complete = {"LastName": "L", "Company": "C"} if fields and "Company" not in fields else {}
    response = rig.call("POST", "/sobjects/Lead", json={**complete, **fields})
    assert refusal(response) == (400, code, message)
    assert response.json()[0].get("fields") == names
    assert rig.god("SELECT Id FROM Lead") == []


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"NumberOfEmployees": "many"}, "int from VALUE_STRING value many"),
        ({"LastName": 5}, "string from VALUE_NUMBER_INT value 5"),
        ({"IsUnreadByOwner": "maybe"}, "boolean from VALUE_STRING value maybe"),
        ({"EmailBouncedDate": "yesterday"}, "datetime from VALUE_STRING value yesterday"),
    ],
)
def test_a_wrong_type_is_a_parser_error(rig: Rig, value: dict[str, Any], shown: str) -> None:
    record_id = rig.make_lead()
    status, code, message = refusal(rig.call("PATCH", f"/sobjects/Lead/{record_id}", json=value))
    assert (status, code) == (400, "JSON_PARSER_ERROR")
    assert message.startswith(f"Cannot deserialize instance of {shown} or request may be missing")


def test_required_fields_cannot_be_emptied(rig: Rig) -> None:
    record_id = rig.make_lead()
    refused = rig.call("PATCH", f"/sobjects/Lead/{record_id}", json={"Company": None})
    assert refusal(refused) == (400, "REQUIRED_FIELD_MISSING", "Required fields are missing: [Company]")


def test_unknown_things_are_404(rig: Rig) -> None:
    missing = "00Q5i0000000zzz"
    assert refusal(rig.call("GET", "/sobjects/Leed/describe"))[1:] == (
        "NOT_FOUND",
        "The requested resource does not exist",
    )
    external = "Provided external ID field does not exist or is not accessible: "
    assert refusal(rig.call("GET", "/sobjects/Lead/nonsense")) == (404, "NOT_FOUND", external + "nonsense")
    assert refusal(rig.call("GET", f"/sobjects/Lead/{missing}"))[:2] == (404, "NOT_FOUND")
    assert refusal(rig.call("GET", "/sobjects/Lead/Company/x")) == (404, "NOT_FOUND", external + "Company")
    for method in ("PATCH", "DELETE"):
        refused = rig.call(method, f"/sobjects/Lead/{missing}", json={"Title": "x"})
        assert refusal(refused) == (404, "INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
        other = rig.call(method, "/sobjects/Lead/0035i0000000zzzAAA", json={"Title": "x"})
        assert refusal(other) == (400, "MALFORMED_ID", "Lead ID: id value of incorrect type: 0035i0000000zzzAAA")
        assert other.json()[0]["fields"] == ["Id"]


def test_what_the_system_writes_nobody_else_does(rig: Rig) -> None:
    lead = rig.make_lead()
    history = rig.query("SELECT Id FROM LeadHistory")["records"][0]["Id"]
    organization = rig.query("SELECT Id FROM Organization")["records"][0]["Id"]
    user = rig.query("SELECT Id FROM User")["records"][0]["Id"]
    for method, path, done in (
        ("POST", "/sobjects/LeadHistory", "inserted"),
        ("POST", "/sobjects/Organization", "inserted"),
        ("PATCH", f"/sobjects/LeadHistory/{history}", "updated"),
        ("DELETE", f"/sobjects/LeadHistory/{history}", "deleted"),
        ("DELETE", f"/sobjects/Organization/{organization}", "deleted"),
        ("DELETE", f"/sobjects/User/{user}", "deleted"),
    ):
        name = path.split("/")[2]
        refused = rig.call(method, path, json={"LeadId": lead})
        assert refusal(refused) == (400, "INVALID_TYPE_FOR_OPERATION", f"entity type cannot be {done}: {name}")


def test_ids_in_bodies(rig: Rig) -> None:
    record_id = rig.make_lead()
    refused = rig.call("POST", "/sobjects/Lead", json={"Id": record_id, "LastName": "x", "Company": "y"})
    assert refusal(refused)[1] == "INVALID_FIELD_FOR_INSERT_UPDATE"
    refused = rig.call("PATCH", f"/sobjects/Lead/{record_id}", json={"Id": record_id})
    assert refusal(refused)[2] == "The Id field should not be specified in the sobject data."


def test_malformed_bodies_methods_and_types(rig: Rig) -> None:
    record_id = rig.make_lead()
    headers = {"Content-Type": "application/json"}
    broken = rig.call("PATCH", f"/sobjects/Lead/{record_id}", data="{", headers=headers)
    assert refusal(broken)[:2] == (400, "JSON_PARSER_ERROR")
    assert refusal(rig.call("POST", "/sobjects/Lead", data="[]", headers=headers))[:2] == (400, "JSON_PARSER_ERROR")
    wrong_type = rig.call("POST", "/sobjects/Lead", data="a=b", headers={"Content-Type": "text/csv"})
    assert refusal(wrong_type)[:2] == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert refusal(rig.call("DELETE", "/sobjects/Lead"))[:2] == (405, "METHOD_NOT_ALLOWED")
    assert refusal(rig.call("GET", "/nothing"))[:2] == (404, "NOT_FOUND")


def test_conditional_requests(rig: Rig) -> None:
    record_id = rig.make_lead()
    later = {"If-Modified-Since": formatdate(rig.clock.now_ms() / 1000 + 5, usegmt=True)}
    assert rig.call("GET", f"/sobjects/Lead/{record_id}", headers=later).status_code == 304
    earlier = formatdate(rig.clock.now_ms() / 1000 - 5, usegmt=True)
    assert rig.call("GET", f"/sobjects/Lead/{record_id}", headers={"If-Modified-Since": earlier}).status_code == 200
    blocked = {"If-Unmodified-Since": earlier}
    refused = rig.call("PATCH", f"/sobjects/Lead/{record_id}", json={"Title": "x"}, headers=blocked)
    assert refused.status_code == 412
    assert rig.row("Lead", record_id)["Title"] is None


def test_the_integration_user_writes_only_what_it_may(rig: Rig) -> None:
    account = rig.make("Account", Name="A")
    lead = rig.make_lead()
    assert rig.call("PATCH", f"/sobjects/Lead/{lead}", json={"Title": "x"}, token=rig.token).status_code == 204
    refused = rig.call("PATCH", f"/sobjects/Account/{account}", json={"Name": "B"}, token=rig.token)
    assert refusal(refused)[:2] == (400, "INVALID_TYPE_FOR_OPERATION")
    created = rig.call("POST", "/sobjects/Lead", json={"LastName": "x", "Company": "y"}, token=rig.token)
    assert refusal(created) == (400, "INVALID_TYPE_FOR_OPERATION", "entity type cannot be inserted: Lead")
    deleted = rig.call("DELETE", f"/sobjects/Lead/{lead}", token=rig.token)
    assert refusal(deleted)[1] == "INVALID_TYPE_FOR_OPERATION"
    described = rig.call("GET", "/sobjects/Account/describe", token=rig.token).json()
    assert (described["updateable"], described["createable"]) == (False, False)
    assert not any(field["updateable"] for field in described["fields"])
    row = rig.call("POST", "/sobjects/PermissionSet", json={"Name": "x", "Label": "x"}, token=rig.token)
    assert refusal(row)[:2] == (403, "INSUFFICIENT_ACCESS_OR_READONLY")


def test_revoked_standard_field(rig: Rig) -> None:
    lead = rig.make_lead(Title="部長")
    rig.control("permissions", {"user": INTEGRATION, "field": "Lead.Title", "read": True, "edit": False})
    refused = rig.call("PATCH", f"/sobjects/Lead/{lead}", json={"Title": "x"}, token=rig.token)
    assert refusal(refused)[1] == "INVALID_FIELD_FOR_INSERT_UPDATE"
    rig.control("permissions", {"user": INTEGRATION, "field": "Lead.Title", "read": False})
    assert "Title" not in rig.call("GET", f"/sobjects/Lead/{lead}", token=rig.token).json()
    refused = rig.call("GET", "/query", params={"q": "SELECT Title FROM Lead"}, token=rig.token)
    assert refusal(refused)[1] == "INVALID_FIELD"
    assert rig.row("Lead", lead)["Title"] == "部長"
    rig.control("permissions", {"user": INTEGRATION, "field": "Lead.Title", "read": True})
    assert rig.call("PATCH", f"/sobjects/Lead/{lead}", json={"Title": "x"}, token=rig.token).status_code == 204


def test_lookup_by_external_id_of_the_target(rig: Rig) -> None:
    rig.add_field("Account.Key__c", type="Text", length=20, externalId=True, unique=True)
    account = rig.make("Account", Name="A", Key__c="k1")
    contact = rig.make("Contact", LastName="x", Account={"Key__c": "K1"})
    assert rig.row("Contact", contact)["AccountId"] == account
    refused = rig.call("POST", "/sobjects/Contact", json={"LastName": "x", "Account": {"Key__c": "none"}})
    assert refusal(refused)[1] == "INVALID_FIELD"
    assert refusal(refused)[2].startswith("Foreign key external ID: none not found for field Key__c in entity Account")


class TestUpsert:
    def test_created_updated_and_versions_before_46(self, rig: Rig) -> None:
        rig.add_field("Lead.Key__c", type="Text", length=64, externalId=True, unique=True)
        body = {"LastName": "x", "Company": "y"}
        made = rig.call("PATCH", "/sobjects/Lead/Key__c/a%2Fb", json=body)
        record_id = made.json()["id"]
        assert (made.status_code, made.json()) == (
            201,
            {"id": record_id, "success": True, "errors": [], "created": True},
        )
        assert rig.row("Lead", record_id)["Key__c"] == "a/b"
        again = rig.call("PATCH", "/sobjects/Lead/Key__c/A%2FB", json={"Title": "t"})
        assert (again.status_code, again.json()["created"], again.json()["id"]) == (200, False, record_id)
        old = rig.call("PATCH", "/services/data/v45.0/sobjects/Lead/Key__c/a%2Fb", json={"Title": "u"})
        assert (old.status_code, old.content) == (204, b"")
        assert rig.call("GET", "/sobjects/Lead/Key__c/a%2Fb").json()["Title"] == "u"
        assert rig.call("DELETE", "/sobjects/Lead/Key__c/a%2Fb").status_code == 204
        assert rig.call("GET", "/sobjects/Lead/Key__c/a%2Fb").status_code == 404

    def test_update_only(self, rig: Rig) -> None:
        rig.add_field("Lead.Key__c", type="Text", length=64, externalId=True)
        refused = rig.call("PATCH", "/sobjects/Lead/Key__c/x?updateOnly=true", json={"LastName": "x", "Company": "y"})
        assert refusal(refused)[:2] == (404, "NOT_FOUND")
        assert rig.god("SELECT Id FROM Lead") == []

    def test_ambiguous_is_300_with_the_urls(self, rig: Rig) -> None:
        rig.add_field("Lead.Key__c", type="Text", length=64, externalId=True)
        ids = [rig.make_lead(Key__c="same") for _ in range(2)]
        response = rig.call("PATCH", "/sobjects/Lead/Key__c/same", json={"Title": "x"})
        assert response.status_code == 300
        assert response.json() == [f"/services/data/v62.0/sobjects/Lead/{one}" for one in ids]

    def test_the_key_in_the_body_is_refused(self, rig: Rig) -> None:
        rig.add_field("Lead.Key__c", type="Text", length=64, externalId=True)
        refused = rig.call("PATCH", "/sobjects/Lead/Key__c/x", json={"Key__c": "x", "LastName": "l", "Company": "c"})
        assert refusal(refused)[:2] == (400, "INVALID_FIELD")

    def test_unique_values(self, rig: Rig) -> None:
        rig.add_field("Lead.Key__c", type="Text", length=64, unique=True)
        first, second = rig.make_lead(Key__c="One"), rig.make_lead(Key__c="two")
        refused = rig.call("PATCH", f"/sobjects/Lead/{second}", json={"Key__c": "ONE"})
        message = f"duplicate value found: Key__c duplicates value on record with id: {first[:15]}"
        assert refusal(refused) == (400, "DUPLICATE_VALUE", message)
        rig.call("DELETE", f"/sobjects/Lead/{first}")
        assert rig.call("PATCH", f"/sobjects/Lead/{second}", json={"Key__c": "ONE"}).status_code == 204
