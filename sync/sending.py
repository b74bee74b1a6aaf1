"""What one delivery to one system works with, and how late a request that was given up may still take effect."""

from collections.abc import Callable
from dataclasses import dataclass

from connectors import Connector
from core.records import Millis
from sync.report import SystemReport
from sync.settings import Settings
from sync.state import State


@dataclass(frozen=True, slots=True)
class Bounds:
    """How late a request may still take effect, and be seen, after we gave it up; milliseconds.

    A request is given up after its own timeout, so what is counted from then on holds all the more counted from its sending.
    """

    late_commit: Millis
    index_lag: Millis

    @property
    def quarantine(self) -> Millis:
        """From then on, a task that is not found was not made."""
        return self.late_commit + self.index_lag


def bounds_of(settings: Settings) -> Bounds:
    return Bounds(settings.deliver.late_commit_seconds * 1000, settings.deliver.index_lag_seconds * 1000)


@dataclass(frozen=True, slots=True)
class Sending:
    """One delivery to one system."""

    state: State
    connector: Connector
    report: SystemReport
    bounds: Bounds
    clock: Callable[[], Millis]

    @property
    def unique(self) -> bool:
        """The CRM itself refuses a second task with the same key."""
        return self.connector.capabilities.task_key is True
