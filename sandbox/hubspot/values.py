"""Checks of property values on write, with the real error codes, and their form in the store."""

import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from sandbox.hubspot.object_types import ObjectType
from sandbox.hubspot.schema import Property, Schema
from sandbox.hubspot.store import Properties
from sandbox.hubspot.wire import parse_ms, stamp

MAX_TEXT = 65_536
DAY_MS = 86_400_000
_EMAIL = re.compile(r"[^@\s,;<>\"()]+@[^@\s,;<>\"()]+\.[^@\s,;<>\"().]{2,}")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


class _RefusedError(ValueError):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def check_values(
    schema: Schema,
    kind: ObjectType,
    given: Mapping[str, Any],
    current: Properties,
    is_owner: Callable[[str], bool],
    *,
    by_user: bool = False,
) -> tuple[Properties, list[dict[str, Any]]]:
    """(values as stored, problems): problems are the entries of the real error body, one per refused property.

    `by_user`: an edit in the UI or by HubSpot itself, which may set what an app cannot.
    """
    clean: Properties = {}
    problems: list[dict[str, Any]] = []
    for asked, value in given.items():
        name = asked.lower()
        prop = schema.get(kind, name)
        if prop is None:
            problems.append(_problem(asked, f'Property "{asked}" does not exist', "PROPERTY_DOESNT_EXIST"))
            continue
        if prop.read_only and not by_user:
            message = f'"{name}" is a read only property; its value cannot be set.'
            problems.append(_problem(asked, message, "READ_ONLY_VALUE"))
            continue
        try:
            clean[name] = _stored(prop, value, current.get(name), is_owner)
        except _RefusedError as refused:
            problems.append(_problem(asked, str(refused), refused.code))
    return clean, problems


def _problem(name: str, message: str, code: str) -> dict[str, Any]:
    return {"isValid": False, "message": message, "error": code, "name": name, "localizedErrorMessage": message}


def _stored(prop: Property, value: Any, current: str | None, is_owner: Callable[[str], bool]) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, (dict, list)):
        raise _RefusedError("INVALID_VALUE", f"{prop.name} must be a string")
    text = ("true" if value else "false") if isinstance(value, bool) else str(value)
    if prop.owner:
        return _owner(text, is_owner)
    match prop.type:
        case "number":
            return _number(text)
        case "bool":
            return _option(text.lower(), frozenset(("true", "false")))
        case "date":
            return _date(text)
        case "datetime":
            return _datetime(text)
        case "enumeration" if prop.multiple:
            return _options(prop, text, current)
        case "enumeration":
            return _option(text, prop.values())
    if len(text) > MAX_TEXT:
        raise _RefusedError("PROPERTY_VALUE_TOO_LONG", f"{prop.name} is longer than {MAX_TEXT} characters")
    return _email(text) if prop.name == "email" and prop.hubspot_defined else text


def _owner(text: str, is_owner: Callable[[str], bool]) -> str:
    if not is_owner(text):
        raise _RefusedError("INVALID_OWNER_ID", f"Owner with id {text} does not exist or is archived")
    return text


def _number(text: str) -> str:
    try:
        finite = Decimal(text.strip()).is_finite()
    except InvalidOperation:
        finite = False
    if not finite:
        raise _RefusedError("INVALID_INTEGER", f"{text} was not a valid number.")
    return text.strip()


def _option(text: str, allowed: frozenset[str]) -> str:
    if text not in allowed:
        listed = ", ".join(sorted(allowed))
        raise _RefusedError("INVALID_OPTION", f"{text} was not one of the allowed options: [{listed}]")
    return text


def _options(prop: Property, text: str, current: str | None) -> str | None:
    """`a;b` sets both; a leading `;` adds to what is there."""
    chosen = [part for part in text.split(";") if part]
    allowed = prop.values()
    if allowed:
        for part in chosen:
            _option(part, allowed)
    if text.startswith(";") and current:
        chosen = current.split(";") + chosen
    return ";".join(dict.fromkeys(chosen)) or None


def _date(text: str) -> str:
    if _DATE.fullmatch(text):
        text = f"{text}T00:00:00Z"
    try:
        ms = parse_ms(text)
    except ValueError:
        raise _RefusedError("INVALID_DATE", f"{text} was not a valid date.") from None
    if ms % DAY_MS:
        clock = stamp(ms)[11:-1]
        raise _RefusedError("INVALID_DATE", f"{text} is at {clock} UTC, not midnight!")
    return stamp(ms)[:10]


def _datetime(text: str) -> str:
    try:
        return stamp(parse_ms(text))
    except (ValueError, OverflowError, OSError):
        raise _RefusedError("INVALID_LONG", f"{text} was not a valid long.") from None


def _email(text: str) -> str:
    address = text.strip().lower()
    if not _EMAIL.fullmatch(address):
        raise _RefusedError("INVALID_EMAIL", f"Email address {text} is invalid")
    return address
