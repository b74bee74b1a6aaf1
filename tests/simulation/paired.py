"""What must hold at rest besides where the native sync joins the two CRMs: one thing is one thing."""

from collections import Counter, defaultdict
from collections.abc import Iterator

from core.records import ACTIVITY_KINDS
from sync.state import schema as t
from sync.state.mirror import NOBODY
from tests.simulation.seen import Row, Seen
from tests.simulation.world import World


def pair_checks(world: World, seen: Seen) -> list[str]:
    """Nothing to say where there is no pair."""
    if world.native is None:
        return []
    status = world.box.native.status()
    people, copies = status["links"]["contacts"], status["copies"]
    return [*_one_person(people, seen), *_counted_once(copies, seen), *_webinars(world, seen), *_deals(seen)]


def _one_person(links: dict[int, str | None], seen: Seen) -> Iterator[str]:
    """I6: what the native sync has linked is one person."""
    for contact, record in links.items():
        kind = "lead" if (record or "").startswith("00Q") else "contact"
        one, other = seen.mirrored.get(f"hubspot/contact/{contact}"), seen.mirrored.get(f"salesforce/{kind}/{record}")
        if one and other and one["person_id"] != other["person_id"]:
            yield f"I6: hubspot/contact/{contact} and salesforce/{kind}/{record} are linked, and two people"


def _counted_once(copies: dict[str, str], seen: Seen) -> Iterator[str]:
    """I6: what was copied into Salesforce counts no oftener than it happened, for each person.

    Two calls of one day without a name cannot be told apart: which of them is whose copy does not matter.
    """
    of_row: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in seen.activities:
        if row["person_id"] != NOBODY:
            of_row[row["system"], row["source_id"]].append(row)
    happened: Counter[int] = Counter()
    heads: dict[int, set[int]] = defaultdict(set)
    for source, task in copies.items():
        told = of_row["hubspot", source.partition("/")[2]] + of_row["salesforce", task]
        happened.update({row["person_id"] for row in told})
        for row in told:
            heads[row["person_id"]].add(row["duplicate_of"] or row["id"])
    for person, counting in heads.items():
        if len(counting) > happened[person]:
            yield f"I6: {happened[person]} things that were copied count {len(counting)} times for person {person}"


def _webinars(world: World, seen: Seen) -> Iterator[str]:
    """I6: a webinar that was told to both CRMs counts once for each person who attended."""
    kind = ACTIVITY_KINDS["webinar_attend"]
    counted = Counter(
        (row["person_id"], row["asset"])
        for row in seen.activities
        if row["kind"] == kind and row["duplicate_of"] is None
    )
    expected = {
        (seen.mirrored[record]["person_id"], name) for record, name in world.tally.webinars if record in seen.mirrored
    }
    for person, name in sorted(expected):
        if counted[person, name] != 1:
            yield f"I6: person {person} attended {name} once, it counts {counted[person, name]} times"


def _deals(seen: Seen) -> Iterator[str]:
    """I6: of two linked deals one counts."""
    deals = {f"{row['system']}/{row['id']}": row for row in seen.state(t.deal) if row["deleted_at"] is None}
    for row in seen.portal("deals"):
        linked = row["properties"].get("hs_salesforceopportunityid")
        pair = [deals.get(f"hubspot/{row['id']}"), deals.get(f"salesforce/{linked}")]
        counting = [one for one in pair if one is not None and one["duplicate_of"] is None]
        if linked and row["archived_ms"] is None and None not in pair and len(counting) != 1:
            yield f"I6: hubspot/{row['id']} and salesforce/{linked} are one deal and count {len(counting)} times"
