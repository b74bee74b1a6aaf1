"""Machine bursts."""

import random
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from core.suspects import CRAWL_PAGES, CRAWL_SPAN, DELIVERY_SPAN, PAGES, PAGES_SPAN, SCATTER_SPAN, Trace, find_suspects

SITE = "https://www.seller.example"


def click(number: int, at: int, link: str = "/a", **facts: object) -> Trace:
    return Trace(number, "email_click", at, SITE + link, **facts)  # type: ignore[arg-type]


def test_three_different_links_within_ten_seconds() -> None:
    clicks = [click(1, 0, "/a"), click(2, 4_000, "/b"), click(3, SCATTER_SPAN - 1, "/c")]
    assert find_suspects(clicks) == dict.fromkeys([1, 2, 3], "link_burst")


def test_slower_or_fewer_or_equal_links_are_a_person() -> None:
    assert find_suspects([click(1, 0, "/a"), click(2, 5_000, "/b"), click(3, SCATTER_SPAN, "/c")]) == {}
    assert find_suspects([click(1, 0, "/a"), click(2, 0, "/b")]) == {}
    assert find_suspects([click(i, i, f"/a?utm_source=mail{i}#part{i}") for i in range(9)]) == {}


def test_a_burst_takes_all_its_clicks_and_leaves_the_others() -> None:
    burst = [click(i, 100_000 + i * 1_000, f"/{i}") for i in range(1, 6)]
    alone = [click(8, 80_000, "/1"), click(9, 400_000, "/1")]
    assert find_suspects([*burst, *alone]) == dict.fromkeys(range(1, 6), "link_burst")


def test_a_click_right_after_the_mail_went_out() -> None:
    mail = Trace(1, "email_out", 0, campaign="spring")
    assert find_suspects([mail, click(2, DELIVERY_SPAN - 1)]) == {2: "at_delivery"}
    assert find_suspects([mail, click(2, DELIVERY_SPAN)]) == {}
    assert find_suspects([replace(mail, occurred_at=1), click(2, 0)]) == {}
    assert find_suspects([mail, click(2, 1_000, campaign="autumn")]) == {}


def test_an_open_and_a_click_in_one_second_are_a_person_without_pictures() -> None:
    assert find_suspects([Trace(1, "email_open", 0), click(2, 0)]) == {}


def test_the_scanners_own_fetches_are_suspect_with_its_clicks() -> None:
    burst = [click(i, i * 1_000, f"/{i}") for i in range(1, 4)]
    around = [
        Trace(10, "email_open", 500),
        Trace(11, "page_view", 2_100, SITE + "/2?x=1"),
        Trace(12, "page_view", 2_200, SITE + "/other"),
        Trace(13, "email_open", 60_000),
        Trace(14, "form_submit", 2_000, SITE + "/2"),
    ]
    found = find_suspects([*burst, *around])
    assert found == {**dict.fromkeys([1, 2, 3], "link_burst"), 10: "burst_echo", 11: "burst_echo"}


def test_pages_at_an_impossible_pace() -> None:
    def views(count: int, step: int) -> list[Trace]:
        return [Trace(i, "page_view", i * step, f"{SITE}/{i}") for i in range(count)]

    assert set(find_suspects(views(PAGES, (PAGES_SPAN - 1) // (PAGES - 1)))) == set(range(PAGES))
    assert find_suspects(views(PAGES - 1, 1)) == {}
    assert set(find_suspects(views(CRAWL_PAGES, (CRAWL_SPAN - 1) // (CRAWL_PAGES - 1)))) == set(range(CRAWL_PAGES))
    assert find_suspects(views(CRAWL_PAGES, 2_000)) == {}


def test_what_the_crm_marked_stays_marked() -> None:
    assert find_suspects([Trace(1, "email_open", 0, machine=True)]) == {1: "crm"}
    assert find_suspects([click(i, i, f"/{i}", machine=i == 1) for i in range(3)])[1] == "crm"


def test_broken_links_are_still_links() -> None:
    urls = ["http://[broken", "http://[other", None]
    assert len(find_suspects([Trace(i, "email_click", i, url) for i, url in enumerate(urls)])) == 3


# --- properties ------------------------------------------------------------------------------------------------------

TRACES = st.lists(
    st.builds(
        Trace,
        id=st.integers(0, 10_000),
        kind=st.sampled_from(["email_click", "email_click", "page_view", "email_open", "email_out", "form_submit"]),
        occurred_at=st.integers(0, 40).map(lambda n: n * 1_000),
        url=st.sampled_from([None, *(f"{SITE}/{i}" for i in range(12))]),
        campaign=st.sampled_from([None, "spring", "autumn"]),
        machine=st.sampled_from([False, False, False, True]),
    ),
    max_size=30,
    unique_by=lambda trace: trace.id,
)


@settings(max_examples=150, deadline=None)
@given(TRACES, st.randoms())
def test_order_does_not_matter(traces: list[Trace], rng: random.Random) -> None:
    shuffled = list(traces)
    rng.shuffle(shuffled)
    assert find_suspects(shuffled) == find_suspects(traces)


@settings(max_examples=150, deadline=None)
@given(TRACES)
def test_marking_the_found_ones_finds_the_same(traces: list[Trace]) -> None:
    found = find_suspects(traces)
    again = find_suspects([replace(trace, machine=trace.id in found) for trace in traces])
    assert set(again) == set(found)
    assert {trace.id for trace in traces if trace.machine} <= set(found)


@settings(max_examples=150, deadline=None)
@given(TRACES, TRACES)
def test_facts_of_another_time_change_nothing(traces: list[Trace], others: list[Trace]) -> None:
    away = [replace(one, id=one.id + 20_000, occurred_at=one.occurred_at + 2 * CRAWL_SPAN) for one in others]
    both = find_suspects([*traces, *away])
    assert {number: why for number, why in both.items() if number < 20_000} == find_suspects(traces)


@settings(max_examples=150, deadline=None)
@given(TRACES)
def test_bursts_are_exactly_the_crowded_spans(traces: list[Trace]) -> None:
    """Against the definition, tried for every span."""
    clicks = [trace for trace in traces if trace.kind == "email_click"]
    wanted = set()
    for first in clicks:
        span = [one for one in clicks if 0 <= one.occurred_at - first.occurred_at < SCATTER_SPAN]
        if len({one.url for one in span}) >= 3:
            wanted |= {one.id for one in span}
    found = find_suspects([replace(trace, machine=False) for trace in traces])
    assert {number for number, why in found.items() if why == "link_burst"} == wanted
