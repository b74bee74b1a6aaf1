"""Clocks whose sleep takes no time."""

import time

from core.records import Millis


class PatientClock:
    """The machine's time, except that a sleep is a jump. `sleeps` keeps what was slept, in seconds."""

    def __init__(self) -> None:
        self.skipped = 0.0
        self.sleeps: list[float] = []

    def now(self) -> Millis:
        return time.time_ns() // 1_000_000 + round(self.skipped * 1000)

    def monotonic(self) -> float:
        return time.monotonic() + self.skipped

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.skipped += seconds


class StillClock:
    """Time moves only by sleeping, or by hand."""

    def __init__(self, now: Millis = 1_764_000_000_000) -> None:
        self.start = now
        self.seconds = 0.0
        self.sleeps: list[float] = []

    def now(self) -> Millis:
        return self.start + round(self.seconds * 1000)

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.seconds += seconds
