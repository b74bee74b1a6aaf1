"""What is gone: deleted, merged and converted records, deleted rows."""

from collections.abc import Sequence

from sqlalchemy import Connection, delete, select, update

from core.records import RecordRef, Tombstone
from sync.state import schema as t
from sync.state.mirror.activities import source_codes
from sync.state.mirror.erase import erase_accounts, erase_deals, erase_records
from sync.state.mirror.forgotten import remember_gone
from sync.state.mirror.marks import PERSON_KINDS, mark_dirty, touch


def keep_tombstones(connection: Connection, stones: Sequence[Tombstone]) -> int:
    """Mark what is gone. What cannot come back is emptied at once; the rest waits for its retention."""
    changed = 0
    for stone in stones:
        if stone.ref.kind in PERSON_KINDS:
            changed += _bury_record(connection, stone)
        elif stone.ref.kind in {"account", "deal"}:
            table = t.account if stone.ref.kind == "account" else t.deal
            where = (table.c.system == stone.ref.system, table.c.id == stone.ref.id, table.c.deleted_at.is_(None))
            if connection.execute(update(table).where(*where).values(deleted_at=stone.at)).rowcount:
                touch(connection, [stone.ref])
                changed += 1
        else:
            changed += _withdraw(connection, stone.ref)
    _empty_for_good(connection, [stone for stone in stones if stone.permanent and stone.successor is None])
    return changed


def _empty_for_good(connection: Connection, stones: Sequence[Tombstone]) -> None:
    people = [stone.ref for stone in stones if stone.ref.kind in PERSON_KINDS]
    if people:
        remember_gone(connection, people, at=max(stone.at for stone in stones))
        erase_records(connection, people)
    erase_accounts(connection, [stone.ref for stone in stones if stone.ref.kind == "account"])
    erase_deals(connection, [stone.ref for stone in stones if stone.ref.kind == "deal"])


def _bury_record(connection: Connection, stone: Tombstone) -> int:
    successor = stone.successor
    where = (t.record.c.system == stone.ref.system, t.record.c.kind == stone.ref.kind, t.record.c.id == stone.ref.id)
    done = connection.execute(
        update(t.record)
        .where(*where, t.record.c.deleted_at.is_(None))
        .values(
            deleted_at=stone.at,
            successor_kind=successor.kind if successor else None,
            successor_id=successor.id if successor else None,
        )
    ).rowcount
    if not done and successor is not None:
        done = _remember_merged(connection, stone, successor)
    if done:
        touch(connection, [stone.ref, *([successor] if successor else [])])
    return done


def _remember_merged(connection: Connection, stone: Tombstone, successor: RecordRef) -> int:
    """A record that was merged away before we ever saw it: others may still link to it, so its heir is remembered."""
    ref = stone.ref
    where = (t.record.c.system == ref.system, t.record.c.kind == ref.kind, t.record.c.id == ref.id)
    if connection.execute(select(t.record.c.id).where(*where)).first() is not None:
        return 0
    nothing: dict[str, object] = {"fields": {}, "emails": [], "links": [], "absorbed": [], "consent": {}, "answers": {}}
    row = {
        "system": ref.system,
        "kind": ref.kind,
        "id": ref.id,
        "created_at": stone.at,
        "modified_at": stone.at,
        "changed_at": stone.at,
        "deleted_at": stone.at,
        "fingerprint": "",
        "written": {},
        "successor_kind": successor.kind,
        "successor_id": successor.id,
        **nothing,
    }
    connection.execute(t.record.insert().values(**row))
    return 1


def _withdraw(connection: Connection, ref: RecordRef) -> int:
    """A deleted activity or deal-role row: it never happened."""
    changed = 0
    code = source_codes(connection, ()).get((ref.system, ref.kind))
    if code is not None:
        where = (t.activity.c.source == code, t.activity.c.source_id == ref.id)
        people = set(connection.execute(select(t.activity.c.person_id).where(*where)).scalars())
        if people:
            changed += connection.execute(delete(t.activity).where(*where)).rowcount
            mark_dirty(connection, people)
    where_role = (t.deal_role.c.system == ref.system, t.deal_role.c.source_id == ref.id)
    deals = connection.execute(select(t.deal_role.c.deal).where(*where_role)).scalars().all()
    if deals:
        connection.execute(delete(t.deal_role).where(*where_role))
        touch(connection, [RecordRef(ref.system, "deal", deal) for deal in deals])
        changed += len(deals)
    return changed
