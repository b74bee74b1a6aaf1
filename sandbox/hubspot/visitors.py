"""What visitors and recipients do now (control API): events are stored and a contact's counters move with them."""

import uuid
from typing import Any

from sandbox.hubspot import events, lists, marketing, marketing_events
from sandbox.hubspot.errors import ApiError
from sandbox.hubspot.object_types import CONTACTS
from sandbox.hubspot.portal import Portal
from sandbox.hubspot.records import ANALYTICS, Source
from sandbox.hubspot.store import Properties, Row
from sandbox.hubspot.wire import parse_ms, stamp

_COUNTED = {
    "OPEN": ("hs_email_open", "hs_email_last_open_date"),
    "CLICK": ("hs_email_click", "hs_email_last_click_date"),
    "DELIVERED": ("hs_email_delivered", "hs_email_last_send_date"),
    "BOUNCE": ("hs_email_bounce", None),
}


def happen(portal: Portal, order: dict[str, Any]) -> dict[str, int]:
    """{"email_events", "form_submissions", "web_events", "participations", "memberships"}: lists of rows, now if undated."""
    counts = {
        "email_events": sum(_email_event(portal, entry) for entry in order.get("email_events", [])),
        "form_submissions": sum(_submission(portal, entry) for entry in order.get("form_submissions", [])),
        "web_events": sum(_web_event(portal, entry) for entry in order.get("web_events", [])),
        "participations": sum(_participation(portal, entry) for entry in order.get("participations", [])),
        "memberships": sum(_membership(portal, entry) for entry in order.get("memberships", [])),
    }
    unknown = set(order) - set(counts)
    if unknown:
        raise ValueError(f"unknown kinds of event: {', '.join(sorted(unknown))}")
    return counts


def _email_event(portal: Portal, entry: dict[str, Any]) -> bool:
    entry = {"created": portal.clock.now_ms(), "id": str(uuid.uuid4()), **entry}
    if entry["type"] not in marketing.EMAIL_EVENT_TYPES:
        raise ValueError(f"unknown type of email event {entry['type']!r}")
    row = marketing.email_event_row(portal.options.portal_id, entry)
    sql = "INSERT OR IGNORE INTO email_event VALUES (?, ?, ?, ?, ?, ?, ?)"
    if not portal.store.db.execute(sql, row).rowcount:
        return False
    contact = _contact(portal, str(entry["recipient"]))
    if contact is not None and entry["type"] in _COUNTED and not entry.get("filteredEvent"):
        counter, last = _COUNTED[entry["type"]]
        changed = _counted(contact, counter)
        if last is not None:
            changed[last] = max(contact.properties.get(last) or "", stamp(int(entry["created"])))
        portal.records.apply(CONTACTS, contact, changed, ANALYTICS)
    return True


def _submission(portal: Portal, entry: dict[str, Any]) -> bool:
    """A submission of a form; its sender becomes a contact if they are none."""
    now = portal.clock.now_ms()
    entry = {"submittedAt": now, "conversionId": str(uuid.uuid4()), "values": [], **entry}
    form = portal.store.documents.get("form", str(entry["formId"]))
    if form is None:
        raise ValueError(f"no form {entry['formId']!r}")
    sql = "INSERT OR IGNORE INTO form_submission VALUES (?, ?, ?, ?)"
    if not portal.store.db.execute(sql, marketing.submission_row(entry)).rowcount:
        return False
    given = {value["name"]: value["value"] for value in entry["values"]}
    if not given.get("email"):
        return True
    source = Source("FORM", str(entry["formId"]), None, form.get("name"))
    known = {name: value for name, value in given.items() if portal.schema.get(CONTACTS, name)}
    contact = _contact(portal, given["email"])
    if contact is None:
        contact = portal.records.create(CONTACTS, known, source)
    else:
        contact = portal.records.update(CONTACTS, contact, known, source)
    when, name = stamp(int(entry["submittedAt"])), form.get("name")
    changed = _counted(contact, "num_conversion_events")
    changed |= {"recent_conversion_date": when, "recent_conversion_event_name": name}
    if not contact.properties.get("first_conversion_date"):
        changed |= {"first_conversion_date": when, "first_conversion_event_name": name}
    portal.records.apply(CONTACTS, contact, changed, ANALYTICS)
    return True


def _web_event(portal: Portal, entry: dict[str, Any]) -> bool:
    """`email` may stand in for `objectId`."""
    entry = dict(entry)
    if "email" in entry:
        entry["objectId"] = portal.records.find(CONTACTS, entry.pop("email"), "email").id
    if "occurredAt" not in entry and "occurred_ms" not in entry:
        entry["occurred_ms"] = portal.clock.now_ms()
    if not events.put_web_event(portal, entry):
        return False
    if entry["eventType"] == "e_visited_page":
        contact = portal.records.find(CONTACTS, str(entry["objectId"]))
        when = entry["occurred_ms"] if "occurred_ms" in entry else parse_ms(str(entry["occurredAt"]))
        seen = stamp(int(when))
        changed = _counted(contact, "hs_analytics_num_page_views")
        for name in ("hs_analytics_last_timestamp", "hs_analytics_last_visit_timestamp"):
            changed[name] = max(contact.properties.get(name) or "", seen)
        if changed["hs_analytics_last_timestamp"] == seen:
            changed["hs_analytics_last_url"] = (entry.get("properties") or {}).get("hs_url")
        if not contact.properties.get("hs_analytics_first_timestamp"):
            changed["hs_analytics_first_timestamp"] = seen
        portal.records.apply(CONTACTS, contact, changed, ANALYTICS)
    return True


def _participation(portal: Portal, entry: dict[str, Any]) -> bool:
    return marketing_events.participate(portal, {"occurred_ms": portal.clock.now_ms(), **entry})


def _membership(portal: Portal, entry: dict[str, Any]) -> bool:
    joined = int(entry.get("joined_ms", portal.clock.now_ms()))
    return lists.join(portal, int(entry["listId"]), int(entry["recordId"]), joined)


def _contact(portal: Portal, email: str) -> Row | None:
    try:
        return portal.records.find(CONTACTS, email, "email")
    except ApiError:
        return None


def _counted(contact: Row, name: str) -> Properties:
    return {name: str(int(float(contact.properties.get(name) or "0")) + 1)}
