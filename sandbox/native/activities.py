"""What happens on HubSpot's timeline and its tasks, copied into Salesforce Tasks. Nothing comes back the other way."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from sandbox.hubspot.object_types import CALLS, CONTACTS, EMAILS, MEETINGS, NOTES, TASKS, ObjectType
from sandbox.hubspot.store import Properties
from sandbox.hubspot.store import Row as HubSpotRow
from sandbox.hubspot.wire import parse_ms
from sandbox.native.options import NativeOptions
from sandbox.native.sides import Sides
from sandbox.salesforce.values import to_day

_SUBJECT_LENGTH, _BODY_LENGTH = 255, 32_000
_TASK_STATUS = {
    "NOT_STARTED": "Not Started",
    "IN_PROGRESS": "In Progress",
    "WAITING": "Waiting on someone else",
    "DEFERRED": "Deferred",
    "COMPLETED": "Completed",
}
_TASK_PRIORITY = {"HIGH": "High", "LOW": "Low"}
_FIXED = frozenset({"TaskSubtype", "WhoId", "OwnerId"})
"""What only the first copy sets: later changes by people in Salesforce stay."""

Body = dict[str, Any]


def _call(properties: Properties, dispositions: Mapping[str, str]) -> Body:
    duration = properties.get("hs_call_duration")
    return {
        "Subject": _named("Call", properties.get("hs_call_title")),
        "Description": properties.get("hs_call_body"),
        "TaskSubtype": "Call",
        "Type": "Call",
        "Status": "Completed",
        "CallType": {"INBOUND": "Inbound", "OUTBOUND": "Outbound"}.get(properties.get("hs_call_direction") or ""),
        "CallDisposition": dispositions.get(properties.get("hs_call_disposition") or ""),
        "CallDurationInSeconds": round(float(duration) / 1000) if duration else None,
    }


def _meeting(properties: Properties, _dispositions: Mapping[str, str]) -> Body:
    held = properties.get("hs_meeting_outcome") == "COMPLETED"
    return {
        "Subject": _named("Meeting", properties.get("hs_meeting_title")),
        "Description": properties.get("hs_meeting_body"),
        "Type": "Meeting",
        "Status": "Completed" if held else "Not Started",
    }


def _email(properties: Properties, _dispositions: Mapping[str, str]) -> Body:
    return {
        "Subject": _named("Email", properties.get("hs_email_subject")),
        "Description": properties.get("hs_email_text"),
        "TaskSubtype": "Email",
        "Type": "Email",
        "Status": "Completed",
    }


def _note(properties: Properties, _dispositions: Mapping[str, str]) -> Body:
    return {"Subject": "Note", "Description": properties.get("hs_note_body"), "Status": "Completed"}


def _task(properties: Properties, _dispositions: Mapping[str, str]) -> Body:
    return {
        "Subject": properties.get("hs_task_subject") or "Task",
        "Description": properties.get("hs_task_body"),
        "Status": _TASK_STATUS.get(properties.get("hs_task_status") or "", "Not Started"),
        "Priority": _TASK_PRIORITY.get(properties.get("hs_task_priority") or "", "Normal"),
    }


def _named(kind: str, title: str | None) -> str:
    return f"{kind}: {title}" if title else kind


_MAKERS: Mapping[str, tuple[ObjectType, Callable[[Properties, Mapping[str, str]], Body]]] = {
    "calls": (CALLS, _call),
    "meetings": (MEETINGS, _meeting),
    "emails": (EMAILS, _email),
    "notes": (NOTES, _note),
    "tasks": (TASKS, _task),
}


class Activities:
    """The timeline part of one poll. What is older than the integration is not copied."""

    def __init__(self, sides: Sides, options: NativeOptions, enabled_ms: int) -> None:
        self._sides = sides
        self._memory = sides.memory
        self._options = options
        self._enabled_ms = enabled_ms
        outcomes = sides.portal.schema.of(CALLS)["hs_call_disposition"].options
        self._dispositions = {value: label for value, label, _ in outcomes}
        self._zone = sides.work().rights.time_zone

    def poll(self, since_ms: int) -> None:
        """Copy what is new, and bring changed copies up to date."""
        for name, (kind, make) in _MAKERS.items():
            if name not in self._options.activities:
                continue
            for row in self._sides.changed_rows(kind, since_ms):
                if row.archived_ms is None and row.created_ms >= self._enabled_ms:
                    with self._sides.record(f"{name}/{row.id}"):
                        self._copy(f"{name}/{row.id}", self._who(kind, row), self._body(row, make))
        if "forms" in self._options.activities:
            self._copy_forms(since_ms)

    def _body(self, row: HubSpotRow, make: Callable[[Properties, Mapping[str, str]], Body]) -> Body:
        properties = row.properties
        body = make(properties, self._dispositions)
        when = properties.get("hs_meeting_start_time") or properties.get("hs_timestamp")
        at_ms = parse_ms(when) if when else row.created_ms
        return body | {
            "ActivityDate": to_day(at_ms, self._zone),
            "OwnerId": self._sides.user_of(properties.get("hubspot_owner_id")),
        }

    def _who(self, kind: ObjectType, row: HubSpotRow) -> str | None:
        """The first linked contact of an engagement: a Salesforce Task is about one person."""
        for contact, _ in self._sides.portal.links.of(kind, row.id, CONTACTS):
            link = self._memory.link("contacts", contact)
            if link is not None and link.salesforce is not None:
                return link.salesforce
        return None

    def _copy(self, source: str, who: str | None, body: Body) -> None:
        body["Subject"] = body["Subject"][:_SUBJECT_LENGTH]
        body["Description"] = (body.get("Description") or "")[:_BODY_LENGTH] or None
        task_id = self._memory.copy(source)
        if task_id is None:
            if who is not None:
                self._memory.keep_copy(source, self._sides.create_salesforce("Task", {**body, "WhoId": who}))
            return
        task = self._sides.live("Task", task_id)
        if task is None:
            return  # somebody deleted the copy; it is not made again
        changed = {name: value for name, value in body.items() if name not in _FIXED and value != task[name]}
        if changed:
            self._sides.update_salesforce("Task", task_id, changed)

    def _copy_forms(self, since_ms: int) -> None:
        forms = self._sides.portal.store.documents.all("form")
        sql = (
            "SELECT form, submitted_ms, conversion_id, body FROM form_submission WHERE submitted_ms >= ? "
            "ORDER BY submitted_ms, conversion_id"
        )
        rows = self._sides.portal.store.db.execute(sql, (max(since_ms, self._enabled_ms),)).fetchall()
        for form, submitted_ms, conversion, text in rows:
            values = {entry["name"]: entry["value"] for entry in json.loads(text).get("values", [])}
            known = self._sides.portal.records.by_unique(CONTACTS, "email", str(values.get("email") or ""))
            link = self._memory.link("contacts", known) if known is not None else None
            if link is None or link.salesforce is None:
                continue
            body = {"Subject": _named("Submitted form", forms.get(form, {}).get("name")), "Status": "Completed"}
            with self._sides.record(f"forms/{conversion}"):
                day = to_day(submitted_ms, self._zone)
                self._copy(f"forms/{conversion}", link.salesforce, {**body, "ActivityDate": day})
