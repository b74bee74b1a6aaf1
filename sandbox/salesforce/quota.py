"""The day's API calls: a window of 24 hours that rolls with the sandbox's clock."""

import threading
from collections import deque

from sandbox.clock import Clock
from sandbox.salesforce.errors import ApiError

_DAY_MS = 86_400_000
_STEP_MS = 60_000


class Quota:
    """Counts calls by the minute. Thread-safe."""

    def __init__(self, clock: Clock, limit: int, *, enforced: bool) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._steps: deque[list[int]] = deque()  # [minute, calls]
        self._used = 0
        self.limit = limit
        self.enforced = enforced

    def spend(self, calls: int = 1) -> None:
        """Count; raises the 403 of a spent day, which counts nothing."""
        with self._lock:
            now = self._roll()
            if self.enforced and self._used + calls > self.limit:
                raise ApiError(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
            self._add(now, calls)

    def state(self) -> tuple[int, int]:
        """(used within 24 hours, allowed)."""
        with self._lock:
            self._roll()
            return self._used, self.limit

    def set_used(self, used: int) -> None:
        with self._lock:
            now = self._roll()
            self._steps.clear()
            self._used = 0
            self._add(now, used)

    def header(self) -> str:
        used, limit = self.state()
        return f"api-usage={used}/{limit}"

    def _add(self, now: int, calls: int) -> None:
        step = now // _STEP_MS
        if self._steps and self._steps[-1][0] == step:
            self._steps[-1][1] += calls
        else:
            self._steps.append([step, calls])
        self._used += calls

    def _roll(self) -> int:
        now = self._clock.now_ms()
        oldest = (now - _DAY_MS) // _STEP_MS
        while self._steps and self._steps[0][0] <= oldest:
            self._used -= self._steps.popleft()[1]
        return now
