"""A watch that never barks proves nothing: for each invariant a bug is planted, and the story that meets it is told twice.

Told as it is, nothing is wrong; told with the bug, the invariant's name is called.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, delete, event, update

import connectors.budget
import sync.cycle
import sync.deliver
import sync.extract
import sync.plan
import sync.state
import sync.state.mirror.graves
from connectors import WriteResult
from core.errors import Rejected
from core.records import Fact, Record
from sync.engine import Scored, ScoreEngine
from sync.sending import Sending
from sync.state import outbox
from sync.state import schema as t
from sync.state.lease import Fence
from sync.state.mirror import Stored, store
from tests.simulation.watch import Watch, at_the_end, settle
from tests.simulation.world import World

Story = Callable[[World, Watch], list[str]]
Plant = Callable[[pytest.MonkeyPatch], None]


def hot_contact(world: World) -> str:
    """A HubSpot contact who is handed over by the next pass."""
    world.people += 1
    properties = {
        "lastname": f"熱心{world.people:03d}",
        "email": f"hot{world.people}@c0.example.jp",
        "jobtitle": "部長",
    }
    found = world.hubspot({"action": "create", "type": "contacts", "properties": properties})
    meet(world, found["id"])
    return str(found["id"])


def meet(world: World, contact: str) -> None:
    now = world.box.clock.now_ms()
    properties = {
        "hs_timestamp": str(now - 120_000),
        "hs_meeting_outcome": "COMPLETED",
        "hs_meeting_end_time": str(now - 60_000),
    }
    world.hubspot({"action": "log_activity", "type": "meetings", "contacts": [int(contact)], "properties": properties})


def lead(world: World, mail: str, *, title: str = "部長") -> str:
    world.people += 1
    fields = {"LastName": f"見込{world.people:03d}", "Company": "会社", "Email": mail, "Title": title}
    return str(world.salesforce({"action": "create", "sobject": "Lead", "fields": fields})["id"])


def to_rest(world: World, watch: Watch) -> list[str]:
    return settle(world) or watch.after_each(world) or at_the_end(world)


# --- stories ---------------------------------------------------------------------------------------------------------


def answer_of_a_task_is_lost(world: World, watch: Watch) -> list[str]:
    hot_contact(world)
    world.wait(900)
    world.fault("hubspot", {"kind": "drop_after", "method": "POST", "path": "objects/tasks", "times": 1})
    for _ in range(2):
        world.sync()
        world.wait(120)
    return watch.after_each(world) or to_rest(world, watch)


def somebody_is_handed_over(world: World, watch: Watch) -> list[str]:
    hot_contact(world)
    lead(world, "calm@c1.example.jp")
    world.wait(900)
    world.sync()
    return watch.after_each(world) or to_rest(world, watch)


def an_old_write_commits_late(world: World, watch: Watch) -> list[str]:
    """A request that never got an answer is carried out minutes later, after a newer change."""
    contact = hot_contact(world)
    world.wait(900)
    world.sync()
    wrong = watch.after_each(world)
    meet(world, contact)
    world.wait(200)
    world.fault("hubspot", {"kind": "drop_before", "path": "contacts/batch/update", "times": 5})
    world.sync()
    [lost] = world.rows(t.outbox, t.outbox.c.system == "hubspot", t.outbox.c.effect == "fields")
    world.hubspot({"action": "update", "type": "contacts", "id": contact, "properties": {"jobtitle": "担当"}})
    world.wait(130)
    world.sync()
    wrong += watch.after_each(world)
    values = {f"mikomi_{name}": str(lost["payload"]["values"][name]) for name in ("score", "band", "score_version")}
    world.hubspot({"action": "update", "type": "contacts", "id": contact, "properties": values})
    return wrong or watch.after_each(world) or to_rest(world, watch)


def a_row_becomes_visible_late(world: World, watch: Watch) -> list[str]:
    lead(world, "early@c0.example.jp")
    world.wait(900)
    world.sync()
    late = lead(world, "late@c1.example.jp")
    ids = sorted(row["Id"] for row in world.soql("SELECT Id FROM Lead"))
    before, at = ids[ids.index(late) - 1], world.box.clock.now_ms() - 5 * 60_000
    world.touch("salesforce", {"sobject": "Lead", "count": 1, "after": before, "at": at})
    return settle(world) or at_the_end(world) or watch.after_each(world)


def two_leads_are_read(world: World, watch: Watch) -> list[str]:
    lead(world, "one@c0.example.jp")
    world.wait(900)
    world.sync()
    lead(world, "two@c1.example.jp")
    world.wait(900)
    world.sync()
    return watch.after_each(world) or to_rest(world, watch)


def one_run_is_overtaken(world: World, watch: Watch) -> list[str]:
    hot_contact(world)
    lead(world, "one@c0.example.jp")
    world.wait(900)
    world.sync_overtaken(6)
    return watch.after_each(world) or to_rest(world, watch)


def a_small_share_is_granted(world: World, watch: Watch) -> list[str]:
    hot_contact(world)
    world.wait(900)
    world.grant(30)
    for _ in range(3):
        world.sync()
        world.wait(60)
    return watch.after_each(world)


def one_row_is_refused(world: World, watch: Watch) -> list[str]:
    refused = lead(world, "bad@c0.example.jp")
    lead(world, "good@c1.example.jp")
    world.wait(900)
    world.tally.poisoned.add(refused)
    fault = {
        "sobject": "Lead",
        "code": "FIELD_CUSTOM_VALIDATION_EXCEPTION",
        "message": "検証",
        "record_id": refused,
        "times": 3,
    }
    world.row_fault(fault)
    world.sync()
    return to_rest(world, watch)


def somebody_is_deleted_for_good(world: World, watch: Watch) -> list[str]:
    contact = hot_contact(world)
    lead(world, "stays@c1.example.jp")
    world.wait(900)
    world.sync()
    world.hubspot({"action": "gdpr_delete", "type": "contacts", "id": contact})
    world.tally.erased |= {"熱心001", "hot1@c0.example.jp"}
    return to_rest(world, watch)


# --- bugs ------------------------------------------------------------------------------------------------------------


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

    def want_at_once(connection: Connection, *args: Any, now: int, **options: Any) -> bool:
        wanted = want(connection, *args, now=now, **options)
        connection.execute(update(t.outbox).where(t.outbox.c.state == "new").values(due_at=now))
        return wanted

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


@dataclass(frozen=True, slots=True)
class Case:
    invariant: str
    story: Story
    plant: Plant
    unique: bool = True


CASES = (
    Case("I1", answer_of_a_task_is_lost, blind_second_attempt, unique=False),
    Case("I2", somebody_is_handed_over, tasks_are_never_sent),
    Case("I3", somebody_is_handed_over, the_intent_is_not_kept),
    Case("I4", somebody_is_handed_over, a_write_is_acknowledged_unsent),
    Case("I5", an_old_write_commits_late, holds_are_ignored),
    Case("I6", a_row_becomes_visible_late, nothing_is_read_twice),
    Case("I7", two_leads_are_read, a_page_is_lost),
    Case("I8", somebody_is_handed_over, everything_is_written_always),
    Case("I9", one_run_is_overtaken, fences_are_open),
    Case("I10", a_small_share_is_granted, the_share_is_not_counted),
    Case("I11", one_row_is_refused, neighbours_die_too),
    Case("I12", somebody_is_deleted_for_good, forget_to_erase),
    Case("I13", somebody_is_handed_over, the_clock_is_looked_at),
    Case("I14", somebody_is_handed_over, commits_are_not_flushed),
)


@contextmanager
def told(tmp_path: Path, case: Case) -> Iterator[list[str]]:
    with World(tmp_path, unique_task=case.unique) as world:
        yield case.story(world, Watch())


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.invariant}-{case.story.__name__}")
def test_a_planted_bug_is_caught(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        case.plant(patch)
        (tmp_path / "planted").mkdir()
        with told(tmp_path / "planted", case) as wrong:
            assert [line for line in wrong if line.startswith(f"{case.invariant}:")], wrong


@pytest.mark.parametrize(
    "story", dict.fromkeys((case.story, case.unique) for case in CASES), ids=lambda s: s[0].__name__
)
def test_without_it_nothing_is_wrong(story: tuple[Story, bool], tmp_path: Path) -> None:
    tell, unique = story
    with World(tmp_path, unique_task=unique) as world:
        assert tell(world, Watch()) == []
