"""The control API under `/__sandbox__/`: what users, admins and time do to an account. No quota, no scopes.

- `POST records` {"action", "type", "id", …}: create, update, delete, restore (properties, idProperty, associations);
  merge (id, other); gdpr_delete; purge; associate and dissociate (to_type, to, type_id); log_activity (contacts, …).
- `POST touch` {"type", "count" or "ids", "properties"}: one modified time for many rows.
- `POST events`: what visitors and recipients do now, see `visitors`.
- `POST properties` {"action": "delete" or "create", "type", "name" or "definition"}: an admin in the settings.
- `POST quota` {"used", "daily_limit", "ten_secondly_limit"}, `POST edition`, `POST scopes` {"token", "scopes"},
  `POST tokens` {"expire": true}, {"revoke": token} or {"issue": scopes}; `GET credentials`, `GET state`,
  `GET rows?type=tasks` (every stored row, the archived ones too).
"""

import json
from typing import Any

from sandbox.hubspot.merging import erase
from sandbox.hubspot.object_types import TYPES, ObjectType, resolve
from sandbox.hubspot.objects import gdpr_delete_one, merge_two, parse_links
from sandbox.hubspot.options import EDITIONS
from sandbox.hubspot.portal import Portal, answer
from sandbox.hubspot.property_api import define, delete_by_admin
from sandbox.hubspot.records import Source
from sandbox.hubspot.store import Row
from sandbox.hubspot.visitors import happen
from sandbox.hubspot.wire import record
from sandbox.server import Request, Response

USER = Source("CRM_UI", "userId:9586504", 9_586_504)


def run(portal: Portal, request: Request, name: str) -> Response | None:
    """Answer one control call; None if there is none of that name."""
    match request.method, name:
        case "POST", "records":
            return _records(portal, request.json())
        case "POST", "touch":
            return _touch(portal, request.json())
        case "POST", "quota":
            return _quota(portal, request.json())
        case "POST", "tokens":
            return _tokens(portal, request.json())
        case "POST", "scopes":
            order = request.json()
            portal.tokens.set_scopes(order["token"], order["scopes"])
            return answer(200, {"scopes": sorted(order["scopes"])})
        case "POST", "edition":
            return _edition(portal, request.json())
        case "POST", "events":
            return answer(200, happen(portal, request.json()))
        case "POST", "properties":
            return _properties(portal, request.json())
        case "GET", "credentials":
            return _credentials(portal)
        case "GET", "state":
            return _state(portal)
        case "GET", "rows":
            return _rows(portal, request.param("type") or "contacts")
    return None


def _records(portal: Portal, order: dict[str, Any]) -> Response:
    """{"action", "type", "id", "properties", …}: one edit as a user makes it in the UI."""
    kind = resolve(order["type"])
    records = portal.records
    match order["action"]:
        case "create":
            links = parse_links(portal, kind, order.get("associations") or [])
            return _shown(portal, kind, records.create(kind, order["properties"], USER, links))
        case "update":
            row = records.find(kind, str(order["id"]), order.get("idProperty"))
            return _shown(portal, kind, records.update(kind, row, order["properties"], USER))
        case "delete":
            records.archive(kind, records.find(kind, str(order["id"]), order.get("idProperty")))
            return answer(200, {"id": str(order["id"]), "archived": True})
        case "restore":
            return _shown(portal, kind, records.restore(kind, records.find(kind, str(order["id"]), archived=True)))
        case "merge":
            return _shown(portal, kind, merge_two(portal, kind, str(order["id"]), str(order["other"])))
        case "gdpr_delete":
            gdpr_delete_one(portal, str(order["id"]), order.get("idProperty"))
            return answer(200, {"id": str(order["id"])})
        case "purge":
            row = records.find(kind, str(order["id"]), archived=bool(order.get("archived")))
            erase(portal.store, portal.links, kind, row)
            return answer(200, {"id": str(order["id"])})
        case "associate" | "dissociate":
            return _associate(portal, kind, order)
        case "log_activity":
            return _log_activity(portal, kind, order)
    raise ValueError(f"unknown action {order['action']!r}")


def _associate(portal: Portal, kind: ObjectType, order: dict[str, Any]) -> Response:
    target, target_id = resolve(order["to_type"]), int(order["to"])
    row = portal.records.find(kind, str(order["id"]))
    if order["action"] == "dissociate":
        portal.links.remove(kind, row.id, target, target_id)
        return answer(200, {"id": str(row.id), "to": str(target_id)})
    if "type_id" in order:
        link = portal.links.type(kind, target, order.get("category", "HUBSPOT_DEFINED"), int(order["type_id"]))
    else:
        link = portal.links.plain(kind, target)
    portal.records.link(kind, row, [(link, target_id)])
    return answer(200, {"id": str(row.id), "to": str(target_id)})


def _log_activity(portal: Portal, kind: ObjectType, order: dict[str, Any]) -> Response:
    """An engagement of `type`, linked to the records in `contacts`, `companies`, `deals`."""
    links = [
        (portal.links.plain(kind, resolve(name)), int(other))
        for name in ("contacts", "companies", "deals")
        for other in order.get(name, [])
    ]
    return _shown(portal, kind, portal.records.create(kind, order["properties"], USER, links))


def _touch(portal: Portal, order: dict[str, Any]) -> Response:
    """{"type", "count" or "ids", "properties"}: a bulk edit that gives every row the same modified time."""
    kind, store = resolve(order["type"]), portal.store
    now = portal.clock.now_ms()
    if "ids" in order:
        ids = [int(row_id) for row_id in order["ids"]]
    else:
        sql = f"SELECT id FROM {kind.name} WHERE archived_ms IS NULL ORDER BY id LIMIT ?"
        ids = [row[0] for row in store.db.execute(sql, (int(order["count"]),))]
    patch = order.get("properties") or {}
    unknown = set(patch) - set(portal.schema.of(kind))
    if unknown or set(patch) & set(portal.schema.unique_names(kind)):
        raise ValueError(f"cannot touch {sorted(patch)}: unknown or unique")
    store.touch(kind, ids, patch, now, now + portal.lag_ms)
    return answer(200, {"touched": len(ids), "updated_ms": now})


def _quota(portal: Portal, order: dict[str, Any]) -> Response:
    limits = portal.limits
    if "used" in order:
        limits.set_used_today(int(order["used"]))
    if "daily_limit" in order:
        limits.daily_limit = None if order["daily_limit"] is None else int(order["daily_limit"])
    if "ten_secondly_limit" in order:
        limits.burst_limit = None if order["ten_secondly_limit"] is None else int(order["ten_secondly_limit"])
    return answer(200, {"used": limits.used_today(), "daily_limit": limits.daily()})


def _tokens(portal: Portal, order: dict[str, Any]) -> Response:
    """{"expire_now": true} ends OAuth tokens; {"revoke": token}; {"issue": scopes or null} gives a new token.

    {"ttl_requests", "ttl_seconds", "rotate"} hold for OAuth tokens from now on.
    """
    tokens = portal.tokens
    if "revoke" in order:
        return answer(200, {"revoked": tokens.revoke(order["revoke"])})
    if "issue" in order:
        return answer(200, {"token": tokens.issue(order["issue"])})
    if not order.keys() & {"expire", "expire_now", "ttl_requests", "ttl_seconds", "rotate"}:
        raise ValueError("one of expire_now, ttl_requests, ttl_seconds, rotate, revoke, issue")
    if "ttl_requests" in order:
        tokens.ttl_requests = None if order["ttl_requests"] is None else int(order["ttl_requests"])
    if "ttl_seconds" in order:
        tokens.ttl_seconds = int(order["ttl_seconds"])
    tokens.rotate = bool(order.get("rotate", tokens.rotate))
    expired = tokens.expire_all() if order.get("expire") or order.get("expire_now") else 0
    lives = {"ttl_requests": tokens.ttl_requests, "ttl_seconds": tokens.ttl_seconds, "rotate": tokens.rotate}
    return answer(200, {"expired": expired, **lives})


def _edition(portal: Portal, order: dict[str, Any]) -> Response:
    if order["edition"] not in EDITIONS:
        raise ValueError(f"unknown edition {order['edition']!r}; one of {', '.join(EDITIONS)}")
    portal.limits.edition = order["edition"]
    return answer(200, {"edition": portal.edition})


def _properties(portal: Portal, order: dict[str, Any]) -> Response:
    """An admin in the settings: {"action": "delete", "type", "name"} or {"action": "create", "type", "definition"}."""
    kind = resolve(order["type"])
    if order["action"] == "delete":
        delete_by_admin(portal, kind, order["name"])
        return answer(200, {"deleted": order["name"]})
    if order["action"] == "create":
        return answer(200, define(portal, kind, order["definition"]).document())
    raise ValueError(f"unknown action {order['action']!r}")


def _credentials(portal: Portal) -> Response:
    tokens = portal.tokens
    private = tokens.private_app_tokens()
    document = {
        "private_token": private[0].value if private else tokens.issue(None),
        "client_id": tokens.client_id,
        "client_secret": tokens.client_secret,
        "redirect_uri": tokens.redirect_uri,
        "refresh_token": tokens.new_refresh_token(),
        "code": tokens.new_code(),
    }
    return answer(200, document)


def _rows(portal: Portal, name: str) -> Response:
    """Every row of a type as stored, the archived ones too: what is so, whatever search and lists show yet."""
    kind = resolve(name)
    sql = f"SELECT id, created_ms, updated_ms, archived_ms, properties FROM {kind.name} ORDER BY id"
    names = ("id", "created_ms", "updated_ms", "archived_ms", "properties")
    found = [dict(zip(names, row, strict=True)) for row in portal.store.db.execute(sql)]
    return answer(200, [row | {"properties": json.loads(row["properties"])} for row in found])


_COUNTED = ("association", "email_event", "form_submission", "membership", "participation", "web_event", "history")


def _state(portal: Portal) -> Response:
    """Row counts, archived ones apart."""
    db = portal.store.db
    counts: dict[str, Any] = {}
    for kind in TYPES:
        sql = f"SELECT count(*) - count(archived_ms), count(archived_ms) FROM {kind.name}"
        counts[kind.name], counts[f"{kind.name}_archived"] = db.execute(sql).fetchone()
    for table in _COUNTED:
        counts[table] = db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    return answer(200, {"now_ms": portal.clock.now_ms(), "edition": portal.edition, "rows": counts})


def _shown(portal: Portal, kind: ObjectType, row: Row) -> Response:
    return answer(200, record(kind, row, sorted(portal.schema.of(kind))))
