"""A market's rows in one place, for tests to ask questions of."""

from collections import defaultdict
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from sandbox.market import Market, simulate

NOW = 1_795_000_000_000


@dataclass
class Rows:
    market: Market
    salesforce: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    hubspot: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    associations: dict[tuple[str, str], list[tuple[int, int, int]]] = field(default_factory=lambda: defaultdict(list))
    streams: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))


STREAMS = (
    "email_events",
    "submissions",
    "memberships",
    "participations",
    "web_events",
    "history",
    "owners",
    "forms",
    "lists",
    "marketing_events",
)


@lru_cache(maxsize=4)
def gather(seed: int = 1, people: int = 3_000) -> Rows:
    rows = Rows(simulate(seed, people, NOW))
    for block in rows.market.blocks():
        for name, part in block.salesforce.items():
            rows.salesforce[name] += part
        for name, part in block.objects.items():
            rows.hubspot[name] += part
        for pair, links in block.associations.items():
            rows.associations[pair] += links
        for stream in STREAMS:
            rows.streams[stream] += getattr(block, stream)
    return rows
