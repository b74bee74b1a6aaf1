"""Person ids: given once, never reused, kept through merges and splits."""

from collections.abc import Callable, Iterable, Mapping

from core.identity.model import Assignment, Group, PersonId
from core.records import RecordRef


def assign_ids(
    groups: Iterable[Group], previous: Mapping[RecordRef, PersonId], new_id: Callable[[], PersonId]
) -> Assignment:
    """Ids for groups, given the ids their records had.

    - Each earlier id goes to one group: the one with the oldest record among those that had it. So after a split the part
      with the oldest record stays the person, and the other parts get new ids (`splits`).
    - A group that several ids fall to keeps the lowest, which is the oldest; the others become aliases of it.
    - `new_id` is called once for each group without an id, in the order given; it must never repeat itself.

    Args:
        groups: of a closed neighbourhood, as `resolve` returns them.
        previous: the ids of all records of the neighbourhood that have one, those of gone records included that a given
            one absorbed, follows or links to. Ids that were given up must already be replaced by the ones that live on,
            and a reference that no record of its person names any more must have lost its id.
        new_id: gives an id that was never used.
    """
    listed = list(groups)
    claims: dict[PersonId, list[tuple[bool, int, RecordRef, int]]] = {}
    for place, group in enumerate(listed):
        for ref, created in zip(group.records, group.created, strict=True):
            if ref in previous:
                claims.setdefault(previous[ref], []).append((False, created, ref, place))
        for ref in group.followed:  # an id that only gone records had follows them
            if ref in previous:
                claims.setdefault(previous[ref], []).append((True, 0, ref, place))
    heir = {person: min(claim)[-1] for person, claim in claims.items()}
    falls_to: dict[int, list[PersonId]] = {}
    for person, place in heir.items():
        falls_to.setdefault(place, []).append(person)

    people: dict[RecordRef, PersonId] = {}
    aliases: dict[PersonId, PersonId] = {}
    splits: dict[PersonId, PersonId] = {}
    for place, group in enumerate(listed):
        mine = sorted(falls_to.get(place, ()))
        kept = mine[0] if mine else new_id()
        aliases.update(dict.fromkeys(mine[1:], kept))
        if not mine:
            before = next((previous[ref] for ref in group.members if ref in previous), None)
            if before is not None:
                splits[kept] = before
        people.update(dict.fromkeys(group.members, kept))
    resolved = {new: _living(old, aliases) for new, old in splits.items()}
    return Assignment(people, aliases, resolved)


def _living(person: PersonId, aliases: Mapping[PersonId, PersonId]) -> PersonId:
    while person in aliases:
        person = aliases[person]
    return person
