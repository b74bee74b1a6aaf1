"""Handlers for the Events API (Enterprise): web events of one record, event types, custom events."""

import base64
import binascii
import json
import uuid
from typing import Any

from sandbox.hubspot.errors import ApiError, invalid, missing_fields
from sandbox.hubspot.object_types import CONTACTS, ObjectType, resolve
from sandbox.hubspot.portal import Call, Portal, answer
from sandbox.hubspot.store import dump
from sandbox.hubspot.wire import parse_ms, stamp, whole
from sandbox.server import Response, empty

MOST = 1_000
SEND_MOST = 500
BUILT_IN = ("e_visited_page", "e_submitted_form", "e_clicked_cta", "e_opened_sequence_email")


def list_events(call: Call) -> Response:
    """`objectType` and `objectId` (or `objectProperty.email`) are needed; newest first unless sorted otherwise."""
    limit = call.number("limit", 100, MOST)
    kind, record_id = _subject(call)
    where, parameters = "object_type = ? AND object_id = ?", [kind.number, record_id]
    values: list[Any] = list(parameters)
    event_type = call.request.param("eventType")
    if event_type:
        where += " AND event_type = ?"
        values.append(event_type)
    for name, comparison in (("occurredAfter", ">="), ("occurredBefore", "<=")):
        text = call.request.param(name)
        if text:
            where += f" AND occurred_ms {comparison} ?"
            values.append(_time(text, name))
    for name, wanted in call.request.query.items():
        if name.startswith("property."):
            where += " AND json_extract(properties, ?) = ?"
            values += [f'$."{name.removeprefix("property.")}"', wanted[0]]
    up = call.request.param("sort") == "occurredAt"
    order = "ASC" if up else "DESC"
    after = call.request.param("after")
    if after:
        when, key = _cursor(after)
        where += f" AND (occurred_ms, id) {'>=' if up else '<='} (?, ?)"
        values += [when, key]
    sql = (
        f"SELECT id, event_type, occurred_ms, properties FROM web_event WHERE {where} "
        f"ORDER BY occurred_ms {order}, id {order} LIMIT ?"
    )
    rows = call.portal.store.db.execute(sql, (*values, limit + 1)).fetchall()
    results = [
        {
            "id": row[0],
            "eventType": row[1],
            "objectType": kind.legacy,
            "objectId": str(record_id),
            "occurredAt": stamp(row[2]),
            "properties": json.loads(row[3]),
        }
        for row in rows[:limit]
    ]
    document: dict[str, Any] = {"results": results}
    if len(rows) > limit:
        document["paging"] = call.next_page(_encode(rows[limit][2], rows[limit][0]))
    return answer(200, document)


def event_types(call: Call) -> Response:
    own = [
        definition["fullyQualifiedName"] for definition in call.portal.store.documents.all("event_definition").values()
    ]
    return answer(200, {"eventTypes": sorted({*BUILT_IN, *own})})


def list_definitions(call: Call) -> Response:
    definitions = list(call.portal.store.documents.all("event_definition").values())
    return answer(200, {"total": len(definitions), "results": definitions})


def create_definition(call: Call) -> Response:
    body = call.body()
    if not body.get("label"):
        raise missing_fields(["label"])
    name = body.get("name") or "_".join(str(body["label"]).lower().split())
    full = f"pe{call.portal.options.portal_id}_{name}"
    if call.portal.store.documents.get("event_definition", full):
        raise ApiError(409, f"An event definition named {name} already exists.", "CONFLICT")
    definition = {
        "id": str(uuid.uuid4()),
        "name": name,
        "fullyQualifiedName": full,
        "labels": {"singular": body["label"], "plural": body["label"]},
        "description": body.get("description"),
        "primaryObject": body.get("primaryObject", "CONTACT"),
        "archived": False,
        "createdAt": stamp(call.portal.clock.now_ms()),
        "properties": body.get("propertyDefinitions") or [],
    }
    call.portal.store.documents.put("event_definition", full, definition)
    return answer(201, definition)


def read_definition(call: Call) -> Response:
    return answer(200, _definition(call.portal, call.names["name"]))


def delete_definition(call: Call) -> Response:
    full = _definition(call.portal, call.names["name"])["fullyQualifiedName"]
    call.portal.store.documents.drop("event_definition", full)
    return empty(204)


def send(call: Call) -> Response:
    _send(call, call.body())
    return empty(204)


def send_batch(call: Call) -> Response:
    for entry in call.inputs(SEND_MOST):
        _send(call, entry)
    return empty(204)


def web_event_row(entry: dict[str, Any]) -> tuple[Any, ...]:
    """A web event {"id"?, "objectType"?, "objectId", "eventType", "occurredAt" or "occurred_ms", "properties"}."""
    kind = resolve(str(entry.get("objectType", "contact")))
    occurred = entry.get("occurred_ms")
    when = parse_ms(str(entry["occurredAt"])) if occurred is None else int(occurred)
    key = str(entry.get("id") or uuid.uuid4())
    return key, kind.number, int(entry["objectId"]), entry["eventType"], when, dump(entry.get("properties") or {})


def put_web_event(portal: Portal, entry: dict[str, Any]) -> bool:
    sql = "INSERT OR IGNORE INTO web_event VALUES (?, ?, ?, ?, ?, ?)"
    return portal.store.db.execute(sql, web_event_row(entry)).rowcount > 0


def _send(call: Call, entry: dict[str, Any]) -> None:
    """One custom event; `uuid` makes a repeated send harmless."""
    if not entry.get("eventName"):
        raise missing_fields(["eventName"])
    _definition(call.portal, entry["eventName"])
    if entry.get("objectId"):
        row = call.portal.records.find(CONTACTS, str(entry["objectId"]))
    elif entry.get("email"):
        row = call.portal.records.find(CONTACTS, entry["email"], "email")
    else:
        raise invalid("One of objectId, email or utk is required.")
    occurred = parse_ms(str(entry["occurredAt"])) if entry.get("occurredAt") else call.portal.clock.now_ms()
    event = {"id": entry.get("uuid"), "objectId": row.id, "eventType": entry["eventName"], "occurred_ms": occurred}
    put_web_event(call.portal, {**event, "properties": entry.get("properties") or {}})


def _definition(portal: Portal, name: str) -> dict[str, Any]:
    for definition in portal.store.documents.all("event_definition").values():
        if name in (definition["name"], definition["fullyQualifiedName"]):
            found: dict[str, Any] = definition
            return found
    raise ApiError(404, f"Event definition {name} not found", "OBJECT_NOT_FOUND")


def _subject(call: Call) -> tuple[ObjectType, int]:
    name = call.request.param("objectType")
    if not name:
        raise invalid("objectType is required.")
    kind = resolve(name)
    key, email = call.request.param("objectId"), call.request.param("objectProperty.email")
    if key:
        return kind, call.portal.records.survivor(kind, whole(key) or 0)
    if email and kind is CONTACTS:
        return kind, call.portal.records.find(kind, email, "email").id
    raise invalid("Either objectId or an objectProperty must be specified.")


def _time(text: str, name: str) -> int:
    try:
        return parse_ms(text)
    except ValueError:
        raise invalid(f"{name} is not a valid date-time: {text}") from None


def _encode(when: int, key: str) -> str:
    return base64.urlsafe_b64encode(f"{when}|{key}".encode()).decode().rstrip("=")


def _cursor(text: str) -> tuple[int, str]:
    try:
        when, _, key = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode().partition("|")
        return int(when), key
    except (ValueError, binascii.Error):
        raise invalid(f"Invalid after: {text}") from None
