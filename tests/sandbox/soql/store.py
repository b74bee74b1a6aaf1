"""A small schema with a handful of rows, shaped as the emulator stores them."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sandbox.salesforce.soql import ChildInfo, FieldInfo, QueryResult, SObjectInfo, lengthen_id, run_query

NOW_MS = 1_731_902_400_000  # 2024-11-18T04:00:00Z, a Monday (13:00 in Tokyo)

SYSTEM_FIELDS = (
    FieldInfo("Id", "id"),
    FieldInfo("IsDeleted", "boolean"),
    FieldInfo("CreatedDate", "datetime"),
    FieldInfo("SystemModstamp", "datetime"),
)
_OWNER = FieldInfo("OwnerId", "reference", relationship_name="Owner", reference_to=("Group", "User"))


def make_sobject(name: str, prefix: str, *fields: FieldInfo, children: Sequence[ChildInfo] = ()) -> SObjectInfo:
    return SObjectInfo(name, prefix, {info.name.lower(): info for info in (*SYSTEM_FIELDS, *fields)}, tuple(children))


SOBJECTS = (
    make_sobject(
        "User",
        "005",
        FieldInfo("Name", "string"),
        FieldInfo("Username", "string"),
        FieldInfo("Email", "email"),
        FieldInfo("IsActive", "boolean"),
        FieldInfo("ManagerId", "reference", relationship_name="Manager", reference_to=("User",)),
    ),
    make_sobject("Group", "00G", FieldInfo("Name", "string"), FieldInfo("Type", "picklist")),
    make_sobject(
        "Account",
        "001",
        FieldInfo("Name", "string"),
        FieldInfo("Industry", "picklist"),
        FieldInfo("NumberOfEmployees", "int"),
        FieldInfo("AnnualRevenue", "currency"),
        FieldInfo("BillingAddress", "address", filterable=False),
        FieldInfo("ParentId", "reference", relationship_name="Parent", reference_to=("Account",)),
        _OWNER,
        children=(ChildInfo("Contacts", "Contact", "AccountId"),),
    ),
    make_sobject(
        "Contact",
        "003",
        FieldInfo("Name", "string"),
        FieldInfo("LastName", "string"),
        FieldInfo("Email", "email"),
        FieldInfo("Birthdate", "date"),
        FieldInfo("AccountId", "reference", relationship_name="Account", reference_to=("Account",)),
        _OWNER,
        children=(ChildInfo("Tasks", "Task", "WhoId"),),
    ),
    make_sobject(
        "Lead",
        "00Q",
        FieldInfo("Name", "string"),
        FieldInfo("LastName", "string"),
        FieldInfo("Company", "string"),
        FieldInfo("Email", "email"),
        FieldInfo("Title", "string"),
        FieldInfo("Status", "picklist"),
        FieldInfo("NumberOfEmployees", "int"),
        FieldInfo("AnnualRevenue", "currency"),
        FieldInfo("LastActivityDate", "date"),
        FieldInfo("Description", "textarea", filterable=False, sortable=False, groupable=False, long_text=True),
        FieldInfo("Interests__c", "multipicklist", custom=True),
        FieldInfo("Code__c", "string", custom=True, case_sensitive=True),
        FieldInfo("Score__c", "double", custom=True),
        FieldInfo("Notes__c", "textarea", custom=True, filterable=False, sortable=False, long_text=True),
        FieldInfo("Secret__c", "string", custom=True),
        FieldInfo("Called_At__c", "time", custom=True),
        _OWNER,
        children=(ChildInfo("Tasks", "Task", "WhoId"), ChildInfo("Ghosts", "Ghost", "LeadId")),
    ),
    make_sobject(
        "Task",
        "00T",
        FieldInfo("Subject", "combobox"),
        FieldInfo("Status", "picklist"),
        FieldInfo("ActivityDate", "date"),
        FieldInfo("IsArchived", "boolean"),
        FieldInfo("WhoId", "reference", relationship_name="Who", reference_to=("Contact", "Lead")),
        _OWNER,
    ),
    SObjectInfo("ActivityHistory", "", {"id": FieldInfo("Id", "id")}, queryable=False),
)

_SQL_TYPES = {"boolean": "INTEGER", "datetime": "INTEGER", "int": "INTEGER", "double": "REAL", "currency": "REAL"}


class Schema:
    """The sObjects above, found in any letter case."""

    def __init__(self, sobjects: Sequence[SObjectInfo] = SOBJECTS) -> None:
        self._by_name = {sobject.name.lower(): sobject for sobject in sobjects}

    def sobject(self, name: str) -> SObjectInfo | None:
        return self._by_name.get(name.lower())


def make_id(prefix: str, number: int) -> str:
    return lengthen_id(f"{prefix}{number:012d}")


def create_tables(connection: sqlite3.Connection, sobjects: Sequence[SObjectInfo] = SOBJECTS) -> None:
    for sobject in sobjects:
        columns = ", ".join(
            f'"{info.name}" {_SQL_TYPES.get(info.type, "TEXT")}{" PRIMARY KEY" if info.type == "id" else ""}'
            for info in sobject.fields.values()
        )
        connection.execute(f'CREATE TABLE "{sobject.name}" ({columns})')


def insert(connection: sqlite3.Connection, sobject: str, row: Mapping[str, object]) -> None:
    values = {"IsDeleted": 0, "CreatedDate": NOW_MS, "SystemModstamp": NOW_MS, **row}
    if sobject == "Task":
        values.setdefault("IsArchived", 0)
    names = ", ".join(f'"{name}"' for name in values)
    marks = ", ".join("?" for _ in values)
    connection.execute(f'INSERT INTO "{sobject}" ({names}) VALUES ({marks})', list(values.values()))


@dataclass
class Org:
    """A database to ask in SOQL, with the rights of the asking user."""

    connection: sqlite3.Connection
    schema: Schema = field(default_factory=Schema)
    hidden: set[tuple[str, str]] = field(default_factory=set)
    filters: dict[str, str] = field(default_factory=dict)
    time_zone: str = "UTC"
    user_id: str | None = None
    now_ms: int = NOW_MS

    def run(self, text: str, *, include_deleted: bool = False, api_version: str = "62.0") -> QueryResult:
        return run_query(
            text,
            schema=self.schema,
            connection=self.connection,
            now_ms=self.now_ms,
            include_deleted=include_deleted,
            visible=lambda sobject, name: (sobject, name) not in self.hidden,
            row_filter=self.filters.get,
            api_version=api_version,
            time_zone=self.time_zone,
            user_id=self.user_id,
        )

    def records(self, text: str, *, include_deleted: bool = False) -> list[dict[str, object]]:
        return self.run(text, include_deleted=include_deleted).records

    def column(self, text: str, name: str, *, include_deleted: bool = False) -> list[object]:
        return [record[name] for record in self.records(text, include_deleted=include_deleted)]


Fill = Callable[[sqlite3.Connection], None]
REP, MANAGER, QUEUE = make_id("005", 1), make_id("005", 2), make_id("00G", 1)
HOLDING, FACTORY, SHOP = (make_id("001", number) for number in (1, 2, 3))
SATO, SUZUKI, TANAKA = (make_id("003", number) for number in (1, 2, 3))
LEADS = tuple(make_id("00Q", number) for number in range(1, 7))
DAY_MS = 86_400_000


def fill_small(connection: sqlite3.Connection) -> None:
    """Two users, a queue, three accounts, three contacts, six leads (one deleted) and five tasks."""

    def add(sobject: str, **row: object) -> None:
        insert(connection, sobject, row)

    add("User", Id=REP, Name="Rep One", Username="rep@sales.example", IsActive=1, ManagerId=MANAGER)
    add("User", Id=MANAGER, Name="Manager Two", Username="manager@sales.example", IsActive=1)
    add("Group", Id=QUEUE, Name="Lead Queue", Type="Queue")
    add("Account", Id=HOLDING, Name="Holding", Industry="Banking", NumberOfEmployees=5000, OwnerId=MANAGER)
    add("Account", Id=FACTORY, Name="Factory", Industry="Machinery", ParentId=HOLDING, OwnerId=REP, AnnualRevenue=1.5e6)
    add("Account", Id=SHOP, Name="shop", OwnerId=REP)
    add("Contact", Id=SATO, Name="A Sato", LastName="Sato", AccountId=FACTORY, OwnerId=REP, Birthdate="1980-02-29")
    add("Contact", Id=SUZUKI, Name="B Suzuki", LastName="Suzuki", AccountId=FACTORY, OwnerId=REP)
    add("Contact", Id=TANAKA, Name="C Tanaka", LastName="Tanaka", OwnerId=QUEUE, IsDeleted=1)
    stamps = [NOW_MS - days * DAY_MS for days in (0, 1, 2, 40, 400, 0)]
    details: list[dict[str, object]] = [
        {"LastName": "Abe", "Company": "Alpha", "Status": "Open", "Email": "Abe@Alpha.example", "Score__c": 10.5},
        {"LastName": "baba", "Company": "alpha", "Status": "Open", "NumberOfEmployees": 30, "Interests__c": "Red;Blue"},
        {"LastName": "Chiba", "Company": "Beta", "Status": "Closed", "Score__c": -3.0, "Interests__c": "Red"},
        {"LastName": "O'Date", "Company": "100%_Pure", "Title": "係長", "LastActivityDate": "2024-11-01"},
        {"LastName": "Éto", "Company": "a\\b", "Status": "Closed", "Code__c": "abC", "Called_At__c": "09:30:00.000Z"},
        {"LastName": "Gone", "Company": "Deleted", "IsDeleted": 1},
    ]
    for lead_id, stamp, row in zip(LEADS, stamps, details, strict=True):
        owner = QUEUE if row["LastName"] == "Chiba" else REP
        defaults: dict[str, object] = {
            "Name": row["LastName"],
            "OwnerId": owner,
            "Secret__c": "s",
            "Description": "long",
        }
        insert(connection, "Lead", {"Id": lead_id, "CreatedDate": stamp, "SystemModstamp": stamp, **defaults, **row})
    tasks: list[tuple[str | None, str, dict[str, object]]] = [
        (LEADS[0], "Call", {"ActivityDate": "2024-11-18"}),
        (LEADS[0], "Mail", {"ActivityDate": "2024-11-20"}),
        (LEADS[0], "Old", {"ActivityDate": "2022-01-01", "IsArchived": 1}),
        (SATO, "Visit", {"ActivityDate": "2024-11-17"}),
        (None, "Nobody", {}),
    ]
    for number, (who, subject, extra) in enumerate(tasks, start=1):
        row = {"Id": make_id("00T", number), "WhoId": who, "Subject": subject, "Status": "Open", "OwnerId": REP}
        insert(connection, "Task", row | extra)


def open_org() -> Org:
    connection = sqlite3.connect(":memory:")
    create_tables(connection)
    fill_small(connection)
    return Org(connection)
