"""Connections left alone: by a person, for quota, errors, a refused credential, something lost; and how each ends."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from core.errors import (
    CannotStart,
    ConnectorError,
    InvalidMapping,
    InvalidSettings,
    MikomiError,
    OutcomeUnknown,
    QuotaExhausted,
    QuotaReserved,
    RateLimited,
    Transient,
    Unauthorized,
)
from core.records import DAY_MS, to_datetime
from sync.pauses import FAILED_RUNS, FIRST_PAUSE_MS, LONGEST_PAUSE_MS, begin_pause, end_pauses, note_failure
from sync.report import RunReport
from sync.state import State, open_state
from sync.state import schema as t
from sync.state.calls_made import StateLedger
from sync.state.pause import EVERYTHING, Cause, Pause, put, standing
from tests.sync.brakes.crm import HOUR, START, Firm

MINUTE = 60_000


@pytest.fixture
def firm() -> Iterator[Firm]:
    """Two CRMs of a few people each, in memory; the last test looks at both databases."""
    state = open_state("sqlite://")
    yield Firm(state, people=3, systems=("salesforce", "second"))
    state.close()


def pauses(firm: Firm) -> dict[tuple[str, str], int | None]:
    with firm.state.read() as connection:
        return {(pause.system, pause.cause): pause.until for pause in standing(connection)}


def audited(firm: Firm) -> list[tuple[str, str]]:
    with firm.state.read() as connection:
        where = t.audit.c.action.in_(("pause", "resume"))
        rows = connection.execute(select(t.audit.c.action, t.audit.c.subject).where(where).order_by(t.audit.c.seq))
        return [(action, subject) for action, subject in rows]


def test_a_person_pauses_one_connection_and_the_other_goes_on(firm: Firm) -> None:
    firm.sync()
    with firm.state.begin() as connection:
        begin_pause(
            connection, Pause("second", "admin", START + 2 * HOUR, "maintenance", "mikomi resume second", START)
        )
    calls = dict(firm.crms["second"].calls)
    report = firm.sync()
    assert dict(firm.crms["second"].calls) == calls  # not called at all
    assert report.outcome == "ok"
    told = report.as_dict()["systems"]["second"]
    assert (told["paused"]["cause"], told["paused"]["reason"]) == ("admin", "maintenance")
    assert told["paused_until"] == "2026-01-27 11:00 JST"
    firm.clock.at += 2 * HOUR
    assert firm.sync().systems["second"].paused is None
    assert firm.crms["second"].calls["read"] == calls["read"] + 1
    assert audited(firm) == [("pause", "second"), ("resume", "second")]


def test_everything_can_be_paused_and_resumed(firm: Firm) -> None:
    with firm.state.begin() as connection:
        put(connection, Pause(EVERYTHING, "admin", None, "", "mikomi resume", START))
    report = firm.sync()
    assert report.outcome == "ok"
    assert [crm.calls.total() for crm in firm.crms.values()] == [0, 0]
    with firm.state.begin() as connection:
        assert len(end_pauses(connection, "second", why="a person resumed it", actor="user x")) == 1
    assert firm.sync().systems["second"].rows_read > 0


def test_a_spent_day_pauses_until_it_begins_anew(firm: Firm) -> None:
    firm.crm.faults["read"] = QuotaExhausted("used up", resets_at=to_datetime(START + 5 * HOUR), hint="wait")
    report = firm.sync()
    assert report.outcome == "partial"
    assert report.systems["salesforce"].paused_until == "2026-01-27 14:00 JST"
    assert pauses(firm) == {("salesforce", "quota"): START + 5 * HOUR}
    firm.crm.faults.clear()
    read = firm.crm.calls["read"]
    firm.clock.at += 4 * HOUR
    firm.sync()
    assert firm.crm.calls["read"] == read
    firm.clock.at += HOUR
    assert firm.sync().outcome == "ok"
    assert pauses(firm) == {}


@pytest.mark.parametrize("cause", ["quota", "errors", "credential", "guard"])
def test_what_a_clock_that_stood_ahead_paused_goes_on_and_a_persons_pause_stays(firm: Firm, cause: Cause) -> None:
    firm.sync()
    month = START + 30 * DAY_MS
    with firm.state.begin() as connection:
        put(connection, Pause("salesforce", cause, month + HOUR, "why", "", month))
        put(connection, Pause("second", "admin", month + HOUR, "maintenance", "", month))
    firm.sync()
    assert pauses(firm) == {("second", "admin"): month + HOUR}


def test_a_spent_day_is_no_reason_not_to_start(firm: Firm) -> None:
    """Even a strict run serves the other CRM: what the message would ask for is to wait."""
    firm.crm.faults["prepare"] = QuotaExhausted("used up", resets_at=None)
    report = firm.sync(strict=True)
    assert report.systems["second"].rows_read > 0
    assert pauses(firm) == {("salesforce", "quota"): START + HOUR}


def test_the_last_tenth_is_no_pause(firm: Firm) -> None:
    """Score updates wait; reading and tasks go on with the next pass."""
    firm.crm.faults["write"] = QuotaReserved("the rest is for reading", resets_at=to_datetime(START + HOUR))
    report = firm.sync()
    assert report.systems["salesforce"].error
    assert pauses(firm) == {}
    firm.crm.faults.clear()
    assert firm.sync().outcome == "ok"
    assert len(firm.crm.fields) == 3


@pytest.mark.parametrize("error", [Transient("503"), OutcomeUnknown("lost"), RateLimited("slow", retry_after=1)])
def test_what_the_crm_or_the_network_does_counts_as_a_failed_run(firm: Firm, error: ConnectorError) -> None:
    report = RunReport("r", "all", START)
    for _ in range(FAILED_RUNS):
        assert pauses(firm) == {}
        note_failure(firm.state, firm.settings, report, "second", error, START)
    assert pauses(firm) == {("second", "errors"): START + FIRST_PAUSE_MS}


def test_runs_that_fail_in_a_row_pause_for_longer_and_longer(firm: Firm) -> None:
    del firm.crms["second"]
    firm.values["connections"] = {"salesforce": {"vendor": "salesforce"}}
    error = Transient("503")
    firm.sync()
    firm.crm.faults["prepare"] = error
    for _ in range(FAILED_RUNS - 1):
        firm.sync()
        assert pauses(firm) == {}
    lengths = []
    for _ in range(7):
        assert firm.sync().outcome == "failed"
        until = pauses(firm)["salesforce", "errors"]
        assert until is not None
        lengths.append(until - firm.clock.at)
        firm.clock.at = until
    assert lengths[0] == FIRST_PAUSE_MS
    assert lengths == sorted(lengths)
    assert lengths[-1] == LONGEST_PAUSE_MS
    firm.crm.faults.clear()
    assert firm.sync().outcome == "ok"
    assert pauses(firm) == {}
    firm.crm.faults["prepare"] = error
    firm.sync()
    assert pauses(firm) == {}  # one failed run after a good one is one failed run


def test_the_first_call_after_a_pause_for_errors_is_made_once(firm: Firm) -> None:
    firm.crm.faults["prepare"] = Transient("503")
    for _ in range(FAILED_RUNS):
        firm.sync()
    firm.clock.at += FIRST_PAUSE_MS
    ledger = StateLedger(lambda: firm.state, "salesforce")
    ledger.take(1, None, firm.clock.at)
    assert ledger.doubtful
    ledger.note(worked=True, now=firm.clock.at)
    assert not ledger.doubtful
    firm.clock.at += 2 * MINUTE
    ledger.take(1, None, firm.clock.at)
    assert not ledger.doubtful
    other = StateLedger(lambda: firm.state, "second")
    other.take(1, None, firm.clock.at)
    assert not other.doubtful


def test_half_of_many_calls_failing_pauses_though_the_run_came_through(firm: Firm) -> None:
    ledger = StateLedger(lambda: firm.state, "salesforce")
    for number in range(40):
        ledger.take(1, None, firm.clock.at)
        ledger.note(worked=number % 2 == 0, now=firm.clock.at)
    ledger.close()
    report = firm.sync()
    assert pauses(firm) == {("salesforce", "errors"): START + FIRST_PAUSE_MS}
    assert "20 of the last 40 calls failed" in str(report.systems["salesforce"].paused)
    firm.clock.at += FIRST_PAUSE_MS
    assert firm.sync().outcome == "ok"
    assert pauses(firm) == {}


def test_few_calls_say_nothing(firm: Firm) -> None:
    ledger = StateLedger(lambda: firm.state, "salesforce")
    for _ in range(8):
        ledger.take(1, None, firm.clock.at)
        ledger.note(worked=False, now=firm.clock.at)
    ledger.close()
    assert firm.sync().outcome == "ok"
    assert pauses(firm) == {}


def test_a_refused_credential_is_not_tried_again_until_it_changes(firm: Firm, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("grandmother's recipe", "utf-8")
    secret.chmod(0o600)
    section = {"vendor": "salesforce", "client_secret": {"file": str(secret)}}
    firm.values["connections"] = {"salesforce": section, "second": {"vendor": "salesforce"}}
    firm.sync()
    firm.crm.faults["prepare"] = Unauthorized("invalid_grant", hint="new secret", final=True)
    with pytest.raises(CannotStart) as caught:
        firm.sync(strict=True)
    assert caught.value.exit_code == 2
    prepared = firm.crm.calls["prepare"]
    firm.clock.at += 30 * DAY_MS
    report = firm.sync(strict=True)  # the other goes on; nobody logs in again
    assert report.outcome == "partial"
    assert firm.crm.calls["prepare"] == prepared
    assert report.systems["salesforce"].paused is not None
    assert "mikomi resume salesforce" in report.systems["salesforce"].paused["hint"]
    firm.crm.faults.clear()
    secret.write_text("new", "utf-8")
    assert firm.sync().outcome == "ok"
    assert pauses(firm) == {}
    with firm.state.read() as connection:
        kept = "".join(map(str, connection.execute(select(t.setting)).all()))
    assert "grandmother" not in kept


def test_a_secret_replaced_while_the_old_one_is_being_refused_is_noticed(firm: Firm, tmp_path: Path) -> None:
    """The pause is held against what was tried, not against what lies there when the refusal arrives."""
    secret = tmp_path / "secret"
    secret.write_text("old", "utf-8")
    secret.chmod(0o600)
    section = {"vendor": "salesforce", "client_secret": {"file": str(secret)}}
    firm.values["connections"] = {"salesforce": section, "second": {"vendor": "salesforce"}}
    firm.sync()

    class Slow(dict[str, MikomiError]):
        def get(self, method: str, default: object = None) -> MikomiError | None:  # type: ignore[override]
            if method != "read":
                return None
            secret.write_text("new", "utf-8")
            return Unauthorized("invalid_grant", final=True)

    firm.crm.faults = Slow()
    firm.sync()
    assert ("salesforce", "credential") in pauses(firm)
    firm.crm.faults = {}
    assert firm.sync().outcome == "ok"
    assert pauses(firm) == {}


def test_a_secret_that_can_no_longer_be_read_stops_its_own_connection_alone(firm: Firm) -> None:
    firm.sync()
    firm.crm.faults["read"] = InvalidSettings("cannot read /run/secrets/salesforce: no such file")
    read = firm.crms["second"].calls["read"]
    report = firm.sync()
    assert report.outcome == "partial"
    assert "cannot read" in str(report.systems["salesforce"].error)
    assert firm.crms["second"].calls["read"] == read + 1


def test_a_persons_word_reaches_the_connection_once(firm: Firm) -> None:
    firm.sync()
    firm.crm.faults["read"] = Unauthorized("revoked", final=True)
    firm.sync()
    for resumed in (True, False):
        if resumed:
            with firm.state.begin() as connection:
                end_pauses(connection, None, why="a person resumed it", actor="user x")
        firm.sync()
        assert firm.crm.calls["reconsider"] == 1
        assert pauses(firm) == {("salesforce", "credential"): None}
    assert firm.crms["second"].calls["reconsider"] == 0


def test_a_refusal_that_may_pass_is_tried_again_after_an_hour(firm: Firm) -> None:
    firm.crm.faults["read"] = Unauthorized("401")
    firm.sync()
    assert pauses(firm) == {("salesforce", "credential"): START + HOUR}


def test_a_person_resumes_a_refused_credential(firm: Firm) -> None:
    firm.crm.faults["read"] = Unauthorized("revoked", final=True)
    firm.sync()
    firm.crm.faults.clear()
    with firm.state.begin() as connection:
        end_pauses(connection, "salesforce", why="a person resumed it", actor="user x")
    assert firm.sync().outcome == "ok"
    assert audited(firm) == [("pause", "salesforce"), ("resume", "salesforce")]


def test_a_lost_required_field_pauses_what_worked_before_and_stops_what_never_did(firm: Firm) -> None:
    lost = InvalidMapping("required field title has no source", place="salesforce: mapping.fields.lead.title")
    firm.crm.faults["prepare"] = lost
    with pytest.raises(CannotStart, match="title"):
        firm.sync(strict=True)
    assert pauses(firm) == {}
    firm.crm.faults.clear()
    firm.sync()
    firm.crm.faults["prepare"] = lost
    report = firm.sync(strict=True)
    assert "title" in str(report.systems["salesforce"].error)
    assert report.systems["second"].error is None
    assert pauses(firm) == {("salesforce", "guard"): START + HOUR}


def test_where_nothing_can_start_a_lenient_run_says_so_too(firm: Firm) -> None:
    for crm in firm.crms.values():
        crm.faults["prepare"] = Unauthorized("wrong", final=True)
    with pytest.raises(CannotStart):
        firm.sync()


def test_the_longest_of_several_pauses_is_told(firm: Firm) -> None:
    with firm.state.begin() as connection:
        put(connection, Pause("salesforce", "quota", START + HOUR, "calls", "", START))
        put(connection, Pause("salesforce", "admin", START + 3 * HOUR, "nightly load", "", START))
    report = firm.sync()
    assert report.systems["salesforce"].paused_until == "2026-01-27 12:00 JST"
    firm.clock.at += 2 * HOUR
    assert firm.sync().systems["salesforce"].paused is not None


def test_a_pause_begins_holds_and_ends_on_both_databases(state: State) -> None:
    firm = Firm(state, people=3)
    firm.crm.faults["read"] = Unauthorized("401")
    firm.sync()
    firm.crm.faults.clear()
    read = firm.crm.calls["read"]
    assert firm.sync().systems["salesforce"].paused is not None
    assert firm.crm.calls["read"] == read
    firm.clock.at += HOUR
    assert firm.sync().outcome == "ok"
    assert audited(firm) == [("pause", "salesforce"), ("resume", "salesforce")]
