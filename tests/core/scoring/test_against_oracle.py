"""The engine and the oracle agree on every generated rulebook and history: totals, bands, lines, exact sums."""

import os
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from core.records import DAY_MS
from core.rulebook import Rulebook
from sync.engine.session import Session
from tests.core.scoring.oracle import Oracle
from tests.core.scoring.stage import run
from tests.core.scoring.worlds import NOW, Row, facts_of, rulebooks, snapshots_of

EXAMPLES = int(os.environ.get("MIKOMI_ORACLE_EXAMPLES", "12"))
MOMENTS = [NOW, NOW - 7 * DAY_MS, NOW - 60 * DAY_MS]
careful = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def parallel() -> Iterator[Session]:
    session = Session(memory_limit="512MB", threads=2)
    yield session
    session.close()


@pytest.fixture(scope="module")
def unoptimised() -> Iterator[Session]:
    """As small batches run: plans without DuckDB's optimiser."""
    session = Session(memory_limit="512MB", threads=1)
    session.connection.execute("PRAGMA disable_optimizer")
    yield session
    session.close()


def ordered(lines: list[Row]) -> list[tuple[Any, ...]]:
    names = ("rule_id", "dimension", "kind", "milli", "newest_day", "count")
    return sorted((tuple(line[name] for name in names) for line in lines), key=repr)


@careful
@given(rulebook=rulebooks(), seed=st.integers(0, 10**6))
def test_engine_and_oracle_agree(session: Session, rulebook: Rulebook, seed: int) -> None:
    world = facts_of(seed)
    note(str([rule.model_dump(exclude_defaults=True, exclude={"label"}) for rule in rulebook.rules]))
    snapshots = snapshots_of(world, MOMENTS)
    totals, lines = run(session, rulebook, world, snapshots)
    oracle = Oracle(rulebook, world)
    assert len(totals) == len(snapshots)
    for snap in snapshots:
        score, expected = oracle.score(snap)
        found = totals[snap["snapshot_id"]]
        assert {name: found[name] for name in score} == score, snap
        assert ordered(lines[snap["snapshot_id"]]) == ordered(expected), snap
        shown = sum(line["milli"] for line in lines[snap["snapshot_id"]] if line["kind"] != "withheld")
        assert shown == 1000 * found["total"]


@settings(careful, max_examples=max(4, EXAMPLES // 6))
@given(rulebook=rulebooks(), seed=st.integers(0, 10**6))
def test_same_integers_on_every_run(
    session: Session, parallel: Session, unoptimised: Session, rulebook: Rulebook, seed: int
) -> None:
    world = facts_of(seed, people=12)
    snapshots = snapshots_of(world, MOMENTS[:2])
    first = run(session, rulebook, world, snapshots)
    shuffled = {name: Random(seed).sample(rows, len(rows)) for name, rows in world.items()}
    for other in (parallel, unoptimised):
        totals, lines = run(other, rulebook, shuffled, Random(seed).sample(snapshots, len(snapshots)))
        assert totals == first[0]
        for key, rows in first[1].items():
            assert ordered(lines[key]) == ordered(rows)
