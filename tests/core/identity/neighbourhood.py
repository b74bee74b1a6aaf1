"""Small worlds of records, and the closed neighbourhood that the sync layer gathers."""

from collections.abc import Callable, Iterable, Mapping

from hypothesis import strategies as st

from core.identity import IdentityInput
from core.records import RecordRef

LEADS = [RecordRef("sf", "lead", f"q{i}") for i in range(4)]
CONTACTS = [RecordRef("sf", "contact", f"c{i}") for i in range(4)]
HUBSPOT = [RecordRef("hs", "contact", f"{i}") for i in range(5)]
REFS = [*LEADS, *CONTACTS, *HUBSPOT]
NAMES = [None, "佐藤", "Sato", "鈴木", "Suzuki", "田中", "サトウ"]
EMAILS = ["a@acme.example", "b@acme.example", "c@acme.example", "d@other.example", "info@acme.example"]


@st.composite
def record(draw: st.DrawFn, ref: RecordRef | None = None) -> IdentityInput:
    """One record with a few ties."""
    ref = ref or draw(st.sampled_from(REFS))
    links: list[RecordRef] = []
    if ref in HUBSPOT and draw(st.integers(0, 3)) == 0:
        links = [draw(st.sampled_from([*LEADS, *CONTACTS]))]
    successor = None
    if ref in LEADS and draw(st.integers(0, 4)) == 0:
        successor = draw(st.sampled_from(CONTACTS))
    absorbed: list[RecordRef] = []
    if ref not in LEADS and draw(st.integers(0, 5)) == 0:
        absorbed = [draw(st.sampled_from(HUBSPOT if ref in HUBSPOT else CONTACTS).filter(lambda other: other != ref))]
    return IdentityInput(
        ref=ref,
        last_name=draw(st.sampled_from(NAMES)),
        first_name=draw(st.sampled_from([None, "太郎", "花子"])),
        company=draw(st.sampled_from([None, "株式会社アクメ", "㈱アクメ"])),
        emails=tuple(draw(st.lists(st.sampled_from(EMAILS), max_size=2, unique=True))),
        links=tuple(links),
        successor=successor,
        absorbed=tuple(absorbed),
        created_at=draw(st.integers(0, 5)),
    )


def worlds(size: int = 13) -> st.SearchStrategy[dict[RecordRef, IdentityInput]]:
    """Records with different references."""
    chosen = st.lists(st.sampled_from(REFS), max_size=size, unique=True)
    return chosen.flatmap(lambda refs: st.tuples(*(record(ref) for ref in refs))).map(
        lambda records: {one.ref: one for one in records}
    )


def ties(one: IdentityInput) -> set[object]:
    """What ties a record to others: itself, its addresses, links, successor and absorbed records."""
    return {one.ref, *one.emails, *one.links, *one.absorbed, *([one.successor] if one.successor else [])}


def closed(
    start: Iterable[object],
    records: Mapping[RecordRef, IdentityInput],
    ties: Callable[[IdentityInput], set[object]] = ties,
) -> dict[RecordRef, IdentityInput]:
    """All records that can be reached from some ties."""
    reached, found = set(start), dict[RecordRef, IdentityInput]()
    while more := [one for ref, one in records.items() if ref not in found and ties(one) & reached]:
        for one in more:
            found[one.ref] = one
            reached |= ties(one)
    return found
