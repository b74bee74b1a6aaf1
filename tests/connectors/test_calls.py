"""The one door for calls: what is tried again, for how long, and what a lost answer means."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.budget import Budget
from connectors.calls import Calls, Effect, Pace, Policy
from core.errors import (
    ConnectorError,
    LeaseLost,
    OutcomeUnknown,
    QuotaExhausted,
    RateLimited,
    Rejected,
    Transient,
    Unauthorized,
)
from core.records import DAY_MS
from tests.connectors.clocks import StillClock


class VendorError(Exception):
    def __init__(self, meaning: ConnectorError) -> None:
        super().__init__("vendor")
        self.meaning = meaning


def translate(error: Exception) -> ConnectorError | None:
    return error.meaning if isinstance(error, VendorError) else None


class Script:
    """A call that goes through a list of outcomes."""

    def __init__(self, *outcomes: object) -> None:
        self.outcomes = list(outcomes)
        self.timeouts: list[float] = []

    def __call__(self, timeout: float) -> object:
        self.timeouts.append(timeout)
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, ConnectorError):
            raise VendorError(outcome)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def make(clock: StillClock | None = None, **changes: object) -> Calls:
    clock = clock or StillClock()
    policy = changes.pop("policy", Policy(attempts=4))
    return Calls("crm", clock, translate, policy, **changes)  # type: ignore[arg-type]


def test_a_call_that_works_is_made_once_and_counted() -> None:
    calls = make()
    assert calls.run("things", Script("answer"), kind="stream") == "answer"
    assert (calls.counts.stream, calls.counts.other, calls.counts.write) == (1, 0, 0)
    assert calls.counts.by_endpoint == {"things": 1}


def test_passing_faults_are_waited_out_with_growing_jittered_waits() -> None:
    clock = StillClock()
    calls = make(clock)
    assert calls.run("things", Script(Transient("no"), Transient("no"), "yes")) == "yes"
    assert len(clock.sleeps) == 2
    assert 0 <= clock.sleeps[0] <= 0.5
    assert 0 <= clock.sleeps[1] <= 1.0
    assert calls.counts.other == 3


def test_waits_differ_between_callers() -> None:
    waits = set()
    for _ in range(8):
        clock = StillClock()
        make(clock).run("things", Script(Transient("no"), "yes"))
        waits.add(clock.sleeps[0])
    assert len(waits) > 1


def test_a_lasting_fault_is_raised_as_it_is_after_the_last_attempt() -> None:
    script = Script(*[Transient(f"no {n}") for n in range(9)])
    with pytest.raises(Transient, match="no 3") as caught:
        make().run("things", script)
    assert caught.value.system == "crm"
    assert len(script.timeouts) == 4


def test_a_rate_limit_is_waited_for_exactly() -> None:
    clock = StillClock()
    make(clock).run("things", Script(RateLimited("slow down", retry_after=7.5), "yes"))
    assert clock.sleeps == [7.5]


def test_a_wait_beyond_the_budget_is_not_begun() -> None:
    clock = StillClock()
    calls = make(clock, policy=Policy(budget_seconds=30))
    with pytest.raises(RateLimited):
        calls.run("things", Script(RateLimited("slow down", retry_after=31)))
    assert clock.sleeps == []


def test_the_timeout_never_exceeds_what_is_left_of_the_budget() -> None:
    clock = StillClock()
    script = Script(RateLimited("slow down", retry_after=25), "yes")
    make(clock, policy=Policy(timeout_seconds=20, budget_seconds=30)).run("things", script)
    assert script.timeouts == [20, 5]


@pytest.mark.parametrize("error", [Rejected("bad", code="X"), QuotaExhausted("gone", resets_at=None)])
def test_refusals_for_good_are_not_tried_again(error: ConnectorError) -> None:
    script = Script(error, "never")
    with pytest.raises(type(error)):
        make().run("things", script, effect="repeatable")
    assert script.outcomes == ["never"]


def test_a_bug_is_not_dressed_up_as_a_fault_of_the_crm() -> None:
    with pytest.raises(ZeroDivisionError):
        make().run("things", Script(ZeroDivisionError(), "never"))


# --- lost answers --------------------------------------------------------------------------------------------------------


def test_a_lost_read_is_read_again_and_finally_transient() -> None:
    assert make().run("things", Script(OutcomeUnknown("lost"), "yes")) == "yes"
    with pytest.raises(Transient):
        make().run("things", Script(*[OutcomeUnknown("lost")] * 4))


def test_a_lost_absolute_write_is_sent_again_and_finally_unknown() -> None:
    assert make().run("things", Script(OutcomeUnknown("lost"), "yes"), effect="repeatable") == "yes"
    with pytest.raises(OutcomeUnknown):
        make().run("things", Script(*[OutcomeUnknown("lost")] * 4), effect="repeatable")


def test_a_lost_create_is_never_sent_again() -> None:
    script = Script(OutcomeUnknown("lost"), "second effect")
    with pytest.raises(OutcomeUnknown):
        make().run("things", script, effect="once")
    assert script.outcomes == ["second effect"]


def test_a_refused_create_is_sent_again_because_nothing_happened() -> None:
    assert make().run("things", Script(Transient("503"), "yes"), effect="once") == "yes"


def test_a_refusal_after_a_lost_attempt_stays_unknown() -> None:
    script = Script(OutcomeUnknown("lost"), *[Transient("503")] * 3)
    with pytest.raises(OutcomeUnknown, match="earlier attempt"):
        make().run("things", script, effect="repeatable")


@given(
    outcomes=st.lists(st.sampled_from(["refused", "lost"]), min_size=1, max_size=6),
    effect=st.sampled_from(["none", "repeatable", "once"]),
)
def test_no_write_is_called_certain_that_is_not(outcomes: list[str], effect: Effect) -> None:
    """Whatever happens, `Transient` from a write means that no attempt was lost."""
    made: list[str] = []
    errors: dict[str, Callable[[], ConnectorError]] = {
        "refused": lambda: Transient("refused"),
        "lost": lambda: OutcomeUnknown("lost"),
    }

    def send(_timeout: float) -> str:
        if len(made) == len(outcomes):
            return "done"
        made.append(outcomes[len(made)])
        raise VendorError(errors[made[-1]]())

    try:
        make().run("things", send, effect=effect)
    except OutcomeUnknown:
        assert effect != "none"
        assert "lost" in made
    except Transient:
        assert effect == "none" or "lost" not in made
    if effect == "once":
        assert "lost" not in made[:-1]


# --- tokens --------------------------------------------------------------------------------------------------------------


def test_an_expired_token_is_renewed_once_and_the_call_repeated() -> None:
    renewed: list[int] = []
    calls = make(renew=lambda: renewed.append(1))
    assert calls.run("things", Script(Unauthorized("expired"), "yes"), effect="once") == "yes"
    assert renewed == [1]


def test_a_second_unauthorized_ends_the_call() -> None:
    renewed: list[int] = []
    calls = make(renew=lambda: renewed.append(1))
    script = Script(Unauthorized("a"), Unauthorized("b"), "never")
    with pytest.raises(Unauthorized, match="b"):
        calls.run("things", script)
    assert renewed == [1]
    assert script.outcomes == ["never"]


# --- budget and pace -----------------------------------------------------------------------------------------------------


def test_the_granted_calls_are_a_rolling_day() -> None:
    clock = StillClock()
    calls = make(clock, budget=Budget("crm", clock, own_calls=3))
    for _ in range(3):
        calls.run("things", Script("yes"))
        clock.sleep(3600)
    with pytest.raises(QuotaExhausted) as caught:
        calls.run("things", Script("never"))
    assert caught.value.resets_at == datetime.fromtimestamp((clock.start + DAY_MS) / 1000, UTC)
    clock.sleep(21 * 3600)
    assert calls.run("things", Script("yes")) == "yes"


def test_free_calls_are_not_billed() -> None:
    clock = StillClock()
    calls = make(clock, budget=Budget("crm", clock, own_calls=1))
    calls.run("token", Script("yes"), cost=0)
    calls.run("things", Script("yes"))
    with pytest.raises(QuotaExhausted):
        calls.run("things", Script("never"))


def test_retries_are_billed_too() -> None:
    clock = StillClock()
    calls = make(clock, budget=Budget("crm", clock, own_calls=2))
    with pytest.raises(QuotaExhausted):
        calls.run("things", Script(Transient("no"), Transient("no"), "never"))


def test_we_stop_at_the_granted_share_of_everyones_quota() -> None:
    clock = StillClock()
    budget = Budget("crm", clock, stop_at_percent=80)
    budget.observe(used=799, limit=1000)
    budget.spend()
    budget.observe(used=800, limit=1000, resets_at=clock.now() + 5000)
    with pytest.raises(QuotaExhausted, match="800 of 1000"):
        budget.spend()
    clock.sleep(6)
    budget.spend()


def test_without_a_reset_time_one_call_an_hour_looks_again() -> None:
    clock = StillClock()
    budget = Budget("crm", clock, stop_at_percent=80)
    budget.observe(used=900, limit=1000)
    with pytest.raises(QuotaExhausted) as caught:
        budget.spend()
    assert caught.value.resets_at is not None
    clock.sleep(3601)
    budget.spend()


@given(
    gaps=st.lists(st.floats(0, 3), min_size=1, max_size=60),
    calls=st.integers(1, 6),
    seconds=st.floats(0.5, 10),
)
def test_a_pace_is_never_exceeded(gaps: list[float], calls: int, seconds: float) -> None:
    clock = StillClock()
    pace = Pace(clock, calls=calls, seconds=seconds)
    sent = []
    for gap in gaps:
        clock.seconds += gap
        pace.take()
        sent.append(clock.seconds)
    for first, later in zip(sent, sent[calls:], strict=False):
        assert later - first >= seconds - 1e-6


def test_named_paces_apply_to_their_calls_only() -> None:
    clock = StillClock()
    calls = make(clock, paces={"search": Pace(clock, calls=1, seconds=2)})
    for _ in range(2):
        calls.run("list", Script("yes"))
    assert clock.sleeps == []
    for _ in range(2):
        calls.run("search", Script("yes"), paces=("search",))
    assert clock.sleeps == [2]


# --- whether this process may still act ------------------------------------------------------------------------------


class Leave:
    """Given until it is taken away."""

    def __init__(self) -> None:
        self.taken = False
        self.asked = 0

    def __call__(self) -> None:
        self.asked += 1
        if self.taken:
            raise LeaseLost("sync")


class Interrupted(StillClock):
    """Something happens during every sleep."""

    def __init__(self, happens: Callable[["Interrupted"], None]) -> None:
        super().__init__()
        self._happens = happens

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self._happens(self)


def overtaken(leave: Leave) -> Interrupted:
    return Interrupted(lambda _clock: setattr(leave, "taken", True))


def stopped() -> Interrupted:
    """The process stands still for twenty minutes."""
    return Interrupted(lambda clock: setattr(clock, "seconds", clock.seconds + 1200))


@pytest.mark.parametrize("effect", ["once", "repeatable"])
def test_leave_is_asked_before_each_attempt_to_write(effect: Effect) -> None:
    """Another runner took over while the call waited for its next attempt: there is none."""
    leave = Leave()
    calls = make(overtaken(leave), allowed=leave)
    script = Script(RateLimited("slow down", retry_after=100), "second effect")
    with pytest.raises(LeaseLost):
        calls.run("tasks", script, kind="write", effect=effect)
    assert script.outcomes == ["second effect"]
    assert (leave.asked, calls.counts.write) == (2, 1)


def test_leave_is_asked_after_the_wait_for_the_pace_and_never_for_reading() -> None:
    leave = Leave()
    clock = overtaken(leave)
    calls = make(clock, allowed=leave, paces={"search": Pace(clock, calls=1, seconds=10.0)})
    calls.run("things", Script("read"), paces=("search",))
    assert leave.asked == 0
    with pytest.raises(LeaseLost):
        calls.run("tasks", Script("never"), kind="write", effect="once", paces=("search",))


def test_an_attempt_that_would_begin_after_the_calls_time_is_not_made() -> None:
    """The process was stopped while it waited: a create that nobody expects any more must not leave now."""
    calls = make(stopped(), policy=Policy(budget_seconds=180))
    script = Script(RateLimited("slow down", retry_after=10), "second effect")
    with pytest.raises(Transient, match="time was over"):
        calls.run("tasks", script, kind="write", effect="once")
    assert script.outcomes == ["second effect"]
    assert calls.counts.write == 1


def test_a_lost_answer_stays_lost_where_there_was_no_time_for_another_attempt() -> None:
    calls = make(stopped(), policy=Policy(budget_seconds=180))
    with pytest.raises(OutcomeUnknown):
        calls.run("fields", Script(OutcomeUnknown("lost"), "never"), kind="write", effect="repeatable")
