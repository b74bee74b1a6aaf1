"""Salesforce accounts as HubSpot companies: those of linked contacts, linked and kept alike."""

from sandbox.hubspot.object_types import COMPANIES, CONTACTS
from sandbox.native.memory import Link
from sandbox.native.mirror import as_properties, mirror_fields, open_channels, remember
from sandbox.native.options import NativeOptions
from sandbox.native.sides import Sides


class Companies:
    """The companies part of one poll. A company becomes linked when a contact at its account is."""

    def __init__(self, sides: Sides, options: NativeOptions) -> None:
        self._sides = sides
        self._memory = sides.memory
        self._channels = open_channels(sides, COMPANIES, "Account", options.mapping)

    def poll(self, since_ms: int) -> None:
        """Carry over what changed on linked companies and accounts."""
        changed = {row.id for row in self._sides.changed_rows(COMPANIES, since_ms)}
        for account in self._sides.changed_salesforce("Account", since_ms):
            linked = self._memory.linked_to(account["Id"])
            if linked is not None:
                changed.add(linked)
        for _, account_id in self._sides.deleted_salesforce(("Account",), since_ms):
            self._unlink(account_id)
        for row_id in sorted(changed):
            with self._sides.record(f"companies/{row_id}"):
                self._settle(row_id)

    def attach(self, contact_id: int, account_id: str | None) -> None:
        """Associate a contact with the company of its Salesforce contact's account."""
        company = self._company_of(account_id) if account_id else None
        if company is not None:
            known = {other for other, _ in self._sides.portal.links.of(CONTACTS, contact_id, COMPANIES)}
            if company not in known:
                self._sides.portal.links.add_plain(CONTACTS, contact_id, COMPANIES, company)

    def account_of(self, contact_id: int) -> str | None:
        """The linked account of a contact's company."""
        for company, _ in self._sides.portal.links.of(CONTACTS, contact_id, COMPANIES):
            link = self._memory.link("companies", company)
            if link is not None and link.salesforce is not None:
                return link.salesforce
        return None

    def company_of(self, account_id: str | None) -> int | None:
        """The linked company of an account."""
        return self._memory.linked_to(account_id) if account_id else None

    def _company_of(self, account_id: str) -> int | None:
        """The company linked to an account: the one that says so, the one of that name, or a new one."""
        linked = self._memory.linked_to(account_id)
        account = self._sides.live("Account", account_id)
        if linked is not None or account is None:
            return linked
        found = self._find("salesforceaccountid", account_id) or self._find("name", account["Name"])
        if found is None:
            given = {**as_properties(self._channels, account), "salesforceaccountid": account_id}
            row = self._sides.create_hubspot(COMPANIES, given)
            link = Link(row.id, account_id, remember(self._channels, row.properties, account))
            self._memory.keep_link("companies", link)
            return row.id
        self._memory.keep_link("companies", Link(found, account_id))
        self._settle(found)
        return found

    def _find(self, name: str, value: str) -> int | None:
        """A live company with that value which is not linked yet."""
        sql = (
            "SELECT id FROM companies WHERE archived_ms IS NULL "
            f"AND json_extract(properties, '$.{name}') = ? ORDER BY id LIMIT 20"
        )
        rows = self._sides.portal.store.db.execute(sql, (value,)).fetchall()
        return next((int(row[0]) for row in rows if self._memory.link("companies", row[0]) is None), None)

    def _settle(self, row_id: int) -> None:
        row = self._sides.contact_row(COMPANIES, row_id)
        link = self._memory.link("companies", row_id)
        if link is None or link.salesforce is None:
            return
        account = self._sides.live("Account", link.salesforce)
        if row is None or row.id != row_id or account is None:
            self._memory.drop_link("companies", link)
            return
        row = self._sides.set_properties(COMPANIES, row, {"salesforceaccountid": link.salesforce})
        mirror_fields(self._sides, COMPANIES, "Account", link, row, account, self._channels)
        self._memory.keep_link("companies", link)

    def _unlink(self, account_id: str) -> None:
        """The account is gone; the company stays, and may be linked again to another one."""
        row_id = self._memory.linked_to(account_id)
        link = self._memory.link("companies", row_id) if row_id is not None else None
        if link is None:
            return
        self._memory.drop_link("companies", link)
        row = self._sides.contact_row(COMPANIES, link.hubspot)
        if row is not None:
            with self._sides.record(f"companies/{row.id}"):
                self._sides.set_properties(COMPANIES, row, {"salesforceaccountid": None})
