"""The law of the market: a person's true chance of an opportunity, and when it opens.

A person has hidden *waves* of buying intent. Each wave ends in an opportunity with the probability

    chance = 1 / (1 + exp(-z)),   z = BASE[channel] + fit + intent + relationship + committee   (+ LATER_WAVE)

    fit           RANK[rank] + size(employees) + (TARGET if the industry is one the seller aims at, else OFF_TARGET)
    intent        INTENT x intent of the wave, itself 0.6 x need of the firm + 0.8 x N(0, 1)
    relationship  PAST_WON if the firm bought before, PAST_LOST if it declined, RAPPORT x rapport (0, 1 or 2)
    committee     COLLEAGUE x other buyers of the firm known by then (3 at most)

Students, competitors and trend watchers (業界動向把握) carry NOISE in z: much activity, no purchase.
If a wave does convert, the opportunity opens at a time T with a logistic distribution around the wave's decision date
(scale SPREAD), truncated to (start + 1 day, decision + 60 days). Activities depend on intent and decision date, never
on whether or when the opportunity really opened, so given the hidden state the chance is exact:

    P(opportunity in (t, t + h] | hidden state, none by t) = 1 - prod over waves of (1 - p (F(t+h) - F(t)) / (1 - p F(t)))

BASE is calibrated so that the share of people with an opportunity within 365 days of becoming known lies in the seed
article's ranges: inbound 35-40 %, outbound 10-15 %, trade show and seminar 25-30 %. Draws are spread evenly (`strata`),
so that this holds from about 5,000 people on: in 120 of 120 seeds tried, standard deviation 0.7 to 0.8 points.
"""

import math
import random
from collections.abc import Iterable

from sandbox.market.model import DAY, Channel, Wave

BASE: dict[Channel, float] = {"inbound": -1.455, "outbound": -3.22, "trade_show": -2.01}
RANK: dict[str, float] = {
    "staff": -0.25,
    "leader": 0.05,
    "section_manager": 0.35,
    "deputy_general_manager": 0.45,
    "general_manager": 0.55,
    "director": 0.45,
    "executive": 0.30,
}
TARGET, OFF_TARGET = 0.30, -0.35
INTENT = 1.1
PAST_WON, PAST_LOST, RAPPORT = 0.60, -0.30, 0.25
COLLEAGUE = 0.22
LATER_WAVE = -0.6
NOISE = -6.0
SPREAD = 9 * DAY
LATEST = 60 * DAY  # after the decision date

# Median and sigma (log) of the days from the start of a wave to its decision.
DECISION_DAYS: dict[Channel, tuple[float, float]] = {
    "inbound": (55.0, 0.55),
    "outbound": (90.0, 0.55),
    "trade_show": (75.0, 0.55),
}


def weigh_size(employees: int) -> float:
    """Larger firms buy more easily up to a point; above it procedures cost."""
    if employees < 50:
        return -0.40
    if employees < 100:
        return -0.10
    if employees < 1000:
        return 0.30
    return 0.10


def squash(z: float) -> float:
    """The logistic function."""
    return 1.0 / (1.0 + math.exp(-z)) if z > -700 else 0.0


def draw_opening(rng: random.Random, start_ms: int, decision_ms: int) -> int:
    """A time from the truncated logistic distribution, by inversion."""
    low, high = _bounds(start_ms, decision_ms)
    u = low + (high - low) * rng.random()
    u = min(max(u, 1e-12), 1 - 1e-12)
    return round(decision_ms + SPREAD * math.log(u / (1 - u)))


def opened_by(wave: Wave, at_ms: int) -> float:
    """F(t): the probability that the opportunity, if there is one, has opened by `at_ms`."""
    if at_ms <= wave.start_ms + DAY:
        return 0.0
    if at_ms >= wave.decision_ms + LATEST:
        return 1.0
    low, high = _bounds(wave.start_ms, wave.decision_ms)
    return (squash((at_ms - wave.decision_ms) / SPREAD) - low) / (high - low)


def chance_within(waves: Iterable[Wave], at_ms: int, days: int) -> float:
    """The true chance of an opportunity within `days` after `at_ms`, for a person without one so far."""
    none = 1.0
    for wave in waves:
        before = opened_by(wave, at_ms)
        after = opened_by(wave, at_ms + days * DAY)
        left = 1.0 - wave.chance * before
        if after > before and left > 0:
            none *= 1.0 - wave.chance * (after - before) / left
    return 1.0 - none


def _bounds(start_ms: int, decision_ms: int) -> tuple[float, float]:
    return squash((start_ms + DAY - decision_ms) / SPREAD), squash(LATEST / SPREAD)
