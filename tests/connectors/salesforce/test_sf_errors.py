"""Salesforce's errors in our words, and texts and hosts that must not pass."""

import re
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from connectors.salesforce.cursor import Window, finished, resume
from connectors.salesforce.errors import row_error, translate
from connectors.salesforce.resources import SalesforceApi
from connectors.salesforce.settings import SalesforceSettings
from connectors.salesforce.soql import checked_name, keyset, quote, stamp
from connectors.salesforce.transport import open_session
from core.errors import (
    ConnectorError,
    Forbidden,
    Gone,
    OutcomeUnknown,
    QuotaExhausted,
    RateLimited,
    Rejected,
    Transient,
    Unauthorized,
    Unexpected,
)
from tests.connectors.salesforce.org import PracticeOrg

NOW = 1_764_000_000_000


def body(code: str, message: str = "", *fields: str) -> list[dict[str, Any]]:
    return [{"message": message, "errorCode": code, "fields": list(fields)}]


@pytest.mark.parametrize(
    ("status", "content", "expected"),
    [
        (401, body("INVALID_SESSION_ID", "Session expired or invalid"), Unauthorized),
        (401, "<html>", Unauthorized),
        (403, "Bad_OAuth_Token", Unauthorized),
        (403, body("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."), QuotaExhausted),
        (403, body("REQUEST_LIMIT_EXCEEDED", "ConcurrentPerOrgLongTxn Limit exceeded."), RateLimited),
        (403, body("API_DISABLED_FOR_ORG", "The REST API is not enabled"), Forbidden),
        (403, body("INSUFFICIENT_ACCESS"), Forbidden),
        (400, body("INSUFFICIENT_ACCESS_OR_READONLY"), Forbidden),
        (400, body("UNABLE_TO_LOCK_ROW"), Transient),
        (400, body("INVALID_FIELD", "No such column 'X'"), Rejected),
        (400, body("ENTITY_IS_DELETED", "entity is deleted"), Gone),
        (404, body("NOT_FOUND"), Rejected),
        (404, "no json", Unexpected),
        (409, body("CONFLICT"), Rejected),
        (410, body("UNSUPPORTED_API_VERSION"), Unexpected),
        (302, "", Unexpected),
        (300, ["/services/data/v62.0/sobjects/Task/x"], Unexpected),
        (429, "", RateLimited),
        (500, body("UNKNOWN_EXCEPTION"), OutcomeUnknown),
        (502, "<html>Bad Gateway</html>", OutcomeUnknown),
        (504, "", OutcomeUnknown),
        (503, body("SERVER_UNAVAILABLE"), Transient),
        (503, "<html>", OutcomeUnknown),
        (420, "", OutcomeUnknown),
    ],
)
def test_answers(status: int, content: Any, expected: type[ConnectorError]) -> None:
    error = translate(status, content, now=NOW)
    assert type(error) is expected
    assert error.message


def test_the_daily_quota_says_until_when() -> None:
    error = translate(403, body("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."), now=NOW)
    assert isinstance(error, QuotaExhausted)
    assert error.resets_at is not None
    assert error.resets_at.timestamp() * 1000 == NOW + 3_600_000


@pytest.mark.parametrize(
    ("code", "fields", "expected"),
    [
        ("UNABLE_TO_LOCK_ROW", (), Transient),
        ("CANNOT_UPDATE_CONVERTED_LEAD", (), Gone),
        ("ENTITY_IS_DELETED", (), Gone),
        ("INVALID_CROSS_REFERENCE_KEY", ("Id",), Gone),
        ("INVALID_CROSS_REFERENCE_KEY", ("OwnerId",), Rejected),
        ("INACTIVE_OWNER_OR_USER", (), Rejected),
        ("FIELD_CUSTOM_VALIDATION_EXCEPTION", ("Status",), Rejected),
    ],
)
def test_rows(code: str, fields: tuple[str, ...], expected: type[ConnectorError]) -> None:
    assert type(row_error(code, "", fields)) is expected


def test_values_in_vendor_messages_are_not_repeated() -> None:
    error = row_error("STRING_TOO_LONG", "Last Name: data value too large: 佐藤花子 (max length=80)", ("LastName",))
    assert "佐藤" not in f"{error} {error.hint}"
    assert "LastName" in str(error)
    duplicate = row_error("DUPLICATE_VALUE", "duplicate value found: Email__c duplicates hanako@buyer.example")
    assert "hanako" not in str(duplicate)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (requests.exceptions.ConnectTimeout(), Transient),
        (requests.exceptions.ConnectionError("NewConnectionError: refused"), Transient),
        (requests.exceptions.ConnectionError("NameResolutionError"), Transient),
        (requests.exceptions.ReadTimeout(), OutcomeUnknown),
        (requests.exceptions.ConnectionError("Connection aborted"), OutcomeUnknown),
        (requests.exceptions.ChunkedEncodingError(), OutcomeUnknown),
        (requests.exceptions.ContentDecodingError(), OutcomeUnknown),
        (requests.exceptions.SSLError(), Unexpected),
        (requests.exceptions.InvalidURL("refused: evil.example is no Salesforce host"), Unexpected),
        (requests.JSONDecodeError("x", '{"cut": ', 8), OutcomeUnknown),
        (requests.JSONDecodeError("x", "<html>", 0), Unexpected),
    ],
)
def test_the_network(org: PracticeOrg, error: Exception, expected: type[ConnectorError]) -> None:
    api: SalesforceApi = org.connect()._api
    assert type(api._line._translate(error)) is expected


def test_a_bug_stays_a_bug(org: PracticeOrg) -> None:
    assert org.connect()._api._line._translate(KeyError("x")) is None


# --- SOQL ----------------------------------------------------------------------------------------------------------------


@given(st.text())
def test_a_quoted_text_cannot_leave_its_quotes(value: str) -> None:
    literal = quote(value)
    assert literal[0] == literal[-1] == "'"
    assert re.fullmatch(r"(?:[^'\\]|\\.)*", literal[1:-1], re.DOTALL)
    assert not re.search(r"[\n\r\t]", literal)


def test_a_hostile_text_comes_back_as_it_was(org: PracticeOrg) -> None:
    hostile = "O'Hara\\' OR Name != '%_\n--"
    org.create("Account", Name=hostile)
    [answer] = org.connect()._api.query([f"SELECT Name FROM Account WHERE Name = {quote(hostile)}"], endpoint="x")
    assert answer.error is None
    assert [row["Name"] for row in answer.rows] == [hostile]


@pytest.mark.parametrize("name", ["Name FROM User", "Name,Id", "", "1abc", "A..B", "Name--", "naïve"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not a field name"):
        checked_name(name)


def test_stamps_and_keysets() -> None:
    assert stamp(0) == "1970-01-01T00:00:00Z"
    assert stamp(1_500) == "1970-01-01T00:00:01.500Z"
    assert keyset("S", low=None, high=None) == ""
    assert keyset("S", low=0, high=1000) == "S >= 1970-01-01T00:00:00Z AND S < 1970-01-01T00:00:01Z"
    behind = keyset("S", low=0, high=None, after=(0, "00Q"))
    assert behind == "((S = 1970-01-01T00:00:00Z AND Id > '00Q') OR S > 1970-01-01T00:00:00Z)"


@given(
    low=st.none() | st.integers(0, 2**42),
    high=st.integers(0, 2**42),
    after=st.none() | st.tuples(st.integers(0, 2**42), st.text("0aZ", min_size=15, max_size=18)),
    lookback=st.integers(0, 10**7),
)
def test_cursors_survive_the_database(low: int | None, high: int, after: tuple[int, str] | None, lookback: int) -> None:
    window = Window(low, high, after)
    assert resume(window.to_cursor(), lookback=lookback) == window
    assert resume(finished(high), lookback=lookback) == Window(low=high - lookback)


# --- hosts ---------------------------------------------------------------------------------------------------------------

REAL = {"client_id": "x", "login_url": "https://acme.my.salesforce.com"}


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://acme.my.salesforce.com/services/data", True),
        ("https://acme--uat.sandbox.my.salesforce.com", True),
        ("https://acme.cloudforce.com", True),
        ("https://acme.force.com", False),
        ("http://acme.my.salesforce.com", False),
        ("https://salesforce.com.evil.example", False),
        ("https://evilsalesforce.com", False),
        ("https://acme.my.salesforce.com:8443", False),
        ("https://acme.my.salesforce.com@evil.example", False),
        ("https://user@acme.my.salesforce.com", False),
        ("https://127.0.0.1", False),
        ("file:///etc/passwd", False),
    ],
)
def test_only_salesforce_hosts_get_credentials(url: str, allowed: bool) -> None:
    assert SalesforceSettings.model_validate(REAL).allows(url) is allowed


@pytest.mark.parametrize(
    "wrong",
    [
        {"base_url": "http://127.0.0.1:8080"},
        {"sandbox": True},
        {"sandbox": True, "base_url": "http://10.0.0.1"},
        {"sandbox": True, "base_url": "http://localhost.evil.example"},
        {"sandbox": True, "base_url": "http://user@127.0.0.1"},
        {"sandbox": True, "base_url": "http://127.0.0.1:1", "instance_url": "https://evil.example"},
        {"login_url": "https://evil.example"},
        {"auth": "access_token"},
        {"auth": "jwt"},
        {"api_version": "v62"},
        {"page_size": 100},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SalesforceSettings.model_validate({**REAL, **wrong})


def test_a_request_to_another_host_is_never_sent() -> None:
    session = open_session(SalesforceSettings.model_validate(REAL), lambda *_, **__: None)
    for url in ("https://evil.example/", "http://acme.my.salesforce.com/", "http://127.0.0.1:1/"):
        with pytest.raises(requests.exceptions.InvalidURL, match="no Salesforce host"):
            session.get(url)


def test_a_paging_link_out_of_the_org_is_not_followed(org: PracticeOrg) -> None:
    for url in ("https://evil.example/services/data/v62.0/query/01g", "//evil.example/services/data/", "/other"):
        with pytest.raises(Unexpected, match="leads outside"):
            org.connect()._api.more(url, endpoint="x")
