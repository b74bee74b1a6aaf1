"""Title ranks: the golden table, and what holds for every title."""

from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from core.lexicon import rows
from core.spelling import is_kana
from core.titles import TITLE_RANKS, title_rank

GOLDEN = [
    tuple(line.split("\t")) for line in Path(__file__).with_name("golden.tsv").read_text(encoding="utf-8").splitlines()
]


@pytest.mark.parametrize(("title", "rank"), GOLDEN)
def test_golden(title: str, rank: str) -> None:
    assert title_rank(title) == (None if rank == "-" else rank)


def test_golden_covers_every_rank_and_is_large() -> None:
    assert len(GOLDEN) == len(set(GOLDEN)) >= 250
    assert {rank for _, rank in GOLDEN} == {*TITLE_RANKS, "-"}


@pytest.mark.parametrize("title", [None, "", " ", "　", "()", "・"])
def test_nothing_is_unknown(title: str | None) -> None:
    assert title_rank(title) is None


@pytest.mark.parametrize("name", ["titles_ja.tsv", "titles_en.tsv"])
def test_entries_are_unique_and_name_ranks(name: str) -> None:
    entries = rows(name)
    assert len({entry[0] for entry in entries}) == len(entries)
    assert {entry[1] for entry in entries} <= {*TITLE_RANKS, "-"}


@pytest.mark.parametrize("name", ["titles_ja.tsv", "titles_en.tsv"])
def test_every_entry_has_its_own_rank(name: str) -> None:
    """No entry is hidden by another one or by the way titles are taken apart."""
    wrong = {
        entry[0]: (entry[1], title_rank(entry[0].removeprefix("=").replace(" * ", " Regional ")))
        for entry in rows(name)
        if title_rank(entry[0].removeprefix("=").replace(" * ", " Regional "))
        != (None if entry[1] == "-" else entry[1])
    }
    assert wrong == {}


JAPANESE = sorted(entry[0].removeprefix("=") for entry in rows("titles_ja.tsv") if entry[1] != "-")


@given(
    st.sampled_from(JAPANESE), st.sampled_from(JAPANESE), st.sampled_from(["兼", " 兼 ", "/", "、", " ", "(", "・ "])
)
def test_of_several_titles_the_highest_counts(one: str, other: str, between: str) -> None:
    # Katakana words with a space between them are one title, spelled out: アシスタント マネージャー.
    assume(between != " " or not all(map(is_kana, one + other)))
    ranks = [TITLE_RANKS.index(rank) for rank in (title_rank(one), title_rank(other)) if rank]
    assert title_rank(f"{one}{between}{other}") == TITLE_RANKS[max(ranks)]


@given(
    st.sampled_from(JAPANESE),
    st.sampled_from(["営業部", "社長室", "第一営業本部", "情報システム課", "CEO室", "DX推進室"]),
)
def test_a_department_before_a_title_counts_for_nothing(title: str, department: str) -> None:
    assert title_rank(f"{department} {title}") == title_rank(f"{title}") == title_rank(f"{department}　{title} 様")


@given(st.text(max_size=60))
def test_any_text_has_a_rank_or_none(text: str) -> None:
    rank = title_rank(text)
    assert rank is None or rank in TITLE_RANKS
    assert title_rank(f"  {text}　") == rank
