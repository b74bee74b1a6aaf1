"""Every way in, and every way to be refused."""

import base64
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.sandbox.salesforce.rig import INTEGRATION, Rig, refusal

JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


def post_token(rig: Rig, **form: Any) -> requests.Response:
    headers = form.pop("headers", {})
    return rig.session.post(f"{rig.url}/services/oauth2/token", data=form, headers=headers, timeout=20)


def sign(rig: Rig, key: str | None = None, **claims: Any) -> str:
    given = rig.control("credentials")
    body = {
        "iss": given["client_id"],
        "sub": given["username"],
        "aud": "https://login.salesforce.com",
        "exp": int(rig.clock.now_ms() / 1000) + 180,
    }
    return jwt.encode({**body, **claims}, key or given["private_key"], algorithm="RS256")


def works(rig: Rig, token: str) -> bool:
    return rig.call("GET", "/limits", token=token).status_code == 200


def test_jwt_bearer_gives_a_token_for_the_host_that_was_called(rig: Rig) -> None:
    answer = post_token(rig, grant_type=JWT_GRANT, assertion=sign(rig)).json()
    assert answer["instance_url"] == rig.url
    assert answer["token_type"] == "Bearer"
    assert answer["issued_at"] == str(rig.clock.now_ms())
    assert answer["id"].startswith(f"{rig.url}/id/00D")
    assert "refresh_token" not in answer
    assert "expires_in" not in answer
    assert works(rig, answer["access_token"])


@pytest.mark.parametrize(
    ("claims", "error", "description"),
    [
        ({"iss": "another"}, "invalid_client_id", "client identifier invalid"),
        ({"sub": "nobody@mikomi.example"}, "invalid_grant", "user hasn't approved this consumer"),
        ({"aud": "https://login.example"}, "invalid_grant", "audience is invalid"),
        ({"exp": 1_000_000}, "invalid_grant", "expired authorization code"),
        ({"exp": "soon"}, "invalid_grant", "invalid assertion"),
    ],
)
def test_jwt_with_a_wrong_claim_is_refused(rig: Rig, claims: dict[str, Any], error: str, description: str) -> None:
    response = post_token(rig, grant_type=JWT_GRANT, assertion=sign(rig, **claims))
    assert response.status_code == 400
    assert response.json() == {"error": error, "error_description": description}


def test_jwt_signature_is_really_verified(rig: Rig) -> None:
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = stranger.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    refused = post_token(rig, grant_type=JWT_GRANT, assertion=sign(rig, pem))
    assert refused.json() == {"error": "invalid_grant", "error_description": "invalid assertion"}
    public = stranger.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    rig.control("key", {"public_key": public.decode()})
    assert post_token(rig, grant_type=JWT_GRANT, assertion=sign(rig, pem)).status_code == 200


def test_unsigned_jwt_is_refused(rig: Rig) -> None:
    claims = {"iss": "x", "sub": INTEGRATION, "aud": "https://login.salesforce.com", "exp": int(time.time()) + 60}
    unsigned = jwt.encode(claims, "", algorithm="none")
    assert post_token(rig, grant_type=JWT_GRANT, assertion=unsigned).json()["error"] == "invalid_grant"


def test_client_credentials_by_header_and_by_body(rig: Rig) -> None:
    given = rig.control("credentials")
    pair = base64.b64encode(f"{given['client_id']}:{given['client_secret']}".encode()).decode()
    by_header = post_token(rig, grant_type="client_credentials", headers={"Authorization": f"Basic {pair}"})
    by_body = post_token(
        rig, grant_type="client_credentials", client_id=given["client_id"], client_secret=given["client_secret"]
    )
    assert works(rig, by_header.json()["access_token"])
    assert works(rig, by_body.json()["access_token"])
    wrong = post_token(rig, grant_type="client_credentials", client_id=given["client_id"], client_secret="x")
    assert (wrong.status_code, wrong.json()["error"]) == (400, "invalid_client")


def test_password_grant(rig: Rig) -> None:
    given = rig.control("credentials")
    form = {key: given[key] for key in ("client_id", "client_secret", "username", "password")}
    assert works(rig, post_token(rig, grant_type="password", **form).json()["access_token"])
    refused = post_token(rig, grant_type="password", **{**form, "password": "wrong"})
    assert refused.json() == {"error": "invalid_grant", "error_description": "authentication failure"}


def test_unknown_grant(rig: Rig) -> None:
    assert post_token(rig, grant_type="device").json()["error"] == "unsupported_grant_type"


def refresh(rig: Rig, given: dict[str, Any], token: str) -> requests.Response:
    form = {"client_id": given["client_id"], "client_secret": given["client_secret"], "refresh_token": token}
    return post_token(rig, grant_type="refresh_token", **form)


def test_refresh_without_rotation_keeps_the_refresh_token(rig: Rig) -> None:
    given = rig.control("credentials")
    for _ in range(2):
        answer = refresh(rig, given, given["refresh_token"]).json()
        assert "refresh_token" not in answer
        assert works(rig, answer["access_token"])


def test_reuse_of_a_rotated_refresh_token_revokes_the_family(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(refresh_rotation=True)
    given = rig.control("credentials")
    first = refresh(rig, given, given["refresh_token"]).json()
    second = refresh(rig, given, first["refresh_token"]).json()
    assert works(rig, second["access_token"])
    stolen = refresh(rig, given, given["refresh_token"])
    assert stolen.json() == {"error": "invalid_grant", "error_description": "expired access/refresh token"}
    assert not works(rig, second["access_token"])
    assert refresh(rig, given, second["refresh_token"]).status_code == 400


def soap_login(rig: Rig, version: str, password: str) -> requests.Response:
    body = (
        '<env:Envelope xmlns:env="http://schemas.xmlsoap.org/soap/envelope/"><env:Body>'
        '<n1:login xmlns:n1="urn:partner.soap.sforce.com">'
        f"<n1:username>{INTEGRATION}</n1:username><n1:password>{password}</n1:password></n1:login></env:Body></env:Envelope>"
    )
    url = f"{rig.url}/services/Soap/u/{version}"
    return rig.session.post(url, data=body, headers={"content-type": "text/xml", "SOAPAction": "login"}, timeout=20)


def test_soap_login_until_version_64(rig: Rig) -> None:
    password = rig.control("credentials")["password"]
    good = soap_login(rig, "59.0", password + "SECURITYTOKEN")
    assert good.status_code == 200
    assert works(rig, good.text.split("<sessionId>")[1].split("<")[0])
    assert f"<serverUrl>{rig.url}/services/Soap/u/59.0/" in good.text
    gone = soap_login(rig, "65.0", password)
    assert (gone.status_code, "<sf:exceptionCode>INVALID_OPERATION<" in gone.text) == (500, True)
    wrong = soap_login(rig, "59.0", "nonsense")
    assert (wrong.status_code, "<sf:exceptionCode>INVALID_LOGIN<" in wrong.text) == (500, True)


def test_soap_refuses_entities(rig: Rig) -> None:
    body = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]><a>&x;</a>'
    response = rig.session.post(f"{rig.url}/services/Soap/u/59.0", data=body, timeout=20)
    assert response.status_code == 500
    assert "INVALID_OPERATION" in response.text


@pytest.mark.parametrize("header", ["Bearer nonsense", "OAuth nonsense", "Basic abc", ""])
def test_wrong_session_is_401(rig: Rig, header: str) -> None:
    response = rig.call("GET", "/limits", headers={"Authorization": header})
    assert refusal(response) == (401, "INVALID_SESSION_ID", "Session expired or invalid")


def test_revoked_expired_and_timed_out_tokens(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(token_ttl_seconds=60)
    revoked, other = rig.org.issue_token(), rig.org.issue_token()
    assert rig.session.post(f"{rig.url}/services/oauth2/revoke", data={"token": revoked}, timeout=20).status_code == 200
    assert not works(rig, revoked)
    assert works(rig, other)
    rig.clock.advance(61)
    assert not works(rig, other)
    third = rig.org.issue_token()
    assert rig.control("tokens", {"expire": True})["expired"] >= 1
    assert not works(rig, third)


def test_the_life_of_tokens_is_set_by_the_control_api(rig: Rig) -> None:
    given = rig.control("credentials")
    assert rig.control("tokens", {"ttl_requests": 2, "rotate": True})["ttl_requests"] == 2
    first = refresh(rig, given, given["refresh_token"]).json()
    assert [works(rig, first["access_token"]) for _ in range(3)] == [True, True, False]
    assert refresh(rig, given, given["refresh_token"]).json()["error"] == "invalid_grant"
    assert rig.control("tokens", {"ttl_requests": None, "ttl_seconds": 60, "rotate": False})["expired"] == 0
    token = rig.org.issue_token()
    assert works(rig, token)
    rig.clock.advance(61)
    assert not works(rig, token)
    other = rig.org.issue_token()
    assert rig.control("tokens", {"expire_now": True})["expired"] >= 1
    assert not works(rig, other)


def test_userinfo_and_identity_url(rig: Rig) -> None:
    info = rig.call("GET", "/services/oauth2/userinfo", token=rig.token).json()
    assert info["preferred_username"] == INTEGRATION
    answer = post_token(rig, grant_type=JWT_GRANT, assertion=sign(rig)).json()
    path = answer["id"].removeprefix(rig.url)
    headers = {"Authorization": f"Bearer {rig.token}"}
    assert rig.session.get(rig.url + path, headers=headers, timeout=20).json()["user_id"] == info["user_id"]


def test_an_inactive_user_has_no_session(rig: Rig) -> None:
    rig.control("permissions", {"user": INTEGRATION, "active": False})
    assert not works(rig, rig.token)
    assert post_token(rig, grant_type=JWT_GRANT, assertion=sign(rig)).json()["error"] == "invalid_grant"


def test_a_user_without_api_permission_is_refused(rig: Rig) -> None:
    rig.control("permissions", {"user": INTEGRATION, "flag": "ApiEnabled", "value": False})
    assert refusal(rig.call("GET", "/limits", token=rig.token))[:2] == (403, "API_DISABLED_FOR_ORG")
