"""Score fields and tasks: right values, fewest calls, every row with its own end."""

import json
from pathlib import Path

import pytest

from connectors.hubspot.facts import long_id
from connectors.protocol import Connector, FieldWrite, TaskWrite, Write
from core.errors import Forbidden, Gone, OutcomeUnknown, QuotaExhausted, Rejected, Transient
from core.records import Record, RecordRef, Value
from sandbox.hubspot import HubSpotOptions
from tests.connectors.hubspot.practice import NOW, PracticePortal

DAY = 20_600  # 2026-05-27


def ready(portal: PracticePortal) -> Connector:
    connector = portal.connect()
    assert {r.status for r in connector.apply_setup()} <= {"created", "unchanged"}
    return connector


def task(portal: PracticePortal, ref: RecordRef, key: str, **more: str) -> TaskWrite:
    values = {"subject": "架電: 資料請求", "body": "理由: 資料請求 +15"} | more
    return TaskWrite(key, ref, portal.owner_id, values["subject"], values["body"], DAY)


def test_every_type_of_field_is_written_and_read_back(portal: PracticePortal) -> None:
    connector = ready(portal)
    [ref] = portal.add_people(1)
    values: dict[str, Value] = {
        "score": 87,
        "band": "A",
        "trend": "rising",
        "reasons": "・資料請求 +15(5/27)\n・展示会 +20",
        "next_step": "call",
        "next_action": "電話する",
        "next_due": DAY,
        "last_human_contact": NOW - 1,
        "handover_state": "offered",
        "handed_over_at": NOW,
        "rulebook": "b2b-japan-standard",
        "withheld": 0,
    }
    [result] = connector.write([FieldWrite(ref, values)])
    assert result.status == "ok"
    [record] = connector.fetch([ref])
    assert isinstance(record, Record)
    assert dict(record.written) == values
    [cleared] = connector.write([FieldWrite(ref, {"next_due": None, "next_action": None})])
    assert cleared.status == "ok"
    [record] = connector.fetch([ref])
    assert isinstance(record, Record)
    assert not {"next_due", "next_action"} & record.written.keys()


def test_n_writes_take_a_hundredth_of_the_calls(portal: PracticePortal) -> None:
    connector = ready(portal)
    refs = portal.add_people(250)
    before = connector.counts.write
    assert {r.status for r in connector.write([FieldWrite(r, {"score": 1}) for r in refs])} == {"ok"}
    assert connector.counts.write - before == 3


def test_a_batch_refused_whole_is_halved_until_the_bad_row_stands_alone(portal: PracticePortal) -> None:
    connector = ready(portal)
    refs = portal.add_people(16)
    portal.control("properties", {"action": "delete", "type": "contacts", "name": "mikomi_trend"})
    body = {
        "name": "mikomi_trend",
        "label": "t",
        "type": "enumeration",
        "fieldType": "select",
        "groupName": "mikomi",
        "options": [{"label": "flat", "value": "flat", "displayOrder": 0, "hidden": False}],
    }
    portal.control("properties", {"action": "create", "type": "contacts", "definition": body})
    writes = [FieldWrite(r, {"score": 5, "trend": "rising" if n in {3, 11} else "flat"}) for n, r in enumerate(refs)]
    before = connector.counts.write
    results = list(connector.write(writes))
    assert [n for n, r in enumerate(results) if r.status != "ok"] == [3, 11]
    assert isinstance(results[3].error, Rejected)
    assert "mikomi_trend" in results[3].error.fields
    assert connector.counts.write - before <= 2 * 2 * 4 + 1


def test_a_merged_contact_names_its_survivor(portal: PracticePortal) -> None:
    connector = ready(portal)
    refs = portal.add_people(3)
    survivor = portal.merge(refs[0], refs[1])
    results = list(connector.write([FieldWrite(r, {"score": 9}) for r in refs]))
    lost = [r for r in results if r.status == "rejected"]
    assert lost
    for result in lost:
        assert isinstance(result.error, Gone)
        assert result.error.survivor == survivor.id
    assert results[2].status == "ok"


def test_missing_fields_stop_the_system_and_name_the_command(portal: PracticePortal) -> None:
    connector = ready(portal)
    refs = portal.add_people(20)
    portal.control("properties", {"action": "delete", "type": "contacts", "name": "mikomi_score"})
    before = connector.counts.write
    with pytest.raises(Forbidden) as caught:
        list(connector.write([FieldWrite(r, {"score": 9}) for r in refs]))
    assert caught.value.missing == ("mikomi_score",)
    assert "mikomi setup --apply" in caught.value.hint
    assert connector.counts.write - before == 1


def test_with_the_minimum_of_fields_the_others_are_left_out(portal: PracticePortal) -> None:
    connector = portal.connect(fields="minimal")
    list(connector.apply_setup())
    [ref] = portal.add_people(1)
    writes = [FieldWrite(ref, {"score": 5, "trend": "rising"}), FieldWrite(ref, {"trend": "rising"})]
    assert [r.status for r in connector.write(writes)] == ["ok", "ok"]
    [record] = connector.fetch([ref])
    assert isinstance(record, Record)
    assert dict(record.written) == {"score": 5}


@pytest.mark.parametrize(
    "write",
    [
        FieldWrite(RecordRef("salesforce", "contact", "1"), {"score": 1}),
        FieldWrite(RecordRef("hubspot", "account", "1"), {"score": 1}),
        FieldWrite(RecordRef("hubspot", "contact", "1/../2"), {"score": 1}),
        FieldWrite(RecordRef("hubspot", "contact", "1"), {"lifecyclestage": "customer"}),
        FieldWrite(RecordRef("hubspot", "contact", "1"), {"response": "accepted"}),
        FieldWrite(RecordRef("hubspot", "contact", "1"), {"score": "87"}),
        FieldWrite(RecordRef("hubspot", "contact", "1"), {"score": True}),
        TaskWrite("k", RecordRef("hubspot", "deal", "1"), "501", "s", "b", DAY),
    ],
)
def test_what_is_not_ours_is_never_sent(portal: PracticePortal, write: Write) -> None:
    connector = ready(portal)
    before = connector.counts.write
    [result] = connector.write([write])
    assert result.status == "rejected"
    assert connector.counts.write == before


def test_a_task_carries_all_a_rep_needs_and_its_text_stays_text(portal: PracticePortal) -> None:
    connector = ready(portal)
    [ref] = portal.add_people(1)
    [result] = connector.write([task(portal, ref, "mk1-a", body='<script>alert("x")</script>\n二行目 & 続き')])
    assert result.status == "ok"
    [row] = portal.tasks()
    shown = row["properties"]
    assert row["id"] == result.crm_id
    assert shown["mikomi_key"] == "mk1-a"
    assert shown["hs_task_body"] == "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;<br>二行目 &amp; 続き"
    assert (shown["hs_task_priority"], shown["hs_task_status"], shown["hubspot_owner_id"]) == (
        "HIGH",
        "NOT_STARTED",
        "501",
    )
    assert shown["hs_timestamp"] == "2026-05-27T00:00:00.000Z"  # nine in the morning in Tokyo
    assert [a["id"] for a in row["associations"]["contacts"]["results"]] == [ref.id]


def test_sending_a_task_again_does_not_undo_what_the_rep_did(portal: PracticePortal) -> None:
    connector = ready(portal)
    [ref] = portal.add_people(1)
    [first] = connector.write([task(portal, ref, "mk1-a")])
    done = {"hs_task_status": "COMPLETED", "hs_task_subject": "済"}
    portal.control("records", {"action": "update", "type": "tasks", "id": first.crm_id, "properties": done})
    [again] = connector.write([task(portal, ref, "mk1-a")])
    assert (again.status, again.crm_id) == ("ok", first.crm_id)
    [row] = portal.tasks()
    assert row["properties"]["hs_task_status"] == "COMPLETED"
    assert row["properties"]["hs_task_subject"] == "済"


def test_a_task_of_a_merged_contact_names_the_survivor(portal: PracticePortal) -> None:
    connector = ready(portal)
    merged, other = portal.add_people(2)
    survivor = portal.merge(merged, other)
    loser = other if survivor.id == merged.id else merged
    [result] = connector.write([task(portal, loser, "mk1-gone")])
    assert isinstance(result.error, Gone)
    assert result.error.survivor == survivor.id


def test_one_bad_task_does_not_spoil_its_batch(portal: PracticePortal) -> None:
    connector = ready(portal)
    refs = portal.add_people(3)
    writes = [task(portal, r, f"mk1-{n}") for n, r in enumerate(refs)]
    writes[1] = TaskWrite("mk1-1", refs[1], "999999", "s", "b", DAY)
    results = list(connector.write(writes))
    assert [r.status for r in results] == ["ok", "rejected", "ok"]
    assert sorted(portal.task_keys()) == ["mk1-0", "mk1-2"]


def test_after_a_batch_that_cannot_be_sent_the_rest_is_not_tried(portal: PracticePortal) -> None:
    connector = ready(portal)
    refs = portal.add_people(250)
    body = json.dumps({"status": "error", "message": "busy", "category": "TEMPORARY", "correlationId": "x"})
    portal.fail_next(status=503, body=body, times=100, path="batch/update")
    before = connector.counts.write
    results = list(connector.write([FieldWrite(r, {"score": 1}) for r in refs]))
    assert {r.status for r in results} == {"retryable"}
    assert all(isinstance(r.error, Transient) for r in results)
    assert connector.counts.write - before == 5  # the attempts of one call


def test_a_write_whose_answers_are_all_lost_is_unknown(portal: PracticePortal) -> None:
    connector = ready(portal)
    [ref] = portal.add_people(1)
    portal.fail_next(kind="drop_after", times=100, path="batch/update")
    [result] = connector.write([FieldWrite(ref, {"score": 77})])
    assert result.status == "unknown"
    assert isinstance(result.error, OutcomeUnknown)
    assert portal.shown(ref, "score") == 77


def test_a_task_whose_answers_are_all_lost_is_found_by_its_key(portal: PracticePortal) -> None:
    connector = ready(portal)
    [ref] = portal.add_people(1)
    portal.fail_next(kind="drop_after", times=100, path="tasks/batch/create")
    [result] = connector.write([task(portal, ref, "mk1-a")])
    assert result.status == "unknown"
    portal.heal()
    [again] = connector.write([task(portal, ref, "mk1-a")])
    assert again.status == "ok"
    assert portal.task_keys() == ["mk1-a"]


def test_the_daily_quota_ends_writing_with_its_reset(portal: PracticePortal) -> None:
    connector = ready(portal)
    [ref] = portal.add_people(1)
    connector.prepare()
    body = json.dumps(
        {
            "status": "error",
            "message": "You have reached your daily limit.",
            "errorType": "RATE_LIMIT",
            "policyName": "DAILY",
        }
    )
    portal.fail_next(status=429, body=body, path="batch/update")
    with pytest.raises(QuotaExhausted) as caught:
        list(connector.write([FieldWrite(ref, {"score": 1})]))
    assert caught.value.resets_at is not None
    assert caught.value.resets_at.isoformat() == "2026-05-29T15:00:00+00:00"  # midnight in Tokyo


def test_a_portal_without_unique_task_keys_gets_a_plain_one(tmp_path: Path) -> None:
    portal = PracticePortal(tmp_path, HubSpotOptions(limits=False, unique_task_property=False))
    try:
        connector = portal.connect(language="en")
        [ref] = portal.add_people(1)
        with pytest.raises(Forbidden, match="mikomi_key"):
            list(connector.write([task(portal, ref, "mk1-a")]))
        results = {r.step.name: r for r in connector.apply_setup()}
        assert {r.status for r in results.values()} == {"created"}
        assert "quarantine" in results["tasks.mikomi_key"].message
        assert connector.capabilities.task_key is False
        assert portal.connect().plan_setup()[-1].done
        [made] = connector.write([task(portal, ref, "mk1-a", body="Call <them>")])
        [row] = portal.tasks()
        assert (made.status, made.crm_id, row["properties"]["mikomi_key"]) == ("ok", row["id"], "mk1-a")
        assert row["properties"]["hs_task_body"] == "Call &lt;them&gt;<br><br>[ref: mk1-a]"
        doctor = {f.subject: f for f in portal.connect(language="en").check().findings}
        assert "quarantine" in doctor["hubspot: tasks"].message
    finally:
        portal.stop()


def test_without_a_unique_key_a_create_is_never_sent_twice_by_itself(tmp_path: Path) -> None:
    portal = PracticePortal(tmp_path, HubSpotOptions(limits=False, unique_task_property=False))
    try:
        connector = ready(portal)
        [ref] = portal.add_people(1)
        portal.fail_next(kind="drop_after", times=100, path="tasks/batch/create")
        [result] = connector.write([task(portal, ref, "mk1-a")])
        assert (result.status, connector.counts.lost) == ("unknown", 1)
        assert portal.task_keys() == ["mk1-a"]
    finally:
        portal.stop()


def test_salesforce_ids_are_compared_in_their_long_form() -> None:
    assert long_id("001D000000IqhSL") == "001D000000IqhSLIAZ"
    assert long_id("001D000000IqhSLIAZ") == "001D000000IqhSLIAZ"
