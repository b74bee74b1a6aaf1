"""Queries over HTTP: pages, locators, what a user sees."""

from collections.abc import Callable, Iterator

import pytest

from tests.sandbox.salesforce.rig import INTEGRATION, START_MS, Rig, refusal


def load_leads(rig: Rig, count: int, stamp: int | None = None) -> list[str]:
    ids = [rig.org.new_id("Lead") for _ in range(count)]

    def rows() -> Iterator[dict[str, object]]:
        for n, record_id in enumerate(ids):
            moment = START_MS - 1_000_000 + n * 1000 if stamp is None else stamp
            yield {"Id": record_id, "LastName": f"L{n}", "Company": "C", "Status": "Open - Not Contacted"} | {
                "CreatedDate": moment,
                "LastModifiedDate": moment,
                "SystemModstamp": moment,
            }

    assert rig.org.load("Lead", rows()) == count
    return ids


def test_pages_follow_the_locator_to_the_end(rig: Rig) -> None:
    ids = load_leads(rig, 4500)
    first = rig.query("SELECT Id FROM Lead ORDER BY Id")
    assert (first["totalSize"], first["done"], len(first["records"])) == (4500, False, 2000)
    assert first["nextRecordsUrl"].startswith("/services/data/v62.0/query/01g")
    assert first["nextRecordsUrl"].endswith("-2000")
    records, calls = rig.query_every("SELECT Id FROM Lead ORDER BY Id")
    assert [record["Id"] for record in records] == ids
    assert calls == 3
    last = rig.call("GET", first["nextRecordsUrl"].replace("-2000", "-4000")).json()
    assert (last["done"], "nextRecordsUrl" in last, len(last["records"])) == (True, False, 500)


def test_25000_rows_of_one_timestamp_by_200_are_read_once_each(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(page_size=200)
    ids = load_leads(rig, 25_000, stamp=START_MS)
    records, calls = rig.query_every("SELECT Id FROM Lead ORDER BY SystemModstamp, Id", token=rig.token)
    assert [record["Id"] for record in records] == ids
    assert calls == 125


def test_keyset_paging_over_one_timestamp(rig: Rig) -> None:
    ids = load_leads(rig, 700, stamp=START_MS)
    seen: list[str] = []
    while True:
        after = f"AND Id > '{seen[-1]}'" if seen else ""
        page = rig.query(
            f"SELECT Id FROM Lead WHERE SystemModstamp >= 2026-01-01T00:00:00Z {after} ORDER BY SystemModstamp, Id LIMIT 200"
        )
        if not page["records"]:
            break
        seen += [record["Id"] for record in page["records"]]
    assert seen == ids


@pytest.mark.parametrize(("asked", "size"), [("batchSize=500", 500), ("batchSize=10", 200), ("batchSize=9999", 2000)])
def test_batch_size_header_is_clamped(rig: Rig, asked: str, size: int) -> None:
    load_leads(rig, 2500)
    headers = {"Sforce-Query-Options": asked}
    page = rig.call("GET", "/query", params={"q": "SELECT Id FROM Lead"}, headers=headers).json()
    assert len(page["records"]) == size


def test_two_custom_long_texts_make_pages_of_200(rig: Rig) -> None:
    for name in ("A", "B"):
        rig.add_field(f"Lead.{name}__c", type="LongTextArea", length=2000, visibleLines=3)
    load_leads(rig, 300)
    assert len(rig.query("SELECT Id, A__c FROM Lead")["records"]) == 300
    assert len(rig.query("SELECT Id, A__c, B__c FROM Lead")["records"]) == 200


def test_a_cursor_keeps_its_rows_while_others_write(rig: Rig) -> None:
    ids = load_leads(rig, 2100)
    page = rig.query("SELECT Id, LastName FROM Lead ORDER BY Id")
    rig.make_lead(LastName="new")
    rig.control("records", {"action": "hard_delete", "sobject": "Lead", "id": ids[2050]})
    rest = rig.call("GET", page["nextRecordsUrl"]).json()
    assert [record["Id"] for record in rest["records"]] == ids[2000:2050] + ids[2051:]


def test_cursors_expire_after_two_days_and_belong_to_their_user(rig: Rig) -> None:
    load_leads(rig, 2100)
    locator = rig.query("SELECT Id FROM Lead")["nextRecordsUrl"]
    refused = (400, "INVALID_QUERY_LOCATOR", "invalid query locator")
    assert refusal(rig.call("GET", locator, token=rig.token)) == refused
    assert refusal(rig.call("GET", "/query/01g000000000000AAA-2000")) == refused
    assert refusal(rig.call("GET", "/query/nonsense")) == refused
    rig.clock.advance(2 * 86_400 + 1)
    assert refusal(rig.call("GET", locator)) == refused


def test_query_all_shows_the_bin_for_15_days(rig: Rig) -> None:
    kept, gone = rig.make_lead(), rig.make_lead()
    assert rig.call("DELETE", f"/sobjects/Lead/{gone}").status_code == 204

    def ids(path: str) -> list[tuple[str, bool]]:
        soql = "SELECT Id, IsDeleted FROM Lead ORDER BY Id"
        records = rig.call("GET", path, params={"q": soql}).json()["records"]
        return [(record["Id"], record["IsDeleted"]) for record in records]

    assert ids("/query") == [(kept, False)]
    assert ids("/queryAll") == [(kept, False), (gone, True)]
    rig.clock.advance(15 * 86_400 + 7200)
    assert ids("/queryAll") == [(kept, False)]


def test_wrong_queries_get_the_vendors_errors(rig: Rig) -> None:
    def wrong(soql: str) -> tuple[int, str, str]:
        return refusal(rig.call("GET", "/query", params={"q": soql}))

    status, code, message = wrong("select count() from XYZZY")
    assert (status, code) == (400, "INVALID_TYPE")
    assert message.startswith(
        "\nselect count() from XYZZY\n                    ^\nERROR at Row:1:Column:21\nsObject type"
    )
    assert wrong("SELECT Nope FROM Lead")[:2] == (400, "INVALID_FIELD")
    assert wrong("SELECT FROM")[:2] == (400, "MALFORMED_QUERY")
    assert refusal(rig.call("GET", "/query"))[:2] == (400, "MALFORMED_QUERY")


def test_count_and_relationships(rig: Rig) -> None:
    account = rig.make("Account", Name="見込み商事", Industry="Banking")
    rig.make("Contact", LastName="山田", AccountId=account, MailingCity="東京")
    assert rig.query("SELECT COUNT() FROM Contact") == {"totalSize": 1, "done": True, "records": []}
    record = rig.query("SELECT Name, Account.Industry, MailingAddress FROM Contact")["records"][0]
    assert record["Account"]["Industry"] == "Banking"
    assert record["MailingAddress"]["city"] == "東京"
    nested = rig.query("SELECT Id, (SELECT LastName FROM Contacts) FROM Account")["records"][0]["Contacts"]
    assert (nested["totalSize"], nested["records"][0]["LastName"]) == (1, "山田")


def test_an_object_without_read_right_does_not_exist(rig: Rig) -> None:
    rig.control("permissions", {"user": INTEGRATION, "object": "Campaign", "rights": []})
    for soql in ("SELECT Id FROM Campaign", "SELECT Id FROM CampaignMember"):
        refused = rig.call("GET", "/query", params={"q": soql}, token=rig.token)
        assert refusal(refused)[:2] == (400, "INVALID_TYPE")
    assert rig.call("GET", "/sobjects/Campaign/describe", token=rig.token).status_code == 404
    names = {one["name"] for one in rig.call("GET", "/sobjects", token=rig.token).json()["sobjects"]}
    assert "Campaign" not in names
    assert {"Lead", "Contact", "Task"} <= names


def test_silent_row_filtering_shows_only_in_the_record_count(rig: Rig) -> None:
    ids = load_leads(rig, 1000)
    rig.control("permissions", {"visible_share": 0.4})
    seen = rig.query("SELECT COUNT() FROM Lead", token=rig.token)["totalSize"]
    assert 300 < seen < 500
    assert rig.query("SELECT COUNT() FROM Lead")["totalSize"] == 1000
    counted = rig.call("GET", "/limits/recordCount?sObjects=Lead,Nothing", token=rig.token).json()
    assert counted == {"sObjects": [{"count": 1000, "name": "Lead"}]}
    visible = {record["Id"] for record in rig.query("SELECT Id FROM Lead", token=rig.token)["records"]}
    hidden = next(record_id for record_id in ids if record_id not in visible)
    assert rig.call("GET", f"/sobjects/Lead/{hidden}", token=rig.token).status_code == 404
    refused = rig.call("PATCH", f"/sobjects/Lead/{hidden}", json={"Title": "x"}, token=rig.token)
    assert refusal(refused)[:2] == (404, "INVALID_CROSS_REFERENCE_KEY")
    task = rig.call("POST", "/sobjects/Task", json={"WhoId": hidden, "Subject": "x"}, token=rig.token)
    assert refusal(task)[:2] == (400, "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY")
    fetched = rig.call("GET", f"/composite/sobjects/Lead?ids={hidden}&fields=Id", token=rig.token)
    assert fetched.json() == [None]
    rig.control("permissions", {"user": INTEGRATION, "flag": "ViewAllData", "value": True})
    assert rig.query("SELECT COUNT() FROM Lead", token=rig.token)["totalSize"] == 1000
