"""Tasks, events and campaign members as dated activities: what happened when, and when the CRM first showed it."""

from collections.abc import Mapping
from typing import Any

from connectors.mapping import KindTable
from connectors.salesforce.schema import KEY_FIELD
from connectors.values import LocalDays, clean_text, parse_day, parse_millis
from core.records import Activity, Millis, RecordRef, day_start

Row = Mapping[str, Any]

_DIRECTIONS = {"inbound": "inbound", "outbound": "outbound"}


def person_ref(system: str, row_id: str | None) -> RecordRef | None:
    """The person behind a polymorphic id (WhoId), None for anything else."""
    if not row_id:
        return None
    if row_id.startswith("00Q"):
        return RecordRef(system, "lead", row_id)
    return RecordRef(system, "contact", row_id) if row_id.startswith("003") else None


def task_activities(row: Row, source: RecordRef, table: KindTable, days: LocalDays) -> tuple[Activity, ...]:
    """A completed task about a person; never one of ours.

    It is known since its completion. A task that was logged on a later day than its date happened on that date (a call
    entered two weeks late); any other happened when it was completed.
    """
    record = person_ref(source.system, row.get("WhoId"))
    if record is None or not row["IsClosed"] or row.get(KEY_FIELD):
        return ()
    kinds = table(row)
    if not kinds:
        return ()
    created = parse_millis(row["CreatedDate"])
    completed = parse_millis(row["CompletedDateTime"]) if row.get("CompletedDateTime") else None
    day = parse_day(row["ActivityDate"]) if row.get("ActivityDate") else None
    known = completed if completed is not None else created
    if day is not None and day < days(created):
        occurred = day_start(day, days.zone)
    elif completed is not None:
        occurred, day = completed, days(completed)
    elif day is not None and day <= days(created):
        occurred, day = created, days(created)
    else:  # closed before Salesforce kept the completion, dated ahead of its creation
        occurred = day_start(day, days.zone) if day is not None else created
        day = days(occurred)
    direction = _DIRECTIONS.get(str(row.get("CallType") or "").lower())
    duration = row.get("CallDurationInSeconds")
    asset = clean_text(row.get("Subject") or "")
    return tuple(
        Activity(
            source,
            kind,
            occurred,
            max(known, occurred),
            day,
            record=record,
            known_inexact=completed is None,
            asset=asset,
            channel=_CHANNELS.get(kind),
            direction=direction or _OWN_DIRECTION.get(kind),
            duration=int(duration) if isinstance(duration, (int, float)) else None,
        )
        for kind in kinds
    )


_CHANNELS = {"call": "phone", "call_attempt": "phone", "email_out": "email", "email_reply": "email"}
_OWN_DIRECTION = {"email_out": "outbound", "email_reply": "inbound"}


def event_activities(row: Row, source: RecordRef, table: KindTable, days: LocalDays) -> tuple[Activity, ...]:
    """A calendar entry with a person. Templates of series and the copies for invitees are no meetings of their own."""
    record = person_ref(source.system, row.get("WhoId"))
    if record is None or row.get("IsRecurrence") or row.get("IsChild"):
        return ()
    kinds = table(row)
    if not kinds:
        return ()
    created = parse_millis(row["CreatedDate"])
    minutes = row.get("DurationInMinutes")
    if row.get("IsAllDayEvent") and row.get("ActivityDate"):
        day = parse_day(row["ActivityDate"])
        occurred = day_start(day, days.zone)
        ended = day_start(day + 1, days.zone)
    else:
        stamp = row.get("StartDateTime") or row.get("ActivityDateTime")
        if stamp is None:
            return ()
        occurred = parse_millis(stamp)
        day = days(occurred)
        ended = parse_millis(row["EndDateTime"]) if row.get("EndDateTime") else occurred + int(minutes or 0) * 60_000
    asset = clean_text(row.get("Subject") or "")
    return tuple(
        Activity(
            source,
            kind,
            occurred,
            max(ended, created),
            day,
            record=record,
            asset=asset,
            channel="meeting",
            duration=int(minutes) * 60 if isinstance(minutes, (int, float)) else None,
        )
        for kind in kinds
    )


def campaign_activities(row: Row, source: RecordRef, table: KindTable, days: LocalDays) -> tuple[Activity, ...]:
    """A campaign response. Registration dates from the row's creation, every other kind from the first response."""
    system = source.system
    contact, lead = row.get("ContactId"), row.get("LeadId")
    if contact:
        record = RecordRef(system, "contact", contact)
    elif lead:
        record = RecordRef(system, "lead", lead)
    else:
        return ()
    kinds = table(row)
    if not kinds:
        return ()
    created = parse_millis(row["CreatedDate"])
    created_day = days(created)
    campaign = clean_text(row.get("Campaign.Name") or "")
    channel = clean_text(row.get("Campaign.Type") or "")
    found = []
    for kind in kinds:
        occurred, day, known, inexact = created, created_day, created, False
        if kind != "webinar_register":
            occurred, day, known, inexact = _response(row, created, created_day, days)
        found.append(
            Activity(
                source,
                kind,
                occurred,
                known,
                day,
                record=record,
                known_inexact=inexact,
                asset=campaign,
                campaign=campaign,
                channel=channel,
            )
        )
    return tuple(found)


def _response(row: Row, created: Millis, created_day: int, days: LocalDays) -> tuple[Millis, int, Millis, bool]:
    """(occurred, day, known, inexact) of a response: FirstRespondedDate is a date without time."""
    responded = row.get("FirstRespondedDate")
    if not responded:
        return created, created_day, created, True
    day = parse_day(responded)
    if day == created_day:
        return created, day, created, False
    start = day_start(day, days.zone)
    return start, day, max(start, created), False
