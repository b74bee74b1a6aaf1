"""Rate limits, quotas, tokens and scopes, with the bodies and headers that clients look at."""

from typing import Any
from urllib.parse import urlencode

import pytest

from sandbox.hubspot.auth import all_scopes
from tests.sandbox.hubspot.conftest import Account, Answer, Opener

LIST = "/crm/v3/objects/contacts"


def test_ten_seconds_by_edition(open_account: Opener) -> None:
    account = open_account(limits=True, edition="Starter")
    answers = [account.get(LIST, limit=1) for _ in range(101)]
    assert [answer.status for answer in answers] == [200] * 100 + [429]
    first = answers[0].headers
    assert first["x-hubspot-ratelimit-max"] == "100"
    assert first["x-hubspot-ratelimit-remaining"] == "99"
    assert first["x-hubspot-ratelimit-interval-milliseconds"] == "10000"
    assert first["x-hubspot-ratelimit-daily"] == "250000"
    assert first["x-hubspot-ratelimit-daily-remaining"] == "249999"
    body = answers[-1].json
    assert body["message"] == "You have reached your ten_secondly_rolling limit."
    assert body["policyName"] == "TEN_SECONDLY_ROLLING"
    assert body["errorType"] == "RATE_LIMIT"
    assert body["groupName"].startswith("publicapi:")
    assert "category" not in body
    account.clock.advance(10)
    assert account.get(LIST).status == 200


def test_search_has_its_own_limit_and_no_headers(open_account: Opener) -> None:
    account = open_account(limits=True)
    answers = [account.post(f"{LIST}/search", {}) for _ in range(6)]
    assert [answer.status for answer in answers] == [200] * 5 + [429]
    assert not [name for name in answers[0].headers if "ratelimit" in name]
    assert answers[-1].json["message"] == "You have reached your secondly limit."
    assert answers[-1].json["policyName"] == "SECONDLY"
    assert account.get(LIST).headers["x-hubspot-ratelimit-remaining"] == "189"
    account.clock.advance(1)
    assert account.post(f"{LIST}/search", {}).status == 200


def test_the_day_ends_at_midnight_where_the_account_is(open_account: Opener) -> None:
    account = open_account(limits=True)
    account.control("quota", {"used": 624_999})
    usage = "/account-info/v3/api-usage/daily/private-apps"
    answer = account.get(usage)
    assert answer.json["results"][0]["currentUsage"] == 625_000
    assert answer.json["results"][0]["usageLimit"] == 625_000
    assert answer.json["results"][0]["resetsAt"] == "2025-11-30T15:00:00.000Z"
    refused = account.get(usage)
    assert (refused.status, refused.json["policyName"]) == (429, "DAILY")
    assert refused.json["message"] == "You have reached your daily limit."
    assert account.post(f"{LIST}/search", {}).status == 429
    account.clock.set(1_764_514_800_000)  # midnight in Tokyo
    assert account.get(usage).json["results"][0]["currentUsage"] == 1


def test_without_limits_nothing_is_refused(account: Account) -> None:
    assert {account.post(f"{LIST}/search", {"limit": 1}).status for _ in range(30)} == {200}


def test_wrong_tokens(account: Account) -> None:
    missing = account.send("GET", LIST, None, {})
    assert (missing.status, missing.json["category"]) == (401, "INVALID_AUTHENTICATION")
    assert missing.json["message"].startswith("Authentication credentials not found.")
    wrong = account.call("GET", LIST, token="pat-na1-00000000-0000-0000-0000-000000000000")
    assert (wrong.status, wrong.json["category"]) == (401, "INVALID_AUTHENTICATION")


SCOPED: list[tuple[str, str, Any, list[str]]] = [
    ("GET", "/crm/v3/objects/contacts", None, ["crm.objects.contacts.read"]),
    ("POST", "/crm/v3/objects/companies", {}, ["crm.objects.companies.write"]),
    ("POST", "/crm/v3/objects/deals/search", {}, ["crm.objects.deals.read"]),
    ("GET", "/crm/v3/objects/emails", None, ["crm.objects.contacts.read", "sales-email-read"]),
    ("POST", "/crm/v3/properties/contacts", {}, ["crm.schemas.contacts.write"]),
    ("GET", "/crm/v3/owners", None, ["crm.objects.owners.read"]),
    ("GET", "/email/public/v1/events", None, ["content"]),
    ("GET", "/marketing/v3/forms", None, ["forms"]),
    ("POST", "/crm/v3/lists/search", {}, ["crm.lists.read"]),
    ("GET", "/marketing/v3/marketing-events", None, ["crm.objects.marketing_events.read"]),
]


@pytest.mark.parametrize(("method", "path", "body", "scopes"), SCOPED)
def test_missing_scopes(account: Account, method: str, path: str, body: Any, scopes: list[str]) -> None:
    token = account.app.issue_token(["oauth"])
    refused = account.call(method, path, body, token=token)
    assert refused.status == 403
    assert refused.json["category"] == "MISSING_SCOPES"
    assert refused.json["errors"][0]["context"]["requiredGranularScopes"] == scopes
    assert refused.json["links"] == {"scopes": "https://developers.hubspot.com/scopes"}
    account.control("scopes", {"token": token, "scopes": scopes})
    assert account.call(method, path, body, token=token).status != 403


def test_a_private_app_token_can_be_looked_at(account: Account) -> None:
    path = "/oauth/v2/private-apps/get/access-token-info"
    info = account.post(path, {"tokenKey": account.token})
    assert info.json["hubId"] == account.app.options.portal_id
    assert set(info.json["scopes"]) == all_scopes()
    assert account.post(path, {"tokenKey": "pat-na1-x"}).status == 404


def _token(account: Account, version: str, **form: str) -> Answer:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return account.send("POST", f"/oauth/{version}/token", urlencode(form).encode(), headers)


@pytest.mark.parametrize("version", ["v1", "v3", "2026-03"])
def test_oauth_from_code_to_expiry_and_refresh(account: Account, version: str) -> None:
    known = account.get("/__sandbox__/credentials").json
    client = {"client_id": known["client_id"], "client_secret": known["client_secret"]}
    code = {"grant_type": "authorization_code", "code": known["code"], "redirect_uri": known["redirect_uri"]}
    first = _token(account, version, **code, **client)
    assert first.status == 200
    assert first.json["expires_in"] == 1800
    assert first.json["token_type"] == "bearer"
    assert _token(account, version, **code, **client).status == 400  # a code works once
    access = first.json["access_token"]
    assert account.call("GET", LIST, token=access).status == 200
    account.clock.advance(1807)
    expired = account.call("GET", LIST, token=access)
    assert (expired.status, expired.json["category"]) == (401, "EXPIRED_AUTHENTICATION")
    assert expired.json["message"] == "The OAuth token used to make this call expired 7 second(s) ago."
    refresh = {"grant_type": "refresh_token", "refresh_token": first.json["refresh_token"]}
    second = _token(account, version, **refresh, **client)
    assert second.json["refresh_token"] == first.json["refresh_token"]
    assert account.call("GET", LIST, token=second.json["access_token"]).status == 200
    account.control("tokens", {"expire": True})
    assert account.call("GET", LIST, token=second.json["access_token"]).status == 401
    wrong = _token(account, version, **refresh, client_id="x", client_secret="y")
    assert wrong.status == 400
    assert wrong.json["status"] == "BAD_CLIENT"


def test_the_life_of_oauth_tokens_is_set_by_the_control_api(account: Account) -> None:
    known = account.get("/__sandbox__/credentials").json
    client = {"client_id": known["client_id"], "client_secret": known["client_secret"]}
    account.control("tokens", {"ttl_requests": 2, "ttl_seconds": 90, "rotate": True})
    form = {"grant_type": "refresh_token", "refresh_token": known["refresh_token"], **client}
    first = _token(account, "v3", **form).json
    assert first["expires_in"] == 90
    seen = [account.call("GET", LIST, token=first["access_token"]) for _ in range(3)]
    assert [answer.status for answer in seen] == [200, 200, 401]
    assert seen[2].json["category"] == "EXPIRED_AUTHENTICATION"
    assert _token(account, "v3", **form).json["status"] == "BAD_REFRESH_TOKEN"
    second = _token(account, "v3", **{**form, "refresh_token": first["refresh_token"]}).json
    account.control("tokens", {"expire_now": True})
    assert account.call("GET", LIST, token=second["access_token"]).status == 401
    assert account.call("GET", LIST).status == 200, "private apps' tokens have no end"


def test_the_token_endpoint_takes_forms_only(account: Account) -> None:
    assert account.post("/oauth/v3/token", {"grant_type": "refresh_token"}).status == 415


def test_introspection(account: Account) -> None:
    known = account.get("/__sandbox__/credentials").json
    client = {"client_id": known["client_id"], "client_secret": known["client_secret"]}
    got = _token(account, "v3", grant_type="refresh_token", refresh_token=known["refresh_token"], **client).json
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    form = urlencode({"token": got["access_token"]}).encode()
    info = account.send("POST", "/oauth/v3/token/introspect", form, headers).json
    assert (info["active"], info["hub_id"]) == (True, account.app.options.portal_id)
    assert account.get(f"/oauth/v1/access-tokens/{got['access_token']}").json["expires_in"] == 1800
    assert account.get(f"/oauth/v1/refresh-tokens/{got['refresh_token']}").json["token_type"] == "refresh"
    assert account.call("DELETE", f"/oauth/v1/refresh-tokens/{got['refresh_token']}").status == 204
    assert _token(account, "v1", grant_type="refresh_token", refresh_token=got["refresh_token"], **client).status == 400


def test_oauth_apps_have_110_and_no_daily_headers(open_account: Opener) -> None:
    account = open_account(limits=True, app_kind="oauth")
    answer = account.get(LIST)
    assert answer.headers["x-hubspot-ratelimit-max"] == "110"
    assert "x-hubspot-ratelimit-daily" not in answer.headers
    assert sum(account.get(LIST, limit=1).status == 200 for _ in range(115)) == 109


def test_account_details_and_owners(account: Account) -> None:
    details = account.get("/account-info/v3/details").json
    assert (details["timeZone"], details["utcOffset"]) == ("Asia/Tokyo", "+09:00")
    assert details["utcOffsetMilliseconds"] == 32_400_000
    rows = [{"id": "7", "email": "rep@seller.example", "firstName": "一", "lastName": "東", "userId": 70}]
    account.app.load_owners([*rows, {**rows[0], "id": "8", "email": "gone@seller.example", "archived": True}])
    page = account.get("/crm/v3/owners", limit=1).json
    assert page["results"][0]["id"] == "7"
    assert page["paging"]["next"]["after"] == "41629779"
    assert account.get("/crm/v3/owners", email="REP@seller.example").json["results"][0]["userId"] == 70
    gone = account.get("/crm/v3/owners", archived="true").json["results"]
    assert [(owner["id"], "userId" in owner) for owner in gone] == [("8", False)]
    assert account.get("/crm/v3/owners/70", idProperty="userId").json["id"] == "7"
    assert account.create("contacts", email="a@buyer.example", hubspot_owner_id="7")
    refused = account.post(LIST, {"properties": {"hubspot_owner_id": "8"}})
    assert refused.json["errors"][0]["code"] == "INVALID_OWNER_ID"


def test_pipelines(account: Account) -> None:
    pipelines = account.get("/crm/v3/pipelines/deals").json["results"]
    stages = {stage["id"]: stage["metadata"] for stage in pipelines[0]["stages"]}
    assert stages["closedwon"] == {"isClosed": "true", "probability": "1.0"}
    assert stages["contractsent"] == {"isClosed": "false", "probability": "0.9"}
    account.app.load_pipeline("renewals", "更新", [("open", "商談中", "0.5"), ("kept", "更新済", "1.0")])
    assert account.get("/crm/v3/pipelines/deals/renewals/stages/kept").json["label"] == "更新済"
    assert account.create("deals", dealname="d", dealstage="kept")
    assert account.get("/crm/v3/pipelines/deals/ghost").status == 404
