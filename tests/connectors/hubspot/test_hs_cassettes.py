"""Replays of what was recorded through hubspot-api-client; nobody listens."""

from pathlib import Path

import pytest

from connectors.hubspot.connector import HubSpotConnector
from core.errors import Gone
from core.records import Account, ActivityRow, Change, Deal, Record
from tests.cassette_kit import tape
from tests.connectors.hubspot import recordings


@pytest.fixture
def connector(tmp_path: Path) -> HubSpotConnector:
    connector = recordings.replayed(tmp_path).connect()
    assert isinstance(connector, HubSpotConnector)
    return connector


def test_reading(connector: HubSpotConnector) -> None:
    with tape("hubspot", "read") as played:
        first, again = recordings.read(connector)
    assert played.all_played
    facts = [fact for page in first for fact in page.facts]
    assert len([f for f in facts if isinstance(f, Record)]) == 3
    assert [f.fields["company"] for f in facts if isinstance(f, Account)] == ["架空商事"]
    [deal] = [f for f in facts if isinstance(f, Deal)]
    assert deal.people is not None
    assert len(deal.people) == 2
    assert [f.new for f in facts if isinstance(f, Change)] == ["qualifiedtobuy"]
    kinds = sorted(a.kind for f in facts if isinstance(f, ActivityRow) for a in f.activities)
    assert kinds == [
        "call",
        "download",
        "email_click",
        "email_reply",
        "meeting",
        "meeting",
        "page_view",
        "webinar_attend",
    ]
    assert {page.stream for page in again if page.final} == set(connector.capabilities.streams)
    assert not any(isinstance(f, Record) for page in again for f in page.facts)


def test_looking(connector: HubSpotConnector) -> None:
    with tape("hubspot", "look") as played:
        diagnosis = recordings.look(connector)
    assert played.all_played
    assert {finding.level for finding in diagnosis.findings} <= {"ok", "info", "warning"}
    rows = {(s.kind, s.origin): s.rows for s in diagnosis.signals if s.available}
    assert (rows["call", "calls"], rows["meeting", "meetings"]) == (1, 1)
    assert connector.capabilities.task_key is True


def test_writing(connector: HubSpotConnector) -> None:
    with tape("hubspot", "write_scores") as played:
        scores, task, again = recordings.write_scores(connector)
    assert played.all_played
    assert [result.status for result in scores] == ["ok", "ok", "ok", "rejected"]
    assert isinstance(scores[3].error, Gone)
    assert task[0].status == again[0].status == "ok"
    assert task[0].crm_id == again[0].crm_id
    assert task[0].crm_id
