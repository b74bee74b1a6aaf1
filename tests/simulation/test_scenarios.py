"""One scenario of the soak is lived here too; and its judgement is shown to bark."""

import subprocess
import sys

import pytest

from tests.simulation.forkserver import Running
from tests.simulation.processes import Company
from tests.simulation.scenarios import run_scenario

pytestmark = pytest.mark.timeout(300)


def test_whatever_is_killed_comes_to_rest() -> None:
    assert run_scenario(3, "killed", unique=False).violations == ()


@pytest.mark.parametrize(
    ("program", "bark"),
    [
        ("raise SystemExit(0)", "I6: healed, and a process does not read"),
        ("raise RuntimeError", "I2: a process fell over"),
        ("raise SystemExit(2)", "I2: processes ended with [2]"),
    ],
)
def test_processes_that_do_nothing_are_noticed(program: str, bark: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done in process afterwards must not stand in for them."""

    def begin(company: Company, *_command: str, limit_bytes: int | None = None) -> Running:
        with company.said.open("ab") as out:
            return subprocess.Popen([sys.executable, "-c", program], stdout=out, stderr=out)

    monkeypatch.setattr(Company, "begin", begin)
    violations = run_scenario(1, "answer_lost").violations
    assert any(line.startswith(bark) for line in violations), violations
