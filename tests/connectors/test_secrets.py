"""Secrets come from the environment, a private file or the keyring, and show nowhere."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import keyring
import keyring.backend
import keyring.errors
import pytest
from pydantic import SecretStr, ValidationError

from connectors.secrets import SecretSource, find_secret, need_secret, read_secret, secret_source, store_secret
from core.errors import InvalidSettings


def private(path: Path, text: str = "s3cret\n", mode: int = 0o600) -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def test_an_environment_variable() -> None:
    assert read_secret(SecretSource(env="X"), environ={"X": " s3cret "}).get_secret_value() == "s3cret"


def test_a_missing_variable_names_itself() -> None:
    with pytest.raises(InvalidSettings, match="X is not set") as caught:
        read_secret(SecretSource(env="X"), place="connections.crm.token", environ={})
    assert caught.value.place == "connections.crm.token"
    assert caught.value.hint == "export X=…"


def test_a_private_file(tmp_path: Path) -> None:
    assert read_secret(SecretSource(file=private(tmp_path / "token"))).get_secret_value() == "s3cret"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = private(tmp_path / "token", mode=mode)
    with pytest.raises(InvalidSettings, match="can be read by others") as caught:
        read_secret(SecretSource(file=path))
    assert caught.value.hint == f"chmod 600 {path}"
    assert "s3cret" not in str(caught.value)


@pytest.fixture
def handed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory as systemd makes it for a service."""
    folder = tmp_path / "credentials"
    folder.mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    return folder


def test_what_systemd_hands_over_is_taken_in_the_mode_in_which_it_shows(handed_over: Path) -> None:
    """By an access list, whose mask shows as the group's bits."""
    path = private(handed_over / "token", mode=0o440)
    assert read_secret(SecretSource(file=path)).get_secret_value() == "s3cret"


@pytest.mark.parametrize("mode", [0o444, 0o640, 0o460, 0o450, 0o441, 0o644])
def test_no_wider_mode_is_taken_there(handed_over: Path, mode: int) -> None:
    with pytest.raises(InvalidSettings, match="can be read by others"):
        read_secret(SecretSource(file=private(handed_over / "token", mode=mode)))


def test_what_only_looks_handed_over_is_refused(
    handed_over: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (handed_over / "inner").mkdir()
    inner, outside = private(handed_over / "inner" / "token", mode=0o440), private(tmp_path / "token", mode=0o440)
    link = handed_over / "link"
    link.symlink_to(outside)
    for path in (inner, outside, link):
        with pytest.raises(InvalidSettings, match="can be read by others"):
            read_secret(SecretSource(file=path))
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    with pytest.raises(InvalidSettings, match="can be read by others"):
        read_secret(SecretSource(file=private(handed_over / "token", mode=0o440)))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_third_ones_file_is_refused_there(handed_over: Path) -> None:
    path = private(handed_over / "token", mode=0o440)
    os.chown(path, 4321, -1)
    with pytest.raises(InvalidSettings, match="can be read by others"):
        read_secret(SecretSource(file=path))


def test_missing_empty_and_binary_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="cannot read"):
        read_secret(SecretSource(file=tmp_path / "none"))
    with pytest.raises(InvalidSettings, match="is empty"):
        read_secret(SecretSource(file=private(tmp_path / "empty", " \n")))
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    binary.chmod(0o600)
    with pytest.raises(InvalidSettings, match="not a text file"):
        read_secret(SecretSource(file=binary))


def test_plain_text_in_the_settings_is_refused_without_repeating_it() -> None:
    with pytest.raises(ValidationError) as caught:
        SecretSource.model_validate("s3cret")
    assert "s3cret" not in str(caught.value.errors(include_input=False, include_url=False, include_context=False))


def test_exactly_one_source() -> None:
    with pytest.raises(ValidationError, match="exactly one"):
        SecretSource.model_validate({})
    with pytest.raises(ValidationError, match="exactly one"):
        SecretSource.model_validate({"env": "X", "file": "y"})


def test_the_default_variable_is_made_of_connection_and_field() -> None:
    environ = {"MIKOMI_MY_CRM_CLIENT_SECRET": "s3cret"}
    found = find_secret("my-crm", "client_secret", None, environ=environ)
    assert found is not None
    assert found.get_secret_value() == "s3cret"
    assert find_secret("my-crm", "client_secret", None, environ={}) is None
    with pytest.raises(InvalidSettings) as caught:
        need_secret("my-crm", "client_secret", None, environ={})
    assert "MIKOMI_MY_CRM_CLIENT_SECRET" in caught.value.hint


def test_a_rotated_secret_replaces_the_file_and_stays_private(tmp_path: Path) -> None:
    source = SecretSource(file=private(tmp_path / "token"))
    assert store_secret(source, SecretStr("rotated"))
    assert read_secret(source).get_secret_value() == "rotated"
    assert [path.name for path in tmp_path.iterdir()] == ["token"]
    assert not store_secret(SecretSource(env="X"), SecretStr("rotated"))
    assert not store_secret(None, SecretStr("rotated"))


class Backend(keyring.backend.KeyringBackend):
    """A keyring in memory; locked, it refuses as real ones do."""

    priority = 1.0

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kept = {("mikomi", "crm"): "s3cret"}
        self.locked = False

    def get_password(self, service: str, username: str) -> str | None:
        if self.locked:
            raise keyring.errors.KeyringLocked("s3cret is behind a lock")
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[service, username]


@pytest.fixture
def backend() -> Iterator[Backend]:
    before = keyring.get_keyring()
    backend = Backend()
    keyring.set_keyring(backend)
    yield backend
    keyring.set_keyring(before)


def test_the_keyring_is_read_and_written(backend: Backend) -> None:
    source = SecretSource(keyring="mikomi/crm")
    assert read_secret(source).get_secret_value() == "s3cret"
    assert store_secret(source, SecretStr("rotated"))
    assert backend.kept[("mikomi", "crm")] == "rotated"
    with pytest.raises(InvalidSettings, match="no entry"):
        read_secret(SecretSource(keyring="mikomi/other"))
    with pytest.raises(InvalidSettings, match="no keyring entry"):
        read_secret(SecretSource(keyring="mikomi"))


def test_a_rotated_secret_goes_back_to_the_usual_place_it_came_from(backend: Backend, tmp_path: Path) -> None:
    path = private(tmp_path / "token")
    environ = {"MIKOMI_CRM_TOKEN_FILE": str(path)}
    assert store_secret(secret_source("crm", "token", None, environ=environ), SecretStr("rotated"))
    assert path.read_text("utf-8") == "rotated\n"
    assert not store_secret(secret_source("crm", "token", None, environ={}), SecretStr("rotated")), "kept nowhere"
    backend.kept["mikomi", "crm.token"] = "s3cret"
    assert store_secret(secret_source("crm", "token", None, environ={}), SecretStr("rotated"))
    assert backend.kept["mikomi", "crm.token"] == "rotated"
    environ = {"MIKOMI_CRM_TOKEN": "s3cret"}
    assert not store_secret(secret_source("crm", "token", None, environ=environ), SecretStr("again"))


def test_a_locked_keyring_is_one_clear_message(backend: Backend) -> None:
    backend.locked = True
    with pytest.raises(InvalidSettings, match="KeyringLocked") as caught:
        read_secret(SecretSource(keyring="mikomi/crm"))
    assert "s3cret" not in str(caught.value)
    assert "unlock it" in caught.value.hint


def test_without_a_source_three_places_are_asked_in_turn(backend: Backend, tmp_path: Path) -> None:
    path = private(tmp_path / "token", "from-file")
    backend.kept[("mikomi", "crm.token")] = "from-keyring"
    environ = {"MIKOMI_CRM_TOKEN": "from-env", "MIKOMI_CRM_TOKEN_FILE": str(path)}

    def found() -> str | None:
        secret = find_secret("crm", "token", None, environ=environ)
        return secret.get_secret_value() if secret is not None else None

    assert found() == "from-env"
    del environ["MIKOMI_CRM_TOKEN"]
    assert found() == "from-file"
    path.chmod(0o644)
    with pytest.raises(InvalidSettings, match="can be read by others"):
        found()
    del environ["MIKOMI_CRM_TOKEN_FILE"]
    assert found() == "from-keyring"
    backend.locked = True
    assert found() is None


def test_without_the_package_the_keyring_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(InvalidSettings, match="not installed"):
        read_secret(SecretSource(keyring="mikomi/crm"))
