"""Keeping the mapped fields of two linked records alike, and remembering what both showed."""

from collections.abc import Mapping, Sequence
from typing import Any

from sandbox.hubspot.object_types import ObjectType
from sandbox.hubspot.schema import Property
from sandbox.hubspot.store import Properties
from sandbox.hubspot.store import Row as HubSpotRow
from sandbox.native.fields import Channel, open_channel
from sandbox.native.memory import Link
from sandbox.native.options import FieldMapping
from sandbox.native.rules import Seen, choose_winner
from sandbox.native.sides import Sides
from sandbox.salesforce.store import Row


def open_channels(sides: Sides, kind: ObjectType, sobject: str, mapping: Sequence[FieldMapping]) -> list[Channel]:
    """The mapped fields that both objects have. Calculated fields and ids are not mirrored."""
    properties, columns = sides.portal.schema.of(kind), sides.org.schema.get(sobject)
    found = []
    for row in mapping:
        prop, field = properties.get(row.hubspot), columns.field(row.salesforce)
        if row.object == kind.name and prop is not None and field is not None and _is_open(prop) and field.updateable:
            found.append(open_channel(row.hubspot, field, row.rule))
    return found


def _is_open(prop: Property) -> bool:
    return not (prop.read_only or prop.calculated)


def mirror_fields(
    sides: Sides, kind: ObjectType, sobject: str, link: Link, row: HubSpotRow, other: Row, channels: Sequence[Channel]
) -> HubSpotRow:
    """Write on either side what its rule demands; the link remembers what both show afterwards."""
    properties: Properties = {}
    body: dict[str, Any] = {}
    newer = row.updated_ms // 1000 * 1000 > other["LastModifiedDate"]
    for channel in channels:
        mine, theirs = row.properties.get(channel.hubspot), other[channel.salesforce]
        keys = channel.key_of_hubspot(mine), channel.key_of_salesforce(theirs)
        winner = choose_winner(channel.rule, *keys, link.seen.get(channel.hubspot), hubspot_newer=newer)
        if winner == "salesforce":
            properties[channel.hubspot] = channel.to_hubspot(theirs)
        elif winner == "hubspot":
            body[channel.salesforce] = channel.to_salesforce(mine)
    if body:
        sides.update_salesforce(sobject, str(other["Id"]), body)
    row = sides.set_properties(kind, row, properties)
    after = sides.org.store.get(sobject, str(other["Id"])) or other
    link.seen = remember(channels, row.properties, after)
    return row


def remember(channels: Sequence[Channel], properties: Properties, other: Row) -> dict[str, Seen]:
    """What both sides show, by HubSpot property."""
    return {
        channel.hubspot: Seen(
            channel.key_of_hubspot(properties.get(channel.hubspot)),
            channel.key_of_salesforce(other[channel.salesforce]),
        )
        for channel in channels
    }


def as_properties(channels: Sequence[Channel], other: Row) -> Properties:
    """A Salesforce row as a new HubSpot record's properties."""
    given = {c.hubspot: c.to_hubspot(other[c.salesforce]) for c in channels if c.rule != "dont_sync"}
    return {name: value for name, value in given.items() if value is not None}


def as_body(channels: Sequence[Channel], properties: Mapping[str, str | None]) -> dict[str, Any]:
    """A HubSpot record as a new Salesforce row's fields."""
    given = {c.salesforce: c.to_salesforce(properties.get(c.hubspot)) for c in channels if c.rule != "dont_sync"}
    return {name: value for name, value in given.items() if value is not None}
