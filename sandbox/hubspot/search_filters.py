"""Search requests turned into SQL conditions: operators, value forms, the limits on filters."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from sandbox.hubspot.errors import ApiError, invalid, invalid_json, missing_fields
from sandbox.hubspot.object_types import ObjectType, resolve
from sandbox.hubspot.schema import Property, Schema
from sandbox.hubspot.wire import parse_ms, stamp, whole

MAX_GROUPS = 5
MAX_FILTERS_IN_GROUP = 6
MAX_FILTERS = 18
OPERATORS = frozenset(
    {
        *("EQ", "NEQ", "LT", "LTE", "GT", "GTE", "BETWEEN", "IN", "NOT_IN"),
        *("HAS_PROPERTY", "NOT_HAS_PROPERTY", "CONTAINS_TOKEN", "NOT_CONTAINS_TOKEN"),
    }
)
_COMPARE = {"LT": "<", "LTE": "<=", "GT": ">", "GTE": ">="}


@dataclass(frozen=True, slots=True)
class Condition:
    """SQL over a record table, with the values of its `?`.

    `hint` holds for every *current* row that matches and is quick to look up; earlier versions need not meet it.
    `volatile`: the outcome can change without any write to the record itself.
    """

    sql: str
    values: tuple[object, ...] = ()
    hint: "Condition | None" = None
    volatile: bool = False


TRUE = Condition("1")


def compile_filters(schema: Schema, kind: ObjectType, groups: Any) -> tuple[Condition, int]:
    """(condition, lower bound on the id): a bound is split off where one group's filters allow it, else 0."""
    listed = _checked_groups(groups)
    above = 0
    compiled: list[Condition] = []
    for filters in listed:
        parts: list[Condition] = []
        for entry in filters:
            bound = _id_bound(entry) if len(listed) == 1 else None
            if bound is not None:
                above = max(above, bound)
            else:
                parts.append(_filter(schema, kind, entry))
        compiled.append(_join(parts, " AND "))
    return _join(compiled, " OR "), above


def compile_sort(schema: Schema, kind: ObjectType, sorts: Any) -> str | None:
    """An ORDER BY text; None for ascending id. The default is creation, oldest first."""
    if not sorts:
        return "created_ms, id"
    if not isinstance(sorts, list) or len(sorts) > 1:
        raise invalid("Only one sort is supported per search request.")
    sort = sorts[0]
    if isinstance(sort, str):
        sort = {"propertyName": sort.lstrip("-"), "direction": "DESCENDING" if sort[:1] == "-" else "ASCENDING"}
    if not isinstance(sort, dict):
        raise invalid_json("Cannot deserialize value of type `Sort`")
    name = str(sort.get("propertyName", "")).lower()
    direction = sort.get("direction", "ASCENDING")
    if direction not in ("ASCENDING", "DESCENDING"):
        raise invalid_json(f'Cannot deserialize value of type `SortDirection` from String "{direction}"')
    prop = _known(schema, kind, name)
    if name == "hs_object_id" and direction == "ASCENDING":
        return None
    down = " DESC" if direction == "DESCENDING" else ""
    return f"{_column(kind, prop)}{down}, id"


def compile_query(kind: ObjectType, query: Any) -> Condition:
    if query is None or query == "":
        return TRUE
    if not isinstance(query, str) or len(query) > 3000:
        raise invalid("The query must be a text of at most 3,000 characters.")
    texts = " || ' ' || ".join(f"ifnull(json_extract(properties, '$.{name}'), '')" for name in kind.searchable)
    return Condition(f"matches_query({texts}, ?)", (query,))


def both(one: Condition, other: Condition) -> Condition:
    return _join([part for part in (one, other) if part is not TRUE], " AND ")


def _checked_groups(groups: Any) -> list[list[dict[str, Any]]]:
    if groups is None:
        return [[]]
    if not isinstance(groups, list) or not all(isinstance(group, dict) for group in groups):
        raise invalid_json("Cannot deserialize value of type `FilterGroup`")
    if len(groups) > MAX_GROUPS:
        raise invalid(f"The number of filterGroups ({len(groups)}) is over the limit of {MAX_GROUPS}.")
    listed: list[list[dict[str, Any]]] = []
    for group in groups:
        filters = group.get("filters")
        if not isinstance(filters, list) or not all(isinstance(entry, dict) for entry in filters):
            raise missing_fields(["filters"])
        if len(filters) > MAX_FILTERS_IN_GROUP:
            raise invalid(
                f"The number of filters in a group ({len(filters)}) is over the limit of {MAX_FILTERS_IN_GROUP}."
            )
        listed.append(filters)
    if sum(map(len, listed)) > MAX_FILTERS:
        raise invalid(f"The number of filters in all groups is over the limit of {MAX_FILTERS}.")
    return listed or [[]]


def _join(parts: list[Condition], word: str) -> Condition:
    if not parts:
        return TRUE
    if len(parts) == 1:
        return parts[0]
    hints = [part.hint for part in parts if part.hint is not None]
    whole = word == " AND " or len(hints) == len(parts)
    sql, values = _spell(parts, word)
    hint = Condition(*_spell(hints, word)) if hints and whole else None
    return Condition(sql, values, hint, any(part.volatile for part in parts))


def _spell(parts: list[Condition], word: str) -> tuple[str, tuple[object, ...]]:
    values = tuple(value for part in parts for value in part.values)
    return word.join(f"({part.sql})" for part in parts), values


def _id_bound(entry: dict[str, Any]) -> int | None:
    if entry.get("propertyName") != "hs_object_id" or entry.get("operator") not in ("GT", "GTE"):
        return None
    bound = whole(entry.get("value"))
    return None if bound is None else bound - (entry["operator"] == "GTE")


def _known(schema: Schema, kind: ObjectType, name: str) -> Property:
    prop = schema.get(kind, name)
    if prop is None:
        message = f"Property '{name}' does not exist"
        errors = [{"message": message, "code": "PROPERTY_DOESNT_EXIST", "context": {"propertyName": [name]}}]
        raise ApiError(400, "There was a problem with the request.", "VALIDATION_ERROR", errors=errors)
    return prop


def _filter(schema: Schema, kind: ObjectType, entry: dict[str, Any]) -> Condition:
    absent = [name for name in ("propertyName", "operator") if not entry.get(name)]
    if absent:
        raise missing_fields(absent)
    operator = entry["operator"]
    if operator not in OPERATORS:
        raise invalid_json(f'Cannot deserialize value of type `FilterOperator` from String "{operator}"')
    name = str(entry["propertyName"]).lower()
    if name.startswith("associations."):
        return _linked(kind, name.removeprefix("associations."), entry)
    prop = _known(schema, kind, name)
    column = _column(kind, prop)
    if operator == "HAS_PROPERTY":
        return Condition(f"{column} IS NOT NULL")
    if operator == "NOT_HAS_PROPERTY":
        return Condition(f"{column} IS NULL")
    if operator in ("IN", "NOT_IN"):
        return _membership(kind, prop, column, entry)
    low = _value(kind, prop, entry, "value")
    if operator == "BETWEEN":
        return Condition(f"{column} BETWEEN ? AND ?", (low, _value(kind, prop, entry, "highValue")))
    if operator in _COMPARE:
        return Condition(f"{column} {_COMPARE[operator]} ?", (low,))
    if operator in ("CONTAINS_TOKEN", "NOT_CONTAINS_TOKEN"):
        wanted = "" if operator == "CONTAINS_TOKEN" else "NOT "
        return Condition(f"{wanted}matches_token({column}, ?)", (str(low),))
    folded, mark = (f"lower({column})", "lower(?)") if _folds(prop) else (column, "?")
    if operator == "EQ":
        if prop.unique and _folds(prop):
            held = "id IN (SELECT id FROM unique_value WHERE type = ? AND name = ? AND value = lower(?))"
            return Condition(f"{folded} = {mark}", (low,), Condition(held, (kind.number, prop.name, low)))
        return Condition(f"{folded} = {mark}", (low,))
    return Condition(f"ifnull({folded} <> {mark}, 1)", (low,))


def _linked(kind: ObjectType, other: str, entry: dict[str, Any]) -> Condition:
    """The pseudo-property `associations.contact`: records linked to the given ones. Not late: links are not indexed."""
    target = resolve(other)
    operator = entry["operator"]
    given = entry.get("values") if operator in ("IN", "NOT_IN") else [entry.get("value")]
    if operator not in ("EQ", "IN") or not isinstance(given, list) or not given:
        raise invalid(f"Operator {operator} is not supported for associations.{other}.")
    ids = [number for value in given if (number := whole(value)) is not None]
    marks = ",".join("?" * len(ids))
    sql = f"id IN (SELECT to_id FROM association WHERE from_type = ? AND from_id IN ({marks}) AND to_type = ?)"
    return Condition(sql, (target.number, *ids, kind.number), volatile=True)


def _membership(kind: ObjectType, prop: Property, column: str, entry: dict[str, Any]) -> Condition:
    values = entry.get("values")
    if not isinstance(values, list) or not values:
        raise invalid_json("values must be specified for operator " + entry["operator"])
    marks = ",".join("?" * len(values))
    # The product compares lower-cased text with the values as sent: upper-case values find nothing.
    folded = f"lower({column})" if _folds(prop) else column
    bound = tuple(_typed(kind, prop, str(value)) for value in values)
    if entry["operator"] == "NOT_IN":
        return Condition(f"ifnull({folded} NOT IN ({marks}), 1)", bound)
    if prop.unique and _folds(prop):
        held = f"id IN (SELECT id FROM unique_value WHERE type = ? AND name = ? AND value IN ({marks}))"
        return Condition(f"{folded} IN ({marks})", bound, Condition(held, (kind.number, prop.name, *bound)))
    return Condition(f"{folded} IN ({marks})", bound)


def _folds(prop: Property) -> bool:
    return prop.type in ("string", "phone_number")


def _column(kind: ObjectType, prop: Property) -> str:
    if prop.name == "hs_object_id":
        return "id"
    if prop.name == kind.modified:
        return "updated_ms"
    if prop.name == kind.created and prop.read_only:
        return "created_ms"
    path = f"json_extract(properties, '$.{prop.name}')"
    return f"CAST({path} AS REAL)" if prop.type == "number" else path


def _value(kind: ObjectType, prop: Property, entry: dict[str, Any], field: str) -> object:
    value = entry.get(field)
    if value is None or value == "":
        raise invalid_json(f"{field} must be non-empty and non-blank, if specified {{propertyName: '{prop.name}'}}")
    return _typed(kind, prop, str(value))


def _typed(kind: ObjectType, prop: Property, text: str) -> object:
    """A filter value in the form of its column."""
    try:
        if prop.name == "hs_object_id":
            number = whole(text)
            if number is None:
                raise ValueError(text)
            return number
        if prop.name == kind.modified or (prop.name == kind.created and prop.read_only):
            return parse_ms(text)
        convert = _CONVERT.get(prop.type)
        return convert(text) if convert else text
    except ValueError:
        raise invalid(f"{text} is not a valid {prop.type} for property {prop.name}.") from None


_CONVERT: dict[str, Callable[[str], object]] = {
    "number": float,
    "date": lambda text: stamp(parse_ms(text))[:10],
    "datetime": lambda text: stamp(parse_ms(text)),
    "bool": str.lower,
}


def _tokens(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def matches_token(text: str | None, wanted: str) -> bool:
    """CONTAINS_TOKEN: whole words in sequence; `*` stands for any characters, in a word or the whole value."""
    if text is None:
        return False
    folded = wanted.casefold()
    if "*" in folded:
        pattern = folded.replace("[", "[[]")
        return any(fnmatchcase(word, pattern) for word in (text.casefold(), *text.casefold().split(), *_tokens(text)))
    have, need = _tokens(text), _tokens(folded)
    return bool(need) and any(have[start : start + len(need)] == need for start in range(len(have) - len(need) + 1))


def matches_query(text: str, query: str) -> bool:
    """Free text: every word of the query begins some word of the record's searchable properties."""
    have = _tokens(text)
    return all(any(word.startswith(wanted) for word in have) for wanted in _tokens(query))
