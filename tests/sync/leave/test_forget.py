"""`mikomi forget`: nothing personal stays, others lose nothing, and the door stays shut."""

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select, update
from sqlalchemy.engine import make_url

from core.errors import InvalidInput, InvalidSettings, StateError
from core.records import ActivityRow, Deal, RecordRef, Tombstone
from sync.forget import CLEARED, find_leaver, forget
from sync.retention import purge_daily
from sync.settings import Settings
from sync.state import State, open_state
from sync.state import schema as t
from sync.state.mirror.erase import ERASED_WITH_IT
from sync.state.mirror.forgotten import refused
from tests.sync.builders import NOW, a_deal, a_record, an_activity, ref
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
    found_in_files,
    numbers,
    put,
    settle,
    the_contact,
    the_twin,
    their_facts,
)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIKOMI_STATE_KEY", "k" * 40)


def test_nothing_personal_stays(state: State, settings: Settings, tmp_path: Path) -> None:
    settle(state, settings)
    assert set(found_in(everything(state))) == set(CANARIES)
    leaver, rewritten = forget(state, ADDRESS, now=NOW)
    assert rewritten
    assert {CONTACT, LEAD, TWIN} <= set(leaver.refs)
    assert leaver.unsent == 1
    assert found_in(everything(state)) == []
    assert found_in_files(tmp_path) == []


def test_others_keep_everything(state: State, settings: Settings) -> None:
    settle(state, settings)
    with state.read() as connection:
        before = [dict(row) for row in connection.execute(select(t.record).where(t.record.c.id == "003K")).mappings()]
    forget(state, ADDRESS, now=NOW)
    with state.read() as connection:
        after = [dict(row) for row in connection.execute(select(t.record).where(t.record.c.id == "003K")).mappings()]
    assert after == before
    assert numbers(state) == {OTHER: before[0]["person_id"]}
    assert (count(state, t.activity), count(state, t.change), count(state, t.score), count(state, t.handover)) == (
        1,
    ) * 4
    assert count(state, t.deal, t.deal.c.name == "平野工業 更新") == 1
    assert count(state, t.outbox, t.outbox.c.key == "key-003K-2", t.outbox.c.state == "new") == 1


def test_keys_stay_and_unsent_tasks_are_taken_back(state: State, settings: Settings) -> None:
    settle(state, settings)
    with state.begin() as connection:  # one is under way: its outcome may never be known
        connection.execute(update(t.outbox).where(t.outbox.c.key == "key-003L-2").values(state="unknown"))
    forget(state, ADDRESS, now=NOW)
    with state.read() as connection:
        rows = connection.execute(select(t.outbox).where(t.outbox.c.key.like("key-003L-%"))).mappings()
        kept = {row["key"]: (row["state"], row["payload"], row["message"], row["crm_id"]) for row in rows}
    assert kept == {
        "key-003L-1": ("done", {}, None, "00T9"),
        "key-003L-2": ("cancelled", {}, ERASED_WITH_IT, None),
    }


def test_our_fields_in_the_crm_are_emptied_once(state: State, settings: Settings) -> None:
    settle(state, settings)
    forget(state, ADDRESS, now=NOW)
    with state.read() as connection:
        owed = connection.execute(
            select(t.outbox).where(t.outbox.c.effect == "fields", t.outbox.c.state == "new")
        ).mappings()
        rows = [(row["id"], row["person_id"], row["payload"]["values"]) for row in owed]
    assert rows == [("003L", 0, dict.fromkeys(CLEARED))]
    assert "score" in CLEARED
    assert "reasons" in CLEARED
    assert "handover_no" not in CLEARED
    assert "feedback_note" not in CLEARED


def test_whatever_the_crms_say_again_is_turned_away(state: State, settings: Settings) -> None:
    settle(state, settings)
    forget(state, ADDRESS, now=NOW)
    put(state, settings)
    before = everything(state)
    again = [fact for fact in their_facts() if not isinstance(fact, Deal)]
    stored = put(state, settings, *again)
    assert stored.refused == len(again)
    assert everything(state) == before
    assert put(state, settings, *(f for f in their_facts() if isinstance(f, Deal))).refused == 1
    assert found_in(everything(state)) == []


@pytest.mark.parametrize(
    "fact",
    [
        a_record("003Z", email=ADDRESS, fields={"last_name": NAME}),
        a_record("003Z", email="K.Taro@private.example".lower(), fields={"last_name": NAME}),
        a_record("8", system="hubspot", email="new@elsewhere.example", links=(CONTACT,), fields={"last_name": NAME}),
        a_record(
            "8", system="hubspot", emails=("new@elsewhere.example",), absorbed=("7001",), fields={"last_name": NAME}
        ),
        a_record("00QZ", kind="lead", successor=CONTACT, fields={"last_name": NAME}),
    ],
    ids=["address", "second address", "linked twin", "merged into another", "converted into them"],
)
def test_new_records_of_them_are_recognised(state: State, settings: Settings, fact: object) -> None:
    settle(state, settings)
    forget(state, ADDRESS, now=NOW)
    # Activities may come before the record they hang on: they go when it is recognised.
    at = fact.ref  # type: ignore[attr-defined]
    put(state, settings, an_activity("00TZ", "call", at, asset=ASSET, system=at.system))
    assert put(state, settings, fact).refused == 1  # type: ignore[arg-type]
    assert found_in(everything(state)) == []
    assert put(state, settings, an_activity("00TY", "call", at, asset=ASSET, system=at.system)).refused == 1
    with state.read() as connection:
        assert refused(connection, [at, OTHER]) == {at}


def test_a_record_that_a_forgotten_one_is_merged_into_goes_too(state: State, settings: Settings) -> None:
    settle(state, settings)
    survivor = a_record("003S", email="other@elsewhere.example", fields={"last_name": NAME, "company": "別会社"})
    put(state, settings, survivor)
    forget(state, ADDRESS, now=NOW)
    assert survivor.ref in numbers(state)
    put(state, settings, Tombstone(CONTACT, NOW, survivor.ref))
    assert survivor.ref not in numbers(state)
    assert found_in(everything(state)) == []
    assert put(state, settings, survivor).refused == 1


def test_role_mailboxes_belong_to_nobody(state: State, settings: Settings) -> None:
    with state.read() as connection, pytest.raises(InvalidInput, match="function"):
        find_leaver(connection, "info@songbird.example")
    shared = "info@plain.example"
    put(state, settings, replace(the_contact(), emails=(ADDRESS, shared)), a_record("003K", email=shared))
    forget(state, str(CONTACT), now=NOW)
    assert set(numbers(state)) == {OTHER}
    assert put(state, settings, a_record("003M", email=shared)).refused == 0


def test_somebody_unknown_is_refused_from_then_on(state: State, settings: Settings) -> None:
    put(state, settings, an_activity("f1", "form_submit", ADDRESS, system="hubspot", object="form"))
    leaver, _ = forget(state, f" {ADDRESS.upper()} ", now=NOW)
    assert (leaver.refs, leaver.activities) == ((), 1)
    assert found_in(everything(state)) == []
    assert put(state, settings, the_contact(), the_twin()).refused == 2


def test_by_record_and_by_short_id(state: State, settings: Settings) -> None:
    put(state, settings, a_record("0035g00000XyZAbAAN", email=ADDRESS))
    with state.read() as connection:
        found = find_leaver(connection, "salesforce/contact/0035g00000XyZAb")
    assert found.refs == (ref("contact", "0035g00000XyZAbAAN"),)
    assert found.emails == (ADDRESS,)


@pytest.mark.parametrize("who", ["", "taro", "#12", "salesforce/deal/006", "a/b", "salesforce//003"])
def test_what_is_no_person_is_said_so(state: State, who: str) -> None:
    with state.read() as connection, pytest.raises(InvalidInput, match="e-mail address, or a record"):
        find_leaver(connection, who)


def test_without_the_key_the_door_stays_closed(
    state: State, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget(state, ADDRESS, now=NOW)
    monkeypatch.setenv("MIKOMI_STATE_KEY", "other" * 10)
    with pytest.raises(StateError, match="state key is not the one"):
        put(state, settings, the_contact())
    assert count(state, t.record) == 0
    monkeypatch.setenv("MIKOMI_STATE_KEY", "k" * 40)
    assert put(state, settings, the_contact()).refused == 1


def test_nobody_is_forgotten_without_a_key(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MIKOMI_STATE_KEY")
    memory = open_state("sqlite://")
    put(memory, settings, the_contact())
    with pytest.raises(InvalidSettings, match="no file"):
        forget(memory, ADDRESS, now=NOW)
    assert set(numbers(memory)) == {CONTACT}
    memory.close()


def test_the_hashes_cannot_be_guessed_without_the_key(state: State, tmp_path: Path) -> None:
    import hashlib
    import hmac

    forget(state, ADDRESS, now=NOW)
    with state.read() as connection:
        stored = set(connection.execute(select(t.forgotten.c.hash)).scalars())
    for text in (ADDRESS, f"email\x1f{ADDRESS}"):
        assert hashlib.sha256(text.encode()).hexdigest() not in stored
        assert hmac.digest(b"", text.encode(), "sha256").hex() not in stored
    if make_url(state.url).get_backend_name() == "sqlite":
        assert b"k" * 40 not in (tmp_path / "state.sqlite3").read_bytes()


def test_a_row_about_several_loses_only_theirs(state: State, settings: Settings) -> None:
    settle(state, settings)
    forget(state, ADDRESS, now=NOW)
    mine = an_activity("00TX", "meeting", CONTACT)
    shared = replace(mine, activities=(*mine.activities, *an_activity("00TX", "meeting", OTHER).activities))
    assert isinstance(shared, ActivityRow)
    assert put(state, settings, shared).refused == 1
    assert count(state, t.activity, t.activity.c.source_id == "00TX") == 1
    deal = a_deal("9", system="hubspot", people=(TWIN, RecordRef("hubspot", "contact", "8")))
    put(state, settings, deal)
    assert count(state, t.deal_role, t.deal_role.c.id == "7001") == 0
    assert SECOND not in everything(state)


def test_the_audit_log_says_it_without_saying_whom(state: State, settings: Settings) -> None:
    person = settle(state, settings)
    forget(state, ADDRESS, now=NOW)
    with state.read() as connection:
        row = connection.execute(select(t.audit).order_by(t.audit.c.seq.desc()).limit(1)).mappings().one()
    assert (row["action"], row["subject"]) == ("forget", f"person {person}")
    assert row["new"]["records"] == 3


def test_killed_before_the_file_was_rewritten_the_next_pass_does_it(
    state: State, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stop(BaseException):
        pass

    def die(_: State) -> bool:
        raise Stop

    settle(state, settings)
    monkeypatch.setattr("sync.forget.rewrite_pages", die)
    with pytest.raises(Stop):
        forget(state, ADDRESS, now=NOW)
    assert found_in(everything(state)) == []
    left = purge_daily(state, settings, NOW, daily=False)
    assert left is not None
    assert left.rewritten


def test_several_people_behind_one_address_are_not_guessed_away(state: State, settings: Settings) -> None:
    shared = "kenji@shared.example"
    for id, name in (("003P", "宮本"), ("003Q", "原")):
        put(state, settings, a_record(id, email=shared, fields={"last_name": name}))
    assert len(set(numbers(state).values())) == 2
    before = everything(state)
    with pytest.raises(InvalidInput, match="2 people hang on this address") as caught:
        forget(state, shared, now=NOW)
    assert "--everyone" in (caught.value.hint or "")
    assert everything(state) == before
    leaver, _ = forget(state, shared, everyone=True, now=NOW)
    assert len(leaver.people) == 2
    assert count(state, t.record) == 0
