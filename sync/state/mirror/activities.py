"""Activities: one CRM row may mean several, several rows never mean the same one twice."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, select

from core.records import ACTIVITY_KINDS, Activity, ActivityRow, RecordRef
from sync.state import schema as t
from sync.state.mirror.marks import NOBODY, ids_by, mark_dirty
from sync.state.rows import chunks, insert_new


def keep_activities(connection: Connection, rows: Sequence[ActivityRow]) -> int:
    """Replace what each CRM row meant by what it means now; an unchanged one writes nothing."""
    latest = {row.source: row for row in rows}
    codes = source_codes(connection, {(ref.system, ref.kind) for ref in latest})
    changed = 0
    for part in chunks(latest.values()):
        before = _stored_activities(connection, part, codes)
        wanted = [_activity_row(a, codes) for row in part for a in row.activities]
        persons = people_of(connection, {(row["system"], row["who"]) for row in wanted})
        fresh, stale = [], dict(before)
        for row in wanted:
            row["person_id"] = persons.get((row.pop("system"), row["who"]), NOBODY)
            old = stale.pop(row["id"], None)
            if old is None:
                fresh.append(row)
            elif _content(row) != _content(old):
                if row["occurred_at"] == old["occurred_at"] and row["known_inexact"]:
                    row["known_at"] = min(row["known_at"], old["known_at"])  # the first stamp seen stays
                if _content(row) != _content(old):
                    stale[row["id"]] = old
                    fresh.append(row)
        if stale:
            connection.execute(_delete_activity, [_activity_key(old) for old in stale.values()])
        if fresh:
            insert_new(connection, t.activity, fresh)
        mark_dirty(connection, {r["person_id"] for r in [*fresh, *stale.values()]})
        changed += len(fresh) + sum(1 for key in stale if key not in {row["id"] for row in fresh})
    return changed


_CONTENT = (
    "occurred_at", "known_at", "kind", "day", "url", "asset", "campaign", "channel", "direction", "duration", "who", "machine",
)  # fmt: skip

_delete_activity = delete(t.activity).where(
    t.activity.c.person_id == bindparam("b_person"),
    t.activity.c.occurred_at == bindparam("b_at"),
    t.activity.c.id == bindparam("b_id"),
)


def _content(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in _CONTENT)


def _activity_key(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"b_person": row["person_id"], "b_at": row["occurred_at"], "b_id": row["id"]}


def _activity_row(activity: Activity, codes: Mapping[tuple[str, str], int]) -> dict[str, Any]:
    source = activity.source
    who = who_of(activity)
    return {
        "system": activity.record.system if activity.record else source.system,
        "occurred_at": activity.occurred_at,
        "id": activity_id(source, activity.kind, who),
        "kind": ACTIVITY_KINDS[activity.kind],
        "known_at": activity.known_at,
        "day": activity.day,
        "suspect": activity.machine_suspect,
        "duplicate_of": None,
        "url": activity.url,
        "asset": activity.asset,
        "campaign": activity.campaign,
        "channel": activity.channel,
        "direction": activity.direction,
        "duration": activity.duration,
        "source": codes[source.system, source.kind],
        "source_id": source.id,
        "who": who,
        "known_inexact": activity.known_inexact,
        "machine": activity.machine_suspect,
    }


def who_of(activity: Activity) -> str:
    """`<kind>/<id>` of the record, or `email/<address>` where the CRM knows only that."""
    return f"{activity.record.kind}/{activity.record.id}" if activity.record else f"email/{activity.email}"


def activity_id(source: RecordRef, kind: str, who: str) -> int:
    """The surrogate of an activity: 63 bits of a digest of its key, so that reading it twice stores it once."""
    key = f"{source.system}\x1f{source.kind}\x1f{source.id}\x1f{kind}\x1f{who}"
    return int.from_bytes(hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()) >> 1


def _stored_activities(
    connection: Connection, rows: Sequence[ActivityRow], codes: Mapping[tuple[str, str], int]
) -> dict[int, Mapping[str, Any]]:
    found: dict[int, Mapping[str, Any]] = {}
    for code, ids in ids_by([row.source for row in rows], lambda ref: codes[ref.system, ref.kind]):
        statement = select(t.activity).where(t.activity.c.source == code, t.activity.c.source_id.in_(ids))
        found.update({row["id"]: row for row in connection.execute(statement).mappings()})
    return found


def source_codes(connection: Connection, pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Codes of (connection, CRM object), given out on first sight."""
    rows = connection.execute(select(t.source)).mappings()
    known = {(row["system"], row["object"]): row["code"] for row in rows}
    for system, name in sorted(set(pairs) - set(known)):
        code = max(known.values(), default=0) + 1
        connection.execute(t.source.insert().values(code=code, system=system, object=name))
        known[system, name] = code
    return known


def people_of(connection: Connection, whos: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """(system, who) to person, for those we know. An address shared by several people belongs to nobody."""
    found: dict[tuple[str, str], int] = {}
    by_place: dict[tuple[str, str], list[str]] = {}
    for system, who in whos:
        kind, _, value = who.partition("/")
        by_place.setdefault((system, kind), []).append(value)
    for (system, kind), values in by_place.items():
        for part in chunks(values):
            if kind == "email":
                statement = (
                    select(t.record_email.c.email, t.record.c.person_id)
                    .join(t.record, _same_record(t.record_email))
                    .where(t.record_email.c.system == system, t.record_email.c.email.in_(part))
                    .where(t.record.c.person_id.is_not(None), t.record.c.deleted_at.is_(None))
                )
                shared: dict[str, set[int]] = {}
                for email, person_id in connection.execute(statement):
                    shared.setdefault(email, set()).add(person_id)
                found.update({(system, f"email/{e}"): ids.pop() for e, ids in shared.items() if len(ids) == 1})
            else:
                statement = select(t.record.c.id, t.record.c.person_id).where(
                    t.record.c.system == system, t.record.c.kind == kind, t.record.c.id.in_(part)
                )
                rows = connection.execute(statement.where(t.record.c.person_id.is_not(None)))
                found.update({(system, f"{kind}/{id}"): person_id for id, person_id in rows})
    return found


def _same_record(table: Any) -> Any:
    return and_(t.record.c.system == table.c.system, t.record.c.kind == table.c.kind, t.record.c.id == table.c.id)
