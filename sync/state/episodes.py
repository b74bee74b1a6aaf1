"""Hand-over episodes of people, stored, loaded, and withdrawn where an offer came to nothing."""

from collections.abc import Iterable

from sqlalchemy import ColumnElement, Connection, delete, select, update

from core.handover import Episode, offer_mark, without_offer
from core.records import RecordRef
from sync.state import schema as t
from sync.state.rows import chunks, insert_new


def keep_episodes(connection: Connection, person_id: int, episodes: Iterable[Episode]) -> None:
    """Replace a person's stored episodes."""
    connection.execute(delete(t.handover).where(t.handover.c.person_id == person_id))
    rows = [
        {
            "person_id": person_id,
            "number": episode.number,
            "name": episode.name,
            "state": episode.state,
            "system": episode.record.system if episode.record else None,
            "kind": episode.record.kind if episode.record else None,
            "id": episode.record.id if episode.record else None,
            "at": episode.at,
            "armed": episode.armed,
            "seeded": episode.seeded,
        }
        for episode in episodes
    ]
    insert_new(connection, t.handover, rows)


def load_episodes(connection: Connection, people: Iterable[int]) -> dict[int, tuple[Episode, ...]]:
    found: dict[int, list[Episode]] = {}
    for part in chunks(people):
        for row in connection.execute(select(t.handover).where(t.handover.c.person_id.in_(part))).mappings():
            ref = RecordRef(row["system"], row["kind"], row["id"]) if row["id"] else None
            episode = Episode(row["number"], row["name"], row["state"], row["at"], row["armed"], row["seeded"], ref)
            found.setdefault(row["person_id"], []).append(episode)
    return {person_id: tuple(sorted(episodes)) for person_id, episodes in found.items()}


OFFER = "offer"
"""In the payload of a task: the mark of the offer that it is of."""


def withdraw_offers(connection: Connection, *tasks: ColumnElement[bool]) -> None:
    """The records of these tasks went before the tasks were made: whoever lives on in another record is offered anew.

    The tasks must certainly not have been made; whoever calls ends them.
    """
    box = t.outbox.c
    rows = connection.execute(select(box.person_id, box.payload).where(box.effect == "task", *tasks)).all()
    marks: dict[int, set[str]] = {}
    for person_id, payload in rows:
        marks.setdefault(person_id, set()).add(payload.get(OFFER, ""))
    for person_id, episodes in load_episodes(connection, marks).items():
        for lost in [e for e in episodes if e.state == "offered" and offer_mark(e) in marks[person_id]]:
            episodes = without_offer(episodes, lost)  # noqa: PLW2901
        keep_episodes(connection, person_id, episodes)
        connection.execute(update(t.person).where(t.person.c.person_id == person_id).values(dirty=True))
