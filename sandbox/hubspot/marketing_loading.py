"""Bulk loads of marketing data: forms, submissions, email events, lists, webinars, web events."""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from sandbox.hubspot.events import web_event_row
from sandbox.hubspot.lists import put_list
from sandbox.hubspot.marketing import email_event_row, put_form, submission_row
from sandbox.hubspot.marketing_events import participation_row, put_event
from sandbox.hubspot.portal import Portal

CHUNK = 5_000
Rows = Iterable[Mapping[str, Any]]


class MarketingLoading:
    """Rows in the shapes that the APIs show, into the account of `portal`. Loading a row twice changes nothing."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal

    def load_forms(self, rows: Rows) -> None:
        """{"id", "name", "formType"?, "createdAt"?, …}."""
        with self._portal.store.transaction():
            for row in rows:
                put_form(self._portal, dict(row))

    def load_form_submissions(self, rows: Rows) -> None:
        """{"formId", "conversionId", "submittedAt": ms, "pageUrl"?, "values": [{"name", "value"}]}."""
        self._insert("form_submission VALUES (?, ?, ?, ?)", (submission_row(dict(row)) for row in rows))

    def load_email_events(self, rows: Rows) -> None:
        """Email events in their v1 shape: {"id", "created": ms, "type", "recipient", "emailCampaignId", …}."""
        portal_id = self._portal.options.portal_id
        entries = (email_event_row(portal_id, dict(row)) for row in rows)
        self._insert("email_event VALUES (?, ?, ?, ?, ?, ?, ?)", entries)

    def load_lists(self, rows: Rows) -> None:
        """{"listId", "name", "objectTypeId"?, "processingType"?, "createdAt"?}."""
        with self._portal.store.transaction():
            for row in rows:
                put_list(self._portal, dict(row))

    def load_memberships(self, rows: Rows) -> None:
        """{"listId", "recordId", "joined_ms"}."""
        entries = ((int(row["listId"]), int(row["recordId"]), int(row["joined_ms"])) for row in rows)
        self._insert("membership VALUES (?, ?, ?)", entries)

    def load_marketing_events(self, rows: Rows) -> None:
        """{"objectId", "eventName", "eventType"?, "startDateTime"?, "endDateTime"?, "externalEventId"?, …}."""
        with self._portal.store.transaction():
            for row in rows:
                put_event(self._portal, dict(row))

    def load_participations(self, rows: Rows) -> None:
        """{"eventId", "contactId", "state", "occurred_ms", "created_ms"?, "percentage"?, "duration_s"?}."""
        now = self._portal.clock.now_ms()
        columns = "event_id, contact_id, state, occurred_ms, created_ms, percentage, duration_s"
        entries = (participation_row(dict(row), now) for row in rows)
        self._insert(f"participation ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)", entries)

    def load_web_events(self, rows: Rows) -> None:
        """{"id"?, "objectType"?, "objectId", "eventType", "occurredAt" or "occurred_ms", "properties"}."""
        self._insert("web_event VALUES (?, ?, ?, ?, ?, ?)", (web_event_row(dict(row)) for row in rows))

    def _insert(self, target: str, rows: Iterable[tuple[Any, ...]]) -> None:
        waiting = iter(rows)
        while chunk := list(islice(waiting, CHUNK)):
            with self._portal.store.transaction():
                self._portal.store.db.executemany(f"INSERT OR IGNORE INTO {target}", chunk)
