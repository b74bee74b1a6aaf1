"""HubSpot contacts and Salesforce leads or contacts: found by address, linked, created, followed, kept alike."""

from collections.abc import Iterable

from sandbox.hubspot.object_types import CONTACTS
from sandbox.hubspot.store import Properties
from sandbox.hubspot.store import Row as HubSpotRow
from sandbox.native.companies import Companies
from sandbox.native.memory import Link
from sandbox.native.mirror import as_body, as_properties, mirror_fields, open_channels, remember
from sandbox.native.options import NativeOptions
from sandbox.native.sides import Sides
from sandbox.salesforce.errors import RowError
from sandbox.salesforce.store import Row

_PREFIX = {"00Q": "Lead", "003": "Contact"}
_LINKS = {"Lead": "salesforceleadid", "Contact": "salesforcecontactid"}


def object_of(record_id: str) -> str:
    """`Lead` or `Contact`."""
    return _PREFIX[record_id[:3]]


class People:
    """The people part of one poll."""

    def __init__(self, sides: Sides, options: NativeOptions, companies: Companies) -> None:
        self._sides = sides
        self._memory = sides.memory
        self._options = options
        self._companies = companies
        self._channels = {name: open_channels(sides, CONTACTS, name, options.mapping) for name in _LINKS}

    def poll(self, since_ms: int) -> None:
        """Carry over everything that changed on either side since then."""
        sides, memory = self._sides, self._memory
        candidates = {row.id for row in sides.changed_rows(CONTACTS, since_ms)}
        candidates |= self._gone_contacts() | self._joined_list(since_ms)
        arrivals: list[tuple[str, Row]] = []
        for sobject in _LINKS:  # leads first: a conversion names its contact before that contact arrives
            for row in sides.changed_salesforce(sobject, since_ms):
                linked = memory.linked_to(row["Id"])
                if linked is None:
                    arrivals.append((sobject, row))
                    continue
                candidates.add(linked)
                if sobject == "Lead" and row["IsConverted"]:
                    with sides.record(f"contacts/{linked}"):
                        self._follow(linked, str(row["Id"]), row["ConvertedContactId"])
        for _, record_id in sides.deleted_salesforce(tuple(_LINKS), since_ms):
            with sides.record(record_id):
                self._bury(record_id)
        for row_id in sorted(candidates):
            with sides.record(f"contacts/{row_id}"):
                self._settle(row_id)
        for sobject, row in arrivals:
            with sides.record(str(row["Id"])):
                self._welcome(sobject, row)

    # the contact's side

    def _gone_contacts(self) -> set[int]:
        """Linked contacts that were merged away, archived or erased."""
        linked = self._memory.links("contacts")
        alive = self._sides.portal.store.get(CONTACTS, linked)
        return {row_id for row_id in linked if row_id not in alive or alive[row_id].archived_ms is not None}

    def _joined_list(self, since_ms: int) -> set[int]:
        """Contacts that were added to the inclusion list: that alone makes them sync."""
        if self._options.inclusion == "all":
            return set()
        sql = "SELECT record_id FROM membership WHERE list_id = ? AND joined_ms >= ?"
        rows = self._sides.portal.store.db.execute(sql, (int(self._options.inclusion), since_ms))
        return {int(row[0]) for row in rows}

    def _settle(self, row_id: int) -> None:
        row = self._sides.contact_row(CONTACTS, row_id)
        link = self._memory.link("contacts", row_id)
        if row is None:
            if link is not None:
                self._let_go(link)
            return
        if row.id != row_id:
            if link is not None:
                self._move(link, row)
            link = self._memory.link("contacts", row.id)
        included = self._included(row.id)
        if link is None and included:
            link = self._join(row)
        if link is None or link.salesforce is None or not included:
            return
        other = self._sides.live(object_of(link.salesforce), link.salesforce)
        if other is not None:
            self._mirror(link, row, other)

    def _mirror(self, link: Link, row: HubSpotRow, other: Row) -> None:
        assert link.salesforce is not None
        sobject = object_of(link.salesforce)
        if sobject == "Lead" and other["IsConverted"]:
            return  # a converted lead takes no more edits, and its contact could not be linked
        row = self._sides.set_properties(CONTACTS, row, self._ids(link.salesforce, row, other))
        mirror_fields(self._sides, CONTACTS, sobject, link, row, other, self._channels[sobject])
        self._memory.keep_link("contacts", link)

    def _ids(self, salesforce: str, row: HubSpotRow, other: Row) -> Properties:
        """The linking properties. The lead's id stays when the lead has become a contact."""
        sobject = object_of(salesforce)
        ids: Properties = {_LINKS[sobject]: salesforce}
        if sobject == "Contact":
            ids["salesforceaccountid"] = other["AccountId"]
            self._companies.attach(row.id, other["AccountId"])
        else:
            ids |= {"salesforcecontactid": None, "salesforceaccountid": None}
        return ids

    def _move(self, link: Link, survivor: HubSpotRow) -> None:
        """Contacts were merged: the survivor keeps its own link, or takes over that of the one merged away."""
        self._memory.drop_link("contacts", link)
        if self._memory.link("contacts", survivor.id) is None and link.salesforce is not None:
            self._memory.keep_link("contacts", Link(survivor.id, link.salesforce, link.seen))

    def _let_go(self, link: Link) -> None:
        """The contact was deleted: so is the other side's record, if the settings say so."""
        self._memory.drop_link("contacts", link)
        if link.salesforce is None:
            return
        self._memory.let_go(link.salesforce)
        sobject = object_of(link.salesforce)
        if self._options.on_hubspot_delete == "delete" and self._sides.live(sobject, link.salesforce) is not None:
            self._sides.delete_salesforce(sobject, link.salesforce)

    # linking

    def _join(self, row: HubSpotRow) -> Link | None:
        """The record that the contact is linked to already, or that has its address, or a new one."""
        found = next((other for other in self._candidates(row) if other is not None), None)
        if found is None:
            return self._create(row)
        link = Link(row.id, str(found["Id"]))
        self._memory.keep_link("contacts", link)
        return link

    def _candidates(self, row: HubSpotRow) -> Iterable[Row | None]:
        for sobject in ("Contact", "Lead"):  # where both exist, the contact is preferred
            stated = row.properties.get(_LINKS[sobject])
            if stated:
                yield self._free(self._sides.live(sobject, stated))
        email = row.properties.get("email")
        if not email:
            return
        for sobject in ("Contact", "Lead"):
            self._sides.calls += 1
            sql = (
                f'SELECT * FROM "{sobject}" WHERE Email = ? COLLATE NOCASE AND IsDeleted = 0 '
                "ORDER BY LastModifiedDate DESC, Id"
            )
            for other in self._sides.org.store.rows(sql, (email,)):
                yield self._free(other)

    def _free(self, other: Row | None) -> Row | None:
        """The row, unless another contact is linked to it or it is a converted lead."""
        if other is None or other.get("IsConverted") or self._memory.linked_to(str(other["Id"])) is not None:
            return None
        return other

    def _create(self, row: HubSpotRow) -> Link | None:
        sobject = self._options.creates
        if sobject is None or not row.properties.get("email"):
            return None
        body = as_body(self._channels[sobject], row.properties)
        body["OwnerId"] = self._sides.user_of(row.properties.get("hubspot_owner_id"))
        if sobject == "Contact":
            body["AccountId"] = self._companies.account_of(row.id)
        salesforce = self._sides.create_salesforce(sobject, body)
        other = self._sides.org.store.get(sobject, salesforce)
        assert other is not None
        link = Link(row.id, salesforce, remember(self._channels[sobject], row.properties, other))
        self._memory.keep_link("contacts", link)
        return link

    # the other side

    def _follow(self, row_id: int, lead_id: str, contact_id: str | None) -> None:
        """A linked lead was converted: from now on the link goes to its contact."""
        link = self._memory.link("contacts", row_id)
        if link is None or contact_id is None or link.salesforce != lead_id:
            return
        taken = self._memory.linked_to(contact_id)
        if taken not in (None, row_id):
            message = f"contact {contact_id} is linked to HubSpot contact {taken} already"
            raise RowError("DUPLICATES_DETECTED", message)
        link.salesforce = contact_id
        self._memory.keep_link("contacts", link)

    def _bury(self, record_id: str) -> None:
        """A linked lead or contact was deleted: merged into another one, or gone."""
        row_id = self._memory.linked_to(record_id)
        link = self._memory.link("contacts", row_id) if row_id is not None else None
        if link is None or link.salesforce != record_id:
            return
        gone = self._sides.org.store.get(object_of(record_id), record_id)
        master = gone["MasterRecordId"] if gone is not None else None
        free = master is not None and self._memory.linked_to(master) is None
        link.salesforce = master if free else None
        self._memory.keep_link("contacts", link)
        row = self._sides.contact_row(CONTACTS, link.hubspot)
        if row is None:
            return
        if link.salesforce is not None:
            other = self._sides.live(object_of(link.salesforce), link.salesforce)
            if other is not None:
                self._mirror(link, row, other)
        elif self._options.on_salesforce_delete == "delete" and master is None:
            self._sides.portal.records.archive(CONTACTS, row)
            self._memory.drop_link("contacts", link)
        else:
            blank = dict.fromkeys((*_LINKS.values(), "salesforceaccountid"))
            self._sides.set_properties(CONTACTS, row, dict(blank))

    def _welcome(self, sobject: str, row: Row) -> None:
        """A lead or contact without a link: the HubSpot contact of its address, or a new one."""
        record_id, email = str(row["Id"]), row["Email"]
        if not email or row.get("IsConverted") or self._memory.linked_to(record_id) is not None:
            return
        if self._memory.was_let_go(record_id):
            return
        known = self._sides.portal.records.by_unique(CONTACTS, "email", email)
        if known is not None:
            if self._memory.link("contacts", known) is None and self._included(known):
                link = Link(known, record_id)
                self._memory.keep_link("contacts", link)
                self._settle(known)
            return
        if not self._options.creates_contacts:
            return
        channels = self._channels[sobject]
        properties = as_properties(channels, row)
        properties |= {_LINKS[sobject]: record_id, "hubspot_owner_id": self._sides.owner_of(row["OwnerId"])}
        if sobject == "Contact":
            properties["salesforceaccountid"] = row["AccountId"]
        contact = self._sides.create_hubspot(CONTACTS, properties)
        self._memory.keep_link("contacts", Link(contact.id, record_id, remember(channels, contact.properties, row)))
        if sobject == "Contact":
            self._companies.attach(contact.id, row["AccountId"])

    def _included(self, row_id: int) -> bool:
        if self._options.inclusion == "all":
            return True
        sql = "SELECT 1 FROM membership WHERE list_id = ? AND record_id = ?"
        found = self._sides.portal.store.db.execute(sql, (int(self._options.inclusion), row_id)).fetchone()
        return found is not None
