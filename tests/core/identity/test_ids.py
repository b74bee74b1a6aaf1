"""Person ids through merges, splits and long sequences of edits."""

from collections.abc import Iterable
from itertools import count

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from core.identity import Group, IdentityInput, assign_ids, resolve
from core.records import RecordRef
from tests.core.identity.neighbourhood import REFS, closed, record, ties


def ref(name: str) -> RecordRef:
    return RecordRef("sf", "lead", name)


def group(*names: str, created: Iterable[int] = (), followed: Iterable[str] = ()) -> Group:
    stamps = tuple(created) or tuple(range(len(names)))
    return Group(tuple(map(ref, names)), stamps, tuple(map(ref, followed)))


def assign(groups: list[Group], previous: dict[str, int], first: int = 100) -> tuple[dict[str, int], dict, dict]:  # type: ignore[type-arg]
    found = assign_ids(groups, {ref(name): person for name, person in previous.items()}, count(first).__next__)
    return {key.id: person for key, person in found.people.items()}, dict(found.aliases), dict(found.splits)


def test_new_people_get_new_ids_in_order() -> None:
    assert assign([group("a"), group("b", "c")], {}) == ({"a": 100, "b": 101, "c": 101}, {}, {})


def test_known_people_keep_theirs() -> None:
    assert assign([group("a", "b")], {"a": 7}) == ({"a": 7, "b": 7}, {}, {})


def test_on_a_merge_the_older_survives() -> None:
    assert assign([group("a", "b")], {"a": 9, "b": 7}) == ({"a": 7, "b": 7}, {9: 7}, {})


def test_after_a_split_the_part_with_the_oldest_record_stays() -> None:
    found = assign([group("b", created=[1]), group("a", "c", created=[2, 3])], {"a": 7, "b": 7, "c": 7})
    assert found == ({"b": 7, "a": 100, "c": 100}, {}, {100: 7})


def test_a_split_and_a_merge_at_once_give_up_no_id_in_vain() -> None:
    # z (3) is the oldest and took b (7) over; a, which also had 7, is older than b
    found = assign([group("z", "b", created=[0, 5]), group("a", created=[4])], {"z": 3, "b": 7, "a": 7})
    assert found == ({"z": 3, "b": 3, "a": 7}, {}, {})


def test_a_split_of_a_person_that_is_given_up_points_to_the_one_that_lives() -> None:
    found = assign([group("a", "b", created=[0, 1]), group("c", created=[2])], {"a": 3, "b": 7, "c": 7})
    assert found == ({"a": 3, "b": 3, "c": 100}, {7: 3}, {100: 3})


def test_ids_of_gone_records_follow_them() -> None:
    # HubSpot mints a new record for a merge
    assert assign([group("new", followed=["old", "older"])], {"old": 5, "older": 4}) == (
        {"new": 4, "old": 4, "older": 4},
        {5: 4},
        {},
    )


def test_a_living_record_claims_an_id_before_a_gone_one() -> None:
    found = assign([group("a", followed=["gone"]), group("b")], {"gone": 4, "b": 4})
    assert found == ({"a": 100, "gone": 100, "b": 4}, {}, {100: 4})


class Ledger:
    """People as the sync layer keeps them, neighbourhood by neighbourhood."""

    def __init__(self) -> None:
        self.records: dict[RecordRef, IdentityInput] = {}
        self.people: dict[RecordRef, int] = {}
        self.given: list[int] = []
        self.aliases: dict[int, int] = {}

    def new_id(self) -> int:
        self.given.append(len(self.given) + 1)
        return self.given[-1]

    def put(self, ref: RecordRef, new: IdentityInput | None) -> None:
        """A record appears, changes or goes; what it was tied to before and is tied to now is resolved again."""
        old = self.records.pop(ref, None)
        if new is not None:
            self.records[ref] = new
        start = (ties(old) if old else set()) | (ties(new) if new else set())
        part = closed(start, self.records)
        reached = start.union(*map(ties, part.values())) | {ref}
        touched = {member for member in reached if isinstance(member, RecordRef)}
        before = {member: self.people[member] for member in touched if member in self.people}
        found = assign_ids(resolve(part.values()).groups, before, self.new_id)
        for member in touched:
            self.people.pop(member, None)
        self.people.update(found.people)
        for gone, kept in found.aliases.items():
            assert gone not in self.aliases
            assert kept < gone
            self.aliases[gone] = kept


@settings(max_examples=100, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink])
@given(st.lists(st.tuples(record(), st.integers(0, 4)), min_size=1, max_size=25))
def test_any_sequence_of_edits_ends_where_the_whole_would(edits: list[tuple[IdentityInput, int]]) -> None:
    ledger = Ledger()
    for new, deletes in edits:
        ledger.put(new.ref, None if deletes == 0 else new)
        whole = resolve(ledger.records.values())
        partition: dict[int, set[RecordRef]] = {}
        for member in ledger.records:
            partition.setdefault(ledger.people[member], set()).add(member)
        assert {frozenset(refs) for refs in partition.values()} == {frozenset(g.records) for g in whole.groups}
        assert len(set(ledger.given)) == len(ledger.given)
        assert not set(partition) & set(ledger.aliases), "an id that was given up never comes back"


@settings(max_examples=100, deadline=None)
@given(st.lists(record(), min_size=1, max_size=10), st.dictionaries(st.sampled_from(REFS), st.integers(1, 4)))
def test_one_id_per_group_and_every_former_id_is_accounted_for(
    records: list[IdentityInput], previous: dict[RecordRef, int]
) -> None:
    groups = resolve({one.ref: one for one in records}.values()).groups
    found = assign_ids(groups, previous, count(100).__next__)
    ids = [{found.people[member] for member in one.members} for one in groups]
    assert all(len(one) == 1 for one in ids)
    assert len(set().union(*ids)) == len(groups)
    claimed = {previous[member] for one in groups for member in one.members if member in previous}
    assert claimed == (set().union(*ids) | set(found.aliases)) - set(range(100, 200))
    assert set(found.aliases.values()) <= set().union(*ids)
    assert set(found.splits) <= set(range(100, 200))
