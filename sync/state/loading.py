"""Rows of the mirror back into the values that core works on."""

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Connection, RowMapping, select

from core.records import Account, Consent, Owner, Record, RecordRef
from sync.state import schema as t
from sync.state.rows import by_place, chunks, select_at


def load_records(connection: Connection, refs: Iterable[RecordRef]) -> dict[RecordRef, Record]:
    """The stored records among `refs`, the deleted ones left out."""
    alive = t.record.c.deleted_at.is_(None)
    records = (as_record(row) for row in select_at(connection, t.record, refs, where=alive))
    return {record.ref: record for record in records}


def as_record(row: RowMapping) -> Record:
    """A row of `record` as the value it was stored from; modified when it last said something new."""
    system = row["system"]
    links = []
    for link in row["links"]:
        to_system, to_kind, to_id = link.split("/", 2)
        links.append(RecordRef(to_system, to_kind, to_id))
    return Record(
        ref=RecordRef(system, row["kind"], row["id"]),
        fields=row["fields"],
        created_at=row["created_at"],
        modified_at=row["changed_at"],
        emails=tuple(row["emails"]),
        owner_id=row["owner_id"],
        account=RecordRef(system, "account", row["account_id"]) if row["account_id"] else None,
        links=tuple(links),
        successor=RecordRef(system, row["successor_kind"], row["successor_id"]) if row["successor_id"] else None,
        absorbed=tuple(row["absorbed"]),
        consent=Consent(**row["consent"]),
        answers=row["answers"],
        written=row["written"],
    )


def predecessors(connection: Connection, refs: Iterable[RecordRef], *, where: Any = None) -> Iterator[RecordRef]:
    """The records that one of `refs` has succeeded: merged into it, or converted to it.

    Asked by the successor's id alone: with its system beside it, SQLite would rather look through all records of that system.
    """
    row = t.record.c
    wanted = set(refs)
    for ids in chunks(sorted({ref.id for ref in wanted})):
        found = select(row.system, row.kind, row.id, row.successor_kind, row.successor_id).where(
            row.successor_id.in_(ids)
        )
        for system, kind, id, *successor in connection.execute(found if where is None else found.where(where)):
            if RecordRef(system, *successor) in wanted:
                yield RecordRef(system, kind, id)


def load_accounts(connection: Connection, refs: Iterable[RecordRef]) -> dict[RecordRef, Account]:
    """The stored accounts among `refs`, the deleted ones left out."""
    found: dict[RecordRef, Account] = {}
    for system, _, ids in by_place(refs):
        where = (t.account.c.system == system, t.account.c.id.in_(ids), t.account.c.deleted_at.is_(None))
        for row in connection.execute(select(t.account).where(*where)).mappings():
            ref = RecordRef(system, "account", row["id"])
            parent = RecordRef(system, "account", row["parent_id"]) if row["parent_id"] else None
            found[ref] = Account(ref, row["fields"], row["modified_at"], parent, row["owner_id"])
    return found


def load_owners(connection: Connection) -> dict[str, dict[str, Owner]]:
    """Users and queues by connection and id."""
    found: dict[str, dict[str, Owner]] = {}
    for row in connection.execute(select(t.owner)).mappings():
        ref = RecordRef(row["system"], "owner", row["id"])
        owner = Owner(ref, row["name"], row["email"], row["active"], row["is_queue"])
        found.setdefault(row["system"], {})[row["id"]] = owner
    return found


def refs_of_people(connection: Connection, people: Iterable[int]) -> dict[RecordRef, int]:
    """All records of these people, the gone ones included."""
    found: dict[RecordRef, int] = {}
    for part in chunks(people):
        columns = (t.record.c.system, t.record.c.kind, t.record.c.id, t.record.c.person_id)
        for system, kind, id, person_id in connection.execute(select(*columns).where(t.record.c.person_id.in_(part))):
            found[RecordRef(system, kind, id)] = person_id
    return found


def person_ids(connection: Connection, refs: Iterable[RecordRef]) -> dict[RecordRef, int]:
    """The person of each record that has one."""
    columns = (t.record.c.system, t.record.c.kind, t.record.c.id, t.record.c.person_id)
    rows = select_at(connection, t.record, refs, *columns, where=t.record.c.person_id.is_not(None))
    return {RecordRef(row["system"], row["kind"], row["id"]): row["person_id"] for row in rows}
