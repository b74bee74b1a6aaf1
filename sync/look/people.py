"""Whom somebody means: people by address, name, record id or number, as the state knows them."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Column, ColumnElement, Connection, String, func, or_, select

from core.records import RecordRef
from sync.state import schema as t
from sync.state.rows import chunks

MOST = 50
"""As many people are listed for one query."""


_ASCII_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


@dataclass(frozen=True, slots=True)
class KnownRecord:
    """One live record of a person. `written`: our own fields as the CRM last showed them."""

    ref: RecordRef
    created_at: int
    written: dict[str, object]


@dataclass(frozen=True, slots=True)
class KnownPerson:
    """Who somebody is, for a person to read."""

    person_id: int
    last_name: str | None
    first_name: str | None
    company: str | None
    title: str | None
    email: str | None
    records: tuple[KnownRecord, ...]

    def name(self, language: str) -> str:
        """Family name first, as Japanese names are written; given name first for Latin letters in English."""
        parts = [part for part in (self.last_name, self.first_name) if part]
        if language == "en" and all(part.isascii() for part in parts):
            parts.reverse()
        named = " ".join(parts)
        return named or self.email or f"#{self.person_id}"


def find_people(connection: Connection, query: str) -> list[KnownPerson]:
    """The people that `query` fits, by number, at most `MOST`.

    An e-mail address (any of a person's, any case), `#12` (person number), `connection/kind/id` or an id of a CRM record
    (Salesforce: 15 or 18 characters; a merged or converted one leads to the survivor), else a name: family, given, or both,
    in either order, with or without space.
    """
    text = unicodedata.normalize("NFKC", query).strip()
    if not text:
        return []
    if "@" in text:
        ids = _by_email(connection, text.lower())
    elif text.count("/") == 2:
        system, kind, record_id = text.split("/")
        same = (t.record.c.system == system, t.record.c.kind == kind, t.record.c.id == record_id)
        ids = _people(connection, *same)
    elif text.startswith("#") and text[1:].isdigit():
        ids = _by_number(connection, int(text[1:]))
    else:
        ids = _by_record_id(connection, text)
        if text.isdigit():
            ids |= _by_number(connection, int(text))
        ids = ids or _by_name(connection, text)
    return load_people(connection, sorted(ids)[:MOST])


def load_people(connection: Connection, ids: Sequence[int]) -> list[KnownPerson]:
    """These people with their live records, in the order given; unknown numbers are left out."""
    rows, records = {}, {person_id: list[KnownRecord]() for person_id in ids}
    names = ("person_id", "last_name", "first_name", "company", "title", "email")
    for part in chunks(ids):
        columns = [t.person.c[name] for name in names]
        for row in connection.execute(select(*columns).where(t.person.c.person_id.in_(part))).mappings():
            rows[row["person_id"]] = dict(row)
        record = t.record.c
        alive = (record.person_id.in_(part), record.deleted_at.is_(None), record.successor_id.is_(None))
        listed = select(record.person_id, record.system, record.kind, record.id, record.created_at, record.written)
        for person_id, system, kind, id, created_at, written in connection.execute(
            listed.where(*alive).order_by(record.system.desc(), record.kind, record.id)
        ):
            records[person_id].append(KnownRecord(RecordRef(system, kind, id), created_at, written))
    return [KnownPerson(**rows[person_id], records=tuple(records[person_id])) for person_id in ids if person_id in rows]


def _by_email(connection: Connection, email: str) -> set[int]:
    statement = (
        select(t.record.c.person_id)
        .join(
            t.record_email,
            (t.record.c.system == t.record_email.c.system)
            & (t.record.c.kind == t.record_email.c.kind)
            & (t.record.c.id == t.record_email.c.id),
        )
        .where(t.record_email.c.email == email, t.record.c.person_id.is_not(None), t.record.c.deleted_at.is_(None))
    )
    return set(connection.execute(statement).scalars())


def _by_number(connection: Connection, number: int) -> set[int]:
    """A person's number, or one that was given up when people were merged."""
    if number >= 2**63:
        return set()
    alias = connection.execute(select(t.person_alias.c.person_id).where(t.person_alias.c.old_id == number)).scalar()
    wanted = number if alias is None else alias
    return set(connection.execute(select(t.person.c.person_id).where(t.person.c.person_id == wanted)).scalars())


def _by_record_id(connection: Connection, text: str) -> set[int]:
    if not re.fullmatch(r"[A-Za-z0-9]{1,64}", text):
        return set()
    wanted = [text, long_id(text)] if len(text) == 15 else [text]
    systems = connection.execute(select(t.record.c.system, t.record.c.kind).distinct()).all()
    found: set[int] = set()
    for system, kind in systems:  # by key, not by a scan over a million ids
        found |= _people(connection, t.record.c.system == system, t.record.c.kind == kind, t.record.c.id.in_(wanted))
    return found


def _people(connection: Connection, *where: ColumnElement[bool]) -> set[int]:
    statement = select(t.record.c.person_id).where(*where, t.record.c.person_id.is_not(None))
    return set(connection.execute(statement).scalars())


def _by_name(connection: Connection, text: str) -> set[int]:
    """Names are stored in NFKC (the mapping cleans them), so folding case and dropping spaces is all there is to do."""
    squeezed = "".join(text.split())
    wanted = {squeezed.lower(), squeezed.translate(_ASCII_LOWER)}  # SQLite's lower() knows ASCII only
    last = _squeezed(t.person.c.last_name)
    first = _squeezed(t.person.c.first_name)
    same = or_(*(name.in_(wanted) for name in (last, first, last + first, first + last)))
    return set(connection.execute(select(t.person.c.person_id).where(same).limit(MOST)).scalars())


def _squeezed(column: Column[str]) -> ColumnElement[str]:
    """A name without case and spaces, as the database computes it."""
    squeezed: ColumnElement[str] = func.replace(func.lower(func.coalesce(column, "")), " ", "", type_=String)
    return squeezed


def long_id(short: str) -> str:
    """Salesforce's 18-character form of a 15-character id: three check characters tell its upper case letters."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
    blocks = (short[start : start + 5] for start in (0, 5, 10))
    return short + "".join(alphabet[sum(1 << i for i, c in enumerate(block) if "A" <= c <= "Z")] for block in blocks)
