"""Twins of activities."""

import random
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.twins import LATE_DAYS, LISTED, Sighting, find_twins, normalised_name


def seen(number: int, system: str = "hs", day: int = 10, **facts: object) -> Sighting:
    facts.setdefault("kind", "webinar_attend")
    facts.setdefault("asset", "春の導入セミナー")
    facts.setdefault("vendor", {"hs": "hubspot", "sf": "salesforce"}.get(system, system))
    facts.setdefault("occurred_at", day * 86_400_000)
    return Sighting(number, system=system, day=day, **facts)  # type: ignore[arg-type]


def test_one_webinar_in_both_systems_counts_once() -> None:
    assert find_twins([seen(1), seen(2, "sf")]) == {2: 1}


@pytest.mark.parametrize(
    ("kind", "duplicate"), [("webinar_attend", 2), ("email_click", 2), ("call", 1), ("meeting", 1)]
)
def test_the_source_of_a_kind_stands(kind: str, duplicate: int) -> None:
    found = find_twins([seen(1, kind=kind), seen(2, "sf", kind=kind)])
    assert set(found) == {duplicate}


def test_settings_name_another_source() -> None:
    assert find_twins([seen(1), seen(2, "sf")], {"webinar_attend": "sf"}) == {1: 2}
    assert find_twins([seen(1), seen(2, "sf")], {"call": "sf"}) == {2: 1}


@pytest.mark.parametrize("apart", [-1, 0, 1])
def test_days_at_most_one_apart(apart: int) -> None:
    assert find_twins([seen(1), seen(2, "sf", 10 + apart)]) == {2: 1}


@pytest.mark.parametrize(
    "other",
    [
        seen(2, "sf", 12),
        seen(2, "hs"),
        seen(2, "sf", kind="webinar_register"),
        seen(2, "sf", asset="秋の導入セミナー"),
        seen(2, "sf", asset=None),
    ],
)
def test_no_twins(other: Sighting) -> None:
    assert find_twins([seen(1), other]) == {}


def test_a_missing_name_equals_nothing_and_the_campaign_stands_in() -> None:
    assert find_twins([seen(1, asset=None), seen(2, "sf", asset=None)]) == {}
    assert find_twins([seen(1), seen(2, "sf", asset=None, campaign="春の導入セミナー")]) == {2: 1}


def test_names_are_compared_without_width_case_and_punctuation() -> None:
    assert (
        normalised_name("【ＷＥＢ】春の 導入ｾﾐﾅｰ!") == normalised_name("Web 春の導入セミナー") == "web春の導入セミナー"
    )
    assert normalised_name(None) == normalised_name("---") == ""


def test_matching_is_one_to_one() -> None:
    assert find_twins([seen(1), seen(2, "sf"), seen(3, "sf")]) == {2: 1}
    assert find_twins([seen(1), seen(2, day=10, occurred_at=864_000_001), seen(3, "sf"), seen(4, "sf", 11)]) == {
        3: 1,
        4: 2,
    }


def test_as_many_pairs_as_possible_then_the_nearest_day() -> None:
    # two webinars on neighbouring days, each shown one day later in the other system
    assert find_twins([seen(1, day=10), seen(2, day=11), seen(3, "sf", 11), seen(4, "sf", 12)]) == {3: 1, 4: 2}
    assert find_twins([seen(1, day=10), seen(2, "sf", 9), seen(3, "sf", 10)]) == {3: 1}


def test_a_third_system_is_matched_against_what_is_left() -> None:
    assert find_twins([seen(1, "sf"), seen(2, "zz")]) == {2: 1}
    assert find_twins([seen(1), seen(2, "sf"), seen(3, "zz")]) == {2: 1, 3: 1}
    assert find_twins([seen(1), seen(2, "sf", 11), seen(3, "zz", 12)]) == {2: 1}


SIGHTINGS = st.lists(
    st.builds(
        seen,
        st.integers(0, 10_000),
        st.sampled_from(["hs", "sf"]),
        st.integers(0, 6),
        kind=st.sampled_from(["webinar_attend", "call"]),
        asset=st.sampled_from([None, "A", "B"]),
    ),
    max_size=14,
    unique_by=lambda one: one.id,
)


@settings(max_examples=150, deadline=None)
@given(SIGHTINGS, st.randoms())
def test_order_does_not_matter(sightings: list[Sighting], rng: random.Random) -> None:
    shuffled = list(sightings)
    rng.shuffle(shuffled)
    assert find_twins(shuffled) == find_twins(sightings)


def _most_pairs(left: list[Sighting], right: list[Sighting]) -> int:
    """The size of the largest matching, by augmenting paths."""
    taken: dict[int, int] = {}

    def augment(i: int, tried: set[int]) -> bool:
        for j, one in enumerate(right):
            if abs(one.day - left[i].day) <= 1 and j not in tried:
                tried.add(j)
                if j not in taken or augment(taken[j], tried):
                    taken[j] = i
                    return True
        return False

    return sum(augment(i, set()) for i in range(len(left)))


@settings(max_examples=200, deadline=None)
@given(SIGHTINGS)
def test_pairs_are_allowed_one_to_one_and_as_many_as_possible(sightings: list[Sighting]) -> None:
    by_id = {one.id: one for one in sightings}
    found = find_twins(sightings)
    assert len(set(found.values())) == len(found)
    assert not set(found) & set(found.values())
    for copy, original in ((by_id[a], by_id[b]) for a, b in found.items()):
        assert (copy.kind, copy.asset) == (original.kind, original.asset)
        assert copy.asset
        assert abs(copy.day - original.day) <= 1
        assert original.system == ("sf" if original.kind == "call" else "hs") != copy.system
    wanted = 0
    for kind in ("webinar_attend", "call"):
        for asset in ("A", "B"):
            mine = [one for one in sightings if (one.kind, one.asset) == (kind, asset)]
            wanted += _most_pairs([o for o in mine if o.system == "hs"], [o for o in mine if o.system == "sf"])
    assert len(found) == wanted


@settings(max_examples=100, deadline=None)
@given(SIGHTINGS)
def test_distance_is_least_among_the_largest_matchings(sightings: list[Sighting]) -> None:
    mine = [replace(one, kind="call", asset="A") for one in sightings][:8]
    left, right = ([one for one in mine if one.system == system] for system in ("sf", "hs"))
    found = find_twins(mine)
    days = {one.id: one.day for one in mine}
    cost = sum(abs(days[a] - days[b]) for a, b in found.items())
    costs = [
        sum(abs(one.day - other.day) for one, other in zip(ones, others, strict=True))
        for ones in combinations(sorted(left, key=lambda o: o.day), len(found))
        for others in combinations(sorted(right, key=lambda o: o.day), len(found))
        if all(abs(one.day - other.day) <= 1 for one, other in zip(ones, others, strict=True))
    ]
    assert cost == min(costs)


# --- copies that a pair's native sync makes --------------------------------------------------------------------------

COPIED = {"sf": "hs"}


def test_a_copied_call_is_one_call_under_whatever_name_and_the_source_of_the_kind_stands() -> None:
    call, copy = seen(1, kind="call", asset="導入のご相談"), seen(2, "sf", kind="call", asset="Call: 導入のご相談")
    assert find_twins([call, copy]) == {}
    assert find_twins([call, copy], copied=COPIED) == {1: 2}
    assert find_twins([call, copy], {"call": "hs"}, COPIED) == {2: 1}


def test_a_copy_that_lost_what_it_was_is_the_duplicate() -> None:
    attempt, copy = seen(1, kind="call_attempt", asset=None), seen(2, "sf", kind="call", asset="Call")
    assert find_twins([attempt, copy], copied=COPIED) == {2: 1}
    reply, mail = seen(3, kind="email_reply", asset=None), seen(4, "sf", kind="email_out", asset="Email: Re: ご案内")
    assert find_twins([reply, mail], copied=COPIED) == {4: 3}


def test_other_calls_of_the_day_are_other_calls() -> None:
    call, own = seen(1, kind="call", asset="導入のご相談"), seen(2, "sf", kind="call", asset="納期の確認")
    assert find_twins([call, own], copied=COPIED) == {}
    copy = seen(3, "sf", kind="call", asset="Call: 導入のご相談")
    assert find_twins([call, own, copy], copied=COPIED) == {1: 3}
    later = seen(4, "sf", 12, kind="call", asset="Call: 導入のご相談")
    assert find_twins([call, later], copied=COPIED) == {}


def test_the_likelier_name_goes_first_and_mails_without_a_name_are_shared_out() -> None:
    out, reply = seen(1, kind="email_out", asset=None), seen(2, kind="email_reply", asset=None)
    copies = [seen(3, "sf", kind="email_out", asset="Email: A"), seen(4, "sf", kind="email_out", asset="Email: B")]
    found = find_twins([out, reply, *copies], copied=COPIED)
    assert len(found) == 2
    assert found.keys() | set(found.values()) == {1, 2, 3, 4}
    assert find_twins([out, copies[0]]) == {}


@given(SIGHTINGS, st.randoms(use_true_random=False))
def test_copies_are_one_to_one_and_do_not_depend_on_the_order(sightings: list[Sighting], chance: random.Random) -> None:
    found = find_twins(sightings, copied=COPIED)
    shuffled = list(sightings)
    chance.shuffle(shuffled)
    assert find_twins(shuffled, copied=COPIED) == found
    assert not found.keys() & set(found.values())
    by_id = {one.id: one for one in sightings}
    logged = {(a, b) for a, b in found.items() if by_id[a].kind not in LISTED}
    plain = {(a, b) for a, b in find_twins(sightings).items() if by_id[a].kind not in LISTED}
    assert plain <= logged
    for copy, original in logged - plain:
        assert {by_id[copy].system, by_id[original].system} == {"sf", "hs"}
        assert abs(by_id[copy].day - by_id[original].day) <= 1


# --- lists of people that a pair's second CRM imports later ------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(LISTED))
def test_a_list_that_is_imported_later_shows_the_same_event(kind: str) -> None:
    event = seen(1, kind=kind)
    for late in (2, 3, LATE_DAYS):
        member = seen(2, "sf", 10 + late, kind=kind)
        assert find_twins([event, member], copied=COPIED) == {2: 1}
        assert find_twins([event, member], {kind: "sf"}, COPIED) == {1: 2}
        assert find_twins([event, member]) == {}, "without a pair it is another event"


@pytest.mark.parametrize(
    "other",
    [
        seen(2, "sf", 10 + LATE_DAYS + 1),
        seen(2, "sf", 8),
        seen(2, "zz", 13),
        seen(2, "sf", 13, asset="秋の導入セミナー"),
        seen(2, "sf", 13, kind="webinar_register"),
    ],
    ids=["too late", "before the event", "another system", "another name", "another kind"],
)
def test_no_late_list(other: Sighting) -> None:
    assert find_twins([seen(1), other], copied=COPIED) == {}


def test_clicks_and_calls_are_not_imported_later() -> None:
    for kind in ("email_click", "call", "meeting"):
        assert find_twins([seen(1, kind=kind), seen(2, "sf", 13, kind=kind)], copied=COPIED) == {}


def test_each_event_has_one_late_twin_the_nearest_first() -> None:
    assert find_twins([seen(1, day=0), seen(2, day=20), seen(3, "sf", 25)], copied=COPIED) == {3: 2}
    assert find_twins([seen(1, day=0), seen(3, "sf", 5), seen(4, "sf", 9)], copied=COPIED) == {3: 1}
    both = [seen(1, day=0), seen(2, day=29), seen(3, "sf", 30), seen(4, "sf", 50)]
    assert find_twins(both, copied=COPIED) == {3: 1, 4: 2}, "as many as possible: both lists were late"


@given(
    st.integers(0, 3),
    st.lists(st.integers(-1, LATE_DAYS), min_size=1, max_size=6),
    st.sampled_from([0, 28, 30, 31]),
)
def test_the_instalments_of_a_monthly_series_stay_as_many_as_they_are(first: int, late: list[int], month: int) -> None:
    events = [seen(n, day=first + n * month) for n in range(len(late))]
    members = [seen(100 + n, "sf", event.day + late[n]) for n, event in enumerate(events)]
    found = find_twins([*events, *members], copied=COPIED)
    assert found.keys() == {member.id for member in members}
    assert set(found.values()) == {event.id for event in events}


EVENTS = st.lists(
    st.tuples(
        st.integers(0, 100),
        st.sampled_from(sorted(LISTED)),
        st.sampled_from(["A", "B"]),
        st.none() | st.integers(-1, LATE_DAYS),
    ),
    max_size=9,
)


@settings(max_examples=200, deadline=None)
@given(EVENTS, st.randoms(use_true_random=False))
def test_a_late_list_never_changes_what_counts(
    events: list[tuple[int, str, str, int | None]], chance: random.Random
) -> None:
    """Each event in HubSpot, some of them in Salesforce too, whenever they got there and in whatever order."""
    known = [seen(n, day=day, kind=kind, asset=asset) for n, (day, kind, asset, _) in enumerate(events)]
    members = [
        seen(100 + n, "sf", day + late, kind=kind, asset=asset)
        for n, (day, kind, asset, late) in enumerate(events)
        if late is not None
    ]
    chance.shuffle(members)
    for count in range(len(members) + 1):
        everything = [*known, *members[:count]]
        chance.shuffle(everything)
        assert find_twins(everything, copied=COPIED).keys() == {member.id for member in members[:count]}


@settings(max_examples=200, deadline=None)
@given(SIGHTINGS, st.integers(1, 12))
def test_late_pairs_are_allowed_one_to_one_and_contain_no_fewer(sightings: list[Sighting], stretch: int) -> None:
    spread = [replace(one, day=one.day * stretch) for one in sightings]
    by_id = {one.id: one for one in spread}
    found = {a: b for a, b in find_twins(spread, copied=COPIED).items() if by_id[a].kind in LISTED}
    assert len(set(found.values())) == len(found)
    for copy, original in ((by_id[a], by_id[b]) for a, b in found.items()):
        assert (copy.kind, copy.asset, copy.system, original.system) == (original.kind, original.asset, "sf", "hs")
        assert -1 <= copy.day - original.day <= LATE_DAYS
    assert len(found) >= sum(by_id[a].kind in LISTED for a in find_twins(spread))
