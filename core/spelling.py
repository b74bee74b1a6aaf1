"""One spelling for comparing: width, case, old and new kanji, long vowels. For comparison only, never for writing."""

from functools import cache
from typing import Literal
from unicodedata import category, combining, normalize

from core.lexicon import rows

Script = Literal["kanji", "kana", "latin"]


@cache
def _variants() -> dict[int, str]:
    return {ord(old): new for old, new in rows("kanji_variants.tsv")}


def fold(text: str) -> str:
    """NFKC, case-folded, common kanji for old ones; spaces as one ASCII space, none at the ends; no control characters."""
    plain = normalize("NFKC", normalize("NFKC", text).casefold()).translate(_variants())
    shown = "".join(" " if c.isspace() else c for c in plain if c.isspace() or category(c)[0] != "C")
    return " ".join(shown.split())


def letters(text: str) -> str:
    """Folded, and only letters and digits of any script (々 and the long vowel mark count as letters)."""
    return "".join(c for c in fold(text) if c.isalnum())


def script_of(text: str) -> Script:
    """`kanji` with any ideograph, else `kana` with any kana, else `latin` (which stands for every other alphabet)."""
    if any(is_ideograph(c) for c in text):
        return "kanji"
    return "kana" if any(is_kana(c) for c in text) else "latin"


def is_ideograph(char: str) -> bool:
    return char in "々〆〇" or "\u3400" <= char <= "\u9fff" or "\uf900" <= char <= "\ufaff" or char >= "\U00020000"


def is_kana(char: str) -> bool:
    return "\u3041" <= char <= "\u30ff" and char != "・"


def katakana(text: str) -> str:
    """Hiragana as katakana."""
    return "".join(chr(ord(c) + 0x60) if "\u3041" <= c <= "\u3096" else c for c in text)


def unaccented(text: str) -> str:
    """Latin letters without accents: Müller and Muller, Satō and Sato."""
    return "".join(c for c in normalize("NFD", text) if not combining(c))
