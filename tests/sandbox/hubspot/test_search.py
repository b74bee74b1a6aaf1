"""Search: operators, limits, paging, the 10,000 window, and an index that lags behind."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sandbox.clock import Clock
from sandbox.hubspot import HubSpot, HubSpotOptions
from tests.sandbox.hubspot.conftest import START_MS, Account, Opener


def _load(account: Account, count: int, updated_ms: int = START_MS - 60_000) -> list[int]:
    rows = (
        {
            "id": None,
            "properties": {"email": f"p{n}@buyer.example", "jobtitle": "部長"},
            "created_ms": updated_ms,
            "updated_ms": updated_ms,
        }
        for n in range(count)
    )
    return account.app.load("contacts", rows)


OPERATORS: list[tuple[str, dict[str, Any], set[str]]] = [
    ("EQ", {"value": "Sato"}, {"a"}),
    ("EQ", {"value": "sato"}, {"a"}),
    ("NEQ", {"value": "sato"}, {"b", "c", "d"}),
    ("IN", {"values": ["sato", "mori"]}, {"a", "b"}),
    ("IN", {"values": ["Sato"]}, set()),  # the real trap: IN on text needs lower-case values
    ("NOT_IN", {"values": ["sato"]}, {"b", "c", "d"}),
    ("HAS_PROPERTY", {}, {"a", "b", "c"}),
    ("NOT_HAS_PROPERTY", {}, {"d"}),
    ("CONTAINS_TOKEN", {"value": "mo*"}, {"b", "c"}),
    ("CONTAINS_TOKEN", {"value": "mori"}, {"b", "c"}),
    ("NOT_CONTAINS_TOKEN", {"value": "mori"}, {"a", "d"}),
    ("GT", {"value": "Mori"}, {"a", "c"}),
    ("BETWEEN", {"value": "Mori", "highValue": "Mori Z"}, {"b", "c"}),
]


@pytest.mark.parametrize(("operator", "values", "expected"), OPERATORS)
def test_operators_on_text(account: Account, operator: str, values: dict[str, Any], expected: set[str]) -> None:
    for key, name in {"a": "Sato", "b": "Mori", "c": "Mori Kita", "d": None}.items():
        account.create("contacts", email=f"{key}@buyer.example", lastname=name)
    filters = [{"propertyName": "lastname", "operator": operator, **values}]
    body = {"filterGroups": [{"filters": filters}], "properties": ["email"]}
    found = account.post("/crm/v3/objects/contacts/search", body).json
    assert {row["properties"]["email"][0] for row in found["results"]} == expected
    assert found["total"] == len(expected)


def names(found: Any) -> list[str]:
    return [row["properties"]["name"] for row in found["results"]]


def test_numbers_dates_and_enumerations(account: Account) -> None:
    for size in ("9", "10", "100"):
        account.create("companies", name=f"c{size}", numberofemployees=size, closedate=f"2026-01-{size[:2]:>02}")
    account.create("companies", name="none", lifecyclestage="lead")
    assert names(account.search("companies", ("numberofemployees", "GTE", "10"))) == ["c10", "c100"]
    assert names(account.search("companies", ("closedate", "LT", "1767949200000"))) == ["c9"]
    assert names(account.search("companies", ("lifecyclestage", "EQ", "lead"))) == ["none"]
    assert names(account.search("companies", ("lifecyclestage", "EQ", "LEAD"))) == []
    descending = [{"propertyName": "numberofemployees", "direction": "DESCENDING"}]
    assert names(account.search("companies", ("numberofemployees", "GT", "0"), sorts=descending)) == [
        "c100",
        "c10",
        "c9",
    ]


def test_groups_are_or_filters_are_and(account: Account) -> None:
    for key in ("ax", "ay", "bx"):
        account.create("contacts", email=f"{key}@buyer.example", firstname=key[0], lastname=key[1])
    one = [{"propertyName": "firstname", "operator": "EQ", "value": "a"}]
    one.append({"propertyName": "lastname", "operator": "EQ", "value": "x"})
    other = [{"propertyName": "firstname", "operator": "EQ", "value": "b"}]
    body = {"filterGroups": [{"filters": one}, {"filters": other}]}
    found = account.post("/crm/v3/objects/contacts/search", body).json
    assert [row["properties"]["email"][:2] for row in found["results"]] == ["ax", "bx"]


def test_free_text(account: Account) -> None:
    account.create("contacts", email="hanako@buyer.example", lastname="Kitamura")
    account.create("contacts", email="taro@other.example", lastname="Minami")
    found = account.post("/crm/v3/objects/contacts/search", {"query": "kita"}).json
    assert [row["properties"]["email"] for row in found["results"]] == ["hanako@buyer.example"]


def _filters(count: int) -> list[dict[str, str]]:
    return [{"propertyName": "lastname", "operator": "HAS_PROPERTY"}] * count


REFUSED: list[dict[str, Any]] = [
    {"filterGroups": [{"filters": _filters(1)}] * 6},
    {"filterGroups": [{"filters": _filters(7)}]},
    {"filterGroups": [{"filters": _filters(5)}] * 4},
    {"limit": 201},
    {"query": "x" * 3001},
    {"sorts": [{"propertyName": "email"}, {"propertyName": "lastname"}]},
    {"filterGroups": [{"filters": [{"propertyName": "no_such", "operator": "EQ", "value": "1"}]}]},
    {"filterGroups": [{"filters": [{"propertyName": "email", "operator": "LIKE", "value": "1"}]}]},
    {"filterGroups": [{"filters": [{"propertyName": "email", "operator": "EQ", "value": ""}]}]},
    {"filterGroups": [{"filters": [{"propertyName": "lastmodifieddate", "operator": "GT", "value": "yesterday"}]}]},
]


@pytest.mark.parametrize("body", REFUSED)
def test_refused_requests(account: Account, body: dict[str, Any]) -> None:
    answer = account.post("/crm/v3/objects/contacts/search", body)
    assert answer.status == 400
    assert answer.json["status"] == "error"


def test_the_window_ends_at_ten_thousand(account: Account) -> None:
    _load(account, 10_050)
    body: dict[str, Any] = {"limit": 200, "after": "9800", "properties": ["email"]}
    last = account.post("/crm/v3/objects/contacts/search", body).json
    assert last["total"] == 10_050
    assert last["paging"] == {"next": {"after": "10000"}}
    beyond = account.post("/crm/v3/objects/contacts/search", {**body, "after": "10000"})
    assert beyond.status == 400
    assert beyond.json["message"] == "There was a problem with the request."


def test_twenty_five_thousand_rows_of_one_timestamp_by_keyset(account: Account) -> None:
    ids = _load(account, 25_000)
    seen: list[int] = []
    pages = 0
    last = 0
    while True:
        window = (("lastmodifieddate", "GTE", str(START_MS - 120_000)), ("lastmodifieddate", "LTE", str(START_MS)))
        found = account.search(
            "contacts",
            *window,
            ("hs_object_id", "GT", str(last)),
            sorts=[{"propertyName": "hs_object_id", "direction": "ASCENDING"}],
            limit=200,
            properties=["email"],
        )
        pages += 1
        assert found["total"] == 25_000 - len(seen)
        page = [int(row["id"]) for row in found["results"]]
        seen += page
        if len(page) < 200:
            break
        last = page[-1]
    assert seen == ids
    assert pages == 126


def test_new_and_changed_rows_show_late_and_old_versions_meanwhile(open_account: Opener) -> None:
    account = open_account(index_lag_seconds=5.0)
    contact = account.create("contacts", email="a@buyer.example", jobtitle="課長")

    def found(title: str) -> list[str | None]:
        rows = account.search("contacts", ("jobtitle", "EQ", title), properties=["jobtitle"])["results"]
        return [row["properties"]["lastmodifieddate"] for row in rows]

    assert found("課長") == []
    account.clock.advance(5)
    created = "2025-11-30T10:53:20.000Z"
    assert found("課長") == [created]
    account.call("PATCH", f"/crm/v3/objects/contacts/{contact}", {"properties": {"jobtitle": "部長"}})
    account.clock.advance(3)
    account.call("PATCH", f"/crm/v3/objects/contacts/{contact}", {"properties": {"jobtitle": "取締役"}})
    assert found("課長") == [created]
    assert (
        account.get(f"/crm/v3/objects/contacts/{contact}", properties="jobtitle").json["properties"]["jobtitle"]
        == "取締役"
    )
    account.clock.advance(2)
    assert found("課長") == []
    assert found("部長") == ["2025-11-30T10:53:25.000Z"]
    account.clock.advance(3)
    assert found("取締役") == ["2025-11-30T10:53:28.000Z"]
    assert account.search("contacts")["total"] == 1


def test_search_and_unique_create_disagree_within_the_lag(open_account: Opener) -> None:
    account = open_account(index_lag_seconds=5.0)
    account.create("contacts", email="a@buyer.example")
    assert account.search("contacts", ("email", "EQ", "a@buyer.example"))["total"] == 0
    assert account.post("/crm/v3/objects/contacts", {"properties": {"email": "a@buyer.example"}}).status == 409


def test_an_old_email_is_found_until_the_index_knows_better(open_account: Opener) -> None:
    account = open_account(index_lag_seconds=5.0)
    contact = account.create("contacts", email="old@buyer.example")
    account.clock.advance(5)
    account.call("PATCH", f"/crm/v3/objects/contacts/{contact}", {"properties": {"email": "new@buyer.example"}})
    emails = ("old@buyer.example", "new@buyer.example")
    assert [account.search("contacts", ("email", "EQ", email))["total"] for email in emails] == [1, 0]
    account.clock.advance(5)
    assert [account.search("contacts", ("email", "EQ", email))["total"] for email in emails] == [0, 1]


def test_linked_records_can_be_searched(account: Account) -> None:
    contact, company = account.create("contacts", email="a@buyer.example"), account.create("companies", name="c")
    by_id = [{"propertyName": "hs_object_id", "direction": "ASCENDING"}]
    linked = ("associations.contact", "EQ", contact)
    assert account.search("companies", linked, sorts=by_id)["total"] == 0
    account.call("PUT", f"/crm/v4/objects/companies/{company}/associations/default/contacts/{contact}")
    assert [row["id"] for row in account.search("companies", linked, sorts=by_id)["results"]] == [company]


def test_touch_gives_many_rows_one_time_and_search_sees_it_late(open_account: Opener) -> None:
    account = open_account(index_lag_seconds=5.0)
    _load(account, 300)
    account.control("touch", {"type": "contacts", "count": 250, "properties": {"city": "大阪"}})
    since = ("lastmodifieddate", "GTE", str(START_MS - 1))
    assert account.search("contacts", since)["total"] == 0
    account.clock.advance(5)
    assert account.search("contacts", since)["total"] == 250
    assert account.search("contacts", ("city", "EQ", "大阪"))["total"] == 250


def test_archived_rows_never_appear(account: Account) -> None:
    contact = account.create("contacts", email="a@buyer.example")
    assert account.search("contacts")["total"] == 1
    account.call("DELETE", f"/crm/v3/objects/contacts/{contact}")
    assert account.search("contacts")["total"] == 0


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["create", "update", "archive", "advance", "search"]), st.integers(0, 7), st.sampled_from("xyz")
    ),
    max_size=40,
)


@given(STEPS, st.sampled_from([0.0, 2.0]))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_kept_results_equal_a_fresh_search(steps: list[tuple[str, int, str]], lag: float) -> None:
    """Whatever happens between two searches, what was kept of the first never shows."""
    from sandbox.hubspot.object_types import COMPANIES
    from sandbox.hubspot.records import Source
    from sandbox.hubspot.search_filters import compile_filters
    from sandbox.hubspot.search_index import SearchIndex

    clock = Clock(START_MS)
    clock.hold(START_MS)
    app = HubSpot(clock, HubSpotOptions(index_lag_seconds=lag))
    portal = app._portal
    ids: list[int] = []
    user = Source("CRM_UI")
    groups = [{"filters": [{"propertyName": "city", "operator": "EQ", "value": "x"}]}]
    where, above = compile_filters(portal.schema, COMPANIES, groups)
    for action, number, city in [*steps, ("search", 0, "")]:
        with portal.store.transaction():
            row = portal.store.get(COMPANIES, ids[number : number + 1])
            live = [found for found in row.values() if found.archived_ms is None]
            if action == "create":
                ids.append(portal.records.create(COMPANIES, {"city": city}, user).id)
            elif action == "advance":
                clock.advance(1)
            elif action == "update" and live:
                portal.records.update(COMPANIES, live[0], {"city": city}, user)
            elif action == "archive" and live:
                portal.records.archive(COMPANIES, live[0])
            elif action == "search":
                for order in (None, "created_ms, id"):
                    kept = portal.search.find(COMPANIES, where, order, above, 0, 200)
                    fresh = SearchIndex(portal.store, portal.schema, clock).find(COMPANIES, where, order, above, 0, 200)
                    assert kept == fresh
    app.close()
