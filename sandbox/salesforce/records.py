"""Row resources: read, create, change, delete, by id or by external id."""

import json
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

from sandbox.salesforce.call import Call, flag
from sandbox.salesforce.catalog import Field, SObject
from sandbox.salesforce.errors import ApiError, RowError, entity_deleted, record_missing
from sandbox.salesforce.ids import long_id
from sandbox.salesforce.rows import can_read, create_row, delete_row, external_field, find_external, update_row
from sandbox.salesforce.soql import format_value
from sandbox.salesforce.store import Row
from sandbox.server import Response, empty, reply


def create(call: Call, sobject: str) -> Response:
    """`POST /sobjects/X` -> 201."""
    kind = call.sobject(sobject)
    record_id = create_row(call.work(), kind, call.document())
    location = f"{call.root}/sobjects/{kind.name}/{record_id}"
    return reply(201, {"id": record_id, "success": True, "errors": []}, {"Location": location})


def read(call: Call, sobject: str, record_id: str) -> Response:
    """`GET /sobjects/X/{id}?fields=A,B` -> 200 or 304."""
    kind = call.sobject(sobject)
    row = _visible_row(call, kind, _id_of(kind, record_id))
    stamp = row.get("LastModifiedDate") or row.get("CreatedDate")
    since = _since(call, "if-modified-since")
    if since is not None and stamp is not None and stamp <= since:
        return Response(304, content_type=None)
    _check_unmodified(call, row)
    return reply(200, show(call, kind, row, _fields(call, kind)))


def update(call: Call, sobject: str, record_id: str) -> Response:
    """`PATCH /sobjects/X/{id}` -> 204."""
    kind = call.sobject(sobject)
    full = _id_of(kind, record_id, writing=True)
    if "if-unmodified-since" in call.request.headers and (row := call.org.store.get(kind.name, full)):
        _check_unmodified(call, row)
    update_row(call.work(), kind, full, call.document())
    return empty(204)


def delete(call: Call, sobject: str, record_id: str) -> Response:
    """`DELETE /sobjects/X/{id}` -> 204."""
    kind = call.sobject(sobject)
    delete_row(call.work(), kind, _id_of(kind, record_id, writing=True))
    return empty(204)


def read_external(call: Call, sobject: str, field: str, value: str) -> Response:
    """`GET /sobjects/X/Ext__c/{value}` -> 200 or 300."""
    kind = call.sobject(sobject)
    found = find_external(call.work(), kind, external_field(call.work(), kind, field), value)
    if len(found) > 1:
        return _ambiguous(call, kind, found)
    if not found:
        raise record_missing(value)
    return reply(200, show(call, kind, _visible_row(call, kind, found[0]), _fields(call, kind)))


def upsert_external(call: Call, sobject: str, field: str, value: str) -> Response:
    """`PATCH /sobjects/X/Ext__c/{value}` -> 201 created, 200 updated (204 before v46), 300 ambiguous."""
    kind = call.sobject(sobject)
    with call.org.store.write():
        one = external_field(call.work(), kind, field)
        body = call.document()
        if any(name.lower() == one.name.lower() for name in body):
            message = f"The {one.name} field should not be specified in the sobject data."
            raise ApiError(400, "INVALID_FIELD", message, (one.name,))
        found = find_external(call.work(), kind, one, value)
        if len(found) > 1:
            return _ambiguous(call, kind, found)
        if found:
            update_row(call.work(), kind, found[0], body)
            if float(call.version) < 46:
                return empty(204)
            return reply(200, {"id": found[0], "success": True, "errors": [], "created": False})
        if flag(call.request.param("updateOnly")):
            raise record_missing(value)
        record_id = create_row(call.work(), kind, body if one.name == "Id" else {**body, one.name: value})
    document: dict[str, Any] = {"id": record_id, "success": True, "errors": []}
    if float(call.version) >= 46:
        document["created"] = True
    return reply(201, document, {"Location": f"{call.root}/sobjects/{kind.name}/{record_id}"})


def delete_external(call: Call, sobject: str, field: str, value: str) -> Response:
    """`DELETE /sobjects/X/Ext__c/{value}` -> 204 or 300."""
    kind = call.sobject(sobject)
    with call.org.store.write():
        found = find_external(call.work(), kind, external_field(call.work(), kind, field), value)
        if len(found) > 1:
            return _ambiguous(call, kind, found)
        if not found:
            raise record_missing(value)
        delete_row(call.work(), kind, found[0])
    return empty(204)


def show(call: Call, kind: SObject, row: Row, fields: list[Field]) -> dict[str, Any]:
    """A row as JSON; nulls are there explicitly."""
    document: dict[str, Any] = {
        "attributes": {"type": kind.name, "url": f"{call.root}/sobjects/{kind.name}/{row['Id']}"}
    }
    for one in fields:
        value = row.get(one.name)
        if one.type == "address" and isinstance(value, str):
            document[one.name] = json.loads(value)
        else:
            document[one.name] = format_value(one.info(), value)
    return document


def readable_fields(call: Call, kind: SObject) -> list[Field]:
    rights = call.rights
    return [one for one in kind.fields.values() if can_read(rights, kind, one)]


def _fields(call: Call, kind: SObject) -> list[Field]:
    asked = call.request.param("fields")
    if asked is None:
        return readable_fields(call, kind)
    fields = []
    for name in (part.strip() for part in asked.split(",") if part.strip()):
        one = kind.field(name)
        if one is None or not can_read(call.rights, kind, one):
            raise ApiError(400, "INVALID_FIELD", f"No such column '{name}' on sobject of type {kind.name}")
        fields.append(one)
    if not any(one.name == "Id" for one in fields):
        fields.append(kind.fields["id"])
    return fields


def _id_of(kind: SObject, text: str, *, writing: bool = False) -> str:
    record_id = long_id(text)
    if writing and record_id is not None and not record_id.startswith(kind.key_prefix):
        raise RowError("MALFORMED_ID", f"{kind.label} ID: id value of incorrect type: {text}", ("Id",))
    if record_id is None or not record_id.startswith(kind.key_prefix):
        raise record_missing(text)
    return record_id


def _visible_row(call: Call, kind: SObject, record_id: str) -> Row:
    row = call.org.store.get(kind.name, record_id)
    if row is None or not call.org.access.sees(call.rights, kind.name, record_id):
        raise record_missing(record_id)
    if row.get("IsDeleted"):
        raise entity_deleted()
    return row


def _ambiguous(call: Call, kind: SObject, found: list[str]) -> Response:
    return reply(300, [f"{call.root}/sobjects/{kind.name}/{quote(record_id)}" for record_id in found])


def _since(call: Call, header: str) -> int | None:
    text = call.request.headers.get(header)
    if text is None:
        return None
    try:
        return int(parsedate_to_datetime(text).timestamp() * 1000)
    except ValueError:
        message = f"The {header} header is not a valid HTTP date: {text}"
        raise ApiError(400, "INVALID_HEADER", message) from None


def _check_unmodified(call: Call, row: Row) -> None:
    since = _since(call, "if-unmodified-since")
    stamp = row.get("LastModifiedDate") or row.get("CreatedDate")
    if since is not None and stamp is not None and stamp > since:
        message = "The record has been modified since the date given in If-Unmodified-Since."
        raise ApiError(412, "PRECONDITION_FAILED", message)
