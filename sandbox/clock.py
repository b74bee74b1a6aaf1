"""The sandbox's clock: real time plus an offset that the control API moves, or held still."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime


class Clock:
    """UTC time in integer milliseconds. Thread-safe; shared by both emulators of one sandbox."""

    def __init__(self, start_ms: int | None = None) -> None:
        self._lock = threading.Lock()
        self._held_ms: int | None = None
        self._watchers: list[Callable[[], None]] = []
        self._offset_ms = 0 if start_ms is None else start_ms - _real_ms()

    def now_ms(self) -> int:
        with self._lock:
            return self._now()

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.now_ms() / 1000, UTC)

    def watch(self, watcher: Callable[[], None]) -> None:
        """Call `watcher` in the mover's thread whenever the time was moved (not while it just goes by)."""
        self._watchers.append(watcher)

    def advance(self, seconds: float) -> int:
        """Move on (or back, if negative) and return the new time."""
        with self._lock:
            if self._held_ms is None:
                self._offset_ms += round(seconds * 1000)
            else:
                self._held_ms += round(seconds * 1000)
            moved = self._now()
        self._tell()
        return moved

    def set(self, now_ms: int) -> int:
        with self._lock:
            if self._held_ms is None:
                self._offset_ms = now_ms - _real_ms()
            else:
                self._held_ms = now_ms
            moved = self._now()
        self._tell()
        return moved

    def hold(self, at_ms: int | None = None) -> int:
        """Stop the clock where it is, or at a given moment."""
        with self._lock:
            self._held_ms = self._now() if at_ms is None else at_ms
            return self._held_ms

    def release(self) -> int:
        """Let a held clock run on from where it stood."""
        with self._lock:
            if self._held_ms is not None:
                self._offset_ms = self._held_ms - _real_ms()
                self._held_ms = None
            return self._now()

    def _tell(self) -> None:
        for watcher in self._watchers:
            watcher()

    def _now(self) -> int:
        return self._held_ms if self._held_ms is not None else _real_ms() + self._offset_ms


def _real_ms() -> int:
    return time.time_ns() // 1_000_000
