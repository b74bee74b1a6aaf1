"""An old request that is carried out late never overtakes newer values: the version in the CRM only grows (I5)."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from connectors.protocol import Write, WriteResult
from core.errors import Rejected
from core.records import Millis
from sync.deliver import deliver
from sync.progress import Silent
from sync.report import SystemReport
from sync.state import outbox
from sync.state import schema as t
from tests.sync.delivery.rig import BOUNDS, VENDORS, Crms, LateCommits, Rig


@pytest.fixture(params=VENDORS)
def vendor(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_newer_values_wait_for_a_request_that_may_still_be_carried_out(
    crms: Crms, vendor: str, tmp_path: Path, late_commits: LateCommits
) -> None:
    with crms.rig(vendor, tmp_path, unique=True, people=2) as rig:
        rig.owe_scores(40, 1)
        rig.fail("late_commit", times=100)
        rig.deliver()
        rig.heal()
        rig.owe_scores(60, 2)
        rig.pass_time(BOUNDS.late_commit / 1000 - 10)
        rig.deliver()
        assert rig.versions() == [None, None]
        assert late_commits.happen() >= 1
        assert rig.versions() == [1, 1]
        rig.pass_time(20)
        rig.deliver()
        assert rig.versions() == [2, 2]


def test_an_attempt_lost_before_the_one_that_was_answered_holds_too(
    crms: Crms, vendor: str, tmp_path: Path, late_commits: LateCommits
) -> None:
    """The first attempt got no answer, the second one did, and all looked well."""
    with crms.rig(vendor, tmp_path, unique=True, people=2) as rig:
        rig.owe_scores(40, 1)
        rig.fail("late_commit", times=1)
        rig.deliver()
        assert rig.versions() == [1, 1]
        assert {row["state"] for row in rig.rows()} == {"done"}
        rig.owe_scores(60, 2)
        rig.deliver()
        assert rig.versions() == [1, 1]
        late_commits.happen()
        rig.pass_time(BOUNDS.late_commit / 1000 + 1)
        rig.deliver()
        assert rig.versions() == [2, 2]


def test_sending_newer_values_at_once_lets_the_version_fall(
    crms: Crms, vendor: str, tmp_path: Path, late_commits: LateCommits
) -> None:
    """The planted fault: without holding, the late commit brings the old values back."""
    with crms.rig(vendor, tmp_path, unique=True, people=1) as rig:
        rig.owe_scores(40, 1)
        rig.fail("late_commit", times=1)
        rig.deliver()
        with rig.state.begin() as connection:
            connection.execute(t.outbox.update().values(hold_until=None))
        rig.owe_scores(60, 2)
        rig.deliver()
        assert rig.versions() == [2]
        late_commits.happen()
        assert rig.versions() == [1]


def test_the_same_values_go_out_again_at_once(crms: Crms, vendor: str, tmp_path: Path) -> None:
    with crms.rig(vendor, tmp_path, unique=True, people=2) as rig:
        rig.owe_scores(40, 1)
        rig.fail("drop_before")
        rig.deliver()
        rig.heal()
        rig.owe_scores(40, 1)
        rig.pass_time(61)
        rig.deliver()
        assert rig.versions() == [1, 1]


def test_values_that_a_dead_run_was_sending_hold_newer_ones(crms: Crms, vendor: str, tmp_path: Path) -> None:
    """However long ago the run claimed them: it may have sent them just before it died, which is noticed only now."""
    with crms.rig(vendor, tmp_path, unique=True, people=1) as rig:
        rig.owe_scores(40, 1)
        _claim_and_die(rig)
        rig.pass_time(3_600)
        with rig.state.begin() as connection:
            assert outbox.reclaim(connection, now=rig.now, hold=BOUNDS.late_commit) == 1
        rig.owe_scores(60, 2)
        rig.deliver()
        assert rig.versions() == [None]
        rig.pass_time(BOUNDS.late_commit / 1000)
        rig.deliver()
        assert rig.versions() == [2]


def test_a_clock_set_back_during_a_delivery_sends_nothing_again_and_again(
    crms: Crms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with crms.rig("salesforce", tmp_path, unique=True, people=1) as rig:
        rig.owe_scores(40, 1)
        sent: list[int] = []

        def refuse(writes: Sequence[Write]) -> Iterator[WriteResult]:
            sent.append(len(writes))
            assert len(sent) < 5
            for write in writes:
                yield WriteResult(write, "retryable", error=Rejected("locked", code="UNABLE_TO_LOCK_ROW"))

        def clock() -> Millis:
            return rig.now if sent else rig.now + 3 * 3_600_000

        monkeypatch.setattr(rig.connector, "write", refuse)
        deliver(rig.state, rig.connector, SystemReport(), Silent(), tasks=True, bounds=BOUNDS, clock=clock)
        assert sent == [1]
        assert rig.rows()[0]["due_at"] > rig.now


def test_a_refusal_holds_nothing(crms: Crms, vendor: str, tmp_path: Path) -> None:
    """The CRM's own words say that nothing happened."""
    said = {"hubspot": '{"status": "error", "message": "busy"}', "salesforce": '[{"errorCode": "SERVER_UNAVAILABLE"}]'}
    with crms.rig(vendor, tmp_path, unique=True, people=1) as rig:
        rig.owe_scores(40, 1)
        rig.fail("status", status=503, body=said[vendor])
        rig.deliver()
        rig.heal()
        assert [(row["state"], row["hold_until"]) for row in rig.rows()] == [("new", None)]
        rig.owe_scores(60, 2)
        rig.deliver()
        assert rig.versions() == [2]


def _claim_and_die(rig: Rig) -> None:
    with rig.state.begin() as connection:
        assert outbox.claim(connection, rig.vendor, outbox.FIELDS, 10, now=rig.now, hold=BOUNDS.late_commit)
