"""A CRM made of Python lists: what a run does with faults, pauses and guards, without HTTP."""

import copy
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from connectors.protocol import (
    CallCounts,
    Capabilities,
    Cursor,
    Diagnosis,
    FieldWrite,
    FoundTask,
    Page,
    SetupResult,
    SetupStep,
    TaskWrite,
    Write,
    WriteResult,
)
from core.errors import MikomiError
from core.records import (
    DAY_MS,
    Activity,
    ActivityRow,
    Consent,
    Fact,
    Millis,
    Owner,
    Record,
    RecordRef,
    Tombstone,
    Value,
)
from core.rulebook import Rulebook, load_rulebook
from sync.cycle import Cycle
from sync.report import RunReport
from sync.settings import Settings
from sync.state import State

START = 20_480 * DAY_MS
"""A morning in Tokyo."""

HOUR = 3_600_000

RULES = """
name: brakes
timezone: Asia/Tokyo
dimensions: {fit: {}, engagement: {}, relationship: {}}
rules:
  - id: whitepaper
    dimension: engagement
    points: POINTS
    on: download
    label: {ja: 資料, en: Paper}
bands: {A: {total: 80}, B: {total: 50}, C: {total: 20}, D: {}}
handover: {name: sales, band: A, recent: 90d, rearm_below: 70, initial: seed}
"""


def a_rulebook(points: int = 30) -> Rulebook:
    return load_rulebook(RULES.replace("POINTS", str(points)), source="rulebook.yaml")


@dataclass
class Clock:
    """This machine's and the CRM's time in one."""

    at: Millis = START

    def __call__(self) -> Millis:
        return self.at


@dataclass
class ListedCrm:
    """One connection. `faults`: raised by the method of that name, as long as it stands there."""

    name: str
    clock: Clock
    people: int = 0
    vendor: str = "salesforce"
    lenient: bool = False
    lacking: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    counts: CallCounts = field(default_factory=CallCounts)
    problems: Counter[str] = field(default_factory=Counter)
    faults: dict[str, MikomiError] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    fields: dict[RecordRef, Mapping[str, Value]] = field(default_factory=dict)
    tasks: list[TaskWrite] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._facts: list[Fact] = [Owner(RecordRef(self.name, "owner", "005A"), "営業 一郎", None, active=True)]
        self._seen = 0
        self._downloads = 0
        self.gone: set[RecordRef] = set()
        for _ in range(self.people):
            self.add_person()

    def copy_for(self, clock: Clock) -> "ListedCrm":
        """The same CRM at the same moment, with a life of its own from now on."""
        made = copy.deepcopy(self)
        made.clock = clock
        return made

    def ref(self, number: int) -> RecordRef:
        return RecordRef(self.name, "contact", f"003{number:05}")

    def add_person(self) -> RecordRef:
        ref = self.ref(sum(isinstance(fact, Record) for fact in self._facts))
        fields = {
            "last_name": f"姓{ref.id}",
            "title": "部長",
            "company": f"会社{ref.id}",
            "email": f"p{ref.id}@example.jp",
        }
        born = self.clock() - 200 * DAY_MS
        record = Record(
            ref, fields, born, self.clock(), emails=(str(fields["email"]),), owner_id="005A", consent=Consent()
        )
        self._facts.append(record)
        return ref

    def download(self, numbers: Iterable[int], times: int = 1) -> None:
        """People read papers, now."""
        for number in numbers:
            for _ in range(times):
                self._downloads += 1
                source = RecordRef(self.name, "Download", f"d{self._downloads}")
                at = self.clock() - 1000
                act = Activity(
                    source, "download", occurred_at=at, known_at=at, day=at // DAY_MS, record=self.ref(number)
                )
                self._facts.append(ActivityRow(source, (act,)))

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(("all",), ("lead", "contact"), 200, True)

    def reconsider(self) -> None:
        self._meet("reconsider")

    def prepare(self) -> None:
        self._meet("prepare")

    def check(self) -> Diagnosis:
        return Diagnosis(())

    def read(self, after: Mapping[str, Cursor]) -> Iterator[Page]:
        self._meet("read")
        begin = int(after.get("all", Cursor("0")))
        yield Page("all", tuple(self._facts[begin:]), Cursor(str(len(self._facts))), final=True)

    def sweep(self, known: Iterable[RecordRef]) -> Iterator[Page]:
        self._meet("sweep")
        stones = [Tombstone(ref, self.clock()) for ref in known if ref in self.gone]
        for start in range(0, len(stones), 10):
            yield Page("all", tuple(stones[start : start + 10]), Cursor(""))

    def read_about(self, refs: Sequence[RecordRef]) -> Iterator[Page]:
        return iter(())

    def fetch(self, refs: Sequence[RecordRef]) -> Sequence[Record | Tombstone]:
        records = {fact.ref: fact for fact in self._facts if isinstance(fact, Record)}
        return [replace(records[ref]) for ref in refs]

    def write(self, writes: Sequence[Write]) -> Iterator[WriteResult]:
        self._meet("write")
        for write in writes:
            if isinstance(write, FieldWrite):
                self.fields[write.ref] = write.values
                yield WriteResult(write, "ok")
            else:
                self.tasks.append(write)
                yield WriteResult(write, "ok", crm_id=f"00T{len(self.tasks)}")

    def find_tasks(self, wanted: Mapping[str, RecordRef]) -> Mapping[str, Sequence[FoundTask]]:
        return {}

    def our_tasks(self) -> Iterator[FoundTask]:
        return iter(())

    def remove_task(self, crm_id: str) -> None:
        raise AssertionError("no test makes a second task")

    def plan_setup(self) -> Sequence[SetupStep]:
        self._meet("plan_setup")
        names = ("field score", "field band", *self.missing)
        return [SetupStep(name, name, done=name not in self.missing) for name in dict.fromkeys(names)]

    def apply_setup(self) -> Iterator[SetupResult]:
        return iter(())

    def now(self) -> Millis:
        return self.clock()

    def close(self) -> None:
        """Nothing is open."""

    def _meet(self, method: str) -> None:
        self.calls[method] += 1
        if fault := self.faults.get(method):
            raise fault


class Firm:
    """A company with its CRMs, its state, and its settings."""

    def __init__(
        self, state: State, *, people: int = 60, systems: Sequence[str] = ("salesforce",), **more: object
    ) -> None:
        self.state = state
        self.clock = Clock()
        self.crms = {name: ListedCrm(name, self.clock, people) for name in systems}
        self.rulebook = a_rulebook()
        self.values: dict[str, object] = {
            "stage": "all",
            "language": "en",
            "connections": {name: {"vendor": "salesforce"} for name in systems},
            **more,
        }

    @property
    def settings(self) -> Settings:
        return Settings.model_validate(self.values)

    @property
    def crm(self) -> ListedCrm:
        return next(iter(self.crms.values()))

    def sync(self, *, strict: bool = False, **options: bool | list[str]) -> RunReport:
        cycle = Cycle(self.state, self.settings, self.rulebook, self.crms, clock=self.clock)
        return cycle.run(strict=strict, **options)  # type: ignore[arg-type]

    def grow_old(self, days: int = 2) -> None:
        """The first day is over, all is delivered, and nothing happens."""
        self.sync()
        self.clock.at += days * DAY_MS
        self.sync()
