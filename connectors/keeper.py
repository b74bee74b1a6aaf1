"""The one way in which access tokens are renewed.

One renewal per expiry, however many threads and processes share a connection: who meets a refused token takes the store's lock,
looks whether somebody else has renewed it meanwhile, and only then asks the CRM. What the CRM gives is stored before it is used.

A refresh token that the CRM spends with every use (Salesforce's rotation) has one window that nobody can close: a process
that dies after the CRM has answered and before the answer is stored takes the new refresh token with it. Asking again with the
spent one is refused, and the connection stops with that reason. The grants `jwt` and `client_credentials` spend nothing and have no
such window; HubSpot's refresh tokens do not rotate.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from pydantic import SecretStr

from connectors.calls import Clock
from connectors.tokens import Refusal, Sealed, StoredToken, TokenStore, digest
from core.errors import InvalidSettings, MikomiError, Transient, Unauthorized
from core.records import Millis

REMEMBER_MS = 15 * 60_000
"""How long a refusal that only the CRM's administrator can lift keeps everybody from asking again."""

_log = logging.getLogger(__name__)


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

    def ask(self, refresh: SecretStr | None, still_ours: Callable[[], None]) -> Granted:
        """Get a token from the CRM. Raises Unauthorized (`final`: only another secret helps) and what calls raise.

        `still_ours` is called before every request, repeated ones too: a process that stood still in between must not show
        a refresh token that another one has used meanwhile. What it raises is passed on.
        """
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
        """A person asks, having perhaps put right what was refused: the CRM is asked again, once, whatever it said before.

        A refresh token that is known to be spent stays unused.
        """
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
        interrupted = before is not None and before.asking
        if before is not None:
            self._respect_refusal(before, configured)
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
        requests = _Requests(still_ours)
        try:
            granted = self._grant.ask(refresh, requests.begin)
        except _Overtaken as overtaken:
            raise overtaken.why from overtaken
        except Unauthorized as error:
            # An answer that was lost, in this renewal or in the one before it, may have been the one that spent the token.
            interrupted = refresh is not None and (interrupted or requests.count > 1)
            refused = _explain(error, interrupted=interrupted)
            self._ignore_refusals = False
            self._remember(refused, state, interrupted=interrupted)
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
        except (OSError, InvalidSettings) as error:  # a folder nobody may write to, a keyring that was locked meanwhile
            kept = False
            why = error.strerror if isinstance(error, OSError) else error.message
            _log.warning("%s: the renewed refresh token could not be written back: %s", self._name, why)
        if not kept and not self._store.durable:
            _log.warning("%s: the CRM replaced the refresh token, and there is no place to keep it", self._name)

    def _respect_refusal(self, found: StoredToken, configured: Configured) -> None:
        refusal = found.refusal
        if refusal is None:
            return
        lasting = refusal.until is None
        # Further ahead than a refusal is remembered: it was written by a clock that stood ahead.
        holds = refusal.until is None or 0 < refusal.until - self._clock.now() <= REMEMBER_MS
        same = found.inputs == configured.inputs
        if refusal.spent or (same and holds and not self._ignore_refusals):
            raise Unauthorized(refusal.reason, system=self._name, hint=refusal.hint, final=lasting)

    def _remember(self, error: Unauthorized, state: StoredToken, *, interrupted: bool) -> None:
        """Keep the CRM's no, so that no process asks in a loop; and the doubt, where it was no answer to it."""
        until = None if error.final else self._clock.now() + REMEMBER_MS
        refusal = Refusal(error.message, error.hint, until, spent=interrupted and error.final)
        refused = replace(state, asking=interrupted and not error.final, refusal=refusal, version=state.version + 1)
        try:
            self._store.save(self._name, refused)
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


class _Overtaken(Exception):
    """Ends a token request between its attempts. No ConnectorError, so that nothing takes it for a call to be repeated."""

    def __init__(self, why: Transient) -> None:
        super().__init__(why.message)
        self.why = why


class _Requests:
    """The requests of one renewal: counted, and ended for good where another process has taken over in between."""

    def __init__(self, still_ours: Callable[[], None]) -> None:
        self._still_ours = still_ours
        self.count = 0

    def begin(self) -> None:
        try:
            self._still_ours()
        except Transient as error:
            raise _Overtaken(error) from error
        self.count += 1


def _explain(error: Unauthorized, *, interrupted: bool) -> Unauthorized:
    message = error.message
    if interrupted and error.final:
        message += "; an earlier renewal was interrupted after the CRM had spent the token"
    return Unauthorized(message, system=error.system, hint=error.hint, final=error.final)


def _same_refresh(found: StoredToken, configured: Configured) -> bool:
    """Whether the stored refresh token descends from the configured one, or is that one (written back)."""
    if configured.refresh is None:
        return True
    return digest(configured.refresh) == found.seed or configured.refresh == found.refresh


def _same_source(found: StoredToken, configured: Configured) -> bool:
    return found.inputs == configured.inputs and _same_refresh(found, configured)
