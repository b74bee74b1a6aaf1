"""Records of people and accounts. Our own writes come back with every read: they move `modified_at` and `written` only.

Which of several records says the newest is decided by `changed_at`: else the last one that we wrote to would win.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from core.records import Account, Record, RecordRef
from sync.state import schema as t
from sync.state.mirror.marks import ids_by, key_of, touch
from sync.state.rows import chunks, delete_at, digest, insert_new, select_at, upsert


def keep_records(connection: Connection, records: Sequence[Record]) -> int:
    latest = {record.ref: record for record in records}
    row_of = t.record.c
    columns = (row_of.system, row_of.kind, row_of.id, row_of.fingerprint, row_of.modified_at, row_of.deleted_at, row_of.written)  # fmt: skip
    stored = select_at(connection, t.record, latest, *columns)
    known = {RecordRef(row["system"], row["kind"], row["id"]): row for row in stored}
    changed: list[dict[str, Any]] = []
    echoes: list[dict[str, Any]] = []
    shown: dict[RecordRef, set[str]] = {}
    for ref, record in latest.items():
        row = _record_row(record)
        before = known.get(ref)
        if before is not None and before["deleted_at"] is None and before["written"] != row["written"]:
            shown[ref] = _differing(before["written"], row["written"])
        if before is None or before["fingerprint"] != row["fingerprint"] or before["deleted_at"] is not None:
            changed.append(row)
        elif before["modified_at"] != record.modified_at or ref in shown:  # a stamp of whole seconds may stay the same
            echoes.append({"b_system": ref.system, "b_kind": ref.kind, "b_id": ref.id, "b_at": record.modified_at, "b_w": dict(record.written)})  # fmt: skip
    if echoes:
        connection.execute(
            update(t.record)
            .where(t.record.c.system == bindparam("b_system"), t.record.c.kind == bindparam("b_kind"), t.record.c.id == bindparam("b_id"))
            .values(modified_at=bindparam("b_at"), written=bindparam("b_w")),
            echoes,
        )  # fmt: skip
    note_shown(connection, shown)
    if not changed:
        return 0
    upsert(connection, t.record, changed)
    refs = [RecordRef(row["system"], row["kind"], row["id"]) for row in changed]
    replaced = [ref for ref in refs if ref in known]
    delete_at(connection, t.record_email, replaced)
    delete_at(connection, t.record_link, replaced)
    insert_new(connection, t.record_email, [key_of(ref) | {"email": e} for ref in refs for e in latest[ref].emails])
    links = [
        key_of(ref) | {"to_system": to.system, "to_kind": to.kind, "to_id": to.id}
        for ref in refs
        for to in latest[ref].links
    ]
    insert_new(connection, t.record_link, links)
    touch(connection, refs)
    return len(changed)


def note_shown(connection: Connection, fields: Mapping[RecordRef, Collection[str]]) -> None:
    """Fields of ours that read differently than before: `sync.drift` holds them against what we wrote."""
    waiting = {
        RecordRef(row["system"], row["kind"], row["id"]): row["fields"]
        for row in select_at(connection, t.shown, fields)
    }
    rows = [key_of(ref) | {"fields": sorted({*names, *waiting.get(ref, ())})} for ref, names in fields.items() if names]
    upsert(connection, t.shown, rows)


def expect_shown(connection: Connection, values: Mapping[RecordRef, Mapping[str, Any]]) -> None:
    """These records took these values of ours: whatever else they show when they are read next, somebody else wrote."""
    row_of = t.record.c
    columns = (row_of.system, row_of.kind, row_of.id, row_of.written)
    rows = []
    for row in select_at(connection, t.record, values, *columns):
        ref = RecordRef(row["system"], row["kind"], row["id"])
        written = {name: value for name, value in {**row["written"], **values[ref]}.items() if value is not None}
        if written != row["written"]:
            rows.append({"b_system": ref.system, "b_kind": ref.kind, "b_id": ref.id, "b_w": written})
    if rows:
        connection.execute(_set_written, rows)


_set_written = (
    update(t.record)
    .where(
        t.record.c.system == bindparam("b_system"),
        t.record.c.kind == bindparam("b_kind"),
        t.record.c.id == bindparam("b_id"),
    )
    .values(written=bindparam("b_w"))
)


def _differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> set[str]:
    return {name for name in (*before, *after) if before.get(name) != after.get(name)}


def _record_row(record: Record) -> dict[str, Any]:
    body: dict[str, Any] = {
        "fields": dict(record.fields),
        "emails": list(record.emails),
        "links": sorted(str(link) for link in record.links),
        "consent": _consent(record),
        "answers": dict(record.answers),
    }
    successor = record.successor
    identity: dict[str, Any] = {
        "account": record.account.id if record.account else None,
        "owner": record.owner_id,
        "successor": str(successor) if successor else None,
        "absorbed": sorted(record.absorbed),
        "created": record.created_at,
    }
    return {
        **key_of(record.ref),
        "account_id": record.account.id if record.account else None,
        "owner_id": record.owner_id,
        "created_at": record.created_at,
        "modified_at": record.modified_at,
        "changed_at": record.modified_at,
        "fingerprint": digest(body | identity),
        "email": record.emails[0] if record.emails else None,
        **body,
        "absorbed": sorted(record.absorbed),
        "written": dict(record.written),
        "successor_kind": successor.kind if successor else None,
        "successor_id": successor.id if successor else None,
        "deleted_at": None,
    }


def _consent(record: Record) -> dict[str, Any]:
    consent = record.consent
    said = {
        "email_opt_out": consent.email_opt_out,
        "do_not_call": consent.do_not_call,
        "bounced": consent.bounced,
        "legal_basis": consent.legal_basis,
    }
    return {name: value for name, value in said.items() if value is not None}


def keep_accounts(connection: Connection, accounts: Sequence[Account]) -> int:
    latest = {account.ref: account for account in accounts}
    known: dict[RecordRef, Any] = {}
    for system, ids in ids_by(latest, lambda ref: ref.system):
        for part in chunks(ids):
            rows = connection.execute(
                select(t.account).where(t.account.c.system == system, t.account.c.id.in_(part))
            ).mappings()
            known.update({RecordRef(system, "account", row["id"]): row for row in rows})
    changed: list[dict[str, Any]] = []
    for ref, account in latest.items():
        parent = account.parent.id if account.parent else None
        fingerprint = digest({"fields": dict(account.fields), "parent": parent})
        before = known.get(ref)
        if before is None or before["fingerprint"] != fingerprint or before["deleted_at"] is not None:
            changed.append(
                {
                    "system": ref.system,
                    "id": ref.id,
                    "parent_id": parent,
                    "owner_id": account.owner_id,
                    "modified_at": account.modified_at,
                    "fingerprint": fingerprint,
                    "fields": dict(account.fields),
                    "deleted_at": None,
                }
            )
    upsert(connection, t.account, changed)
    touch(connection, [RecordRef(row["system"], "account", row["id"]) for row in changed])
    return len(changed)
