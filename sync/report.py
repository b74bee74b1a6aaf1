"""What a run did, as plain data: for the command line, the run table and whoever reads `--json`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from core.records import Millis

Outcome = Literal["ok", "partial", "failed"]


@dataclass(slots=True)
class SystemReport:
    """One connection in one run. Calls are counted as in SETTLED 2: stream calls apart from the rest.

    Attributes:
        refused: writes that were refused for good in this run; `dead`: all that stand so, from earlier runs too.
        paused: why the connection is not called, as `sync.state.pause.Pause`; `paused_until` is its end in local time.
        guarded: a guard stopped what it told; nothing is written to it in this run.
        lost: fields, of ours or of the mapping, that were there and no longer are; the run goes on without them.
        forgotten: rows of people whom `mikomi forget` erased: turned away, and nobody need do anything.
        doubled: second tasks of one hand-over that were found: the bounds of the quarantine were broken.

    """

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
    dead: int = 0
    doubled: int = 0
    forgotten: int = 0
    problems: list[str] = field(default_factory=list)
    error: str | None = None
    hint: str | None = None
    paused_until: str | None = None
    paused: dict[str, Any] | None = None
    guarded: bool = False
    lost: list[str] = field(default_factory=list)

    @property
    def stopped(self) -> bool:
        """Not to be called, or not any more, in this run."""
        return self.error is not None or self.paused is not None or self.guarded

    @property
    def is_readable(self) -> bool:
        """Whether it answered: also where a guard stopped what it said."""
        return self.error is None and self.paused is None


@dataclass(slots=True)
class RunReport:
    """One pass of the cycle.

    Attributes:
        guards: what was stopped: {"guard", "message", "hint"}.
        cut_short: a guard stopped the scoring before everybody had their turn.
        moves: people who changed bands, `C>A` to people.

    """

    run_id: str
    stage: str
    started_at: Millis
    finished_at: Millis | None = None
    as_of: Millis | None = None
    daily: bool = False
    cut_short: bool = False
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
    guards: list[dict[str, str]] = field(default_factory=list)
    moves: dict[str, int] = field(default_factory=dict)

    def count_moves(self, moves: Mapping[tuple[str, str], int]) -> None:
        """People who changed bands, as (from, to) to people; kept as `C>A`."""
        for (before, after), count in moves.items():
            self.moves[f"{before}>{after}"] = self.moves.get(f"{before}>{after}", 0) + count

    def system(self, name: str) -> SystemReport:
        return self.systems.setdefault(name, SystemReport())

    @property
    def outcome(self) -> Outcome:
        systems = self.systems.values()
        if not systems or all(s.error for s in systems):
            return "failed"
        wanted = [s for s in systems if s.paused is not None and s.paused["cause"] == "admin"]
        unfinished = any(s.stopped for s in systems if s not in wanted)
        faults = self.guards or any(s.refused or s.doubled or s.lost for s in systems)
        return "partial" if unfinished or faults else "ok"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"outcome": self.outcome}
