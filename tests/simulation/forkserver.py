"""Processes of `mikomi` that are forked from one that has imported it already: a start costs a tenth of what it costs anew.

Everything else is a process's own: its memory, connections, files, signals, and its wall clock, which is the simulation's:
shifted by a number of milliseconds that a file holds. The file is read at every look at the clock, so that it can jump while
the process runs. What the machine counts since its start (leases, waiting) is left alone: no clock that people or NTP set has
to do with it. But all processes of a worker order their sets alike, and what fails at an import cannot fail in them.

Run as a program it is the server: an order a line on stdin, an answer a line on stdout, until stdin ends.
"""

import atexit
import gc
import json
import os
import resource
import signal
import struct
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any, Protocol

NO_THREADS = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
"""Of numpy and Arrow: what they begin when they are imported would not be there in a forked process."""


class Running(Protocol):
    """What scenarios do with a process; a `subprocess.Popen` can it as well."""

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def send_signal(self, sig: int) -> None: ...

    def kill(self) -> None: ...


class Forked:
    """A process of the server's. Its exit code is negative where a signal ended it."""

    def __init__(self, server: "ForkServer", pid: int) -> None:
        self.pid = pid
        self._server = server
        self._code: int | None = None

    def poll(self) -> int | None:
        if self._code is None:
            self._code = self._server.order(ask=self.pid)
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired."""
        end = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if end is not None and time.monotonic() > end:
                raise subprocess.TimeoutExpired("mikomi", timeout or 0.0)
            time.sleep(0.02)
        return code

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:  # until then nobody else can have got its number
            os.kill(self.pid, sig)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class ForkServer:
    """The process that has everything imported. It ends with the one that started it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.simulation.forkserver"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | NO_THREADS,
        )

    def begin(
        self, command: Sequence[str], *, out: Path, environment: Mapping[str, str], limit_bytes: int | None = None
    ) -> Forked:
        """Start `mikomi` with these arguments.

        Args:
            command: the arguments.
            out: where what it says is added.
            environment: all of its variables.
            limit_bytes: no file of its may grow beyond.

        """
        order = {"command": list(command), "out": str(out), "environment": dict(environment), "limit": limit_bytes}
        return Forked(self, self.order(begin=order))

    def order(self, **order: Any) -> Any:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(order) + "\n")
        stdin.flush()
        answer = stdout.readline()
        if not answer:
            fork_server.cache_clear()
            raise RuntimeError(f"the fork server ended with {self._process.wait()}")
        return json.loads(answer)

    def close(self) -> None:
        with self._process:  # its stdin ends, and it with that
            pass


@cache
def fork_server() -> ForkServer:
    """The one of this process."""
    server = ForkServer()
    atexit.register(server.close)
    return server


# --- in the server and in what it forks -----------------------------------------------------------------------------------


class _WallClock:
    """`time.time` and `time.time_ns`, put in their place before anything is imported that keeps them."""

    def __init__(self) -> None:
        self.file: Path | None = None
        self._real = time.time_ns
        time.time_ns = self._now_ns
        time.time = lambda: self._now_ns() / 1e9

    def _now_ns(self) -> int:
        if self.file is None:
            return self._real()
        (offset_ms,) = struct.unpack("<q", self.file.read_bytes())
        return self._real() + int(offset_ms) * 1_000_000


def _import_all() -> None:
    """Ours, and with it what it uses; commands import on first use."""
    for package in ("core", "connectors", "sync"):
        for module in walk_packages([package], f"{package}."):
            if "migrations" not in module.name and not module.name.endswith("__main__"):  # these do what they are for
                import_module(module.name)
    for name in (
        "babel.messages.pofile",
        "holidays.countries",
        "hubspot.discovery.crm.discovery",
        "hubspot.discovery.crm.objects.discovery",
        "keyring",
    ):
        import_module(name)


def _serve() -> Mapping[str, Any] | None:
    """Carry out orders. Returns the order in each process that is forked for one, None in the server when there are no more."""
    for line in sys.stdin:
        order = json.loads(line)
        if (begin := order.get("begin")) is not None:
            answer: int | None = os.fork()
            if answer == 0:
                return dict(begin)
        else:
            pid, status = os.waitpid(order["ask"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        print(json.dumps(answer), flush=True)
    return None


def _become(order: Mapping[str, Any], clock: _WallClock) -> None:
    """Turn this forked process into the one that was ordered."""
    with open(os.devnull, "rb") as nothing, open(order["out"], "ab") as out:
        os.dup2(nothing.fileno(), 0)
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    os.environ.clear()
    os.environ.update(order["environment"])
    if order["limit"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["limit"], order["limit"]))
    clock.file = Path(os.environ["SIMULATED_CLOCK"])
    sys.argv = ["mikomi", *order["command"]]


def main() -> None:
    clock = _WallClock()
    from sync.cli import main as mikomi

    _import_all()
    gc.collect()
    gc.freeze()  # shared with all that are forked
    atexit.register(gc.unfreeze)  # libraries written with nanobind call what is left at the end leaked
    assert len(os.listdir("/proc/self/task")) == 1, "a library began a thread, which no fork would have"
    order = _serve()
    if order is not None:
        try:
            _become(order, clock)
        except BaseException:
            traceback.print_exc()
            os._exit(70)  # no end of a process that scenarios allow
        mikomi()


if __name__ == "__main__":
    main()
