"""A world whose Mikomi also runs as real `mikomi sync` processes."""

import os
import struct
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self
from unittest.mock import patch

import yaml
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import make_url

from sync.tokens import KEY_VARIABLE
from tests.simulation.forkserver import Running, fork_server
from tests.simulation.world import RULEBOOK, World

PATIENCE = 120.0
"""Seconds after which a process counts as hanging: a violation."""

QUICK = {
    "salesforce": {"timeout_seconds": 1.5, "attempts": 3, "call_budget_seconds": 6},
    "hubspot": {"timeout_seconds": 1.5, "call_attempts": 3, "call_budget_seconds": 6},
}
"""The processes give up soon, so that scenarios about silence are short."""


class Company(World):
    """A world whose Mikomi can also be run as processes, from a folder with its configuration."""

    def __init__(
        self, folder: Path, *, state_url: str | None = None, unique_task: bool = True, **settings: Any
    ) -> None:
        super().__init__(folder, state_url=state_url, unique_task=unique_task, **settings)
        self.hung = 0
        self.exits: list[int] = []  # of the processes that were waited for

    def __enter__(self) -> Self:
        self._key = ExitStack()
        if make_url(self.url).get_backend_name() == "postgresql":  # there is no file that a key could lie beside
            self._key.enter_context(patch.dict(os.environ, {KEY_VARIABLE: "k" * 40}))
        with self._key.pop_all() as undo:
            super().__enter__()
            self._key = undo.pop_all()
        return self

    def __exit__(self, *details: object) -> None:
        with self._key:
            super().__exit__(*details)

    def write_configuration(self, **changes: Any) -> None:
        settings = self.settings.model_dump(mode="json", exclude_defaults=True) | {"language": "ja", **changes}
        settings["connections"] = {name: section | QUICK[name] for name, section in settings["connections"].items()}
        (self.folder / "mikomi.yaml").write_text(yaml.safe_dump(settings, allow_unicode=True), "utf-8")
        (self.folder / "rulebook.yaml").write_text(RULEBOOK.replace("POINTS", str(self.points)), "utf-8")
        self.shift(0)

    def shift(self, jump_ms: int) -> None:
        """Let the processes' wall clock show the simulation's time, `jump_ms` off; whoever looks sees the old or the new one."""
        offset = self.box.clock.now_ms() - time.time_ns() // 1_000_000 + jump_ms
        new = self.folder / "clock.new"
        new.write_bytes(struct.pack("<q", offset))
        new.replace(self.clock_file)

    @property
    def clock_file(self) -> Path:
        return self.folder / "clock"

    def begin_sync(self, *options: str, limit_bytes: int | None = None) -> Running:
        return self.begin("sync", "--json", *options, limit_bytes=limit_bytes)

    def begin(self, *command: str, limit_bytes: int | None = None) -> Running:
        """A `mikomi` process; what it says goes into a file. `limit_bytes`: no file of its may grow beyond."""
        self.shift(0)
        return fork_server().begin(
            [*command, "-c", str(self.folder / "mikomi.yaml")],
            out=self.said,
            environment=os.environ | {"SIMULATED_CLOCK": str(self.clock_file)},
            limit_bytes=limit_bytes,
        )

    @property
    def said(self) -> Path:
        """Everything that processes have printed."""
        return self.folder / "out"

    def replace_state(self, make: Callable[[Connection], None]) -> None:
        """Put a database of another making in the place of the state."""
        self.end_process()
        self.eye.engine.dispose()
        sqlite = make_url(self.url).get_backend_name() == "sqlite"
        if sqlite:
            for file in self.folder.glob("state.sqlite3*"):
                file.unlink()
        engine = create_engine(self.url.replace("postgresql:", "postgresql+psycopg:", 1))
        with engine.begin() as connection:
            if not sqlite:
                connection.execute(text("DROP SCHEMA public CASCADE"))
                connection.execute(text("CREATE SCHEMA public"))
            make(connection)
        engine.dispose()

    def end(self, process: Running) -> int:
        """Wait for it; its exit code, which is held against what may be."""
        try:
            code = process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.hung += 1
            process.kill()
            return process.wait()
        self.exits.append(code)
        return code
