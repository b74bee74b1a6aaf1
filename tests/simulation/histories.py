"""A seed is a history: drawn, lived through, and held against the invariants."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.simulation.steps import STEPS, Draw, take
from tests.simulation.watch import Watch, at_the_end, settle
from tests.simulation.world import World, new_folder

LONGEST = 12
ANEW_EVERY = 5
"""Every fifth history is also compared with an installation that begins at its end."""

WATCHED = frozenset({"sync", "crash", "overtaken", "put_backup_back"})
"""Steps in which Mikomi does something: only then what it must never do can have been done."""
UNIQUE_SHARE = 0.8
"""The share of histories whose CRMs keep task keys unique; the others live with the quarantine."""


@dataclass(frozen=True, slots=True)
class Lived:
    """One history: what it did, and what was wrong."""

    seed: int
    database: str
    mode: str
    steps: tuple[str, ...]
    faults: frozenset[str]
    violations: tuple[str, ...]
    seconds: float
    overtaken: int = 0


def live_through(
    seed: int,
    *,
    state_url: str | None = None,
    scratch: Path | None = None,
    plant: Callable[[World], None] | None = None,
) -> Lived:
    """One history from beginning to rest; it stops at the first violation.

    Args:
        state_url: an empty PostgreSQL database; None: SQLite in a temporary folder.
        scratch: where its folder goes (see `new_folder`).
        plant: does something wrong on purpose to the world.

    """
    rng = random.Random(seed)
    began = time.monotonic()
    unique = rng.random() < UNIQUE_SHARE
    with (
        new_folder(scratch) as folder,
        World(folder, state_url=state_url, unique_task=unique) as world,
    ):
        if plant is not None:
            plant(world)
        violations = _live(world, rng.randrange, _draw_names(rng), anew=seed % ANEW_EVERY == 0)
        return Lived(
            seed,
            "postgresql" if state_url else "sqlite",
            "unique key" if unique else "quarantine",
            tuple(world.tally.steps),
            frozenset(world.tally.faults),
            tuple(violations),
            time.monotonic() - began,
            world.tally.overtaken,
        )


def _live(world: World, draw: Draw, names: list[str], *, anew: bool) -> list[str]:
    watch = Watch()
    for name in names:
        take(world, name, draw)
        if name in WATCHED and (wrong := watch.after_each(world)):
            return [*wrong, f"after {name}"]
    return settle(world) or watch.after_each(world) or at_the_end(world, anew=anew) or watch.after_each(world)


def _draw_names(rng: random.Random) -> list[str]:
    """A beginning with people in it, then whatever comes."""
    weights = [weight for weight, _ in STEPS.values()]
    begin = ["new_lead", "new_hubspot", "new_lead", "meet_hubspot", "wait_longer"]
    return begin + rng.choices(list(STEPS), weights, k=rng.randint(5, LONGEST))
