"""The service as a process, with signals."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from core.rulebook import ADVISED, template_text
from sync.health import FILE_VARIABLE
from sync.state import open_state
from sync.state.kept import get_kept

END_SECONDS = 10.0


@pytest.fixture
def silent_crm() -> Iterator[tuple[str, threading.Event]]:
    """A CRM that takes every call and never answers; and whether one came."""
    called, ended = threading.Event(), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)

        def take() -> None:
            taken = []
            while not ended.is_set():
                try:
                    taken.append(server.accept()[0])
                    called.set()
                except TimeoutError:
                    continue
            for connection in taken:
                connection.close()

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", called
        ended.set()
        thread.join()


def configure(folder: Path, url: str, more: str = "") -> Path:
    (folder / "rulebook.yaml").write_text(template_text(ADVISED), "utf-8")
    file = folder / "mikomi.yaml"
    file.write_text(
        "connections:\n  hubspot: {vendor: hubspot, sandbox: true, token: {env: SERVE_TOKEN}, base_url: "
        f"'{url}'}}\n{more}",
        "utf-8",
    )
    return file


@contextmanager
def served(file: Path) -> Iterator["subprocess.Popen[str]"]:
    environment = os.environ | {"SERVE_TOKEN": "not-a-real-token", FILE_VARIABLE: str(file.parent / "health")}
    process = subprocess.Popen(
        [sys.executable, "-m", "sync.cli", "serve", "--config", str(file)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def lines(text: str) -> list[str]:
    return [json.loads(line)["event"] for line in text.splitlines() if line.startswith("{")]


def test_in_the_middle_of_a_call_that_hangs_it_ends_within_ten_seconds(
    tmp_path: Path, silent_crm: tuple[str, threading.Event]
) -> None:
    url, called = silent_crm
    with served(configure(tmp_path, url)) as process:
        assert called.wait(60)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert time.monotonic() - began < END_SECONDS
        assert "cut off: the work under way did not reach a safe point in time" in lines(process.communicate()[1])


def test_waiting_for_a_crm_that_is_down_it_ends_at_once_and_says_what_it_did(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
    file = configure(tmp_path, url)
    with served(file) as process:
        deadline = time.monotonic() + 60
        while not (tmp_path / "health").exists():
            assert time.monotonic() < deadline, process.poll()
            time.sleep(0.05)
        process.send_signal(signal.SIGHUP)  # does not end it
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        said = lines(process.communicate()[1])
        assert said[0] == "service starts"
        assert said[-1] == "service ends"
    state = open_state(f"sqlite:///{tmp_path / 'mikomi.sqlite3'}")
    assert (get_kept(state, "serve") or {"role": "stopped"})["role"] == "stopped"
    state.close()


def test_a_wrong_configuration_ends_it_with_two(tmp_path: Path) -> None:
    file = configure(tmp_path, "http://127.0.0.1:9", "schedule: {cycle: whenever}\n")
    with served(file) as process:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 2, (out, err)
        assert "mikomi.yaml:3: schedule.cycle" in err
