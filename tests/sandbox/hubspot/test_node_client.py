"""The unmodified Node client against the emulator; needs node, and npm's registry the first time."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.sandbox.hubspot.conftest import Account

PROJECT = Path(__file__).parents[2] / "js" / "hubspot"


def _installed() -> None:
    """Install the locked client unless it is there; skip with the reason where that cannot be."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed")
    if (PROJECT / "node_modules" / "@hubspot" / "api-client").is_dir():
        return
    command = ["npm", "ci", "--no-audit", "--no-fund"]
    try:
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=100, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("npm ci did not finish in 100 s: is the registry reachable?")
    if done.returncode != 0:
        pytest.skip(f"npm ci failed: {done.stderr.strip()[-300:]}")


@pytest.mark.node
def test_the_node_client_works_unmodified(account: Account) -> None:
    _installed()
    command = ["node", "check.mjs", account.server.url, account.token]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    seen = json.loads(done.stdout)
    assert seen.pop("conflict")[:2] == [409, "CONFLICT"]
    assert seen == {
        "created": "北",
        "batchCreated": 100,
        "page": True,
        "all": 161,
        "search": [1, "北"],
        "partial": [1, 1, "999999"],
        "upsert": [True, False, True],
        "linked": [[True, 2]],
        "property": "text",
        "owner": "admin@portal.example",
        "invalid": [400, "VALIDATION_ERROR"],
        "missing": [404, "OBJECT_NOT_FOUND"],
        "archived": 404,
    }
