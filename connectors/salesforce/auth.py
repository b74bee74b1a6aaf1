"""Access tokens of one connection: four OAuth grants, renewed on demand. simple-salesforce's own log-in is not used
(it has no refresh grant, hard-codes hosts, and can log in without end when a 401 persists).
"""

from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Protocol

import jwt
import requests
from pydantic import SecretStr

from connectors.calls import Calls, Clock
from connectors.salesforce.errors import translate
from connectors.salesforce.settings import SalesforceSettings
from connectors.secrets import need_secret, store_secret
from core.errors import ConnectorError, InvalidSettings, Unauthorized, Unexpected
from core.records import Millis, to_millis

JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
JWT_LIFE_SECONDS = 170  # Salesforce takes at most 180
CLOCK_SKEW_MS = 30_000


@dataclass(frozen=True, slots=True)
class Access:
    """A token and the host it is for."""

    token: SecretStr
    instance_url: str


class TokenSource(Protocol):
    """What the API asks for access."""

    def current(self) -> Access: ...

    def renew(self) -> None: ...


@dataclass(frozen=True, slots=True)
class GivenToken:
    """A token that came from outside and cannot be renewed."""

    connection: str
    access: Access

    def current(self) -> Access:
        return self.access

    def renew(self) -> None:
        raise Unauthorized(
            "Salesforce does not accept the access token (expired, revoked or wrong)",
            system=self.connection,
            hint="give a fresh token; one that renews itself comes with auth: client_credentials or jwt",
        )


class Tokens:
    """Gets and renews the access token. Refused hosts never see a credential."""

    def __init__(
        self, connection: str, settings: SalesforceSettings, *, session: requests.Session, calls: Calls, clock: Clock
    ) -> None:
        self._connection = connection
        self._settings = settings
        self._session = session
        self._calls = calls
        self._clock = clock
        self._access: Access | None = None
        self._skew: Millis = 0
        self._rotated: SecretStr | None = None

    def current(self) -> Access:
        """The token in use; got now if there is none yet. Raises Unauthorized, Transient, InvalidSettings."""
        if self._access is None:
            self._access = self._grant()
        return self._access

    def renew(self) -> None:
        """Replace a token that Salesforce no longer takes. Raises Unauthorized where that is not possible."""
        self._access = self._grant()

    def _grant(self) -> Access:
        try:
            return self._ask()
        except Unauthorized:
            if self._settings.auth != "jwt" or abs(self._skew) < CLOCK_SKEW_MS:
                raise
            return self._ask()  # our clock is off: signed again by Salesforce's time

    def _ask(self) -> Access:
        form, login = self._form()
        answer = self._calls.run(
            "token",
            lambda timeout: self._post(form, login, timeout),
            cost=0,
            effect="none" if self._settings.auth != "refresh_token" else "repeatable",
        )
        return self._accept(answer)

    def _form(self) -> tuple[dict[str, str], tuple[str, str] | None]:
        """The body of the token request, and HTTP Basic credentials where the grant wants them."""
        settings = self._settings
        client_id = settings.client_id or ""
        if settings.auth == "jwt":
            return {"grant_type": JWT_GRANT, "assertion": self._assertion(client_id)}, None
        secret = need_secret(self._connection, "client_secret", settings.client_secret).get_secret_value()
        if settings.auth == "client_credentials":
            return {"grant_type": "client_credentials"}, (client_id, secret)
        kept = self._rotated or need_secret(self._connection, "refresh_token", settings.refresh_token)
        form = {"grant_type": "refresh_token", "client_id": client_id, "client_secret": secret}
        return {**form, "refresh_token": kept.get_secret_value()}, None

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
        if status in {400, 401} and isinstance(body, dict) and "error" in body:
            reason = f"{body['error']}: {body.get('error_description', '')}".strip(": ")
            return Unauthorized(
                f"Salesforce refused to log in ({reason})",
                hint=_LOGIN_HINTS.get(str(body["error"]), "check client_id, secret and the app's policies"),
            )
        return translate(status, body, now=self._clock.now())

    def _note_skew(self, response: requests.Response) -> None:
        stamp = response.headers.get("Date")
        if stamp is not None:
            self._skew = to_millis(parsedate_to_datetime(stamp)) - self._clock.now()

    def _accept(self, answer: dict[str, Any]) -> Access:
        token, instance_url = answer.get("access_token"), answer.get("instance_url")
        if not isinstance(token, str) or not isinstance(instance_url, str):
            raise Unexpected("the token answer has no access_token or instance_url", system=self._connection)
        if not self._settings.allows(instance_url):
            raise Unexpected(
                "Salesforce sent us to a host outside Salesforce; the token was not used",
                system=self._connection,
                hint="check login_url",
            )
        self._keep_rotated(answer.get("refresh_token"))
        return Access(SecretStr(token), instance_url.rstrip("/"))

    def _keep_rotated(self, value: object) -> None:
        """A rotated refresh token is stored before the access token is used: the old one is spent."""
        if self._settings.auth != "refresh_token" or not isinstance(value, str) or not value:
            return
        self._rotated = SecretStr(value)
        store_secret(self._settings.refresh_token, self._rotated)


_LOGIN_HINTS = {
    "invalid_client_id": "check client_id (the consumer key)",
    "invalid_client": "check client_id and client_secret",
    "invalid_client_credentials": "check client_secret",
    "invalid_grant": "check username, certificate and pre-authorisation of the app, or connect again",
    "inactive_user": "activate the integration user",
    "inactive_org": "the org is locked or closed",
    "unsupported_grant_type": "enable this flow in the External Client App",
}


def open_tokens(
    connection: str, settings: SalesforceSettings, *, session: requests.Session, calls: Calls, clock: Clock
) -> TokenSource:
    """The connection's own tokens, by the grant that its settings name. Raises InvalidSettings for a missing secret."""
    if settings.auth == "access_token":
        token = need_secret(connection, "access_token", settings.access_token)
        return GivenToken(connection, Access(token, settings.base_url or settings.instance_url or ""))
    return Tokens(connection, settings, session=session, calls=calls, clock=clock)
