"""What a reconciliation found, as plain data: for the command line, the service and whoever reads `--json`."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from core.records import Millis

Kind = Literal[
    "missing_here", "gone_there", "different", "fields", "forgotten_tasks", "unsettled_tasks", "second_tasks"
]
"""A class of difference.

missing_here      a person, company or deal that the CRM has and we do not
gone_there        one that we have and the CRM does not
different         one whose content differs
fields            score fields that do not read as we wrote them
forgotten_tasks   tasks of ours in the CRM that this state knows nothing of
unsettled_tasks   tasks in the CRM that this state believes were never made
second_tasks      a second task with one key
"""

KINDS: tuple[Kind, ...] = (
    "missing_here", "gone_there", "different", "fields", "forgotten_tasks", "unsettled_tasks", "second_tasks",
)  # fmt: skip

EXAMPLES = 20


@dataclass(slots=True)
class Difference:
    """How many of one class were found and put right. `examples`: references or keys, at most twenty."""

    count: int = 0
    healed: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def left(self) -> int:
        return self.count - self.healed


@dataclass(slots=True)
class SystemFindings:
    """One connection.

    Attributes:
        records, tasks: how many were compared.
        waiting: records whose values are on their way, contested: fields left alone; both are no differences.
        removed_tasks: tasks made once that the CRM no longer has: somebody deleted them, which is their right.
        skipped: why it was not looked at (paused), where it was not.

    """

    records: int = 0
    tasks: int = 0
    differences: dict[Kind, Difference] = field(default_factory=dict)
    waiting: int = 0
    contested: int = 0
    removed_tasks: int = 0
    calls: int = 0
    skipped: str | None = None
    error: str | None = None
    hint: str | None = None

    def add(self, kind: Kind, example: object, *, healed: bool = False, count: int = 1) -> None:
        found = self.differences.setdefault(kind, Difference())
        found.count += count
        found.healed += count if healed else 0
        if len(found.examples) < EXAMPLES:
            found.examples.append(str(example))

    def take_over(self, other: "SystemFindings") -> None:
        """Add what a part of the work found."""
        for kind, difference in other.differences.items():
            own = self.differences.setdefault(kind, Difference())
            own.count += difference.count
            own.healed += difference.healed
            own.examples += difference.examples[: EXAMPLES - len(own.examples)]
        self.records += other.records
        self.waiting += other.waiting
        self.contested += other.contested

    @property
    def left(self) -> int:
        return sum(difference.left for difference in self.differences.values())


@dataclass(slots=True)
class ReconcileReport:
    """One reconciliation."""

    heal: bool
    started_at: Millis
    finished_at: Millis | None = None
    systems: dict[str, SystemFindings] = field(default_factory=dict)

    @property
    def left(self) -> int:
        """Differences that are still there."""
        return sum(system.left for system in self.systems.values())

    @property
    def equal(self) -> bool:
        """Every connection was looked at whole, and nothing differs any more."""
        return self.left == 0 and all(s.error is None and s.skipped is None for s in self.systems.values())

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"left": self.left, "equal": self.equal}


def findings_from(document: dict[str, Any]) -> SystemFindings:
    """Findings that were kept as JSON when the work was stopped."""
    differences = {kind: Difference(**found) for kind, found in document.pop("differences").items()}
    return SystemFindings(**document, differences=differences)
