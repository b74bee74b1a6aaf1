"""Deals, their people, field changes, and the users and queues that own things."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, delete, select, update

from core.records import Change, Deal, DealRole, Owner, RecordRef
from sync.state import schema as t
from sync.state.mirror.marks import PERSON_KINDS, ids_by, touch
from sync.state.rows import chunks, insert_new, upsert

_DEAL = (
    "name",
    "stage",
    "is_closed",
    "is_won",
    "created_at",
    "closed_at",
    "amount",
    "currency",
    "loss_reason",
    "owner_id",
)


def keep_deals(connection: Connection, deals: Sequence[Deal]) -> int:
    latest = {deal.ref: deal for deal in deals}
    touched = []
    for system, ids in ids_by(latest, lambda ref: ref.system):
        for part in chunks(ids):
            statement = select(t.deal).where(t.deal.c.system == system, t.deal.c.id.in_(part))
            known = {row["id"]: row for row in connection.execute(statement).mappings()}
            for id in part:
                deal = latest[RecordRef(system, "deal", id)]
                row = {name: getattr(deal, name) for name in _DEAL} | {
                    "account_id": deal.account.id if deal.account else None,
                    "link_system": deal.link.system if deal.link else None,
                    "link_id": deal.link.id if deal.link else None,
                    "deleted_at": None,
                }
                before = known.get(id)
                if before is None:
                    connection.execute(
                        t.deal.insert().values(system=system, id=id, modified_at=deal.modified_at, **row)
                    )
                elif any(before[name] != value for name, value in row.items()):
                    connection.execute(
                        update(t.deal)
                        .where(t.deal.c.deal_id == before["deal_id"])
                        .values(modified_at=deal.modified_at, **row)
                    )
                else:
                    if _keep_people(connection, deal):
                        touched.append(deal.ref)
                    continue
                _keep_people(connection, deal)
                touched.append(deal.ref)
    touch(connection, touched)
    return len(touched)


def _keep_people(connection: Connection, deal: Deal) -> bool:
    """Replace the deal's people by the complete set that came with it; whether that changed anything."""
    if deal.people is None:
        return False
    place = (t.deal_role.c.system == deal.ref.system, t.deal_role.c.deal == deal.ref.id)
    before = {
        (row.kind, row.id) for row in connection.execute(select(t.deal_role.c.kind, t.deal_role.c.id).where(*place))
    }
    after = {(ref.kind, ref.id) for ref in deal.people}
    if before == after:
        return False
    connection.execute(delete(t.deal_role).where(*place))
    rows = [
        {
            "system": deal.ref.system,
            "source_id": f"{deal.ref.id}:{id}",
            "deal": deal.ref.id,
            "kind": kind,
            "id": id,
            "role": None,
        }
        for kind, id in sorted(after)
    ]
    insert_new(connection, t.deal_role, rows)
    return True


def keep_roles(connection: Connection, roles: Sequence[DealRole]) -> int:
    rows: list[dict[str, Any]] = [
        {
            "system": role.source.system,
            "source_id": role.source.id,
            "deal": role.deal.id,
            "kind": role.record.kind,
            "id": role.record.id,
            "role": role.role,
        }
        for role in {role.source: role for role in roles}.values()
    ]
    changed = []
    for system, ids in ids_by([role.source for role in roles], lambda ref: ref.system):
        for part in chunks(ids):
            statement = select(t.deal_role).where(t.deal_role.c.system == system, t.deal_role.c.source_id.in_(part))
            known = {row["source_id"]: dict(row) for row in connection.execute(statement).mappings()}
            changed += [row for row in rows if row["source_id"] in set(part) and known.get(row["source_id"]) != row]
    upsert(connection, t.deal_role, changed)
    touch(connection, [RecordRef(row["system"], "deal", row["deal"]) for row in changed])
    return len(changed)


def keep_changes(connection: Connection, changes: Sequence[Change]) -> int:
    latest = {change.source: change for change in changes}
    known: set[RecordRef] = set()
    for system, ids in ids_by(latest, lambda ref: ref.system):
        for part in chunks(ids):
            statement = select(t.change.c.source_id).where(t.change.c.system == system, t.change.c.source_id.in_(part))
            known.update(RecordRef(system, "change", id) for id in connection.execute(statement).scalars())
    fresh = [c for ref, c in latest.items() if RecordRef(ref.system, "change", ref.id) not in known]
    rows = [
        {
            "system": change.source.system,
            "source_id": change.source.id,
            "kind": change.ref.kind,
            "id": change.ref.id,
            "field": change.field,
            "old": change.old,
            "new": change.new,
            "at": change.at,
            "by": change.by,
        }
        for change in fresh
    ]
    insert_new(connection, t.change, rows)
    touch(connection, [change.ref for change in fresh if change.ref.kind in PERSON_KINDS | {"deal"}])
    return len(rows)


def keep_owners(connection: Connection, owners: Sequence[Owner]) -> int:
    rows = [
        {
            "system": owner.ref.system,
            "id": owner.ref.id,
            "name": owner.name,
            "email": owner.email,
            "active": owner.active,
            "is_queue": owner.is_queue,
        }
        for owner in {owner.ref: owner for owner in owners}.values()
    ]
    before = {(row["system"], row["id"]): dict(row) for row in connection.execute(select(t.owner)).mappings()}
    changed = [row for row in rows if before.get((row["system"], row["id"])) != row]
    upsert(connection, t.owner, changed)
    return len(changed)
