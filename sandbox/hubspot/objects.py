"""Handlers for one record, lists and search: `/crm/v3/objects/{type}`."""

from collections.abc import Iterable, Sequence
from typing import Any

from sandbox.hubspot.associations import AssociationType
from sandbox.hubspot.errors import ApiError, invalid, invalid_json, missing_fields, unknown_type
from sandbox.hubspot.history import HistoryLog
from sandbox.hubspot.merging import erase, merge
from sandbox.hubspot.object_types import CONTACTS, ObjectType, resolve
from sandbox.hubspot.portal import Call, Portal, answer, object_id
from sandbox.hubspot.search_filters import both, compile_filters, compile_query, compile_sort
from sandbox.hubspot.store import Row
from sandbox.hubspot.wire import record, whole
from sandbox.server import Response, empty

LIST_MAX = 100
LIST_MAX_WITH_HISTORY = 50
SEARCH_MAX = 200
SEARCH_WINDOW = 10_000


def list_records(call: Call) -> Response:
    with_history = call.listed("propertiesWithHistory")
    limit = call.number("limit", 10, LIST_MAX_WITH_HISTORY if with_history else LIST_MAX)
    after = call.request.param("after") or "0"
    start = whole(after)
    if start is None:
        raise invalid(f"Invalid after: {after}")
    kind = call.kind
    rows = call.portal.store.page(kind, start, limit + 1, call.flag("archived"))
    names = call.portal.schema.defined(kind, call.listed("properties"))
    results = _expand(call, kind, rows[:limit], names)
    document: dict[str, Any] = {"results": results}
    if len(rows) > limit:
        document["paging"] = call.next_page(str(rows[limit].id))
    return answer(200, document)


def read_record(call: Call) -> Response:
    kind = call.kind
    id_property = call.request.param("idProperty")
    row = call.portal.records.find(kind, call.names["id"], id_property, archived=call.flag("archived"))
    names = call.portal.schema.defined(kind, call.listed("properties"))
    return answer(200, _expand(call, kind, [row], names)[0])


def create_record(call: Call) -> Response:
    body = call.body()
    row = create_one(call.portal, call, call.kind, body)
    return answer(201, shown(call.portal, call.kind, row, body.get("properties") or {}))


def update_record(call: Call) -> Response:
    kind = call.kind
    given = _given(call.body())
    row = call.portal.records.find(kind, call.names["id"], call.request.param("idProperty"))
    row = call.portal.records.update(kind, row, given, call.source)
    return answer(200, shown(call.portal, kind, row, given))


def delete_record(call: Call) -> Response:
    try:
        row = call.portal.records.find(call.kind, call.names["id"])
    except ApiError:
        if whole(call.names["id"]) is None:
            raise
        return empty(204)  # deleting what is not there is no error
    call.portal.records.archive(call.kind, row)
    return empty(204)


def search_records(call: Call) -> Response:
    body = call.body()
    kind, schema = call.kind, call.portal.schema
    limit = _whole(body.get("limit", 10), "limit")
    if not 0 <= limit <= SEARCH_MAX:
        raise invalid_json(f"limit must be at most {SEARCH_MAX}, was {limit}")
    offset = _whole(body.get("after") or 0, "after")
    if offset + limit > SEARCH_WINDOW:
        raise ApiError(400, "There was a problem with the request.", "VALIDATION_ERROR")
    where, above = compile_filters(schema, kind, body.get("filterGroups"))
    where = both(where, compile_query(kind, body.get("query")))
    order = compile_sort(schema, kind, body.get("sorts"))
    if order is not None and above:
        where = both(where, compile_above(above))
    total, rows = call.portal.search.find(kind, where, order, above, offset, limit)
    asked = body.get("properties")
    names = schema.defined(kind, asked or None)
    document: dict[str, Any] = {"total": total, "results": [record(kind, row, names) for row in rows]}
    if offset + limit < total:
        document["paging"] = {"next": {"after": str(offset + limit)}}
    return answer(200, document)


def merge_records(call: Call) -> Response:
    body = call.body()
    absent = [name for name in ("primaryObjectId", "objectIdToMerge") if name not in body]
    if absent:
        raise missing_fields(absent)
    row = merge_two(call.portal, call.kind, str(body["primaryObjectId"]), str(body["objectIdToMerge"]))
    return answer(200, record(call.kind, row, call.portal.schema.defined(call.kind, None)))


def merge_two(portal: Portal, kind: ObjectType, primary_id: str, other_id: str) -> Row:
    primary, other = portal.records.find(kind, primary_id), portal.records.find(kind, other_id)
    now = portal.clock.now_ms()
    return merge(portal.store, portal.schema, portal.records, portal.links, kind, primary, other, now, portal.lag_ms)


def gdpr_delete(call: Call) -> Response:
    body = call.body()
    if "objectId" not in body:
        raise missing_fields(["objectId"])
    gdpr_delete_one(call.portal, str(body["objectId"]), body.get("idProperty"))
    return empty(204)


def gdpr_delete_one(portal: Portal, key: str, id_property: str | None) -> None:
    """Delete for good; an unknown email is blocked for the future all the same."""
    try:
        row = portal.records.find(CONTACTS, key, id_property)
    except ApiError:
        if id_property != "email":
            raise
        portal.store.documents.put("blocked_email", key.lower(), True)
        return
    erase(portal.store, portal.links, CONTACTS, row)


def create_one(portal: Portal, call: Call, kind: ObjectType, body: dict[str, Any]) -> Row:
    given = body.get("properties")
    if given is not None and not isinstance(given, dict):
        raise invalid_json("Cannot deserialize value of type `LinkedHashMap<String,String>`")
    links = parse_links(portal, kind, body.get("associations") or [])
    return portal.records.create(kind, given or {}, call.source, links)


def parse_links(portal: Portal, kind: ObjectType, entries: Any) -> list[tuple[AssociationType, int]]:
    """The `associations` of a create: [{"to": {"id"}, "types": [{"associationCategory", "associationTypeId"}]}]."""
    if not isinstance(entries, list):
        raise invalid_json("Cannot deserialize value of type `ArrayList<PublicAssociationsForObject>`")
    links: list[tuple[AssociationType, int]] = []
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("to"), dict) or not entry.get("types"):
            raise missing_fields(["to", "types"])
        target_id = object_id(entry["to"].get("id"))
        for category, type_id in type_specs(entry["types"]):
            links.append((portal.links.type(kind, None, category, type_id), target_id))
    return links


def type_specs(specs: Any) -> list[tuple[str, int]]:
    """(category, type id) of each association type sent."""
    if not isinstance(specs, list) or not specs or not all(isinstance(spec, dict) for spec in specs):
        raise missing_fields(["types"])
    return [
        (str(spec.get("associationCategory", "HUBSPOT_DEFINED")), object_id(spec.get("associationTypeId")))
        for spec in specs
    ]


def shown(portal: Portal, kind: ObjectType, row: Row, given: Iterable[str]) -> dict[str, Any]:
    """A written record: what was given, besides the defaults that have a value."""
    names = portal.schema.defined(kind, [*given, *(name for name in kind.defaults if row.properties.get(name))])
    return record(kind, row, names)


def history_of(portal: Portal, kind: ObjectType, row: Row, names: Sequence[str]) -> dict[str, Any]:
    log = HistoryLog(portal.store)
    known = [name for name in names if portal.schema.get(kind, name)]
    return {name: log.versions(kind, row, name) for name in known}


def compile_above(above: int) -> Any:
    from sandbox.hubspot.search_filters import Condition

    return Condition("id > ?", (above,))


def _given(body: dict[str, Any]) -> dict[str, Any]:
    given = body.get("properties")
    if given is not None and not isinstance(given, dict):
        raise invalid_json("Cannot deserialize value of type `LinkedHashMap<String,String>`")
    if not given:
        raise invalid("No properties found to update, please provide at least one.")
    return given


def _whole(value: Any, name: str) -> int:
    number = whole(value)
    if number is None:
        raise invalid_json(f"{name} must be a whole number, was {value}")
    return number


def _expand(call: Call, kind: ObjectType, rows: Sequence[Row], names: Sequence[str]) -> list[dict[str, Any]]:
    """Record documents with the associations and history that the query asks for."""
    others = _others(call.listed("associations"))
    with_history = call.listed("propertiesWithHistory")
    results = []
    for row in rows:
        document = record(kind, row, names)
        if with_history:
            document["propertiesWithHistory"] = history_of(call.portal, kind, row, with_history)
        linked = {other.name: found for other in others if (found := _linked(call.portal, kind, row, other))}
        if linked:
            document["associations"] = linked
        results.append(document)
    return results


def _others(names: list[str] | None) -> list[ObjectType]:
    others = []
    for name in names or []:
        try:
            others.append(resolve(name))
        except ApiError:
            raise unknown_type(name) from None
    return others


def _linked(portal: Portal, kind: ObjectType, row: Row, other: ObjectType) -> dict[str, Any] | None:
    results = [
        {"id": str(target_id), "type": portal.links.known(kind, other, type_id).legacy_name}
        for target_id, type_ids in portal.links.of(kind, row.id, other)
        for type_id in sorted(type_ids)
    ]
    return {"results": results} if results else None
