"""What identity resolution takes and gives: values only."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

from core.records import Day, Millis, Record, RecordRef, Value

PersonId = int

AmbiguityReason = Literal["role_mailbox", "shared_mailbox", "family_name", "links_contradict", "between", "suggestion"]


@dataclass(frozen=True, slots=True)
class IdentityInput:
    """What identity reads of one record. A record that was merged away or converted comes too, with its `successor`.

    Attributes:
        emails: lower case, in any order.
        absorbed: records of the same system and kind that were merged into this one.
    """

    ref: RecordRef
    last_name: str | None = None
    first_name: str | None = None
    company: str | None = None
    emails: tuple[str, ...] = ()
    links: tuple[RecordRef, ...] = ()
    successor: RecordRef | None = None
    absorbed: tuple[RecordRef, ...] = ()
    created_at: Millis = 0


@dataclass(frozen=True, slots=True)
class Group:
    """One person's records.

    Attributes:
        records: the given records, oldest first (`created_at`, then reference).
        created: when each of `records` was created, in the same order.
        followed: records that are known only because a given one absorbed, follows or links to them.
    """

    records: tuple[RecordRef, ...]
    created: tuple[Millis, ...] = ()
    followed: tuple[RecordRef, ...] = ()

    @property
    def members(self) -> tuple[RecordRef, ...]:
        return (*self.records, *self.followed)


@dataclass(frozen=True, slots=True, order=True)
class Ambiguity:
    """Records that may be one person, and why they were not joined. For a person to look at; never acted upon.

    Attributes:
        records: sorted; at most one ambiguity per (reason, records, detail).
        detail: what they share: an e-mail address, or for a suggestion the normalised name and company.
        names: the family names found, sorted, as far as they matter to the reason.
    """

    reason: AmbiguityReason
    records: tuple[RecordRef, ...]
    detail: str = ""
    names: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """64 hex digits from reason, records and detail: the same finding has the same key in every run."""
        text = "\n".join((self.reason, self.detail, *map(str, self.records)))
        return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Resolution:
    """`groups` by their oldest record; `ambiguities` sorted."""

    groups: tuple[Group, ...]
    ambiguities: tuple[Ambiguity, ...]


@dataclass(frozen=True, slots=True)
class Assignment:
    """Which person each record is now.

    Attributes:
        people: every member of every group.
        aliases: an id that was given up to the id that lives on, for every merge.
        splits: a new id to the id its records had before, for every part that left a person.
    """

    people: Mapping[RecordRef, PersonId]
    aliases: Mapping[PersonId, PersonId]
    splits: Mapping[PersonId, PersonId]


@dataclass(frozen=True, slots=True)
class Attributes:
    """The one row that rules see of a person with several records.

    Attributes:
        values: `core.records.FIELD_TYPES` names to values; unknown is absent. `title_rank` and `domain` are derived.
        sources: which record or account each value came from.
        created_at: the earliest creation of any record.
        opted_out: any record says: no mail, or no calls.
        recontact_on: the rep's date.
        company: the account, or else the record, whose company is the person's.
    """

    values: Mapping[str, Value]
    sources: Mapping[str, RecordRef]
    created_at: Millis
    opted_out: bool = False
    recontact_on: Day | None = None
    company: RecordRef | None = None


def identity_input(record: Record) -> IdentityInput:
    """What identity needs of a record."""
    return IdentityInput(
        ref=record.ref,
        last_name=_text(record.fields.get("last_name")),
        first_name=_text(record.fields.get("first_name")),
        company=_text(record.fields.get("company")),
        emails=record.emails,
        links=record.links,
        successor=record.successor,
        absorbed=tuple(RecordRef(record.ref.system, record.ref.kind, gone) for gone in record.absorbed),
        created_at=record.created_at,
    )


def _text(value: Value) -> str | None:
    return value if isinstance(value, str) and value else None
