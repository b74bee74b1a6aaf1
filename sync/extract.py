"""Pull: pages and their cursors go into the mirror together, one short transaction a page."""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from sqlalchemy import select

from connectors import Connector, Cursor
from connectors.protocol import Page
from core.records import Millis, Record, RecordRef
from sync.progress import Progress
from sync.report import SystemReport
from sync.state import State
from sync.state import schema as t
from sync.state.kept import get_kept, keep
from sync.state.mirror import store
from sync.state.mirror.erase import buried_refs
from sync.state.rows import chunks, select_at, upsert

SWEEP_EVERY_MS = 24 * 3_600_000

ABOUT = 200
"""People whose belongings are asked for at a time."""

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

    """
    with state.read() as connection:
        column = t.cursor.c
        rows = connection.execute(
            select(column.stream, column.value, column.updated_at).where(column.system == connector.name)
        ).all()
    cursors = {stream: Cursor(value) for stream, value, _ in rows}
    first = not cursors
    complete = get_kept(state, f"swept {connector.name}") is not None
    seen_until = max((at for _, _, at in rows), default=None) if complete else None
    pages = connector.read(cursors)
    pages = pages if watch is None else watch(connector.name, pages)
    _take(state, connector, pages, report, progress, seen_until)
    if first:
        _swept_now(state, connector)  # a first load has seen all there is
    elif sweep or (sweep_every is not None and _sweep_due(state, connector, sweep_every)):
        known = chain(known_refs(state, connector.name), buried_refs(state, connector.name))
        pages = connector.sweep(known)
        if guard is not None:
            pages = guard(connector.name, pages)
        _take(state, connector, pages, report, progress, seen_until, cursors=False)
        _swept_now(state, connector)
        report.swept = True


def _take(
    state: State,
    connector: Connector,
    pages: Iterable[Page],
    report: SystemReport,
    progress: Progress,
    seen_until: Millis | None,
    *,
    cursors: bool = True,
) -> None:
    """Store pages; what hangs on people who appear though they are older than `seen_until` is read and stored before them."""
    step = f"read {connector.name}"
    progress.start(step)
    totals: dict[str, int] = {}
    for page in pages:
        for refs in chunks(_reappearing(state, page, seen_until), ABOUT):
            for about in connector.read_about(refs):
                with state.begin() as connection:
                    more = store(connection, about.facts)
                report.rows_read += more.read
                report.rows_changed += more.changed
        with state.begin() as connection:
            stored = store(connection, page.facts)
            if cursors:
                row = {
                    "system": connector.name,
                    "stream": page.stream,
                    "value": page.cursor,
                    "updated_at": connector.now(),
                }
                upsert(connection, t.cursor, [row])
        connector.problems.update(stored.problems)
        if stored.refused:
            connector.problems["forgotten people"] += stored.refused
        report.rows_read += stored.read
        report.rows_changed += stored.changed
        for kind, count in stored.by_kind.items():
            report.by_kind[kind] = report.by_kind.get(kind, 0) + count
        if page.total is not None:
            totals[page.stream] = page.total
        progress.advance(step, stored.read, sum(totals.values()) or None)
    progress.finish(step)


def _reappearing(state: State, page: Page, seen_until: Millis | None) -> list[RecordRef]:
    """People of a page who existed when everything was read last, and were not there to be seen: in a bin, or not shared with us.

    Their activities were read then without them, or not at all. Whoever ends between these and the page reads both again.
    """
    if seen_until is None:
        return []
    older = [fact.ref for fact in page.facts if isinstance(fact, Record) and fact.created_at < seen_until]
    if not older:
        return []
    row = t.record.c
    with state.read() as connection:
        known = select_at(connection, t.record, older, row.system, row.kind, row.id, row.deleted_at)
        there = {RecordRef(r["system"], r["kind"], r["id"]) for r in known if r["deleted_at"] is None}
    return [ref for ref in dict.fromkeys(older) if ref not in there]


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
            with state.read() as connection:
                rows = connection.execute(statement).all()
            if not rows:
                break
            for row in rows:
                ref = RecordRef(system, row[0] if kind is None else kind, row[-1])
                yield ref
                last = (ref.kind, ref.id)
