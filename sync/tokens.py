"""The tokens that CRMs gave us, in the state database: encrypted, renewed by one process at a time.

The key is not in the database. It comes from `state_key:` in the settings, else from `MIKOMI_STATE_KEY`, else from the file that
`MIKOMI_STATE_KEY_FILE` names, else from a file of mode 0600 beside the SQLite database, which is made when a key is first needed. Everything that needs a secret of its own derives it
from that one key (`StateKey.derive`), so that nothing is shared between purposes.
"""

import base64
import json
import os
import secrets
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from sqlalchemy import select, update
from sqlalchemy.engine import make_url

from connectors.secrets import SecretSource, read_secret, variable_source
from connectors.tokens import Refusal, Sealed, StoredToken
from core.errors import AlreadyRunning, InvalidSettings, LeaseLost, StateUnavailable, Transient
from sync.state import State, now_ms, open_state
from sync.state import schema as t
from sync.state.lease import hold
from sync.state.rows import insert_new

KEY_VARIABLE = "MIKOMI_STATE_KEY"
SHORTEST_KEY = 32
LOCK_WAIT_SECONDS = 240.0
"""Longer than any single call may take (`call_budget_seconds`), retries and waits included."""

SAVE_TRIES_SECONDS = (0.2, 0.5, 1, 2, 5, 10, 15, 30)
"""Waits between attempts to store a token while the database is away: a refresh token that was spent must not be lost."""

_FORMAT = "v1"
_NAME = "token"


class StateKey:
    """The secret under which a state keeps its secrets. Reading, or making, it waits until it is needed.

    Args:
        state_url: SQLAlchemy URL of the state database.
        source: `state_key:` of the settings.
        make: make one beside an SQLite state that has none. Who only looks does not: a new one would not open what the lost
            one sealed.
    """

    def __init__(self, state_url: str, source: SecretSource | None = None, *, make: bool = True) -> None:
        self._state_url = state_url
        self._source = source
        self._make = make

    def derive(self, purpose: str, length: int = 32) -> bytes:
        """A key of that many bytes for one purpose (HKDF-SHA-256); the same for the same state key, always.

        Raises:
            InvalidSettings: the key cannot be read, is too short, or lies where others can read it.
        """
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        return HKDF(SHA256(), length, salt=b"mikomi state", info=purpose.encode()).derive(self._master)

    @cached_property
    def _master(self) -> bytes:
        text = self._find().get_secret_value()
        if len(text) < SHORTEST_KEY:
            raise InvalidSettings(
                f"the state key is shorter than {SHORTEST_KEY} characters",
                place="state_key",
                hint="make one: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'",
            )
        return text.encode()

    def _find(self) -> SecretStr:
        if (given := self._source or variable_source(KEY_VARIABLE)) is not None:
            return read_secret(given, place="state_key")
        path = key_file(self._state_url)
        if path is None:
            raise InvalidSettings(
                "this state database is no file, so there is no place for a key beside it",
                place="state_key",
                hint=f"export {KEY_VARIABLE}=… or {KEY_VARIABLE}_FILE=path, or write `state_key: {{file: path}}` or `{{keyring: service/name}}`",
            )
        if not path.exists():
            if not self._make:
                raise InvalidSettings(
                    f"there is no state key {path}",
                    place="state_key",
                    hint=f"put the key back ({KEY_VARIABLE}, `state_key:`, or the .key file beside the state)",
                )
            _make_key(path)
        return read_secret(SecretSource(file=path), place="state_key")


def derive_key(purpose: str, state_url: str, source: SecretSource | None = None) -> bytes:
    """32 bytes for one purpose from a state's key; see `StateKey.derive`."""
    return StateKey(state_url, source).derive(purpose)


def key_file(state_url: str) -> Path | None:
    """Where the key of an SQLite state lies unless it is configured; None for other databases."""
    parsed = make_url(state_url)
    if parsed.get_backend_name() != "sqlite" or parsed.database in (None, "", ":memory:"):
        return None
    return Path(f"{parsed.database}.key")


def _make_key(path: Path) -> None:
    """Write a new key in one step; the first of several processes wins, and the others read its key."""
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(secrets.token_urlsafe(32) + "\n")
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(temporary, path)
            except FileExistsError:
                return
        finally:
            Path(temporary).unlink(missing_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # a token encrypted with a key that a power cut takes would be lost
        finally:
            os.close(folder)
    except OSError as error:
        raise InvalidSettings(
            f"cannot write the state key {path}: {error.strerror}",
            place="state_key",
            hint=f"make the folder writable, or export {KEY_VARIABLE}=…",
        ) from error
    assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


class DatabaseTokens:
    """See `connectors.tokens.TokenStore`. Opens the state when it is first used; threads may share it."""

    durable = True

    def __init__(self, state_url: str, key: StateKey, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._state_url = state_url
        self._key = key
        self._sleep = sleep
        self._guard = threading.Lock()
        self._opened: State | None = None

    @contextmanager
    def lock(self, name: str) -> Iterator[Callable[[], None]]:
        """A lease of the state, held while one token is renewed; among threads of one process a lock before it.

        Raises:
            Transient: another process has held it for too long.
        """
        busy = Transient("another process is renewing the access token", system=name, hint="try again in a minute")
        mutex = _mutex(self._state_url, name)
        if not mutex.acquire(timeout=LOCK_WAIT_SECONDS):
            raise busy
        try:
            with ExitStack() as held:
                try:
                    fence = held.enter_context(hold(self._state, f"token {name}", wait_seconds=LOCK_WAIT_SECONDS))
                except AlreadyRunning as error:
                    raise busy from error

                def still_ours() -> None:
                    try:
                        fence.require()
                        with self._state.read() as connection:
                            fence.check(connection)
                    except LeaseLost as error:
                        raise busy from error

                yield still_ours
        finally:
            mutex.release()

    def load(self, name: str) -> StoredToken | Sealed | None:
        own = (t.credential.c.system == name, t.credential.c.name == _NAME)
        with self._state.outside() as connection:
            row = connection.execute(select(t.credential.c.secret, t.credential.c.version).where(*own)).one_or_none()
        return None if row is None else self._unseal(name, row.secret, row.version)

    def save(self, name: str, token: StoredToken) -> None:
        """See `TokenStore.save`. While the database is away it is tried again for about a minute.

        Raises:
            Transient: somebody else has saved since.
            StateUnavailable: the database stayed away.
        """
        sealed = self._seal(name, token)
        for wait in (*SAVE_TRIES_SECONDS, None):
            try:
                self._write(name, sealed, token.version)
            except StateUnavailable:
                if wait is None:
                    raise
                self._sleep(wait)
            else:
                return

    def close(self) -> None:
        with self._guard:
            if self._opened is not None:
                self._opened.close()
                self._opened = None

    @property
    def _state(self) -> State:
        with self._guard:
            if self._opened is None:
                self._opened = open_state(self._state_url)
            return self._opened

    def _write(self, name: str, sealed: str, version: int) -> None:
        table = t.credential
        with self._state.begin(fenced=False) as connection:
            blank = {"system": name, "name": _NAME, "secret": "", "version": 0, "updated_at": now_ms()}
            if version == 1:
                insert_new(connection, table, [blank])
            own = (table.c.system == name, table.c.name == _NAME)
            values = {"secret": sealed, "version": version, "updated_at": now_ms()}
            before = (*own, table.c.version == version - 1)
            if connection.execute(update(table).where(*before).values(**values)).rowcount == 1:
                return
            # A commit whose answer was lost is repeated: the same row is then already there.
            same = select(table.c.version).where(*own, table.c.secret == sealed, table.c.version == version)
            if connection.execute(same).scalar() is None:
                raise Transient("another process has renewed the access token meanwhile", system=name)

    # --- encryption ----------------------------------------------------------------------------------------------------

    @cached_property
    def _cipher(self) -> Any:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(self._key.derive("tokens"))

    def _seal(self, name: str, token: StoredToken) -> str:
        """`v1.<seed>.<r or ->.<base64 of nonce and ciphertext>`; all but the last part is authenticated with it."""
        head = f"{_FORMAT}.{token.seed or '-'}.{'r' if token.refresh is not None else '-'}"
        nonce = secrets.token_bytes(12)
        sealed = self._cipher.encrypt(nonce, json.dumps(_document(token)).encode(), _bound(head, name, token.version))
        return f"{head}.{base64.urlsafe_b64encode(nonce + sealed).decode()}"

    def _unseal(self, name: str, text: str, version: int) -> StoredToken | Sealed | None:
        from cryptography.exceptions import InvalidTag

        if not text:
            return None
        head, _, body = text.rpartition(".")
        try:
            raw = base64.urlsafe_b64decode(body)
            plain = self._cipher.decrypt(raw[:12], raw[12:], _bound(head, name, version))
            return _token(json.loads(plain), version)
        except (InvalidTag, ValueError, KeyError, TypeError):
            parts = head.split(".")
            known = len(parts) == 3 and parts[0] == _FORMAT
            seed = parts[1].replace("-", "") if known else ""
            return Sealed(version, seed, rotated=not known or parts[2] == "r")


def _bound(head: str, name: str, version: int) -> bytes:
    """What a ciphertext is tied to: moved to another connection or an older version it no longer opens."""
    return f"{head}\x1f{name}\x1f{version}".encode()


def _document(token: StoredToken) -> dict[str, Any]:
    refusal = token.refusal
    return {
        "access": token.access.get_secret_value() if token.access is not None else None,
        "refresh": token.refresh.get_secret_value() if token.refresh is not None else None,
        "expires_at": token.expires_at,
        "instance_url": token.instance_url,
        "scopes": list(token.scopes) if token.scopes is not None else None,
        "seed": token.seed,
        "inputs": token.inputs,
        "asking": token.asking,
        "refusal": [refusal.reason, refusal.hint, refusal.until, refusal.spent] if refusal is not None else None,
    }


def _token(document: dict[str, Any], version: int) -> StoredToken:
    access, refresh, scopes, refusal = (document[name] for name in ("access", "refresh", "scopes", "refusal"))
    return StoredToken(
        access=SecretStr(access) if access is not None else None,
        refresh=SecretStr(refresh) if refresh is not None else None,
        expires_at=document["expires_at"],
        instance_url=document["instance_url"],
        scopes=tuple(scopes) if scopes is not None else None,
        version=version,
        seed=document["seed"],
        inputs=document["inputs"],
        asking=document["asking"],
        refusal=Refusal(*refusal) if refusal is not None else None,
    )


_mutexes: dict[tuple[str, str], threading.Lock] = {}
_mutexes_guard = threading.Lock()


def _mutex(state_url: str, name: str) -> threading.Lock:
    """One lock for each token of each state in this process: threads need not take turns through the database."""
    with _mutexes_guard:
        return _mutexes.setdefault((state_url, name), threading.Lock())
