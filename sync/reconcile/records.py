"""People, companies and deals, held against the mirror; and score fields, held against what the CRM took from us.

Whether something differs is asked of the mirror itself: a page is stored in a transaction and its rows are looked at before and
after. Where nothing shall be healed, the transaction is rolled back. So what counts as a difference is exactly what reading it
would have changed, whatever its modified stamp says.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, func, select

from core.records import Account, Deal, Fact, Record, RecordRef, Tombstone
from sync.drift import LIMIT, is_same
from sync.reconcile.report import SystemFindings
from sync.state import State, outbox
from sync.state import schema as t
from sync.state.contested import left_alone, load_contested
from sync.state.mirror import PERSON_KINDS, store
from sync.state.mirror.people import note_shown
from sync.state.rows import by_place, chunks, select_at

_DEAL_IGNORED = frozenset({"deal_id", "modified_at", "company_id", "duplicate_of"})
_IDENTITY = ("fingerprint", "deleted_at", "successor_kind", "successor_id")


class _OnlyLooking(Exception):
    """Rolls a transaction back after its result was taken."""


def compare_page(state: State, facts: Sequence[Fact], findings: SystemFindings, *, heal: bool, write: bool) -> None:
    """Hold one page of live rows against the mirror and against what was written.

    Args:
        facts: without tombstones of rows that live here (`living`, `bury`).
        heal: store what differs, and owe fields again.
        write: fields are written at all (not at stage observe).

    """
    refs = [fact.ref for fact in facts if isinstance(fact, (Record, Account, Deal))]
    found = SystemFindings()
    try:
        with state.begin() as connection:
            before = _look(connection, refs)
            stored = store(connection, facts)
            after = _look(connection, refs)
            for ref in dict.fromkeys(refs):
                if before.get(ref) != after.get(ref):
                    found.add("missing_here" if _is_missing(before.get(ref)) else "different", ref, healed=heal)
            for kind in sorted(stored.by_kind.keys() - {"Record", "Account", "Deal", "Change"}):
                found.add("different", kind, healed=heal, count=stored.by_kind[kind])
            _compare_fields(connection, facts, found, heal=heal and write)
            if not heal:
                raise _OnlyLooking
    except _OnlyLooking:
        pass  # what was found is in `found`
    found.records = len(set(refs))
    findings.take_over(found)


def living(state: State, stones: Iterable[Tombstone]) -> list[Tombstone]:
    """Those of the gone that still live in the mirror."""
    wanted = {stone.ref: stone for stone in stones}
    with state.read() as connection:
        rows = _look(connection, wanted)
        return [stone for ref, stone in wanted.items() if not _is_missing(rows.get(ref))]


def bury(state: State, stones: Sequence[Tombstone]) -> None:
    """Store that these are gone."""
    for part in chunks(stones):
        with state.begin() as connection:
            store(connection, part)


def _look(connection: Connection, refs: Iterable[RecordRef]) -> dict[RecordRef, dict[str, Any]]:
    """What the mirror says of these, as far as a difference of it matters."""
    found: dict[RecordRef, dict[str, Any]] = {}
    people = [ref for ref in refs if ref.kind in PERSON_KINDS]
    columns = (t.record.c.system, t.record.c.kind, t.record.c.id, *(t.record.c[name] for name in _IDENTITY))
    for row in select_at(connection, t.record, people, *columns):
        found[RecordRef(row["system"], row["kind"], row["id"])] = {name: row[name] for name in _IDENTITY}
    for system, kind, ids in by_place(ref for ref in refs if ref.kind not in PERSON_KINDS):
        if kind == "account":
            place = (t.account.c.system == system, t.account.c.id.in_(ids))
            for row in connection.execute(select(t.account).where(*place)).mappings():
                found[RecordRef(system, kind, row["id"])] = {
                    "fingerprint": row["fingerprint"],
                    "deleted_at": row["deleted_at"],
                }
        elif kind == "deal":
            found |= _look_at_deals(connection, system, ids)
    for ref, count in _count_changes(connection, found):
        found[ref]["changes"] = count
    return found


def _count_changes(connection: Connection, refs: Iterable[RecordRef]) -> Iterator[tuple[RecordRef, int]]:
    """How many past values are known of each: history has no stamp of its own."""
    change = t.change.c
    for system, kind, ids in by_place(refs):
        if kind != "account":
            where = (change.system == system, change.kind == kind, change.id.in_(ids))
            counted = select(change.id, func.count()).where(*where).group_by(change.id)
            for id, count in connection.execute(counted):
                yield RecordRef(system, kind, id), count


def _look_at_deals(connection: Connection, system: str, ids: Sequence[str]) -> dict[RecordRef, dict[str, Any]]:
    found: dict[RecordRef, dict[str, Any]] = {}
    statement = select(t.deal).where(t.deal.c.system == system, t.deal.c.id.in_(ids))
    for row in connection.execute(statement).mappings():
        content = {name: value for name, value in row.items() if name not in _DEAL_IGNORED}
        found[RecordRef(system, "deal", row["id"])] = content | {"people": set()}
    role = t.deal_role.c
    for deal, kind, id in connection.execute(
        select(role.deal, role.kind, role.id).where(role.system == system, role.deal.in_(ids))
    ):
        if (ref := RecordRef(system, "deal", deal)) in found:
            found[ref]["people"].add((kind, id))
    return found


def _is_missing(row: Mapping[str, Any] | None) -> bool:
    return row is None or row["deleted_at"] is not None


# --- score fields ----------------------------------------------------------------------------------------------------


def _compare_fields(connection: Connection, facts: Iterable[Fact], findings: SystemFindings, *, heal: bool) -> None:
    """What the CRM shows in our fields, against what it last took from us.

    Healing notes the fields; `sync.drift` then decides, as for any other change of them, what is owed again and what is left
    to whoever keeps changing it.
    """
    records = {fact.ref: fact for fact in facts if isinstance(fact, Record) and fact.successor is None}
    if not records:
        return
    waiting = outbox.owed(connection, records)
    contested, alone = load_contested(connection, records), left_alone(connection)
    differing: dict[RecordRef, set[str]] = {}
    for ref, row in outbox.acknowledged(connection, records).items():
        if ref in waiting:
            findings.waiting += 1
            continue
        taken, written = row["values"], records[ref].written
        names = {name for name in taken if not is_same(name, written.get(name), taken[name])} - outbox.VOLATILE
        theirs = {name for name, seen in contested.get(ref, {}).items() if seen["times"] >= LIMIT}
        theirs |= alone.get(ref.system, frozenset())
        findings.contested += len(names & theirs)
        if names - theirs:
            findings.add("fields", ref, healed=heal)
            differing[ref] = names - theirs
    if heal:
        note_shown(connection, differing)
