"""Whole answers that are none, with status 200: the connector says which CRM broke its word, and reads on when it keeps it."""

from collections.abc import Iterator

import pytest

from connectors.calls import SystemClock
from core.errors import ConnectorError
from core.records import Fact, Record
from sandbox import Sandbox
from tests.hostile.poison import BODIES
from tests.sync.practice import MORNING_MS, Practice, control

READS = {"hubspot": "/crm/v3/objects/contacts", "salesforce": "/composite"}


@pytest.fixture(scope="module")
def practice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Practice]:
    with Sandbox(seed=4, people=8, now_ms=MORNING_MS, limits=False) as box:
        yield Practice(box, tmp_path_factory.mktemp("practice"), stage="observe")


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SystemClock, "sleep", lambda _self, _seconds: None)


@pytest.mark.parametrize("system", READS)
@pytest.mark.parametrize("body", BODIES)
def test_an_answer_that_is_none_is_named(practice: Practice, system: str, body: str) -> None:
    url = getattr(practice.box, system).url
    fault = {"kind": "status", "status": 200, "path": READS[system], "body": BODIES[body], "times": None}
    refusal: ConnectorError | None = None
    facts: list[Fact] = []
    with practice.app() as app:
        connector = app.connectors[system]
        connector.prepare()
        control(url, "POST", "faults", fault)
        try:
            for page in connector.read({}):
                facts += page.facts
        except ConnectorError as error:
            refusal = error
        finally:
            control(url, "DELETE", "faults")
    if refusal is None:  # an empty list is an answer, and what it holds otherwise was counted
        assert '"results"' in BODIES[body]
        assert not [fact for fact in facts if isinstance(fact, Record)]
    else:
        assert refusal.system in {system, ""}
        assert len(refusal.message) < 500
        assert "xxxxxxxxxx" not in refusal.message


@pytest.mark.parametrize("system", READS)
def test_after_all_that_reading_goes_on(practice: Practice, system: str) -> None:
    with practice.app() as app:
        connector = app.connectors[system]
        connector.prepare()
        assert sum(len(page.facts) for page in connector.read({})) > 20
