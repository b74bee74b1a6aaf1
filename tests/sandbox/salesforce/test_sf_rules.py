"""What the org does by itself: derived fields, history, activities, conversion, merge, the bin."""

from typing import Any

from tests.sandbox.salesforce.rig import INTEGRATION, Rig, refusal


def add_user(rig: Rig, name: str, *, active: bool = True) -> str:
    profile = rig.god("SELECT Id FROM Profile WHERE Name = 'Mikomi Integration'")[0]["Id"]
    row = {"LastName": name, "Username": f"{name}@mikomi.example", "IsActive": active, "ProfileId": profile}
    rig.org.load("User", [row])
    return str(rig.god(f"SELECT Id FROM User WHERE LastName = '{name}'")[0]["Id"])


class TestTask:
    def test_closing_and_reopening(self, rig: Rig) -> None:
        task = rig.make("Task", Subject="電話", Priority="High")
        row = rig.row("Task", task)
        shown = (row["Status"], row["IsClosed"], row["CompletedDateTime"], row["IsHighPriority"], row["TaskSubtype"])
        assert shown == ("Not Started", False, None, True, "Task")
        rig.clock.advance(60)
        rig.call("PATCH", f"/sobjects/Task/{task}", json={"Status": "Completed"})
        row = rig.row("Task", task)
        assert (row["IsClosed"], row["CompletedDateTime"]) == (True, "2026-05-28T20:27:40.000+0000")
        rig.call("PATCH", f"/sobjects/Task/{task}", json={"Status": "In Progress"})
        row = rig.row("Task", task)
        assert (row["IsClosed"], row["CompletedDateTime"]) == (False, None)

    def test_a_closed_task_or_an_event_moves_the_person_but_an_open_task_does_not(self, rig: Rig) -> None:
        lead = rig.make_lead()
        before = rig.row("Lead", lead)
        rig.clock.advance(60)
        task = rig.make("Task", WhoId=lead, Subject="x", ActivityDate="2026-05-20")
        assert rig.row("Lead", lead) == before
        rig.call("PATCH", f"/sobjects/Task/{task}", json={"Status": "Completed"})
        row = rig.row("Lead", lead)
        assert row["LastActivityDate"] == "2026-05-20"
        assert row["SystemModstamp"] == "2026-05-28T20:27:40.000+0000"
        assert row["LastModifiedDate"] == before["LastModifiedDate"]

    def test_owner_rules(self, rig: Rig) -> None:
        queue = rig.god("SELECT Id FROM Group WHERE Type = 'Queue'")[0]["Id"]
        refused = rig.call("POST", "/sobjects/Task", json={"Subject": "x", "OwnerId": queue})
        assert refusal(refused) == (400, "INVALID_CROSS_REFERENCE_KEY", "Queue not associated with this SObject type")
        gone = add_user(rig, "taishoku", active=False)
        refused = rig.call("POST", "/sobjects/Task", json={"Subject": "x", "OwnerId": gone})
        message = f"operation performed with inactive user [{gone[:15]}] as owner of task"
        assert refusal(refused) == (400, "INACTIVE_OWNER_OR_USER", message)
        lead = rig.make_lead(OwnerId=queue)
        assert (
            rig.query(f"SELECT Owner.Name FROM Lead WHERE Id = '{lead}'")["records"][0]["Owner"]["Name"]
            == "リードキュー"
        )

    def test_about_whom_and_what(self, rig: Rig) -> None:
        account = rig.make("Account", Name="A")
        contact = rig.make("Contact", LastName="x", AccountId=account)
        deal = rig.make("Opportunity", Name="d", StageName="Prospecting", CloseDate="2026-09-01", AccountId=account)
        lead = rig.make_lead()
        assert rig.row("Task", rig.make("Task", Subject="x", WhoId=contact))["AccountId"] == account
        assert rig.row("Task", rig.make("Task", Subject="x", WhatId=deal))["AccountId"] == account
        refused = rig.call("POST", "/sobjects/Task", json={"Subject": "x", "WhoId": lead, "WhatId": account})
        assert refusal(refused)[:2] == (400, "FIELD_INTEGRITY_EXCEPTION")
        refused = rig.call("POST", "/sobjects/Task", json={"Subject": "x", "WhoId": account})
        assert refusal(refused) == (400, "MALFORMED_ID", f"Name ID: id value of incorrect type: {account}")
        rig.call("DELETE", f"/sobjects/Lead/{lead}")
        refused = rig.call("POST", "/sobjects/Task", json={"Subject": "x", "WhoId": lead})
        assert refusal(refused) == (400, "ENTITY_IS_DELETED", "entity is deleted")


def test_event_times_agree(rig: Rig) -> None:
    start = "2026-06-01T01:00:00.000+0000"
    event = rig.row(
        "Event", rig.make("Event", Subject="打合せ", StartDateTime="2026-06-01T10:00:00+09:00", DurationInMinutes=60)
    )
    assert (event["ActivityDateTime"], event["ActivityDate"]) == (start, "2026-06-01")
    assert event["EndDateTime"] == "2026-06-01T02:00:00.000+0000"
    other = rig.make("Event", Subject="x", StartDateTime=start, EndDateTime="2026-06-01T01:30:00Z")
    assert rig.row("Event", other)["DurationInMinutes"] == 30
    assert refusal(rig.call("POST", "/sobjects/Event", json={"Subject": "x"}))[1] == "REQUIRED_FIELD_MISSING"
    backwards = {"Subject": "x", "StartDateTime": start, "EndDateTime": "2026-06-01T00:30:00Z"}
    assert refusal(rig.call("POST", "/sobjects/Event", json=backwards))[1] == "FIELD_INTEGRITY_EXCEPTION"


class TestCampaign:
    def test_responses_follow_the_campaigns_statuses(self, rig: Rig) -> None:
        campaign = rig.make("Campaign", Name="セミナー", Type="Webinar")
        rig.make("CampaignMemberStatus", CampaignId=campaign, Label="Attended", HasResponded=True)
        lead = rig.make_lead(FirstName="花子")
        member = rig.make("CampaignMember", CampaignId=campaign, LeadId=lead)
        row = rig.row("CampaignMember", member)
        assert (row["Status"], row["HasResponded"], row["FirstRespondedDate"]) == ("Sent", False, None)
        assert (row["Name"], row["CompanyOrAccount"], row["LeadOrContactId"]) == ("花子 検証", "検証商事", lead)
        rig.call("PATCH", f"/sobjects/CampaignMember/{member}", json={"Status": "Attended"})
        row = rig.row("CampaignMember", member)
        assert (row["HasResponded"], row["FirstRespondedDate"]) == (True, "2026-05-29")
        again = rig.call("POST", "/sobjects/CampaignMember", json={"CampaignId": campaign, "LeadId": lead})
        assert refusal(again) == (400, "DUPLICATE_VALUE", "Already a campaign member.")
        nobody = rig.call("POST", "/sobjects/CampaignMember", json={"CampaignId": campaign})
        assert refusal(nobody)[1] == "REQUIRED_FIELD_MISSING"
        read_only = rig.call("PATCH", f"/sobjects/CampaignMember/{member}", json={"HasResponded": False})
        assert refusal(read_only)[1] == "INVALID_FIELD_FOR_INSERT_UPDATE"

    def test_a_member_shows_its_persons_new_name(self, rig: Rig) -> None:
        campaign, lead = rig.make("Campaign", Name="c"), rig.make_lead()
        member = rig.make("CampaignMember", CampaignId=campaign, LeadId=lead)
        rig.call("PATCH", f"/sobjects/Lead/{lead}", json={"LastName": "新姓", "Company": "新社"})
        row = rig.row("CampaignMember", member)
        assert (row["LastName"], row["CompanyOrAccount"]) == ("新姓", "新社")


class TestOpportunity:
    def test_stage_decides_and_history_is_kept(self, rig: Rig) -> None:
        deal = rig.make("Opportunity", Name="d", StageName="Qualification", CloseDate="2026-09-01", Amount=1000)
        row = rig.row("Opportunity", deal)
        assert (row["IsClosed"], row["Probability"], row["ExpectedRevenue"], row["FiscalQuarter"]) == (
            False,
            10,
            100,
            3,
        )
        rig.clock.advance(60)
        rig.call("PATCH", f"/sobjects/Opportunity/{deal}", json={"StageName": "Closed Won"})
        rig.call("PATCH", f"/sobjects/Opportunity/{deal}", json={"NextStep": "請求"})
        row = rig.row("Opportunity", deal)
        assert (row["IsClosed"], row["IsWon"], row["Probability"]) == (True, True, 100)
        assert row["LastStageChangeDate"] == "2026-05-28T20:27:40.000+0000"
        history = rig.query("SELECT StageName, PrevAmount FROM OpportunityHistory ORDER BY CreatedDate, Id")["records"]
        assert [(one["StageName"], one["PrevAmount"]) for one in history] == [
            ("Qualification", None),
            ("Closed Won", 1000),
        ]

    def test_one_primary_contact(self, rig: Rig) -> None:
        deal = rig.make("Opportunity", Name="d", StageName="Prospecting", CloseDate="2026-09-01")
        people = [rig.make("Contact", LastName=name) for name in "ab"]
        roles = [
            rig.make("OpportunityContactRole", OpportunityId=deal, ContactId=one, IsPrimary=True, Role="Decision Maker")
            for one in people
        ]
        assert [rig.row("OpportunityContactRole", role)["IsPrimary"] for role in roles] == [False, True]


def test_lead_history_of_tracked_fields(rig: Rig) -> None:
    lead = rig.make_lead(Title="課長")
    queue = rig.god("SELECT Id FROM Group WHERE Type = 'Queue'")[0]["Id"]
    body = {"Status": "Working - Contacted", "Title": "部長", "Phone": "1", "OwnerId": queue}
    rig.call("PATCH", f"/sobjects/Lead/{lead}", json=body)
    rows = rig.query(f"SELECT Field, OldValue, NewValue FROM LeadHistory WHERE LeadId = '{lead}'")["records"]
    assert {(row["Field"], row["NewValue"]) for row in rows} == {
        ("created", None),
        ("Status", "Working - Contacted"),
        ("Title", "部長"),
        ("Owner", "リードキュー"),
        ("Owner", queue),
    }


def convert(rig: Rig, lead: str, **more: Any) -> dict[str, str]:
    return dict(rig.control("records", {"action": "convert", "id": lead, **more}))


class TestConversion:
    def test_everything_moves_to_the_contact(self, rig: Rig) -> None:
        lead = rig.make_lead(FirstName="花子", Email="h@customer.example", Title="部長", City="東京")
        task = rig.make("Task", WhoId=lead, Subject="x", Status="Completed", ActivityDate="2026-05-01")
        campaign = rig.make("Campaign", Name="c")
        member = rig.make("CampaignMember", CampaignId=campaign, LeadId=lead)
        rig.clock.advance(60)
        made = convert(rig, lead)
        row = rig.row("Lead", lead)
        assert (row["IsConverted"], row["ConvertedDate"], row["Status"]) == (True, "2026-05-29", "Closed - Converted")
        ids = (row["ConvertedContactId"], row["ConvertedAccountId"], row["ConvertedOpportunityId"])
        assert ids == (made["contact"], made["account"], made["opportunity"])
        contact = rig.row("Contact", made["contact"])
        shown = (contact["Name"], contact["Email"], contact["MailingCity"], contact["LastActivityDate"])
        assert shown == ("花子 検証", "h@customer.example", "東京", "2026-05-01")
        moved = rig.row("Task", task)
        assert (moved["WhoId"], moved["SystemModstamp"]) == (made["contact"], "2026-05-28T20:27:40.000+0000")
        assert (moved["AccountId"], rig.row("Account", made["account"])["Name"]) == (made["account"], "検証商事")
        joined = rig.row("CampaignMember", member)
        assert (joined["ContactId"], joined["LeadId"]) == (made["contact"], lead)
        assert rig.query("SELECT Field FROM LeadHistory WHERE Field = 'leadConverted'")["totalSize"] == 1

    def test_a_converted_lead_is_read_only(self, rig: Rig) -> None:
        lead = rig.make_lead()
        made = convert(rig, lead, opportunity=False)
        assert made["opportunity"] is None
        refused = rig.call("PATCH", f"/sobjects/Lead/{lead}", json={"Title": "x"})
        assert refusal(refused) == (400, "CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead")
        records = [{"attributes": {"type": "Lead"}, "id": lead, "Title": "x"}]
        result = rig.call("PATCH", "/composite/sobjects", json={"records": records}).json()[0]
        assert result["errors"][0]["statusCode"] == "CANNOT_UPDATE_CONVERTED_LEAD"
        task = rig.call("POST", "/sobjects/Task", json={"WhoId": lead, "Subject": "x"})
        assert refusal(task)[1] == "CANNOT_UPDATE_CONVERTED_LEAD"
        error = rig.control("records", {"action": "convert", "id": lead}, expect=400)["error"]
        assert error.startswith("CANNOT_UPDATE_CONVERTED_LEAD")

    def test_into_an_existing_contact_fills_only_blanks(self, rig: Rig) -> None:
        contact = rig.make("Contact", LastName="既存", Title="社長")
        made = convert(rig, rig.make_lead(Title="部長", Phone="03-1"), contact_id=contact, opportunity="商談")
        assert made["contact"] == contact
        row = rig.row("Contact", contact)
        assert (row["LastName"], row["Title"], row["Phone"]) == ("既存", "社長", "03-1")
        assert rig.row("Opportunity", made["opportunity"])["Name"] == "商談"


class TestMerge:
    def test_losers_point_at_the_master_and_their_children_move(self, rig: Rig) -> None:
        master, loser = rig.make_lead(Title="部長"), rig.make_lead(Phone="1")
        task = rig.make("Task", WhoId=loser, Subject="x")
        both, only = rig.make("Campaign", Name="both"), rig.make("Campaign", Name="only")
        for campaign, lead in ((both, master), (both, loser), (only, loser)):
            rig.make("CampaignMember", CampaignId=campaign, LeadId=lead)
        rig.clock.advance(60)
        rig.control("records", {"action": "merge", "sobject": "Lead", "id": master, "losers": [loser]})
        soql = f"SELECT Id, IsDeleted, MasterRecordId, SystemModstamp FROM Lead WHERE Id = '{loser}'"
        row = rig.call("GET", "/queryAll", params={"q": soql}).json()["records"][0]
        assert (row["IsDeleted"], row["MasterRecordId"]) == (True, master)
        assert row["SystemModstamp"] == "2026-05-28T20:27:40.000+0000"
        assert rig.row("Task", task)["WhoId"] == master
        members = rig.query("SELECT LeadId, Campaign.Name FROM CampaignMember ORDER BY Campaign.Name")["records"]
        assert [(one["LeadId"], one["Campaign"]["Name"]) for one in members] == [(master, "both"), (master, "only")]
        assert refusal(rig.call("GET", f"/sobjects/Lead/{loser}"))[1] == "ENTITY_IS_DELETED"

    def test_accounts_bring_their_contacts_and_deals(self, rig: Rig) -> None:
        master, loser = rig.make("Account", Name="a"), rig.make("Account", Name="b")
        contact = rig.make("Contact", LastName="x", AccountId=loser)
        rig.control("records", {"action": "merge", "sobject": "Account", "id": master, "losers": [loser]})
        assert rig.row("Contact", contact)["AccountId"] == master

    def test_a_wrong_merge_is_refused(self, rig: Rig) -> None:
        lead = rig.make_lead()
        order = {"action": "merge", "sobject": "Lead", "id": lead, "losers": [lead]}
        assert "INVALID_OPERATION" in rig.control("records", order, expect=400)["error"]


class TestBin:
    def test_a_deleted_parent_takes_its_children_and_brings_them_back(self, rig: Rig) -> None:
        account = rig.make("Account", Name="a")
        contact = rig.make("Contact", LastName="x", AccountId=account)
        task = rig.make("Task", WhoId=contact, Subject="x")
        rig.call("DELETE", f"/sobjects/Account/{account}")
        assert rig.query("SELECT COUNT() FROM Contact")["totalSize"] == 0
        assert rig.query("SELECT COUNT() FROM Task")["totalSize"] == 0
        rows = rig.control("records", {"action": "undelete", "sobject": "Account", "id": account})["rows"]
        assert rows == 3
        assert rig.row("Task", task)["WhoId"] == contact

    def test_hard_deletion_leaves_only_the_deletion_log(self, rig: Rig) -> None:
        lead = rig.make_lead()
        rig.control("records", {"action": "hard_delete", "sobject": "Lead", "id": lead})
        found = rig.call("GET", "/queryAll", params={"q": "SELECT Id FROM Lead"}).json()
        assert found["totalSize"] == 0
        start, end = "2026-05-28T00:00:00%2B00:00", "2026-05-28T23:00:00%2B00:00"
        log = rig.call("GET", f"/sobjects/Lead/deleted/?start={start}&end={end}").json()
        assert [one["id"] for one in log["deletedRecords"]] == [lead]
        assert log["latestDateCovered"] == "2026-05-28T20:26:40.000+0000"


def test_updated_lists_ids_by_system_modstamp(rig: Rig) -> None:
    first, second = rig.make_lead(), rig.make_lead()
    rig.clock.advance(3600)
    rig.call("PATCH", f"/sobjects/Lead/{first}", json={"Title": "x"})

    def ask(start: str, end: str) -> Any:
        return rig.call("GET", "/sobjects/Lead/updated", params={"start": start, "end": end})

    assert ask("2026-05-28T20:00:00Z", "2026-05-28T20:59:00Z").json()["ids"] == [second]
    assert ask("2026-05-28T21:00:00Z", "2026-05-28T22:00:00Z").json()["ids"] == [first]
    assert refusal(ask("2026-04-01T00:00:00Z", "2026-05-01T00:00:00Z"))[1] == "INVALID_REPLICATION_DATE"
    assert refusal(ask("yesterday", "today"))[1] == "INVALID_REPLICATION_DATE"


def test_people_edit_without_quota_and_leave_their_name(rig: Rig) -> None:
    rep = add_user(rig, "eigyo")
    used = rig.control("state")["quota"]["used"]
    made = rig.control("records", {"action": "create", "sobject": "Lead", "fields": {"LastName": "x", "Company": "y"}})
    rig.control(
        "records", [{"action": "update", "sobject": "Lead", "id": made["id"], "fields": {"Title": "t"}, "as": rep}]
    )
    assert rig.control("state")["quota"]["used"] == used
    row = rig.god("SELECT Title, LastModifiedById, OwnerId FROM Lead")[0]
    assert (row["Title"], row["LastModifiedById"], row["OwnerId"]) == ("t", rep, rep)
    wrong = {"action": "create", "sobject": "Lead", "fields": {"LastName": "x"}}
    assert "REQUIRED_FIELD_MISSING" in rig.control("records", wrong, expect=400)["error"]


def test_orders_are_carried_out_together_or_not_at_all(rig: Rig) -> None:
    orders = [
        {"action": "create", "sobject": "Lead", "fields": {"LastName": "x", "Company": "y"}},
        {"action": "create", "sobject": "Lead", "fields": {}},
    ]
    rig.control("records", orders, expect=400)
    assert rig.god("SELECT Id FROM Lead") == []


def test_touch_gives_many_rows_one_moment(rig: Rig) -> None:
    rig.org.load("Lead", ({"LastName": f"x{n}", "Company": "c"} for n in range(50)))
    rig.clock.advance(600)
    assert rig.control("touch", {"sobject": "Lead", "count": 30})["touched"] == 30
    moved = rig.query("SELECT COUNT() FROM Lead WHERE SystemModstamp > 2026-05-28T20:30:00Z")["totalSize"]
    assert moved == 30


def test_inactive_integration_owner_cannot_get_new_records(rig: Rig) -> None:
    user = rig.god(f"SELECT Id FROM User WHERE Username = '{INTEGRATION}'")[0]["Id"]
    lead = rig.make_lead(OwnerId=user)
    rig.control("permissions", {"user": INTEGRATION, "active": False})
    assert rig.call("PATCH", f"/sobjects/Lead/{lead}", json={"Title": "x"}).status_code == 204
    refused = rig.call("POST", "/sobjects/Lead", json={"LastName": "x", "Company": "y", "OwnerId": user})
    assert refusal(refused)[1] == "INACTIVE_OWNER_OR_USER"
