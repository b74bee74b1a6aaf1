"""Two people who turn out to be one, and were both handed over: one person, one task, if that can still be had."""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection

from core.handover import Episode, offer_mark, standing_offer
from core.records import Millis
from sync.state import outbox
from sync.state.episodes import OFFER
from sync.state.outbox import Entry

_MADE, _COMING, _REFUSED = 0, 1, 2


def offer_once(
    connection: Connection,
    one: tuple[int, Sequence[Episode]],
    other: tuple[int, Sequence[Episode]],
    *,
    now: Millis,
) -> tuple[tuple[Episode, ...], tuple[Episode, ...]]:
    """Where both stand offered, one task is taken back, unless both may have been made; both one's episodes afterwards.

    The task that is surer to be in front of a rep stays, of equal ones the earlier. Whose task is given up or gone was not
    offered in earnest, and a past offer, whose person has cooled since, is none.

    Args:
        one, other: a person and their episodes, as they were before they are merged.

    """
    episodes = tuple(one[1]), tuple(other[1])
    standing = [standing_offer(own) for own in episodes]
    tasks = {entry.payload.get(OFFER): entry for entry in outbox.tasks_of(connection, (one[0], other[0]))}
    ranked = []
    for side, offer in enumerate(standing):
        entry = tasks.get(offer_mark(offer)) if offer is not None else None
        surety = _surety(entry)
        if offer is None or surety is None:
            return episodes
        ranked.append((surety, offer.at, offer.number, side, offer, entry))
    *_, side, offer, entry = max(ranked, key=lambda row: row[:4])
    if entry is None or not outbox.take_back(connection, entry, reason="one person, one task", now=now):
        return episodes
    taken_back = tuple(replace(e, seeded=True) if e == offer else e for e in episodes[side])
    return (taken_back, episodes[1]) if side == 0 else (episodes[0], taken_back)


def _surety(entry: Entry | None) -> int | None:
    """How sure it is that a rep gets the task; None: nobody will. One that is not known here was found in a CRM."""
    if entry is None or entry.state in {"done", "unknown"} or (entry.state == "dead" and entry.hold_until is not None):
        return _MADE
    if entry.state == "new":
        return _COMING
    return _REFUSED if entry.state == "dead" and entry.code != outbox.GONE else None
