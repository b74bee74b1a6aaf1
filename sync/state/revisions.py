"""Schema revisions: brought up to date when a state is opened, in one transaction; refused where it is newer than the code.

A process that dies half-way leaves the old schema whole. An SQLite database with data in it is first copied to
`<state>.before-<revision>`; PostgreSQL's administrator has backups of their own.
"""

from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, inspect, text

from core.errors import StateError, StateTooNew
from sync.state.files import publish, scratch_file

HEAD = "0002"
"""The schema revision this code writes; `migrations/versions` has one file per revision."""

_MIGRATING = 7_736_201_811  # any number, the same in every Mikomi


def migrate(engine: Engine, *, keep_copy: bool = True) -> None:
    """Bring the schema to `HEAD`.

    Args:
        keep_copy: copy an SQLite database that holds data before it is changed.

    Raises:
        StateTooNew: a newer Mikomi wrote it; it is left alone.
        StateError: it holds something else than a state.
    """
    found = find_revision(engine)
    if found == HEAD:
        return
    if found is not None and keep_copy:
        _copy_before(engine)
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATING})")
        # Of two programs that start together the second finds the work done here.
        config.attributes["connection"] = connection
        command.upgrade(config, HEAD)
        connection.commit()


def find_revision(engine: Engine) -> str | None:
    """The revision of a state database; None of an empty one.

    Raises:
        StateTooNew, StateError: as `migrate`.
    """
    with engine.connect() as connection:
        tables = set(inspect(connection).get_table_names())
        found: str | None = (
            connection.execute(text("select version_num from alembic_version")).scalar()
            if "alembic_version" in tables
            else None
        )
    if found is None and tables - {"alembic_version"}:
        raise StateError("this database holds tables that are not Mikomi's", hint="name an empty database in `state:`")
    if found is not None and found > HEAD:
        raise StateTooNew(
            f"the state database has schema {found}, this program knows {HEAD}", hint="install the newer Mikomi again"
        )
    return found


def _copy_before(engine: Engine) -> None:
    """The first copy stays: it is the one from before anything was touched."""
    database = engine.url.database
    if engine.dialect.name != "sqlite" or database in (None, "", ":memory:"):
        return
    path = Path(f"{database}.before-{HEAD}")
    if path.exists():
        return
    with scratch_file(path.parent) as scratch:
        raw: Any = engine.raw_connection()
        try:
            with closing(raw.driver_connection.cursor()) as cursor:
                cursor.execute("VACUUM INTO ?", (str(scratch),))
        except raw.driver_connection.Error as error:
            raise StateError(
                f"the state must be copied before it is brought up to date, and cannot be: {error}",
                hint=f"free as much space in {path.parent} as the state takes",
            ) from error
        finally:
            raw.close()
        publish(scratch, path, replace=True)  # of two programs that start together either copy is right
