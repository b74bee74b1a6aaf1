"""What the integration user may do, and no more: the one list that the README shows, the doctor names and the tests enforce.

Creating the fields takes an administrator once (`setup_access_token`); `setup` gives the rights on Mikomi's own fields itself, by the
permission set `Mikomi_Integration`. Rights on children follow their parents: OpportunityContactRole and OpportunityHistory
come with Opportunity, CampaignMember with Campaign, LeadHistory with Lead.
"""

from collections.abc import Mapping
from dataclasses import dataclass

USER_PERMISSIONS: Mapping[str, str] = {
    "ApiEnabled": "API Enabled",
    "ViewSetup": "View Setup and Configuration",
    "ActivitiesAccess": "Access Activities",
    "EditTask": "Edit Tasks",
}
"""API name (`PermissionsApiEnabled` of PermissionSet) to the name on the screen."""

OBJECT_RIGHTS: Mapping[str, tuple[str, ...]] = {
    "Lead": ("read", "edit"),
    "Contact": ("read", "edit"),
    "Account": ("read",),
    "Opportunity": ("read",),
    "Campaign": ("read",),
}
"""View All Records is not among them: without it the doctor counts what sharing rules hide."""

PARENTS: Mapping[str, str] = {
    "OpportunityContactRole": "Opportunity",
    "OpportunityHistory": "Opportunity",
    "CampaignMember": "Campaign",
    "LeadHistory": "Lead",
}
ACTIVITIES = frozenset({"Task", "Event"})
"""Readable with Access Activities, not by an object permission."""

FIELDS_READ: Mapping[str, tuple[str, ...]] = {
    "Lead": (
        "AnnualRevenue",
        "Country",
        "DoNotCall",
        "Email",
        "HasOptedOutOfEmail",
        "Industry",
        "LeadSource",
        "MobilePhone",
        "NumberOfEmployees",
        "Phone",
        "State",
        "Title",
        "Website",
    ),
    "Contact": (
        "AccountId",
        "Department",
        "DoNotCall",
        "Email",
        "HasOptedOutOfEmail",
        "LeadSource",
        "MailingCountry",
        "MailingState",
        "MobilePhone",
        "Phone",
        "Title",
    ),
    "Account": (
        "AnnualRevenue",
        "BillingCountry",
        "BillingState",
        "Industry",
        "NumberOfEmployees",
        "ParentId",
        "Website",
    ),
    "Opportunity": ("AccountId", "Amount"),
    "Task": ("ActivityDate", "CallDisposition", "CallDurationInSeconds", "CallType", "Description", "Subject"),
    "Event": ("IsAllDayEvent", "WhoId"),
}
"""Standard fields under field-level security that the shipped mapping reads. Another mapping needs its own fields instead."""

FIELDS_EDITED: Mapping[str, tuple[str, ...]] = {"Task": ("ActivityDate", "Description", "Subject")}
"""Standard fields that are written, on new tasks alone. Leads and Contacts: none but Mikomi's own."""


@dataclass(frozen=True, slots=True)
class Permission:
    """One line of the list.

    Attributes:
        kind: user permission, object permission or field permission.
        name: `API Enabled`, `Lead: read`, `Lead.Title: read`.
    """

    kind: str
    name: str


def documented() -> tuple[Permission, ...]:
    """Every permission, one by one."""
    return (
        *(Permission("user", label) for label in USER_PERMISSIONS.values()),
        *(Permission("object", f"{name}: {right}") for name, rights in OBJECT_RIGHTS.items() for right in rights),
        *(Permission("field", f"{name}.{field}: read") for name, fields in FIELDS_READ.items() for field in fields),
        *(Permission("field", f"{name}.{field}: edit") for name, fields in FIELDS_EDITED.items() for field in fields),
    )
