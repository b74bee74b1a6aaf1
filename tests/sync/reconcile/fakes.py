"""A CRM of a few rows, in memory: what a reconciliation asks of a connector, and nothing else."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from connectors import CallCounts, Capabilities, Cursor, FoundTask, Page
from core.errors import Gone
from core.records import Fact, Millis, Record, RecordRef, Tombstone

NOW: Millis = 1_795_482_000_000


@dataclass(slots=True)
class SmallCrm:
    """`records` and `tasks` are what it holds; `removed`: ids of tasks that were taken away."""

    name: str = "hubspot"
    vendor: str = "hubspot"
    records: dict[str, Record] = field(default_factory=dict)
    tasks: list[FoundTask] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    counts: CallCounts = field(default_factory=CallCounts)
    problems: Counter[str] = field(default_factory=Counter)
    lenient: bool = False
    lacking: tuple[str, ...] = ()

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(("contacts",), ("contact",), 100, task_key=True)

    def prepare(self) -> None:
        self.counts.other += 1

    def read(self, after: Mapping[str, Cursor]) -> Iterator[Page]:
        facts: tuple[Fact, ...] = () if "contacts" in after else tuple(self.records.values())
        yield Page("contacts", facts, Cursor("end"), final=True)

    def sweep(self, known: Iterable[RecordRef]) -> Iterator[Page]:
        gone = tuple(Tombstone(ref, NOW) for ref in known if ref.id not in self.records)
        yield Page("contacts", tuple(self.records.values()), Cursor(""))
        yield Page("contacts", gone, Cursor(""), final=True)

    def read_about(self, refs: Sequence[RecordRef]) -> Iterator[Page]:
        return iter(())

    def our_tasks(self) -> Iterator[FoundTask]:
        yield from self.tasks

    def find_tasks(self, wanted: Mapping[str, RecordRef]) -> Mapping[str, Sequence[FoundTask]]:
        found: dict[str, list[FoundTask]] = {}
        for task in self.tasks:
            if task.key in wanted:
                found.setdefault(task.key, []).append(task)
        return found

    def remove_task(self, crm_id: str) -> None:
        if not any(task.crm_id == crm_id for task in self.tasks):
            raise Gone("no such task")
        self.removed.append(crm_id)
        self.tasks = [replace(task, deleted=True) if task.crm_id == crm_id else task for task in self.tasks]

    def now(self) -> Millis:
        return NOW

    def close(self) -> None:
        pass


def person(number: int, **fields: str) -> Record:
    """A generated contact."""
    email = f"p{number}@example.com"
    known = {"email": email, "last_name": f"Name{number}", "company": f"Company {number}", **fields}
    return Record(RecordRef("hubspot", "contact", str(number)), known, NOW - 10_000, NOW - 5_000, emails=(email,))
