"""Hostile values at the mirror's door: both databases take what is left, nobody's row is lost, nothing blocks a page."""

import json
import math
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from core.records import FIELD_TYPES, Account, ActivityRow, Change, DealRole, Fact, Owner, Record, RecordRef, Tombstone
from sync.state import State
from sync.state import schema as t
from sync.state.mirror import store
from sync.state.mirror.storable import _LOOKS, _Door, make_storable, storable_text
from tests.sync.builders import NOW, a_deal, a_record, an_account, an_activity, ref

NASTY = [
    "\x00",
    "a\x00b",
    "\ud800",
    "部\udfff長",
    "\x00\ud83d",
    "\u202eعكس",
    "=cmd|' /C calc'!A0",
    "<script>",
    "'; DROP TABLE record; --",
]
TEXT = st.sampled_from([*NASTY, "x" * 32_768, "部" * 700, "", "部長"]) | st.text(
    st.characters() | st.characters(categories=["Cs"]) | st.just("\x00"), max_size=12
)
NUMBER = st.sampled_from([0, 7, -1, 2**31, 2**63, -(2**80), 1e308, math.inf, -math.inf, math.nan, 0.5])
VALUE: st.SearchStrategy[Any] = (
    TEXT | NUMBER | st.booleans() | st.none() | st.just({"nested": []}) | st.just(["list"]) | st.just(b"bytes")
)
REF = st.builds(RecordRef, st.sampled_from(["salesforce", "hubspot"]), st.sampled_from(["lead", "contact"]), TEXT)
STAMP = st.sampled_from([NOW, 0, -1, 2**62, 2**63])


@st.composite
def facts(draw: st.DrawFn) -> Fact:
    """One fact of any kind with anything where the CRM's own words go."""
    kind = draw(st.sampled_from(["record", "account", "activity", "deal", "role", "change", "owner", "tombstone"]))
    words: dict[str, Any] = {
        name: draw(TEXT | st.none())
        for name in (
            "owner_id",
            "role",
            "currency",
            "loss_reason",
            "name",
            "channel",
            "direction",
            "asset",
            "url",
            "by",
        )
    }
    who = draw(REF)
    if kind == "record":
        fields = draw(st.dictionaries(st.sampled_from(sorted(FIELD_TYPES)), VALUE, max_size=4))
        return replace(
            a_record("003A"), ref=who, fields=fields, emails=tuple(draw(st.lists(TEXT, max_size=3))),
            owner_id=words["owner_id"], account=draw(st.none() | REF), links=tuple(draw(st.lists(REF, max_size=2))),
            successor=draw(st.none() | REF), absorbed=tuple(draw(st.lists(TEXT, max_size=2))), created_at=draw(STAMP),
            answers={"feedback_note": draw(VALUE), "recontact_on": draw(VALUE)}, written={"score": draw(VALUE)},
        )  # fmt: skip
    if kind == "account":
        return Account(
            replace(who, kind="account"), {"company": draw(VALUE)}, NOW, draw(st.none() | REF), words["owner_id"]
        )
    if kind == "activity":
        row = an_activity("x", "call", who, **{name: words[name] for name in ("channel", "direction", "asset", "url")})
        act = replace(row.activities[0], source=who, duration=draw(st.none() | st.sampled_from([5, 2**31])))
        return ActivityRow(who, (act, replace(act, record=None, email=draw(TEXT), occurred_at=draw(STAMP))))
    if kind == "deal":
        more: dict[str, Any] = {name: words[name] for name in ("owner_id", "currency", "loss_reason", "name")}
        people = tuple(draw(st.lists(REF, max_size=2)))
        return replace(
            a_deal("006A", people=people, **more),
            ref=replace(who, kind="deal"),
            stage=draw(TEXT),
            amount=draw(st.none() | NUMBER),
        )
    if kind == "role":
        return DealRole(who, ref("deal", draw(TEXT)), draw(REF), words["role"])
    if kind == "change":
        return Change(who, draw(REF), "title", draw(TEXT), draw(TEXT | st.none()), NOW, words["by"])
    if kind == "owner":
        return Owner(replace(who, kind="owner"), draw(TEXT), draw(TEXT), active=True)
    return Tombstone(who, draw(STAMP))


def put(state: State, *what: Fact) -> Counter[str]:
    with state.begin() as connection:
        return store(connection, what).problems


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(page=st.lists(facts(), max_size=6))
def test_no_page_is_refused_and_reading_it_again_is_no_change(state: State, page: list[Fact]) -> None:
    with state.begin() as connection:
        for table in reversed(t.metadata.sorted_tables):
            connection.execute(table.delete())
    put(state, a_record("003GOOD", email="good@acme.example"), *page)
    with state.begin() as connection:
        rows = connection.execute(select(t.record)).mappings().all()
        assert "003GOOD" in {row["id"] for row in rows}
        assert store(connection, page).changed == 0
    for row in rows:
        json.dumps(row["fields"], allow_nan=False)
        str(dict(row)).encode()


@settings(max_examples=300, deadline=None)
@given(fact=facts())
def test_what_looks_fine_is_fine(fact: Fact) -> None:
    """The quick look and the thorough one agree on what may pass untouched."""
    looks_fine = _LOOKS.get(type(fact), lambda _: False)(fact)
    problems: Counter[str] = Counter()
    clean = _Door("x", problems).fact(fact)
    if looks_fine:
        assert clean is fact
        assert not problems
    assert (clean is fact) == (not problems)


@settings(max_examples=200, deadline=None)
@given(fact=facts())
def test_cleaning_twice_is_cleaning_once(fact: Fact) -> None:
    once, _ = make_storable([fact])
    again, problems = make_storable(once)
    assert again == once
    assert not problems


@given(text=TEXT)
@example("\ud83d\ude00")
def test_a_storable_text_encodes_and_keeps_the_rest(text: str) -> None:
    clean = storable_text(text)
    clean.encode("utf-8")
    assert "\x00" not in clean
    assert [c for c in clean if c != "\ufffd"] == [
        c for c in text if c not in "\x00\ufffd" and not 0xD800 <= ord(c) < 0xE000
    ]


def test_what_was_left_out_is_named(state: State) -> None:
    record = a_record(
        "003A",
        email="a@acme.example",
        fields={"title": "部\x00長", "employees": math.nan, "industry": ["x"]},
        owner_id="9" * 65,
    )
    bad = replace(record, ref=ref("contact", "003\x00B"))
    assert put(state, record, bad, an_account("001A", "ア\ud800クメ")) == {
        "contact.title (characters)": 1,
        "contact.employees (range)": 1,
        "contact.industry (type)": 1,
        "contact.owner_id (length)": 1,
        "contact.ref (id)": 1,
        "contact row": 1,
        "account.company (characters)": 1,
    }
    with state.read() as connection:
        row = connection.execute(select(t.record)).mappings().one()
        company = connection.execute(select(t.account.c.fields)).scalar_one()["company"]
    assert (row["id"], row["fields"]["title"], row["owner_id"], row["email"]) == (
        "003A",
        "部長",
        None,
        "a@acme.example",
    )
    assert "employees" not in row["fields"]
    assert company == "ア\ufffdクメ"


def test_a_row_whose_person_cannot_be_named_keeps_its_other_acts(state: State) -> None:
    row = an_activity("00TA", "call", ref("contact", "003A"))
    other = replace(row.activities[0], record=ref("contact", "x" * 65), email="long@acme.example")
    put(state, replace(row, activities=(*row.activities, other)))
    with state.read() as connection:
        assert sorted(connection.execute(select(t.activity.c.who)).scalars()) == [
            "contact/003A",
            "email/long@acme.example",
        ]


@pytest.mark.parametrize("fact", [a_record("003A", email="a@acme.example"), an_activity("x", "call", "a@acme.example")])
def test_what_needs_nothing_is_handed_on(fact: Any) -> None:
    [same], problems = make_storable([fact])
    assert same is fact
    assert not problems
    assert isinstance(same, (Record, ActivityRow))
