"""The Salesforce connector: what `connectors.protocol.Connector` asks, composed from reading, writing, looking and setting up."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from connectors.salesforce.lookup import fetch, read_about, reread_campaigns, sweep
from connectors.salesforce.org import OrgLook
from connectors.salesforce.read import Reach, Reader
from connectors.salesforce.resources import open_api
from connectors.salesforce.schema import OBJECTS, parse_mapping
from connectors.salesforce.settings import SalesforceSettings
from connectors.salesforce.setup import Setup
from connectors.salesforce.tasks import describe_key, find_tasks, our_tasks, remove_task
from connectors.salesforce.wording import Wording
from connectors.salesforce.write import ROWS_PER_CALL, Writer
from connectors.secrets import find_secret
from connectors.tokens import TokenStore
from connectors.values import LocalDays
from core.errors import Rejected
from core.records import DAY_MS, Millis, Record, RecordRef, Tombstone

WHOLE = frozenset({"Account", "Lead", "Contact", "Opportunity", "OpportunityContactRole"})
"""People, companies and deals: a sweep names only those that are gone."""
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
        allowed: Callable[[], None] | None = None,
    ) -> None:
        self.name = name
        self.counts = CallCounts()
        self.problems: Counter[str] = Counter()
        self.lenient = False
        self._settings = settings
        self._usage = usage
        self._say = Wording(language)
        self._clock = clock
        self._days = LocalDays(zone)
        raw = load_mapping("connectors.salesforce", settings.mapping)
        self._mapping = parse_mapping(name, raw, settings)
        self._api = open_api(
            name, settings, clock=clock, counts=self.counts, tokens=tokens, ledger=ledger, allowed=allowed
        )
        self._org = OrgLook(self._api, self._mapping, self._usage, self._days, self.problems, settings.currency, clock)

    @property
    def capabilities(self) -> Capabilities:
        """Before the first call `streams` are those of a full org, and `task_key` is not known."""
        layout, settle = self._org.known, self._settings.settle_seconds * 1000
        if layout is None:
            return Capabilities(OBJECTS, ("lead", "contact"), ROWS_PER_CALL, settle_ms=settle)
        names = tuple(stream.name for stream in self._org.streams())
        whole = tuple(name for name in names if name in WHOLE)
        return Capabilities(names, layout.person_kinds, ROWS_PER_CALL, layout.task_key, whole, settle)

    @property
    def lacking(self) -> tuple[str, ...]:
        return self._org.lacking

    def reconsider(self) -> None:
        self._api.reconsider()

    def prepare(self) -> None:
        if self._api.reread_token():
            self._org.forget()  # another user may see other fields
        self._org.lenient = self.lenient
        self._org.layout()

    def check(self) -> Diagnosis:
        self.reconsider()
        doctor = Doctor(self.name, self._settings, self._mapping, self._usage, self._api, self._days, self._say)
        return doctor.examine(self._org.shapes)

    def read(self, after: Mapping[str, Cursor]) -> Iterator[Page]:
        reach = Reach(self._settings.lookback_minutes * 60_000, self._settings.settle_seconds * 1000)
        cursors, done = dict(after), set[str]()
        for last_try in (False, True):
            left = tuple(stream for stream in self._org.streams() if stream.name not in done)
            try:
                for page in Reader(self._api, left, reach, self.problems).read(cursors):
                    cursors[page.stream] = page.cursor
                    if page.final:
                        done.add(page.stream)
                    yield page
            except Rejected as error:
                if last_try or error.code not in CHANGED_CODES:
                    raise
                self._org.forget()  # the org has changed under us: look again, go on without what is gone
            else:
                return

    def sweep(self, known: Iterable[RecordRef]) -> Iterator[Page]:
        yield from sweep(self._api, self._org.layout(), self.name, known)
        members = next((stream for stream in self._org.streams() if stream.name == "CampaignMember"), None)
        if members is not None and "Campaign.Type" in members.columns:
            yield from reread_campaigns(self._api, members, self.now() // 1000 * 1000 - CAMPAIGN_REACH_MS)

    def read_about(self, refs: Sequence[RecordRef]) -> Iterator[Page]:
        return read_about(self._api, self._org.streams(), refs)

    def fetch(self, refs: Sequence[RecordRef]) -> Sequence[Record | Tombstone]:
        return fetch(self._api, {stream.name: stream for stream in self._org.streams()}, self.name, refs)

    def write(self, writes: Sequence[Write]) -> Iterator[WriteResult]:
        with self._api.budget.yielding(all(isinstance(write, FieldWrite) for write in writes)):
            for result in Writer(self._api, self._org.layout(), self.name, self._clock).write(writes):
                if isinstance(result.error, Rejected) and result.error.code in CHANGED_CODES:
                    self._org.forget()  # rights were taken: the next writing looks which fields are left
                yield result

    def find_tasks(self, wanted: Mapping[str, RecordRef]) -> Mapping[str, Sequence[FoundTask]]:
        return find_tasks(self._api, self._org.layout(), self.name, list(wanted))

    def our_tasks(self) -> Iterator[FoundTask]:
        return our_tasks(self._api, self._org.layout(), self.name)

    def remove_task(self, crm_id: str) -> None:
        remove_task(self._api, crm_id)

    def plan_setup(self) -> Sequence[SetupStep]:
        return self._setup().plan()

    def apply_setup(self) -> Iterator[SetupResult]:
        yield from self._setup().apply()
        self._org.forget()
        yield describe_key(self._org.layout(), self._say)

    def now(self) -> Millis:
        return self._api.now()

    def close(self) -> None:
        self._api.close()

    def _setup(self) -> Setup:
        token = find_secret(self.name, "setup_access_token", self._settings.setup_access_token)
        admin = self._api.with_token(token, self.counts) if token is not None else self._api
        return Setup(self._api, admin, self._org.shapes(), which=self._settings.fields, say=self._say)
