"""Touched records become people: what is left behind equals a fresh load, whatever the order."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import select

from core.records import Fact, RecordRef, Tombstone
from sync.progress import Silent
from sync.report import RunReport
from sync.resolve import resolve_touched
from sync.settings import Settings
from sync.state import State, open_state
from sync.state import schema as t
from sync.state.mirror import NOBODY, store
from tests.sync.builders import NOW, a_deal, a_record, an_account, an_activity, ref
from tests.sync.databases import BOTH, POSTGRESQL, fresh_database


def put(state: State, settings: Settings, *facts: Fact) -> None:
    with state.begin() as connection:
        store(connection, facts)
    resolve_touched(state, settings, RunReport("r", "observe", 0), Silent())


def people(state: State) -> dict[str, int]:
    """Record to person."""
    with state.read() as connection:
        rows = connection.execute(select(t.record).where(t.record.c.person_id.is_not(None))).mappings()
        return {f"{row['system']}/{row['kind']}/{row['id']}": row["person_id"] for row in rows}


def whose(state: State) -> dict[str, int]:
    """Activity's source id to person."""
    with state.read() as connection:
        return dict(connection.execute(select(t.activity.c.source_id, t.activity.c.person_id)).all())


def person(state: State, person_id: int) -> dict[str, object]:
    with state.read() as connection:
        return dict(connection.execute(select(t.person).where(t.person.c.person_id == person_id)).mappings().one())


def test_one_person_in_both_crms(state: State, settings: Settings) -> None:
    put(
        state,
        settings,
        a_record("003A", email="sato@acme.example", fields={"title": "営業部長"}),
        a_record("7", system="hubspot", email="sato@acme.example", fields={"title": "課長", "industry": "製造"}),
    )
    assert len(set(people(state).values())) == 1
    row = person(state, people(state)["salesforce/contact/003A"])
    assert (row["title"], row["title_rank"], row["industry"]) == ("営業部長", "general_manager", "製造")


def test_links_beat_addresses(state: State, settings: Settings) -> None:
    link = RecordRef("salesforce", "contact", "003A")
    put(
        state,
        settings,
        a_record("003A", email="sato@acme.example"),
        a_record("7", system="hubspot", email="sato@old.example", links=(link,)),
    )
    assert len(set(people(state).values())) == 1


def test_activities_find_their_person_whenever_that_becomes_known(state: State, settings: Settings) -> None:
    put(state, settings, an_activity("1", "form_submit", "sato@acme.example", system="hubspot", object="form"))
    assert whose(state) == {"1": NOBODY}
    put(state, settings, a_record("7", system="hubspot", email="sato@acme.example"))
    assert whose(state) == {"1": people(state)["hubspot/contact/7"]}


def test_a_conversion_takes_the_leads_history_to_the_contact(state: State, settings: Settings) -> None:
    lead = a_record("00QA", kind="lead", email="sato@acme.example")
    put(state, settings, lead, an_activity("1", "call", lead.ref))
    before = people(state)["salesforce/lead/00QA"]
    converted = replace(lead, successor=ref("contact", "003A"))
    put(state, settings, converted, a_record("003A", email="sato@acme.example"))
    assert set(people(state).values()) == {before}
    assert whose(state) == {"1": before}


def test_a_merge_follows_the_survivor_and_leaves_an_alias(state: State, settings: Settings) -> None:
    put(
        state,
        settings,
        a_record("003A", email="a@acme.example"),
        a_record("003B", email="b@acme.example"),
        an_activity("1", "call", ref("contact", "003B")),
    )
    first, second = people(state)["salesforce/contact/003A"], people(state)["salesforce/contact/003B"]
    assert first != second
    put(state, settings, Tombstone(ref("contact", "003B"), NOW, ref("contact", "003A")))
    assert people(state) == {"salesforce/contact/003A": first, "salesforce/contact/003B": first}
    assert whose(state) == {"1": first}
    with state.read() as connection:
        assert connection.execute(select(t.person_alias)).all() == [(second, first)]


@pytest.mark.parametrize("stone_first", [True, False])
def test_a_link_to_a_record_merged_away_before_the_first_load_is_followed(
    state: State, settings: Settings, stone_first: bool
) -> None:
    """HubSpot may still name the loser of a Salesforce merge that we never saw alive."""
    stone = Tombstone(ref("contact", "003B"), NOW, ref("contact", "003A"))
    linked = a_record("7", system="hubspot", email="old@acme.example", links=(ref("contact", "003B"),))
    survivor = a_record("003A", email="new@acme.example")
    for fact in (stone, survivor, linked) if stone_first else (linked, survivor, stone):
        put(state, settings, fact)
    found = people(state)
    assert found["hubspot/contact/7"] == found["salesforce/contact/003A"]
    with state.read() as connection:
        assert len(connection.execute(select(t.person)).all()) == 1


def test_a_deleted_record_is_dropped(state: State, settings: Settings) -> None:
    put(state, settings, a_record("003A", email="a@acme.example"), an_activity("1", "call", ref("contact", "003A")))
    put(state, settings, Tombstone(ref("contact", "003A"), NOW))
    assert people(state) == {}
    assert whose(state) == {"1": NOBODY}
    with state.read() as connection:
        assert connection.execute(select(t.person)).all() == []


def test_a_person_comes_back_with_the_record(state: State, settings: Settings) -> None:
    record = a_record("003A", email="a@acme.example")
    put(state, settings, record, an_activity("1", "call", record.ref))
    put(state, settings, Tombstone(record.ref, NOW))
    put(state, settings, record)
    assert whose(state) == {"1": people(state)["salesforce/contact/003A"]}


def test_ids_are_never_reused(state: State, settings: Settings) -> None:
    put(state, settings, a_record("003A", email="a@acme.example"))
    first = people(state)["salesforce/contact/003A"]
    put(state, settings, Tombstone(ref("contact", "003A"), NOW))
    put(state, settings, a_record("003B", email="b@acme.example"))
    assert people(state)["salesforce/contact/003B"] > first


def test_role_mailboxes_join_nobody(state: State, settings: Settings) -> None:
    put(
        state,
        settings,
        a_record("003A", email="info@acme.example"),
        a_record("7", system="hubspot", email="info@acme.example", fields={"last_name": "鈴木"}),
    )
    assert len(set(people(state).values())) == 2


def test_an_account_change_reaches_its_people(state: State, settings: Settings) -> None:
    account = an_account("001A", "アクメ精機", employees=50)
    put(state, settings, account, a_record("003A", email="a@acme.example", account=account.ref))
    with state.begin() as connection:
        connection.execute(t.person.update().values(dirty=False))
    put(state, settings, an_account("001A", "アクメ精機", employees=500))
    row = person(state, people(state)["salesforce/contact/003A"])
    assert (row["employees"], row["dirty"]) == (500, True)


def test_colleagues_in_both_crms_share_a_company(state: State, settings: Settings) -> None:
    put(
        state,
        settings,
        an_account("001A", "アクメ精機株式会社", website="https://acme.example"),
        a_record("003A", email="a@acme.example", account=ref("account", "001A")),
        a_record(
            "7", system="hubspot", email="b@acme.example", fields={"last_name": "鈴木", "company": "(株)アクメ精機"}
        ),
        a_record("8", system="hubspot", email="c@other.example", fields={"last_name": "高橋", "company": "別会社"}),
    )
    companies = {name: person(state, id)["company_id"] for name, id in people(state).items()}
    assert companies["salesforce/contact/003A"] == companies["hubspot/contact/7"]
    assert companies["hubspot/contact/8"] not in {None, companies["hubspot/contact/7"]}


def test_a_deal_gets_the_company_of_its_account(state: State, settings: Settings) -> None:
    account = an_account("001A", "アクメ精機")
    put(
        state,
        settings,
        account,
        a_record("003A", email="a@acme.example", account=account.ref),
        a_deal("006A", account=account.ref),
    )
    with state.read() as connection:
        company = connection.execute(select(t.deal.c.company_id)).scalar_one()
    assert company is not None
    assert company == person(state, people(state)["salesforce/contact/003A"])["company_id"]


@pytest.mark.parametrize("first", ["salesforce", "hubspot"])
def test_a_linked_pair_of_deals_is_one(state: State, settings: Settings, first: str) -> None:
    pair = {"salesforce": a_deal("006A"), "hubspot": a_deal("55", system="hubspot", link=ref("deal", "006A"))}
    put(state, settings, pair.pop(first))
    put(state, settings, *pair.values())
    with state.read() as connection:
        rows = {row.system: row for row in connection.execute(select(t.deal))}
    assert rows["hubspot"].duplicate_of == rows["salesforce"].deal_id


EMAILS = ["a@acme.example", "b@acme.example", "info@acme.example"]
RECORDS = st.builds(
    lambda system, number, emails, name, company: a_record(
        str(number), system=system, emails=tuple(emails), fields={"last_name": name, "company": company}
    ),
    st.sampled_from(["salesforce", "hubspot"]),
    st.integers(1, 4),
    st.lists(st.sampled_from(EMAILS), max_size=2, unique=True),
    st.sampled_from(["佐藤", "鈴木"]),
    st.sampled_from(["アクメ精機株式会社", "(株)アクメ精機", "別会社"]),
)


@pytest.fixture(scope="module", params=BOTH)
def two(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[State, State]]:
    """The one that is edited is of either kind; what it is compared with is in memory."""
    with fresh_database(request.param, request, tmp_path_factory.mktemp("resolve")) as url:
        states = open_state(url if request.param == POSTGRESQL else "sqlite://"), open_state("sqlite://")
        yield states
        for one in states:
            one.close()


def picture(state: State) -> set[tuple[frozenset[str], int]]:
    """Groups of records, with how many of the groups share each one's company: comparable across databases."""
    groups: dict[int, set[str]] = {}
    for record, person_id in people(state).items():
        groups.setdefault(person_id, set()).add(record)
    companies = {p: person(state, p)["company_id"] for p in groups}
    shared = {p: sum(1 for c in companies.values() if c == companies[p]) for p in groups}
    return {(frozenset(records), shared[p]) for p, records in groups.items()}


@hypothesis_settings(max_examples=60, deadline=None)
@given(edits=st.lists(RECORDS, min_size=1, max_size=8))
def test_edits_one_by_one_end_like_a_fresh_load(two: tuple[State, State], edits: list[object]) -> None:
    settings = Settings(connections={"salesforce": {"vendor": "salesforce"}, "hubspot": {"vendor": "hubspot"}})
    slow, fresh = two
    for state in two:
        with state.begin() as connection:
            for table in reversed(t.metadata.sorted_tables):
                connection.execute(table.delete())
    for record in edits:
        put(slow, settings, record)  # type: ignore[arg-type]
    last = {record.ref: record for record in edits}  # type: ignore[attr-defined]
    put(fresh, settings, *last.values())  # type: ignore[arg-type]
    assert picture(slow) == picture(fresh)
