"""The invariants I1-I14, held against what the CRMs and the state really contain.

`after_each` is asked after every step, `at_the_end` once faults have stopped and nothing moves any more. Each answers with the
violations it sees, as "I1: …"; an empty list is what we promise.
"""

import json
from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import select, text

from core.records import local_day
from sync.cycle import Cycle
from sync.engine import ScoreEngine
from sync.state import State, open_state
from sync.state import schema as t
from tests.simulation.world import World, rulebook_with
from tests.sync.databases import new_sqlite

PREFIX = "mk1-"
"""Of every key of ours; the tasks by which `setup` probes a portal carry another."""

QUIET_SECONDS = 65 * 60.0
"""Past every hold, every retry of an outbox row and every overlap."""

ROUNDS = 8


@dataclass(slots=True)
class Watch:
    """What was seen so far, so that what must never go back can be told."""

    versions: dict[str, int] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)  # key -> the task's id when first seen

    def after_each(self, world: World) -> list[str]:
        always = [*self._single_tasks(world), *self._invented_tasks(world), *self._versions(world)]
        return [*always, *_checkpoints(world), *_quota(world)]

    def _single_tasks(self, world: World) -> list[str]:
        """I1: at most one task a key, at all times, deleted ones included."""
        found = tasks(world)
        for key, places in found.items():
            self.keys.setdefault(key, places[0])
        return [f"I1: {len(places)} tasks under {key}: {places}" for key, places in found.items() if len(places) > 1]

    def _invented_tasks(self, world: World) -> list[str]:
        """I3: no key in a CRM that the state did not commit before; after a restored backup only those it had forgotten."""
        known = {row["key"] for row in world.rows(t.outbox, t.outbox.c.effect == "task")}
        if world.restored:
            return []
        return [f"I3: task {key} exists, and the state knows nothing of it" for key in self.keys if key not in known]

    def _versions(self, world: World) -> list[str]:
        """I5: the score version that a record shows never goes back."""
        wrong = []
        for ref, values in shown(world).items():
            version = values.get("score_version")
            if version is None:
                continue
            if version < self.versions.get(ref, 0):
                wrong.append(f"I5: {ref} went back from version {self.versions[ref]} to {version}")
            self.versions[ref] = max(version, self.versions.get(ref, 0))
        return wrong


def _checkpoints(world: World) -> list[str]:
    """I7: whatever a Salesforce cursor has passed is in the mirror."""
    wrong = []
    kinds = {"lead": "Lead", "contact": "Contact"}
    mirrored = {(r["kind"], r["id"]): r["modified_at"] for r in world.rows(t.record, t.record.c.system == "salesforce")}
    for row in world.rows(t.cursor, t.cursor.c.system == "salesforce"):
        kind = row["stream"].lower().removesuffix("s")
        if kind not in kinds:
            continue
        place = json.loads(row["value"])
        end = (place["stamp"], place["id"]) if place.get("stamp") is not None else None
        for found in world.soql(f"SELECT Id, SystemModstamp, IsDeleted FROM {kinds[kind]}"):
            stamp = _millis(found["SystemModstamp"])
            passed = (stamp, found["Id"]) <= end if end else "stamp" not in place and stamp < place["hi"] - 600_000
            if end and place.get("lo") is not None and stamp < place["lo"]:
                continue
            if passed and not found["IsDeleted"] and mirrored.get((kind, found["Id"]), -1) < stamp:
                wrong.append(
                    f"I7: the cursor of {row['stream']} has passed {found['Id']} ({stamp}), the mirror has not"
                )
    return wrong


def _quota(world: World) -> list[str]:
    """I10: never more calls than the share that was granted."""
    if world.share is None:
        return []
    made = world.hubspot_calls() - world.calls_before
    return [f"I10: {made} calls with a share of {world.share}"] if made > world.share else []


def settle(world: World) -> list[str]:
    """Faults stop; run until a run sends nothing. What does not come to rest is a violation of I8."""
    world.heal()
    if world.restored:
        world.wait(QUIET_SECONDS)
        world.sync(sweep=True)
        world.reconcile()
    for turn in range(ROUNDS):
        world.wait(QUIET_SECONDS)
        report = world.sync(sweep=turn == 0)
        if report is None:
            return [f"I4: healed, and yet a run ends with {world.stopped[-1]!r}"]
        if any(system.stopped for system in report.systems.values()):
            world.wait(6 * 3600.0)  # a day's calls come back at midnight, a breaker closes within the hour
            continue
        sent = sum(system.write_calls + system.postponed for system in report.systems.values())
        if not sent and not report.scores_changed and not report.fields_owed:
            return []
    return [f"I8: after {ROUNDS} rounds without a human act it still writes"]


def at_the_end(world: World, *, anew: bool = True) -> list[str]:
    """Everything that must hold once the world is at rest.

    Args:
        anew: also score everything again, twice, and hold it against what a fresh installation makes of the same CRMs.

    """
    checks = [_owed, _offered, _shown_scores, _mirror, _isolated, _forgotten, _durable, _single_runner]
    if anew:
        checks += [_same_again, _as_if_new]
    return [line for check in checks for line in check(world)]


def _owed(world: World) -> list[str]:
    """I2: every task that was owed exists, or says why not."""
    found, wrong = tasks(world), []
    for row in world.rows(t.outbox, t.outbox.c.effect == "task"):
        if row["state"] in {"new", "unknown"}:
            wrong.append(f"I2: task {row['key']} is still {row['state']} ({row['code']} {row['message']})")
        elif row["state"] == "done" and row["key"] not in found and not world.tally.erased:
            wrong.append(f"I2: task {row['key']} counts as made and is nowhere")
        elif row["state"] in {"dead", "cancelled"} and not row["message"]:
            wrong.append(f"I2: task {row['key']} is {row['state']} without a reason")
    return wrong


def _offered(world: World) -> list[str]:
    """I2: whoever is hot, recently active and reachable has been handed over."""
    handed = {row["person_id"] for row in world.rows(t.handover)}
    waiting = {row["person_id"] for row in world.rows(t.unassigned)}
    today = local_day(world.box.clock.now_ms(), ZoneInfo("Asia/Tokyo"))
    wrong = []
    for score in world.rows(t.score, t.score.c.band == "A"):
        last = score["last_human_at"]
        recent = last is not None and today - local_day(last, ZoneInfo("Asia/Tokyo")) < 14
        if recent and score["person_id"] not in handed | waiting:
            wrong.append(f"I2: person {score['person_id']} is in band A, met lately, and was never handed over")
    return wrong


def _shown_scores(world: World) -> list[str]:
    """I4: every live record shows its person's score."""
    scores = {row["person_id"]: row for row in world.rows(t.score)}
    people = {f"{r['system']}/{r['kind']}/{r['id']}": r["person_id"] for r in live_rows(world)}
    excused = {f"{r['system']}/{r['kind']}/{r['id']}" for r in world.rows(t.contested, t.contested.c.times >= 3)}
    dead = (
        t.outbox.c.effect == "fields",
        t.outbox.c.state == "dead",
    )  # refused, kept with the reason, tried once a day
    excused |= {f"{r['system']}/{r['kind']}/{r['id']}" for r in world.rows(t.outbox, *dead)}
    wrong = []
    for ref, values in shown(world).items():
        score = scores.get(people.get(ref) or 0)
        if score is None:
            wrong.append(f"I4: {ref} is in the CRM and has no score")
        elif ref not in excused and (values["score"], values["band"]) != (score["total"], score["band"]):
            wrong.append(
                f"I4: {ref} shows {values['score']} {values['band']}, its score is {score['total']} {score['band']}"
            )
    return wrong


def _mirror(world: World) -> list[str]:
    """I6: the mirror holds every live record as the CRM has it, and no other."""
    here = {f"{r['system']}/{r['kind']}/{r['id']}": r["email"] for r in live_rows(world)}
    there = live(world)
    wrong = [f"I6: {ref} is missing in the mirror" for ref in there.keys() - here.keys()]
    wrong += [f"I6: {ref} is in the mirror and no longer in the CRM" for ref in here.keys() - there.keys()]
    wrong += [
        f"I6: {ref} is mirrored with {here[ref]}, the CRM has {mail}"
        for ref, mail in there.items()
        if ref in here and (here[ref] or "") != (mail or "")
    ]
    return wrong


def _isolated(world: World) -> list[str]:
    """I11: only rows that were poisoned have died."""
    dead = [row for row in world.rows(t.outbox, t.outbox.c.state == "dead") if row["code"] != "gone"]
    return [
        f"I11: {row['effect']} of {row['system']}/{row['kind']}/{row['id']} died: {row['code']} {row['message']}"
        for row in dead
        if row["id"] not in world.tally.poisoned
    ]


def _forgotten(world: World) -> list[str]:
    """I12: of whom a CRM deleted for good nothing is left here, in no table and in no page of the file."""
    rows = [*world.soql("SELECT LastName, Email FROM Lead"), *world.soql("SELECT LastName, Email FROM Contact")]
    there = {value for row in rows for value in (row["LastName"], row["Email"])}
    there |= {row["properties"].get(name) for row in world.hubspot_rows("contacts") for name in ("lastname", "email")}
    gone = sorted(text for text in world.tally.erased - there if text)
    if not gone:
        return []
    places = {}
    for table in t.metadata.sorted_tables:
        places[table.name] = json.dumps(world.rows(table), ensure_ascii=False, default=str).encode()
    for file in world.folder.glob("state.sqlite3*"):
        places[file.name] = file.read_bytes()
    return [
        f"I12: {text} is still in {name}" for text in gone for name, held in places.items() if text.encode() in held
    ]


def _same_again(world: World) -> list[str]:
    """I13: the same facts and moment give the same bytes; what is stored is what they give."""
    texts = []
    with world.state() as state:
        as_of = max((row["as_of"] for row in world.rows(t.score)), default=None)
        if as_of is None:
            return []
        for _ in range(2):
            with closing(ScoreEngine(state, rulebook_with(world.points), ZoneInfo("Asia/Tokyo"))) as engine:
                texts.append(repr([person for batch in engine.score_all(as_of) for person in batch]))
    return [] if texts[0] == texts[1] else ["I13: the same facts were scored differently"]


def _as_if_new(world: World) -> list[str]:
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
    ours, doubtful = _scores_by_record(world.eye), _with_rivals(world)
    return [
        f"I4: {ref} has {ours.get(ref)}, a fresh installation gives {values}"
        for ref, values in fresh.items()
        if ours.get(ref) != values and ref not in doubtful
    ]


def _with_rivals(world: World) -> set[str]:
    """Records of people with two live records of one kind that say different things.

    The newest counts, and whoever begins today cannot tell a stamp that we moved from a person's.
    """
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in live_rows(world):
        groups[row["person_id"], row["system"], row["kind"]].append(row)
    people = {key[0] for key, rows in groups.items() if any(row["fields"] != rows[0]["fields"] for row in rows)}
    return {f"{r['system']}/{r['kind']}/{r['id']}" for r in live_rows(world) if r["person_id"] in people}


def _scores_by_record(state: State) -> dict[str, tuple[int, ...]]:
    names = ("total", "fit", "engagement", "relationship", "withheld")
    columns = [t.record.c.system, t.record.c.kind, t.record.c.id, *(t.score.c[name] for name in names)]
    alive = t.record.c.deleted_at.is_(None) & t.record.c.successor_id.is_(None)
    with state.read() as connection:
        rows = connection.execute(
            select(*columns).join(t.score, t.score.c.person_id == t.record.c.person_id).where(alive)
        ).all()
    return {"/".join(row[:3]): tuple(row[3:]) for row in rows}


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


# --- what is so -------------------------------------------------------------------------------------------------------


def tasks(world: World) -> dict[str, list[str]]:
    """Every task of ours in either CRM, deleted ones too: key to places."""
    found: dict[str, list[str]] = defaultdict(list)
    for row in world.soql("SELECT Id, Mikomi_Key__c FROM Task WHERE Mikomi_Key__c != null"):
        found[row["Mikomi_Key__c"]].append(f"salesforce/{row['Id']}")
    for row in world.hubspot_rows("tasks"):
        key = row["properties"].get("mikomi_key") or ""
        if key.startswith(PREFIX):
            found[key].append(f"hubspot/{row['id']}")
    return found


def live(world: World) -> dict[str, str | None]:
    """Live person records of both CRMs with their address."""
    found: dict[str, str | None] = {}
    for kind, where in (("Lead", " AND IsConverted = false"), ("Contact", "")):
        for row in world.soql(f"SELECT Id, Email FROM {kind} WHERE IsDeleted = false{where}"):
            found[f"salesforce/{kind.lower()}/{row['Id']}"] = (row["Email"] or "").lower() or None
    for row in world.hubspot_rows("contacts"):
        if row["archived_ms"] is None:
            found[f"hubspot/contact/{row['id']}"] = (row["properties"].get("email") or "").lower() or None
    return found


def live_rows(world: World) -> list[dict[str, Any]]:
    return world.rows(t.record, t.record.c.deleted_at.is_(None), t.record.c.successor_id.is_(None))


def shown(world: World) -> dict[str, dict[str, Any]]:
    """What live records show of score, band and version."""
    found: dict[str, dict[str, Any]] = {}
    for kind, where in (("Lead", " AND IsConverted = false"), ("Contact", "")):
        query = f"SELECT Id, Mikomi_Score__c, Mikomi_Band__c, Mikomi_Score_Version__c FROM {kind} WHERE IsDeleted = false{where}"
        for row in world.soql(query):
            names = ("Mikomi_Score__c", "Mikomi_Band__c", "Mikomi_Score_Version__c")
            found[f"salesforce/{kind.lower()}/{row['Id']}"] = _values(*(row[name] for name in names))
    for row in world.hubspot_rows("contacts"):
        if row["archived_ms"] is None:
            own = row["properties"]
            names = ("mikomi_score", "mikomi_band", "mikomi_score_version")
            found[f"hubspot/contact/{row['id']}"] = _values(*(own.get(name) for name in names))
    return found


def _values(score: Any, band: Any, version: Any) -> dict[str, Any]:
    whole = [None if value in (None, "") else int(float(value)) for value in (score, version)]
    return {"score": whole[0], "band": band, "score_version": whole[1]}


def _millis(stamp: str) -> int:
    from datetime import datetime

    return round(datetime.fromisoformat(stamp.replace("+0000", "+00:00")).timestamp() * 1000)
