"""One household in Salesforce's shapes."""

import random

from sandbox.market.mint import Block, Mint, Row, local_date, second
from sandbox.market.model import DAY, HOUR, MINUTE, Act, Deal, Household, Person
from sandbox.market.org import Org, stamp
from sandbox.market.presence import Entry, Presence
from sandbox.market.spelling import phone, spell_company, spell_name, spell_new_firm, spell_title
from sandbox.market.words import INDUSTRIES, LOSS_REASONS, PLACES

STAGES = ("Prospecting", "Qualification", "Needs Analysis", "Proposal/Price Quote", "Negotiation/Review")
_PROBABILITY = {"Prospecting": 10, "Qualification": 10, "Needs Analysis": 20, "Proposal/Price Quote": 75}
_PROBABILITY |= {"Negotiation/Review": 90, "Closed Won": 100, "Closed Lost": 0}
_FORECAST = {"Closed Won": "Closed", "Closed Lost": "Omitted"}
_SOURCE = {"inbound": "Web", "outbound": "Purchased List", "trade_show": "Trade Show"}
_ROLES = {"executive": "Economic Decision Maker", "director": "Decision Maker", "general_manager": "Decision Maker"}


class SalesforceWriter:
    """Writes one household into a block."""

    def __init__(
        self, rng: random.Random, org: Org, mint: Mint, block: Block, household: Household, presence: Presence
    ) -> None:
        self.rng = rng
        self.org = org
        self.mint = mint
        self.tables = block.salesforce
        self.household = household
        self.presence = presence
        self.now = org.options.now_ms
        self.owner = org.owner(household.company.index)
        self.last_act: dict[str, int] = {}  # record id to the newest stamp of its activities
        self.last_day: dict[str, int] = {}
        self.born: dict[int, int] = {}  # person to the first stamp of any record of theirs
        for entry in presence.entries:
            if entry.system == "salesforce":
                self.born.setdefault(entry.person.index, entry.created_ms)

    def write(self) -> None:
        for person in self.household.people:
            if person.index in self.presence.salesforce:
                self._write_activities(person)
        if self.presence.account_id:
            self._write_accounts()
        for place, (deal_id, _) in self.presence.deal_ids.items():
            if deal_id:
                self._write_deal(self.household.deals[place], deal_id)
        for entry in self.presence.entries:
            if entry.kind == "Lead":
                self._write_lead(entry)
            elif entry.kind == "Contact":
                self._write_contact(entry)

    # accounts, leads, contacts

    def _write_accounts(self) -> None:
        company, place = self.household.company, PLACES[self.household.company.place]
        newest = max((d.closes_ms for d in self.household.deals if d.closes_ms < self.now), default=0)
        created = min([e.created_ms for e in self.presence.entries] + [d.opened_ms for d in self.household.deals])
        row = {
            "Id": self.presence.account_id,
            "Name": company.legal,
            "ParentId": None,
            "Website": f"https://www.{company.domain}",
            "Industry": INDUSTRIES[company.industry][1],
            "NumberOfEmployees": company.employees,
            "BillingState": place[0],
            "BillingCity": place[1],
            "BillingCountry": "日本",
            "Type": "Customer - Direct" if newest and company.past_won_ms else "Prospect",
            "OwnerId": self.owner,
            "IsDeleted": False,
        }
        self.tables["Account"].append(stamp(row, created, newest, self.owner))
        if self.presence.plant_account_id:
            plant = row | {
                "Id": self.presence.plant_account_id,
                "Name": f"{company.legal} {company.plant}",
                "ParentId": self.presence.account_id,
                "NumberOfEmployees": max(company.employees // 4, 3),
                "Type": "Prospect",
            }
            self.tables["Account"].append(stamp(plant, created + HOUR, created + HOUR, self.owner))

    def _describe(self, entry: Entry) -> Row:
        """The fields that Lead and Contact have in common."""
        person, rng = entry.person, self.rng
        last, first = spell_name(rng, person)
        bounced = person.bounced_ms
        return {
            "Id": entry.id,
            "LastName": last,
            "FirstName": first,
            "Name": f"{last} {first}",
            "Title": spell_title(rng, person),
            "Email": entry.email,
            "Phone": phone(person),
            "MobilePhone": phone(person, mobile=True) if rng.random() < 0.3 else None,
            "LeadSource": _SOURCE[person.channel],
            "HasOptedOutOfEmail": person.opted_out_ms is not None,
            "EmailBouncedDate": second(bounced) if bounced is not None and bounced > entry.created_ms else None,
            "EmailBouncedReason": "550 5.1.1 user unknown" if bounced and bounced > entry.created_ms else None,
            "LastActivityDate": local_date(self.last_day[entry.id]) if entry.id in self.last_day else None,
            "IsDeleted": entry.role in {"merged", "deleted"},
            "MasterRecordId": entry.survivor.id if entry.role == "merged" and entry.survivor else None,
        }

    def _modified(self, entry: Entry) -> int:
        person = entry.person
        stamps = [entry.created_ms, entry.ended_ms or 0, self.last_act.get(entry.id, 0)]
        stamps += [e.ended_ms or 0 for e in self.presence.entries if e.survivor is entry]
        if entry.role == "original":
            stamps += [person.opted_out_ms or 0, person.bounced_ms or 0, person.promoted_ms or 0]
        return min(max(stamps), self.now - MINUTE)

    def _write_lead(self, entry: Entry) -> None:
        company, person, converted = self.household.company, entry.person, entry.role == "converted"
        touched = entry.id in self.last_act
        status = "Working - Contacted" if touched else "Open - Not Contacted"
        if touched and not converted and self.rng.random() < 0.12:
            status = "Closed - Not Converted"
        owner = self.owner if touched or self.rng.random() < 0.6 else self.org.queue
        deal_id = self._deal_id(entry.deal)
        row = self._describe(entry) | {
            "Company": spell_new_firm(person) if person.moved else spell_company(self.rng, company, person),
            "Industry": INDUSTRIES[company.industry][1] if self.rng.random() < 0.8 else None,
            "NumberOfEmployees": company.employees if self.rng.random() < 0.7 else None,
            "State": PLACES[company.place][0],
            "City": PLACES[company.place][1],
            "Country": "日本",
            "Status": "Closed - Converted" if converted else status,
            "OwnerId": owner,
            "IsConverted": converted,
            "ConvertedDate": local_date(entry.ended_ms) if converted and entry.ended_ms else None,
            "ConvertedContactId": entry.survivor.id if converted and entry.survivor else None,
            "ConvertedAccountId": self.presence.account_id if converted else None,
            "ConvertedOpportunityId": deal_id if converted else None,
        }
        self.tables["Lead"].append(stamp(row, entry.created_ms, self._modified(entry), self.owner))
        self._write_lead_history(entry, row["Status"], row["Title"])

    def _write_lead_history(self, entry: Entry, status: str, title: str | None) -> None:
        changes: list[tuple[int, str, str | None, str | None]] = []
        person = entry.person
        if status != "Open - Not Contacted" and entry.role != "merged":
            at = entry.ended_ms or self.last_act.get(entry.id, entry.created_ms)
            changes.append((at, "Status", "Open - Not Contacted", status))
        if entry.role == "converted" and entry.ended_ms:
            changes.append((entry.ended_ms, "leadConverted", None, None))
        if entry.role == "merged" and entry.ended_ms and entry.survivor:
            changes.append((entry.ended_ms, "leadMerged", None, None))
        if person.promoted_ms and entry.role == "original" and person.promoted_ms > entry.created_ms:
            old = spell_title(self.rng, person, person.previous_rank)
            changes.append((person.promoted_ms, "Title", old, title))
        for at, field, old, new in changes:
            target = entry.survivor.id if field == "leadMerged" and entry.survivor else entry.id
            self.tables["LeadHistory"].append(
                {
                    "Id": self.mint.salesforce("LeadHistory"),
                    "LeadId": target,
                    "Field": field,
                    "OldValue": old,
                    "NewValue": new,
                    "CreatedDate": second(at),
                    "CreatedById": self.owner,
                    "IsDeleted": False,
                }
            )

    def _write_contact(self, entry: Entry) -> None:
        plant = entry.person.at_plant and self.presence.plant_account_id
        row = self._describe(entry) | {
            "AccountId": self.presence.plant_account_id if plant else self.presence.account_id,
            "Department": None,
            "OwnerId": self.owner,
        }
        self.tables["Contact"].append(stamp(row, entry.created_ms, self._modified(entry), self.owner))

    def _deal_id(self, deal: Deal | None) -> str | None:
        for place, (deal_id, _) in self.presence.deal_ids.items():
            if self.household.deals[place] is deal:
                return deal_id or None
        return None

    # opportunities

    def _write_deal(self, deal: Deal, deal_id: str) -> None:
        closed = deal.closes_ms <= self.now - HOUR
        steps = [(at, STAGES[n]) for n, at in enumerate(deal.stages_ms) if at < min(deal.closes_ms, self.now - HOUR)]
        if closed:
            steps.append((deal.closes_ms, "Closed Won" if deal.won else "Closed Lost"))
        stage = steps[-1][1]
        common = {
            "Amount": deal.amount,
            "CloseDate": local_date(deal.closes_ms if closed else deal.planned_ms),
            "IsDeleted": False,
        }
        row = common | {
            "Id": deal_id,
            "Name": f"{self.household.company.core} 導入案件 {local_date(deal.opened_ms)[:7]}",
            "AccountId": self.presence.account_id or None,
            "StageName": stage,
            "Probability": _PROBABILITY[stage],
            "ForecastCategory": _FORECAST.get(stage, "Pipeline"),
            "ForecastCategoryName": _FORECAST.get(stage, "Pipeline"),
            "IsClosed": closed,
            "IsWon": closed and deal.won,
            "LeadSource": _SOURCE[deal.people[0].channel] if deal.people else None,
            "Description": f"失注理由: {LOSS_REASONS[deal.reason][0]}" if closed and not deal.won else None,
            "LastStageChangeDate": second(steps[-1][0]),
            "OwnerId": self.owner,
        }
        self.tables["Opportunity"].append(stamp(row, deal.opened_ms, steps[-1][0], self.owner))
        for at, name in steps:
            self.tables["OpportunityHistory"].append(
                common
                | {
                    "Id": self.mint.salesforce("OpportunityHistory"),
                    "OpportunityId": deal_id,
                    "StageName": name,
                    "Probability": _PROBABILITY[name],
                    "CreatedDate": second(at),
                    "SystemModstamp": second(at),
                    "CreatedById": self.owner,
                }
            )
        self._write_roles(deal, deal_id)

    def _write_roles(self, deal: Deal, deal_id: str) -> None:
        """Who takes part. One deal in twenty has nobody on it: reps forget."""
        if self.rng.random() < 0.05:
            return
        primary = True
        for person in deal.people:
            entry = self.presence.salesforce.get(person.index)
            if entry is None or entry.kind != "Contact" or (person.opens_ms or 0) > self.now - HOUR:
                continue
            role = {
                "Id": self.mint.salesforce("OpportunityContactRole"),
                "OpportunityId": deal_id,
                "ContactId": entry.id,
                "Role": _ROLES.get(person.rank, "Evaluator"),
                "IsPrimary": primary,
                "IsDeleted": False,
            }
            added = max(person.opens_ms or deal.opened_ms, entry.created_ms)
            self.tables["OpportunityContactRole"].append(stamp(role, added, added, self.owner))
            primary = False

    # activities

    def _write_activities(self, person: Person) -> None:
        main = self.presence.salesforce[person.index]
        twin = self.presence.duplicates.get(person.index)
        members: dict[str, Row] = {}
        for act in person.acts:
            who = twin if twin and act.at > twin.created_ms and self.rng.random() < 0.3 else main
            if main.role == "deleted" and max(act.at, act.known) > (main.ended_ms or 0):
                continue
            if act.kind in {"webinar_register", "webinar_attend", "event_attend", "download"}:
                if not person.in_hubspot or person.linked:
                    self._enlist(members, act, main)
            elif act.system == "salesforce":
                if act.kind == "meeting":
                    self._write_event(act, who)
                else:
                    self._write_task(act, who)
        self.tables["CampaignMember"] += members.values()
        if main.role == "original" and self.rng.random() < 0.10:
            self._write_todo(main)

    def _note_activity(self, entry: Entry, at: int, known: int) -> None:
        self.last_act[entry.id] = max(self.last_act.get(entry.id, 0), known)
        if at <= self.now:
            self.last_day[entry.id] = max(self.last_day.get(entry.id, 0), at)

    def _write_task(self, act: Act, who: Entry) -> None:
        known = max(act.known, act.at, self.born[who.person.index])
        if known > self.now - MINUTE:
            return
        call = act.kind == "call"
        incoming = act.kind == "email_reply"
        subject = "架電" if call else "メール返信を受信" if incoming else "メール送信"
        row = {
            "Id": self.mint.salesforce("Task"),
            "WhoId": who.id,
            "AccountId": self.presence.account_id if who.kind == "Contact" else None,
            "Subject": f"{subject}: {'つながった' if act.held else '不在'}" if call else subject,
            "Status": "Completed",
            "Priority": "Normal",
            "ActivityDate": local_date(act.at),
            "TaskSubtype": "Call" if call else "Email",
            "Type": "Call" if call else "Email",
            "CallType": "Outbound" if call else "Inbound" if incoming else None,
            "CallDurationInSeconds": act.seconds if call else None,
            "CallDisposition": ("Connected" if act.held else "No Answer") if call else None,
            "IsClosed": True,
            "CompletedDateTime": second(known),
            "OwnerId": self.owner,
            "IsDeleted": who.role == "deleted",
        }
        self.tables["Task"].append(stamp(row, known, known, self.owner))
        self._note_activity(who, act.at, known)

    def _write_todo(self, who: Entry) -> None:
        """A reminder that a rep has left open."""
        created = self.born[who.person.index] + round(self.rng.random() * (self.now - self.born[who.person.index]))
        created = min(created, self.now - 5 * MINUTE)
        row = {
            "Id": self.mint.salesforce("Task"),
            "WhoId": who.id,
            "AccountId": self.presence.account_id if who.kind == "Contact" else None,
            "Subject": "資料送付後のフォロー",
            "Status": self.rng.choice(("Not Started", "In Progress", "Waiting on someone else")),
            "Priority": "Normal",
            "ActivityDate": local_date(created + 7 * DAY),
            "TaskSubtype": "Task",
            "IsClosed": False,
            "OwnerId": self.owner,
            "IsDeleted": False,
        }
        self.tables["Task"].append(stamp(row, created, created, self.owner))
        self.last_act[who.id] = max(self.last_act.get(who.id, 0), created)

    def _write_event(self, act: Act, who: Entry) -> None:
        created = max(act.known, self.born[who.person.index])
        if created > self.now - MINUTE:
            return
        subject = "訪問・商談" if act.held or act.at > self.now else "【中止】訪問・商談"
        end = act.at + act.seconds * 1000
        modified = max(created, end) if end < self.now - MINUTE and (act.closed or not act.held) else created
        row = {
            "Id": self.mint.salesforce("Event"),
            "WhoId": who.id,
            "AccountId": self.presence.account_id if who.kind == "Contact" else None,
            "Subject": subject,
            "StartDateTime": second(act.at),
            "EndDateTime": second(end),
            "ActivityDateTime": second(act.at),
            "ActivityDate": local_date(act.at),
            "DurationInMinutes": act.seconds // 60,
            "IsAllDayEvent": False,
            "EventSubtype": "Event",
            "ShowAs": "Busy",
            "OwnerId": self.owner,
            "IsDeleted": who.role == "deleted",
        }
        self.tables["Event"].append(stamp(row, created, modified, self.owner))
        self._note_activity(who, act.at, modified)

    def _enlist(self, members: dict[str, Row], act: Act, who: Entry) -> None:
        """One CampaignMember per campaign: registered first, attended over it."""
        known = max(act.known, self.born[who.person.index])
        if known > self.now - MINUTE:
            return
        org = self.org
        table = {"event_attend": org.shows, "download": org.assets}.get(act.kind, org.webinars)
        campaign = table[act.topic]
        status = {"event_attend": "Visited Booth", "download": "Downloaded", "webinar_attend": "Attended"}.get(act.kind)
        if status is None:
            over = org.programme.webinars[act.topic].end_ms < self.now
            status = "No Show" if over and not act.held else "Registered"
        responded = status in {"Attended", "Downloaded", "Visited Booth"}
        row = members.get(campaign)
        if row is None:
            lead = self._lead_behind(who)
            row = members[campaign] = stamp(
                {
                    "Id": self.mint.salesforce("CampaignMember"),
                    "CampaignId": campaign,
                    "LeadId": lead,
                    "ContactId": who.id if who.kind == "Contact" else None,
                    "LeadOrContactId": who.id,
                    "FirstRespondedDate": None,
                    "Email": who.email,
                    "IsDeleted": who.role == "deleted",
                },
                known,
                known,
                self.owner,
            )
        row["Status"], row["HasResponded"] = status, responded
        row["Type"] = who.kind
        if responded and row["FirstRespondedDate"] is None:
            row["FirstRespondedDate"] = local_date(act.at)
        row["LastModifiedDate"] = row["SystemModstamp"] = second(max(known, row["CreatedDate"]))

    def _lead_behind(self, who: Entry) -> str | None:
        if who.kind == "Lead":
            return who.id
        behind = (entry.id for entry in self.presence.leads_of(who.person) if entry.survivor is who)
        return next(behind, None)
