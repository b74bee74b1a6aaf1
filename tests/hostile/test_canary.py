"""The watch over the whole run catches a planted leak, whatever way it takes."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from sync.log import get_log
from tests.canary import Canary

ROOT = Path(__file__).resolve().parents[2]

PLANTED = {
    "an address as a value": "log_unredacted(canary.ADDRESS)",
    "a name as an event": "get_log('sync.x').error('call of ' + canary.NAME)",
    "a name in a line for information": "get_log('sync.x').info('call of ' + canary.NAME)",
    "a name in a line for debugging": "logging.getLogger('connectors.x').debug('call of ' + canary.NAME)",
    "somebody of a sandbox": "log_somebody_of_a_sandbox()",
    "a company of a sandbox": "log_a_company_of_a_sandbox()",
    "a token in a connector's message": "logging.getLogger('connectors.x').warning('token ' + canary.NAME)",
    "a name in a report": "store(RunReport('r', 'all', 0, systems={'hubspot': SystemReport(error=canary.NAME)}))",
    "any address in a report": "store(RunReport('r', 'all', 0, systems={'hubspot': SystemReport(error='a.b@c.example')}))",
    "a token on standard output": "print(canary.TOKEN)",
    "a sandbox's token on standard error": "box_token_to_stderr()",
}

HARMLESS = "get_log('sync.x').warning('x', reason=canary.ADDRESS, last_name=canary.NAME); print(canary.NAME)"

TEST = """
import logging, sys
import pytest
from sync import redaction
from sync.log import get_log
from sync.report import RunReport, SystemReport
from tests import canary


def log_unredacted(text):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redaction, "_value", lambda key, value: value)  # as if the second net were gone
        get_log("sync.x").warning("x", reason=text)


def store(report):
    from contextlib import contextmanager
    from sync.cycle import Cycle
    from sync.state import open_state
    cycle = Cycle(open_state("sqlite://"), None, None, {})
    cycle._store(report, "ok")


def log_somebody_of_a_sandbox():
    from sandbox import Sandbox
    with Sandbox(people=30, seed=9) as box:
        rows = box.salesforce_app.org.store.rows('SELECT FirstName, LastName FROM "Lead"')
    names = [row["LastName"] + " " + row["FirstName"] for row in rows if row["FirstName"]]
    get_log("sync.x").info("call of " + max(names, key=len))


def log_a_company_of_a_sandbox():
    from sandbox import Sandbox
    with Sandbox(people=30, seed=9) as box:
        rows = box.salesforce_app.org.store.rows('SELECT Name FROM "Account"')
    get_log("sync.x").warning("call of " + max((row["Name"] for row in rows), key=len))


def box_token_to_stderr():
    from sandbox import Sandbox
    with Sandbox(people=0) as box:
        sys.stderr.write(box.hubspot.token)


"""


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    tests = (f"def test_{number}():\n    {plant}\n\n\n" for number, plant in enumerate([*PLANTED.values(), HARMLESS]))
    (folder / "test_planted.py").write_text(TEST + "\n\n".join(tests), "utf-8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "tests.conftest",
        "-p",
        "no:randomly",
        "-p",
        "no:cacheprovider",
    ]
    return subprocess.run(
        [*command, "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(folder), *options, str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize("workers", [(), ("-n", "1")], ids=["alone", "with workers"])
def test_planted_leaks_fail_the_session(workers: tuple[str, ...], tmp_path: Path) -> None:
    ended = run(tmp_path, *workers)
    assert f"{len(PLANTED) + 1} passed" in ended.stdout, ended.stdout + ended.stderr
    assert ended.returncode == 1
    told = ended.stdout.partition("personal data or secrets were shown")[2]
    found = {int(number) for number in re.findall(r"test_planted\.py::test_(\d+)", told)}
    assert found == set(range(len(PLANTED))), told


def test_the_watch_is_on(canary: Canary) -> None:
    before = canary.watch.checked
    get_log("sync.x").warning("seen")
    assert canary.watch.checked == before + 1
