"""`python -m sandbox`: one JSON line, exit code 0 when told to stop, 2 with one message when it cannot start."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "sandbox", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_one_line_and_a_clean_end(how: signal.Signals) -> None:
    with started("--people", "30", "--seed", "2", "--no-limits") as process:
        assert process.stdout is not None
        line = json.loads(process.stdout.readline())
        assert set(line) == {"salesforce", "hubspot"}
        for end in line.values():
            assert set(end) == {"url", "token"}
            with urllib.request.urlopen(end["url"] + "/__sandbox__/health", timeout=20) as response:
                assert response.status == 200
        process.send_signal(how)
        rest, complaints = process.communicate(timeout=20)
        assert (process.returncode, rest, complaints) == (0, "", "")


def test_it_can_be_stopped_while_it_loads() -> None:
    with started("--people", "1000000") as process:
        assert process.stderr is not None
        assert "loaded" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=20)
        assert (process.returncode, rest) == (0, "")


def test_a_port_in_use_is_one_message_and_exit_code_2() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with started("--people", "5", "--salesforce-port", str(port)) as process:
            rest, complaint = process.communicate(timeout=20)
    assert process.returncode == 2
    assert rest == ""
    assert complaint == f"sandbox: port {port} for salesforce is in use: name another one, or 0 for a free one\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--people", "-1"), "must not be negative"),
        (("--hubspot-port", "70000"), "cannot listen on port 70000"),
        (("--edition", "Gold"), "invalid choice"),
    ],
)
def test_what_cannot_be_is_refused(arguments: tuple[str, ...], message: str) -> None:
    with started(*arguments) as process:
        rest, complaint = process.communicate(timeout=20)
    assert process.returncode == 2
    assert rest == ""
    assert message in complaint


def test_importing_the_package_is_cheap() -> None:
    code = (
        "import sys, sandbox;"
        "heavy = {'sandbox.main', 'sandbox.salesforce', 'sandbox.hubspot', 'sqlite3', 'cryptography'} & set(sys.modules);"
        "assert not heavy, heavy; assert callable(sandbox.run); assert 'sandbox.main' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=30)
