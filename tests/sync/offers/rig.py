"""A company of a few people in two CRMs in memory, and whole passes over it: who is offered, and what a rep then sees."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from sqlalchemy import select

from connectors import Connector, Cursor, FieldWrite, FoundTask, Page, SetupStep, TaskWrite, Write, WriteResult
from core.errors import ConnectorError, Gone, Transient
from core.handover import Episode
from core.records import DAY_MS, Fact, Millis, Owner, Record, RecordRef, Tombstone
from core.rulebook import load_rulebook
from sync.cycle import Cycle
from sync.report import RunReport
from sync.settings import Settings
from sync.state import State
from sync.state import schema as t
from sync.state.episodes import load_episodes
from sync.state.loading import person_ids
from tests.sync.builders import NOW, a_record, an_activity
from tests.sync.reconcile.fakes import SmallCrm

RULEBOOK = """
name: offers
timezone: Asia/Tokyo
dimensions: {fit: {cap: 60}, engagement: {cap: 60}}
rules:
  - {id: boss, dimension: fit, points: 50, when: {field: title_rank, at_least: general_manager}, label: {ja: 部長以上, en: Boss}}
  - {id: called, dimension: engagement, points: 15, on: call, label: {ja: 通話, en: Call}}
bands: {A: {total: 50}, B: {total: 30}, C: {total: 10}, D: {}}
handover: {name: sales, band: A, recent: 14d, rearm_below: 40, initial: all}
"""
OWNER = Owner(RecordRef("salesforce", "owner", "005A"), "山田", "yamada@own.example", active=True)
DAY = DAY_MS
RULE = "FIELD_CUSTOM_VALIDATION_EXCEPTION"


@dataclass(slots=True)
class SmallOrg(SmallCrm):
    """A CRM that is written to.

    Attributes:
        shown: what each record shows in our fields.
        refusing: what a task on a record is refused with.
        newer: what is true already of a record that pages still show as it was.
        at: its time.
    """

    name: str = "salesforce"
    vendor: str = "salesforce"
    stones: dict[str, Tombstone] = field(default_factory=dict)
    shown: dict[str, dict[str, Any]] = field(default_factory=dict)
    refusing: dict[str, ConnectorError] = field(default_factory=dict)
    newer: dict[str, Tombstone] = field(default_factory=dict)
    at: Millis = NOW

    def read(self, after: Mapping[str, Cursor]) -> Iterator[Page]:
        facts: list[Fact] = [*self.stones.values(), OWNER]
        for one in self.records.values():
            facts += [one, an_activity(f"call{one.ref.id}", "call", one.ref)]
        yield Page("contacts", tuple(facts), Cursor("end"), final=True)

    def fetch(self, refs: Sequence[RecordRef]) -> Sequence[Record | Tombstone]:
        known: dict[str, Record | Tombstone] = {**self.stones, **self.records, **self.newer}
        return [known.get(ref.id, Tombstone(ref, self.at)) for ref in refs]

    def write(self, writes: Sequence[Write]) -> Iterator[WriteResult]:
        for write in writes:
            error = self.refusing.get(write.ref.id) if isinstance(write, TaskWrite) else None
            if error is None and write.ref.id not in self.records:
                error = Gone("gone", code="ENTITY_IS_DELETED")
            if error is not None:
                status = "retryable" if isinstance(error, Transient) else "rejected"
                yield WriteResult(write, cast("Any", status), error=error)
            elif isinstance(write, FieldWrite):
                self.shown.setdefault(write.ref.id, {}).update(write.values)
                yield WriteResult(write, "ok")
            else:
                self.tasks.append(FoundTask(write.key, f"t{len(self.tasks)}", write.ref, self.at))
                yield WriteResult(write, "ok", crm_id=self.tasks[-1].crm_id)

    def plan_setup(self) -> Sequence[SetupStep]:
        return ()

    def now(self) -> Millis:
        return self.at


class Desk:
    """`org` is the CRM, `state` what we know. Every pass is two hours after the last, past every retry."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.org = SmallOrg()
        self.settings = Settings(
            stage="all", language="en", timezone="Asia/Tokyo", connections={"salesforce": {"vendor": "salesforce"}}
        )

    def add(self, id: str, email: str | None = None, *, title: str = "部長", **more: Any) -> None:
        """A record; the younger of two of one person does not get the task."""
        mail = email or f"{id.lower()}@acme.example"
        fields = {"last_name": "佐藤", "title": title, "company": "アクメ精機株式会社"}
        created = NOW - 90 * DAY + len(self.org.records)
        shown = dict(self.org.shown.get(id, {}))
        values: dict[str, Any] = {"created_at": created, "owner_id": "005A", "written": shown} | more
        self.org.records[id] = a_record(id, email=mail, fields=fields, **values)

    def title(self, id: str, title: str) -> None:
        record = self.org.records[id]
        self.org.records[id] = replace(record, fields={**record.fields, "title": title}, modified_at=self.org.at)

    def move(self, id: str, email: str) -> None:
        """The record gets another address: that of somebody who is there already, perhaps."""
        record = self.org.records[id]
        fields = {**record.fields, "email": email}
        self.org.records[id] = replace(record, fields=fields, emails=(email,), modified_at=self.org.at)

    def delete(self, id: str, *, into: str | None = None, permanent: bool = False) -> None:
        ref = self.org.records.pop(id).ref
        successor = RecordRef(ref.system, ref.kind, into) if into else None
        self.org.stones[id] = Tombstone(ref, self.org.at, successor, permanent=permanent)

    def undelete(self, id: str, **more: Any) -> None:
        del self.org.stones[id]
        self.add(id, **more)

    def run(self) -> RunReport:
        """One pass; the records come back with what was written into them."""
        self.org.at += 7_200_000
        for id, record in self.org.records.items():
            self.org.records[id] = replace(record, written={**record.written, **self.org.shown.get(id, {})})
        connectors = {"salesforce": cast("Connector", self.org)}
        rulebook = load_rulebook(RULEBOOK, source="offers.yaml")
        report = Cycle(self.state, self.settings, rulebook, connectors, clock=lambda: self.org.at).run()
        assert report.systems["salesforce"].error is None
        return report

    def tasks(self) -> list[str]:
        """The records on which tasks of ours were made, in order."""
        return [task.ref.id for task in self.org.tasks if task.ref is not None]

    def rows(self) -> list[dict[str, Any]]:
        """The tasks of the outbox."""
        with self.state.read() as connection:
            rows = connection.execute(
                select(t.outbox).where(t.outbox.c.effect == "task").order_by(t.outbox.c.outbox_id)
            )
            return [dict(row) for row in rows.mappings()]

    def ends(self) -> list[tuple[str, str | None]]:
        return [(row["state"], row["code"]) for row in self.rows()]

    def episodes(self, id: str) -> tuple[Episode, ...]:
        ref = RecordRef("salesforce", "contact", id)
        with self.state.read() as connection:
            person = person_ids(connection, [ref])[ref]
            return load_episodes(connection, [person]).get(person, ())

    def number(self, id: str) -> object:
        """The hand-over number that a record shows."""
        return self.org.shown.get(id, {}).get("handover_no")
