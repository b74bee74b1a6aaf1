"""Dead letters: one cause for what is one, letters that stay, and a second life when the cause may be gone."""

import pytest
from sqlalchemy import event, select

from connectors import SetupStep
from core.records import RecordRef
from sync.deliver import notice_description
from sync.state import State, deadletters, outbox
from sync.state import schema as t

RULE = "FIELD_CUSTOM_VALIDATION_EXCEPTION"


def bury(state: State, name: str, *, code: str = RULE, message: str = "", task: bool = False, now: int = 5) -> int:
    """A write that died; its number."""
    ref = RecordRef("salesforce", "contact", name)
    with state.begin() as connection:
        if task:
            payload = {"owner_id": "005", "subject": "s", "body": "b", "due": 1, "priority": "high"}
            outbox.want_task(connection, ref, 1, f"mk1-{name}", payload, now=1)
        else:
            outbox.want_fields(connection, {ref: (1, {"values": {"score": 5}, "reason_key": "r"})}, now=1)
        effect = outbox.TASK if task else outbox.FIELDS
        [entry] = outbox.claim(connection, "salesforce", effect, 10, now=now)
        outbox.settle_dead(connection, entry, state="dead", code=code, message=message, now=now)
        return entry.outbox_id


def causes(state: State) -> list[deadletters.Cause]:
    with state.read() as connection:
        return deadletters.group_by_cause(deadletters.list_dead(connection))


def states(state: State) -> dict[str, str]:
    with state.read() as connection:
        return {row.id: row.state for row in connection.execute(select(t.outbox))}


def test_refusals_that_are_one_have_one_cause_with_the_rules_own_words(state: State) -> None:
    first = bury(state, "003A", message=f"{RULE}: 電話番号は必須です (correlation id 0f3a-1)")
    second = bury(state, "003B", message=f"{RULE}:  電話番号は必須です (correlation id 77aa-2)")
    other = bury(state, "003C", code="STRING_TOO_LONG", message="003000000000012AAA is too long: 40012")
    [big, small] = causes(state)
    assert (big.ids, big.message, big.code) == ((first, second), f"{RULE}: 電話番号は必須です", RULE)
    assert (small.ids, small.message) == ((other,), "… is too long: …")


def test_the_letters_of_a_cause_stay_while_others_come_and_go(state: State) -> None:
    bury(state, "003A", message="one")
    [only] = causes(state)
    for n in range(20):
        bury(state, f"004{n:02}", message=f"cause {'abcdefghijklmnopqrst'[n]}")
    found = {c.message: c.letters for c in causes(state)}
    assert len(set(found.values())) == 21
    assert found["one"].startswith(only.letters)
    assert not {"all"} & set(found.values())


def test_replay_and_planning_take_their_locks_in_one_order(state: State) -> None:
    """On a server two that lock in different orders stop each other; SQLite has one writer anyway."""
    number = bury(state, "003A")
    locked: list[str] = []
    event.listen(state.engine, "before_cursor_execute", lambda c, cursor, said, *rest: locked.append(said))
    with state.begin() as connection:
        entries = [entry for entry in deadletters.list_dead(connection) if entry.outbox_id == number]
        locked.clear()
        assert deadletters.revive(connection, entries, now=9) == 1
    changes = [said.split()[1].strip('"') for said in locked if said.startswith("UPDATE")]
    assert changes == ["outbox", "outbox", "person"]


@pytest.mark.parametrize("given_up", [False, True])
def test_a_dead_row_is_owed_again_only_when_its_content_changes(state: State, *, given_up: bool) -> None:
    bury(state, "003A")
    ref = RecordRef("salesforce", "contact", "003A")
    with state.begin() as connection:
        if given_up:
            assert deadletters.drop(connection, deadletters.list_dead(connection), reason="no use", now=8) == 1
        same = {"values": {"score": 5, "scored_at": 99, "score_version": 7}, "reason_key": "r"}
        assert not outbox.want_fields(connection, {ref: (1, same)}, now=9)
    assert states(state) == {"003A": "cancelled" if given_up else "dead"}
    with state.begin() as connection:
        assert outbox.want_fields(connection, {ref: (1, {"values": {"score": 6}, "reason_key": "r"})}, now=9)
    assert states(state) == {"003A": "new"}


def test_the_daily_pass_tries_again_what_may_pass_and_plans_the_person_anew(state: State) -> None:
    bury(state, "003A")
    bury(state, "003B", task=True)
    bury(state, "003C", task=True, code=deadletters.GONE)
    with state.begin() as connection:
        person = {"person_id": 1, "created_at": 1, "first_known_at": 1, "opted_out": False, "dirty": False}
        connection.execute(t.person.insert().values(**person, restated=False))
        assert deadletters.revive_all(connection, now=9) == 2
    assert states(state) == {"003A": "new", "003B": "new", "003C": "dead"}
    with state.read() as connection:
        assert connection.execute(select(t.person.c.dirty)).scalar_one()


def test_a_refused_task_whose_first_attempt_was_lost_is_looked_for_before_it_is_sent(state: State) -> None:
    ref = RecordRef("salesforce", "contact", "003A")
    payload = {"owner_id": "005", "subject": "s", "body": "b", "due": 1, "priority": "high"}
    with state.begin() as connection:
        outbox.want_task(connection, ref, 1, "mk1-a", payload, now=1)
        [entry] = outbox.claim(connection, "salesforce", outbox.TASK, 10, now=5)
        outbox.settle_dead(connection, entry, state="dead", code="X", message="", now=5, hold_until=500)
        assert deadletters.revive_all(connection, now=9) == 1
        assert [e.key for e in outbox.unresolved(connection, "salesforce")] == ["mk1-a"]
        assert outbox.claim(connection, "salesforce", outbox.TASK, 10, now=9) == []


def test_fields_described_anew_are_tried_again(state: State) -> None:
    class Org:
        name = "salesforce"

    steps = [SetupStep("field Lead.Mikomi_Score__c", "Score", done=True)]
    bury(state, "003A")
    notice_description(state, Org(), steps, 6)  # type: ignore[arg-type]
    notice_description(state, Org(), steps, 7)  # type: ignore[arg-type]
    assert states(state) == {"003A": "dead"}
    notice_description(state, Org(), [*steps, SetupStep("field Lead.Mikomi_Fit__c", "Fit", done=True)], 8)  # type: ignore[arg-type]
    assert states(state) == {"003A": "new"}


def test_what_is_dropped_is_kept_as_cancelled_and_its_key_for_ever(state: State) -> None:
    bury(state, "003A", task=True)
    with state.begin() as connection:
        dead = deadletters.list_dead(connection)
        assert deadletters.drop(connection, dead, reason="left the company", now=9) == 1
        assert deadletters.revive_all(connection, now=10) == 0
        payload = {"owner_id": "005", "subject": "s", "body": "b", "due": 1, "priority": "high"}
        assert not outbox.want_task(connection, dead[0].ref, 1, "mk1-003A", payload, now=11)
    assert states(state) == {"003A": "cancelled"}


@pytest.mark.parametrize("hostile", ["\0", "\ud800", "x" * 40_000])
def test_a_hostile_message_is_kept_as_far_as_it_can_be(state: State, hostile: str) -> None:
    bury(state, "003A", message=f"no{hostile}", code=f"C{hostile}")
    [cause] = causes(state)
    assert cause.message.startswith("no")


def test_a_task_in_doubt_of_a_person_who_opted_out_is_looked_for_and_not_made_again(state: State) -> None:
    ref = RecordRef("salesforce", "contact", "003A")
    payload = {"owner_id": "005", "subject": "s", "body": "b", "due": 1, "priority": "high"}
    with state.begin() as connection:
        outbox.want_task(connection, ref, 1, "mk1-a", payload, now=1)
        [entry] = outbox.claim(connection, "salesforce", outbox.TASK, 10, now=5)
        outbox.settle_unknown(connection, [entry], hold_until=50, code="OutcomeUnknown", message="")
        assert outbox.cancel_tasks(connection, 1, reason="the person opted out", now=6) == 0
        [doubtful] = outbox.unresolved(connection, "salesforce")
        outbox.release(connection, doubtful, now=60)
    assert states(state) == {"003A": "cancelled"}
