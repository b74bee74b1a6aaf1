"""The agenda of the service: its jobs, and which of them are due."""

from collections.abc import Mapping
from dataclasses import dataclass

from core.records import Millis
from sync.settings import Settings
from sync.timing import Timing, parse_timing

CYCLE, DAILY, RECONCILE, BACKUP = "cycle", "daily", "reconcile", "backup"
"""The jobs, in the order in which they are done when several are due."""

DAILY_AT = "1 0 * * *"
"""A minute past local midnight: the CRMs' clocks say which day it is, and may be behind ours."""


def plan_timings(settings: Settings) -> dict[str, Timing]:
    """The jobs with their times, in their order; those that are `never` are left out."""
    schedule = settings.schedule
    texts = {CYCLE: schedule.cycle, DAILY: DAILY_AT, RECONCILE: schedule.reconcile, BACKUP: schedule.backup}
    parsed = {name: parse_timing(text, settings.zone) for name, text in texts.items()}
    return {name: timing for name, timing in parsed.items() if timing is not None}


@dataclass(slots=True)
class Agenda:
    """What is due next. Times that passed unused, while the machine slept or a run was long, count as one.

    Attributes:
        timings: by job.
        due_at: by job.
        seen_at: when it was last looked at, to notice a clock that was put back.

    """

    timings: Mapping[str, Timing]
    due_at: dict[str, Millis]
    seen_at: Millis

    @classmethod
    def begin(cls, timings: Mapping[str, Timing], done: Mapping[str, Millis], now: Millis) -> "Agenda":
        """From when each job was last done: what was missed since is due now, once. A job never done waits for its time."""
        due_at = {name: timing.after(min(done.get(name, now), now)) for name, timing in timings.items()}
        return cls(timings, due_at, now)

    def due(self, now: Millis) -> list[str]:
        """The jobs whose time has come, in order."""
        if now < self.seen_at:  # nobody waits until the clock is again where it was
            self.due_at = {name: min(self.due_at[name], timing.after(now)) for name, timing in self.timings.items()}
        self.seen_at = now
        return [name for name in self.timings if self.due_at[name] <= now]

    def done(self, name: str, now: Millis, *, not_before: Millis = 0) -> None:
        """The next time is counted from the schedule, never from the end of the last run."""
        self.due_at[name] = max(self.timings[name].after(now), not_before)

    def keep_due(self, before: "Agenda", now: Millis) -> "Agenda":
        """What was due by another schedule, and was not done yet, is due by this one."""
        for name in self.due_at.keys() & before.due_at.keys():
            if before.due_at[name] <= now or before.timings[name] == self.timings[name]:
                self.due_at[name] = before.due_at[name]
        return self

    def next_at(self) -> Millis:
        return min(self.due_at.values())
