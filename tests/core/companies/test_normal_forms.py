"""Company names, domains and corporate numbers in one form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.companies import core_name, corporate_number, is_free_mail, is_site, mail_domain, web_domain
from core.lexicon import words
from core.spelling import letters

ALIKE = [
    ("アクメ精機", "株式会社アクメ精機"),
    ("アクメ精機", "アクメ精機株式会社"),
    ("アクメ精機", "アクメ精機 株式会社"),
    ("アクメ精機", "(株)アクメ精機"),
    ("アクメ精機", "（株） アクメ精機"),
    ("アクメ精機", "㈱アクメ精機"),
    ("アクメ精機", "アクメ精機㈱"),
    ("アクメ精機", "ｱｸﾒ精機"),
    ("アクメ精機", "アクメ・精機"),
    ("アクメ精機", "アクメ精機 御中"),
    ("アクメ精機", "アクメ精機株式会社 本社"),
    ("アクメ精機", "アクメ精機 営業部"),
    ("アクメ精機", "有限会社アクメ精機"),
    ("アクメ精機", "アクメ精機合同会社"),
    ("髙島産業", "高島産業"),
    ("渡邊製作所", "渡辺製作所"),
    ("Acme", "ACME Inc."),
    ("Acme", "Acme, Inc"),
    ("Acme", "Acme Co., Ltd."),
    ("Acme", "ACME CO.,LTD."),
    ("Acme", "Acme K.K."),
    ("Acme", "ＡＣＭＥ　Corporation"),
    ("Acme", "Acme Company"),
    ("Acme", "Acme G.K."),
    ("Acme Japan", "Acme Japan Kabushiki Kaisha"),
    ("Acme", "Acme GmbH"),
    ("アクメ精機 浜松工場", "株式会社アクメ精機　浜松工場"),
    ("アクメ精機 浜松工場", "アクメ精機株式会社浜松工場"),
    ("Acme Hamamatsu Plant", "Acme Co., Ltd. Hamamatsu Plant"),
    ("AT&T Japan", "AT&T JAPAN LLC"),
]
UNLIKE = [
    ("アクメ精機", "アクメ精機 浜松工場"),
    ("アクメ精機", "アクメ工業"),
    ("アクメ", "アクメホールディングス"),
    ("東京倶楽部", "東京"),
    ("Acme", "Acme Japan"),
    ("Acme", "Acme Hamamatsu Plant"),
    ("Limited Edition", "Edition"),
    ("Company Bank", "Bank"),
]


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_alike(one: str, other: str) -> None:
    assert core_name(one) == core_name(other) != ""


@pytest.mark.parametrize(("one", "other"), UNLIKE)
def test_unlike(one: str, other: str) -> None:
    assert core_name(one) != core_name(other)


def test_no_name() -> None:
    assert core_name(None) == core_name("") == core_name(" 　") == ""
    assert core_name("株式会社") == "株式会社"  # a field that holds only the form still is what it is


@given(st.text(max_size=60))
def test_a_core_is_letters_only_and_empty_only_without_any(text: str) -> None:
    core = core_name(text)
    assert all(char.isalnum() for char in core)
    assert bool(core) == bool(letters(text))


@given(
    st.text("アクメ精機 ", min_size=1, max_size=12),
    st.sampled_from(["株式会社{}", "{}(株)", "㈱ {}", "{} 有限会社", "{} Inc."]),
)
def test_the_legal_form_does_not_count(name: str, form: str) -> None:
    assert core_name(form.format(name)) == core_name(name) or not letters(name)


def test_sites() -> None:
    assert is_site("アクメ精機 浜松工場")
    assert is_site("アクメ精機株式会社大阪支店")
    assert is_site("Acme Inc. Hamamatsu Plant")
    assert not is_site("アクメ精機")
    assert not is_site("株式会社工場")
    assert not is_site(None)


@pytest.mark.parametrize(
    ("email", "domain"),
    [
        ("taro@acme.example", "acme.example"),
        ("Taro@ACME.co.jp", "acme.co.jp"),
        ("t@mail.tokyo.acme.co.jp", "acme.co.jp"),
        ("t@mail.acme.com", "acme.com"),
        ("t@acme.example.com", "acme.example.com"),
        ("t@gmail.com", None),
        ("t@yahoo.co.jp", None),
        ("t@docomo.ne.jp", None),
        ("t@abc.ocn.ne.jp", None),
        ("t@co.jp", None),
        ("t@localhost", None),
        ("t@192.0.2.1", None),
        ("acme.example", None),
        ("@acme.example", None),
        ("", None),
        (None, None),
    ],
)
def test_mail_domain(email: str | None, domain: str | None) -> None:
    assert mail_domain(email) == domain


@pytest.mark.parametrize(
    ("url", "domain"),
    [
        ("https://www.acme.co.jp/company?x=1", "acme.co.jp"),
        ("acme.example", "acme.example"),
        ("www.acme.example/jp/", "acme.example"),
        ("http://acme.example:8080", "acme.example"),
        ("//acme.example", "acme.example"),
        ("https://facebook.com/acme", "facebook.com"),
        ("http://[broken", None),
        ("なし", None),
        ("", None),
        (None, None),
    ],
)
def test_web_domain(url: str | None, domain: str | None) -> None:
    assert web_domain(url) == domain


def test_free_mail_list_holds_no_company_suffix() -> None:
    assert is_free_mail("softbank.ne.jp")
    assert not is_free_mail("acme.ne.jp")
    assert not words("free_mail.txt") & words("second_level.txt")
    assert all("." in domain and domain == domain.casefold() for domain in words("free_mail.txt"))


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("7000012050002", "7000012050002"),  # the National Tax Agency's own number
        ("T7000012050002", "7000012050002"),
        ("７０００-０１-２０５０００２", "7000012050002"),
        ("7000 0120 50002", "7000012050002"),
        ("8000012050002", None),
        ("700001205000", None),
        ("T700001205000X", None),
        ("", None),
        (None, None),
    ],
)
def test_corporate_number(text: str | None, number: str | None) -> None:
    assert corporate_number(text) == number


@given(st.integers(0, 10**12 - 1))
def test_each_twelve_digits_have_one_check_digit(body: int) -> None:
    assert sum(corporate_number(f"{check}{body:012d}") is not None for check in range(10)) == 1
