"""`mikomi forget`: a person is erased here, at once and for good, whatever the CRMs do.

Everything that addresses, links, succession and common people tie to the address or record is one person and goes together.
What stays: keyed hashes (so that nobody of them is stored again), the keys of tasks that were made, numbers in the audit log.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, delete, func, select, update

from connectors import OUTPUT_FIELDS
from core.errors import InvalidInput, StateUnavailable
from core.identity import is_role_mailbox
from core.records import Millis, RecordRef
from sync import audit
from sync.companies import settle_companies
from sync.engine.load import spill_folder
from sync.look.people import long_id
from sync.resolve import neighbourhood
from sync.state import State, now_ms
from sync.state import schema as t
from sync.state.kept import keep, keep_in
from sync.state.mirror import NOBODY, PERSON_KINDS
from sync.state.mirror.erase import LEFT, addresses_of, drop_unused_companies, erase_deals, erase_outbox, erase_records
from sync.state.mirror.forgotten import address_token, record_token, remember
from sync.state.outbox import TASK, want_fields
from sync.state.pages import rewrite_pages, sqlite_file
from sync.state.rows import by_place, chunks, delete_at, select_at

CLEARED = tuple(name for name, field in OUTPUT_FIELDS.items() if not field.by_rep and name != "handover_no")
"""Our fields that are emptied in the CRM. The hand-over number stays: it keeps a lost state from making a second task."""

WAIT_SECONDS = 900.0
"""How long a pass that is under way is waited for."""


@dataclass(frozen=True, slots=True)
class Leaver:
    """What is stored of one person, as counts and references.

    Attributes:
        refs: their records in all CRMs, those included that are deleted or merged there.
        people: our numbers of them.
        emails: their own addresses, and the one that was named.
        written: records in which a CRM holds values of ours.
        unsent: tasks that are owed and were not sent.
    """

    refs: tuple[RecordRef, ...]
    people: tuple[int, ...]
    emails: tuple[str, ...]
    activities: int = 0
    changes: int = 0
    deals: tuple[RecordRef, ...] = ()
    written: tuple[RecordRef, ...] = ()
    unsent: int = 0


def find_leaver(connection: Connection, who: str) -> Leaver:
    """Everything here of the person with an address, or of a record (`connection/kind/id`). Nobody may be known.

    Raises:
        InvalidInput: it is neither, or an address that a whole function shares.
    """
    email, ref = parse_who(who)
    if email is not None:
        mail = t.record_email.c
        found = connection.execute(select(mail.system, mail.kind, mail.id).where(mail.email == email))
        seeds = {RecordRef(*at) for at in found}
    else:
        assert ref is not None
        seeds = {ref}
    return _measure(connection, seeds, [email] if email else [])


def parse_who(who: str) -> tuple[str | None, RecordRef | None]:
    """An address, or a record: exactly one of the two.

    Raises:
        InvalidInput: it is neither, or an address that a whole function shares.
    """
    text = unicodedata.normalize("NFKC", who).strip()
    if "@" in text:
        email = text.casefold()
        if is_role_mailbox(email):
            raise InvalidInput(
                "this address belongs to a function, not to a person: colleagues share it",
                hint="name the person's record: mikomi forget salesforce/contact/003…",
            )
        return email, None
    parts = text.split("/")
    if len(parts) == 3 and all(parts) and parts[1] in PERSON_KINDS:
        system, kind, id = parts
        return None, RecordRef(system, kind, long_id(id) if len(id) == 15 and not id.isdigit() else id)
    raise InvalidInput(
        "give an e-mail address, or a record as connection/kind/id",
        hint="mikomi forget taro@company.example, or mikomi forget hubspot/contact/123 (see `mikomi explain`)",
    )


def require_one(leaver: Leaver) -> None:
    """What cannot be brought back is not guessed: several people may hang on one address.

    Raises:
        InvalidInput: they do.
    """
    if len(leaver.people) > 1:
        raise InvalidInput(
            f"{len(leaver.people)} people hang on this address or record; nothing was erased",
            hint="all of them: add --everyone; only one: give each an address of their own in the CRM, mikomi sync, and repeat",
        )


def forget(state: State, who: str, *, everyone: bool = False, now: Millis | None = None) -> tuple[Leaver, bool]:
    """Erase the person; what was there, and whether the database's files were rewritten without it.

    The run's lease must be held. Values of ours in the CRMs are owed an emptying, which the next sync sends.

    Args:
        everyone: all the people who hang on it, where there are several.

    Raises:
        InvalidInput: as `find_leaver` and `require_one`.
        InvalidSettings: there is no state key to remember them by.
    """
    at = now_ms() if now is None else now
    with state.begin() as connection:
        leaver = find_leaver(connection, who)
        if not everyone:
            require_one(leaver)
        erase_people(connection, leaver, now=at)
        audit.note(
            connection,
            "forget",
            f"person {', '.join(map(str, leaver.people)) or '-'}",
            new={"records": len(leaver.refs), "activities": leaver.activities, "unsent_tasks": leaver.unsent},
            why="asked for by `mikomi forget`",
        )
    with spill_folder(state.url):
        pass  # what killed runs left beside the database goes
    try:
        rewritten = rewrite_pages(state)
    except StateUnavailable:  # the rows are gone; only the file could not be written anew: the next pass tries again
        rewritten = False
    if rewritten:
        keep(state, LEFT, value=False)
    return leaver, rewritten


def forget_again(connection: Connection, refs: Iterable[RecordRef], *, now: Millis) -> int:
    """Erase people who had been forgotten before the backup was restored that knew them; how many records."""
    leaver = _measure(connection, set(refs), [])
    if leaver.refs:
        erase_people(connection, leaver, now=now)
    return len(leaver.refs)


def erase_people(connection: Connection, leaver: Leaver, *, now: Millis) -> None:
    """Take everything of these records and their people out of the database, in the caller's transaction."""
    refs = leaver.refs
    tokens = [address_token(email) for email in leaver.emails]
    tokens += [record_token(ref) for ref in (*refs, *leaver.deals)]
    remember(connection, tokens, at=now)
    erase_deals(connection, leaver.deals)
    _loosen_deals(connection, refs)
    for part in chunks(leaver.people):
        companies = select(t.person.c.company_id).where(
            t.person.c.person_id.in_(part), t.person.c.company_id.is_not(None)
        )
        connection.execute(update(t.person).where(t.person.c.company_id.in_(companies)).values(dirty=True))
    settle_companies(connection, {}, (), gone=refs)
    for system, kind, ids in by_place(refs):
        at = (t.record.c.system == system, t.record.c.kind == kind, t.record.c.id.in_(ids))
        connection.execute(
            update(t.record).where(*at).values(deleted_at=now, successor_kind=None, successor_id=None, absorbed=[])
        )
    erase_records(connection, refs)
    _erase_ledger(connection, leaver.people)
    for email in leaver.emails:
        theirs = (t.activity.c.person_id == NOBODY, t.activity.c.who == f"email/{email}")
        connection.execute(delete(t.activity).where(*theirs))
    delete_at(connection, t.record, refs)
    delete_at(connection, t.touched, refs)
    drop_unused_companies(connection)
    keep_in(connection, LEFT, value=True)
    empty: dict[str, Any] = {"values": dict.fromkeys(CLEARED), "reason_key": ""}
    want_fields(connection, dict.fromkeys(leaver.written, (NOBODY, empty)), now=now)


def _loosen_deals(connection: Connection, refs: Iterable[RecordRef]) -> None:
    """Deals that have their company from their people lose it; the next look at them finds it anew from those who stay."""
    role, deal = t.deal_role.c, t.deal.c
    for system, kind, ids in by_place(refs):
        theirs = select(role.deal).where(role.system == system, role.kind == kind, role.id.in_(ids))
        at = (deal.system == system, deal.id.in_(theirs), deal.account_id.is_(None))
        connection.execute(update(t.deal).where(*at).values(company_id=None))


def _erase_ledger(connection: Connection, people: Sequence[int]) -> None:
    for part in chunks(people):
        out = t.outbox.c
        rows = connection.execute(select(out.system, out.kind, out.id).where(out.person_id.in_(part))).all()
        erase_outbox(connection, {RecordRef(*row) for row in rows})
        connection.execute(update(t.outbox).where(out.person_id.in_(part)).values(person_id=NOBODY))
        for table in (t.activity, t.score, t.unassigned, t.handover, t.person_alias, t.person):
            connection.execute(delete(table).where(table.c.person_id.in_(part)))


def _measure(connection: Connection, seeds: set[RecordRef], emails: Iterable[str]) -> Leaver:
    refs = sorted(neighbourhood(connection, seeds)) if seeds else []
    row = t.record.c
    people = set(select_people(connection, refs))
    own = {email for found in addresses_of(connection, refs).values() for email in found} | set(emails)
    counted = _count(connection, t.activity, t.activity.c.person_id, people)
    for part in chunks(sorted(own)):
        whos = [f"email/{email}" for email in part]
        theirs = (t.activity.c.person_id == NOBODY, t.activity.c.who.in_(whos))
        counted += connection.execute(select(func.count()).select_from(t.activity).where(*theirs)).scalar_one()
    changes = 0
    for system, kind, ids in by_place(refs):
        at = (t.change.c.system == system, t.change.c.kind == kind, t.change.c.id.in_(ids))
        changes += connection.execute(select(func.count()).select_from(t.change).where(*at)).scalar_one()
    living = select_at(connection, t.record, refs, row.system, row.kind, row.id, where=row.deleted_at.is_(None))
    alive = [RecordRef(r["system"], r["kind"], r["id"]) for r in living]
    written = [RecordRef(r["system"], r["kind"], r["id"]) for r in select_at(connection, t.acknowledged, alive)]
    waiting = (t.outbox.c.effect == TASK, t.outbox.c.state.in_(("new", "unknown", "dead")))
    unsent = _count(connection, t.outbox, t.outbox.c.person_id, people, *waiting)
    deals = tuple(_deals_of(connection, refs))
    return Leaver(
        tuple(refs), tuple(sorted(people)), tuple(sorted(own)), counted, changes, deals, tuple(sorted(written)), unsent
    )


def select_people(connection: Connection, refs: Iterable[RecordRef]) -> list[int]:
    """The numbers of the people these records belong to."""
    column = t.record.c.person_id
    return [row["person_id"] for row in select_at(connection, t.record, refs, column, where=column.is_not(None))]


def _count(connection: Connection, table: Any, column: Any, people: Iterable[int], *where: Any) -> int:
    total = 0
    for part in chunks(sorted(people)):
        statement = select(func.count()).select_from(table).where(column.in_(part), *where)
        total += connection.execute(statement).scalar_one()
    return total


def _deals_of(connection: Connection, refs: Sequence[RecordRef]) -> list[RecordRef]:
    """Deals that are these records' alone: their names and texts are about this person."""
    role = t.deal_role.c
    own = set(refs)
    theirs: set[RecordRef] = set()
    for system, kind, ids in by_place(refs):
        where = (role.system == system, role.kind == kind, role.id.in_(ids))
        theirs |= {
            RecordRef(system, "deal", deal) for deal in connection.execute(select(role.deal).where(*where)).scalars()
        }
    found = []
    for deal in sorted(theirs):
        where_deal = (role.system == deal.system, role.deal == deal.id)
        people = {
            RecordRef(deal.system, *at) for at in connection.execute(select(role.kind, role.id).where(*where_deal))
        }
        if people <= own:
            found.append(deal)
    return found


def known_backups(state_url: str, folder: Path | None) -> list[Path]:
    """Files of ours that still hold what the state held when they were written."""
    found: list[Path] = []
    path = sqlite_file(state_url)
    if path is not None:
        found += [p for mark in ("before", "broken") for p in path.parent.glob(f"{path.name}.{mark}-*")]
    if folder is not None and folder.is_dir():
        found += [p for p in folder.iterdir() if p.is_file()]
    return sorted(found)
