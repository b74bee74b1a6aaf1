"""Set up by an administrator who leaves nothing behind, then run by a user and an app that may do what is documented and no more."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.hubspot.permissions import SETUP_SCOPES, documented
from sandbox import Sandbox
from sync.tokens import key_file
from tests.connectors.salesforce.test_sf_permissions import rights
from tests.sync.practice import MORNING_MS, Practice, control


@pytest.fixture
def box() -> Iterator[Sandbox]:
    with Sandbox(seed=7, people=60, limits=False, now_ms=MORNING_MS) as sandbox:
        yield sandbox


def test_a_full_sync_needs_no_more_than_what_is_documented(box: Sandbox, tmp_path: Path) -> None:
    practice = Practice(box, tmp_path, stage="all")
    given = control(box.salesforce.url, "GET", "credentials")
    os.environ["PRACTICE_CLIENT_SECRET"] = given["client_secret"]
    salesforce = practice.config["connections"]["salesforce"]
    del salesforce["access_token"]
    salesforce |= {"auth": "client_credentials", "client_id": given["client_id"]}
    salesforce["client_secret"] = {"env": "PRACTICE_CLIENT_SECRET"}
    practice.write_config()
    user = given["username"]
    control(box.salesforce.url, "POST", "permissions", {"user": user, "only": rights()})
    os.environ["PRACTICE_HUBSPOT"] = issue(box, [s for s in documented() if s not in SETUP_SCOPES])
    os.environ["PRACTICE_HUBSPOT_ADMIN"] = issue(box, documented())
    hubspot = practice.config["connections"]["hubspot"]
    hubspot["setup_token"] = {"env": "PRACTICE_HUBSPOT_ADMIN"}
    practice.write_config()
    practice.setup()
    del salesforce["setup_access_token"], hubspot["setup_token"]
    practice.write_config()

    with practice.app() as app:
        complaints = [
            (name, finding)
            for name, connector in app.connectors.items()
            for finding in connector.check().findings
            if finding.level in {"error", "warning"}
        ]
        assert complaints == []
        state_url = app.loaded.state_url
    report = practice.sync()
    assert report.outcome == "ok", report.systems
    keys = [task["Mikomi_Key__c"] for task in practice.salesforce_tasks()]
    keys += [task["properties"]["mikomi_key"] for task in practice.hubspot_tasks()]
    assert keys
    assert set(Counter(keys).values()) == {1}
    practice.wait()
    assert practice.sync().outcome == "ok"
    calls = control(box.salesforce.url, "GET", "calls")
    assert calls["POST /services/oauth2/token"] == 1, "setup, doctor and both runs shared one token"

    names = ("PRACTICE_ADMIN", "PRACTICE_HUBSPOT", "PRACTICE_HUBSPOT_ADMIN")
    secrets = [*(os.environ[name] for name in names), given["client_secret"]]
    written = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert key_file(state_url) in written
    assert [path for path, raw in written.items() if any(secret.encode() in raw for secret in secrets)] == []


def issue(box: Sandbox, scopes: object) -> str:
    order = {"issue": list(scopes)}  # type: ignore[call-overload]
    return str(control(box.hubspot.url, "POST", "tokens", order)["token"])
