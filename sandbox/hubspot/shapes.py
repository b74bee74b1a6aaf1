"""The types of body fields, checked before any handler looks: the real API refuses them while it reads the JSON."""

from typing import Any

from sandbox.hubspot.errors import invalid_json

_TEXT = frozenset(
    {
        *("id", "idProperty", "objectId", "objectWriteTraceId", "primaryObjectId", "objectIdToMerge", "vid", "email"),
        *("propertyName", "operator", "value", "highValue", "direction", "query", "limit", "after", "offset", "count"),
        *("name", "label", "type", "fieldType", "groupName", "description", "numberDisplayHint", "displayOrder"),
        *("associationCategory", "associationTypeId", "inverseLabel", "objectTypeId", "processingType", "tokenKey"),
        *("eventName", "occurredAt", "uuid", "utk", "interactionDateTime", "externalEventId", "externalAccountId"),
    }
)
_TEXTS = frozenset({"propertiesWithHistory", "values", "listIds", "processingTypes"})
_OBJECTS = frozenset({"inputs", "filterGroups", "filters", "options", "associations"})


def check_shape(value: Any) -> None:
    """400 where a field that holds text, texts or objects holds something else; unknown fields are not looked at."""
    if isinstance(value, list):
        for entry in value:
            check_shape(entry)
    elif isinstance(value, dict):
        for name, inner in value.items():
            _check_field(name, inner)


def _check_field(name: str, inner: Any) -> None:
    if inner is None:
        return
    if name in _TEXT:
        if isinstance(inner, (list, dict)):
            raise _wrong("java.lang.String", inner)
    elif name in _TEXTS:
        if not isinstance(inner, list) or any(isinstance(entry, (list, dict)) or entry is None for entry in inner):
            raise _wrong("java.util.ArrayList<java.lang.String>", inner)
    elif name == "properties":
        if isinstance(inner, list):
            if not all(isinstance(entry, str) for entry in inner):
                raise _wrong("java.util.ArrayList<java.lang.String>", inner)
        elif not isinstance(inner, dict):
            raise _wrong("java.util.LinkedHashMap<java.lang.String,java.lang.String>", inner)
    elif name in _OBJECTS:
        if not isinstance(inner, list) or not all(isinstance(entry, dict) for entry in inner):
            raise _wrong("java.util.ArrayList<Object>", inner)
        check_shape(inner)
    else:
        check_shape(inner)


def _wrong(expected: str, found: Any) -> Exception:
    kind, token = "String", "VALUE_STRING"
    if isinstance(found, list):
        kind, token = "Array", "START_ARRAY"
    elif isinstance(found, dict):
        kind, token = "Object", "START_OBJECT"
    return invalid_json(f"Cannot deserialize value of type `{expected}` from {kind} value (token `JsonToken.{token}`)")
