"""One portal as a `Connector`: the parts put together."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import tzinfo
from typing import Literal

from connectors.calls import Clock
from connectors.hubspot.api import HubSpotApi
from connectors.hubspot.credentials import find_credential
from connectors.hubspot.doctor import Doctor
from connectors.hubspot.facts import FactReader
from connectors.hubspot.meaning import Meaning
from connectors.hubspot.portal import PortalFacts
from connectors.hubspot.settings import HubSpotSettings
from connectors.hubspot.setup import TASK_KEY_NAME, Setup
from connectors.hubspot.streams import Streams
from connectors.hubspot.tasks import BATCH_ROWS, TaskWriter, write_all
from connectors.hubspot.wording import Wording
from connectors.hubspot.writing import FieldWriter
from connectors.protocol import (
    CallCounts,
    Capabilities,
    Cursor,
    Diagnosis,
    Page,
    SetupResult,
    SetupStep,
    Write,
    WriteResult,
)
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
    ) -> None:
        self.name = name
        self._zone = zone
        self._api = HubSpotApi(name, settings, clock, find_credential(name, settings, clock))
        self.counts: CallCounts = self._api.counts
        wording = Wording(language)
        facts = FactReader(name, meaning, zone, settings.linked_system)
        self.problems = facts.problems
        self._portal = PortalFacts(self._api)
        self._streams = Streams(name, self._api, settings, facts, self._portal)
        self._setup = Setup(self._api, self._portal, wording, minimal=settings.fields == "minimal", language=language)
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
        self._fields = FieldWriter(self._api, name, self._setup.field_names())
        self._tasks = TaskWriter(self._api, name, self._has_task_key, self._due_at)
        self._task_key: bool | None = None

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(self._streams.names, ("contact",), BATCH_ROWS, self._task_key)

    def prepare(self) -> None:
        self._portal.touch()
        self._streams.check_scopes()
        self._streams.check_mapping()

    def check(self) -> Diagnosis:
        with self._api.unbudgeted():
            diagnosis = self._doctor.examine()
            if all(f.level != "error" for f in diagnosis.findings):
                self._has_task_key()
        return diagnosis

    def read(self, after: Mapping[str, Cursor]) -> Iterator[Page]:
        return self._streams.read(after)

    def sweep(self, known: Iterable[RecordRef]) -> Iterator[Page]:
        return self._streams.sweep(known)

    def fetch(self, refs: Sequence[RecordRef]) -> Sequence[Record | Tombstone]:
        return self._streams.fetch(refs)

    def write(self, writes: Sequence[Write]) -> Iterator[WriteResult]:
        return write_all(self._fields, self._tasks, writes)

    def plan_setup(self) -> Sequence[SetupStep]:
        return self._setup.plan()

    def apply_setup(self) -> Iterator[SetupResult]:
        for result in self._setup.apply():
            if result.step.name == f"tasks.{TASK_KEY_NAME}":
                self._task_key = result.status != "failed"
            yield result

    def now(self) -> Millis:
        return self._api.now()

    def close(self) -> None:
        self._api.close()

    def _has_task_key(self) -> bool:
        if not self._task_key:
            found = self._portal.property("tasks", TASK_KEY_NAME)
            self._task_key = bool(found and found.get("hasUniqueValue"))
        return self._task_key

    def _due_at(self, day: Day) -> Millis:
        """Nine in the morning of the due day: HubSpot has no tasks without an hour."""
        return day_start(day, self._zone) + _DUE_HOUR_MS
