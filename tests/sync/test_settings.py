"""One file, one message: file, line, key, and what to do."""

import re
from pathlib import Path

import pytest

from core.errors import InvalidSettings
from sync.settings import load_settings

GOOD = "connections:\n  salesforce: {vendor: salesforce}\n"


def load(tmp_path: Path, text: str) -> InvalidSettings:
    path = tmp_path / "mikomi.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(InvalidSettings) as caught:
        load_settings(path)
    assert caught.value.exit_code == 2
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GOOD + "stagee: all\n", r":3: stagee: unknown key; did you mean 'stage'\?$"),
        (GOOD + "zzz: 1\n", r":3: zzz: unknown key; known are calendar, connections, .*, timezone$"),
        (GOOD + "stage: everything\n", r":3: stage: must be one of observe, fields, all, not 'everything'$"),
        (GOOD + "stage: feilds\n", r":3: stage: must be .*, not 'feilds'; did you mean 'fields'\?$"),
        (
            GOOD + "timezone: Asia/Tokio\n",
            r":3: timezone: 'Asia/Tokio' is no IANA time zone; did you mean 'Asia/Tokyo'\?$",
        ),
        (GOOD + "deliver:\n  delta: 0\n", r":4: deliver\.delta: must be a whole number from 1 to 100, not 0$"),
        (GOOD + "deliver:\n  delta: x\n", r":4: deliver\.delta: must be a whole number from 1 to 100, not 'x'$"),
        (GOOD + "deliver:\n  delta: 1.5\n", r":4: deliver\.delta: must be a whole number from 1 to 100, not 1\.5$"),
        (GOOD + "deliver:\n  dleta: 3\n", r":4: deliver\.dleta: unknown key; did you mean 'delta'\?$"),
        (GOOD + "guards:\n  offered: 0\n", r":4: guards\.offered: must be a whole number of at least 1, not 0$"),
        (GOOD + "guards: 5\n", r":3: guards: must be a map of keys and values, not 5$"),
        (GOOD + "tasks: {systems: hubspot}\n", r":3: tasks\.systems: must be a list, not 'hubspot'$"),
        (
            GOOD + "calendar: {closures: [soon]}\n",
            r":3: calendar\.closures\[0\]: must be a day such as .*, not 'soon'$",
        ),
        (GOOD + "pair: {salesforce: salesforce}\n", r":3: pair\.hubspot: this key is missing$"),
        (GOOD + "state_key: hunter2\n", r":3: state_key: a secret does not belong here"),
        (GOOD + "signals:\n  telepathy: hubspot\n", r":3: signals: unknown signal telepathy; known are call, "),
        (
            GOOD + "signals:\n  webinar_atend: hubspot\n",
            r"unknown signal webinar_atend; did you mean 'webinar_attend'\?$",
        ),
        ("stage: all\n", r"connections"),
        ("connections: {}\n", r":1: connections"),
        ("connections:\n  sf: {}\n", r":1: connections: connection 'sf' names no vendor"),
        ("connections:\n  'a b': {vendor: hubspot}\n", r"connection name 'a b'"),
        (GOOD + "stage: all\nstage: observe\n", r":4: stage: the key is written twice"),
        (GOOD + "stage: !!python/object:os.system x\n", r":3"),
        (GOOD + "stage: [\n", r"not valid YAML"),
        ("", r"empty"),
        ("- a\n", r"map of keys"),
    ],
)
def test_every_mistake_has_its_place(tmp_path: Path, text: str, expected: str) -> None:
    import re

    message = str(load(tmp_path, text))
    assert re.search(expected, message), message
    assert "hunter2" not in message


def test_all_mistakes_are_listed_at_once(tmp_path: Path) -> None:
    message = str(load(tmp_path, GOOD + "stage: x\ntimezone: y\n"))
    assert ":3: stage" in message
    assert ":4: timezone" in message


def test_a_wrong_variable_is_named_as_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIKOMI_DELIVER__DELTA", "much")
    message = str(load(tmp_path, GOOD + "deliver: {delta: 4}\n"))
    assert message == "MIKOMI_DELIVER__DELTA: must be a whole number from 1 to 100, not 'much'"


def test_a_missing_file_says_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="no settings file") as caught:
        load_settings(tmp_path / "mikomi.yaml")
    assert caught.value.hint == "mikomi init; if they are elsewhere, --config PATH"


def test_the_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mikomi.yaml"
    path.write_text(GOOD + "stage: observe\ndeliver: {delta: 4, refresh_days: 9}\n", "utf-8")
    monkeypatch.setenv("MIKOMI_STAGE", "fields")
    monkeypatch.setenv("MIKOMI_DELIVER__DELTA", "5")
    monkeypatch.setenv("MIKOMI_SALESFORCE_CLIENT_SECRET", "belongs to a connection")
    settings = load_settings(path).settings
    assert (settings.stage, settings.deliver.delta, settings.deliver.refresh_days) == ("fields", 5, 9)


def test_a_relative_state_lies_beside_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "mikomi.yaml"
    path.write_text(GOOD, "utf-8")
    assert load_settings(path).state_url == f"sqlite:///{tmp_path}/mikomi.sqlite3"
    path.write_text(GOOD + "state: postgresql+psycopg://db/mikomi\n", "utf-8")
    assert load_settings(path).state_url == "postgresql+psycopg://db/mikomi"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("MIKOMI_STAGEE", r"^MIKOMI_STAGEE: unknown key; did you mean 'stage'\?$"),
        ("MIKOMI_DELVER__DELTA", r"^MIKOMI_DELVER__DELTA: unknown key; did you mean 'deliver'\?$"),
        ("MIKOMI_ZZZ__DELTA", r"^MIKOMI_ZZZ__DELTA: unknown key; known are calendar, "),
    ],
)
def test_a_mistyped_variable_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, expected: str
) -> None:
    monkeypatch.setenv(name, "5")
    error = load(tmp_path, GOOD)
    assert re.search(expected, error.message)
    assert name in error.hint


@pytest.mark.parametrize(
    "name",
    ["MIKOMI_PORT_8080_TCP_PROTO", "MIKOMI_SERVICE_HOST", "MIKOMI_SALESFORCE_CLIENT_SECRET", "MIKOMI_STATE_KEY_FILE"],
)
def test_what_resembles_no_key_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "5")
    path = tmp_path / "mikomi.yaml"
    path.write_text(GOOD, "utf-8")
    assert load_settings(path).settings.stage == "observe"
