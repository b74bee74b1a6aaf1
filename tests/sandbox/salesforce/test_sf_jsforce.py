"""An unmodified jsforce in Node against the emulator."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.salesforce.rig import ADMIN, Rig

PROJECT = Path(__file__).parents[2] / "js" / "salesforce"


@pytest.fixture(scope="module")
def project() -> Path:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are not installed: jsforce cannot run")
    if not (PROJECT / "node_modules" / ".package-lock.json").exists():
        command = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        try:
            done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=100, check=False)
        except subprocess.TimeoutExpired:
            pytest.skip("the npm registry did not answer within 100 s: jsforce is not installed")
        if done.returncode != 0:
            pytest.skip(f"npm ci failed, jsforce is not installed: {done.stderr[-300:]}")
    return PROJECT


@pytest.fixture
def seen(rig: Rig, project: Path) -> dict[str, Any]:
    rig.add_field("Lead.Key__c", type="Text", length=64, externalId=True, unique=True)
    rig.org.load("Lead", ({"LastName": f"x{n}", "Company": "c"} for n in range(4500)))
    account = rig.make("Account", Name="A")
    rig.make("Contact", LastName="x", AccountId=account)
    given = {"url": rig.url, "token": rig.admin, "username": ADMIN, "password": rig.control("credentials")["password"]}
    done = subprocess.run(
        ["node", "drive.js", json.dumps(given)], cwd=project, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.node
def test_jsforce_reads_writes_and_understands_refusals(seen: dict[str, Any]) -> None:
    assert seen["paged"] == {"total": 4500, "fetched": 4500, "last": "x4499"}
    assert seen["nested"]["records"][0]["Contacts"]["records"][0]["LastName"] == "x"
    assert seen["created"] is True
    assert seen["updated"]["success"] is True
    assert (seen["retrieved"]["Title"], seen["retrieved"]["Name"]) == ("部長", "山田")
    assert [one["created"] for one in seen["upserts"]] == [True, False]
    assert seen["upserts"][0]["id"] == seen["upserts"][1]["id"]
    assert [one["success"] for one in seen["many"]] == [True, False, True]
    assert seen["many"][1]["errors"][0]["statusCode"] == "REQUIRED_FIELD_MISSING"
    assert [one["success"] for one in seen["many_updated"]] == [True, True]
    assert [one["Title"] for one in seen["found"]] == ["u", "u"]
    assert seen["deleted"]["success"] is True
    assert seen["after_delete"]["code"] == "ENTITY_IS_DELETED"
    assert seen["described"] == ["email", "string"]
    assert {"Lead", "Contact", "Task", "CampaignMember"} <= set(seen["objects"])
    assert seen["wrong_query"]["code"] == "INVALID_FIELD"
    assert "No such column 'Nope' on entity 'Lead'" in seen["wrong_query"]["message"]
    assert seen["wrong_row"]["code"] == "REQUIRED_FIELD_MISSING"
    assert seen["limit"]["apiUsage"]["limit"] == 100_000
    assert seen["identity"] == ADMIN
    assert seen["stranger"]["code"] == "INVALID_SESSION_ID"
    assert seen["soap"] == 2
