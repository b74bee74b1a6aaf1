"""`mikomi dead`: seen by cause, tried again or given up by number or letters, never by mistake."""

import json
from pathlib import Path

import pytest
from sqlalchemy import select

from core.rulebook import ADVISED, template_text
from sync.state import open_state
from sync.state import schema as t
from tests.sync.cli.rig import Said, mikomi
from tests.sync.delivery.test_dead import RULE, bury, causes, states

SETTINGS = """\
language: {language}
stage: all
connections:
  salesforce: {{vendor: salesforce, auth: access_token, access_token: {{env: DEAD_TOKEN}}, login_url: "https://a.my.salesforce.com"}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rulebook.yaml").write_text(template_text(ADVISED), "utf-8")
    (tmp_path / "mikomi.yaml").write_text(SETTINGS.format(language="en"), "utf-8")
    return tmp_path


def url_of(folder: Path) -> str:
    return f"sqlite:///{folder / 'mikomi.sqlite3'}"


def fill(folder: Path) -> list[int]:
    """Two updates refused by one rule, one task whose record is gone; their numbers."""
    state = open_state(url_of(folder))
    numbers = [
        bury(state, "003A", message=f"{RULE}: 電話番号は必須です"),
        bury(state, "003B", message=f"{RULE}: 電話番号は必須です"),
        bury(state, "003C", task=True, code="gone", message="the record is gone"),
    ]
    state.close()
    return numbers


def dead(folder: Path, *arguments: str | int) -> Said:
    return mikomi("dead", *map(str, arguments), "-c", str(folder / "mikomi.yaml"))


def now_is(folder: Path) -> dict[str, str]:
    state = open_state(url_of(folder))
    try:
        return states(state)
    finally:
        state.close()


def test_the_list_quotes_the_rule_and_says_what_to_do(folder: Path) -> None:
    numbers = fill(folder)
    said = dead(folder, "list")
    assert said.code == 0
    assert "2 updates: FIELD_CUSTOM_VALIDATION_EXCEPTION" in said.out
    assert "電話番号は必須です" in said.out
    assert "exempt it" in said.out
    assert f"numbers {numbers[0]}, {numbers[1]}; since 1970-01-01" in said.out
    listed = json.loads(dead(folder, "list", "--json").out)
    assert [cause["ids"] for cause in listed] == [numbers[:2], numbers[2:]]


def test_an_empty_list_says_so(folder: Path) -> None:
    open_state(url_of(folder)).close()
    assert dead(folder, "list").out.strip() == "Nothing was refused for good."


def test_one_is_shown_whole(folder: Path) -> None:
    [*_, task] = fill(folder)
    said = dead(folder, "show", task)
    assert "mk1-003C" in said.out
    assert "subject: s" in said.out
    assert "drop this one" in said.out
    document = json.loads(dead(folder, "show", task, "--json").out)
    assert (document["outbox_id"], document["code"], document["ref"]) == (task, "gone", "salesforce/contact/003C")


def test_letters_replay_a_whole_cause_and_leave_the_others(folder: Path) -> None:
    fill(folder)
    state = open_state(url_of(folder))
    [cause, _] = causes(state)
    state.close()
    said = dead(folder, "replay", cause.letters)
    assert said.code == 0
    assert now_is(folder) == {"003A": "new", "003B": "new", "003C": "dead"}


def test_numbers_are_dropped_with_a_reason_that_the_audit_log_keeps(folder: Path) -> None:
    [*_, task] = fill(folder)
    assert dead(folder, "drop", task, "--reason", "handled by phone").code == 0
    assert now_is(folder) == {"003A": "dead", "003B": "dead", "003C": "cancelled"}
    state = open_state(url_of(folder))
    with state.read() as connection:
        [row] = connection.execute(select(t.audit)).all()
    state.close()
    assert (row.action, row.subject, row.why) == ("dead-drop", "salesforce/contact/003C", "handled by phone")
    assert row.actor.startswith("user")


def test_all_means_all(folder: Path) -> None:
    fill(folder)
    assert dead(folder, "replay", "all").code == 0
    assert set(now_is(folder).values()) == {"new"}


@pytest.mark.parametrize("command", ["replay", "drop"])
def test_what_is_not_there_is_named_and_nothing_else_is_touched(folder: Path, command: str) -> None:
    [first, *_] = fill(folder)
    said = dead(folder, command, first, "999", "zzzz")
    assert said.code == 2
    assert "999, zzzz" in said.err
    assert "mikomi dead list" in said.err
    assert set(now_is(folder).values()) == {"dead"}


def test_a_number_that_is_not_dead_cannot_be_shown(folder: Path) -> None:
    fill(folder)
    assert dead(folder, "show", "12345").code == 2


def test_japanese_is_spoken(folder: Path) -> None:
    fill(folder)
    (folder / "mikomi.yaml").write_text(SETTINGS.format(language="ja"), "utf-8")
    assert dead(folder, "list").code == 0
