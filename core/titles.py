"""Job titles: the rank that a Japanese or English title stands for.

What decides in doubt: a rank is the power to decide, as a seller should assume it. Where a word is used for two ranks we
take the lower one, because rules reward `at_least` a rank.

- 代理, 補佐, 代行, 心得, 待遇 and 副 stand one rank below (部長代理, 副部長: deputy_general_manager). Between 課長 and 係長 there
  is no rank, so 課長代理 stays section_manager and 課長補佐 is leader. 支店長代理 of a bank is a junior rank: leader.
- 執行役員, 本部長, 事業部長 are director; 取締役, 専務, 常務, 監査役 and 執行役 (an officer by law) executive. 顧問 and 相談役 advise:
  director. A head of a site (工場長, 支店長, 所長) is general_manager, of a small one (営業所長, 店長) section_manager.
- English "Director" is director: international companies and English cards of Japanese ones mean 本部長 or above, "Director of
  the Board", "Managing", "Executive" and "Representative Director" are executive. Katakana ディレクター alone, or with a craft
  (Web, アート), is a production job in Japan: leader; セールスディレクター and the like are the English rank.
- "Vice President" is director, "Executive" and "Senior Vice President" executive, "Assistant Vice President" deputy.
- "Head of X" is general_manager, "Section Head" section_manager. "Manager" alone is 課長; project and product managers lead
  without a section: leader; account managers and executives sell: staff.
- Several titles (兼, /, commas, brackets): the highest. Departments before a title, and a department that is named like a
  title (社長室, CEO Office), count for nothing. Former ones (元部長, Ex-CEO) count for nothing. Unknown is None, never a guess.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from typing import NamedTuple

from core.lexicon import rows, words
from core.spelling import fold, is_ideograph, is_kana

TITLE_RANKS: tuple[str, ...] = (
    "staff",
    "leader",
    "section_manager",
    "deputy_general_manager",
    "general_manager",
    "director",
    "executive",
)
"""From lowest to highest."""

_NONE = "-"
_HONORIFICS = re.compile(r"(様|さま|さん|殿|御中|先生)$")
_SAME_RANK = re.compile(r"(以上|クラス|レベル|相当職|相当|職|級|等)$")  # 部長クラス, 課長級: as forms and lists put it
_FORMER_EN = re.compile(r"^(ex|former|formerly|retired|past)\b")
_RELATION = re.compile(r"\b(to|of|for|at|in|on|reporting|supporting|responsible)\b")
_REACH = re.compile(
    r"\b(japan|apac|asia|asia pacific|emea|global|worldwide|international|americas|europe|korea|china|jp|[ivx]+|\d+)$"
)


@lru_cache(maxsize=8_192)
def title_rank(title: str | None) -> str | None:
    """The rank of a job title, one of `TITLE_RANKS`, or None where the title says nothing about rank.

    Args:
        title: as it stands in the CRM: Japanese, English or both, any width, several titles in one.
    """
    if not title:
        return None
    found = [rank for part in _parts(title) if (rank := _rank_of(part))]
    return max(found, key=TITLE_RANKS.index, default=None)


# --- into parts ------------------------------------------------------------------------------------------------------


def _parts(title: str) -> Iterable[str]:
    """Pieces that each hold at most one title, brackets' contents apart."""
    text = fold(title)
    text = re.sub(r"(?<=[ァ-ヶー])[・·•=](?=[ァ-ヶー])", "", text)  # ゼネラル・マネージャー is one word
    text = re.sub(r"(?:^|(?<=\s))([元前旧])\s+", r"\1", text)
    inside = re.findall(r"[(\[【〔<「]([^)\]】〕>」]*)[)\]】〕>」]?", text)
    outside = re.sub(r"[(\[【〔<「][^)\]】〕>」]*[)\]】〕>」]?", "|", text)
    for piece in (outside, *inside):
        for part in re.split(r"[|/,、,;;:・·•+]| - | – | — |兼務|兼任|兼", piece):
            joined = re.split(r"&|\band\b", part)
            if len(joined) > 1:  # chief digital & information officer: one title; VP & GM: two
                yield from _words_of(" ".join(joined))
            for one in joined:
                yield from _words_of(one.strip(" -–—."))


def _words_of(part: str) -> Iterable[str]:
    """Japanese words one by one (spelled-out ones joined: 部 長, シニア マネージャー), Latin words together."""
    run: list[str] = []
    for word in re.sub(r"(?<=[^\x00-\x7f])(?=[a-z])", " ", part).split():  # 代表取締役CEO: two; CEO室: one
        latin = word.isascii()
        if run and (latin != run[-1].isascii() or not (latin or _belong_together(run[-1], word))):
            yield _joined(run)
            run = []
        run.append(word)
    if run:
        yield _joined(run)


def _belong_together(one: str, other: str) -> bool:
    spelled_out = len(one) == len(other) == 1 and is_ideograph(one) and is_ideograph(other)
    return spelled_out or (all(map(is_kana, one)) and all(map(is_kana, other)))


def _joined(run: list[str]) -> str:
    return (" " if run[0].isascii() else "").join(run)


# --- one part --------------------------------------------------------------------------------------------------------


def _rank_of(part: str) -> str | None:
    return _english(part) if part.isascii() else _japanese(part)


def _japanese(part: str) -> str | None:
    text = _HONORIFICS.sub("", part).replace("ー", "")
    if text[:1] in "元前旧" and text[1:] in _japanese_entries():  # not 元町店店長, 前橋支店長
        return None
    for _ in range(3):
        rank = _ending(text)
        if rank is not None:
            return None if rank == _NONE else rank
        shorter = _SAME_RANK.sub("", text)
        if shorter == text:
            return None
        text = shorter
    return None


def _ending(text: str) -> str | None:
    entries = _japanese_entries()
    if f"={text}" in entries:
        return entries[f"={text}"]
    for start in range(max(0, len(text) - _longest_japanese()), len(text)):
        if text[start:] in entries:
            return entries[text[start:]]
    return None


@cache
def _japanese_entries() -> Mapping[str, str]:
    return {fold(row[0]).replace("ー", ""): row[1] for row in rows("titles_ja.tsv")}


@cache
def _longest_japanese() -> int:
    return max(map(len, _japanese_entries()))


def _english(part: str) -> str | None:
    text = _written_out(part)
    if not text or _FORMER_EN.match(text):
        return None
    for phrase, rank in _related_entries():  # head of …, director of the board: before the rest is cut off
        place = phrase.search(text)
        if place and not _RELATION.search(text[: place.start()]):
            return rank
    head = _RELATION.split(text, maxsplit=1)[0].strip()
    while (shorter := _REACH.sub("", head).strip()) != head and shorter:
        head = shorter
    for entry in _english_entries():
        if entry.at_end.match(head):
            return entry.rank
    if head.rsplit(" ", 1)[-1] in words("title_units.txt"):
        return None
    return next((entry.rank for entry in _english_entries() if entry.at_start.match(head)), None)


def _written_out(part: str) -> str:
    """Words without dots and hyphens, abbreviations written out."""
    text = re.sub(r"(?<=\b[a-z])\.(?=[a-z]\b)", "", part)  # c.e.o. → ceo
    tokens = re.sub(r"[^a-z0-9]+", " ", text.replace("'s", " ")).split()
    return " ".join(_short_forms().get(token, token) for token in tokens)


class _Entry(NamedTuple):
    at_end: re.Pattern[str]
    at_start: re.Pattern[str]
    rank: str


@cache
def _short_forms() -> Mapping[str, str]:
    return {row[0]: row[1] for row in rows("titles_en_short.tsv")}


@cache
def _english_entries() -> tuple[_Entry, ...]:
    """Most letters first."""
    entries = sorted(rows("titles_en.tsv"), key=lambda row: (-len(row[0].replace("*", "")), row[0]))
    compiled = []
    for pattern, rank in entries:
        body = re.escape(pattern.removeprefix("=")).replace(r"\ \*\ ", r" (?:.* )?").replace(r"\ ", " ")
        alone = re.compile(f"^{body}$")
        if pattern.startswith("="):
            compiled.append(_Entry(alone, alone, rank))
        else:
            compiled.append(_Entry(re.compile(f"(?:^|.* ){body}$"), re.compile(f"^{body}(?: |$)"), rank))
    return tuple(compiled)


@cache
def _related_entries() -> tuple[tuple[re.Pattern[str], str], ...]:
    """Entries that themselves hold a word at which the rest is cut off, most letters first."""
    related = sorted((row for row in rows("titles_en.tsv") if _RELATION.search(row[0])), key=lambda row: -len(row[0]))
    return tuple(
        (re.compile(rf"{'^' if row[0].endswith(' of') else '(?:^|(?<= ))'}{re.escape(row[0])}(?: |$)"), row[1])
        for row in related
    )
