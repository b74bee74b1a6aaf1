"""Our writes as Salesforce rows, and its row answers as results."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from connectors.fields import OUTPUT_FIELDS, OutputField
from connectors.protocol import FieldWrite, TaskWrite, Write, WriteResult
from connectors.salesforce.errors import first_error, row_error
from connectors.salesforce.schema import KEY_FIELD, KIND_OBJECTS, OUR_FIELDS, PERSON_OBJECTS, Layout
from connectors.salesforce.soql import is_id
from core.errors import ConnectorError, OutcomeUnknown, Rejected
from core.records import Value, to_date

_ID_IN_MESSAGE = re.compile(r"\b(00T[A-Za-z0-9]{12}(?:[A-Za-z0-9]{3})?)\b")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")
_PRIORITIES = {"high": ("High", "高"), "normal": ("Normal", "中", "標準")}
SUBJECT_LENGTH = 255
BODY_LENGTH = 32_000


def object_of(write: Write) -> str:
    """The object that a write changes."""
    return "Task" if isinstance(write, TaskWrite) else KIND_OBJECTS.get(write.ref.kind, write.ref.kind)


def to_row(write: Write, layout: Layout) -> dict[str, Any]:
    """The row of a Collections request. Raises Rejected for what no org would take."""
    if write.ref.kind not in PERSON_OBJECTS or not is_id(write.ref.id):
        raise Rejected(f"{write.ref} is no Salesforce person record", code="MALFORMED_ID")
    if isinstance(write, TaskWrite):
        return _task_row(write, layout)
    return _field_row(write, layout)


def _field_row(write: FieldWrite, layout: Layout) -> dict[str, Any]:
    """Only fields that the org has and we may write: the minimal set leaves out most."""
    sobject = PERSON_OBJECTS[write.ref.kind]
    writable = layout.writable.get(sobject, frozenset())
    row: dict[str, Any] = {"attributes": {"type": sobject}, "id": write.ref.id}
    for name, value in write.values.items():
        definition = OUTPUT_FIELDS.get(name)
        if definition is None or definition.by_rep:
            raise Rejected(f"{name} is not ours to write", code="NOT_OURS", fields=(name,))
        if name in writable:
            row[OUR_FIELDS[name]] = to_wire(definition, value)
    if len(row) == 2:
        raise Rejected(
            f"{sobject} has none of the fields, or we may write none of them",
            code="INVALID_FIELD_FOR_INSERT_UPDATE",
            fields=tuple(OUR_FIELDS[name] for name in write.values),
            hint="mikomi setup --apply",
        )
    return row


def to_wire(definition: OutputField, value: Value) -> Any:
    """A canonical value as Salesforce takes it: days and milliseconds as ISO text, texts cut to length."""
    if value is None:
        return None
    try:
        match definition.type:
            case "integer":
                return int(value)
            case "date":
                return to_date(int(value)).isoformat()
            case "datetime":
                return datetime.fromtimestamp(int(value) / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
            case _:
                return harmless(str(value), definition.length or 255)
    except (ValueError, OverflowError, OSError) as error:
        message = f"{definition.name} does not take this value"
        raise Rejected(message, code="INVALID_VALUE", fields=(definition.name,)) from error


def harmless(text: str, length: int) -> str:
    """Cut to length, without control characters, and without `@{`, which a composite request would try to resolve."""
    return _CONTROL.sub("", text).replace("@{", "@ {")[:length]


def _task_row(write: TaskWrite, layout: Layout) -> dict[str, Any]:
    row = {
        "attributes": {"type": "Task"},
        KEY_FIELD: write.key,
        "WhoId": write.ref.id,
        "OwnerId": write.owner_id,
        "Subject": harmless(write.subject, SUBJECT_LENGTH),
        "Description": _body(write, layout),
        "ActivityDate": to_date(write.due).isoformat(),
    }
    column = layout.shapes["Task"].columns.get("Priority")
    offered = column.values if column is not None else ()
    priority = next((name for name in _PRIORITIES[write.priority] if name in offered), None)
    if priority is not None:  # an org with other words keeps its default
        row["Priority"] = priority
    return row


def _body(write: TaskWrite, layout: Layout) -> str:
    """Where the org does not keep keys unique, the key stands in sight: a person may have to tell two tasks apart."""
    if layout.task_key:
        return harmless(write.body, BODY_LENGTH)
    reference = f"\n\n[ref: {write.key}]"
    return harmless(write.body, BODY_LENGTH - len(reference)) + reference


def to_result(write: Write, answer: object) -> WriteResult:
    """One row of a Collections answer. A duplicate of our own key is the task that an earlier attempt made.

    What the answer does not say clearly is unknown.
    """
    if not isinstance(answer, Mapping):
        return WriteResult(write, "unknown", error=OutcomeUnknown("the answer to a row is no object"))
    crm_id = answer.get("id")
    if answer.get("success") is True:
        if not isinstance(write, TaskWrite):
            return WriteResult(write, "ok")
        if isinstance(crm_id, str) and is_id(crm_id):
            return WriteResult(write, "ok", crm_id=crm_id)
        return WriteResult(write, "unknown", error=OutcomeUnknown("the answer does not name the task"))
    code, message, fields = first_error(answer.get("errors"))
    if isinstance(write, TaskWrite) and code == "DUPLICATE_VALUE" and KEY_FIELD in message:
        found = _ID_IN_MESSAGE.search(message)
        if found is not None:
            return WriteResult(write, "ok", crm_id=found.group(1))
    if not code:
        return WriteResult(write, "unknown", error=OutcomeUnknown("the answer to a row says neither yes nor no"))
    return failed(write, row_error(code, message, fields))


def failed(write: Write, error: ConnectorError) -> WriteResult:
    """A refused write: for good, or worth another attempt."""
    return WriteResult(write, "rejected" if isinstance(error, Rejected) else "retryable", error=error)
