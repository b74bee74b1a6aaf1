"""Tokens, limits, hosts, secrets."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import connectors
from connectors.budget import MemoryLedger
from connectors.hubspot.settings import HubSpotSettings
from connectors.mapping import Usage
from connectors.protocol import Connector
from core.errors import Forbidden, InvalidSettings, QuotaExhausted, Unauthorized, Unexpected
from core.records import Record
from sandbox.hubspot import HubSpotOptions
from tests.connectors.clocks import StillClock
from tests.connectors.hubspot.practice import ZONE, PracticePortal, WaitingClock

LEAN = Usage(kinds=frozenset())


@pytest.fixture
def oauth(portal: PracticePortal) -> dict[str, Any]:
    given = portal.credentials()
    secret = portal.keep_secret(given["client_secret"], "client-secret")
    refresh = portal.keep_secret(given["refresh_token"], "refresh-token")
    return {
        "token": None,
        "oauth": {
            "client_id": given["client_id"],
            "client_secret": {"file": str(secret)},
            "refresh_token": {"file": str(refresh)},
        },
    }


def records(connector: Connector) -> int:
    return sum(isinstance(f, Record) for page in connector.read({}) for f in page.facts)


def test_oauth_renews_its_token_in_time(portal: PracticePortal, oauth: dict[str, Any]) -> None:
    portal.add_people(2)
    connector = portal.connect(usage=LEAN, **oauth)
    assert records(connector) == 2
    token_calls = "POST /oauth/v3/token"
    assert connector.counts.by_endpoint[token_calls] == 1
    portal.waiting.seconds += 1_700
    connector.prepare()
    assert connector.counts.by_endpoint[token_calls] == 1
    portal.waiting.seconds += 60
    connector.prepare()
    assert connector.counts.by_endpoint[token_calls] == 2


def test_a_token_that_ends_in_the_middle_is_renewed_once(portal: PracticePortal, oauth: dict[str, Any]) -> None:
    portal.add_people(9)
    connector = portal.connect(usage=LEAN, **oauth)
    seen = 0
    for page in connector.read({}):
        if seen == 0:
            portal.control("tokens", {"expire": True})
        seen += sum(isinstance(f, Record) for f in page.facts)
    assert seen == 9
    assert connector.counts.by_endpoint["POST /oauth/v3/token"] == 2


def test_a_refused_refresh_token_is_unauthorized_and_not_shown(portal: PracticePortal, oauth: dict[str, Any]) -> None:
    secret = portal.keep_secret("na1-wrong-refresh-token", "refresh-token")
    oauth["oauth"]["refresh_token"] = {"file": str(secret)}
    connector = portal.connect(usage=LEAN, **oauth)
    with pytest.raises(Unauthorized) as caught:
        connector.now()
    assert "na1-wrong" not in f"{caught.value!r}{caught.value.hint}"
    assert connector.counts.by_endpoint["POST /oauth/v3/token"] == 1


def test_a_private_token_is_not_tried_twice(portal: PracticePortal) -> None:
    connector = portal.connect(secret="pat-na1-00000000-0000-0000-0000-000000000000")
    with pytest.raises(Unauthorized):
        connector.now()
    assert connector.counts.other == 1


def test_another_private_token_in_its_place_is_used_in_the_middle_of_a_run(portal: PracticePortal) -> None:
    connector = portal.connect(usage=LEAN)
    connector.prepare()
    portal.control("tokens", {"revoke": portal.secret})
    portal.keep_secret(portal.app.issue_token())
    assert records(connector) == 0


def test_another_private_token_in_its_place_is_used_though_the_old_one_works(portal: PracticePortal) -> None:
    few = portal.app.issue_token(["crm.objects.contacts.read"])
    connector = portal.connect(secret=few)
    with pytest.raises(Forbidden):
        connector.prepare()
    portal.keep_secret(portal.secret)
    connector.prepare()


def test_a_doctors_calls_are_counted_and_go_out_though_the_share_is_used_up(portal: PracticePortal) -> None:
    ledger = MemoryLedger()
    settings = {"vendor": "hubspot", "base_url": portal.server.url, "sandbox": True, "daily_calls": 10}
    settings["token"] = {"file": str(portal.keep_secret(portal.secret))}
    connector = connectors.open_connector(
        "hubspot", settings, zone=ZONE, usage=LEAN, clock=portal.waiting, ledger=ledger
    )
    assert ledger.take(10, 10, portal.waiting.now()) is None
    with pytest.raises(QuotaExhausted):
        connector.prepare()
    assert [f for f in connector.check().findings if f.level == "error"] == []
    assert connector.counts.other > 0
    assert len(ledger._sent) == 10 + connector.counts.other + connector.counts.stream
    with pytest.raises(QuotaExhausted):
        connector.prepare()


def test_reading_stays_within_the_limits_without_one_refusal(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    portal = PracticePortal(tmp_path, HubSpotOptions(edition="Starter"))
    portal.waiting = WaitingClock(portal)
    try:
        portal.add_people(1_000)
        connector = portal.connect(usage=LEAN)  # 250 pages, 100 calls in ten seconds allowed
        assert records(connector) == 1_000
        attempts = connector.counts.stream + connector.counts.other
        assert attempts <= 250 + 10
        assert sum(portal.waiting.sleeps) >= 20
        assert "429" not in caplog.text
    finally:
        portal.stop()


def test_a_sibling_with_the_same_token_is_made_room_for(tmp_path: Path) -> None:
    portal = PracticePortal(tmp_path, HubSpotOptions(edition="Starter"))
    portal.waiting = WaitingClock(portal)
    try:
        portal.add_people(60)
        connector = portal.connect(usage=LEAN)
        connector.now()
        for _ in range(85):
            portal.api("GET", "/account-info/v3/details")
        assert records(connector) == 60
        assert sum(portal.waiting.sleeps) >= 1
        assert portal.calls() == connector.counts.stream + connector.counts.other + 85
    finally:
        portal.stop()


def test_searching_stays_below_five_a_second(tmp_path: Path) -> None:
    portal = PracticePortal(tmp_path, HubSpotOptions())
    portal.waiting = WaitingClock(portal)
    try:
        connector = portal.connect(usage=LEAN)
        start = {p.stream: p.cursor for p in connector.read({})}
        portal.settle()
        refs = portal.add_people(120, stamp=portal.clock.now_ms())
        portal.settle()
        before = connector.counts.stream
        seen = [f.ref.id for p in connector.read(start) for f in p.facts if isinstance(f, Record)]
        assert len(seen) == len(refs)
        assert connector.counts.stream - before == 30 + 2
    finally:
        portal.stop()


@pytest.mark.parametrize(
    ("body", "headers", "wait"),
    [
        ({"policyName": "TEN_SECONDLY_ROLLING", "errorType": "RATE_LIMIT", "message": "x"}, {}, 10.0),
        ({"message": "You have reached your secondly limit."}, {}, 1.0),
        ({"message": "slow down"}, {"Retry-After": "7"}, 7.0),
    ],
)
def test_a_refusal_for_pace_is_waited_out_as_told(
    portal: PracticePortal, body: dict[str, str], headers: dict[str, str], wait: float
) -> None:
    portal.add_people(1)
    connector = portal.connect(usage=LEAN)
    connector.now()
    portal.waiting.sleeps.clear()
    portal.fail_next(status=429, body=json.dumps(body), headers=headers, path="objects/contacts")
    assert records(connector) == 1
    assert portal.waiting.sleeps == [wait]


def test_the_daily_limit_pauses_until_the_portals_midnight(tmp_path: Path) -> None:
    portal = PracticePortal(tmp_path, HubSpotOptions())
    try:
        portal.add_people(3)
        connector = portal.connect(usage=LEAN, daily_share_percent=100)
        connector.prepare()
        portal.control("quota", {"used": 625_000})
        with pytest.raises(QuotaExhausted) as caught:
            list(connector.read({}))
        assert caught.value.resets_at is not None
        assert caught.value.resets_at.isoformat() == "2026-05-29T15:00:00+00:00"
    finally:
        portal.stop()


def test_a_granted_share_is_kept(tmp_path: Path) -> None:
    portal = PracticePortal(tmp_path, HubSpotOptions())
    try:
        portal.add_people(40)
        portal.control("quota", {"used": 620_000})
        connector = portal.connect(usage=LEAN, daily_share_percent=80)
        with pytest.raises(QuotaExhausted):
            list(connector.read({}))
        assert connector.counts.stream + connector.counts.other <= 2
    finally:
        portal.stop()


def test_own_calls_a_day_are_kept(portal: PracticePortal) -> None:
    portal.add_people(100)
    connector = portal.connect(usage=LEAN, daily_calls=10)
    with pytest.raises(QuotaExhausted):
        list(connector.read({}))
    assert portal.calls() == 10


def test_a_redirect_is_not_followed(portal: PracticePortal) -> None:
    other = portal.server.url.replace("127.0.0.1", "localhost") + "/account-info/v3/details"
    portal.fail_next(status=307, headers={"Location": other}, times=1)
    with pytest.raises(Unexpected, match="redirect"):
        portal.connect().now()
    assert portal.calls() == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"base_url": "https://api.hubapi.example"},
        {"base_url": "http://127.0.0.1:9"},
        {"base_url": "https://api.hubapi.example", "sandbox": True},
        {"base_url": "http://127.0.0.1:9/path", "sandbox": True},
        {"base_url": "ftp://127.0.0.1", "sandbox": True},
        {"base_url": "http://user:pw@127.0.0.1:9", "sandbox": True},
        {"token": "pat-na1-in-the-file"},
        {"token": {"env": "X"}, "oauth": {"client_id": "x"}},
        {"search_page_rows": 500},
        {"colour": "blue"},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        HubSpotSettings.model_validate(wrong)


def test_a_loopback_sandbox_and_the_real_host_are_accepted() -> None:
    assert HubSpotSettings().base_url == "https://api.hubapi.com"
    for url in ("http://localhost:1", "http://[::1]:1", "https://127.0.0.1:1/"):
        assert HubSpotSettings(base_url=url, sandbox=True).base_url == url


def test_the_registry_opens_it_by_vendor(portal: PracticePortal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIKOMI_MARKETING_TOKEN", portal.secret)
    settings = {"vendor": "hubspot", "base_url": portal.server.url, "sandbox": True}
    connector = connectors.open_connector("marketing", settings, zone=ZONE, usage=LEAN, clock=StillClock())
    [ref] = portal.add_people(1)
    [record] = connector.fetch([type(ref)("marketing", "contact", ref.id)])
    assert record.ref.system == "marketing"


def test_a_missing_secret_says_where_to_put_it() -> None:
    with pytest.raises(InvalidSettings) as caught:
        connectors.open_connector("hubspot", {}, zone=ZONE, usage=LEAN)
    assert "MIKOMI_HUBSPOT_TOKEN" in caught.value.hint


def test_a_secret_file_that_others_can_read_is_refused(portal: PracticePortal) -> None:
    path = portal.keep_secret(portal.secret)
    path.chmod(0o644)
    settings = {"token": {"file": str(path)}}
    with pytest.raises(InvalidSettings, match="0644"):
        connectors.open_connector("hubspot", settings, zone=ZONE, usage=LEAN)
