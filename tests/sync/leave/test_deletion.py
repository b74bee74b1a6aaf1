"""A CRM deletes somebody: what cannot come back goes at once, what can come back whole goes after its retention."""

from dataclasses import replace

import pytest
from sqlalchemy import select

from core.records import DAY_MS, RecordRef, Tombstone
from sync.retention import purge
from sync.settings import Settings
from sync.state import State
from sync.state import schema as t
from sync.state.mirror.erase import buried_refs
from tests.sync.builders import NOW, a_deal, a_record, an_account, an_activity, ref
from tests.sync.leave.worlds import (
    ADDRESS,
    ASSET,
    CANARIES,
    CONTACT,
    LEAD,
    NAME,
    OTHER,
    SECOND,
    TWIN,
    count,
    everything,
    found_in,
    numbers,
    put,
    settle,
    the_contact,
    the_twin,
)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIKOMI_STATE_KEY", "k" * 40)


def row_of(state: State, at: RecordRef) -> dict[str, object]:
    with state.read() as connection:
        where = (t.record.c.system == at.system, t.record.c.kind == at.kind, t.record.c.id == at.id)
        return dict(connection.execute(select(t.record).where(*where)).mappings().one())


def gone(at: RecordRef) -> Tombstone:
    return Tombstone(at, NOW, permanent=True)


def test_a_permanent_deletion_in_both_crms_leaves_nothing(state: State, settings: Settings) -> None:
    settle(state, settings)
    put(state, settings, gone(CONTACT), gone(TWIN), Tombstone(ref("deal", "006L"), NOW, permanent=True))
    purge(state, settings, NOW)  # companies that nobody is of any more
    assert found_in(everything(state)) == []
    assert set(numbers(state)) == {OTHER}
    assert count(state, t.outbox, t.outbox.c.key.like("key-003L-%")) == 2
    assert count(state, t.outbox, t.outbox.c.key == "key-003L-2", t.outbox.c.state == "cancelled") == 1


def test_the_record_merged_into_them_goes_with_them(state: State, settings: Settings) -> None:
    settle(state, settings)
    assert row_of(state, LEAD)["fields"] != {}
    put(state, settings, gone(CONTACT))
    assert row_of(state, LEAD)["fields"] == {}
    assert count(state, t.activity, t.activity.c.asset == ASSET) == 0


def test_a_privacy_deletion_in_one_crm_leaves_what_the_other_has(state: State, settings: Settings) -> None:
    person = settle(state, settings)
    put(state, settings, gone(TWIN))
    assert numbers(state)[CONTACT] == person
    assert row_of(state, TWIN)["fields"] == {}
    assert count(state, t.activity, t.activity.c.asset == ASSET) == 2  # Salesforce's calls
    assert count(state, t.activity, t.activity.c.who == f"email/{ADDRESS}") == 0  # HubSpot's form
    # What HubSpot still lists under the address is not theirs to keep, until a new contact carries it.
    form = an_activity("f9", "form_submit", ADDRESS, system="hubspot", object="form")
    assert put(state, settings, form).refused == 1
    again = replace(the_twin(), ref=RecordRef("hubspot", "contact", "7002"))
    assert put(state, settings, again, form).refused == 0
    assert numbers(state)[again.ref] == person
    assert count(state, t.activity, t.activity.c.source_id == "f9", t.activity.c.person_id == person) == 1


def test_an_address_that_a_living_record_has_is_kept(state: State, settings: Settings) -> None:
    settle(state, settings)
    put(state, settings, a_record("7005", system="hubspot", email=ADDRESS), gone(TWIN))
    assert count(state, t.activity, t.activity.c.who == f"email/{ADDRESS}") == 1
    assert count(state, t.activity, t.activity.c.who == f"email/{SECOND}") == 1


def test_an_ordinary_deletion_can_be_taken_back_whole(state: State, settings: Settings) -> None:
    settle(state, settings)
    put(state, settings, Tombstone(CONTACT, NOW), Tombstone(TWIN, NOW))
    purge(state, settings, NOW + 29 * DAY_MS)
    assert NAME in everything(state)
    put(state, settings, the_contact(modified_at=NOW + 29 * DAY_MS), the_twin())
    person = numbers(state)[CONTACT]
    assert numbers(state)[TWIN] == person
    with state.read() as connection:
        theirs = select(t.activity.c.source_id).where(t.activity.c.person_id == person)
        assert set(connection.execute(theirs).scalars()) == {"00TL", "00TM", "f1"}


def test_after_its_retention_an_ordinary_deletion_is_for_good(state: State, settings: Settings) -> None:
    settle(state, settings)
    put(state, settings, Tombstone(CONTACT, NOW), Tombstone(TWIN, NOW), Tombstone(ref("deal", "006L"), NOW))
    done = purge(state, settings, NOW + 30 * DAY_MS)
    assert (done.people, done.deals, done.rewritten) == (3, 1, True)
    assert found_in(everything(state)) == []
    assert purge(state, settings, NOW + 31 * DAY_MS).people == 0
    assert count(state, t.outbox, t.outbox.c.key.like("key-003L-%")) == 2


def test_a_merged_record_is_emptied_and_its_activities_stay_with_the_survivor(state: State, settings: Settings) -> None:
    person = settle(state, settings)
    purge(state, settings, NOW + 40 * DAY_MS)
    assert row_of(state, LEAD)["fields"] == {}
    assert row_of(state, LEAD)["successor_id"] == CONTACT.id
    assert count(state, t.activity, t.activity.c.source_id == "00TM", t.activity.c.person_id == person) == 1
    put(state, settings, the_contact(modified_at=NOW + 1))
    assert numbers(state)[CONTACT] == person


def test_a_deletion_that_proves_permanent_later_is_emptied_then(state: State, settings: Settings) -> None:
    settle(state, settings)
    put(state, settings, Tombstone(CONTACT, NOW))
    assert list(buried_refs(state, "salesforce")) == [CONTACT]  # the lead lives on in it
    assert row_of(state, CONTACT)["fields"] != {}
    put(state, settings, gone(CONTACT))
    assert row_of(state, CONTACT)["fields"] == {}
    assert list(buried_refs(state, "salesforce")) == []


def test_companies_that_are_gone_are_emptied(state: State, settings: Settings) -> None:
    put(state, settings, an_account("001A", NAME), an_account("001B", NAME), a_deal("006X", name=NAME))
    put(
        state, settings, gone(ref("account", "001A")), Tombstone(ref("account", "001B"), NOW), gone(ref("deal", "006X"))
    )
    purge(state, settings, NOW + DAY_MS)
    with state.read() as connection:
        left = dict(connection.execute(select(t.account.c.id, t.account.c.fields)).all())
    assert (left["001A"], left["001B"]["company"]) == ({}, NAME)
    purge(state, settings, NOW + 30 * DAY_MS)
    assert found_in(everything(state)) == []


def test_the_state_knows_them_before_they_leave(state: State, settings: Settings) -> None:
    """Guards the tests above: the world really holds every canary."""
    settle(state, settings)
    assert set(found_in(everything(state))) == set(CANARIES)
