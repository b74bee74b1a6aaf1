"""One HubSpot connection's block of the settings file. Units are in the names; secrets are only pointed at."""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

from connectors.secrets import SecretSource

API_URL = "https://api.hubapi.com"


class OAuthApp(BaseModel):
    """A public app's credentials; the refresh token of the portal that installed it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    client_id: str
    client_secret: SecretSource | None = None
    refresh_token: SecretSource | None = None


class HubSpotSettings(BaseModel):
    """How to reach and use one portal.

    Attributes:
        token: private-app token (`MIKOMI_<CONNECTION>_TOKEN` if left out and no `oauth` is given).
        setup_token: of an administrator's private app, used by `setup` alone, where the app that syncs may not create properties.
        base_url: only with `sandbox: true`, and only on this machine.
        linked_system: connection name of the Salesforce that HubSpot's native sync joins to this portal.
        overlap_minutes, settle_seconds: how far a reading reaches back, and how far it stays behind the portal's clock.
        daily_share_percent: use of the daily quota (everyone's) above which Mikomi stays quiet; `daily_calls` its own share.
        burst_share_percent: of the ten-second limit that the portal reports.
        searches_per_second: of the portal's five, which all its apps share; 0 for no pace.
        mapping: laid over the shipped `default_mapping.yaml`, key by key.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    token: SecretSource | None = None
    setup_token: SecretSource | None = None
    oauth: OAuthApp | None = None
    base_url: str = API_URL
    sandbox: bool = False
    linked_system: str | None = "salesforce"
    fields: Literal["all", "minimal"] = "all"
    overlap_minutes: float = Field(default=10, ge=0, le=24 * 60)
    settle_seconds: float = Field(default=90, ge=0, le=3600)
    search_page_rows: int = Field(default=200, ge=1, le=200)
    list_page_rows: int = Field(default=100, ge=1, le=100)
    email_events_days: int = Field(default=365, ge=1, le=3650)
    web_events_days: int = Field(default=90, ge=1, le=3650)
    marketing_event_days: int = Field(default=30, ge=1, le=365)
    timeout_seconds: float = Field(default=60, gt=0, le=600)
    call_attempts: int = Field(default=5, ge=1, le=20)
    call_budget_seconds: float = Field(default=180, gt=0, le=3600)
    daily_share_percent: float = Field(default=80, gt=0, le=100)
    daily_calls: int | None = Field(default=None, ge=1)
    burst_share_percent: float = Field(default=80, gt=0, le=100)
    searches_per_second: int = Field(default=4, ge=0, le=5)
    mapping: Mapping[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_credential(self) -> Self:
        if self.token is not None and self.oauth is not None:
            raise ValueError("give either token or oauth, not both")
        return self

    @model_validator(mode="after")
    def _known_host(self) -> Self:
        if self.base_url == API_URL:
            return self
        if not self.sandbox:
            raise ValueError(f"base_url must be {API_URL}; another one needs `sandbox: true`")
        parts = urlsplit(self.base_url)
        if parts.scheme not in {"http", "https"} or not _is_loopback(parts.hostname or ""):
            raise ValueError("a sandbox's base_url must be http(s) on this machine (127.0.0.1, ::1 or localhost)")
        if parts.path.strip("/") or parts.query or parts.fragment or parts.username:
            raise ValueError("base_url is scheme, host and port only")
        return self


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
