"""What must hold always: I1, I3, I5, I7 and I10, held against what the CRMs and the state really contain.

`Watch.after_each` is asked after every step in which Mikomi did something; what must hold at rest is in `rest`. Each answers with
the violations it sees, as "I1: …"; an empty list is what we promise.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sandbox.hubspot.object_types import TASKS
from sync.pair import silent_system
from sync.state import schema as t
from tests.simulation.seen import PERSON_KINDS, Seen
from tests.simulation.world import World

LOOKBACK_MS = 600_000
"""How much later than its stamp a Salesforce row may become visible."""

SHARE_WINDOW_MS = 22 * 3_600_000
"""A share is counted by the hour of our clock, which may be wrong by ten minutes: of 24 hours these are counted for certain."""

ROLLED_UP = ("num_notes", "notes_last_updated", "notes_next_activity_date", "num_associated_contacts")
"""What HubSpot itself counts on a record when a task is put on it, under the name of whoever made the task."""


@dataclass(slots=True)
class Watch:
    """What was seen so far, so that what must never go back can be told."""

    versions: dict[str, int] = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)

    def after_each(self, world: World, seen: Seen | None = None) -> list[str]:
        seen = seen or Seen(world)
        self.keys |= seen.tasks.keys()
        found = [*_single_tasks(seen), *_one_system(world, seen), *self._invented_tasks(world, seen)]
        found += [*self._versions(world, seen), *_ours_only(world)]
        return [*found, *_salesforce_cursors(seen), *_hubspot_cursors(seen), *_quota(world)]

    def _invented_tasks(self, world: World, seen: Seen) -> list[str]:
        """I3: no key in a CRM that the state did not commit before, but those that a restored backup had forgotten."""
        unknown = self.keys - seen.owed_tasks.keys() - world.tally.forgotten_keys
        return [f"I3: task {key} exists, and the state knows nothing of it" for key in sorted(unknown)]

    def _versions(self, world: World, seen: Seen) -> list[str]:
        """I5: the score version that a record shows never goes back, unless the native sync is told to carry it about."""
        if any(row["hubspot"] == "mikomi_score_version" for row in (world.native or {}).get("map", ())):
            return []
        wrong = []
        for ref, values in seen.shown.items():
            version, before = values["score_version"], self.versions.get(ref, 0)
            if version is not None and version < before:
                wrong.append(f"I5: {ref} went back from version {before} to {version}")
            self.versions[ref] = max(version or 0, before)
        return wrong


def _single_tasks(seen: Seen) -> list[str]:
    """I1: at most one task a key, at all times, deleted ones included."""
    return [f"I1: {len(places)} tasks under {key}: {places}" for key, places in seen.tasks.items() if len(places) > 1]


def _one_system(world: World, seen: Seen) -> list[str]:
    """I1: in a pair, tasks of ours stand in one system."""
    silent = silent_system(world.settings) if world.native is not None else None
    found = [place for places in seen.tasks.values() for place in places if place.split("/")[0] == silent]
    return [f"I1: task {place} stands in the system of the pair that gets none" for place in found]


def _ours_only(world: World) -> list[str]:
    """I5: no field is written that is not ours. Salesforce is compared around each pass, HubSpot says who wrote what."""
    sql = (
        "SELECT type, id, name, value FROM history WHERE source_type = 'INTEGRATION' "
        f"AND name NOT LIKE 'mikomi!_%' ESCAPE '!' AND type <> {TASKS.number}"
    )
    written = [row for row in world.portal_rows(sql) if row[2] not in ROLLED_UP]
    found = [*world.tally.trespasses, *(f"{name} of HubSpot's {kind}/{row_id}" for kind, row_id, name, _ in written)]
    return [f"I5: we wrote {place}" for place in found]


# --- I7: whatever a cursor has passed is in the mirror ------------------------------------------------------------------


def _salesforce_cursors(seen: Seen) -> Iterator[str]:
    mirrored = {(r["kind"], r["id"]): r["modified_at"] for r in seen.state(t.record) if r["system"] == "salesforce"}
    places = {r["stream"].lower(): json.loads(r["value"]) for r in seen.state(t.cursor) if r["system"] == "salesforce"}
    for sobject, kind in PERSON_KINDS.items():
        place = places.get(kind) or places.get(f"{kind}s")
        if place is None:
            continue
        for row in seen.org(sobject):
            stamp = row["SystemModstamp"]
            known = mirrored.get((kind, row["Id"]), -1)
            if _passed(place, stamp, row["Id"]) and not row["IsDeleted"] and known < stamp:
                yield f"I7: the cursor of {sobject} ({place}) has passed {row['Id']} ({stamp}), the mirror has {known}"


def _passed(place: dict[str, Any], stamp: int, row_id: str) -> bool:
    """Whether a row of that stamp lies behind a Salesforce cursor: in the window up to its place, or before a finished one."""
    if "stamp" not in place:
        return bool(stamp < place["hi"] - LOOKBACK_MS)
    if place["stamp"] is None or (place.get("lo") is not None and stamp < place["lo"]):
        return False
    return (stamp, row_id) <= (place["stamp"], place["id"])


def _hubspot_cursors(seen: Seen) -> Iterator[str]:
    """HubSpot shows a row at the latest when we look: behind a finished window nothing appears any more."""
    mirrored = {r["id"]: r["modified_at"] for r in seen.state(t.record) if r["system"] == "hubspot"}
    rows = (r["value"] for r in seen.state(t.cursor) if (r["system"], r["stream"]) == ("hubspot", "contacts"))
    for place in map(json.loads, rows):
        for row in seen.contacts:
            stamp, row_id = row["updated_ms"], row["id"]
            inside = place.get("lo", 0) <= stamp <= place["hi"] and row_id <= int(place.get("last", row_id))
            if inside and "after" not in place and mirrored.get(str(row_id), -1) < stamp:
                yield f"I7: the cursor of HubSpot's contacts has passed {row_id} ({stamp}), the mirror has not"


def _quota(world: World) -> list[str]:
    """I10: never more calls than the share that was granted."""
    if world.share is None:
        return []
    now = world.box.clock.now_ms()
    before = next((count for at, count in world.calls_made if at > now - SHARE_WINDOW_MS), None)
    made = 0 if before is None else world.hubspot_calls() - before
    return [f"I10: {made} calls with a share of {world.share}"] if made > world.share else []
