"""Tokens: four grants, renewal once, rotation kept before use, and no credential to strangers."""

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from connectors.salesforce.connector import SalesforceConnector
from core.errors import InvalidSettings, OutcomeUnknown, Transient, Unauthorized, Unexpected
from sandbox.salesforce import SalesforceOptions
from tests.connectors.salesforce.org import PracticeOrg


def connect(org: PracticeOrg, auth: str, **changes: Any) -> SalesforceConnector:
    given = org.credentials
    own: dict[str, Any] = {"auth": auth, "access_token": None, "client_id": given["client_id"]}
    if auth == "jwt":
        own |= {"username": given["username"], "private_key": org.secret_file("key.pem", given["private_key"])}
    else:
        own["client_secret"] = org.secret_file("client-secret", given["client_secret"])
    if auth == "refresh_token":
        own["refresh_token"] = org.secret_file("refresh-token", given["refresh_token"])
    return org.connect(**{**own, **changes})


@pytest.mark.parametrize("auth", ["jwt", "client_credentials", "refresh_token"])
def test_each_grant_opens_the_org(org: PracticeOrg, auth: str) -> None:
    connector = connect(org, auth)
    connector.prepare()
    assert connector.counts.by_endpoint == {"token": 1, "describe": 1}


@pytest.mark.parametrize("auth", ["jwt", "client_credentials", "refresh_token"])
def test_a_token_that_expires_on_the_way_is_renewed_once(org: PracticeOrg, auth: str) -> None:
    refs = org.add_people(500)
    connector = connect(org, auth)
    seen = []
    for page in connector.read({}):
        seen += [fact for fact in page.facts if getattr(fact, "ref", None) in refs]
        if len(seen) == 200:
            org.control("POST", "tokens", {"expire": True})
    assert len(seen) == 500
    assert connector.counts.by_endpoint["token"] == 2


def test_a_token_that_never_works_ends_after_one_renewal(org: PracticeOrg) -> None:
    connector = connect(org, "client_credentials")
    session_gone = json.dumps([{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}])
    org.fail_next(status=401, body=session_gone, times=100, path="composite")
    with pytest.raises(Unauthorized):
        connector.prepare()
    assert connector.counts.by_endpoint == {"token": 2, "describe": 2}


def test_a_plain_access_token_is_not_renewed(org: PracticeOrg) -> None:
    connector = org.connect()
    org.control("POST", "tokens", {"expire": True})
    with pytest.raises(Unauthorized) as caught:
        connector.prepare()
    assert "client_credentials" in caught.value.hint


@pytest.mark.parametrize(
    ("auth", "changes", "word"),
    [
        ("client_credentials", {"client_id": "unknown"}, "client_id"),
        ("jwt", {"username": "nobody@mikomi.example"}, "username"),
    ],
)
def test_refused_logins_say_what_to_check(org: PracticeOrg, auth: str, changes: dict[str, Any], word: str) -> None:
    with pytest.raises(Unauthorized) as caught:
        connect(org, auth, **changes).prepare()
    assert word in caught.value.hint
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("told", "final", "word"),
    [
        ("expired access/refresh token", True, "connect again"),
        ("token validity expired", True, "connect again"),
        ("ip restricted", False, "IP relaxation"),
        ("invalid login hours", False, "login hours"),
        ("user hasn't approved this consumer", False, "pre-authorise"),
        ("inactive user", False, "activate"),
        ("authentication failure", False, "connect again"),
        ("something new", False, "connect again"),
    ],
)
def test_a_refresh_token_is_given_up_only_where_salesforce_says_that_it_is_over(
    org: PracticeOrg, told: str, final: bool, word: str
) -> None:
    body = json.dumps({"error": "invalid_grant", "error_description": told})
    org.fail_next(status=400, body=body, path="oauth2/token")
    with pytest.raises(Unauthorized) as caught:
        connect(org, "refresh_token").prepare()
    assert caught.value.final is final
    assert word in caught.value.hint


@pytest.mark.parametrize("revoked", [True, False], ids=["while it is refused", "while it still works"])
def test_another_access_token_in_its_place_is_used(org: PracticeOrg, revoked: bool) -> None:
    connector = org.connect()
    connector.prepare()
    user = org.control("POST", "query", {"soql": "SELECT Id FROM User LIMIT 1"})
    assert user
    if revoked:
        org.control("POST", "tokens", {"expire": True})
        with pytest.raises(Unauthorized):
            list(connector.read({}))
    other = org.control("GET", "credentials")["access_token"] if revoked else org.credentials["admin_access_token"]
    assert other != org.secret
    org.secret_file("token", other)
    connector.prepare()
    assert connector._api._line._tokens.current().token.get_secret_value() == other
    list(connector.read({}))


def test_a_wrong_secret_is_refused_and_not_repeated(org: PracticeOrg) -> None:
    wrong = org.secret_file("wrong", "hunter2-hunter2")
    with pytest.raises(Unauthorized) as caught:
        connect(org, "client_credentials", client_secret=wrong).prepare()
    assert "hunter2" not in f"{caught.value!r} {caught.value} {caught.value.hint} {caught.value.__cause__!r}"


def test_a_key_that_is_none_is_named(org: PracticeOrg) -> None:
    with pytest.raises(InvalidSettings, match="not an RSA private key") as caught:
        connect(org, "jwt", private_key=org.secret_file("bad.pem", "not a key")).prepare()
    assert caught.value.place == "connections.salesforce.private_key"


@pytest.mark.parametrize("hours", [-5, 5])
def test_a_wrong_clock_is_corrected_by_salesforces(org: PracticeOrg, hours: int) -> None:
    org.clock.advance(hours * 3600)
    connector = connect(org, "jwt")
    connector.prepare()
    assert connector.capabilities.person_kinds == ("lead", "contact")


def test_a_clock_that_was_corrected_since_is_corrected_for_again(org: PracticeOrg) -> None:
    org.clock.advance(5 * 3600)
    connector = connect(org, "jwt")
    connector.prepare()
    org.clock.advance(-5 * 3600)
    org.control("POST", "tokens", {"expire": True})
    assert list(connector.read({}))


def test_a_rotated_refresh_token_is_stored_before_the_access_token_is_used(tmp_path: Path) -> None:
    org = PracticeOrg(tmp_path, SalesforceOptions(refresh_rotation=True))
    try:
        connector = connect(org, "refresh_token")
        connector.prepare()
        kept = (tmp_path / "refresh-token").read_text("utf-8").strip()
        assert kept != org.credentials["refresh_token"]
        assert (tmp_path / "refresh-token").stat().st_mode & 0o077 == 0
        org.control("POST", "tokens", {"expire": True})
        list(connector.read({}))
        newest = (tmp_path / "refresh-token").read_text("utf-8").strip()
        assert newest not in {kept, org.credentials["refresh_token"]}
        source = {"file": str(tmp_path / "refresh-token")}
        own = {"auth": "refresh_token", "access_token": None, "client_id": org.credentials["client_id"]}
        secret = org.secret_file("client-secret", org.credentials["client_secret"])
        org.connect(**own, client_secret=secret, refresh_token=source).prepare()
    finally:
        org.stop()


def test_a_token_answer_that_points_elsewhere_is_refused(org: PracticeOrg) -> None:
    evil = {"access_token": "00Dx!token", "instance_url": "https://evil.example", "token_type": "Bearer"}
    org.fail_next(status=200, body=json.dumps(evil), path="oauth2/token")
    with pytest.raises(Unexpected, match="host outside Salesforce"):
        connect(org, "client_credentials").prepare()


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, "<html>login</html>", Unexpected),
        (200, "{}", Unexpected),
        (302, "", Unexpected),
        (503, "", Transient),
        (502, "", Transient),
    ],
)
def test_a_token_host_that_misbehaves(org: PracticeOrg, status: int, body: str, expected: type[Exception]) -> None:
    org.fail_next(status=status, body=body, times=100, path="oauth2/token")
    with pytest.raises(expected):
        connect(org, "client_credentials").prepare()


def test_a_lost_refresh_is_not_called_harmless(org: PracticeOrg) -> None:
    org.fail_next(kind="drop_after", times=100, path="oauth2/token")
    with pytest.raises((OutcomeUnknown, Unauthorized)):
        connect(org, "refresh_token").prepare()


def test_an_unreachable_host_is_one_clear_message(org: PracticeOrg) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(Transient, match="cannot be reached") as caught:
        org.connect(base_url=f"http://127.0.0.1:{port}").prepare()
    assert "network" in caught.value.hint


def test_a_missing_secret_names_the_variable(org: PracticeOrg) -> None:
    with pytest.raises(InvalidSettings) as caught:
        org.connect(access_token=None)
    assert "MIKOMI_SALESFORCE_ACCESS_TOKEN" in caught.value.hint
