"""`mikomi demo` as a process: it tells the whole story, ends by itself, and leaves nothing running."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import cast

import pytest

from core.rulebook import ADVISED, load_rulebook, template_text
from sync.cli.demo import Story, _orderly_end
from sync.cli.demo_files import LOWER_THRESHOLD, THRESHOLD, lower_threshold
from sync.cli.practice import Practice, PracticeFailed
from sync.texts import speaker
from tests.sync.cli.rig import mikomi

PEOPLE = "150"
FEW = "21"


@contextmanager
def demo(people: str, *arguments: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "sync.cli", "demo", "--people", people, "--keep", str(folder), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def sandboxes(people: str) -> set[int]:
    """Processes that serve a sandbox with this number of people."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue  # it ended while we looked
        if b"sandbox" in words and people.encode() in words:
            found.add(int(path.parent.name))
    return found


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_whole_story(tmp_path: Path) -> None:
    before = sandboxes(PEOPLE)
    with demo(PEOPLE, "--language", "en", folder=tmp_path) as process:
        story, _ = process.communicate(timeout=280)
    assert process.returncode == 0, story
    assert [int(n) for n in re.findall(r"^━━ (\d+)\.", story, re.MULTILINE)] == list(range(1, 10))
    assert "SIGKILL" in story
    assert "No task twice, none lost" in story
    assert "A quiet pass" in story
    assert "Traceback" not in story
    assert sandboxes(PEOPLE) <= before
    assert mikomi("status", "--config", tmp_path / "mikomi.yaml").code == 0


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_stopped_half_way_it_leaves_nothing_running(tmp_path: Path, how: signal.Signals) -> None:
    before = sandboxes(FEW)
    with demo(FEW, folder=tmp_path) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("━━ 1."):
                break
        started = sandboxes(FEW) - before
        assert started
        process.send_signal(how)
        process.communicate(timeout=60)
    assert process.returncode == 130
    deadline = time.monotonic() + 5
    while sandboxes(FEW) & started and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not sandboxes(FEW) & started


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("", "utf-8")
    said = mikomi("demo", "--keep", tmp_path)
    assert said.code != 0
    assert "not empty" in said.err
    assert os.listdir(tmp_path) == ["mine"]


def test_the_demo_changes_what_the_template_says(tmp_path: Path) -> None:
    (tmp_path / "rulebook.yaml").write_text(template_text(ADVISED), "utf-8")
    lower_threshold(tmp_path)
    text = (tmp_path / "rulebook.yaml").read_text("utf-8")
    assert THRESHOLD not in text
    assert LOWER_THRESHOLD in text
    assert load_rulebook(text, source="rulebook.yaml").bands.A.total == 70


def test_a_market_that_does_not_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(PracticeFailed, match="must not be negative"), Practice(people=-1, seed=1, log=tmp_path / "log"):
        pytest.fail("it must not start")


class Evening:
    """A practice clock at a given local time in Tokyo."""

    def __init__(self, hour: float) -> None:
        self.now = round((20_000 * 24 - 9 + hour) * 3_600_000)

    def now_ms(self) -> int:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += round(seconds * 1000)


@pytest.mark.parametrize(("hour", "then"), [(20.9, 20.9), (21.1, 24 + 9.0), (23.99, 24 + 9.0), (0.5, 0.5)])
def test_a_demo_in_the_evening_begins_the_next_morning(tmp_path: Path, hour: float, then: float) -> None:
    """Midnight within the story would be decay, and decay is not quiet."""
    mikomi("init", tmp_path, "--language", "en")
    clock = Evening(hour)
    story = Story(cast("Practice", clock), tmp_path, "en", speaker("en"))
    story._start_in_the_morning()
    assert clock.now == Evening(then).now


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_that_python_lost_ends_it_before_the_next_step(how: signal.Signals) -> None:
    before = signal.getsignal(how)
    with _orderly_end() as go_on:
        go_on()
        with suppress(KeyboardInterrupt):  # as where nothing can be raised
            signal.raise_signal(how)
        with pytest.raises(KeyboardInterrupt):
            go_on()
    assert signal.getsignal(how) is before
