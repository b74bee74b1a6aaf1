"""One household in HubSpot's shapes: companies, contacts, deals and engagements."""

import random
from collections.abc import Iterator

from sandbox.market.mint import Block, Mint, Row, iso
from sandbox.market.model import HOUR, MINUTE, Act, Deal, Household, Person
from sandbox.market.portal import Portal
from sandbox.market.presence import Entry, Presence
from sandbox.market.spelling import phone, spell_company, spell_name, spell_title
from sandbox.market.tracking import Tracker
from sandbox.market.words import INDUSTRIES, LOSS_REASONS, PLACES

STAGES = (
    "appointmentscheduled",
    "qualifiedtobuy",
    "presentationscheduled",
    "decisionmakerboughtin",
    "contractsent",
)
_SOURCE = {"inbound": "ORGANIC_SEARCH", "outbound": "OFFLINE", "trade_show": "OFFLINE"}
_LOGGED = {"call": "calls", "meeting": "meetings", "email_out": "emails", "email_reply": "emails"}
_TO_CONTACT = {"calls": 194, "meetings": 200, "emails": 198}
_NOTE_TO_CONTACT = 202
_TO_COMPANY = {"calls": 182, "meetings": 188, "emails": 186}
_CONNECTED, _NO_ANSWER = "f240bbac-87c9-4f6e-bf70-924b57d47db7", "73a0d17f-1163-4015-bdd5-ec830791da20"
_CONTACT_TO_COMPANY, _PRIMARY = 279, 1
_DEAL_TO_CONTACT, _DEAL_TO_COMPANY, _DEAL_PRIMARY = 3, 341, 5
_CHILD_TO_PARENT = 14


class HubSpotWriter:
    """Writes one household into a block."""

    def __init__(
        self, rng: random.Random, portal: Portal, mint: Mint, block: Block, household: Household, presence: Presence
    ) -> None:
        self.rng = rng
        self.portal = portal
        self.mint = mint
        self.block = block
        self.household = household
        self.presence = presence
        self.now = portal.options.now_ms
        self.owner = portal.owner(household.company.index)
        self.tracker = Tracker(rng, portal, mint, block)

    def write(self) -> None:
        if not self.presence.company_id:
            return
        self._write_companies()
        for place, (salesforce_id, deal_id) in self.presence.deal_ids.items():
            if deal_id:
                self._write_deal(self.household.deals[place], deal_id, salesforce_id)
        for entry in self.presence.entries:
            if entry.system == "hubspot" and entry.role != "merged":
                self._write_contact(entry)

    def _put(self, object_type: str, record_id: int, properties: Row, created: int, updated: int) -> Row:
        updated = min(max(updated, created), self.now - MINUTE)
        row: Row = {"id": record_id, "properties": properties, "created_ms": created, "updated_ms": updated}
        self.block.objects[object_type].append(row)
        return row

    # companies

    def _write_companies(self) -> None:
        company, presence = self.household.company, self.presence
        entries = [e for e in presence.entries if e.system == "hubspot"]
        created = min([e.created_ms for e in entries] + [d.opened_ms for d in self.household.deals if d.past])
        linked = presence.account_id and any(e.person.linked for e in entries)
        properties = {
            "name": company.legal,
            "domain": company.domain,
            "industry": INDUSTRIES[company.industry][2],
            "numberofemployees": str(company.employees),
            "state": PLACES[company.place][0],
            "city": PLACES[company.place][1],
            "country": "日本",
            "website": f"www.{company.domain}",
            "hubspot_owner_id": self.owner,
            "salesforceaccountid": presence.account_id if linked else None,
        }
        updated = (
            max(d.closes_ms if d.closes_ms < self.now else 0 for d in self.household.deals)
            if self.household.deals
            else 0
        )
        self._put("companies", presence.company_id, _filled(properties), created, updated)
        if presence.plant_company_id:
            plant = properties | {
                "name": f"{company.legal} {company.plant}",
                "domain": None,
                "website": None,
                "salesforceaccountid": presence.plant_account_id if linked else None,
                "numberofemployees": str(max(company.employees // 4, 3)),
            }
            self._put("companies", presence.plant_company_id, _filled(plant), created + HOUR, created + HOUR)
            self.block.associations["companies", "companies"].append(
                (presence.plant_company_id, presence.company_id, _CHILD_TO_PARENT)
            )

    def _company_of(self, person: Person) -> int:
        return (person.at_plant and self.presence.plant_company_id) or self.presence.company_id

    # contacts

    def _write_contact(self, entry: Entry) -> None:
        person, contact_id = entry.person, int(entry.id)
        original = entry is self.presence.hubspot[person.index]
        last, first = spell_name(self.rng, person, person.hubspot_surname)
        dead = entry.role == "deleted"
        properties = {
            "firstname": first,
            "lastname": last,
            "email": entry.email,
            "jobtitle": spell_title(self.rng, person),
            "company": spell_company(self.rng, self.household.company, person),
            "phone": phone(person),
            "hubspot_owner_id": self.owner if self.rng.random() < 0.8 else None,
            "hs_analytics_source": _SOURCE[person.channel],
            "lifecyclestage": "lead",
        }
        stamps = [entry.created_ms]
        stamps += [e.ended_ms or 0 for e in self.presence.entries if e.survivor is entry]
        if original:
            properties |= self._link(entry) | self._state(person, stamps)
            until = entry.ended_ms if dead and entry.ended_ms else self.now + 30 * 24 * HOUR
            stamps += [self._write_act(act, entry) for act in person.acts if act.at <= until]
            properties |= self.tracker.summarise()
            if self.rng.random() < 0.12:
                stamps.append(self._write_note(entry, until))
            self._write_history(entry, properties)
        row = self._put("contacts", contact_id, _filled(properties), entry.created_ms, max(stamps))
        if dead:
            row["archived_ms"] = row["updated_ms"] = entry.ended_ms
        company_id = self._company_of(person)
        pair = self.block.associations["contacts", "companies"]
        pair.append((contact_id, company_id, _CONTACT_TO_COMPANY))
        pair.append((contact_id, company_id, _PRIMARY))

    def _link(self, entry: Entry) -> Row:
        """What the native sync and merges have left on the contact."""
        person = entry.person
        absorbed = [e.id for e in self.presence.entries if e.role == "merged" and e.survivor is entry]
        links: Row = {"hs_merged_object_ids": ";".join(absorbed) or None}
        salesforce = self.presence.salesforce.get(person.index)
        if person.linked and salesforce is not None:
            leads = [e.id for e in self.presence.leads_of(person) if e is salesforce or e.survivor is salesforce]
            leads = [e for e in leads if self._is_not_merged(e)]
            links["salesforceleadid"] = leads[0] if leads else None
            links["salesforcecontactid"] = salesforce.id if salesforce.kind == "Contact" else None
            links["salesforceaccountid"] = self.presence.account_id if salesforce.kind == "Contact" else None
        return links

    def _is_not_merged(self, lead_id: str) -> bool:
        return all(e.id != lead_id or e.role != "merged" for e in self.presence.entries)

    def _state(self, person: Person, stamps: list[int]) -> Row:
        """Opt-out, bounce and lifecycle as of now; the dates at which they changed go to `stamps`."""
        state: Row = {"lifecyclestage": "lead"}
        if person.opted_out_ms is not None:
            state["hs_email_optout"] = "true"
            stamps.append(person.opted_out_ms)
        if person.bounced_ms is not None:
            state["hs_email_bounce"] = "1"
            stamps.append(person.bounced_ms)
        if person.promoted_ms is not None:
            stamps.append(person.promoted_ms)
        opened = person.opens_ms is not None and person.opens_ms <= self.now - HOUR
        if opened and person.deal is not None:
            won = person.deal.won and person.deal.closes_ms <= self.now - HOUR
            state["lifecyclestage"] = "customer" if won else "opportunity"
            state["num_associated_deals"] = "1"
            stamps.append(person.deal.closes_ms if won else person.opens_ms or 0)
        return state

    def _write_history(self, entry: Entry, properties: Row) -> None:
        """Versions, newest first, of what rules and outcomes look at."""
        person, start = entry.person, entry.created_ms
        stages = [(start, "lead")]
        if properties["lifecyclestage"] != "lead" and person.opens_ms is not None and person.deal is not None:
            stages.append((max(person.opens_ms, start + 1), "opportunity"))
            if properties["lifecyclestage"] == "customer":
                stages.append((max(person.deal.closes_ms, start + 2), "customer"))
        self._put_history("contacts", int(entry.id), "lifecyclestage", stages)
        if properties["jobtitle"]:
            titles = [(start, properties["jobtitle"])]
            if person.promoted_ms is not None and person.promoted_ms > start:
                old = spell_title(self.rng, person, person.previous_rank)
                titles = [(start, old or ""), (person.promoted_ms, properties["jobtitle"])]
            self._put_history("contacts", int(entry.id), "jobtitle", titles)

    def _put_history(self, object_type: str, record_id: int, name: str, steps: list[tuple[int, str]]) -> None:
        """Steps, oldest first, become versions, newest first."""
        versions = [
            {"value": value, "timestamp": at, "sourceType": "CRM_UI", "sourceId": f"userId:{self.owner}"}
            for at, value in reversed(steps)
        ]
        self.block.history.append({"type": object_type, "id": record_id, "property": name, "versions": versions})

    # deals

    def _write_deal(self, deal: Deal, deal_id: int, salesforce_id: str) -> None:
        closed = deal.closes_ms <= self.now - HOUR
        steps = [(at, STAGES[n]) for n, at in enumerate(deal.stages_ms) if at < min(deal.closes_ms, self.now - HOUR)]
        if closed:
            steps.append((deal.closes_ms, "closedwon" if deal.won else "closedlost"))
        linked = salesforce_id and (deal.past or any(p.linked for p in deal.people))
        properties = {
            "dealname": f"{self.household.company.core} 導入案件",
            "amount": str(deal.amount),
            "deal_currency_code": "JPY",
            "pipeline": "default",
            "dealstage": steps[-1][1],
            "closedate": iso(deal.closes_ms if closed else deal.planned_ms),
            "hubspot_owner_id": self.owner,
            "hs_is_closed": "true" if closed else "false",
            "hs_is_closed_won": "true" if closed and deal.won else "false",
            "closed_lost_reason": LOSS_REASONS[deal.reason][0] if closed and not deal.won else None,
            "hs_salesforceopportunityid": salesforce_id if linked else None,
        }
        self._put("deals", deal_id, _filled(properties), deal.opened_ms, steps[-1][0])
        self._put_history("deals", deal_id, "dealstage", steps)
        pair = self.block.associations["deals", "companies"]
        pair += [
            (deal_id, self.presence.company_id, _DEAL_TO_COMPANY),
            (deal_id, self.presence.company_id, _DEAL_PRIMARY),
        ]
        for contact_id in self._contacts_on(deal):
            self.block.associations["deals", "contacts"].append((deal_id, contact_id, _DEAL_TO_CONTACT))

    def _contacts_on(self, deal: Deal) -> Iterator[int]:
        for person in deal.people:
            entry = self.presence.hubspot.get(person.index)
            if entry is not None and (person.opens_ms or 0) <= self.now - HOUR:
                yield int(entry.id)

    # activities

    def _write_note(self, entry: Entry, until: int) -> int:
        start, end = entry.created_ms, min(until, self.now - 5 * MINUTE)
        at = start + round(self.rng.random() * max(end - start, 0))
        record_id = self.mint.hubspot("notes")
        body = self.rng.choice(("来期予算で検討とのこと", "上長の了承待ち", "展示会で名刺交換", "他社製品を利用中"))
        properties: Row = {"hs_timestamp": iso(at), "hs_note_body": body, "hubspot_owner_id": self.owner}
        self._put("notes", record_id, properties, at, at)
        self.block.associations["notes", "contacts"].append((record_id, int(entry.id), _NOTE_TO_CONTACT))
        return at

    def _write_act(self, act: Act, entry: Entry) -> int:
        """One activity where HubSpot has it; the stamp it leaves on the contact, 0 for none."""
        if act.kind in _LOGGED:
            return self._write_engagement(act, entry) if act.system == "hubspot" else 0
        return self.tracker.record(act, entry)

    def _write_engagement(self, act: Act, entry: Entry) -> int:
        kind = _LOGGED[act.kind]
        known = max(act.known, entry.created_ms) if act.kind == "meeting" else max(act.known, act.at, entry.created_ms)
        if known > self.now - MINUTE:
            return 0
        record_id = self.mint.hubspot(kind)
        properties: Row = {"hs_timestamp": iso(act.at), "hubspot_owner_id": self.owner}
        updated = known
        if kind == "calls":
            properties |= {
                "hs_call_title": "架電",
                "hs_call_direction": "OUTBOUND",
                "hs_call_duration": str(act.seconds * 1000),
                "hs_call_status": "COMPLETED" if act.held else "NO_ANSWER",
                "hs_call_disposition": _CONNECTED if act.held else _NO_ANSWER,
            }
        elif kind == "meetings":
            end = act.at + act.seconds * 1000
            over = end < self.now - HOUR
            outcome = ("COMPLETED" if act.held else "NO_SHOW") if over and act.closed else "SCHEDULED"
            updated = max(known, end + 30 * MINUTE) if outcome != "SCHEDULED" else known
            properties |= {
                "hs_meeting_title": "お打ち合わせ",
                "hs_meeting_start_time": iso(act.at),
                "hs_meeting_end_time": iso(end),
                "hs_meeting_outcome": outcome,
            }
        else:
            incoming = act.kind == "email_reply"
            properties |= {
                "hs_email_subject": "Re: ご案内の件" if incoming else "ご案内の件",
                "hs_email_direction": "INCOMING_EMAIL" if incoming else "EMAIL",
                "hs_email_status": "SENT",
            }
        self._put(kind, record_id, properties, known, updated)
        self.block.associations[kind, "contacts"].append((record_id, int(entry.id), _TO_CONTACT[kind]))
        self.block.associations[kind, "companies"].append(
            (record_id, self._company_of(entry.person), _TO_COMPANY[kind])
        )
        if act.at <= self.now:
            self.tracker.contacted(act.at)
        return min(updated, self.now - MINUTE)


def _filled(properties: Row) -> Row:
    return {name: value for name, value in properties.items() if value is not None}
