"""What an administrator sets: on or off, which records, which fields by which rule, which activities, what deletions do."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from sandbox.native.rules import RULES, FieldRule

Deletion = Literal["delete", "unlink"]
ObjectName = Literal["contacts", "companies", "deals"]

ACTIVITIES = ("calls", "meetings", "emails", "notes", "forms", "tasks")
"""What of HubSpot's timeline can be copied into Salesforce Tasks."""


@dataclass(frozen=True, slots=True)
class FieldMapping:
    """One row of the mapping: a HubSpot property and the Salesforce field of the same name on Lead and Contact, say."""

    object: ObjectName
    hubspot: str
    salesforce: str
    rule: FieldRule = "prefer_salesforce_unless_blank"


def _mapped(object_name: ObjectName, pairs: str, rule: FieldRule) -> tuple[FieldMapping, ...]:
    names = (pair.partition("=") for pair in pairs.split())
    return tuple(FieldMapping(object_name, hubspot, salesforce, rule) for hubspot, _, salesforce in names)


DEFAULT_MAPPING: tuple[FieldMapping, ...] = (
    *_mapped(
        "contacts",
        "email=Email firstname=FirstName lastname=LastName jobtitle=Title phone=Phone mobilephone=MobilePhone "
        "company=Company website=Website",
        "prefer_salesforce_unless_blank",
    ),
    *_mapped("contacts", "hs_email_optout=HasOptedOutOfEmail", "two_way"),
    *_mapped("companies", "name=Name website=Website phone=Phone", "prefer_salesforce_unless_blank"),
    *_mapped("deals", "dealname=Name amount=Amount closedate=CloseDate dealstage=StageName", "two_way"),
)
"""The fields that are mapped when the integration is installed. A field that an object does not have is passed over."""


@dataclass(frozen=True, slots=True)
class NativeOptions:
    """The settings of the integration.

    Attributes:
        poll_minutes: of the sandbox's clock.
        inclusion: contacts that sync: all, or the members of the HubSpot list of that id.
        creates: the Salesforce object that a HubSpot contact without a match becomes; None makes none.
        creates_contacts: a Salesforce lead or contact with an address becomes a HubSpot contact, listed or not.
        creates_deals, creates_opportunities: the same for deals, where a linked contact takes part.
        activities: what is copied into Salesforce Tasks, from the moment on at which the sync was switched on.
        on_salesforce_delete, on_hubspot_delete: what becomes of the other side's record.
        allocated_calls: Salesforce API calls a day (UTC); the sync is suspended when they are used up. None: no limit.
    """

    on: bool = False
    poll_minutes: int = 15
    inclusion: str = "all"
    creates: Literal["Lead", "Contact"] | None = "Lead"
    creates_contacts: bool = True
    creates_deals: bool = True
    creates_opportunities: bool = True
    activities: tuple[str, ...] = ACTIVITIES
    on_salesforce_delete: Deletion = "unlink"
    on_hubspot_delete: Deletion = "unlink"
    allocated_calls: int | None = None
    mapping: tuple[FieldMapping, ...] = DEFAULT_MAPPING

    def document(self) -> dict[str, Any]:
        return asdict(self)

    def changed(self, order: Mapping[str, Any]) -> "NativeOptions":
        """These options with some of them replaced.

        `mapping` replaces the whole table, `map` adds rows or replaces those of the same HubSpot property.
        Raises ValueError for an unknown name or value.
        """
        given = dict(order)
        added = [read_mapping(row) for row in given.pop("map", [])]
        if unknown := set(given) - {field.name for field in fields(self)}:
            raise ValueError(f"unknown option {', '.join(sorted(unknown))}")
        if "mapping" in given:
            given["mapping"] = tuple(read_mapping(row) for row in given["mapping"])
        if "activities" in given:
            given["activities"] = tuple(given["activities"])
        new = replace(self, **given)
        places = {(row.object, row.hubspot): row for row in (*new.mapping, *added)}
        new = replace(new, mapping=tuple(places.values()))
        new.check()
        return new

    def check(self) -> None:
        """Raise ValueError for what the settings page would not let an administrator save."""
        if unknown := set(self.activities) - set(ACTIVITIES):
            raise ValueError(f"unknown activities {', '.join(sorted(unknown))}; one of {', '.join(ACTIVITIES)}")
        if self.inclusion != "all" and not self.inclusion.isdigit():
            raise ValueError("inclusion is `all` or the id of a HubSpot list")
        if self.creates not in ("Lead", "Contact", None):
            raise ValueError("creates is Lead, Contact or null")
        if not {self.on_salesforce_delete, self.on_hubspot_delete} <= {"delete", "unlink"}:
            raise ValueError("on_salesforce_delete and on_hubspot_delete are delete or unlink")
        if self.poll_minutes < 1:
            raise ValueError("poll_minutes is at least 1")


def read_mapping(row: Mapping[str, Any]) -> FieldMapping:
    """{"object"?, "hubspot", "salesforce", "rule"?} as a row of the mapping; ValueError for a wrong one."""
    mapping = FieldMapping(**{"object": "contacts", **row})
    if mapping.rule not in RULES:
        raise ValueError(f"unknown rule {mapping.rule!r}; one of {', '.join(RULES)}")
    if mapping.object not in ("contacts", "companies", "deals"):
        raise ValueError(f"unknown object {mapping.object!r}; one of contacts, companies, deals")
    return mapping
