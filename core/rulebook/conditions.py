"""Conditions: what a rule asks of a person's fields (`when`) and of an activity's properties (`where`).

Meaning, the same in every engine:
- Three-valued: a test of an unknown (absent or empty) value is unknown, `exists` excepted; `not`, `all` and `any` keep
  it (Kleene). A rule whose condition is unknown gives 0 points, so `not: {field: industry, equals: X}` does not reward
  people whose industry nobody knows.
- Text is compared without regard to case, and a rulebook text matches both as written and in its NFKC form (full-width
  letters, half-width kana). `url` is the exception: addresses are compared exactly as they are.
- `title_rank` is ordered: `at_least: general_manager` means that rank or a higher one.
- `matches` finds a regular expression anywhere in the text (RE2's common subset; `.` includes line ends).
"""

import re
from typing import Annotated

from pydantic import BeforeValidator, Field

from core.rulebook.values import Part, Points

Scalar = str | int | float


def _scalar(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{value!r} is neither a text nor a number")  # noqa: TRY004 (pydantic gathers ValueErrors only)
    if isinstance(value, str) and not value.strip():
        raise ValueError("an empty text never matches: use `exists: false`")
    return value


def _texts(value: object) -> object:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list | tuple) or not texts or not all(isinstance(t, str) and t.strip() for t in texts):
        raise ValueError("give a text, or a list of texts of which one must match")
    return tuple(texts)


_FORBIDDEN = re.compile(
    r"""(?P<group>\(\?(?!:))            # look-around, flags, names, atomic and conditional groups
      | (?P<backreference>\\[1-9])
      | (?P<escape>\\[AaBCEGHKLNPQRUVXZghkpuz0])  # spelled differently, or missing, in one engine or another
      | (?P<possessive>[*+?}]\+)
      | \\.                             # any other escape is one token: a backslash hides what follows
      | (?P<repeat>\{\s*[0-9]{4,}|,\s*[0-9]{4,}\s*\})""",
    re.VERBOSE | re.DOTALL,
)
_WHY = {
    "group": "groups that start with (? are not allowed, except (?:…)",
    "backreference": "back-references are not allowed",
    "escape": "this escape differs between engines",
    "possessive": "possessive repetition is not allowed",
    "repeat": "a repetition count has at most three digits",
}


def _pattern(value: object) -> object:
    if not isinstance(value, str) or not value:
        raise ValueError("`matches` takes a regular expression as a text")
    for found in _FORBIDDEN.finditer(value):
        if found.lastgroup:
            raise ValueError(f"at {found[0]!r}: {_WHY[found.lastgroup]} (engines differ; write it with simpler tests)")
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return value


ScalarValue = Annotated[Scalar, BeforeValidator(_scalar)]
TextChoice = Annotated[tuple[str, ...], BeforeValidator(_texts)]
Pattern = Annotated[str, BeforeValidator(_pattern)]


class Test(Part):
    """Everything asked of one value; all of it must hold."""

    __test__ = False

    equals: ScalarValue | None = None
    in_: tuple[ScalarValue, ...] | None = Field(default=None, alias="in")
    contains: TextChoice | None = None
    starts_with: TextChoice | None = None
    at_least: ScalarValue | None = None
    at_most: ScalarValue | None = None
    between: tuple[ScalarValue, ScalarValue] | None = None
    matches: Pattern | None = None
    exists: bool | None = None

    def asked(self) -> tuple[str, ...]:
        """The names of the tests given, in the order of the language."""
        return tuple(name for name in TEST_NAMES if getattr(self, "in_" if name == "in" else name) is not None)


TEST_NAMES = ("equals", "in", "contains", "starts_with", "at_least", "at_most", "between", "matches", "exists")


class When(Test):
    """A condition on a person: tests of one `field`, or `all`, `any`, `not` of conditions."""

    field: str | None = None
    all: tuple["When", ...] | None = None
    any: tuple["When", ...] | None = None
    not_: "When | None" = Field(default=None, alias="not")


class Where(Part):
    """A condition on an activity: tests of its properties (all must hold), or `all`, `any`, `not` of conditions."""

    url: Test | None = None
    asset: Test | None = None
    campaign: Test | None = None
    channel: Test | None = None
    direction: Test | None = None
    duration: Test | None = None
    all: tuple["Where", ...] | None = None
    any: tuple["Where", ...] | None = None
    not_: "Where | None" = Field(default=None, alias="not")


PROPERTIES = ("url", "asset", "campaign", "channel", "direction", "duration")
"""Activity properties that `where` may ask about; `duration` is a number of seconds, the others are texts."""


class Bin(Part):
    """Points for values under `below`; the last bin may leave it out and takes all the rest."""

    below: ScalarValue | None = None
    points: Points
