"""Doctor names what is wrong and what to do; setup creates what is ours and nothing else."""

from pathlib import Path

import pytest

from connectors.fields import OUTPUT_FIELDS
from connectors.mapping import Usage
from connectors.protocol import Diagnosis, Finding
from core.errors import Forbidden
from sandbox.hubspot import HubSpotOptions
from tests.connectors.hubspot.practice import DAY_MS, NOW, PracticePortal


def about(diagnosis: Diagnosis, subject: str) -> list[Finding]:
    return [f for f in diagnosis.findings if subject in f.subject]


def test_a_portal_that_is_ready(portal: PracticePortal) -> None:
    [ref] = portal.add_people(1)
    portal.log("calls", [ref], hs_timestamp=str(NOW - DAY_MS), hs_call_status="COMPLETED")
    portal.log("calls", [ref], hs_timestamp=str(NOW - 100 * DAY_MS), hs_call_status="COMPLETED")
    portal.settle()
    connector = portal.connect()
    list(connector.apply_setup())
    diagnosis = connector.check()
    assert {f.level for f in diagnosis.findings} <= {"ok", "info"}
    assert "Professional" in about(diagnosis, "edition")[0].message
    assert "contacts" in about(diagnosis, "contacts")[0].message
    signals = {(s.kind, s.origin): s for s in diagnosis.signals}
    assert signals["call", "calls"].rows == 1
    assert signals["call", "calls"].available
    assert not signals["page_view", "web_events"].available
    assert "Enterprise" in signals["page_view", "web_events"].note
    assert signals["email_click", "email_events"].available


def test_enterprise_is_recognised(tmp_path: Path) -> None:
    portal = PracticePortal(tmp_path, HubSpotOptions(limits=False, edition="Enterprise"))
    try:
        diagnosis = portal.connect().check()
        assert "Enterprise" in about(diagnosis, "edition")[0].message
        assert {s.kind: s.available for s in diagnosis.signals if s.origin == "web_events"} == {"page_view": True}
    finally:
        portal.stop()


def test_a_signal_in_use_without_a_source_is_shown(portal: PracticePortal) -> None:
    usage = Usage(kinds=frozenset({"meeting", "call"}))
    diagnosis = portal.connect(usage=usage, mapping={"activities": {"calls": []}}).check()
    assert [(s.kind, s.available) for s in diagnosis.signals if not s.origin] == [("call", False)]


def test_missing_scopes_are_named(portal: PracticePortal) -> None:
    secret = portal.app.issue_token(
        [
            "crm.objects.contacts.read",
            "crm.schemas.contacts.read",
            "crm.objects.companies.read",
            "crm.objects.deals.read",
        ]
    )
    connector = portal.connect(secret=secret)
    diagnosis = connector.check()
    [scopes] = about(diagnosis, "scopes")
    assert scopes.level == "error"
    assert "crm.objects.contacts.write" in scopes.message
    assert "crm.objects.contacts.write" in scopes.hint
    assert not any(s.available for s in diagnosis.signals if s.origin in {"email_events", "lists", "marketing_events"})
    with pytest.raises(Forbidden) as caught:
        list(connector.read({}))
    assert caught.value.missing
    assert caught.value.missing[0] in caught.value.hint


def test_a_source_without_its_scope_can_be_left_out(portal: PracticePortal) -> None:
    usage = Usage(kinds=frozenset({"form_submit"}))
    needed = [f"crm.objects.{name}.read" for name in ("contacts", "companies", "deals", "owners")]
    secret = portal.app.issue_token(
        [*needed, *(f"crm.schemas.{name}.read" for name in ("contacts", "companies", "deals"))]
    )
    with pytest.raises(Forbidden) as caught:
        list(portal.connect(secret=secret, usage=usage).read({}))
    assert "forms" in caught.value.missing
    assert "activities → forms: []" in caught.value.hint
    assert list(portal.connect(secret=secret, usage=usage, mapping={"activities": {"forms": []}}).read({}))


def test_an_object_that_cannot_be_read_is_named(portal: PracticePortal) -> None:
    secret = portal.app.issue_token(["crm.objects.contacts.read", "crm.schemas.contacts.read"])
    diagnosis = portal.connect(secret=secret).check()
    levels = {f.subject: f.level for f in diagnosis.findings}
    assert levels["hubspot: contacts"] in {"ok", "warning"}
    assert levels["hubspot: companies"] == "error"
    assert "crm.objects.companies.read" in about(diagnosis, "companies")[0].hint


def test_a_portal_where_nothing_is_visible_is_a_warning(portal: PracticePortal) -> None:
    [finding] = about(portal.connect().check(), "hubspot: contacts")
    assert finding.level == "warning"
    assert finding.hint


def test_a_used_up_share_is_a_warning(portal: PracticePortal) -> None:
    portal.control("quota", {"used": 600_000})
    [finding] = about(portal.connect().check(), "quota")
    assert finding.level == "warning"
    assert "600,0" in finding.message
    assert "daily_share_percent" in finding.hint


def test_a_wrong_mapping_is_an_error_line(portal: PracticePortal) -> None:
    diagnosis = portal.connect(mapping={"contact": {"fields": {"company": "nowhere"}}}).check()
    [finding] = about(diagnosis, "mapping")
    assert finding.level == "error"
    assert "nowhere" in finding.message


def test_an_unreachable_portal_is_one_error(portal: PracticePortal) -> None:
    connector = portal.connect(call_attempts=1, timeout_seconds=2)
    portal.server.stop()
    diagnosis = connector.check()
    assert [f.level for f in diagnosis.findings] == ["error"]
    assert diagnosis.findings[0].hint


@pytest.mark.parametrize(("language", "word"), [("ja", "接続しました"), ("en", "connected to portal")])
def test_doctor_speaks_both_languages(portal: PracticePortal, language: str, word: str) -> None:
    diagnosis = portal.connect(language=language).check()
    assert word in about(diagnosis, "connection")[0].message


@pytest.mark.parametrize(
    ("language", "label", "option"), [("ja", "Mikomi ランク", "上昇"), ("en", "Mikomi Band", "Rising")]
)
def test_setup_creates_every_field_with_labels(portal: PracticePortal, language: str, label: str, option: str) -> None:
    connector = portal.connect(language=language)
    results = list(connector.apply_setup())
    assert {r.status for r in results} == {"created"}
    assert len(results) == 2 + len(OUTPUT_FIELDS) + 1
    found = {p["name"]: p for p in portal.api("GET", "/crm/v3/properties/contacts")["results"]}
    for name, field in OUTPUT_FIELDS.items():
        assert found[f"mikomi_{name}"]["groupName"] == "mikomi"
        assert [o["value"] for o in found[f"mikomi_{name}"]["options"]] == [o.value for o in field.options]
    assert found["mikomi_band"]["label"] == label
    assert option in [o["label"] for o in found["mikomi_trend"]["options"]]
    assert found["mikomi_reasons"]["fieldType"] == "textarea"
    key = portal.api("GET", "/crm/v3/properties/tasks/mikomi_key")
    assert (key["hasUniqueValue"], key["label"]) == (True, {"ja": "Mikomiキー", "en": "Mikomi key"}[language])
    assert portal.tasks() == []  # the probe's tasks are gone


def test_the_minimum_is_six_fields(portal: PracticePortal) -> None:
    steps = portal.connect(fields="minimal").plan_setup()
    assert [s.name for s in steps if s.name.startswith("contacts.mikomi")] == [
        f"contacts.mikomi_{n}" for n in ("score", "band", "reasons", "next_step", "handover_state", "response")
    ]


def test_a_property_of_another_type_blocks_and_is_left_alone(portal: PracticePortal) -> None:
    body = {
        "name": "mikomi_score",
        "label": "x",
        "type": "string",
        "fieldType": "text",
        "groupName": "contactinformation",
    }
    portal.control("properties", {"action": "create", "type": "contacts", "definition": body})
    connector = portal.connect()
    blocked = [s for s in connector.plan_setup() if s.blocked]
    assert [s.name for s in blocked] == ["contacts.mikomi_score"]
    assert "mikomi_score" in blocked[0].blocked
    failed = [r.step.name for r in connector.apply_setup() if r.status == "failed"]
    assert failed == ["contacts.mikomi_score"]
    assert portal.api("GET", "/crm/v3/properties/contacts/mikomi_score")["type"] == "string"
    assert any(f.level == "error" and "mikomi_score" in f.subject for f in connector.check().findings)


def test_setup_that_was_interrupted_goes_on(portal: PracticePortal) -> None:
    connector = portal.connect()
    first = connector.apply_setup()
    for _ in range(7):
        next(first)
    results = list(portal.connect().apply_setup())
    assert [r.status for r in results].count("unchanged") == 7
    assert {r.status for r in results} == {"created", "unchanged"}


def test_a_property_made_by_someone_else_meanwhile_is_no_failure(portal: PracticePortal) -> None:
    steps = portal.connect().apply_setup()
    next(steps)  # the group
    body = {"name": "mikomi_fit", "label": "x", "type": "number", "fieldType": "number", "groupName": "mikomi"}
    portal.api("POST", "/crm/v3/properties/contacts", body)
    results = {r.step.name: r.status for r in steps}
    assert results["contacts.mikomi_fit"] == "unchanged"
    assert set(results.values()) == {"created", "unchanged"}
