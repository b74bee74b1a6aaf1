"""Access tokens: a private app's fixed one, or OAuth's half-hour ones from a refresh token."""

from collections.abc import Mapping
from typing import Any

from pydantic import SecretStr

from connectors.calls import Clock
from connectors.hubspot.api import Credential, HubSpotApi
from connectors.hubspot.settings import HubSpotSettings, OAuthApp
from connectors.secrets import need_secret, store_secret
from core.errors import Forbidden, Rejected, Unauthorized, Unexpected

TOKEN_PATH = "/oauth/v3/token"  # noqa: S105
_TOKEN_INFO_PATH = "/oauth/v2/private-apps/get/access-token-info"  # noqa: S105
_EARLY_SECONDS = 60.0


def find_credential(connection: str, settings: HubSpotSettings, clock: Clock) -> Credential:
    """Read the secrets of a connection. Raises InvalidSettings where one is missing or unsafe."""
    if settings.oauth is None:
        return PrivateAppToken(need_secret(connection, "token", settings.token))
    return OAuthToken(
        settings.oauth,
        need_secret(connection, "client_secret", settings.oauth.client_secret),
        need_secret(connection, "refresh_token", settings.oauth.refresh_token),
        clock,
    )


class PrivateAppToken:
    """Never expires; when HubSpot refuses it, only a person helps."""

    renewable = False

    def __init__(self, secret: SecretStr) -> None:
        self._secret = secret
        self._scopes: frozenset[str] | None = None

    def token(self, api: HubSpotApi) -> SecretStr:  # noqa: ARG002
        return self._secret

    def renew(self, api: HubSpotApi) -> None:  # noqa: ARG002
        raise Unauthorized("HubSpot refuses the private app's token")

    def scopes(self, api: HubSpotApi) -> frozenset[str] | None:
        if self._scopes is None:
            try:
                answer = api.post(_TOKEN_INFO_PATH, {"tokenKey": self._secret.get_secret_value()})
            except (Forbidden, Rejected):
                return None
            self._scopes = _scopes_in(answer)
        return self._scopes


class OAuthToken:
    """Refreshed by `expires_in`, a minute early, and once more when HubSpot says 401.

    HubSpot's refresh tokens neither rotate nor expire; should an answer bring another one, it is kept before use.
    """

    renewable = True

    def __init__(self, app: OAuthApp, client_secret: SecretStr, refresh_token: SecretStr, clock: Clock) -> None:
        self._app = app
        self._client_secret = client_secret
        self._refresh_token = refresh_token
        self._clock = clock
        self._access: SecretStr | None = None
        self._expires = 0.0
        self._scopes: frozenset[str] | None = None
        self._refused: Unauthorized | None = None

    def token(self, api: HubSpotApi) -> SecretStr:
        if self._access is None or self._clock.monotonic() >= self._expires:
            return self._refresh(api)
        return self._access

    def renew(self, api: HubSpotApi) -> None:
        self._refresh(api)

    def scopes(self, api: HubSpotApi) -> frozenset[str] | None:
        self.token(api)
        return self._scopes

    def _refresh(self, api: HubSpotApi) -> SecretStr:
        if self._refused is not None:  # a refused refresh token stays refused: no loop
            raise self._refused
        started = self._clock.monotonic()
        try:
            answer = api.post_form(
                TOKEN_PATH,
                {
                    "grant_type": "refresh_token",
                    "client_id": self._app.client_id,
                    "client_secret": self._client_secret.get_secret_value(),
                    "refresh_token": self._refresh_token.get_secret_value(),
                },
            )
        except Rejected as error:
            self._refused = Unauthorized(
                f"HubSpot refuses to renew the access token ({error.code})",
                hint="install the app again and store its new refresh token",
            )
            raise self._refused from error
        access, lasts = answer.get("access_token"), answer.get("expires_in")
        if not isinstance(access, str) or not isinstance(lasts, int):
            raise Unexpected("HubSpot's token answer has no access_token or expires_in")
        self._keep(answer.get("refresh_token"))
        self._access = SecretStr(access)
        self._scopes = _scopes_in(answer)
        self._expires = started + max(0.0, lasts - _EARLY_SECONDS)
        return self._access

    def _keep(self, refreshed: object) -> None:
        if isinstance(refreshed, str) and refreshed and refreshed != self._refresh_token.get_secret_value():
            self._refresh_token = SecretStr(refreshed)
            store_secret(self._app.refresh_token, self._refresh_token)


def _scopes_in(answer: Mapping[str, Any]) -> frozenset[str] | None:
    scopes = answer.get("scopes")
    return frozenset(str(s) for s in scopes) if isinstance(scopes, list) else None
