"""Somebody else writes our fields: seen, put right, and after a while left alone, with the remedy named.

Source: DESIGN §5 ("A pair"), invariant I8. The mirror notes which of our fields read differently than before; here they are
held against what the CRM last took from us. A value that is not ours is overwritten; a field that is changed again and again
is left to whoever changes it, on that record or on the whole side, so that two programs never write against each other.

The same repairs a lost update: an old request of ours that the CRM carried out late, or a state restored from a backup. Such a
row carries the scoring time or version of another write of ours and is not held against anybody, once. Nor is what we wrote to
another record of the same person, which the sync that joins two CRMs has carried over: that is ours too.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, select, update

from connectors import OUTPUT_FIELDS
from core.records import Millis, RecordRef, Value
from sync import audit
from sync.settings import Pair
from sync.state import State, outbox
from sync.state import schema as t
from sync.state.contested import (
    LIMIT,
    WITHIN_MS,
    count_contested,
    forget_contested,
    keep_contested,
    leave_alone,
    left_alone,
    load_contested,
)
from sync.state.mirror import mark_dirty
from sync.state.rows import chunks, delete_at, digest, select_at, upsert
from sync.texts import Say

BATCH = 500


@dataclass(slots=True)
class Drift:
    """What looking came to.

    Attributes:
        foreign: fields (counted by record) that somebody else had changed.
        repaired: fields that showed another write of ours: a late commit, a restored state, or one to another record.
        abandoned: fields left alone from now on, by connection.
    """

    foreign: int = 0
    repaired: int = 0
    abandoned: dict[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ContestedField:
    """One of our fields that is changed by somebody else. `left_alone`: it is no longer written in this connection."""

    system: str
    field: str
    records: int
    records_left_alone: int
    left_alone: bool


def settle_shown(state: State, *, now: Millis) -> Drift:
    """Hold everything that reads differently against what we wrote, in short transactions. What differs is owed again."""
    drift = Drift()
    while True:
        with state.begin() as connection:
            rows = connection.execute(
                select(t.shown).order_by(t.shown.c.system, t.shown.c.kind, t.shown.c.id).limit(BATCH)
            ).all()
            if not rows:
                return drift
            shown = {RecordRef(row.system, row.kind, row.id): frozenset(row.fields) for row in rows}
            _settle_batch(connection, shown, drift, now)
            delete_at(connection, t.shown, shown)


@dataclass(frozen=True, slots=True)
class _Strange:
    """A record that shows something else than it took from us last. `differing`: the fields where it does."""

    ref: RecordRef
    person_id: int | None
    written: Mapping[str, Any]
    base: Mapping[str, Any]
    differing: frozenset[str]


def _settle_batch(connection: Connection, shown: Mapping[RecordRef, frozenset[str]], drift: Drift, now: Millis) -> None:
    found = _strange(connection, shown)
    known = load_contested(connection, [one.ref for one in found])
    elsewhere = _written_elsewhere(connection, found)
    rows: list[dict[str, Any]] = []
    bases: list[dict[str, Any]] = []
    people: set[int] = set()
    for one in found:
        other_write = _is_other_write(one.written, one.base["values"])
        news = False
        for name in sorted(one.differing):
            before, theirs = known.get(one.ref, {}).get(name), digest(_plain(name, one.written.get(name)))
            if before is not None and before["at"] < now - WITHIN_MS:
                before = None
            again = before is not None and before["theirs"] == theirs
            carried = _is_carried(name, one, elsewhere)
            forgiven = carried or (other_write and not again)
            times = (before["times"] if before else 0) + (0 if forgiven else 1)
            drift.repaired += forgiven
            drift.foreign += not forgiven
            news |= not (carried and again)
            rows.append(_key(one.ref) | {"field": name, "times": times, "theirs": theirs, "at": now})
        values = {name: value for name, value in one.base["values"].items() if name not in one.differing}
        bases.append({**one.base, "values": values, "digest": digest(values)})
        if news and one.person_id is not None:
            people.add(one.person_id)
    keep_contested(connection, rows)
    upsert(connection, t.acknowledged, bases)
    mark_dirty(connection, people)
    _abandon(connection, drift, now)


def _strange(connection: Connection, shown: Mapping[RecordRef, frozenset[str]]) -> list[_Strange]:
    acknowledged = outbox.acknowledged(connection, shown)
    owed = outbox.owed(connection, shown)
    alone = left_alone(connection)
    row_of = t.record.c
    columns = (row_of.system, row_of.kind, row_of.id, row_of.person_id, row_of.written)
    found = []
    for row in select_at(connection, t.record, acknowledged, *columns, where=row_of.deleted_at.is_(None)):
        ref = RecordRef(row["system"], row["kind"], row["id"])
        fields = shown[ref] - outbox.VOLATILE - alone.get(ref.system, frozenset())
        differing = _differing(fields, row["written"], acknowledged[ref]["values"], owed.get(ref))
        if differing:
            found.append(_Strange(ref, row["person_id"], row["written"], acknowledged[ref], frozenset(differing)))
    return found


def _written_elsewhere(
    connection: Connection, found: Sequence[_Strange]
) -> Mapping[int, Sequence[tuple[RecordRef, Mapping[str, Any]]]]:
    """By person: what each live record of theirs took from us, and what is on its way to it."""
    owner: dict[RecordRef, int] = {}
    row_of = t.record.c
    for part in chunks({one.person_id for one in found} - {None}):
        rows = select(row_of.system, row_of.kind, row_of.id, row_of.person_id)
        rows = rows.where(row_of.person_id.in_(part), row_of.deleted_at.is_(None))
        owner |= {RecordRef(row.system, row.kind, row.id): row.person_id for row in connection.execute(rows)}
    values: dict[int, list[tuple[RecordRef, Mapping[str, Any]]]] = {}
    for ref, base in outbox.acknowledged(connection, owner).items():
        values.setdefault(owner[ref], []).append((ref, base["values"]))
    for ref, owed in outbox.owed(connection, owner).items():
        values.setdefault(owner[ref], []).append((ref, owed))
    return values


def _is_carried(
    name: str, one: _Strange, elsewhere: Mapping[int, Sequence[tuple[RecordRef, Mapping[str, Any]]]]
) -> bool:
    """Whether a field shows what we wrote to another record of the same person.

    It is put right as often as it shows another such value; the same one again waits until that other record has taken the
    new value, or for the next pass over all people: while a CRM refuses it, carrying it back and forth would never end.
    """
    theirs = one.written.get(name)
    others = () if one.person_id is None else elsewhere.get(one.person_id, ())
    return any(ref != one.ref and name in values and is_same(name, theirs, values[name]) for ref, values in others)


def _differing(
    fields: Iterable[str], written: Mapping[str, Any], taken: Mapping[str, Any], owed: Mapping[str, Value] | None
) -> set[str]:
    """Fields that the CRM took from us and that show something else; what is on its way may have arrived unseen."""
    found = set()
    for name in fields:
        if name not in taken or is_same(name, written.get(name), taken[name]):
            continue
        if owed is None or name not in owed or not is_same(name, written.get(name), owed[name]):
            found.add(name)
    return found


def _is_other_write(written: Mapping[str, Any], taken: Mapping[str, Any]) -> bool:
    """Whether the row was last written by us, but not with the values that were acknowledged last."""
    stamps = [(name, written.get(name), taken.get(name)) for name in outbox.VOLATILE]
    return any(
        shown is not None and ours is not None and not is_same(name, shown, ours) for name, shown, ours in stamps
    )


def is_same(field: str, one: Any, other: Any) -> bool:
    """Whether two values of a field of ours are the same to a CRM: empty is nothing, moments are whole seconds."""
    same: bool = _plain(field, one) == _plain(field, other)
    return same


def _plain(field: str, value: Any) -> Any:
    if value is None or value == "":
        return None
    kind = OUTPUT_FIELDS[field].type if field in OUTPUT_FIELDS else "text"
    if kind == "datetime":
        return int(value) // 1000
    if kind in ("integer", "date"):
        return int(value)
    return "\n".join(line.rstrip() for line in str(value).splitlines()).strip() or None


def _key(ref: RecordRef) -> dict[str, str]:
    return {"system": ref.system, "kind": ref.kind, "id": ref.id}


def _abandon(connection: Connection, drift: Drift, now: Millis) -> None:
    """Fields that too many records contest are left alone; what still waits to be sent is planned anew, without them."""
    fresh = leave_alone(connection, now=now)
    for system, fields in fresh.items():
        drift.abandoned[system] = drift.abandoned.get(system, frozenset()) | fields
        waiting = select(t.outbox.c.person_id).where(
            t.outbox.c.system == system, t.outbox.c.effect == outbox.FIELDS, t.outbox.c.state == "new"
        )
        connection.execute(update(t.person).where(t.person.c.person_id.in_(waiting)).values(dirty=True))
        why = "somebody else keeps changing them; `mikomi resume --field` writes them again"
        new = {"fields": sorted(fields)}
        audit.note(connection, "leave-alone", system, new=new, why=why, actor=audit.OURSELVES)


# --- for people ------------------------------------------------------------------------------------------------------


def contested_fields(connection: Connection) -> list[ContestedField]:
    """Everything that somebody else changes, by connection and field; what is left alone on a whole side first."""
    alone = left_alone(connection)
    found = [
        ContestedField(system, field, records, stuck, field in alone.get(system, ()))
        for system, field, records, stuck in count_contested(connection)
    ]
    return sorted(found, key=lambda one: (not one.left_alone, one.system, one.field))


def describe_contested(one: ContestedField, pair: Pair | None, language: str, say: Say) -> tuple[str, str]:
    """What is wrong, and what to do about it, in one sentence each."""
    names = {"field": getattr(OUTPUT_FIELDS[one.field], language), "name": f"mikomi_{one.field}", "system": one.system}
    if one.left_alone:
        problem = say(
            "{system}: somebody else keeps changing {field} ({name}); Mikomi no longer writes it there", **names
        )
    elif one.records_left_alone:
        problem = say(
            "{system}: somebody else keeps changing {field} ({name}); left alone on {count} {count:record|records}",
            count=one.records_left_alone,
            **names,
        )
    else:
        problem = say(
            "{system}: somebody else has changed {field} ({name}) on {count} {count:record|records}; it was put right",
            count=one.records,
            **names,
        )
    if pair is not None and one.system in (pair.salesforce, pair.hubspot):
        remedy = say(
            "remove the mapping of {name} in HubSpot's Salesforce sync settings (or the workflow that writes it), "
            "then: mikomi resume {system} --field {key}",
            key=one.field,
            **names,
        )
    else:
        remedy = say(
            "find the workflow or integration that writes {name}, take the field out of it, "
            "then: mikomi resume {system} --field {key}",
            key=one.field,
            **names,
        )
    return problem, remedy


def resume_field(connection: Connection, system: str, field: str) -> int:
    """Write a field again that was left alone; on how many records it will be put right with the next pass.

    Raises:
        KeyError: Mikomi has no field of that name.

    """
    if field not in OUTPUT_FIELDS:
        raise KeyError(field)
    refs = {*forget_contested(connection, system, field), *_strangers(connection, system, field)}
    bases = []
    for base in outbox.acknowledged(connection, refs).values():
        values = {name: value for name, value in base["values"].items() if name != field}
        bases.append({**base, "values": values, "digest": digest(values)})
    upsert(connection, t.acknowledged, bases)
    row_of = t.record.c
    people = {row["person_id"] for row in select_at(connection, t.record, refs, row_of.person_id)} - {None}
    mark_dirty(connection, people)
    new = {"field": field, "records": len(refs)}
    audit.note(connection, "resume", system, new=new, why="a person has it written again")
    return len(refs)


def _strangers(connection: Connection, system: str, field: str) -> list[RecordRef]:
    """Records that show another value of the field than the one that we wrote last."""
    a, r = t.acknowledged.c, t.record.c
    joined = (a.system == r.system) & (a.kind == r.kind) & (a.id == r.id)
    statement = select(a.kind, a.id, a["values"], r.written).join(t.record, joined)
    statement = statement.where(a.system == system, r.deleted_at.is_(None))
    found: list[RecordRef] = []
    for part in chunks(connection.execute(statement), BATCH):
        found += [
            RecordRef(system, kind, id)
            for kind, id, taken, written in part
            if field in taken and not is_same(field, written.get(field), taken[field])
        ]
    return found


__all__ = [
    "LIMIT",
    "ContestedField",
    "Drift",
    "contested_fields",
    "describe_contested",
    "is_same",
    "resume_field",
    "settle_shown",
]
