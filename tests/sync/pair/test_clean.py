"""A pair that is declared later: what was read before is told apart anew, for everybody."""

from sqlalchemy import select

from core.records import Activity, ActivityRow, Record, RecordRef
from sync.clean import clean_people
from sync.settings import Settings
from sync.state import State
from sync.state import schema as t
from sync.state.mirror import store

CONNECTIONS = {"salesforce": {"vendor": "salesforce"}, "hubspot": {"vendor": "hubspot"}}
PAIR = {"salesforce": "salesforce", "hubspot": "hubspot"}


def read_call(state: State, system: str, kind: str, name: str) -> None:
    """One call of one person, as a CRM shows it."""
    record = RecordRef(system, kind, "1")
    source = RecordRef(system, "call", "c1")
    call = Activity(source, "call", 1_795_482_000_000, 1_795_482_000_000, 20_781, record=record, asset=name)
    with state.begin() as connection:
        store(connection, [Record(record, {"last_name": "佐藤"}, created_at=1, modified_at=1)])
        connection.execute(t.record.update().values(person_id=1))
        store(connection, [ActivityRow(source, (call,))])
        connection.execute(t.person.update().values(dirty=False))


def duplicates(state: State) -> int:
    with state.read() as connection:
        found = connection.execute(select(t.activity.c.duplicate_of)).scalars().all()
    assert len(found) == 2
    return sum(one is not None for one in found)


def test_declaring_and_dropping_a_pair_tells_twins_anew(state: State) -> None:
    empty = {"created_at": 0, "first_known_at": 0, "opted_out": False, "dirty": False, "restated": False}
    with state.begin() as connection:
        connection.execute(t.person.insert().values(person_id=1, **empty))
    read_call(state, "hubspot", "contact", "ご相談")
    read_call(state, "salesforce", "lead", "Call: ご相談")
    alone = Settings(connections=CONNECTIONS)
    paired = Settings(connections=CONNECTIONS, pair=PAIR)
    for settings, expected in ((alone, 0), (paired, 1), (paired, 1), (alone, 0)):
        clean_people(state, settings, [])
        assert duplicates(state) == expected
