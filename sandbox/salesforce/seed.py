"""What every org has from the start: its own row, profiles, two users, a queue, statuses and stages."""

from sandbox.salesforce.access import CRM_OBJECTS
from sandbox.salesforce.org import Org
from sandbox.salesforce.store import Row

ADMIN = "admin@mikomi.example"
INTEGRATION = "integration@mikomi.example"
NATIVE_SYNC = "hubspot-integration@portal.example"
"""The user of the emulated native HubSpot sync (`sandbox.native`); exists once that has been switched on."""

_STAGES = (
    ("Prospecting", 10, "Pipeline"),
    ("Qualification", 10, "Pipeline"),
    ("Needs Analysis", 20, "Pipeline"),
    ("Value Proposition", 50, "Pipeline"),
    ("Id. Decision Makers", 60, "Pipeline"),
    ("Perception Analysis", 70, "Pipeline"),
    ("Proposal/Price Quote", 75, "Pipeline"),
    ("Negotiation/Review", 90, "Pipeline"),
    ("Closed Won", 100, "Closed"),
    ("Closed Lost", 0, "Omitted"),
)


def plant(org: Org) -> None:
    """Write the seed rows into an empty org; an org that has users is left as it is."""
    if org.store.value('SELECT 1 FROM "User" LIMIT 1'):
        for sobject in org.schema.all():
            last = org.store.value(f'SELECT max(Id) FROM "{sobject.name}"')
            if last:
                org.ids.seen(last)
        return
    now = org.now()
    with org.store.write():
        admin_id, integration_id = org.new_id("User"), org.new_id("User")
        seed = _Seed(org, now, admin_id)
        profile = seed.add("Profile", Name="System Administrator", UserType="Standard", UserLicenseId="100", **_admin())
        limited = seed.add("Profile", Name="Mikomi Integration", UserType="Standard", UserLicenseId="100", **_limited())
        seed.user(admin_id, ADMIN, "管理者", "システム", profile)
        seed.user(integration_id, INTEGRATION, "連携", "見込み", limited)
        owned = seed.add("PermissionSet", Name="X00ex_admin", ProfileId=profile, **_owned(), **_admin(), **_activity())
        for name in CRM_OBJECTS:
            seed.object_permission(owned, name, "Read Create Edit Delete ViewAllRecords ModifyAllRecords")
        owned = seed.add("PermissionSet", Name="X00ex_sync", ProfileId=limited, **_owned(), **_limited(), **_activity())
        for name in CRM_OBJECTS:
            seed.object_permission(owned, name, "Read Edit" if name in ("Lead", "Contact") else "Read")
        _statuses(seed)
        seed.add("Group", Name="リードキュー", DeveloperName="Lead_Queue", Type="Queue")
        seed.add("Group", Name="営業部", DeveloperName="Sales_Team", Type="Regular")
        seed.add(
            "Organization",
            Name=org.options.org_name,
            Country="JP",
            DefaultLocaleSidKey="ja_JP",
            LanguageLocaleKey="ja",
            TimeZoneSidKey="Asia/Tokyo",
            FiscalYearStartMonth=4,
            OrganizationType=f"{org.options.edition} Edition",
            InstanceName="SBX1",
        )


def _admin() -> Row:
    names = ("ApiEnabled", "ViewAllData", "ModifyAllData", "CustomizeApplication")
    return {f"Permissions{name}": 1 for name in names}


def _limited() -> Row:
    return {"PermissionsApiEnabled": 1}


def _activity() -> Row:
    names = ("EditTask", "EditEvent", "ActivitiesAccess", "ViewSetup")
    return {f"Permissions{name}": 1 for name in names}


def _owned() -> Row:
    return {"IsOwnedByProfile": 1, "Label": "00e"}


def _statuses(seed: "_Seed") -> None:
    leads = ("Open - Not Contacted", "Working - Contacted", "Closed - Converted", "Closed - Not Converted")
    for order, label in enumerate(leads, 1):
        flags = {"IsDefault": int(order == 1), "IsConverted": int(label == "Closed - Converted")}
        seed.add("LeadStatus", MasterLabel=label, ApiName=label, SortOrder=order, **flags)
    tasks = ("Not Started", "In Progress", "Completed", "Waiting on someone else", "Deferred")
    for order, label in enumerate(tasks, 1):
        flags = {"IsDefault": int(order == 1), "IsClosed": int(label == "Completed")}
        seed.add("TaskStatus", MasterLabel=label, ApiName=label, SortOrder=order, **flags)
    for order, (label, probability, forecast) in enumerate(_STAGES, 1):
        flags = {"IsActive": 1, "IsClosed": int(label.startswith("Closed")), "IsWon": int(label == "Closed Won")}
        seed.add(
            "OpportunityStage",
            MasterLabel=label,
            ApiName=label,
            SortOrder=order,
            DefaultProbability=probability,
            ForecastCategory=forecast,
            ForecastCategoryName=forecast,
            **flags,
        )


class _Seed:
    def __init__(self, org: Org, now: int, admin_id: str) -> None:
        self._org = org
        self._now = now
        self._admin_id = admin_id

    def add(self, sobject: str, **values: object) -> str:
        known = self._org.schema.get(sobject)
        row: Row = {one.name: 0 for one in known.fields.values() if one.type == "boolean"}
        row |= {name: self._now for name in ("CreatedDate", "LastModifiedDate", "SystemModstamp") if known.has(name)}
        row |= {name: self._admin_id for name in ("CreatedById", "LastModifiedById") if known.has(name)}
        row["Id"] = self._org.new_id(sobject)
        row |= values
        self._org.store.insert(sobject, row)
        return str(row["Id"])

    def user(self, user_id: str, username: str, last: str, first: str, profile: str) -> None:
        self.add(
            "User",
            Id=user_id,
            Username=username,
            Email=username,
            LastName=last,
            FirstName=first,
            Name=f"{first} {last}",
            Alias=username.partition("@")[0][:8],
            CommunityNickname=username.partition("@")[0],
            IsActive=1,
            ProfileId=profile,
            UserType="Standard",
            TimeZoneSidKey="Asia/Tokyo",
            LocaleSidKey="ja_JP",
            EmailEncodingKey="UTF-8",
            LanguageLocaleKey="ja",
        )

    def object_permission(self, parent: str, sobject: str, verbs: str) -> None:
        flags = {f"Permissions{verb}": 1 for verb in verbs.split()}
        self.add("ObjectPermissions", ParentId=parent, SobjectType=sobject, **flags)
