"""What the CRMs show against what they took from us: whose change it was, and when we stop."""

from typing import Any

import pytest
from sqlalchemy import select, update

from core.records import Record, RecordRef
from sync.drift import ContestedField, contested_fields, describe_contested, is_same, resume_field, settle_shown
from sync.settings import Pair
from sync.state import State, outbox
from sync.state import schema as t
from sync.state.contested import LIMIT, WITHIN_MS, left_alone
from sync.state.mirror import store
from sync.texts import speaker

OURS: dict[str, Any] = {"score": 80, "band": "A", "scored_at": 1_000_000, "score_version": 4, "handover_no": None}


def ref(number: int) -> RecordRef:
    return RecordRef("hubspot", "contact", str(number))


def show(state: State, number: int, **written: Any) -> None:
    """The CRM shows these values of ours, as read."""
    fields = {"last_name": "佐藤"}
    values = {name: value for name, value in written.items() if value is not None}
    record = Record(ref(number), fields, created_at=1, modified_at=2, written=values)
    with state.begin() as connection:
        store(connection, [record])
        connection.execute(update(t.record).where(t.record.c.id == str(number)).values(person_id=number))


def take(state: State, number: int, **values: Any) -> None:
    """The CRM acknowledges these values."""
    with state.begin() as connection:
        outbox.want_fields(connection, {ref(number): (number, {"values": values, "reason_key": "r"})}, now=1)
        (entry,) = outbox.claim(connection, "hubspot", outbox.FIELDS, 1, now=1)
        outbox.settle_done(connection, [(entry, None)], now=2)


def add_person(state: State, number: int) -> None:
    empty = {"created_at": 0, "first_known_at": 0, "opted_out": False, "dirty": False, "restated": False}
    with state.begin() as connection:
        connection.execute(t.person.insert().values(person_id=number, **empty))


def begin(state: State, number: int = 1) -> None:
    """A record that shows what it took."""
    add_person(state, number)
    show(state, number)
    take(state, number, **OURS)
    show(state, number, **OURS)
    drift = settle_shown(state, now=3)
    assert (drift.foreign, drift.repaired) == (0, 0)
    assert not is_dirty(state, number)


def is_dirty(state: State, number: int = 1) -> bool:
    with state.begin() as connection:
        dirty = connection.execute(select(t.person.c.dirty).where(t.person.c.person_id == number)).scalar_one()
        connection.execute(update(t.person).values(dirty=False))
    return bool(dirty)


def taken(state: State, number: int = 1) -> dict[str, Any]:
    with state.read() as connection:
        return dict(outbox.acknowledged(connection, [ref(number)])[ref(number)]["values"])


def rows(state: State) -> list[tuple[str, str, int]]:
    with state.read() as connection:
        found = connection.execute(select(t.contested).order_by(t.contested.c.id, t.contested.c.field)).mappings()
        return [(row["id"], row["field"], row["times"]) for row in found]


def test_our_own_write_that_comes_back_is_forgotten(state: State) -> None:
    begin(state)
    assert rows(state) == []
    with state.read() as connection:
        assert connection.execute(select(t.shown)).all() == []


def test_what_somebody_else_wrote_is_counted_and_owed_again(state: State) -> None:
    begin(state)
    show(state, 1, **{**OURS, "score": 12})
    drift = settle_shown(state, now=9)
    assert (drift.foreign, rows(state)) == (1, [("1", "score", 1)])
    assert "score" not in taken(state)
    assert taken(state)["band"] == "A"
    assert is_dirty(state)


def test_a_cleared_field_is_a_foreign_change(state: State) -> None:
    begin(state)
    show(state, 1, **{**OURS, "band": None})
    assert settle_shown(state, now=9).foreign == 1


def test_a_change_is_seen_although_our_write_was_never_read_back(state: State) -> None:
    add_person(state, 1)
    show(state, 1)
    take(state, 1, **OURS)
    show(state, 1, **{**OURS, "band": None})  # as before our write, but not as we left it
    assert (settle_shown(state, now=9).foreign, rows(state)) == (1, [("1", "band", 1)])


def test_fields_that_were_never_written_or_did_not_change_are_not_judged(state: State) -> None:
    add_person(state, 1)
    show(state, 1, trend="flat", band="B")
    take(state, 1, score=80)
    show(state, 1, trend="rising", band="B", score=80)
    assert (settle_shown(state, now=9).foreign, rows(state)) == (0, [])


def test_after_three_times_the_field_is_left_alone_on_that_record(state: State) -> None:
    begin(state)
    for time in range(1, LIMIT + 1):
        show(state, 1, **{**OURS, "score": 12})
        settle_shown(state, now=9)
        assert rows(state) == [("1", "score", time)]
        if time < LIMIT:
            take(state, 1, **OURS)
            show(state, 1, **OURS)
            assert settle_shown(state, now=9).foreign == 0
    show(state, 1, **{**OURS, "score": 13})
    assert settle_shown(state, now=9).foreign == 0, "what it does not take from us is nobody's concern"
    with state.read() as connection:
        (found,) = contested_fields(connection)
        assert found == ContestedField("hubspot", "score", records=1, records_left_alone=1, left_alone=False)


def fight(state: State, number: int, field: str, theirs: Any) -> None:
    begin(state, number)
    for _ in range(LIMIT):
        take(state, number, **OURS)
        show(state, number, **OURS)
        settle_shown(state, now=9)
        show(state, number, **{**OURS, field: theirs})
        settle_shown(state, now=9)


def test_after_three_such_records_it_is_left_alone_on_that_side_until_somebody_resumes_it(state: State) -> None:
    for number in (1, 2, 3):
        with state.read() as connection:
            assert left_alone(connection) == {}
        fight(state, number, "score", 12)
    with state.read() as connection:
        assert left_alone(connection) == {"hubspot": frozenset({"score"})}
        (found,) = contested_fields(connection)
    assert found.left_alone
    begin(state, 4)
    show(state, 4, **{**OURS, "score": 5, "band": "B"})
    assert settle_shown(state, now=9).foreign == 1, "only the band: the score is theirs now"
    for number in (1, 2, 3, 4):
        is_dirty(state, number)
    with state.begin() as connection:
        assert resume_field(connection, "hubspot", "score") == 4
        assert left_alone(connection) == {}
        assert contested_fields(connection) == [ContestedField("hubspot", "band", 1, 0, left_alone=False)]
        dirty = connection.execute(select(t.person.c.person_id).where(t.person.c.dirty)).scalars().all()
    assert sorted(dirty) == [1, 2, 3, 4]
    assert "score" not in taken(state, 4)
    with state.begin() as connection, pytest.raises(KeyError):
        resume_field(connection, "hubspot", "lead_status")


def test_a_late_commit_of_ours_is_put_right_and_held_against_nobody_the_first_time(state: State) -> None:
    begin(state)
    newer = {**OURS, "score": 90, "scored_at": 2_000_000, "score_version": 5}
    take(state, 1, **newer)
    show(state, 1, **newer)
    settle_shown(state, now=8)
    show(state, 1, **OURS)  # the old request was carried out after the new one
    drift = settle_shown(state, now=9)
    assert (drift.foreign, drift.repaired) == (0, 1)
    assert is_dirty(state)
    assert "score" not in taken(state)
    take(state, 1, **newer)
    show(state, 1, **newer)
    settle_shown(state, now=10)
    show(state, 1, **OURS)
    drift = settle_shown(state, now=11)
    assert (drift.foreign, rows(state)) == (1, [("1", "score", 1)]), "the same again is no accident"


def test_what_is_on_its_way_may_have_arrived(state: State) -> None:
    begin(state)
    newer = {**OURS, "score": 90, "scored_at": 2_000_000}
    with state.begin() as connection:
        outbox.want_fields(connection, {ref(1): (1, {"values": newer, "reason_key": "r"})}, now=5)
        outbox.claim(connection, "hubspot", outbox.FIELDS, 1, now=5)
    show(state, 1, **newer)
    drift = settle_shown(state, now=9)
    assert (drift.foreign, drift.repaired, rows(state)) == (0, 0, [])


def join(state: State, number: int, other: int) -> None:
    """Both records are one person's."""
    with state.begin() as connection:
        connection.execute(update(t.record).where(t.record.c.id == str(other)).values(person_id=number))


@pytest.mark.parametrize("carried", [77, None])
def test_what_we_wrote_to_another_record_of_the_person_is_ours_wherever_it_is_carried(
    state: State, carried: int | None
) -> None:
    begin(state, 1)
    begin(state, 2)
    join(state, 1, 2)
    take(state, 2, **{**OURS, "score": carried})
    for time in range(5):
        take(state, 1, **OURS)
        show(state, 1, **{**OURS, "score": carried})
        drift = settle_shown(state, now=9 + time)
        assert (drift.foreign, drift.repaired, rows(state)) == (0, 1, [("1", "score", 0)])
        assert is_dirty(state) is (time == 0), "once it is put right; the same again waits for the other record"
        assert "score" not in taken(state)
    take(state, 1, **OURS)
    show(state, 1, **{**OURS, "score": 12})
    assert settle_shown(state, now=20).foreign == 1, "but that is nobody's value of ours"
    assert is_dirty(state)


def test_what_is_on_its_way_to_another_record_of_the_person_is_ours_too(state: State) -> None:
    begin(state, 1)
    begin(state, 2)
    join(state, 1, 2)
    with state.begin() as connection:
        values = {**OURS, "score": 77}
        outbox.want_fields(connection, {ref(2): (1, {"values": values, "reason_key": "r"})}, now=5)
    show(state, 1, **{**OURS, "score": 77})
    drift = settle_shown(state, now=9)
    assert (drift.foreign, drift.repaired) == (0, 1)
    show(state, 1, **{**OURS, "score": 77, "band": "B"})
    assert settle_shown(state, now=9).foreign == 1


def test_another_persons_value_is_not_ours(state: State) -> None:
    begin(state, 1)
    begin(state, 2)
    take(state, 2, **{**OURS, "score": 77})
    show(state, 1, **{**OURS, "score": 77})
    assert settle_shown(state, now=9).foreign == 1


def change(state: State, number: int, now: int) -> None:
    """Somebody else changes the score of a record that showed ours; it is put right."""
    take(state, number, **OURS)
    show(state, number, **OURS)
    settle_shown(state, now=now)
    show(state, number, **{**OURS, "score": 12})
    assert settle_shown(state, now=now).foreign == 1


def test_a_change_now_and_then_never_adds_up(state: State) -> None:
    numbers = (1, 2, 3)
    for number in numbers:
        begin(state, number)
    for year in range(1, 5):
        for number in numbers:
            change(state, number, now=year * 365 * 86_400_000)
    assert rows(state) == [(str(number), "score", 1) for number in numbers]
    with state.read() as connection:
        assert left_alone(connection) == {}


def test_a_weekly_import_keeps_changing_it(state: State) -> None:
    begin(state, 1)
    for week in range(1, LIMIT + 1):
        change(state, 1, now=week * 7 * 86_400_000)
        assert rows(state) == [("1", "score", week)]


def test_the_side_gives_a_field_up_only_for_records_that_are_contested_at_the_same_time(state: State) -> None:
    times = (0, WITHIN_MS + 1, WITHIN_MS + 2, WITHIN_MS + 3)
    for number, start in enumerate(times, 1):
        with state.read() as connection:
            assert left_alone(connection) == {}
        begin(state, number)
        for time in range(LIMIT):
            change(state, number, now=start + time)
    with state.read() as connection:
        assert left_alone(connection) == {"hubspot": frozenset({"score"})}
        (found,) = contested_fields(connection)
    assert found.records_left_alone == 4


@pytest.mark.parametrize(
    ("field", "one", "other", "same"),
    [
        ("score", 80, 80.0, True),
        ("score", None, 0, False),
        ("reasons", "a\r\nb ", "a\nb", True),
        ("reasons", "", None, True),
        ("handed_over_at", 1_795_482_000_123, 1_795_482_000_000, True),
        ("handed_over_at", 1_795_482_001_000, 1_795_482_000_000, False),
        ("next_due", 20_781, 20_782, False),
        ("band", "A", "B", False),
    ],
)
def test_what_counts_as_the_same(field: str, one: Any, other: Any, same: bool) -> None:
    assert is_same(field, one, other) is same


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_remedy_is_named(language: str) -> None:
    pair = Pair(salesforce="salesforce", hubspot="hubspot")
    one = ContestedField("hubspot", "score", records=9, records_left_alone=5, left_alone=True)
    problem, remedy = describe_contested(one, pair, language, speaker(language))
    assert "mikomi_score" in problem
    assert "mikomi resume hubspot --field score" in remedy
    _, elsewhere = describe_contested(one, None, language, speaker(language))
    assert elsewhere != remedy
    for records, alone in ((2, 0), (2, 1)):
        less = ContestedField("hubspot", "score", records, alone, left_alone=False)
        assert describe_contested(less, pair, language, speaker(language))[0] != problem
