"""Family names: are two known to differ? What is not known to differ does not keep equal e-mail addresses apart.

- Kanji, kana and Latin letters are three scripts. Two names are compared only within one: 佐藤 and 鈴木 differ, Sato and
  Suzuki differ; 佐藤 and Sato, サトウ and Sato, 佐藤 and サトウ are *not known to differ* (readings of kanji are not a
  function), so an equal address joins them.
- Within a script, spelling does not count: width, case, 髙/高, 斎/斉, hiragana/katakana, accents, Satoh/Satou/Sato.
- A field that holds both names (佐藤 太郎, Taro Sato), or has family and given name swapped, does not make a difference.
- Placeholders (不明, unknown, a dash, an address) are no name.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from core.lexicon import words
from core.spelling import Script, fold, katakana, letters, script_of, unaccented

_HONORIFICS = ("様", "さま", "サマ", "殿", "先生", "さん", "サン", "氏")
_NO_PART = 3  # shorter Latin parts are particles (de, van, la), shared by unrelated names


@dataclass(frozen=True, slots=True)
class FamilyName:
    """Spellings by script; empty where the name is unknown. `given`: those of the given name, to notice swapped fields."""

    spellings: Mapping[Script, frozenset[str]]
    given: Mapping[Script, frozenset[str]]

    def __bool__(self) -> bool:
        return bool(self.spellings)


@lru_cache(maxsize=8_192)
def family_name(last: str | None, first: str | None = None) -> FamilyName:
    """The family name of one record for comparison."""
    return FamilyName(_spellings(last), _spellings(first))


def differ(one: FamilyName, other: FamilyName) -> bool:
    """Both have a name in some script, and none in common. Symmetric; a name never differs from itself."""
    if any(names & other.spellings.get(script, frozenset()) for script, names in one.spellings.items()):
        return False
    if _swapped(one, other):
        return False
    return any(script in other.spellings for script in one.spellings)


def merged(names: Iterable[FamilyName]) -> FamilyName:
    """All spellings of records that are one person by a stronger reason than their names."""
    spellings: dict[Script, frozenset[str]] = {}
    given: dict[Script, frozenset[str]] = {}
    for name in names:
        for script, found in name.spellings.items():
            spellings[script] = spellings.get(script, frozenset()) | found
        for script, found in name.given.items():
            given[script] = given.get(script, frozenset()) | found
    return FamilyName(spellings, given)


def distinct(names: Iterable[FamilyName]) -> int:
    """How many different family names there are at least: the most that differ pairwise within one script."""
    by_script: dict[Script, list[frozenset[str]]] = {}
    for name in names:
        for script, found in name.spellings.items():
            known = by_script.setdefault(script, [])
            touching = [one for one in known if one & found]
            by_script[script] = [one for one in known if not one & found] + [found.union(*touching)]
    return max((len(known) for known in by_script.values()), default=0)


def _swapped(one: FamilyName, other: FamilyName) -> bool:
    def crosses(left: Mapping[Script, frozenset[str]], right: Mapping[Script, frozenset[str]]) -> bool:
        return any(names & right.get(script, frozenset()) for script, names in left.items())

    return crosses(one.spellings, other.given) and crosses(one.given, other.spellings)


def _spellings(name: str | None) -> Mapping[Script, frozenset[str]]:
    if not name or "@" in name:
        return {}
    text = fold(re.sub(r"[((].*?[))]", " ", name))
    parts = [stripped for part in re.split(r"[\s,、・/]+", text) if (stripped := _plain(part))]
    whole = "".join(parts)
    if not whole or letters(whole) in words("unknown_names.txt"):
        return {}
    found: dict[Script, set[str]] = {script_of(whole): {_canonical(whole)}}
    if len(parts) > 1:
        for part in parts:
            script = script_of(part)
            if script != "latin" or len(part) >= _NO_PART:
                found.setdefault(script, set()).add(_canonical(part))
    return {script: frozenset(spellings) for script, spellings in found.items()}


def _plain(part: str) -> str:
    plain = "".join(c for c in part if c.isalnum())
    for honorific in _HONORIFICS:
        if plain.endswith(honorific) and len(plain) > len(honorific):
            return plain.removesuffix(honorific)
    return plain


def _canonical(name: str) -> str:
    """One spelling per name within its script."""
    script = script_of(name)
    if script == "latin":
        plain = unaccented(name)
        plain = re.sub(r"ou(?=[^aeiou]|$)|oo|oh(?=[^aeiouy]|$)", "o", plain)
        plain = plain.replace("uu", "u")
        return re.sub(r"m(?=[bmp])", "n", plain)
    return katakana(name)
