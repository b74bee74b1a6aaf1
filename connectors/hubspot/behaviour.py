"""Web events, where the edition has them, and owners."""

from collections.abc import Iterator
from functools import partial

from connectors.hubspot.facts import Row
from connectors.hubspot.feed import Feed
from connectors.hubspot.reading import ObjectReader, Query, load_state, save_state
from connectors.protocol import Cursor, Page
from connectors.values import clean_text, parse_millis
from core.errors import Forbidden
from core.records import DAY_MS, ActivityRow, Fact, Millis, to_datetime


class WebEvents:
    """Page views (Enterprise). The API answers for one contact a call, so only for those whose last visit moved."""

    def __init__(self, feed: Feed, objects: ObjectReader) -> None:
        self._feed = feed
        self._objects = objects

    def read(self, cursor: Cursor | None, now: Millis) -> Iterator[Page]:
        """Page views of contacts whose last visit moved: one search window, then one call per contact."""
        stream = "web_events"
        digest = self._feed.facts.meaning.digests[stream]
        state = load_state(cursor, digest) or {}
        if int(state.get("off_until") or 0) > now:
            yield Page(stream, (), save_state(state), final=True)
            return
        if not self.available():
            yield Page(stream, (), save_state({"m": digest, "off_until": now + DAY_MS}), final=True)
            return
        horizon = self._feed.horizon(now)
        window = state if "last" in state else {}
        lo = int(
            window.get("lo") or self._feed.reach_back(state, now, now - self._feed.settings.web_events_days * DAY_MS)
        )
        hi, last = int(window.get("hi") or horizon), int(window.get("last") or 0)
        query = Query("contacts", "hs_analytics_last_timestamp", ("hs_object_id",), digest)
        while True:
            # no upper bound: who comes back during the reading would leave the window with the earlier views unread
            rows, left = self._objects.search_page(query, lo, None, last)
            facts = [fact for row in rows for fact in self._views(str(row["id"]), lo)]
            if left <= 0 or not rows:
                yield Page(stream, tuple(facts), save_state({"m": digest, "hi": hi}), final=True)
                return
            last = max(int(row["id"]) for row in rows)
            yield Page(stream, tuple(facts), save_state({"m": digest, "lo": lo, "hi": hi, "last": last}))

    def available(self) -> bool:
        """Whether this token reads the events API. Below Enterprise its scopes cannot be granted: the same 403."""
        try:
            self._feed.api.get("/events/v3/events/event-types")
        except Forbidden:
            return False
        return True

    def _views(self, contact: str, since: Millis) -> list[Fact]:
        query = [("objectType", "contact"), ("objectId", contact), ("eventType", "e_visited_page")]
        query.append(("occurredAfter", _iso(since)))
        found: list[Fact] = []
        for rows in self._feed.pages("/events/v3/events/", query):
            found += self._feed.facts.each("web_events", rows, partial(self._view, contact))
        return found

    def _view(self, contact: str, row: Row) -> ActivityRow:
        properties = row.get("properties") or {}
        url = properties.get("hs_url") or properties.get("hs_page_url")
        title = properties.get("hs_title") or properties.get("hs_page_title")
        return self._feed.facts.by_address(
            "web_event",
            str(row["id"]),
            self._feed.table("web_events")(row),
            parse_millis(row["occurredAt"]),
            record=self._feed.facts.ref("contact", contact),
            url=clean_text(str(url)) if url else None,
            asset=clean_text(str(title)) if title else None,
            channel="web",
        )


class Owners:
    """Users and queues that own records."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def read(self, cursor: Cursor | None, now: Millis) -> Iterator[Page]:
        """All users, removed ones too; once a day."""
        state = load_state(cursor, "owners")
        if state and now - int(state.get("at") or 0) < DAY_MS:
            yield Page("owners", (), save_state(state), final=True)
            return
        facts: list[Fact] = []
        for archived in ("false", "true"):
            rows = list(self._feed.rows("/crm/v3/owners/", [("archived", archived)]))
            facts += self._feed.facts.each("owners", rows, self._feed.facts.owner)
        yield Page("owners", tuple(facts), save_state({"m": "owners", "at": now}), final=True)


def _iso(at: Millis) -> str:
    return to_datetime(at).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at % 1000:03d}Z"
