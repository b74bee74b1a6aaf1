"""The one door for vendor calls: budget -> pace -> leave -> call with timeout -> translation -> retry. Clock and sleep are injected.

What may happen to a call whose answer never came depends on its `Effect`:

`none`        a read: try again, finally `Transient`
`repeatable`  an absolute write or an upsert by key: try again, finally `OutcomeUnknown`
`once`        a create without a key: `OutcomeUnknown` at once, never sent again
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, wait_random_exponential

from connectors.budget import Budget
from connectors.protocol import CallCounts
from core.errors import ConnectorError, OutcomeUnknown, RateLimited, Transient, Unauthorized, Unexpected
from core.records import Millis

T = TypeVar("T")
CallKind = Literal["stream", "other", "write"]
Effect = Literal["none", "repeatable", "once"]

_TOKENS_TRIED = 4
"""How many tokens of others one call tries before the last word."""

_BROKEN = (Transient, OutcomeUnknown, Unexpected)
"""What counts against a connection's health. A refusal is an answer; so is a request to slow down."""

_log = logging.getLogger(__name__)


class Clock(Protocol):
    """Time as the connectors use it: wall time for reset times, monotonic seconds for waiting."""

    def now(self) -> Millis: ...

    def monotonic(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...


def seconds_since_start() -> float:
    """Of the machine; they also pass while it sleeps or this process is stopped, and nobody sets them."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


class SystemClock:
    """The machine's own clock."""

    def now(self) -> Millis:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


@dataclass(frozen=True, slots=True)
class Policy:
    """How long and how often one call is tried.

    Attributes:
        timeout_seconds: of one attempt (connect and each read).
        attempts: at most so many, the first included.
        budget_seconds: of all attempts and waits together; a wait that would exceed it is not begun.
        first_wait_seconds, longest_wait_seconds: bounds of the jittered exponential wait.
    """

    timeout_seconds: float = 60.0
    attempts: int = 5
    budget_seconds: float = 180.0
    first_wait_seconds: float = 0.5
    longest_wait_seconds: float = 30.0


class Pace:
    """At most `calls` in any `seconds`: sleeps before a call that would be too many."""

    def __init__(self, clock: Clock, *, calls: int, seconds: float) -> None:
        self._clock = clock
        self._calls = calls
        self._seconds = seconds
        self._sent: deque[float] = deque()

    def adapt(self, calls: int) -> None:
        """Another number of calls from now on: the CRM says what it allows."""
        self._calls = calls

    def take(self) -> None:
        now = self._clock.monotonic()
        while len(self._sent) >= self._calls:
            wait = self._sent[0] + self._seconds - now
            if wait > 0:
                self._clock.sleep(wait)
                now = self._clock.monotonic()
            self._sent.popleft()
        self._sent.append(now)


Translate = Callable[[Exception], ConnectorError | None]
"""A vendor's exception in our words; None for what is no fault of the call (a bug: it is raised as it is).

`Transient` means refused, nothing happened; `OutcomeUnknown` means that the answer was lost.
"""


@dataclass(slots=True)
class Calls:
    """Sends vendor calls, one at a time, for one connection.

    Attributes:
        system: connection name, put into errors.
        translate: see `Translate`.
        renew: gets another access token after an `Unauthorized`, then the call is repeated. False where it found one that
            somebody else had got, which may have ended meanwhile too: that does not count as this call's one renewal.
        paces: named speed limits that calls may be subject to.
        allowed: asked right before every request that changes something, each attempt anew; raises where this process may not
            act any more (another one took over while it waited).
    """

    system: str
    clock: Clock
    translate: Translate
    policy: Policy = field(default_factory=Policy)
    budget: Budget | None = None
    counts: CallCounts = field(default_factory=CallCounts)
    renew: Callable[[], object] | None = None
    paces: Mapping[str, Pace] = field(default_factory=dict)
    allowed: Callable[[], None] | None = None

    def run(
        self,
        endpoint: str,
        send: Callable[[float], T],
        *,
        kind: CallKind = "other",
        effect: Effect = "none",
        cost: int = 1,
        paces: tuple[str, ...] = (),
    ) -> T:
        """Carry out one call and return its result.

        Args:
            endpoint: name for the counts, without ids.
            send: does the call with the given timeout in seconds; everything it raises goes through `translate`.
            kind: class under which every attempt is counted.
            effect: see the module's docstring.
            cost: calls that the CRM bills for it; 0 where it is free (token requests).
            paces: names of the speed limits it is subject to.

        Raises:
            ConnectorError: the subclass says what to do.
        LeaseLost: what `allowed` raises; this attempt was not sent.
        """
        call = _Call(self, endpoint, kind, effect, cost, paces)
        retrying = Retrying(
            stop=call.must_stop,
            wait=call.wait_seconds,
            retry=retry_if_exception(call.is_worth_another),
            sleep=self.clock.sleep,
            before_sleep=call.note,
            reraise=True,
        )
        try:
            result: T = retrying(call.attempt, send)
            return result
        except Transient as error:
            if call.lost:
                raise call.unknown(error) from error
            raise
        except OutcomeUnknown as error:
            if effect == "none":
                raise Transient(error.message, system=self.system, hint=error.hint) from error
            raise

    def count(self, endpoint: str, kind: CallKind) -> None:
        """Count one attempt."""
        setattr(self.counts, kind, getattr(self.counts, kind) + 1)
        self.counts.by_endpoint[endpoint] = self.counts.by_endpoint.get(endpoint, 0) + 1


class _Call:
    """The state of one call through its attempts."""

    def __init__(
        self, calls: Calls, endpoint: str, kind: CallKind, effect: Effect, cost: int, paces: tuple[str, ...]
    ) -> None:
        self._calls = calls
        self._endpoint = endpoint
        self._kind = kind
        self._effect = effect
        self._cost = cost
        self._paces = [calls.paces[name] for name in paces]
        self._deadline = calls.clock.monotonic() + calls.policy.budget_seconds
        self._backoff = wait_random_exponential(
            multiplier=calls.policy.first_wait_seconds, max=calls.policy.longest_wait_seconds
        )
        self._renewed = False
        self.lost = False

    def attempt(self, send: Callable[[float], T]) -> T:
        for _ in range(_TOKENS_TRIED):
            try:
                return self._send(send)
            except Unauthorized:
                if self._calls.renew is None or self._renewed:
                    raise
                self._renewed = self._calls.renew() is not False
        return self._send(send)

    def _send(self, send: Callable[[float], T]) -> T:
        calls = self._calls
        if calls.budget is not None and self._cost:
            calls.budget.spend(self._cost)
        for pace in self._paces:
            pace.take()
        remaining = self._deadline - calls.clock.monotonic()
        if remaining <= 0:  # the process was stopped while it waited
            raise Transient("the call's time was over before it could be sent", system=calls.system)
        if calls.allowed is not None and self._kind == "write":
            calls.allowed()
        calls.count(self._endpoint, self._kind)
        try:
            result = send(max(1.0, min(calls.policy.timeout_seconds, remaining)))
        except ConnectorError as error:
            self._remember(error)
            raise
        except Exception as error:
            translated = calls.translate(error)
            if translated is None:
                raise
            self._remember(translated)
            raise translated from error
        if calls.budget is not None:
            calls.budget.note(worked=True)
        return result

    def _remember(self, error: ConnectorError) -> None:
        error.system = error.system or self._calls.system
        if isinstance(error, OutcomeUnknown) and self._effect != "none":
            self.lost = True
            self._calls.counts.lost += 1
        if self._calls.budget is not None:
            self._calls.budget.note(worked=not isinstance(error, _BROKEN) or isinstance(error, RateLimited))

    def is_worth_another(self, error: BaseException) -> bool:
        if isinstance(error, OutcomeUnknown):
            return self._effect != "once"
        return isinstance(error, Transient)

    def wait_seconds(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, RateLimited):
            return max(0.0, error.retry_after)
        return self._backoff(state)

    def must_stop(self, state: RetryCallState) -> bool:
        policy, clock, budget = self._calls.policy, self._calls.clock, self._calls.budget
        if state.attempt_number >= policy.attempts or (budget is not None and budget.doubtful):
            return True
        return clock.monotonic() + state.upcoming_sleep > self._deadline

    def note(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        said = {
            "connection": self._calls.system,
            "endpoint": self._endpoint,
            "cause": type(error).__name__,
            "seconds": round(state.upcoming_sleep, 1),
        }
        _log.warning("call repeated", extra=said)

    def unknown(self, error: ConnectorError) -> OutcomeUnknown:
        message = f"{self._endpoint}: an earlier attempt may have happened; the last one was refused: {error.message}"
        return OutcomeUnknown(message, system=self._calls.system, hint=error.hint)
