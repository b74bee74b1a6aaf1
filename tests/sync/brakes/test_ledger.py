"""The share of the day: never exceeded, over kills, restarts and several processes at once."""

import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select

from connectors.budget import Budget
from connectors.calls import Calls, Policy
from core.errors import QuotaExhausted, QuotaReserved, Rejected, Transient
from core.records import DAY_MS
from sync.state import State, open_state
from sync.state import schema as t
from sync.state.calls_made import AHEAD, HOUR_MS, CallBook, StateLedger, calls_since, health
from tests.connectors.clocks import StillClock

START = 490_000 * HOUR_MS


@pytest.fixture(scope="module")
def shared() -> Iterator[State]:
    opened = open_state("sqlite://")
    yield opened
    opened.close()


def counted(state: State) -> int:
    with state.read() as connection:
        return calls_since(connection, "crm", 0)


def a_ledger(state: State) -> StateLedger:
    return StateLedger(lambda: state, "crm")


def test_calls_are_counted_ahead_and_what_was_not_sent_is_given_back(state: State) -> None:
    ledger = a_ledger(state)
    for _ in range(3):
        assert ledger.take(1, None, START) is None
    assert counted(state) == AHEAD
    ledger.close()
    assert counted(state) == 3
    ledger.close()
    assert counted(state) == 3


def test_calls_of_a_clock_that_stood_ahead_count_from_now_on_and_free_their_share(state: State) -> None:
    ahead = START + 300 * 24 * HOUR_MS
    ledger = a_ledger(state)
    assert [ledger.take(1, 30, ahead) for _ in range(30)] == [None] * 30
    ledger.close()
    free_at = a_ledger(state).take(1, 30, START)
    assert free_at == START + 25 * HOUR_MS
    assert a_ledger(state).take(1, 30, free_at) is None


def test_what_was_counted_ahead_is_given_back_after_the_clock_was_set_back(state: State) -> None:
    ledger = a_ledger(state)
    ledger.take(1, None, START + 300 * 24 * HOUR_MS)
    ledger.take(1, None, START)
    ledger.close()
    assert counted(state) == 2


def test_the_share_outlives_the_process(state: State) -> None:
    for _ in range(3):
        ledger = a_ledger(state)
        assert [ledger.take(1, 30, START) for _ in range(10)] == [None] * 10
        ledger.close()
    free_at = a_ledger(state).take(1, 30, START + HOUR_MS)
    assert free_at == START + 25 * HOUR_MS  # whole hours count: never more than the share in any 24 hours
    assert a_ledger(state).take(1, 30, free_at) is None


def test_a_killed_process_leaves_too_many_counted_never_too_few(state: State) -> None:
    ledger = a_ledger(state)
    for _ in range(25):
        ledger.take(1, 100, START)
    assert counted(state) == 2 * AHEAD  # and the process is gone, without `close`
    granted = 0
    after = a_ledger(state)
    while after.take(1, 100, START) is None:
        granted += 1
    assert 25 + granted <= 100
    assert granted == 60


def test_an_hour_that_ends_takes_nothing_over(state: State) -> None:
    ledger = a_ledger(state)
    ledger.take(1, 50, START)
    ledger.take(1, 50, START + HOUR_MS)
    ledger.close()
    with state.read() as connection:
        rows = connection.execute(select(t.calls_made.c.hour, t.calls_made.c.calls).where(t.calls_made.c.hour > 0))
        assert sorted(map(tuple, rows)) == [(490_000, 1), (490_001, 1)]


def test_failures_are_counted_beside_the_calls(state: State) -> None:
    ledger = a_ledger(state)
    for worked in (True, False, False):
        ledger.take(1, None, START)
        ledger.note(worked=worked, now=START)
    ledger.close()
    with state.read() as connection:
        went = health(connection, "crm", START)
        later = health(connection, "crm", START + 2 * HOUR_MS)
    assert (went.calls, went.failed, later.calls) == (3, 2, 0)


def test_before_there_is_a_state_calls_are_counted_in_memory() -> None:
    book = CallBook("sqlite:////nowhere/mikomi.sqlite3")
    ledger = StateLedger(book.find, "crm")
    assert [ledger.take(1, 2, START) for _ in range(3)] == [None, None, START + DAY_MS]
    ledger.note(worked=False, now=START)
    ledger.close()
    book.close()


steps = st.lists(
    st.tuples(
        st.integers(0, 2), st.sampled_from(["take", "take", "take", "kill", "close", "wait"]), st.integers(1, 30)
    ),
    max_size=60,
)


@settings(deadline=None, max_examples=60)
@given(steps=steps, allowed=st.integers(1, 60))
def test_no_schedule_of_processes_exceeds_the_share(
    shared: State, steps: list[tuple[int, str, int]], allowed: int
) -> None:
    """Three processes that call, are killed, end and wait, in any order: in no 24 hours more than the share."""
    with shared.begin() as connection:
        connection.execute(delete(t.calls_made))
    ledgers = [a_ledger(shared) for _ in range(3)]
    sent: deque[int] = deque()
    now = START
    for who, what, number in steps:
        if what == "wait":
            now += number * HOUR_MS // 4
        elif what == "kill":
            ledgers[who] = a_ledger(shared)
        elif what == "close":
            ledgers[who].close()
        for _ in range(number if what == "take" else 0):
            if ledgers[who].take(1, allowed, now) is None:
                sent.append(now)
        while sent and sent[0] <= now - DAY_MS:
            sent.popleft()
        assert len(sent) <= allowed


@given(allowed=st.integers(10, 400))
@settings(deadline=None, max_examples=20)
def test_one_process_alone_gets_its_whole_share(shared: State, allowed: int) -> None:
    with shared.begin() as connection:
        connection.execute(delete(t.calls_made))
    ledger = a_ledger(shared)
    granted = 0
    while ledger.take(1, allowed, START) is None:
        granted += 1
    assert granted == allowed


PROCESS = """
import sys
from sync.state import open_state
from sync.state.calls_made import StateLedger
state = open_state(sys.argv[1])
ledger = StateLedger(lambda: state, "crm")
sys.stdin.readline()
granted = sum(ledger.take(1, 100, int(sys.argv[2])) is None for _ in range(60))
if sys.argv[3] == "close":
    ledger.close()
print(granted, flush=True)
"""


def test_processes_at_the_same_time_keep_the_share_together(database: str) -> None:
    open_state(database).close()
    endings = ("close", "die", "close")
    arguments = [[sys.executable, "-c", PROCESS, database, str(START), ending] for ending in endings]
    processes = [
        subprocess.Popen(argument, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for argument in arguments
    ]
    answers = [process.communicate("go\n", timeout=60)[0] for process in processes]
    granted = sum(int(answer) for answer in answers)
    assert 100 - 2 * AHEAD <= granted <= 100


# --- the budget over it ------------------------------------------------------------------------------------------------------


def test_score_updates_stop_first_and_tasks_go_on(state: State) -> None:
    clock = StillClock(START)
    budget = Budget("crm", clock, own_calls=100, ledger=a_ledger(state))
    calls = Calls("crm", clock, lambda _: None, Policy(), budget)
    with budget.yielding():
        for _ in range(90):
            calls.run("fields", lambda _: "ok", kind="write")
        with pytest.raises(QuotaReserved, match="score updates wait"):
            calls.run("fields", lambda _: "never", kind="write")
    for _ in range(10):
        calls.run("tasks", lambda _: "ok", kind="write")
    with pytest.raises(QuotaExhausted) as caught:
        calls.run("tasks", lambda _: "never", kind="write")
    assert not isinstance(caught.value, QuotaReserved)
    assert calls.counts.write == 100


def test_the_whole_quota_is_shared_in_the_same_order() -> None:
    clock = StillClock()
    budget = Budget("crm", clock, stop_at_percent=80)
    budget.observe(used=720, limit=1000)
    with budget.yielding(), pytest.raises(QuotaReserved):
        budget.spend()
    budget.spend()
    budget.observe(used=719, limit=1000)
    with budget.yielding():
        budget.spend()


def test_only_faults_of_the_other_side_count_as_failed(state: State) -> None:
    clock = StillClock(START)
    calls = Calls("crm", clock, lambda _: None, Policy(attempts=1), Budget("crm", clock, ledger=a_ledger(state)))
    for error in (Transient("503"), Rejected("bad", code="X")):
        with pytest.raises(type(error)):
            calls.run("things", _raising(error))
    with state.read() as connection:
        assert health(connection, "crm", START).failed == 1


def _raising(error: Exception) -> Callable[[float], None]:
    def send(_: float) -> None:
        raise error

    return send


def test_a_connection_in_doubt_is_tried_once() -> None:
    class Doubt:
        doubtful = True

        def take(self, calls: int, allowed: int | None, now: int) -> None:
            return None

        def note(self, *, worked: bool, now: int) -> None:
            self.doubtful = self.doubtful and not worked

        def close(self) -> None:
            """Nothing was counted ahead."""

    clock = StillClock()
    made: list[int] = []

    def send(_: float) -> str:
        made.append(1)
        if len(made) in {1, 3}:
            raise Transient("503")
        return "ok"

    calls = Calls("crm", clock, lambda _: None, Policy(), Budget("crm", clock, ledger=Doubt()))
    with pytest.raises(Transient):
        calls.run("things", send)
    assert (len(made), clock.sleeps) == (1, [])
    assert calls.run("things", send) == "ok"
    assert calls.run("things", send) == "ok"  # retried again: the connection works
    assert len(made) == 4
