"""What a portal is like: edition, limits, quirks. Figures from HubSpot's usage guidelines (2026)."""

from dataclasses import dataclass
from typing import Literal

Edition = Literal["Free", "Starter", "Professional", "Enterprise"]
EDITIONS: tuple[str, ...] = ("Free", "Starter", "Professional", "Enterprise")

TEN_SECONDLY = {"Free": 100, "Starter": 100, "Professional": 190, "Enterprise": 190}
"""Calls in any ten seconds, per private app."""

TEN_SECONDLY_OAUTH = 110
"""Calls in any ten seconds, per public OAuth app and installed account."""

DAILY = {"Free": 250_000, "Starter": 250_000, "Professional": 625_000, "Enterprise": 1_000_000}
"""Calls a day of all private apps together; the day ends at midnight in the account's time zone."""

SEARCHES_PER_SECOND = 5
"""Search calls in any second, per account, all apps together."""


@dataclass(frozen=True, slots=True)
class HubSpotOptions:
    """One emulated portal.

    `index_lag_seconds`: by the sandbox's clock, until search sees a new or changed row.
    `unique_task_property`: False refuses properties with `hasUniqueValue` on tasks.
    `app_kind`: what `issue_token` gives out, a private-app token or an OAuth access token.
    `database`: path of the SQLite file; None keeps it in a temporary folder that goes with the process.
    """

    limits: bool = True
    edition: Edition = "Professional"
    index_lag_seconds: float = 5.0
    unique_task_property: bool = True
    token_ttl_seconds: int = 1800
    timezone: str = "Asia/Tokyo"
    currency: str = "JPY"
    portal_id: int = 48_213_577
    database: str | None = None
    app_kind: Literal["private", "oauth"] = "private"
    app_id: int = 3_141_592
    app_name: str = "Practice app"
    daily_limit: int | None = None

    def __post_init__(self) -> None:
        if self.edition not in EDITIONS:
            raise ValueError(f"unknown edition {self.edition!r}; one of {', '.join(EDITIONS)}")
