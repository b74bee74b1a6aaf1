"""The Salesforce connector: what `connectors.protocol.Connector` asks, composed from reading, writing, looking and setting up."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import tzinfo

from connectors.budget import CallLedger
from connectors.calls import Clock
from connectors.mapping import Usage, load_mapping
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
from connectors.salesforce.check import Doctor
from connectors.salesforce.facts import Translator
from connectors.salesforce.lookup import fetch, read_about, reread_campaigns, sweep
from connectors.salesforce.read import Reach, Reader
from connectors.salesforce.resources import Part, open_api
from connectors.salesforce.schema import OBJECTS, Layout, Shape, lay_out, parse_mapping, shape_of
from connectors.salesforce.settings import SalesforceSettings
from connectors.salesforce.setup import Setup
from connectors.salesforce.streams import Stream, plan_streams
from connectors.salesforce.tasks import describe_key, find_tasks, our_tasks, remove_task
from connectors.salesforce.wording import Wording
from connectors.salesforce.write import ROWS_PER_CALL, Writer
from connectors.secrets import find_secret
from connectors.tokens import TokenStore
from connectors.values import LocalDays
from core.errors import Rejected
from core.records import DAY_MS, Millis, Record, RecordRef, Tombstone

DESCRIBED = (*OBJECTS, "Campaign")
WHOLE = frozenset({"Account", "Lead", "Contact", "Opportunity", "OpportunityContactRole"})
"""People, companies and deals: a sweep names only those that are gone."""
DESCRIBE_LIFE_MS = DAY_MS
CAMPAIGN_REACH_MS = 8 * DAY_MS
"""Sweeps are a day apart: a week of them may fail before an edited campaign is overlooked."""
CHANGED_CODES = frozenset({"INVALID_FIELD", "INVALID_TYPE", "INVALID_FIELD_FOR_INSERT_UPDATE"})
"""A field or object is gone or hidden since it was described."""


class SalesforceConnector:
    """One Salesforce org. See `connectors.protocol.Connector`.

    Attributes:
        problems: rows and values that could not be read, by place; they were left out, their neighbours were not.
    """

    vendor = "salesforce"

    def __init__(
        self,
        name: str,
        settings: SalesforceSettings,
        *,
        zone: tzinfo,
        usage: Usage,
        language: str,
        clock: Clock,
        tokens: TokenStore,
        ledger: CallLedger | None = None,
    ) -> None:
        self.name = name
        self.counts = CallCounts()
        self.problems: Counter[str] = Counter()
        self.lenient = False
        self.lacking: tuple[str, ...] = ()
        self._settings = settings
        self._usage = usage
        self._say = Wording(language)
        self._clock = clock
        self._days = LocalDays(zone)
        raw = load_mapping("connectors.salesforce", settings.mapping)
        self._mapping = parse_mapping(name, raw, settings)
        self._api = open_api(name, settings, clock=clock, counts=self.counts, tokens=tokens, ledger=ledger)
        self._shapes: dict[str, Shape] | None = None
        self._shapes_at: Millis = 0
        self._layout: Layout | None = None
        self._streams: tuple[Stream, ...] = ()

    @property
    def capabilities(self) -> Capabilities:
        """Before the first call `streams` are those of a full org, and `task_key` is not known."""
        if self._layout is None:
            return Capabilities(OBJECTS, ("lead", "contact"), ROWS_PER_CALL)
        return Capabilities(
            tuple(stream.name for stream in self._streams),
            self._layout.person_kinds,
            ROWS_PER_CALL,
            self._layout.task_key,
            tuple(stream.name for stream in self._streams if stream.name in WHOLE),
        )

    def prepare(self) -> None:
        self._lay_out()

    def check(self) -> Diagnosis:
        self._api.reconsider()
        doctor = Doctor(self.name, self._settings, self._mapping, self._usage, self._api, self._days, self._say)
        return doctor.examine(self._see)

    def read(self, after: Mapping[str, Cursor]) -> Iterator[Page]:
        reach = Reach(self._settings.lookback_minutes * 60_000, self._settings.settle_seconds * 1000)
        cursors, done = dict(after), set[str]()
        for last_try in (False, True):
            self._lay_out()
            left = tuple(stream for stream in self._streams if stream.name not in done)
            try:
                for page in Reader(self._api, left, reach, self.problems).read(cursors):
                    cursors[page.stream] = page.cursor
                    if page.final:
                        done.add(page.stream)
                    yield page
            except Rejected as error:
                if last_try or error.code not in CHANGED_CODES:
                    raise
                self._forget()  # the org has changed under us: look again, go on without what is gone
            else:
                return

    def sweep(self, known: Iterable[RecordRef]) -> Iterator[Page]:
        yield from sweep(self._api, self._lay_out(), self.name, known)
        members = next((stream for stream in self._streams if stream.name == "CampaignMember"), None)
        if members is not None and "Campaign.Type" in members.columns:
            yield from reread_campaigns(self._api, members, self.now() // 1000 * 1000 - CAMPAIGN_REACH_MS)

    def read_about(self, refs: Sequence[RecordRef]) -> Iterator[Page]:
        self._lay_out()
        return read_about(self._api, self._streams, refs)

    def fetch(self, refs: Sequence[RecordRef]) -> Sequence[Record | Tombstone]:
        self._lay_out()
        return fetch(self._api, {stream.name: stream for stream in self._streams}, self.name, refs)

    def write(self, writes: Sequence[Write]) -> Iterator[WriteResult]:
        with self._api.budget.yielding(all(isinstance(write, FieldWrite) for write in writes)):
            for result in Writer(self._api, self._lay_out(), self.name, self._clock).write(writes):
                if isinstance(result.error, Rejected) and result.error.code in CHANGED_CODES:
                    self._forget()  # rights were taken: the next writing looks which fields are left
                yield result

    def find_tasks(self, wanted: Mapping[str, RecordRef]) -> Mapping[str, Sequence[FoundTask]]:
        return find_tasks(self._api, self._lay_out(), self.name, list(wanted))

    def our_tasks(self) -> Iterator[FoundTask]:
        return our_tasks(self._api, self._lay_out(), self.name)

    def remove_task(self, crm_id: str) -> None:
        remove_task(self._api, crm_id)

    def plan_setup(self) -> Sequence[SetupStep]:
        return self._setup().plan()

    def apply_setup(self) -> Iterator[SetupResult]:
        yield from self._setup().apply()
        self._forget()
        yield describe_key(self._lay_out(), self._say)

    def now(self) -> Millis:
        return self._api.now()

    def close(self) -> None:
        self._api.close()

    # --- what the org looks like ---------------------------------------------------------------------------------------

    def _see(self) -> dict[str, Shape]:
        """Describes of all objects in one call, kept for a day. Objects that the user may not see are missing."""
        if self._shapes is None or self._clock.now() - self._shapes_at > DESCRIBE_LIFE_MS:
            self._forget()
            parts = [Part("GET", f"sobjects/{name}/describe") for name in DESCRIBED]
            answers = self._api.composite(parts, endpoint="describe")
            self._shapes = {}
            for name, answer in zip(DESCRIBED, answers, strict=True):
                if answer.status == 200:
                    self._shapes[name] = shape_of(answer.body)
                elif answer.status not in {403, 404}:
                    raise self._api.part_error(answer)
            self._shapes_at = self._clock.now()
        return self._shapes

    def _lay_out(self) -> Layout:
        shapes = self._see()
        if self._layout is None:
            mapping = (
                replace(self._mapping, explicit=dict.fromkeys(self._mapping.explicit, frozenset()))
                if self.lenient
                else self._mapping
            )
            self._layout = lay_out(self.name, mapping, shapes, shapes.get("Account"), self._usage)
            self.lacking = tuple(finding.subject for finding in self._layout.findings)
            translator = Translator(
                self.name,
                self._layout,
                self._days,
                lambda place: self.problems.update((place,)),
                self._settings.currency,
            )
            self._streams = plan_streams(translator, self._usage)
        return self._layout

    def _forget(self) -> None:
        self._shapes = self._layout = None

    def _setup(self) -> Setup:
        token = find_secret(self.name, "setup_access_token", self._settings.setup_access_token)
        admin = self._api.with_token(token, self.counts) if token is not None else self._api
        return Setup(self._api, admin, self._see(), which=self._settings.fields, say=self._say)
