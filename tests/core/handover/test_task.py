"""Next step, working days, record, owner and key."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.handover import (
    Episode,
    NextStep,
    OwnerChoice,
    TaskRecord,
    add_working_days,
    choose_owner,
    choose_record,
    describe_next_step,
    is_working_day,
    key_record,
    next_step,
    next_working_day,
    task_key,
)
from core.records import Owner, RecordRef, to_date, to_day

FRIDAY = to_day(date(2025, 11, 21))
MONDAY = FRIDAY + 3
HOLIDAYS = frozenset({MONDAY})  # 2025-11-24, substitute holiday


def test_working_days() -> None:
    assert next_working_day(FRIDAY) == MONDAY
    assert next_working_day(FRIDAY, HOLIDAYS) == MONDAY + 1
    assert next_working_day(MONDAY) == MONDAY + 1
    assert add_working_days(FRIDAY, 0) == FRIDAY
    assert add_working_days(FRIDAY, 5) == FRIDAY + 7
    assert not is_working_day(FRIDAY + 1)
    assert not is_working_day(MONDAY, HOLIDAYS)


@given(st.integers(-50_000, 50_000), st.integers(0, 15), st.frozensets(st.integers(-50_000, 50_000), max_size=5))
def test_working_days_are_counted_one_by_one(day: int, count: int, holidays: frozenset[int]) -> None:
    end = add_working_days(day, count, holidays)
    between = [d for d in range(day + 1, end + 1) if to_date(d).weekday() < 5 and d not in holidays]
    assert len(between) == count
    assert count == 0 or end == between[-1]


@pytest.mark.parametrize(
    ("band", "step"),
    [
        ("A", NextStep("call", "hot", MONDAY)),
        ("B", NextStep("nurture", "developing")),
        ("C", NextStep("nurture", "developing")),
        ("D", NextStep("leave", "cold")),
    ],
)
def test_next_step_by_band(band: str, step: NextStep) -> None:
    assert next_step(band, today=FRIDAY) == step


def test_opted_out_and_recontact_wait() -> None:
    assert next_step("A", today=FRIDAY, opted_out=True) == NextStep("wait", "opted_out")
    assert next_step("D", today=FRIDAY, recontact_on=FRIDAY + 9) == NextStep("wait", "recontact_ahead", FRIDAY + 9)
    assert next_step("A", today=FRIDAY, recontact_on=FRIDAY).step == "call"


def test_the_due_day_does_not_move_on_with_today() -> None:
    assert next_step("A", today=FRIDAY + 20, since=FRIDAY, holidays=HOLIDAYS).due == MONDAY + 1


@pytest.mark.parametrize("language", ["ja", "en"])
def test_next_steps_have_words(language: str) -> None:
    steps = [next_step(band, today=FRIDAY) for band in "ABD"]
    steps += [next_step("A", today=FRIDAY, opted_out=True), next_step("A", today=FRIDAY, recontact_on=MONDAY)]
    sentences = [describe_next_step(step, language) for step in steps]
    assert len(set(sentences)) == len(sentences)
    assert all(len(sentence) <= 255 for sentence in sentences)
    assert (
        describe_next_step(steps[0], language)
        == {"ja": "11/24(月)までにお電話ください", "en": "Call by 2025-11-24"}[language]
    )


# --- record and owner ------------------------------------------------------------------------------------------------

CONTACT = TaskRecord(RecordRef("crm", "contact", "c1"), "salesforce", 5)
LEAD = TaskRecord(RecordRef("crm", "lead", "q1"), "salesforce", 1)
HUBSPOT = TaskRecord(RecordRef("ma", "contact", "1"), "hubspot", 0)


def test_salesforce_contact_before_lead_before_hubspot() -> None:
    assert choose_record([HUBSPOT, LEAD, CONTACT]) == CONTACT
    assert choose_record([HUBSPOT, LEAD]) == LEAD
    assert choose_record([HUBSPOT]) == HUBSPOT
    assert choose_record([]) is None


def test_only_live_records_get_tasks() -> None:
    gone = TaskRecord(CONTACT.ref, "salesforce", 5, live=False)
    assert choose_record([gone, HUBSPOT]) == HUBSPOT
    assert choose_record([gone]) is None


def test_order_names_vendors_or_connections() -> None:
    assert choose_record([HUBSPOT, LEAD], order=[("hubspot", "contact"), ("salesforce", "lead")]) == HUBSPOT
    assert choose_record([HUBSPOT, LEAD], order=[("ma", "contact")]) == HUBSPOT
    assert choose_record([LEAD], order=[("hubspot", "contact")]) is None


def test_among_equals_the_previous_then_the_oldest_then_the_lowest() -> None:
    older, newer = (TaskRecord(RecordRef("crm", "lead", name), "salesforce", at) for name, at in (("q9", 1), ("q2", 2)))
    twin = TaskRecord(RecordRef("crm", "lead", "q1"), "salesforce", 1)
    assert choose_record([newer, older]) == older
    assert choose_record([older, twin]) == twin
    assert choose_record([newer, older], previous=newer.ref) == newer
    assert choose_record([newer, CONTACT], previous=newer.ref) == CONTACT


def owner(name: str, *, active: bool = True, queue: bool = False) -> Owner:
    return Owner(RecordRef("crm", "owner", name), name, f"{name}@seller.example", active, queue)


OWNERS = {
    "005a": owner("005a"),
    "005b": owner("005b", active=False),
    "005c": owner("005c"),
    "00Gq": owner("00Gq", queue=True),
}


@pytest.mark.parametrize(
    ("owner_id", "fallback", "choice"),
    [
        ("005a", "005c", OwnerChoice("005a", "record_owner")),
        ("005b", "005c", OwnerChoice("005c", "fallback_owner")),
        ("00Gq", "005c", OwnerChoice("005c", "fallback_owner")),
        ("00Gq", "005C@Seller.example", OwnerChoice("005c", "fallback_owner")),
        (None, "005c", OwnerChoice("005c", "fallback_owner")),
        ("unknown", None, OwnerChoice(None, "unassigned")),
        ("005b", "005b", OwnerChoice(None, "unassigned")),
        (None, "00Gq", OwnerChoice(None, "unassigned")),
        (None, "", OwnerChoice(None, "unassigned")),
    ],
)
def test_owner_chain(owner_id: str | None, fallback: str | None, choice: OwnerChoice) -> None:
    assert choose_owner(owner_id, OWNERS, fallback) == choice


# --- key -------------------------------------------------------------------------------------------------------------


def test_the_key_is_fixed_for_ever() -> None:
    key = task_key("salesforce", RecordRef("salesforce", "lead", "00Q000000000001"), "sales", 1)
    assert key == "mk1-3sbtobco4y456ljbq46jyp3kq6npusml64maxz66cge3ezoctitq"


@given(st.text(max_size=5), st.text(max_size=5), st.text(max_size=5), st.integers(1, 9))
def test_keys_fit_the_field_and_differ_with_every_part(connection: str, number: str, name: str, episode: int) -> None:
    record = RecordRef(connection, "lead", number)
    key = task_key(connection, record, name, episode)
    assert key == task_key(connection, record, name, episode) == key.lower()
    assert key.startswith("mk1-")
    assert len(key) == 56
    assert set(key[4:]) <= set("abcdefghijklmnopqrstuvwxyz234567")
    others = {
        task_key(connection + "x", record, name, episode),
        task_key(connection, RecordRef(connection, "contact", number), name, episode),
        task_key(connection, RecordRef(connection, "lead", number + "x"), name, episode),
        task_key(connection, record, name + "x", episode),
        task_key(connection, record, name, episode + 1),
        key,
    }
    assert len(others) == 6


def test_the_key_names_the_record_of_the_first_task() -> None:
    first, second = LEAD.ref, CONTACT.ref
    episodes = [
        Episode(3, "sales", "offered", 3, record=second),
        Episode(2, "sales", "offered", 2, record=first),
        Episode(1, "sales", "offered", 1, seeded=True),
    ]
    assert key_record(episodes, second) == first
    assert key_record([], second) == second
