"""Small batches: the facts of some people, by index, through SQLAlchemy."""

from collections.abc import Sequence
from datetime import tzinfo
from typing import Any

from sqlalchemy import Connection, select

from core.records import ACTIVITY_KINDS, HUMAN_KINDS, Day, Millis, local_day
from sync.engine.history import load_changes, stored_fields, trace_changes
from sync.engine.narrow import Narrow, among
from sync.engine.needs import Needs
from sync.state import schema as t

Rows = list[dict[str, Any]]

_HUMAN = tuple(sorted(ACTIVITY_KINDS[kind] for kind in HUMAN_KINDS))
_PERSON = ("person_id", "company_id", "created_at", "first_known_at", "opted_out", "recontact_on")
_ACTIVITY = ("person_id", "id", "kind", "occurred_at", "known_at", "day", "suspect")


def fetch_facts(
    connection: Connection, needs: Needs, ids: Sequence[int], *, earliest: Millis, earliest_day: Day, zone: tzinfo
) -> dict[str, Rows]:
    """The rows of every fact table that scores of these people read.

    Args:
        earliest: the earliest moment they are scored at, and its local day: changes after it matter, and the
            colleagues' activities of so many days before it.
    """
    wanted = {*_PERSON, *needs.fields, *stored_fields(needs.fields)}
    columns = [column for column in t.person.c if column.name in wanted]
    asked = among(ids)
    people = _rows(connection, select(*columns), t.person.c.person_id, asked)
    activity = [_activity(row) for row in _rows(connection, _activities(needs), t.activity.c.person_id, asked)]
    companies = sorted({row["company_id"] for row in people if row["company_id"] is not None})
    known = {row["person_id"]: row for row in people}
    if needs.colleagues and companies:
        query = select(t.person.c.person_id, t.person.c.company_id)
        colleagues = [
            r for r in _rows(connection, query, t.person.c.company_id, among(companies)) if r["person_id"] not in known
        ]
        activity += _colleague_activity(connection, needs, [r["person_id"] for r in colleagues], earliest_day)
        people += colleagues
    changes = (
        trace_changes(load_changes(connection, needs.fields, earliest, asked), known, needs.fields)
        if needs.fields
        else []
    )
    deals, roles = fetch_deals(connection, zone, asked, among(companies)) if needs.deals else ([], [])
    return {"person": people, "activity": activity, "change": changes, "deal": deals, "deal_person": roles}


def _rows(connection: Connection, query: Any, column: Any, narrow: Narrow) -> Rows:
    found: Rows = []
    for condition in narrow(column):
        found += [dict(row) for row in connection.execute(query.where(condition)).mappings()]
    return found


def _activities(needs: Needs) -> Any:
    a = t.activity.c
    columns = [a[name] for name in (*_ACTIVITY, "duplicate_of", *needs.properties)]
    return select(*columns).where(a.kind.in_(needs.kinds))


def _activity(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"duplicate": row["duplicate_of"] is not None}


def _colleague_activity(connection: Connection, needs: Needs, ids: Sequence[int], earliest_day: Day) -> Rows:
    """Only what makes a colleague count as active: their rules are not scored here."""
    query = _activities(needs).where(t.activity.c.kind.in_(_HUMAN), ~t.activity.c.suspect)
    if needs.active_within is not None:
        query = query.where(t.activity.c.day > earliest_day - needs.active_within)
    return [_activity(row) for row in _rows(connection, query, t.activity.c.person_id, among(ids))]


def fetch_deals(connection: Connection, zone: tzinfo, people: Narrow, companies: Narrow) -> tuple[Rows, Rows]:
    """Deals of companies and people, and who takes part; a pair's two copies of a deal are one."""
    d = t.deal.c
    part = (
        select(d.deal_id, d.duplicate_of, t.record.c.person_id)
        .join(t.deal_role, (t.deal_role.c.system == d.system) & (t.deal_role.c.deal == d.id))
        .join(
            t.record,
            (t.record.c.system == t.deal_role.c.system)
            & (t.record.c.kind == t.deal_role.c.kind)
            & (t.record.c.id == t.deal_role.c.id),
        )
        .where(d.deleted_at.is_(None), t.record.c.person_id.is_not(None))
    )
    taken = _rows(connection, part, t.record.c.person_id, people)
    roles = {(row["duplicate_of"] or row["deal_id"], row["person_id"]) for row in taken}
    query = select(d.deal_id, d.company_id, d.created_at, d.closed_at, d.is_closed, d.is_won).where(
        d.deleted_at.is_(None), d.duplicate_of.is_(None)
    )
    found = _rows(connection, query, d.company_id, companies)
    there = {row["deal_id"] for row in found}
    found += _rows(connection, query, d.deal_id, among(sorted({deal for deal, _ in roles} - there)))
    deals = [_deal(row, zone) for row in found]
    return deals, [{"deal_id": deal, "person_id": person} for deal, person in sorted(roles)]


def _deal(row: dict[str, Any], zone: tzinfo) -> dict[str, Any]:
    closed = row["closed_at"] if row["is_closed"] else None
    return {
        "deal_id": row["deal_id"],
        "company_id": row["company_id"],
        "created_at": row["created_at"],
        "created_day": local_day(row["created_at"], zone),
        "closed_at": closed,
        "closed_day": None if closed is None else local_day(closed, zone),
        "won": row["is_closed"] and row["is_won"],
        "lost": row["is_closed"] and not row["is_won"],
    }
