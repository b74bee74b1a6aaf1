"""Both accounts as the integration works in them: under its own user, through the rules of the apps, call by call."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from sandbox.hubspot.errors import ApiError as HubSpotError
from sandbox.hubspot.object_types import ObjectType
from sandbox.hubspot.portal import Portal
from sandbox.hubspot.records import Source
from sandbox.hubspot.store import Properties
from sandbox.hubspot.store import Row as HubSpotRow
from sandbox.hubspot.wire import stamp
from sandbox.native.memory import Memory
from sandbox.salesforce.access import FULL_RIGHTS
from sandbox.salesforce.errors import ApiError as SalesforceError
from sandbox.salesforce.org import Org, Work
from sandbox.salesforce.rows import create_row, delete_row, update_row
from sandbox.salesforce.seed import ADMIN, NATIVE_SYNC
from sandbox.salesforce.store import Row

SOURCE = Source("SALESFORCE", "salesforce", None, "Salesforce")
"""Who writes in HubSpot: property history and record source show it, an app's writes look different."""


class Sides:
    """One poll's hands: a HubSpot account and a Salesforce org, what is remembered, and the calls spent."""

    def __init__(self, portal: Portal, org: Org, memory: Memory) -> None:
        self.portal = portal
        self.org = org
        self.memory = memory
        self.calls = 0

    @property
    def now_ms(self) -> int:
        return self.portal.clock.now_ms()

    @contextmanager
    def record(self, place: str) -> Iterator[None]:
        """One record's work: all of it or none; what either account refuses goes on the error list."""
        try:
            with self.portal.store.attempt(), self.org.store.write():
                yield
        except SalesforceError as refused:
            self.org.access.forget()
            self.memory.note_error(place, refused.code, refused.message, self.now_ms)
        except HubSpotError as refused:
            self.memory.note_error(place, refused.category, refused.message, self.now_ms)
        except ValueError as wrong:  # a text that is no number, date or time
            self.memory.note_error(place, "VALIDATION_ERROR", str(wrong), self.now_ms)
        else:
            self.memory.clear_error(place)

    # HubSpot

    def contact_row(self, kind: ObjectType, row_id: int) -> HubSpotRow | None:
        """A live record (merged-away ids lead to the survivor)."""
        survivor = self.portal.records.survivor(kind, row_id)
        row = self.portal.store.get(kind, [survivor]).get(survivor)
        return row if row is not None and row.archived_ms is None else None

    def changed_rows(self, kind: ObjectType, since_ms: int) -> list[HubSpotRow]:
        """Records created or changed since then, archived ones too, by id."""
        sql = (
            f"SELECT id FROM {kind.name} WHERE archived_ms IS NULL AND updated_ms >= ? "
            f"UNION SELECT id FROM {kind.name} WHERE archived_ms >= ?"
        )
        ids = [row[0] for row in self.portal.store.db.execute(sql, (since_ms, since_ms))]
        rows = self.portal.store.get(kind, ids)
        return [rows[row_id] for row_id in sorted(rows)]

    def set_properties(self, kind: ObjectType, row: HubSpotRow, given: Properties) -> HubSpotRow:
        """Write what differs; a record that is as it should be is not touched."""
        changed = {name: value for name, value in given.items() if value != row.properties.get(name)}
        if not changed:
            return row
        if self.portal.schema.get(kind, "salesforcelastsynctime") is not None:
            changed["salesforcelastsynctime"] = stamp(self.now_ms)
        return self.portal.records.update(kind, row, changed, SOURCE)

    def create_hubspot(self, kind: ObjectType, given: Properties) -> HubSpotRow:
        if self.portal.schema.get(kind, "salesforcelastsynctime") is not None:
            given = {**given, "salesforcelastsynctime": stamp(self.now_ms)}
        return self.portal.records.create(kind, given, SOURCE)

    # Salesforce

    def work(self) -> Work:
        """As the integration user, whose profile may do everything and see every field."""
        work = self.org.work(self._user(), person=True)
        rights = replace(work.rights, active=True, flags=FULL_RIGHTS)
        return replace(work, rights=rights)

    def live(self, sobject: str, record_id: str) -> Row | None:
        row = self.org.store.get(sobject, record_id)
        return row if row is not None and not row["IsDeleted"] else None

    def changed_salesforce(self, sobject: str, since_ms: int) -> list[Row]:
        """Live rows changed since then, by id; one query, one call."""
        self.calls += 1
        sql = f'SELECT * FROM "{sobject}" WHERE SystemModstamp >= ? AND IsDeleted = 0 ORDER BY Id'
        return self.org.store.rows(sql, (since_ms // 1000 * 1000,))

    def deleted_salesforce(self, sobjects: tuple[str, ...], since_ms: int) -> list[tuple[str, str]]:
        """(object, id) of rows deleted since then, purged ones too."""
        self.calls += 1
        marks = ", ".join("?" * len(sobjects))
        sql = f'SELECT SObject, Id FROM "_deletion" WHERE SObject IN ({marks}) AND DeletedDate >= ? ORDER BY Id'
        rows = self.org.store.rows(sql, (*sobjects, since_ms // 1000 * 1000))
        return [(row["SObject"], row["Id"]) for row in rows]

    def create_salesforce(self, sobject: str, body: dict[str, Any]) -> str:
        self.calls += 1
        given = {name: value for name, value in body.items() if value is not None}
        return create_row(self.work(), self.org.schema.get(sobject), given)

    def update_salesforce(self, sobject: str, record_id: str, body: dict[str, Any]) -> None:
        self.calls += 1
        update_row(self.work(), self.org.schema.get(sobject), record_id, body)

    def delete_salesforce(self, sobject: str, record_id: str) -> None:
        self.calls += 1
        delete_row(self.work(), self.org.schema.get(sobject), record_id)

    # owners: the same person has the same address in both accounts

    def user_of(self, owner_id: str | None) -> str | None:
        """The active Salesforce user with the address of a HubSpot owner."""
        owner = self.portal.store.documents.get("owner", owner_id) if owner_id else None
        if owner is None or not owner.get("email"):
            return None
        sql = 'SELECT Id FROM "User" WHERE Email = ? COLLATE NOCASE AND IsActive = 1 ORDER BY Id LIMIT 1'
        found = self.org.store.value(sql, (owner["email"],))
        return str(found) if found else None

    def owner_of(self, user_id: str | None) -> str | None:
        """The HubSpot owner with the address of a Salesforce user."""
        email = self.org.store.value('SELECT Email FROM "User" WHERE Id = ?', (user_id,)) if user_id else None
        for owner_id, owner in self.portal.store.documents.all("owner").items() if email else ():
            if not owner["archived"] and str(owner.get("email") or "").lower() == str(email).lower():
                return owner_id
        return None

    def _user(self) -> str:
        """The integration user; made when the sync is first at work."""
        sql = 'SELECT Id FROM "User" WHERE Username = ?'
        found = self.org.store.value(sql, (NATIVE_SYNC,))
        if found:
            return str(found)
        admin = self.org.store.rows('SELECT * FROM "User" WHERE Username = ?', (ADMIN,))[0]
        row: Row = {name: admin[name] for name in _LIKE_ADMIN}
        row |= {"Username": NATIVE_SYNC, "Email": NATIVE_SYNC, "LastName": "Integration", "FirstName": "HubSpot"}
        row |= {"Name": "HubSpot Integration", "Alias": "hubspot", "CommunityNickname": "hubspot", "IsActive": 1}
        return self.org.work(str(admin["Id"]), person=True).add("User", row)


_LIKE_ADMIN = (
    "ProfileId",
    "UserType",
    "TimeZoneSidKey",
    "LocaleSidKey",
    "EmailEncodingKey",
    "LanguageLocaleKey",
)
