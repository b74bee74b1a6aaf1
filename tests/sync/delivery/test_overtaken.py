"""Whoever was overtaken sends nothing more: asked right before each request, not once a batch."""

from collections.abc import Iterator

import pytest
from sqlalchemy import update

from connectors import Connector, FieldWrite, TaskWrite, Write
from core.errors import LeaseLost
from core.records import RecordRef
from sandbox import Sandbox
from sync.app import App
from sync.state import open_state
from sync.state import schema as t
from tests.sync.practice import MORNING_MS, Practice

REFS = {
    "hubspot": RecordRef("hubspot", "contact", "101"),
    "salesforce": RecordRef("salesforce", "lead", "00Q000000000001AAA"),
}


@pytest.fixture(scope="module")
def practice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Practice]:
    folder = tmp_path_factory.mktemp("overtaken")
    with Sandbox(seed=5, people=2, limits=False, now_ms=MORNING_MS) as box:
        found = Practice(box, folder, stage="all")
        found.setup()
        yield found


def overtake(app: App) -> None:
    """Another instance, on another connection to the same database; it has ended since."""
    other = open_state(app.loaded.state_url)
    with other.begin() as connection:
        connection.execute(update(t.lease).values(token=t.lease.c.token + 1, holder=None))
    other.close()


def send(connector: Connector, write: Write) -> None:
    connector.prepare()
    list(connector.write([write]))


@pytest.mark.parametrize("name", REFS)
@pytest.mark.parametrize("kind", ["fields", "task"])
def test_no_request_leaves_after_the_lease_was_lost(practice: Practice, name: str, kind: str) -> None:
    ref = REFS[name]
    task = TaskWrite("mk1-overtaken", ref, "1", "subject", "body", 20_790)
    write: Write = FieldWrite(ref, {"score": 40, "score_version": 1}) if kind == "fields" else task
    with practice.app() as app, app.state() as state, state.alone():
        connector = app.connectors[name]
        overtake(app)
        with pytest.raises(LeaseLost), state.begin():
            raise AssertionError("still ours")
        with pytest.raises(LeaseLost):
            send(connector, write)
        assert connector.counts.write == 0


@pytest.mark.parametrize("name", REFS)
def test_whoever_holds_the_lease_may_send_and_so_may_who_needs_none(practice: Practice, name: str) -> None:
    write = FieldWrite(REFS[name], {"score": 40, "score_version": 1})
    with practice.app() as app, app.state() as state:
        with state.alone():
            send(app.connectors[name], write)
        send(app.connectors[name], write)
        assert app.connectors[name].counts.write == 2
