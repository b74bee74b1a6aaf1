"""The door to where access tokens are kept. What is kept there is written and read by `connectors.keeper` alone."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from pydantic import SecretStr

from core.records import Millis


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the CRM gives no token.

    Attributes:
        until: not asked again before; None: not before another secret is configured, or a person says so.
        spent: the refresh token is known to be used up: to show it again would end what was connected with it.
    """

    reason: str
    hint: str
    until: Millis | None = None
    spent: bool = False


@dataclass(frozen=True, slots=True)
class StoredToken:
    """What is known of one connection's tokens. Secrets never show in a repr.

    Attributes:
        access: None while there is none that can be used.
        refresh: the newest refresh token where the CRM replaced the configured one; None while that one holds.
        expires_at: when `access` is no longer used, by our clock: a little before its end; None where the CRM does not say.
        instance_url: where `access` is for; empty where the vendor has one host.
        scopes: what `access` may do, where the CRM says so.
        version: grows with every save.
        seed: digest of the configured refresh token from which `refresh` came; empty where there is none.
        inputs: digest of everything else that is configured; another one makes `access` and `refusal` void.
        asking: a renewal was begun, and whether it spent the refresh token is not known.
        refusal: the CRM said no; None while it does not.
    """

    access: SecretStr | None = None
    refresh: SecretStr | None = None
    expires_at: Millis | None = None
    instance_url: str = ""
    scopes: tuple[str, ...] | None = None
    version: int = 0
    seed: str = ""
    inputs: str = ""
    asking: bool = False
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True)
class Sealed:
    """A stored token that cannot be decrypted: the key is another one, or the row was altered.

    Attributes:
        rotated: it held a refresh token that nobody else knows.
    """

    version: int
    seed: str
    rotated: bool


class TokenStore(Protocol):
    """Where tokens are kept by connection name.

    Attributes:
        durable: what was saved outlives the process.
    """

    durable: bool

    def lock(self, name: str) -> AbstractContextManager[Callable[[], None]]:
        """Alone with one name, among all threads and processes. Gives a check to call before anything irrevocable.

        Raises:
            Transient: somebody else has held it for too long; from the check: this process stood still and was overtaken.
        """
        ...

    def load(self, name: str) -> StoredToken | Sealed | None:
        """The last saved token; None if there is none."""
        ...

    def save(self, name: str, token: StoredToken) -> None:
        """Keep a token; when this returns it is kept.

        Raises:
            Transient: the stored version is not `token.version - 1`: somebody else was faster. Nothing is changed.
        """
        ...


class MemoryTokens:
    """Tokens of this process alone, for embedding, tests and an administrator's short visit."""

    durable = False

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._tokens: dict[str, StoredToken] = {}

    @contextmanager
    def lock(self, name: str) -> Iterator[Callable[[], None]]:
        with self._guard:
            lock = self._locks.setdefault(name, threading.Lock())
        with lock:
            yield lambda: None

    def load(self, name: str) -> StoredToken | Sealed | None:
        return self._tokens.get(name)

    def save(self, name: str, token: StoredToken) -> None:
        self._tokens[name] = token


def digest(*parts: SecretStr | str | None) -> str:
    """A short digest that tells whether configured values changed. Secrets among them are long and random."""
    texts = [part.get_secret_value() if isinstance(part, SecretStr) else part or "" for part in parts]
    return hashlib.sha256("\x1f".join(texts).encode()).hexdigest()[:32]
