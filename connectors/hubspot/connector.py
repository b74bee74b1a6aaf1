"""One portal as a `Connector`: the parts put together."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import tzinfo
from functools import partial
from typing import Literal

from connectors.budget import CallLedger
from connectors.calls import Clock
from connectors.hubspot.administrator import Administrator
from connectors.hubspot.api import HubSpotApi
from connectors.hubspot.credentials import find_credential
from connectors.hubspot.doctor import Doctor
from connectors.hubspot.facts import FactReader
from connectors.hubspot.finding import TaskFinder
from connectors.hubspot.meaning import Meaning
from connectors.hubspot.permissions import require_read_scopes
from connectors.hubspot.portal import PortalFacts
from connectors.hubspot.settings import HubSpotSettings
from connectors.hubspot.setup import Setup
from connectors.hubspot.streams import Streams
from connectors.hubspot.tasks import BATCH_ROWS, TaskWriter, write_all
from connectors.hubspot.wording import Wording
from connectors.hubspot.writing import FieldWriter
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
    Write,
    WriteResult,
)
from connectors.tokens import TokenStore
from core.records import Day, Millis, Record, RecordRef, Tombstone, day_start

_DUE_HOUR_MS = 9 * 3_600_000


class HubSpotConnector:
    """See `connectors.protocol.Connector`.

    Attributes:
        problems: values and rows that could not be read so far, by place.
    """

    vendor = "hubspot"

    def __init__(
        self,
        name: str,
        settings: HubSpotSettings,
        meaning: Meaning,
        *,
        zone: tzinfo,
        language: Literal["ja", "en"],
        clock: Clock,
        tokens: TokenStore,
        ledger: CallLedger | None = None,
        allowed: Callable[[], None] | None = None,
    ) -> None:
        self.name = name
        self._meaning = meaning
        self._settle_ms = round(settings.settle_seconds * 1000)
        self._api = HubSpotApi(name, settings, clock, find_credential(name, settings, clock, tokens), ledger, allowed)
        self.counts: CallCounts = self._api.counts
        wording = Wording(language)
        facts = FactReader(name, meaning, zone, settings.linked_system)
        self.problems = facts.problems
        self._administrator = Administrator(name, settings, clock, ledger, self._api)
        self._portal = PortalFacts(self._api)
        self._streams = Streams(name, self._api, settings, facts, self._portal)
        minimal = settings.fields == "minimal"
        self._setup = Setup(self._api, self._portal, wording, minimal=minimal, language=language)
        self._doctor = Doctor(
            name,
            self._api,
            self._portal,
            self._streams,
            self._setup,
            meaning,
            wording,
            settings.daily_share_percent,
        )
        self._tasks = TaskWriter(self._api, name, self._is_key_unique, partial(_due_at, zone))
        self._finder = TaskFinder(self._api, self._streams.objects, name, self._is_key_unique)
        self._task_key: bool | None = None
        self.lenient = False

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(self._streams.names, ("contact",), BATCH_ROWS, self._task_key, settle_ms=self._settle_ms)

    def prepare(self) -> None:
        if self._api.reread_token():
            self._portal.forget()  # what the one before could see
        self._portal.touch()
        granted = self._api.scopes()
        if granted is not None:  # a token that may not be looked into is tried, not judged
            require_read_scopes(granted, self._streams.names, self._meaning.tables, self.name)
        self._streams.lenient = self.lenient
        self._streams.check_mapping()

    def check(self) -> Diagnosis:
        self.reconsider()
        with self._api.budget.unbounded():  # a person waits for these few calls
            diagnosis = self._doctor.examine()
            if all(f.level != "error" for f in diagnosis.findings):
                self._task_key = self._setup.is_key_unique()
        return diagnosis

    def reconsider(self) -> None:
        self._api.reconsider()

    @property
    def lacking(self) -> tuple[str, ...]:
        return self._streams.lacking

    def read(self, after: Mapping[str, Cursor]) -> Iterator[Page]:
        return self._streams.read(after)

    def sweep(self, known: Iterable[RecordRef]) -> Iterator[Page]:
        return self._streams.sweep(known)

    def read_about(self, refs: Sequence[RecordRef]) -> Iterator[Page]:
        return self._streams.read_about(refs)

    def fetch(self, refs: Sequence[RecordRef]) -> Sequence[Record | Tombstone]:
        return self._streams.fetch(refs)

    def write(self, writes: Sequence[Write]) -> Iterator[WriteResult]:
        with self._api.budget.yielding(all(isinstance(write, FieldWrite) for write in writes)):
            fields = FieldWriter(self._api, self.name, self._setup.writable())
            yield from write_all(fields, self._tasks, writes)

    def find_tasks(self, wanted: Mapping[str, RecordRef]) -> Mapping[str, Sequence[FoundTask]]:
        return self._finder.find(wanted)

    def our_tasks(self) -> Iterator[FoundTask]:
        return self._finder.ours()

    def remove_task(self, crm_id: str) -> None:
        self._finder.remove(crm_id)

    def plan_setup(self) -> Sequence[SetupStep]:
        with self._administrator.visiting(self._setup) as setup:
            steps = setup.plan()
        self._task_key = self._setup.is_key_unique()
        return steps

    def apply_setup(self) -> Iterator[SetupResult]:
        with self._administrator.visiting(self._setup) as setup:
            yield from setup.apply()
        for object_type in ("contacts", "tasks"):
            self._portal.properties(object_type, fresh=True)
        self._task_key = self._setup.is_key_unique()

    def now(self) -> Millis:
        return self._api.now()

    def close(self) -> None:
        self._api.close()

    def _is_key_unique(self) -> bool | None:
        if self._task_key is None:
            self._task_key = self._setup.is_key_unique()
        return self._task_key


def _due_at(zone: tzinfo, day: Day) -> Millis:
    """Nine in the morning of the due day: HubSpot has no tasks without an hour."""
    return day_start(day, zone) + _DUE_HOUR_MS
