"""What people read: reasons and explanations, word for word in both languages, and the values behind them."""

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.records import to_day
from core.rulebook import Language, Rulebook, load_rulebook, template_text
from core.scoring import (
    Line,
    Reason,
    as_stored,
    choose_reasons,
    exact_points,
    explain,
    from_stored,
    net_points,
    reason_key,
    reason_texts,
)

GOLDEN = Path(__file__).parent / "golden"
TODAY = to_day(date(2025, 11, 25))
DAY = to_day(date(2025, 11, 22))

LINES = (
    Line("decision-maker", "fit", "rule", 20_000),
    Line("company-size", "fit", "rule", 15_000),
    Line("pricing-page", "engagement", "rule", 36_593, DAY, 3),
    Line("webinar", "engagement", "rule", 43_280, DAY - 20, 3),
    Line("webinar", "engagement", "cap", -3_280),
    Line("webinar", "engagement", "withheld", 19_923, machine=True),
    Line("mail-click", "engagement", "withheld", 2_931),
    Line("", "engagement", "rounding", 407),
    Line("", "engagement", "clamp", -17_000),
    Line("past-deal", "relationship", "rule", 15_000, DAY - 500),
    Line("", "", "clamp", -10_000),
)


@pytest.fixture(scope="module")
def book() -> Rulebook:
    return load_rulebook(template_text("b2b-japan-standard"))


def told(book: Rulebook, language: Language) -> str:
    """Every kind of reason and a whole explanation, as text."""
    article = load_rulebook(template_text("article"))
    reasons = [
        *choose_reasons(LINES, TODAY),
        Reason("past-deal", 15_000, DAY - 500, with_year=True),
        Reason("whitepaper", 9_500, DAY, 1),
        Reason("student-or-competitor", -30_000),
        Reason("webinar", 19_923, withheld=True, machine=True),
        Reason("mail-click", 2_931, withheld=True),
        Reason("a-rule-of-before", 4_499, DAY - 400, 2, with_year=True),
    ]
    shown = [*reason_texts(reasons, book, language), *reason_texts([Reason("quiet", -10_000)], article, language), ""]
    document = explain(LINES, book, language)
    rows = (*document.rows, *document.withheld)
    shown += [f"{row.kind} | {row.text} | {row.points} | {row.note}".rstrip(" |") for row in rows]
    return "\n".join(shown) + "\n"


@pytest.mark.parametrize("language", ["ja", "en"])
def test_words(book: Rulebook, language: Language) -> None:
    assert told(book, language) == (GOLDEN / f"words.{language}.txt").read_text("utf-8")


def test_the_strongest_three_speak() -> None:
    assert [reason.rule_id for reason in choose_reasons(LINES, TODAY)] == ["webinar", "pricing-page", "decision-maker"]
    assert choose_reasons(LINES, TODAY)[0].milli == 40_000, "after the cap"
    assert choose_reasons(tuple(reversed(LINES)), TODAY) == choose_reasons(LINES, TODAY)


def test_less_than_half_a_point_is_no_reason() -> None:
    lines = (Line("a", "fit", "rule", 499), Line("b", "fit", "rule", -500), Line("c", "fit", "withheld", 800))
    assert [reason.rule_id for reason in choose_reasons(lines, TODAY)] == ["b", "c"]


def test_reason_key_follows_rules_and_days_only() -> None:
    first = reason_key(LINES)
    assert len(first) == 32
    faded = [Line(x.rule_id, x.dimension, x.kind, x.milli // 2, x.newest_day, x.count) for x in reversed(LINES)]
    assert reason_key(faded) == first
    newer = [
        Line("webinar", "engagement", "rule", 1, DAY - 19) if x.rule_id == "webinar" and x.kind == "rule" else x
        for x in LINES
    ]
    assert reason_key(newer) != first
    assert reason_key([x for x in LINES if x.rule_id != "company-size"]) != first


def test_an_explanation_sums_exactly(book: Rulebook) -> None:
    document = explain(LINES, book, "ja")
    listed = [row for row in document.rows if row.kind not in ("dimension", "total")]
    assert sum(row.milli for row in listed) == document.total_milli == 100_000
    headings = [row for row in document.rows if row.kind == "dimension"]
    assert [row.milli for row in headings] == [35_000, 60_000, 15_000]
    assert document.rows[-1].points == "100"


def test_net_points() -> None:
    assert net_points(LINES)["webinar"] == 40_000


@given(st.integers(-(10**9), 10**9))
def test_exact_points_lose_nothing(milli: int) -> None:
    assert round(float(exact_points(milli)) * 1000) == milli


@given(
    st.builds(
        Reason,
        rule_id=st.text(max_size=5),
        milli=st.integers(-(10**6), 10**6),
        newest_day=st.none() | st.integers(0, 30_000),
        count=st.integers(0, 9),
        with_year=st.booleans(),
        withheld=st.booleans(),
        machine=st.booleans(),
    )
)
def test_stored_reasons_come_back(reason: Reason) -> None:
    assert from_stored(as_stored(reason)) == reason
