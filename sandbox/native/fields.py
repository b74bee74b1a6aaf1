"""A mapped field on both sides: how values compare, and how one side's value is written on the other."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from sandbox.hubspot.wire import parse_ms, stamp
from sandbox.native.rules import FieldRule, Value
from sandbox.salesforce.catalog import Field
from sandbox.salesforce.values import stored

_NUMBERS = frozenset({"int", "double", "currency", "percent"})


@dataclass(frozen=True, slots=True)
class Channel:
    """One mapped field of one pair of objects.

    Attributes:
        key_of_hubspot, key_of_salesforce: a stored value in comparable form, None where it is blank.
        to_hubspot: a Salesforce row's stored value as a property's text; to_salesforce: the other way, as JSON.
    """

    hubspot: str
    salesforce: str
    rule: FieldRule
    key_of_hubspot: Callable[[str | None], Value]
    key_of_salesforce: Callable[[object], Value]
    to_hubspot: Callable[[object], str | None]
    to_salesforce: Callable[[str | None], object]


def open_channel(hubspot: str, field: Field, rule: FieldRule) -> Channel:
    """The channel of a plain field: values are compared as Salesforce would store them, the coarser of the two forms."""

    def to_salesforce(text: str | None) -> object:
        return _as_json(field, text)

    def key_of_hubspot(text: str | None) -> Value:
        return _key(field, stored(field, _as_json(field, text)))

    return Channel(
        hubspot,
        field.name,
        rule,
        key_of_hubspot,
        lambda value: _key(field, value),
        lambda value: _as_text(field, value),
        to_salesforce,
    )


def _key(field: Field, value: object) -> Value:
    if field.type == "boolean":
        return bool(value) or None  # an unticked box is a blank one
    return None if value == "" else value


def _as_json(field: Field, text: str | None) -> object:
    """A property's text as the JSON value that a write of the field takes. ValueError where it is none."""
    if text is None or not text.strip():
        return False if field.type == "boolean" else None
    if field.type == "boolean":
        return text.lower() == "true"
    if field.type in _NUMBERS:
        return float(text)
    if field.type == "datetime":
        return stamp(parse_ms(text))
    if field.type == "date":
        return stamp(parse_ms(text))[:10]
    return text


def _as_text(field: Field, value: object) -> str | None:
    if field.type == "boolean":
        return "true" if value else "false"
    if value is None:
        return None
    if field.type in _NUMBERS:
        return format(Decimal(repr(value)).normalize(), "f")
    if field.type == "datetime":
        return stamp(int(str(value)))
    if field.type == "date":
        return f"{value}T00:00:00.000Z"
    return str(value)
