"""Salesforce rows as facts. Mappers are made once per object from the layout; a row costs dictionary look-ups only.

Sources of the rules: reference/salesforce.md §4 (where history lives); times as settled in SETTLED 6, 8 and 11.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from connectors.fields import OUTPUT_FIELDS
from connectors.mapping import FieldMapper, Problem, compile_fields
from connectors.salesforce.activities import campaign_activities, event_activities, task_activities
from connectors.salesforce.schema import OUR_FIELDS, Layout
from connectors.salesforce.soql import is_id
from connectors.values import LocalDays, clean_email, clean_text, parse_day, parse_millis, to_number
from core.records import (
    Account,
    ActivityRow,
    Change,
    Consent,
    Deal,
    DealRole,
    Fact,
    Owner,
    Record,
    RecordRef,
    Tombstone,
    Value,
    day_start,
)

Row = Mapping[str, Any]
Mapper = Callable[[Row], "Fact | None"]

OWNER = "owner"
_NO_CONSENT = Consent()


@dataclass(frozen=True, slots=True)
class Translator:
    """What all mappers of one connection share."""

    system: str
    layout: Layout
    days: LocalDays
    problem: Problem
    currency: str | None

    def mapper(self, sobject: str) -> Mapper:
        """The mapper of one object. It raises KeyError, ValueError or TypeError for a row that cannot be read."""
        makers: dict[str, Callable[[], Mapper]] = {
            "Lead": lambda: self._person("lead", "Lead"),
            "Contact": lambda: self._person("contact", "Contact"),
            "Account": self._account,
            "Opportunity": lambda: self._deal,
            "OpportunityContactRole": lambda: self._role,
            "OpportunityHistory": lambda: self._stage,
            "LeadHistory": lambda: self._change,
            "User": lambda: self._user,
            "Group": lambda: self._queue,
            "Task": lambda: self._activities("Task"),
            "Event": lambda: self._activities("Event"),
            "CampaignMember": lambda: self._activities("CampaignMember"),
        }
        return makers[sobject]()

    # --- people and companies ----------------------------------------------------------------------------------------

    def _person(self, kind: str, sobject: str) -> Mapper:
        system = self.system
        fields = compile_fields(self.layout.fields[kind], self.problem)
        email_sources = self.layout.fields[kind]["email"]
        consent = self._consent(sobject)
        answers, written = self._ours(sobject, by_rep=True), self._ours(sobject, by_rep=False)

        def read(row: Row) -> Fact:
            ref = RecordRef(system, kind, row["Id"])
            modified = parse_millis(row["SystemModstamp"])
            contact = row.get("ConvertedContactId")
            successor = RecordRef(system, "contact", contact) if contact else None
            if row["IsDeleted"]:
                master = row.get("MasterRecordId")
                return Tombstone(ref, modified, RecordRef(system, kind, master) if master else successor)
            values = fields(row)
            emails = []
            for source in email_sources:
                if (address := clean_email(row.get(source))) and address not in emails:
                    emails.append(address)
            if emails:
                values["email"] = emails[0]
            else:
                values.pop("email", None)
            account = row.get("AccountId")
            return Record(
                ref,
                values,
                parse_millis(row["CreatedDate"]),
                modified,
                emails=tuple(emails),
                owner_id=row.get("OwnerId"),
                account=RecordRef(system, "account", account) if account else None,
                successor=successor,
                consent=consent(row),
                answers=answers(row),
                written=written(row),
            )

        return read

    def _consent(self, sobject: str) -> Callable[[Row], Consent]:
        flags = self.layout.consent[sobject]
        opt_out, do_not_call = flags.get("email_opt_out", ""), flags.get("do_not_call", "")
        bounced, basis = flags.get("bounced", ""), flags.get("legal_basis", "")

        def read(row: Row) -> Consent:
            values = (row.get(opt_out), row.get(do_not_call), row.get(bounced), row.get(basis))
            if values == (None, None, None, None) and not bounced:
                return _NO_CONSENT
            hit = values[2]
            was_bounced = None if not bounced else hit if isinstance(hit, bool) else hit is not None
            text = clean_text(str(values[3])) if values[3] else None
            return Consent(values[0], values[1], was_bounced, text)

        return read

    def _ours(self, sobject: str, *, by_rep: bool) -> FieldMapper:
        plan = [
            (name, OUR_FIELDS[name], _READERS[OUTPUT_FIELDS[name].type])
            for name in self.layout.ours[sobject]
            if OUTPUT_FIELDS[name].by_rep is by_rep
        ]

        def read(row: Row) -> dict[str, Value]:
            found: dict[str, Value] = {}
            for name, own, convert in plan:
                raw = row.get(own)
                if raw is not None:
                    found[name] = convert(raw)
            return found

        return read

    def _account(self) -> Mapper:
        system = self.system
        fields = compile_fields(self.layout.fields["account"], self.problem)

        def read(row: Row) -> Fact:
            ref = RecordRef(system, "account", row["Id"])
            modified = parse_millis(row["SystemModstamp"])
            if row["IsDeleted"]:
                master = row.get("MasterRecordId")
                return Tombstone(ref, modified, RecordRef(system, "account", master) if master else None)
            parent = row.get("ParentId")
            return Account(
                ref, fields(row), modified, RecordRef(system, "account", parent) if parent else None, row.get("OwnerId")
            )

        return read

    def _user(self, row: Row) -> Fact:
        name = clean_text(row.get("Name") or "") or row["Id"]
        return Owner(
            RecordRef(self.system, OWNER, row["Id"]), name, clean_email(row.get("Email")), bool(row["IsActive"])
        )

    def _queue(self, row: Row) -> Fact | None:
        if row.get("Type") != "Queue":
            return None
        name = clean_text(row.get("Name") or "") or row["Id"]
        email = clean_email(row.get("Email"))
        return Owner(RecordRef(self.system, OWNER, row["Id"]), name, email, active=True, is_queue=True)

    # --- deals ---------------------------------------------------------------------------------------------------------

    def _deal(self, row: Row) -> Fact:
        ref = RecordRef(self.system, "deal", row["Id"])
        modified = parse_millis(row["SystemModstamp"])
        if row["IsDeleted"]:
            return Tombstone(ref, modified)
        closed = bool(row["IsClosed"])
        account, reason = row.get("AccountId"), self.layout.loss_reason
        amount = to_number(row.get("Amount"))
        return Deal(
            ref,
            parse_millis(row["CreatedDate"]),
            modified,
            stage=row["StageName"],
            is_closed=closed,
            is_won=bool(row["IsWon"]),
            closed_at=self._closed_at(row) if closed else None,
            name=clean_text(row.get("Name") or ""),
            account=RecordRef(self.system, "account", account) if account else None,
            amount=float(amount) if amount is not None else None,
            currency=row.get("CurrencyIsoCode") or (self.currency if amount is not None else None),
            loss_reason=clean_text(str(row.get(reason) or "")) if reason else None,
            owner_id=row.get("OwnerId"),
        )

    def _closed_at(self, row: Row) -> int:
        """When it was won or lost: the last change of stage where the org keeps it, else the close date's start."""
        changed = row.get("LastStageChangeDate")
        if changed:
            return parse_millis(changed)
        return day_start(parse_day(row["CloseDate"]), self.days.zone)

    def _role(self, row: Row) -> Fact | None:
        source = RecordRef(self.system, "OpportunityContactRole", row["Id"])
        if row["IsDeleted"]:
            return Tombstone(source, parse_millis(row["SystemModstamp"]))
        if not row.get("ContactId"):
            return None
        return DealRole(
            source,
            RecordRef(self.system, "deal", row["OpportunityId"]),
            RecordRef(self.system, "contact", row["ContactId"]),
            clean_text(row.get("Role") or ""),
        )

    def _stage(self, row: Row) -> Fact | None:
        """A row of OpportunityHistory: the stage from then on. What it was before stands in the row before."""
        if row.get("IsDeleted") or not row.get("StageName"):
            return None
        return Change(
            RecordRef(self.system, "OpportunityHistory", row["Id"]),
            RecordRef(self.system, "deal", row["OpportunityId"]),
            "stage",
            None,
            row["StageName"],
            parse_millis(row["CreatedDate"]),
            row.get("CreatedById"),
        )

    def _change(self, row: Row) -> Fact | None:
        canonical = self.layout.history.get(row["Field"])
        if canonical is None or row.get("IsDeleted"):
            return None
        old, new = row.get("OldValue"), row.get("NewValue")
        return Change(
            RecordRef(self.system, "LeadHistory", row["Id"]),
            RecordRef(self.system, "lead", row["LeadId"]),
            canonical,
            clean_text(str(old)) if old is not None else None,
            clean_text(str(new)) if new is not None else None,
            parse_millis(row["CreatedDate"]),
            row.get("CreatedById"),
        )

    # --- activities ----------------------------------------------------------------------------------------------------

    def _activities(self, sobject: str) -> Mapper:
        table = self.layout.tables[sobject]
        make = {"Task": task_activities, "Event": event_activities, "CampaignMember": campaign_activities}[sobject]
        system, days, who = self.system, self.days, _WHO[sobject]

        def read(row: Row) -> Fact:
            source = RecordRef(system, sobject, row["Id"])
            if row["IsDeleted"]:
                return Tombstone(source, parse_millis(row["SystemModstamp"]))
            for name in who:
                if (value := row.get(name)) and not is_id(value):
                    self.problem(f"{sobject}.{name}")
            return ActivityRow(source, make(row, source, table, days))

        return read


_WHO: Mapping[str, tuple[str, ...]] = {
    "Task": ("WhoId",),
    "Event": ("WhoId",),
    "CampaignMember": ("ContactId", "LeadId"),
}
"""Where an activity's row names its person."""


def _to_int(raw: Any) -> Value:
    value = to_number(raw)
    return int(value) if value is not None else None


def _to_text(raw: Any) -> Value:
    return str(raw)


_READERS: Mapping[str, Callable[[Any], Value]] = {
    "integer": _to_int,
    "text": _to_text,
    "long_text": _to_text,
    "picklist": _to_text,
    "date": parse_day,
    "datetime": parse_millis,
}
