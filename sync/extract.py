"""Pull: pages and their cursors go into the mirror together, one short transaction a page; empty pages share one."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from sqlalchemy import Connection, select

from connectors import Connector, Cursor
from connectors.protocol import Page
from core.errors import ConnectorError
from core.records import Millis, Record, RecordRef
from sync.progress import Progress
from sync.report import SystemReport
from sync.state import State
from sync.state import schema as t
from sync.state.kept import get_kept, get_kept_in, keep, keep_in
from sync.state.mirror import store
from sync.state.mirror.erase import buried_refs
from sync.state.mirror.forgotten import check_key
from sync.state.rows import select_at, upsert

SWEEP_EVERY_MS = 24 * 3_600_000

ABOUT = 100
"""So many people's belongings are asked for at a time, at most."""

EMPTY_PAGES = 50
"""After so many pages without a fact their cursors are stored; else they wait for the next page that has some."""

Guard = Callable[[str, Iterator[Page]], Iterator[Page]]
"""From a connection's name and its pages to those that may be stored."""


def extract(
    state: State,
    connector: Connector,
    report: SystemReport,
    progress: Progress,
    *,
    sweep: bool,
    sweep_every: Millis | None = SWEEP_EVERY_MS,
    guard: Guard | None = None,
    watch: Guard | None = None,
) -> None:
    """Read everything that changed since the cursors; sweep for what incremental reading cannot see when it is due.

    Args:
        sweep: now, whenever the last one was.
        sweep_every: how often; None: not by itself.
        guard: looks at a sweep's pages before they are stored, and may stop it; `watch` at those of ordinary reading.

    Raises:
        ConnectorError: the system failed; everything read so far is stored with its cursor.
        InvalidSettings, StateError: people were forgotten, and the key that tells who is not here.

    """
    with state.read() as connection:
        check_key(connection)  # also where nothing is read that could be somebody whom we must not know
        column = t.cursor.c
        rows = connection.execute(
            select(column.stream, column.value, column.updated_at).where(column.system == connector.name)
        ).all()
    cursors = {stream: Cursor(value) for stream, value, _ in rows}
    first = not cursors
    complete = get_kept(state, f"swept {connector.name}") is not None
    settle = connector.capabilities.settle_ms
    seen = {stream: at - settle for stream, _, at in rows} if complete else {}
    pages = connector.read(cursors)
    pages = pages if watch is None else watch(connector.name, pages)
    _take(state, connector, pages, report, progress, seen)
    if first:
        _swept_now(state, connector)  # a first load has seen all there is
    elif sweep or (sweep_every is not None and _sweep_due(state, connector, sweep_every)):
        known = chain(known_refs(state, connector.name), buried_refs(state, connector.name))
        pages = connector.sweep(known)
        if guard is not None:
            pages = guard(connector.name, pages)
        _take(state, connector, pages, report, progress, seen, cursors=False)
        _swept_now(state, connector)
        report.swept = True
    _read_about(state, connector, report)


def _take(
    state: State,
    connector: Connector,
    pages: Iterable[Page],
    report: SystemReport,
    progress: Progress,
    seen: Mapping[str, Millis],
    *,
    cursors: bool = True,
) -> None:
    """Store pages. `seen`: until when each stream was read before, empty while it was never read whole."""
    step = f"read {connector.name}"
    progress.start(step)
    totals: dict[str, int] = {}
    places: dict[str, dict[str, Any]] = {}  # by stream, of pages whose cursor is not stored yet
    empty = 0
    try:
        for page in pages:
            if cursors:
                row = {"system": connector.name, "stream": page.stream, "value": page.cursor}
                places[page.stream] = row | {"updated_at": connector.now()}
            if page.total is not None:
                totals[page.stream] = page.total
            read = 0
            empty = 0 if page.facts else empty + 1
            if page.facts or empty == EMPTY_PAGES:
                read = _store(state, connector, page, places, report, seen.get(page.stream))
                places, empty = {}, 0
            progress.advance(step, read, sum(totals.values()) or None)
    except ConnectorError:
        _move_on(state, places)
        raise
    _move_on(state, places)
    progress.finish(step)


def _store(
    state: State,
    connector: Connector,
    page: Page,
    places: Mapping[str, Mapping[str, Any]],
    report: SystemReport,
    seen_until: Millis | None,
) -> int:
    """A page and its cursor in one transaction, and with them the cursors of empty pages before it; how many facts were read."""
    with state.begin() as connection:
        older = _not_there(connection, page, seen_until)
        stored = store(connection, page.facts)
        _owe_about(connection, connector.name, older)
        upsert(connection, t.cursor, list(places.values()))
    connector.problems.update(stored.problems)
    report.forgotten += stored.refused
    report.rows_read += stored.read
    report.rows_changed += stored.changed
    for kind, count in stored.by_kind.items():
        report.by_kind[kind] = report.by_kind.get(kind, 0) + count
    return stored.read


def _move_on(state: State, places: Mapping[str, Mapping[str, Any]]) -> None:
    if places:
        with state.begin() as connection:
            upsert(connection, t.cursor, list(places.values()))


# --- people who appear though they are not new ------------------------------------------------------------------------


def _not_there(connection: Connection, page: Page, seen_until: Millis | None) -> list[RecordRef]:
    """People of a page who existed when their stream was read last, and were not there: in a bin, or not shared with us.

    Their activities were read then without them, or not at all.
    """
    if seen_until is None:
        return []
    older = dict.fromkeys(f.ref for f in page.facts if isinstance(f, Record) and f.created_at < seen_until)
    there = _alive(connection, older)
    return [ref for ref in older if ref not in there]


def _alive(connection: Connection, refs: Iterable[RecordRef]) -> set[RecordRef]:
    row = t.record.c
    known = select_at(connection, t.record, refs, row.system, row.kind, row.id, row.deleted_at)
    return {RecordRef(r["system"], r["kind"], r["id"]) for r in known if r["deleted_at"] is None}


def _owe_about(connection: Connection, system: str, refs: Sequence[RecordRef]) -> None:
    """Remember whose belongings are to be read; those who were forgotten did not come back."""
    came = _alive(connection, refs) if refs else ()
    if came:
        owed = _owed(get_kept_in(connection, f"about {system}"))
        owed["refs"] = [*owed["refs"], *([ref.kind, ref.id] for ref in refs if ref in came)]
        keep_in(connection, f"about {system}", owed)


def _read_about(state: State, connector: Connector, report: SystemReport) -> None:
    """Read what hangs on them, some people at a time; a pass that cannot end it leaves the rest to the next."""
    name = f"about {connector.name}"
    owed = _owed(get_kept(state, name))
    while owed["refs"]:
        size = owed["size"]
        part = [RecordRef(connector.name, kind, id) for kind, id in owed["refs"][:size]]
        try:
            for page in connector.read_about(part):
                with state.begin() as connection:
                    stored = store(connection, page.facts)
                report.rows_read += stored.read
                report.rows_changed += stored.changed
        except ConnectorError:
            keep(state, name, owed | {"size": max(1, size // 2)})  # fewer fit where calls or patience are short
            raise
        owed = {"refs": owed["refs"][size:], "size": min(ABOUT, 2 * size)}
        keep(state, name, owed if owed["refs"] else None)


def _owed(kept: Any) -> dict[str, Any]:
    return kept or {"refs": [], "size": ABOUT}


def _sweep_due(state: State, connector: Connector, every: Millis) -> bool:
    last = get_kept(state, f"swept {connector.name}")
    return last is None or connector.now() - int(last) >= every


def _swept_now(state: State, connector: Connector) -> None:
    keep(state, f"swept {connector.name}", _now(connector))


def _now(connector: Connector) -> Millis:
    return connector.now()


def known_refs(state: State, system: str) -> Iterator[RecordRef]:
    """All live records, accounts and deals of a system, in id order, read in slices so that memory stays flat."""
    for table, kind in ((t.record, None), (t.account, "account"), (t.deal, "deal")):
        last: tuple[str, str] = ("", "")
        while True:
            kind_column = table.c.kind if kind is None else None
            columns = [table.c.id] if kind_column is None else [kind_column, table.c.id]
            statement = select(*columns).where(table.c.system == system, table.c.deleted_at.is_(None)).limit(5_000)
            if kind_column is None:
                statement = statement.where(table.c.id > last[1]).order_by(table.c.id)
            else:
                after = (kind_column > last[0]) | ((kind_column == last[0]) & (table.c.id > last[1]))
                statement = statement.where(after).order_by(kind_column, table.c.id)
            with state.outside() as connection:
                rows = connection.execute(statement).all()
            if not rows:
                break
            for row in rows:
                ref = RecordRef(system, row[0] if kind is None else kind, row[-1])
                yield ref
                last = (ref.kind, ref.id)
