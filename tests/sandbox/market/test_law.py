"""The law of chance: probabilities are probabilities, add up over time, and come true."""

import math
import random
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.market import chance
from sandbox.market.households import draw_household
from sandbox.market.model import CHANNELS, DAY, Options, Person, Wave
from sandbox.market.strata import assign_channel, spread_uniform

NOW = 1_795_000_000_000

days = st.integers(min_value=0, max_value=400)
waves = st.lists(
    st.builds(
        lambda start, length, p: Wave(start * DAY, (start + length) * DAY, 0.0, 0.0, p, None),
        st.integers(min_value=0, max_value=900),
        st.integers(min_value=8, max_value=330),
        st.floats(min_value=0.0, max_value=1.0),
    ),
    max_size=3,
)


def draw_people(seed: int, people: int) -> list[Person]:
    options = Options(seed=seed, people=people, now_ms=NOW)
    found: list[Person] = []
    index = 0
    while len(found) < people:
        found += draw_household(options, index, len(found), people - len(found)).people
        index += 1
    return found


def share_converted(people: list[Person], channel: str) -> float:
    mine = [p for p in people if p.channel == channel]
    return sum(p.opens_ms is not None and p.opens_ms <= p.entered_ms + 365 * DAY for p in mine) / len(mine)


@given(waves, days, days, days)
def test_a_chance_is_a_probability_and_grows_with_the_window(drawn: list[Wave], at: int, short: int, more: int) -> None:
    first = chance.chance_within(drawn, at * DAY, short)
    longer = chance.chance_within(drawn, at * DAY, short + more)
    assert -1e-12 <= first <= longer + 1e-12
    assert longer <= 1 + 1e-12


@given(waves, days, days, days)
def test_two_windows_chain_to_one(drawn: list[Wave], at: int, short: int, more: int) -> None:
    """Surviving both parts of a window is surviving the whole of it."""
    whole = 1 - chance.chance_within(drawn, at * DAY, short + more)
    parts = (1 - chance.chance_within(drawn, at * DAY, short)) * (
        1 - chance.chance_within(drawn, (at + short) * DAY, more)
    )
    assert whole == pytest.approx(parts, abs=1e-9)


def test_a_whole_wave_gives_its_own_chance() -> None:
    wave = Wave(10 * DAY, 80 * DAY, 0.0, 0.0, 0.37, None)
    assert chance.chance_within([wave], 0, 400) == pytest.approx(0.37)
    assert chance.chance_within([wave], 141 * DAY, 400) == 0


@given(st.integers(min_value=8, max_value=330), st.integers(min_value=0, max_value=2**32))
def test_openings_lie_within_their_bounds(length: int, seed: int) -> None:
    opens = chance.draw_opening(random.Random(seed), 0, length * DAY)
    assert DAY <= opens <= (length + 60) * DAY + 1


def test_openings_follow_the_distribution_that_the_chance_uses() -> None:
    rng = random.Random(5)
    wave = Wave(0, 20 * DAY, 0.0, 0.0, 1.0, None)
    drawn = [chance.draw_opening(rng, wave.start_ms, wave.decision_ms) for _ in range(20_000)]
    for day in (5, 12, 20, 30, 50):
        share = sum(at <= day * DAY for at in drawn) / len(drawn)
        assert share == pytest.approx(chance.opened_by(wave, day * DAY), abs=0.012)


@pytest.mark.parametrize("seed", [1, 2, 3, 7, 42, 2026, 20_251_122, -5])
def test_channels_convert_as_the_article_says(seed: int) -> None:
    people = draw_people(seed, 5_000)
    assert 0.35 <= share_converted(people, "inbound") <= 0.40
    assert 0.10 <= share_converted(people, "outbound") <= 0.15
    assert 0.25 <= share_converted(people, "trade_show") <= 0.30


def test_spread_numbers_are_uniform_and_without_clumps() -> None:
    rng = random.Random(1)
    drawn = [spread_uniform(3, "x", n, rng.random()) for n in range(6_000)]
    assert sum(drawn) / len(drawn) == pytest.approx(0.5, abs=0.003)
    assert all(len({int(u * 60) for u in drawn[start : start + 60]}) == 60 for start in range(0, 6_000, 60))
    neighbours = [(a - 0.5) * (b - 0.5) for a, b in pairwise(drawn)]
    assert abs(sum(neighbours) / len(neighbours)) < 0.01
    assert drawn[:60] != [spread_uniform(4, "x", n, 0.5) for n in range(60)]


def test_channels_are_dealt_evenly() -> None:
    counts = Counter(assign_channel(5, person) for person in range(2_000))
    assert max(counts.values()) == 1, "no ordinal twice"
    assert Counter(channel for channel, _ in counts) == {"inbound": 900, "outbound": 500, "trade_show": 600}


def test_what_is_predicted_at_the_entry_comes_true() -> None:
    """Calibration: in each tenth by true chance, the share realised is the mean chance, within four standard errors."""
    people = draw_people(11, 12_000)
    scored = sorted((chance.chance_within(p.waves, p.entered_ms, 180), p.index, p) for p in people)
    size = len(scored) // 10
    for tenth in range(10):
        part = scored[tenth * size : (tenth + 1) * size]
        mean = sum(value for value, _, _ in part) / size
        real = sum(p.opens_ms is not None and p.opens_ms <= p.entered_ms + 180 * DAY for _, _, p in part) / size
        assert abs(real - mean) <= 4 * math.sqrt(mean * (1 - mean) / size) + 1e-3, (tenth, mean, real)


def test_what_is_predicted_at_a_later_date_comes_true() -> None:
    """The same for people known for 60 days without an opportunity, over the next 90 days."""
    people = [p for p in draw_people(12, 12_000) if p.opens_ms is None or p.opens_ms > p.entered_ms + 60 * DAY]
    expected = [chance.chance_within(p.waves, p.entered_ms + 60 * DAY, 90) for p in people]
    real = [p.opens_ms is not None and p.opens_ms <= p.entered_ms + 150 * DAY for p in people]
    error = math.sqrt(sum(value * (1 - value) for value in expected))
    assert abs(sum(real) - sum(expected)) <= 4 * error
    high = [r for r, value in zip(real, expected, strict=True) if value > 0.5]
    assert len(high) > 50
    assert sum(high) / len(high) > 0.5


def test_noise_people_never_buy() -> None:
    people = draw_people(3, 8_000)
    noise = [p for p in people if p.kind != "buyer"]
    assert 0.05 < len(noise) / len(people) < 0.09
    assert sum(p.opens_ms is not None for p in noise) / len(noise) < 0.02


def test_the_cycle_is_long() -> None:
    people = draw_people(6, 6_000)
    for channel in CHANNELS:
        waits = sorted((p.opens_ms - p.entered_ms) / DAY for p in people if p.opens_ms and p.channel == channel)
        assert 45 <= waits[len(waits) // 2] <= 150


def test_fit_and_intent_move_the_chance() -> None:
    people = draw_people(9, 6_000)

    def mean(chosen: list[Person]) -> float:
        return sum(p.waves[0].chance for p in chosen) / len(chosen)

    buyers = [p for p in people if p.kind == "buyer" and p.channel == "inbound"]
    assert (
        mean([p for p in buyers if p.rank == "general_manager"]) > mean([p for p in buyers if p.rank == "staff"]) + 0.08
    )
    assert (
        mean([p for p in buyers if p.waves[0].intent > 1]) > mean([p for p in buyers if p.waves[0].intent < -1]) + 0.3
    )
