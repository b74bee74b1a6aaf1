"""A seed is a history: drawn, lived through, and held against the invariants."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from connectors import OUTPUT_FIELDS
from sync.engine.engine import SMALL
from tests.simulation.rest import at_the_end, settle
from tests.simulation.seen import Seen
from tests.simulation.steps import STEPS, Draw, take
from tests.simulation.watch import Watch
from tests.simulation.world import World, new_folder
from tests.sync.pair.world import OUR_MAPPING

LONGEST = 8
ANEW_EVERY = 10
"""Every tenth history is also compared with an installation that begins at its end, and looked at once more with the clock held."""

WATCHED = frozenset({"sync", "crash", "overtaken", "put_backup_back"})
"""Steps in which Mikomi does something: only then what it must never do can have been done."""
PAIR_SHARE = 0.25
"""The share of histories whose CRMs are joined by the native sync."""
ONE_RULE = ("two_way", "prefer_salesforce_unless_blank", "always_salesforce")

SLICED_EVERY = 7
"""Every seventh history scores its few people in slices, as is done with many."""

SOCKETS_EVERY = 9
"""Every ninth history speaks real HTTP with the CRMs; the others hand their requests over in process (see `wire`)."""

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
    mapping, native = _draw_native(rng)
    sockets = seed % SOCKETS_EVERY == 0
    with (
        patch("sync.engine.engine.SMALL", 0 if seed % SLICED_EVERY == 0 else SMALL),
        new_folder(scratch) as folder,
        World(folder, state_url=state_url, unique_task=unique, native=native, sockets=sockets) as world,
    ):
        if plant is not None:
            plant(world)
        violations = _live(world, rng.randrange, _draw_names(rng), anew=seed % ANEW_EVERY == 0)
        return Lived(
            seed,
            "postgresql" if state_url else "sqlite",
            f"{'unique key' if unique else 'quarantine'}{mapping}",
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
    if wrong := settle(world, held=world.native is not None or anew):
        return wrong
    seen = Seen(world)
    return watch.after_each(world, seen) or at_the_end(world, seen, anew=anew)


def _draw_native(rng: random.Random) -> tuple[str, dict[str, Any] | None]:
    """The native sync's settings, where there is one, and a word on them: what an administrator has mapped of our fields."""
    if rng.random() >= PAIR_SHARE:
        return "", None
    drawn = rng.choice(("none", "some", *ONE_RULE))
    if drawn == "none":
        return ", pair", {}
    if drawn == "some":
        return ", pair with some of our fields mapped", {"map": OUR_MAPPING}
    return f", pair with all of our fields {drawn}", {"map": all_mapped(drawn)}


def all_mapped(rule: str) -> list[dict[str, str]]:
    """Every field that we write, under one rule."""
    names = [field.name for field in OUTPUT_FIELDS.values() if not field.by_rep]
    labels = ("_".join(part.capitalize() for part in name.split("_")) for name in names)
    return [
        {"hubspot": f"mikomi_{name}", "salesforce": f"Mikomi_{label}__c", "rule": rule}
        for name, label in zip(names, labels, strict=True)
    ]


def _draw_names(rng: random.Random) -> list[str]:
    """A beginning with people in it, then whatever comes."""
    weights = [weight for weight, _ in STEPS.values()]
    begin = ["new_lead", "new_hubspot", "new_lead", "meet_hubspot", "wait_longer"]
    return begin + rng.choices(list(STEPS), weights, k=rng.randint(4, LONGEST))
