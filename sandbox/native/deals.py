"""HubSpot deals and Salesforce opportunities: linked, created on the other side, stages and fields kept alike."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from sandbox.hubspot.object_types import COMPANIES, CONTACTS, DEALS
from sandbox.hubspot.store import Row as HubSpotRow
from sandbox.native.companies import Companies
from sandbox.native.fields import Channel
from sandbox.native.memory import Link
from sandbox.native.mirror import as_body, as_properties, mirror_fields, open_channels, remember
from sandbox.native.options import NativeOptions
from sandbox.native.rules import Value
from sandbox.native.sides import Sides
from sandbox.salesforce.errors import RowError
from sandbox.salesforce.store import Row

_LINK = "hs_salesforceopportunityid"


@dataclass(frozen=True, slots=True)
class _Stage:
    """One stage of a pipeline. `chance` is 0 to 1; closed at either end only."""

    name: str
    closed: bool
    chance: float


class Stages:
    """Which stage of one side stands for which of the other: the same outcome, else the nearest probability."""

    def __init__(self, sides: Sides) -> None:
        self._hubspot = [
            _Stage(name, closed, chance)
            for name, (pipeline, closed, chance) in sides.portal.pipelines.stages().items()
            if pipeline == "default"
        ]
        rows = sides.org.store.rows('SELECT * FROM "OpportunityStage" WHERE IsActive = 1 ORDER BY SortOrder')
        self._salesforce = [
            _Stage(str(row["MasterLabel"]), bool(row["IsClosed"]), (row["DefaultProbability"] or 0) / 100)
            for row in rows
        ]

    def to_hubspot(self, stage: object) -> str | None:
        return _nearest(stage, self._salesforce, self._hubspot)

    def to_salesforce(self, stage: object) -> str | None:
        return _nearest(stage, self._hubspot, self._salesforce)


def _nearest(name: object, own: Iterable[_Stage], others: Iterable[_Stage]) -> str | None:
    stage = next((one for one in own if one.name == name), None)
    if stage is None:
        return None
    fitting = [one for one in others if one.closed == stage.closed]
    best = min(fitting, key=lambda one: (abs(one.chance - stage.chance), one.chance), default=None)
    return best.name if best is not None else None


class Deals:
    """The deals part of one poll. A deal syncs once a linked contact takes part in it."""

    def __init__(self, sides: Sides, options: NativeOptions, companies: Companies) -> None:
        self._sides = sides
        self._memory = sides.memory
        self._options = options
        self._companies = companies
        stages = Stages(sides)
        opened = open_channels(sides, DEALS, "Opportunity", options.mapping)
        self._channels = [_as_stage(one, stages) if one.hubspot == "dealstage" else one for one in opened]

    def poll(self, since_ms: int) -> None:
        """Carry over everything that changed on either side since then."""
        changed = {row.id for row in self._sides.changed_rows(DEALS, since_ms)}
        arrivals = []
        roles = {role["OpportunityId"] for role in self._sides.changed_salesforce("OpportunityContactRole", since_ms)}
        moved = self._sides.changed_salesforce("Opportunity", since_ms)
        joined = [self._sides.live("Opportunity", one) for one in sorted(roles - {row["Id"] for row in moved})]
        for row in (*moved, *(one for one in joined if one is not None)):
            linked = self._memory.linked_to(row["Id"])
            if linked is None:
                arrivals.append(row)
            else:
                changed.add(linked)
        for _, record_id in self._sides.deleted_salesforce(("Opportunity",), since_ms):
            with self._sides.record(record_id):
                self._bury(record_id)
        for row_id in sorted(changed):
            with self._sides.record(f"deals/{row_id}"):
                self._settle(row_id)
        for row in arrivals:
            with self._sides.record(str(row["Id"])):
                self._welcome(row)

    def _settle(self, row_id: int) -> None:
        row = self._sides.contact_row(DEALS, row_id)
        link = self._memory.link("deals", row_id)
        if row is None or row.id != row_id:
            if link is not None:
                self._let_go(link, row)
            if row is None:
                return
            link = self._memory.link("deals", row.id)
        if link is None:
            link = self._join(row)
        if link is None or link.salesforce is None:
            return
        other = self._sides.live("Opportunity", link.salesforce)
        if other is not None:
            row = self._sides.set_properties(DEALS, row, {_LINK: link.salesforce})
            mirror_fields(self._sides, DEALS, "Opportunity", link, row, other, self._channels)
            self._memory.keep_link("deals", link)
            self._share_people(row.id, link.salesforce)

    def _join(self, row: HubSpotRow) -> Link | None:
        stated = row.properties.get(_LINK)
        if stated:
            other = self._sides.live("Opportunity", stated)
            if other is None or self._memory.linked_to(stated) is not None:
                return None
            link = Link(row.id, stated)
            self._memory.keep_link("deals", link)
            return link
        return self._create(row) if self._options.creates_opportunities else None

    def _create(self, row: HubSpotRow) -> Link | None:
        """An opportunity for a deal with a linked contact; leads cannot take part in one."""
        linked = self._linked_people(row.id)
        if not linked:
            return None
        contacts = [one for one in linked if one.startswith("003")]
        if not contacts:
            raise RowError("INVALID_CROSS_REFERENCE_KEY", "the deal's contacts are leads in Salesforce")
        person = self._sides.live("Contact", contacts[0])
        body = as_body(self._channels, row.properties)
        body |= {"ContactId": contacts[0], "AccountId": person["AccountId"] if person else None}
        body["OwnerId"] = self._sides.user_of(row.properties.get("hubspot_owner_id"))
        opportunity = self._sides.create_salesforce("Opportunity", body)
        other = self._sides.org.store.get("Opportunity", opportunity)
        assert other is not None
        link = Link(row.id, opportunity, remember(self._channels, row.properties, other))
        self._memory.keep_link("deals", link)
        return link

    def _welcome(self, row: Row) -> None:
        """An opportunity without a link: the deal that names it, or a new one."""
        record_id = str(row["Id"])
        if self._memory.linked_to(record_id) is not None or self._memory.was_let_go(record_id):
            return
        sql = (
            "SELECT id FROM deals WHERE archived_ms IS NULL "
            f"AND json_extract(properties, '$.{_LINK}') = ? ORDER BY id LIMIT 1"
        )
        found = self._sides.portal.store.db.execute(sql, (record_id,)).fetchone()
        if found is not None:
            self._settle(int(found[0]))
            return
        if not self._options.creates_deals or not self._contacts_on(record_id):
            return
        given = as_properties(self._channels, row)
        given |= {"pipeline": "default", _LINK: record_id, "hubspot_owner_id": self._sides.owner_of(row["OwnerId"])}
        deal = self._sides.create_hubspot(DEALS, given)
        self._memory.keep_link("deals", Link(deal.id, record_id, remember(self._channels, deal.properties, row)))
        company = self._companies.company_of(row["AccountId"])
        if company is not None:
            self._sides.portal.links.add_plain(DEALS, deal.id, COMPANIES, company)
        self._share_people(deal.id, record_id)

    def _linked_people(self, deal_id: int) -> list[str]:
        """Salesforce ids of the contacts on a deal."""
        contacts = self._sides.portal.links.of(DEALS, deal_id, CONTACTS)
        links = [self._memory.link("contacts", contact) for contact, _ in contacts]
        return [link.salesforce for link in links if link is not None and link.salesforce is not None]

    def _contacts_on(self, opportunity_id: str) -> list[int]:
        """HubSpot ids of the contacts with a role in an opportunity."""
        self._sides.calls += 1
        sql = 'SELECT ContactId FROM "OpportunityContactRole" WHERE OpportunityId = ? AND IsDeleted = 0 ORDER BY Id'
        roles = self._sides.org.store.rows(sql, (opportunity_id,))
        found = [self._memory.linked_to(role["ContactId"]) for role in roles if role["ContactId"]]
        return [contact for contact in found if contact is not None]

    def _share_people(self, deal_id: int, opportunity_id: str) -> None:
        """Whoever has a role in the opportunity is on the deal. (Roles are Salesforce's; HubSpot writes none.)"""
        known = {contact for contact, _ in self._sides.portal.links.of(DEALS, deal_id, CONTACTS)}
        for contact in self._contacts_on(opportunity_id):
            if contact not in known:
                self._sides.portal.links.add_plain(DEALS, deal_id, CONTACTS, contact)

    def _let_go(self, link: Link, survivor: HubSpotRow | None) -> None:
        """The deal was deleted, or merged into another one, which takes the link if it has none."""
        self._memory.drop_link("deals", link)
        if link.salesforce is None:
            return
        if survivor is not None and self._memory.link("deals", survivor.id) is None:
            self._memory.keep_link("deals", Link(survivor.id, link.salesforce, link.seen))
            return
        self._memory.let_go(link.salesforce)
        if self._options.on_hubspot_delete == "delete" and self._sides.live("Opportunity", link.salesforce) is not None:
            self._sides.delete_salesforce("Opportunity", link.salesforce)

    def _bury(self, record_id: str) -> None:
        row_id = self._memory.linked_to(record_id)
        link = self._memory.link("deals", row_id) if row_id is not None else None
        if link is None:
            return
        self._memory.drop_link("deals", link)
        row = self._sides.contact_row(DEALS, link.hubspot)
        if row is None:
            return
        if self._options.on_salesforce_delete == "delete":
            self._sides.portal.records.archive(DEALS, row)
            return
        self._memory.keep_link("deals", Link(link.hubspot, None))
        self._sides.set_properties(DEALS, row, {_LINK: None})


def _as_stage(channel: Channel, stages: Stages) -> Channel:
    """Stages have other names on either side: they compare in HubSpot's, of which there are fewer."""

    def key_of_salesforce(value: object) -> Value:
        return stages.to_hubspot(value)

    return replace(
        channel,
        key_of_hubspot=lambda value: value,
        key_of_salesforce=key_of_salesforce,
        to_hubspot=stages.to_hubspot,
        to_salesforce=stages.to_salesforce,
    )
