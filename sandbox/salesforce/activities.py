"""What a Task or an Event does by itself: derived fields, its checks, and the activity date of its person."""

from sandbox.salesforce.change import Change
from sandbox.salesforce.errors import RowError
from sandbox.salesforce.org import Work
from sandbox.salesforce.values import to_day


def before_task(work: Work, change: Change) -> None:
    """Close state from Status, high priority, owner, whom and what it is about."""
    closed = work.store.value('SELECT IsClosed FROM "TaskStatus" WHERE MasterLabel = ?', (change["Status"],)) or 0
    was_closed = bool(change.old and change.old["IsClosed"])
    change["IsClosed"] = closed
    if closed and not was_closed:
        change["CompletedDateTime"] = work.now
    elif not closed:
        change["CompletedDateTime"] = None
    change["IsHighPriority"] = int(change["Priority"] == "High")
    if change.differs("OwnerId") and str(change["OwnerId"]).startswith("00G"):
        message = "Queue not associated with this SObject type"
        raise RowError("INVALID_CROSS_REFERENCE_KEY", message, ("OwnerId",))
    _check_about(work, change)


def before_event(work: Work, change: Change) -> None:
    """Start, end, length and day of an event agree; whom and what it is about."""
    if change.touches("ActivityDateTime") and not change.touches("StartDateTime"):
        change["StartDateTime"] = change["ActivityDateTime"]
    start = change["StartDateTime"]
    if start is None and not (change["IsAllDayEvent"] and change["ActivityDate"]):
        names = ("DurationInMinutes", "ActivityDateTime")
        raise RowError("REQUIRED_FIELD_MISSING", f"Required fields are missing: [{', '.join(names)}]", names)
    if start is not None:
        _derive_times(change, start, work.rights.time_zone)
    _check_about(work, change)


def _derive_times(change: Change, start: int, time_zone: str) -> None:
    if change.touches("EndDateTime") and change["EndDateTime"] is not None:
        change["DurationInMinutes"] = (change["EndDateTime"] - start) // 60_000
    elif change["DurationInMinutes"] is not None:
        change["EndDateTime"] = start + change["DurationInMinutes"] * 60_000
    else:
        names = ("DurationInMinutes", "EndDateTime")
        raise RowError("REQUIRED_FIELD_MISSING", f"Required fields are missing: [{', '.join(names)}]", names)
    if change["DurationInMinutes"] < 0:
        raise RowError(
            "FIELD_INTEGRITY_EXCEPTION", "End Date Time: The end can't be before the start.", ("EndDateTime",)
        )
    change["ActivityDateTime"] = start
    change["ActivityDate"] = to_day(start, time_zone)
    change["EndDate"] = to_day(change["EndDateTime"], time_zone)


def _check_about(work: Work, change: Change) -> None:
    """A lead stands alone; the account follows from whom and what the activity is about."""
    if not change.touches("WhoId", "WhatId") and change.old is not None:
        return
    who, what = change["WhoId"], change["WhatId"]
    if who is not None and who.startswith("00Q"):
        if what is not None:
            message = "Related To ID: a lead cannot be related to another record"
            raise RowError("FIELD_INTEGRITY_EXCEPTION", message, ("WhatId",))
        if change.differs("WhoId") and work.store.value('SELECT IsConverted FROM "Lead" WHERE Id = ?', (who,)):
            raise RowError("CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead")
    change["AccountId"] = derive_account(work, who, what)


def derive_account(work: Work, who: str | None, what: str | None) -> str | None:
    """The account of an activity: that of what it is about, else the contact's."""
    account: str | None = None
    if what is not None and what.startswith("001"):
        account = what
    elif what is not None and what.startswith("006"):
        account = work.store.value('SELECT AccountId FROM "Opportunity" WHERE Id = ?', (what,))
    if account is None and who is not None and who.startswith("003"):
        account = work.store.value('SELECT AccountId FROM "Contact" WHERE Id = ?', (who,))
    return account


def after_activity(work: Work, change: Change) -> None:
    """LastActivityDate of the person, the deal and the account: the latest event or closed task.

    The person's SystemModstamp moves with it, LastModifiedDate does not: a client that pages by SystemModstamp sees
    people whose only news is an activity.
    """
    counts = change.sobject.name == "Event" or change["IsClosed"]
    if not counts or not change.touches("WhoId", "WhatId", "ActivityDate", "IsClosed", "AccountId"):
        return
    day = change["ActivityDate"] or work.today
    for record_id in {change["WhoId"], change["WhatId"], change["AccountId"]} - {None}:
        target = work.org.schema.of_id(record_id)
        if target is None or not target.has("LastActivityDate"):
            continue
        last = work.store.value(f'SELECT LastActivityDate FROM "{target.name}" WHERE Id = ?', (record_id,))
        if last is None or last < day:
            work.touch(target.name, record_id, {"LastActivityDate": day})
