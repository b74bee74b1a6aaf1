"""The life of a hand-over as a pure transition function: it decides, it never does.

A person has *episodes*, numbered from 1. `decide` takes the episodes and what is known of the person now and returns the
episodes afterwards and what is to be done. Whoever stores the result calls it again with it.

What holds for every sequence of score changes, rulebook digests, merges, splits and repeated runs (property-tested):

- No offer while any episode is unarmed. An episode is unarmed from its start until the score was seen below `rearm_below`
  and out of the band.
- A score that moved because *we* changed something (`restated`: another scoring digest, a merge, a split) never leads to
  an offer for a person who has episodes, and never arms one. A restated score that is not below the line disarms them: a
  rulebook that lowers and one that raises again create no second task.
- Numbers only grow; a task key is computed from them once, when the offer is enqueued.

Sources: DESIGN §6, SETTLED 24, 26, 27. Of the ten states only `offered` is entered here (and `queued`, which is never
written to a CRM); all states are understood, so that the rest of the life can be added as further transitions.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from core.records import Day, Millis, RecordRef

State = Literal[
    "queued",
    "offered",
    "accepted",
    "rejected",
    "overdue",
    "nurture",
    "opportunity",
    "won",
    "lost",
    "customer",
    "excluded",
]
"""`queued`: first run with `drain`, not yet offered; never written to a CRM. The others: DESIGN §6."""

CLOSED_TO_OFFERS: frozenset[State] = frozenset({"opportunity", "won", "customer", "excluded"})
"""States that only a human or an outcome ends; no score brings the person back to new-business hand-over."""

Action = Literal["none", "offer", "queue", "seed"]

Reason = Literal[
    "offered",
    "queued",
    "seeded",
    "out_of_band",
    "opted_out",
    "recontact_ahead",
    "no_recent_activity",
    "already_handed_over",
    "closed",
    "waiting_in_queue",
]


@dataclass(frozen=True, slots=True)
class Policy:
    """The rulebook's `handover` section. `initial`: `seed`, `all`, or the number drained per owner and day."""

    name: str = "sales"
    band: str = "A"
    recent_days: int = 14
    rearm_below: int = 70
    initial: Literal["seed", "all"] | int = "seed"


@dataclass(frozen=True, slots=True, order=True)
class Episode:
    """One hand-over of one person.

    Attributes:
        number: 1, 2, …; unique per person and name.
        name: the hand-over's name in the rulebook of that day.
        at: when the state was entered.
        armed: the score was below `rearm_below` since, under the digest in force: another offer may follow.
        seeded: counted as handed over without a task (state `offered`; nothing of it is overdue later).
        record: the record that got the task, under its id of then; None where there was none.
    """

    number: int
    name: str
    state: State
    at: Millis
    armed: bool = False
    seeded: bool = False
    record: RecordRef | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of one person at `as_of`.

    Attributes:
        total: the score, 0–100; `band`: A, B, C or D.
        last_human_day: local day of the newest human activity that is not machine-suspect.
        restated: the score moved since the last decision because of us: other scoring digest, merge or split.
        written_number: the highest hand-over number found on any record of the person in a CRM (a restored state
            database may know less than the CRM does).
        record: the record that would get the task (`choose_record`).
        released: this queued person's turn has come (`drain`).
    """

    band: str
    total: int
    last_human_day: Day | None
    opted_out: bool = False
    recontact_on: Day | None = None
    restated: bool = False
    written_number: int = 0
    record: RecordRef | None = None
    released: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """`episodes`: all of the person's, as they are from now on. `number`: of the episode begun or offered by `action`."""

    action: Action
    reason: Reason
    episodes: tuple[Episode, ...]
    number: int | None = None


def decide(
    standing: Standing,
    episodes: Iterable[Episode],
    policy: Policy,
    *,
    as_of: Millis,
    today: Day,
    starting: bool = False,
) -> Decision:
    """What happens to one person now.

    Args:
        standing: score, activity and consent of the person.
        episodes: all of the person, whatever their hand-over was called: one live episode per person.
        policy: the rulebook's `handover` section.
        as_of: the instant the score is of; stamps what begins now.
        today: local day of `as_of`.
        starting: this hand-over has never run to the end: `policy.initial` applies to people without episodes. Keep it
            true until the first pass over all people is complete; an interrupted first pass may simply be repeated.
    """
    known = _rearm(tuple(sorted(episodes)), standing, policy)
    if any(episode.state in CLOSED_TO_OFFERS for episode in known):
        return Decision("none", "closed", known)
    if any(episode.state == "queued" for episode in known):
        return _leave_queue(known, standing, policy, as_of=as_of, today=today)
    if not is_in_band(standing.band, policy.band):
        return Decision("none", "out_of_band", known)
    number = next_number(known, standing.written_number)
    if starting and not known and policy.initial == "seed":
        seed = Episode(number, policy.name, "offered", as_of, seeded=True)
        return Decision("seed", "seeded", (seed,), number)
    if any(not episode.armed for episode in known):
        return Decision("none", "already_handed_over", known)
    obstacle = _obstacle(standing, policy, today)
    if obstacle:
        return Decision("none", obstacle, known)
    if starting and not known and isinstance(policy.initial, int):
        queued = Episode(number, policy.name, "queued", as_of, record=standing.record)
        return Decision("queue", "queued", (queued,), number)
    offered = Episode(number, policy.name, "offered", as_of, record=standing.record)
    return Decision("offer", "offered", (*known, offered), number)


def is_in_band(band: str, wanted: str) -> bool:
    """Band A is the highest; a person above the wanted band is in it too."""
    return band <= wanted


def next_number(episodes: Iterable[Episode], written_number: int = 0) -> int:
    """1 + the highest number on any episode or record of the person."""
    return 1 + max((written_number, *(episode.number for episode in episodes)))


def _rearm(episodes: tuple[Episode, ...], standing: Standing, policy: Policy) -> tuple[Episode, ...]:
    """Arms after an own fall, disarms what a restatement lifted; otherwise leaves all as it is."""
    cool = _is_cool(standing, policy)
    if cool == standing.restated:
        return episodes
    return tuple(e if e.state == "queued" else replace(e, armed=cool) for e in episodes)


def _is_cool(standing: Standing, policy: Policy) -> bool:
    """Below the line. Someone in the band has not fallen, even if the line was set above where the band begins: else
    every run would arm and offer.
    """
    return standing.total < policy.rearm_below and not is_in_band(standing.band, policy.band)


def _obstacle(standing: Standing, policy: Policy, today: Day) -> Reason | None:
    if standing.opted_out:
        return "opted_out"
    if standing.recontact_on is not None and standing.recontact_on > today:
        return "recontact_ahead"
    if standing.last_human_day is None or today - standing.last_human_day >= policy.recent_days:
        return "no_recent_activity"
    return None


def _leave_queue(
    known: tuple[Episode, ...], standing: Standing, policy: Policy, *, as_of: Millis, today: Day
) -> Decision:
    """A queued episode is offered on its turn, waits, or dissolves when the person cools below `rearm_below`."""
    waiting = min(episode for episode in known if episode.state == "queued")
    others = tuple(episode for episode in known if episode.state != "queued")
    if any(not episode.armed for episode in others):  # merged with someone already handed over
        return Decision("none", "already_handed_over", others)
    if _is_cool(standing, policy):
        return Decision("none", "out_of_band", others)
    if not is_in_band(standing.band, policy.band):
        return Decision("none", "out_of_band", (*others, waiting))
    obstacle = _obstacle(standing, policy, today)
    if obstacle or not standing.released:
        return Decision("none", obstacle or "waiting_in_queue", (*others, waiting))
    number = max(waiting.number, next_number(others, standing.written_number))
    offered = replace(waiting, number=number, state="offered", at=as_of, record=standing.record)
    return Decision("offer", "offered", (*others, offered), number)


# --- queue, merges and splits ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Waiting:
    """A queued person: who would own the task, and the person's place in the line."""

    person_id: int
    owner_id: str | None
    priority: int


def drain(waiting: Iterable[Waiting], per_owner: int, released_today: Mapping[str | None, int]) -> tuple[int, ...]:
    """The people whose turn has come today: `per_owner` for each owner, highest priority first, then lowest id.

    `released_today` counts offers already made from the queue today, so that a second cycle of the day adds none.
    People without an owner share one allowance. Pass only people who could be offered now.
    """
    used = dict(released_today)
    turn: list[int] = []
    for person in sorted(waiting, key=lambda w: (-w.priority, w.person_id)):
        if used.get(person.owner_id, 0) < per_owner:
            used[person.owner_id] = used.get(person.owner_id, 0) + 1
            turn.append(person.person_id)
    return tuple(turn)


def merge_episodes(survivor: Iterable[Episode], *absorbed: Iterable[Episode]) -> tuple[Episode, ...]:
    """The episodes of people who turned out to be one. The survivor's keep their numbers; a number that is taken moves
    behind all others, in order of time. Nothing is armed by a merge. Task keys are not touched: they were computed once.

    What a split had doubled is one episode again, whichever part it comes back with.
    """
    everyone = [*sorted(survivor), *sorted((e for one in absorbed for e in one), key=lambda e: (e.at, e))]
    told: dict[tuple[str, Millis], Episode] = {}
    for episode in sorted(everyone, key=_is_hearsay):
        place = (episode.name, episode.at)
        if not _is_hearsay(episode) or place not in told:
            told[place] = episode
    kept: dict[int, Episode] = {}
    moved: list[Episode] = []
    for episode in everyone:
        first = told[episode.name, episode.at]
        if _is_hearsay(episode) and episode is not first:
            continue
        same = (e for e in everyone if _is_hearsay(e) and (e.name, e.at) == (episode.name, episode.at))
        one = replace(episode, armed=episode.armed and all(e.armed for e in same))
        if one.number in kept:
            moved.append(one)
        else:
            kept[one.number] = one
    for episode in moved:
        number = 1 + max(kept)
        kept[number] = replace(episode, number=number)
    return tuple(sorted(kept.values()))


def _is_hearsay(episode: Episode) -> bool:
    """Counted as handed over, without a task of its own: another episode may be the one it speaks of."""
    return episode.seeded and episode.record is None


def standing_offer(episodes: Iterable[Episode]) -> Episode | None:
    """The offer that a person stands in: the newest that had a task and that no fall has ended. None: another may follow."""
    live = (e for e in episodes if e.state == "offered" and not e.seeded and not e.armed)
    return max(live, key=lambda e: (e.at, e.number), default=None)


def offer_mark(episode: Episode) -> str:
    """Names one offer for good: merges and splits may give it another number."""
    return f"{episode.record} {episode.at}"


def without_offer(episodes: Iterable[Episode], lost: Episode) -> tuple[Episode, ...]:
    """As if `lost` had not been offered: its task was never made and never will be, so its number was shown nowhere.

    What had been taken back in its favour, when two people turned out to be one, goes with it.
    """
    return tuple(e for e in sorted(episodes) if e != lost and not (e.seeded and e.record is not None and not e.armed))


def inherit_episodes(episodes: Iterable[Episode], moved: frozenset[RecordRef]) -> tuple[Episode, ...]:
    """The episodes of the part that leaves a person in a split.

    The part holding the record that got the task takes that episode as it is; every other episode is kept as seeded, so
    that a split makes no second offer and no second outcome.
    """
    return tuple(
        e if e.record in moved else replace(e, seeded=True, record=None)
        for e in sorted(episodes)
        if e.state != "queued" or e.record in moved
    )
