"""Memory of whole passes: `mikomi sync` from an empty state, twenty minutes later and a day later, by step.

The emulators run in a process of their own, and so does every pass, so that a figure is one pass's alone. Peaks are the
kernel's (`VmHWM`), which is told to begin anew at every step. A pass over ten times the people must not need more: what a
pass holds is batches, never everyone.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.figures import Figure

PEOPLE, TIMES = 20_000, 10
ACTIVITIES = 4.0
"""Mean per person: a few each. What is held per activity shows in the scoring figures."""

PASSES = {"first load": 0, "20 minutes later": 1_200, "a day later": 86_400}
TIMEOUT = 7_200


def run(scale: float = 1.0) -> list[Figure]:
    """The figures; `scale` multiplies the people of both sizes."""
    small, large = int(PEOPLE * scale), int(PEOPLE * TIMES * scale)
    got = {people: measure(people) for people in (small, large)}
    figures = []
    for name in PASSES:
        before, after = got[small][name], got[large][name]
        ratio = after["peak_mb"] / before["peak_mb"]
        figures += [
            Figure(f"{name}, {small:,} people: peak memory", before["peak_mb"], "MB"),
            Figure(f"{name}, {large:,} people: peak memory", after["peak_mb"], "MB"),
            Figure(f"{name}: {TIMES}x the people", ratio, "x", "<= 1.3"),
            Figure(f"{name}, {large:,} people", after["cpu"], "CPU s"),
        ]
    return figures


def measure(people: int, *, show: bool = False) -> dict[str, dict[str, Any]]:
    """What each pass over a market of so many people came to: peak_mb, cpu, wall, steps."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="mikomi-bench-") as folder, _market(people) as market:
        _write_configuration(Path(folder), market)
        for name, seconds in PASSES.items():
            if seconds:
                _move_clock(market, seconds)
            found[name] = _child("sync", folder)
            if show:
                print(people, name, json.dumps(found[name]), flush=True)
    return found


@contextmanager
def _market(people: int) -> Iterator[Mapping[str, Mapping[str, str]]]:
    """Both emulators in a process of their own; where they answer."""
    command = [sys.executable, "-m", "bench.memory", "market", str(people)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            yield json.loads(child.stdout.readline())
        finally:
            child.stdin.close()  # it ends when nobody is there any more
            child.wait(timeout=60)


def _serve(people: int) -> None:
    from sandbox import Sandbox

    with Sandbox(seed=1, people=people, activities=ACTIVITIES, limits=False) as box:
        ends = {"salesforce": box.salesforce.document(), "hubspot": box.hubspot.document()}
        sys.stdout.write(json.dumps(ends) + "\n")
        sys.stdout.flush()
        sys.stdin.read()


def _write_configuration(folder: Path, market: Mapping[str, Mapping[str, str]]) -> None:
    """Settings and rulebook of stage `fields`, and the fields made. `BENCH_STATE` names another, empty, state database."""
    from core.rulebook import ADVISED, template_text
    from sync.cli.practice import ask

    salesforce, hubspot = market["salesforce"], market["hubspot"]
    admin = ask("GET", f"{salesforce['url']}/__sandbox__/credentials", None)["admin_access_token"]
    for name, secret in (("salesforce", salesforce["token"]), ("admin", admin), ("hubspot", hubspot["token"])):
        path = folder / f"{name}.secret"
        path.touch(mode=0o600)
        path.write_text(secret, "utf-8")
    (folder / "mikomi.yaml").write_text(
        f"""\
stage: fields
state: {os.environ.get("BENCH_STATE", "sqlite:///mikomi.sqlite3")}
connections:
  salesforce:
    vendor: salesforce
    sandbox: true
    base_url: {salesforce["url"]}
    auth: access_token
    access_token: {{file: {folder}/salesforce.secret}}
    setup_access_token: {{file: {folder}/admin.secret}}
  hubspot:
    vendor: hubspot
    sandbox: true
    base_url: {hubspot["url"]}
    token: {{file: {folder}/hubspot.secret}}
    searches_per_second: 0
    burst_share_percent: 100
""",
        "utf-8",
    )
    (folder / "rulebook.yaml").write_text(template_text(ADVISED), "utf-8")
    _child("setup", folder)


def _move_clock(market: Mapping[str, Mapping[str, str]], seconds: int) -> None:
    from sync.cli.practice import ask

    ask("POST", f"{market['salesforce']['url']}/__sandbox__/clock", {"advance": seconds})


def _child(mode: str, folder: str | Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.memory", mode, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the measurement {mode!r} failed:\n{done.stderr[-2_000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _setup(folder: Path) -> dict[str, Any]:
    from sync.app import App

    app = App(folder / "mikomi.yaml")
    failed = [str(r) for c in app.connectors.values() for r in c.apply_setup() if r.status == "failed"]
    app.close()
    if failed:
        raise RuntimeError(f"setup failed: {failed}")
    return {}


class Peaks:
    """A `Progress` that notes, for every step, the highest resident set while it lasted and its seconds."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Any]] = []
        self._began = time.perf_counter()

    def start(self, step: str, total: int | None = None) -> None:  # noqa: ARG002 - the protocol's
        self._note("before " + step)

    def advance(self, step: str, count: int = 1, total: int | None = None) -> None:
        """Steps are what counts here."""

    def finish(self, step: str) -> None:
        self._note(step)

    def end(self) -> None:
        self._note("after all")

    def _note(self, step: str) -> None:
        now = time.perf_counter()
        self.steps.append({"step": step, "peak_mb": _peak_mb(), "seconds": round(now - self._began, 1)})
        self._began = now
        Path("/proc/self/clear_refs").write_text("5", "ascii")


def _peak_mb() -> float:
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _sync(folder: Path) -> dict[str, Any]:
    from sync.app import App
    from sync.cycle import Cycle

    peaks, started = Peaks(), time.perf_counter()
    app = App(folder / "mikomi.yaml")
    with app.state() as state:
        report = Cycle(state, app.loaded.settings, app.rulebook, app.connectors, progress=peaks).run()
    peaks.end()
    if report.outcome != "ok":
        raise RuntimeError(f"the pass ended {report.outcome}: {report.as_dict()}")
    return {
        "peak_mb": max(step["peak_mb"] for step in peaks.steps),
        "cpu": time.process_time(),
        "wall": time.perf_counter() - started,
        "people": report.people,
        "scored": report.people_scored,
        "changed": report.scores_changed,
        "owed": report.fields_owed,
        "steps": peaks.steps,
    }


def _main(mode: str, argument: str) -> None:
    if mode == "market":
        _serve(int(argument))
    elif mode == "measure":
        measure(int(argument), show=True)
    else:
        print(json.dumps({"setup": _setup, "sync": _sync}[mode](Path(argument))))


if __name__ == "__main__":
    _main(*sys.argv[1:])
