"""Handlers for marketing events (webinars) and who took part in them."""

from typing import Any

from sandbox.hubspot.errors import ApiError, invalid, missing_fields
from sandbox.hubspot.object_types import CONTACTS
from sandbox.hubspot.portal import Call, Portal, answer, batch_answer, object_id
from sandbox.hubspot.store import Row
from sandbox.hubspot.wire import stamp, whole
from sandbox.server import Response

MOST = 100
WRITTEN_STATES = {"register": "REGISTERED", "attend": "ATTENDED", "cancel": "CANCELLED"}
STATES = ("REGISTERED", "ATTENDED", "CANCELLED", "NO_SHOW", "EMPTY")
FIRST_ID = 54_000_000_001


def list_events(call: Call) -> Response:
    limit = call.number("limit", 10, MOST)
    after = call.number("after", 0, 2**62, 0)
    events = sorted(
        call.portal.store.documents.all("marketing_event").values(), key=lambda event: int(event["objectId"])
    )
    rest = [event for event in events if int(event["objectId"]) >= after]
    document: dict[str, Any] = {"results": [_with_counters(call.portal, event) for event in rest[:limit]]}
    if len(rest) > limit:
        document["paging"] = call.next_page(rest[limit]["objectId"])
    return answer(200, document)


def read_event(call: Call) -> Response:
    return answer(200, _with_counters(call.portal, _event(call.portal, call.names["event"])))


def create_event(call: Call) -> Response:
    body = call.body()
    absent = [
        name for name in ("eventName", "eventOrganizer", "externalAccountId", "externalEventId") if name not in body
    ]
    if absent:
        raise missing_fields(absent)
    event = put_event(call.portal, body)
    return answer(200, event)


def counters(call: Call) -> Response:
    return answer(200, _counters(call.portal, int(_event(call.portal, call.names["event"])["objectId"])))


def breakdown_of_event(call: Call) -> Response:
    event = _event(call.portal, call.names["event"])
    return _breakdown(call, "event_id", int(event["objectId"]))


def breakdown_of_contact(call: Call) -> Response:
    key = call.names["contact"]
    row = call.portal.records.find(CONTACTS, key, "email" if "@" in key else None)
    return _breakdown(call, "contact_id", row.id)


def attend_by_id(call: Call) -> Response:
    return _attend(call, by_email=False)


def attend_by_email(call: Call) -> Response:
    return _attend(call, by_email=True)


def put_event(portal: Portal, entry: dict[str, Any]) -> dict[str, Any]:
    """Store a marketing event; its `objectId` is given or made."""
    now = stamp(portal.clock.now_ms())
    known = portal.store.documents.all("marketing_event")
    event = {
        "eventDescription": None,
        "eventUrl": None,
        "eventType": "WEBINAR",
        "startDateTime": None,
        "endDateTime": None,
        "eventCancelled": False,
        "eventCompleted": False,
        "customProperties": [],
        "createdAt": now,
        **entry,
    }
    event["objectId"] = str(entry.get("objectId") or max(map(int, known), default=FIRST_ID - 1) + 1)
    event.setdefault("updatedAt", event["createdAt"])
    portal.store.documents.put("marketing_event", event["objectId"], event)
    return event


def participate(portal: Portal, entry: dict[str, Any]) -> bool:
    """Note a participation {"eventId", "contactId", "state", "occurred_ms", "created_ms"?, …}; False if it is known."""
    sql = (
        "INSERT OR IGNORE INTO participation (event_id, contact_id, state, occurred_ms, created_ms, percentage, "
        "duration_s) VALUES (?, ?, ?, ?, ?, ?, ?)"
    )
    return portal.store.db.execute(sql, participation_row(entry, portal.clock.now_ms())).rowcount > 0


def participation_row(entry: dict[str, Any], now_ms: int) -> tuple[Any, ...]:
    if entry["state"] not in STATES:
        raise ValueError(f"unknown attendance state {entry['state']!r}; one of {', '.join(STATES)}")
    return (
        int(entry["eventId"]),
        int(entry["contactId"]),
        entry["state"],
        int(entry["occurred_ms"]),
        int(entry.get("created_ms", now_ms)),
        entry.get("percentage"),
        entry.get("duration_s"),
    )


def _event(portal: Portal, key: str) -> dict[str, Any]:
    event: dict[str, Any] | None = portal.store.documents.get("marketing_event", key)
    if event is None:
        raise ApiError(404, f"Marketing event {key} not found", "OBJECT_NOT_FOUND")
    return event


def _counters(portal: Portal, event_id: int) -> dict[str, int]:
    sql = "SELECT state, count(DISTINCT contact_id) FROM participation WHERE event_id = ? GROUP BY state"
    counts = dict(portal.store.db.execute(sql, (event_id,)).fetchall())
    return {
        "attended": counts.get("ATTENDED", 0),
        "registered": counts.get("REGISTERED", 0),
        "cancelled": counts.get("CANCELLED", 0),
        "noShows": counts.get("NO_SHOW", 0),
    }


def _with_counters(portal: Portal, event: dict[str, Any]) -> dict[str, Any]:
    counts = _counters(portal, int(event["objectId"]))
    names = (("registrants", "registered"), ("attendees", "attended"), ("cancellations", "cancelled"))
    return {**event, **{shown: counts[name] for shown, name in names}, "noShows": counts["noShows"]}


def _breakdown(call: Call, column: str, key: int) -> Response:
    limit = call.number("limit", 10, MOST)
    after = call.number("after", 0, 2**62, 0)
    state = call.request.param("state")
    if state is not None and state not in STATES:
        raise invalid(f"{state} is not a valid attendance state")
    where = f"{column} = ?" + (" AND state = ?" if state else "")
    parameters: list[Any] = [key, state] if state else [key]
    db = call.portal.store.db
    total = db.execute(f"SELECT count(*) FROM participation WHERE {where}", parameters).fetchone()[0]
    sql = (
        "SELECT id, event_id, contact_id, state, occurred_ms, created_ms, percentage, duration_s FROM participation "
        f"WHERE {where} AND id >= ? ORDER BY id LIMIT ?"
    )
    rows = db.execute(sql, (*parameters, after, limit + 1)).fetchall()
    events = call.portal.store.documents.all("marketing_event")
    contacts = call.portal.store.get(CONTACTS, {row[2] for row in rows})
    results = [_participation(row, events.get(str(row[1]), {}), contacts.get(row[2])) for row in rows[:limit]]
    document: dict[str, Any] = {"total": total, "results": results}
    if len(rows) > limit:
        document["paging"] = call.next_page(str(rows[limit][0]))
    return answer(200, document)


def _participation(row: tuple[Any, ...], event: dict[str, Any], contact: Row | None) -> dict[str, Any]:
    row_id, event_id, contact_id, state, occurred_ms, created_ms, percentage, duration = row
    known = contact.properties if contact else {}
    person = {"contactId": str(contact_id)} | {name: known.get(name) for name in ("email", "firstname", "lastname")}
    where = {"marketingEventId": str(event_id), "name": event.get("eventName")}
    where |= {name: event.get(name) for name in ("externalAccountId", "externalEventId")}
    properties = {"attendanceState": state, "occurredAt": occurred_ms}
    if state == "ATTENDED":
        properties |= {"attendancePercentage": percentage, "attendanceDurationSeconds": duration}
    return {
        "id": str(row_id),
        "createdAt": stamp(created_ms),
        "associations": {"contact": person, "marketingEvent": where},
        "properties": properties,
    }


def _attend(call: Call, *, by_email: bool) -> Response:
    """Idempotent on contact and `interactionDateTime`."""
    started = call.portal.clock.now_ms()
    event_id = int(_event(call.portal, call.names["event"])["objectId"])
    state = WRITTEN_STATES.get(call.names["state"], call.names["state"])
    if state not in WRITTEN_STATES.values():
        raise invalid(f"{call.names['state']} is not a valid subscriber state")
    results: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    for entry in call.inputs(MOST * 5):
        key = entry.get("email") if by_email else entry.get("vid")
        if not key:
            raise missing_fields(["email" if by_email else "vid"])
        try:
            row = call.portal.records.find(
                CONTACTS, str(key if by_email else object_id(key)), "email" if by_email else None
            )
        except ApiError as refused:
            errors.append(refused.row({"ids": [str(key)]}))
            continue
        occurred = whole(entry.get("interactionDateTime")) or started
        participate(call.portal, {"eventId": event_id, "contactId": row.id, "state": state, "occurred_ms": occurred})
        results.append({"vid": row.id} | ({"email": key} if by_email else {}))
    return batch_answer(call, 200, results, errors, started)
