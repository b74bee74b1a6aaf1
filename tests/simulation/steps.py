"""What people, CRMs, networks and operators do. Each step draws what it needs from `draw(n)`: an integer below n.

A random generator draws for the soak (a seed is a history), hypothesis draws for the suite (a failure is made smaller).
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.error import HTTPError

from tests.simulation.crms import LATE_SECONDS, System
from tests.simulation.world import TITLES, World

Draw = Callable[[int], int]

MINUTE = 60.0
DAY = 24 * 60 * MINUTE
HTML = "<html><body><h1>502 Bad Gateway</h1></body></html>"
WRITES = "composite|batch/(update|create|upsert)"


def leads(world: World) -> list[dict[str, Any]]:
    return world.soql("SELECT Id, Email, Title, LastName FROM Lead WHERE IsDeleted = false AND IsConverted = false")


def contacts(world: World) -> list[dict[str, Any]]:
    return world.soql("SELECT Id, Email, Title FROM Contact WHERE IsDeleted = false")


def hubspot_contacts(world: World) -> list[dict[str, Any]]:
    return [row for row in world.hubspot_rows("contacts") if row["archived_ms"] is None]


def _address(world: World, draw: Draw) -> str:
    """A new address, or one that somebody has already."""
    if world.people and draw(3) == 0:
        return f"p{draw(world.people)}@c{draw(2)}.example.jp"
    world.people += 1
    return f"p{world.people - 1}@c{draw(2)}.example.jp"


def _names(world: World) -> str:
    return f"苗字{world.people:03d}"


def new_lead(world: World, draw: Draw) -> None:
    mail = _address(world, draw)
    fields = {"LastName": _names(world), "Company": f"会社{draw(2)}", "Email": mail, "Title": TITLES[draw(5)] or None}
    world.salesforce({"action": "create", "sobject": "Lead", "fields": fields})


def new_contact(world: World, draw: Draw) -> None:
    fields = {"LastName": _names(world), "Email": _address(world, draw), "Title": TITLES[draw(5)] or None}
    world.salesforce({"action": "create", "sobject": "Contact", "fields": fields})


def new_hubspot(world: World, draw: Draw) -> None:
    taken = {row["properties"].get("email") for row in world.hubspot_rows("contacts")}
    mail = _address(world, draw)
    if mail in taken:
        return
    properties = {"lastname": _names(world), "email": mail, "jobtitle": TITLES[draw(5)], "company": f"会社{draw(2)}"}
    world.hubspot({"action": "create", "type": "contacts", "properties": properties})


def edit_salesforce(world: World, draw: Draw) -> None:
    kind, rows = ("Lead", leads(world)) if draw(2) else ("Contact", contacts(world))
    if rows:
        change = {"Title": TITLES[draw(5)] or None} if draw(3) else {"Email": _address(world, draw)}
        world.salesforce({"action": "update", "sobject": kind, "id": rows[draw(len(rows))]["Id"], "fields": change})


def edit_hubspot(world: World, draw: Draw) -> None:
    if rows := hubspot_contacts(world):
        row = rows[draw(len(rows))]
        world.hubspot(
            {"action": "update", "type": "contacts", "id": str(row["id"]), "properties": {"jobtitle": TITLES[draw(5)]}}
        )


def meet_hubspot(world: World, draw: Draw) -> None:
    if rows := hubspot_contacts(world):
        now = world.box.clock.now_ms()
        kind, extra = (
            ("meetings", {"hs_meeting_outcome": "COMPLETED", "hs_meeting_end_time": str(now - 60_000)})
            if draw(3)
            else ("calls", {"hs_call_status": "COMPLETED", "hs_call_direction": "OUTBOUND"})
        )
        properties = {"hs_timestamp": str(now - 120_000), **extra}
        chosen = {rows[draw(len(rows))]["id"] for _ in range(1 + draw(2))}
        world.hubspot({"action": "log_activity", "type": kind, "contacts": sorted(chosen), "properties": properties})


def meet_salesforce(world: World, draw: Draw) -> None:
    rows = leads(world) + contacts(world)
    if rows:
        moment = world.box.clock.now_ms() - 30 * 60_000
        fields = {
            "WhoId": rows[draw(len(rows))]["Id"],
            "Subject": "商談",
            "DurationInMinutes": 15,
            "ActivityDateTime": _iso(moment),
        }
        world.salesforce({"action": "create", "sobject": "Event", "fields": fields})


def attend_webinar(world: World, draw: Draw) -> None:
    """The webinar tool tells both CRMs of a pair: a participation in HubSpot, a campaign member in Salesforce."""
    linked = {} if world.native is None else world.box.native.status()["links"]["contacts"]
    live = {row["Id"] for row in leads(world) + contacts(world)}
    rows = [row["id"] for row in hubspot_contacts(world) if linked.get(row["id"]) in live]
    if not rows:
        return
    contact, now = rows[draw(len(rows))], world.box.clock.now_ms()
    event = 990_001 + len(world.tally.webinars)
    name, person = f"ウェビナー{event}", linked[contact]
    row = {"objectId": str(event), "eventName": name, "eventType": "WEBINAR", "externalEventId": f"webinar-{event}"}
    world.box.hubspot_app.load_marketing_events([row])
    participation = {"eventId": event, "contactId": contact, "state": "ATTENDED", "occurred_ms": now}
    world.control("hubspot", "POST", "events", {"participations": [participation]})
    fields = {"Name": name, "Type": "Webinar", "IsActive": True}
    campaign = world.salesforce({"action": "create", "sobject": "Campaign", "fields": fields})["id"]
    status = {"CampaignId": campaign, "Label": "Attended", "SortOrder": 5, "HasResponded": True}
    world.salesforce({"action": "create", "sobject": "CampaignMemberStatus", "fields": status})
    who = {"LeadId" if person.startswith("00Q") else "ContactId": person}
    member = {"CampaignId": campaign, "Status": "Attended", **who}
    world.salesforce({"action": "create", "sobject": "CampaignMember", "fields": member})
    world.tally.webinars.add((f"hubspot/contact/{contact}", name))


def win_deal(world: World, draw: Draw) -> None:
    """A deal is won: in Salesforce with a contact's role, or in HubSpot with a contact on it."""
    now = world.box.clock.now_ms()
    if draw(2) and (rows := contacts(world)):
        fields = {"Name": f"商談{now}", "StageName": "Closed Won", "CloseDate": _iso(now)[:10]}
        chosen = rows[draw(len(rows))]["Id"]
        world.salesforce({"action": "create", "sobject": "Opportunity", "fields": {**fields, "ContactId": chosen}})
    elif people := hubspot_contacts(world):
        properties = {"dealname": f"商談{now}", "dealstage": "closedwon", "pipeline": "default", "closedate": str(now)}
        order = {"action": "log_activity", "type": "deals", "contacts": [people[draw(len(people))]["id"]]}
        world.hubspot({**order, "properties": properties})


def convert(world: World, draw: Draw) -> None:
    if rows := leads(world):
        world.salesforce({"action": "convert", "id": rows[draw(len(rows))]["Id"], "status": "Closed - Converted"})


def merge_salesforce(world: World, draw: Draw) -> None:
    kind, rows = ("Lead", leads(world)) if draw(2) else ("Contact", contacts(world))
    if len(rows) > 1:
        first = draw(len(rows) - 1)
        world.salesforce(
            {"action": "merge", "sobject": kind, "id": rows[first]["Id"], "losers": [rows[first + 1]["Id"]]}
        )


def merge_hubspot(world: World, draw: Draw) -> None:
    rows = hubspot_contacts(world)
    if len(rows) > 1:
        first = draw(len(rows) - 1)
        order = {
            "action": "merge",
            "type": "contacts",
            "id": str(rows[first]["id"]),
            "other": str(rows[first + 1]["id"]),
        }
        world.hubspot(order)


def delete_salesforce(world: World, draw: Draw) -> None:
    kind, rows = ("Lead", leads(world)) if draw(2) else ("Contact", contacts(world))
    if rows:
        world.salesforce({"action": "delete", "sobject": kind, "id": rows[draw(len(rows))]["Id"]})


def undelete_salesforce(world: World, draw: Draw) -> None:
    rows = world.soql("SELECT Id FROM Lead WHERE IsDeleted = true AND MasterRecordId = null")
    if rows:
        world.salesforce({"action": "undelete", "sobject": "Lead", "id": rows[draw(len(rows))]["Id"]})


def purge_salesforce(world: World, draw: Draw) -> None:
    if rows := leads(world):
        chosen, before = rows[draw(len(rows))], world.task_keys()
        world.salesforce({"action": "delete", "sobject": "Lead", "id": chosen["Id"]})
        world.salesforce({"action": "hard_delete", "sobject": "Lead", "id": chosen["Id"]})
        world.tally.erased |= {chosen["LastName"], chosen["Email"]}
        world.tally.erased_keys |= before - world.task_keys()


def delete_hubspot(world: World, draw: Draw) -> None:
    if rows := hubspot_contacts(world):
        world.hubspot({"action": "delete", "type": "contacts", "id": str(rows[draw(len(rows))]["id"])})


def restore_hubspot(world: World, draw: Draw) -> None:
    rows = [row for row in world.hubspot_rows("contacts") if row["archived_ms"] is not None]
    if rows:
        world.hubspot({"action": "restore", "type": "contacts", "id": str(rows[draw(len(rows))]["id"])})


def gdpr_hubspot(world: World, draw: Draw) -> None:
    if rows := hubspot_contacts(world):
        chosen, before = rows[draw(len(rows))], world.task_keys()
        world.hubspot({"action": "gdpr_delete", "type": "contacts", "id": str(chosen["id"])})
        world.tally.erased |= {chosen["properties"].get("lastname"), chosen["properties"].get("email")}
        world.tally.erased_keys |= before - world.task_keys()


def same_stamp(world: World, draw: Draw) -> None:
    """A bulk update: many rows with one stamp."""
    world.touch("salesforce", {"sobject": "Lead", "count": 50})
    world.touch("hubspot", {"type": "contacts", "count": 50, "properties": {"city": f"市{draw(100)}"}})


def late_visible(world: World, draw: Draw) -> None:
    """A row that becomes visible with a stamp of five minutes ago."""
    if rows := leads(world):
        chosen = rows[draw(len(rows))]["Id"]
        change = {"action": "update", "sobject": "Lead", "id": chosen, "fields": {"Title": TITLES[draw(4)]}}
        world.salesforce(change)
        before = max((row["Id"] for row in rows if row["Id"] < chosen), default="")
        at = world.box.clock.now_ms() - 5 * 60_000
        world.touch("salesforce", {"sobject": "Lead", "count": 1, "after": before, "at": at})


def rep_deletes_task(world: World, draw: Draw) -> None:
    rows = world.soql("SELECT Id FROM Task WHERE Mikomi_Key__c != null AND IsDeleted = false")
    if rows:
        world.salesforce({"action": "delete", "sobject": "Task", "id": rows[draw(len(rows))]["Id"]})


def rep_edits_score(world: World, draw: Draw) -> None:
    if rows := leads(world):
        fields = {"Mikomi_Score__c": draw(100)}
        world.salesforce({"action": "update", "sobject": "Lead", "id": rows[draw(len(rows))]["Id"], "fields": fields})


def wait_a_little(world: World, draw: Draw) -> None:
    world.wait((1 + draw(10)) * MINUTE)


def wait_longer(world: World, draw: Draw) -> None:
    world.wait((20 + draw(100)) * MINUTE)


def wait_days(world: World, draw: Draw) -> None:
    world.wait((1 + draw(3)) * DAY)


def skew(world: World, draw: Draw) -> None:
    world.clock.skew = (draw(3) - 1) * 10 * 60_000


def _strike(name: str, rule: dict[str, Any]) -> Callable[[World, Draw], None]:
    def strike(world: World, draw: Draw) -> None:
        system: System = "salesforce" if draw(2) else "hubspot"
        world.fault(system, {**rule, "skip": draw(6), "times": 1 + draw(3), "seed": draw(1000)})

    strike.__name__ = name
    return strike


answer_lost = _strike("answer_lost", {"kind": "drop_after", "path": WRITES})
never_sent = _strike("never_sent", {"kind": "drop_before"})
late_commit = _strike("late_commit", {"kind": "late_commit", "seconds": LATE_SECONDS, "path": WRITES})
bad_gateway = _strike(
    "bad_gateway", {"kind": "status", "status": 502, "body": HTML, "headers": {"Content-Type": "text/html"}}
)
unavailable = _strike("unavailable", {"kind": "status", "status": 503})
too_many = _strike("too_many", {"kind": "status", "status": 429, "body": "{}", "headers": {"Retry-After": "2"}})
truncated = _strike("truncated", {"kind": "truncate"})
drowned = _strike("drowned", {"kind": "status", "status": 503, "rate": 0.5})


def lasting_outage(world: World, draw: Draw) -> None:
    system: System = "salesforce" if draw(2) else "hubspot"
    world.fault(system, {"kind": "drop_before", "times": None})


def poisoned_row(world: World, draw: Draw) -> None:
    """A validation rule refuses one record's writes for a while."""
    if rows := leads(world):
        chosen = rows[draw(len(rows))]["Id"]
        world.row_fault(
            {
                "sobject": "Lead",
                "code": "FIELD_CUSTOM_VALIDATION_EXCEPTION",
                "message": "検証",
                "record_id": chosen,
                "times": 3,
            }
        )
        world.tally.poisoned.add(chosen)


def heal(world: World, draw: Draw) -> None:
    world.heal()


def sync(world: World, draw: Draw) -> None:
    world.sync(sweep=draw(4) == 0)


def crash(world: World, draw: Draw) -> bool:
    before = world.tally.crashed
    world.sync(crash_at=(_some_commit(draw), draw(2) == 0))
    return world.tally.crashed > before


def overtaken(world: World, draw: Draw) -> bool:
    before = world.tally.overtaken
    world.sync_overtaken(1 + _some_commit(draw))
    return world.tally.overtaken > before


def _some_commit(draw: Draw) -> int:
    """Which commit of a pass: half the time one of the first ten, which a quiet pass has, else any of a busy one's."""
    return 1 + draw(10 if draw(2) else 50)


def new_rulebook(world: World, draw: Draw) -> None:
    world.points = (20, 30, 45)[draw(3)]


def grant_share(world: World, draw: Draw) -> None:
    """An administrator allows so few calls a day that they may not last."""
    world.grant(30 + draw(120))


def take_backup(world: World, draw: Draw) -> None:
    world.take_backup()


def put_backup_back(world: World, draw: Draw) -> None:
    world.put_backup_back()


def _iso(moment: int) -> str:
    return datetime.fromtimestamp(moment / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")


STEPS: dict[str, tuple[int, Callable[[World, Draw], bool | None]]] = {
    function.__name__: (weight, function)
    for weight, function in (
        (6, new_lead),
        (2, new_contact),
        (5, new_hubspot),
        (4, edit_salesforce),
        (3, edit_hubspot),
        (8, meet_hubspot),
        (6, meet_salesforce),
        (2, attend_webinar),
        (2, win_deal),
        (2, convert),
        (2, merge_salesforce),
        (2, merge_hubspot),
        (1, delete_salesforce),
        (1, undelete_salesforce),
        (1, purge_salesforce),
        (1, delete_hubspot),
        (1, restore_hubspot),
        (1, gdpr_hubspot),
        (2, same_stamp),
        (2, late_visible),
        (1, rep_deletes_task),
        (1, rep_edits_score),
        (3, wait_a_little),
        (4, wait_longer),
        (1, wait_days),
        (1, skew),
        (3, answer_lost),
        (1, never_sent),
        (3, late_commit),
        (1, bad_gateway),
        (1, unavailable),
        (1, too_many),
        (2, truncated),
        (1, drowned),
        (1, lasting_outage),
        (1, poisoned_row),
        (2, heal),
        (10, sync),
        (7, crash),
        (3, overtaken),
        (1, new_rulebook),
        (1, grant_share),
        (1, take_backup),
        (1, put_backup_back),
    )
}

FAULTS = frozenset(
    {"answer_lost", "never_sent", "late_commit", "bad_gateway", "unavailable", "too_many", "truncated", "drowned",
     "lasting_outage", "poisoned_row", "crash", "overtaken", "same_stamp", "late_visible", "skew", "convert",
     "merge_salesforce", "merge_hubspot", "delete_salesforce", "undelete_salesforce", "purge_salesforce", "delete_hubspot",
     "restore_hubspot", "gdpr_hubspot", "rep_deletes_task", "rep_edits_score", "new_rulebook", "grant_share", "put_backup_back"}
)  # fmt: skip
"""Steps that are counted in the soak's table."""


def take(world: World, name: str, draw: Draw) -> None:
    """One step. An order that a CRM refuses (a merge of two that cannot be merged) is no step."""
    try:
        happened = STEPS[name][1](world, draw)
    except HTTPError as refused:
        if refused.code != 400:
            raise
        return
    world.tally.steps.append(name)
    if name in FAULTS and happened is not False:  # a pass may end before its commit
        world.tally.faults.add(name)
