"""Wrong queries get the vendor's own code and text."""

import sqlite3

import pytest

from sandbox.salesforce.soql import SoqlError, parse
from sandbox.salesforce.soql.errors import draw_caret
from tests.sandbox.soql.corpus import MALFORMED, VALID, VENDOR_ONLY
from tests.sandbox.soql.store import Org

WSDL = "Please reference your WSDL or the describe call for the appropriate names."


def refuse(org: Org, text: str) -> SoqlError:
    with pytest.raises(SoqlError) as caught:
        _ = org.run(text).records
    return caught.value


@pytest.mark.parametrize("text", VALID)
def test_corpus_parses(text: str) -> None:
    assert parse(text).items


@pytest.mark.parametrize("text", MALFORMED + VENDOR_ONLY)
def test_wrong_corpus_is_malformed(text: str) -> None:
    with pytest.raises(SoqlError) as caught:
        parse(text)
    assert caught.value.code == "MALFORMED_QUERY"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "SELECT Id FROM Lead WHERE Name = 'x' AND Title = 'y' OR Email = 'z'",
            (
                "\nWHERE Name = 'x' AND Title = 'y' OR Email = 'z'"
                "\n                                ^\nERROR at Row:1:Column:53\nunexpected token: 'OR'"
            ),
        ),
        (
            "SELECT Id, FROM Lead",
            "\nSELECT Id, FROM Lead\n          ^\nERROR at Row:1:Column:11\nunexpected token: 'FROM'",
        ),
        (
            "SELECT Id FROM Lead WHERE",
            "\nSELECT Id FROM Lead WHERE\n                        ^\nERROR at Row:1:Column:25\nunexpected token: '<EOF>'",
        ),
        (
            # Recorded in giacomelli/SalesforceSharp issue 4: a "+" of an offset that became a space.
            "SELECT id, name, description FROM Account WHERE LastModifiedDate >= 2013-12-01T12:00:00 00:00",
            (
                "\nLastModifiedDate >= 2013-12-01T12:00:00 00:00\n                                      ^"
                "\nERROR at Row:1:Column:87\nline 1:87 no viable alternative at character ' '"
            ),
        ),
        (
            "SELECT Id FROM Lead WHERE CreatedDate > 2024-01-01T00:00:00",
            (
                "\nCreatedDate > 2024-01-01T00:00:00\n                                ^"
                "\nERROR at Row:1:Column:59\nline 1:59 no viable alternative at character '<EOF>'"
            ),
        ),
        (
            "SELECT Id\nFROM Lead\nWHERE Name = ",
            "\nWHERE Name = \n            ^\nERROR at Row:3:Column:13\nunexpected token: '<EOF>'",
        ),
        (
            "SELECT Id FROM Lead WHERE Name = 'a",
            (
                "\nSELECT Id FROM Lead WHERE Name = 'a\n                                  ^"
                "\nERROR at Row:1:Column:35\nline 1:35 mismatched character '<EOF>' expecting '''"
            ),
        ),
        ("", "SOQL statements cannot be empty or null"),
        (" " * 100_001, "SOQL statements cannot be longer than 100000 characters."),
    ],
)
def test_syntax_error_texts(text: str, message: str) -> None:
    with pytest.raises(SoqlError) as caught:
        parse(text)
    assert (caught.value.code, caught.value.message) == ("MALFORMED_QUERY", message)


def test_recorded_error_of_an_unknown_sobject(org: Org) -> None:
    """The body recorded from a real organisation by SFDO-Tooling/CumulusCI."""
    recorded = (
        "\nselect count() from XYZZY\n                    ^\nERROR at Row:1:Column:21\nsObject type 'XYZZY' is not supported. "
        f"If you are attempting to use a custom object, be sure to append the '__c' after the entity name. {WSDL}"
    )
    error = refuse(org, "select count() from XYZZY")
    assert (error.code, error.message) == ("INVALID_TYPE", recorded)


def test_unknown_and_hidden_fields_answer_alike(org: Org) -> None:
    tail = (
        f"If you are attempting to use a custom field, be sure to append the '__c' after the custom field name. {WSDL}"
    )
    error = refuse(org, "SELECT Id, Status, Location, Body from Lead")
    assert error.code == "INVALID_FIELD"
    assert error.message == (
        "\nSELECT Id, Status, Location, Body from Lead\n                   ^\nERROR at Row:1:Column:20\n"
        f"No such column 'Location' on entity 'Lead'. {tail}"
    )
    org.hidden = {("Lead", "Secret__c")}
    for text in (
        "SELECT Secret__c FROM Lead",
        "SELECT Id FROM Lead WHERE Secret__c = 's'",
        "SELECT Id FROM Lead ORDER BY Secret__c",
        "SELECT COUNT(Secret__c) FROM Lead",
        "SELECT Secret__c FROM Lead GROUP BY Secret__c",
        "SELECT TYPEOF Who WHEN Lead THEN Secret__c END FROM Task",
    ):
        hidden = refuse(org, text)
        unknown = refuse(org, text.replace("Secret__c", "Absent__c"))
        assert hidden.code == "INVALID_FIELD"
        assert hidden.message.replace("Secret__c", "Absent__c") == unknown.message
    assert "Secret__c" not in org.records("SELECT FIELDS(ALL) FROM Lead LIMIT 1")[0]


@pytest.mark.parametrize(
    ("text", "at", "line", "caret"),
    [
        # hknokh/SFDX-Data-Move-Utility issue 432
        (
            "SELECT Id, Account.Name, Campaign.Name, Pricebook2.Name, Contact.Name, LastAmountChangedHistory.Id, Fiscal FROM X",
            "Contact.Name",
            "Campaign.Name, Pricebook2.Name, Contact.Name, LastAmountChangedHistory.Id",
            32,
        ),
        # boomii/bdw issue 94
        (
            "SELECT Id, WebEmail__c, Case_Resolution_Summary__c, MW_Case_ID__c, Escalation_Helper_Contact__c, Id FROM Case",
            "MW_Case_ID__c",
            "WebEmail__c, Case_Resolution_Summary__c, MW_Case_ID__c, Escalation_Helper_Contact__c",
            41,
        ),
        # roblesterjr04/EloquentSalesForce issue 68
        (
            "select Id, ProductCode from Product2 where ProductCode = 3999",
            "ProductCode =",
            "ProductCode from Product2 where ProductCode = 3999",
            32,
        ),
    ],
)
def test_caret_blocks_recorded_by_others(text: str, at: str, line: str, caret: int) -> None:
    pos = text.index(at)
    assert draw_caret(text, 1, pos) == f"\n{line}\n{' ' * caret}^\nERROR at Row:1:Column:{pos + 1}\n"


@pytest.mark.parametrize(
    ("text", "code", "part"),
    [
        ("SELECT Id, Id FROM Lead", "INVALID_FIELD", "duplicate field selected: Id"),
        ("SELECT Id, Lead.id FROM Lead", "INVALID_FIELD", "duplicate field selected: id"),
        ("SELECT Id FROM Lead WHERE Description = 'x'", "INVALID_FIELD", "field 'Description' can not be filtered in a query call"),
        ("SELECT Id FROM Lead ORDER BY Description", "MALFORMED_QUERY", "field 'Description' can not be sorted in a query call"),
        ("SELECT CreatedDate FROM Lead GROUP BY CreatedDate", "MALFORMED_QUERY", "field 'CreatedDate' can not be grouped in a query call"),
        ("SELECT Id FROM Account WHERE BillingAddress = 'x'", "INVALID_FIELD", "can not be filtered in a query call"),
        ("SELECT Id FROM Lead WHERE CreatedDate > '2024-01-01T00:00:00Z'", "INVALID_FIELD", "value of filter criterion for field 'CreatedDate' must be of type dateTime and should not be enclosed in quotes"),
        ("SELECT Id FROM Lead WHERE CreatedDate > 2024-01-01", "INVALID_FIELD", "must be of type dateTime and should not be enclosed in quotes"),
        ("SELECT Id FROM Lead WHERE LastActivityDate = '2024-01-01'", "INVALID_FIELD", "must be of type date and should not be enclosed in quotes"),
        ("SELECT Id FROM Lead WHERE LastActivityDate = 2024-01-01T00:00:00Z", "INVALID_FIELD", "must be of type date and"),
        ("SELECT Id FROM Lead WHERE Name = 3999", "INVALID_FIELD", "value of filter criterion for field 'Name' must be of type string and should be enclosed in quotes"),
        ("SELECT Id FROM Lead WHERE NumberOfEmployees = '3'", "INVALID_FIELD", "must be of type int and should not be enclosed in quotes"),
        ("SELECT Id FROM Lead WHERE IsDeleted = 'true'", "INVALID_FIELD", "must be of type boolean and should not be enclosed in quotes"),
        ("SELECT Id FROM Lead WHERE Score__c IN (1, 'x')", "INVALID_FIELD", "must be of type double and should not be enclosed in quotes"),
        ("SELECT Id FROM Lead WHERE Name = Company", "MALFORMED_QUERY", "Bind variables only allowed in Apex code"),
        ("SELECT Id FROM Lead WHERE Name = :name", "MALFORMED_QUERY", "Bind variables only allowed in Apex code"),
        ("SELECT Id FROM Lead WHERE Id IN :ids", "MALFORMED_QUERY", "Bind variables only allowed in Apex code"),
        ("SELECT Id FROM Lead WHERE CreatedDate = LAST_N_DAYS", "MALFORMED_QUERY", "Bind variables"),
        ("SELECT Id FROM Lead WHERE Id = 'abc'", "INVALID_QUERY_FILTER_OPERATOR", "invalid ID field: abc"),
        ("SELECT Id FROM Lead WHERE Id LIKE '00Q%'", "INVALID_QUERY_FILTER_OPERATOR", "invalid operator on id field"),
        ("SELECT Id FROM Lead WHERE IsDeleted > false", "INVALID_QUERY_FILTER_OPERATOR", "invalid operator on boolean field"),
        ("SELECT Id FROM Lead WHERE Status INCLUDES ('x')", "INVALID_QUERY_FILTER_OPERATOR", "multipicklist"),
        ("SELECT Id FROM Lead WHERE Name = 'C:\\path'", "MALFORMED_QUERY", "Illegal character sequence '\\p' in string literal"),
        ("SELECT Id FROM Lead WHERE Name = 'a\\%'", "MALFORMED_QUERY", "Illegal character sequence '\\%'"),
        ("SELECT Id FROM Lead WHERE Name = 'a\nb'", "MALFORMED_QUERY", "Line breaks not allowed in string literal"),
        (f"SELECT Id FROM Lead WHERE Name = '{'x' * 4001}'", "MALFORMED_QUERY", "longer than 4000 characters"),
        ("SELECT Id FROM Lead WHERE LastActivityDate = 2023-02-29", "MALFORMED_QUERY", "Invalid date: 2023-02-29"),
        ("SELECT Id FROM Lead WHERE CreatedDate > 2023-01-01T25:00:00Z", "MALFORMED_QUERY", "Invalid datetime"),
        ("SELECT Id FROM Lead LIMIT 1 OFFSET 2001", "NUMBER_OUTSIDE_VALID_RANGE", "Maximum SOQL offset allowed is 2000"),
        ("SELECT Id FROM Lead ALL ROWS", "MALFORMED_QUERY", "ALL ROWS not allowed in this context"),
        ("SELECT FIELDS(ALL) FROM Lead", "MALFORMED_QUERY", "The SOQL FIELDS function must have a LIMIT of at most 200"),
        ("SELECT FIELDS(CUSTOM) FROM Lead LIMIT 201", "MALFORMED_QUERY", "LIMIT of at most 200"),
        ("SELECT FIELDS(SOME) FROM Lead LIMIT 1", "MALFORMED_QUERY", "FIELDS takes"),
        ("SELECT FIELDS(ALL), Id FROM Lead LIMIT 1", "INVALID_FIELD", "duplicate field selected: Id"),
        ("SELECT Name, COUNT(Id) FROM Lead", "MALFORMED_QUERY", "Field must be grouped or aggregated: Name"),
        ("SELECT Company, COUNT(Id) FROM Lead GROUP BY Status", "MALFORMED_QUERY", "Field must be grouped or aggregated: Company"),
        ("SELECT Status FROM Lead GROUP BY Status ORDER BY Company", "MALFORMED_QUERY", "Ordered field must be grouped or aggregated: Company"),
        ("SELECT Status FROM Lead GROUP BY Status HAVING Company = 'x'", "MALFORMED_QUERY", "Field must be grouped or aggregated: Company"),
        ("SELECT COUNT(Id) FROM Lead GROUP BY COUNT(Id)", "MALFORMED_QUERY", "Grouped field should not be aggregated: COUNT(Id)"),
        ("SELECT COUNT() FROM Lead GROUP BY Status", "MALFORMED_QUERY", "Grouped query does not support COUNT()"),
        ("SELECT COUNT() FROM Lead ORDER BY Name", "MALFORMED_QUERY", "Ordered field must be grouped or aggregated: Name"),
        ("SELECT COUNT(), MAX(Name) FROM Lead", "MALFORMED_QUERY", "unexpected token: ')'"),
        ("SELECT COUNT(Id) FROM Lead LIMIT 1", "MALFORMED_QUERY", "Non-grouped query that uses overall aggregate functions cannot also use LIMIT"),
        ("SELECT SUM(Name) FROM Lead", "INVALID_FIELD", "field Name does not support aggregate operator SUM"),
        ("SELECT Status, MAX(Name) Status FROM Lead GROUP BY Status", "MALFORMED_QUERY", "duplicate alias: Status"),
        ("SELECT Status, (SELECT Id FROM Tasks) FROM Lead GROUP BY Status", "MALFORMED_QUERY", "Grouped query cannot use child relationships in the SELECT list"),
        ("SELECT Status, COUNT(Id) FROM Lead GROUP BY ROLLUP(Status)", "MALFORMED_QUERY", "GROUP BY ROLLUP is not supported by this sandbox"),
        ("SELECT Name n FROM Lead", "MALFORMED_QUERY", "only aggregate expressions use field aliasing"),
        ("SELECT Id FROM Lead WHERE COUNT(Id) > 1", "MALFORMED_QUERY", "Aggregate expressions are not allowed"),
        ("SELECT NOSUCH(Name) FROM Lead", "MALFORMED_QUERY", "unexpected token: '('"),
        ("SELECT CALENDAR_YEAR(Name), COUNT(Id) FROM Lead GROUP BY CALENDAR_YEAR(Name)", "INVALID_FIELD", "does not support the function CALENDAR_YEAR"),
        ("SELECT (SELECT Id FROM Emails) FROM Lead", "INVALID_TYPE", "Didn't understand relationship 'Emails' in FROM part of query call."),
        ("SELECT (SELECT Id FROM Ghosts) FROM Lead", "INVALID_TYPE", "Didn't understand relationship 'Ghosts' in FROM part of query call."),
        ("SELECT (SELECT COUNT(Id) FROM Tasks) FROM Lead", "MALFORMED_QUERY", "Aggregate expressions are not allowed in a child relationship query"),
        ("SELECT Owner.Manager.Name FROM Lead", "INVALID_FIELD", "Didn't understand relationship 'Manager' in field path."),
        ("SELECT Owner.Company FROM Lead", "INVALID_FIELD", "No such column 'Company' on entity 'Name'"),
        ("SELECT Account.Parent.Parent.Parent.Parent.Parent.Name FROM Contact", "INVALID_FIELD", "maximum of 5 levels"),
        ("SELECT TYPEOF Account WHEN Account THEN Name END FROM Contact", "MALFORMED_QUERY", "TYPEOF can only be used with a polymorphic relationship"),
        ("SELECT TYPEOF Who WHEN User THEN Name END FROM Task", "INVALID_TYPE", "sObject type 'User' is not supported"),
        ("SELECT Id FROM ActivityHistory", "INVALID_TYPE_FOR_OPERATION", "does not support query"),
        ("SELECT Id FROM Lead WHERE Name IN (SELECT Id FROM Account)", "MALFORMED_QUERY", "must be an id or reference field"),
        ("SELECT Id FROM Lead WHERE Id IN (SELECT WhoId FROM Task)", "MALFORMED_QUERY", "Entity 'Task' is not supported for semi join inner selects"),
        ("SELECT Id FROM Lead WHERE Id IN (SELECT Name FROM Account)", "MALFORMED_QUERY", "must be an id or reference field"),
        ("SELECT Id FROM Lead WHERE Id IN (SELECT Id, Name FROM Account)", "MALFORMED_QUERY", "exactly one field"),
        ("SELECT Id FROM Account WHERE Id IN (SELECT AccountId FROM Contact LIMIT 1)", "MALFORMED_QUERY", "no clause after WHERE"),
        ("SELECT Id FROM Account WHERE Name = 'x' OR Id IN (SELECT AccountId FROM Contact)", "MALFORMED_QUERY", "Semi join sub-selects are not allowed with the 'OR' operator"),
        ("SELECT Id FROM Account WHERE Id IN (SELECT AccountId FROM Contact WHERE Id IN (SELECT Id FROM Contact))", "MALFORMED_QUERY", "only allowed in the WHERE clause of the outermost query"),
        ("SELECT Id FROM Lead USING SCOPE team", "MALFORMED_QUERY", "USING SCOPE team is not supported by this sandbox"),
        ("SELECT Id FROM Lead USING SCOPE mine", "MALFORMED_QUERY", "Scope 'mine' is not valid"),
        ("SELECT CALENDAR_YEAR(CreatedDate) FROM Lead", "MALFORMED_QUERY", "must be grouped or aggregated"),
    ],
)  # fmt: skip
def test_semantic_errors(org: Org, text: str, code: str, part: str) -> None:
    error = refuse(org, text)
    assert error.code == code
    assert part in error.message


def test_too_deep_a_filter_is_too_complicated(org: Org) -> None:
    nested = "(NOT " * 101 + "Name = 'x'" + ")" * 101
    assert refuse(org, f"SELECT Id FROM Lead WHERE {nested}").code == "QUERY_TOO_COMPLICATED"
    nested = "(NOT " * 80 + "Name = 'x'" + ")" * 80
    assert refuse(org, f"SELECT Id FROM Lead WHERE {nested}").code == "QUERY_TOO_COMPLICATED"


def test_thousands_of_conditions_are_allowed(org: Org) -> None:
    conditions = " OR ".join(f"Name = 'n{number}'" for number in range(4_000))
    assert org.run(f"SELECT COUNT() FROM Lead WHERE {conditions} OR Name = 'abe'").total_size == 1
    names = ",".join(f"'n{number}'" for number in range(9_000))
    assert org.run(f"SELECT COUNT() FROM Lead WHERE Name IN ({names},'ABE')").total_size == 1


def test_a_group_query_gives_no_second_page(org: Org) -> None:
    org.connection.executemany(
        'INSERT INTO "Account" ("Id", "Name", "IsDeleted") VALUES (?, ?, 0)',
        [(f"001{number:015d}", f"name {number}") for number in range(10, 2_020)],
    )
    error = refuse(org, "SELECT Name, COUNT(Id) FROM Account GROUP BY Name")
    assert error.code == "EXCEEDED_ID_LIMIT"
    assert org.run("SELECT Name, COUNT(Id) FROM Account GROUP BY Name LIMIT 2000").total_size == 2_000


def test_a_broken_database_is_not_the_callers_fault(org: Org) -> None:
    org.connection.execute('DROP TABLE "Lead"')
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        _ = org.run("SELECT Id FROM Lead").records
