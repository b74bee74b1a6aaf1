"""Replays of what was recorded through simple-salesforce; nobody listens."""

from pathlib import Path

import pytest

from connectors.salesforce.connector import SalesforceConnector
from core.errors import Gone
from core.records import ActivityRow, Deal, DealRole, Record, Tombstone
from tests.cassette_kit import tape
from tests.connectors.salesforce import recordings


@pytest.fixture
def connector(tmp_path: Path) -> SalesforceConnector:
    connector = recordings.replayed(tmp_path).connect()
    assert isinstance(connector, SalesforceConnector)
    return connector


def test_reading(connector: SalesforceConnector) -> None:
    with tape("salesforce", "read") as played:
        first, quiet = recordings.read(connector)
    assert played.all_played
    facts = [fact for page in first for fact in page.facts]
    kinds = [(type(f), f.ref.kind) for f in facts if isinstance(f, (Record, Tombstone))]
    assert kinds.count((Record, "lead")) == 2
    assert kinds.count((Record, "contact")) == 2
    assert kinds.count((Tombstone, "lead")) == 1
    activities = [a.kind for f in facts if isinstance(f, ActivityRow) for a in f.activities]
    assert sorted(activities) == ["call", "webinar_register"]
    assert len([f for f in facts if isinstance(f, Deal)]) == 1
    assert len([f for f in facts if isinstance(f, DealRole)]) == 2
    assert all(not page.facts for page in quiet)
    assert connector.counts.stream == 6


def test_looking(connector: SalesforceConnector) -> None:
    with tape("salesforce", "look") as played:
        diagnosis = recordings.look(connector)
    assert played.all_played
    assert {finding.level for finding in diagnosis.findings} <= {"ok", "info", "warning"}
    rows = {signal.kind: signal.rows for signal in diagnosis.signals if signal.available}
    assert (rows["call"], rows["webinar_register"], rows["meeting"]) == (1, 1, 0)


def test_writing(connector: SalesforceConnector) -> None:
    with tape("salesforce", "write_scores") as played:
        scores, task, again = recordings.write_scores(connector)
    assert played.all_played
    assert [result.status for result in scores] == ["ok", "ok", "rejected"]
    assert isinstance(scores[2].error, Gone)
    assert task[0].status == again[0].status == "ok"
    assert task[0].crm_id == again[0].crm_id != None  # noqa: E711 - one task, and it has an id
