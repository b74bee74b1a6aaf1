"""Family names: only what is known to differ differs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.identity.names import differ, distinct, family_name, merged

SAME = [
    ("佐藤", "佐藤"),
    ("髙橋", "高橋"),
    ("斎藤", "齋藤"),
    ("渡邊", "渡辺"),
    ("山﨑", "山崎"),
    ("佐藤", "佐 藤"),
    ("佐藤", "佐藤 太郎"),
    ("佐藤様", "佐藤"),
    ("佐藤(旧姓:鈴木)", "佐藤"),
    ("サトウ", "ｻﾄｳ"),
    ("さとう", "サトウ"),
    ("Sato", "SATO"),
    ("Sato", "Satoh"),
    ("Sato", "Satou"),
    ("Satō", "Sato"),
    ("Ohno", "Ono"),
    ("Homma", "Honma"),
    ("Sato", "Taro Sato"),
    ("Müller", "Muller"),
    ("O'Brien", "OBrien"),
    # other scripts: not known to differ
    ("佐藤", "Suzuki"),
    ("佐藤", "サトウ"),
    ("サトウ", "Sato"),
    # nothing known
    ("佐藤", None),
    ("佐藤", "不明"),
    ("佐藤", "-"),
    ("佐藤", "[[Unknown]]"),
    ("佐藤", "taro@acme.example"),
    (None, None),
]
DIFFERENT = [
    ("佐藤", "鈴木"),
    ("Sato", "Suzuki"),
    ("サトウ", "スズキ"),
    ("さとう", "スズキ"),
    ("佐藤 太郎", "鈴木 一郎"),
    ("de la Cruz", "de Silva"),
    ("Ohara", "Hara"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_not_known_to_differ(one: str | None, other: str | None) -> None:
    assert not differ(family_name(one), family_name(other))
    assert not differ(family_name(other), family_name(one))


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_known_to_differ(one: str, other: str) -> None:
    assert differ(family_name(one), family_name(other))
    assert differ(family_name(other), family_name(one))


def test_swapped_fields_do_not_make_a_difference() -> None:
    assert not differ(family_name("佐藤", "太郎"), family_name("太郎", "佐藤"))
    assert differ(family_name("佐藤", "太郎"), family_name("鈴木", "佐藤"))


def test_one_common_script_decides_when_the_other_agrees() -> None:
    both = merged([family_name("佐藤"), family_name("Sato")])
    assert not differ(both, family_name("Sato"))
    assert differ(both, family_name("Suzuki"))
    assert not differ(both, merged([family_name("佐藤"), family_name("Satoo")]))


def test_distinct_counts_within_a_script() -> None:
    names = [family_name(name) for name in ("佐藤", "佐藤 太郎", "鈴木", "Suzuki", "田中", None)]
    assert distinct(names) == 3
    assert distinct(names[3:5]) == 1
    assert distinct([]) == 0


@given(st.one_of(st.none(), st.text(max_size=12)), st.one_of(st.none(), st.text(max_size=12)))
def test_symmetric_and_never_from_itself(one: str | None, other: str | None) -> None:
    assert differ(family_name(one), family_name(other)) == differ(family_name(other), family_name(one))
    assert not differ(family_name(one), family_name(one))
