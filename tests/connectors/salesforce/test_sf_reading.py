"""Incremental reading over real HTTP: nothing lost, nothing twice in a run, in few calls."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from connectors.mapping import Usage
from connectors.protocol import Cursor, Page
from connectors.salesforce.connector import SalesforceConnector
from connectors.salesforce.resources import Answer
from core.errors import InvalidMapping, Rejected, StateError, Transient
from core.records import Account, ActivityRow, Change, Deal, DealRole, Owner, Record, RecordRef, Tombstone
from tests.connectors.salesforce.org import MINUTE, NAME, PracticeOrg

PEOPLE = Usage(frozenset({"title", "industry"}), frozenset(), frozenset())


def cursors(pages: Iterable[Page]) -> dict[str, Cursor]:
    return {page.stream: page.cursor for page in pages}


def leads(pages: Iterable[Page]) -> list[Record]:
    return [f for page in pages for f in page.facts if isinstance(f, Record) and f.ref.kind == "lead"]


def test_25000_leads_with_one_stamp_are_each_read_once(org: PracticeOrg) -> None:
    refs = org.add_people(25_000)
    connector = org.connect(usage=PEOPLE)
    seen: dict[str, int] = {}
    for page in connector.read({}):
        assert len(page.facts) <= 200
        for record in leads([page]):
            seen[record.ref.id] = seen.get(record.ref.id, 0) + 1
    assert seen == {ref.id: 1 for ref in refs}
    assert connector.counts.stream == 126, "125 pages of leads; the second bundle has none of them"


def test_a_run_that_was_killed_among_equal_stamps_goes_on_by_key(org: PracticeOrg) -> None:
    refs = org.add_people(1_000)
    pages = [page for page in org.connect(usage=PEOPLE).read({}) if page.stream == "Lead"]
    before = pages[:2]
    after = leads(org.connect(usage=PEOPLE).read(cursors(before)))
    assert len(leads(before)) == 400
    assert {r.ref.id for r in leads(before)} | {r.ref.id for r in after} == {ref.id for ref in refs}
    again = [r for r in after if r.ref.id in {b.ref.id for b in leads(before)}]
    assert len(again) == 0, "an hour-old stamp lies outside the look-back"


def test_calls_are_pages_and_three(org: PracticeOrg) -> None:
    org.add_people(1_000)
    connector = org.connect()
    pages = [page for page in connector.read({}) if page.stream == "Lead"]
    assert len(pages) == 5
    assert org.calls() == len(pages) + 3


def test_a_quiet_reading_takes_one_call_for_five_streams(org: PracticeOrg) -> None:
    org.add_people(3)
    connector = org.connect()
    first = list(connector.read({}))
    org.settle()
    second = list(connector.read(cursors(first)))
    org.settle()
    before = connector.counts.stream
    quiet = list(connector.read(cursors(second)))
    assert len(connector.capabilities.streams) == 12
    assert connector.counts.stream - before == 3
    assert all(page.final and not page.facts for page in quiet)


def test_streams_that_nobody_uses_are_not_read(org: PracticeOrg) -> None:
    connector = org.connect(usage=Usage(frozenset({"title"}), frozenset({"meeting"}), frozenset()))
    list(connector.read({}))
    assert "Event" in connector.capabilities.streams
    assert {"Task", "CampaignMember", "LeadHistory"}.isdisjoint(connector.capabilities.streams)


# --- late rows, horizons -------------------------------------------------------------------------------------------------


def test_a_row_that_became_visible_late_is_read_by_the_lookback(org: PracticeOrg) -> None:
    connector = org.connect(usage=PEOPLE)
    first = list(connector.read({}))
    [late] = org.add_people(1, minutes_ago=9)  # stamped before the horizon of the first run, committed after it
    assert late.id in {r.ref.id for r in leads(connector.read(cursors(first)))}


def test_a_wall_clock_that_jumps_during_a_call_moves_no_window(
    org: PracticeOrg, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Set back by an hour, it would put the window's end an hour ahead: what changes until then would never be read."""
    hours = count(0, -1)
    monkeypatch.setattr("requests.sessions.preferred_clock", lambda: next(hours) * 3600.0)
    first = list(org.connect(usage=PEOPLE).read({}))
    org.settle()
    org.clock.advance(45 * 60)
    [new] = org.add_people(1, minutes_ago=30)
    assert [r.ref for r in leads(org.connect(usage=PEOPLE).read(cursors(first)))] == [new]


def test_rows_younger_than_the_settle_time_wait_for_the_next_run(org: PracticeOrg) -> None:
    first = list(org.connect(usage=PEOPLE).read({}))
    org.settle()
    [young] = org.add_people(1, minutes_ago=1)
    connector = org.connect(usage=PEOPLE)
    second = list(connector.read(cursors(first)))
    assert leads(second) == []
    org.settle()
    assert [r.ref for r in leads(connector.read(cursors(second)))] == [young]


def test_a_first_load_misses_nobody_and_reads_the_young_again(org: PracticeOrg) -> None:
    [young] = org.add_people(1, minutes_ago=1)
    connector = org.connect(usage=PEOPLE)
    first = list(connector.read({}))
    assert [r.ref for r in leads(first)] == [young]
    org.settle()
    assert [r.ref for r in leads(connector.read(cursors(first)))] == [young]


def test_young_rows_end_the_reading_without_a_page_more(org: PracticeOrg) -> None:
    first = list(org.connect(usage=PEOPLE).read({}))
    org.settle()
    org.add_people(1_000, minutes_ago=1)
    connector = org.connect(usage=PEOPLE)
    list(connector.read(cursors(first)))
    assert connector.counts.stream == 2


def test_a_window_left_by_an_earlier_run_is_finished_and_followed_by_the_next(org: PracticeOrg) -> None:
    org.add_people(450)
    half = next(page for page in org.connect(usage=PEOPLE).read({}) if page.stream == "Lead")
    horizon = json.loads(half.cursor)["hi"]
    org.clock.advance(3 * 3600)
    [new] = org.add_people(1, minutes_ago=30)
    pages = [page for page in org.connect(usage=PEOPLE).read(cursors([half])) if page.stream == "Lead"]
    assert len({r.ref.id for r in [*leads([half]), *leads(pages)]}) == 451
    assert new.id in {r.ref.id for r in leads(pages)}
    assert [page.final for page in pages].count(True) == 1
    assert json.loads(pages[-1].cursor)["hi"] > horizon + 3_600_000


def test_a_late_row_is_found_although_a_run_was_interrupted(org: PracticeOrg) -> None:
    """The window keeps its end over the interruption, so that the look-back still reaches it."""
    org.add_people(450, minutes_ago=60)
    half = next(page for page in org.connect(usage=PEOPLE).read({}) if page.stream == "Lead")
    [late] = org.add_people(1, minutes_ago=8)
    org.clock.advance(3 * 3600)
    assert late.id in {r.ref.id for r in leads(org.connect(usage=PEOPLE).read(cursors([half])))}


def test_a_cursor_of_another_kind_is_refused(org: PracticeOrg) -> None:
    for text in ("", "[]", '{"after": "x"}', "nonsense"):
        with pytest.raises(StateError) as caught:
            list(org.connect().read({"Lead": Cursor(text)}))
        assert "state:" in caught.value.hint


# --- what goes wrong on the way ------------------------------------------------------------------------------------------


class Intercepted:
    """Puts errors into the answers of a connector's queries."""

    def __init__(self, connector: SalesforceConnector, monkeypatch: pytest.MonkeyPatch) -> None:
        self.api = connector._api
        self.queries: list[str] = []
        self._query, self._more = self.api.query, self.api.more
        monkeypatch.setattr(self.api, "query", self.query)
        monkeypatch.setattr(self.api, "more", self.more)
        self.fail: dict[str, list[Exception]] = {}

    def query(self, queries: Sequence[str], **options: Any) -> list[Answer]:
        self.queries += queries
        answers = self._query(queries, **options)
        for place, text in enumerate(queries):
            for words, errors in self.fail.items():
                if words in text and errors:
                    answers[place] = Answer([], 0, None, answers[place].at, errors.pop(0))  # type: ignore[arg-type]
        return answers

    def more(self, next_url: str, **options: Any) -> Answer:
        if self.fail.get("locator"):
            raise self.fail["locator"].pop(0)
        return self._more(next_url, **options)


def test_an_expired_locator_is_replaced_by_the_key(org: PracticeOrg, monkeypatch: pytest.MonkeyPatch) -> None:
    refs = org.add_people(900)
    connector = org.connect(usage=PEOPLE)
    seen = Intercepted(connector, monkeypatch)
    seen.fail["locator"] = [Rejected("gone", code="INVALID_QUERY_LOCATOR")]
    ids = [r.ref.id for r in leads(connector.read({}))]
    assert sorted(ids) == sorted(ref.id for ref in refs)
    assert "Id > '" in seen.queries[-1] or any("Id > '" in text for text in seen.queries)


@pytest.mark.parametrize("code", ["QUERY_TIMEOUT", "OPERATION_TOO_LARGE"])
def test_a_query_that_is_too_slow_is_cut_into_slices(
    org: PracticeOrg, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    refs = [ref for days in range(12) for ref in org.add_people(40, minutes_ago=60 + days * 1440)]
    connector = org.connect(usage=PEOPLE)
    seen = Intercepted(connector, monkeypatch)
    seen.fail["FROM Lead"] = [Rejected("slow", code=code)] * 12
    pages = [page for page in connector.read({}) if page.stream == "Lead"]
    ids = [r.ref.id for r in leads(pages)]
    assert sorted(ids) == sorted(ref.id for ref in refs)
    assert sum("FROM Lead" in text for text in seen.queries) > 13
    assert [page.final for page in pages].count(True) == 1
    for cut in range(len(pages)):
        rest = leads(org.connect(usage=PEOPLE).read(cursors(pages[: cut + 1])))
        assert {r.ref.id for r in [*leads(pages[: cut + 1]), *rest]} == {ref.id for ref in refs}


def test_a_query_that_stays_too_slow_ends_with_an_error(org: PracticeOrg, monkeypatch: pytest.MonkeyPatch) -> None:
    connector = org.connect(usage=PEOPLE)
    seen = Intercepted(connector, monkeypatch)
    seen.fail["FROM Lead"] = [Rejected("slow", code="QUERY_TIMEOUT")] * 60
    with pytest.raises(Transient, match="minute by minute"):
        list(connector.read({}))


def test_a_field_that_is_hidden_between_two_runs_is_left_out(org: PracticeOrg) -> None:
    org.add_people(2)
    connector = org.connect(usage=PEOPLE)
    first = list(connector.read({}))
    user = org.credentials["username"]
    org.control("POST", "permissions", {"user": user, "field": "Lead.Industry", "read": False})
    [ref] = org.add_people(1, minutes_ago=5)
    pages = list(connector.read(cursors(first)))
    assert ref.id in {r.ref.id for r in leads(pages)}
    assert [page.final for page in pages if page.stream == "Lead"].count(True) == 1


def test_a_required_field_that_is_hidden_is_an_error_that_names_it(org: PracticeOrg) -> None:
    user = org.credentials["username"]
    org.control("POST", "permissions", {"user": user, "field": "Lead.Title", "read": False})
    with pytest.raises(InvalidMapping, match="title") as caught:
        org.connect().prepare()
    assert "integration user" in caught.value.hint


def test_a_row_that_cannot_be_read_does_not_stop_its_neighbours(
    org: PracticeOrg, monkeypatch: pytest.MonkeyPatch
) -> None:
    refs = org.add_people(3)
    connector = org.connect(usage=PEOPLE)
    api, query = connector._api, connector._api.query

    def spoil(queries: Sequence[str], **options: Any) -> list[Answer]:
        answers = query(queries, **options)
        for text, answer in zip(queries, answers, strict=True):
            if "FROM Lead" in text:
                answer.rows[1]["CreatedDate"] = "yesterday"
        return answers

    connector.prepare()
    monkeypatch.setattr(api, "query", spoil)
    found = leads(connector.read({}))
    assert [r.ref for r in found] == [refs[0], refs[2]]
    assert connector.problems == {"Lead row": 1}


def test_a_failing_query_in_a_bundle_is_asked_again_alone(org: PracticeOrg, monkeypatch: pytest.MonkeyPatch) -> None:
    refs = org.add_people(3)
    connector = org.connect(usage=PEOPLE)
    seen = Intercepted(connector, monkeypatch)
    seen.fail["FROM Lead"] = [Transient("server unavailable")]
    assert {r.ref.id for r in leads(connector.read({}))} == {ref.id for ref in refs}


# --- what is read --------------------------------------------------------------------------------------------------------


def everything(org: PracticeOrg) -> list[Any]:
    return [fact for page in org.connect().read({}) for fact in page.facts]


def test_a_lead_with_all_its_fields(org: PracticeOrg) -> None:
    [ref] = org.add_people(1)
    values = {"Industry": "Manufacturing", "NumberOfEmployees": 320, "AnnualRevenue": 1.2e9, "Phone": "03-0000-0000"}
    values |= {"Title": "営業部長\u3000(DX)", "Company": "㈱買い手", "State": "東京都"}
    org.update(ref, **values)
    org.settle()
    [record] = [f for f in everything(org) if isinstance(f, Record)]
    assert record.ref == RecordRef(NAME, "lead", ref.id)
    assert record.fields == {
        "email": "hanako.0@buyer0.example",
        "last_name": "佐藤",
        "first_name": "花子0",
        "title": "営業部長 (DX)",
        "company": "(株)買い手",
        "phone": "03-0000-0000",
        "industry": "Manufacturing",
        "employees": 320,
        "annual_revenue": 1_200_000_000,
        "region": "東京都",
        "status": "Open - Not Contacted",
    }
    assert record.emails == ("hanako.0@buyer0.example",)
    assert record.owner_id == org.owner_id
    assert record.consent.bounced is False


def test_a_contact_with_its_account(org: PracticeOrg) -> None:
    [ref] = org.add_people(1, "Contact")
    parent = org.create("Account", Name="親会社")
    account = org.create("Account", Name="買い手株式会社", Website="https://buyer.example", ParentId=parent)
    org.update(ref, AccountId=account, MailingState="大阪府")
    org.settle()
    facts = everything(org)
    [record] = [f for f in facts if isinstance(f, Record)]
    assert record.account == RecordRef(NAME, "account", account)
    assert record.fields["company"] == "買い手株式会社"
    assert record.fields["region"] == "大阪府"
    [own] = [f for f in facts if isinstance(f, Account) and f.ref.id == account]
    assert own.fields == {"company": "買い手株式会社", "website": "https://buyer.example"}
    assert own.parent == RecordRef(NAME, "account", parent)


def test_owners_and_queues(org: PracticeOrg) -> None:
    org.settle()
    owners = {f.ref.id: f for f in everything(org) if isinstance(f, Owner)}
    assert owners[org.owner_id].active
    assert owners[org.owner_id].email == "rep@seller.example"
    queues = [o for o in owners.values() if o.is_queue]
    assert [q.name for q in queues] == ["リードキュー"]


def test_a_converted_lead_lives_on_in_its_contact(org: PracticeOrg) -> None:
    [ref] = org.add_people(1)
    campaign = org.create("Campaign", Name="展示会2026", Type="Trade Show", IsActive=True)
    org.create("CampaignMember", CampaignId=campaign, LeadId=ref.id, Status="Visited Booth")
    org.log_call(ref)
    org.act("convert", "Lead", id=ref.id)
    org.settle()
    facts = everything(org)
    [lead] = [f for f in facts if isinstance(f, Record) and f.ref == ref]
    [contact] = [f for f in facts if isinstance(f, Record) and f.ref.kind == "contact"]
    assert lead.successor == contact.ref
    activities = [a for f in facts if isinstance(f, ActivityRow) for a in f.activities]
    assert {a.record for a in activities} == {contact.ref}
    assert sorted(a.kind for a in activities) == ["call", "event_attend"]
    assert org.connect().fetch([ref]) == [lead]


def test_a_deal_with_stages_people_and_outcome(org: PracticeOrg) -> None:
    refs = org.add_people(2, "Contact")
    org.open_deal(refs)
    deal_id = org.god("SELECT Id FROM Opportunity")[0]["Id"]
    org.clock.advance(3600)
    org.act("update", "Opportunity", id=deal_id, fields={"StageName": "Closed Won"})
    won_at = org.clock.now_ms() // 1000 * 1000
    org.settle()
    facts = everything(org)
    [deal] = [f for f in facts if isinstance(f, Deal)]
    assert (deal.stage, deal.is_closed, deal.is_won, deal.amount) == ("Closed Won", True, True, 1_200_000)
    assert deal.closed_at == won_at
    assert {f.record for f in facts if isinstance(f, DealRole)} == set(refs)
    stages = [(f.new, f.at) for f in facts if isinstance(f, Change) and f.field == "stage"]
    assert stages[-1] == ("Closed Won", won_at)
    assert stages[0][0] == "Prospecting"


def test_history_is_read_for_the_fields_that_are_used(org: PracticeOrg) -> None:
    [ref] = org.add_people(1)
    org.update(ref, Title="執行役員", Company="別会社")
    org.settle()
    changes = [f for f in everything(org) if isinstance(f, Change)]
    assert [(c.ref, c.field, c.old, c.new) for c in changes] == [(ref, "title", "営業部長", "執行役員")]


def test_deletions_of_every_kind_are_tombstones(org: PracticeOrg) -> None:
    [lead] = org.add_people(1)
    [contact] = org.add_people(1, "Contact")
    org.log_call(lead)
    org.open_deal([contact])
    connector = org.connect()
    org.settle()
    first = list(connector.read({}))
    task, deal = org.god("SELECT Id FROM Task")[0]["Id"], org.god("SELECT Id FROM Opportunity")[0]["Id"]
    role = org.god("SELECT Id FROM OpportunityContactRole")[0]["Id"]
    org.act("delete", "Task", id=task)
    org.act("delete", "Opportunity", id=deal)
    org.delete(lead)
    org.settle()
    gone = {f.ref for p in connector.read(cursors(first)) for f in p.facts if isinstance(f, Tombstone)}
    assert {RecordRef(NAME, "Task", task), RecordRef(NAME, "deal", deal), lead} <= gone
    assert role


def test_the_sweep_finds_what_left_no_trace(org: PracticeOrg) -> None:
    refs = org.add_people(3)
    deal = org.create("Opportunity", Name="案件", StageName="Prospecting", CloseDate="2027-03-31")
    org.act("hard_delete", "Lead", id=refs[1].id)
    connector = org.connect()
    known = [*refs, RecordRef(NAME, "deal", deal), RecordRef("hubspot", "contact", "1")]
    gone = [f.ref for page in connector.sweep(known) for f in page.facts if isinstance(f, Tombstone)]
    assert gone == [refs[1]]
    assert connector.counts.by_endpoint["sweep"] == 2, "all ids in one call, edited campaigns in another"


def test_the_sweep_reads_members_of_edited_campaigns_again(org: PracticeOrg) -> None:
    [ref] = org.add_people(1)
    campaign = org.create("Campaign", Name="秋の説明会", Type="Other", IsActive=True)
    org.create("CampaignMember", CampaignId=campaign, LeadId=ref.id, Status="Registered")
    connector = org.connect()
    org.settle()
    first = list(connector.read({}))
    assert not [a for p in first for f in p.facts if isinstance(f, ActivityRow) for a in f.activities]
    org.act("update", "Campaign", id=campaign, fields={"Type": "Webinar"})
    org.settle()
    assert not [f for p in connector.read(cursors(first)) for f in p.facts if isinstance(f, ActivityRow)]
    swept = [a for p in connector.sweep([]) for f in p.facts if isinstance(f, ActivityRow) for a in f.activities]
    assert [(a.kind, a.record) for a in swept] == [("webinar_register", ref)]


def test_fetch_answers_in_order_for_many(org: PracticeOrg) -> None:
    refs = [*org.add_people(450), *org.add_people(5, "Contact")]
    connector = org.connect()
    connector.prepare()
    before = org.calls()
    wanted = list(reversed(refs))
    assert [answer.ref for answer in connector.fetch(wanted)] == wanted
    assert org.calls() - before <= 3
    [gone] = connector.fetch([RecordRef(NAME, "lead", "no-such-id'")])
    assert isinstance(gone, Tombstone)
    with pytest.raises(Rejected):
        connector.fetch([RecordRef(NAME, "account", "001000000000001AAA")])


def test_a_row_that_stops_being_an_activity_withdraws_it(org: PracticeOrg) -> None:
    [ref] = org.add_people(1)
    org.log_call(ref)
    connector = org.connect()
    org.settle()
    first = list(connector.read({}))
    task = org.god("SELECT Id FROM Task")[0]["Id"]
    org.act("update", "Task", id=task, fields={"Status": "Not Started"})
    org.settle()
    rows = [f for p in connector.read(cursors(first)) for f in p.facts if isinstance(f, ActivityRow)]
    assert [(row.source.id, row.activities) for row in rows] == [(task, ())]


def test_times_are_read_to_the_second(org: PracticeOrg) -> None:
    [ref] = org.add_people(1, minutes_ago=90)
    [record] = leads(org.connect().read({}))
    assert record.created_at == record.modified_at == (org.clock.now_ms() - 90 * MINUTE) // 1000 * 1000
    assert replace(record, ref=ref) == record
