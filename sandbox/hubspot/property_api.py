"""Handlers for property definitions and groups: `/crm/v3/properties/{type}`."""

import json
from dataclasses import replace
from functools import lru_cache
from typing import Any

from sandbox.hubspot.errors import ApiError, invalid, invalid_json, missing_fields
from sandbox.hubspot.object_types import TASKS, ObjectType
from sandbox.hubspot.portal import Call, Portal, answer, batch_answer, encoded
from sandbox.hubspot.schema import FIELD_TYPES, MAX_UNIQUE, NAME, TYPES_ALLOWED, Property
from sandbox.hubspot.store import dump
from sandbox.hubspot.wire import whole
from sandbox.server import Response, empty

MOST = 100
_REQUIRED = ("name", "label", "type", "fieldType", "groupName")
_TEXTS = (*_REQUIRED, "description", "numberDisplayHint")
_FITTING = {
    "bool": {"booleancheckbox", "calculation_equation"},
    "date": {"date"},
    "datetime": {"date"},
    "enumeration": {"booleancheckbox", "checkbox", "radio", "select", "calculation_equation"},
    "number": {"number", "calculation_equation"},
    "string": {"file", "text", "textarea", "html", "phonenumber", "calculation_equation"},
    "phone_number": {"phonenumber"},
}


def list_properties(call: Call) -> Response:
    if call.flag("archived"):
        return answer(200, {"results": []})
    return encoded(200, '{"results":[' + ",".join(map(_text, call.portal.schema.of(call.kind).values())) + "]}")


@lru_cache(maxsize=8_192)  # clients ask for all of them all day
def _text(prop: Property) -> str:
    return dump(prop.document())


def read_property(call: Call) -> Response:
    return answer(200, _existing(call.portal, call.kind, call.names["name"]).document())


def create_property(call: Call) -> Response:
    return answer(201, define(call.portal, call.kind, call.body()).document())


def update_property(call: Call) -> Response:
    kind, body = call.kind, _with_texts(call.body())
    prop = _existing(call.portal, kind, call.names["name"])
    if prop.hubspot_defined:
        raise invalid(f"{prop.name} is a HubSpot-defined property; its definition cannot be changed.")
    if body.get("hasUniqueValue") not in (None, prop.unique):
        raise invalid("hasUniqueValue cannot be changed after creation.")
    changes: dict[str, Any] = {"updated_ms": call.portal.clock.now_ms()}
    for sent, attribute in (("label", "label"), ("description", "description"), ("groupName", "group")):
        if sent in body:
            changes[attribute] = body[sent]
    if "options" in body:
        changes["options"] = _options(body["options"])
    if "groupName" in body:
        _existing_group(call.portal, kind, body["groupName"])
    if "type" in body or "fieldType" in body:
        changes["type"], changes["field_type"] = body.get("type", prop.type), body.get("fieldType", prop.field_type)
        _check_types(changes["type"], changes["field_type"])
    prop = replace(prop, **changes)
    call.portal.schema.put(kind, prop)
    return answer(200, prop.document())


def _with_texts(body: dict[str, Any]) -> dict[str, Any]:
    """The body with its texts as texts: a number or a boolean is read as one, anything larger is refused."""
    texts = {}
    for name in _TEXTS:
        value = body.get(name)
        if isinstance(value, dict | list):
            of, token = ("Object", "START_OBJECT") if isinstance(value, dict) else ("Array", "START_ARRAY")
            raise invalid_json(f"Cannot deserialize value of type `String` from {of} value (token `JsonToken.{token}`)")
        if value is not None:
            texts[name] = value if isinstance(value, str) else json.dumps(value)
    return body | texts


def archive_property(call: Call) -> Response:
    _archive(call.portal, call.kind, call.names["name"])
    return empty(204)


def batch_create(call: Call) -> Response:
    started = call.portal.clock.now_ms()
    results, errors = [], []
    for entry in call.inputs(MOST):
        try:
            with call.portal.store.attempt():
                results.append(define(call.portal, call.kind, entry).document())
        except ApiError as refused:
            errors.append(refused.row({"name": [str(entry.get("name"))]}))
    return batch_answer(call, 201, results, errors, started)


def batch_read(call: Call) -> Response:
    started = call.portal.clock.now_ms()
    results, errors = [], []
    for entry in call.inputs(MOST):
        try:
            results.append(_existing(call.portal, call.kind, str(entry.get("name"))).document())
        except ApiError as refused:
            errors.append(refused.row({"name": [str(entry.get("name"))]}))
    return batch_answer(call, 200, results, errors, started)


def batch_archive(call: Call) -> Response:
    for entry in call.inputs(MOST):
        if call.portal.schema.get(call.kind, str(entry.get("name"))):
            _archive(call.portal, call.kind, str(entry.get("name")))
    return empty(204)


def define(portal: Portal, kind: ObjectType, body: dict[str, Any]) -> Property:
    """A new property of the portal's own; 400 for a bad definition, 409 if the name is taken."""
    body = _with_texts(body)
    absent = [name for name in _REQUIRED if not body.get(name)]
    if absent:
        raise missing_fields(absent)
    name = str(body["name"])
    if not NAME.fullmatch(name) or name.startswith("hs_"):
        raise invalid(
            f"{name} is not a valid property name: lower-case letters, digits and underscores, beginning with a "
            "letter; names beginning with hs_ are reserved.",
            name=[name],
        )
    _check_types(body["type"], body["fieldType"])
    if body["groupName"] not in portal.schema.groups(kind):
        raise invalid(f"Property group {body['groupName']} does not exist", groupName=[str(body["groupName"])])
    if portal.schema.get(kind, name):
        message = f"A property named '{name}' already exists."
        raise ApiError(409, message, "OBJECT_ALREADY_EXISTS", sub_category="Properties.PROPERTY_EXISTS")
    unique = bool(body.get("hasUniqueValue"))
    if unique:
        _check_unique(portal, kind, body["type"])
    options = _options(body.get("options") or [])
    if body["type"] == "bool" and not options:
        options = (("true", "Yes", False), ("false", "No", False))
    if body["type"] == "enumeration" and body["fieldType"] != "calculation_equation" and not options:
        raise invalid(f"Enumeration property {name} must have at least one option.")
    now = portal.clock.now_ms()
    prop = Property(
        name=name,
        label=body["label"],
        type=body["type"],
        field_type=body["fieldType"],
        group=body["groupName"],
        options=options,
        description=body.get("description") or "",
        unique=unique,
        hidden=bool(body.get("hidden")),
        form_field=bool(body.get("formField")),
        display_order=_order(body.get("displayOrder"), -1),
        number_hint=body.get("numberDisplayHint"),
        created_ms=now,
        updated_ms=now,
    )
    portal.schema.put(kind, prop)
    return prop


def delete_by_admin(portal: Portal, kind: ObjectType, name: str) -> None:
    """As in the settings of the UI: the definition goes, and with it every value."""
    _archive(portal, kind, name)


def list_groups(call: Call) -> Response:
    return answer(200, {"results": list(call.portal.schema.groups(call.kind).values())})


def read_group(call: Call) -> Response:
    return answer(200, _existing_group(call.portal, call.kind, call.names["name"]))


def create_group(call: Call) -> Response:
    body = call.body()
    absent = [name for name in ("name", "label") if not body.get(name)]
    if absent:
        raise missing_fields(absent)
    if body["name"] in call.portal.schema.groups(call.kind):
        raise ApiError(409, f"A property group named '{body['name']}' already exists.", "OBJECT_ALREADY_EXISTS")
    group = {
        "archived": False,
        "name": body["name"],
        "label": body["label"],
        "displayOrder": body.get("displayOrder", -1),
    }
    call.portal.schema.put_group(call.kind, group)
    return answer(201, group)


def update_group(call: Call) -> Response:
    group = dict(_existing_group(call.portal, call.kind, call.names["name"]))
    body = call.body()
    group |= {name: body[name] for name in ("label", "displayOrder") if name in body}
    call.portal.schema.put_group(call.kind, group)
    return answer(200, group)


def archive_group(call: Call) -> Response:
    name = call.names["name"]
    _existing_group(call.portal, call.kind, name)
    used = [prop.name for prop in call.portal.schema.of(call.kind).values() if prop.group == name]
    if used:
        raise invalid(f"Property group {name} cannot be deleted: it has properties.", properties=used[:10])
    call.portal.schema.drop_group(call.kind, name)
    return empty(204)


def _existing(portal: Portal, kind: ObjectType, name: str) -> Property:
    prop = portal.schema.get(kind, name)
    if prop is None:
        raise ApiError(404, f'Property "{name}" does not exist', "OBJECT_NOT_FOUND", context={"name": [name]})
    return prop


def _existing_group(portal: Portal, kind: ObjectType, name: str) -> dict[str, Any]:
    group = portal.schema.groups(kind).get(name)
    if group is None:
        raise ApiError(404, f"Property group {name} does not exist", "OBJECT_NOT_FOUND", context={"name": [name]})
    return group


def _archive(portal: Portal, kind: ObjectType, name: str) -> None:
    prop = _existing(portal, kind, name)
    if prop.hubspot_defined:
        raise invalid(f"{name} is a HubSpot-defined property; it cannot be deleted.")
    portal.schema.drop(kind, name)
    db = portal.store.db
    db.execute("DELETE FROM unique_value WHERE type = ? AND name = ?", (kind.number, name))
    db.execute("DELETE FROM history WHERE type = ? AND name = ?", (kind.number, name))
    for table in (kind.name, f"{kind.name}_unindexed"):
        db.execute(
            f"UPDATE {table} SET properties = json_remove(properties, ?) WHERE json_extract(properties, ?) NOT NULL",
            (f"$.{name}", f"$.{name}"),
        )
    portal.store.forget_index(kind)


def _check_types(type_: Any, field_type: Any) -> None:
    if type_ not in TYPES_ALLOWED:
        raise invalid(f"{type_} is not a valid property type; one of {', '.join(TYPES_ALLOWED)}.")
    if field_type not in FIELD_TYPES:
        raise invalid(f"{field_type} is not a valid fieldType; one of {', '.join(FIELD_TYPES)}.")
    if field_type not in _FITTING[type_]:
        raise invalid(f"Field type {field_type} is not valid for property type {type_}.")


def _check_unique(portal: Portal, kind: ObjectType, type_: str) -> None:
    if kind is TASKS and not portal.options.unique_task_property:
        raise invalid("Unique value properties are not supported for object type TASK.")
    if type_ not in ("string", "number"):
        raise invalid("hasUniqueValue is only supported for string and number properties.")
    own = [prop for prop in portal.schema.of(kind).values() if prop.unique and not prop.hubspot_defined]
    if len(own) >= MAX_UNIQUE:
        raise invalid(f"The limit of {MAX_UNIQUE} unique value properties has been reached for {kind.name}.")


def _order(value: Any, default: int) -> int:
    return default if value in (None, -1) else (whole(value) or 0)


def _options(entries: Any) -> tuple[tuple[str, str, bool], ...]:
    if not isinstance(entries, list) or any(
        not isinstance(e, dict) or "value" not in e or "label" not in e for e in entries
    ):
        raise missing_fields(["label", "value"])
    ordered = sorted(enumerate(entries), key=lambda pair: (_order(pair[1].get("displayOrder"), pair[0]), pair[0]))
    options = tuple((str(e["value"]), str(e["label"]), bool(e.get("hidden"))) for _, e in ordered)
    values = [value for value, _, _ in options]
    if len(set(values)) < len(values):
        raise invalid("Property option values must be unique.")
    return options
