"""Words for people, in the settings' language. Message ids are the English texts; `locale/ja.po` holds the Japanese.

say = speaker("ja")
say("{count} {count:person was|people were} scored", count=12)
"""

import re
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from sync.redaction import CONTROLS

Say = Callable[..., str]

_CONTROLS = re.compile(f"[{CONTROLS}]")


class _Value(str):
    """A value in a sentence. `{count:row|rows}` is the word that goes with its number, so that nobody reads "1 rows"."""

    __slots__ = ()

    def __format__(self, wanted: str) -> str:
        if "|" not in wanted:
            return super().__format__(wanted)
        one, many = wanted.split("|")
        return one if self == "1" else many


def speaker(language: str) -> Say:
    """A function from (message id, values) to a sentence; what has no translation is said in English."""
    words: Mapping[str, str] = {} if language == "en" else _catalog(language)

    def say(message: str, /, **values: Any) -> str:
        text = words.get(message, message)
        return text.format(**{name: _Value(value) for name, value in values.items()}) if values else text

    return say


def one_line(text: str) -> str:
    """A sentence with somebody else's words in it, without what would end its line, turn it round or move a cursor."""
    return _CONTROLS.sub(" ", text)


@cache
def _catalog(language: str) -> Mapping[str, str]:
    from babel.messages.pofile import read_po

    with files("sync").joinpath("locale", f"{language}.po").open("rb") as stream:
        catalog = read_po(stream, locale=language)
    return {str(m.id): str(m.string) for m in catalog if m.id and m.string and not m.fuzzy}
