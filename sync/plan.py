"""Decide what a changed score means: which fields are owed to which record, and who is handed over. Decides, never sends.

`plan_people` works on one batch of scored people inside the transaction that stores their scores, so that an intent
commits with the score that caused it.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from sqlalchemy import Connection, RowMapping, delete, select, update

from connectors import OUTPUT_FIELDS
from core.handover import (
    Decision,
    Episode,
    NextStep,
    Policy,
    Standing,
    TaskRecord,
    choose_owner,
    choose_record,
    decide,
    describe_next_step,
    is_in_band,
    key_record,
    next_step,
    offer_mark,
    task_key,
)
from core.records import Day, Millis, Owner, RecordRef, Value
from core.rulebook import Language, Rulebook
from core.scoring import as_stored, reason_texts
from sync.engine import Scored
from sync.shown import shown_number
from sync.state import outbox
from sync.state import schema as t
from sync.state.contested import LIMIT as CONTESTED_LIMIT
from sync.state.contested import load_contested
from sync.state.episodes import OFFER, keep_episodes, load_episodes
from sync.state.rows import chunks, insert_new, upsert
from sync.texts import Say, one_line

REASONS_LIMIT = 2_000


@dataclass(frozen=True, slots=True)
class Moment:
    """When planning happens: the scores' moment and its local day (CRM time), and this machine's clock."""

    as_of: Millis
    today: Day
    now: Millis


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """What planning needs of settings, rulebook and state, fixed for one run.

    Attributes:
        fields: canonical names of our fields that are written, by connection.
        retired: fields that are not written any more and are emptied where they hold a value of ours, by connection.
        task_systems: connections that may be given tasks.
        task_order: (connection or vendor, kind) in the order in which a person's task is placed.
        owners: users and queues by connection and id.
        started_at: when the first pass of this hand-over over all people was complete; None: it is not yet.
        released: queued people whose turn has come.
        reworded: the CRMs' texts are in another language than `language`, until a pass over all people has owed them again.

    """

    rulebook: Rulebook
    digest: str
    policy: Policy
    stage: Literal["observe", "fields", "all"]
    fields: Mapping[str, frozenset[str]]
    delta: int
    refresh_ms: Millis
    language: Language
    say: Say
    local_day: Callable[[Millis], Day]
    holidays: Collection[Day]
    task_systems: frozenset[str]
    task_order: Sequence[tuple[str, str]]
    vendors: Mapping[str, str]
    owners: Mapping[str, Mapping[str, Owner]]
    fallback_owner: Mapping[str, str]
    started_at: Millis | None
    released: frozenset[int] = frozenset()
    retired: Mapping[str, frozenset[str]] = field(default_factory=dict)
    reworded: bool = False


@dataclass(slots=True)
class Planned:
    """What planning came to. `writes`: the records that fields are owed to; `tasks`: the keys of tasks owed;
    `moves`: (band before, band now) to people.
    """

    scores_changed: int = 0
    unassigned: int = 0
    seeded: int = 0
    tasks: list[str] = field(default_factory=list)
    writes: list[RecordRef] = field(default_factory=list)
    moves: Counter[tuple[str, str]] = field(default_factory=Counter)


@dataclass(slots=True)
class _Person:
    """What is stored of one person before planning."""

    row: RowMapping
    before: RowMapping | None = None
    records: list[RowMapping] = field(default_factory=list)
    episodes: tuple[Episode, ...] = ()
    acknowledged: Mapping[RecordRef, Mapping[str, Any]] = field(default_factory=dict)
    owed: Mapping[RecordRef, Mapping[str, Value]] = field(default_factory=dict)
    contested: Mapping[RecordRef, Mapping[str, Any]] = field(default_factory=dict)


def plan_people(connection: Connection, scored: Sequence[Scored], plan: PlanSettings, moment: Moment) -> Planned:
    """Store scores, hand-overs and everything owed for one batch."""
    planned = Planned()
    people = _load(connection, [s.person_id for s in scored])
    rows = []
    wanted: dict[RecordRef, tuple[int, Mapping[str, Any]]] = {}
    for score in scored:
        person = people.get(score.person_id)
        if person is None:
            continue  # merged away between scoring and planning
        row, changed = _score_row(score, person, plan, moment)
        rows.append(row)
        planned.scores_changed += changed
        if person.before is not None and person.before["band"] != score.band:
            planned.moves[person.before["band"], score.band] += 1
        episodes = _hand_over(connection, score, person, plan, moment, planned)
        if plan.stage != "observe":
            values = field_values(score, person, episodes, row["version"], plan, moment)
            wanted |= _wanted_fields(score, person, values, plan, moment)
    planned.writes += outbox.want_fields(connection, wanted, now=moment.now)
    upsert(connection, t.score, rows)
    # Between two passes of stage `all` a restatement is remembered: only there hand-overs are decided.
    restated = [p for p, person in people.items() if plan.stage != "all" and _is_restated(person, plan)]
    for part in chunks(s.person_id for s in scored):
        connection.execute(update(t.person).where(t.person.c.person_id.in_(part)).values(dirty=False, restated=False))
    for part in chunks(restated):
        connection.execute(update(t.person).where(t.person.c.person_id.in_(part)).values(restated=True))
    return planned


# --- scores ----------------------------------------------------------------------------------------------------------

_CONTENT = ("total", "priority", "fit", "engagement", "relationship", "withheld", "band", "trend", "reason_key")


def _score_row(score: Scored, person: _Person, plan: PlanSettings, moment: Moment) -> tuple[dict[str, Any], bool]:
    """The score as stored; its version counts the changes of content. And whether this is one."""
    before = person.before
    content = {name: getattr(score, name) for name in _CONTENT}
    same = before is not None and before["digest"] == plan.digest and all(before[k] == v for k, v in content.items())
    version = (before["version"] if before is not None else 0) + (0 if same else 1)
    shown = max((shown_number(row["written"], "score_version") for row in person.records), default=0)
    if shown > version:
        version = shown + 1  # a state that was lost or restored: what a record shows never goes back
    row = {
        "person_id": score.person_id,
        "as_of": moment.as_of,
        "digest": plan.digest,
        **content,
        "last_human_at": score.last_human_at,
        "reasons": [as_stored(reason) for reason in score.reasons],
        "version": version,
    }
    return row, not same


# --- hand-overs ------------------------------------------------------------------------------------------------------


def _hand_over(
    connection: Connection, score: Scored, person: _Person, plan: PlanSettings, moment: Moment, planned: Planned
) -> tuple[Episode, ...]:
    """At stage `all`: let the transition function decide, store its episodes, owe its task. Returns the episodes."""
    known = _with_forgotten(person, plan, moment)
    if plan.stage != "all":
        if known != person.episodes:
            keep_episodes(connection, score.person_id, known)
        return known
    if person.row["opted_out"]:
        known = _without_unsent(connection, score.person_id, known, moment)
    previous = max((e for e in known if e.record is not None), default=None)
    chosen = choose_record(
        [_task_record(row, plan) for row in person.records],
        order=plan.task_order,
        previous=previous.record if previous else None,
    )
    standing = Standing(
        band=score.band,
        total=score.total,
        last_human_day=None if score.last_human_at is None else plan.local_day(score.last_human_at),
        opted_out=person.row["opted_out"],
        recontact_on=person.row["recontact_on"],
        restated=_is_restated(person, plan),
        written_number=_written(person, "handover_no"),
        record=chosen.ref if chosen else None,
        released=score.person_id in plan.released,
    )
    starting = _is_initial(person, plan)
    decision = decide(standing, known, plan.policy, as_of=moment.as_of, today=moment.today, starting=starting)
    if decision.action == "offer":
        if chosen is None or not _owe_task(connection, score, person, chosen, decision, plan, moment, planned):
            planned.unassigned += 1  # on the unassigned list; offered as soon as somebody can take it
            insert_new(connection, t.unassigned, [{"person_id": score.person_id, "at": moment.as_of}])
            return person.episodes
        connection.execute(delete(t.unassigned).where(t.unassigned.c.person_id == score.person_id))
    planned.seeded += decision.action == "seed"
    if decision.episodes != person.episodes:
        keep_episodes(connection, score.person_id, decision.episodes)
    return decision.episodes


def _is_restated(person: _Person, plan: PlanSettings) -> bool:
    """Whether the score moved because of us since the last time hand-overs were decided: rules, a merge, a split."""
    return bool(person.row["restated"]) or (person.before is not None and person.before["digest"] != plan.digest)


def _without_unsent(
    connection: Connection, person_id: int, episodes: tuple[Episode, ...], moment: Moment
) -> tuple[Episode, ...]:
    """Somebody who opted out while a task waited is not called: the task is cancelled, its episode excluded."""
    if not outbox.cancel_tasks(connection, person_id, reason="the person opted out", now=moment.now):
        return episodes
    latest = max(episodes, default=None)
    if latest is None or latest.state != "offered":
        return episodes
    return tuple(replace(e, state="excluded", at=moment.as_of) if e == latest else e for e in episodes)


def _is_initial(person: _Person, plan: PlanSettings) -> bool:
    """Whether `initial` applies: on the first day, and to whoever was there that day and is seen only later.

    Rows that were younger than the settle time, or a CRM that could not be read, do not miss the first day.
    """
    if plan.started_at is None:
        return True
    return person.before is None and bool(person.row["created_at"] <= plan.started_at)


def _written(person: _Person, name: str) -> int:
    """The highest number in a field of ours that a CRM shows on any record of the person; 0 where there is none."""
    return max((_shown_number(person, row, name) for row in person.records), default=0)


def _shown_number(person: _Person, row: RowMapping, name: str) -> int:
    """The number on one record; one that somebody else wrote into our field is none."""
    seen = person.contested.get(RecordRef(row["system"], row["kind"], row["id"]), {}).get(name)
    return 0 if seen is not None and seen["times"] else shown_number(row["written"], name)


def _with_forgotten(person: _Person, plan: PlanSettings, moment: Moment) -> tuple[Episode, ...]:
    """The person's episodes, with the one that a CRM remembers and this state does not (a lost or restored database).

    It is adopted unarmed: somebody already handed over is not handed over again because we forgot.
    """
    number = _written(person, "handover_no")
    if number <= max((episode.number for episode in person.episodes), default=0):
        return person.episodes
    row = max(person.records, key=lambda r: _shown_number(person, r, "handover_no"))
    state = row["written"].get("handover_state")
    at = row["written"].get("handed_over_at") or moment.as_of
    adopted = Episode(number, plan.policy.name, state if state in STATES else "offered", int(at), seeded=True)
    return tuple(sorted((*person.episodes, adopted)))


def _owe_task(
    connection: Connection,
    score: Scored,
    person: _Person,
    chosen: TaskRecord,
    decision: Decision,
    plan: PlanSettings,
    moment: Moment,
    planned: Planned,
) -> bool:
    """Put the task of an offer into the outbox, unless it was once there; False where nobody can take it."""
    assert decision.number is not None
    system = chosen.ref.system
    owner = choose_owner(chosen.owner_id, plan.owners.get(system, {}), plan.fallback_owner.get(system))
    if owner.owner_id is None:
        return False
    step = _step(score, person, decision.episodes, plan, moment)
    offered = next(e for e in decision.episodes if e.number == decision.number)
    payload = task_payload(score, dict(person.row), owner.owner_id, step, plan) | {OFFER: offer_mark(offered)}
    named = key_record(person.episodes, chosen.ref)
    key = task_key(named.system, named, plan.policy.name, decision.number)
    if outbox.want_task(connection, chosen.ref, score.person_id, key, payload, now=moment.now):
        planned.tasks.append(key)
    return True


def task_payload(
    score: Scored, row: Mapping[str, Any], owner_id: str, step: NextStep, plan: PlanSettings
) -> dict[str, Any]:
    """What the rep reads: whom to call, why now, what next, where to answer."""
    say, language = plan.say, plan.language
    name = row["last_name"] or row["email"] or "?"
    subject = "[{band} {score}] Call {name} ({company})" if row["company"] else "[{band} {score}] Call {name}"
    response = OUTPUT_FIELDS["response"]
    accepted, rejected = response.options
    body = [
        say("Why now:"),
        *(
            f"・{line}" if language == "ja" else f"- {line}"
            for line in reason_texts(score.reasons, plan.rulebook, language)
        ),
        "",
        say("Next: {action}", action=describe_next_step(step, language)),
        say(
            'Please answer in the field "{field}" ({accepted} or {rejected}).',
            field=getattr(response, language),
            accepted=getattr(accepted, language),
            rejected=getattr(rejected, language),
        ),
    ]
    return {
        "owner_id": owner_id,
        "subject": one_line(say(subject, band=score.band, score=score.total, name=name, company=row["company"]))[:255],
        "body": "\n".join(one_line(line) for line in body),
        "due": step.due,
        "priority": "high",
    }


def _task_record(row: RowMapping, plan: PlanSettings) -> TaskRecord:
    ref = RecordRef(row["system"], row["kind"], row["id"])
    vendor = plan.vendors.get(ref.system, "")
    return TaskRecord(ref, vendor, row["created_at"], row["owner_id"], live=ref.system in plan.task_systems)


# --- fields ----------------------------------------------------------------------------------------------------------


def _step(score: Scored, person: _Person, episodes: Sequence[Episode], plan: PlanSettings, moment: Moment) -> NextStep:
    live = [episode for episode in episodes if episode.state == "offered" and not episode.seeded]
    band = "A" if is_in_band(score.band, plan.policy.band) else score.band  # whoever is handed over is to be called
    return next_step(
        band,
        today=moment.today,
        since=plan.local_day(max(live).at) if live else None,
        opted_out=person.row["opted_out"],
        recontact_on=person.row["recontact_on"],
        holidays=plan.holidays,
    )


def field_values(
    score: Scored, person: _Person, episodes: Sequence[Episode], version: int, plan: PlanSettings, moment: Moment
) -> dict[str, Value]:
    """The values of all our fields for a person's records, by canonical name."""
    step = _step(score, person, episodes, plan, moment)
    lines = reason_texts(score.reasons, plan.rulebook, plan.language)
    episode = max((e for e in episodes if e.state != "queued"), default=None)
    values: dict[str, Value] = {
        "score": score.total,
        "fit": score.fit,
        "engagement": score.engagement,
        "relationship": score.relationship,
        "priority": score.priority,
        "withheld": score.withheld,
        "handover_no": episode.number if episode else None,
        "score_version": version,
        "band": score.band,
        "trend": score.trend,
        "reasons": "\n".join(lines)[:REASONS_LIMIT],
        "next_step": step.step,
        "next_action": describe_next_step(step, plan.language)[:255],
        "next_due": step.due,
        "last_human_contact": score.last_human_at,
        "handover_state": episode.state if episode else None,
        "handed_over_at": episode.at if episode else None,
        "rulebook": plan.rulebook.name[:80],
        "scored_at": moment.as_of,
    }
    return values


def _wanted_fields(
    score: Scored, person: _Person, values: Mapping[str, Value], plan: PlanSettings, moment: Moment
) -> dict[RecordRef, tuple[int, Mapping[str, Any]]]:
    """What every live record of the person should show, where the difference is worth a write; see `outbox.want_fields`.

    A write to one record takes along all others that show anything else, however little: two records of one person never
    show two scores, or the sync that joins two CRMs would carry the old one over the new one.
    """
    own: dict[RecordRef, dict[str, Value]] = {}
    for row in person.records:
        ref = RecordRef(row["system"], row["kind"], row["id"])
        own[ref] = _own_values(ref, values, person.acknowledged.get(ref), person, plan)
    wanted = {
        ref
        for ref, one in own.items()
        if worth_writing(one, score.reason_key, person.acknowledged.get(ref), person.owed.get(ref), plan, moment.now)
    }
    if wanted - person.owed.keys():
        wanted |= {ref for ref, one in own.items() if _differs(one, person.acknowledged.get(ref), person.owed.get(ref))}
    return {
        ref: (score.person_id, {"values": one, "reason_key": score.reason_key})
        for ref, one in own.items()
        if ref in wanted
    }


def _differs(
    values: Mapping[str, Value], base: Mapping[str, Any] | None, on_the_way: Mapping[str, Value] | None
) -> bool:
    """Whether the record shows, or is about to show, anything else."""
    content = _content(values)
    if on_the_way is not None:
        return _content(on_the_way) != content
    taken = base["values"] if base is not None else {}
    return any(name not in taken or taken[name] != value for name, value in content.items())


def _own_values(
    ref: RecordRef, values: Mapping[str, Value], base: Mapping[str, Any] | None, person: _Person, plan: PlanSettings
) -> dict[str, Value]:
    """What a record should show: the fields written in its connection, without those left to somebody else on it."""
    taken = base["values"] if base is not None else {}
    retired = {name for name in plan.retired.get(ref.system, ()) if taken.get(name) is not None}
    contested = person.contested.get(ref, {})
    alone = {name for name, seen in contested.items() if seen["times"] >= CONTESTED_LIMIT}
    own = {name: value for name, value in values.items() if name in plan.fields[ref.system] - alone}
    return own | dict.fromkeys(sorted(retired - alone))


def worth_writing(
    values: Mapping[str, Value],
    reason_key: str,
    base: Mapping[str, Any] | None,
    on_the_way: Mapping[str, Value] | None,
    plan: PlanSettings,
    now: Millis,
) -> bool:
    """Whether these values are worth a write, against what the CRM last acknowledged (SETTLED 23).

    Yes: the first time, or with a field that the record never took (or that somebody else changed); another band, next step or
    hand-over; other reasons; texts in another language; `delta` points; or other content and the last write is older than the
    refresh period. What is already on its way is replaced whenever the content differs, at no cost.
    """
    if not _differs(values, base, on_the_way):
        return False
    content = _content(values)
    if base is None or on_the_way is not None or not content.keys() <= base["values"].keys():
        return True
    before = {name: base["values"][name] for name in content}
    if plan.reworded or any(before.get(name) != content.get(name) for name in ALWAYS):
        return True
    if base["reason_key"] != reason_key or abs((before.get("score") or 0) - (content.get("score") or 0)) >= plan.delta:
        return True
    return bool(now - base["at"] >= plan.refresh_ms)


STATES = frozenset(option.value for option in OUTPUT_FIELDS["handover_state"].options)
ALWAYS = ("band", "next_step", "handover_state", "handover_no")


def _content(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values without those that are written only together with others."""
    return {name: value for name, value in values.items() if name not in outbox.VOLATILE}


# --- loading ---------------------------------------------------------------------------------------------------------


def _load(connection: Connection, ids: Sequence[int]) -> dict[int, _Person]:
    people: dict[int, _Person] = {}
    for part in chunks(ids):
        for row in connection.execute(select(t.person).where(t.person.c.person_id.in_(part))).mappings():
            people[row["person_id"]] = _Person(row)
        for row in connection.execute(select(t.score).where(t.score.c.person_id.in_(part))).mappings():
            if row["person_id"] in people:
                people[row["person_id"]].before = row
        alive = (t.record.c.person_id.in_(part), t.record.c.deleted_at.is_(None), t.record.c.successor_id.is_(None))
        columns = (t.record.c.person_id, t.record.c.system, t.record.c.kind, t.record.c.id, t.record.c.created_at, t.record.c.owner_id, t.record.c.written)  # fmt: skip
        for row in connection.execute(select(*columns).where(*alive)).mappings():
            if row["person_id"] in people:
                people[row["person_id"]].records.append(row)
    for person_id, episodes in load_episodes(connection, ids).items():
        if person_id in people:
            people[person_id].episodes = episodes
    refs = {
        person_id: [RecordRef(r["system"], r["kind"], r["id"]) for r in p.records] for person_id, p in people.items()
    }
    every = [ref for own in refs.values() for ref in own]
    acknowledged, owed = outbox.acknowledged(connection, every), outbox.owed(connection, every)
    contested = load_contested(connection, every)
    for person_id, person in people.items():
        person.contested = {ref: contested[ref] for ref in refs[person_id] if ref in contested}
        person.acknowledged = {ref: acknowledged[ref] for ref in refs[person_id] if ref in acknowledged}
        person.owed = {ref: owed[ref] for ref in refs[person_id] if ref in owed}
    return people
