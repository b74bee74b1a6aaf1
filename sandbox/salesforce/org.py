"""One emulated org: its clock, rows, schema and rights, put together; and who is at work in it."""

from dataclasses import dataclass

from sandbox.clock import Clock
from sandbox.salesforce.access import Access, Rights
from sandbox.salesforce.errors import RowError
from sandbox.salesforce.ids import IdCounters
from sandbox.salesforce.options import SalesforceOptions
from sandbox.salesforce.schema import Schema
from sandbox.salesforce.store import Row, Store
from sandbox.salesforce.values import to_day


@dataclass(slots=True)
class RowFault:
    """Makes writes of an object fail, one row at a time: every row, or one id; `times` of them (None: for ever)."""

    sobject: str
    code: str
    message: str
    record_id: str | None = None
    fields: tuple[str, ...] = ()
    times: int | None = 1


class Org:
    """Everything that outlives a call. Thread-safe."""

    def __init__(self, clock: Clock, options: SalesforceOptions) -> None:
        self.clock = clock
        self.options = options
        self.schema = Schema()
        self.store = Store(options.database)
        self.ids = IdCounters()
        self.row_faults: list[RowFault] = []
        self.access = Access(self.store, self.schema, options.visible_share)
        with self.store.write():
            for sobject in self.schema.all():
                self.store.create_table(sobject)

    def now(self) -> int:
        """The moment that rows are stamped with: UTC milliseconds, whole seconds."""
        return self.clock.now_ms() // 1000 * 1000

    def new_id(self, sobject: str) -> str:
        return self.ids.next(self.schema.get(sobject).key_prefix)

    def strike(self, sobject: str, record_id: str | None) -> None:
        """Raise the error that a test has ordered for this row, if any."""
        for fault in self.row_faults:
            fits = fault.sobject == sobject and fault.record_id in (None, record_id)
            if fits and (fault.times is None or fault.times > 0):
                if fault.times is not None:
                    fault.times -= 1
                raise RowError(fault.code, fault.message, fault.fields)

    def work(self, user_id: str, *, person: bool = False) -> "Work":
        return Work(self, self.access.of(user_id), self.now(), person)


@dataclass(slots=True)
class Work:
    """One user's changes at one moment. `person` means the user interface: field-level security is not asked."""

    org: Org
    rights: Rights
    now: int
    person: bool = False

    @property
    def store(self) -> Store:
        return self.org.store

    @property
    def today(self) -> str:
        """The date where the user is, `YYYY-MM-DD`."""
        return to_day(self.now, self.rights.time_zone)

    @property
    def user_id(self) -> str:
        return self.rights.user_id

    def add(self, sobject: str, row: Row) -> str:
        """Insert a row that the system makes (history, statuses), with the audit fields it has; its id."""
        known = self.org.schema.get(sobject)
        audit: Row = {
            "Id": self.org.new_id(sobject),
            "IsDeleted": 0,
            "CreatedDate": self.now,
            "CreatedById": self.user_id,
            "LastModifiedDate": self.now,
            "LastModifiedById": self.user_id,
            "SystemModstamp": self.now,
        }
        full = {name: value for name, value in audit.items() if known.has(name)}
        for one in known.fields.values():
            if one.type == "boolean" and one.name not in full:
                full[one.name] = 0
        full.update(row)
        self.store.insert(sobject, full)
        self.org.access.forget(sobject)
        return str(full["Id"])

    def touch(self, sobject: str, record_id: str, changes: Row) -> None:
        """A change that the system makes: SystemModstamp moves, LastModifiedDate does not."""
        self.store.update(sobject, record_id, {**changes, "SystemModstamp": self.now})
