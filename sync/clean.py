"""Mark what must not count: activities that a machine left behind, and those that two CRMs both show."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from core.records import ACTIVITY_KINDS
from core.suspects import Trace, find_suspects
from core.twins import LATE_DAYS, Sighting, find_twins
from sync.pair import copied_activities
from sync.resolve import vendors_of
from sync.settings import Settings
from sync.state import State
from sync.state import schema as t
from sync.state.kept import get_kept, keep
from sync.state.rows import chunks, digest

KIND_NAMES = {code: name for name, code in ACTIVITY_KINDS.items()}

_mark = (
    update(t.activity)
    .where(
        t.activity.c.person_id == bindparam("b_person"),
        t.activity.c.occurred_at == bindparam("b_at"),
        t.activity.c.id == bindparam("b_id"),
    )
    .values(suspect=bindparam("b_suspect"), duplicate_of=bindparam("b_twin"))
)


BATCH = 500
_RULE = "twins told by"
"""Kept in the state: the settings by which twins were last told apart for everybody."""


def clean_people(state: State, settings: Settings, people: Iterable[int]) -> None:
    """Bring the marks of these people's activities up to date; everybody's, where the settings tell twins in another way."""
    vendors, signals, copied = vendors_of(settings), settings.signals, copied_activities(settings.pair)
    rule = digest([dict(signals), dict(copied), LATE_DAYS])
    told = get_kept(state, _RULE)
    for part in chunks(people if told == rule else _everybody(state), BATCH):
        with state.begin() as connection:
            mark_activities(connection, part, vendors=vendors, signals=signals, copied=copied)
    if told != rule:
        keep(state, _RULE, rule)


def _everybody(state: State) -> Iterator[int]:
    """All people, in slices so that memory stays flat."""
    last = 0
    while True:
        with state.outside() as connection:
            person = t.person.c.person_id
            found = (
                connection.execute(select(person).where(person > last).order_by(person).limit(10_000)).scalars().all()
            )
        if not found:
            return
        yield from found
        last = found[-1]


def mark_activities(
    connection: Connection,
    people: Iterable[int],
    *,
    vendors: Mapping[str, str],
    signals: Mapping[str, str],
    copied: Mapping[str, str] | None = None,
) -> int:
    """Bring the marks of these people's activities up to date; how many changed.

    `copied`: connection into which a pair's native sync copies activities, to the one they come from.
    """
    systems = {row.code: row.system for row in connection.execute(select(t.source))}
    columns = ("person_id", "id", "kind", "occurred_at", "day", "url", "asset", "campaign", "machine", "suspect", "duplicate_of", "source")  # fmt: skip
    changed = 0
    for part in chunks(people):
        by_person: dict[int, list[Any]] = {}
        statement = select(*(t.activity.c[name] for name in columns)).where(t.activity.c.person_id.in_(part))
        for row in connection.execute(statement):
            by_person.setdefault(row.person_id, []).append(row)
        marks = []
        for rows in by_person.values():
            suspects = find_suspects(
                Trace(r.id, KIND_NAMES[r.kind], r.occurred_at, r.url, r.campaign, r.machine) for r in rows
            )
            twins = _twins(rows, systems, vendors, signals, copied or {})
            for row in rows:
                suspect, twin = row.id in suspects, twins.get(row.id)
                if (bool(row.suspect), row.duplicate_of) != (suspect, twin):
                    marks.append({"b_person": row.person_id, "b_at": row.occurred_at, "b_id": row.id, "b_suspect": suspect, "b_twin": twin})  # fmt: skip
        if marks:
            connection.execute(_mark, marks)
            changed += len(marks)
    return changed


def _twins(
    rows: Iterable[Any],
    systems: Mapping[int, str],
    vendors: Mapping[str, str],
    signals: Mapping[str, str],
    copied: Mapping[str, str],
) -> Mapping[int, int]:
    """Duplicates of one person; nobody who is known to one CRM only has any."""
    listed = list(rows)
    if len({systems[row.source] for row in listed}) < 2:
        return {}
    return find_twins(
        (
            Sighting(
                id=row.id,
                kind=KIND_NAMES[row.kind],
                system=systems[row.source],
                vendor=vendors.get(systems[row.source], ""),
                day=row.day,
                occurred_at=row.occurred_at,
                asset=row.asset,
                campaign=row.campaign,
            )
            for row in listed
        ),
        signals,
        copied,
    )
