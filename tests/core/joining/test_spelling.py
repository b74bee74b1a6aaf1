"""One spelling for comparing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.lexicon import rows
from core.spelling import fold, katakana, letters, script_of, unaccented


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("ＡＢＣ　ｄｅｆ", "abc def"),
        ("㈱髙島", "(株)高島"),
        ("ｱｲｳ", "アイウ"),
        ("渡邊・渡邉", "渡辺・渡辺"),
        ("a\x00b\u200bc", "abc"),
        ("  a \n b\t", "a b"),
    ],
)
def test_fold(text: str, folded: str) -> None:
    assert fold(text) == folded


def test_variants_lead_to_a_common_form_at_once() -> None:
    table = {row[0]: row[1] for row in rows("kanji_variants.tsv")}
    assert not set(table) & set(table.values())


@pytest.mark.parametrize(
    ("text", "script"),
    [("佐々木", "kanji"), ("三ヶ島", "kanji"), ("サトウ", "kana"), ("さとう", "kana"), ("Sato", "latin")],
)
def test_script(text: str, script: str) -> None:
    assert script_of(text) == script


def test_small_forms() -> None:
    assert katakana("さとう") == "サトウ"
    assert unaccented("Müller Satō") == "Muller Sato"
    assert letters("(株) A&B 佐々木ー 12") == "株ab佐々木ー12"


@given(st.text(max_size=40))
def test_folding_twice_is_folding_once(text: str) -> None:
    assert letters(letters(text)) == letters(text)
    assert fold(fold(text)) == fold(text)
