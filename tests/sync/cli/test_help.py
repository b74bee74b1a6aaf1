"""`mikomi --help` answers at once: nothing heavy is imported, and it costs little."""

import resource
import subprocess
import sys

import pytest

from tests.sync.cli.rig import mikomi

HEAVY = ("rich", "pydantic", "sqlalchemy", "ibis", "duckdb", "yaml", "babel", "alembic", "numpy", "pyarrow", "sandbox")
CPU_SECONDS = 0.3


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from sync.cli.main import app\n"
        "try:\n    app(['--help'])\n"
        "except SystemExit as end:\n    assert end.code == 0\n"
        f"found = sorted(set(sys.modules) & set({HEAVY!r}))\n"
        "assert not found, found\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "doctor" in ended.stdout


def test_help_costs_little() -> None:
    spent = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "sync.cli", "--help"], capture_output=True, timeout=60, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(spent) <= CPU_SECONDS, spent


@pytest.mark.parametrize(
    "command", ["init", "doctor", "setup", "sync", "explain", "sample", "status", "demo", "sandbox"]
)
def test_every_command_explains_itself(command: str) -> None:
    said = mikomi(command, "--help")
    assert said.code == 0
    assert "Options:" in said.out


def test_no_command_shows_the_help() -> None:
    assert "Commands:" in mikomi().out + mikomi().err


def test_an_unknown_command_is_exit_code_2() -> None:
    said = mikomi("scores")
    assert said.code == 2
    assert "No such command" in said.err
