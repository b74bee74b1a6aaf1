"""Stops before harm: what stops, what never does, how it is allowed, and what goes on meanwhile."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import func, select

from core.errors import MikomiError
from core.records import DAY_MS, RecordRef
from sync.report import RunReport
from sync.state import State, open_state
from sync.state import schema as t
from sync.state.stops import load_stops
from tests.sync.brakes.crm import HOUR, Clock, Firm, a_rulebook


@pytest.fixture
def quick() -> Iterator[State]:
    """A state in memory: what guards decide does not depend on where it is kept (the last tests look at both databases)."""
    opened = open_state("sqlite://")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def old() -> Iterator[Firm]:
    opened = open_state("sqlite://")
    yield an_old_firm(opened)
    opened.close()


@pytest.fixture
def firm(old: Firm, quick: State) -> Firm:
    """A copy of the old firm: made once, it costs two passes."""
    with old.state.engine.connect() as made, quick.engine.connect() as empty:
        full: Any = made.connection.driver_connection
        full.backup(empty.connection.driver_connection)
    copied = copy.copy(old)
    copied.state, copied.values = quick, dict(old.values)
    copied.clock = Clock(old.clock.at)
    copied.crms = {name: crm.copy_for(copied.clock) for name, crm in old.crms.items()}
    return copied


def an_old_firm(state: State) -> Firm:
    """Sixty people, twenty-five of whom are in band C, two days after the first. Hand-overs are bounded where a test says so."""
    made = Firm(state, people=60, guards={"offered": 1000})
    made.crm.download(range(25))
    made.grow_old()
    return made


def bands(state: State) -> dict[str, int]:
    with state.read() as connection:
        found = connection.execute(select(t.score.c.band, func.count()).group_by(t.score.c.band))
        return {row[0]: row[1] for row in found}


def guards(report: RunReport) -> list[str]:
    return [guard["guard"] for guard in report.guards]


def alive(state: State) -> int:
    with state.read() as connection:
        where = t.record.c.deleted_at.is_(None)
        return connection.execute(select(func.count()).select_from(t.record).where(where)).scalar_one()


def audited(state: State, action: str) -> list[str]:
    with state.read() as connection:
        return list(connection.execute(select(t.audit.c.subject).where(t.audit.c.action == action)).scalars())


# --- a rulebook -----------------------------------------------------------------------------------------------------------


def test_a_rulebook_that_moves_many_is_stopped_before_anything_is_stored(firm: Firm) -> None:
    before, fields = bands(firm.state), dict(firm.crm.fields)
    firm.crm.download(range(25, 45))  # what happened meanwhile is read all the same
    firm.rulebook = a_rulebook(points=90)
    report = firm.sync()
    (stop,) = report.guards
    assert stop["guard"].startswith("rulebook:")
    assert "would enter band A" in stop["message"]
    assert "C → A 25" in stop["message"]
    assert f"--allow {stop['guard']}" in stop["hint"]
    assert report.systems["salesforce"].rows_changed == 20
    assert (bands(firm.state), firm.crm.fields, firm.crm.tasks) == (before, fields, [])
    assert report.outcome == "partial"


def test_a_stopped_rulebook_stays_stopped_and_costs_one_judgement_a_day(
    firm: Firm, monkeypatch: pytest.MonkeyPatch
) -> None:
    firm.rulebook = a_rulebook(points=90)
    first = firm.sync()
    from sync import guards as module

    def never(*_: object) -> None:
        raise AssertionError("everyone was scored again for the same verdict")

    monkeypatch.setattr(module, "_band_moves", never)
    assert guards(firm.sync()) == guards(first)


def test_an_allowed_rulebook_is_stored_and_asked_about_no_more(firm: Firm) -> None:
    firm.rulebook = a_rulebook(points=90)
    (name,) = guards(firm.sync())
    report = firm.sync(allow=[name])
    assert report.guards == []
    assert bands(firm.state)["A"] == 25
    assert audited(firm.state, "allow") == [name]
    assert firm.sync().guards == []


def test_what_a_dry_run_showed_is_not_counted_as_having_happened(firm: Firm) -> None:
    firm.rulebook = a_rulebook(points=90)
    (name,) = guards(firm.sync(dry_run=True))
    assert guards(firm.sync()) == [name]
    assert firm.sync(dry_run=True).moves == {"C>A": 25}  # one may look again, also where it was stopped
    firm.sync(allow=[name])
    with firm.state.read() as connection:
        why = connection.execute(select(t.audit.c.why).where(t.audit.c.action == "allow")).scalar_one()
    assert "25 people would enter band A, 0 in the last 24 hours" in why


def test_the_report_says_how_far_the_scoring_came(firm: Firm) -> None:
    firm.rulebook = a_rulebook(points=90)
    report = firm.sync()
    assert (report.cut_short, report.people, report.people_scored) == (True, 60, 0)
    report = firm.sync(dry_run=True)  # nothing is stopped, only said
    assert (report.cut_short, report.people, report.people_scored) == (False, 60, 60)
    firm.rulebook = a_rulebook()
    assert not firm.sync().cut_short


def test_stops_are_said_in_the_settings_language(firm: Firm) -> None:
    firm.values["language"] = "ja"
    firm.rulebook = a_rulebook(points=90)
    (stop,) = firm.sync().guards
    assert "新たに25名がランク A に入ります" in stop["message"]
    assert stop["hint"].endswith(f"mikomi sync --allow {stop['guard']}")


def test_a_rulebook_can_be_allowed_in_the_settings(firm: Firm) -> None:
    firm.rulebook = a_rulebook(points=90)
    (name,) = guards(firm.sync())
    firm.values["guards"] = {"allow": [name], "offered": 1000}
    assert firm.sync().guards == []
    assert bands(firm.state)["A"] == 25


def test_another_name_allows_nothing(firm: Firm) -> None:
    firm.rulebook = a_rulebook(points=90)
    assert firm.sync(allow=["rulebook:0123456789abcdef", "rulebook"]).guards


def test_taking_the_rulebook_back_ends_the_stop(firm: Firm) -> None:
    firm.rulebook = a_rulebook(points=90)
    assert firm.sync().guards
    firm.rulebook = a_rulebook()
    assert firm.sync().guards == []
    with firm.state.read() as connection:
        assert load_stops(connection) == {}


def test_a_dry_run_says_what_would_be_stopped_and_shows_it(firm: Firm) -> None:
    firm.rulebook = a_rulebook(points=90)
    report = firm.sync(dry_run=True)
    assert guards(report)[0].startswith("rulebook:")
    assert report.planned
    assert "A" not in bands(firm.state)


@pytest.mark.parametrize("where", ["command", "settings"])
def test_a_rehearsal_releases_nothing(firm: Firm, where: str) -> None:
    """What a dry run was allowed, in the command or in the settings of that moment, the next real run asks for again."""

    def rehearse(name: str) -> RunReport:
        kept: Any = firm.values["guards"]
        if where == "settings":
            firm.values["guards"] = kept | {"allow": [name]}
        report = firm.sync(dry_run=True, allow=[name] if where == "command" else [])
        firm.values["guards"] = kept
        return report

    firm.rulebook = a_rulebook(points=90)
    (name,) = guards(firm.sync())
    report = rehearse(name)
    assert (report.guards, report.moves) == ([], {"C>A": 25})
    assert guards(firm.sync()) == [name]
    firm.rulebook = a_rulebook()
    firm.values["guards"] = {"offered": 20}
    firm.crm.download(range(40), times=3)
    (name,) = guards(firm.sync())
    assert rehearse(name).guards == []
    assert guards(firm.sync()) == [name]
    firm.crm.gone = {firm.crm.ref(n) for n in range(50)}
    name = next(guard for guard in guards(firm.sync(sweep=True)) if guard.startswith("emptied:"))
    assert name in guards(rehearse(name)), "who is buried in a dry run is buried"
    assert name in guards(firm.sync())
    assert alive(firm.state) == 60
    assert audited(firm.state, "allow") == []


def test_a_rulebook_that_moves_few_passes(firm: Firm) -> None:
    firm.values["guards"] = {"moved": 50, "offered": 1000}
    firm.rulebook = a_rulebook(points=90)  # twenty-five of sixty
    assert firm.sync().guards == []


def test_small_numbers_never_stop(quick: State) -> None:
    firm = Firm(quick, people=15)
    firm.crm.download(range(15))
    firm.grow_old()
    firm.rulebook = a_rulebook(points=90)
    assert firm.sync().guards == []
    firm.crm.gone = {firm.crm.ref(n) for n in range(15)}
    assert firm.sync(sweep=True).guards == []
    assert alive(quick) == 0


def test_the_first_day_never_stops(quick: State) -> None:
    firm = Firm(quick, people=60)
    firm.crm.download(range(60))
    firm.sync()
    firm.clock.at += 20 * HOUR
    firm.rulebook = a_rulebook(points=90)
    firm.crm.gone = {firm.crm.ref(n) for n in range(40)}
    assert firm.sync(sweep=True).guards == []


def test_observing_is_free(firm: Firm) -> None:
    firm.values["stage"] = "observe"
    firm.rulebook = a_rulebook(points=90)
    assert firm.sync().guards == []


# --- a side suddenly empty -------------------------------------------------------------------------------------------------


def test_a_side_that_is_suddenly_empty_is_not_buried(firm: Firm) -> None:
    firm.crm.gone = {firm.crm.ref(n) for n in range(60)}
    firm.crm.download(range(20, 25), times=3)
    fields = dict(firm.crm.fields)
    report = firm.sync(sweep=True)
    assert guards(report) == ["emptied:salesforce:2026-01-29"]
    assert alive(firm.state) == 60
    assert report.systems["salesforce"].swept is False
    assert report.systems["salesforce"].rows_changed == 15  # reading goes on
    assert (firm.crm.fields, firm.crm.tasks) == (fields, [])


def test_an_emptied_side_is_not_swept_with_every_pass_and_keeps_its_name(firm: Firm) -> None:
    firm.crm.gone = {firm.crm.ref(n) for n in range(60)}
    (name,) = guards(firm.sync(sweep=True))
    swept = firm.crm.calls["sweep"]
    for _ in range(3):
        firm.clock.at += 5 * 60_000
        assert guards(firm.sync()) == [name]
    assert firm.crm.calls["sweep"] == swept
    firm.clock.at += DAY_MS
    assert guards(firm.sync()) == [name]  # of the day on which it was stopped first
    assert firm.crm.calls["sweep"] == swept + 1
    assert alive(firm.state) == 60


def test_an_allowed_emptying_is_carried_out(firm: Firm) -> None:
    firm.crm.gone = {firm.crm.ref(n) for n in range(50)}
    (name,) = guards(firm.sync(sweep=True))
    report = firm.sync(allow=[name])
    assert report.guards == []
    assert alive(firm.state) == 10
    assert firm.sync(sweep=True).guards == []


def test_a_side_that_comes_back_is_written_again(firm: Firm) -> None:
    firm.crm.gone = {firm.crm.ref(n) for n in range(50)}
    assert firm.sync(sweep=True).guards
    firm.crm.gone = set()
    assert firm.sync(sweep=True).guards == []
    firm.crm.download([1], times=3)
    firm.sync()
    assert firm.crm.fields[firm.crm.ref(1)]["band"] == "A"


def test_an_emptied_side_does_not_stop_the_other(quick: State) -> None:
    firm = Firm(quick, people=40, systems=("salesforce", "second"))
    firm.grow_old()
    firm.crm.gone = {firm.crm.ref(n) for n in range(40)}
    for crm in firm.crms.values():
        crm.download([1], times=3)
    report = firm.sync(sweep=True)
    assert guards(report) == ["emptied:salesforce:2026-01-29"]
    assert firm.crms["second"].fields[RecordRef("second", "contact", "00300001")]["band"] == "A"
    assert firm.crm.fields[firm.crm.ref(1)]["band"] == "D"


def test_what_was_buried_before_is_not_counted_again(firm: Firm) -> None:
    """A CRM may show its whole bin in every sweep."""
    firm.values["guards"] = {"emptied": 40, "offered": 1000}
    firm.crm.gone = {firm.crm.ref(n) for n in range(21)}
    assert firm.sync(sweep=True).guards == []
    firm.crm.gone |= {firm.crm.ref(n) for n in range(21, 25)}
    assert firm.sync(sweep=True).guards == []
    assert alive(firm.state) == 35


# --- a flood of hand-overs -------------------------------------------------------------------------------------------------


def test_a_flood_of_hand_overs_is_stopped_before_a_task_is_made(firm: Firm) -> None:
    firm.values["guards"] = {"written": 100}
    firm.crm.download(range(40), times=3)
    report = firm.sync()
    assert guards(report) == ["offered:2026-01-29"]
    assert firm.crm.tasks == []
    assert bands(firm.state) == {"C": 25, "D": 35}  # the batch was rolled back whole
    firm.clock.at += DAY_MS
    assert guards(firm.sync()) == ["offered:2026-01-29"]
    report = firm.sync(allow=["offered:2026-01-29"])
    assert report.guards == []
    assert len(firm.crm.tasks) == 40
    assert len({task.key for task in firm.crm.tasks}) == 40


def test_a_flood_cannot_leak_in_small_batches(firm: Firm, monkeypatch: pytest.MonkeyPatch) -> None:
    from sync import cycle

    monkeypatch.setattr(cycle, "BATCH", 15)
    firm.values["guards"] = {}
    firm.crm.download(range(60), times=3)
    for _ in range(5):
        firm.sync()
    assert firm.crm.tasks == []


def test_as_many_as_are_free_are_handed_over(firm: Firm) -> None:
    firm.values["guards"] = {}
    firm.crm.download(range(20), times=3)
    assert firm.sync().guards == []
    assert len(firm.crm.tasks) == 20


def test_many_hand_overs_are_no_flood_where_there_are_many_every_day(firm: Firm) -> None:
    firm.values["guards"] = {}
    for day in range(3):
        firm.crm.download(range(day * 6, day * 6 + 6), times=3)
        firm.sync()
        firm.clock.at += DAY_MS
    assert len(firm.crm.tasks) == 18
    firm.crm.download(range(20, 45), times=3)  # 25, more than 20, fewer than five times six
    assert firm.sync().guards == []
    assert len(firm.crm.tasks) == 43


# --- another language ---------------------------------------------------------------------------------------------------------


def test_another_language_is_written_once_and_then_all_is_quiet(firm: Firm) -> None:
    before = {ref: values["next_action"] for ref, values in firm.crm.fields.items()}
    firm.values["language"] = "ja"
    report = firm.sync()
    assert (report.guards, report.scores_changed, report.systems["salesforce"].fields_written) == ([], 0, 60)
    after = {ref: values["next_action"] for ref, values in firm.crm.fields.items()}
    assert all(before[ref] != after[ref] for ref in before)
    assert any("資料" in str(values["reasons"]) for values in firm.crm.fields.values())
    writes = firm.crm.calls["write"]
    for _ in range(2):
        assert firm.sync().systems["salesforce"].fields_written == 0
    firm.clock.at += DAY_MS
    assert firm.sync().systems["salesforce"].fields_written == 0
    assert firm.crm.calls["write"] == writes


def test_another_language_reaches_everybody_over_a_kill(firm: Firm, monkeypatch: pytest.MonkeyPatch) -> None:
    from sync import cycle

    class Killed(BaseException):
        pass

    def die(*_: object, **__: object) -> None:
        raise Killed

    firm.values["language"] = "ja"
    with monkeypatch.context() as patch:
        patch.setattr(cycle, "note_wording", die)  # the moment before the pass over everybody is noted as complete
        with pytest.raises(Killed):
            firm.sync()
    assert firm.sync().systems["salesforce"].fields_written == 60
    assert firm.sync().systems["salesforce"].fields_written == 0


# --- a mass of writes --------------------------------------------------------------------------------------------------------


def test_a_mass_change_is_not_sent(firm: Firm) -> None:
    fields = dict(firm.crm.fields)
    firm.crm.download(range(25, 60))  # 35 of 60 rise from D to C
    report = firm.sync()
    assert guards(report) == ["written:salesforce:2026-01-29"]
    assert firm.crm.fields == fields
    assert bands(firm.state) == {"C": 60}
    firm.clock.at += HOUR
    assert guards(firm.sync()) == ["written:salesforce:2026-01-29"]
    assert firm.sync(allow=["written:salesforce:2026-01-29"]).guards == []
    assert {values["band"] for values in firm.crm.fields.values()} == {"C"}
    assert firm.sync().guards == []


def test_a_mass_change_is_judged_again_after_a_kill(firm: Firm) -> None:
    """The intents are committed, then the process dies: the next run must not send them unasked."""

    class Killed(BaseException):
        pass

    firm.crm.download(range(25, 60))
    firm.crm.faults["write"] = MikomiError("never reached")
    from sync import guards as module

    with pytest.MonkeyPatch.context() as patch:

        def die(*_: object) -> None:
            raise Killed

        patch.setattr(module.Guarding, "judge_writes", die)
        with pytest.raises(Killed):
            firm.sync()
    firm.crm.faults.clear()
    assert guards(firm.sync()) == ["written:salesforce:2026-01-29"]


def test_an_allowed_mass_change_that_was_killed_stays_allowed(firm: Firm) -> None:
    firm.crm.download(range(25, 60))
    (name,) = guards(firm.sync())
    firm.crm.faults["write"] = KeyboardInterrupt()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        firm.sync(allow=[name])
    firm.crm.faults.clear()
    firm.clock.at += 2 * HOUR
    assert firm.sync().guards == []
    assert {values["band"] for values in firm.crm.fields.values()} == {"C"}


def test_a_new_stage_or_rulebook_explains_a_mass_of_writes(quick: State) -> None:
    firm = Firm(quick, people=60, stage="observe")
    firm.grow_old()
    firm.values["stage"] = "fields"
    assert firm.sync().guards == []
    assert len(firm.crm.fields) == 60
    firm.crm.download(range(60))
    firm.rulebook = a_rulebook(points=29)
    firm.values["guards"] = {"moved": 100, "offered": 1000}
    assert firm.sync().guards == []


def test_records_that_are_due_for_a_refresh_are_no_mass_change(firm: Firm) -> None:
    firm.values["deliver"] = {"delta": 100, "refresh_days": 7}
    firm.sync()
    firm.clock.at += 8 * DAY_MS
    firm.crm.download(range(25, 60))
    assert firm.sync().guards == []


# --- none of it costs anything -----------------------------------------------------------------------------------------------


def test_a_quiet_pass_scores_and_counts_nothing_for_the_guards(firm: Firm, monkeypatch: pytest.MonkeyPatch) -> None:
    from sync import guards as module

    def never(*_: object, **__: object) -> None:
        raise AssertionError("a quiet pass looked further than at a setting")

    for name in ("_band_moves", "_count_live", "_count_unsent", "_daily_offers", "_entered_lately"):
        monkeypatch.setattr(module, name, never)
    report = firm.sync()
    assert (report.outcome, report.people_scored) == ("ok", 0)


# --- on both databases -----------------------------------------------------------------------------------------------------


def test_each_guard_stops_and_lets_pass_on_both_databases(state: State) -> None:
    firm = an_old_firm(state)
    firm.rulebook = a_rulebook(points=90)
    names = guards(firm.sync())
    firm.rulebook = a_rulebook()
    firm.crm.gone = {firm.crm.ref(n) for n in range(38, 60)}
    names += guards(firm.sync(sweep=True))
    firm.values["guards"] = {"emptied": 100}
    firm.crm.download(range(25), times=2)
    names += guards(firm.sync(sweep=True))
    firm.values["guards"] = {"emptied": 100, "offered": 1000}
    names += guards(firm.sync())
    assert [name.partition(":")[0] for name in names] == ["rulebook", "emptied", "offered", "written"]
    assert firm.sync(allow=names).guards == []
    assert (len(firm.crm.tasks), alive(state)) == (25, 38)
