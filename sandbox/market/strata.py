"""Evenly spread random numbers: each is uniform by itself, but any sixty neighbours cover (0, 1) without clumps.

Shares in a market of 5,000 then vary far less from seed to seed than independent draws would let them, and every single
probability stays exact. Everything is a pure function of (seed, name, ordinal).
"""

import random
from functools import lru_cache
from statistics import NormalDist

from sandbox.market.model import Channel

_SIZE = 60
_PATTERN: tuple[Channel, ...] = ("inbound",) * 9 + ("outbound",) * 5 + ("trade_show",) * 6
_NORMAL = NormalDist()


def spread_uniform(seed: int, name: str, ordinal: int, u: float) -> float:
    """Uniform in (0, 1); `u` is the caller's own random number in [0, 1)."""
    block, place = divmod(ordinal, _SIZE)
    return (_shuffle(seed, name, block)[place] + u) / _SIZE


def spread_normal(seed: int, name: str, ordinal: int, u: float) -> float:
    """N(0, 1)."""
    return _NORMAL.inv_cdf(min(max(spread_uniform(seed, name, ordinal, u), 1e-12), 1 - 1e-12))


def assign_channel(seed: int, person: int) -> tuple[Channel, int]:
    """The channel of that person, and how many of the same channel come before: 45 % inbound, 25 outbound, 30 shows."""
    block, place = divmod(person, len(_PATTERN))
    pattern = _deal_channels(seed, block)
    channel = pattern[place]
    return channel, block * _PATTERN.count(channel) + pattern[:place].count(channel)


@lru_cache(maxsize=64)
def _shuffle(seed: int, name: str, block: int) -> tuple[int, ...]:
    order = list(range(_SIZE))
    random.Random(f"{seed}:{name}:{block}").shuffle(order)
    return tuple(order)


@lru_cache(maxsize=64)
def _deal_channels(seed: int, block: int) -> tuple[Channel, ...]:
    pattern = list(_PATTERN)
    random.Random(f"{seed}:channels:{block}").shuffle(pattern)
    return tuple(pattern)
