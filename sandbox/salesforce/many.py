"""sObject Collections: up to 200 rows a call, answered row by row with HTTP 200.

A body that cannot be read as records (an unknown field, a wrong type) refuses the whole call with 400; what is wrong
with one record stands in its row.
"""

from collections.abc import Callable
from typing import Any

from sandbox.salesforce.call import Call, flag, type_of
from sandbox.salesforce.catalog import Field, SObject
from sandbox.salesforce.errors import ApiError, RowError, malformed_json
from sandbox.salesforce.ids import long_id
from sandbox.salesforce.org import Work
from sandbox.salesforce.records import show
from sandbox.salesforce.rows import can_read, create_row, delete_row, external_field, find_external, update_row
from sandbox.salesforce.store import Undo
from sandbox.server import Response, reply

MOST_ROWS = 200
_MOST_CHUNKS = 10
_MOST_RETRIEVED = 2000
_ROLLED_BACK = RowError(
    "ALL_OR_NONE_OPERATION_ROLLED_BACK",
    "Record rolled back because not all records were valid and the request was using AllOrNone header",
)
Result = dict[str, Any]
Step = Callable[[Any], Result]


def run_rows(work: Work, items: list[Any], step: Step, *, all_or_none: bool) -> list[Result]:
    """Each item's result in order; with `all_or_none` one failure undoes all."""
    results: list[Result] = []
    undone = False
    with work.store.write():
        for item in items:
            try:
                results.append(step(item))
            except RowError as error:
                undone = all_or_none
                results.append({"success": False, "errors": [error.row()]})
        if undone:
            raise Undo
    if undone:
        work.org.access.forget()
        for result in results:
            if result["success"]:
                result.pop("created", None)
                result.update(success=False, errors=[_ROLLED_BACK.row()])
    return results


def create(call: Call) -> Response:
    """`POST /composite/sobjects`."""
    records, all_or_none = _records(call)
    work = call.work()

    def step(record: dict[str, Any]) -> Result:
        return _done(create_row(work, _type_of(call, record), record))

    return reply(200, run_rows(work, records, step, all_or_none=all_or_none))


def update(call: Call) -> Response:
    """`PATCH /composite/sobjects`: every record names its `id`."""
    records, all_or_none = _records(call)
    work = call.work()

    def step(record: dict[str, Any]) -> Result:
        kind = _type_of(call, record)
        body = {name: value for name, value in record.items() if name.lower() != "id"}
        given = next((value for name, value in record.items() if name.lower() == "id"), None)
        if given is None:
            raise RowError("MISSING_ARGUMENT", "Id not specified in an update call")
        record_id = _checked_id(kind, given)
        update_row(work, kind, record_id, body)
        return _done(record_id)

    return reply(200, run_rows(work, records, step, all_or_none=all_or_none))


def upsert(call: Call, sobject: str, field: str) -> Response:
    """`PATCH /composite/sobjects/X/Ext__c`."""
    kind = call.sobject(sobject)
    records, all_or_none = _records(call)
    work = call.work()
    one = external_field(work, kind, field)
    seen: set[str] = set()

    def step(record: dict[str, Any]) -> Result:
        if _type_of(call, record) is not kind:
            message = f"the type of the record is not {kind.name}"
            raise RowError("INVALID_TYPE", message)
        return _upsert_row(work, kind, one, record, seen)

    return reply(200, run_rows(work, records, step, all_or_none=all_or_none))


def _upsert_row(work: Work, kind: SObject, one: Field, record: dict[str, Any], seen: set[str]) -> Result:
    value = next((value for name, value in record.items() if name.lower() == one.name.lower()), None)
    body = {name: value for name, value in record.items() if name.lower() not in (one.name.lower(), "id")}
    if value in (None, ""):
        if one.name != "Id":
            raise RowError("MISSING_ARGUMENT", f"{one.name} not specified", (one.name,))
        return _done(create_row(work, kind, body), created=True)
    key = str(value) if one.case_sensitive else str(value).lower()
    if key in seen:
        raise RowError("DUPLICATE_VALUE", f"Duplicate external id specified: {value}", (one.name,))
    seen.add(key)
    found = find_external(work, kind, one, value)
    if len(found) > 1:
        message = f"{one.name}: more than one record found for external id field: {found}"
        raise RowError("DUPLICATE_EXTERNAL_ID", message, (one.name,))
    if found:
        update_row(work, kind, found[0], body)
        return _done(found[0], created=False)
    if one.name == "Id":
        raise RowError("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
    return _done(create_row(work, kind, {**body, one.name: value}), created=True)


def delete(call: Call) -> Response:
    """`DELETE /composite/sobjects?ids=a,b&allOrNone=false`."""
    ids = [part.strip() for part in (call.request.param("ids") or "").split(",") if part.strip()]
    if not ids:
        raise ApiError(400, "MISSING_ARGUMENT", "ids is required")
    _check_count(len(ids))
    work = call.work()

    def step(text: str) -> Result:
        record_id = long_id(text)
        kind = call.org.schema.of_id(record_id) if record_id else None
        if record_id is None or kind is None:
            raise RowError("MALFORMED_ID", f"malformed id {text}")
        delete_row(work, kind, record_id)
        return _done(record_id)

    return reply(200, run_rows(work, ids, step, all_or_none=flag(call.request.param("allOrNone"))))


def retrieve(call: Call, sobject: str) -> Response:
    """`GET /composite/sobjects/X?ids=&fields=`."""
    ids = (call.request.param("ids") or "").split(",")
    fields = (call.request.param("fields") or "").split(",")
    return _retrieve(call, sobject, ids, fields)


def retrieve_many(call: Call, sobject: str) -> Response:
    """`POST /composite/sobjects/X {"ids", "fields"}`: up to 2,000; a missing one is null in its place."""
    document = call.document()
    ids, fields = document.get("ids"), document.get("fields")
    if not isinstance(ids, list) or not isinstance(fields, list):
        raise malformed_json("ids and fields must be arrays")
    return _retrieve(call, sobject, ids, fields)


def _retrieve(call: Call, sobject: str, ids: list[Any], names: list[Any]) -> Response:
    kind = call.sobject(sobject)
    if len(ids) > _MOST_RETRIEVED:
        message = f"record limit reached. cannot submit more than {_MOST_RETRIEVED} records into this call"
        raise ApiError(400, "EXCEEDED_ID_LIMIT", message)
    fields = [kind.fields["id"]]
    for name in (str(name).strip() for name in names):
        one = kind.field(name)
        if one is None or not can_read(call.rights, kind, one):
            raise ApiError(400, "INVALID_FIELD", f"No such column '{name}' on entity '{kind.name}'")
        if one not in fields:
            fields.append(one)
    wanted = [long_id(one) for one in ids]
    known = [one for one in wanted if one]
    predicate = call.org.access.row_filter(call.rights, kind.name) or "1"
    alive = " AND IsDeleted = 0" if kind.has("IsDeleted") else ""
    found = {}
    for start in range(0, len(known), 500):
        part = known[start : start + 500]
        columns = ", ".join(f'"{one.name}"' for one in fields)
        marks = ", ".join("?" * len(part))
        sql = f'SELECT {columns} FROM "{kind.name}" WHERE Id IN ({marks}){alive} AND {predicate}'
        found.update({row["Id"]: row for row in call.org.store.rows(sql, part)})
    rows = [found.get(one) if one else None for one in wanted]
    return reply(200, [show(call, kind, row, fields) if row else None for row in rows])


def _records(call: Call) -> tuple[list[dict[str, Any]], bool]:
    document = call.document()
    records = document.get("records")
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise malformed_json("records must be an array of sObjects")
    _check_count(len(records))
    types = [type_of(record) for record in records]
    chunks = sum(1 for n, name in enumerate(types) if n == 0 or name != types[n - 1])
    if chunks > _MOST_CHUNKS:
        message = "Cannot have more than 10 chunks in a single operation. Please rearrange the data to reduce chunking."
        raise ApiError(400, "LIMIT_EXCEEDED", message)
    return records, flag(document.get("allOrNone", False))


def _check_count(count: int) -> None:
    if count > MOST_ROWS:
        message = f"record limit reached. cannot submit more than {MOST_ROWS} records into this call"
        raise ApiError(400, "EXCEEDED_ID_LIMIT", message)


def _type_of(call: Call, record: dict[str, Any]) -> SObject:
    name = type_of(record)
    found = call.org.schema.find(name) if name else None
    if found is None or not call.rights.may("read", found.name):
        raise ApiError(400, "INVALID_TYPE", f"sObject type '{name}' is not supported.")
    return found


def _checked_id(kind: SObject, given: Any) -> str:
    record_id = long_id(given)
    if record_id is None or not record_id.startswith(kind.key_prefix):
        raise RowError("MALFORMED_ID", f"{kind.label} ID: id value of incorrect type: {given}", ("Id",))
    return record_id


def _done(record_id: str, **more: bool) -> Result:
    return {"id": record_id, "success": True, "errors": [], **more}
