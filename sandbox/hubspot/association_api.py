"""Handlers for associations: v4 (numeric ids, typed), labels, and the older v3 batches."""

from typing import Any

from sandbox.hubspot.associations import AssociationType
from sandbox.hubspot.errors import ApiError, missing_fields
from sandbox.hubspot.object_types import ObjectType, resolve
from sandbox.hubspot.objects import type_specs
from sandbox.hubspot.portal import Call, answer, batch_answer, object_id
from sandbox.hubspot.wire import whole
from sandbox.server import Response, empty

READ_MOST = 1_000
WRITE_MOST = 2_000
V3_MOST = 1_000
PAGE = 500


def _ends(call: Call) -> tuple[ObjectType, ObjectType]:
    return resolve(call.names["type"]), resolve(call.names["to"])


def batch_read_v4(call: Call) -> Response:
    """Numeric `toObjectId`; records without any association give 207 with NO_ASSOCIATIONS_FOUND."""
    started = call.portal.clock.now_ms()
    source, target = _ends(call)
    results: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    for entry in call.inputs(READ_MOST):
        source_id, after = _source_id(entry), whole(entry.get("after")) or 0
        found = list(call.portal.links.of(source, source_id, target, after, PAGE + 1))
        if not found:
            errors.append(_no_associations(source, source_id, target))
            continue
        result: dict[str, Any] = {"from": {"id": str(source_id)}, "to": _targets(call, source, target, found[:PAGE])}
        if len(found) > PAGE:
            result["paging"] = {"next": {"after": str(found[PAGE][0])}}
        results.append(result)
    return batch_answer(call, 200, results, errors, started)


def batch_read_v3(call: Call) -> Response:
    started = call.portal.clock.now_ms()
    source, target = _ends(call)
    results: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    for entry in call.inputs(V3_MOST):
        source_id = _source_id(entry)
        found = _v3_targets(call, source, source_id, target)
        if found:
            results.append({"from": {"id": str(source_id)}, "to": found})
        else:
            errors.append(_no_associations(source, source_id, target))
    return batch_answer(call, 200, results, errors, started)


def list_of_record(call: Call) -> Response:
    """`GET …/{id}/associations/{to}`, v4 shape."""
    source, target = _ends(call)
    row = call.portal.records.find(source, call.names["id"])
    limit = call.number("limit", PAGE, PAGE)
    after = call.number("after", 0, 2**62, 0)
    found = list(call.portal.links.of(source, row.id, target, after, limit + 1))
    document: dict[str, Any] = {"results": _targets(call, source, target, found[:limit])}
    if len(found) > limit:
        document["paging"] = call.next_page(str(found[limit][0]))
    return answer(200, document)


def list_of_record_v3(call: Call) -> Response:
    source, target = _ends(call)
    row = call.portal.records.find(source, call.names["id"])
    return answer(200, {"results": _v3_targets(call, source, row.id, target)})


def batch_create_v4(call: Call) -> Response:
    started = call.portal.clock.now_ms()
    source, target = _ends(call)
    results: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    for entry in call.inputs(WRITE_MOST):
        source_id, target_id = _pair(entry)
        try:
            with call.portal.store.attempt():
                kinds = _types(call, source, target, entry.get("types"))
                _link(call, source, source_id, target_id, kinds)
        except ApiError as refused:
            errors.append(refused.row({"fromObjectId": [str(source_id)], "toObjectId": [str(target_id)]}))
            continue
        results.append(_labels(source, source_id, target, target_id, kinds))
    return batch_answer(call, 201, results, errors, started)


def batch_create_default(call: Call) -> Response:
    started = call.portal.clock.now_ms()
    source, target = _ends(call)
    plain = call.portal.links.plain(source, target)
    results: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    for entry in call.inputs(WRITE_MOST):
        source_id, target_id = _pair(entry)
        try:
            with call.portal.store.attempt():
                _link(call, source, source_id, target_id, [plain])
        except ApiError as refused:
            errors.append(refused.row({"fromObjectId": [str(source_id)], "toObjectId": [str(target_id)]}))
            continue
        results += _default_pair(source_id, target_id, plain)
    return batch_answer(call, 200, results, errors, started)


def create_one_default(call: Call) -> Response:
    started = call.portal.clock.now_ms()
    source, target = _ends(call)
    plain = call.portal.links.plain(source, target)
    source_id, target_id = object_id(call.names["id"]), object_id(call.names["to_id"])
    _link(call, source, source_id, target_id, [plain])
    return batch_answer(call, 200, _default_pair(source_id, target_id, plain), [], started)


def create_one(call: Call) -> Response:
    source, target = _ends(call)
    source_id, target_id = object_id(call.names["id"]), object_id(call.names["to_id"])
    kinds = _types(call, source, target, call.any_body())
    _link(call, source, source_id, target_id, kinds)
    return answer(201, _labels(source, source_id, target, target_id, kinds))


def delete_one(call: Call) -> Response:
    source, target = _ends(call)
    call.portal.links.remove(source, object_id(call.names["id"]), target, object_id(call.names["to_id"]))
    return empty(204)


def batch_archive_v4(call: Call) -> Response:
    source, target = _ends(call)
    for entry in call.inputs(WRITE_MOST):
        targets = entry.get("to")
        if not isinstance(targets, list) or not all(isinstance(other, dict) for other in targets):
            raise missing_fields(["to"])
        source_id, _ = _pair({**entry, "to": targets[0] if targets else {}})
        for other in targets:
            call.portal.links.remove(source, source_id, target, object_id(other.get("id")))
    return empty(204)


def batch_archive_labels(call: Call) -> Response:
    source, target = _ends(call)
    for entry in call.inputs(WRITE_MOST):
        source_id, target_id = _pair(entry)
        for kind in _types(call, source, target, entry.get("types")):
            call.portal.links.remove_label(source_id, target_id, kind)
    return empty(204)


def batch_create_v3(call: Call) -> Response:
    started = call.portal.clock.now_ms()
    source, target = _ends(call)
    results = []
    for entry in call.inputs(V3_MOST):
        source_id, target_id = _pair(entry)
        kind = _by_legacy_name(call, source, target, entry.get("type"))
        _link(call, source, source_id, target_id, [kind])
        results.append({"from": {"id": str(source_id)}, "to": {"id": str(target_id)}, "type": kind.legacy_name})
    return batch_answer(call, 201, results, [], started)


def batch_archive_v3(call: Call) -> Response:
    source, target = _ends(call)
    for entry in call.inputs(V3_MOST):
        source_id, target_id = _pair(entry)
        call.portal.links.remove(source, source_id, target, target_id)
    return empty(204)


def list_labels(call: Call) -> Response:
    source, target = _ends(call)
    return answer(200, {"results": [kind.document() for kind in call.portal.links.between(source, target)]})


def create_label(call: Call) -> Response:
    source, target = _ends(call)
    body = call.body()
    absent = [name for name in ("label", "name") if not body.get(name)]
    if absent:
        raise missing_fields(absent)
    type_ids = call.portal.links.define(source, target, body["name"], body["label"], body.get("inverseLabel"))
    kinds = [kind for kind in call.portal.links.between(source, target) if kind.type_id in type_ids]
    back = [kind for kind in call.portal.links.between(target, source) if kind.type_id in type_ids]
    return answer(200, {"results": [kind.document() for kind in dict.fromkeys([*kinds, *back])]})


def list_types_v3(call: Call) -> Response:
    source, target = _ends(call)
    kinds = call.portal.links.between(source, target)
    return answer(200, {"results": [{"id": str(kind.type_id), "name": kind.legacy_name} for kind in kinds]})


def _targets(
    call: Call, source: ObjectType, target: ObjectType, found: list[tuple[int, list[int]]]
) -> list[dict[str, Any]]:
    links = call.portal.links
    return [
        {"toObjectId": target_id, "associationTypes": links.documents(source, target, type_ids)}
        for target_id, type_ids in found
    ]


def _v3_targets(call: Call, source: ObjectType, source_id: int, target: ObjectType) -> list[dict[str, Any]]:
    links = call.portal.links
    return [
        {"id": str(target_id), "type": links.known(source, target, type_id).legacy_name}
        for target_id, type_ids in links.of(source, source_id, target)
        for type_id in type_ids
    ]


def _source_id(entry: dict[str, Any]) -> int:
    if entry.get("id") in (None, ""):
        raise missing_fields(["id"])
    return object_id(entry["id"])


def _pair(entry: dict[str, Any]) -> tuple[int, int]:
    absent = [name for name in ("from", "to") if not isinstance(entry.get(name), dict)]
    if absent:
        raise missing_fields(absent)
    return object_id(entry["from"].get("id")), object_id(entry["to"].get("id"))


def _types(call: Call, source: ObjectType, target: ObjectType, specs: Any) -> list[AssociationType]:
    return [call.portal.links.type(source, target, category, type_id) for category, type_id in type_specs(specs)]


def _by_legacy_name(call: Call, source: ObjectType, target: ObjectType, name: Any) -> AssociationType:
    for kind in call.portal.links.between(source, target):
        if name in (kind.legacy_name, str(kind.type_id)):
            return kind
    raise ApiError(400, f"{name} is not a valid association type", "VALIDATION_ERROR")


def _link(call: Call, source: ObjectType, source_id: int, target_id: int, kinds: list[AssociationType]) -> None:
    row = call.portal.records.find(source, str(source_id))
    call.portal.records.link(source, row, [(kind, target_id) for kind in kinds])


def _labels(
    source: ObjectType, source_id: int, target: ObjectType, target_id: int, kinds: list[AssociationType]
) -> dict[str, Any]:
    return {
        "fromObjectTypeId": source.type_id,
        "fromObjectId": source_id,
        "toObjectTypeId": target.type_id,
        "toObjectId": target_id,
        "labels": [kind.label for kind in kinds if kind.label],
    }


def _default_pair(source_id: int, target_id: int, kind: AssociationType) -> list[dict[str, Any]]:
    return [
        {
            "from": {"id": str(one)},
            "to": {"id": str(other)},
            "associationSpec": {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": type_id},
        }
        for one, other, type_id in ((source_id, target_id, kind.type_id), (target_id, source_id, kind.inverse))
    ]


def _no_associations(source: ObjectType, source_id: int, target: ObjectType) -> dict[str, Any]:
    return {
        "status": "error",
        "category": "OBJECT_NOT_FOUND",
        "subCategory": "crm.associations.NO_ASSOCIATIONS_FOUND",
        "message": f"No {target.singular} is associated with {source.singular} {source_id}.",
        "context": {
            "fromObjectId": [str(source_id)],
            "fromObjectType": [source.singular],
            "toObjectType": [target.singular],
        },
    }
