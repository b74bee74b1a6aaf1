"""The life of a hand-over: one offer per armed episode, whatever happens to scores, rulebooks and people."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.handover import (
    Action,
    Decision,
    Episode,
    Policy,
    Standing,
    Waiting,
    decide,
    drain,
    inherit_episodes,
    merge_episodes,
    next_number,
)
from core.records import RecordRef

POLICY = Policy()
LEAD = RecordRef("sf", "lead", "q1")
TODAY = 20_000
HOT = Standing(band="A", total=85, last_human_day=TODAY, record=LEAD)


def at(
    standing: Standing, *episodes: Episode, policy: Policy = POLICY, starting: bool = False, as_of: int = 1_000
) -> Decision:
    return decide(standing, episodes, policy, as_of=as_of, today=TODAY, starting=starting)


def outcome(decision: Decision) -> tuple[Action, str]:
    return (decision.action, decision.reason)


OFFERED = Episode(1, "sales", "offered", 500, record=LEAD)


def test_a_person_who_reaches_the_band_is_offered() -> None:
    decision = at(HOT)
    assert outcome(decision) == ("offer", "offered")
    assert decision.episodes == (Episode(1, "sales", "offered", 1_000, record=LEAD),)
    assert decision.number == 1


@pytest.mark.parametrize(
    ("standing", "reason"),
    [
        (replace(HOT, band="B", total=79), "out_of_band"),
        (replace(HOT, opted_out=True), "opted_out"),
        (replace(HOT, recontact_on=TODAY + 1), "recontact_ahead"),
        (replace(HOT, last_human_day=TODAY - 14), "no_recent_activity"),
        (replace(HOT, last_human_day=None), "no_recent_activity"),
    ],
)
def test_obstacles(standing: Standing, reason: str) -> None:
    assert outcome(at(standing)) == ("none", reason)
    assert at(standing).episodes == ()


def test_the_edges_of_recent_and_recontact() -> None:
    assert at(replace(HOT, last_human_day=TODAY - 13)).action == "offer"
    assert at(replace(HOT, recontact_on=TODAY)).action == "offer"


def test_a_wanted_lower_band_takes_higher_ones_too() -> None:
    policy = replace(POLICY, band="B", rearm_below=40)
    assert at(replace(HOT, band="B", total=60), policy=policy).action == "offer"
    assert at(HOT, policy=policy).action == "offer"
    assert at(replace(HOT, band="C", total=45), policy=policy).action == "none"


def test_no_second_offer_until_the_score_fell() -> None:
    assert outcome(at(HOT, OFFERED)) == ("none", "already_handed_over")
    cooled = at(replace(HOT, band="B", total=70), OFFERED).episodes
    assert not cooled[0].armed
    assert outcome(at(HOT, *cooled)) == ("none", "already_handed_over")
    armed = at(replace(HOT, band="B", total=69), OFFERED).episodes
    assert armed[0].armed
    again = at(HOT, *armed)
    assert outcome(again) == ("offer", "offered")
    assert [(e.number, e.armed) for e in again.episodes] == [(1, True), (2, False)]


def test_a_changed_rulebook_neither_arms_nor_offers() -> None:
    lowered = at(replace(HOT, band="C", total=30, restated=True), OFFERED)
    assert not lowered.episodes[0].armed
    assert outcome(at(replace(HOT, restated=True), *lowered.episodes)) == ("none", "already_handed_over")


def test_a_changed_rulebook_disarms_what_it_lifts_over_the_line() -> None:
    armed = replace(OFFERED, armed=True)
    lifted = at(replace(HOT, restated=True), armed)
    assert outcome(lifted) == ("none", "already_handed_over")
    assert not lifted.episodes[0].armed
    assert outcome(at(HOT, *lifted.episodes)) == ("none", "already_handed_over")


def test_a_line_above_the_band_arms_nobody_who_is_in_it() -> None:
    """`rearm_below` 70 with a band that begins at 50: 60 is in the band and has not fallen."""
    policy = replace(POLICY, band="B")
    warm = replace(HOT, band="B", total=60)
    assert outcome(at(warm, OFFERED, policy=policy)) == ("none", "already_handed_over")
    armed = replace(OFFERED, armed=True)
    restated = at(replace(warm, restated=True), armed, policy=policy)
    assert outcome(restated) == ("none", "already_handed_over")
    assert outcome(at(warm, *restated.episodes, policy=policy)) == ("none", "already_handed_over")


def test_a_changed_rulebook_may_offer_those_who_never_were() -> None:
    assert at(replace(HOT, restated=True)).action == "offer"


@pytest.mark.parametrize("state", ["opportunity", "won", "customer", "excluded"])
def test_closed_people_stay_closed(state: str) -> None:
    closed = replace(OFFERED, state=state, armed=True)  # type: ignore[arg-type]
    assert outcome(at(HOT, closed)) == ("none", "closed")


def test_numbers_go_on_after_what_a_record_says() -> None:
    assert at(replace(HOT, written_number=4)).number == 5
    assert next_number([OFFERED, replace(OFFERED, number=7)], 3) == 8
    assert next_number([]) == 1


def test_another_name_of_the_hand_over_offers_nobody_again() -> None:
    assert at(HOT, OFFERED, policy=replace(POLICY, name="field-sales")).action == "none"
    armed = at(HOT, replace(OFFERED, armed=True), policy=replace(POLICY, name="field-sales"))
    assert (armed.action, armed.number) == ("offer", 2)


# --- the first run ---------------------------------------------------------------------------------------------------


def test_seed_counts_everyone_in_the_band_as_handed_over() -> None:
    for standing in (HOT, replace(HOT, opted_out=True), replace(HOT, last_human_day=None)):
        seeded = at(standing, starting=True)
        assert outcome(seeded) == ("seed", "seeded")
        assert [(e.seeded, e.armed, e.record) for e in seeded.episodes] == [(True, False, None)]
        assert at(HOT, *seeded.episodes, starting=True).action == "none"
        assert at(HOT, *seeded.episodes).action == "none"
    assert at(replace(HOT, band="B", total=75), starting=True).episodes == ()


def test_a_seeded_person_is_offered_after_a_fall_and_a_rise() -> None:
    seeded = at(HOT, starting=True).episodes
    armed = at(replace(HOT, band="C", total=40), *seeded).episodes
    assert at(HOT, *armed).number == 2


def test_all_offers_at_once() -> None:
    assert at(HOT, starting=True, policy=replace(POLICY, initial="all")).action == "offer"


DRAIN = replace(POLICY, initial=2)


def test_drain_queues_first_and_offers_on_its_turn() -> None:
    queued = at(HOT, starting=True, policy=DRAIN)
    assert outcome(queued) == ("queue", "queued")
    assert outcome(at(HOT, *queued.episodes, policy=DRAIN)) == ("none", "waiting_in_queue")
    released = at(replace(HOT, released=True), *queued.episodes, policy=DRAIN, as_of=9_000)
    assert outcome(released) == ("offer", "offered")
    assert [(e.number, e.state, e.at) for e in released.episodes] == [(1, "offered", 9_000)]


def test_a_queued_person_waits_for_obstacles_and_leaves_when_cold() -> None:
    queued = at(HOT, starting=True, policy=DRAIN).episodes
    turn = replace(HOT, released=True)
    assert outcome(at(replace(turn, opted_out=True), *queued)) == ("none", "opted_out")
    assert outcome(at(replace(turn, band="B", total=75), *queued)) == ("none", "out_of_band")
    assert at(replace(turn, band="B", total=75), *queued).episodes == queued
    left = at(replace(turn, band="B", total=60), *queued)
    assert left.episodes == ()
    assert at(HOT, *left.episodes, policy=DRAIN).action == "offer"


def test_a_queued_person_found_to_be_handed_over_leaves_the_queue() -> None:
    queued = at(HOT, starting=True, policy=DRAIN).episodes
    both = merge_episodes([OFFERED], queued)
    decision = at(replace(HOT, released=True), *both)
    assert outcome(decision) == ("none", "already_handed_over")
    assert decision.episodes == (OFFERED,)


def test_drain_takes_the_first_of_each_owner() -> None:
    line = [Waiting(1, "x", 80), Waiting(2, "x", 95), Waiting(3, "x", 90), Waiting(4, "y", 10), Waiting(5, None, 5)]
    assert drain(line, 2, {}) == (2, 3, 4, 5)
    assert drain(line, 2, {"x": 1, "y": 2}) == (2, 5)
    assert drain(line, 2, {"x": 2, "y": 2, None: 2}) == ()
    assert drain([Waiting(7, "x", 1), Waiting(6, "x", 1)], 1, {}) == (6,)


@given(
    st.lists(
        st.builds(Waiting, st.integers(1, 99), st.sampled_from(["x", "y", None]), st.integers(0, 9)),
        max_size=20,
        unique_by=lambda w: w.person_id,
    )
)
def test_days_of_draining_empty_the_queue(line: list[Waiting]) -> None:
    left, days = list(line), 0
    while left:
        turn = set(drain(left, 2, {}))
        assert turn
        assert set(drain(list(reversed(left)), 2, {})) == turn
        for owner in ("x", "y", None):
            assert sum(1 for w in left if w.person_id in turn and w.owner_id == owner) <= 2
        left = [w for w in left if w.person_id not in turn]
        days += 1
    most = max((sum(1 for w in line if w.owner_id == owner) for owner in ("x", "y", None)), default=0)
    assert days == -(-most // 2)


# --- merges and splits -----------------------------------------------------------------------------------------------


def test_merging_keeps_every_episode_and_moves_taken_numbers_behind() -> None:
    mine = [Episode(1, "sales", "offered", 10, armed=True), Episode(3, "sales", "offered", 30)]
    theirs = [Episode(1, "sales", "offered", 5, record=LEAD), Episode(2, "sales", "offered", 20)]
    found = merge_episodes(mine, theirs)
    assert [(e.number, e.at) for e in found] == [(1, 10), (2, 20), (3, 30), (4, 5)]
    assert found[3].record == LEAD


def test_after_a_merge_with_someone_handed_over_nobody_is_offered() -> None:
    armed = replace(OFFERED, armed=True)
    assert at(HOT, *merge_episodes([armed], [OFFERED])).action == "none"
    assert at(HOT, *merge_episodes([OFFERED], [armed])).action == "none"
    assert at(replace(HOT, restated=True), *merge_episodes([armed], [])).action == "none"


def test_the_part_that_leaves_in_a_split_keeps_what_was_handed_over() -> None:
    other = RecordRef("sf", "lead", "q2")
    left = inherit_episodes([OFFERED, replace(OFFERED, number=2, record=other)], frozenset({other}))
    assert left == (replace(OFFERED, seeded=True, record=None), replace(OFFERED, number=2, record=other))
    assert at(HOT, *left).action == "none"
    assert inherit_episodes([replace(OFFERED, state="queued")], frozenset()) == ()


def test_what_a_split_doubled_is_one_episode_again() -> None:
    lead, contact = RecordRef("sf", "lead", "q1"), RecordRef("sf", "contact", "c1")
    hearsay = replace(OFFERED, seeded=True, record=None)
    together = (replace(OFFERED, record=lead), replace(hearsay, number=2, at=99))
    for _ in range(5):
        one = inherit_episodes(together, frozenset({lead}))
        other = inherit_episodes(together, frozenset({contact}))
        assert other == (hearsay, replace(hearsay, number=2, at=99))
        assert merge_episodes(one, other) == together
        assert merge_episodes(other, one) == together
    renumbered = (replace(other[0], number=7), other[1])
    assert merge_episodes(one, renumbered) == together
    assert merge_episodes(renumbered, one) == together


def test_what_was_doubled_is_armed_only_where_both_are() -> None:
    armed, hearsay = replace(OFFERED, record=LEAD, armed=True), replace(OFFERED, seeded=True, record=None)
    assert not merge_episodes([armed], [hearsay])[0].armed
    assert merge_episodes([armed], [replace(hearsay, armed=True)])[0].armed


# --- any history -----------------------------------------------------------------------------------------------------


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("score"), st.integers(0, 2), st.sampled_from([10, 65, 69, 70, 75, 80, 95])),
        st.tuples(st.just("rulebook"), st.integers(0, 2), st.sampled_from([10, 69, 75, 95])),
        st.tuples(st.just("merge"), st.integers(0, 2), st.integers(0, 2)),
        st.tuples(st.just("again"), st.integers(0, 2), st.just(0)),
        st.tuples(st.just("rename"), st.integers(0, 2), st.just(0)),
    ),
    max_size=30,
)


@settings(max_examples=400, deadline=None)
@given(EVENTS, st.sampled_from(["seed", "all", 1]), st.sampled_from([20, 70, 80, 100]))
def test_at_most_one_offer_per_fall(events: list[tuple[str, int, int]], initial: object, line: int) -> None:
    """Between two offers for one person an own fall below the line was seen, and the second is not a restatement."""
    policy = Policy(initial=initial, rearm_below=line)  # type: ignore[arg-type]
    people: dict[int, tuple[Episode, ...]] = {0: (), 1: (), 2: ()}
    alias = {0: 0, 1: 1, 2: 2}
    fell: dict[int, bool] = dict.fromkeys(people, True)  # may be offered, as the rules of the world see it
    total: dict[int, int] = dict.fromkeys(people, 0)
    clock = 0
    for what, who, value in events:
        clock += 1
        who = alias[who]
        restated = what in {"rulebook", "merge"}
        if what == "merge":
            other = alias[value]
            if other == who:
                continue
            who, other = sorted((who, other))
            people[who] = merge_episodes(people[who], people.pop(other))
            fell[who] = fell[who] and fell[other]
            total[who] = max(total[who], total[other])
            alias = {name: who if now == other else now for name, now in alias.items()}
        elif what == "rename":
            policy = replace(policy, name=f"{policy.name}x")
            continue
        elif what != "again":
            total[who] = value
        standing = Standing("A" if total[who] >= 80 else "B", total[who], TODAY, restated=restated, released=True)
        before = people[who]
        decision = decide(standing, before, policy, as_of=clock, today=TODAY, starting=clock < 4)
        people[who] = decision.episodes
        numbers = [episode.number for episode in decision.episodes]
        assert len(set(numbers)) == len(numbers)
        queued_now = [e for e in decision.episodes if e.state == "queued"]
        if decision.action in {"offer", "seed"}:
            assert fell[who], "offered twice without a fall"
            assert not (restated and [e for e in before if e.state != "queued"]), "offered by a restatement"
            assert decision.number is not None
            assert decision.number >= max(numbers)
            fell[who] = False
        elif total[who] < min(policy.rearm_below, 80) and not restated:
            fell[who] = True
        assert len(queued_now) <= 1
        repeated = decide(standing, decision.episodes, policy, as_of=clock, today=TODAY, starting=clock < 4)
        if decision.action != "queue":
            assert repeated.action == "none"
            assert repeated.episodes == decision.episodes


@given(
    st.lists(
        st.builds(Episode, st.integers(1, 5), st.just("sales"), st.just("offered"), st.integers(0, 9)), max_size=5
    ),
    st.lists(
        st.builds(Episode, st.integers(1, 5), st.just("sales"), st.just("offered"), st.integers(0, 9)), max_size=5
    ),
)
def test_a_merge_loses_no_episode(one: list[Episode], other: list[Episode]) -> None:
    mine = list({e.number: e for e in one}.values())
    theirs = list({e.number: e for e in other}.values())
    found = merge_episodes(mine, theirs)
    assert len(found) == len(mine) + len(theirs)
    assert len({e.number for e in found}) == len(found)
    assert set(mine) <= set(found)
    assert sorted(e.at for e in found) == sorted(e.at for e in [*mine, *theirs])
    assert merge_episodes(list(reversed(mine)), list(reversed(theirs))) == found
