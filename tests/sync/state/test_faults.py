"""What a database says when it does not do what it was asked: in our words, and without anybody's values."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import insert, update
from sqlalchemy.engine import make_url

import sync.state
from core.errors import StateError, StateUnavailable
from sync.state import State, open_state
from sync.state import schema as t
from sync.state.kept import get_kept, get_kept_in, keep, keep_in
from sync.state.rows import insert_new
from tests.sync.databases import POSTGRESQL, fresh_database

PERSON = {"created_at": 0, "first_known_at": 0, "opted_out": False, "dirty": False, "restated": False}
CANARY = "kanaria@songbird.example"


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with fresh_database(POSTGRESQL, request, tmp_path) as found:
        yield found


@pytest.fixture
def server(url: str) -> Iterator[State]:
    opened = open_state(url)
    yield opened
    opened.close()


def demote(url: str) -> None:
    """The server takes no more writes, as one that became a standby in a failover."""
    name = sql.Identifier(str(make_url(url).database))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(name))


def end_connections(url: str) -> None:
    """As a restart does: what was open is told that it ends, and is closed."""
    with psycopg.connect(url, autocommit=True) as connection:
        ended = connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        ).fetchall()
    assert ended


def test_a_connection_that_was_ended_while_it_rested_is_opened_anew(url: str, server: State) -> None:
    keep(server, "before", 1)
    for _ in range(2):
        end_connections(url)
        assert get_kept(server, "before") == 1
    end_connections(url)
    keep(server, "after", 2)
    end_connections(url)
    with server.read() as connection:
        assert (get_kept_in(connection, "before"), get_kept_in(connection, "after")) == (1, 2)


def test_who_rested_for_long_is_asked_first(server: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that answers for another server now has said nothing to the connections of the one before."""
    pings: list[bool] = []
    alive = server.engine.dialect.do_ping

    def ping(connection: Any) -> bool:
        pings.append(alive(connection))
        if len(pings) == 2:
            raise psycopg.OperationalError("server closed the connection unexpectedly")
        return pings[-1]

    monkeypatch.setattr(server.engine.dialect, "do_ping", ping)
    keep(server, "x", 1)
    assert (get_kept(server, "x"), pings) == (1, [])
    monkeypatch.setattr(sync.state, "_RESTED_SECONDS", 0.0)

    def pid() -> int:
        with server.outside() as connection:
            return int(connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())

    first, second, third = pid(), pid(), pid()
    assert (first != second, second == third, pings) == (True, True, [True] * 3)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql+psycopg2"])
def test_other_names_of_postgresql_are_understood(url: str, scheme: str) -> None:
    state = open_state(f"{scheme}:{url.partition(':')[2]}")
    keep(state, "x", 1)
    assert (get_kept(state, "x"), state.engine.dialect.driver) == (1, "psycopg")
    assert make_url(state.url).get_backend_name() == "postgresql", "who reads it in bulk goes by this"
    state.close()


def test_what_the_state_says_of_the_connection_counts(url: str) -> None:
    state = open_state(f"{url}{'&' if '?' in url else '?'}tcp_user_timeout=1234")
    with state.outside() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        found = driver.info.get_parameters()
    state.close()
    assert (found["tcp_user_timeout"], found["keepalives_idle"]) == ("1234", "30")


def test_one_that_is_ended_in_the_middle_is_told(url: str, server: State) -> None:
    keep(server, "before", 1)
    with pytest.raises(StateUnavailable), server.begin() as connection:
        keep_in(connection, "before", 2)
        end_connections(url)
        keep_in(connection, "before", 3)
    assert get_kept(server, "before") == 1


def test_a_question_of_its_own_is_no_transaction(server: State) -> None:
    """One way to the server instead of three."""
    with server.outside() as connection:
        alone = connection.exec_driver_sql(
            "SELECT pg_sleep(0.01), transaction_timestamp() = statement_timestamp()"
        ).one()
        after = connection.exec_driver_sql("SELECT transaction_timestamp() = statement_timestamp()").scalar()
    assert (alone[1], after) == (True, True)
    with server.read() as connection:
        connection.exec_driver_sql("SELECT pg_sleep(0.01)")
        assert not connection.exec_driver_sql("SELECT transaction_timestamp() = statement_timestamp()").scalar()


def test_a_server_that_takes_no_writes_is_away_for_now(url: str, server: State) -> None:
    keep(server, "before", 1)
    demote(url)
    server.engine.dispose()  # a failover ends every connection
    with pytest.raises(StateUnavailable, match="read-only") as caught:
        keep(server, "after", 1)
    assert "MIKOMI_STATE" in caught.value.hint
    assert get_kept(server, "before") == 1


def test_no_run_begins_on_a_server_that_takes_no_writes(url: str) -> None:
    demote(url)
    state = open_state(url)
    with pytest.raises(StateUnavailable, match="read-only"), state.alone():
        raise AssertionError("begun")
    state.close()


def test_a_server_that_cannot_be_migrated_is_no_foreign_database(request: pytest.FixtureRequest) -> None:
    with request.getfixturevalue("postgresql").make(empty=True) as url:
        demote(url)
        with pytest.raises(StateError, match="read-only") as caught:
            open_state(url)
    assert "not a state database" not in str(caught.value)


def test_a_value_that_does_not_fit_is_named_by_its_place(server: State) -> None:
    with pytest.raises(StateError) as caught, server.begin() as connection:
        connection.execute(insert(t.setting).values(name=CANARY * 20, value=1))
    assert not isinstance(caught.value, StateUnavailable)
    assert "table setting, column name" in caught.value.message
    assert CANARY not in "".join(map(str, (caught.value, caught.value.hint, caught.value.__cause__)))
    assert caught.value.__suppress_context__


def test_one_of_many_rows_is_found_too(server: State) -> None:
    rows = [{"name": f"n{number}", "value": 1} for number in range(5)] + [{"name": "k\0", "value": 1}]
    with pytest.raises(StateError, match="table setting, column name"), server.begin() as connection:
        insert_new(connection, t.setting, rows)
    assert get_kept(server, "n0") is None


def test_a_number_that_is_too_large_is_named_too(server: State) -> None:
    with server.begin() as connection:
        connection.execute(insert(t.person).values(**PERSON))
    with pytest.raises(StateError, match="table person, column created_at"), server.begin() as connection:
        connection.execute(update(t.person).values(created_at=2**80))
