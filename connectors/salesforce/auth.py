"""Access tokens of one connection: four OAuth grants, renewed on demand. simple-salesforce's own log-in is not used
(it has no refresh grant, hard-codes hosts, and can log in without end when a 401 persists).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Any, Protocol

import jwt
import requests
from pydantic import SecretStr

from connectors.calls import Calls, Clock
from connectors.keeper import Configured, Granted, TokenKeeper
from connectors.salesforce.errors import translate
from connectors.salesforce.settings import SalesforceSettings
from connectors.secrets import need_secret, secret_source, store_secret
from connectors.tokens import TokenStore, digest
from core.errors import ConnectorError, InvalidSettings, RateLimited, Transient, Unauthorized, Unexpected
from core.records import Millis, to_millis

JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
JWT_LIFE_SECONDS = 170  # Salesforce takes at most 180
CLOCK_SKEW_MS = 30_000
LOGIN_PAUSE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Access:
    """A token and the host it is for."""

    token: SecretStr
    instance_url: str


class TokenSource(Protocol):
    """What the API asks for access."""

    def current(self) -> Access: ...

    def renew(self) -> bool: ...

    def reread(self) -> bool: ...

    def reconsider(self) -> None: ...


class GivenToken:
    """A token that came from outside and cannot be renewed. It stays in memory: no store ever sees it.

    Args:
        read: the token as it is kept now.
    """

    def __init__(self, connection: str, instance_url: str, read: Callable[[], SecretStr]) -> None:
        self._connection = connection
        self._read = read
        self._access = Access(read(), instance_url)

    def current(self) -> Access:
        return self._access

    def reread(self) -> bool:
        """Look whether a person has put another token in its place; whether it is another."""
        token = self._read()
        if token == self._access.token:
            return False
        self._access = replace(self._access, token=token)
        return True

    def renew(self) -> bool:
        if self.reread():
            return True
        raise Unauthorized(
            "Salesforce does not accept the access token (expired, revoked or wrong)",
            system=self._connection,
            hint="give a fresh token; one that renews itself comes with auth: client_credentials or jwt",
        )

    def reconsider(self) -> None:
        """Nothing is remembered."""


class KeptTokens:
    """Tokens that renew themselves, shared through a store."""

    def __init__(self, keeper: TokenKeeper) -> None:
        self._keeper = keeper

    def current(self) -> Access:
        """The token in use; got now if there is none yet. Raises Unauthorized, Transient, InvalidSettings."""
        held = self._keeper.current()
        assert held.access is not None
        return Access(held.access, held.instance_url)

    def renew(self) -> bool:
        """Replace a token that Salesforce no longer takes. Raises Unauthorized where that is not possible."""
        return self._keeper.renew()

    def reread(self) -> bool:
        """Its secrets are read at every renewal."""
        return False

    def reconsider(self) -> None:
        self._keeper.reconsider()


class SalesforceGrant:
    """Three OAuth grants at the token endpoint. Refused hosts never see a credential."""

    def __init__(
        self, connection: str, settings: SalesforceSettings, *, session: requests.Session, calls: Calls, clock: Clock
    ) -> None:
        self._connection = connection
        self._settings = settings
        self._session = session
        self._calls = calls
        self._clock = clock
        self._skew: Millis = 0

    def configured(self) -> Configured:
        settings = self._settings
        refresh: SecretStr | None = None
        if settings.auth == "jwt":
            secret = need_secret(self._connection, "private_key", settings.private_key)
        else:
            secret = need_secret(self._connection, "client_secret", settings.client_secret)
        if settings.auth == "refresh_token":
            refresh = need_secret(self._connection, "refresh_token", settings.refresh_token)
        plain = (settings.auth, settings.token_host, settings.audience, settings.client_id, settings.username)
        return Configured(refresh, digest(*plain, secret))

    def ask(self, refresh: SecretStr | None, still_ours: Callable[[], None]) -> Granted:
        """See `connectors.keeper.Grant`. A clock that is off is corrected by Salesforce's, once."""
        used = self._skew
        try:
            return self._ask(refresh, still_ours)
        except Unauthorized:
            if self._settings.auth != "jwt" or abs(self._skew - used) < CLOCK_SKEW_MS:
                raise
            return self._ask(refresh, still_ours)

    def keep(self, refresh: SecretStr) -> bool:
        named = self._settings.refresh_token
        return store_secret(secret_source(self._connection, "refresh_token", named), refresh)

    def _ask(self, refresh: SecretStr | None, still_ours: Callable[[], None]) -> Granted:
        form, login = self._form(refresh)

        def send(timeout: float) -> dict[str, Any]:
            still_ours()
            return self._post(form, login, timeout)

        answer = self._calls.run(
            "token",
            send,
            cost=0,
            effect="none" if refresh is None else "repeatable",
        )
        return self._accept(answer)

    def _form(self, refresh: SecretStr | None) -> tuple[dict[str, str], tuple[str, str] | None]:
        """The body of the token request, and HTTP Basic credentials where the grant wants them."""
        settings = self._settings
        client_id = settings.client_id or ""
        if settings.auth == "jwt":
            return {"grant_type": JWT_GRANT, "assertion": self._assertion(client_id)}, None
        secret = need_secret(self._connection, "client_secret", settings.client_secret).get_secret_value()
        if settings.auth == "client_credentials":
            return {"grant_type": "client_credentials"}, (client_id, secret)
        assert refresh is not None
        form = {"grant_type": "refresh_token", "client_id": client_id, "client_secret": secret}
        return {**form, "refresh_token": refresh.get_secret_value()}, None

    def _assertion(self, client_id: str) -> str:
        key = need_secret(self._connection, "private_key", self._settings.private_key)
        now = (self._clock.now() + self._skew) // 1000
        claims = {
            "iss": client_id,
            "sub": self._settings.username,
            "aud": self._settings.audience,
            "exp": now + JWT_LIFE_SECONDS,
        }
        try:
            return jwt.encode(claims, key.get_secret_value(), algorithm="RS256")
        except (ValueError, TypeError, jwt.PyJWTError) as error:
            raise InvalidSettings(
                "not an RSA private key in PEM form",
                place=f"connections.{self._connection}.private_key",
                hint="openssl genrsa -out mikomi.key 2048, and upload its certificate to the External Client App",
            ) from error

    def _post(self, form: dict[str, str], login: tuple[str, str] | None, timeout: float) -> dict[str, Any]:
        url = f"{self._settings.token_host}/services/oauth2/token"
        response = self._session.post(url, data=form, auth=login, timeout=timeout, allow_redirects=False)
        self._note_skew(response)
        try:
            body = response.json()
        except requests.JSONDecodeError:
            body = None
        if response.status_code == 200 and isinstance(body, dict):
            return body
        raise self._refusal(response.status_code, body)

    def _refusal(self, status: int, body: Any) -> ConnectorError:
        if status not in {400, 401} or not isinstance(body, dict) or "error" not in body:
            return translate(status, body, now=self._clock.now())
        error, told = str(body["error"]), str(body.get("error_description", ""))
        if "rate" in told and "exceeded" in told:
            return RateLimited("Salesforce has had too many log-ins", retry_after=LOGIN_PAUSE_SECONDS)
        if error == "unknown_error" or told == "retry your request":
            return Transient(f"Salesforce could not log in for now ({error})")
        ended = error == "invalid_grant" and self._settings.auth == "refresh_token" and _names(told, _ENDED)
        return Unauthorized(
            f"Salesforce refused to log in ({f'{error}: {told}'.strip(': ')})",
            hint=_RECONNECT if ended else _login_hint(error, told),
            final=bool(ended),
        )

    def _note_skew(self, response: requests.Response) -> None:
        stamp = response.headers.get("Date")
        if stamp is not None:
            self._skew = to_millis(parsedate_to_datetime(stamp)) - self._clock.now()

    def _accept(self, answer: dict[str, Any]) -> Granted:
        token, instance_url = answer.get("access_token"), answer.get("instance_url")
        if not isinstance(token, str) or not isinstance(instance_url, str):
            raise Unexpected("the token answer has no access_token or instance_url", system=self._connection)
        if not self._settings.allows(instance_url):
            raise Unexpected(
                "Salesforce sent us to a host outside Salesforce; the token was not used",
                system=self._connection,
                hint="check login_url",
            )
        rotated = answer.get("refresh_token") if self._settings.auth == "refresh_token" else None
        refresh = SecretStr(rotated) if isinstance(rotated, str) and rotated else None
        return Granted(SecretStr(token), refresh, None, instance_url.rstrip("/"))


_RECONNECT = (
    "the refresh token is spent or revoked: connect again and configure the new one; "
    "auth: jwt and client_credentials have none that could be lost"
)
_ENDED = ("expired access/refresh token", "token validity")
"""How Salesforce words that a refresh token is over. Its other reasons an administrator can lift, and the token works again."""

_CAUSE_HINTS = {
    "ip restricted": "allow this machine's address: in the app's IP relaxation, or the login ranges of the user's profile",
    "login hours": "widen the login hours of the user's profile",
    "approved this consumer": "pre-authorise the app for the integration user, and check username",
    "inactive": "activate the integration user",
}
_LOGIN_HINTS = {
    "invalid_client_id": "check client_id (the consumer key)",
    "invalid_client": "check client_id and client_secret",
    "invalid_client_credentials": "check client_secret",
    "invalid_grant": "check username, certificate and pre-authorisation of the app, or connect again",
    "inactive_user": "activate the integration user",
    "inactive_org": "the org is locked or closed",
    "unsupported_grant_type": "enable this flow in the External Client App",
}


def _names(told: str, causes: Iterable[str]) -> str | None:
    """The first of the causes that an answer names."""
    return next((cause for cause in causes if cause in told.lower()), None)


def _login_hint(error: str, told: str) -> str:
    if (cause := _names(told, _CAUSE_HINTS)) is not None:
        return _CAUSE_HINTS[cause]
    return _LOGIN_HINTS.get(error, "check client_id, secret and the app's policies")


def open_tokens(
    connection: str,
    settings: SalesforceSettings,
    *,
    session: requests.Session,
    calls: Calls,
    clock: Clock,
    store: TokenStore,
) -> TokenSource:
    """The connection's own tokens, by the grant that its settings name. Raises InvalidSettings for a missing secret."""
    if settings.auth == "access_token":
        url = settings.base_url or settings.instance_url or ""
        return GivenToken(connection, url, lambda: need_secret(connection, "access_token", settings.access_token))
    grant = SalesforceGrant(connection, settings, session=session, calls=calls, clock=clock)
    return KeptTokens(TokenKeeper(store, connection, grant, clock))
