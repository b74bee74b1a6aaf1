"""Handlers for `/crm/v3/objects/{type}/batch/*`: up to 100 inputs, 207 where some fail."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from sandbox.hubspot.errors import ApiError, invalid, missing_fields
from sandbox.hubspot.object_types import ObjectType
from sandbox.hubspot.objects import create_one, history_of, shown
from sandbox.hubspot.portal import Call, batch_answer
from sandbox.hubspot.store import Row
from sandbox.hubspot.wire import record, whole
from sandbox.server import Response, empty

MOST = 100


def batch_read(call: Call) -> Response:
    started = call.portal.clock.now_ms()
    body = call.body()
    inputs = call.inputs(MOST, body)
    kind, portal = call.kind, call.portal
    keys = _keys(inputs)
    _refuse_doubles(keys)
    rows, missing = _look_up(call, kind, keys, body.get("idProperty"), archived=call.flag("archived"))
    names = portal.schema.defined(kind, body.get("properties") or None)
    results = []
    for row in rows:
        document = record(kind, row, names)
        if body.get("propertiesWithHistory"):
            document["propertiesWithHistory"] = history_of(portal, kind, row, body["propertiesWithHistory"])
        results.append(document)
    return batch_answer(call, 200, results, _not_found(kind, missing), started)


def batch_create(call: Call) -> Response:
    """All or nothing, unless every input has its `objectWriteTraceId`."""
    started = call.portal.clock.now_ms()
    inputs = call.inputs(MOST)
    kind = call.kind
    traces = [entry.get("objectWriteTraceId") for entry in inputs]
    if not all(traces):
        rows = [create_one(call.portal, call, kind, entry) for entry in inputs]
        results = [_written(call, kind, row, entry) for row, entry in zip(rows, inputs, strict=True)]
        return batch_answer(call, 201, results, [], started)
    results, errors = [], []
    for trace, entry in zip(traces, inputs, strict=True):
        try:
            with call.portal.store.attempt():
                row = create_one(call.portal, call, kind, entry)
        except ApiError as refused:
            errors.append(refused.row({"objectWriteTraceId": [str(trace)]}))
        else:
            results.append(_written(call, kind, row, entry))
    return batch_answer(call, 201, results, errors, started)


def batch_update(call: Call) -> Response:
    """Rows that do not exist give 207; a refused value refuses the whole batch. Merged-away ids are not followed."""
    started = call.portal.clock.now_ms()
    inputs = call.inputs(MOST)
    kind = call.kind
    keys = _keys(inputs)
    _refuse_doubles(keys)
    id_property = _one_id_property(inputs)
    rows, missing = _look_up(call, kind, keys, id_property)
    by_key = _by_key(rows, id_property)
    results = []
    for key, entry in zip(keys, inputs, strict=True):
        found = by_key.get(key.lower())
        if found is None:
            continue
        row = call.portal.records.update(kind, found, _properties(entry), call.source)
        results.append(_written(call, kind, row, entry))
    return batch_answer(call, 200, results, _not_found(kind, missing), started)


def batch_upsert(call: Call) -> Response:
    started = call.portal.clock.now_ms()
    inputs = call.inputs(MOST)
    kind, records = call.kind, call.portal.records
    keys = _keys(inputs)
    _refuse_doubles(keys)
    id_property = _one_id_property(inputs)
    results, missing = [], []
    for key, entry in zip(keys, inputs, strict=True):
        given = _properties(entry)
        if id_property is None:
            number = whole(key)
            row = None if number is None else call.portal.store.get(kind, [number]).get(number)
            if row is None or row.archived_ms is not None:
                missing.append(key)
                continue
            new = False
            row = records.update(kind, row, given, call.source)
        else:
            held = records.by_unique(kind, id_property, key)
            new = held is None
            if held is None:
                row = records.create(kind, {id_property: key, **given}, call.source)
            else:
                row = records.update(kind, call.portal.store.get(kind, [held])[held], given, call.source)
        results.append({**_written(call, kind, row, entry), "new": new})
    return batch_answer(call, 200, results, _not_found(kind, missing), started)


def batch_archive(call: Call) -> Response:
    keys = _keys(call.inputs(MOST))
    rows, _ = _look_up(call, call.kind, keys, None)
    for row in rows:
        call.portal.records.archive(call.kind, row)
    return empty(204)


def _keys(inputs: list[dict[str, Any]]) -> list[str]:
    if any(entry.get("id") in (None, "") for entry in inputs):
        raise missing_fields(["id"])
    return [str(entry["id"]) for entry in inputs]


def _refuse_doubles(keys: Iterable[str]) -> None:
    doubles = [key for key, count in Counter(key.lower() for key in keys).items() if count > 1]
    if doubles:
        raise invalid(f"Duplicate IDs found in batch input: [{', '.join(doubles)}]. IDs must be unique", ids=doubles)


def _one_id_property(inputs: list[dict[str, Any]]) -> str | None:
    asked = {entry.get("idProperty") for entry in inputs}
    if len(asked) > 1:
        raise invalid("All inputs of a batch must have the same idProperty.")
    return asked.pop()


def _properties(entry: dict[str, Any]) -> dict[str, Any]:
    given = entry.get("properties")
    if not isinstance(given, dict):
        raise missing_fields(["properties"])
    return given


def _look_up(
    call: Call, kind: ObjectType, keys: list[str], id_property: str | None, *, archived: bool = False
) -> tuple[list[Row], list[str]]:
    """(rows found, keys that lead nowhere)."""
    records, ids = call.portal.records, {}
    for key in keys:
        if id_property:
            ids[key] = records.by_unique(kind, id_property, key)
        else:
            ids[key] = whole(key)
    found = call.portal.store.get(kind, dict.fromkeys(row_id for row_id in ids.values() if row_id is not None))
    rows: dict[int, Row] = {}
    missing = []
    for key in keys:
        row = found.get(ids[key] or 0)
        if row is None or (row.archived_ms is not None) != archived:
            missing.append(key)
        else:
            rows[row.id] = row
    return list(rows.values()), missing


def _by_key(rows: list[Row], id_property: str | None) -> dict[str, Row]:
    if not id_property:
        return {str(row.id): row for row in rows}
    by_key = {}
    for row in rows:
        extra = (row.properties.get("hs_additional_emails") or "").split(";") if id_property == "email" else []
        for value in (row.properties.get(id_property), *extra):
            if value:
                by_key[value.lower()] = row
    return by_key


def _not_found(kind: ObjectType, missing: list[str]) -> list[dict[str, Any]]:
    if not missing:
        return []
    message = f"Could not get some {kind.legacy} objects, they may be deleted or not exist. Check that ids are valid."
    entry = {"status": "error", "category": "OBJECT_NOT_FOUND", "message": message, "context": {"ids": missing}}
    return [entry]


def _written(call: Call, kind: ObjectType, row: Row, entry: dict[str, Any]) -> dict[str, Any]:
    document = shown(call.portal, kind, row, entry.get("properties") or {})
    trace = entry.get("objectWriteTraceId")
    return {**document, "objectWriteTraceId": trace} if trace else document
