"""The port: what every CRM folder provides, and nothing more. Capabilities are data, never `isinstance`."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NewType, Protocol

from core.errors import ConnectorError
from core.records import Day, Fact, Millis, Record, RecordRef, Tombstone, Value

Cursor = NewType("Cursor", str)
"""Opaque to everyone but the connector that made it; saved in one transaction with the page it came with, or after it."""

Level = Literal["ok", "info", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What this connection can do, as data.

    Attributes:
        streams: names, in the order they are read.
        person_kinds: the record kinds that are people here (`lead`, `contact`).
        batch_size: rows one field-write call takes.
        task_key: tasks carry a unique key in this CRM, so that it refuses a second one itself. False: the key is in a plain
            property, and an unknown outcome waits in quarantine until it can be looked up. None: not probed yet.
        whole_streams: streams of people, companies and deals that must be read from their start to see them all, because a
            sweep only names what is gone. Empty: a sweep shows every live one as it is.
        settle_ms: rows younger than this are left for the next reading.

    """

    streams: tuple[str, ...]
    person_kinds: tuple[str, ...]
    batch_size: int
    task_key: bool | None = None
    whole_streams: tuple[str, ...] = ()
    settle_ms: Millis = 0


@dataclass(frozen=True, slots=True)
class Page:
    """Facts of one stream and the cursor after them. `final`: the stream is drained up to this run's horizon."""

    stream: str
    facts: tuple[Fact, ...]
    cursor: Cursor
    final: bool = False
    total: int | None = None  # rows the CRM announced for this stream in this run, for progress


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `doctor`: ok, or what is wrong and what to do."""

    level: Level
    subject: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Signal:
    """Where one signal comes from here. `rows`: facts in the last 90 days; None where it could not be counted."""

    kind: str
    origin: str
    available: bool
    rows: int | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    findings: tuple[Finding, ...]
    signals: tuple[Signal, ...] = ()


@dataclass(frozen=True, slots=True)
class FieldWrite:
    """Absolute values for our own fields of one record. Keys are canonical names of `connectors.fields.OUTPUT_FIELDS`.

    Dates are `Day`, datetimes `Millis`, picklists their option's value; None clears. (`Record.written` and
    `Record.answers` hold the same forms.)
    """

    ref: RecordRef
    values: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class TaskWrite:
    """One task, created at most once per `key`. `due` is a local day; `priority` high or normal."""

    key: str
    ref: RecordRef
    owner_id: str
    subject: str
    body: str
    due: Day
    priority: Literal["high", "normal"] = "high"


Write = FieldWrite | TaskWrite


@dataclass(frozen=True, slots=True)
class WriteResult:
    """How one write ended; one per write, in the order given. A bad row never raises.

    Attributes:
        status: `ok`; `rejected` (never will pass, `error` says why; `Gone` may name a survivor); `retryable`
            (refused or not sent: nothing happened); `unknown` (may have happened).
        crm_id: the task's id.

    """

    write: Write
    status: Literal["ok", "rejected", "retryable", "unknown"]
    crm_id: str | None = None
    error: ConnectorError | None = None


@dataclass(frozen=True, slots=True)
class FoundTask:
    """A task of ours as the CRM has it now.

    Attributes:
        ref: the person record it hangs on; None where it hangs on none (any more).
        deleted: in the bin (it was there, so it is never made again).
        touched: somebody changed it after it was created.
    """

    key: str
    crm_id: str
    ref: RecordRef | None
    created_at: Millis
    deleted: bool = False
    touched: bool = False


@dataclass(frozen=True, slots=True)
class SetupStep:
    """One thing `setup` would do, or finds done. `done`: already as it should be; `blocked`: why it cannot be."""

    name: str
    description: str
    done: bool = False
    blocked: str = ""


@dataclass(frozen=True, slots=True)
class SetupResult:
    step: SetupStep
    status: Literal["created", "unchanged", "failed"]
    message: str = ""


@dataclass(slots=True)
class CallCounts:
    """Calls made by this connector object since the last `clear`, by endpoint class, for reports and tests.

    Attributes:
        lost: attempts to write whose answer never came, also where a later attempt of the same call was answered: what they
            carried may still be committed late.
    """

    stream: int = 0
    other: int = 0
    write: int = 0
    lost: int = 0
    by_endpoint: dict[str, int] = field(default_factory=dict)

    def clear(self) -> None:
        """Count anew."""
        self.stream = self.other = self.write = self.lost = 0
        self.by_endpoint.clear()


class Connector(Protocol):
    """One connection to one CRM. Synchronous; one thread at a time.

    All methods raise `core.errors.ConnectorError` subclasses for faults of the system; faults of single rows are values.
    """

    name: str
    vendor: str
    counts: CallCounts
    lenient: bool  # it has worked before: a field of the mapping that is gone now is left out, if it is optional
    problems: Counter[str]  # values and rows that could not be read and were left out, by place; never their content

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def lacking(self) -> tuple[str, ...]:
        """Optional fields of the mapping that have no source here, by place; known after `prepare`."""
        ...

    def reconsider(self) -> None:
        """A person asks, having perhaps put right what the CRM refused: a refusal that is remembered is put to it once more."""
        ...

    def prepare(self) -> None:
        """Connect, and hold mapping and permissions against what the CRM says of itself. Writes nothing.

        A secret that a person has replaced since is used from here on.

        Raises:
            Unauthorized, Forbidden, InvalidMapping: a person must act before anything can be read.
            Transient: the CRM cannot be reached now.

        """
        ...

    def check(self) -> Diagnosis:
        """Can it work: connection, edition, permissions, fields, row visibility, quotas, signals. Writes nothing."""
        ...

    def read(self, after: Mapping[str, Cursor]) -> Iterator[Page]:
        """Every fact changed since the cursors, page by page, each stream ending with a `final` page.

        Missing streams are read from the start. Resuming from any page's cursor loses nothing; reading again is
        harmless. One call bundles as many streams as the CRM allows.
        """
        ...

    def sweep(self, known: Iterable[RecordRef]) -> Iterator[Page]:
        """What incremental reading cannot see: deletions and association-only changes (cursors are not moved)."""
        ...

    def read_about(self, refs: Sequence[RecordRef]) -> Iterator[Page]:
        """What hangs on these person records, however old: activities, deals (cursors are not moved).

        For records that appear though they are not new (restored from the bin, shared with us only now): what hangs on
        them comes back with them and changes no stamp.
        """
        ...

    def fetch(self, refs: Sequence[RecordRef]) -> Sequence[Record | Tombstone]:
        """Person records as they are now; a deleted, merged or converted one answers with its tombstone or successor."""
        ...

    def write(self, writes: Sequence[Write]) -> Iterator[WriteResult]:
        """Carry out writes in as few calls as the CRM allows; results in order, handed over batch by batch."""
        ...

    def find_tasks(self, wanted: Mapping[str, RecordRef]) -> Mapping[str, Sequence[FoundTask]]:
        """The tasks that carry these keys, deleted ones too, from the primary store: by unique key, or by what hangs on
        the records named for each key. Keys without a task are left out.
        """
        ...

    def our_tasks(self) -> Iterator[FoundTask]:
        """Every task whose key is ours (`is_task_key`), deleted ones too as far as the CRM still shows them."""
        ...

    def remove_task(self, crm_id: str) -> None:
        """Delete a task of ours that proved to be a second one and that nobody touched."""
        ...

    def plan_setup(self) -> Sequence[SetupStep]:
        """What `setup` would create. Changes nothing."""
        ...

    def apply_setup(self) -> Iterator[SetupResult]:
        """Create fields, groups and permissions that are ours; existing ones are checked, never changed or deleted."""
        ...

    def now(self) -> Millis:
        """The CRM's own time, from its last `Date` header (a cheap call is made if there is none yet)."""
        ...

    def close(self) -> None: ...
