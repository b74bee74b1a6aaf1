"""The four rules by which a mapped field follows the other side, by the names they have in HubSpot's settings."""

from dataclasses import dataclass
from typing import Literal

FieldRule = Literal["prefer_salesforce_unless_blank", "always_salesforce", "two_way", "dont_sync"]
RULES: tuple[FieldRule, ...] = ("prefer_salesforce_unless_blank", "always_salesforce", "two_way", "dont_sync")

Side = Literal["hubspot", "salesforce"]
Value = object
"""A field's value in a form in which both sides can be compared; None where it is blank."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What both sides showed when the sync last looked, in comparable form."""

    hubspot: Value
    salesforce: Value


def choose_winner(
    rule: FieldRule, hubspot: Value, salesforce: Value, before: Seen | None, *, hubspot_newer: bool
) -> Side | None:
    """The side whose value the other one takes; None where nothing is written.

    Args:
        before: None the first time a pair of records is looked at.
        hubspot_newer: HubSpot's record was modified last; decides where both sides changed.
    """
    if hubspot == salesforce or rule == "dont_sync":
        return None
    if rule == "always_salesforce":
        return "salesforce"
    if rule == "prefer_salesforce_unless_blank":
        if salesforce is not None:
            return "salesforce"
        emptied = before is not None and before.salesforce is not None and hubspot == before.hubspot
        return "salesforce" if emptied else "hubspot"
    return _newest(hubspot, salesforce, before, hubspot_newer=hubspot_newer)


def _newest(hubspot: Value, salesforce: Value, before: Seen | None, *, hubspot_newer: bool) -> Side | None:
    latest: Side = "hubspot" if hubspot_newer else "salesforce"
    if before is None:
        if hubspot is None or salesforce is None:
            return "hubspot" if salesforce is None else "salesforce"
        return latest
    changed = (hubspot != before.hubspot, salesforce != before.salesforce)
    if changed == (True, True):
        return latest
    if changed == (False, False):
        return None  # what could not be written last time is not tried again before somebody edits it
    return "hubspot" if changed[0] else "salesforce"
