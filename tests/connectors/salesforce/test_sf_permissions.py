"""The documented rights are enough, each of them is needed, and the practice org refuses everything else."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from connectors.protocol import FieldWrite, Level, TaskWrite
from connectors.salesforce.permissions import (
    FIELDS_EDITED,
    FIELDS_READ,
    OBJECT_RIGHTS,
    USER_PERMISSIONS,
    documented,
)
from core.records import RecordRef
from tests.connectors.salesforce.org import PracticeOrg

REQUIRED = {
    "Lead.Email": "(Email)",
    "Lead.Title": "(Title)",
    "Contact.Email": "(Email)",
    "Contact.Title": "(Title)",
    "Contact.AccountId": "(Account.Name)",
}
"""Sources of fields that must be there: without them the mapping itself is an error."""

LEVELS: dict[Level, int] = {"ok": 0, "info": 1, "warning": 2, "error": 3}


def rights() -> dict[str, Any]:
    """The documented list as the practice org's control API takes it."""
    return {
        "flags": list(USER_PERMISSIONS),
        "objects": {name: list(given) for name, given in OBJECT_RIGHTS.items()},
        "read": {name: list(fields) for name, fields in FIELDS_READ.items()},
        "edit": {name: list(fields) for name, fields in FIELDS_EDITED.items()},
    }


def limit(org: PracticeOrg, only: dict[str, Any]) -> None:
    org.control("POST", "permissions", {"user": org.credentials["username"], "only": only})


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PracticeOrg]:
    """One org for the table, set up by its administrator."""
    org = PracticeOrg(tmp_path_factory.mktemp("org"))
    set_up(org)
    yield org
    org.stop()


def set_up(org: PracticeOrg) -> list[RecordRef]:
    refs = [*org.add_people(2), *org.add_people(2, "Contact")]
    assert [r for r in org.connect().apply_setup() if r.status == "failed"] == []
    limit(org, rights())
    return refs


def complaints(org: PracticeOrg) -> list[str]:
    findings = org.connect(setup_access_token=None).check().findings
    return [f"{f.subject}: {f.message} → {f.hint}" for f in findings if LEVELS[f.level] > 1]


def test_with_the_documented_rights_everything_works(org: PracticeOrg) -> None:
    refs = set_up(org)
    org.log_call(refs[0])
    connector = org.connect(setup_access_token=None)
    assert complaints(org) == []
    facts = [fact for page in connector.read({}) for fact in page.facts]
    assert {getattr(fact, "ref", None) for fact in facts} >= set(refs)
    task = TaskWrite("mk1-a", refs[0], org.owner_id, "件名", "本文", 20_500, "high")
    results = list(connector.write([FieldWrite(refs[0], {"score": 70}), FieldWrite(refs[2], {"score": 7}), task]))
    assert [result.status for result in results] == ["ok"] * 3
    assert org.shown(refs[0], "score") == 70


def test_the_doctor_is_content_with_the_shared_org(shared: PracticeOrg) -> None:
    assert complaints(shared) == []


def without(kind: str, name: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The list less one permission, and the words that name it."""
    only = rights()
    if kind == "user":
        only["flags"].remove({label: flag for flag, label in USER_PERMISSIONS.items()}[name])
        return only, ("API_DISABLED_FOR_ORG",) if name == "API Enabled" else (name,)
    subject, _, right = name.partition(": ")
    if kind == "object":
        only["objects"][subject].remove(right)
        if right == "read":
            only["objects"][subject] = []  # nobody may edit what he may not read
        return only, (subject, right)
    sobject, _, field = subject.partition(".")
    only[right][sobject].remove(field)
    if right == "read" and subject in REQUIRED:
        return only, ("mapping", REQUIRED[subject])
    return only, (f"{sobject}.{field}",)


@pytest.mark.parametrize("permission", documented(), ids=lambda p: p.name)
def test_each_permission_that_is_missing_is_named(shared: PracticeOrg, permission: Any) -> None:
    only, words = without(permission.kind, permission.name)
    if permission.name in {f"Task.{field}: read" for field in FIELDS_EDITED["Task"]}:
        only["edit"]["Task"].remove(words[0].partition(".")[2])  # who edits a field reads it too
    limit(shared, only)
    try:
        found = complaints(shared)
    finally:
        limit(shared, rights())
    assert [line for line in found if all(word in line for word in words)], found


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("DELETE", "/sobjects/Lead/{lead}", None, 400, "INVALID_TYPE_FOR_OPERATION"),
        ("POST", "/sobjects/Lead", {"LastName": "新規", "Company": "買い手"}, 400, "INVALID_TYPE_FOR_OPERATION"),
        ("PATCH", "/sobjects/Lead/{lead}", {"Title": "社長"}, 400, "INVALID_FIELD_FOR_INSERT_UPDATE"),
        ("PATCH", "/sobjects/Account/{account}", {"Name": "別"}, 400, "INVALID_TYPE_FOR_OPERATION"),
        ("POST", "/sobjects/Event", {"Subject": "x"}, 400, "INVALID_TYPE_FOR_OPERATION"),
        ("POST", "/sobjects/PermissionSet", {"Name": "X", "Label": "X"}, 403, "INSUFFICIENT_ACCESS_OR_READONLY"),
        ("GET", "/query?q=SELECT+Fax+FROM+Lead", None, 400, "INVALID_FIELD"),
        ("GET", "/tooling/query?q=SELECT+Id+FROM+CustomField", None, 403, ""),
    ],
)
def test_everything_else_is_refused(
    shared: PracticeOrg, method: str, path: str, body: Any, status: int, code: str
) -> None:
    lead = shared.god("SELECT Id FROM Lead")[0]["Id"]
    account = shared.create("Account", Name="買い手")
    url = f"{shared.server.url}/services/data/v62.0{path.format(lead=lead, account=account)}"
    headers = {"Authorization": f"Bearer {shared.secret}"}
    answer = requests.request(method, url, json=body, headers=headers, timeout=10)
    assert answer.status_code == status, answer.text
    assert answer.json()[0]["errorCode"].startswith(code)


def test_the_readme_lists_exactly_these(shared: PracticeOrg) -> None:
    root = Path(__file__).resolve().parents[3]
    for name in ("README.md", "README.ja.md"):
        text = (root / name).read_text("utf-8")
        missing = [label for label in USER_PERMISSIONS.values() if label not in text]
        missing += [name for name in OBJECT_RIGHTS if name not in text]
        missing += [field for fields in FIELDS_READ.values() for field in fields if field not in text]
        assert missing == [], name
