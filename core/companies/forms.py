"""Company names, domains and corporate numbers in one form, for comparing. Word lists: `core.lexicon`."""

import re
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache

from core.lexicon import rows, words
from core.links import host_and_path
from core.spelling import fold, letters

_NUMBER_DIGITS = 13


@lru_cache(maxsize=8_192)
def core_name(name: str | None) -> str:
    """A company name without legal form, spaces, punctuation and spelling variants; words for a site are kept. '' if none.

    株式会社アクメ精機, ㈱アクメ精機 and アクメ精機(株) are one; アクメ精機 浜松工場 is another. 本社 and a department after a
    space are dropped, as they name the same buyer.
    """
    text = fold(name or "").replace("御中", " ")
    for form in _japanese_forms():
        text = text.replace(form, " ")
    tokens = re.sub(r"[^\w&+]+", " ", text.replace(".", "")).split()
    tokens = _without_latin_forms(tokens)
    while len(tokens) > 1 and _is_head_office_or_department(tokens[-1]):
        tokens.pop()
    return letters("".join(tokens)) or letters(name or "")


def is_site(name: str | None) -> bool:
    """The name ends in a word for a site that may buy by itself: 工場, 支店, Plant, …"""
    core = core_name(name)
    return any(core.endswith(word) and core != word for word in _branch_words())


@lru_cache(maxsize=8_192)
def mail_domain(email: str | None) -> str | None:
    """The company's domain of an address; None for free-mail providers and for what is no address."""
    local, at, host = (email or "").strip().casefold().rpartition("@")
    return _company_domain(host) if at and local else None


@lru_cache(maxsize=8_192)
def web_domain(url: str | None) -> str | None:
    """The company's domain of a website, with or without scheme, path, port and `www.`; None if there is none."""
    return _company_domain(host_and_path(url)[0]) if url else None


def corporate_number(text: str | None) -> str | None:
    """The 13 digits of a Japanese corporate number with a right check digit, else None.

    Full width, hyphens, spaces and the `T` of invoice numbers are accepted. Check digit: 9 − (Σ Pₙ·Qₙ mod 9), Pₙ the n-th
    digit of the other twelve from the right, Qₙ 1 for odd n and 2 for even (法人番号の指定等に関する省令).
    """
    digits = re.sub(r"[\s\-‐‑–—−ー]", "", fold(text or "")).removeprefix("t")
    if len(digits) != _NUMBER_DIGITS or not (digits.isascii() and digits.isdigit()):
        return None
    total = sum(int(digit) * (1 if n % 2 else 2) for n, digit in enumerate(reversed(digits[1:]), start=1))
    return digits if int(digits[0]) == 9 - total % 9 else None


def is_free_mail(domain: str) -> bool:
    """A provider where anyone can have an address. Subdomains count too."""
    labels = domain.casefold().rstrip(".").split(".")
    return any(".".join(labels[i:]) in words("free_mail.txt") for i in range(len(labels)))


@cache
def _japanese_forms() -> tuple[str, ...]:
    return tuple(
        sorted(
            (row[0] for row in rows("company_forms.tsv") if not row[0][0].isascii() or row[0][0] == "("),
            key=len,
            reverse=True,
        )
    )


@cache
def _latin_forms() -> Mapping[tuple[str, ...], bool]:
    """Words of a legal form to whether it is removed anywhere."""
    return {
        tuple(row[0].split()): row[1] == "any"
        for row in rows("company_forms.tsv")
        if row[0][0].isascii() and row[0][0] != "("
    }


@cache
def _branch_words() -> tuple[str, ...]:
    return tuple(letters(word) for word in words("branch_words.txt"))


def _without_latin_forms(tokens: Sequence[str]) -> list[str]:
    forms = _latin_forms()
    kept = list(tokens)
    removed = True  # the place after the last token counts as a removed form: `end` forms stand there
    place = len(kept)
    while place > 0:
        for width in (2, 1):
            form = tuple(kept[max(0, place - width) : place])
            if len(form) == width and form in forms and (forms[form] or removed):
                del kept[place - width : place]
                place -= width
                removed = True
                break
        else:
            place -= 1
            removed = False
    return kept


def _is_head_office_or_department(token: str) -> bool:
    if token in {"本社", "本店", "本社事務所", "hq", "headquarters"}:
        return True
    return len(token) > 1 and token[-1] in "部課係室" and not token.endswith(("本部", "支部", "倶楽部", "分室"))


def _company_domain(host: str) -> str | None:
    labels = [label for label in host.rstrip(".").split(".") if label]
    if len(labels) < 2 or not re.fullmatch(r"[\w.-]+", host) or labels[-1].isdigit() or is_free_mail(host):
        return None
    wide = 3 if ".".join(labels[-2:]) in words("second_level.txt") else 2
    wide = 4 if ".".join(labels[-3:]) in words("second_level.txt") else wide
    return ".".join(labels[-wide:]) if len(labels) >= wide else None
