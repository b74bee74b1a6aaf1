"""The sandbox as tests use it: both emulators in this process, filled with a market, over real HTTP."""

import json
import socket
import ssl
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from sandbox import Endpoint, Sandbox
from sandbox.main import StartError
from tests.sandbox.market.gather import NOW


def call(
    end: Endpoint, path: str, body: object = None, *, url: str | None = None, tls: ssl.SSLContext | None = None
) -> Any:
    request = urllib.request.Request((url or end.url) + path)
    request.add_header("Authorization", f"Bearer {end.token}")
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=20, context=tls) as response:
        return json.load(response)


def ask(box: Sandbox, soql: str) -> Any:
    return call(box.salesforce, f"/services/data/v62.0/query?q={urllib.parse.quote(soql)}")


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with Sandbox(seed=3, people=400, now_ms=NOW, limits=False) as sandbox:
        yield sandbox


def test_salesforce_holds_the_market(box: Sandbox) -> None:
    records = [r for r in box.market.truth.records() if r.system == "salesforce"]
    live = [r for r in records if r.role not in {"merged", "deleted"}]
    for kind in ("Lead", "Contact"):
        count = ask(box, f"SELECT COUNT() FROM {kind}")["totalSize"]
        assert count == sum(r.kind == kind for r in live)
    converted = ask(box, "SELECT Id, ConvertedContactId FROM Lead WHERE IsConverted = true")["records"]
    survivors = {r.id: r.survivor for r in records if r.role == "converted"}
    assert {row["Id"]: row["ConvertedContactId"] for row in converted} == survivors
    calls = ask(box, "SELECT Id, Who.Name, CompletedDateTime FROM Task WHERE TaskSubtype = 'Call' LIMIT 5")["records"]
    assert len(calls) == 5
    assert all(row["Who"]["Name"] and row["CompletedDateTime"] for row in calls)
    webinars = "SELECT COUNT() FROM CampaignMember WHERE Campaign.Type = 'Webinar' AND Status = 'Attended'"
    assert ask(box, webinars)["totalSize"] > 20
    assert ask(box, "SELECT COUNT() FROM OpportunityHistory")["totalSize"] > 100
    assert sum(box.calls()["salesforce"].values()) >= 6


def test_hubspot_holds_the_market(box: Sandbox) -> None:
    truth = box.market.truth
    live = {r.id for r in truth.records() if r.system == "hubspot" and r.role in {"original", "duplicate"}}
    found, after = set(), "0"
    while after:
        path = f"/crm/v3/objects/contacts?limit=100&properties=email,salesforceleadid&after={after}"
        page = call(box.hubspot, path)
        found |= {row["id"] for row in page["results"]}
        after = page.get("paging", {}).get("next", {}).get("after", "")
    assert found == live
    assert call(box.hubspot, "/crm/v3/objects/deals/search", {"limit": 1})["total"] > 20
    assert call(box.hubspot, "/crm/v3/objects/meetings/search", {"limit": 1})["total"] > 20


def test_hubspot_has_the_marketing_side(box: Sandbox) -> None:
    forms = call(box.hubspot, "/marketing/v3/forms?limit=50")["results"]
    names = {form["name"]: form["id"] for form in forms}
    sent = call(box.hubspot, f"/form-integrations/v1/submissions/forms/{names['ウェビナー申込']}?limit=50")["results"]
    stamps = [row["submittedAt"] for row in sent]
    assert stamps == sorted(stamps, reverse=True)
    assert all(any(value["name"] == "email" for value in row["values"]) for row in sent)
    events = call(box.hubspot, f"/email/public/v1/events?startTimestamp={NOW - 90 * 86_400_000}&limit=1000")["events"]
    assert {"OPEN", "CLICK"} <= {event["type"] for event in events}
    members = call(box.hubspot, "/crm/v3/lists/101/memberships/join-order?limit=100")["results"]
    assert len(members) > 10
    meetings = call(box.hubspot, "/marketing/v3/marketing-events?limit=100")["results"]
    webinar = next(row for row in meetings if "ウェビナー" in row["eventName"])
    path = f"/marketing/v3/marketing-events/participations/{webinar['objectId']}/breakdown?limit=10"
    assert "results" in call(box.hubspot, path)


def test_merged_contacts_resolve_to_their_survivor(box: Sandbox) -> None:
    merged = next(r for r in box.market.truth.records() if r.system == "hubspot" and r.role == "merged")
    assert call(box.hubspot, f"/crm/v3/objects/contacts/{merged.id}")["id"] == merged.survivor


def test_both_tell_the_truth_about_a_record(box: Sandbox) -> None:
    record = next(r for r in box.market.truth.records() if r.system == "salesforce" and r.kind == "Contact")
    for end in (box.salesforce, box.hubspot):
        found = call(end, f"/__sandbox__/truth?id={record.id}")
        assert found["id"] == record.person
        assert 0 <= found["chance_90"] <= found["chance_180"] <= 1
    assert set(call(box.hubspot, "/__sandbox__/truth")["conversion"]) == {"inbound", "outbound", "trade_show"}
    with pytest.raises(HTTPError) as refused:
        call(box.hubspot, "/__sandbox__/truth?id=nobody")
    assert refused.value.code == 404
    refused.value.close()


def test_one_clock_for_both(box: Sandbox) -> None:
    before = call(box.hubspot, "/__sandbox__/clock")["now_ms"]
    box.clock.advance(1200)
    assert call(box.salesforce, "/__sandbox__/clock")["now_ms"] >= before + 1_200_000


def test_tls_is_trusted_with_its_ca_and_answers_the_same() -> None:
    with Sandbox(people=5, now_ms=NOW, tls=True) as sandbox:
        assert sandbox.salesforce.ca
        context = ssl.create_default_context(cafile=sandbox.salesforce.ca)
        for end, path in ((sandbox.salesforce, "/services/data/"), (sandbox.hubspot, "/account-info/v3/details")):
            assert end.tls_url
            assert end.tls_url.startswith("https://")
            assert call(end, path, url=end.tls_url, tls=context) == call(end, path)
        counted = sandbox.calls()["hubspot"]
        assert next(count for endpoint, count in counted.items() if "account-info" in endpoint) == 2
    assert not Path(sandbox.salesforce.ca).exists()


def test_only_an_enterprise_portal_shows_single_pages() -> None:
    with Sandbox(seed=3, people=40, now_ms=NOW, edition="Enterprise", limits=False) as sandbox:
        contacts = [r.id for r in sandbox.market.truth.records() if r.system == "hubspot" and r.role == "original"]
        seen = []
        for contact in contacts:
            path = f"/events/v3/events?objectType=contact&objectId={contact}&eventType=e_visited_page&limit=100"
            seen += call(sandbox.hubspot, path)["results"]
        assert len(seen) > 20
        assert all(event["properties"]["hs_url"].startswith("https://www.seller.example/") for event in seen)
    with (
        Sandbox(seed=3, people=5, now_ms=NOW, limits=False) as sandbox,
        pytest.raises(HTTPError) as refused,
    ):
        call(sandbox.hubspot, "/events/v3/events?objectType=contact&objectId=1&eventType=e_visited_page")
    assert refused.value.code == 403
    refused.value.close()


def test_plain_records() -> None:
    with Sandbox(records=1_234, now_ms=NOW, limits=False) as sandbox:
        assert ask(sandbox, "SELECT COUNT() FROM Lead")["totalSize"] == 1_234
        assert ask(sandbox, "SELECT COUNT() FROM Task")["totalSize"] == 0
        assert call(sandbox.hubspot, "/crm/v3/objects/contacts/search", {"limit": 1})["total"] == 1_234


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        sandbox = Sandbox(people=5, now_ms=NOW, hubspot_port=port)
        with pytest.raises(StartError, match=rf"port {port} for hubspot is in use"), sandbox:
            pytest.fail("it must not start")
        sandbox.stop()


def test_databases_are_kept_where_asked_and_never_overwritten(tmp_path: Path) -> None:
    with Sandbox(people=5, now_ms=NOW, database_dir=str(tmp_path)):
        assert (tmp_path / "truth.sqlite3").exists()
    assert (tmp_path / "salesforce.sqlite3").exists()
    assert (tmp_path / "hubspot.sqlite3").exists()
    with pytest.raises(StartError, match="already holds a sandbox"):
        Sandbox(people=5, database_dir=str(tmp_path))
    with pytest.raises(StartError, match="cannot keep databases"):
        Sandbox(people=5, database_dir=str(tmp_path / "truth.sqlite3"))
