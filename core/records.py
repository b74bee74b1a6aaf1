"""A CRM's facts in our words. Values only: frozen, comparable, without clock or network.

Times are `Millis` (UTC, integer milliseconds since 1970) and days are `Day` (calendar days since 1970-01-01 in the
settings' time zone), because integers mean the same in every engine (reference: scoring engine, portability).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, tzinfo

Millis = int
Day = int
Value = str | int | float | bool | None

EPOCH = date(1970, 1, 1)
DAY_MS = 86_400_000

ACTIVITY_KINDS: Mapping[str, int] = {
    "page_view": 1,
    "download": 2,
    "email_open": 3,
    "email_click": 4,
    "form_submit": 5,
    "webinar_register": 6,
    "webinar_attend": 7,
    "event_attend": 8,
    "meeting": 9,
    "call": 10,
    "email_reply": 11,
    "inquiry": 12,
    "email_out": 13,
    "call_attempt": 14,
}
"""Kind to the code stored in facts. Codes are for ever: never renumber, only append."""

HUMAN_KINDS = frozenset(
    {"page_view", "email_click", "form_submit", "download", "webinar_register", "webinar_attend", "event_attend"}
    | {"inquiry", "call", "meeting", "email_reply"}
)
"""The person's own acts and two-way contact (machine-suspect ones excepted): what "human" and "active" mean."""

FIELD_TYPES: Mapping[str, str] = {
    "email": "string",
    "last_name": "string",
    "first_name": "string",
    "title": "string",
    "title_rank": "string",  # derived from title: core.titles.TITLE_RANKS, ordered
    "department": "string",
    "phone": "string",
    "company": "string",
    "domain": "string",  # derived: mail or web domain, None for free-mail providers
    "website": "string",
    "corporate_number": "string",
    "industry": "string",
    "employees": "number",
    "annual_revenue": "number",
    "country": "string",
    "region": "string",
    "lead_source": "string",
    "lifecycle_stage": "string",
    "status": "string",
}
"""Canonical person and company fields: the columns that attribute rules may name, and their types."""

COMPANY_FIELDS = frozenset(
    {"company", "website", "corporate_number", "industry", "employees", "annual_revenue", "country", "region"}
)
"""Fields read from the account record first, then from the person's record."""

REQUIRED_FIELDS = ("email", "last_name", "company", "title")
"""Canonical fields that must be mapped (besides the created stamp, which every CRM has)."""


@dataclass(frozen=True, slots=True, order=True)
class RecordRef:
    """Where a fact lives: connection name, kind (`lead`, `contact`, `account`, `deal`, or a CRM object), the CRM's id."""

    system: str
    kind: str
    id: str

    def __str__(self) -> str:
        return f"{self.system}/{self.kind}/{self.id}"


@dataclass(frozen=True, slots=True)
class Consent:
    """What a person allows. None: the CRM does not say."""

    email_opt_out: bool | None = None
    do_not_call: bool | None = None
    bounced: bool | None = None
    legal_basis: str | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """One CRM's view of a person: a Salesforce Lead or Contact, a HubSpot contact.

    Attributes:
        fields: canonical name (`FIELD_TYPES`) to value; unknown or empty is absent.
        emails: all addresses, lower case, the primary first.
        links: records of the paired CRM that the native sync says are the same (identity's first key).
        successor: where a converted Lead or merged record lives on.
        absorbed: ids of records of the same kind that were merged into this one.
        answers: what the rep wrote into our fields (response, reject_reason, recontact_on, feedback, feedback_note).
        written: our own fields as the CRM shows them now (score, band, handover_no, ...), to recognise echoes.
    """

    ref: RecordRef
    fields: Mapping[str, Value]
    created_at: Millis
    modified_at: Millis
    emails: tuple[str, ...] = ()
    owner_id: str | None = None
    account: RecordRef | None = None
    links: tuple[RecordRef, ...] = ()
    successor: RecordRef | None = None
    absorbed: tuple[str, ...] = ()
    consent: Consent = Consent()
    answers: Mapping[str, Value] = field(default_factory=dict)
    written: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Account:
    """A company record. `fields` holds `COMPANY_FIELDS`; `parent` is the parent account where the CRM has one."""

    ref: RecordRef
    fields: Mapping[str, Value]
    modified_at: Millis
    parent: RecordRef | None = None
    owner_id: str | None = None


@dataclass(frozen=True, slots=True)
class Tombstone:
    """A record, account, deal or activity row that is gone; `successor` where it was merged or converted into another.

    `permanent`: it is in no bin and no archive either (privacy deletion, emptied bin): it cannot come back.
    """

    ref: RecordRef
    at: Millis
    successor: RecordRef | None = None
    permanent: bool = False


@dataclass(frozen=True, slots=True)
class Activity:
    """An immutable dated fact about one record. Key: (source, kind, record or email).

    Attributes:
        source: the CRM row it came from, e.g. `RecordRef("salesforce", "Task", "00T…")`.
        record: whom it is about; None when the CRM knows only the address (forms, mail events): then `email`.
        occurred_at: when it happened; a date-only fact occurs at its start, local time.
        known_at: when the CRM first showed it; only facts known at `as_of` count.
        day: local calendar day of `occurred_at`.
        machine_suspect: the CRM itself, or its own stamps, say a machine did it.
        known_inexact: `known_at` is an estimate (a first load cannot know better).
        duration: seconds.
    """

    source: RecordRef
    kind: str
    occurred_at: Millis
    known_at: Millis
    day: Day
    record: RecordRef | None = None
    email: str | None = None
    machine_suspect: bool = False
    known_inexact: bool = False
    url: str | None = None
    asset: str | None = None
    campaign: str | None = None
    channel: str | None = None
    direction: str | None = None
    duration: int | None = None


@dataclass(frozen=True, slots=True)
class ActivityRow:
    """One CRM row and everything it means now. It replaces what the same `source` meant before; empty withdraws it."""

    source: RecordRef
    activities: tuple[Activity, ...]


@dataclass(frozen=True, slots=True)
class Deal:
    """An opportunity. `people` is the complete set of person records where the CRM gives it with the deal, else None.

    Attributes:
        closed_at: when it was won or lost: the stage change where known, else the close date's start; None while open.
        link: the paired CRM's deal (native sync), so that one deal is one outcome.
    """

    ref: RecordRef
    created_at: Millis
    modified_at: Millis
    stage: str
    is_closed: bool
    is_won: bool
    closed_at: Millis | None = None
    name: str | None = None
    account: RecordRef | None = None
    people: tuple[RecordRef, ...] | None = None
    amount: float | None = None
    currency: str | None = None
    loss_reason: str | None = None
    owner_id: str | None = None
    link: RecordRef | None = None


@dataclass(frozen=True, slots=True)
class DealRole:
    """A person's part in a deal, where the CRM keeps it as a row of its own."""

    source: RecordRef
    deal: RecordRef
    record: RecordRef
    role: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A field's old and new value on a record or deal: attribute history and stage transitions.

    `source` identifies the history row, so that reading it twice stores it once. `field` is canonical, or `stage`.
    """

    source: RecordRef
    ref: RecordRef
    field: str
    old: str | None
    new: str | None
    at: Millis
    by: str | None = None


@dataclass(frozen=True, slots=True)
class Owner:
    """A user or queue that owns records. Tasks go to active users only."""

    ref: RecordRef
    name: str
    email: str | None
    active: bool
    is_queue: bool = False


Fact = Record | Account | Tombstone | ActivityRow | Deal | DealRole | Change | Owner


def local_day(at: Millis, zone: tzinfo) -> Day:
    """The calendar day of an instant in a time zone."""
    return (datetime.fromtimestamp(at / 1000, UTC).astimezone(zone).date() - EPOCH).days


def day_start(day: Day, zone: tzinfo) -> Millis:
    """The first instant of a local calendar day."""
    start = datetime.combine(date.fromordinal(EPOCH.toordinal() + day), datetime.min.time(), zone)
    return round(start.timestamp() * 1000)


def to_day(value: date) -> Day:
    return (value - EPOCH).days


def to_date(day: Day) -> date:
    return date.fromordinal(EPOCH.toordinal() + day)


def to_millis(value: datetime) -> Millis:
    """An aware datetime as `Millis`; a naive one is refused."""
    if value.tzinfo is None:
        raise ValueError("naive datetime refused")
    return round(value.timestamp() * 1000)


def to_datetime(at: Millis) -> datetime:
    """`Millis` as an aware UTC datetime."""
    return datetime.fromtimestamp(at / 1000, UTC)
