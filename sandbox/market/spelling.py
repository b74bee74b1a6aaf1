"""How names get into CRMs: 株式会社 in front, behind, abbreviated or left out, full and half width, English, kana."""

import random
import unicodedata

from sandbox.market.model import Company, Person
from sandbox.market.words import DEPARTMENTS, GIVEN_NAMES, STEM_A, STEM_B, SURNAMES, TITLES

_WIDE = {chr(code): chr(code + 0xFEE0) for code in range(0x21, 0x7F)} | {" ": "　"}


def spell_company(rng: random.Random, company: Company, person: Person) -> str:
    """A firm's name as someone typed it."""
    u = rng.random()
    if person.english or u < 0.04:
        return company.english
    if u < 0.50:
        name = company.legal
    elif u < 0.62:
        name = f"(株){company.core}"
    elif u < 0.70:
        name = f"㈱{company.core}"
    elif u < 0.76:
        name = f"{company.core}(株)"
    elif u < 0.82:
        name = f"{company.core}（株）"
    elif u < 0.88:
        name = company.core
    elif u < 0.93:
        name = (
            company.legal.replace("株式会社", "株式会社　")
            if company.legal.startswith("株")
            else f"{company.core} 株式会社"
        )
    else:
        name = narrow_kana(company.legal)
    return f"{name} {company.plant}" if person.at_plant and company.plant and rng.random() < 0.7 else name


def spell_new_firm(person: Person) -> str:
    """Where someone went who changed jobs: a firm that is not in the market."""
    return f"株式会社{STEM_B[person.index % 30][0]}{STEM_A[person.index // 30 % 30][0]}ホールディングス"


def spell_title(rng: random.Random, person: Person, rank: str | None = None) -> str | None:
    """A title as on the card, often with the department in front; None where nobody typed it in."""
    ja, en = TITLES[rank or person.rank][person.title % len(TITLES[rank or person.rank])]
    u = rng.random()
    if not ja or u < 0.08:
        return None
    department = DEPARTMENTS[person.department]
    if person.english:
        return f"{en}, {department[1]}" if u < 0.5 else en
    if u < 0.45:
        return f"{department[0]} {ja}"
    return widen(ja) if u > 0.97 else ja


def spell_name(rng: random.Random, person: Person, surname: int | None = None) -> tuple[str, str]:
    """(family name, given name): in kanji, sometimes in kana from a web form, in Latin letters for those who sign so."""
    last = SURNAMES[person.surname if surname is None else surname]
    first = GIVEN_NAMES[person.given]
    if person.english:
        return last[2].capitalize(), first[2].capitalize()
    u = rng.random()
    if u < 0.03:
        return last[1], first[1]
    return last[0].replace("髙", "高") if u < 0.5 else last[0], first[0]


def furigana(person: Person) -> tuple[str, str]:
    return SURNAMES[person.surname][1], GIVEN_NAMES[person.given][1]


def phone(person: Person, mobile: bool = False) -> str:
    """A number that cannot exist: no Japanese exchange begins with 0000."""
    return f"{'090' if mobile else '03'}-0000-{person.index % 10_000:04d}"


def widen(text: str) -> str:
    """ASCII as full-width letters."""
    return "".join(_WIDE.get(letter, letter) for letter in text)


def narrow_kana(text: str) -> str:
    """Full-width katakana as half-width ones; all else as it is."""
    return "".join(_NARROW.get(letter, letter) for letter in text)


def _half_width_table() -> dict[str, str]:
    table: dict[str, str] = {}
    for code in range(0xFF66, 0xFF9E):
        half = chr(code)
        table.setdefault(unicodedata.normalize("NFKC", half), half)
        for mark in ("ﾞ", "ﾟ"):
            full = unicodedata.normalize("NFKC", half + mark)
            if len(full) == 1:
                table.setdefault(full, half + mark)
    return table


_NARROW = _half_width_table()
