"""The documented scopes are enough, each of them is needed, and the practice portal refuses everything else."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from connectors.hubspot.permissions import READ_SCOPES, SETUP_SCOPES, documented
from connectors.protocol import FieldWrite, TaskWrite
from core.errors import Forbidden
from tests.connectors.hubspot.practice import PracticePortal


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PracticePortal]:
    """One portal for the table, set up with all scopes."""
    portal = PracticePortal(tmp_path_factory.mktemp("portal"))
    portal.add_people(2)
    assert [r for r in portal.connect().apply_setup() if r.status == "failed"] == []
    yield portal
    portal.stop()


def token(portal: PracticePortal, *lacking: str) -> str:
    granted = [scope for scope in documented() if scope not in lacking]
    return str(portal.control("tokens", {"issue": granted})["token"])


def complaints(portal: PracticePortal, secret: str) -> list[tuple[str, str]]:
    findings = portal.connect(secret=secret, language="en").check().findings
    return [(f.level, f"{f.subject}: {f.message} → {f.hint}") for f in findings if f.level in {"error", "warning"}]


def test_with_the_documented_scopes_everything_works(portal: PracticePortal) -> None:
    [ref] = portal.add_people(1)
    portal.log_call(ref)
    connector = portal.connect(secret=token(portal))
    assert [r for r in connector.apply_setup() if r.status == "failed"] == []
    connector = portal.connect(secret=token(portal, *SETUP_SCOPES))
    connector.prepare()
    assert {getattr(fact, "ref", None) for page in connector.read({}) for fact in page.facts} >= {ref}
    task = TaskWrite("mk1-a", ref, portal.owner_id, "件名", "本文", 20_600, "high")
    assert [r.status for r in connector.write([FieldWrite(ref, {"score": 70}), task])] == ["ok"] * 2
    assert complaints(portal, token(portal)) == []


@pytest.mark.parametrize("scope", [scope for scope in documented() if scope not in SETUP_SCOPES])
def test_each_scope_that_is_missing_is_named(shared: PracticePortal, scope: str) -> None:
    found = complaints(shared, token(shared, scope))
    assert [level for level, line in found if scope in line and level == "error"], found


@pytest.mark.parametrize("scope", SETUP_SCOPES)
def test_a_scope_for_setup_is_named_until_all_is_set_up(
    portal: PracticePortal, shared: PracticePortal, scope: str
) -> None:
    portal.add_people(1)
    assert [level for level, line in complaints(portal, token(portal, scope)) if scope in line] == ["warning"]
    assert complaints(shared, token(shared, scope)) == []


def test_an_administrator_sets_up_what_the_app_may_not(portal: PracticePortal) -> None:
    portal.add_people(1)
    syncs, admin = token(portal, *SETUP_SCOPES), token(portal)
    with pytest.raises(Forbidden, match=r"crm\.schemas\.contacts\.write"):
        list(portal.connect(secret=syncs).apply_setup())
    path = portal.keep_secret(admin, "admin")
    connector = portal.connect(secret=syncs, setup_token={"file": str(path)})
    assert {r.status for r in connector.apply_setup()} == {"created"}
    assert connector.capabilities.task_key is True
    assert admin not in repr(vars(connector))
    assert complaints(portal, syncs) == []


def test_an_administrator_of_another_portal_is_refused(portal: PracticePortal) -> None:
    path = portal.keep_secret(token(portal), "admin")
    details = json.dumps({"portalId": 4711, "timeZone": "Asia/Tokyo"})
    portal.fail_next(status=200, body=details, path="account-info/v3/details")  # what the administrator's token sees
    before = portal.calls()
    with pytest.raises(Forbidden, match="another portal"):
        portal.connect(setup_token={"file": str(path)}).plan_setup()
    assert portal.calls() - before <= 2


@pytest.mark.parametrize(
    ("method", "path", "body", "scope"),
    [
        ("POST", "/crm/v3/objects/companies", {"properties": {"name": "別"}}, "crm.objects.companies.write"),
        ("POST", "/crm/v3/objects/deals", {"properties": {"dealname": "別"}}, "crm.objects.deals.write"),
        ("POST", "/crm/v3/lists/", {"name": "x", "objectTypeId": "0-1", "processingType": "MANUAL"}, "crm.lists.write"),
        ("POST", "/crm/v3/properties/deals", {"name": "x"}, "crm.schemas.deals.write"),
    ],
)
def test_everything_else_is_refused(
    shared: PracticePortal, monkeypatch: pytest.MonkeyPatch, method: str, path: str, body: Any, scope: str
) -> None:
    monkeypatch.setattr(shared, "secret", token(shared))
    with pytest.raises(HTTPError) as caught:
        shared.api(method, path, body)
    answer = caught.value.read().decode()
    caught.value.close()
    assert (caught.value.code, scope in answer, "MISSING_SCOPES" in answer) == (403, True, True)


def test_every_stream_has_its_scope(portal: PracticePortal) -> None:
    names = set(portal.connect().capabilities.streams)
    assert names - set(READ_SCOPES) <= {"calls", "meetings", "notes", "web_events"}
    assert set(READ_SCOPES) <= names


@pytest.mark.parametrize("name", ["README.md", "README.ja.md"])
def test_the_readme_lists_exactly_these(name: str) -> None:
    text = (Path(__file__).resolve().parents[3] / name).read_text("utf-8")
    assert [scope for scope in documented() if f"`{scope}`" not in text] == []
