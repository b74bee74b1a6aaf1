"""Metadata parts, whichever door they come through: CustomField and PermissionSet as documents."""

import json
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from sandbox.salesforce.customize import TABLE, change_field, create_field, find_field, remove_field, split_name
from sandbox.salesforce.errors import RowError
from sandbox.salesforce.org import Org, Work
from sandbox.salesforce.rows import create_row, delete_row
from sandbox.salesforce.soap import local_name
from sandbox.salesforce.store import Row

_LISTS = frozenset({"fieldPermissions", "objectPermissions", "userPermissions", "value", "fields"})
_OBJECT_RIGHTS = {
    "allowCreate": "PermissionsCreate",
    "allowDelete": "PermissionsDelete",
    "allowEdit": "PermissionsEdit",
    "allowRead": "PermissionsRead",
    "modifyAllRecords": "PermissionsModifyAllRecords",
    "viewAllRecords": "PermissionsViewAllRecords",
}
Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Part:
    """One metadata component: its type, full name and content."""

    kind: str
    full_name: str
    content: Document


def as_document(element: Any) -> Document:
    """The children of an XML element as a document; elements of `_LISTS` become lists."""
    document: Document = {}
    for child in element:
        if not isinstance(child.tag, str):
            continue
        name = local_name(child)
        value: Any = (
            as_document(child) if any(isinstance(inner.tag, str) for inner in child) else (child.text or "").strip()
        )
        if name in _LISTS:
            document.setdefault(name, []).append(value)
        else:
            document[name] = value
    return document


def to_xml(document: Document) -> str:
    """The inverse of `as_document`."""
    pieces = []
    for name, value in document.items():
        for one in value if isinstance(value, list) else [value]:
            if one is None:
                continue
            if isinstance(one, dict):
                inner = to_xml(one)
            else:
                inner = escape(str(one).lower() if isinstance(one, bool) else str(one))
            pieces.append(f"<{name}>{inner}</{name}>")
    return "".join(pieces)


def put_part(work: Work, part: Part, *, may_exist: bool, must_exist: bool = False) -> bool:
    """Create the component, or change it where `may_exist`; whether it was created. Raises RowError."""
    match part.kind:
        case "CustomField":
            split_name(part.full_name)
            known = find_field(work.org, part.full_name)
            _check_existence(part, known is not None, may_exist=may_exist, must_exist=must_exist)
            metadata = {name: value for name, value in part.content.items() if name != "fullName"}
            if known is None:
                create_field(work, part.full_name, metadata)
            else:
                change_field(work, known, metadata)
            return known is None
        case "PermissionSet":
            known = _find_set(work.org, part.full_name)
            _check_existence(part, known is not None, may_exist=may_exist, must_exist=must_exist)
            _put_set(work, part, known)
            return known is None
    raise RowError("INVALID_TYPE", f"metadata of type {part.kind} is not served here")


def _check_existence(part: Part, exists: bool, *, may_exist: bool, must_exist: bool) -> None:
    if exists and not may_exist:
        name = part.full_name.partition(".")[2] or part.full_name
        entity = part.full_name.partition(".")[0]
        message = f"There is already a field named {name.removesuffix('__c')} on {entity}."
        if part.kind != "CustomField":
            message = f"The name you specified is already in use: {part.full_name}"
        raise RowError("DUPLICATE_DEVELOPER_NAME", message)
    if must_exist and not exists:
        message = f"In field: fullName - no {part.kind} named {part.full_name} found"
        raise RowError("INVALID_CROSS_REFERENCE_KEY", message)


def delete_part(work: Work, kind: str, full_name: str) -> None:
    """Delete a component; raises RowError where there is none."""
    known = find_field(work.org, full_name) if kind == "CustomField" else _find_set(work.org, full_name)
    if known is None:
        raise RowError("INVALID_CROSS_REFERENCE_KEY", f"In field: fullName - no {kind} named {full_name} found")
    if kind == "CustomField":
        remove_field(work, known)
    else:
        delete_row(work, work.org.schema.get("PermissionSet"), known)


def read_part(org: Org, kind: str, full_name: str) -> Document | None:
    """A component as it stands, None where there is none."""
    if kind == "CustomField":
        field_id = find_field(org, full_name)
        row = org.store.get(TABLE, field_id) if field_id else None
        return {"fullName": row["FullName"], **json.loads(row["Metadata"])} if row else None
    set_id = _find_set(org, full_name)
    row = org.store.get("PermissionSet", set_id) if set_id else None
    return _describe_set(org, row) if row else None


def _find_set(org: Org, name: str) -> str | None:
    sql = 'SELECT Id FROM "PermissionSet" WHERE Name = ? COLLATE NOCASE'
    found = org.store.value(sql, (name,))
    return str(found) if found else None


def _put_set(work: Work, part: Part, known: str | None) -> None:
    """Write the set as a whole: what the document does not grant is not granted."""
    content, schema = part.content, work.org.schema
    if not content.get("label"):
        raise RowError("REQUIRED_FIELD_MISSING", "Required fields are missing: [label]", ("label",))
    flags = {f"Permissions{one['name']}": _flag(one, "enabled") for one in content.get("userPermissions", [])}
    sets = schema.get("PermissionSet")
    unknown = [name for name in flags if not sets.has(name)]
    if unknown:
        message = f"Unknown user permission: {unknown[0].removeprefix('Permissions')}"
        raise RowError("INVALID_CROSS_REFERENCE_KEY", message)
    with work.store.write():
        values: Row = {"Label": content["label"], "Description": content.get("description"), **flags}
        if known is None:
            known = create_row(work, sets, {"Name": part.full_name, **values})
        else:
            work.touch(
                "PermissionSet", known, {name: int(v) if isinstance(v, bool) else v for name, v in values.items()}
            )
            for table in ("FieldPermissions", "ObjectPermissions"):
                work.store.execute(f'DELETE FROM "{table}" WHERE ParentId = ?', (known,))
        for one in content.get("objectPermissions", []):
            rights = {column: _flag(one, name) for name, column in _OBJECT_RIGHTS.items()}
            body = {"ParentId": known, "SobjectType": one["object"], **rights}
            create_row(work, schema.get("ObjectPermissions"), body)
        for one in content.get("fieldPermissions", []):
            _grant_field(work, known, one)
    work.org.access.forget()


def _grant_field(work: Work, set_id: str, grant: Document) -> None:
    entity, _, name = str(grant.get("field", "")).partition(".")
    kind = work.org.schema.find(entity)
    one = kind.field(name) if kind else None
    if kind is None or one is None:
        message = f"In field: field - no CustomField named {grant.get('field')} found"
        raise RowError("INVALID_CROSS_REFERENCE_KEY", message)
    if one.required:
        message = f"You cannot deploy to a required field: {grant['field']}"
        raise RowError("FIELD_INTEGRITY_EXCEPTION", message)
    body = {
        "ParentId": set_id,
        "SobjectType": kind.name,
        "Field": f"{kind.name}.{one.name}",
        "PermissionsRead": _flag(grant, "readable"),
        "PermissionsEdit": _flag(grant, "editable"),
    }
    create_row(work, work.org.schema.get("FieldPermissions"), body)


def _describe_set(org: Org, row: Row) -> Document:
    fields = org.store.rows('SELECT * FROM "FieldPermissions" WHERE ParentId = ? ORDER BY Field', (row["Id"],))
    objects = org.store.rows('SELECT * FROM "ObjectPermissions" WHERE ParentId = ? ORDER BY SobjectType', (row["Id"],))
    return {
        "fullName": row["Name"],
        "description": row["Description"],
        "fieldPermissions": [
            {"editable": bool(one["PermissionsEdit"]), "field": one["Field"], "readable": bool(one["PermissionsRead"])}
            for one in fields
        ],
        "hasActivationRequired": bool(row["HasActivationRequired"]),
        "label": row["Label"],
        "objectPermissions": [
            {**{name: bool(one[column]) for name, column in _OBJECT_RIGHTS.items()}, "object": one["SobjectType"]}
            for one in objects
        ],
        "userPermissions": [
            {"enabled": True, "name": name.removeprefix("Permissions")}
            for name in row
            if name.startswith("Permissions") and row[name]
        ],
    }


def _flag(document: Document, name: str) -> bool:
    return str(document.get(name, "false")).lower() == "true"
