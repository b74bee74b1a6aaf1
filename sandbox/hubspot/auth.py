"""Tokens: private-app tokens, OAuth access and refresh tokens, authorization codes; scopes per endpoint."""

import json
import secrets
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from sandbox.clock import Clock
from sandbox.hubspot.errors import ApiError, missing_scopes
from sandbox.hubspot.options import HubSpotOptions

Needed = list[list[str]]
"""Scopes a call needs: one of each inner list."""


@dataclass(slots=True)
class Token:
    """An access token. `expires_ms` is None for private apps; `uses_left` for all that end by time alone."""

    value: str
    scopes: frozenset[str]
    app_id: int
    user_id: int
    oauth: bool
    issued_ms: int
    expires_ms: int | None = None
    uses_left: int | None = None


class Tokens:
    """Everything this portal has handed out; kept in memory, as tokens belong to one run of the sandbox.

    Attributes:
        ttl_seconds, ttl_requests: how long OAuth access tokens issued from now on live; no bound by requests where None.
        rotate: what HubSpot does not do today: a refresh token is spent with its use, and the answer brings another.
    """

    def __init__(self, clock: Clock, options: HubSpotOptions) -> None:
        self._clock = clock
        self._options = options
        self._tokens: dict[str, Token] = {}
        self._refresh: dict[str, frozenset[str]] = {}
        self._codes: dict[str, tuple[str, frozenset[str]]] = {}
        self.ttl_seconds = options.token_ttl_seconds
        self.ttl_requests: int | None = None
        self.rotate = False
        self.client_id = str(uuid.uuid4())
        self.client_secret = str(uuid.uuid4())
        self.redirect_uri = "https://app.example/oauth/callback"
        self.user_id = 9_586_504

    def issue(self, scopes: Iterable[str] | None) -> str:
        """A private-app token, or an OAuth access token where the portal's app is one."""
        granted = all_scopes() if scopes is None else frozenset(scopes)
        return (self._grant(granted) if self._options.app_kind == "oauth" else self._private(granted)).value

    def _private(self, scopes: frozenset[str]) -> Token:
        token = Token(
            f"pat-na1-{uuid.uuid4()}", scopes, self._options.app_id, self.user_id, False, self._clock.now_ms()
        )
        self._tokens[token.value] = token
        return token

    def _grant(self, scopes: frozenset[str]) -> Token:
        now = self._clock.now_ms()
        expires = now + self.ttl_seconds * 1000
        value = secrets.token_urlsafe(96)
        token = Token(value, scopes, self._options.app_id, self.user_id, True, now, expires, self.ttl_requests)
        self._tokens[value] = token
        return token

    def new_code(self, scopes: Iterable[str] | None = None) -> str:
        code = f"na1-{uuid.uuid4()}"
        self._codes[code] = (self.redirect_uri, all_scopes() if scopes is None else frozenset(scopes))
        return code

    def new_refresh_token(self, scopes: Iterable[str] | None = None) -> str:
        value = f"na1-{uuid.uuid4()}"
        self._refresh[value] = all_scopes() if scopes is None else frozenset(scopes)
        return value

    def revoke(self, value: str) -> bool:
        return self._refresh.pop(value, None) is not None or self._tokens.pop(value, None) is not None

    def refresh_scopes(self, value: str) -> frozenset[str] | None:
        return self._refresh.get(value)

    def find(self, value: str) -> Token | None:
        return self._tokens.get(value)

    def private_app_tokens(self) -> list[Token]:
        return [token for token in self._tokens.values() if not token.oauth]

    def expire_all(self) -> int:
        """Let every OAuth access token be past its time; returns how many were alive."""
        now = self._clock.now_ms()
        alive = [token for token in self._tokens.values() if token.expires_ms is not None and token.expires_ms > now]
        for token in alive:
            token.expires_ms = now - 7_000
        return len(alive)

    def set_scopes(self, value: str, scopes: Iterable[str]) -> None:
        self._tokens[value].scopes = frozenset(scopes)

    def authenticate(self, header: str | None) -> Token:
        """The token behind an Authorization header; 401 as the real API words it."""
        scheme, _, value = (header or "").partition(" ")
        if scheme.lower() != "bearer" or not value:
            message = (
                "Authentication credentials not found. This API supports OAuth 2.0 authentication and you can find "
                "more details at https://developers.hubspot.com/docs/methods/auth/oauth-overview"
            )
            raise ApiError(401, message, "INVALID_AUTHENTICATION")
        token = self._tokens.get(value.strip())
        if token is None:
            message = "The OAuth token used to make this call is invalid."
            if value.startswith("pat-"):
                message = "The access token used to make this call is invalid or has been revoked."
            raise ApiError(401, message, "INVALID_AUTHENTICATION")
        if token.uses_left == 0:
            token.expires_ms = min(token.expires_ms or 0, self._clock.now_ms() - 1_000)
        elif token.uses_left is not None:
            token.uses_left -= 1
        if token.expires_ms is not None and token.expires_ms <= self._clock.now_ms():
            late = max(1, (self._clock.now_ms() - token.expires_ms) // 1000)
            message = f"The OAuth token used to make this call expired {late} second(s) ago."
            raise ApiError(401, message, "EXPIRED_AUTHENTICATION")
        return token

    def exchange(self, form: dict[str, str]) -> tuple[Token, str]:
        """(access token, refresh token) for a token request; 400 with the OAuth error where it is refused."""
        kind = form.get("grant_type", "")
        if form.get("client_id") != self.client_id or form.get("client_secret") != self.client_secret:
            raise _refused("BAD_CLIENT", "invalid_client", "missing or unknown client id or secret")
        if kind == "authorization_code":
            found = self._codes.pop(form.get("code", ""), None)
            if found is None:
                raise _refused("BAD_AUTH_CODE", "invalid_grant", "missing or unknown auth code")
            if form.get("redirect_uri") != found[0]:
                raise _refused("MISMATCH_REDIRECT_URI_AUTH_CODE", "invalid_grant", "redirect_uri does not match")
            return self._grant(found[1]), self.new_refresh_token(found[1])
        if kind == "refresh_token":
            refresh = form.get("refresh_token", "")
            scopes = self._refresh.get(refresh)
            if scopes is None:
                raise _refused("BAD_REFRESH_TOKEN", "invalid_grant", "missing or unknown refresh token")
            if self.rotate:
                del self._refresh[refresh]
                refresh = self.new_refresh_token(scopes)
            return self._grant(scopes), refresh
        raise _refused("BAD_GRANT_TYPE", "unsupported_grant_type", "missing or unknown grant type")


def _refused(status: str, error: str, message: str) -> ApiError:
    return ApiError(400, message, extra={"status": status, "error": error, "error_description": message})


def require(token: Token, needed: Needed) -> None:
    """403 unless the token has one scope of every group."""
    lacking = [group for group in needed if not token.scopes.intersection(group)]
    if lacking:
        raise missing_scopes([scope for group in lacking for scope in group])


@cache
def scope_table() -> dict[str, Any]:
    """Which scope each kind of call needs: data/scopes.json, the one place where that stands."""
    text = resources.files("sandbox.hubspot").joinpath("data/scopes.json").read_text("utf-8")
    table: dict[str, Any] = json.loads(text)
    return table


@cache
def all_scopes() -> frozenset[str]:
    """Every scope that the table knows."""
    table = scope_table()
    found = set(table["always"])
    for part in (table["objects"], table["schemas"]):
        for modes in part.values():
            found.update(scope for groups in modes.values() for group in groups for scope in group)
    found.update(scope for groups in table["areas"].values() for group in groups for scope in group)
    return frozenset(found)
