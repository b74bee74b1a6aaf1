"""Hand-over episodes of people, stored and loaded."""

from collections.abc import Iterable

from sqlalchemy import Connection, delete, select

from core.handover import Episode
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
