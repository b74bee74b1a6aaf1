"""The doctor: each thing that can be wrong has its line, with what to do; nothing is written."""

import re
from pathlib import Path
from typing import Any

import pytest

from connectors.protocol import Diagnosis, Finding
from connectors.salesforce.schema import shape_of
from sandbox.salesforce import SalesforceOptions
from tests.connectors.salesforce.org import PracticeOrg


def finding(diagnosis: Diagnosis, subject: str) -> Finding:
    [found] = [f for f in diagnosis.findings if f.subject == subject]
    return found


def permissions(org: PracticeOrg, **order: Any) -> None:
    org.control("POST", "permissions", {"user": org.credentials["username"], **order})


def test_a_healthy_org_is_ok_line_by_line(org: PracticeOrg) -> None:
    list(org.connect().apply_setup())
    org.add_people(3)
    connector = org.connect()
    diagnosis = connector.check()
    assert {f.level for f in diagnosis.findings if "mapping" not in f.subject} == {"ok"}
    assert finding(diagnosis, "edition").message == "Enterprise Edition, production org, time zone Asia/Tokyo"
    assert finding(diagnosis, "visible rows").message == "Lead 3, Contact 0, Account 0, Opportunity 0"
    assert finding(diagnosis, "create tasks").level == "ok"
    assert "signed in as integration@mikomi.example" in finding(diagnosis, "connection").message
    assert connector.counts.write == 0
    assert org.calls() < 80


def test_before_setup_the_missing_fields_are_named(org: PracticeOrg) -> None:
    found = finding(org.connect().check(), "score fields")
    assert (found.level, found.hint) == ("warning", "mikomi setup --apply")
    assert found.message.startswith("48 of 48 missing or hidden: Lead.Mikomi_Score__c, ")


def test_a_locked_score_field_is_an_error(org: PracticeOrg) -> None:
    list(org.connect().apply_setup())
    permissions(org, field="Contact.Mikomi_Score__c", read=True, edit=False)
    found = finding(org.connect().check(), "score fields")
    assert (found.level, found.message) == ("error", "the integration user may not write Contact.Mikomi_Score__c")


@pytest.mark.parametrize(("sobject", "level"), [("Lead", "error"), ("Opportunity", "warning")])
def test_an_object_that_may_not_be_read(org: PracticeOrg, sobject: str, level: str) -> None:
    permissions(org, object=sobject, rights=[])
    found = finding(org.connect().check(), f"read {sobject}")
    assert (found.level, found.hint) == (level, f"give the integration user read access to {sobject}")


def test_a_lead_that_may_not_be_edited(org: PracticeOrg) -> None:
    permissions(org, object="Lead", rights=["read"])
    assert finding(org.connect().check(), "write Lead").level == "error"


def test_rows_that_sharing_hides_are_noticed(tmp_path: Path) -> None:
    org = PracticeOrg(tmp_path, SalesforceOptions(visible_share=0.5))
    try:
        org.add_people(400)
        found = finding(org.connect().check(), "rows of Lead")
        assert found.level == "warning"
        assert "of 400 rows are visible" in found.message
        assert "View All" in found.hint
    finally:
        org.stop()


def test_a_quota_above_the_share_is_a_warning(org: PracticeOrg) -> None:
    org.control("POST", "quota", {"limit": 1000, "used": 700})
    assert finding(org.connect().check(), "daily API calls").level == "ok"
    org.control("POST", "quota", {"limit": 1000, "used": 850})
    diagnosis = org.connect().check()
    assert any("daily" in f.message and f.level in {"warning", "error"} for f in diagnosis.findings)
    assert any("quota" in f.hint for f in diagnosis.findings)


def test_an_exhausted_quota_is_a_finding_not_a_crash(org: PracticeOrg) -> None:
    org.control("POST", "quota", {"limit": 1000, "used": 1000})
    errors = [f for f in org.connect().check().findings if f.level == "error"]
    assert "used up" in errors[0].message


def test_a_version_that_the_org_does_not_serve(org: PracticeOrg) -> None:
    errors = [f for f in org.connect(api_version="99.0").check().findings if f.level == "error"]
    assert any("version" in f.message.lower() or "NOT_FOUND" in f.message for f in errors)


def test_a_required_field_that_is_hidden(org: PracticeOrg) -> None:
    permissions(org, field="Contact.Title", read=False)
    errors = [f for f in org.connect().check().findings if f.level == "error"]
    assert [e.subject for e in errors] == ["mapping"]
    assert "title" in errors[0].message


def test_an_unreachable_org_is_a_finding(org: PracticeOrg) -> None:
    org.fail_next(status=503, times=100)
    [error] = [f for f in org.connect().check().findings if f.level == "error"]
    assert "HTTP 503" in error.message


# --- signals -------------------------------------------------------------------------------------------------------------


def test_the_signal_table_counts_what_is_there(org: PracticeOrg) -> None:
    refs = org.add_people(3)
    for ref in refs:
        org.log_call(ref)
    campaign = org.create("Campaign", Name="展示会", Type="Trade Show", IsActive=True)
    org.create("CampaignMember", CampaignId=campaign, LeadId=refs[0].id, Status="Visited Booth")
    signals = {signal.kind: signal for signal in org.connect().check().signals}
    assert (signals["call"].rows, signals["call"].origin) == (3, "Task")
    assert (signals["event_attend"].rows, signals["event_attend"].origin) == (1, "CampaignMember")
    assert signals["meeting"].rows == 0
    assert not signals["page_view"].available
    assert "HubSpot" in signals["page_view"].note


def test_many_rows_are_estimated_and_said_to_be(org: PracticeOrg) -> None:
    [ref] = org.add_people(1)
    at = org.clock.now_ms() - 3_600_000
    row = {"WhoId": ref.id, "Status": "Completed", "IsClosed": True, "TaskSubtype": "Call", "Subject": "架電"}
    stamps = {"CreatedDate": at, "SystemModstamp": at, "CompletedDateTime": at, "OwnerId": org.owner_id}
    org.load("Task", [{"Id": org.app.new_id("Task"), **row, **stamps} for _ in range(500)])
    signals = {signal.kind: signal for signal in org.connect().check().signals}
    assert signals["call"].rows == 500
    assert signals["call"].note == "estimated from 200 rows"


def test_every_sentence_exists_in_both_languages(org: PracticeOrg) -> None:
    from connectors.salesforce.wording import _TEXTS

    for key, (ja, en) in _TEXTS.items():
        names = [set(re.findall(r"{(\w+)}", text)) for text in (ja, en)]
        assert names[0] == names[1], key
        assert re.search("[ぁ-ん一-龥ァ-ン]", ja) or not re.search("[a-z]{3}", re.sub(r"{\w+}", "", ja)), key
    japanese = org.connect(language="ja").check()
    assert finding(japanese, "edition").message == "Enterprise Edition(本番組織、タイムゾーン Asia/Tokyo)"
    assert finding(japanese, "score fields").hint == "mikomi setup --apply"


@pytest.mark.parametrize("body", [{"records": [], "done": True}, {"name": "Lead", "fields": [{"name": "Id"}]}, [], "x"])
def test_an_answer_that_describes_nothing_is_refused_by_name(body: Any) -> None:
    with pytest.raises(TypeError, match="no describe"):
        shape_of(body)
