"""Short stories, each with a place where something can go wrong. Told as they are, nothing is."""

from collections.abc import Callable

from sync.state import schema as t
from tests.simulation.rest import at_the_end, settle
from tests.simulation.watch import Watch
from tests.simulation.world import World

Story = Callable[[World, Watch], list[str]]


def hot_contact(world: World) -> str:
    """A HubSpot contact who is handed over by the next pass."""
    world.people += 1
    properties = {
        "lastname": f"熱心{world.people:03d}",
        "email": f"hot{world.people}@c0.example.jp",
        "jobtitle": "部長",
        "company": "会社",
    }
    found = world.hubspot({"action": "create", "type": "contacts", "properties": properties})
    meet(world, found["id"])
    return str(found["id"])


def meet(world: World, contact: str) -> None:
    now = world.box.clock.now_ms()
    properties = {
        "hs_timestamp": str(now - 120_000),
        "hs_meeting_outcome": "COMPLETED",
        "hs_meeting_end_time": str(now - 60_000),
    }
    world.hubspot({"action": "log_activity", "type": "meetings", "contacts": [int(contact)], "properties": properties})


def lead(world: World, mail: str, *, title: str = "部長") -> str:
    world.people += 1
    fields = {"LastName": f"見込{world.people:03d}", "Company": "会社", "Email": mail, "Title": title}
    return str(world.salesforce({"action": "create", "sobject": "Lead", "fields": fields})["id"])


def to_rest(world: World, watch: Watch, *, anew: bool = False) -> list[str]:
    return settle(world) or watch.after_each(world) or at_the_end(world, anew=anew)


# --- stories ---------------------------------------------------------------------------------------------------------


def answer_of_a_task_is_lost(world: World, watch: Watch) -> list[str]:
    hot_contact(world)
    world.wait(900)
    world.fault("hubspot", {"kind": "drop_after", "method": "POST", "path": "objects/tasks", "times": 1})
    for _ in range(2):
        world.sync()
        world.wait(120)
    return watch.after_each(world) or to_rest(world, watch)


def somebody_is_handed_over(world: World, watch: Watch) -> list[str]:
    hot_contact(world)
    lead(world, "calm@c1.example.jp")
    world.wait(900)
    world.sync()
    return watch.after_each(world) or to_rest(world, watch, anew=True)


def an_old_write_commits_late(world: World, watch: Watch) -> list[str]:
    """A request that never got an answer is carried out minutes later, after a newer change."""
    contact = hot_contact(world)
    world.wait(900)
    world.sync()
    wrong = watch.after_each(world)
    meet(world, contact)
    world.wait(200)
    world.fault("hubspot", {"kind": "drop_before", "path": "contacts/batch/update", "times": 5})
    world.sync()
    [lost] = world.rows(t.outbox, t.outbox.c.system == "hubspot", t.outbox.c.effect == "fields")
    world.hubspot({"action": "update", "type": "contacts", "id": contact, "properties": {"jobtitle": "担当"}})
    world.wait(130)
    world.sync()
    wrong += watch.after_each(world)
    values = {f"mikomi_{name}": str(lost["payload"]["values"][name]) for name in ("score", "band", "score_version")}
    world.hubspot({"action": "update", "type": "contacts", "id": contact, "properties": values})
    return wrong or watch.after_each(world) or to_rest(world, watch)


def a_row_becomes_visible_late(world: World, watch: Watch) -> list[str]:
    lead(world, "early@c0.example.jp")
    world.wait(900)
    world.sync()
    late = lead(world, "late@c1.example.jp")
    ids = sorted(row["Id"] for row in world.soql("SELECT Id FROM Lead"))
    before, at = ids[ids.index(late) - 1], world.box.clock.now_ms() - 5 * 60_000
    world.touch("salesforce", {"sobject": "Lead", "count": 1, "after": before, "at": at})
    return settle(world) or at_the_end(world, anew=False) or watch.after_each(world)


def two_leads_are_read(world: World, watch: Watch) -> list[str]:
    lead(world, "one@c0.example.jp")
    world.wait(900)
    world.sync()
    lead(world, "two@c1.example.jp")
    world.wait(900)
    world.sync()
    return watch.after_each(world) or to_rest(world, watch)


def one_run_is_overtaken(world: World, watch: Watch) -> list[str]:
    hot_contact(world)
    lead(world, "one@c0.example.jp")
    world.wait(900)
    world.sync_overtaken(6)
    return watch.after_each(world) or to_rest(world, watch)


def a_small_share_is_granted(world: World, watch: Watch) -> list[str]:
    hot_contact(world)
    world.wait(900)
    world.grant(30)
    for _ in range(3):
        world.sync()
        world.wait(60)
    return watch.after_each(world)


def one_row_is_refused(world: World, watch: Watch) -> list[str]:
    refused = lead(world, "bad@c0.example.jp")
    lead(world, "good@c1.example.jp")
    world.wait(900)
    world.tally.poisoned.add(refused)
    fault = {
        "sobject": "Lead",
        "code": "FIELD_CUSTOM_VALIDATION_EXCEPTION",
        "message": "検証",
        "record_id": refused,
        "times": 3,
    }
    world.row_fault(fault)
    world.sync()
    return to_rest(world, watch)


def somebody_is_deleted_for_good(world: World, watch: Watch) -> list[str]:
    contact = hot_contact(world)
    lead(world, "stays@c1.example.jp")
    world.wait(900)
    world.sync()
    hot_contact(world)
    world.wait(900)
    before = world.task_keys()
    world.sync()
    world.hubspot({"action": "gdpr_delete", "type": "contacts", "id": contact})
    world.tally.erased |= {"熱心001", "hot1@c0.example.jp"}
    world.tally.erased_keys |= before - world.task_keys()
    return to_rest(world, watch)


def somebody_is_promoted(world: World, watch: Watch) -> list[str]:
    contact = hot_contact(world)
    world.wait(900)
    world.sync()
    world.hubspot({"action": "update", "type": "contacts", "id": contact, "properties": {"jobtitle": "担当"}})
    return to_rest(world, watch)


def a_deal_is_won(world: World, watch: Watch) -> list[str]:
    contact = hot_contact(world)
    properties = {"dealname": "導入", "dealstage": "closedwon", "pipeline": "default"}
    order = {"action": "log_activity", "type": "deals", "contacts": [int(contact)], "properties": properties}
    world.hubspot(order)
    return to_rest(world, watch)


def two_contacts_are_read(world: World, watch: Watch) -> list[str]:
    for _ in range(2):
        hot_contact(world)
        world.wait(900)
        world.sync()
    return watch.after_each(world) or to_rest(world, watch)


def a_backup_is_put_back(world: World, watch: Watch) -> list[str]:
    """A task made after it is forgotten, and excused; one that is made later is not."""
    lead(world, "calm@c1.example.jp")
    world.wait(900)
    world.sync()
    world.take_backup()
    hot_contact(world)
    world.wait(900)
    world.sync()
    wrong = watch.after_each(world)
    world.put_backup_back()
    wrong = wrong or watch.after_each(world)
    hot_contact(world)
    world.wait(900)
    world.sync()
    return wrong or watch.after_each(world) or to_rest(world, watch)


def a_call_is_logged_in_a_pair(world: World, watch: Watch) -> list[str]:
    """Somebody is hot before the native sync has made a lead of the contact; then it copies a call."""
    contact = hot_contact(world)
    for _ in range(2):
        world.sync()
        world.wait(900)
    properties = {
        "hs_timestamp": str(world.box.clock.now_ms()),
        "hs_call_status": "COMPLETED",
        "hs_call_direction": "OUTBOUND",
    }
    world.hubspot({"action": "log_activity", "type": "calls", "contacts": [int(contact)], "properties": properties})
    world.wait(900)
    world.sync()
    return watch.after_each(world) or to_rest(world, watch)
