"""Signs of life of the service: in the state for `mikomi status`, and in a small file for probes.

The file (`MIKOMI_HEALTH_FILE`) is for the process itself, a standby too: `python -m sync.health` answers 0 while the service
turns, 1 when it has not for ten minutes (more than the longest single call may take), or when there is none. It says nothing
about the CRMs: a service that waits for one of them is healthy, and restarting it would help nobody.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from core.records import Millis
from sync.state import State, now_ms
from sync.state.kept import get_kept, keep

FILE_VARIABLE = "MIKOMI_HEALTH_FILE"
SILENT_MS = 10 * 60_000
EVERY_MS = 15_000
"""No more often than this a sign of life is written while work is under way."""

_KEPT = "serve"


@dataclass(frozen=True, slots=True)
class Trouble:
    """A job that failed and is tried again: how often in a row, with what, and when next."""

    failures: int
    error: str
    again_at: Millis


@dataclass(slots=True)
class Health:
    """What the service says of itself. Times: this machine's clock.

    Attributes:
        role: `active`; `standby` while another instance works; `stopped` once it ended as asked.
        began_at: when this process started.
        seen_at: the last sign of life.
        ran_at, good_at: when the last pass ended, and the last one in which at least one connection was served.
        failures: passes in a row in which nothing was; error: of the last one.
        refused: why changed settings or rules on disk are not in force, None if they are.
        done: by job (daily, reconcile, backup), when it was last done, or its time began to count.
        troubles: by job of these, what failed since.
        next_at: when the next job is due.

    """

    role: str = "standby"
    began_at: Millis = 0
    seen_at: Millis = 0
    ran_at: Millis | None = None
    good_at: Millis | None = None
    failures: int = 0
    error: str | None = None
    refused: str | None = None
    done: dict[str, Millis] = field(default_factory=dict)
    troubles: dict[str, Trouble] = field(default_factory=dict)
    next_at: Millis | None = None


class Heartbeat:
    """Keeps `Health` where others see it. Losing a beat is no failure: whoever looks sees that it is old."""

    def __init__(self, health: Health, clock: Callable[[], Millis] = now_ms) -> None:
        self.health = health
        self._clock = clock
        named = os.environ.get(FILE_VARIABLE)
        self._file = Path(named) if named else None
        self._written_at: Millis = 0

    def beat(self, state: State | None = None) -> None:
        """Now and then while work is under way: to the file. With `state`: at once, and to the state too."""
        now = self._clock()
        if state is None and 0 <= now - self._written_at < EVERY_MS:
            return
        self.health.seen_at = self._written_at = now
        if self._file is not None:
            _replace(self._file, json.dumps(asdict(self.health)))
        if state is not None and self.health.role == "active":
            keep(state, _KEPT, asdict(self.health))

    def end(self, state: State) -> None:
        """The last word of an instance that was at work: it ended as asked."""
        if self.health.role == "active":
            self.beat(state)
            self.health.role = "stopped"
            keep(state, _KEPT, asdict(self.health))


def read_health(state: State) -> Health | None:
    """What the active instance last said; None where there never was one."""
    document: dict[str, Any] | None = get_kept(state, _KEPT)
    if document is None:
        return None
    known = {f.name for f in fields(Health)}
    health = Health(**{name: value for name, value in document.items() if name in known})
    health.troubles = {job: Trouble(**trouble) for job, trouble in document.get("troubles", {}).items()}
    return health


def probe(file: Path, now: Millis) -> str:
    """Empty while the service whose file this is turns; else what is wrong, in one line."""
    try:
        seen_at = int(json.loads(file.read_text("utf-8"))["seen_at"])
    except FileNotFoundError:
        return f"there is no {file}: the service has not started"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{file} cannot be read: {type(error).__name__}"
    age = now - seen_at
    return f"no sign of life for {age // 1000} seconds" if age > SILENT_MS else ""


def _replace(file: Path, text: str) -> None:
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        fresh.write_text(text, "utf-8")
        fresh.replace(file)
    except OSError:
        fresh.unlink(missing_ok=True)


def _main() -> int:
    named = os.environ.get(FILE_VARIABLE)
    problem = probe(Path(named), time.time_ns() // 1_000_000) if named else f"{FILE_VARIABLE} names no file"
    sys.stdout.write((problem or "ok") + "\n")
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(_main())
