"""What personal data of records goes when they go: fields, addresses, history, activities, and what we wrote of them.

Ids, stamps, successors and the keys of tasks stay: they are no one's name, and they keep a second task from being made.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, bindparam, case, delete, literal_column, select, update

from core.identity import is_role_mailbox
from core.records import RecordRef
from sync.state import State
from sync.state import schema as t
from sync.state.episodes import withdraw_offers
from sync.state.kept import keep_in
from sync.state.loading import predecessors
from sync.state.mirror.marks import NOBODY, mark_dirty, touch
from sync.state.rows import by_place, chunks, delete_at, select_at

ERASED = ""
"""The fingerprint of a record, and the digest of a payload, of which nothing is left."""

ERASED_WITH_IT = "the record is gone, and what was said of it was erased"
"""In the place of a vendor's words, which may carry a name."""

NOT_ERASED = t.record.c.fingerprint != literal_column("''")
"""Written out, so that the partial index on deleted records serves it."""

LEFT = "somebody left"
"""Kept as a fact about the state while what an erasure leaves behind (companies, free pages) is still to be tidied."""


def erase_records(connection: Connection, refs: Iterable[RecordRef]) -> int:
    """Empty records that are gone; how many. Where nobody lives on as their successor, their history goes too.

    Call it for records that are marked as deleted, before or after they were taken from their people.
    """
    wanted = list(dict.fromkeys(refs))
    if not wanted:
        return 0
    ended = [ref for ref in wanted if not _lives_on(connection, ref)]
    ended += _merged_into(connection, ended)
    _erase_history(connection, ended)
    everyone = list(dict.fromkeys([*wanted, *ended]))
    erase_outbox(connection, everyone)
    for table in (t.record_email, t.record_link, t.acknowledged, t.shown, t.contested):
        delete_at(connection, table, everyone)
    for system, kind, ids in by_place(everyone):
        connection.execute(_empty_record, {"b_system": system, "b_kind": kind, "b_ids": ids})
    keep_in(connection, LEFT, value=True)
    return len(wanted)


_empty_record = (
    update(t.record)
    .where(
        t.record.c.system == bindparam("b_system"),
        t.record.c.kind == bindparam("b_kind"),
        t.record.c.id.in_(bindparam("b_ids", expanding=True)),
    )
    .values(
        fields={},
        emails=[],
        links=[],
        consent={},
        answers={},
        written={},
        email=None,
        owner_id=None,
        account_id=None,
        fingerprint=ERASED,
    )
)


def buried_refs(state: State, system: str) -> Iterator[RecordRef]:
    """Records that were deleted and may still come back from a bin: a sweep tells when they no longer can."""
    row = t.record.c
    gone = (row.system == system, row.deleted_at.is_not(None), NOT_ERASED, row.successor_id.is_(None))
    with state.outside() as connection:
        found = connection.execute(select(row.kind, row.id).where(*gone)).all()
    return (RecordRef(system, kind, id) for kind, id in found)


def erase_outbox(connection: Connection, refs: Iterable[RecordRef]) -> int:
    """Empty what was owed to these records and take back what was not sent; the keys stay. How many were taken back."""
    taken_back = 0
    for system, kind, ids in by_place(refs):
        out = t.outbox.c
        at = (out.system == system, out.kind == kind, out.id.in_(ids))
        withdraw_offers(connection, *at, out.state.in_(("new", "dead")), out.hold_until.is_(None))
        taken_back += connection.execute(
            update(t.outbox)
            .where(*at, out.state.in_(("new", "unknown", "dead")))
            .values(state="cancelled", code="gone")
        ).rowcount
        connection.execute(
            update(t.outbox)
            .where(*at, out.digest != ERASED)
            .values(
                payload={},
                digest=ERASED,
                message=case((out.state == "done", None), else_=ERASED_WITH_IT),
                version=out.version + 1,
            )
        )
    return taken_back


def erase_accounts(connection: Connection, refs: Iterable[RecordRef]) -> int:
    """Empty company records that are gone."""
    done = 0
    for system, _, ids in by_place(refs):
        where = (t.account.c.system == system, t.account.c.id.in_(ids), t.account.c.deleted_at.is_not(None))
        changed = update(t.account).where(*where, t.account.c.fingerprint != ERASED)
        done += connection.execute(changed.values(fields={}, owner_id=None, fingerprint=ERASED)).rowcount
    if done:
        keep_in(connection, LEFT, value=True)
    return done


def erase_deals(connection: Connection, refs: Iterable[RecordRef]) -> int:
    """Take the free texts of deals away: their names often carry a person's."""
    done = 0
    for system, _, ids in by_place(refs):
        where = (t.deal.c.system == system, t.deal.c.id.in_(ids))
        texts = t.deal.c.name.is_not(None) | t.deal.c.loss_reason.is_not(None)
        done += connection.execute(update(t.deal).where(*where, texts).values(name=None, loss_reason=None)).rowcount
    return done


def addresses_of(connection: Connection, refs: Iterable[RecordRef]) -> dict[RecordRef, set[str]]:
    """The addresses of records that are a person's own: a role mailbox is its function's."""
    found: dict[RecordRef, set[str]] = {}
    for row in select_at(connection, t.record_email, refs):
        if not is_role_mailbox(row["email"]):
            found.setdefault(RecordRef(row["system"], row["kind"], row["id"]), set()).add(row["email"])
    return found


def drop_unused_companies(connection: Connection) -> int:
    """Companies that no account, buyer, person or deal belongs to any more."""
    used = [
        select(table.c.company_id).where(table.c.company_id.is_not(None))
        for table in (t.account, t.buyer, t.person, t.deal)
    ]
    return connection.execute(
        delete(t.company).where(*(t.company.c.company_id.not_in(statement) for statement in used))
    ).rowcount


# --- history ---------------------------------------------------------------------------------------------------------


def _erase_history(connection: Connection, refs: Collection[RecordRef]) -> None:
    """Activities, attribute history and parts in deals."""
    row = t.record.c
    people = {
        RecordRef(found["system"], found["kind"], found["id"]): found["person_id"] or NOBODY
        for found in select_at(connection, t.record, refs, row.system, row.kind, row.id, row.person_id)
    }
    addresses = addresses_of(connection, refs)
    whos: list[dict[str, Any]] = []
    for ref in refs:
        person = people.get(ref, NOBODY)
        whos.append({"b_person": person, "b_system": ref.system, "b_who": f"{ref.kind}/{ref.id}"})
    for ref, system, email in _only_theirs(connection, addresses):
        whos.append({"b_person": people.get(ref, NOBODY), "b_system": system, "b_who": f"email/{email}"})
    if whos:
        connection.execute(_delete_of_nobody, [{k: v for k, v in who.items() if k != "b_person"} for who in whos])
        if owned := [who for who in whos if who["b_person"] != NOBODY]:
            connection.execute(_delete_of_person, owned)
    for system, kind, ids in by_place(refs):
        change, role = t.change.c, t.deal_role.c
        connection.execute(delete(t.change).where(change.system == system, change.kind == kind, change.id.in_(ids)))
        parts = (role.system == system, role.kind == kind, role.id.in_(ids))
        deals = set(connection.execute(select(role.deal).where(*parts)).scalars())
        connection.execute(delete(t.deal_role).where(*parts))
        touch(connection, [RecordRef(system, "deal", deal) for deal in sorted(deals)])
    mark_dirty(connection, people.values())


_of_system = t.activity.c.source.in_(select(t.source.c.code).where(t.source.c.system == bindparam("b_system")))
_delete_of_person = delete(t.activity).where(
    t.activity.c.person_id == bindparam("b_person"), t.activity.c.who == bindparam("b_who"), _of_system
)
_delete_of_nobody = delete(t.activity).where(
    t.activity.c.person_id == literal_column(str(NOBODY)), t.activity.c.who == bindparam("b_who"), _of_system
)


def _only_theirs(
    connection: Connection, addresses: Mapping[RecordRef, Collection[str]]
) -> list[tuple[RecordRef, str, str]]:
    """(record, connection, address) of the addresses that no other record has: there, or anywhere."""
    systems = list(connection.execute(select(t.source.c.system).distinct()).scalars())
    holders: dict[str, set[str]] = {}
    mail = t.record_email.c
    for part in chunks(sorted({email for own in addresses.values() for email in own})):
        statement = select(mail.email, mail.system, mail.kind, mail.id)
        for email, system, kind, id in connection.execute(statement.where(mail.email.in_(part))):
            if RecordRef(system, kind, id) not in addresses:
                holders.setdefault(email, set()).add(system)
    found = []
    for ref, own in addresses.items():
        for email in own:
            held = holders.get(email, set())
            found += [
                (ref, system, email) for system in systems if not held or (system == ref.system and system not in held)
            ]
    return found


def _lives_on(connection: Connection, ref: RecordRef) -> bool:
    """Whether a record was merged or converted into one that is here, or may still come back: its history goes with that one."""
    row = t.record.c
    seen = {ref}
    while True:
        at = (row.system == ref.system, row.kind == ref.kind, row.id == ref.id)
        columns = (row.fingerprint, row.successor_kind, row.successor_id)
        found = connection.execute(select(*columns).where(*at)).one_or_none()
        if found is None:
            return False
        if found.successor_id is None:
            return len(seen) > 1 and found.fingerprint != ERASED
        ref = RecordRef(ref.system, found.successor_kind, found.successor_id)
        if ref in seen:
            return False
        seen.add(ref)


def _merged_into(connection: Connection, refs: Iterable[RecordRef]) -> list[RecordRef]:
    """Gone records whose successor, or its successor, is one of these."""
    found: dict[RecordRef, None] = {}
    fresh = list(refs)
    while fresh:
        losers = list(predecessors(connection, fresh, where=t.record.c.deleted_at.is_not(None)))
        fresh = [ref for ref in losers if ref not in found]
        found |= dict.fromkeys(fresh)
    return list(found)
