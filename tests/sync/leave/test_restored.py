"""A state that is older than the CRMs makes no second task: neither of what it owed nor of what it has forgotten."""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import update

from core.records import DAY_MS
from sandbox import Sandbox
from sync.backup import restore_backup, write_backup
from sync.cycle import Cycle
from sync.deliver import recover
from sync.report import RunReport
from sync.state import deadletters, now_ms, outbox
from sync.state import schema as t
from sync.state.kept import get_kept
from tests.sync.delivery.rig import BOUNDS, VENDORS, Crms, Rig, assert_each_once, crms
from tests.sync.practice import Practice, control, set_up_sandbox
from tests.sync.reconcile.rig import many_handovers

__all__ = ["crms"]  # a fixture

UNIQUE = pytest.mark.parametrize("unique", [True, False], ids=["unique", "quarantine"])


@pytest.fixture(params=VENDORS)
def vendor(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# --- what the backup owes --------------------------------------------------------------------------------------------


def not_sent(_rig: Rig) -> None:
    """Nobody has touched it."""


def crashed_before_sending(rig: Rig) -> None:
    with rig.state.begin() as connection:
        for effect in (outbox.TASK, outbox.FIELDS):
            outbox.claim(connection, rig.connector.name, effect, 100, now=rig.now, hold=BOUNDS.quarantine)


def bound_has_passed(rig: Rig) -> None:
    """The answer was lost so long before the backup that a look would be believed at once."""
    crashed_before_sending(rig)
    with rig.state.begin() as connection:
        long_ago = {"code": "OutcomeUnknown", "hold_until": rig.now - DAY_MS}
        connection.execute(update(t.outbox).values(**long_ago))


def refused(rig: Rig) -> None:
    with rig.state.begin() as connection:
        connection.execute(update(t.outbox).values(state="dead", code="RULE", message="no", done_at=rig.now))


@UNIQUE
@pytest.mark.parametrize("before", [not_sent, crashed_before_sending, bound_has_passed, refused])
def test_what_was_sent_since_the_backup_is_not_sent_again(
    crms: Crms, vendor: str, tmp_path: Path, database: str, unique: bool, before: Callable[[Rig], None]
) -> None:
    with crms.rig(vendor, tmp_path, unique=unique, people=2, url=database) as rig:
        keys = rig.owe_tasks()
        before(rig)
        file = tmp_path / "b.sqlite3"
        write_backup(rig.state, file)
        revive(rig)
        rig.finish()
        rig.delete_task(rig.rows()[0]["crm_id"])  # the rep has done with it
        restore_backup(rig.state, file)
        revive(rig)
        rig.deliver()
        assert_each_once(rig, keys)
        rig.finish()
        assert_each_once(rig, keys)


def revive(rig: Rig) -> None:
    """As the first pass of a day begins."""
    with rig.state.begin() as connection:
        deadletters.revive_all(connection, now=rig.now)


def test_bounds_begin_anew(crms: Crms, vendor: str, tmp_path: Path, database: str) -> None:
    """What was under way when the backup took the state's place may be carried out later: until then nothing is believed."""
    with crms.rig(vendor, tmp_path, unique=False, people=1, url=database) as rig:
        rig.owe_tasks()
        bound_has_passed(rig)
        file = tmp_path / "b.sqlite3"
        write_backup(rig.state, file)
        restore_backup(rig.state, file)
        recover(rig.state, BOUNDS, rig.now)
        rig.deliver()
        assert rig.keys() == Counter()
        rig.pass_time(BOUNDS.quarantine / 1000 - 1)
        rig.deliver()
        assert rig.keys() == Counter()
        rig.pass_time(2)
        rig.deliver()
        assert sum(rig.keys().values()) == 1


# --- what the backup has forgotten -----------------------------------------------------------------------------------


class Firm:
    """A company whose tasks live in HubSpot, on a clock that tests move."""

    def __init__(self, box: Sandbox, folder: Path, **settings: object) -> None:
        tasks = {"systems": ["hubspot"]}
        self.practice = Practice(box, folder, stage="fields", rulebook=many_handovers(), tasks=tasks, **settings)
        self.now = now_ms()

    def sync(self) -> RunReport:
        with self.practice.app() as app, app.state() as state:
            settings, built = app.loaded.settings, app.connectors
            return Cycle(state, settings, app.rulebook, built, clock=lambda: self.now).run()

    def wait(self, seconds: float) -> None:
        self.practice.wait(seconds)
        self.now += round(seconds * 1000)

    def back_up(self) -> Path:
        file = self.practice.folder / "b.sqlite3"
        with self.practice.state() as state:
            write_backup(state, file)
        return file

    def restore(self, file: Path) -> None:
        with self.practice.state() as state, state.alone():
            restore_backup(state, file)

    def keys(self) -> Counter[str]:
        """Of all tasks of hand-overs, those in the bin too."""
        path = "/crm/v3/objects/tasks?limit=100&properties=mikomi_key&archived=true"
        tasks = [*self.practice.hubspot_tasks(), *self.practice.hubspot("GET", path)["results"]]
        keys = (str(task["properties"].get("mikomi_key")) for task in tasks)
        return Counter(key for key in keys if key.startswith("mk1-"))

    def throw_one_away(self) -> None:
        [task, *_] = self.practice.hubspot_tasks()
        order = {"action": "delete", "type": "tasks", "id": task["id"]}
        control(self.practice.box.hubspot.url, "POST", "records", order)


@pytest.fixture
def open_firm(tmp_path: Path) -> Iterator[Callable[..., Firm]]:
    with ExitStack() as stack:

        def make(*, unique: bool, **settings: object) -> Firm:
            box = set_up_sandbox(seed=11, people=16, unique_task_property=unique, unique_activity_fields=unique)
            return Firm(stack.enter_context(box), tmp_path, **settings)

        yield make


@UNIQUE
def test_the_service_goes_on_right_after_a_restore(open_firm: Callable[..., Firm], database: str, unique: bool) -> None:
    """Nobody has healed anything yet, and what the CRM shows is too young to be read: nobody is handed over again."""
    firm = open_firm(unique=unique, state=database)
    firm.sync()
    file = firm.back_up()
    firm.practice.write_config(stage="all")
    firm.sync()
    made = firm.keys()
    assert made
    firm.throw_one_away()
    firm.restore(file)
    for seconds in (5, 600, 1200):
        assert firm.sync().outcome == "ok"
        assert firm.keys() == made
        firm.wait(seconds)
    owed = firm.practice.rows(t.outbox, t.outbox.c.effect == "task")
    assert ({row["key"] for row in owed}, {row["state"] for row in owed}) == (set(made), {"done"})
    episodes = firm.practice.rows(t.handover, t.handover.c.seeded.is_(False))
    assert [row["number"] for row in episodes] == [1] * len(made)
    with firm.practice.state() as state:
        assert get_kept(state, outbox.RESTORED) is None


@UNIQUE
def test_a_crm_that_cannot_be_asked_stays_in_doubt(open_firm: Callable[..., Firm], database: str, unique: bool) -> None:
    firm = open_firm(unique=unique, state=database)
    firm.sync()
    file = firm.back_up()
    firm.practice.write_config(stage="all")
    firm.sync()
    made = firm.keys()
    firm.restore(file)
    url = firm.practice.box.hubspot.url
    control(
        url,
        "POST",
        "faults",
        {"kind": "status", "status": 403, "times": None, "method": "GET", "path": "objects/tasks"},
    )
    firm.sync()
    assert {row["state"] for row in firm.practice.rows(t.outbox, t.outbox.c.effect == "task")} == {"unknown"}
    control(url, "DELETE", "faults")
    assert firm.keys() == made
    for _ in range(3):
        firm.wait(3600)
        firm.sync()
    assert firm.keys() == made


def test_a_backup_that_was_put_in_place_by_hand_is_noticed(open_firm: Callable[..., Firm], tmp_path: Path) -> None:
    state = tmp_path / "state.sqlite3"
    firm = open_firm(unique=False, state=f"sqlite:///{state}")
    firm.sync()
    file = firm.back_up()
    firm.practice.write_config(stage="all")
    firm.sync()
    made = firm.keys()
    shutil.copy(file, state)
    for _ in range(3):
        firm.sync()
        assert firm.keys() == made
        firm.wait(600)
