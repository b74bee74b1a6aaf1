"""Access tokens: a private app's fixed one, or OAuth's half-hour ones from a refresh token."""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import SecretStr

from connectors.calls import Clock
from connectors.hubspot.api import Credential, HubSpotApi
from connectors.hubspot.settings import HubSpotSettings, OAuthApp
from connectors.keeper import Configured, Granted, TokenKeeper
from connectors.secrets import need_secret, secret_source, store_secret
from connectors.tokens import TokenStore, digest
from core.errors import Forbidden, Rejected, Unauthorized, Unexpected

TOKEN_PATH = "/oauth/v3/token"  # noqa: S105
_TOKEN_INFO_PATH = "/oauth/v2/private-apps/get/access-token-info"  # noqa: S105
EARLY_MS = 60_000
"""A token is renewed this long before its end; a tenth of its life where that is shorter."""

_SPENT = frozenset({"BAD_REFRESH_TOKEN", "invalid_grant"})


def find_credential(connection: str, settings: HubSpotSettings, clock: Clock, store: TokenStore) -> Credential:
    """Read the secrets of a connection. Raises InvalidSettings where one is missing or unsafe."""
    if settings.oauth is None:
        return PrivateAppToken(lambda: need_secret(connection, "token", settings.token))
    app = settings.oauth
    need_secret(connection, "client_secret", app.client_secret)  # said at the start, not at the first call
    need_secret(connection, "refresh_token", app.refresh_token)
    return OAuthToken(connection, app, settings.base_url, clock, store)


class PrivateAppToken:
    """Never expires; when HubSpot refuses it, only a person helps: by another one in the same place.

    Args:
        read: the token as it is kept now.
    """

    def __init__(self, read: Callable[[], SecretStr]) -> None:
        self._read = read
        self._secret = read()
        self._scopes: frozenset[str] | None = None

    def token(self, api: HubSpotApi) -> SecretStr:  # noqa: ARG002
        return self._secret

    def renew(self, api: HubSpotApi) -> bool:  # noqa: ARG002
        if self.reread():
            return True
        raise Unauthorized(
            "HubSpot does not accept the private app's token (wrong, or replaced by another)",
            hint="show or rotate it in HubSpot → Settings → Integrations → Private apps, and store it; then `mikomi doctor`",
        )

    def reread(self) -> bool:
        secret = self._read()
        if secret == self._secret:
            return False
        self._secret, self._scopes = secret, None
        return True

    def reconsider(self, api: HubSpotApi) -> None:
        """Nothing is remembered."""

    def scopes(self, api: HubSpotApi) -> frozenset[str] | None:
        if self._scopes is None:
            try:
                answer = api.post(_TOKEN_INFO_PATH, {"tokenKey": self._secret.get_secret_value()})
            except (Forbidden, Rejected):
                return None
            self._scopes = _scopes_in(answer)
        return self._scopes


class OAuthToken:
    """Renewed by `expires_in`, a minute early, and once more when HubSpot says 401.

    HubSpot's refresh tokens neither rotate nor expire; should an answer bring another one, it is kept before use.
    """

    def __init__(self, connection: str, app: OAuthApp, base_url: str, clock: Clock, store: TokenStore) -> None:
        self._connection = connection
        self._app = app
        self._base_url = base_url
        self._clock = clock
        self._store = store
        self._keeper: TokenKeeper | None = None

    def token(self, api: HubSpotApi) -> SecretStr:
        held = self._tokens(api).current()
        assert held.access is not None
        return held.access

    def renew(self, api: HubSpotApi) -> bool:
        return self._tokens(api).renew()

    def reread(self) -> bool:
        """Its secrets are read at every renewal."""
        return False

    def scopes(self, api: HubSpotApi) -> frozenset[str] | None:
        granted = self._tokens(api).current().scopes
        return frozenset(granted) if granted is not None else None

    def reconsider(self, api: HubSpotApi) -> None:
        self._tokens(api).reconsider()

    def _tokens(self, api: HubSpotApi) -> TokenKeeper:
        if self._keeper is None:
            grant = _RefreshGrant(self._connection, self._app, self._base_url, self._clock, api)
            self._keeper = TokenKeeper(self._store, self._connection, grant, self._clock)
        return self._keeper


class _RefreshGrant:
    """See `connectors.keeper.Grant`."""

    def __init__(self, connection: str, app: OAuthApp, base_url: str, clock: Clock, api: HubSpotApi) -> None:
        self._connection = connection
        self._app = app
        self._base_url = base_url
        self._clock = clock
        self._api = api

    def configured(self) -> Configured:
        return Configured(
            need_secret(self._connection, "refresh_token", self._app.refresh_token),
            digest("oauth", self._base_url, self._app.client_id, self._secret()),
        )

    def ask(self, refresh: SecretStr | None, still_ours: Callable[[], None]) -> Granted:
        assert refresh is not None
        asked_at = self._clock.now()
        form = {
            "grant_type": "refresh_token",
            "client_id": self._app.client_id,
            "client_secret": self._secret().get_secret_value(),
            "refresh_token": refresh.get_secret_value(),
        }
        try:
            answer = self._api.post_form(TOKEN_PATH, form, still_ours)
        except Rejected as error:
            raise Unauthorized(
                f"HubSpot refuses to renew the access token ({error.code})",
                hint="install the app again and store its new refresh token; check client_id and client_secret",
                final=error.code in _SPENT,
            ) from error
        access, lasts = answer.get("access_token"), answer.get("expires_in")
        if not isinstance(access, str) or not isinstance(lasts, int):
            raise Unexpected("HubSpot's token answer has no access_token or expires_in")
        told = answer.get("refresh_token")
        other = SecretStr(told) if isinstance(told, str) and told and told != refresh.get_secret_value() else None
        scopes = _scopes_in(answer)
        return Granted(
            SecretStr(access),
            other,
            asked_at + lasts * 1000 - min(EARLY_MS, lasts * 100),
            scopes=tuple(sorted(scopes)) if scopes is not None else None,
        )

    def keep(self, refresh: SecretStr) -> bool:
        return store_secret(secret_source(self._connection, "refresh_token", self._app.refresh_token), refresh)

    def _secret(self) -> SecretStr:
        return need_secret(self._connection, "client_secret", self._app.client_secret)


def _scopes_in(answer: Mapping[str, Any]) -> frozenset[str] | None:
    scopes = answer.get("scopes")
    return frozenset(str(s) for s in scopes) if isinstance(scopes, list) else None
