"""Which records are one person. A function of the set of records alone: no order, no history, no clock.

Precedence (issue 1/6, SETTLED 15), strongest first:

1. **Links** of the native sync and **succession** (merge, conversion) always join: the CRM says so. A record that others
   link to or followed need not be among the given ones; it still ties them together.
2. **An equal e-mail address** (any of a record's) joins what step 1 left, unless
   - it is a role mailbox, or used by three different family names, or by more than `MAX_HOLDERS`;
   - family names differ (`core.identity.names`: only what is known to differ counts);
   - links contradict: both sides are linked between the same two systems, and step 1 did not make them one.
3. A record that fits two others which must stay apart is not given to either (`between`).
4. Equal name and company only *suggests*. A phone number alone says nothing.

Everything that was not joined for such a reason is an `Ambiguity`.

`resolve` works on a **closed neighbourhood**: with a record, all records that share an address with it, that it links to,
follows or absorbed, and that do so with it, and theirs in turn. Then resolving neighbourhoods one by one gives the same
groups as resolving everything at once. Role mailboxes need not be followed: they join nobody, and only the list of who
shares one is then as long as what was gathered. Suggestions are found among the given records only; whoever wants all of them
gathers records with an equal `suggestion_key` too, which changes no group.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from core.companies import core_name
from core.identity.mailboxes import is_role_mailbox, same_mailbox
from core.identity.model import Ambiguity, AmbiguityReason, Group, IdentityInput, Resolution
from core.identity.names import FamilyName, differ, distinct, family_name, merged
from core.joining import Forest, join
from core.records import RecordRef
from core.spelling import letters

SHARED_FROM = 3
"""An address with this many different family names is shared by several people, whatever it is called."""

MAX_HOLDERS = 50
"""An address on more records than this (after links and succession) is nobody's: typing rules and imports make such ones."""


@dataclass(frozen=True, slots=True)
class _Bundle:
    """Records that links and succession make one."""

    refs: tuple[RecordRef, ...]  # all members, known only by reference or given
    inputs: tuple[IdentityInput, ...]
    name: FamilyName
    linked: frozenset[frozenset[str]]  # pairs of systems between which it is linked


def resolve(records: Iterable[IdentityInput]) -> Resolution:
    """Groups and ambiguities of a closed neighbourhood. Each given record is in exactly one group.

    Pass each reference once; of two with the same one counts, whatever their order.
    """
    by_ref: dict[RecordRef, IdentityInput] = {}
    for record in records:
        given = by_ref.setdefault(record.ref, record)
        if given is not record:
            by_ref[record.ref] = max(given, record, key=repr)
    bundles = _bundle(by_ref)
    holders = _holders(bundles)
    found: list[Ambiguity] = []
    edges: dict[tuple[int, int], set[str]] = {}
    for email, holding in holders.items():
        closed = _closed_mailbox(email, [bundles[place] for place in holding])
        if closed:
            found.append(_ambiguity(closed, email, [bundles[place] for place in holding]))
            continue
        for one, other in combinations(holding, 2):
            reason = _apart(bundles[one], bundles[other])
            if reason:
                found.append(_ambiguity(reason, email, (bundles[one], bundles[other])))
            else:
                edges.setdefault((one, other), set()).add(email)
    groups, refused = join(len(bundles), edges, lambda a, b: _apart(bundles[a], bundles[b]) is not None)
    for one, other in refused:
        found += [_ambiguity("between", email, (bundles[one], bundles[other])) for email in edges[one, other]]
    people = sorted((_group(bundles[place] for place in group) for group in groups), key=_age)
    suggestions = _suggestions(by_ref, people)
    return Resolution(tuple(people), tuple(sorted({*found, *suggestions})))


def suggestion_key(record: IdentityInput) -> str | None:
    """Normalised name and company; records of different people with an equal key are suggested as one. None: unknown."""
    name = letters(record.last_name or "") + " " + letters(record.first_name or "")
    company = core_name(record.company)
    if not family_name(record.last_name) or not record.first_name or not company:
        return None
    return f"{name} / {company}"


# --- 1: links and succession -----------------------------------------------------------------------------------------


def _bundle(by_ref: Mapping[RecordRef, IdentityInput]) -> list[_Bundle]:
    ties = [(record.ref, other) for record in by_ref.values() for other in (*record.links, *_succession(record))]
    refs = sorted({*by_ref, *(ref for tie in ties for ref in tie)})
    place = {ref: i for i, ref in enumerate(refs)}
    forest = Forest(len(refs))
    for one, other in ties:
        forest.union(place[one], place[other])
    return [_describe([refs[i] for i in tree], by_ref) for tree in forest.trees()]


def _succession(record: IdentityInput) -> tuple[RecordRef, ...]:
    return (*((record.successor,) if record.successor else ()), *record.absorbed)


def _describe(refs: Sequence[RecordRef], by_ref: Mapping[RecordRef, IdentityInput]) -> _Bundle:
    inputs = tuple(by_ref[ref] for ref in refs if ref in by_ref)
    linked = {
        frozenset((record.ref.system, link.system))
        for record in inputs
        for link in record.links
        if link.system != record.ref.system
    }
    names = merged(family_name(record.last_name, record.first_name) for record in inputs)
    return _Bundle(tuple(refs), inputs, names, frozenset(linked))


# --- 2: addresses ----------------------------------------------------------------------------------------------------


def _holders(bundles: Sequence[_Bundle]) -> dict[str, list[int]]:
    """Addresses that at least two bundles hold, with their places."""
    holders: dict[str, list[int]] = {}
    for place, bundle in enumerate(bundles):
        for email in {same_mailbox(email) for record in bundle.inputs for email in record.emails}:
            if "@" in email:
                holders.setdefault(email, []).append(place)
    return {email: holders[email] for email in sorted(holders) if len(holders[email]) > 1}


def _closed_mailbox(email: str, holding: Sequence[_Bundle]) -> AmbiguityReason | None:
    """Why an address joins nobody."""
    if is_role_mailbox(email):
        return "role_mailbox"
    if len(holding) > MAX_HOLDERS or distinct(bundle.name for bundle in holding) >= SHARED_FROM:
        return "shared_mailbox"
    return None


def _apart(one: _Bundle, other: _Bundle) -> AmbiguityReason | None:
    """Why two bundles must not be one person in spite of an equal address."""
    if one.linked & other.linked:
        return "links_contradict"
    if differ(one.name, other.name):
        return "family_name"
    return None


# --- what comes out --------------------------------------------------------------------------------------------------


def _group(bundles: Iterable[_Bundle]) -> Group:
    inputs: list[IdentityInput] = []
    refs: set[RecordRef] = set()
    for bundle in bundles:
        inputs += bundle.inputs
        refs.update(bundle.refs)
    inputs.sort(key=lambda record: (record.created_at, record.ref))
    given = tuple(record.ref for record in inputs)
    return Group(given, tuple(record.created_at for record in inputs), tuple(sorted(refs.difference(given))))


def _age(group: Group) -> tuple[int, RecordRef]:
    return (group.created[0], group.records[0])


def _ambiguity(reason: AmbiguityReason, email: str, bundles: Sequence[_Bundle]) -> Ambiguity:
    holding = {
        record.ref: record
        for bundle in bundles
        for record in bundle.inputs
        if any(same_mailbox(one) == email for one in record.emails)
    }
    names = sorted({record.last_name.strip() for record in holding.values() if record.last_name})
    return Ambiguity(reason, tuple(sorted(holding)), email, tuple(names))


def _suggestions(by_ref: Mapping[RecordRef, IdentityInput], people: Sequence[Group]) -> list[Ambiguity]:
    person = {ref: place for place, group in enumerate(people) for ref in group.records}
    alike: dict[str, list[RecordRef]] = {}
    for record in by_ref.values():
        key = suggestion_key(record)
        if key and record.successor is None:
            alike.setdefault(key, []).append(record.ref)
    return [
        Ambiguity("suggestion", tuple(sorted(refs)), key)
        for key, refs in alike.items()
        if len({person[ref] for ref in refs}) > 1
    ]
