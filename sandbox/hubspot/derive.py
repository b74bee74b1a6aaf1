"""Properties that HubSpot sets by itself when others change: stage dates, closed flags, roll-ups of activities."""

from collections.abc import Mapping

from sandbox.hubspot.object_types import (
    CALLS,
    COMPANIES,
    CONTACTS,
    DEALS,
    EMAILS,
    MEETINGS,
    TASKS,
    ObjectType,
)
from sandbox.hubspot.store import Properties
from sandbox.hubspot.wire import parse_ms, stamp

LIFECYCLE = (
    "subscriber",
    "lead",
    "marketingqualifiedlead",
    "salesqualifiedlead",
    "opportunity",
    "customer",
    "evangelist",
    "other",
)
CONTACT_MADE = (CALLS, EMAILS, MEETINGS)


def moves_back(before: str | None, after: str | None) -> bool:
    """An app may move the lifecycle stage forward only; clearing it is allowed."""
    if before not in LIFECYCLE or after not in LIFECYCLE:
        return False
    return LIFECYCLE.index(after) < LIFECYCLE.index(before)


def derived(
    kind: ObjectType, changed: Properties, after: Properties, now_ms: int, stages: Mapping[str, tuple[str, bool, float]]
) -> Properties:
    """What follows from `changed`. `stages`: deal stage id to (pipeline id, closed, probability)."""
    more: Properties = {}
    if "hubspot_owner_id" in changed:
        more["hubspot_owner_assigneddate"] = stamp(now_ms) if changed["hubspot_owner_id"] else None
    if kind is CONTACTS:
        if "email" in changed:
            more["hs_email_domain"] = (changed["email"] or "").rpartition("@")[2] or None
        stage = changed.get("lifecyclestage")
        if stage in LIFECYCLE:
            more[f"hs_v2_date_entered_{stage}"] = stamp(now_ms)
    if kind is DEALS and ("dealstage" in changed or "amount" in changed):
        more |= _closed(after, stages)
    if kind is TASKS and "hs_task_status" in changed:
        done = changed["hs_task_status"] == "COMPLETED"
        more["hs_task_completion_date"] = stamp(now_ms) if done else None
        more["hs_task_is_completed"] = "1" if done else "0"
    return more


def _closed(after: Properties, stages: Mapping[str, tuple[str, bool, float]]) -> Properties:
    found = stages.get(after.get("dealstage") or "")
    more: Properties = {"amount_in_home_currency": after.get("amount")}
    if found is None:
        return more
    _, closed, probability = found
    more["hs_is_closed"] = "true" if closed else "false"
    more["hs_is_closed_won"] = "true" if closed and probability >= 1 else "false"
    more["hs_is_closed_lost"] = "true" if closed and probability <= 0 else "false"
    more["hs_deal_stage_probability"] = str(probability)
    return more


def rolled_up(kind: ObjectType, activity: Properties, record: Properties, now_ms: int) -> Properties:
    """What an activity of type `kind` changes on a contact, company or deal that it is linked to."""
    when = parse_ms(activity.get("hs_timestamp") or stamp(now_ms))
    more: Properties = {"num_notes": str(_count(record.get("num_notes")) + 1)}
    if when > now_ms:
        earlier = record.get("notes_next_activity_date")
        more["notes_next_activity_date"] = min(earlier or stamp(when), stamp(when))
    if when <= now_ms or kind is TASKS:
        more["notes_last_updated"] = max(record.get("notes_last_updated") or "", stamp(min(when, now_ms)))
    if kind in CONTACT_MADE and when <= now_ms:
        more["notes_last_contacted"] = max(record.get("notes_last_contacted") or "", stamp(when))
        more["hs_last_sales_activity_timestamp"] = max(
            record.get("hs_last_sales_activity_timestamp") or "", stamp(when)
        )
        more["num_contacted_notes"] = str(_count(record.get("num_contacted_notes")) + 1)
    return more


ROLLED_UP_ON = (CONTACTS, COMPANIES, DEALS)


def _count(text: str | None) -> int:
    return int(float(text)) if text else 0
