"""People with their scores, for lists: whom to call first, and a sample over all bands."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, func, select

from core.records import Millis
from core.scoring import Reason, from_stored
from sync.look.people import KnownPerson, load_people
from sync.state import schema as t

BANDS = ("A", "B", "C", "D")


@dataclass(frozen=True, slots=True)
class ScoredPerson:
    """A person with the score of the last run that looked at them."""

    person: KnownPerson
    band: str
    total: int
    priority: int
    trend: str
    as_of: Millis
    reasons: tuple[Reason, ...]


def best_people(connection: Connection, count: int) -> list[ScoredPerson]:
    """Whom to call first: by band, then priority, then the older number. Band D is nobody's first call."""
    ranked = select(t.score).where(t.score.c.band != "D")
    ranked = ranked.order_by(t.score.c.band, t.score.c.priority.desc(), t.score.c.person_id).limit(count)
    return _with_people(connection, connection.execute(ranked).mappings().all())


def sample_people(connection: Connection, per_band: int = 5) -> dict[str, list[ScoredPerson]]:
    """People with names, `per_band` of each band, spread evenly from its top to its bottom: the same on every call."""
    return {band: _spread(connection, band, per_band) for band in BANDS}


def _spread(connection: Connection, band: str, count: int) -> list[ScoredPerson]:
    where = (t.score.c.person_id == t.person.c.person_id, t.score.c.band == band, t.person.c.last_name.is_not(None))
    people = connection.execute(select(func.count()).select_from(t.score, t.person).where(*where)).scalar_one()
    ranked = select(t.score).where(*where).order_by(t.score.c.priority.desc(), t.score.c.person_id)
    places = range(people) if people <= count else (i * (people - 1) // (count - 1) for i in range(count))
    rows = [connection.execute(ranked.limit(1).offset(place)).mappings().one() for place in places]
    return _with_people(connection, rows)


def _with_people(connection: Connection, rows: Sequence[RowMapping]) -> list[ScoredPerson]:
    people = {person.person_id: person for person in load_people(connection, [row["person_id"] for row in rows])}
    return [
        ScoredPerson(
            person=people[row["person_id"]],
            band=row["band"],
            total=row["total"],
            priority=row["priority"],
            trend=row["trend"],
            as_of=row["as_of"],
            reasons=tuple(from_stored(reason) for reason in row["reasons"]),
        )
        for row in rows
        if row["person_id"] in people
    ]
