"""Can this portal be worked with? Each line ok, or what to do. Reads only."""

from collections.abc import Callable, Iterator
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from connectors.hubspot.api import SEARCH_PATH, HubSpotApi
from connectors.hubspot.meaning import ENGAGEMENTS, Meaning
from connectors.hubspot.permissions import READ_SCOPES, SETUP_SCOPES, WRITE_SCOPES
from connectors.hubspot.portal import PortalFacts, edition_of
from connectors.hubspot.setup import TASK_KEY_NAME, Setup
from connectors.hubspot.streams import Streams
from connectors.hubspot.wording import Wording
from connectors.protocol import Diagnosis, Finding, Signal
from core.errors import ConnectorError, InvalidMapping
from core.records import DAY_MS, Millis

SIGNAL_DAYS = 90


class Doctor:
    """One examination of one portal."""

    def __init__(
        self,
        system: str,
        api: HubSpotApi,
        portal: PortalFacts,
        streams: Streams,
        setup: Setup,
        meaning: Meaning,
        wording: Wording,
        share_percent: float,
    ) -> None:
        self._system = system
        self._api = api
        self._portal = portal
        self._streams = streams
        self._setup = setup
        self._meaning = meaning
        self._say = wording
        self._share = share_percent
        self._web_events = False

    def examine(self) -> Diagnosis:
        """All findings and the table of signals; faults become findings, never exceptions."""
        try:
            now = self._portal.touch()
        except ConnectorError as error:
            return Diagnosis((self._fault("connection", error),))
        findings = [self._connection()]
        parts: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
            ("edition", self._edition),
            ("permissions", self._readable),
            ("scopes", self._writable),
            ("mapping", self._mapping),
            ("fields", self._fields),
            ("quota", self._quota),
        ]
        for subject, part in parts:
            try:
                findings += part()
            except (ConnectorError, InvalidMapping) as error:
                findings.append(self._fault(subject, error))
        return Diagnosis(tuple(findings), tuple(self._signals(now)))

    def _fault(self, subject: str, error: ConnectorError | InvalidMapping) -> Finding:
        message = str(error) if isinstance(error, InvalidMapping) else error.message
        return Finding("error", f"{self._system}: {subject}", message, error.hint or "mikomi doctor")

    def _line(self, subject: str, key: str, **values: str) -> Finding:
        return Finding("ok", f"{self._system}: {subject}", self._say(key, **values))

    def _connection(self) -> Finding:
        account = self._portal.account()
        return self._line(
            "connection",
            "connected",
            portal=str(account.get("portalId")),
            zone=str(account.get("timeZone")),
            currency=str(account.get("companyCurrency")),
        )

    def _edition(self) -> Iterator[Finding]:
        self._web_events = self._streams.web_events.available()
        limit = self._api.daily[1] if self._api.daily else None
        edition = edition_of(limit, web_events=self._web_events)
        yield Finding("info", f"{self._system}: edition", self._say("edition", edition=edition))
        yield Finding("info", f"{self._system}: API", self._say("api"))

    def _readable(self) -> Iterator[Finding]:
        for name in ("contacts", "companies", "deals", *(n for n in ENGAGEMENTS if n in self._meaning.tables)):
            subject = f"{self._system}: {name}"
            try:
                rows = self._streams.objects.count(name)
            except ConnectorError as error:
                yield Finding("error", subject, self._say("unreadable", object=name, error=error.message), error.hint)
                continue
            if rows == 0 and name == "contacts":
                yield Finding("warning", subject, self._say("no_rows", object=name), self._say("no_rows_hint"))
            else:
                yield Finding(
                    "ok", subject, self._say("readable", object=name, rows=f"{rows:,}" if rows is not None else "?")
                )
        self._portal.stages()

    def _writable(self) -> Iterator[Finding]:
        granted = self._api.scopes()
        subject = f"{self._system}: scopes"
        if granted is None:
            yield Finding("info", subject, self._say("scopes_unknown"))
            return
        reading = (READ_SCOPES[name] for name in self._streams.names if name in READ_SCOPES)
        needed = (*dict.fromkeys(reading), *WRITE_SCOPES)
        missing = [s for s in needed if s not in granted]
        lacking = [s for s in SETUP_SCOPES if s not in granted]
        if lacking and self._is_set_up():
            lacking = []  # setup has done its work: nobody needs them any more
        names = ", ".join((*missing, *lacking))
        if missing:
            said, hint = self._say("scopes_missing", scopes=names), self._say("scopes_hint", scopes=names)
            yield Finding("error", subject, said, hint)
        elif lacking:
            said, hint = self._say("setup_scopes_missing", scopes=names), self._say("setup_scopes_hint", scopes=names)
            yield Finding("warning", subject, said, hint)
        else:
            yield self._line("scopes", "scopes_ok")

    def _is_set_up(self) -> bool:
        return all(step.done for step in self._setup.plan(fresh=False))

    def _mapping(self) -> Iterator[Finding]:
        _, findings = self._portal.check_mapping(self._meaning, self._system, fresh=True)
        yield from findings
        if not findings:
            yield self._line("mapping", "mapping_ok")

    def _fields(self) -> Iterator[Finding]:
        steps = [s for s in self._setup.plan() if not s.name.endswith(".group")]
        subject = f"{self._system}: fields"
        for step in steps:
            if step.blocked:
                yield Finding("error", f"{self._system}: {step.name}", step.blocked)
        missing = [s.name.partition(".")[2] for s in steps if not s.done and not s.blocked]
        if missing:
            yield Finding(
                "warning", subject, self._say("fields_missing", names=", ".join(missing)), self._say("setup_hint")
            )
        elif all(s.done for s in steps):
            yield self._line("fields", "fields_ok", count=str(len(steps)))
            if self._setup.is_key_unique():
                yield self._line("tasks", "key_ok", name=TASK_KEY_NAME)
            else:
                yield Finding("info", f"{self._system}: tasks", self._say("key_plain", name=TASK_KEY_NAME))

    def _quota(self) -> Iterator[Finding]:
        usage = self._portal.daily_usage()
        subject = f"{self._system}: quota"
        if usage is None:
            yield Finding("info", subject, self._say("quota_unknown"))
            return
        used, limit, resets = usage
        text = self._say("quota", used=f"{used:,}", limit=f"{limit:,}", resets=self._local(resets))
        if used < limit * self._share / 100:
            yield Finding("ok", subject, text)
        else:
            share = f"{self._share:g}"
            yield Finding(
                "warning", subject, f"{text}. {self._say('quota_high', share=share)}", self._say("quota_hint")
            )

    def _local(self, at: datetime | None) -> str:
        """A time as people in the portal's time zone read it."""
        if at is None:
            return "?"
        try:
            zone = ZoneInfo(str(self._portal.account().get("timeZone")))
        except (ZoneInfoNotFoundError, ValueError):
            return at.isoformat(timespec="minutes")
        return at.astimezone(zone).strftime("%Y-%m-%d %H:%M")

    # --- signals ------------------------------------------------------------------------------------------------

    def _signals(self, now: Millis) -> Iterator[Signal]:
        since = now - SIGNAL_DAYS * DAY_MS
        covered: set[str] = set()
        for origin, table in self._meaning.tables.items():
            kinds = sorted(table.kinds & self._meaning.kinds)
            covered |= set(kinds)
            rows, note, available = self._count(origin, since)
            for kind in kinds:
                yield Signal(kind, origin, available, rows, note)
        for kind in sorted(self._meaning.kinds - covered):
            yield Signal(kind, "", available=False, note=self._say("no_source"))

    def _count(self, origin: str, since: Millis) -> tuple[int | None, str, bool]:
        """(rows, note, available) of one source in the last 90 days, as cheaply as its API allows."""
        try:
            if origin in ENGAGEMENTS:
                return self._found(origin, "hs_timestamp", since), self._say("all_kinds"), True
            if origin == "forms":
                return self._found("contacts", "recent_conversion_date", since), self._say("contacts_counted"), True
            if origin == "web_events":
                if not self._web_events:
                    return None, self._say("enterprise"), False
                found = self._found("contacts", "hs_analytics_last_timestamp", since)
                return found, self._say("contacts_counted"), True
            self._touch_source(origin, since)
        except ConnectorError as error:
            return None, error.message, False
        return None, self._say("not_counted"), True

    def _touch_source(self, origin: str, since: Millis) -> None:
        """One cheap call, to see whether the source answers at all."""
        if origin == "email_events":
            query = [("startTimestamp", str(since)), ("limit", "1")]
            self._api.get("/email/public/v1/events", query=query)
        elif origin == "lists":
            self._api.post("/crm/v3/lists/search", {"query": "", "count": 1, "offset": 0, "processingTypes": []})
        else:
            self._api.get("/marketing/v3/marketing-events/", query=[("limit", "1")])

    def _found(self, object_type: str, stamp: str, since: Millis) -> int | None:
        body: dict[str, object] = {
            "filterGroups": [{"filters": [{"propertyName": stamp, "operator": "GTE", "value": str(since)}]}],
            "properties": ["hs_object_id"],
            "limit": 1,
            "after": "0",
        }
        total = self._api.post(SEARCH_PATH, body, type=object_type).get("total")
        return total if isinstance(total, int) else None
