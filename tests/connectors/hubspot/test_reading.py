"""Nothing is lost and nothing is read in vain: lists, windows, cursors."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from connectors.mapping import Usage
from connectors.protocol import Cursor, Page
from core.errors import InvalidMapping, Unexpected
from core.records import Account, Activity, ActivityRow, Change, Deal, Fact, Record, RecordRef, Tombstone
from sandbox.hubspot import HubSpotOptions
from tests.connectors.hubspot.practice import DAY_MS, NOW, PracticePortal, ids_of

ONLY_CONTACTS = Usage(kinds=frozenset())


def facts(pages: Iterable[Page]) -> list[Fact]:
    return [f for page in pages for f in page.facts]


def cursors(pages: Iterable[Page]) -> dict[str, Cursor]:
    return {page.stream: page.cursor for page in pages}


def contacts(found: Iterable[Fact]) -> dict[str, Record]:
    return {f.ref.id: f for f in found if isinstance(f, Record)}


def calls_of(found: Iterable[Fact]) -> list[Activity]:
    return [a for f in found if isinstance(f, ActivityRow) for a in f.activities]


def test_25000_records_with_one_stamp_are_each_read_once(portal: PracticePortal) -> None:
    connector = portal.connect(usage=ONLY_CONTACTS, search_page_rows=200)
    start = cursors(connector.read({}))
    portal.settle()
    refs = portal.add_people(25_000, stamp=portal.clock.now_ms())
    portal.settle()
    before = connector.counts.stream
    pages = [p for p in connector.read(start) if p.stream == "contacts"]
    seen = [f.ref.id for f in facts(pages) if isinstance(f, Record)]
    assert len(seen) == len(set(seen)) == 25_000
    assert set(seen) == ids_of(refs)
    assert pages[0].total == 25_000
    assert connector.counts.stream - before == 125 + 2  # pages, and the quiet companies and deals


def test_first_load_takes_pages_and_three(portal: PracticePortal) -> None:
    portal.add_people(1_000)
    connector = portal.connect(usage=ONLY_CONTACTS, search_page_rows=200, list_page_rows=100)
    assert len(contacts(facts(connector.read({})))) == 1_000
    asked = {name: n for name, n in connector.counts.by_endpoint.items() if "owners" not in name}
    other_streams = 2  # the empty lists of companies and deals
    other_descriptions = 1  # the companies' properties
    assert sum(asked.values()) - other_streams - other_descriptions <= 10 + 3


def test_a_quiet_cycle_costs_one_call_a_stream(portal: PracticePortal) -> None:
    portal.add_people(10)
    connector = portal.connect()
    start = cursors(connector.read({}))
    portal.settle()
    start |= cursors(connector.read(start))
    portal.settle()
    fresh = portal.connect()
    assert facts(fresh.read(start)) == []
    searched = {name: n for name, n in fresh.counts.by_endpoint.items() if "/objects/" in name}
    assert fresh.counts.stream == 3 + 3 + 1  # contacts, companies, deals; calls, meetings, emails; mail events
    streams = ("contacts", "companies", "deals", "calls", "meetings", "emails")
    assert searched == {f"POST /crm/v3/objects/{name}/search": 1 for name in streams}
    assert fresh.counts.other == 1 + 3  # the account; the directories of forms, lists and marketing events


def test_a_row_that_becomes_visible_late_is_read(tmp_path: Path) -> None:
    portal = PracticePortal(tmp_path, HubSpotOptions(limits=False, index_lag_seconds=300))
    try:
        [ref] = portal.add_people(1)
        connector = portal.connect(usage=ONLY_CONTACTS)
        start = cursors(connector.read({}))
        portal.edit(ref, lastname="遅れて見える")
        portal.clock.advance(200)  # beyond the settling time, before the index shows it
        start |= cursors(connector.read(start))
        portal.clock.advance(200)
        assert contacts(facts(connector.read(start)))[ref.id].fields["last_name"] == "遅れて見える"
    finally:
        portal.stop()


def test_windows_stay_behind_the_portals_clock(tmp_path: Path) -> None:
    portal = PracticePortal(tmp_path, HubSpotOptions(limits=False, index_lag_seconds=60))
    try:
        [ref] = portal.add_people(1)
        connector = portal.connect(usage=ONLY_CONTACTS, overlap_minutes=0)
        start = cursors(connector.read({}))
        portal.clock.advance(300)
        portal.edit(ref, lastname="まだ見えない")
        portal.clock.advance(10)
        start |= cursors(connector.read(start))
        portal.clock.advance(300)
        assert contacts(facts(connector.read(start)))[ref.id].fields["last_name"] == "まだ見えない"
    finally:
        portal.stop()


def test_a_window_resumes_inside(portal: PracticePortal) -> None:
    refs = portal.add_people(11)
    connector = portal.connect(usage=ONLY_CONTACTS)
    start = cursors(connector.read({}))
    portal.settle()
    portal.rename(refs, "変更後")
    portal.settle()
    whole = [p for p in connector.read(start) if p.stream == "contacts"]
    assert len(whole) == 3
    state = json.loads(whole[0].cursor)
    assert {"lo", "hi", "last"} <= state.keys()
    rest = portal.connect(usage=ONLY_CONTACTS).read(start | {"contacts": whole[0].cursor})
    first, second = contacts(facts(whole[:1])), contacts(facts(rest))
    assert first.keys() | second.keys() == ids_of(refs)
    assert not first.keys() & second.keys()


def test_a_resumed_old_window_is_followed_by_a_new_one(portal: PracticePortal) -> None:
    refs = portal.add_people(11)
    connector = portal.connect(usage=ONLY_CONTACTS)
    start = cursors(connector.read({}))
    portal.settle()
    portal.rename(refs, "一度目")
    portal.settle()
    first_page = next(p for p in connector.read(start) if p.stream == "contacts")
    portal.settle()
    portal.rename(refs[:1], "二度目")
    portal.settle()
    pages = list(connector.read(start | {"contacts": first_page.cursor}))
    assert contacts(facts(pages))[refs[0].id].fields["last_name"] == "二度目"
    assert [p.final for p in pages if p.stream == "contacts"].count(True) == 1


def test_a_changed_mapping_reads_anew(portal: PracticePortal) -> None:
    refs = portal.add_people(5)
    start = cursors(portal.connect().read({}))
    portal.settle()
    other = portal.connect(mapping={"contact": {"fields": {"department": "message"}}})
    assert contacts(facts(other.read(start))).keys() == ids_of(refs)


@pytest.mark.parametrize("cursor", ["", "garbage", "[]", '{"m":"other","hi":1}', '{"m":"x"}'])
def test_an_unreadable_cursor_reads_from_the_start(portal: PracticePortal, cursor: str) -> None:
    refs = portal.add_people(3)
    connector = portal.connect(usage=ONLY_CONTACTS)
    assert contacts(facts(connector.read({"contacts": Cursor(cursor)}))).keys() == ids_of(refs)


def test_streams_nobody_uses_are_not_read(portal: PracticePortal) -> None:
    connector = portal.connect(usage=Usage(kinds=frozenset({"call", "email_click"})))
    assert connector.capabilities.streams == ("contacts", "companies", "deals", "calls", "owners", "email_events")


def test_a_property_deleted_by_an_admin_stops_with_its_name(portal: PracticePortal) -> None:
    portal.control(
        "properties",
        {
            "action": "create",
            "type": "contacts",
            "definition": {
                "name": "yakushoku",
                "label": "役職",
                "type": "string",
                "fieldType": "text",
                "groupName": "contactinformation",
            },
        },
    )
    [ref] = portal.add_people(1, yakushoku="課長")
    mapping = {"contact": {"fields": {"title": "yakushoku"}}}
    connector = portal.connect(usage=ONLY_CONTACTS, mapping=mapping)
    start = cursors(connector.read({}))
    portal.control("properties", {"action": "delete", "type": "contacts", "name": "yakushoku"})
    portal.settle()
    portal.edit(ref, lastname="変更")
    portal.settle()
    with pytest.raises(InvalidMapping, match=r"hubspot: mapping\.contact\.fields\.title: .*yakushoku"):
        list(connector.read(start))


def test_an_unknown_property_in_the_settings_is_refused_before_reading(portal: PracticePortal) -> None:
    connector = portal.connect(mapping={"contact": {"fields": {"title": "jobtitel"}}})
    with pytest.raises(InvalidMapping) as caught:
        next(connector.read({}))
    assert "jobtitle" in caught.value.hint
    with pytest.raises(InvalidMapping):
        portal.connect(mapping={"contact": {"fields": {"title": "jobtitel"}}}).prepare()


def test_prepare_needs_nothing_more_for_a_good_portal(portal: PracticePortal) -> None:
    connector = portal.connect()
    connector.prepare()
    assert connector.counts.write == connector.counts.stream == 0


def test_deals_come_with_people_company_stage_changes_and_their_closing(portal: PracticePortal) -> None:
    refs = portal.add_people(2)
    [company] = portal.app.load(
        "companies",
        [{"id": None, "properties": {"name": "架空商事"}, "created_ms": NOW - DAY_MS, "updated_ms": NOW - DAY_MS}],
    )
    connector = portal.connect(usage=ONLY_CONTACTS)
    start = cursors(connector.read({}))
    deal = portal.open_deal(refs)
    portal.control(
        "records",
        {"action": "associate", "type": "deals", "id": deal, "to_type": "companies", "to": company, "type_id": 5},
    )
    portal.clock.advance(3600)
    won_at = portal.clock.now_ms()
    portal.control(
        "records", {"action": "update", "type": "deals", "id": deal, "properties": {"dealstage": "closedwon"}}
    )
    portal.settle()
    for found in (facts(connector.read(start)), facts(portal.connect(usage=ONLY_CONTACTS).read({}))):
        [read] = [f for f in found if isinstance(f, Deal)]
        assert read.people is not None
        assert set(read.people) == set(refs)
        assert read.account == RecordRef("hubspot", "account", str(company))
        assert (read.is_closed, read.is_won, read.closed_at) == (True, True, won_at)
        assert (read.amount, read.currency) == (1_200_000.0, "JPY")
        changes = [(f.field, f.old, f.new, f.at) for f in found if isinstance(f, Change)]
        assert ("stage", "qualifiedtobuy", "closedwon", won_at) in changes
    assert [f.fields["company"] for f in facts(portal.connect().read({})) if isinstance(f, Account)] == ["架空商事"]


def test_a_meeting_means_what_its_outcome_says_when_it_said_so(portal: PracticePortal) -> None:
    refs = portal.add_people(3)
    connector = portal.connect()
    start = cursors(connector.read({}))
    begin = portal.clock.now_ms()
    times = {
        "hs_timestamp": str(begin),
        "hs_meeting_start_time": str(begin),
        "hs_meeting_end_time": str(begin + 1_800_000),
    }
    held = portal.log("meetings", refs[:2], hs_meeting_title="打合せ", hs_meeting_outcome="SCHEDULED", **times)
    missed = portal.log("meetings", refs[2:], hs_meeting_outcome="NO_SHOW", **times)
    portal.clock.advance(7200)
    said = portal.clock.now_ms()
    portal.control(
        "records",
        {"action": "update", "type": "meetings", "id": held, "properties": {"hs_meeting_outcome": "COMPLETED"}},
    )
    portal.settle()
    rows = {f.source.id: f for f in facts(connector.read(start)) if isinstance(f, ActivityRow)}
    assert rows[missed].activities == ()
    assert {a.record for a in rows[held].activities} == set(refs[:2])
    for activity in rows[held].activities:
        assert (activity.kind, activity.occurred_at, activity.known_at) == ("meeting", begin, said)
        assert (activity.duration, activity.asset, activity.known_inexact) == (1800, "打合せ", False)


def test_history_of_fields_in_use_is_read(portal: PracticePortal) -> None:
    [ref] = portal.add_people(1)
    usage = Usage(kinds=frozenset(), history=frozenset({"title"}))
    connector = portal.connect(usage=usage)
    start = cursors(connector.read({}))
    portal.settle()
    portal.edit(ref, jobtitle="本部長")
    at = portal.clock.now_ms()
    portal.settle()
    found = [f for f in facts(connector.read(start)) if isinstance(f, Change)]
    assert ("title", "本部長", at) in [(c.field, c.new, c.at) for c in found]
    assert len({c.source for c in found}) == len(found)


def test_a_sweep_finds_what_windows_cannot(portal: PracticePortal) -> None:
    refs = portal.add_people(9)
    stamps = {"created_ms": NOW - DAY_MS, "updated_ms": NOW - DAY_MS}
    keeping, losing = portal.app.load("companies", [{"id": None, "properties": {"name": n}, **stamps} for n in "AB"])
    connector = portal.connect()
    call = portal.log("calls", refs[:1], hs_timestamp=str(portal.clock.now_ms()), hs_call_status="COMPLETED")
    portal.settle()
    list(connector.read({}))
    portal.delete(refs[3])
    survivor = portal.merge(refs[4], refs[5])
    portal.control("records", {"action": "purge", "type": "contacts", "id": refs[6].id})
    portal.control("records", {"action": "delete", "type": "calls", "id": call})
    kept = str(
        portal.control("records", {"action": "merge", "type": "companies", "id": keeping, "other": losing})["id"]
    )
    accounts = [RecordRef("hubspot", "account", str(i)) for i in (keeping, losing)]
    found = facts(connector.sweep([*refs, *accounts, RecordRef("elsewhere", "contact", "1")]))
    stones = {f.ref: f.successor for f in found if isinstance(f, Tombstone)}
    lost = [r for r in (refs[4], refs[5], refs[6]) if r != survivor]
    assert connector.counts.by_endpoint["GET /crm/v3/objects/contacts/{id}"] == len(lost)  # not one for what is listed
    assert stones[refs[3]] is None
    assert stones[refs[6]] is None
    assert {stones[r] for r in (refs[4], refs[5]) if r != survivor} == {survivor}
    assert RecordRef("hubspot", "call", call) in stones
    assert stones[RecordRef("hubspot", "account", str(losing))] == RecordRef("hubspot", "account", kept)
    assert not stones.keys() & {refs[0], refs[1], refs[2], refs[7], refs[8]}
    assert set(contacts(found)[survivor.id].absorbed) == {r.id for r in (refs[4], refs[5]) if r != survivor}


def test_a_search_that_does_not_advance_is_a_broken_word(portal: PracticePortal) -> None:
    portal.add_people(3)
    connector = portal.connect(usage=ONLY_CONTACTS)
    start = cursors(connector.read({}))
    portal.settle()
    row = {"id": "0", "properties": {"jobtitle": "", "lastname": "", "company": "", "email": ""}, "createdAt": "x"}
    body = json.dumps({"total": 50, "results": [row]})
    portal.fail_next(status=200, body=body, times=5, path="/search")
    with pytest.raises(Unexpected, match="does not advance"):
        list(connector.read(start))


def test_an_unreadable_row_is_counted_and_left_out(portal: PracticePortal) -> None:
    refs = portal.add_people(2)
    connector = portal.connect(usage=ONLY_CONTACTS)
    good = {
        "id": refs[0].id,
        "createdAt": "2026-01-01T00:00:00.000Z",
        "updatedAt": "2026-01-01T00:00:00Z",
        "properties": {"email": "A@Buyer.EXAMPLE", "lastname": "見込", "company": "架空", "jobtitle": "部長"},
    }
    body = json.dumps(
        {"results": [good, {"id": refs[1].id, "createdAt": "yesterday", "properties": good["properties"]}]}
    )
    portal.fail_next(status=200, body=body, path="objects/contacts")
    found = contacts(facts(connector.read({})))
    assert found.keys() == {refs[0].id}
    assert found[refs[0].id].emails == ("a@buyer.example",)
    assert connector.problems == {"contacts.row": 1}


def test_a_contact_belongs_to_its_primary_company(portal: PracticePortal) -> None:
    [ref] = portal.add_people(1)
    stamps = {"created_ms": NOW - DAY_MS, "updated_ms": NOW - DAY_MS}
    plain, primary = portal.app.load("companies", [{"id": None, "properties": {"name": n}, **stamps} for n in "AB"])
    portal.app.load_associations("contacts", "companies", [(int(ref.id), plain, 279), (int(ref.id), primary, 1)])
    connector = portal.connect(usage=ONLY_CONTACTS)
    pages = list(connector.read({}))
    account = RecordRef("hubspot", "account", str(primary))
    assert contacts(facts(pages))[ref.id].account == account
    portal.settle()
    portal.edit(ref, lastname="変更")
    portal.settle()
    assert contacts(facts(connector.read(cursors(pages))))[ref.id].account == account
    [fetched] = connector.fetch([ref])
    assert isinstance(fetched, Record)
    assert fetched.account == account


def engagement_page(call: str, links: dict[str, Any]) -> str:
    stamp = "2026-05-01T00:00:00.000Z"
    row = {"id": call, "createdAt": stamp, "updatedAt": stamp, "properties": {"hs_timestamp": stamp}}
    return json.dumps({"results": [row | {"associations": {"contacts": links}}]})


def test_a_call_with_more_people_than_the_list_shows_has_them_all(portal: PracticePortal) -> None:
    refs = portal.add_people(3)
    call = portal.log("calls", refs, hs_timestamp=str(NOW), hs_call_status="COMPLETED")
    shown = {"results": [{"id": refs[0].id, "type": "call_to_contact"}], "paging": {"next": {"after": refs[1].id}}}
    portal.fail_next(status=200, body=engagement_page(call, shown), path="objects/calls\\?")
    connector = portal.connect(usage=Usage(kinds=frozenset({"call"})))
    assert {a.record for a in calls_of(facts(connector.read({})))} == set(refs)


def test_associations_are_followed_page_by_page(portal: PracticePortal) -> None:
    refs = portal.add_people(3)
    connector = portal.connect(usage=Usage(kinds=frozenset({"call"})))
    start = cursors(connector.read({}))
    portal.settle()
    call = portal.log("calls", refs, hs_timestamp=str(portal.clock.now_ms()), hs_call_status="COMPLETED")
    portal.settle()
    to = [
        {
            "toObjectId": int(refs[0].id),
            "associationTypes": [{"category": "HUBSPOT_DEFINED", "typeId": 194, "label": None}],
        }
    ]
    page = {"results": [{"from": {"id": call}, "to": to, "paging": {"next": {"after": refs[1].id}}}]}
    portal.fail_next(status=200, body=json.dumps(page), path="associations/calls")
    assert {a.record for a in calls_of(facts(connector.read(start)))} == set(refs)
    assert connector.counts.by_endpoint["POST /crm/v4/associations/calls/contacts/batch/read"] == 2


@pytest.mark.parametrize(
    "answer", [{"results": [{"to": []}]}, {"results": [{"from": {"id": "1"}, "to": [{"x": 1}]}]}, {"results": [3]}]
)
def test_associations_that_cannot_be_read_are_a_broken_word(portal: PracticePortal, answer: dict[str, Any]) -> None:
    [ref] = portal.add_people(1)
    portal.fail_next(status=200, body=json.dumps(answer), path="associations/")
    with pytest.raises(Unexpected, match="associations"):
        portal.connect().fetch([ref])


def test_results_that_are_no_list_are_a_broken_word(portal: PracticePortal) -> None:
    portal.fail_next(status=200, body=json.dumps({"results": "x", "total": 1}), path="objects/contacts")
    with pytest.raises(Unexpected, match="results"):
        list(portal.connect().read({}))


@pytest.mark.parametrize("row", [3, {"id": "a", "properties": {}}, {"properties": {}}, {"id": "²", "properties": {}}])
def test_rows_that_say_not_who_they_are_are_counted_and_keep_nobody_waiting(portal: PracticePortal, row: Any) -> None:
    connector = portal.connect(usage=ONLY_CONTACTS)
    portal.fail_next(status=200, body=json.dumps({"results": [row], "total": 1}), path="objects/contacts")
    assert contacts(facts(connector.read({}))) == {}
    assert connector.problems["contacts.row"] == 1
