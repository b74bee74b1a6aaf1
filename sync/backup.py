"""The whole state in one file, and back: written while everything goes on, restored in one transaction.

The file is an SQLite database whatever the state is kept in, so that a backup is also the way from one database to the other.
What a restore never turns back: leases, people who were forgotten since, tokens, pauses and counted calls, the audit log.
"""

import json
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, Table, create_engine, func, select
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from core.errors import InvalidInput, StateError, StateTooNew, StateUnavailable
from core.records import Millis
from sync import audit
from sync.copying import (
    carry_audit,
    copy_out,
    copy_table,
    empty_tables,
    raise_numbers,
    read_audit_aside,
    without_indexes,
)
from sync.forget import forget_again
from sync.restored import MARK, doubt
from sync.state import HEAD, State, now_ms, open_state
from sync.state import schema as t
from sync.state.files import publish, scratch_file
from sync.state.mirror.forgotten import check_key, find_forgotten
from sync.state.pages import rewrite_pages, shorten_log, sqlite_file
from sync.state.rows import insert_new

WAIT_SECONDS = 900.0
"""How long a pass that is under way is waited for before a restore."""

_OURS_ALONE = frozenset({"lease"})  # belongs to the running processes
_PRESENT = frozenset({"pause", "calls_made"})  # what holds now, where this state was in use
_UNITED = frozenset({"credential", "forgotten"})  # what is here wins, what only the file has is added
_KEPT_SETTINGS = ("audit head", "audit anchor", "forgotten check")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a backup comes from.

    Attributes:
        made_at: when, by the clock of the machine that wrote it.
        database: `sqlite` or `postgresql`.
        revision: of the schema.
        people: how many it knows.
        last_run: when the last pass in it began; None if there was none.
    """

    made_at: Millis
    database: str
    revision: str
    people: int
    last_run: Millis | None


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did besides. `forgotten_again`: records of people who were forgotten after the backup was made."""

    origin: Origin
    forgotten_again: int


def write_backup(state: State, path: Path, *, now: Millis | None = None) -> int:
    """Write a consistent snapshot into a new file of mode 0600; its size in bytes. Memory does not grow with the state.

    Raises:
        InvalidInput: the file exists, or its folder does not.
        StateUnavailable: no space, or the database is away; no file is left.
    """
    target = path.absolute()
    if target.exists():
        raise InvalidInput(f"{path} exists already", hint="name a new file: a backup never overwrites another")
    if not target.parent.is_dir():
        raise InvalidInput(f"there is no folder {target.parent}", hint=f"mkdir -p {target.parent}")
    try:
        with scratch_file(target.parent) as scratch:
            if state.engine.dialect.name == "sqlite":
                with state.outside() as connection:
                    connection.exec_driver_sql("VACUUM INTO ?", (str(scratch),))
            else:
                copy_out(state, scratch)
            _sign(scratch, state.engine.dialect.name, now_ms() if now is None else now)
            size = scratch.stat().st_size
            publish(scratch, target)
    except FileExistsError as error:
        raise InvalidInput(f"{path} exists already", hint="name a new file") from error
    except (OSError, sqlite3.Error) as error:
        raise StateUnavailable(
            f"the backup cannot be written: {error}", hint="free space there, or name another folder"
        ) from error
    return size


def _sign(file: Path, database: str, now: Millis) -> None:
    origin = {"made_at": now, "database": database, "program": version("mikomi")}
    with closing(sqlite3.connect(file)) as raw, raw:
        raw.execute("PRAGMA journal_mode=DELETE")  # one file, nothing beside it
        raw.execute("UPDATE lease SET holder = NULL")
        raw.execute("INSERT OR REPLACE INTO setting (name, value) VALUES (?, ?)", (MARK, json.dumps(origin)))


def read_origin(file: Path) -> Origin:
    """What a backup file says of itself.

    Raises:
        InvalidInput: it is no backup, or damaged.
        StateTooNew: a newer Mikomi wrote it.
    """
    if not file.is_file():
        raise InvalidInput(f"there is no file {file}", hint="name a file that `mikomi backup` wrote")
    try:
        with closing(sqlite3.connect(f"file:{quote(str(file.absolute()))}?mode=ro", uri=True)) as raw:
            if (said := raw.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
                raise InvalidInput(f"{file} is damaged: {said}", hint="use another backup")
            revision = str(raw.execute("SELECT version_num FROM alembic_version").fetchone()[0])
            mark = raw.execute("SELECT value FROM setting WHERE name = ?", (MARK,)).fetchone()
            people = int(raw.execute("SELECT count(*) FROM person").fetchone()[0])
            last_run = raw.execute("SELECT max(started_at) FROM run").fetchone()[0]
    except (sqlite3.Error, TypeError) as error:
        why = error if isinstance(error, sqlite3.Error) else "it does not say which schema it has"
        raise InvalidInput(f"{file} is no backup of Mikomi: {why}", hint="use another file") from error
    if revision > HEAD:
        raise StateTooNew(
            f"the backup has schema {revision}, this program knows {HEAD}", hint="install the newer Mikomi"
        )
    said = json.loads(mark[0]) if mark else {"made_at": round(file.stat().st_mtime * 1000), "database": "sqlite"}
    return Origin(said["made_at"], said["database"], revision, people, last_run)


@contextmanager
def open_for_restore(url: str) -> Iterator[tuple[State, Path | None]]:
    """The state to restore into, and where a broken SQLite file was put that lay in its place.

    Raises:
        StateError: the place holds something else than a state, or cannot be used.
    """
    aside = None
    try:
        state = open_state(url)
    except StateError as error:
        path = sqlite_file(url)
        broken = isinstance(error.__cause__, SQLAlchemyError) and not isinstance(error.__cause__, OperationalError)
        if not broken or path is None:
            raise
        aside = _put_aside(path)
        state = open_state(url)
    try:
        yield state, aside
    finally:
        state.close()


def _put_aside(path: Path) -> Path:
    aside = Path(f"{path}.broken-{now_ms()}")
    for end in ("-wal", "-shm", ""):
        part = Path(f"{path}{end}")
        if part.exists():
            part.rename(f"{aside}{end}")
    return aside


def restore_backup(state: State, file: Path, *, now: Millis | None = None) -> Restored:
    """Replace the state by a backup, in one transaction. The run's lease must be held.

    Raises:
        InvalidInput: the file is no backup, or damaged.
        StateTooNew: it is newer than this program.
        StateError: people in it were forgotten under another state key, or a value does not fit this database.
        StateUnavailable: no space, or the database went away; the state is as it was.
    """
    origin = read_origin(file)
    at = now_ms() if now is None else now
    with _at_head(file, origin, sqlite_file(state.url)) as source, state.begin() as target:
        _replace(source, target)
        doubt(target)
        again = forget_again(target, find_forgotten(target), now=at) if _knows_more(source, target) else 0
        new = {"made_at": origin.made_at, "schema": origin.revision, "forgotten_again": again}
        audit.note(target, "restore", "state", new=new, why="asked for by `mikomi restore`", actor=audit.operator())
    if again:
        rewrite_pages(state)
    shorten_log(state)
    return Restored(origin, again)


@contextmanager
def _at_head(file: Path, origin: Origin, beside: Path | None) -> Iterator[Connection]:
    """The backup with today's schema: the file itself, or a migrated copy of it."""
    if origin.revision == HEAD:
        with closing_engine(file) as engine, engine.connect() as connection:
            yield connection
        return
    folder = beside.parent if beside is not None else Path(tempfile.gettempdir())
    with scratch_file(folder) as scratch:
        written = f"file:{quote(str(file.absolute()))}?mode=ro"
        with closing(sqlite3.connect(written, uri=True)) as raw, closing(sqlite3.connect(scratch)) as copy:
            raw.backup(copy, pages=4_096)
        open_state(f"sqlite:///{scratch}", keep_copy=False).close()
        with closing_engine(scratch) as engine, engine.connect() as connection:
            yield connection


@contextmanager
def closing_engine(file: Path) -> Iterator[Engine]:
    """A read-only engine on an SQLite file."""
    engine = create_engine(f"sqlite:///file:{quote(str(file.absolute()))}?mode=ro&uri=true")
    try:
        yield engine
    finally:
        engine.dispose()


def _replace(source: Connection, target: Connection) -> None:
    used = target.execute(select(t.run.c.run_id).limit(1)).first() is not None
    _require_one_key(source, target)
    aside = read_audit_aside(source, target)
    stay = _OURS_ALONE | _UNITED | (_PRESENT if used else frozenset()) | (frozenset() if aside.replaced else {"audit"})
    kept = _settings(target, _KEPT_SETTINGS if not aside.replaced else _KEPT_SETTINGS[2:])
    tables = [table for table in t.metadata.sorted_tables if table.name not in stay]
    empty_tables(target, tables)
    for table in tables:
        with without_indexes(target, table):
            copy_table(source, target, table)
    for table in (t.credential, t.forgotten):
        _add_missing(source, target, table)
    target.execute(t.setting.delete().where(t.setting.c.name.in_(list(kept))))
    insert_new(target, t.setting, [{"name": name, "value": value} for name, value in kept.items()])
    raise_numbers(source, target)
    carry_audit(target, aside)
    check_key(target)


def _settings(connection: Connection, names: tuple[str, ...]) -> dict[str, Any]:
    rows = connection.execute(select(t.setting.c.name, t.setting.c.value).where(t.setting.c.name.in_(names)))
    return {row.name: row.value for row in rows}


def _require_one_key(source: Connection, target: Connection) -> None:
    theirs, ours = (_settings(one, ("forgotten check",)).get("forgotten check") for one in (source, target))
    if theirs is not None and ours is not None and theirs != ours:
        raise StateError(
            "the backup remembers forgotten people under another state key than this state",
            hint="restore into a new database, with the key that belonged to the backup (MIKOMI_STATE_KEY or the .key file)",
        )


def _add_missing(source: Connection, target: Connection, table: Table) -> None:
    result = source.execute(select(table).execution_options(yield_per=1_000))
    for part in result.mappings().partitions():
        insert_new(target, table, [dict(row) for row in part])


def _knows_more(source: Connection, target: Connection) -> bool:
    """Whether people were forgotten here of whom the backup does not know that."""
    counted = select(func.count()).select_from(t.forgotten)
    return bool(target.execute(counted).scalar_one() > source.execute(counted).scalar_one())


def list_backups(folder: Path) -> list[Path]:
    """The backups in a folder, oldest first."""
    return sorted(folder.glob("*.sqlite3"), key=os.path.getmtime) if folder.is_dir() else []


__all__ = ["Origin", "Restored", "list_backups", "open_for_restore", "read_origin", "restore_backup", "write_backup"]
