"""Reading by id: records as they are now, and the sweep for rows that vanished without leaving a trace."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connectors.protocol import Cursor, Page
from connectors.salesforce.read import flatten
from connectors.salesforce.resources import QUERIES_PER_COMPOSITE, SalesforceApi
from connectors.salesforce.schema import KIND_OBJECTS, PERSON_OBJECTS, Layout
from connectors.salesforce.soql import is_id, quote_all, select, stamp
from connectors.salesforce.streams import Stream
from connectors.soundness import UNREADABLE, check
from core.errors import Rejected, Unexpected
from core.records import Fact, Millis, Record, RecordRef, Tombstone

IDS_PER_QUERY = 2000
"""One page; 42,000 characters of the 100,000 that a statement may have (it travels in a body, not in a URL)."""

FETCH_PER_QUERY = 400

_NO_CURSOR = Cursor("")
_ABOUT: Mapping[str, Mapping[str, str]] = {
    "Task": {"Lead": "WhoId", "Contact": "WhoId"},
    "Event": {"Lead": "WhoId", "Contact": "WhoId"},
    "CampaignMember": {"Lead": "LeadId", "Contact": "ContactId"},
    "OpportunityContactRole": {"Contact": "ContactId"},
    "LeadHistory": {"Lead": "LeadId"},
}
"""The column by which what hangs on a person names them."""

_TRACE = ("Id", "IsDeleted", "MasterRecordId", "ConvertedContactId")


def fetch(
    api: SalesforceApi, streams: Mapping[str, Stream], system: str, refs: Sequence[RecordRef]
) -> list[Record | Tombstone]:
    """See `Connector.fetch`. Raises Rejected for a kind that is no person here."""
    for ref in refs:
        if ref.system != system or ref.kind not in PERSON_OBJECTS:
            raise Rejected(f"{ref.kind} of {ref.system} is no person record here", system=system, code="KIND")
    found: dict[str, Record | Tombstone] = {}
    queries = []
    for sobject, ids in _by_object(refs):
        stream = streams.get(sobject)
        if stream is None:
            continue
        for start in range(0, len(ids), FETCH_PER_QUERY):
            part = ids[start : start + FETCH_PER_QUERY]
            queries.append((stream, select(stream.columns, sobject, f"Id IN {quote_all(part)}")))
    for start in range(0, len(queries), QUERIES_PER_COMPOSITE):
        group = queries[start : start + QUERIES_PER_COMPOSITE]
        for (stream, _), rows in zip(group, _ask(api, [text for _, text in group], "fetch"), strict=True):
            for row in rows:
                fact = _read(stream, row, system)
                if isinstance(fact, (Record, Tombstone)):
                    found[fact.ref.id] = fact
    now = api.now()
    return [found.get(ref.id) or Tombstone(ref, now) for ref in refs]


def _read(stream: Stream, row: dict[str, Any], system: str) -> Fact | None:
    """The fact of a record that was asked for by name: one that cannot be read is no record that is gone."""
    try:
        if not is_id(row["Id"]):
            raise ValueError("a row without an id")
        fact = stream.mapper(row)
        return None if fact is None else check(fact, lambda _: None)
    except UNREADABLE as error:
        raise Unexpected(f"a row of {stream.name} cannot be read", system=system) from error


def _readable(stream: Stream, rows: Iterable[dict[str, Any]]) -> Iterator[Fact]:
    for row in rows:
        try:
            fact = stream.mapper(flatten(row, stream.columns))
            if fact is not None:
                yield check(fact, lambda _: None)
        except UNREADABLE:
            continue  # counted where the stream itself is read


def reread_campaigns(api: SalesforceApi, stream: Stream, since: Millis) -> Iterator[Page]:
    """Members of campaigns that were edited since: a campaign's new type changes what its members mean, not their stamps."""
    return _pages(api, stream, f"Campaign.LastModifiedDate >= {stamp(since)}", "sweep")


def _pages(api: SalesforceApi, stream: Stream, where: str, endpoint: str) -> Iterator[Page]:
    """All rows of a stream that a condition names, as they are now; its cursor is not moved."""
    [answer] = api.query([select(stream.columns, stream.name, where)], endpoint=endpoint)
    if answer.error is not None:
        raise answer.error
    while True:
        yield Page(stream.name, tuple(_readable(stream, answer.rows)), _NO_CURSOR, total=answer.total)
        if answer.next_url is None:
            return
        answer = api.more(answer.next_url, endpoint=f"{endpoint} (locator)", kind="other")


def read_about(api: SalesforceApi, streams: Iterable[Stream], refs: Sequence[RecordRef]) -> Iterator[Page]:
    """See `Connector.read_about`."""
    for sobject, ids in _by_object(refs):
        for stream in streams:
            column = _ABOUT.get(stream.name, {}).get(sobject)
            for start in range(0, len(ids), FETCH_PER_QUERY) if column in stream.columns else ():
                within = quote_all(ids[start : start + FETCH_PER_QUERY])
                yield from _pages(api, stream, f"{column} IN {within}", "about")


def sweep(api: SalesforceApi, layout: Layout, system: str, known: Iterable[RecordRef]) -> Iterator[Page]:
    """Tombstones for the known rows that are deleted, or not there at all. Memory does not grow with `known`.

    10,000 ids a call. What the integration user may no longer see looks deleted, too: callers guard against mass loss.
    """
    batch: list[RecordRef] = []
    for ref in known:
        if ref.system == system and _object_of(ref.kind) in layout.shapes:
            batch.append(ref)
        if len(batch) == IDS_PER_QUERY * QUERIES_PER_COMPOSITE:
            yield from _sweep_batch(api, layout, system, batch)
            batch = []
    if batch:
        yield from _sweep_batch(api, layout, system, batch)


def _sweep_batch(api: SalesforceApi, layout: Layout, system: str, refs: Sequence[RecordRef]) -> Iterator[Page]:
    parts: list[tuple[str, list[str]]] = []
    for sobject, ids in _by_object(refs):
        parts += [(sobject, ids[start : start + IDS_PER_QUERY]) for start in range(0, len(ids), IDS_PER_QUERY)]
    for start in range(0, len(parts), QUERIES_PER_COMPOSITE):
        group = parts[start : start + QUERIES_PER_COMPOSITE]
        texts = []
        for sobject, ids in group:
            columns = [name for name in _TRACE if layout.shapes[sobject].has(name)]
            texts.append(select(columns, sobject, f"Id IN {quote_all(ids)}"))
        for (sobject, ids), rows in zip(group, _ask(api, texts, "sweep"), strict=True):
            gone = tuple(_tombstones(system, sobject, ids, rows, api.now()))
            yield Page(sobject, gone, _NO_CURSOR)


def _tombstones(
    system: str, sobject: str, ids: Sequence[str], rows: Iterable[Mapping[str, Any]], now: int
) -> Iterator[Fact]:
    kind = kind_of(sobject)
    answered = list(rows)
    there = {row["Id"]: row for row in answered if isinstance(row, dict) and is_id(str(row.get("Id")))}
    for row_id in ids:
        row = there.get(row_id)
        if row is None and len(there) < len(answered):
            continue  # it may be the one whose row cannot be read
        if row is None:
            yield Tombstone(RecordRef(system, kind, row_id), now, permanent=True)
        elif row.get("IsDeleted"):
            yield Tombstone(RecordRef(system, kind, row_id), now, successor_of(system, kind, row))


def successor_of(system: str, kind: str, row: Mapping[str, Any]) -> RecordRef | None:
    """Where a merged or converted record lives on."""
    if row.get("MasterRecordId"):
        return RecordRef(system, kind, row["MasterRecordId"])
    if row.get("ConvertedContactId"):
        return RecordRef(system, "contact", row["ConvertedContactId"])
    return None


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where a record is: alive, or gone, perhaps into a successor."""

    alive: bool
    successor: RecordRef | None = None


def trace(api: SalesforceApi, layout: Layout, system: str, refs: Iterable[RecordRef]) -> dict[RecordRef, Whereabouts]:
    """Records that refused a write: where each is now. What is not found is gone."""
    wanted = [ref for ref in dict.fromkeys(refs) if _object_of(ref.kind) in layout.shapes]
    found = dict.fromkeys(wanted, Whereabouts(alive=False))
    groups = [(sobject, ids[:IDS_PER_QUERY]) for sobject, ids in _by_object(wanted)]
    texts = []
    for sobject, ids in groups:
        columns = [name for name in _TRACE if layout.shapes[sobject].has(name)]
        texts.append(select(columns, sobject, f"Id IN {quote_all(ids)}"))
    if not texts:
        return found
    for (sobject, _), rows in zip(groups, _ask(api, texts, "successors"), strict=True):
        kind = kind_of(sobject)
        for row in rows:
            successor = successor_of(system, kind, row)
            found[RecordRef(system, kind, row["Id"])] = Whereabouts(
                alive=not row.get("IsDeleted") and successor is None, successor=successor
            )
    return found


def kind_of(sobject: str) -> str:
    return next((kind for kind, name in KIND_OBJECTS.items() if name == sobject), sobject)


def _object_of(kind: str) -> str:
    return KIND_OBJECTS.get(kind, kind)


def _by_object(refs: Iterable[RecordRef]) -> list[tuple[str, list[str]]]:
    """Ids by object, each once; what is no id cannot exist and is not asked for."""
    groups: dict[str, dict[str, None]] = {}
    for ref in refs:
        group = groups.setdefault(_object_of(ref.kind), {})
        if is_id(ref.id):
            group[ref.id] = None
    return [(sobject, list(ids)) for sobject, ids in groups.items() if ids]


def _ask(api: SalesforceApi, queries: Sequence[str], endpoint: str) -> Iterator[list[dict[str, Any]]]:
    """All rows of each query."""
    for answer in api.query(queries, endpoint=endpoint):
        if answer.error is not None:
            raise answer.error
        rows, next_url = answer.rows, answer.next_url
        while next_url is not None:
            page = api.more(next_url, endpoint=f"{endpoint} (locator)", kind="other")
            rows = rows + page.rows
            next_url = page.next_url
        yield rows
