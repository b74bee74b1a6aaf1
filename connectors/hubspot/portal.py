"""What is known about a portal beside its records: account, pipelines, properties. Asked for once a day."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from connectors.hubspot.api import HubSpotApi
from connectors.hubspot.deals import Stages
from connectors.hubspot.meaning import Meaning, without_missing
from connectors.mapping import check_fields
from connectors.protocol import Finding
from core.errors import Forbidden, Gone
from core.records import DAY_MS, Millis, day_start, local_day

DAILY_PRIVATE = {250_000: "Free or Starter", 625_000: "Professional", 650_000: "Professional", 1_000_000: "Enterprise"}


class PortalFacts:
    """Descriptions of the portal, each remembered for 24 hours of the portal's time."""

    def __init__(self, api: HubSpotApi) -> None:
        self._api = api
        self._kept: dict[str, tuple[Millis, Any]] = {}
        api.next_reset = self.next_reset

    def touch(self) -> Millis:
        """Ask for the account's details, so that the portal's time is fresh; returns that time."""
        self._keep("account", self._api.get("/account-info/v3/details"))
        return self._api.now()

    def forget(self) -> None:
        """Ask for everything anew when it is next needed."""
        self._kept.clear()

    def account(self) -> Mapping[str, Any]:
        return self._ask("account", "/account-info/v3/details")

    def home_currency(self) -> str | None:
        return self.account().get("companyCurrency")

    def next_reset(self) -> Millis | None:
        """When the daily quota begins anew: midnight in the portal's time zone; None while that is unknown."""
        known = self._kept.get("account")
        now = self._api.server_now
        if known is None or now is None:
            return None
        try:
            zone = ZoneInfo(str(known[1].get("timeZone")))
        except (ZoneInfoNotFoundError, ValueError):
            return now - now % DAY_MS + DAY_MS
        return day_start(local_day(now, zone) + 1, zone)

    def stages(self, *, fresh: bool = False) -> Stages:
        """Every deal stage: whether it closes the deal, and as won."""
        if fresh:
            self._kept.pop("pipelines", None)
        found = {}
        for pipeline in self._ask("pipelines", "/crm/v3/pipelines/{type}", "deals").get("results") or ():
            for stage in pipeline.get("stages") or ():
                told = stage.get("metadata") or {}
                closed = str(told.get("isClosed")).lower() == "true"
                found[str(stage["id"])] = (closed, closed and _number(told.get("probability")) >= 1.0)
        return found

    def properties(self, object_type: str, *, fresh: bool = False) -> Mapping[str, Mapping[str, Any]]:
        """Property definitions by name."""
        key = f"properties/{object_type}"
        if fresh:
            self._kept.pop(key, None)
        answer = self._ask(key, "/crm/v3/properties/{type}", object_type)
        return {str(p["name"]): p for p in answer.get("results") or ()}

    def property(self, object_type: str, name: str) -> Mapping[str, Any] | None:
        """One definition as it is now; None if there is none."""
        try:
            return self._api.get("/crm/v3/properties/{type}/{name}", type=object_type, name=name)
        except Gone:
            return None

    def check_mapping(
        self, meaning: Meaning, system: str, *, fresh: bool = False
    ) -> tuple[Meaning, tuple[Finding, ...]]:
        """The mapping restricted to what exists. Raises InvalidMapping where something required is missing."""
        contact, first = check_fields(
            meaning.contact,
            self.properties("contacts", fresh=fresh),
            place=f"{system}: mapping.contact.fields",
            explicit={name for part, name in meaning.explicit if part == "contact"},
        )
        company, second = check_fields(
            meaning.company,
            self.properties("companies", fresh=fresh),
            place=f"{system}: mapping.company.fields",
            explicit={name for part, name in meaning.explicit if part == "company"},
            required=(),
        )
        return without_missing(meaning, contact, company), first + second

    def daily_usage(self) -> tuple[int, int, datetime | None] | None:
        """(calls used today by all private apps, limit, reset); None where the portal does not say (OAuth)."""
        try:
            answer = self._api.get("/account-info/v3/api-usage/daily/private-apps")
        except Forbidden:
            return None
        for row in answer.get("results") or ():
            used, limit = row.get("currentUsage"), row.get("usageLimit")
            if isinstance(used, int) and isinstance(limit, int):
                resets = row.get("resetsAt")
                return used, limit, datetime.fromisoformat(resets) if resets else None
        return None

    def _ask(self, key: str, path: str, object_type: str | None = None) -> Mapping[str, Any]:
        kept = self._kept.get(key)
        now = self._api.server_now
        if kept is not None and (now is None or now - kept[0] < DAY_MS):
            answer: Mapping[str, Any] = kept[1]
            return answer
        return self._keep(key, self._api.get(path, type=object_type) if object_type else self._api.get(path))

    def _keep(self, key: str, answer: Mapping[str, Any]) -> Mapping[str, Any]:
        self._kept[key] = (self._api.now(), answer)
        return answer


def edition_of(limit: int | None, *, web_events: bool) -> str:
    """A guess: HubSpot tells no edition. From the daily limit and whether the events API answers."""
    if web_events:
        return "Enterprise"
    return DAILY_PRIVATE.get(limit or 0, "unknown")


def _number(value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        return 0.0
