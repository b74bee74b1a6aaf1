"""What a database keeps of rows that are gone: free pages, gaps inside pages, the write-ahead log."""

from pathlib import Path

from sqlalchemy import text
from sqlalchemy.engine import make_url

from sync.state import State
from sync.state import schema as t

_HOLDING = (t.record, t.record_email, t.activity, t.change, t.person, t.outbox, t.acknowledged, t.score, t.company)
"""Tables whose dead rows are personal data."""


def rewrite_pages(state: State) -> bool:
    """Write the database anew, so that nothing deleted can be read from its files. False where a reader kept the old log.

    SQLite: deleted rows are zeroed at once (`secure_delete`), but copies stay in pages that were split: only a rewrite takes
    them. It needs as much free space as the database has, and other writers wait meanwhile. PostgreSQL: dead rows are
    vacuumed; its own log and the server's backups are the server's matter.

    Raises:
        StateUnavailable: no space, or the database is away; the rows themselves are gone all the same.
    """
    with state.outside() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("VACUUM")
            busy = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").scalar()
            return busy == 0
        for table in _HOLDING:
            connection.execute(text(f'VACUUM "{table.name}"'))
    return True


def size_of(state: State) -> int:
    """Bytes of an SQLite database's file; 0 for others."""
    path = sqlite_file(state.url)
    return path.stat().st_size if path is not None and path.exists() else 0


def sqlite_file(url: str) -> Path | None:
    """The file of an SQLite database; None for one in memory, and for other databases."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or parsed.database in (None, "", ":memory:"):
        return None
    return Path(str(parsed.database))


def shorten_log(state: State) -> None:
    """Bring SQLite's write-ahead log back to nothing after a large transaction."""
    with state.outside() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
