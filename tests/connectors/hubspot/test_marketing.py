"""Signals that are no CRM objects: mail events, forms, lists, marketing events, web events, owners."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from connectors.mapping import Usage
from connectors.protocol import Cursor, Page
from core.records import Activity, ActivityRow, Fact, Owner, RecordRef
from sandbox.hubspot import HubSpotOptions
from tests.connectors.hubspot.practice import DAY_MS, NOW, PracticePortal

HOUR = 3_600_000


def facts(pages: Iterable[Page], stream: str) -> list[Fact]:
    return [f for page in pages if page.stream == stream for f in page.facts]


def acts(pages: Iterable[Page], stream: str) -> list[Activity]:
    return [a for f in facts(pages, stream) if isinstance(f, ActivityRow) for a in f.activities]


def cursors(pages: Iterable[Page]) -> dict[str, Cursor]:
    return {page.stream: page.cursor for page in pages}


def use(*kinds: str) -> Usage:
    return Usage(kinds=frozenset(kinds))


def mail(number: int, created: int, kind: str = "CLICK", **more: Any) -> dict[str, Any]:
    row = {
        "id": f"e{number}",
        "created": created,
        "type": kind,
        "recipient": f"P{number}@Buyer.example",
        "emailCampaignId": 7,
    }
    return row | more


def test_mail_events_are_read_by_window_and_machines_are_marked(portal: PracticePortal) -> None:
    portal.app.load_email_events(
        [
            mail(1, NOW - 200 * DAY_MS, url="https://seller.example/pricing"),
            mail(2, NOW - HOUR, "OPEN", filteredEvent=True),
            mail(3, NOW - HOUR, "DELIVERED"),
            mail(4, NOW - 400 * DAY_MS),
        ]
    )
    connector = portal.connect(usage=use("email_open", "email_click"))
    pages = list(connector.read({}))
    found = {a.email: a for a in acts(pages, "email_events")}
    assert found.keys() == {"p1@buyer.example", "p2@buyer.example"}
    click, opened = found["p1@buyer.example"], found["p2@buyer.example"]
    assert (click.kind, click.url, click.campaign, click.record) == (
        "email_click",
        "https://seller.example/pricing",
        "7",
        None,
    )
    assert (click.occurred_at, click.known_at, click.machine_suspect) == (NOW - 200 * DAY_MS, NOW - 200 * DAY_MS, False)
    assert (opened.kind, opened.machine_suspect) == ("email_open", True)
    portal.settle()
    portal.app.load_email_events([mail(9, portal.clock.now_ms() - 300_000)])
    portal.settle()
    before = connector.counts.by_endpoint["GET /email/public/v1/events"]
    assert [a.email for a in acts(connector.read(cursors(pages)), "email_events")] == ["p9@buyer.example"]
    assert connector.counts.by_endpoint["GET /email/public/v1/events"] == before + 1


def test_many_mail_events_come_page_by_page_and_every_cursor_resumes(portal: PracticePortal) -> None:
    portal.app.load_email_events([mail(n, NOW - 2 * DAY_MS - n) for n in range(2_500)])
    usage = use("email_click")
    whole = [p for p in portal.connect(usage=usage).read({}) if p.stream == "email_events"]
    assert len(acts(whole, "email_events")) == 2_500
    full = {a.source for a in acts(whole, "email_events")}
    cut = next(n for n, page in enumerate(whole) if page.facts) + 1
    rest = portal.connect(usage=usage).read(cursors(whole[:cut]))
    assert {a.source for a in [*acts(whole[:cut], "email_events"), *acts(rest, "email_events")]} == full


@pytest.fixture
def forms(portal: PracticePortal) -> PracticePortal:
    portal.app.load_forms(
        [
            {"id": "f-doc", "name": "製品資料ダウンロード"},
            {"id": "f-ask", "name": "お問い合わせ"},
            {"id": "f-news", "name": "メルマガ登録"},
        ]
    )
    return portal


def submission(form: str, number: int, at: int) -> dict[str, Any]:
    values = [{"name": "email", "value": f"s{number}@buyer.example"}, {"name": "lastname", "value": "見込"}]
    page = f"https://seller.example/{form}"
    return {"formId": form, "conversionId": f"c{number}", "submittedAt": at, "pageUrl": page, "values": values}


def test_forms_become_downloads_inquiries_and_submissions(forms: PracticePortal) -> None:
    rows = [submission("f-doc", n, NOW - n * HOUR) for n in range(1, 121)]
    rows += [submission("f-ask", 500, NOW - HOUR), submission("f-news", 501, NOW - HOUR)]
    forms.app.load_form_submissions(rows)
    connector = forms.connect(usage=use("download", "inquiry", "form_submit"))
    pages = list(connector.read({}))
    found = acts(pages, "forms")
    assert [a.kind for a in found].count("download") == 120
    assert {a.kind: a.asset for a in found} == {
        "download": "製品資料ダウンロード",
        "inquiry": "お問い合わせ",
        "form_submit": "メルマガ登録",
    }
    assert all("@" not in a.source.id for a in found)
    forms.settle()
    newest = submission("f-doc", 900, forms.clock.now_ms() - 60_000)
    forms.app.load_form_submissions([newest])
    forms.settle()
    calls = connector.counts.stream
    again = acts(connector.read(cursors(pages)), "forms")
    assert [a.email for a in again] == ["s900@buyer.example"]
    assert connector.counts.stream - calls == 3 + 3  # one per form; contacts, companies, deals


def test_a_form_that_means_nothing_in_use_is_not_read(forms: PracticePortal) -> None:
    forms.app.load_form_submissions([submission("f-news", 1, NOW - HOUR)])
    connector = forms.connect(usage=use("download"))
    assert acts(connector.read({}), "forms") == []
    read = [n for name, n in connector.counts.by_endpoint.items() if "submissions" in name]
    assert read == [1]


def test_a_form_without_a_name_for_its_sender_is_withdrawn(forms: PracticePortal) -> None:
    row = submission("f-ask", 1, NOW - HOUR) | {"values": [{"name": "phone", "value": "03-0000-0000"}]}
    forms.app.load_form_submissions([row])
    rows = facts(forms.connect(usage=use("inquiry")).read({}), "forms")
    assert [f.activities for f in rows if isinstance(f, ActivityRow)] == [()]


def test_lists_show_page_views_and_are_read_again_only_when_they_move(portal: PracticePortal) -> None:
    refs = portal.add_people(3)
    portal.app.load_lists([{"listId": 1, "name": "visited /pricing"}, {"listId": 2, "name": "社員"}])
    portal.app.load_memberships([{"listId": 1, "recordId": r.id, "joined_ms": NOW - DAY_MS} for r in refs[:2]])
    portal.app.load_memberships([{"listId": 2, "recordId": refs[0].id, "joined_ms": NOW - DAY_MS}])
    connector = portal.connect(usage=use("page_view"))
    pages = list(connector.read({}))
    found = acts(pages, "lists")
    assert {a.record for a in found} == set(refs[:2])
    assert {(a.kind, a.url, a.occurred_at, a.known_at) for a in found} == {
        ("page_view", "/pricing", NOW - DAY_MS, NOW - DAY_MS)
    }
    members = "GET /crm/v3/lists/{list}/memberships"
    assert connector.counts.by_endpoint[members] == 1
    portal.settle()
    start = cursors(pages)
    assert acts(connector.read(start), "lists") == []
    assert connector.counts.by_endpoint[members] == 1
    portal.app.load_memberships([{"listId": 1, "recordId": refs[2].id, "joined_ms": portal.clock.now_ms()}])
    assert [a.record for a in acts(connector.read(start), "lists")] == [refs[2]]


def test_participations_of_webinars_and_trade_shows(portal: PracticePortal) -> None:
    refs = portal.add_people(3)
    soon = {"startDateTime": "2026-05-20T01:00:00.000Z", "endDateTime": "2026-05-20T02:00:00.000Z"}
    portal.app.load_marketing_events(
        [
            {"objectId": 54001, "eventName": "DX ウェビナー", "eventType": "WEBINAR", **soon},
            {"objectId": 54002, "eventName": "春の展示会", "eventType": "Trade Show", **soon},
        ]
    )
    at = NOW - 8 * DAY_MS

    def row(event: int, ref: RecordRef, state: str, **more: Any) -> dict[str, Any]:
        return {
            "eventId": event,
            "contactId": ref.id,
            "state": state,
            "occurred_ms": at,
            "created_ms": at + HOUR,
            **more,
        }

    portal.app.load_participations(
        [
            row(54001, refs[0], "ATTENDED", duration_s=3600),
            row(54001, refs[1], "REGISTERED"),
            row(54001, refs[2], "CANCELLED"),
            row(54002, refs[0], "ATTENDED"),
            row(54002, refs[1], "REGISTERED"),
        ]
    )
    connector = portal.connect(usage=use("webinar_register", "webinar_attend", "event_attend"))
    pages = list(connector.read({}))
    found = {(a.kind, a.record): a for a in acts(pages, "marketing_events")}
    assert found.keys() == {("webinar_attend", refs[0]), ("webinar_register", refs[1]), ("event_attend", refs[0])}
    attended = found["webinar_attend", refs[0]]
    assert (attended.asset, attended.duration, attended.occurred_at, attended.known_at) == (
        "DX ウェビナー",
        3600,
        at,
        at + HOUR,
    )
    calls = connector.counts.stream
    assert acts(connector.read(cursors(pages)), "marketing_events") == []
    assert connector.counts.stream - calls <= 3 + 2
    portal.app.load_participations([row(54001, refs[2], "ATTENDED")])
    again = acts(connector.read(cursors(pages)), "marketing_events")
    assert ("webinar_attend", refs[2]) in {(a.kind, a.record) for a in again}


def test_web_events_need_enterprise_and_are_asked_only_of_visitors(tmp_path: Path) -> None:
    portal = PracticePortal(tmp_path, HubSpotOptions(limits=False, edition="Enterprise"))
    try:
        visitor, other = portal.add_people(2)
        stamp = NOW - HOUR
        portal.control("events", {"web_events": [view(visitor, stamp, "https://seller.example/pricing?utm=x")]})
        portal.settle()
        connector = portal.connect(usage=use("page_view"))
        pages = list(connector.read({}))
        [seen] = acts(pages, "web_events")
        assert (seen.record, seen.url, seen.occurred_at) == (visitor, "https://seller.example/pricing?utm=x", stamp)
        assert connector.counts.by_endpoint["GET /events/v3/events/"] == 1
        portal.settle()
        assert acts(connector.read(cursors(pages)), "web_events") == []
        assert connector.counts.by_endpoint["GET /events/v3/events/"] == 1
        assert other != visitor
    finally:
        portal.stop()


def view(ref: RecordRef, at: int, url: str) -> dict[str, Any]:
    return {
        "objectType": "contact",
        "objectId": ref.id,
        "eventType": "e_visited_page",
        "occurred_ms": at,
        "properties": {"hs_url": url},
    }


def test_without_enterprise_the_events_api_is_asked_once_a_day(portal: PracticePortal) -> None:
    usage = use("page_view")
    connector = portal.connect(usage=usage)
    pages = list(connector.read({}))
    asked = "GET /events/v3/events/event-types"
    assert connector.counts.by_endpoint[asked] == 1
    pages = list(connector.read(cursors(pages)))
    assert connector.counts.by_endpoint[asked] == 1
    portal.clock.advance(25 * 3600)
    list(connector.read(cursors(pages)))
    assert connector.counts.by_endpoint[asked] == 2


def test_owners_are_read_once_a_day_the_removed_ones_too(portal: PracticePortal) -> None:
    portal.app.load_owners(
        [
            {"id": "777", "email": "gone@seller.example", "firstName": "元", "lastName": "担当", "archived": True},
            {"id": "778", "email": "queue@seller.example", "type": "QUEUE"},
        ]
    )
    connector = portal.connect(usage=use())
    pages = list(connector.read({}))
    owners = {f.ref.id: f for f in facts(pages, "owners") if isinstance(f, Owner)}
    assert (owners["501"].name, owners["501"].active, owners["501"].is_queue) == ("営業 花子", True, False)
    assert not owners["777"].active
    assert owners["778"].is_queue
    assert facts(connector.read(cursors(pages)), "owners") == []
    portal.clock.advance(25 * 3600)
    again = {f.ref.id for f in facts(connector.read(cursors(pages)), "owners") if isinstance(f, Owner)}
    assert {"501", "777", "778"} <= again
