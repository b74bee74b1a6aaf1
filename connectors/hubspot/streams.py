"""The streams of one portal: what is asked for each, and how rows become facts."""

import logging
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, groupby

from connectors.hubspot.api import HubSpotApi
from connectors.hubspot.behaviour import Owners, WebEvents
from connectors.hubspot.deals import DealReader
from connectors.hubspot.facts import KINDS, FactReader, Row
from connectors.hubspot.feed import Feed
from connectors.hubspot.marketing import Forms, Lists, MailEvents, MarketingEvents
from connectors.hubspot.meaning import ENGAGEMENTS, Meaning
from connectors.hubspot.portal import PortalFacts
from connectors.hubspot.reading import ListedRow, ObjectReader, Query, load_state
from connectors.hubspot.settings import HubSpotSettings
from connectors.protocol import Cursor, Page
from core.errors import Forbidden, Gone, InvalidMapping, Unexpected
from core.records import REQUIRED_FIELDS, Account, Deal, Fact, Millis, Record, RecordRef, Tombstone

_UNMOVED = Cursor("")

_ABOUT_ROWS = 500
"""Rows of a page of what hangs on contacts: memory stays flat however many there are."""

_log = logging.getLogger(__name__)


class Streams:
    """Incremental reading, sweeps and single look-ups."""

    def __init__(
        self, system: str, api: HubSpotApi, settings: HubSpotSettings, facts: FactReader, portal: PortalFacts
    ) -> None:
        self._system = system
        self._api = api
        self._facts = facts
        self._portal = portal
        self._deal = DealReader(facts)
        self._full = facts.meaning
        self.lenient = False
        self.lacking: tuple[str, ...] = ()
        self.objects = ObjectReader(api, settings, self._facts.problem)
        feed = Feed(api, settings, facts)
        self.web_events = WebEvents(feed, self.objects)
        sources: dict[str, Callable[[Cursor | None, Millis], Iterator[Page]]] = {
            "email_events": MailEvents(feed).read,
            "forms": Forms(feed).read,
            "lists": Lists(feed).read,
            "marketing_events": MarketingEvents(feed).read,
            "web_events": self.web_events.read,
        }
        used = facts.meaning.tables
        self._sources = {"owners": Owners(feed).read} | {name: read for name, read in sources.items() if name in used}
        self._engagements = tuple(name for name in ENGAGEMENTS if name in used)
        self.names = ("contacts", "companies", "deals", *self._engagements, *self._sources)

    def read(self, after: Mapping[str, Cursor]) -> Iterator[Page]:
        """See `connectors.protocol.Connector.read`."""
        before = self._facts.problems.copy()
        now = self._portal.touch()
        if load_state(after.get("contacts"), self._full.digests["contacts"]) is None:
            self.check_mapping()
        for name in self.names:
            cursor = after.get(name)
            if name in self._sources:
                pages = self._sources[name](cursor, now)
            else:
                pages = self.objects.read(self.query(name), cursor, now, self._maker(name))
            try:
                yield from pages
            except Forbidden as error:
                if name in self._full.tables:
                    error.hint += f"; or leave the source out: mapping → activities → {name}: []"
                raise
        self._report_problems(before)

    def _report_problems(self, before: Counter[str]) -> None:
        """Say once a run what could not be read: places and numbers, never values."""
        for place, count in sorted((self._facts.problems - before).items()):
            more = {"connection": self._system, "place": place, "count": count}
            _log.info("values or rows could not be read", extra=more)

    def check_mapping(self, *, fresh: bool = False) -> None:
        """Hold the mapping against the portal; raises InvalidMapping."""
        wanted = replace(self._full, explicit=frozenset()) if self.lenient else self._full
        usable, findings = self._portal.check_mapping(wanted, self._system, fresh=fresh)
        self.lacking = tuple(finding.subject for finding in findings)
        self._facts.use(usable)

    def query(self, name: str) -> Query:
        """What is asked of an object stream."""
        meaning: Meaning = self._full
        digest = meaning.digests[name]
        if name == "contacts":
            past = meaning.history_properties()
            return Query(name, "lastmodifieddate", meaning.contact_properties, digest, ("companies",), past)
        if name == "companies":
            return Query(name, "hs_lastmodifieddate", meaning.company_properties, digest)
        if name == "deals":
            parts = ("contacts", "companies")
            return Query(name, "hs_lastmodifieddate", meaning.deal_properties, digest, parts, ("dealstage",))
        history = ("hs_meeting_outcome",) if name == "meetings" else ()
        return Query(name, "hs_lastmodifieddate", meaning.engagement_properties(name), digest, ("contacts",), history)

    # --- rows to facts ------------------------------------------------------------------------------------------

    def _maker(self, name: str) -> Callable[[Sequence[ListedRow]], list[Fact]]:
        if name == "contacts":
            return self._contacts
        if name == "companies":
            return self._companies
        return self._deals if name == "deals" else partial(self._engaged, name)

    def _contacts(self, rows: Sequence[ListedRow]) -> list[Fact]:
        self._notice_lost_properties(rows)
        records: list[Fact] = self._facts.each("contacts", rows, self._facts.record)
        if names := self._history_names():
            for changes in self._facts.each("contacts", rows, partial(self._facts.changes, "contacts", names=names)):
                records += changes
        return records

    def _history_names(self) -> dict[str, str]:
        fields = {sources[0]: name for name, sources in self._full.contact.items() if name in self._full.history}
        return {name: fields[name] for name in self._full.history_properties()}

    def _notice_lost_properties(self, rows: Sequence[ListedRow]) -> None:
        """HubSpot leaves undefined properties out of its rows silently; empty ones are null."""
        if not rows:
            return
        shown = rows[0].get("properties") or {}
        for field in REQUIRED_FIELDS:
            if not any(name in shown for name in self._full.contact.get(field, ())):
                self.check_mapping(fresh=True)
                raise InvalidMapping(
                    f"HubSpot no longer shows a property for {field}",
                    place=f"{self._system}: mapping.contact.fields.{field}",
                    hint="run mikomi doctor",
                )

    def _companies(self, rows: Sequence[ListedRow]) -> list[Fact]:
        accounts: list[Fact] = self._facts.each("companies", rows, self._facts.account)
        return accounts + self._absorbed("companies", rows)

    def _absorbed(self, name: str, rows: Sequence[ListedRow]) -> list[Fact]:
        """A merge mints a survivor that knows whom it absorbed; those show nowhere else."""
        found: list[Fact] = []
        for stones in self._facts.each(name, rows, partial(self._facts.absorbed, KINDS[name])):
            found += stones
        return found

    def _deals(self, rows: Sequence[ListedRow]) -> list[Fact]:
        if not rows:
            return []
        stages = self._portal.stages()
        if any((row.get("properties") or {}).get("dealstage") not in stages for row in rows):
            stages = self._portal.stages(fresh=True)
        currency = self._portal.home_currency()

        def read(row: Row) -> Fact:
            linked = row.get("linked") or {}
            company = next(iter(linked.get("companies") or ()), None)
            return self._deal.read(row, stages, linked.get("contacts") or (), company, currency)

        deals: list[Fact] = self._facts.each("deals", rows, read)
        for changes in self._facts.each(
            "deals", rows, partial(self._facts.changes, "deals", names={"dealstage": "stage"})
        ):
            deals += changes
        return deals + self._absorbed("deals", rows)

    def _engaged(self, name: str, rows: Sequence[ListedRow]) -> list[Fact]:
        def read(row: Row) -> Fact:
            return self._facts.engagement(name, row, (row.get("linked") or {}).get("contacts") or ())

        return self._facts.each(name, rows, read)

    # --- sweeps ---------------------------------------------------------------------------------------------------

    def sweep(self, known: Iterable[RecordRef]) -> Iterator[Page]:
        """Everything that windows cannot see.

        Contacts, companies and deals are listed whole: changed associations change no stamp. Archived rows of every type
        become tombstones. A known one that is in neither list was merged away, or deleted for good.
        """
        now = self._portal.touch()
        numbers = {kind: array("q") for kind in KINDS.values()}
        for ref in known:
            if ref.system == self._system and ref.kind in numbers and ref.id.isdigit():
                numbers[ref.kind].append(int(ref.id))
        missing = {kind: _Missing(ids) for kind, ids in numbers.items()}
        for name, kind in KINDS.items():
            for facts in self.objects.everything(self.query(name), self._maker(name)):
                missing[kind].cross_out(f.ref.id for f in facts if isinstance(f, (Record, Account, Deal)))
                yield Page(name, facts, _UNMOVED)
        for name in (*KINDS, *self._engagements):
            kind = KINDS.get(name, name.removesuffix("s"))
            for rows in self.objects.archived(name):
                stones = self._facts.each(name, rows, partial(self._facts.tombstone, kind, now=now))
                if kind in missing:
                    missing[kind].cross_out(stone.ref.id for stone in stones)
                yield Page(name, tuple(stones), _UNMOVED)
        for name, kind in KINDS.items():
            traced = (self._trace(name, identifier, now) for identifier in missing[kind].left())
            yield Page(name, tuple(stone for stone in traced if stone is not None), _UNMOVED, final=True)

    def _trace(self, name: str, identifier: str, now: Millis) -> Tombstone | None:
        """Where a record went that is in no list: only a single read follows merges. None: it is there after all."""
        kind = KINDS[name]
        try:
            path = "/crm/v3/objects/{type}/{id}"
            row = self._api.get(path, query=[("properties", "hs_object_id")], type=name, id=identifier)
        except Gone:
            return Tombstone(self._facts.ref(kind, identifier), now, permanent=True)
        if not str(row.get("id")).isdecimal():
            raise Unexpected(f"HubSpot's row of one of the {name} has no id", system=self._system)
        survivor = self._facts.ref(kind, row["id"])
        ref = self._facts.ref(kind, identifier)
        return Tombstone(ref, now, survivor) if survivor != ref else None

    def read_about(self, refs: Sequence[RecordRef]) -> Iterator[Page]:
        """See `connectors.protocol.Connector.read_about`.

        What hangs on a contact names it only by association: those of a restored contact come back with no new stamp.
        """
        self._portal.touch()
        contacts = list(dict.fromkeys(ref.id for ref in refs if ref.kind == "contact"))
        for name in ("deals", *self._engagements) if contacts else ():
            linked = self.objects.linked_ids("contacts", name, contacts)
            ids = list(dict.fromkeys(chain.from_iterable(linked.values())))
            for start in range(0, len(ids), _ABOUT_ROWS):
                rows = self.objects.by_ids(self.query(name), ids[start : start + _ABOUT_ROWS])
                yield Page(name, tuple(self._maker(name)(rows)), _UNMOVED)

    def fetch(self, refs: Sequence[RecordRef]) -> list[Record | Tombstone]:
        """See `connectors.protocol.Connector.fetch`."""
        now = self._portal.touch()
        query = self.query("contacts")
        plain = replace(query, history=())
        ids = list(dict.fromkeys(ref.id for ref in refs))
        found = {row["id"]: row for row in self.objects.by_ids(plain, ids)}
        answers: dict[str, Record | Tombstone] = {}
        for identifier in ids:
            row = found.get(identifier)
            answers[identifier] = self._one(row) if row else self._find(identifier, now)
        return [answers[ref.id] for ref in refs]

    def _find(self, identifier: str, now: Millis) -> Record | Tombstone:
        """A contact that lists and batches do not know: only a single read follows merges."""
        ref = self._facts.ref("contact", identifier)
        query = [("properties", ",".join(self.query("contacts").properties))]
        try:
            row = self._api.get("/crm/v3/objects/{type}/{id}", query=query, type="contacts", id=identifier)
        except Gone:
            return Tombstone(ref, now)
        row["linked"] = {"companies": self.objects.linked_ids("contacts", "companies", [row["id"]]).get(row["id"], [])}
        record = self._one(row)
        return record if record.ref == ref else Tombstone(ref, now, record.ref)

    def _one(self, row: Row) -> Record:
        found = self._facts.each("contacts", [row], self._facts.record)
        if not found:
            raise Unexpected("HubSpot's row of a contact cannot be read")
        record: Record = found[0]
        return record


class _Missing:
    """Known ids, of which those seen are crossed out: nine bytes each, so that a million fit."""

    def __init__(self, ids: Iterable[int]) -> None:
        self._ids = array("q", (i for i, _ in groupby(sorted(ids))))
        self._seen = bytearray(len(self._ids))

    def cross_out(self, ids: Iterable[str]) -> None:
        for identifier in ids:
            number = int(identifier)
            place = bisect_left(self._ids, number)
            if place < len(self._ids) and self._ids[place] == number:
                self._seen[place] = 1

    def left(self) -> Iterator[str]:
        return (str(i) for i, seen in zip(self._ids, self._seen, strict=True) if not seen)
