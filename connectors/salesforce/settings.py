"""What a Salesforce connection needs to know. Secrets are named by their source, never written here."""

import ipaddress
import re
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from connectors.hosts import leads_to
from connectors.secrets import SecretSource

HOST_SUFFIXES = (".salesforce.com", ".cloudforce.com")
"""Every API host is there. `force.com` is not on the list: customers run their own code on its sites."""


class SalesforceSettings(BaseModel):
    """One connection's block of the settings file.

    Attributes:
        auth: `client_credentials` and `refresh_token` need client_id and client_secret, `jwt` needs client_id, username
            and private_key, `access_token` (for trying out: it cannot be renewed) needs instance_url.
        login_url: the My Domain of the org, or https://login.salesforce.com, https://test.salesforce.com.
        audience: of the JWT; test.salesforce.com for sandbox orgs.
        setup_access_token: an administrator's token, used by `setup` alone, where the integration user may not create fields.
        quota_stop_at_percent: of the org's daily calls, used by everyone; above it we pause.
        quota_calls_per_day: our own calls in 24 hours.
        page_size: rows a page, as Salesforce takes it.
        lookback_minutes, settle_seconds: how far reading goes back before the last horizon, and how close to now it goes.
        fields: which of our fields `setup` creates.
        currency: of amounts in an org with a single currency.
        base_url, sandbox: a practice server on this machine; both or neither.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    auth: Literal["client_credentials", "jwt", "refresh_token", "access_token"] = "client_credentials"
    login_url: str = "https://login.salesforce.com"
    audience: str = "https://login.salesforce.com"
    instance_url: str | None = None
    client_id: str | None = None
    username: str | None = None
    client_secret: SecretSource | None = None
    private_key: SecretSource | None = None
    refresh_token: SecretSource | None = None
    access_token: SecretSource | None = None
    setup_access_token: SecretSource | None = None

    api_version: str = Field(default="62.0", pattern=r"^\d{2,3}\.0$")
    timeout_seconds: float = Field(default=60, gt=0, le=600)
    attempts: int = Field(default=5, ge=1, le=20)
    call_budget_seconds: float = Field(default=180, gt=0, le=3600)
    quota_stop_at_percent: float | None = Field(default=80, gt=0, le=100)
    quota_calls_per_day: int | None = Field(default=None, ge=1)
    ca_file: str | None = None

    page_size: int = Field(default=2000, ge=200, le=2000)
    lookback_minutes: int = Field(default=10, ge=0, le=1440)
    settle_seconds: int = Field(default=120, ge=0, le=3600)

    fields: Literal["all", "minimal"] = "all"
    currency: str | None = Field(default=None, pattern=r"^[A-Z]{3}$")
    mapping: dict[str, object] = Field(default_factory=dict)

    base_url: str | None = None
    sandbox: bool = False

    @field_validator("login_url", "audience", "instance_url", "base_url")
    @classmethod
    def _drop_slash(cls, value: str | None) -> str | None:
        return value.rstrip("/") if value is not None else None

    @model_validator(mode="after")
    def _check_hosts(self) -> Self:
        if self.sandbox != (self.base_url is not None):
            raise ValueError("sandbox: true and base_url belong together")
        if self.base_url is not None and not is_loopback(self.base_url):
            raise ValueError("base_url must be on this machine (127.0.0.1, ::1 or localhost)")
        if self.base_url is not None and self.instance_url is not None and not self.allows(self.instance_url):
            raise ValueError("instance_url must be the practice server itself, or be left out")
        for name in () if self.base_url is not None else ("login_url", "instance_url"):
            url = getattr(self, name)
            if url is not None and not self.allows(url):
                raise ValueError(f"{name} must be https on a host under {', '.join(HOST_SUFFIXES)}")
        return self

    @model_validator(mode="after")
    def _check_grant(self) -> Self:
        needed = {
            "client_credentials": ("client_id",),
            "jwt": ("client_id", "username"),
            "refresh_token": ("client_id",),
            "access_token": () if self.sandbox else ("instance_url",),
        }[self.auth]
        lacking = [name for name in needed if getattr(self, name) is None]
        if lacking:
            raise ValueError(f"auth: {self.auth} needs {' and '.join(lacking)}")
        if self.auth == "client_credentials" and not self.sandbox and is_common_login(self.login_url):
            raise ValueError("auth: client_credentials needs login_url: https://<your My Domain>.my.salesforce.com")
        return self

    @property
    def token_host(self) -> str:
        """Where tokens are asked for."""
        return self.base_url or self.login_url

    def allows(self, url: str) -> bool:
        """Whether credentials may be sent to a URL: https on Salesforce's hosts, or the practice server itself."""
        if self.base_url is None:
            return leads_to(url, HOST_SUFFIXES)
        return _PLAIN.fullmatch(url) is not None and _place(url) == _place(self.base_url)


_PLAIN = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+(?:[/?][\x21-\x5b\x5d-\x7e]*)?", re.ASCII)


def _place(url: str) -> tuple[str | None, int | None]:
    parts = urlsplit(url)
    try:
        return parts.hostname, parts.port
    except ValueError:  # a port that is none
        return None, -1


def is_loopback(url: str) -> bool:
    """Whether a URL's host is this machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme not in {"http", "https"} or parts.username is not None:
        return False
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_common_login(url: str) -> bool:
    """Whether a URL is the login host of all orgs rather than one org's My Domain."""
    return urlsplit(url).hostname in {"login.salesforce.com", "test.salesforce.com"}
