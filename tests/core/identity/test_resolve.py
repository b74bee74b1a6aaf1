"""Who is who: precedence, ambiguity, and independence of order and history."""

import random
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.identity import (
    Ambiguity,
    IdentityInput,
    Resolution,
    describe,
    is_role_mailbox,
    resolve,
    suggestion_key,
)
from core.identity.names import differ, family_name, merged
from core.identity.resolve import MAX_HOLDERS
from core.joining import Forest
from core.records import RecordRef
from tests.core.identity.neighbourhood import closed, ties, worlds


def lead(number: int, **facts: object) -> IdentityInput:
    return IdentityInput(RecordRef("sf", "lead", f"q{number}"), **facts)  # type: ignore[arg-type]


def contact(number: int, **facts: object) -> IdentityInput:
    return IdentityInput(RecordRef("sf", "contact", f"c{number}"), **facts)  # type: ignore[arg-type]


def hubspot(number: int, **facts: object) -> IdentityInput:
    return IdentityInput(RecordRef("hs", "contact", str(number)), **facts)  # type: ignore[arg-type]


def people(resolution: Resolution) -> set[frozenset[str]]:
    return {frozenset(ref.id for ref in group.records) for group in resolution.groups}


def reasons(resolution: Resolution) -> list[tuple[str, tuple[str, ...]]]:
    return [(found.reason, tuple(ref.id for ref in found.records)) for found in resolution.ambiguities]


A, B, INFO = "a@acme.example", "b@acme.example", "info@acme.example"


def test_an_equal_address_joins() -> None:
    found = resolve([contact(1, emails=(A,), last_name="佐藤"), hubspot(1, emails=(B, A), last_name="Sato")])
    assert people(found) == {frozenset({"c1", "1"})}
    assert found.ambiguities == ()


def test_case_and_space_of_an_address_do_not_count() -> None:
    found = resolve([contact(1, emails=("A@Acme.example ",)), hubspot(1, emails=(A,))])
    assert people(found) == {frozenset({"c1", "1"})}


def test_different_family_names_stay_apart() -> None:
    found = resolve([contact(1, emails=(A,), last_name="佐藤"), hubspot(1, emails=(A,), last_name="鈴木")])
    assert people(found) == {frozenset({"c1"}), frozenset({"1"})}
    assert [(one.reason, one.detail, one.names) for one in found.ambiguities] == [("family_name", A, ("佐藤", "鈴木"))]


def test_a_link_beats_the_address_and_the_name() -> None:
    one = contact(1, emails=(A,), last_name="佐藤")
    other = contact(2, emails=(B,), last_name="田中")
    linked = hubspot(1, emails=(B,), last_name="鈴木", links=(one.ref,))
    found = resolve([one, other, linked])
    assert frozenset({"c1", "1"}) in people(found)
    assert reasons(found) == [("family_name", ("1", "c2"))]


def test_links_that_contradict_keep_equal_addresses_apart() -> None:
    one, other = contact(1, emails=(A,)), contact(2, emails=(A,))
    found = resolve([one, other, hubspot(1, links=(one.ref,)), hubspot(2, links=(other.ref,))])
    assert people(found) == {frozenset({"c1", "1"}), frozenset({"c2", "2"})}
    assert reasons(found) == [("links_contradict", ("c1", "c2"))]


def test_an_unlinked_duplicate_joins_a_linked_record() -> None:
    one = contact(1, emails=(A,))
    found = resolve([one, lead(1, emails=(A,)), hubspot(1, links=(one.ref,))])
    assert people(found) == {frozenset({"c1", "q1", "1"})}


def test_conversion_and_merge_always_join() -> None:
    converted = lead(1, last_name="佐藤", emails=(A,), successor=RecordRef("sf", "contact", "c1"))
    survivor = contact(1, last_name="鈴木", emails=(B,), absorbed=(RecordRef("sf", "contact", "c9"),))
    found = resolve([converted, survivor])
    assert people(found) == {frozenset({"q1", "c1"})}
    assert found.groups[0].followed == (RecordRef("sf", "contact", "c9"),)


def test_a_link_to_the_converted_lead_and_one_to_its_contact_do_not_contradict() -> None:
    converted = lead(1, successor=RecordRef("sf", "contact", "c1"))
    found = resolve([converted, contact(1), hubspot(1, links=(converted.ref,)), hubspot(2, links=(contact(1).ref,))])
    assert people(found) == {frozenset({"q1", "c1", "1", "2"})}


def test_two_records_that_link_to_an_unseen_one_are_one() -> None:
    unseen = RecordRef("sf", "contact", "c7")
    found = resolve([hubspot(1, links=(unseen,)), hubspot(2, links=(unseen,))])
    assert people(found) == {frozenset({"1", "2"})}
    assert found.groups[0].followed == (unseen,)


def test_a_role_mailbox_joins_nobody_even_of_one_name() -> None:
    found = resolve([contact(1, emails=(INFO,), last_name="佐藤"), hubspot(1, emails=(INFO,), last_name="佐藤")])
    assert people(found) == {frozenset({"c1"}), frozenset({"1"})}
    assert reasons(found) == [("role_mailbox", ("1", "c1"))]


def test_an_address_of_three_families_joins_nobody() -> None:
    found = resolve(
        [lead(i, emails=(A,), last_name=name) for i, name in enumerate(["佐藤", "佐藤", "鈴木", "田中", None])]
    )
    assert people(found) == {frozenset({f"q{i}"}) for i in range(5)}
    assert [(one.reason, one.names) for one in found.ambiguities] == [("shared_mailbox", ("佐藤", "田中", "鈴木"))]


def test_an_address_on_very_many_records_joins_nobody() -> None:
    found = resolve([lead(i, emails=(A,), last_name="佐藤") for i in range(MAX_HOLDERS + 1)])
    assert len(found.groups) == MAX_HOLDERS + 1
    assert [one.reason for one in found.ambiguities] == ["shared_mailbox"]


def test_a_nameless_record_between_two_names_is_given_to_neither() -> None:
    found = resolve(
        [
            contact(1, emails=(A,), last_name="佐藤"),
            hubspot(1, emails=(A,), last_name="佐藤"),
            lead(1, emails=(A,), last_name="鈴木"),
            lead(2, emails=(A,)),
        ]
    )
    assert people(found) == {frozenset({"c1", "1"}), frozenset({"q1"}), frozenset({"q2"})}
    assert {reason for reason, _ in reasons(found)} == {"family_name", "between"}


def test_name_and_company_only_suggest() -> None:
    found = resolve(
        [
            contact(1, emails=(A,), last_name="佐藤", first_name="太郎", company="株式会社アクメ"),
            hubspot(1, emails=(B,), last_name="佐藤", first_name="太郎", company="㈱アクメ"),
            lead(1, last_name="佐藤", first_name="花子", company="アクメ"),
        ]
    )
    assert len(found.groups) == 3
    assert reasons(found) == [("suggestion", ("1", "c1"))]


def test_suggestion_needs_both_names_and_a_company() -> None:
    assert suggestion_key(lead(1, last_name="佐藤", first_name="太郎", company="アクメ"))
    assert suggestion_key(lead(1, last_name="佐藤", company="アクメ")) is None
    assert suggestion_key(lead(1, last_name="不明", first_name="太郎", company="アクメ")) is None
    assert suggestion_key(lead(1, last_name="佐藤", first_name="太郎", company="株式会社")) is not None


def test_groups_name_their_oldest_record_first() -> None:
    found = resolve(
        [hubspot(1, emails=(A,), created_at=5), contact(1, emails=(A,), created_at=3), lead(1, created_at=4)]
    )
    assert [(group.records[0].id, group.created) for group in found.groups] == [("c1", (3, 5)), ("q1", (4,))]


@pytest.mark.parametrize("language", ["ja", "en"])
@pytest.mark.parametrize(
    "reason", ["role_mailbox", "shared_mailbox", "family_name", "links_contradict", "between", "suggestion"]
)
def test_every_reason_has_words(reason: str, language: str) -> None:
    found = Ambiguity(reason, (contact(1).ref, hubspot(1).ref), A, ("佐藤", "鈴木"))  # type: ignore[arg-type]
    sentence = describe(found, language)
    assert A in sentence
    assert "{" not in sentence
    assert any(ord(char) > 0x3000 for char in sentence.replace("佐藤", "").replace("鈴木", "")) == (language == "ja")


def test_the_key_of_an_ambiguity_depends_on_reason_records_and_detail() -> None:
    one = Ambiguity("family_name", (contact(1).ref,), A, ("佐藤",))
    assert len(one.key) == 64
    assert one.key == Ambiguity("family_name", (contact(1).ref,), A, ("鈴木",)).key
    others = {
        Ambiguity("between", one.records, A).key,
        Ambiguity("family_name", one.records, B).key,
        Ambiguity("family_name", (contact(2).ref,), A).key,
    }
    assert len({one.key, *others}) == 4


# --- properties ------------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(worlds(), st.randoms())
def test_order_does_not_matter(world: dict[RecordRef, IdentityInput], rng: random.Random) -> None:
    shuffled = list(world.values())
    rng.shuffle(shuffled)
    assert resolve(shuffled) == resolve(world.values())


@settings(max_examples=200, deadline=None)
@given(worlds())
def test_every_record_is_in_one_group_and_no_reference_in_two(world: dict[RecordRef, IdentityInput]) -> None:
    found = resolve(world.values())
    assert sorted(ref for group in found.groups for ref in group.records) == sorted(world)
    members = [ref for group in found.groups for ref in group.members]
    assert len(members) == len(set(members))


def _tied(world: dict[RecordRef, IdentityInput]) -> list[list[IdentityInput]]:
    """What links and succession make one, computed apart from the code under test."""
    refs = sorted({*world, *(ref for one in world.values() for ref in ties(one) if isinstance(ref, RecordRef))})
    forest = Forest(len(refs))
    for one in world.values():
        for other in ties(one):
            if isinstance(other, RecordRef):
                forest.union(refs.index(one.ref), refs.index(other))
    return [[world[refs[i]] for i in tree if refs[i] in world] for tree in forest.trees()]


@settings(max_examples=300, deadline=None)
@given(worlds())
def test_what_a_group_may_and_must_hold(world: dict[RecordRef, IdentityInput]) -> None:
    found = resolve(world.values())
    person = {ref: place for place, group in enumerate(found.groups) for ref in group.members}
    bundles = [bundle for bundle in _tied(world) if bundle]
    for bundle in bundles:
        assert len({person[one.ref] for one in bundle}) == 1, "links and succession always join"
    for one, other in combinations(bundles, 2):
        if person[one[0].ref] == person[other[0].ref]:
            names = [merged(family_name(r.last_name, r.first_name) for r in bundle) for bundle in (one, other)]
            assert not differ(*names), "family names in conflict stay apart"
            assert not (any(r.links for r in one) and any(r.links for r in other)), "no contradicting links"


@settings(max_examples=200, deadline=None)
@given(worlds())
def test_role_mailboxes_change_no_group(world: dict[RecordRef, IdentityInput]) -> None:
    bare = [
        replace(one, emails=tuple(email for email in one.emails if not is_role_mailbox(email)))
        for one in world.values()
    ]
    assert resolve(world.values()).groups == resolve(bare).groups


@settings(max_examples=200, deadline=None)
@given(worlds())
def test_an_equal_address_is_joined_or_listed(world: dict[RecordRef, IdentityInput]) -> None:
    found = resolve(world.values())
    person = {ref: place for place, group in enumerate(found.groups) for ref in group.records}
    listed = [set(one.records) for one in found.ambiguities if one.reason != "suggestion"]
    for one, other in combinations(world.values(), 2):
        if set(one.emails) & set(other.emails) and person[one.ref] != person[other.ref]:
            assert any({one.ref, other.ref} <= refs for refs in listed)


@settings(max_examples=200, deadline=None)
@given(worlds())
def test_closed_neighbourhoods_give_what_the_whole_gives(world: dict[RecordRef, IdentityInput]) -> None:
    whole = resolve(world.values())
    groups, ambiguities = set(), set()
    for one in world.values():
        part = resolve(closed(ties(one), world).values())
        groups |= set(part.groups)
        ambiguities |= {found for found in part.ambiguities if found.reason != "suggestion"}
    assert groups == set(whole.groups)
    assert ambiguities == {found for found in whole.ambiguities if found.reason != "suggestion"}


@settings(max_examples=100, deadline=None)
@given(worlds())
def test_role_mailboxes_need_not_be_followed(world: dict[RecordRef, IdentityInput]) -> None:
    def joining(one: IdentityInput) -> set[object]:
        return {tie for tie in ties(one) if not (isinstance(tie, str) and is_role_mailbox(tie))}

    whole = set(resolve(world.values()).groups)
    for one in world.values():
        part = closed(joining(one), world, joining)
        assert set(resolve(part.values()).groups) <= whole
