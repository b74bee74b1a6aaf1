"""Both modes through the whole cycle: what setup, sync and status say, and that stage `all` works without a unique key."""

from pathlib import Path

import pytest

from connectors.salesforce.schema import Layout
from sandbox import Sandbox
from sync.state import schema as t
from sync.state.kept import get_kept
from tests.sync.delivery.rig import VENDORS, Crms
from tests.sync.practice import MORNING_MS, Practice, control


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_task_that_somebody_touched_is_told_from_one_that_nobody_did(crms: Crms, vendor: str, tmp_path: Path) -> None:
    with crms.rig(vendor, tmp_path, unique=False, people=2) as rig:
        keys = rig.owe_tasks()
        rig.deliver()
        wanted = dict(zip(keys, rig.refs, strict=True))
        found = {key: tasks[0] for key, tasks in rig.connector.find_tasks(wanted).items()}
        rig.pass_time(60)
        rig.touch_task(found[keys[0]].crm_id)
        found = {key: tasks[0] for key, tasks in rig.connector.find_tasks(wanted).items()}
        assert [found[key].touched for key in keys] == [True, False]


def test_a_task_moved_away_from_its_contact_is_found_by_search_once_the_index_has_it(
    crms: Crms, tmp_path: Path
) -> None:
    with crms.rig("hubspot", tmp_path, unique=False, people=1) as rig:
        [key], [ref] = rig.owe_tasks(), rig.refs
        rig.deliver()
        [task] = rig.connector.find_tasks({key: ref})[key]
        rig.crm.api("DELETE", f"/crm/v4/objects/tasks/{task.crm_id}/associations/contacts/{ref.id}")
        rig.pass_time(60)
        [moved] = rig.connector.find_tasks({key: ref})[key]
        assert (moved.crm_id, moved.ref) == (task.crm_id, None)


@pytest.mark.parametrize("vendor", VENDORS)
def test_without_the_key_field_nothing_is_concluded_and_scores_go_on(
    crms: Crms, vendor: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An administrator took the field away while a task was in doubt: not found would mean nothing."""
    with crms.rig(vendor, tmp_path, unique=False, people=1) as rig:
        [key] = rig.owe_tasks()
        rig.owe_scores(50, 1)
        rig.fail("drop_after", times=1)
        rig.deliver()
        rig.heal()
        rig.pass_time(3_600)
        with monkeypatch.context() as patch:
            if vendor == "hubspot":
                patch.setattr(rig.connector, "_task_key", None)
                patch.setattr(rig.connector, "_setup", _NoKey())
            else:
                patch.setattr(Layout, "plain_key", False)
            report = rig.deliver()
        assert "key" in (report.error or "").lower()
        assert rig.versions() == [1]
        assert rig.keys() == {key: 1}
        rig.finish()
        assert rig.keys() == {key: 1}


class _NoKey:
    def is_key_unique(self) -> None:
        return None


def test_stage_all_works_in_quarantine_and_a_lost_answer_doubles_nothing(tmp_path: Path) -> None:
    options = {"unique_task_property": False, "unique_activity_fields": False}
    with Sandbox(seed=11, people=60, limits=False, now_ms=MORNING_MS, **options) as box:
        practice = Practice(box, tmp_path, stage="all", deliver={"late_commit_seconds": 0, "index_lag_seconds": 0})
        practice.setup()
        for url in (box.salesforce.url, box.hubspot.url):
            lost = {"kind": "drop_after", "times": 1, "method": "POST"}
            control(url, "POST", "faults", {**lost, "path": "composite/sobjects|tasks/batch/create"})
        practice.sync()
        owed = {row["key"]: row["state"] for row in practice.rows(t.outbox, t.outbox.c.effect == "task")}
        assert owed
        assert "unknown" in owed.values()
        practice.sync()
        keys = [task["Mikomi_Key__c"] for task in practice.salesforce_tasks()]
        keys += [task["properties"]["mikomi_key"] for task in practice.hubspot_tasks()]
        assert sorted(keys) == sorted(owed)
        assert {row["state"] for row in practice.rows(t.outbox)} == {"done"}
        with practice.state() as state:
            assert [get_kept(state, f"task key {name}") for name in ("salesforce", "hubspot")] == [False, False]
