"""The service on a clock that the test moves, with passes that the test makes up: on both databases."""

import os
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from core.errors import (
    AlreadyRunning,
    CannotStart,
    Interrupted,
    InvalidInput,
    InvalidRulebook,
    StateError,
    StateUnavailable,
    Transient,
)
from core.records import Millis, to_millis
from core.rulebook import ADVISED, template_text
from sync import service
from sync.asked import Asked, StoppableClock
from sync.health import FILE_VARIABLE, SILENT_MS, Health, probe, read_health
from sync.reconcile import ReconcileReport, SystemFindings
from sync.report import RunReport
from sync.service import serve
from sync.state import State, open_state
from sync.state import schema as t

START = to_millis(datetime(2026, 11, 24, 1, 0, 0, tzinfo=UTC))
"""Tuesday, ten in the morning in Tokyo."""

MINUTE = 60_000
HOUR = 60 * MINUTE

Act = Callable[["World"], None]


@dataclass(slots=True)
class World:
    """A configured folder, a clock, and what the service did.

    Attributes:
        acts: what the next passes do, in order; after them passes are fine.
        found: what the next reconciliations find: by connection, why it was left out; after them nothing is.
        done: (minutes since the start, what), in order.

    """

    folder: Path
    url: str
    now: Millis = START
    acts: list[Act] = field(default_factory=list)
    found: list[dict[str, str]] = field(default_factory=list)
    done: list[tuple[float, str]] = field(default_factory=list)

    @property
    def file(self) -> Path:
        return self.folder / "mikomi.yaml"

    def configure(self, more: str = "", *, rulebook: str | None = None) -> None:
        (self.folder / "rulebook.yaml").write_text(rulebook or template_text(ADVISED), "utf-8")
        text = f"state: {self.url}\nconnections: {{hubspot: {{vendor: hubspot, token: {{env: SERVE_TOKEN}}}}}}\n{more}"
        self.file.write_text(text, "utf-8")

    def note(self, what: str) -> None:
        self.done.append(((self.now - START) / MINUTE, what))

    def times(self, what: str) -> list[float]:
        return [at for at, done in self.done if done == what]

    def run(self, minutes: float, *, act: Callable[["World"], None] | None = None) -> Health:
        """Serve for so long; `act` is called at every look at the clock. What the service said of itself at the end."""
        asked = Moving(self, self.now + round(minutes * MINUTE), act)
        serve(self.file, asked, clock=lambda: self.now, standby_seconds=0.01)
        state = open_state(self.url)
        found = read_health(state)
        state.close()
        assert found is not None
        return found


class Moving(Asked):
    """Waiting moves the clock; at the end it asks to stop."""

    def __init__(self, world: World, end: Millis, act: Callable[[World], None] | None) -> None:
        super().__init__()
        self.world, self.end, self.act = world, end, act

    def wait(self, seconds: float) -> None:
        if self.act is not None:
            self.act(self.world)
        self.world.now += max(1, round(seconds * 1000))
        if self.world.now > self.end:
            self.to_stop()


@pytest.fixture
def world(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Passes, reconciliations and backups are noted instead of made."""
    monkeypatch.setenv("SERVE_TOKEN", "not-a-real-token")
    made = World(tmp_path, database)

    class Pass:
        def __init__(self, state: State, settings: Any, rulebook: Any, connectors: Any, **options: Any) -> None:
            self.rulebook, self.progress = rulebook, options["progress"]

        def run(self, *, strict: bool) -> RunReport:
            assert not strict
            made.note(f"pass {self.rulebook.name}")
            made.note("pass")
            self.progress.start("score")
            if made.acts:
                made.acts.pop(0)(made)
            report = RunReport("r", "all", made.now)
            report.system("hubspot").rows_read = 1
            return report

    def reconcile(
        state: State, settings: Any, connectors: Any, name: str, *, heal: bool, before: Any, **_: Any
    ) -> ReconcileReport:
        made.note(f"reconcile heal={heal}")
        made.note(f"reconcile {' '.join(connectors)}")
        found = made.found.pop(0) if made.found else {}
        report = ReconcileReport(heal, made.now, systems=dict(before.systems) if before else {})
        for each in connectors:
            report.systems[each] = SystemFindings(skipped=found.get(each))
        return report

    monkeypatch.setattr(service, "Cycle", Pass)
    monkeypatch.setattr(service, "reconcile", reconcile)

    def write_backup(state: State, path: Path) -> int:
        made.note("backup")
        return path.write_text("x")

    monkeypatch.setattr("sync.backup.write_backup", write_backup)
    made.configure()
    return made


@pytest.fixture
def seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock is looked at once an hour: nobody sets it here, and days pass."""
    monkeypatch.setattr(service, "LONGEST_WAIT_SECONDS", 3600.0)


def fail(error: Exception) -> Act:
    def act(_: World) -> None:
        raise error

    return act


def test_a_pass_at_once_and_then_by_the_interval(world: World) -> None:
    world.now += 2 * MINUTE
    health = world.run(20)
    assert world.times("pass") == [2, 5, 10, 15, 20]
    assert (health.role, health.failures, health.error) == ("stopped", 0, None)
    assert health.good_at == START + 20 * MINUTE
    assert health.next_at == START + 25 * MINUTE


def test_a_long_pass_moves_no_later_one_and_missed_ones_are_one(world: World) -> None:
    def take_long(_: World) -> None:
        world.now += 12 * MINUTE

    world.acts = [lambda _: None, take_long]
    world.run(26)
    assert world.times("pass") == [0, 5, 20, 25]  # 10 and 15 went by during the pass of 5 to 17


def test_the_new_day_is_scored_soon_after_midnight_whatever_the_interval(world: World, seldom: None) -> None:
    world.configure("schedule: {cycle: 0 9 * * *}")
    world.run(26 * 60)
    assert world.times("pass") == [0, 14 * 60 + 1, 23 * 60]  # midnight in Tokyo is 14 hours later


def test_reconciling_and_backups_come_by_their_calendar(world: World, seldom: None) -> None:
    world.configure("schedule: {cycle: 6h, backup: 0 3 * * *, keep_backups: 2}")
    mine = world.folder / "backups" / "before-the-move.sqlite3"
    mine.parent.mkdir()
    mine.write_text("mine")
    health = world.run(6 * 24 * 60)
    assert world.times("reconcile heal=True") == [4 * 24 * 60 + 18 * 60]  # Sunday, four in the morning
    assert len(world.times("backup")) == 6
    kept = sorted(file.name for file in mine.parent.iterdir())
    assert kept == ["before-the-move.sqlite3", "mikomi-20261128T180000Z.sqlite3", "mikomi-20261129T180000Z.sqlite3"]
    assert set(health.done) == {"daily", "reconcile", "backup"}


def test_a_backup_outlives_those_that_a_clock_ahead_has_dated(world: World, seldom: None) -> None:
    world.configure("schedule: {cycle: 6h, backup: 0 3 * * *, keep_backups: 1}")
    ahead = world.folder / "backups" / "mikomi-20270101T000000Z.sqlite3"
    ahead.parent.mkdir()
    ahead.write_text("of a clock that stood ahead")
    os.utime(ahead, (4e9, 4e9))
    world.run(2 * 24 * 60)
    assert [file.name for file in ahead.parent.iterdir()] == ["mikomi-20261125T180000Z.sqlite3"]


DAY = 24 * 60
SUNDAY = 4 * DAY + 18 * 60
"""Minutes to Sunday, four in the morning."""

TWO = "connections: {hubspot: {vendor: hubspot, token: {env: SERVE_TOKEN}}, second: {vendor: hubspot, token: {env: SERVE_TOKEN}}}"


def test_a_job_that_failed_is_tried_again_soon_and_said_until_it_works(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(service, "LONGEST_WAIT_SECONDS", 3600.0)
    world.configure("schedule: {cycle: 6h, backup: 0 3 * * *}")
    tries = 0

    def write_backup(state: State, path: Path) -> None:
        nonlocal tries
        tries += 1
        world.note("backup")
        if tries <= 3:
            raise OSError(28, "No space left on device", "/backups")

    monkeypatch.setattr("sync.backup.write_backup", write_backup)
    three = 17 * 60  # in the morning, in Tokyo
    health = world.run(three + 20)
    assert world.times("backup") == [three, three + 15]
    trouble = health.troubles["backup"]
    assert (trouble.failures, trouble.error) == (2, "OSError")
    assert trouble.again_at == START + (three + 45) * MINUTE
    assert (health.failures, health.error) == (0, None), "passes went well meanwhile"
    again = (world.now - START) / MINUTE  # a service that begins anew does what is owed at once
    health = world.run(DAY)
    assert world.times("backup")[2:] == [again, again + 60, three + DAY]
    assert health.troubles == {}
    failed = [r for r in caplog.records if isinstance(r.msg, dict) and r.msg["event"] == "failed"]
    assert len(failed) == 1, "said once"


def test_the_next_try_comes_no_later_than_the_next_regular_time(world: World, seldom: None) -> None:
    world.configure("schedule: {cycle: 6h, backup: 0 * * * *}")
    (world.folder / "backups").write_text("no folder")
    health = world.run(5 * 60)
    began = START + 60 * MINUTE
    assert health.troubles["backup"].again_at <= world.now + 60 * MINUTE
    assert health.done["backup"] < began, "nothing was done"


@pytest.mark.parametrize("job", ["reconcile", "backup"])
def test_a_job_that_is_no_longer_wanted_is_no_trouble(world: World, seldom: None, job: str) -> None:
    world.configure(f"schedule: {{cycle: 6h, {job}: 0 * * * *}}")
    (world.folder / "backups").write_text("no folder")
    world.found = [{"hubspot": "paused: moving"}] * 20
    assert set(world.run(90).troubles) == {job}
    world.configure(f"schedule: {{cycle: 6h, {job}: never}}")
    assert world.run(90).troubles == {}


def test_a_connection_that_was_left_out_is_looked_at_soon_and_the_others_are_not(world: World, seldom: None) -> None:
    world.configure("schedule: {cycle: 6h}")
    world.file.write_text(
        world.file.read_text("utf-8").replace(
            "connections: {hubspot: {vendor: hubspot, token: {env: SERVE_TOKEN}}}", TWO
        )
    )
    world.found = [{"second": "paused: moving"}, {"second": "paused: moving"}]
    health = world.run(SUNDAY + 20)
    assert world.times("reconcile hubspot second") == [SUNDAY]
    assert world.times("reconcile second") == [SUNDAY + 15]
    assert health.troubles["reconcile"].error == "second: paused: moving"
    world.done.clear()
    world.found = [{"second": "paused: moving"}]
    again = (world.now - START) / MINUTE
    health = world.run(8 * DAY)
    assert world.times("reconcile hubspot second") == [again, SUNDAY + 7 * DAY]
    assert world.times("reconcile second") == [again + 60]
    assert health.troubles == {}


def test_who_is_left_out_for_weeks_does_not_keep_the_others_from_their_time(world: World, seldom: None) -> None:
    world.configure("schedule: {cycle: 6h}")
    world.file.write_text(
        world.file.read_text("utf-8").replace(
            "connections: {hubspot: {vendor: hubspot, token: {env: SERVE_TOKEN}}}", TWO
        )
    )
    world.found = [{"second": "paused: moving"}] * 1000
    world.run(15 * DAY)
    assert world.times("reconcile hubspot second") == [SUNDAY, SUNDAY + 7 * DAY]
    assert len(world.times("reconcile second")) < 7 * 2 * 8


def test_what_was_missed_while_it_was_down_is_made_up_for_once(world: World, seldom: None) -> None:
    world.run(1)
    world.now += 20 * 24 * HOUR  # two Sundays
    world.done.clear()
    health = world.run(10)
    assert len(world.times("reconcile heal=True")) == 1
    assert "daily" in health.done


def test_a_failing_pass_ends_nothing_and_is_tried_less_and_less_often(world: World) -> None:
    world.configure("schedule: {cycle: 30s}")
    world.acts = [lambda _: None, *(fail(Transient("down")) for _ in range(6)), fail(ValueError("a bug"))]
    health = world.run(60)
    waits = [after - before for before, after in zip(world.times("pass"), world.times("pass")[1:], strict=False)]
    assert waits[:8] == [0.5, 0.5, 1, 2, 4, 8, 15, 15]
    assert waits[8] == 0.5
    assert (health.failures, health.error) == (0, None)


def test_while_it_fails_it_says_so(world: World) -> None:
    world.acts = [lambda _: None, fail(Transient("the CRM is down")), fail(Transient("the CRM is down"))]
    health = world.run(11)
    assert (health.failures, health.error) == (2, "the CRM is down")
    assert (health.good_at, health.ran_at) == (START, START)


def test_the_database_away_for_a_while(world: World) -> None:
    world.acts = [lambda _: None, fail(StateUnavailable("gone"))]
    health = world.run(11)
    assert (world.times("pass"), health.failures) == ([0, 5, 10], 0)


def test_a_configuration_that_cannot_work_ends_it_at_the_start_only(world: World) -> None:
    world.acts = [fail(CannotStart("not set up"))]
    with pytest.raises(CannotStart):
        world.run(10)
    world.acts = [lambda _: None, fail(CannotStart("not set up"))]
    assert world.run(11).good_at == world.now - world.now % (5 * MINUTE)


@pytest.mark.parametrize("broken", ["schedule: {cycle: whenever}", "stage: everything", "connections: {}"])
def test_wrong_settings_are_refused(world: World, broken: str) -> None:
    world.file.write_text(broken, "utf-8")
    with pytest.raises(InvalidInput):
        world.run(1)


def test_a_wrong_rulebook_is_refused(world: World) -> None:
    world.configure(rulebook="name: nothing")
    with pytest.raises(InvalidRulebook):
        world.run(1)


def test_somebodys_own_command_is_waited_for(world: World) -> None:
    world.acts = [fail(AlreadyRunning("busy"))]
    health = world.run(4)
    assert (world.times("pass"), health.failures) == ([0, 0.5], 0)


def test_changed_rules_are_in_force_with_the_next_pass_and_wrong_ones_are_not(world: World) -> None:
    rules = template_text(ADVISED)
    name = next(line for line in rules.splitlines() if line.startswith("name:"))

    def change(now: World) -> None:
        minutes = (now.now - START) / MINUTE
        if minutes > 12:
            now.configure(rulebook=rules.replace(name, "name: third"))
        elif minutes > 7:
            now.configure(rulebook="name: [")
        elif minutes > 2:
            now.configure(rulebook=rules.replace(name, "name: second"))

    refused: list[str | None] = []

    def watch(now: World) -> None:
        change(now)
        state = open_state(now.url)
        found = read_health(state)
        state.close()
        refused.append(found.refused if found else None)

    health = world.run(16, act=watch)
    passes = [(at, what.removeprefix("pass ")) for at, what in world.done if what.startswith("pass ")]
    assert [what for _, what in passes][1:] == ["second", "second", "third"]
    assert any(refused)
    assert health.refused is None


def test_another_schedule_is_in_force_with_the_next_pass(world: World) -> None:
    def change(now: World) -> None:
        if now.now > START + 3 * MINUTE:
            now.configure("schedule: {cycle: 1m}")

    world.run(8, act=change)
    assert world.times("pass") == [0, 5, 6, 7, 8]


def test_asked_to_read_again_it_does_so_at_once(world: World) -> None:
    asked = Moving(world, START + 3 * MINUTE, None)

    def change(now: World) -> None:
        if now.now == START + 30_000:
            now.configure("schedule: {cycle: 1m}")
            asked.to_reload()

    asked.act = change
    serve(world.file, asked, clock=lambda: world.now)
    assert world.times("pass") == [0, 2, 3]  # it hears of it after a minute: what is due by then is counted from there


def test_another_database_needs_a_restart(world: World, tmp_path: Path) -> None:
    def change(now: World) -> None:
        text = now.file.read_text("utf-8").replace(now.url, f"sqlite:///{tmp_path / 'other.sqlite3'}")
        now.file.write_text(text, "utf-8")

    health = world.run(11, act=change)
    assert health.refused is not None
    assert "restart" in health.refused or "state" in health.refused
    assert len(world.times("pass")) == 3


def test_it_stops_inside_a_pass_where_that_is_safe(world: World) -> None:
    asked = Moving(world, START + HOUR, None)
    reached: list[str] = []

    def stop(_: World) -> None:
        asked.to_stop()

    def never(_: World) -> None:
        reached.append("here")

    world.acts = [stop, never]
    serve(world.file, asked, clock=lambda: world.now)
    assert (world.times("pass"), reached) == ([0], [])
    state = open_state(world.url)
    with state.read() as connection:
        held = connection.execute(select(func.count()).select_from(t.lease).where(t.lease.c.holder.is_not(None)))
        assert held.scalar_one() == 0
    state.close()


def test_a_wait_for_a_crm_ends_when_the_service_shall() -> None:
    asked = Asked()
    clock = StoppableClock(asked)
    clock.sleep(0.001)
    threading.Timer(0.05, asked.to_stop).start()
    with pytest.raises(Interrupted):
        clock.sleep(60)


def test_a_second_one_stands_by_and_takes_over(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both in this process: the first holds the lease until it is asked to stop."""
    monkeypatch.setattr("sync.state.lease.BEAT_SECONDS", 0.05)
    first, second = Asked(), Asked()
    passed = threading.Event()
    who: list[str] = []

    def act(_: World) -> None:
        who.append(threading.current_thread().name)
        passed.set()

    world.acts = [act] * 10

    def start(asked: Asked, name: str) -> threading.Thread:
        def work() -> None:
            serve(world.file, asked, clock=lambda: world.now, standby_seconds=0.05)

        thread = threading.Thread(target=work, name=name, daemon=True)
        thread.start()
        return thread

    one = start(first, "first")
    assert passed.wait(20)
    passed.clear()
    two = start(second, "second")
    assert not passed.wait(0.6)
    first.to_stop()
    one.join(20)
    assert passed.wait(20)
    second.to_stop()
    two.join(20)
    assert not one.is_alive()
    assert not two.is_alive()
    assert who == ["first", "second"]


def test_a_database_server_is_waited_for_and_then_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVE_TOKEN", "not-a-real-token")
    with socket.create_server(("127.0.0.1", 0)) as server:
        world = World(tmp_path, f"postgresql://nobody@127.0.0.1:{server.getsockname()[1]}/none")
    world.configure()
    waits: list[float] = []

    class Waiting(Asked):
        def wait(self, seconds: float) -> None:
            waits.append(seconds)
            monkeypatch.setattr(service, "SERVER_SECONDS", 0.0)

    with pytest.raises(StateUnavailable):
        serve(world.file, Waiting())
    assert len(waits) == 1


def test_waiting_for_a_database_server_is_said_once_and_that_it_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SERVE_TOKEN", "not-a-real-token")
    world = World(tmp_path, "postgresql://nobody@127.0.0.1:1/none")
    world.configure()
    asked = Asked()
    monkeypatch.setattr(asked, "wait", lambda _: None)
    answers: list[StateError | State] = [*(StateError("away") for _ in range(3)), open_state("sqlite://")]

    def answer(_: str) -> State:
        found = answers.pop(0)
        if isinstance(found, StateError):
            raise found
        asked.to_stop()
        return found

    monkeypatch.setattr(service, "open_state", answer)
    with caplog.at_level("INFO", "sync.service"):
        serve(world.file, asked)
    told = [record.msg["event"] for record in caplog.records if isinstance(record.msg, dict)]
    assert told == ["waits for the database", "database answers"]


def test_signs_of_life(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    file = world.folder / "health"
    monkeypatch.setenv(FILE_VARIABLE, str(file))
    assert "has not started" in probe(file, START)
    world.run(10)
    assert probe(file, world.now) == ""
    assert "no sign of life" in probe(file, world.now + SILENT_MS + MINUTE)
    file.write_text("{", "utf-8")
    assert "cannot be read" in probe(file, world.now)
    assert list(world.folder.glob(".health*")) == []


def test_the_folder_for_backups_is_private(world: World) -> None:
    world.configure("schedule: {cycle: 1h, backup: 1h, backup_folder: kept/here}")
    world.run(61)
    assert len(list((world.folder / "kept" / "here").iterdir())) == 1
    assert os.stat(world.folder / "kept" / "here").st_mode & 0o077 == 0
