"""Whether anything changed about a connection: its settings, or a secret in any of the places where one may be."""

from collections.abc import Callable
from pathlib import Path

import pytest

from connectors.fingerprint import fingerprint
from tests.connectors.test_secrets import Backend, backend, private

__all__ = ["backend"]  # a fixture

SALESFORCE = {"vendor": "salesforce", "auth": "refresh_token", "client_id": "x"}


def look(**settings: object) -> str:
    return fingerprint("crm", {**SALESFORCE, **settings})


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, backend: Backend) -> None:
    for field in ("CLIENT_SECRET", "REFRESH_TOKEN"):
        monkeypatch.delenv(f"MIKOMI_CRM_{field}", raising=False)
        monkeypatch.delenv(f"MIKOMI_CRM_{field}_FILE", raising=False)


def assert_noticed(change: Callable[[], object], **settings: object) -> None:
    before = look(**settings)
    assert look(**settings) == before
    change()
    assert look(**settings) != before


def test_any_setting(tmp_path: Path) -> None:
    assert look(page_size=1) != look(page_size=2)
    assert look(mapping={"lead": {"title": "a"}}) != look(mapping={"lead": {"title": "b"}})


def test_a_named_file(tmp_path: Path) -> None:
    path = private(tmp_path / "secret")
    assert_noticed(lambda: path.write_text("other"), client_secret={"file": str(path)})
    assert_noticed(lambda: path.chmod(0o644), client_secret={"file": str(path)})
    assert_noticed(lambda: path.chmod(0o600), client_secret={"file": str(path)})


def test_a_named_secret_of_an_inner_block(tmp_path: Path) -> None:
    path = private(tmp_path / "secret")
    settings = {"vendor": "hubspot", "oauth": {"client_id": "x", "refresh_token": {"file": str(path)}}}
    before = fingerprint("crm", settings)
    path.write_text("other")
    assert fingerprint("crm", settings) != before


def test_the_file_that_the_usual_variable_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = private(tmp_path / "secret")
    monkeypatch.setenv("MIKOMI_CRM_CLIENT_SECRET_FILE", str(path))
    assert_noticed(lambda: path.write_text("other"))


def test_the_usual_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    assert_noticed(lambda: monkeypatch.setenv("MIKOMI_CRM_REFRESH_TOKEN", "one"))
    assert_noticed(lambda: monkeypatch.setenv("MIKOMI_CRM_REFRESH_TOKEN", "two"))


def test_the_keyrings_usual_entry(backend: Backend) -> None:
    assert_noticed(lambda: backend.set_password("mikomi", "crm.client_secret", "one"))
    assert_noticed(lambda: backend.set_password("mikomi", "crm.client_secret", "two"))


def test_a_place_that_is_not_asked_changes_nothing(backend: Backend, tmp_path: Path) -> None:
    settings = {"client_secret": {"file": str(private(tmp_path / "secret"))}}
    before = look(**settings)
    backend.set_password("mikomi", "crm.client_secret", "one")
    assert look(**settings) == before


def test_no_secret_is_in_it(tmp_path: Path) -> None:
    found = look(client_secret={"file": str(private(tmp_path / "secret"))})
    assert len(found) == 12
    int(found, 16)
