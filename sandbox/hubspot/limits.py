"""Rate limits and the daily quota, by the sandbox's clock, with the real headers and 429 bodies."""

import uuid
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sandbox.clock import Clock
from sandbox.hubspot.errors import ApiError
from sandbox.hubspot.options import (
    DAILY,
    SEARCHES_PER_SECOND,
    TEN_SECONDLY,
    TEN_SECONDLY_OAUTH,
    HubSpotOptions,
)

_WINDOW_MS = 10_000


class Limits:
    """Counters of one account. `edition` can change while it runs."""

    def __init__(self, clock: Clock, options: HubSpotOptions) -> None:
        self._clock = clock
        self._options = options
        self.edition: str = options.edition
        self.daily_limit: int | None = options.daily_limit
        self.burst_limit: int | None = None
        self._zone = ZoneInfo(options.timezone)
        self._bursts: dict[str, deque[int]] = {}
        self._searches: deque[int] = deque()
        self._day = ""
        self._used_today = 0

    def admit(self, app: str, *, oauth: bool, search: bool) -> dict[str, str]:
        """Count one call and return its rate-limit headers; 429 if it is one too many."""
        now = self._clock.now_ms()
        self._roll_day(now)
        if not self._options.limits:
            self._used_today += not oauth
            return {} if search else self._headers(oauth, self._burst_limit(oauth))
        if not oauth and self._used_today >= self.daily():
            raise self._refuse("DAILY", "You have reached your daily limit.", f"private-app-daily:{app}")
        headers = self._admit_search(now) if search else self._admit_burst(app, oauth, now)
        self._used_today += not oauth
        return headers

    def daily(self) -> int:
        return self.daily_limit if self.daily_limit is not None else DAILY[self.edition]

    def used_today(self) -> int:
        self._roll_day(self._clock.now_ms())
        return self._used_today

    def set_used_today(self, used: int) -> None:
        self._roll_day(self._clock.now_ms())
        self._used_today = used

    def resets_at_ms(self) -> int:
        """The next midnight in the account's time zone."""
        local = datetime.fromtimestamp(self._clock.now_ms() / 1000, self._zone)
        midnight = (local + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        return round(midnight.astimezone(UTC).timestamp() * 1000)

    def _roll_day(self, now: int) -> None:
        day = datetime.fromtimestamp(now / 1000, self._zone).date().isoformat()
        if day != self._day:
            self._day, self._used_today = day, 0

    def _burst_limit(self, oauth: bool) -> int:
        if self.burst_limit is not None:
            return self.burst_limit
        return TEN_SECONDLY_OAUTH if oauth else TEN_SECONDLY[self.edition]

    def _admit_burst(self, app: str, oauth: bool, now: int) -> dict[str, str]:
        recent = self._bursts.setdefault(app, deque())
        _expire(recent, now, _WINDOW_MS)
        limit = self._burst_limit(oauth)
        if len(recent) >= limit:
            message = "You have reached your ten_secondly_rolling limit."
            group = f"publicapi:{'app' if oauth else 'private-apps'}-api-calls-ten-secondly:{app}"
            raise self._refuse("TEN_SECONDLY_ROLLING", message, group, self._headers(oauth, 0))
        recent.append(now)
        return self._headers(oauth, limit - len(recent))

    def _admit_search(self, now: int) -> dict[str, str]:
        _expire(self._searches, now, 1000)
        if len(self._searches) >= SEARCHES_PER_SECOND:
            group = f"publicapi:crm:search:{self._options.portal_id}"
            raise self._refuse("SECONDLY", "You have reached your secondly limit.", group)
        self._searches.append(now)
        return {}

    def _headers(self, oauth: bool, remaining: int) -> dict[str, str]:
        limit = self._burst_limit(oauth)
        headers = {
            "X-HubSpot-RateLimit-Max": str(limit),
            "X-HubSpot-RateLimit-Remaining": str(remaining),
            "X-HubSpot-RateLimit-Interval-Milliseconds": str(_WINDOW_MS),
        }
        if not oauth:
            headers["X-HubSpot-RateLimit-Daily"] = str(self.daily())
            headers["X-HubSpot-RateLimit-Daily-Remaining"] = str(max(0, self.daily() - self._used_today - 1))
        return headers

    def _refuse(self, policy: str, message: str, group: str, headers: dict[str, str] | None = None) -> ApiError:
        extra: dict[str, Any] = {"errorType": "RATE_LIMIT", "policyName": policy, "groupName": group}
        extra["requestId"] = uuid.uuid4().hex
        return ApiError(429, message, extra=extra, headers=headers)


def _expire(times: deque[int], now: int, window_ms: int) -> None:
    while times and (times[0] <= now - window_ms or times[0] > now):  # a clock moved back forgets too
        times.popleft()
