"""The door to where access tokens are kept, and the one way in which they are renewed.

One renewal per expiry, however many threads and processes share a connection: who meets a refused token takes the store's lock,
looks whether somebody else has renewed it meanwhile, and only then asks the CRM. What the CRM gives is stored before it is used.

A refresh token that the CRM spends with every use (Salesforce's rotation) has one window that nobody can close: a process
that dies after the CRM has answered and before the answer is stored takes the new refresh token with it. Asking again with the
spent one is refused, and the connection stops with that reason. The grants `jwt` and `client_credentials` spend nothing and have no
such window; HubSpot's refresh tokens do not rotate.
"""

import hashlib
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from pydantic import SecretStr

from connectors.calls import Clock
from core.errors import MikomiError, Unauthorized
from core.records import Millis

REMEMBER_MS = 15 * 60_000
"""How long a refusal that only the CRM's administrator can lift keeps everybody from asking again."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the CRM gives no token.

    Attributes:
        until: not asked again before; None: not before another secret is configured.
    """

    reason: str
    hint: str
    until: Millis | None = None


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
        asking: a renewal was begun, and its end is not known.
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


@dataclass(frozen=True, slots=True)
class Configured:
    """What the settings and secret sources say now.

    Attributes:
        refresh: the configured refresh token; None for grants without one.
        inputs: digest of the rest (see `digest`).
    """

    refresh: SecretStr | None
    inputs: str


@dataclass(frozen=True, slots=True)
class Granted:
    """What a CRM gave. `refresh` only where it replaced the one that was shown."""

    access: SecretStr
    refresh: SecretStr | None = None
    expires_at: Millis | None = None
    instance_url: str = ""
    scopes: tuple[str, ...] | None = None


class Grant(Protocol):
    """How one vendor gives tokens."""

    def configured(self) -> Configured:
        """Read the secrets as they are now. Raises InvalidSettings."""
        ...

    def ask(self, refresh: SecretStr | None) -> Granted:
        """Get a token from the CRM. Raises Unauthorized (`final`: only another secret helps) and what calls raise."""
        ...

    def keep(self, refresh: SecretStr) -> bool:
        """Write a replaced refresh token back to where the old one was read; False where that cannot be written."""
        ...


class TokenKeeper:
    """The tokens of one connection object: used by one thread, shared through the store."""

    def __init__(self, store: TokenStore, name: str, grant: Grant, clock: Clock) -> None:
        self._store = store
        self._name = name
        self._grant = grant
        self._clock = clock
        self._held: StoredToken | None = None
        self._unsaved: StoredToken | None = None
        self._ignore_refusals = False

    def current(self) -> StoredToken:
        """A token to use now, with `access`: the one in hand, the stored one, or a new one.

        Raises:
            Unauthorized: the CRM gives none; the hint says what to do.
            ConnectorError: as calls do.
            InvalidSettings: a secret is missing or unsafe.
        """
        held = self._held
        if held is None or self._is_ending(held):
            held, _ = self._obtain(held)
        return held

    def renew(self) -> bool:
        """Replace a token that the CRM refused. False: somebody else had renewed it already, and theirs is used."""
        _, fresh = self._obtain(self._held)
        return fresh

    def reconsider(self) -> None:
        """A person asks, having perhaps put right what was refused: ask the CRM again where only its word stood against it."""
        self._ignore_refusals = True

    def _obtain(self, refused: StoredToken | None) -> tuple[StoredToken, bool]:
        if (found := self._find(refused)) is not None:
            return found, False
        with self._store.lock(self._name) as still_ours:
            if (found := self._find(refused)) is not None:  # renewed by another while we waited for the lock
                return found, False
            stored, configured = self._store.load(self._name), self._grant.configured()
            if (rescued := self._rescue(stored)) is not None:
                self._held = rescued
                return rescued, True
            self._held = None
            self._held = self._ask(stored, configured, still_ours)
            return self._held, True

    def _find(self, refused: StoredToken | None) -> StoredToken | None:
        """A stored token that is better than the refused one; it is in hand then."""
        found = self._store.load(self._name)
        if not isinstance(found, StoredToken) or not self._is_usable(found, refused, self._grant.configured()):
            return None
        self._held = found
        return found

    def _is_usable(self, found: StoredToken, refused: StoredToken | None, configured: Configured) -> bool:
        if found.access is None or self._is_ending(found) or not _same_source(found, configured):
            return False
        return refused is None or (found.version > refused.version and found.access != refused.access)

    def _is_ending(self, token: StoredToken) -> bool:
        return token.expires_at is not None and self._clock.now() >= token.expires_at

    def _rescue(self, found: StoredToken | Sealed | None) -> StoredToken | None:
        """Store what an earlier renewal got and could not store, if nobody has asked since."""
        waiting = self._unsaved
        if waiting is None or found is None or found.version != waiting.version - 1:
            return None
        self._store.save(self._name, waiting)
        self._unsaved = None
        return waiting

    def _ask(
        self, found: StoredToken | Sealed | None, configured: Configured, still_ours: Callable[[], None]
    ) -> StoredToken:
        seed = digest(configured.refresh) if configured.refresh is not None else ""
        if isinstance(found, Sealed):
            self._refuse_sealed(found, seed)
        before = found if isinstance(found, StoredToken) and _same_refresh(found, configured) else None
        refresh = before.refresh if before is not None and before.refresh is not None else configured.refresh
        if before is not None and before.inputs == configured.inputs:
            self._respect_refusal(before)
        state = StoredToken(
            refresh=before.refresh if before is not None else None,
            version=found.version if found is not None else 0,
            seed=seed,
            inputs=configured.inputs,
        )
        if refresh is not None:
            # Written first: a full disk shows before the refresh token is spent, and a death in the middle is known later.
            state = replace(state, asking=True, version=state.version + 1)
            self._store.save(self._name, state)
        still_ours()
        try:
            granted = self._grant.ask(refresh)
        except Unauthorized as error:
            refused = _explain(error, interrupted=before is not None and before.asking)
            self._remember(refused, state)
            raise refused from error
        self._ignore_refusals = False
        return self._keep(granted, state, refresh)

    def _keep(self, granted: Granted, state: StoredToken, shown: SecretStr | None) -> StoredToken:
        """Store the new tokens, the database first; the caller uses them only after that."""
        replaced = granted.refresh is not None and granted.refresh != shown
        token = replace(
            state,
            access=granted.access,
            refresh=granted.refresh if replaced else state.refresh,
            expires_at=granted.expires_at,
            instance_url=granted.instance_url,
            scopes=granted.scopes,
            asking=False,
            version=state.version + 1,
        )
        try:
            self._store.save(self._name, token)
        except MikomiError:
            self._unsaved = token
            if replaced and granted.refresh is not None:
                self._write_back(granted.refresh)
            raise
        if replaced and granted.refresh is not None:
            self._write_back(granted.refresh)
        return token

    def _write_back(self, refresh: SecretStr) -> None:
        """The place it was configured in follows, where it can be written: a state restored from a backup then still connects."""
        try:
            kept = self._grant.keep(refresh)
        except OSError as error:
            kept = False
            _log.warning("%s: the renewed refresh token could not be written back: %s", self._name, error.strerror)
        if not kept and not self._store.durable:
            _log.warning("%s: the CRM replaced the refresh token, and there is no place to keep it", self._name)

    def _respect_refusal(self, found: StoredToken) -> None:
        refusal = found.refusal
        if refusal is None:
            return
        lasting = refusal.until is None
        if lasting or (not self._ignore_refusals and self._clock.now() < (refusal.until or 0)):
            raise Unauthorized(refusal.reason, system=self._name, hint=refusal.hint, final=lasting)

    def _remember(self, error: Unauthorized, state: StoredToken) -> None:
        """Keep the CRM's no, so that no process asks in a loop."""
        until = None if error.final else self._clock.now() + REMEMBER_MS
        refusal = Refusal(error.message, error.hint, until)
        try:
            self._store.save(self._name, replace(state, asking=False, refusal=refusal, version=state.version + 1))
        except MikomiError as failure:  # the refusal itself is what the caller must hear
            _log.warning("%s: the refusal could not be stored: %s", self._name, failure.message)

    def _refuse_sealed(self, found: Sealed, seed: str) -> None:
        """A token that cannot be decrypted is lost where nobody else knows it; else another one is simply asked for."""
        if found.rotated and found.seed == seed:
            raise Unauthorized(
                "the stored refresh token cannot be decrypted: the state's key is another one, or the row was altered",
                system=self._name,
                hint="put the old key back (MIKOMI_STATE_KEY, or the .key file beside the database); "
                "if it is lost, connect again and configure the new refresh token",
                final=True,
            )
        _log.warning(
            "%s: the stored token cannot be decrypted with this state key; another one is asked for", self._name
        )


def _explain(error: Unauthorized, *, interrupted: bool) -> Unauthorized:
    message = error.message
    if interrupted and error.final:
        message += "; an earlier renewal was interrupted after the CRM had spent the token"
    return Unauthorized(message, system=error.system, hint=error.hint, final=error.final)


def digest(*parts: SecretStr | str | None) -> str:
    """A short digest that tells whether configured values changed. Secrets among them are long and random."""
    texts = [part.get_secret_value() if isinstance(part, SecretStr) else part or "" for part in parts]
    return hashlib.sha256("\x1f".join(texts).encode()).hexdigest()[:32]


def _same_refresh(found: StoredToken, configured: Configured) -> bool:
    """Whether the stored refresh token descends from the configured one, or is that one (written back)."""
    if configured.refresh is None:
        return True
    return digest(configured.refresh) == found.seed or configured.refresh == found.refresh


def _same_source(found: StoredToken, configured: Configured) -> bool:
    return found.inputs == configured.inputs and _same_refresh(found, configured)
