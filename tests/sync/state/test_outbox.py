"""The outbox: the latest values win, a key is owed once for ever, a claim is won once."""

from sqlalchemy import select

from core.records import DAY_MS, RecordRef
from sync.state import State, deadletters, outbox
from sync.state import schema as t

REF = RecordRef("salesforce", "contact", "003A")
PAYLOAD = {"values": {"score": 80, "band": "A"}, "reason_key": "r"}


def want(state: State, score: int) -> bool:
    with state.begin() as connection:
        payload = {"values": {"score": score}, "reason_key": "r"}
        return outbox.want_fields(connection, {REF: (1, payload)}, now=1) == [REF]


def rows(state: State) -> list[tuple[str, int, object]]:
    with state.read() as connection:
        found = connection.execute(select(t.outbox.c.state, t.outbox.c.version, t.outbox.c.payload)).all()
        return [(state, version, payload["values"]) for state, version, payload in found]


def claim(state: State) -> list[outbox.Entry]:
    with state.begin() as connection:
        return outbox.claim(connection, "salesforce", outbox.FIELDS, 10, now=5)


def test_the_latest_values_win(state: State) -> None:
    assert want(state, 50)
    assert want(state, 60)
    assert not want(state, 60)
    assert rows(state) == [("new", 2, {"score": 60})]


def test_of_many_records_only_those_with_news_are_owed(state: State) -> None:
    refs = [RecordRef(system, "contact", f"003{n}") for n in range(4) for system in ("salesforce", "hubspot")]

    def owe(**scores: int) -> list[RecordRef]:
        wanted = {
            ref: (n, {"values": {"score": scores[f"_{ref.id[-1]}"]}, "reason_key": "r"}) for n, ref in enumerate(refs)
        }
        with state.begin() as connection:
            return outbox.want_fields(connection, wanted, now=1)

    assert owe(_0=0, _1=1, _2=2, _3=3) == refs
    with state.begin() as connection:
        dead, late, *_ = outbox.claim(connection, "salesforce", outbox.FIELDS, 2, now=5)
        outbox.settle_dead(connection, dead, state="dead", code="RULE", message="", now=5)
        outbox.settle_later(connection, [late], due_at=6, code="Timeout", message="", hold_until=90)
    assert owe(_0=0, _1=11, _2=2, _3=33) == [ref for ref in refs if ref.id[-1] in "13"]
    with state.read() as connection:
        found = connection.execute(select(t.outbox).order_by(t.outbox.c.outbox_id)).mappings().all()
    assert [RecordRef(row["system"], row["kind"], row["id"]) for row in found] == refs
    assert [(row["state"], row["version"], row["due_at"], row["payload"]["values"]["score"]) for row in found] == [
        ("dead", 1, 1, 0), ("new", 1, 1, 0), ("new", 2, 90, 11), ("new", 2, 1, 11),
        ("new", 1, 1, 2), ("new", 1, 1, 2), ("new", 2, 1, 33), ("new", 2, 1, 33),
    ]  # fmt: skip
    assert owe(_0=10, _1=11, _2=2, _3=33) == refs[:2], "what was refused for good is owed again when it differs"


def test_a_claim_keeps_the_longer_hold(state: State) -> None:
    want(state, 50)
    for hold, held in ((100, 105), (10, 105), (300, 305)):
        with state.begin() as connection:
            [entry] = outbox.claim(connection, "salesforce", outbox.FIELDS, 10, now=5, hold=hold)
            kept = connection.execute(select(t.outbox.c.hold_until, t.outbox.c.attempts, t.outbox.c.sent_at)).one()
            assert (kept.hold_until, kept.attempts, kept.sent_at) == (held, entry.attempts + 1, 5)
            outbox.settle_later(connection, [entry], due_at=5, code="Throttled", message="", hold_until=kept.hold_until)


def test_a_claim_is_won_once(state: State) -> None:
    want(state, 50)
    assert len(claim(state)) == 1
    assert claim(state) == []
    assert rows(state)[0][0] == "unknown"


def test_what_was_owed_meanwhile_is_still_owed(state: State) -> None:
    want(state, 50)
    (entry,) = claim(state)
    want(state, 60)
    with state.begin() as connection:
        outbox.settle_done(connection, [(entry, None)], now=6)
        known = outbox.acknowledged(connection, [REF])
    assert rows(state) == [("new", 2, {"score": 60})]
    assert known[REF]["values"] == {"score": 50}


def test_a_dead_run_leaves_its_claims_to_the_next(state: State) -> None:
    want(state, 50)
    claim(state)
    with state.begin() as connection:
        assert outbox.reclaim(connection, "salesforce", now=5) == 1
    assert len(claim(state)) == 1


def test_what_a_clock_that_stood_ahead_put_off_comes_in_an_hour(state: State) -> None:
    year, hour = 365 * DAY_MS, 3_600_000
    want(state, 50)
    (entry,) = claim(state)
    with state.begin() as connection:
        outbox.settle_later(connection, [entry], due_at=year, code="busy", message="", hold_until=year)
        outbox.shorten_waits(connection, now=10, longest=hour)
        assert outbox.claim(connection, "salesforce", outbox.FIELDS, 10, now=9 + hour) == []
        (again,) = outbox.claim(connection, "salesforce", outbox.FIELDS, 10, now=10 + hour)
        assert again.hold_until == 10 + hour


def test_what_waits_for_less_than_a_day_goes_on_waiting(state: State) -> None:
    """A clock that jumps back and soon forward again must not shorten the time in which a lost request may be carried out."""
    want(state, 50)
    (entry,) = claim(state)
    with state.begin() as connection:
        outbox.settle_later(connection, [entry], due_at=DAY_MS, code="busy", message="", hold_until=DAY_MS)
        outbox.shorten_waits(connection, now=10, longest=300)
        assert outbox.claim(connection, "salesforce", outbox.FIELDS, 10, now=DAY_MS - 1) == []


def test_one_key_is_owed_once_for_ever(state: State) -> None:
    task = {"owner_id": "005", "subject": "s", "body": "b", "due": 1, "priority": "high"}
    with state.begin() as connection:
        assert outbox.want_task(connection, REF, 1, "mk1-a", task, now=1)
        assert not outbox.want_task(connection, REF, 1, "mk1-a", task, now=2)
        (entry,) = outbox.claim(connection, "salesforce", outbox.TASK, 10, now=5)
        outbox.settle_done(connection, [(entry, "00T1")], now=6)
        assert not outbox.want_task(connection, REF, 1, "mk1-a", task, now=7)
        assert outbox.claim(connection, "salesforce", outbox.TASK, 10, now=9) == []


def test_a_refused_row_waits_its_time(state: State) -> None:
    want(state, 50)
    (entry,) = claim(state)
    with state.begin() as connection:
        outbox.settle_later(connection, [entry], due_at=100, code="UNABLE_TO_LOCK_ROW", message="locked")
    assert claim(state) == []
    with state.begin() as connection:
        assert len(outbox.claim(connection, "salesforce", outbox.FIELDS, 10, now=100)) == 1


def test_a_dead_row_is_kept_with_its_reason(state: State) -> None:
    want(state, 50)
    (entry,) = claim(state)
    with state.begin() as connection:
        outbox.settle_dead(
            connection, entry, state="dead", code="FIELD_CUSTOM_VALIDATION_EXCEPTION", message="no", now=6
        )
    with state.read() as connection:
        (dead,) = deadletters.list_dead(connection)
    assert (dead.code, dead.message) == ("FIELD_CUSTOM_VALIDATION_EXCEPTION", "no")


def test_a_dead_row_lives_again_when_it_owes_something_else(state: State) -> None:
    want(state, 50)
    (entry,) = claim(state)
    with state.begin() as connection:
        outbox.settle_dead(connection, entry, state="dead", code="X", message="", now=6)
    assert want(state, 70)
    assert rows(state) == [("new", 2, {"score": 70})]


def test_a_dead_task_that_may_have_been_made_is_looked_for_before_it_is_cancelled(state: State) -> None:
    task = {"owner_id": "005", "subject": "s", "body": "b", "due": 1, "priority": "high"}
    with state.begin() as connection:
        for key, hold in (("mk1-a", 500), ("mk1-b", None)):
            outbox.want_task(connection, REF, 1, key, task, now=1)
            [entry] = outbox.claim(connection, "salesforce", outbox.TASK, 10, now=5)
            outbox.settle_dead(connection, entry, state="dead", code="X", message="", now=5, hold_until=hold)
        assert outbox.cancel_tasks(connection, 1, reason="the person opted out", now=9) == 1
        [doubtful] = outbox.unresolved(connection, "salesforce")
        assert (doubtful.key, doubtful.code, doubtful.hold_until) == ("mk1-a", outbox.CANCELLED, 500)
        outbox.release(connection, doubtful, now=600)
        assert outbox.claim(connection, "salesforce", outbox.TASK, 10, now=900) == []
        assert {entry.state for entry in outbox.tasks_of(connection, [1])} == {"cancelled"}
