"""Handlers for forms and their submissions, and for marketing email events (v1)."""

import base64
import binascii
from typing import Any

from sandbox.hubspot.errors import ApiError, invalid
from sandbox.hubspot.portal import Call, Portal, answer
from sandbox.hubspot.store import dump
from sandbox.hubspot.wire import stamp
from sandbox.server import Response

SUBMISSIONS_MOST = 50
EMAIL_EVENTS_MOST = 1_000
EMAIL_EVENT_TYPES = (
    "SENT",
    "DROPPED",
    "PROCESSED",
    "DELIVERED",
    "DEFERRED",
    "BOUNCE",
    "OPEN",
    "CLICK",
    "PRINT",
    "FORWARD",
    "STATUSCHANGE",
    "SPAMREPORT",
    "SUPPRESSED",
    "SUPPRESSION",
    "UNBOUNCE",
)


def list_forms(call: Call) -> Response:
    limit = call.number("limit", 20, 500)
    after = call.request.param("after") or ""
    types = call.listed("formTypes")
    forms = sorted(call.portal.store.documents.all("form").values(), key=lambda form: str(form["id"]))
    forms = [
        form
        for form in forms
        if form["archived"] == call.flag("archived") and (not types or form["formType"] in types or "all" in types)
    ]
    rest = [form for form in forms if form["id"] >= after]
    document: dict[str, Any] = {"results": rest[:limit]}
    if len(rest) > limit:
        document["paging"] = call.next_page(rest[limit]["id"])
    return answer(200, document)


def read_form(call: Call) -> Response:
    form = call.portal.store.documents.get("form", call.names["form"])
    if form is None:
        raise _no_form(call.names["form"])
    return answer(200, form)


def list_submissions(call: Call) -> Response:
    """Newest first; no time filter, as in the real API."""
    form = call.names["form"]
    if call.portal.store.documents.get("form", form) is None:
        raise _no_form(form)
    limit = call.number("limit", 20, SUBMISSIONS_MOST)
    before_ms, conversion = _cursor(call.request.param("after"), (2**62, "\uffff"))
    sql = (
        "SELECT submitted_ms, conversion_id, body FROM form_submission WHERE form = ? "
        "AND (submitted_ms, conversion_id) <= (?, ?) ORDER BY submitted_ms DESC, conversion_id DESC LIMIT ?"
    )
    rows = call.portal.store.db.execute(sql, (form, before_ms, conversion, limit + 1)).fetchall()
    results = ",".join(row[2] for row in rows[:limit])
    paging = ""
    if len(rows) > limit:
        paging = ',"paging":' + dump(call.next_page(_encode(rows[limit][0], rows[limit][1])))
    return Response(200, f'{{"results":[{results}]{paging}}}'.encode("utf-8", "surrogatepass"))


def list_email_events(call: Call) -> Response:
    """Newest first, `startTimestamp` ≤ created ≤ `endTimestamp`."""
    limit = call.number("limit", 10, EMAIL_EVENTS_MOST)
    start = call.number("startTimestamp", 0, 2**62, 0)
    end = call.number("endTimestamp", 2**62, 2**62, 0)
    where, values = "created_ms >= ? AND created_ms <= ?", [start, end]
    conditions: list[tuple[str, Any]] = []
    kind = call.request.param("eventType")
    if kind is not None and kind not in EMAIL_EVENT_TYPES:
        raise invalid(f"{kind} is not a valid eventType")
    conditions.append(("type", kind))
    recipient = call.request.param("recipient")
    conditions.append(("recipient", recipient.lower() if recipient else None))
    for name, column in (("appId", "app_id"), ("campaignId", "campaign_id")):
        number = call.number(name, -1, 2**62, 0)
        conditions.append((column, number if number >= 0 else None))
    parameters: list[Any] = list(values)
    for column, value in conditions:
        if value is not None:
            where += f" AND {column} = ?"
            parameters.append(value)
    if call.flag("excludeFilteredEvents"):
        where += " AND ifnull(json_extract(body, '$.filteredEvent'), 0) = 0"
    offset = call.request.param("offset")
    if offset:
        where += " AND (created_ms, id) <= (?, ?)"
        parameters += _cursor(offset, (0, ""))
    sql = f"SELECT created_ms, id, body FROM email_event WHERE {where} ORDER BY created_ms DESC, id DESC LIMIT ?"
    rows = call.portal.store.db.execute(sql, (*parameters, limit + 1)).fetchall()
    more = len(rows) > limit
    events = ",".join(row[2] for row in rows[:limit])
    following = f',"offset":"{_encode(rows[limit][0], rows[limit][1])}"' if more else ""
    text = f'{{"hasMore":{"true" if more else "false"}{following},"events":[{events}]}}'
    return Response(200, text.encode("utf-8", "surrogatepass"))


def list_email_campaigns(call: Call) -> Response:
    limit = call.number("limit", 10, EMAIL_EVENTS_MOST)
    offset = call.number("offset", 0, 2**62, 0)
    sql = (
        "SELECT campaign_id, app_id, max(created_ms) FROM email_event WHERE campaign_id IS NOT NULL "
        "AND campaign_id >= ? GROUP BY campaign_id ORDER BY campaign_id LIMIT ?"
    )
    rows = call.portal.store.db.execute(sql, (offset, limit + 1)).fetchall()
    campaigns = [{"id": row[0], "appId": row[1], "lastUpdatedTime": row[2]} for row in rows[:limit]]
    document: dict[str, Any] = {"hasMore": len(rows) > limit, "campaigns": campaigns}
    if len(rows) > limit:
        document["offset"] = str(rows[limit][0])
    return answer(200, document)


def put_form(portal: Portal, form: dict[str, Any]) -> None:
    now = stamp(portal.clock.now_ms())
    form = {
        "formType": "hubspot",
        "createdAt": now,
        "archived": False,
        "fieldGroups": [],
        "configuration": {"language": "ja", "archivable": True, "editable": True, "cloneable": True},
        **form,
        "id": str(form["id"]),
    }
    form.setdefault("updatedAt", form["createdAt"])
    portal.store.documents.put("form", form["id"], form)


def submission_row(entry: dict[str, Any]) -> tuple[str, int, str, str]:
    """A submission {"formId", "submittedAt", "values", "conversionId", "pageUrl"?} as its table has it."""
    body = {name: value for name, value in entry.items() if name != "formId"}
    return str(entry["formId"]), int(entry["submittedAt"]), str(entry["conversionId"]), dump(body)


def email_event_row(portal_id: int, entry: dict[str, Any]) -> tuple[Any, ...]:
    """An email event in its v1 shape, as its table has it; a false `filteredEvent` stays out, as in the real API."""
    body = {"portalId": portal_id, **entry}
    body["recipient"] = str(entry["recipient"]).lower()
    if not body.get("filteredEvent"):
        body.pop("filteredEvent", None)
    columns = (body["created"], body["id"], body["type"], body["recipient"], body.get("emailCampaignId"))
    return (*columns, body.get("appId"), dump(body))


def _encode(when: int, key: str) -> str:
    return base64.urlsafe_b64encode(f"{when}|{key}".encode()).decode().rstrip("=")


def _cursor(text: str | None, default: tuple[int, str]) -> tuple[int, str]:
    if not text:
        return default
    try:
        when, _, key = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode().partition("|")
        return int(when), key
    except (ValueError, binascii.Error):
        raise invalid(f"Invalid offset: {text}") from None


def _no_form(form: str) -> ApiError:
    return ApiError(404, f"No form found with guid {form}", "OBJECT_NOT_FOUND")
