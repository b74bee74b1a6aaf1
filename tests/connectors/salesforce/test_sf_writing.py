"""Writing: fewest calls, each row its own outcome, tasks at most once and never overwritten."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from connectors.protocol import FieldWrite, TaskWrite, WriteResult
from connectors.salesforce.connector import SalesforceConnector
from connectors.salesforce.resources import Part, PartAnswer
from core.errors import Forbidden, Gone, OutcomeUnknown, QuotaExhausted, Rejected, Transient
from core.records import RecordRef, Value
from sandbox.salesforce import SalesforceOptions
from tests.connectors.salesforce.org import NAME, PracticeOrg

DUE = 20_785


def scores(refs: Sequence[RecordRef], base: int = 0) -> list[FieldWrite]:
    return [FieldWrite(ref, {"score": (base + n) % 101, "band": "A", "score_version": 1}) for n, ref in enumerate(refs)]


def task(org: PracticeOrg, ref: RecordRef, key: str = "mk1-one", **changes: Any) -> TaskWrite:
    given: dict[str, Any] = {
        "owner_id": org.owner_id,
        "subject": "架電: 資料請求のフォロー",
        "body": "理由",
        "due": DUE,
    }
    return TaskWrite(key, ref, **{**given, **changes})


@pytest.fixture
def ready(org: PracticeOrg) -> SalesforceConnector:
    connector = org.connect()
    assert all(result.status != "failed" for result in connector.apply_setup())
    connector.prepare()
    return connector


def statuses(results: Sequence[WriteResult]) -> list[str]:
    return [result.status for result in results]


# --- calls ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "calls"), [(1, 1), (200, 1), (1_000, 1), (1_001, 2)])
def test_a_thousand_scores_take_one_call(org: PracticeOrg, ready: SalesforceConnector, count: int, calls: int) -> None:
    half = count // 2
    refs = [*org.add_people(count - half), *org.add_people(half, "Contact")]
    mixed = [ref for n in range(count) for ref in refs[n::count]]
    before = org.calls()
    results = list(ready.write(scores(mixed)))
    assert statuses(results) == ["ok"] * count
    assert org.calls() - before == calls
    assert ready.counts.write == calls
    assert org.shown(mixed[-1], "score") == (count - 1) % 101


def test_interleaved_kinds_stay_below_the_limit_of_types(org: PracticeOrg, ready: SalesforceConnector) -> None:
    leads, contacts = org.add_people(50), org.add_people(50, "Contact")
    writes = scores([ref for pair in zip(leads, contacts, strict=True) for ref in pair])
    results = list(ready.write(writes))
    assert statuses(results) == ["ok"] * 100
    assert [result.write for result in results] == writes


def test_two_writes_of_one_record_keep_their_order(org: PracticeOrg, ready: SalesforceConnector) -> None:
    [ref] = org.add_people(1)
    assert statuses(list(ready.write([*scores([ref], 10), *scores([ref], 20)]))) == ["ok", "ok"]
    assert org.shown(ref, "score") == 20


def test_writing_fires_no_assignment_rule(org: PracticeOrg, ready: SalesforceConnector) -> None:
    from connectors.salesforce.resources import SAFE_HEADERS

    assert SAFE_HEADERS["Sforce-Auto-Assign"] == "FALSE"
    [ref] = org.add_people(1)
    list(ready.write(scores([ref])))
    assert org.god(f"SELECT OwnerId FROM Lead WHERE Id = '{ref.id}'")[0]["OwnerId"] == org.owner_id


# --- values --------------------------------------------------------------------------------------------------------------


def test_values_of_every_type_come_back_as_they_were(org: PracticeOrg, ready: SalesforceConnector) -> None:
    [ref] = org.add_people(1)
    values: dict[str, Value] = {
        "score": 87,
        "reasons": "・価格ページ閲覧 +15\n・部長 +30",
        "trend": "rising",
        "next_due": DUE,
    }
    values |= {"scored_at": 1_764_000_000_000, "next_action": "架電", "handover_state": "offered"}
    assert statuses(list(ready.write([FieldWrite(ref, values)]))) == ["ok"]
    [record] = ready.fetch([ref])
    assert getattr(record, "written", None) == values
    assert statuses(list(ready.write([FieldWrite(ref, {"next_due": None, "reasons": None})]))) == ["ok"]
    [record] = ready.fetch([ref])
    assert {"next_due", "reasons"}.isdisjoint(getattr(record, "written", {}))


def test_long_and_hostile_texts_are_made_harmless(org: PracticeOrg, ready: SalesforceConnector) -> None:
    """`@{…}` in a composite would be resolved to another part's answer; a lone surrogate cannot be sent at all."""
    refs = org.add_people(201)
    hostile = {"reasons": "@{r0.body} \x00\ud800" + "あ" * 3000, "next_action": "=cmd|' /C calc'!A0" + "x" * 300}
    assert statuses(list(ready.write([FieldWrite(ref, hostile) for ref in refs]))) == ["ok"] * 201
    shown = str(org.shown(refs[0], "reasons"))
    assert len(shown) == 2000
    assert shown.startswith("@ {r0.body} あ")
    assert len(str(org.shown(refs[200], "next_action"))) == 255


@pytest.mark.parametrize("values", [{"response": "accepted"}, {"Status": "x"}, {"score": "many"}, {"next_due": "soon"}])
def test_what_is_not_ours_or_no_value_is_refused_before_any_call(
    org: PracticeOrg, ready: SalesforceConnector, values: dict[str, Any]
) -> None:
    [ref] = org.add_people(1)
    before = org.calls()
    [result] = ready.write([FieldWrite(ref, values)])
    assert result.status == "rejected"
    assert isinstance(result.error, Rejected)
    assert org.calls() == before


def test_records_of_others_are_refused(ready: SalesforceConnector) -> None:
    for ref in (RecordRef(NAME, "account", "001000000000001AAA"), RecordRef(NAME, "lead", "' OR 1=1")):
        assert statuses(list(ready.write(scores([ref])))) == ["rejected"]


def test_the_minimal_set_takes_what_it_has(org: PracticeOrg) -> None:
    connector = org.connect(fields="minimal")
    list(connector.apply_setup())
    [ref] = org.add_people(1)
    assert statuses(list(connector.write([FieldWrite(ref, {"score": 87, "fit": 40})]))) == ["ok"]
    assert org.shown(ref, "score") == 87
    [nothing] = connector.write([FieldWrite(ref, {"fit": 40})])
    assert nothing.status == "rejected"
    assert nothing.error is not None
    assert nothing.error.hint == "mikomi setup --apply"


def test_a_field_whose_rights_were_taken_is_left_out_the_next_time(
    org: PracticeOrg, ready: SalesforceConnector
) -> None:
    [ref] = org.add_people(1)
    user = org.credentials["username"]
    order = {"user": user, "field": "Lead.Mikomi_Band__c", "read": True, "edit": False}
    org.control("POST", "permissions", order)
    [first] = ready.write(scores([ref], 5))
    assert first.status == "rejected"
    assert isinstance(first.error, Rejected)
    assert first.error.fields == ("Mikomi_Band__c",)
    assert statuses(list(ready.write(scores([ref], 5)))) == ["ok"]
    assert org.shown(ref, "score") == 5


# --- records that are gone -----------------------------------------------------------------------------------------------


def test_a_converted_lead_names_its_contact(org: PracticeOrg, ready: SalesforceConnector) -> None:
    first, second = org.add_people(2)
    org.act("convert", "Lead", id=first.id)
    contact = org.god(f"SELECT ConvertedContactId FROM Lead WHERE Id = '{first.id}'")[0]["ConvertedContactId"]
    results = list(ready.write([*scores([first, second]), task(org, first)]))
    assert statuses(results) == ["rejected", "ok", "rejected"]
    for result in (results[0], results[2]):
        assert isinstance(result.error, Gone)
        assert result.error.survivor == contact


def test_a_merged_record_names_its_survivor_and_a_deleted_one_none(
    org: PracticeOrg, ready: SalesforceConnector
) -> None:
    master, loser, deleted, purged = org.add_people(4)
    org.merge(master, loser)
    org.delete(deleted)
    org.act("hard_delete", "Lead", id=purged.id)
    results = list(ready.write(scores([loser, deleted, purged, master])))
    assert statuses(results) == ["rejected", "rejected", "rejected", "ok"]
    survivors = [r.error.survivor for r in results[:3] if isinstance(r.error, Gone)]
    assert survivors == [master.id, None, None]


# --- tasks ---------------------------------------------------------------------------------------------------------------


def test_a_task_as_the_rep_sees_it(org: PracticeOrg, ready: SalesforceConnector) -> None:
    [ref] = org.add_people(1)
    [result] = ready.write([task(org, ref)])
    assert result.status == "ok"
    columns = "Id, WhoId, OwnerId, Subject, Description, ActivityDate, Priority, IsClosed, Mikomi_Key__c"
    [row] = org.god(f"SELECT {columns} FROM Task")
    del row["attributes"]
    assert row == {
        "Id": result.crm_id,
        "WhoId": ref.id,
        "OwnerId": org.owner_id,
        "Subject": "架電: 資料請求のフォロー",
        "Description": "理由",
        "ActivityDate": "2026-11-28",
        "Priority": "High",
        "IsClosed": False,
        "Mikomi_Key__c": "mk1-one",
    }


def test_what_the_rep_did_with_a_task_stays(org: PracticeOrg, ready: SalesforceConnector) -> None:
    [ref] = org.add_people(1)
    [first] = ready.write([task(org, ref)])
    org.act("update", "Task", id=first.crm_id, fields={"Status": "Completed", "Subject": "済み"})
    [again] = ready.write([task(org, ref)])
    assert (again.status, again.crm_id) == ("ok", first.crm_id)
    [row] = org.god("SELECT Subject, Status FROM Task")
    assert (row["Subject"], row["Status"]) == ("済み", "Completed")


def test_a_task_that_the_rep_deleted_is_not_made_again(org: PracticeOrg, ready: SalesforceConnector) -> None:
    [ref] = org.add_people(1)
    [first] = ready.write([task(org, ref)])
    org.act("delete", "Task", id=first.crm_id)
    [again] = ready.write([task(org, ref)])
    assert (again.status, again.crm_id) == ("ok", first.crm_id)
    assert len(org.god("SELECT Id FROM Task")) == 1


def test_our_own_completed_task_is_no_activity(org: PracticeOrg, ready: SalesforceConnector) -> None:
    [ref] = org.add_people(1)
    [made] = ready.write([task(org, ref)])
    org.act("update", "Task", id=made.crm_id, fields={"Status": "Completed", "Type": "Call"})
    org.settle()
    rows = [f for p in ready.read({}) if p.stream == "Task" for f in p.facts]
    assert [getattr(row, "activities", None) for row in rows] == [()]


def test_without_the_key_no_task_is_made(org: PracticeOrg) -> None:
    [ref] = org.add_people(1)
    connector = org.connect()
    [result] = connector.write([task(org, ref)])
    assert result.status == "rejected"
    assert isinstance(result.error, Forbidden)
    assert result.error.hint == "mikomi setup --apply"
    assert connector.capabilities.task_key is False
    assert org.god("SELECT Id FROM Task") == []


def test_an_org_without_unique_task_keys_gets_a_plain_one(tmp_path: Path) -> None:
    org = PracticeOrg(tmp_path, SalesforceOptions(unique_activity_fields=False))
    try:
        connector = org.connect(language="en")
        results = {r.step.name: r for r in connector.apply_setup()}
        assert {r.status for r in results.values()} <= {"created", "unchanged"}
        assert "quarantine" in results["task key"].message
        assert connector.capabilities.task_key is False
        assert all(step.done for step in org.connect().plan_setup())
        [ref] = org.add_people(1)
        org.fail_next(kind="drop_after", times=100, path="composite/sobjects")
        [lost] = connector.write([task(org, ref)])
        assert (lost.status, connector.counts.lost) == ("unknown", 1)
        org.control("DELETE", "faults")
        [row] = org.god("SELECT Id, Description, Mikomi_Key__c FROM Task")
        assert row["Description"].endswith("\n\n[ref: mk1-one]")
        assert [t.crm_id for t in connector.find_tasks({"mk1-one": ref})["mk1-one"]] == [row["Id"]]
        doctor = [f.message for f in org.connect(language="en").check().findings if f.subject == "create tasks"]
        assert "quarantine" in doctor[0]
    finally:
        org.stop()


def test_a_task_for_a_queue_or_a_rep_who_left_is_refused(org: PracticeOrg, ready: SalesforceConnector) -> None:
    [ref] = org.add_people(1)
    queue = org.god("SELECT Id FROM Group WHERE Type = 'Queue'")[0]["Id"]
    org.control("POST", "permissions", {"user": org.owner_id, "active": False})
    results = list(ready.write([task(org, ref, "mk1-a", owner_id=queue), task(org, ref, "mk1-b")]))
    assert statuses(results) == ["rejected", "rejected"]
    assert all(isinstance(r.error, Rejected) and not isinstance(r.error, Gone) for r in results)
    assert org.task_keys() == []


def test_tasks_and_scores_in_one_batch(org: PracticeOrg, ready: SalesforceConnector) -> None:
    refs = org.add_people(5)
    writes: list[FieldWrite | TaskWrite] = []
    for n, ref in enumerate(refs):
        writes += [task(org, ref, f"mk1-{n}"), *scores([ref], n)]
    results = list(ready.write(writes))
    assert statuses(results) == ["ok"] * 10
    assert [r.write for r in results] == writes
    assert sorted(org.task_keys()) == [f"mk1-{n}" for n in range(5)]
    assert all((r.crm_id is not None) is isinstance(r.write, TaskWrite) for r in results)


# --- faults --------------------------------------------------------------------------------------------------------------


def test_a_lost_answer_is_sent_again_without_a_second_effect(org: PracticeOrg, ready: SalesforceConnector) -> None:
    [ref] = org.add_people(1)
    org.fail_next(kind="drop_after", path="composite/sobjects")
    assert statuses(list(ready.write([task(org, ref), *scores([ref], 9)]))) == ["ok", "ok"]
    assert org.task_keys() == ["mk1-one"]
    assert org.shown(ref, "score") == 9


def test_answers_that_never_come_leave_rows_unknown(org: PracticeOrg, ready: SalesforceConnector) -> None:
    refs = org.add_people(3)
    org.fail_next(kind="drop_after", times=100, path="composite")
    results = list(ready.write(scores(refs)))
    assert statuses(results) == ["unknown"] * 3
    assert isinstance(results[0].error, OutcomeUnknown)


def test_an_outage_raises_before_the_rows_that_were_not_sent(org: PracticeOrg, ready: SalesforceConnector) -> None:
    refs = org.add_people(1_500)
    fault = {"kind": "status", "status": 503, "body": '[{"errorCode": "SERVER_UNAVAILABLE"}]'}
    org.control("POST", "faults", fault | {"times": 100, "skip": 1, "path": "composite"})
    results = []
    with pytest.raises(Transient):
        for result in ready.write(scores(refs)):
            results.append(result)  # noqa: PERF402 - what came before the fault must be kept
    assert statuses(results) == ["ok"] * 1_000


def test_an_exhausted_quota_is_raised_and_nothing_is_marked(org: PracticeOrg, ready: SalesforceConnector) -> None:
    refs = org.add_people(3)
    org.control("POST", "quota", {"limit": 100, "used": 100})
    with pytest.raises(QuotaExhausted) as caught:
        list(ready.write(scores(refs)))
    assert caught.value.resets_at is not None


class Scripted:
    """Answers of the writing calls in place of the org's."""

    def __init__(self, connector: SalesforceConnector, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        self.poison: frozenset[str] = frozenset()
        self.locked: dict[str, int] = {}
        self.fewer = False
        monkeypatch.setattr(connector._api, "composite", self.composite)
        monkeypatch.setattr(connector._api, "send", self.send)

    def composite(self, parts: Sequence[Part], **_: Any) -> list[PartAnswer]:
        return [self.answer(part.body["records"]) for part in parts]

    def send(self, _method: str, _path: str, document: Any, **_: Any) -> Any:
        answer = self.answer(document["records"])
        if answer.status != 200:
            raise Rejected("refused whole", code=answer.body[0]["errorCode"])
        return answer.body

    def answer(self, rows: list[dict[str, Any]]) -> PartAnswer:
        self.sizes.append(len(rows))
        if self.poison & {row["id"] for row in rows}:
            return PartAnswer(400, [{"errorCode": "JSON_PARSER_ERROR", "message": "no"}], 0)
        answers = [self.row(row["id"]) for row in rows]
        return PartAnswer(200, answers[:-1] if self.fewer else answers, 0)

    def row(self, row_id: str) -> dict[str, Any]:
        if self.locked.get(row_id, 0) > 0:
            self.locked[row_id] -= 1
            error = {"statusCode": "UNABLE_TO_LOCK_ROW", "message": f"unable to obtain exclusive access: {row_id}"}
            return {"success": False, "errors": [{**error, "fields": []}]}
        return {"id": row_id, "success": True, "errors": []}


def test_locked_rows_alone_are_sent_again(
    org: PracticeOrg, ready: SalesforceConnector, monkeypatch: pytest.MonkeyPatch
) -> None:
    refs = org.add_people(10)
    script = Scripted(ready, monkeypatch)
    script.locked = {refs[3].id: 1, refs[7].id: 99}
    results = list(ready.write(scores(refs)))
    assert script.sizes == [10, 2, 1]
    assert [n for n, result in enumerate(results) if result.status != "ok"] == [7]
    assert results[7].status == "retryable"
    assert isinstance(results[7].error, Transient)


@pytest.mark.parametrize("count", [10, 450])
def test_a_collection_that_is_refused_whole_is_halved_down_to_the_bad_row(
    org: PracticeOrg, ready: SalesforceConnector, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    refs = org.add_people(count)
    script = Scripted(ready, monkeypatch)
    script.poison = frozenset({refs[4].id})
    results = list(ready.write(scores(refs)))
    assert [n for n, result in enumerate(results) if result.status != "ok"] == [4]
    assert isinstance(results[4].error, Rejected)
    assert len(script.sizes) < 25


@pytest.mark.parametrize(
    "code", ["INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY", "INVALID_CROSS_REFERENCE_KEY", "ENTITY_IS_DELETED"]
)
@pytest.mark.parametrize("deleted", [True, False])
def test_a_refused_reference_means_gone_only_if_the_record_is(
    org: PracticeOrg, ready: SalesforceConnector, monkeypatch: pytest.MonkeyPatch, deleted: bool, code: str
) -> None:
    refs = org.add_people(2)
    if deleted:
        org.delete(refs[0])
    send = ready._api.send

    def refuse(method: str, path: str, document: Any, **options: Any) -> Any:
        rows = send(method, path, document, **options)
        error = {"statusCode": code, "message": "", "fields": []}
        rows[0] = {"success": False, "errors": [error]}
        return rows

    monkeypatch.setattr(ready._api, "send", refuse)
    results = list(ready.write(scores(refs)))
    assert statuses(results) == ["rejected", "ok"]
    assert isinstance(results[0].error, Rejected)
    assert (isinstance(results[0].error, Gone), results[0].error.code) == (deleted, code)


def test_fewer_answers_than_rows_are_unknown(
    org: PracticeOrg, ready: SalesforceConnector, monkeypatch: pytest.MonkeyPatch
) -> None:
    refs = org.add_people(4)
    Scripted(ready, monkeypatch).fewer = True
    assert statuses(list(ready.write(scores(refs)))) == ["unknown"] * 4


def test_a_duplicate_of_our_own_key_is_the_task_itself(org: PracticeOrg) -> None:
    from connectors.salesforce.payload import to_result

    write = task(org, RecordRef(NAME, "lead", "00Q000000000001AAA"))
    message = "duplicate value found: Mikomi_Key__c duplicates value on record with id: 00T00000000000zAAA"
    answer = {"success": False, "errors": [{"statusCode": "DUPLICATE_VALUE", "message": message, "fields": []}]}
    assert to_result(write, answer) == WriteResult(write, "ok", crm_id="00T00000000000zAAA")
    other = json.loads(json.dumps(answer).replace("Mikomi_Key__c", "Other__c"))
    assert to_result(write, other).status == "rejected"
