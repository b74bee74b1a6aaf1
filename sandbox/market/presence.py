"""Which CRM records stand for a person: originals, duplicates, converted, merged and deleted ones."""

import random
from dataclasses import dataclass, field
from typing import Literal

from sandbox.market.mint import Mint
from sandbox.market.model import DAY, HOUR, MINUTE, Deal, Household, Options, Person

Role = Literal["original", "converted", "duplicate", "merged", "deleted"]


@dataclass(slots=True)
class Entry:
    """One CRM record of a person. `email` None: the record has none."""

    system: str  # "salesforce" or "hubspot"
    kind: str  # "Lead", "Contact", "contact"
    id: str
    person: Person
    role: Role
    created_ms: int
    email: str | None
    survivor: "Entry | None" = None  # converted to, or merged into
    ended_ms: int | None = None  # converted, merged or deleted then
    deal: Deal | None = None  # the deal a Lead was converted with


@dataclass(slots=True)
class Presence:
    """All records of a household. `salesforce` and `hubspot` give the record that activities of a person go to now."""

    entries: list[Entry] = field(default_factory=list)
    salesforce: dict[int, Entry] = field(default_factory=dict)
    hubspot: dict[int, Entry] = field(default_factory=dict)
    duplicates: dict[int, Entry] = field(default_factory=dict)  # live second records in Salesforce
    account_id: str = ""
    plant_account_id: str = ""
    company_id: int = 0
    plant_company_id: int = 0
    deal_ids: dict[int, tuple[str, int]] = field(default_factory=dict)  # place in deals: Salesforce and HubSpot id

    def leads_of(self, person: Person) -> list[Entry]:
        return [entry for entry in self.entries if entry.person is person and entry.kind == "Lead"]


def place_household(rng: random.Random, options: Options, mint: Mint, household: Household) -> Presence:
    """Decide and number the records of a household as they stand at `options.now_ms`."""
    presence = Presence()
    taken: set[str] = set()
    for person in household.people:
        if person.in_salesforce:
            _enter_salesforce(rng, options, mint, household, presence, person)
        if person.in_hubspot:
            _enter_hubspot(rng, options, mint, presence, person, taken)
    _number_accounts(mint, household, presence, options.now_ms)
    return presence


def _enter_salesforce(
    rng: random.Random, options: Options, mint: Mint, household: Household, presence: Presence, person: Person
) -> None:
    now = options.now_ms
    email = person.salesforce_email or person.email
    created = person.entered_ms
    if person.in_hubspot:  # the native sync polls every 15 minutes; without it the second system hears of them later
        delay = 15 * MINUTE if person.linked else 20 * DAY
        created = min(created + round(rng.random() * delay), now - 30 * MINUTE)
    as_contact = household.company.past_won_ms is not None or rng.random() < 0.25
    kind = "Contact" if as_contact and not person.moved else "Lead"  # at a new firm nobody has an account yet
    main = Entry("salesforce", kind, mint.salesforce(kind), person, "original", created, email)
    presence.entries.append(main)
    if kind == "Lead":
        main = _convert(rng, mint, now, presence, main)
    presence.salesforce[person.index] = main
    if now - created > 2 * DAY:
        _add_accidents(rng, mint, now, presence, main)


def _convert(rng: random.Random, mint: Mint, now: int, presence: Presence, lead: Entry) -> Entry:
    """A Lead becomes a Contact when the opportunity opens; a few are converted without one."""
    person = lead.person
    converted_ms, deal = None, None
    if person.moved:
        return lead
    if person.opens_ms is not None and person.opens_ms <= now - HOUR:
        converted_ms, deal = max(person.opens_ms, lead.created_ms + 10 * MINUTE), person.deal
    elif rng.random() < 0.02 and now - lead.created_ms > 40 * DAY:
        converted_ms = lead.created_ms + 20 * DAY
    if converted_ms is None or converted_ms > now - MINUTE:
        return lead
    contact_id = mint.salesforce("Contact")
    contact = Entry("salesforce", "Contact", contact_id, person, "original", converted_ms, lead.email)
    lead.role, lead.survivor, lead.ended_ms, lead.deal = "converted", contact, converted_ms, deal
    presence.entries.append(contact)
    return contact


def _add_accidents(rng: random.Random, mint: Mint, now: int, presence: Presence, main: Entry) -> None:
    """Six in a hundred are entered twice; two of them have been merged; some were deleted."""
    u = rng.random()
    if u >= 0.10:
        return
    created = main.created_ms + round((0.05 + 0.9 * rng.random()) * (now - main.created_ms))
    if u < 0.007:
        if main.kind == "Lead" and main.role == "original" and main.person.opens_ms is None:
            main.role, main.ended_ms = "deleted", created
        return
    email = main.email if rng.random() < 0.8 else None
    twin = Entry("salesforce", "Lead", mint.salesforce("Lead"), main.person, "duplicate", created, email)
    presence.entries.append(twin)
    ended = created + round(rng.random() * (now - created))
    if u < 0.06:
        presence.duplicates[main.person.index] = twin
    elif u < 0.08 and main.kind == "Lead":  # Salesforce merges within one object
        twin.role, twin.survivor, twin.ended_ms = "merged", main, ended
    else:
        twin.role, twin.ended_ms = "deleted", ended


def _enter_hubspot(
    rng: random.Random, options: Options, mint: Mint, presence: Presence, person: Person, taken: set[str]
) -> None:
    """HubSpot allows an e-mail once: the second user of a mailbox is known without one."""
    now = options.now_ms
    email = None if person.email in taken else person.email
    taken.add(person.email)
    created = person.entered_ms
    if person.in_salesforce and not person.linked and rng.random() < 0.3:
        created = min(created + round(rng.random() * 30 * DAY), now - 30 * MINUTE)
    main = Entry("hubspot", "contact", str(mint.hubspot("contacts")), person, "original", created, email)
    presence.entries.append(main)
    presence.hubspot[person.index] = main
    u = rng.random()
    if u >= 0.065 or now - created < 2 * DAY:
        return
    born = created + round((0.05 + 0.9 * rng.random()) * (now - created))
    if u < 0.008:
        if not person.in_salesforce and person.opens_ms is None:
            main.role, main.ended_ms = "deleted", born
        return
    address = f"{person.email.split('@')[0]}.{person.index}@mail{person.index % 7}.example"
    twin = Entry("hubspot", "contact", str(mint.hubspot("contacts")), person, "duplicate", born, address)
    presence.entries.append(twin)
    if u >= 0.04:
        twin.role, twin.survivor = "merged", main
        twin.ended_ms = born + round(rng.random() * (now - born))


def _number_accounts(mint: Mint, household: Household, presence: Presence, now: int) -> None:
    company, people = household.company, household.people
    in_salesforce = bool(presence.salesforce)
    past = any(deal.past for deal in household.deals)
    if any(e.kind == "Contact" for e in presence.entries) or (in_salesforce and past):
        presence.account_id = mint.salesforce("Account")
        if company.plant and any(p.at_plant and p.index in presence.salesforce for p in people):
            presence.plant_account_id = mint.salesforce("Account")
    if presence.hubspot:
        presence.company_id = mint.hubspot("companies")
        if company.plant and any(p.at_plant and p.index in presence.hubspot for p in people):
            presence.plant_company_id = mint.hubspot("companies")
    for place, deal in enumerate(household.deals):
        if deal.opened_ms > now - HOUR:
            continue
        members = deal.people or people
        seen = [p for p in members if deal.past or (p.opens_ms or now) <= now - HOUR]
        contacts = [
            p for p in seen if p.index in presence.salesforce and presence.salesforce[p.index].kind == "Contact"
        ]
        sf = bool(contacts) or (deal.past and in_salesforce)
        hs = any(p.index in presence.hubspot for p in seen)
        presence.deal_ids[place] = (
            mint.salesforce("Opportunity") if sf else "",
            mint.hubspot("deals") if hs else 0,
        )
