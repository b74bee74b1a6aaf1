"""Custom fields: made from metadata, kept in the org, put on and taken off objects."""

import json
import re
from typing import Any

from sandbox.salesforce.catalog import Choice, Field
from sandbox.salesforce.errors import RowError
from sandbox.salesforce.org import Org, Work
from sandbox.salesforce.schema import ACTIVITY, homes

TABLE = "CustomField"
PREFIX = "00N"
_COLUMNS = (
    "Id TEXT PRIMARY KEY, DeveloperName TEXT, TableEnumOrId TEXT, EntityDefinitionId TEXT, NamespacePrefix TEXT, "
    "ManageableState TEXT, FullName TEXT, Metadata TEXT, Length INTEGER, Precision INTEGER, Scale INTEGER, "
    "InlineHelpText TEXT, Description TEXT, CreatedById TEXT, CreatedDate INTEGER, LastModifiedById TEXT, "
    "LastModifiedDate INTEGER"
)
_NAME = re.compile(r"[A-Za-z](?:[A-Za-z0-9]|_(?!_))*(?<!_)__c")
_ENTITIES = frozenset({"Lead", "Contact", "Account", "Opportunity", "Campaign", "CampaignMember", "Activity", "User"})
_PLAIN = frozenset("cunfsgp")
_UNSORTED = frozenset("cunp")
_KINDS = {  # metadata type: (field type, length where none is given, flags)
    "Text": ("string", 0, _PLAIN),
    "TextArea": ("textarea", 255, _PLAIN - {"g"}),
    "LongTextArea": ("textarea", 32_768, _UNSORTED),
    "Html": ("textarea", 32_768, _UNSORTED),
    "Number": ("double", 0, _PLAIN - {"g"}),
    "Currency": ("currency", 0, _PLAIN - {"g"}),
    "Percent": ("percent", 0, _PLAIN - {"g"}),
    "Date": ("date", 0, _PLAIN),
    "DateTime": ("datetime", 0, _PLAIN - {"g"}),
    "Checkbox": ("boolean", 0, (_PLAIN - {"n"}) | {"d"}),
    "Picklist": ("picklist", 255, _PLAIN),
    "MultiselectPicklist": ("multipicklist", 4_099, _PLAIN - {"s", "g"}),
    "Email": ("email", 80, _PLAIN),
    "Phone": ("phone", 40, _PLAIN),
    "Url": ("url", 255, _PLAIN),
    "Lookup": ("reference", 18, _PLAIN),
}


def restore_fields(org: Org) -> None:
    """Make the table of custom fields, and put the fields it holds on their objects (a database opened again)."""
    org.store.execute(f'CREATE TABLE IF NOT EXISTS "{TABLE}" ({_COLUMNS})')
    for row in org.store.rows(f'SELECT * FROM "{TABLE}" ORDER BY Id'):
        org.ids.seen(row["Id"])
        one = build_field(org, row["TableEnumOrId"], row["DeveloperName"] + "__c", json.loads(row["Metadata"]))
        for home in homes(row["TableEnumOrId"]):
            org.schema.put_field(home, one)


def create_field(work: Work, full_name: str, metadata: dict[str, Any]) -> str:
    """Add the field `Entity.Name__c`; its 00N id. Nobody sees it until a permission set grants it."""
    entity, name = split_name(full_name)
    one = build_field(work.org, entity, name, metadata)
    if one.unique and entity == "Activity" and not work.org.options.unique_activity_fields:
        raise RowError("FIELD_INTEGRITY_EXCEPTION", f"{full_name}: a field of Activity cannot be unique", ("Unique",))
    for home in homes(entity):
        if (known := work.org.schema.get(home).field(name)) is not None:
            message = f"There is already a field named {known.name.removesuffix('__c')} on {entity}."
            raise RowError("DUPLICATE_DEVELOPER_NAME", message, ("DeveloperName",))
    field_id = work.org.ids.next(PREFIX)
    with work.store.write():
        work.store.insert(TABLE, {"Id": field_id, "CreatedById": work.user_id, "CreatedDate": work.now})
        _keep(work, field_id, entity, one, metadata)
        for home in homes(entity):
            work.store.add_column(home, one)
            if one.type == "boolean":
                work.store.execute(f'UPDATE "{home}" SET "{one.name}" = ?', (one.default_value,))
    for home in homes(entity):
        work.org.schema.put_field(home, one)
    return field_id


def change_field(work: Work, field_id: str, metadata: dict[str, Any]) -> None:
    """Give a field new metadata; its type stays."""
    row = work.store.get(TABLE, field_id)
    if row is None:
        raise RowError("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", status=404)
    entity, name = row["TableEnumOrId"], row["DeveloperName"] + "__c"
    before = json.loads(row["Metadata"])
    merged = {**before, **metadata}
    if merged.get("type") != before.get("type"):
        raise RowError("FIELD_INTEGRITY_EXCEPTION", f"Cannot change type of field {entity}.{name}", ("Metadata",))
    one = build_field(work.org, entity, name, merged)
    with work.store.write():
        _keep(work, field_id, entity, one, merged)
        for home in homes(entity):
            work.store.add_column(home, one)
    for home in homes(entity):
        work.org.schema.put_field(home, one)


def remove_field(work: Work, field_id: str) -> None:
    """Delete a field with its values and its permissions."""
    row = work.store.get(TABLE, field_id)
    if row is None:
        raise RowError("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", status=404)
    entity, name = row["TableEnumOrId"], row["DeveloperName"] + "__c"
    with work.store.write():
        work.store.execute(f'DELETE FROM "{TABLE}" WHERE Id = ?', (field_id,))
        for home in homes(entity):
            sql = 'DELETE FROM "FieldPermissions" WHERE Field = ? COLLATE NOCASE'
            work.store.execute(sql, (f"{home}.{name}",))
            work.store.execute(f'DROP INDEX IF EXISTS "{home}_{name}"')
            work.store.execute(f'UPDATE "{home}" SET "{name}" = NULL WHERE "{name}" IS NOT NULL')
            work.org.schema.drop_field(home, name)
    work.org.access.forget()


def find_field(org: Org, full_name: str) -> str | None:
    """The id of `Entity.Name__c`, None if there is none."""
    entity, _, name = full_name.partition(".")
    sql = f'SELECT Id FROM "{TABLE}" WHERE TableEnumOrId = ? COLLATE NOCASE AND DeveloperName = ? COLLATE NOCASE'
    found = org.store.value(sql, (entity, name.removesuffix("__c")))
    return str(found) if found else None


def split_name(full_name: object) -> tuple[str, str]:
    """("Lead", "Score__c"); raises RowError for a bad name or an object that takes no fields."""
    entity, _, name = str(full_name or "").partition(".")
    if entity in ACTIVITY:
        message = f"Entity Enumeration Or ID: bad value for restricted picklist field: {entity}"
        raise RowError("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", message, ("TableEnumOrId",))
    if entity not in _ENTITIES:
        message = f"Entity Enumeration Or ID: bad value for restricted picklist field: {entity}"
        raise RowError("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", message, ("TableEnumOrId",))
    if not _NAME.fullmatch(name) or len(name) > 43:
        message = f"The field API Name can only contain underscores and alphanumeric characters: {name}"
        raise RowError("FIELD_INTEGRITY_EXCEPTION", message, ("DeveloperName",))
    return entity, name


def build_field(org: Org, entity: str, name: str, metadata: dict[str, Any]) -> Field:
    """A Field from the Metadata API's CustomField, given as JSON or as text values; raises RowError."""
    kind = metadata.get("type")
    if kind not in _KINDS:
        raise RowError("FIELD_INTEGRITY_EXCEPTION", f"{entity}.{name}: unknown field type {kind}", ("Type",))
    field_type, length, flags = _KINDS[kind]
    label = metadata.get("label")
    if not label:
        raise RowError("REQUIRED_FIELD_MISSING", "Required fields are missing: [Label]", ("Label",))
    external, unique = _flag(metadata, "externalId"), _flag(metadata, "unique")
    if (external or unique) and kind not in ("Text", "Number", "Email"):
        raise RowError(
            "FIELD_INTEGRITY_EXCEPTION", f"{entity}.{name}: a {kind} field can be neither unique nor an external ID"
        )
    choices, restricted = _choices(metadata) if kind in ("Picklist", "MultiselectPicklist") else ((), False)
    refers_to, relationship = _target(org, metadata) if kind == "Lookup" else ((), None)
    if restricted:
        flags |= {"r"}
    if _flag(metadata, "required"):
        flags -= {"n", "p"}
    return Field(
        name=name,
        type=field_type,
        length=_length(entity, name, kind, metadata) if kind in ("Text", "LongTextArea", "Html") else length,
        flags=flags,
        label=str(label),
        digits=_digits(entity, name, metadata) if field_type in ("double", "currency", "percent") else (0, 0),
        refers_to=refers_to,
        relationship=relationship,
        choices=choices,
        custom=True,
        external_id=external,
        unique=unique,
        case_sensitive=_flag(metadata, "caseSensitive"),
        default=int(_flag(metadata, "defaultValue")) if field_type == "boolean" else None,
        help=str(metadata["inlineHelpText"]) if metadata.get("inlineHelpText") else None,
    )


def _flag(metadata: dict[str, Any], name: str) -> bool:
    return str(metadata.get(name, "false")).lower() == "true"


def _length(entity: str, name: str, kind: str, metadata: dict[str, Any]) -> int:
    most = 255 if kind == "Text" else 131_072
    try:
        length = int(metadata["length"])
    except (KeyError, TypeError, ValueError):
        raise RowError("REQUIRED_FIELD_MISSING", f"Must specify a length for {entity}.{name}", ("Length",)) from None
    if not 1 <= length <= most:
        raise RowError(
            "FIELD_INTEGRITY_EXCEPTION", f"{entity}.{name}: length must be between 1 and {most}", ("Length",)
        )
    return length


def _digits(entity: str, name: str, metadata: dict[str, Any]) -> tuple[int, int]:
    try:
        precision, scale = int(metadata["precision"]), int(metadata["scale"])
    except (KeyError, TypeError, ValueError):
        message = f"Must specify precision and scale for {entity}.{name}"
        raise RowError("REQUIRED_FIELD_MISSING", message, ("Precision", "Scale")) from None
    if not 1 <= precision <= 18 or not 0 <= scale < precision + 1:
        message = f"{entity}.{name}: Can not specify a precision of {precision} and a scale of {scale}"
        raise RowError("FIELD_INTEGRITY_EXCEPTION", message, ("Precision",))
    return precision, scale


def _choices(metadata: dict[str, Any]) -> tuple[tuple[Choice, ...], bool]:
    values = metadata.get("valueSet") or {}
    definition = values.get("valueSetDefinition") or {}
    given = definition.get("value") or []
    entries = given if isinstance(given, list) else [given]
    choices = []
    for entry in entries:
        value = str(entry.get("fullName") or entry.get("valueName") or "")
        if not value:
            raise RowError("REQUIRED_FIELD_MISSING", "Required fields are missing: [FullName]", ("FullName",))
        choices.append(Choice(value, str(entry.get("label") or value), _flag(entry, "default")))
    if not choices:
        raise RowError("FIELD_INTEGRITY_EXCEPTION", "A picklist needs values", ("ValueSet",))
    if len({choice.value.lower() for choice in choices}) != len(choices):
        raise RowError("DUPLICATE_VALUE", "duplicate value found: a picklist value is given twice")
    return tuple(choices), _flag(values, "restricted")


def _target(org: Org, metadata: dict[str, Any]) -> tuple[tuple[str, ...], str]:
    target = org.schema.find(str(metadata.get("referenceTo")))
    name = metadata.get("relationshipName")
    if target is None or not name:
        message = "Required fields are missing: [ReferenceTo, RelationshipName]"
        raise RowError("REQUIRED_FIELD_MISSING", message, ("ReferenceTo", "RelationshipName"))
    return (target.name,), f"{name}__r"


def _keep(work: Work, field_id: str, entity: str, one: Field, metadata: dict[str, Any]) -> None:
    work.store.update(
        TABLE,
        field_id,
        {
            "DeveloperName": one.name.removesuffix("__c"),
            "TableEnumOrId": entity,
            "EntityDefinitionId": entity,
            "ManageableState": "unmanaged",
            "FullName": f"{entity}.{one.name}",
            "Metadata": json.dumps(metadata, ensure_ascii=False),
            "Length": one.length or None,
            "Precision": one.digits[0] or None,
            "Scale": one.digits[1] if one.digits[0] else None,
            "InlineHelpText": one.help,
            "Description": metadata.get("description"),
            "LastModifiedById": work.user_id,
            "LastModifiedDate": work.now,
        },
    )
