"""Twins: one happening that two CRMs both hold, counted once.

Source: SETTLED 13, DESIGN §5 ("A pair"). The copy in the system that is not the source of its kind is a duplicate of
the other. Both are kept; the duplicate earns nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from unicodedata import normalize

from core.records import Day, Millis

FAMILIES: Mapping[str, str] = {
    "call": "call",
    "call_attempt": "call",
    "meeting": "meeting",
    "email_out": "email",
    "email_reply": "email",
}
"""Kinds that a native sync copies, by what a copy may have become: it loses the outcome of a call, or who wrote a mail."""

LISTED = frozenset({"webinar_register", "webinar_attend", "event_attend"})
"""Kinds whose list of people reaches the second CRM of a pair by an import, often days after the event."""

LATE_DAYS = 30
"""How long such an import may take: a list that is a month old is nobody's follow-up any more, and the next instalment of a
monthly series, under the same name, is about to be held."""

SALES_KINDS = frozenset({"call", "call_attempt", "meeting", "email_out", "email_reply"})
"""Kinds that reps log: their source is Salesforce unless settings say otherwise; that of all others is HubSpot."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """One activity of a person as one CRM shows it. `system`: connection; `vendor`: `salesforce`, `hubspot`, …"""

    id: int
    kind: str
    system: str
    vendor: str
    day: Day
    occurred_at: Millis
    asset: str | None = None
    campaign: str | None = None


def find_twins(
    sightings: Iterable[Sighting], sources: Mapping[str, str] | None = None, copied: Mapping[str, str] | None = None
) -> Mapping[int, int]:
    """Of one person: the id of each duplicate to the id of the activity it repeats.

    Twins have the same kind, different systems, days at most 1 apart and an equal name (`asset`, or where there is none
    `campaign`; normalised for width, case, spaces and punctuation; a missing name equals nothing). Matching is one to
    one: as many pairs as possible, among these the smallest distance in days, then the earliest. With a third system each
    later one is matched against what the earlier ones left as originals.

    In a pair, who took part in an event is often known to the one CRM at once and imported into the other later: there the
    day of `LISTED` kinds may trail by up to `LATE_DAYS`. Instalments of a series that both CRMs show stay as many as they are.

    A native sync copies what reps log, under a name of its own (`Call: …`) and without all that it was. What is left of
    calls, meetings and mails in a pair is therefore matched once more, by `FAMILIES`: one name contains the other, or one
    is missing. Of different kinds the copy is the duplicate.

    Args:
        sightings: all activities of one person; order does not matter.
        sources: kind to the connection that is its source (`signals` of the settings).
        copied: connection into which a native sync copies activities, to the connection they come from.
    """
    known = list(sightings)
    twins = _same_name_twins(known, sources or {}, copied or {})
    for into, origin in sorted((copied or {}).items()):
        twins |= _copies(known, into, origin, twins, sources or {})
    return twins


def _same_name_twins(
    sightings: Iterable[Sighting], sources: Mapping[str, str], copied: Mapping[str, str]
) -> dict[int, int]:
    shelves: dict[tuple[str, str], dict[tuple[bool, str], list[Sighting]]] = {}
    for sighting in sightings:
        name = normalised_name(sighting.asset or sighting.campaign)
        if name:
            rank = (not _is_source(sighting, sources), sighting.system)
            shelves.setdefault((sighting.kind, name), {}).setdefault(rank, []).append(sighting)
    twins: dict[int, int] = {}
    for by_system in shelves.values():
        originals: list[Sighting] = []
        for rank in sorted(by_system):
            arrivals = by_system[rank]
            pairs = _match(originals, arrivals, copied)
            twins.update({copy.id: original.id for original, copy in pairs})
            originals += [one for one in arrivals if one.id not in twins]
    return twins


def _copies(
    sightings: Sequence[Sighting], into: str, origin: str, twins: Mapping[int, int], sources: Mapping[str, str]
) -> dict[int, int]:
    """Of what has no twin yet: the copies and what they are copies of, the likeliest pairs first."""
    taken = {*twins, *twins.values()}
    free = [one for one in sightings if one.kind in FAMILIES and one.id not in taken]
    copies = sorted((one for one in free if one.system == into), key=_place)
    originals = sorted((one for one in free if one.system == origin), key=_place)
    likely: list[tuple[tuple[int, int, int, int, int], Sighting, Sighting]] = []
    first = 0
    for i, copy in enumerate(copies):
        while first < len(originals) and originals[first].day < copy.day - 1:
            first += 1
        for j in range(first, len(originals)):
            original = originals[j]
            if original.day > copy.day + 1:
                break
            doubt = _doubt(copy, original)
            if doubt is not None:
                other_kind = int(copy.kind != original.kind)
                likely.append(((doubt, abs(copy.day - original.day), other_kind, i, j), copy, original))
    found: dict[int, int] = {}
    for _, copy, original in sorted(likely, key=lambda pair: pair[0]):
        if copy.id in taken or original.id in taken:
            continue
        taken |= {copy.id, original.id}
        stands, repeats = (original, copy)
        if copy.kind == original.kind and _is_source(copy, sources) and not _is_source(original, sources):
            stands, repeats = copy, original
        found[repeats.id] = stands.id
    return found


def _doubt(copy: Sighting, original: Sighting) -> int | None:
    """0: one name contains the other. 1: one of them has none. None: two different happenings."""
    if FAMILIES[copy.kind] != FAMILIES[original.kind]:
        return None
    one, other = (normalised_name(sighting.asset or sighting.campaign) for sighting in (copy, original))
    if not one or not other:
        return 1
    return 0 if other in one or one in other else None


def normalised_name(name: str | None) -> str:
    """A name as far as it matters for being the same: NFKC, case-folded, letters and digits of any script only."""
    return "".join(c for c in normalize("NFKC", name or "").casefold() if c.isalnum())


def _is_source(sighting: Sighting, sources: Mapping[str, str]) -> bool:
    if sighting.kind in sources:
        return sighting.system == sources[sighting.kind]
    return sighting.vendor == ("salesforce" if sighting.kind in SALES_KINDS else "hubspot")


def _match(
    originals: Sequence[Sighting], arrivals: Sequence[Sighting], copied: Mapping[str, str]
) -> list[tuple[Sighting, Sighting]]:
    """Pairs of what may be one happening, in runs of neighbouring days, so that each table stays small."""
    order = sorted([*originals, *arrivals], key=_place)
    mine = {one.id for one in originals}
    apart = LATE_DAYS if copied and order and order[0].kind in LISTED else 1
    pairs: list[tuple[Sighting, Sighting]] = []
    run: list[Sighting] = []
    for one in order:
        if run and one.day - run[-1].day > apart:
            pairs += _match_run(run, mine, copied)
            run = []
        run.append(one)
    return pairs + _match_run(run, mine, copied)


def _may_be_one(one: Sighting, other: Sighting, copied: Mapping[str, str]) -> bool:
    """Whether two of the same kind and name are near enough in days."""
    if abs(one.day - other.day) <= 1:
        return True
    if one.kind not in LISTED:
        return False
    first, second = (one, other) if one.day < other.day else (other, one)
    return copied.get(second.system) == first.system and second.day - first.day <= LATE_DAYS


def _place(sighting: Sighting) -> tuple[Day, Millis, str, int]:
    return (sighting.day, sighting.occurred_at, sighting.system, sighting.id)


def _match_run(run: Sequence[Sighting], mine: set[int], copied: Mapping[str, str]) -> list[tuple[Sighting, Sighting]]:
    """Most pairs, then least days apart. Crossing pairs never do better, so a table over two sorted lines is exact."""
    left = [one for one in run if one.id in mine]
    right = [one for one in run if one.id not in mine]
    best = [[(0, 0)] * (len(right) + 1) for _ in range(len(left) + 1)]  # (pairs, -days apart) of the rests from (i, j)
    for i in range(len(left) - 1, -1, -1):
        for j in range(len(right) - 1, -1, -1):
            best[i][j] = max(best[i + 1][j], best[i][j + 1], _paired(left[i], right[j], best[i + 1][j + 1], copied))
    pairs: list[tuple[Sighting, Sighting]] = []
    i = j = 0
    while i < len(left) and j < len(right):
        if best[i][j] == _paired(left[i], right[j], best[i + 1][j + 1], copied):
            pairs.append((left[i], right[j]))
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            i += 1
        else:
            j += 1
    return pairs


def _paired(one: Sighting, other: Sighting, rest: tuple[int, int], copied: Mapping[str, str]) -> tuple[int, int]:
    return (rest[0] + 1, rest[1] - abs(one.day - other.day)) if _may_be_one(one, other, copied) else (-1, 0)
