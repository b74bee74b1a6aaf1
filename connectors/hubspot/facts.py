"""HubSpot's rows as facts. A row that cannot be read is counted and left out; it never stops its page."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import tzinfo
from typing import Any

from connectors.fields import OutputField
from connectors.hubspot.meaning import OWN_PROPERTIES, Meaning
from connectors.mapping import compile_fields
from connectors.soundness import UNREADABLE, check
from connectors.values import LocalDays, clean_emails, clean_text, parse_day, parse_millis, to_flag, to_number
from core.records import (
    Account,
    Activity,
    ActivityRow,
    Change,
    Consent,
    Millis,
    Owner,
    Record,
    RecordRef,
    Tombstone,
    Value,
)

Row = Mapping[str, Any]
KINDS = {"contacts": "contact", "companies": "account", "deals": "deal"}
"""Object type to our kind; engagements keep HubSpot's singular name."""

_CONSENT_FALSE = frozenset({"", "0", "false"})
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"


class FactReader:
    """Turns rows into facts of one connection.

    Attributes:
        problems: what could not be read, by place, e.g. `contacts.annual_revenue`; values are never kept.
    """

    def __init__(self, system: str, meaning: Meaning, zone: tzinfo, linked_system: str | None) -> None:
        self.system = system
        self.problems: Counter[str] = Counter()
        self.day_of = LocalDays(zone)
        self._linked = linked_system
        self.use(meaning)

    def use(self, meaning: Meaning) -> None:
        """Read by this mapping from now on."""
        self.meaning = meaning
        self._contact_fields = compile_fields(meaning.contact, lambda name: self.problem(f"contacts.{name}"))
        self._company_fields = compile_fields(meaning.company, lambda name: self.problem(f"companies.{name}"))
        self._email_sources = (*meaning.contact.get("email", ()), *meaning.more_emails)
        self._bounced = meaning.consent["bounced"]

    @property
    def linked_system(self) -> str | None:
        """Connection name of the Salesforce that HubSpot's native sync joins to this portal."""
        return self._linked

    def problem(self, place: str) -> None:
        self.problems[place] += 1

    def ref(self, kind: str, identifier: object) -> RecordRef:
        return RecordRef(self.system, kind, str(identifier))

    def each(self, place: str, rows: Iterable[Row], read: Callable[[Row], Any]) -> list[Any]:
        """`read` of every row that can be read, in order; the others are counted."""
        facts = []
        for row in rows:
            try:
                fact = read(row)
                if isinstance(fact, list):
                    fact = [check(one, self.problem) for one in fact]
                elif fact is not None:
                    fact = check(fact, self.problem)
                facts.append(fact)
            except UNREADABLE:
                self.problem(f"{place}.row")
        return facts

    # --- records ----------------------------------------------------------------------------------------------------

    def record(self, row: Row) -> Record:
        properties = row["properties"]
        get = properties.get
        emails = clean_emails(*[get(name) for name in self._email_sources])
        fields = self._contact_fields(properties)
        if emails:
            fields["email"] = emails[0]
        else:
            fields.pop("email", None)
        written: dict[str, Value] = {}
        answers: dict[str, Value] = {}
        for name, field in OWN_PROPERTIES.items():
            raw = get(name)
            if raw is not None and raw != "":
                value = self._own_value(field, raw)
                if value is not None:
                    (answers if field.by_rep else written)[field.name] = value
        linked = row.get("linked")
        company = (linked and linked["companies"] and linked["companies"][0]) or get("associatedcompanyid")
        merged = get("hs_merged_object_ids")
        identifier = row["id"]
        return Record(
            RecordRef(self.system, "contact", identifier),
            fields,
            parse_millis(row["createdAt"]),
            parse_millis(row["updatedAt"]),
            emails,
            get("hubspot_owner_id") or None,
            RecordRef(self.system, "account", company) if company else None,
            self._links(properties),
            None,
            tuple(i for i in merged.split(";") if i and i != identifier) if merged else (),
            self._consent(get),
            answers,
            written,
        )

    def account(self, row: Row) -> Account:
        properties = row["properties"]
        parent = properties.get(self.meaning.parent) if self.meaning.parent else None
        return Account(
            RecordRef(self.system, "account", row["id"]),
            self._company_fields(properties),
            parse_millis(row["updatedAt"]),
            RecordRef(self.system, "account", parent) if parent else None,
            properties.get("hubspot_owner_id") or None,
        )

    def tombstone(self, kind: str, row: Row, now: Millis) -> Tombstone:
        gone = row.get("archivedAt")
        return Tombstone(self.ref(kind, row["id"]), parse_millis(gone) if gone else now)

    def absorbed(self, kind: str, row: Row) -> list[Tombstone]:
        """One for each record that was merged into this one."""
        merged = row["properties"].get("hs_merged_object_ids") or ""
        at, survivor = parse_millis(row["updatedAt"]), self.ref(kind, row["id"])
        return [Tombstone(self.ref(kind, i), at, survivor) for i in merged.split(";") if i and i != row["id"]]

    def _links(self, properties: Row) -> tuple[RecordRef, ...]:
        if not self._linked:
            return ()
        found = [(kind, properties.get(name)) for kind, name in self.meaning.links.items()]
        return tuple(RecordRef(self._linked, kind, long_id(value)) for kind, value in found if value)

    def _consent(self, get: Callable[[str], Any]) -> Consent:
        consent = self.meaning.consent
        optout = next((f for n in consent["email_opt_out"] if (f := to_flag(get(n))) is not None), None)
        no_call = next((f for n in consent["do_not_call"] if (f := to_flag(get(n))) is not None), None)
        basis = next((b for n in consent["legal_basis"] if (b := get(n))), None)
        bounces = [v for n in self._bounced if (v := get(n)) is not None]
        bounced = any(str(v).lower() not in _CONSENT_FALSE for v in bounces) if bounces else None
        if optout is no_call is bounced is basis is None:
            return _NO_CONSENT
        return Consent(optout, no_call, bounced, clean_text(basis) if basis else None)

    def _own_value(self, field: OutputField, raw: str) -> Value:
        try:
            if field.type == "integer":
                return int(float(raw))
            if field.type == "date":
                return parse_day(raw[:10])
            if field.type == "datetime":
                return parse_millis(raw)
        except (ValueError, TypeError, OverflowError):
            self.problem(f"contacts.mikomi_{field.name}")
            return None
        return raw

    def changes(self, object_type: str, row: Row, names: Mapping[str, str]) -> list[Change]:
        """History of the properties in `names` (property to our field); each version is a change from the one before."""
        found = []
        kind = KINDS[object_type]
        for name, field in names.items():
            versions = (row.get("propertiesWithHistory") or {}).get(name) or []
            for place, version in enumerate(versions):  # newest first
                stamp = version.get("timestamp")
                if not stamp:
                    self.problem(f"{object_type}.history")
                    continue
                old = versions[place + 1].get("value") if place + 1 < len(versions) else None
                found.append(
                    Change(
                        source=self.ref("history", f"{object_type}:{row['id']}:{name}:{stamp}"),
                        ref=self.ref(kind, row["id"]),
                        field=field,
                        old=clean_text(old) if old else None,
                        new=clean_text(version["value"]) if version.get("value") else None,
                        at=parse_millis(stamp),
                        by=str(version.get("updatedByUserId") or version.get("sourceType") or "") or None,
                    )
                )
        return found

    # --- activities -------------------------------------------------------------------------------------------------

    def engagement(self, stream: str, row: Row, people: Sequence[str]) -> ActivityRow:
        """One call, meeting, e-mail or note, for each contact it is associated with."""
        properties = row["properties"]
        source = self.ref(stream.removesuffix("s"), row["id"])
        kinds = self.meaning.tables[stream](properties)
        start = properties.get("hs_meeting_start_time") if stream == "meetings" else None
        stamp = start or properties.get("hs_timestamp") or properties.get("hs_createdate") or row["createdAt"]
        occurred = parse_millis(stamp)
        known, inexact = self._known(stream, row, occurred)
        if not kinds or not people:
            return ActivityRow(source, ())
        duration = to_number(properties.get("hs_call_duration")) if stream == "calls" else None
        if stream == "meetings" and start and (end := properties.get("hs_meeting_end_time")):
            duration = max(0, parse_millis(end) - occurred)
        direction = properties.get("hs_call_direction") or properties.get("hs_email_direction")
        title = properties.get("hs_call_title") or properties.get("hs_meeting_title")
        return ActivityRow(
            source,
            tuple(
                Activity(
                    source,
                    kind,
                    occurred,
                    known,
                    self.day_of(occurred),
                    record=RecordRef(self.system, "contact", person),
                    known_inexact=inexact,
                    asset=clean_text(title) if title else None,
                    direction=_DIRECTIONS.get(direction or ""),
                    duration=round(duration / 1000) if duration is not None else None,
                )
                for kind in kinds
                for person in people
            ),
        )

    def _known(self, stream: str, row: Row, occurred: Millis) -> tuple[Millis, bool]:
        """When HubSpot first showed it, and whether that is an estimate.

        Creation fixes the meaning of calls and mails. A meeting's is fixed by its outcome: the history says when that was
        entered; without history the start is the best guess. A planned meeting counts as held once it has begun.
        """
        properties = row["properties"]
        created = parse_millis(properties.get("hs_createdate") or row["createdAt"])
        least = max(created, occurred)
        if stream != "meetings":
            return least, False
        outcome = properties.get("hs_meeting_outcome")
        if not outcome or outcome == "SCHEDULED":
            return least, False
        entered = None
        for version in (row.get("propertiesWithHistory") or {}).get("hs_meeting_outcome") or ():
            if version.get("value") != outcome:
                break
            entered = parse_millis(version["timestamp"])
        return (least, True) if entered is None else (max(least, entered), False)

    def by_address(self, kind: str, identifier: str, kinds: Sequence[str], at: Millis, **more: Any) -> ActivityRow:
        """A row about a person whom HubSpot knows only by address, or of whom it names the contact (`record`)."""
        source = self.ref(kind, identifier)
        day = self.day_of(at)
        known = more.pop("known_at", at)
        return ActivityRow(source, tuple(Activity(source, name, at, known, day, **more) for name in kinds))

    def owner(self, row: Row) -> Owner:
        name = " ".join(p for p in (row.get("lastName"), row.get("firstName")) if p)
        return Owner(
            self.ref("owner", row["id"]),
            clean_text(name) or row.get("email") or str(row["id"]),
            row.get("email") or None,
            active=not row.get("archived"),
            is_queue=row.get("type") == "QUEUE",
        )


_NO_CONSENT = Consent()
_DIRECTIONS = {"INBOUND": "inbound", "OUTBOUND": "outbound", "INCOMING_EMAIL": "inbound", "EMAIL": "outbound"}


def short_hash(*parts: object) -> str:
    """A key without personal data for rows that have no id of their own."""
    return hashlib.sha256("\x1f".join(str(p) for p in parts).encode("utf-8", "surrogatepass")).hexdigest()[:24]


def long_id(salesforce_id: str) -> str:
    """A Salesforce id in its 18-character form: the last three say which of the first fifteen are capitals."""
    if len(salesforce_id) != 15:
        return salesforce_id
    blocks = (salesforce_id[i : i + 5] for i in (0, 5, 10))
    suffix = (_ALPHABET[sum(1 << n for n, c in enumerate(block) if "A" <= c <= "Z")] for block in blocks)
    return salesforce_id + "".join(suffix)
