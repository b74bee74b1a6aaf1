"""A whole installation against CRMs that answer with anything: nobody is lost but the row that cannot be read."""

from pathlib import Path

import pytest

from sandbox import Sandbox
from sync.state import schema as t
from tests.hostile.poisoned import Poison, poisoned
from tests.sync.practice import MORNING_MS, Practice


@pytest.mark.parametrize("seed", range(3))
def test_poisoned_rows_harm_nobody_else(database: str, tmp_path: Path, seed: int) -> None:
    with Sandbox(seed=11, people=40, now_ms=MORNING_MS, limits=False) as box:
        practice = Practice(box, tmp_path, stage="all", state=database)
        practice.setup()
        with poisoned(box, Poison(seed)) as poison:
            report = practice.sync()
            assert poison.struck > 20
        assert {name: system.error for name, system in report.systems.items()} == {"salesforce": None, "hubspot": None}
        stored = {row["id"] for row in practice.rows(t.record)}
        assert len(stored) > 30
        practice.wait()
        healed = practice.sync(sweep=True)
        assert healed.outcome == "ok"
