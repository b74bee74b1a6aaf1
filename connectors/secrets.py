"""Where secrets come from: an environment variable, a private file, or the system's keyring. Never the settings file.

In the settings a secret is written as `{env: NAME}`, `{file: path}` or `{keyring: service/name}`; where it is left out, three
places are asked in turn: the variable `MIKOMI_<CONNECTION>_<FIELD>`, e.g. `MIKOMI_SALESFORCE_CLIENT_SECRET`; the file that
`MIKOMI_<CONNECTION>_<FIELD>_FILE` names (as containers hand secrets over); the keyring's entry `mikomi/<connection>.<field>`.
"""

import importlib
import logging
import os
import re
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, SecretStr, model_validator

from core.errors import InvalidSettings

KEYRING_SERVICE = "mikomi"

_log = logging.getLogger(__name__)


class SecretSource(BaseModel):
    """One place that holds a secret: exactly one of the three."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    env: str | None = None
    file: Path | None = None
    keyring: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _refuse_plain_text(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise ValueError(  # noqa: TRY004 - pydantic collects ValueErrors
                "a secret does not belong here: write {env: NAME}, {file: path} or {keyring: service/name}"
            )
        return value

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(place is not None for place in (self.env, self.file, self.keyring)) != 1:
            raise ValueError("give exactly one of env, file and keyring")
        return self


def read_secret(source: SecretSource, *, place: str = "", environ: Mapping[str, str] | None = None) -> SecretStr:
    """The secret that a source holds, without surrounding white space.

    Raises:
        InvalidSettings: it is not there, empty, or kept in a file that others can read.
    """
    if source.env is not None:
        value = (os.environ if environ is None else environ).get(source.env, "")
        if not value.strip():
            raise InvalidSettings(
                f"environment variable {source.env} is not set", place=place, hint=f"export {source.env}=…"
            )
        return SecretStr(value.strip())
    if source.file is not None:
        return _read_file(source.file, place)
    return _read_keyring(source.keyring or "", place)


def secret_source(
    connection: str, field: str, named: SecretSource | None, *, environ: Mapping[str, str] | None = None
) -> SecretSource | None:
    """Where the secret of one field of a connection is kept: the place that the settings name, else the first of the usual
    places that has it, else None. Whoever reads it, watches it or writes it back looks there.
    """
    if named is not None:
        return named
    if (found := variable_source(variable_name(connection, field), environ)) is not None:
        return found
    entry = f"{connection}.{field}"
    return SecretSource(keyring=f"{KEYRING_SERVICE}/{entry}") if _has_keyring(entry) else None


def variable_source(name: str, environ: Mapping[str, str] | None = None) -> SecretSource | None:
    """The environment variable of that name, else the file that `<name>_FILE` names; None where neither is set."""
    given = os.environ if environ is None else environ
    if given.get(name, "").strip():
        return SecretSource(env=name)
    path = given.get(f"{name}_FILE", "").strip()
    return SecretSource(file=Path(path)) if path else None


def find_secret(
    connection: str, field: str, source: SecretSource | None, *, environ: Mapping[str, str] | None = None
) -> SecretStr | None:
    """The secret of one field of a connection: from its source, else from the usual places in turn, else None.

    Raises:
        InvalidSettings: the place that is named cannot be read, is too open, or holds what cannot be such a secret.
    """
    place = f"connections.{connection}.{field}"
    source = secret_source(connection, field, source, environ=environ)
    if source is None:
        return None
    secret = read_secret(source, place=place, environ=environ)
    text = secret.get_secret_value()
    if not field.endswith("key") and not (text.isascii() and text.isprintable()):  # private keys have several lines
        raise InvalidSettings(
            "the secret contains a line break, a control character or letters outside ASCII",
            place=place,
            hint="store it again, exactly as the CRM shows it",
        )
    return secret


def need_secret(
    connection: str, field: str, source: SecretSource | None, *, environ: Mapping[str, str] | None = None
) -> SecretStr:
    """Like `find_secret`, but a missing one is an error that says where to put it."""
    secret = find_secret(connection, field, source, environ=environ)
    if secret is None:
        raise InvalidSettings(
            "no secret given",
            place=f"connections.{connection}.{field}",
            hint=f"export {variable_name(connection, field)}=…, or write `{field}: {{file: path}}`, "
            f"or keyring set {KEYRING_SERVICE} {connection}.{field}",
        )
    return secret


def _has_keyring(entry: str) -> bool:
    """Whether the keyring has our entry of that name; False also where there is no keyring, or nobody to unlock it."""
    try:
        keyring = importlib.import_module("keyring")
        return bool(keyring.get_password(KEYRING_SERVICE, entry))
    except ImportError:
        return False
    except Exception as error:  # each backend has its own errors: a locked or broken keyring is one without the entry
        _log.debug("the keyring cannot be asked: %s", type(error).__name__)
        return False


def variable_name(connection: str, field: str) -> str:
    """The environment variable asked for a secret that the settings leave out."""
    return f"MIKOMI_{re.sub(r'[^A-Za-z0-9]', '_', connection)}_{field}".upper()


def store_secret(source: SecretSource | None, value: SecretStr) -> bool:
    """Keep a secret that the CRM replaced (a rotated refresh token). False where the source cannot be written.

    A file is replaced in one step and stays private; the keyring is written; an environment variable cannot be.
    """
    if source is None or source.env is not None:
        return False
    if source.keyring is not None:
        service, _, account = source.keyring.partition("/")
        with _speaking("", source.keyring) as keyring:
            keyring.set_password(service, account, value.get_secret_value())
        return True
    assert source.file is not None
    path = source.file.expanduser()
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(value.get_secret_value() + "\n")
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise
    return True


def _read_file(path: Path, place: str) -> SecretStr:
    path = path.expanduser()
    try:
        with path.open(encoding="utf-8") as file:
            status = os.fstat(file.fileno())  # of the very file that is read
            text = file.read().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise InvalidSettings(
            f"cannot read {path.absolute()}: {reason}",
            place=place,
            hint="check the path; one that does not begin with / counts from the folder where the command runs",
        ) from error
    mode = stat.S_IMODE(status.st_mode)
    if os.name == "posix" and mode & 0o077 and not _is_handed_over(path, status):
        raise InvalidSettings(
            f"{path} can be read by others (mode {mode:04o})", place=place, hint=f"chmod 600 {path.absolute()}"
        )
    if not text:
        raise InvalidSettings(f"{path} is empty", place=place, hint="write the secret into the file")
    return SecretStr(text)


def _is_handed_over(path: Path, status: os.stat_result) -> bool:
    """Whether systemd gave this file to our service (`LoadCredential=`): the one case of a wider mode than 0600.

    Since version 254 it lets the service's user in by an access list, whose mask shows as the group's bits: 0440, though no
    group may read. Believed of that very mode only, of root's or our own files, directly in `$CREDENTIALS_DIRECTORY`.
    """
    directory = os.environ.get("CREDENTIALS_DIRECTORY", "")
    return (
        bool(directory)
        and path.resolve().parent == Path(directory).resolve()
        and stat.S_IMODE(status.st_mode) == 0o440
        and status.st_uid in {0, os.geteuid()}
    )


def _read_keyring(entry: str, place: str) -> SecretStr:
    service, _, account = entry.partition("/")
    if not service or not account:
        raise InvalidSettings(f"{entry!r} is no keyring entry", place=place, hint="write `keyring: service/name`")
    with _speaking(place, entry) as keyring:
        value = keyring.get_password(service, account)
    if not value:
        raise InvalidSettings(
            f"the keyring has no entry {entry!r}", place=place, hint=f"keyring set {service} {account}"
        )
    return SecretStr(value)


@contextmanager
def _speaking(place: str, entry: str) -> Iterator[Any]:
    """The keyring library, its many errors told as one."""
    try:
        keyring = importlib.import_module("keyring")
    except ImportError as error:
        raise InvalidSettings(
            "the package `keyring` is not installed",
            place=place,
            hint="pip install keyring, or use {env: …} or {file: …}",
        ) from error
    try:
        yield keyring
    except Exception as error:  # no backend, locked, refused: each backend has errors of its own
        raise InvalidSettings(
            f"the keyring cannot be used for {entry!r} ({type(error).__name__})",
            place=place,
            hint="unlock it, or use {env: …} or {file: …}: a service without a desktop has no keyring",
        ) from error
