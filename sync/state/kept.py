"""Facts the state keeps about itself: when a sweep or a daily pass last ended, what a probe found."""

from typing import Any

from sqlalchemy import Connection, bindparam, delete, select

from sync.state import State
from sync.state import schema as t
from sync.state.rows import upsert

_VALUE = select(t.setting.c.value).where(t.setting.c.name == bindparam("name"))


def get_kept(state: State, name: str) -> Any:
    """The kept value, or None."""
    with state.outside() as connection:
        return get_kept_in(connection, name)


def get_kept_in(connection: Connection, name: str) -> Any:
    """The kept value as a transaction sees it, or None."""
    return connection.execute(_VALUE, {"name": name}).scalar()


def keep(state: State, name: str, value: Any) -> None:
    with state.begin() as connection:
        keep_in(connection, name, value)


def keep_in(connection: Connection, name: str, value: Any) -> None:
    """Keep a value as part of a transaction that does more."""
    upsert(connection, t.setting, [{"name": name, "value": value}])


def unkeep(state: State, name: str) -> None:
    """Forget a kept value."""
    with state.begin() as connection:
        connection.execute(delete(t.setting).where(t.setting.c.name == name))
