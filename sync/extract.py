"""Pull: pages and their cursors go into the mirror together, one short transaction a page."""

from collections.abc import Iterable, Iterator

from sqlalchemy import select

from connectors import Connector, Cursor
from connectors.protocol import Page
from core.records import Millis, RecordRef
from sync.progress import Progress
from sync.report import SystemReport
from sync.state import State
from sync.state import schema as t
from sync.state.kept import get_kept, keep
from sync.state.mirror import store
from sync.state.rows import upsert

SWEEP_EVERY_MS = 24 * 3_600_000


def extract(state: State, connector: Connector, report: SystemReport, progress: Progress, *, sweep: bool) -> None:
    """Read everything that changed since the cursors; sweep for what incremental reading cannot see when it is due.

    Raises:
        ConnectorError: the system failed; everything read so far is stored with its cursor.

    """
    with state.read() as connection:
        rows = connection.execute(
            select(t.cursor.c.stream, t.cursor.c.value).where(t.cursor.c.system == connector.name)
        )
        cursors = {stream: Cursor(value) for stream, value in rows}
    first = not cursors
    _take(state, connector, connector.read(cursors), report, progress)
    if first:
        _swept_now(state, connector)  # a first load has seen all there is
    elif sweep or _sweep_due(state, connector):
        _take(state, connector, connector.sweep(_known_refs(state, connector.name)), report, progress, cursors=False)
        _swept_now(state, connector)
        report.swept = True


def _take(
    state: State,
    connector: Connector,
    pages: Iterable[Page],
    report: SystemReport,
    progress: Progress,
    *,
    cursors: bool = True,
) -> None:
    step = f"read {connector.name}"
    progress.start(step)
    totals: dict[str, int] = {}
    for page in pages:
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
        report.rows_read += stored.read
        report.rows_changed += stored.changed
        for kind, count in stored.by_kind.items():
            report.by_kind[kind] = report.by_kind.get(kind, 0) + count
        if page.total is not None:
            totals[page.stream] = page.total
        progress.advance(step, stored.read, sum(totals.values()) or None)
    progress.finish(step)


def _sweep_due(state: State, connector: Connector) -> bool:
    last = get_kept(state, f"swept {connector.name}")
    return last is None or connector.now() - int(last) >= SWEEP_EVERY_MS


def _swept_now(state: State, connector: Connector) -> None:
    keep(state, f"swept {connector.name}", _now(connector))


def _now(connector: Connector) -> Millis:
    return connector.now()


def _known_refs(state: State, system: str) -> Iterator[RecordRef]:
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
