"""The small values of the rule language: durations, points, percentages, texts in two languages."""

import re
from decimal import ROUND_FLOOR, Decimal, InvalidOperation
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator

Language = Literal["ja", "en"]
DimensionName = Literal["fit", "engagement", "relationship"]
BandName = Literal["A", "B", "C", "D"]

DIMENSIONS: tuple[DimensionName, ...] = ("fit", "engagement", "relationship")
BANDS: tuple[BandName, ...] = ("A", "B", "C", "D")

MAX_DAYS = 36_500
MAX_POINTS = 1_000

_DURATION = re.compile(r"([0-9]{1,6})\s*([a-z]+)")
_DAYS_PER_UNIT = {"d": 1, "w": 7}
_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,3})?)\s*%")


class Part(BaseModel):
    """A frozen piece of the rulebook; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=False, strict=False)


def _days(value: object) -> object:
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None or match[2] not in _DAYS_PER_UNIT:
        raise ValueError(f"{value!r} is not a duration: write whole days or weeks, such as 45d or 6w")
    days = int(match[1]) * _DAYS_PER_UNIT[match[2]]
    if not 1 <= days <= MAX_DAYS:
        raise ValueError(f"a duration is between 1d and {MAX_DAYS}d, not {value}")
    return days


def _points(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError(f"{value!r} is not a number of points")  # noqa: TRY004 (pydantic gathers ValueErrors only)
    try:
        points = Decimal(str(value))
    except InvalidOperation:
        raise ValueError(f"{value!r} is not a number of points") from None
    if not points.is_finite() or abs(points) > MAX_POINTS:
        raise ValueError(f"points lie between -{MAX_POINTS} and {MAX_POINTS}, not {value}")
    if points * 1000 != (points * 1000).to_integral_value():
        raise ValueError(f"points have at most three decimals, not {value}")
    return points


def _percent(value: object) -> object:
    match = _PERCENT.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None or not 0 < Decimal(match[1]) <= 100:
        raise ValueError(f"{value!r} is not a share: write a percentage above 0% and up to 100%, such as 25%")
    return Decimal(match[1])


def _whole(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{value!r} is not a whole number")  # noqa: TRY004 (pydantic gathers ValueErrors only)
    if not 1 <= value <= 100_000:
        raise ValueError(f"a count is between 1 and 100000, not {value}")
    return value


def _score(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > 100_000:
        raise ValueError(f"{value!r} is not a whole number of points")
    return value


Days = Annotated[int, BeforeValidator(_days)]
"""A duration in whole calendar days, written `45d` or `6w`."""

Points = Annotated[Decimal, BeforeValidator(_points)]
"""Points with at most three decimals, so that they are whole milli-points."""

Percent = Annotated[Decimal, BeforeValidator(_percent)]
"""A share above 0 and up to 100, written `25%`."""

Whole = Annotated[int, BeforeValidator(_whole)]
"""A count of at least one."""

Score = Annotated[int, BeforeValidator(_score)]
"""A whole number of points: what dimensions, bands and totals are made of."""


def milli(points: Decimal) -> int:
    """Points as integer milli-points (rounded half up where a product has more decimals)."""
    return int((points * 1000 + Decimal("0.5")).to_integral_value(ROUND_FLOOR))


class Texts(Part):
    """A text for people in Japanese, English, or both."""

    ja: str | None = None
    en: str | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "Texts":
        if not (self.ja or "").strip() and not (self.en or "").strip():
            raise ValueError("give the text in ja, en, or both")
        return self

    def text(self, language: Language) -> str:
        """The text in a language, or in the other one where it is missing."""
        wanted, other = (self.ja, self.en) if language == "ja" else (self.en, self.ja)
        return wanted or other or ""
