"""What must hold once faults have stopped and nothing moves any more: I2, I4, I6, I8, I9 and I11-I14."""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unicodedata import category, normalize
from zoneinfo import ZoneInfo

from sqlalchemy import select, text

from core.records import local_day
from sync.cycle import Cycle
from sync.engine import ScoreEngine
from sync.report import RunReport
from sync.state import State, open_state
from sync.state import schema as t
from sync.state.contested import LIMIT
from tests.simulation.paired import pair_checks
from tests.simulation.seen import Row, Seen, name_of
from tests.simulation.world import World, rulebook_with
from tests.sync.databases import new_sqlite

ZONE = ZoneInfo("Asia/Tokyo")

QUIET_SECONDS = 65 * 60.0
"""Past every hold, every retry of an outbox row and every overlap."""

ROUNDS = 12
WRITING = 3
"""Passes that may write on one day after the last human act: what was owed, what came of reading it, what was held back."""


def settle(world: World, *, held: bool = True) -> list[str]:
    """Faults stop; run until a run sends nothing. Else it is a violation of I8.

    Args:
        held: and once more with the clock held.

    """
    world.heal()
    if world.share is not None:
        world.lift_share()
        world.wait(25 * 3600.0)
    if world.restored:
        world.wait(QUIET_SECONDS)
        world.sync(sweep=True)
        world.reconcile()
    writing: dict[int, int] = defaultdict(int)
    stopped = ""
    for turn in range(ROUNDS):
        world.wait(QUIET_SECONDS)
        report = world.sync(sweep=turn == 0)
        if report is None:
            return [f"I4: healed, and yet a run ends with {world.stopped[-1]!r}"]
        stopped = "".join(f"; {system} is stopped: {s.error}" for system, s in report.systems.items() if s.stopped)
        if stopped:
            world.wait(6 * 3600.0)  # a day's calls come back at midnight, a breaker closes within the hour
            continue
        if not _sent(report) and not report.scores_changed and not report.fields_owed:
            return _stays_quiet(world) if held else []
        day = local_day(world.box.clock.now_ms(), ZONE)
        writing[day] += 1
        if writing[day] > WRITING:
            return [f"I8: {writing[day]} passes of one day wrote without a human act"]
    return [f"I8: after {ROUNDS} rounds without a human act it still writes{stopped}"]


def _stays_quiet(world: World) -> list[str]:
    """I8: after a pass that wrote nothing, and with the clock held, another one writes nothing either."""
    report = world.sync()
    if report is None:
        return [f"I4: healed, and yet a run ends with {world.stopped[-1]!r}"]
    sent = _sent(report)
    return [f"I8: {sent} writes with the clock held, after a pass that wrote nothing"] if sent else []


def _sent(report: RunReport) -> int:
    return sum(system.write_calls + system.postponed for system in report.systems.values())


def at_the_end(world: World, seen: Seen | None = None, *, anew: bool = True) -> list[str]:
    """Everything that must hold once the world is at rest.

    Args:
        world: after `settle`.
        seen: what it holds now, where somebody has looked already.
        anew: also score everything again, twice, and hold it against what a fresh installation makes of the same CRMs.

    """
    seen = seen or Seen(world)
    checks = [_owed, _offered, _shown_scores, _left_alone, _mirror, _activities, _business, _isolated, _forgotten]
    found = [line for check in checks for line in check(world, seen)]
    found += pair_checks(world, seen)
    found += [*_durable(world), *_single_runner(world)]
    if anew:
        found += [*_same_again(world, seen), *_as_if_new(world, seen)]
    return found


# --- tasks ------------------------------------------------------------------------------------------------------------


def _owed(world: World, seen: Seen) -> Iterator[str]:
    """I2: every task that was owed exists, or says why not, and the reason is true."""
    for key, row in seen.owed_tasks.items():
        said = f"{row['state']} ({row['code']} {row['message']})"
        if row["state"] in {"new", "unknown"}:
            yield f"I2: task {key} is still {said}"
        elif key in seen.tasks:
            continue
        elif row["state"] == "done" and key not in world.tally.erased_keys:
            yield f"I2: task {key} counts as made and is nowhere"
        elif row["state"] in {"dead", "cancelled"} and not _given_up_rightly(world, seen, row):
            yield f"I2: task {key} of {name_of(row)} is {said}, and there is no such reason"


def _given_up_rightly(world: World, seen: Seen, row: Row) -> bool:
    """Whether the record is gone, was poisoned, or its person has another task. Nobody here opts out or drops a task."""
    others = {row["person_id"] for key, row in seen.owed_tasks.items() if key in seen.tasks}
    merged = row["message"] == "one person, one task" and row["person_id"] in others
    return bool(row["message"]) and (merged or name_of(row) not in seen.live or row["id"] in world.tally.poisoned)


def _offered(world: World, seen: Seen) -> Iterator[str]:
    """I2: whoever is hot, recently active and reachable has been handed over, by a task that was made or is owed."""
    made = {row["person_id"] for key, row in seen.owed_tasks.items() if key in seen.tasks or row["state"] == "done"}
    made |= {row["person_id"] for row in seen.owed_tasks.values() if row["id"] in world.tally.poisoned}
    made |= {row["person_id"] for row in seen.state(t.unassigned)}
    made |= _split_off(seen, made)
    today = local_day(world.box.clock.now_ms(), ZONE)
    for score in seen.state(t.score):
        last = score["last_human_at"]
        recent = last is not None and today - local_day(last, ZONE) < 14
        if score["band"] == "A" and recent and score["person_id"] not in made:
            yield f"I2: person {score['person_id']} is in band A, met lately, and was never handed over"


def _split_off(seen: Seen, made: set[int]) -> set[int]:
    """Who was one person with somebody when that one was handed over, and no longer is: a split makes no second offer."""
    episodes = seen.state(t.handover)
    offers = {(row["name"], row["number"], row["at"]) for row in episodes if row["person_id"] in made and row["id"]}
    return {
        row["person_id"]
        for row in episodes
        if row["seeded"] and row["id"] is None and (row["name"], row["number"], row["at"]) in offers
    }


# --- scores -----------------------------------------------------------------------------------------------------------


def _shown_scores(world: World, seen: Seen) -> Iterator[str]:
    """I4: every live record shows its person's score."""
    scores = {row["person_id"]: row for row in seen.state(t.score)}
    excused = {name_of(row) for row in seen.state(t.contested) if row["times"] >= LIMIT}
    excused |= {name_of(row) for row in seen.state(t.outbox) if row["effect"] == "fields" and _refused(world, row)}
    for ref, values in seen.shown.items():
        record = seen.mirrored.get(ref)
        score = scores.get(record["person_id"]) if record else None
        if score is None:
            yield f"I4: {ref} is in the CRM and has no score"
        elif ref not in excused and (values["score"], values["band"]) != (score["total"], score["band"]):
            shown, right = f"{values['score']} {values['band']}", f"{score['total']} {score['band']}"
            yield f"I4: {ref} shows {shown}, its score is {right}"


def _refused(world: World, row: Row) -> bool:
    """Whether the CRM refuses this row for a while: it is kept with the reason, and tried once a day."""
    return row["state"] == "dead" and row["id"] in world.tally.poisoned


def _fed_by_a_refusal(world: World, seen: Seen, row: Row) -> bool:
    """Whether the native sync carries over what stands in the other CRM because that one refuses our write."""
    if world.native is None or (record := seen.mirrored.get(name_of(row))) is None:
        return False
    partners = (one for one in seen.mirrored.values() if one["person_id"] == record["person_id"])
    return any(one["system"] != row["system"] and one["id"] in world.tally.poisoned for one in partners)


def _left_alone(world: World, seen: Seen) -> Iterator[str]:
    """I8: no field of ours is left to somebody else where nobody else has touched one."""
    if world.restored or "rep_edits_score" in world.tally.steps:
        return
    for row in seen.state(t.contested):
        if row["times"] >= LIMIT and not _fed_by_a_refusal(world, seen, row):
            yield f"I8: {row['field']} of {name_of(row)} was left alone, and nobody has edited it"


# --- the mirror -------------------------------------------------------------------------------------------------------


def _mirror(_world: World, seen: Seen) -> Iterator[str]:
    """I6: the mirror holds every live record as the CRM has it, and no other."""
    for ref in sorted(seen.live.keys() ^ seen.mirrored.keys()):
        wrong = "is missing in the mirror" if ref in seen.live else "is in the mirror and no longer in the CRM"
        yield f"I6: {ref} {wrong}"
    for ref in seen.live.keys() & seen.mirrored.keys():
        row = seen.mirrored[ref]
        for name, value in seen.live[ref].items():
            held = row["email"] if name == "email" else row["fields"].get(name)
            if _as_text(held) != _as_text(value):
                yield f"I6: {ref} is mirrored with {name} {held!r}, the CRM has {value!r}"


def _as_text(value: str | None) -> str | None:
    """A text as far as it can be kept: one form for letters that look alike, no NUL and no half characters."""
    plain = normalize("NFKC", "".join(c for c in value or "" if c != "\0" and category(c) != "Cs"))
    return plain.strip() or None


def _activities(_world: World, seen: Seen) -> Iterator[str]:
    """I6: what a live person did is in the mirror once, with that person."""
    held = {(a["system"], a["object"].lower(), a["source_id"], a["person_id"]) for a in seen.activities}
    for system, kind, row_id, who in seen.met:
        record = seen.mirrored.get(who)
        if record is None or (system, kind.lower().removesuffix("s"), row_id, record["person_id"]) not in held:
            yield f"I6: {system}/{kind}/{row_id} of {who} is not among the person's activities"


def _business(_world: World, seen: Seen) -> Iterator[str]:
    """I6: deals and accounts are mirrored as the CRMs have them."""
    deals = {f"{r['system']}/{r['id']}": r for r in seen.state(t.deal) if r["deleted_at"] is None}
    for ref, (stage, won) in seen.deals.items():
        held = deals.get(ref)
        if held is None or (held["stage"], held["is_won"]) != (stage, won):
            yield f"I6: deal {ref} is {stage}, the mirror has {held and held['stage']}"
    accounts = {f"{r['system']}/{r['id']}": r for r in seen.state(t.account) if r["deleted_at"] is None}
    for ref, name in seen.companies.items():
        if ref not in accounts or accounts[ref]["fields"].get("company") != name:
            yield f"I6: account {ref} is not in the mirror as {name}"


# --- rows that died, people who left ----------------------------------------------------------------------------------


def _isolated(world: World, seen: Seen) -> Iterator[str]:
    """I11: only rows that were poisoned have died, or whose record is gone."""
    for row in seen.state(t.outbox):
        gone = row["code"] == "gone" and name_of(row) not in seen.live
        if row["state"] == "dead" and not gone and row["id"] not in world.tally.poisoned:
            yield f"I11: {row['effect']} of {name_of(row)} died: {row['code']} {row['message']}"


def _forgotten(world: World, seen: Seen) -> Iterator[str]:
    """I12: of whom a CRM deleted for good nothing is left here, in no table and in no page of the file."""
    if not world.tally.erased:
        return
    people = [*seen.org("Lead"), *seen.org("Contact")]
    there = {value for row in people for value in (row["LastName"], row["Email"])}
    for row in seen.portal("contacts"):
        own = row["properties"]
        more = (own.get("hs_additional_emails") or "").split(";")  # of those who were merged into this one
        there |= {own.get("lastname"), own.get("email"), *more}
    gone = sorted(word for word in world.tally.erased - there if word)
    places = {}
    if gone:
        for table in t.metadata.sorted_tables:
            places[table.name] = json.dumps(world.rows(table), ensure_ascii=False, default=str).encode()
        for file in world.folder.glob("state.sqlite3*"):
            places[file.name] = file.read_bytes()
    for word in gone:
        yield from (f"I12: {word} is still in {name}" for name, held in places.items() if word.encode() in held)


# --- scoring once more ------------------------------------------------------------------------------------------------

CONTENT = ("total", "priority", "fit", "engagement", "relationship", "withheld", "band", "trend", "reason_key")


def _same_again(world: World, seen: Seen) -> Iterator[str]:
    """I13: the same facts and moment give the same bytes, and what is stored is what they give."""
    stored: dict[int, dict[int, Row]] = defaultdict(dict)
    for row in seen.state(t.score):
        stored[row["as_of"]][row["person_id"]] = row
    with world.state() as state:
        engine = ScoreEngine(state, rulebook_with(world.points), ZONE)
        for as_of, rows in stored.items():
            first, second = (engine.score_people(sorted(rows), as_of) for _ in range(2))
            if repr(first) != repr(second):
                yield "I13: the same facts were scored differently"
            for score in first:
                before = rows[score.person_id]
                for name in CONTENT:
                    if (now := getattr(score, name)) != before[name]:
                        yield f"I13: person {score.person_id} has {name} {before[name]}, the facts give {now}"


def _as_if_new(world: World, seen: Seen) -> list[str]:
    """I4, I6: whoever began today, reading everything from the start, would see the same scores."""
    url = new_sqlite(world.folder / "fresh.sqlite3")
    settings = world.settings.model_copy(update={"stage": "observe", "state": url})
    state = open_state(url)
    try:
        with world.connectors(settings) as built:
            Cycle(state, settings, rulebook_with(world.points), built, clock=world.clock.now).run()
        fresh = _scores_by_record(state)
    finally:
        state.close()
        for file in Path(world.folder).glob("fresh.sqlite3*"):
            file.unlink()
    ours, doubtful = _scores_by_record(world.eye), _with_rivals(seen)
    return [
        f"I4: {ref} has {ours.get(ref)}, a fresh installation gives {values}"
        for ref, values in fresh.items()
        if ours.get(ref) != values and ref not in doubtful
    ]


def _with_rivals(seen: Seen) -> set[str]:
    """Records of people with two live records of one kind that say different things, and of whoever may be their colleague.

    The newest counts, also for which company they are of, and whoever begins today cannot tell a stamp that we moved from a
    person's.
    """
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in seen.mirrored.values():
        groups[row["person_id"], row["system"], row["kind"]].append(row)
    people = {key[0] for key, rows in groups.items() if any(row["fields"] != rows[0]["fields"] for row in rows)}
    firms = {row["fields"].get("company") for row in seen.mirrored.values() if row["person_id"] in people} - {None}
    return {
        ref for ref, row in seen.mirrored.items() if row["person_id"] in people or row["fields"].get("company") in firms
    }


def _scores_by_record(state: State) -> dict[str, tuple[int, ...]]:
    names = ("total", "fit", "engagement", "relationship", "withheld")
    columns = [t.record.c.system, t.record.c.kind, t.record.c.id, *(t.score.c[name] for name in names)]
    alive = t.record.c.deleted_at.is_(None) & t.record.c.successor_id.is_(None)
    with state.read() as connection:
        rows = connection.execute(
            select(*columns).join(t.score, t.score.c.person_id == t.record.c.person_id).where(alive)
        ).all()
    return {"/".join(row[:3]): tuple(row[3:]) for row in rows}


# --- the machine ------------------------------------------------------------------------------------------------------


def _durable(world: World) -> list[str]:
    """I14: a commit is on the disk when it returns."""
    with world.state() as state, state.begin() as connection:
        if connection.dialect.name == "sqlite":
            level = connection.execute(text("PRAGMA synchronous")).scalar_one()
            return [] if level >= 2 else [f"I14: SQLite runs with synchronous={level}"]
        setting = connection.execute(text("SHOW synchronous_commit")).scalar_one()
        return [] if setting == "on" else [f"I14: PostgreSQL runs with synchronous_commit={setting}"]


def _single_runner(world: World) -> list[str]:
    """I9: who was overtaken did not commit."""
    return [f"I9: {world.tally.not_stopped} overtaken runs went on committing"] if world.tally.not_stopped else []
