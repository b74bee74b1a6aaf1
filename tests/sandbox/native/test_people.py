"""Contacts, leads and contacts of Salesforce through the emulated native sync."""

from sandbox import Sandbox
from tests.sandbox.native.rig import MORNING_MS, Joined, joined

SATO = {"email": "sato@aoi.example", "lastname": "佐藤", "firstname": "恵", "company": "葵商事", "jobtitle": "部長"}
LEAD = {"LastName": "鈴木", "FirstName": "遥", "Company": "緑工業", "Email": "suzuki@midori.example", "Title": "課長"}


def make_contact(pair: Joined, **more: str) -> str:
    return str(pair.hubspot(action="create", type="contacts", properties={**SATO, **more})["id"])


def make_lead(pair: Joined, **more: str) -> str:
    return str(pair.salesforce(action="create", sobject="Lead", fields={**LEAD, **more})["id"])


def join_list(pair: Joined, contact: str) -> None:
    joined_ms = pair.box.clock.now_ms()
    pair.box.hubspot_app.load_memberships([{"listId": 7, "recordId": contact, "joined_ms": joined_ms}])


def test_a_contact_becomes_a_lead_under_the_integration_s_own_user() -> None:
    with joined() as pair:
        contact = make_contact(pair)
        pair.poll()
        (lead,) = pair.soql("SELECT Id, LastName, Company, Email, Title, CreatedBy.Username FROM Lead")
        assert (lead["LastName"], lead["Company"], lead["Title"]) == ("佐藤", "葵商事", "部長")
        assert lead["CreatedBy"]["Username"] == "hubspot-integration@portal.example"
        assert pair.contact(contact)["salesforceleadid"] == lead["Id"]
        assert pair.history(contact, "salesforceleadid")[0]["sourceType"] == "SALESFORCE"


def test_a_lead_becomes_a_contact_and_none_is_made_twice() -> None:
    with joined() as pair:
        lead = make_lead(pair)
        for _ in range(3):
            pair.poll()
            pair.tick(900)
        (contact,) = pair.contacts()
        assert (contact["email"], contact["salesforceleadid"]) == ("suzuki@midori.example", lead)
        assert contact["hs_object_source"] == "SALESFORCE"
        assert len(pair.soql("SELECT Id FROM Lead")) == 1


def test_equal_addresses_are_linked_and_a_salesforce_contact_is_preferred_over_a_lead() -> None:
    with joined() as pair:
        make_lead(pair, Email="sato@aoi.example")
        fields = {"LastName": "佐藤", "Email": "Sato@aoi.example"}
        person = pair.salesforce(action="create", sobject="Contact", fields=fields)["id"]
        contact = make_contact(pair)
        pair.poll()
        assert pair.contact(contact)["salesforcecontactid"] == person
        assert pair.contact(contact)["salesforceleadid"] is None
        assert len(pair.contacts()) == 1


def test_edits_go_both_ways_by_their_rules_and_then_nothing_moves() -> None:
    with joined(map=[{"hubspot": "phone", "salesforce": "Phone", "rule": "two_way"}]) as pair:
        contact = make_contact(pair, phone="03-0000-0001")
        pair.poll()
        lead = pair.contact(contact)["salesforceleadid"]
        pair.tick()
        pair.salesforce(action="update", sobject="Lead", id=lead, fields={"Title": "本部長"})
        pair.hubspot(action="update", type="contacts", id=contact, properties={"phone": "03-0000-0002"})
        pair.poll()
        assert pair.contact(contact)["jobtitle"] == "本部長"
        assert pair.row("Lead", lead, "Phone")["Phone"] == "03-0000-0002"
        pair.hubspot(action="update", type="contacts", id=contact, properties={"jobtitle": "係長"})
        pair.tick()
        pair.poll()
        assert pair.contact(contact)["jobtitle"] == "本部長", "prefer Salesforce takes HubSpot's edit back"
        stamps = (pair.contact(contact)["lastmodifieddate"], pair.row("Lead", lead, "SystemModstamp"))
        for _ in range(3):
            pair.tick(900)
            pair.poll()
        assert (pair.contact(contact)["lastmodifieddate"], pair.row("Lead", lead, "SystemModstamp")) == stamps


def test_a_value_emptied_in_salesforce_is_emptied_in_hubspot() -> None:
    with joined() as pair:
        contact = make_contact(pair)
        pair.poll()
        lead = pair.contact(contact)["salesforceleadid"]
        pair.tick()
        pair.salesforce(action="update", sobject="Lead", id=lead, fields={"Title": None})
        pair.poll()
        assert pair.contact(contact)["jobtitle"] is None


def test_conversion_is_followed_to_the_contact_and_its_account() -> None:
    with joined() as pair:
        contact = make_contact(pair)
        pair.poll()
        lead = pair.contact(contact)["salesforceleadid"]
        pair.tick()
        made = pair.salesforce(action="convert", id=lead, opportunity="葵商事 導入")
        pair.poll()
        found = pair.contact(contact)
        assert (found["salesforceleadid"], found["salesforcecontactid"]) == (lead, made["contact"])
        assert found["salesforceaccountid"] == made["account"]
        (deal,) = pair.deals()
        assert deal["hs_salesforceopportunityid"] == made["opportunity"]
        assert len(pair.contacts()) == 1
        pair.tick()
        pair.salesforce(action="update", sobject="Contact", id=made["contact"], fields={"Title": "取締役"})
        pair.poll()
        assert pair.contact(contact)["jobtitle"] == "取締役"


def test_only_members_of_the_inclusion_list_sync() -> None:
    with joined(inclusion="7") as pair:
        pair.box.hubspot_app.load_lists(
            [{"listId": "7", "name": "Salesforce inclusion", "objectTypeId": "0-1", "processingType": "DYNAMIC"}]
        )
        inside, outside = make_contact(pair), make_contact(pair, email="tanaka@ao.example")
        join_list(pair, inside)
        pair.poll()
        assert pair.contact(inside)["salesforceleadid"] is not None
        assert pair.contact(outside)["salesforceleadid"] is None
        pair.tick(900)
        join_list(pair, outside)
        pair.poll()
        assert pair.contact(outside)["salesforceleadid"] is not None, "joining the list triggers a sync"


def test_what_salesforce_refuses_is_listed_and_leaves_the_list_when_it_passes() -> None:
    with joined() as pair:
        contact = make_contact(pair, company="")
        status = pair.poll()
        (error,) = status["errors"]
        assert (error["record"], error["category"]) == (f"contacts/{contact}", "property_values")
        assert "Company" in error["message"]
        pair.tick()
        pair.hubspot(action="update", type="contacts", id=contact, properties={"company": "葵商事"})
        assert pair.poll()["errors"] == []
        assert len(pair.soql("SELECT Id FROM Lead")) == 1


def test_a_deleted_lead_unlinks_or_deletes_as_the_settings_say() -> None:
    for setting, kept in (("unlink", 1), ("delete", 0)):
        with joined(on_salesforce_delete=setting) as pair:
            contact = make_contact(pair)
            pair.poll()
            lead = pair.contact(contact)["salesforceleadid"]
            pair.tick()
            pair.salesforce(action="delete", sobject="Lead", id=lead)
            pair.poll()
            pair.tick(900)
            pair.poll()
            found = pair.contacts()
            assert len(found) == kept
            assert all(row["salesforceleadid"] is None for row in found)
            assert pair.soql("SELECT Id FROM Lead WHERE IsDeleted = false") == []


def test_merged_leads_lead_to_the_master() -> None:
    with joined() as pair:
        contact = make_contact(pair)
        pair.poll()
        lead = pair.contact(contact)["salesforceleadid"]
        master = make_lead(pair, Email="")
        pair.tick()
        pair.salesforce(action="merge", sobject="Lead", id=master, losers=[lead])
        pair.poll()
        assert pair.contact(contact)["salesforceleadid"] == master


def test_merged_contacts_keep_one_link() -> None:
    with joined() as pair:
        one, other = make_contact(pair), make_contact(pair, email="sato2@aoi.example")
        pair.poll()
        pair.tick()
        lead = pair.contact(one)["salesforceleadid"]
        survivor = pair.hubspot(action="merge", type="contacts", id=one, other=other)["id"]
        pair.poll()
        pair.tick(900)
        status = pair.poll()
        assert pair.contact(survivor)["salesforceleadid"] == lead
        assert status["links"]["contacts"] == {survivor: lead}


def test_polls_happen_when_the_clock_is_moved_past_them_and_never_by_themselves() -> None:
    with joined() as pair:
        contact = make_contact(pair)
        pair.tick(13 * 60)
        assert pair.contact(contact)["salesforceleadid"] is None
        pair.tick(2 * 60)
        assert pair.contact(contact)["salesforceleadid"] is not None
        assert pair.native()["polls"] == 1


def test_off_by_default_and_suspended_when_its_calls_are_used_up() -> None:
    with joined(on=False) as pair:
        make_contact(pair)
        pair.poll()
        assert pair.soql("SELECT Id FROM Lead") == []
        pair.native({"on": True, "allocated_calls": 1, "poll_now": True})
        make_contact(pair, email="sato2@aoi.example")
        pair.tick()
        status = pair.poll()
        assert "used up" in status["suspended"]
        assert len(pair.soql("SELECT Id FROM Lead")) == 1
        pair.native({"allocated_calls": 500, "poll_now": True})
        assert len(pair.soql("SELECT Id FROM Lead")) == 2


def test_a_deleted_contact_leaves_its_lead_or_takes_it_along_and_is_not_made_again() -> None:
    for setting, kept in (("unlink", 1), ("delete", 0)):
        with joined(on_hubspot_delete=setting) as pair:
            contact = make_contact(pair)
            pair.poll()
            lead = pair.contact(contact)["salesforceleadid"]
            pair.tick()
            pair.hubspot(action="delete", type="contacts", id=contact)
            pair.poll()
            assert len(pair.soql("SELECT Id FROM Lead WHERE IsDeleted = false")) == kept
            if kept:
                pair.tick()
                pair.salesforce(action="update", sobject="Lead", id=lead, fields={"Title": "課長"})
                pair.poll()
            assert pair.contacts() == []


def test_a_sandbox_can_start_with_the_sync_on_and_link_a_whole_market() -> None:
    with Sandbox(seed=5, people=40, now_ms=MORNING_MS, native_sync=True) as box:
        box.clock.hold(MORNING_MS)
        pair = Joined(box)
        box.clock.advance(16 * 60)
        status = pair.native()
        assert status["polls"] == 1
        assert len(status["links"]["contacts"]) > 20
        assert len(set(status["links"]["contacts"].values())) == len(status["links"]["contacts"])
        calls = [pair.poll()["calls_today"] for _ in range(3)]
        assert calls[2] - calls[1] == calls[1] - calls[0], "nothing is left to write: only the look costs calls"
        stamps = pair.soql("SELECT Id, SystemModstamp FROM Lead ORDER BY Id")
        box.clock.advance(15 * 60)
        assert pair.soql("SELECT Id, SystemModstamp FROM Lead ORDER BY Id") == stamps
