"""One file, one message: file, line, key, and what to do."""

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
        (GOOD + "stagee: all\n", r":3: stagee: unknown key"),
        (GOOD + "stage: everything\n", r":3: stage: "),
        (GOOD + "timezone: Asia/Tokio\n", r":3: timezone: 'Asia/Tokio' is no IANA time zone"),
        (GOOD + "deliver:\n  delta: 0\n", r":4: deliver\.delta: "),
        (GOOD + "deliver:\n  dleta: 3\n", r":4: deliver\.dleta: unknown key"),
        (GOOD + "signals:\n  telepathy: hubspot\n", r":3: signals: unknown signal telepathy"),
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

    assert re.search(expected, str(load(tmp_path, text)))


def test_all_mistakes_are_listed_at_once(tmp_path: Path) -> None:
    message = str(load(tmp_path, GOOD + "stage: x\ntimezone: y\n"))
    assert ":3: stage" in message
    assert ":4: timezone" in message


def test_a_missing_file_says_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="no settings file") as caught:
        load_settings(tmp_path / "mikomi.yaml")
    assert caught.value.hint == "mikomi init"


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
