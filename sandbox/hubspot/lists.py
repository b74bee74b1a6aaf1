"""Handlers for lists and their members: `/crm/v3/lists`."""

from typing import Any

from sandbox.hubspot.errors import ApiError, invalid, invalid_json, missing_fields
from sandbox.hubspot.object_types import CONTACTS, resolve
from sandbox.hubspot.portal import Call, Portal, answer, object_id
from sandbox.hubspot.wire import stamp, whole
from sandbox.server import Response, empty

MEMBERS_MOST = 250
SEARCH_MOST = 500
SEARCH_WINDOW = 10_000
PROCESSING = ("MANUAL", "DYNAMIC", "SNAPSHOT")


def create_list(call: Call) -> Response:
    body = call.body()
    absent = [name for name in ("name", "objectTypeId", "processingType") if not body.get(name)]
    if absent:
        raise missing_fields(absent)
    if body["processingType"] not in PROCESSING:
        raise invalid(f"{body['processingType']} is not a valid processingType; one of {', '.join(PROCESSING)}.")
    kind = resolve(body["objectTypeId"])
    taken = [entry for entry in call.portal.store.documents.all("list").values() if entry["name"] == body["name"]]
    if taken:
        raise ApiError(400, f"A list with the name '{body['name']}' already exists.", "VALIDATION_ERROR")
    list_id = str(max((int(key) for key in call.portal.store.documents.all("list")), default=0) + 1)
    entry = {"listId": list_id, "name": body["name"], "objectTypeId": kind.type_id}
    return answer(200, {"list": put_list(call.portal, {**entry, "processingType": body["processingType"]})})


def read_list(call: Call) -> Response:
    return answer(200, {"list": _with_size(call.portal, _list(call))})


def read_list_by_name(call: Call) -> Response:
    kind = resolve(call.names["type"])
    for entry in call.portal.store.documents.all("list").values():
        if entry["name"] == call.names["name"] and entry["objectTypeId"] == kind.type_id:
            return answer(200, {"list": _with_size(call.portal, entry)})
    raise _no_list(call.names["name"])


def read_lists(call: Call) -> Response:
    wanted = call.listed("listIds") or []
    documents = call.portal.store.documents.all("list")
    return answer(200, {"lists": [_with_size(call.portal, documents[key]) for key in wanted if key in documents]})


def delete_list(call: Call) -> Response:
    _list(call)
    call.portal.store.documents.drop("list", call.names["list"])
    call.portal.store.db.execute("DELETE FROM membership WHERE list_id = ?", (int(call.names["list"]),))
    return empty(204)


def search_lists(call: Call) -> Response:
    body = call.body()
    offset, count = whole(body.get("offset") or 0), whole(body.get("count") or 20)
    if offset is None or count is None:
        raise invalid("offset and count must be whole numbers")
    if count > SEARCH_MOST:
        raise invalid(f"count must be at most {SEARCH_MOST}")
    if offset + count > SEARCH_WINDOW:
        raise invalid(f"offset and count together must be at most {SEARCH_WINDOW}")
    query = str(body.get("query") or "").lower()
    types, ids = body.get("processingTypes") or PROCESSING, body.get("listIds")
    found = [
        entry
        for entry in sorted(call.portal.store.documents.all("list").values(), key=lambda entry: int(entry["listId"]))
        if query in entry["name"].lower()
        and entry["processingType"] in types
        and (not ids or entry["listId"] in map(str, ids))
    ]
    page = []
    for entry in found[offset : offset + count]:
        shown = {"hs_list_size": str(_size(call.portal, entry["listId"])), "hs_list_reference_count": "0"}
        newest = _newest_ms(call.portal, entry["listId"])
        if newest is not None:
            shown["hs_last_record_added_at"] = stamp(newest)
        page.append({**entry, "additionalProperties": shown})
    more = offset + count < len(found)
    return answer(200, {"lists": page, "hasMore": more, "offset": offset + len(page), "total": len(found)})


def members(call: Call) -> Response:
    """By record id, from `after` on."""
    list_id = int(_list(call)["listId"])
    limit = call.number("limit", 100, MEMBERS_MOST)
    after = call.number("after", 0, 2**62, 0)
    sql = "SELECT record_id, joined_ms FROM membership WHERE list_id = ? AND record_id >= ? ORDER BY record_id LIMIT ?"
    rows = call.portal.store.db.execute(sql, (list_id, after, limit + 1)).fetchall()
    return _members(call, list_id, rows[:limit], str(rows[limit][0]) if len(rows) > limit else None)


def members_by_join(call: Call) -> Response:
    """By the time of joining, oldest first from `after` on; with `before`, newest first."""
    list_id = int(_list(call)["listId"])
    limit = call.number("limit", 100, MEMBERS_MOST)
    before, after = call.request.param("before"), call.request.param("after")
    if before is not None and after is not None:
        raise invalid("Only one of before and after may be set.")
    down = before is not None
    cursor = (before if down else after) or ""
    when, _, record_id = cursor.partition("-")
    start = (2**62, 2**62) if down else (0, 0)
    if cursor:
        joined, record = whole(when), whole(record_id)
        if joined is None or record is None:
            raise invalid(f"Invalid cursor: {cursor}")
        start = joined, record
    comparison = "<=" if down else ">="
    order = "DESC" if down else "ASC"
    sql = (
        f"SELECT record_id, joined_ms FROM membership WHERE list_id = ? AND (joined_ms, record_id) {comparison} (?, ?) "
        f"ORDER BY joined_ms {order}, record_id {order} LIMIT ?"
    )
    rows = call.portal.store.db.execute(sql, (list_id, *start, limit + 1)).fetchall()
    following = f"{rows[limit][1]}-{rows[limit][0]}" if len(rows) > limit else None
    return _members(call, list_id, rows[:limit], following)


def add_members(call: Call) -> Response:
    return _change(call, add=True)


def remove_members(call: Call) -> Response:
    return _change(call, add=False)


def lists_of_record(call: Call) -> Response:
    row = call.portal.records.find(call.kind, call.names["id"])
    results = []
    sql = "SELECT list_id, joined_ms FROM membership WHERE record_id = ? ORDER BY list_id"
    for list_id, joined_ms in call.portal.store.db.execute(sql, (row.id,)).fetchall():
        entry = call.portal.store.documents.get("list", str(list_id))
        if entry and entry["objectTypeId"] == call.kind.type_id:
            when = stamp(joined_ms)
            times = {"firstAddedTimestamp": when, "lastAddedTimestamp": when}
            results.append({"listId": str(list_id), "listVersion": entry["listVersion"], **times})
    return answer(200, {"results": results, "total": len(results)})


def put_list(portal: Portal, entry: dict[str, Any]) -> dict[str, Any]:
    """Store a list with everything that a list document shows; returns it with its size."""
    now = stamp(portal.clock.now_ms())
    entry = {
        "objectTypeId": CONTACTS.type_id,
        "processingType": "MANUAL",
        "processingStatus": "COMPLETE",
        "listVersion": 1,
        "createdAt": now,
        "createdById": str(portal.tokens.user_id),
        **entry,
        "listId": str(entry["listId"]),
    }
    entry.setdefault("updatedAt", entry["createdAt"])
    portal.store.documents.put("list", entry["listId"], entry)
    return _with_size(portal, entry)


def join(portal: Portal, list_id: int, record_id: int, joined_ms: int) -> bool:
    """Whether the record was not a member yet."""
    sql = "INSERT OR IGNORE INTO membership VALUES (?, ?, ?)"
    return portal.store.db.execute(sql, (list_id, record_id, joined_ms)).rowcount > 0


def _list(call: Call) -> dict[str, Any]:
    entry: dict[str, Any] | None = call.portal.store.documents.get("list", call.names["list"])
    if entry is None:
        raise _no_list(call.names["list"])
    return entry


def _no_list(name: str) -> ApiError:
    return ApiError(404, f"List does not exist with ID {name}.", "OBJECT_NOT_FOUND")


def _size(portal: Portal, list_id: str) -> int:
    sql = "SELECT count(*) FROM membership WHERE list_id = ?"
    return int(portal.store.db.execute(sql, (int(list_id),)).fetchone()[0])


def _newest_ms(portal: Portal, list_id: str) -> int | None:
    newest: int | None = portal.store.db.execute(
        "SELECT max(joined_ms) FROM membership WHERE list_id = ?", (int(list_id),)
    ).fetchone()[0]
    return newest


def _with_size(portal: Portal, entry: dict[str, Any]) -> dict[str, Any]:
    return {**entry, "size": _size(portal, entry["listId"])}


def _members(call: Call, list_id: int, rows: list[tuple[int, int]], following: str | None) -> Response:
    results = [{"recordId": str(record_id), "membershipTimestamp": stamp(ms)} for record_id, ms in rows]
    document: dict[str, Any] = {"results": results, "total": _size(call.portal, str(list_id))}
    if following is not None:
        document["paging"] = call.next_page(following)
    return answer(200, document)


def _change(call: Call, *, add: bool) -> Response:
    entry = _list(call)
    if entry["processingType"] == "DYNAMIC":
        raise invalid("Memberships of a DYNAMIC list cannot be changed by hand.")
    sent = call.any_body()
    if not isinstance(sent, list):
        raise invalid_json("Cannot deserialize value of type `java.util.ArrayList<Long>` from Object value")
    list_id, kind, now = int(entry["listId"]), resolve(entry["objectTypeId"]), call.portal.clock.now_ms()
    ids = [object_id(value) for value in sent]
    present = call.portal.store.get(kind, ids)
    missing = [str(row_id) for row_id in ids if row_id not in present]
    changed: list[str] = []
    for row_id in present:
        sql = "DELETE FROM membership WHERE list_id = ? AND record_id = ?"
        if add:
            done = join(call.portal, list_id, row_id, now)
        else:
            done = call.portal.store.db.execute(sql, (list_id, row_id)).rowcount > 0
        if done:
            changed.append(str(row_id))
    added, removed = (changed, []) if add else ([], changed)
    return answer(200, {"recordsIdsAdded": added, "recordIdsRemoved": removed, "recordIdsMissing": missing})
