"""What queries answer: records, parents, children, aggregates, pages."""

import json
import sqlite3
import threading
from pathlib import Path

import pytest

from sandbox.salesforce.soql import FieldInfo, SoqlError, format_value, lengthen_id
from tests.sandbox.soql.store import (
    FACTORY,
    HOLDING,
    LEADS,
    MANAGER,
    NOW_MS,
    QUEUE,
    REP,
    SATO,
    SHOP,
    SUZUKI,
    Org,
    create_tables,
    fill_small,
    insert,
    make_id,
)


def test_a_record_has_attributes_and_canonical_names(org: Org) -> None:
    result = org.run("select ID, lastname, ISDELETED, createddate, score__C from LEAD where id = '00Q000000000001'")
    assert result.sobject == "Lead"
    assert (result.total_size, result.is_count, result.long_text_columns) == (1, False, 0)
    assert result.records == [
        {
            "attributes": {"type": "Lead", "url": f"/services/data/v62.0/sobjects/Lead/{LEADS[0]}"},
            "Id": LEADS[0],
            "LastName": "Abe",
            "IsDeleted": False,
            "CreatedDate": "2024-11-18T04:00:00.000+0000",
            "Score__c": 10.5,
        }
    ]
    older = org.run("SELECT Id FROM Lead LIMIT 1", api_version="58.0").records[0]["attributes"]
    assert older == {"type": "Lead", "url": f"/services/data/v58.0/sobjects/Lead/{LEADS[0]}"}
    assert json.loads(json.dumps(result.records)) == result.records


def test_parents_nest_and_absent_parents_are_null(org: Org) -> None:
    records = org.records(
        "SELECT Account.Name, Account.Parent.Owner.Name, Account.Parent.Id, Owner.Name FROM Contact c ORDER BY c.Id"
    )
    assert records[0] == {
        "attributes": {"type": "Contact", "url": f"/services/data/v62.0/sobjects/Contact/{SATO}"},
        "Account": {
            "attributes": {"type": "Account", "url": f"/services/data/v62.0/sobjects/Account/{FACTORY}"},
            "Name": "Factory",
            "Parent": {
                "attributes": {"type": "Account", "url": f"/services/data/v62.0/sobjects/Account/{HOLDING}"},
                "Owner": {
                    "attributes": {"type": "User", "url": f"/services/data/v62.0/sobjects/User/{MANAGER}"},
                    "Name": "Manager Two",
                },
                "Id": HOLDING,
            },
        },
        "Owner": {
            "attributes": {"type": "User", "url": f"/services/data/v62.0/sobjects/User/{REP}"},
            "Name": "Rep One",
        },
    }
    assert org.column("SELECT Parent.Parent.Name FROM Account ORDER BY Id", "Parent") == [
        None,
        {
            "attributes": {"type": "Account", "url": f"/services/data/v62.0/sobjects/Account/{HOLDING}"},
            "Parent": None,
        },
        None,
    ]


def test_polymorphic_parents_have_the_type_of_the_row(org: Org) -> None:
    owners = org.column(
        "SELECT Owner.Name, Owner.Type, Owner.Email FROM Lead WHERE LastName IN ('Abe', 'Chiba')", "Owner"
    )
    assert owners == [
        {
            "attributes": {"type": "User", "url": f"/services/data/v62.0/sobjects/User/{REP}"},
            "Name": "Rep One",
            "Type": "User",
            "Email": None,
        },
        {
            "attributes": {"type": "Group", "url": f"/services/data/v62.0/sobjects/Group/{QUEUE}"},
            "Name": "Lead Queue",
            "Type": "Group",
            "Email": None,
        },
    ]
    assert org.column("SELECT Subject FROM Task WHERE Who.Type = 'Contact'", "Subject") == ["Visit"]
    assert org.column("SELECT Subject FROM Task WHERE Who.Name = 'abe' ORDER BY Id", "Subject") == ["Call", "Mail"]
    assert org.column("SELECT Subject FROM Task WHERE Who.Type = null", "Subject") == ["Nobody"]


def test_typeof_chooses_fields_by_type(org: Org) -> None:
    whos = org.column("SELECT TYPEOF Who WHEN Lead THEN Company, Title ELSE Name, Id END FROM Task ORDER BY Id", "Who")
    lead = {
        "attributes": {"type": "Lead", "url": f"/services/data/v62.0/sobjects/Lead/{LEADS[0]}"},
        "Company": "Alpha",
        "Title": None,
    }
    contact = {
        "attributes": {"type": "Contact", "url": f"/services/data/v62.0/sobjects/Contact/{SATO}"},
        "Name": "A Sato",
        "Id": SATO,
    }
    assert whos == [lead, lead, contact, None]
    only_attributes = org.column("SELECT TYPEOF Who WHEN Lead THEN Title END FROM Task WHERE Subject = 'Visit'", "Who")
    assert only_attributes == [{"attributes": contact["attributes"]}]


def test_children_come_as_a_nested_result_or_null(org: Org) -> None:
    records = org.records(
        "SELECT (SELECT Subject FROM Tasks ORDER BY ActivityDate DESC), Id FROM Lead WHERE Company = 'alpha'"
    )
    assert [list(record) for record in records] == [["attributes", "Tasks", "Id"]] * 2
    assert records[1]["Tasks"] is None
    assert records[0]["Tasks"] == {
        "totalSize": 2,
        "done": True,
        "records": [
            {"attributes": {"type": "Task", "url": f"/services/data/v62.0/sobjects/Task/{make_id('00T', 2)}"}, "Subject": "Mail"},
            {"attributes": {"type": "Task", "url": f"/services/data/v62.0/sobjects/Task/{make_id('00T', 1)}"}, "Subject": "Call"},
        ],
    }  # fmt: skip


def subjects(result: object) -> list[object]:
    assert isinstance(result, dict)
    return [record["Subject"] for record in result["records"]]


def test_a_child_limit_and_filter_hold_for_each_parent(org: Org) -> None:
    insert(org.connection, "Task", {"Id": make_id("00T", 9), "WhoId": LEADS[1], "Subject": "Zoom"})
    text = "SELECT Id, (SELECT Subject FROM Tasks {}) FROM Lead WHERE Company = 'Alpha' ORDER BY Id"
    limited = org.column(text.format("ORDER BY Subject DESC LIMIT 1"), "Tasks")
    assert [subjects(tasks) for tasks in limited] == [["Mail"], ["Zoom"]]
    skipped = org.column(text.format("ORDER BY Subject LIMIT 5 OFFSET 1"), "Tasks")
    assert subjects(skipped[0]) == ["Mail"]
    assert skipped[1] is None
    filtered = org.column(text.format("WHERE Subject LIKE 'z%'"), "Tasks")
    assert filtered[0] is None
    assert subjects(filtered[1]) == ["Zoom"]


def test_children_of_children(org: Org) -> None:
    [record] = org.records(
        "SELECT (SELECT Name, (SELECT Subject FROM Tasks) FROM Contacts) FROM Account WHERE Name = 'Factory'"
    )
    contacts = record["Contacts"]
    assert isinstance(contacts, dict)
    assert [contact["Name"] for contact in contacts["records"]] == ["A Sato", "B Suzuki"]
    assert subjects(contacts["records"][0]["Tasks"]) == ["Visit"]
    assert contacts["records"][1]["Tasks"] is None


def test_older_versions_know_one_level_of_children(org: Org) -> None:
    one = "SELECT (SELECT Name FROM Contacts) FROM Account"
    two = "SELECT (SELECT Name, (SELECT Subject FROM Tasks) FROM Contacts) FROM Account"
    assert org.run(one, api_version="57.0").total_size == 3
    assert org.run(two, api_version="58.0").total_size == 3
    with pytest.raises(SoqlError) as caught:
        org.run(two, api_version="57.0")
    assert caught.value.code == "QUERY_TOO_COMPLICATED"


def test_the_recycle_bin_and_archived_activities(org: Org) -> None:
    assert org.run("SELECT COUNT() FROM Lead").total_size == 5
    assert org.run("SELECT COUNT() FROM Lead", include_deleted=True).total_size == 6
    assert org.run("SELECT Id FROM Lead WHERE IsDeleted = true").total_size == 0
    assert org.column("SELECT LastName FROM Lead WHERE IsDeleted = true", "LastName", include_deleted=True) == ["Gone"]
    assert org.run("SELECT COUNT() FROM Task").total_size == 4
    assert org.run("SELECT COUNT() FROM Task WHERE IsArchived = true", include_deleted=True).total_size == 1
    [archived] = org.column(
        "SELECT (SELECT Subject FROM Tasks) FROM Lead WHERE Name = 'Abe'", "Tasks", include_deleted=True
    )
    assert len(subjects(archived)) == 3


def test_row_visibility_holds_everywhere(org: Org) -> None:
    org.filters = {"Account": f"\"Id\" <> '{FACTORY}'", "Task": "\"Subject\" <> 'Call'"}
    assert org.column("SELECT Name FROM Account ORDER BY Name", "Name") == ["Holding", "shop"]
    assert org.run("SELECT COUNT() FROM Account").total_size == 2
    assert org.column("SELECT COUNT(Id) c FROM Account", "c") == [2]
    assert org.column("SELECT Account.Name FROM Contact", "Account") == [None, None]
    assert org.run("SELECT Id FROM Contact WHERE Account.Name = 'Factory'").total_size == 0
    assert org.run("SELECT Id FROM Contact WHERE AccountId IN (SELECT Id FROM Account)").total_size == 0
    [tasks] = org.column("SELECT (SELECT Subject FROM Tasks) FROM Lead WHERE Name = 'Abe'", "Tasks")
    assert subjects(tasks) == ["Mail"]


def test_count_counts_rows_within_its_window(org: Org) -> None:
    result = org.run("SELECT COUNT() FROM Lead WHERE Company LIKE 'a%'")
    assert (result.total_size, result.is_count, result.records) == (3, True, [])
    assert org.run("SELECT COUNT() FROM Lead LIMIT 2").total_size == 2
    assert org.run("SELECT COUNT() FROM Lead LIMIT 9 OFFSET 4").total_size == 1


def test_aggregates_without_groups(org: Org) -> None:
    text = (
        "SELECT COUNT(Id), COUNT(Score__c) scored, SUM(Score__c), AVG(Score__c), MIN(CreatedDate), "
        "MAX(LastActivityDate), COUNT_DISTINCT(Status), SUM(NumberOfEmployees), MAX(LastName) FROM Lead"
    )
    assert org.records(text) == [
        {
            "attributes": {"type": "AggregateResult"},
            "expr0": 5,
            "scored": 2,
            "expr1": 7.5,
            "expr2": 3.75,
            "expr3": "2023-10-15T04:00:00.000+0000",
            "expr4": "2024-11-01",
            "expr5": 2,
            "expr6": 30,
            "expr7": "Éto",
        }
    ]
    [empty] = org.records("SELECT COUNT(Id), SUM(Score__c) total FROM Lead WHERE Name = 'nobody'")
    assert (empty["expr0"], empty["total"]) == (0, None)


def test_groups(org: Org) -> None:
    text = (
        "SELECT Status s, COUNT(Id), MAX(CreatedDate) newest FROM Lead GROUP BY Status ORDER BY COUNT(Id) DESC, Status"
    )
    assert [(row["s"], row["expr0"], row["newest"]) for row in org.records(text)] == [
        ("Closed", 2, "2024-11-16T04:00:00.000+0000"),
        ("Open", 2, "2024-11-18T04:00:00.000+0000"),
        (None, 1, "2024-10-09T04:00:00.000+0000"),
    ]
    by_parent = "SELECT Account.Name, COUNT(Id) c FROM Contact GROUP BY Account.Name HAVING COUNT(Id) > 1"
    assert [(row["Name"], row["c"]) for row in org.records(by_parent)] == [("Factory", 2)]
    having = (
        "SELECT Status FROM Lead GROUP BY Status HAVING Status != null AND (NOT COUNT(Id) < 2) ORDER BY Status LIMIT 1"
    )
    assert org.column(having, "Status") == ["Closed"]
    assert org.run(text).total_size == 3


def test_date_functions_group_in_utc_or_the_zone(org: Org) -> None:
    org.time_zone = "Asia/Tokyo"
    late = NOW_MS + 12 * 3_600_000  # 16:00Z on the 18th, already the 19th in Tokyo
    org.connection.execute('UPDATE "Lead" SET "CreatedDate" = ?', [late])
    utc = "SELECT DAY_ONLY(CreatedDate) d, COUNT(Id) FROM Lead GROUP BY DAY_ONLY(CreatedDate)"
    assert org.column(utc, "d") == ["2024-11-18"]
    assert org.column(utc.replace("(CreatedDate)", "(convertTimezone(CreatedDate))"), "d") == ["2024-11-19"]
    parts = ("CALENDAR_YEAR", "CALENDAR_QUARTER", "CALENDAR_MONTH", "DAY_IN_MONTH", "DAY_IN_WEEK", "DAY_IN_YEAR", "HOUR_IN_DAY", "WEEK_IN_MONTH", "WEEK_IN_YEAR", "FISCAL_YEAR")  # fmt: skip
    selected = ", ".join(f"{part}(CreatedDate)" for part in parts)
    [row] = org.records(f"SELECT {selected} FROM Lead GROUP BY {selected}")
    assert [row[f"expr{place}"] for place in range(len(parts))] == [2024, 4, 11, 18, 2, 323, 16, 3, 47, 2024]
    assert org.run("SELECT COUNT() FROM Lead WHERE DAY_ONLY(convertTimezone(CreatedDate)) = 2024-11-19").total_size == 5


def test_fields_expand_to_what_the_user_sees(org: Org) -> None:
    org.hidden = {("Lead", "Secret__c")}
    sobject = org.schema.sobject("lead")
    assert sobject is not None
    names = [info.name for info in sobject.fields.values() if info.name != "Secret__c"]
    result = org.run("SELECT FIELDS(ALL) FROM Lead LIMIT 200")
    assert list(result.records[0]) == ["attributes", *names]
    assert result.long_text_columns == 1
    custom = list(org.records("SELECT Id, FIELDS(CUSTOM) FROM Lead LIMIT 1")[0])
    assert custom == ["attributes", "Id", "Interests__c", "Code__c", "Score__c", "Notes__c", "Called_At__c"]
    assert "Score__c" not in org.records("SELECT FIELDS(STANDARD) FROM Lead")[0]


def test_display_functions(org: Org) -> None:
    org.time_zone = "Asia/Tokyo"
    text = "SELECT toLabel(Status), FORMAT(CreatedDate) made, FORMAT(LastActivityDate), FORMAT(Score__c) FROM Lead ORDER BY Id"
    first, *_, fourth, _ = org.records(text)
    assert (first["Status"], first["made"], first["Score__c"]) == ("Open", "11/18/2024, 1:00 PM", "10.5")
    assert (fourth["LastActivityDate"], fourth["Score__c"]) == ("11/1/2024", None)
    assert org.column("SELECT FORMAT(AnnualRevenue) FROM Account WHERE Name = 'Factory'", "AnnualRevenue") == [
        "1,500,000.00"
    ]
    assert org.column("SELECT FORMAT(SUM(AnnualRevenue)) total FROM Account", "total") == ["1,500,000.00"]


def test_order_ignores_case_and_puts_nulls_first(org: Org) -> None:
    assert org.column("SELECT LastName FROM Lead ORDER BY LastName", "LastName") == [
        "Abe",
        "baba",
        "Chiba",
        "O'Date",
        "Éto",
    ]
    scores = "SELECT Score__c FROM Lead ORDER BY Score__c"
    assert org.column(scores, "Score__c") == [None, None, None, -3.0, 10.5]
    assert org.column(f"{scores} DESC", "Score__c") == [None, None, None, 10.5, -3.0]
    assert org.column(f"{scores} NULLS LAST", "Score__c")[:2] == [-3.0, 10.5]
    assert org.column(f"{scores} DESC NULLS LAST", "Score__c")[:2] == [10.5, -3.0]
    by_owner = "SELECT LastName FROM Lead ORDER BY Owner.Name DESC, Score__c DESC NULLS LAST LIMIT 2"
    assert org.column(by_owner, "LastName") == ["Abe", "baba"]


def test_limit_and_offset(org: Org) -> None:
    ids = org.column("SELECT Id FROM Lead ORDER BY Id", "Id")
    assert org.column("SELECT Id FROM Lead ORDER BY Id LIMIT 2 OFFSET 1", "Id") == ids[1:3]
    assert org.run("SELECT Id FROM Lead LIMIT 0").records == []
    assert org.run("SELECT Id FROM Lead OFFSET 4").total_size == 1


def test_scope_mine(org: Org) -> None:
    org.user_id = REP
    assert org.run("SELECT COUNT() FROM Lead USING SCOPE mine").total_size == 4
    assert org.run("SELECT COUNT() FROM Lead USING SCOPE everything").total_size == 5
    with pytest.raises(SoqlError):
        org.run("SELECT Id FROM User USING SCOPE mine")


def test_pages_are_slices_of_one_snapshot(org: Org) -> None:
    result = org.run("SELECT Id, LastName FROM Lead ORDER BY LastName")
    first = result.page(0, 2)
    insert(org.connection, "Lead", {"Id": make_id("00Q", 50), "LastName": "AAA"})
    org.connection.execute('DELETE FROM "Lead" WHERE "LastName" = ?', ["Chiba"])
    org.connection.execute('UPDATE "Lead" SET "LastName" = ? WHERE "LastName" = ?', ["Renamed", "O'Date"])
    names = [record["LastName"] for page in (first, result.page(2, 2), result.page(4, 2)) for record in page]
    assert names == ["Abe", "baba", "Renamed", "Éto"]
    assert result.total_size == 5
    assert result.page(5, 2) == []
    assert result.page(0, 0) == []


def test_a_page_is_read_on_another_threads_connection(tmp_path: Path) -> None:
    path = str(tmp_path / "org.sqlite3")
    writer = sqlite3.connect(path)
    create_tables(writer)
    fill_small(writer)
    writer.commit()
    result = Org(writer).run("SELECT LastName FROM Lead WHERE LastName = 'ÉTO'")
    found: list[dict[str, object]] = []

    def read() -> None:
        reader = sqlite3.connect(path)
        found.extend(result.page(0, 10, reader))
        reader.close()

    thread = threading.Thread(target=read)
    thread.start()
    thread.join(10)
    writer.close()
    assert [record["LastName"] for record in found] == ["Éto"]


def test_rows_of_a_connection_with_its_own_row_factory(org: Org) -> None:
    org.connection.row_factory = lambda cursor, row: dict(zip((c[0] for c in cursor.description), row, strict=True))
    assert org.column("SELECT Name FROM Account ORDER BY Name", "Name") == ["Factory", "Holding", "shop"]
    assert org.column("SELECT COUNT(Id) c FROM Account", "c") == [3]


def test_long_text_columns_are_counted(org: Org) -> None:
    assert org.run("SELECT Notes__c, Description FROM Lead").long_text_columns == 1
    text = "SELECT TYPEOF Who WHEN Lead THEN Notes__c, Title END FROM Task"
    assert org.run(text).long_text_columns == 1


@pytest.mark.parametrize(
    ("kind", "stored", "written"),
    [
        ("datetime", 1_713_939_419_000, "2024-04-24T06:16:59.000+0000"),
        ("datetime", -1, "1969-12-31T23:59:59.999+0000"),
        ("datetime", None, None),
        ("date", "2024-04-24", "2024-04-24"),
        ("boolean", 1, True),
        ("boolean", None, False),
        ("int", 5.0, 5),
        ("double", 5, 5.0),
        ("currency", None, None),
        ("string", "x", "x"),
    ],
)
def test_stored_values_to_json(kind: str, stored: object, written: object) -> None:
    value = format_value(FieldInfo("F", kind), stored)
    assert value == written
    assert type(value) is type(written)


def test_ids_grow_their_checksum() -> None:
    # The vendor's documented example of the two forms.
    assert lengthen_id("001A0000006Vm9r") == "001A0000006Vm9rIAC"
    assert lengthen_id("00Q000000000001") == LEADS[0]


def test_semi_and_anti_joins(org: Org) -> None:
    assert org.column("SELECT Name FROM Account WHERE Id IN (SELECT AccountId FROM Contact)", "Name") == ["Factory"]
    anti = "SELECT Name FROM Account WHERE Id NOT IN (SELECT AccountId FROM Contact WHERE LastName = 'sato') AND Name != 'x'"
    assert org.column(f"{anti} ORDER BY Name", "Name") == ["Holding", "shop"]
    nested = "SELECT Id FROM Contact WHERE AccountId IN (SELECT Id FROM Account WHERE Parent.Name = 'Holding')"
    assert org.column(f"{nested} ORDER BY Id", "Id") == [SATO, SUZUKI]
    assert org.column("SELECT Name FROM Account WHERE OwnerId IN (SELECT Id FROM User) ORDER BY Id", "Name") == [
        "Holding",
        "Factory",
        "shop",
    ]
    assert SHOP in org.column("SELECT Id FROM Account WHERE Id NOT IN (SELECT ParentId FROM Account)", "Id")
