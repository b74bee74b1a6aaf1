"""The whole pass against both emulators: what 1/6 promises, at its door."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import AlreadyRunning, CannotStart, InvalidSettings
from sandbox import Sandbox
from sync.cli.setup import run_setup
from sync.state import schema as t
from tests.sync.databases import on_both, on_one_database
from tests.sync.practice import MORNING_MS, Practice, control, people_by_record, set_up_sandbox

pytest_generate_tests = on_one_database

PEOPLE = 60
MANY = 120
"""Enough that somebody hot is known to one CRM only."""


@pytest.fixture
def box(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    people = getattr(request, "param", PEOPLE)
    with set_up_sandbox(seed=7, people=people) as sandbox:
        yield sandbox


@pytest.fixture
def bare() -> Iterator[Sandbox]:
    """Before anybody has set it up."""
    with Sandbox(seed=7, people=PEOPLE, limits=False, now_ms=MORNING_MS) as sandbox:
        yield sandbox


@pytest.fixture
def practice(box: Sandbox, tmp_path: Path, database: str) -> Practice:
    return Practice(box, tmp_path, stage="all", state=database)


def writes(practice: Practice) -> int:
    """Write calls that both emulators saw so far, tokens and set-up aside."""
    seen = 0
    for url in (practice.box.salesforce.url, practice.box.hubspot.url):
        for endpoint, count in control(url, "GET", "calls").items():
            method = endpoint.split(" ", 1)[0]
            reading = any(word in endpoint for word in ("search", "batch/read", "oauth", "token", "query"))
            if method in {"PATCH", "PUT", "DELETE"} or (
                method == "POST" and not reading and "composite" not in endpoint
            ):
                seen += count
    return seen


def keys(practice: Practice) -> Counter[str]:
    found = [task["Mikomi_Key__c"] for task in practice.salesforce_tasks()]
    found += [task["properties"]["mikomi_key"] for task in practice.hubspot_tasks()]
    return Counter(found)


@on_both
def test_first_sync_writes_scores_and_one_task_a_hand_over(practice: Practice) -> None:
    report = practice.sync()
    assert report.outcome == "ok", report.systems
    assert report.people > PEOPLE * 0.8
    scores = {row["person_id"]: row for row in practice.rows(t.score)}
    handed = {row["person_id"]: row for row in practice.rows(t.handover) if row["state"] == "offered"}
    assert handed, "the market has people to hand over"
    assert all(scores[person]["band"] == "A" for person in handed)
    assert set(keys(practice).values()) == {1}
    assert len(keys(practice)) == len(handed)
    known_in_salesforce = {p for ref, p in people_by_record(practice).items() if ref.startswith("salesforce/")}
    for person, episode in handed.items():
        assert episode["system"] == ("salesforce" if person in known_in_salesforce else "hubspot")
    people = people_by_record(practice)
    for kind in ("Lead", "Contact"):
        for row in practice.soql(
            f"SELECT Id, Mikomi_Score__c, Mikomi_Band__c FROM {kind} WHERE Mikomi_Score__c != null"
        ):
            score = scores[people[f"salesforce/{kind.lower()}/{row['Id']}"]]
            assert (row["Mikomi_Score__c"], row["Mikomi_Band__c"]) == (score["total"], score["band"])


def test_the_same_person_has_the_same_score_in_both(practice: Practice) -> None:
    practice.sync()
    people = people_by_record(practice)
    both = [p for p, n in Counter(people.values()).items() if n > 1]
    salesforce: dict[int, Any] = {}
    for kind in ("Lead", "Contact"):
        for row in practice.soql(f"SELECT Id, Mikomi_Score__c FROM {kind} WHERE Mikomi_Score__c != null"):
            salesforce[people[f"salesforce/{kind.lower()}/{row['Id']}"]] = row["Mikomi_Score__c"]
    compared = 0
    for ref, person in people.items():
        if ref.startswith("hubspot/") and person in both and person in salesforce:
            record = practice.hubspot(
                "GET", f"/crm/v3/objects/contacts/{ref.rpartition('/')[2]}?properties=mikomi_score"
            )
            assert float(record["properties"]["mikomi_score"]) == salesforce[person]
            compared += 1
    assert compared > 5


def test_a_quiet_cycle_reads_little_and_writes_nothing(practice: Practice) -> None:
    practice.sync()
    practice.wait()
    practice.sync()  # our own writes are read again once
    practice.wait()
    before = writes(practice)
    report = practice.sync()
    assert report.outcome == "ok"
    assert report.people_scored == 0
    assert (report.fields_owed, report.tasks_owed) == (0, 0)
    assert writes(practice) == before
    calls = report.systems["salesforce"]
    assert calls.stream_calls <= 3, calls  # twelve streams, five to a composite
    seen = Counter(practice.quiet_calls("hubspot"))
    per_item = {
        endpoint: count for endpoint, count in seen.items() if "submissions" in endpoint or "memberships" in endpoint
    }
    assert all(count == 1 for endpoint, count in seen.items() if endpoint not in per_item), seen
    assert sum(per_item.values()) <= 12  # one call per active form and mapped list


def test_rereading_our_own_writes_scores_nobody(practice: Practice) -> None:
    practice.sync()
    practice.wait(5 * 60)
    report = practice.sync()
    assert (report.people_scored, report.fields_owed) == (0, 0)


def test_a_changed_rulebook_makes_no_second_task(practice: Practice) -> None:
    practice.sync()
    before = keys(practice)
    path = practice.folder / "rulebook.yaml"
    path.write_text(path.read_text("utf-8").replace("points: 30", "points: 25", 1), "utf-8")
    report = practice.sync()
    assert report.daily
    after = keys(practice)
    assert set(after.values()) == {1}
    people = [row["person_id"] for row in practice.rows(t.handover) if row["state"] == "offered"]
    assert len(people) == len(set(people))
    assert set(before) <= set(after)


@on_both
def test_a_dry_run_writes_nothing(practice: Practice) -> None:
    before = writes(practice)
    report = practice.sync(dry_run=True)
    assert report.planned
    assert {item["effect"] for item in report.planned} == {"fields", "task"}
    assert writes(practice) == before
    assert practice.rows(t.outbox) == []
    assert practice.rows(t.handover) == []


def test_stages_write_what_they_say(bare: Sandbox, tmp_path: Path) -> None:
    practice = Practice(bare, tmp_path, stage="observe")
    before = writes(practice)
    assert practice.sync().people_scored > 0
    assert writes(practice) == before
    practice.write_config(stage="fields")
    with pytest.raises(CannotStart, match="not set up") as caught:
        practice.sync()
    assert "mikomi setup" in caught.value.hint
    assert writes(practice) == before
    practice.setup()
    report = practice.sync()
    assert report.fields_owed > 0
    assert sum(system.fields_written for system in report.systems.values()) == report.fields_owed
    assert keys(practice) == Counter()


def test_on_the_first_day_everyone_in_the_band_counts_as_handed_over(box: Sandbox, tmp_path: Path) -> None:
    from core.rulebook import template_text

    practice = Practice(box, tmp_path, stage="all", rulebook=template_text("b2b-japan-standard"))
    practice.sync()
    handed = practice.rows(t.handover)
    assert handed
    assert all(row["seeded"] for row in handed)
    assert keys(practice) == Counter()


def test_a_converted_lead_is_scored_on_its_contact(practice: Practice) -> None:
    practice.sync()
    people = people_by_record(practice)
    (lead,) = practice.soql(
        "SELECT Id FROM Lead WHERE IsConverted = false AND IsDeleted = false AND Email != null LIMIT 1"
    )
    answer = control(practice.box.salesforce.url, "POST", "records", {"action": "convert", "id": lead["Id"]})
    practice.wait()
    report = practice.sync()
    assert report.outcome == "ok"
    contact = answer["contact"]
    after = people_by_record(practice)
    assert after[f"salesforce/contact/{contact}"] == people[f"salesforce/lead/{lead['Id']}"]
    (row,) = practice.soql(f"SELECT Mikomi_Score__c FROM Contact WHERE Id = '{contact}'")
    score = {r["person_id"]: r for r in practice.rows(t.score)}[after[f"salesforce/contact/{contact}"]]
    assert row["Mikomi_Score__c"] == score["total"]


def test_a_merged_contact_follows_the_survivor_and_a_deleted_one_is_dropped(practice: Practice) -> None:
    practice.sync()
    url = practice.box.hubspot.url
    people = people_by_record(practice)
    single = [ref for ref, p in people.items() if ref.startswith("hubspot/") and list(people.values()).count(p) == 1]
    kept, lost, deleted = (ref.rpartition("/")[2] for ref in single[:3])
    control(url, "POST", "records", {"action": "merge", "type": "contacts", "id": kept, "other": lost})
    control(url, "POST", "records", {"action": "delete", "type": "contacts", "id": deleted})
    practice.wait()
    report = practice.sync(sweep=True)
    assert report.outcome == "ok"
    after = people_by_record(practice)
    assert f"hubspot/contact/{deleted}" not in after
    assert people[f"hubspot/contact/{deleted}"] not in {row["person_id"] for row in practice.rows(t.score)}
    survivors = {
        p for ref, p in after.items() if p in {people[f"hubspot/contact/{kept}"], people[f"hubspot/contact/{lost}"]}
    }
    assert survivors == {min(people[f"hubspot/contact/{kept}"], people[f"hubspot/contact/{lost}"])}


def test_a_wrong_credential_stops_everything_before_it_begins(
    practice: Practice, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = writes(practice)
    monkeypatch.setenv("PRACTICE_HUBSPOT", "pat-na1-00000000-0000-0000-0000-000000000000")
    with pytest.raises(CannotStart, match="hubspot") as caught:
        practice.sync()
    assert caught.value.exit_code == 2
    assert caught.value.hint.endswith("; without hubspot until then: mikomi sync --partial")
    assert writes(practice) == before
    assert practice.rows(t.cursor) == []


def test_a_user_edit_is_seen_scored_and_written_in_few_calls(practice: Practice) -> None:
    practice.sync()
    practice.wait()
    practice.sync()
    practice.wait()
    (lead,) = practice.soql(
        "SELECT Id FROM Lead WHERE IsConverted = false AND IsDeleted = false AND Title != '代表取締役社長' LIMIT 1"
    )
    order = {"action": "update", "sobject": "Lead", "id": lead["Id"], "fields": {"Title": "代表取締役社長"}}
    control(practice.box.salesforce.url, "POST", "records", order)
    practice.wait()
    report = practice.sync()
    person = people_by_record(practice)[f"salesforce/lead/{lead['Id']}"]
    assert 1 <= report.people_scored <= 40  # the person and the people of the company
    assert report.systems["salesforce"].write_calls + report.systems["hubspot"].write_calls <= 3
    (row,) = practice.soql(f"SELECT Mikomi_Score__c FROM Lead WHERE Id = '{lead['Id']}'")
    score = {r["person_id"]: r for r in practice.rows(t.score)}[person]
    assert row["Mikomi_Score__c"] == score["total"]


def test_rows_edited_a_moment_before_the_first_day_count_as_its_people(box: Sandbox, tmp_path: Path) -> None:
    """Everybody was edited within the settle time: they are scored on the first day, and no task follows later."""
    from core.rulebook import template_text

    practice = Practice(box, tmp_path, stage="all", rulebook=template_text("b2b-japan-standard"))
    for sobject in ("Lead", "Contact", "Task", "Event", "CampaignMember"):
        control(box.salesforce.url, "POST", "touch", {"sobject": sobject, "count": 10_000})
    first = practice.sync()
    assert any(row["system"] == "salesforce" for row in practice.rows(t.record))
    practice.wait()
    assert practice.sync().people == first.people
    assert all(row["seeded"] for row in practice.rows(t.handover))
    assert keys(practice) == Counter()


@pytest.mark.parametrize("box", [MANY], indirect=True)
def test_a_person_first_seen_after_the_first_day_was_there_all_the_same(practice: Practice) -> None:
    """A CRM that could not be read on the first day is no reason to flood reps on the second."""
    path = practice.folder / "rulebook.yaml"
    path.write_text(path.read_text("utf-8").replace("initial: all", "initial: seed"), "utf-8")
    both = practice.config["connections"]
    practice.write_config(connections={"hubspot": {**both["hubspot"], "linked_system": None}})
    practice.sync()
    practice.write_config(connections=both)
    practice.wait()
    practice.sync()
    people = people_by_record(practice)
    hubspot = {p for ref, p in people.items() if ref.startswith("hubspot/")}
    late = {p for ref, p in people.items() if ref.startswith("salesforce/")} - hubspot
    handed = [row for row in practice.rows(t.handover) if row["person_id"] in late]
    assert handed
    assert all(row["seeded"] for row in handed)


def test_a_restatement_is_remembered_across_stages(practice: Practice) -> None:
    """A harsher rulebook, tried while nothing is handed over, and taken back again: no second task."""
    practice.sync()
    before = keys(practice)
    path = practice.folder / "rulebook.yaml"
    original = path.read_text("utf-8")
    harsh = re.sub(r"points: (\d+)", lambda m: f"points: {int(m[1]) // 4}", original)
    for stage, text in (("observe", harsh), ("all", harsh), ("observe", original), ("all", original)):
        practice.write_config(stage=stage)
        path.write_text(text, "utf-8")
        practice.sync()
    assert keys(practice) == before


def test_who_opts_out_while_a_task_waits_is_not_called(practice: Practice) -> None:
    locked = {
        "sobject": "Task",
        "code": "UNABLE_TO_LOCK_ROW",
        "message": "unable to obtain exclusive access",
        "times": None,
    }
    control(practice.box.salesforce.url, "POST", "row_faults", locked)
    practice.sync()
    control(practice.box.salesforce.url, "DELETE", "row_faults")
    waiting = practice.rows(t.outbox, t.outbox.c.effect == "task", t.outbox.c.state == "new")
    assert waiting
    for row in waiting:
        kind = row["kind"].capitalize()
        order = {"action": "update", "sobject": kind, "id": row["id"], "fields": {"HasOptedOutOfEmail": True}}
        control(practice.box.salesforce.url, "POST", "records", order)
    practice.wait()
    practice.sync()
    cancelled = {row["key"] for row in waiting}
    assert not cancelled & set(keys(practice))
    states = {row["state"] for row in practice.rows(t.outbox, t.outbox.c.effect == "task") if row["key"] in cancelled}
    assert states == {"cancelled"}


def test_a_refused_task_is_tried_again_the_next_day(practice: Practice) -> None:
    rule = {"code": "FIELD_CUSTOM_VALIDATION_EXCEPTION", "message": "タスクには分類が必要です", "times": None}
    control(practice.box.salesforce.url, "POST", "row_faults", {"sobject": "Task", **rule})
    report = practice.sync()
    refused = report.systems["salesforce"].refused
    assert refused > 0
    assert report.outcome == "partial"
    dead = practice.rows(t.outbox, t.outbox.c.state == "dead")
    assert all(str(rule["message"]) in row["message"] for row in dead)
    control(practice.box.salesforce.url, "DELETE", "row_faults")
    practice.wait(24 * 3600)
    practice.sync()
    assert {row["key"] for row in dead} <= set(keys(practice))
    assert set(keys(practice).values()) == {1}


def test_a_renamed_connection_is_not_guessed(practice: Practice) -> None:
    practice.sync()
    connections = practice.config["connections"]
    practice.write_config(connections={"hubspot": connections["hubspot"], "sales": connections["salesforce"]})
    with pytest.raises((CannotStart, InvalidSettings)) as caught:
        practice.sync()
    assert "salesforce" in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_colleague_who_leaves_changes_the_scores_of_those_who_stay(practice: Practice) -> None:
    practice.sync()
    companies = Counter(row["company_id"] for row in practice.rows(t.person) if row["company_id"])
    company, _ = companies.most_common(1)[0]
    members = {row["person_id"] for row in practice.rows(t.person, t.person.c.company_id == company)}
    records = [ref for ref, person in people_by_record(practice).items() if person in members]
    leaving = next(
        r
        for r in records
        if r.startswith("hubspot/")
        and sum(people_by_record(practice)[r] == p for p in people_by_record(practice).values()) == 1
    )
    control(
        practice.box.hubspot.url,
        "POST",
        "records",
        {"action": "delete", "type": "contacts", "id": leaving.rpartition("/")[2]},
    )
    practice.wait()
    report = practice.sync(sweep=True)
    assert report.people_scored >= len(members) - 1


def test_a_field_made_again_is_filled_again(practice: Practice) -> None:
    practice.sync()
    url = practice.box.hubspot.url
    control(url, "POST", "properties", {"action": "delete", "type": "contacts", "name": "mikomi_score"})
    report = practice.sync()
    assert report.outcome == "partial"
    assert any("mikomi_score" in line for line in report.systems["hubspot"].lost)
    with practice.app() as app:
        run_setup(app, apply=True, as_json=False)
    practice.sync()
    page = practice.hubspot("GET", "/crm/v3/objects/contacts?limit=100&properties=mikomi_score")
    assert page["results"]
    assert [c["id"] for c in page["results"] if c["properties"].get("mikomi_score") in (None, "")] == []


@on_both
def test_a_second_sync_at_the_same_time_is_refused(practice: Practice) -> None:
    with practice.state() as state, state.alone(), pytest.raises(AlreadyRunning) as caught:
        practice.sync()
    assert caught.value.exit_code == 3
    assert practice.rows(t.run) == []
    assert practice.sync().outcome == "ok"


@on_both
def test_a_state_of_another_time_zone_is_refused(practice: Practice) -> None:
    practice.sync()
    practice.write_config(timezone="Europe/Berlin")
    path = practice.folder / "rulebook.yaml"
    path.write_text(path.read_text("utf-8").replace("Asia/Tokyo", "Europe/Berlin"), "utf-8")
    with pytest.raises(CannotStart, match="Asia/Tokyo"):
        practice.sync()
