"""What marketing's tools saw: mail events, form submissions, list memberships, marketing events.

None of them has a change feed, so each stream does with what there is: a time window (mail events), newest first down to
the last reading (forms), a look at the item's own counters before its rows are read again (lists, marketing events).
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from connectors.hubspot.facts import Row, short_hash
from connectors.hubspot.feed import Feed, next_page
from connectors.hubspot.reading import load_state, save_state
from connectors.protocol import Cursor, Page
from connectors.values import clean_email, clean_text, parse_millis
from core.errors import Unexpected
from core.records import DAY_MS, ActivityRow, Millis

_SLICE_MS = 30 * DAY_MS
_MAIL_EVENT_ROWS = 1000
_MAIL_EVENT_TYPES = ("OPEN", "CLICK")
_SUBMISSION_ROWS = 50
_LISTS_A_PAGE = 500


class MailEvents:
    """Opens and clicks of marketing mail."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def read(self, cursor: Cursor | None, now: Millis) -> Iterator[Page]:
        """Opens and clicks by time window, in slices of 30 days."""
        stream = "email_events"
        digest = self._feed.facts.meaning.digests[stream]
        state = load_state(cursor, digest)
        horizon = self._feed.horizon(now)
        lo = self._feed.reach_back(state, now, now - self._feed.settings.email_events_days * DAY_MS)
        while True:
            hi = min(horizon, lo + _SLICE_MS)
            resume = save_state({"m": digest, "hi": lo + self._feed.overlap})
            done = save_state({"m": digest, "hi": max(hi, lo)})
            rows: list[Row] = []
            for rows, more in self._mail_pages(lo, hi):
                facts = self._feed.facts.each(stream, rows, self._mail_event)
                if more:
                    yield Page(stream, tuple(f for f in facts if f), resume)
            facts = self._feed.facts.each(stream, rows, self._mail_event)
            yield Page(stream, tuple(f for f in facts if f), done, final=hi >= horizon)
            if hi >= horizon:
                return
            lo = hi

    def _mail_pages(self, lo: Millis, hi: Millis) -> Iterator[tuple[list[Row], bool]]:
        wanted = [
            t
            for t in _MAIL_EVENT_TYPES
            if set(self._feed.table("email_events")({"type": t})) & self._feed.facts.meaning.kinds
        ]
        only = [("eventType", wanted[0])] if len(wanted) == 1 else []
        offset = ""
        while True:
            query = [("startTimestamp", str(lo)), ("endTimestamp", str(hi)), ("limit", str(_MAIL_EVENT_ROWS)), *only]
            if offset:
                query.append(("offset", offset))
            answer = self._feed.api.get("/email/public/v1/events", kind="stream", query=query)
            rows = answer.get("events")
            if not isinstance(rows, list):
                raise Unexpected("HubSpot's mail events have no list of events")
            more, following = bool(answer.get("hasMore")), str(answer.get("offset") or "")
            if more and (not following or following == offset):
                raise Unexpected("HubSpot's mail events do not advance")
            offset = following
            yield rows, more
            if not more:
                return

    def _mail_event(self, row: Row) -> ActivityRow | None:
        kinds = self._feed.table("email_events")(row)
        email = clean_email(row.get("recipient"))
        if not kinds or email is None:
            return None
        url = row.get("url")
        return self._feed.facts.by_address(
            "email_event",
            f"{row['created']}-{row['id']}",
            kinds,
            int(row["created"]),
            email=email,
            machine_suspect=row.get("filteredEvent") is True,
            url=clean_text(url) if isinstance(url, str) else None,
            campaign=str(row["emailCampaignId"]) if row.get("emailCampaignId") else None,
            channel="email",
        )


class Forms:
    """Submissions of every form that means something."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def read(self, cursor: Cursor | None, now: Millis) -> Iterator[Page]:
        """Submissions of every form that means something: newest first, down to the last reading."""
        digest = self._feed.facts.meaning.digests["forms"]
        state = load_state(cursor, digest) or {}
        since = self._feed.reach_back(state, now, 0)
        read_before = set(state.get("done") or ())
        done = sorted(read_before)
        for form in self._feed.rows("/marketing/v3/forms/"):
            kinds = self._feed.table("forms")(form)
            guid = str(form.get("id") or "")
            if not guid or not self._feed.in_use(kinds):
                continue
            resume = save_state({"m": digest, "hi": state.get("hi", 0), "done": done})
            for rows in self._submissions(guid, since if guid in read_before else 0):
                facts = self._feed.facts.each("forms", rows, partial(self._submission, form, kinds))
                yield Page("forms", tuple(facts), resume)
            if guid not in read_before:
                done.append(guid)
        final = save_state({"m": digest, "hi": self._feed.horizon(now), "done": done})
        yield Page("forms", (), final, final=True)

    def _submissions(self, guid: str, since: Millis) -> Iterator[list[Row]]:
        after = ""
        while True:
            query = [("limit", str(_SUBMISSION_ROWS)), *([("after", after)] if after else [])]
            answer = self._feed.api.get(
                "/form-integrations/v1/submissions/forms/{guid}", kind="stream", query=query, guid=guid
            )
            rows = answer.get("results") or []
            fresh = [row for row in rows if int(row.get("submittedAt") or 0) >= since]
            if fresh:
                yield fresh
            after = next_page(answer)
            if not after or len(fresh) < len(rows):
                return

    def _submission(self, form: Row, kinds: tuple[str, ...], row: Row) -> ActivityRow:
        values = {v["name"]: v.get("value") for v in row.get("values") or () if isinstance(v, Mapping) and "name" in v}
        email = clean_email(values.get("email"))
        at = int(row["submittedAt"])
        identifier = f"{form['id']}:{row.get('conversionId') or short_hash(at, email)}"
        url = row.get("pageUrl")
        return self._feed.facts.by_address(
            "form_submission",
            identifier,
            kinds if email else (),
            at,
            email=email,
            asset=clean_text(form.get("name") or ""),
            url=clean_text(url) if isinstance(url, str) else None,
            channel="form",
        )


class Lists:
    """Memberships of every list that means something."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def read(self, cursor: Cursor | None, now: Millis) -> Iterator[Page]:
        """Memberships of every list that means something, read again when the list's size or newest entry has changed."""
        digest = self._feed.facts.meaning.digests["lists"]
        state = load_state(cursor, digest) or {}
        seen: dict[str, list[Any]] = dict(state.get("lists") or {})
        since = self._feed.reach_back(state, now, 0)
        for entry in self._list_entries():
            kinds = self._feed.table("lists")(entry)
            identifier = str(entry.get("listId") or "")
            if not identifier or not self._feed.in_use(kinds):
                continue
            more = entry.get("additionalProperties") or {}
            mark = [more.get("hs_list_size"), more.get("hs_last_record_added_at")]
            if seen.get(identifier) == mark and (mark[1] is not None or mark[0] == "0"):
                continue
            resume = save_state({"m": digest, "hi": state.get("hi", 0), "lists": seen})
            oldest = since if identifier in seen else 0
            for rows in self._feed.pages("/crm/v3/lists/{list}/memberships", list=identifier):
                facts = self._feed.facts.each("lists", rows, partial(self._membership, entry, kinds, oldest))
                if found := tuple(f for f in facts if f):
                    yield Page("lists", found, resume)
            seen = {**seen, identifier: mark}
        yield Page("lists", (), save_state({"m": digest, "hi": self._feed.horizon(now), "lists": seen}), final=True)

    def _list_entries(self) -> Iterator[Row]:
        offset = 0
        while True:
            body = {"query": "", "count": _LISTS_A_PAGE, "offset": offset, "processingTypes": []}
            answer = self._feed.api.post("/crm/v3/lists/search", body)
            entries = answer.get("lists") or []
            yield from (e for e in entries if e.get("objectTypeId") in {None, "0-1"})
            following = answer.get("offset")
            if not answer.get("hasMore") or not isinstance(following, int) or following <= offset:
                return
            offset = following

    def _membership(self, entry: Row, kinds: tuple[str, ...], oldest: Millis, row: Row) -> ActivityRow | None:
        at = parse_millis(row["membershipTimestamp"])
        if at < oldest:
            return None
        name = str(entry.get("name") or "")
        found = self._feed.facts.meaning.list_url.search(name)
        return self._feed.facts.by_address(
            "list_membership",
            f"{entry['listId']}:{row['recordId']}",
            kinds,
            at,
            record=self._feed.facts.ref("contact", row["recordId"]),
            asset=clean_text(name),
            url=found[1] if found and found.groups() else None,
        )


class MarketingEvents:
    """Registrations and attendances, per event."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def read(self, cursor: Cursor | None, now: Millis) -> Iterator[Page]:
        """Participations per event, read again while the event's counters move."""
        stream = "marketing_events"
        digest = self._feed.facts.meaning.digests[stream]
        state = load_state(cursor, digest) or {}
        seen: dict[str, str] = dict(state.get("events") or {})
        for event in self._feed.rows("/marketing/v3/marketing-events/"):
            identifier = str(event.get("objectId") or "")
            if not identifier or (identifier in seen and self._is_over(event, now)):
                continue
            mark = self._counters(event, identifier)
            if seen.get(identifier) == mark:
                continue
            resume = save_state({"m": digest, "events": seen})
            path = "/marketing/v3/marketing-events/participations/{event}/breakdown"
            for rows in self._feed.pages(path, event=identifier):
                facts = self._feed.facts.each(stream, rows, partial(self._participation, event))
                yield Page(stream, tuple(facts), resume)
            seen = {**seen, identifier: mark}
        yield Page(stream, (), save_state({"m": digest, "events": seen}), final=True)

    def _is_over(self, event: Row, now: Millis) -> bool:
        ended = event.get("endDateTime") or event.get("startDateTime")
        return bool(ended) and parse_millis(str(ended)) < now - self._feed.settings.marketing_event_days * DAY_MS

    def _counters(self, event: Row, identifier: str) -> str:
        names = ("registrants", "attendees", "noShows", "cancellations")
        if any(event.get(name) is None for name in names):
            path = "/marketing/v3/marketing-events/participations/{event}"
            event, names = (
                self._feed.api.get(path, kind="stream", event=identifier),
                ("registered", "attended", "noShows", "cancelled"),
            )
        return "-".join(str(event.get(name)) for name in names)

    def _participation(self, event: Row, row: Row) -> ActivityRow:
        properties = row["properties"]
        told = {"eventType": event.get("eventType"), "eventName": event.get("eventName"), **properties}
        created = parse_millis(row["createdAt"])
        occurred = properties.get("occurredAt")
        at = created if occurred is None else occurred if isinstance(occurred, int) else parse_millis(str(occurred))
        contact = (row.get("associations") or {}).get("contact") or {}
        email = clean_email(contact.get("email"))
        person = contact.get("contactId")
        kinds = self._feed.table("marketing_events")(told) if person or email else ()
        duration = properties.get("attendanceDurationSeconds")
        return self._feed.facts.by_address(
            "participation",
            str(row["id"]),
            kinds,
            at,
            known_at=max(at, created),
            record=self._feed.facts.ref("contact", person) if person else None,
            email=email,
            asset=clean_text(str(event.get("eventName") or "")),
            duration=int(duration) if duration is not None else None,
            channel="event",
        )
