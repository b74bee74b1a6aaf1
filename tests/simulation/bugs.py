"""Bugs to plant, each a few lines laid over the product while a story is told."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, delete, event, update

import connectors.budget
import connectors.salesforce.payload
import sync.clean
import sync.cycle
import sync.deliver
import sync.extract
import sync.plan
import sync.planning
import sync.state
import sync.state.mirror.graves
from connectors import WriteResult
from connectors.hubspot.writing import FieldWriter as HubSpotWriter
from core.errors import Rejected
from core.records import Fact, Record, RecordRef
from sync.engine import Scored, ScoreEngine
from sync.sending import Sending
from sync.state import outbox
from sync.state import schema as t
from sync.state.lease import Fence
from sync.state.mirror import Stored, store
from tests.simulation.world import World

Plant = Callable[[pytest.MonkeyPatch], None]


def blind_second_attempt(patch: pytest.MonkeyPatch) -> None:
    def send_again(sending: Sending) -> None:
        with sending.state.begin() as connection:
            for entry in outbox.unresolved(connection, sending.connector.name):
                outbox.release(connection, entry, now=sending.clock())

    patch.setattr(sync.deliver, "look_for_tasks", send_again)


def tasks_are_never_sent(patch: pytest.MonkeyPatch) -> None:
    drain = sync.deliver._drain
    patch.setattr(
        sync.deliver, "_drain", lambda sending, effect, progress: effect == "task" or drain(sending, effect, progress)
    )


def the_intent_is_not_kept(patch: pytest.MonkeyPatch) -> None:
    claim = outbox.claim

    def claim_and_drop(connection: Connection, system: str, effect: str, *args: Any, **options: Any) -> list[Any]:
        entries = claim(connection, system, effect, *args, **options)
        if effect == "task":
            for entry in entries:
                connection.execute(delete(t.outbox).where(t.outbox.c.outbox_id == entry.outbox_id))
        return entries

    patch.setattr(outbox, "claim", claim_and_drop)


def a_write_is_acknowledged_unsent(patch: pytest.MonkeyPatch) -> None:
    def pretend(sending: Sending, entries: Sequence[Any]) -> None:
        writes = [sync.deliver._write(entry) for entry in entries]
        results = list(sending.connector.write(writes[1:]))
        done = [WriteResult(writes[0], "ok"), *results]
        sync.deliver._settle(sending, list(zip(entries, done, strict=True)), lost=False)

    patch.setattr(sync.deliver, "_send", pretend)


def holds_are_ignored(patch: pytest.MonkeyPatch) -> None:
    want = outbox.want_fields

    def want_at_once(connection: Connection, wanted: Any, *, now: int) -> list[RecordRef]:
        owed = want(connection, wanted, now=now)
        connection.execute(update(t.outbox).where(t.outbox.c.state == "new").values(due_at=now))
        return owed

    patch.setattr(outbox, "want_fields", want_at_once)


def nothing_is_read_twice(patch: pytest.MonkeyPatch) -> None:
    settings = World.settings.fget  # type: ignore[attr-defined]

    def without_lookback(world: World) -> Any:
        world.more.setdefault("connections", {}).setdefault("salesforce", {})["lookback_minutes"] = 0
        return settings(world)

    patch.setattr(World, "settings", property(without_lookback))


def a_page_is_lost(patch: pytest.MonkeyPatch) -> None:
    def store_some(connection: Connection, facts: Sequence[Fact], *args: Any, **options: Any) -> Stored:
        kept = [f for f in facts if not (isinstance(f, Record) and str(f.fields.get("email")).startswith("two"))]
        return store(connection, kept, *args, **options)

    patch.setattr(sync.extract, "store", store_some)


def everything_is_written_always(patch: pytest.MonkeyPatch) -> None:
    everyone = sync.cycle.Cycle._touched_people

    def all_of_them(cycle: Any) -> list[int]:
        everyone(cycle)
        with cycle._state.read() as connection:
            return list(connection.execute(t.person.select().with_only_columns(t.person.c.person_id)).scalars())

    patch.setattr(sync.cycle.Cycle, "_touched_people", all_of_them)
    patch.setattr(sync.plan, "worth_writing", lambda *_args, **_options: True)


def fences_are_open(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Fence, "check", lambda _self, _connection: None)


def the_share_is_not_counted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(connectors.budget.Budget, "spend", lambda *_args, **_options: None)


def neighbours_die_too(patch: pytest.MonkeyPatch) -> None:
    settle_batch = sync.deliver._settle

    def all_or_nothing(sending: Sending, results: Sequence[tuple[Any, WriteResult]], *, lost: bool) -> None:
        if any(result.status == "rejected" for _, result in results):
            error = Rejected("the batch was refused", code="BATCH")
            results = [(entry, replace(result, status="rejected", error=error)) for entry, result in results]
        settle_batch(sending, results, lost=lost)

    patch.setattr(sync.deliver, "_settle", all_or_nothing)


def the_clock_is_looked_at(patch: pytest.MonkeyPatch) -> None:
    score_all = ScoreEngine.score_all
    count = iter(range(1_000_000))

    def drifting(engine: ScoreEngine, *args: Any, **options: Any) -> Iterator[list[Scored]]:
        for batch in score_all(engine, *args, **options):
            yield [replace(score, priority=score.priority + next(count)) for score in batch]

    patch.setattr(ScoreEngine, "score_all", drifting)


def commits_are_not_flushed(patch: pytest.MonkeyPatch) -> None:
    engine_of = sync.state._engine

    def lazy(url: str) -> Any:
        engine = engine_of(url)
        event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF"))
        return engine

    patch.setattr(sync.state, "_engine", lazy)


def forget_to_erase(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sync.state.mirror.graves, "erase_records", lambda *_args, **_options: 0)


def edits_are_lost(patch: pytest.MonkeyPatch) -> None:
    """Of what was read once, later titles, names and companies are not taken over."""
    first: dict[Any, dict[str, Any]] = {}

    def store_old(connection: Connection, facts: Sequence[Fact], *args: Any, **options: Any) -> Stored:
        return store(connection, [_as_first_read(fact, first) for fact in facts], *args, **options)

    patch.setattr(sync.extract, "store", store_old)


def _as_first_read(fact: Fact, first: dict[Any, dict[str, Any]]) -> Fact:
    if not isinstance(fact, Record):
        return fact
    kept = {name: value for name, value in fact.fields.items() if name in ("title", "last_name", "company")}
    return replace(fact, fields={**fact.fields, **first.setdefault(fact.ref, kept)})


def lost(*kinds: type) -> Callable[[pytest.MonkeyPatch], None]:
    def facts_are_lost(patch: pytest.MonkeyPatch) -> None:
        def store_others(connection: Connection, facts: Sequence[Fact], *args: Any, **options: Any) -> Stored:
            return store(connection, [fact for fact in facts if not isinstance(fact, kinds)], *args, **options)

        patch.setattr(sync.extract, "store", store_others)

    return facts_are_lost


def a_contact_is_lost(patch: pytest.MonkeyPatch) -> None:
    def store_some(connection: Connection, facts: Sequence[Fact], *args: Any, **options: Any) -> Stored:
        kept = [f for f in facts if not (isinstance(f, Record) and str(f.fields.get("email")).startswith("hot2"))]
        return store(connection, kept, *args, **options)

    patch.setattr(sync.extract, "store", store_some)


def everything_is_written_for_a_while(patch: pytest.MonkeyPatch) -> None:
    everything_is_written_always(patch)
    everyone, passes = sync.cycle.Cycle._touched_people, [0]

    def count(cycle: Any) -> list[int]:
        passes[0] += 1
        return everyone(cycle)

    patch.setattr(sync.cycle.Cycle, "_touched_people", count)
    patch.setattr(sync.plan, "worth_writing", lambda *_args, **_options: passes[0] <= 7)


def everything_is_written_while_time_stands(patch: pytest.MonkeyPatch) -> None:
    everything_is_written_always(patch)
    everyone, moments = sync.cycle.Cycle._touched_people, [0, 0]

    def look(cycle: Any) -> list[int]:
        moments[:] = moments[1], cycle._clock()
        return everyone(cycle)

    patch.setattr(sync.cycle.Cycle, "_touched_people", look)
    patch.setattr(sync.plan, "worth_writing", lambda *_args, **_options: moments[0] == moments[1])


def tasks_are_given_up(patch: pytest.MonkeyPatch) -> None:
    """Each as if its record were gone."""
    send = sync.deliver._send

    def give_up(sending: Sending, entries: Sequence[Any]) -> None:
        if entries[0].effect != "task":
            send(sending, entries)
            return
        with sending.state.begin() as connection:
            for entry in entries:
                why = "the record is gone"
                outbox.settle_dead(connection, entry, state="dead", code=outbox.GONE, message=why, now=sending.clock())

    patch.setattr(sync.deliver, "_send", give_up)


def tasks_are_acknowledged_unsent(patch: pytest.MonkeyPatch) -> None:
    send = sync.deliver._send

    def pretend(sending: Sending, entries: Sequence[Any]) -> None:
        if entries[0].effect != "task":
            send(sending, entries)
            return
        done = [(entry, WriteResult(sync.deliver._write(entry), "ok", crm_id="1")) for entry in entries]
        sync.deliver._settle(sending, done, lost=False)

    patch.setattr(sync.deliver, "_send", pretend)


def offers_are_forgotten(patch: pytest.MonkeyPatch) -> None:
    """The hand-over is noted, and no task is owed."""
    patch.setattr(outbox, "want_task", lambda *_args, **_options: True)


def the_intent_is_dropped_after_a_restore(patch: pytest.MonkeyPatch) -> None:
    put_back = World.put_backup_back

    def and_break(world: World) -> None:
        put_back(world)
        the_intent_is_not_kept(patch)

    patch.setattr(World, "put_backup_back", and_break)


def a_title_is_written_in_salesforce(patch: pytest.MonkeyPatch) -> None:
    row = connectors.salesforce.payload._field_row
    patch.setattr(connectors.salesforce.payload, "_field_row", lambda *args: row(*args) | {"Title": "会長"})


def a_title_is_written_in_hubspot(patch: pytest.MonkeyPatch) -> None:
    one = HubSpotWriter._field_input

    def with_title(writer: Any, write: Any) -> dict[str, Any]:
        row = one(writer, write)
        return {**row, "properties": {**row["properties"], "jobtitle": "会長"}}

    patch.setattr(HubSpotWriter, "_field_input", with_title)


def both_systems_get_tasks(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sync.planning, "silent_system", lambda _settings: None)


def twins_are_not_told(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sync.clean, "_twins", lambda *_args: {})


def scores_are_stored_wrong(patch: pytest.MonkeyPatch) -> None:
    score_row = sync.plan._score_row

    def one_more(*args: Any) -> tuple[dict[str, Any], bool]:
        row, changed = score_row(*args)
        return row | {"priority": row["priority"] + 1}, changed

    patch.setattr(sync.plan, "_score_row", one_more)
