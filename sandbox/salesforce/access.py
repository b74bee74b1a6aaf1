"""Who may do what: object rights, field-level security and silent row filtering, computed from the org's own rows.

A custom field is visible to nobody until a permission set with a FieldPermissions row is assigned, the administrator
included. Standard fields are visible with the object unless the control API took them away.
"""

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

from sandbox.salesforce.errors import RowError, resource_missing, session_invalid
from sandbox.salesforce.schema import Schema
from sandbox.salesforce.store import Row, Store

# Children without rights of their own follow their parent.
_FOLLOWS = {
    "OpportunityContactRole": "Opportunity",
    "OpportunityHistory": "Opportunity",
    "LeadHistory": "Lead",
    "CampaignMember": "Campaign",
    "CampaignMemberStatus": "Campaign",
}
CRM_OBJECTS = ("Lead", "Contact", "Account", "Opportunity", "Campaign")
_ACTIVITIES = {"Task": "PermissionsEditTask", "Event": "PermissionsEditEvent"}
_SHARED = frozenset({"Lead", "Contact", "Account", "Opportunity"})
_PERMISSION_TABLES = frozenset(
    ["User", "Profile", "PermissionSet", "PermissionSetAssignment", "FieldPermissions", "ObjectPermissions"]
)
_FLAGS = [
    "PermissionsApiEnabled",
    "PermissionsViewAllData",
    "PermissionsModifyAllData",
    "PermissionsCustomizeApplication",
    "PermissionsEditTask",
    "PermissionsEditEvent",
    "PermissionsActivitiesAccess",
    "PermissionsViewSetup",
]

FULL_RIGHTS = frozenset(
    {"PermissionsApiEnabled", "PermissionsViewAllData", "PermissionsModifyAllData", "PermissionsCustomizeApplication"}
)
"""Of a user who may do everything."""


@dataclass(slots=True)
class Rights:
    """What one user may do at the moment."""

    user_id: str
    active: bool
    time_zone: str = "UTC"
    flags: frozenset[str] = frozenset()
    objects: dict[str, frozenset[str]] = field(default_factory=dict)
    readable: frozenset[str] = frozenset()  # "lead.mikomi_score__c"
    editable: frozenset[str] = frozenset()
    hidden: frozenset[str] = frozenset()
    frozen: frozenset[str] = frozenset()

    @property
    def customizes(self) -> bool:
        return "PermissionsCustomizeApplication" in self.flags

    @property
    def sees_all(self) -> bool:
        return bool(self.flags & {"PermissionsViewAllData", "PermissionsModifyAllData"})

    def may(self, verb: str, sobject: str) -> bool:
        """`verb` is create, read, edit or delete; `sobject` an exact API name."""
        if "PermissionsModifyAllData" in self.flags:
            return True
        if sobject in _ACTIVITIES:
            return "PermissionsActivitiesAccess" in self.flags and (
                verb == "read" or _ACTIVITIES[sobject] in self.flags
            )
        owner = _FOLLOWS.get(sobject, sobject)
        if owner in CRM_OBJECTS:
            needed = verb if owner == sobject or verb == "read" else "edit"
            return needed in self.objects.get(owner, ())
        return verb == "read"

    def reads(self, sobject: str, name: str, *, custom: bool) -> bool:
        key = f"{sobject}.{name}".lower()
        return key in self.readable if custom else key not in self.hidden

    def edits(self, sobject: str, name: str, *, custom: bool) -> bool:
        key = f"{sobject}.{name}".lower()
        return key in self.editable if custom else key not in self.frozen and key not in self.hidden


class Access:
    """The rights of users, cached until a permission row changes."""

    def __init__(self, store: Store, schema: Schema, visible_share: float) -> None:
        self._store = store
        self._schema = schema
        self.visible_share = visible_share
        self._lock = threading.Lock()
        self._cache: dict[str, Rights] = {}

    def forget(self, sobject: str | None = None) -> None:
        """Rows of this object changed (None: something about permissions did)."""
        if sobject is None or sobject in _PERMISSION_TABLES:
            with self._lock:
                self._cache = {}

    def of(self, user_id: str) -> Rights:
        """The rights of that user; raises the 401 of a session whose user is gone."""
        cache = self._cache
        rights = cache.get(user_id)
        if rights is None:
            rights = self._compute(user_id)
            cache[user_id] = rights
        return rights

    def visible(self, rights: Rights, sobject: str, name: str) -> bool:
        """Object and field-level read right; unknown names are visible, so that others say they do not exist."""
        found = self._schema.find(sobject)
        if found is None:
            return True
        if not rights.may("read", found.name):
            return False
        one = found.field(name)
        return one is None or rights.reads(found.name, one.name, custom=one.custom)

    def row_filter(self, rights: Rights, sobject: str) -> str | None:
        """An SQL predicate over the columns of that table for the rows the user sees; None where that is all."""
        share = self.visible_share
        if share >= 1.0 or sobject not in _SHARED or rights.sees_all:
            return None
        if "view_all" in rights.objects.get(sobject, ()):
            return None
        # A multiplicative hash of the id's last three characters: stable, spread over any run of ids.
        digits = " + ".join(f'unicode(substr("Id", {place}, 1)) * {weight}' for place, weight in _HASHED)
        return f"(({digits}) * 40503 % 65521) < {int(share * 65521)}"

    def sees(self, rights: Rights, sobject: str, record_id: str) -> bool:
        """Whether sharing shows that row to the user."""
        predicate = self.row_filter(rights, sobject)
        if predicate is None:
            return True
        sql = f'SELECT 1 FROM "{sobject}" WHERE Id = ? AND {predicate}'
        return self._store.value(sql, (record_id,)) is not None

    def demand(self, rights: Rights, verb: str, sobject: str) -> None:
        """Refuse what the user may not do to that object, as the vendor does."""
        if rights.may(verb, sobject):
            return
        if not rights.may("read", sobject):
            raise resource_missing()
        if sobject in CRM_OBJECTS or sobject in _ACTIVITIES or sobject in _FOLLOWS:
            done = {"create": "inserted", "edit": "updated", "delete": "deleted"}[verb]
            raise RowError("INVALID_TYPE_FOR_OPERATION", f"entity type cannot be {done}: {sobject}")
        raise RowError("INSUFFICIENT_ACCESS_OR_READONLY", "insufficient access rights on object id", status=403)

    def _compute(self, user_id: str) -> Rights:
        user = self._store.get("User", user_id)
        if user is None:
            raise session_invalid()
        sets = self._store.rows(
            'SELECT * FROM "PermissionSet" WHERE ProfileId = ? OR Id IN '
            '(SELECT PermissionSetId FROM "PermissionSetAssignment" WHERE AssigneeId = ?)',
            (user["ProfileId"], user_id),
        )
        ids = [row["Id"] for row in sets]
        marks = ", ".join("?" * len(ids))
        fields = self._store.rows(f'SELECT * FROM "FieldPermissions" WHERE ParentId IN ({marks})', ids)
        objects = self._store.rows(f'SELECT * FROM "ObjectPermissions" WHERE ParentId IN ({marks})', ids)
        denials = self._store.rows('SELECT Field, Edit FROM "_field_denial" WHERE UserId = ?', (user_id,))
        return Rights(
            user_id=user_id,
            active=bool(user["IsActive"]),
            time_zone=user["TimeZoneSidKey"] or "UTC",
            flags=frozenset(flag for flag in _FLAGS if any(row[flag] for row in sets)),
            objects=_objects(objects),
            readable=frozenset(r["Field"].lower() for r in fields if r["PermissionsRead"] or r["PermissionsEdit"]),
            editable=frozenset(r["Field"].lower() for r in fields if r["PermissionsEdit"]),
            hidden=frozenset(r["Field"].lower() for r in denials if not r["Edit"]),
            frozen=frozenset(r["Field"].lower() for r in denials if r["Edit"]),
        )


_HASHED = ((13, 3721), (14, 61), (15, 1))
_VERBS = {
    "create": "PermissionsCreate",
    "read": "PermissionsRead",
    "edit": "PermissionsEdit",
    "delete": "PermissionsDelete",
    "view_all": "PermissionsViewAllRecords",
}


def _objects(rows: Iterable[Row]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for row in rows:
        verbs = found.setdefault(row["SobjectType"], set())
        verbs.update(verb for verb, column in _VERBS.items() if row[column])
    return {name: frozenset(verbs) for name, verbs in found.items()}
