"""What a run did, as plain data: for the command line, the run table and whoever reads `--json`."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from core.records import Millis

Outcome = Literal["ok", "partial", "failed"]


@dataclass(slots=True)
class SystemReport:
    """One connection in one run. Calls are counted as in SETTLED 2: stream calls apart from the rest."""

    rows_read: int = 0
    rows_changed: int = 0
    by_kind: dict[str, int] = field(default_factory=dict)
    stream_calls: int = 0
    other_calls: int = 0
    write_calls: int = 0
    swept: bool = False
    fields_written: int = 0
    tasks_created: int = 0
    refused: int = 0
    postponed: int = 0
    problems: list[str] = field(default_factory=list)
    error: str | None = None
    hint: str | None = None
    paused_until: str | None = None


@dataclass(slots=True)
class RunReport:
    """One pass of the cycle."""

    run_id: str
    stage: str
    started_at: Millis
    finished_at: Millis | None = None
    as_of: Millis | None = None
    daily: bool = False
    systems: dict[str, SystemReport] = field(default_factory=dict)
    records_resolved: int = 0
    people: int = 0
    people_scored: int = 0
    scores_changed: int = 0
    fields_owed: int = 0
    tasks_owed: int = 0
    unassigned: int = 0
    seeded: int = 0
    ambiguities: int = 0
    dry_run: bool = False
    planned: list[dict[str, Any]] = field(default_factory=list)

    def system(self, name: str) -> SystemReport:
        return self.systems.setdefault(name, SystemReport())

    @property
    def outcome(self) -> Outcome:
        if not self.systems or all(s.error for s in self.systems.values()):
            return "failed"
        return "partial" if any(s.error or s.refused for s in self.systems.values()) else "ok"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"outcome": self.outcome}
