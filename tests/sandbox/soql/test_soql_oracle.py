"""An independent parser, @jetstreamapp/soql-parser-js, judges the same texts as our grammar."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from sandbox.salesforce.soql import SoqlError, parse
from tests.sandbox.soql.corpus import MALFORMED, VALID

PROJECT = Path(__file__).parents[2] / "js" / "soql"


@pytest.fixture(scope="module")
def oracle_project() -> Path:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node and npm are not installed: the independent SOQL parser cannot run")
    marker = PROJECT / "node_modules" / ".package-lock.json"
    if not marker.exists():
        command = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        try:
            done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=90, check=False)
        except subprocess.TimeoutExpired:
            pytest.skip("the npm registry did not answer within 90 s: the independent SOQL parser is not installed")
        if done.returncode != 0:
            pytest.skip(f"npm ci failed, the independent SOQL parser is not installed: {done.stderr[-300:]}")
    return PROJECT


def judge(project: Path, texts: tuple[str, ...]) -> list[bool]:
    done = subprocess.run(
        ["node", "check.js"],
        cwd=project,
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    verdicts = json.loads(done.stdout)
    assert isinstance(verdicts, list)
    return verdicts


def is_accepted(text: str) -> bool:
    try:
        parse(text)
    except SoqlError:
        return False
    return True


@pytest.mark.node
def test_both_parsers_agree_on_the_corpus(oracle_project: Path) -> None:
    assert len(VALID) >= 60
    assert len(MALFORMED) >= 30
    texts = VALID + MALFORMED
    theirs = judge(oracle_project, texts)
    ours = [is_accepted(text) for text in texts]
    disagreements = [
        (text, mine, other) for text, mine, other in zip(texts, ours, theirs, strict=True) if mine != other
    ]
    assert disagreements == []
    assert sum(ours) == len(VALID)
