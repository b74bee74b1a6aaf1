"""Handlers for the account itself: details, usage, owners, pipelines."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sandbox.hubspot.errors import ApiError, invalid, not_found
from sandbox.hubspot.object_types import DEALS, resolve
from sandbox.hubspot.portal import Call, answer
from sandbox.hubspot.wire import stamp
from sandbox.server import Response


def details(call: Call) -> Response:
    options = call.portal.options
    local = datetime.fromtimestamp(call.portal.clock.now_ms() / 1000, ZoneInfo(options.timezone))
    offset = local.utcoffset()
    seconds = int(offset.total_seconds()) if offset else 0
    sign = "-" if seconds < 0 else "+"
    document = {
        "portalId": options.portal_id,
        "accountType": "STANDARD",
        "timeZone": options.timezone,
        "companyCurrency": options.currency,
        "additionalCurrencies": [],
        "utcOffset": f"{sign}{abs(seconds) // 3600:02d}:{abs(seconds) % 3600 // 60:02d}",
        "utcOffsetMilliseconds": seconds * 1000,
        "uiDomain": "app.hubspot.com",
        "dataHostingLocation": "na1",
    }
    return answer(200, document)


def daily_usage(call: Call) -> Response:
    limits = call.portal.limits
    usage = {
        "name": "private-apps-api-calls-daily",
        "usageLimit": limits.daily(),
        "currentUsage": limits.used_today(),
        "collectedAt": stamp(call.portal.clock.now_ms()),
        "fetchStatus": "SUCCESS",
        "resetsAt": stamp(limits.resets_at_ms()),
    }
    return answer(200, {"results": [usage]})


def list_owners(call: Call) -> Response:
    limit = call.number("limit", 100, 500)
    after = call.number("after", 0, 2**62, 0)
    email, archived = call.request.param("email"), call.flag("archived")
    owners = sorted(call.portal.store.documents.all("owner").values(), key=lambda owner: int(owner["id"]))
    owners = [
        owner
        for owner in owners
        if owner["archived"] == archived and (not email or owner.get("email", "").lower() == email.lower())
    ]
    rest = [owner for owner in owners if int(owner["id"]) >= after]
    document: dict[str, Any] = {"results": rest[:limit]}
    if len(rest) > limit:
        document["paging"] = call.next_page(rest[limit]["id"])
    return answer(200, document)


def read_owner(call: Call) -> Response:
    key = call.names["id"]
    id_property = call.request.param("idProperty") or "id"
    if id_property not in ("id", "userId"):
        raise invalid(f"{id_property} is not a valid idProperty.")
    for owner in call.portal.store.documents.all("owner").values():
        if str(owner.get(id_property)) == key and owner["archived"] == call.flag("archived"):
            return answer(200, owner)
    raise not_found(key)


def list_pipelines(call: Call) -> Response:
    _only_deals(call)
    return answer(200, {"results": call.portal.pipelines.all()})


def read_pipeline(call: Call) -> Response:
    return answer(200, _pipeline(call))


def list_stages(call: Call) -> Response:
    return answer(200, {"results": _pipeline(call)["stages"]})


def read_stage(call: Call) -> Response:
    for stage in _pipeline(call)["stages"]:
        if stage["id"] == call.names["stage"]:
            return answer(200, stage)
    raise ApiError(404, f"Stage ID '{call.names['stage']}' does not exist", "OBJECT_NOT_FOUND")


def _pipeline(call: Call) -> dict[str, Any]:
    _only_deals(call)
    pipeline = call.portal.pipelines.get(call.names["pipeline"])
    if pipeline is None:
        raise ApiError(404, f"Pipeline ID '{call.names['pipeline']}' does not exist", "OBJECT_NOT_FOUND")
    return pipeline


def _only_deals(call: Call) -> None:
    if resolve(call.names["type"]) is not DEALS:
        raise invalid(f"Object type {call.names['type']} does not support pipelines.")
