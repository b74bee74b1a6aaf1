"""Whom a query means."""

import pytest
from sqlalchemy import select

from core.records import Record, RecordRef, Tombstone
from sync.look.people import find_people, long_id
from sync.progress import Silent
from sync.report import RunReport
from sync.resolve import resolve_touched
from sync.settings import Settings
from sync.state import State
from sync.state import schema as t
from sync.state.mirror import store
from tests.sync.builders import NOW, a_record

CONTACT, LEAD = "0035i00001AbCdEAAV", "00Q5i00001AbCdEEAV"


def known(state: State, settings: Settings, *records: Record | Tombstone) -> State:
    with state.begin() as connection:
        store(connection, records)
    resolve_touched(state, settings, RunReport("r", "observe", NOW), Silent())
    return state


@pytest.fixture
def people(state: State, settings: Settings) -> State:
    return known(
        state,
        settings,
        a_record(CONTACT, email="taro.sato@acme.example", fields={"last_name": "佐藤", "first_name": "太郎"}),
        a_record(
            "501", system="hubspot", email="taro.sato@acme.example", fields={"last_name": "佐藤", "first_name": "太郎"}
        ),
        a_record(
            "502", system="hubspot", email="hanako@beta.example", fields={"last_name": "Sato", "first_name": "Hanako"}
        ),
        a_record(LEAD, kind="lead", email="e@gamma.example", fields={"last_name": "佐藤", "first_name": "Élodie"}),
    )


def names(state: State, query: str) -> list[str]:
    with state.read() as connection:
        return [person.name("ja") for person in find_people(connection, query)]


@pytest.mark.parametrize(
    "query",
    [
        "taro.sato@acme.example",
        " Taro.Sato@ACME.example ",
        "佐藤太郎",
        "佐藤 太郎",
        "佐藤\u3000太郎",
        "太郎 佐藤",
        "太郎",
        CONTACT,
        CONTACT[:15],
        "501",
        "hubspot/contact/501",
        f"salesforce/contact/{CONTACT}",
    ],
)
def test_one_person_by_many_names(people: State, query: str) -> None:
    assert names(people, query) == ["佐藤 太郎"]


@pytest.mark.parametrize("query", ["sato hanako", "Hanako Sato", "HANAKOSATO", "sato"])
def test_case_and_spaces_do_not_count(people: State, query: str) -> None:
    assert names(people, query) == ["Sato Hanako"]


def test_letters_beyond_ascii(people: State) -> None:
    assert names(people, "Élodie") == ["佐藤 Élodie"]


def test_a_family_name_may_fit_several(people: State) -> None:
    assert sorted(names(people, "佐藤")) == ["佐藤 Élodie", "佐藤 太郎"]


@pytest.mark.parametrize(
    "query",
    ["", "   ", "nobody", "nobody@acme.example", "99999999999999999999999", "#0", "x/y/z", "佐", "%", "' OR 1=1 --"],
)
def test_nobody(people: State, query: str) -> None:
    assert names(people, query) == []


def test_a_short_id_is_case_sensitive(people: State) -> None:
    assert names(people, CONTACT[:15].lower()) == []


def test_by_number_and_by_a_number_given_up(people: State) -> None:
    with people.begin() as connection:
        number = connection.execute(select(t.person.c.person_id).where(t.person.c.first_name == "太郎")).scalar_one()
        connection.execute(t.person_alias.insert().values(old_id=900, person_id=number))
    assert names(people, f"#{number}") == names(people, "#900") == ["佐藤 太郎"]


def test_a_converted_lead_leads_to_its_contact(people: State, settings: Settings) -> None:
    successor = RecordRef("salesforce", "contact", "0035i00001ZZZZZAA2")
    contact = a_record(successor.id, email="e@gamma.example", fields={"last_name": "佐藤", "first_name": "Élodie"})
    known(people, settings, contact, Tombstone(RecordRef("salesforce", "lead", LEAD), NOW, successor))
    with people.read() as connection:
        [person] = find_people(connection, LEAD)
    assert [record.ref for record in person.records] == [successor]


def test_check_characters_of_an_id() -> None:
    assert long_id("001A000010khO8J") == "001A000010khO8JIAU"


def test_a_name_in_english_order(people: State) -> None:
    with people.read() as connection:
        [person] = find_people(connection, "502")
    assert person.name("en") == "Hanako Sato"
