"""How many calls a connection may make: the share of the day that an admin granted, and what is kept back for what matters.

Reading and tasks may use the whole share; score updates stop at nine tenths of it, so that a day of many changed scores never
costs a rep a task, or us a change we should have read.
"""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from core.errors import QuotaExhausted, QuotaReserved
from core.records import DAY_MS, Millis

if TYPE_CHECKING:
    from connectors.calls import Clock

SCORES_STOP_AT = 0.9
"""The part of the share that score updates may use."""

_RECHECK_MS = 60 * 60 * 1000


class CallLedger(Protocol):
    """Counts a connection's own calls, across processes where it is kept in a database.

    Attributes:
        doubtful: the connection was paused because of its errors, and no call has worked since: calls are tried once.
    """

    @property
    def doubtful(self) -> bool: ...

    def take(self, calls: int, allowed: int | None, now: Millis) -> Millis | None:
        """Count calls about to be sent, unless more than `allowed` would have been sent within 24 hours (None: no bound).

        Returns None where they were counted, else when the next calls are free. What it counted may have to be believed after
        a crash: it never counts too few.
        """
        ...

    def note(self, *, worked: bool, now: Millis) -> None:
        """A call was answered, or failed for a reason that is the CRM's or the network's."""
        ...

    def close(self) -> None:
        """Give back what was counted ahead and not sent."""
        ...


class MemoryLedger:
    """Counts the calls of this process alone."""

    doubtful = False

    def __init__(self) -> None:
        self._sent: deque[Millis] = deque()

    def take(self, calls: int, allowed: int | None, now: Millis) -> Millis | None:
        while self._sent and self._sent[0] <= now - DAY_MS:
            self._sent.popleft()
        if allowed is not None and len(self._sent) + calls > allowed:
            return (self._sent[0] if self._sent else now) + DAY_MS
        self._sent.extend([now] * calls)
        return None

    def note(self, *, worked: bool, now: Millis) -> None:
        """Nobody asks."""

    def close(self) -> None:
        """Nothing is counted ahead."""


class Budget:
    """The share of a CRM's daily calls that an admin granted, in a rolling window of 24 hours.

    Two bounds, both optional: `own_calls`, what this connection may send in 24 hours (as its ledger counts it);
    `stop_at_percent`, the use of the whole quota (ours and everyone's, as the CRM's headers report it) above which we stay
    quiet.
    """

    def __init__(
        self,
        system: str,
        clock: "Clock",
        *,
        own_calls: int | None = None,
        stop_at_percent: float | None = 80.0,
        ledger: CallLedger | None = None,
    ) -> None:
        self._system = system
        self._clock = clock
        self._own_calls = own_calls
        self._stop_at_percent = stop_at_percent
        self._ledger = ledger or MemoryLedger()
        self._yielding = False
        self._unbounded = False
        self._used: int | None = None
        self._limit: int | None = None
        self._resets_at: Millis | None = None
        self._observed_at: Millis = 0

    @property
    def used(self) -> int | None:
        """Calls of everyone in the current window, as last reported by the CRM."""
        return self._used

    @property
    def limit(self) -> int | None:
        """The whole quota, as last reported by the CRM."""
        return self._limit

    @property
    def doubtful(self) -> bool:
        """Whether a call is to be tried once only: the first after a pause for errors."""
        return self._ledger.doubtful

    def observe(self, *, used: int, limit: int, resets_at: Millis | None = None) -> None:
        """Take over what a response's headers say about the quota. `resets_at`: our clock's time, None if unknown."""
        self._used, self._limit, self._resets_at = used, limit, resets_at
        self._observed_at = self._clock.now()

    @contextmanager
    def yielding(self, yields: bool = True) -> Iterator[None]:
        """Calls of this block wait while the last tenth of the share is left."""
        before, self._yielding = self._yielding, yields
        try:
            yield
        finally:
            self._yielding = before

    @contextmanager
    def unbounded(self) -> Iterator[None]:
        """Calls of this block are counted, and go out even where the share granted to syncs is used up."""
        before, self._unbounded = self._unbounded, True
        try:
            yield
        finally:
            self._unbounded = before

    def spend(self, calls: int = 1) -> None:
        """Account for calls about to be sent.

        Raises:
            QuotaReserved: what is left is kept for reading and tasks.
            QuotaExhausted: the share is used up. In both cases nothing may be sent.
        """
        now = self._clock.now()
        if self._unbounded:
            self._ledger.take(calls, None, now)
            return
        self._check_share(now)
        own = self._own_calls
        allowed = int(own * SCORES_STOP_AT) if own is not None and self._yielding else own
        free_at = self._ledger.take(calls, allowed, now)
        if free_at is not None:
            raise self._exhausted(f"the granted {own} calls a day are used up", free_at)

    def note(self, *, worked: bool) -> None:
        """Whether the last call was answered, or failed for a reason that is the CRM's or the network's."""
        self._ledger.note(worked=worked, now=self._clock.now())

    def close(self) -> None:
        self._ledger.close()

    def _check_share(self, now: Millis) -> None:
        if self._stop_at_percent is None or not self._limit or self._used is None:
            return
        if self._resets_at is not None and now >= self._resets_at:
            return
        if abs(now - self._observed_at) > _RECHECK_MS:
            return  # the window has moved on since: one call will tell
        percent = self._stop_at_percent * (SCORES_STOP_AT if self._yielding else 1.0)
        if self._used >= self._limit * percent / 100:
            message = f"{self._used} of {self._limit} daily calls are used (by everyone); we stop at {self._stop_at_percent:g} %"
            raise self._exhausted(message, self._resets_at or now + _RECHECK_MS)

    def _exhausted(self, message: str, resets_at: Millis) -> QuotaExhausted:
        when = datetime.fromtimestamp(resets_at / 1000, UTC)
        if self._yielding:
            message = f"score updates wait, what is left of the day's calls is for reading and tasks: {message}"
            return QuotaReserved(message, resets_at=when, system=self._system)
        return QuotaExhausted(
            message,
            resets_at=when,
            system=self._system,
            hint="wait, or raise the connection's quota settings",
        )
