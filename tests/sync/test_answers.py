"""Answers that nobody foresaw cost their own connection alone."""

import json
from collections.abc import Iterator
from types import ModuleType

import pytest

from core.errors import CannotStart, Unexpected
from sync.answers import readable
from sync.cli.doctor import run_doctor
from sync.cli.pausing import run_resume
from sync.cli.setup import run_setup
from tests.sync.practice import Practice, control, synced


def module(name: str, body: str) -> ModuleType:
    """A module of that name, which is in no package of ours."""
    made = ModuleType(name)
    exec(body, made.__dict__)
    return made


def test_what_a_connector_cannot_read_is_the_crms_broken_word() -> None:
    connector = module("connectors.some.reading", "def read(row): return row['id']")
    with pytest.raises(Unexpected, match="TypeError") as caught, readable("salesforce"):
        connector.read(5)
    assert caught.value.system == "salesforce"
    assert "report" in caught.value.hint


def test_what_is_wrong_elsewhere_in_the_program_stays_what_it_is() -> None:
    caller = module("sync.some.thing", "def plan(row): return row['id']")
    with pytest.raises(TypeError), readable("salesforce"):
        caller.plan(5)
    connector = module("connectors.some.writing", "def write(ask): return ask(5)")
    with pytest.raises(TypeError), readable("salesforce"):  # what it calls back is not its own
        connector.write(caller.plan)


@pytest.fixture(scope="module")
def practice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Practice]:
    with synced(tmp_path_factory.mktemp("answers"), people=12, stage="fields") as made:
        yield made


def composite(part: object) -> str:
    return json.dumps({"compositeResponse": [part]})


@pytest.mark.parametrize(
    ("system", "path", "body"),
    [
        ("salesforce", "/composite", composite({"referenceId": "r0", "httpStatusCode": None, "body": None})),
        ("salesforce", "/composite", composite({"referenceId": "r0", "httpStatusCode": "abc", "body": None})),
        ("salesforce", "/composite", composite(5)),
        ("hubspot", "properties/contacts", '{"results": [5]}'),
        ("hubspot", "properties/contacts", '{"results": 5}'),
        ("hubspot", "objects/contacts", '{"results": 5}'),
    ],
)
def test_a_malformed_answer_stops_its_connection_and_not_the_other(
    practice: Practice, system: str, path: str, body: str
) -> None:
    practice.wait()  # else there may be nothing to ask for
    url = getattr(practice.box, system).url
    control(url, "POST", "faults", {"kind": "status", "status": 200, "times": None, "path": path, "body": body})
    try:
        report = practice.sync(strict=False)
    finally:
        control(url, "DELETE", "faults")
        with practice.app() as app:
            run_resume(app, None, field=None)
    (other,) = report.systems.keys() - {system}
    assert report.systems[system].error
    assert report.systems[other].error is None
    assert practice.sync().outcome == "ok"


def test_setup_and_doctor_name_a_malformed_answer(practice: Practice) -> None:
    url = practice.box.hubspot.url
    control(
        url,
        "POST",
        "faults",
        {"kind": "status", "status": 200, "times": None, "path": "properties", "body": '{"results": [5]}'},
    )
    try:
        with practice.app() as app, pytest.raises(CannotStart, match=r"^hubspot: an answer has another shape"):
            run_setup(app, apply=True, as_json=True)
        with practice.app() as app:
            assert run_doctor(app, as_json=True) == 2
    finally:
        control(url, "DELETE", "faults")
