"""The rulebook as values: what a company wrote, checked for shape. Meaning across fields is checked in `check`."""

from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from core.rulebook.conditions import Bin, When, Where
from core.rulebook.values import BandName, Days, DimensionName, Part, Percent, Points, Score, Texts, Whole

Bucket = Literal["day", "week", "month"]
Unless = Literal["open_deal", "recontact_on_ahead", "opted_out"]
Freshness = Literal["realtime", "on_update", "daily"]


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{name!r} is not a time zone: write a name such as Asia/Tokyo") from None
    return name


def _kinds(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _rule_id(value: str) -> str:
    if (
        not value
        or len(value) > 64
        or not all(c.islower() or c.isdigit() or c in "-_" for c in value)
        or not value.isascii()
    ):
        raise ValueError(f"{value!r}: an id is 1 to 64 small letters, digits, - and _")
    return value


class Linear(Part):
    """Full points on the day, nothing from `to_zero` days on, a straight line between."""

    to_zero: Days


class Step(Part):
    """`drop` percent of the full points less after every `every` days, never below nothing."""

    drop: Percent
    every: Days


class Decay(Part):
    """How an activity's points fade with its age in calendar days. Exactly one of the three."""

    half_life: Days | None = None
    linear: Linear | None = None
    step: Step | None = None

    @model_validator(mode="after")
    def _one(self) -> "Decay":
        if sum(part is not None for part in (self.half_life, self.linear, self.step)) != 1:
            raise ValueError("decay is exactly one of half_life, linear and step")
        return self


class Count(Part):
    """At least `count`, no older than `within` days where given (age < within)."""

    count: Whole
    within: Days | None = None


class AtLeast(Part):
    """`at_least` of something, no older than `within` days where given (age < within)."""

    at_least: Whole = 1
    within: Days | None = None


class Limit(Part):
    """Only the newest `count` earn points: of each calendar day, ISO week or month where `per` says so, else of all."""

    count: Whole
    per: Bucket | None = None


class Inactive(Part):
    """Whole periods of `for` days since the last human activity: each one (`repeat`), or only the first."""

    for_: Days = Field(alias="for")
    repeat: bool = False


class Account(Part):
    """Asks about the person's company: how many of its people (this one included) were active."""

    people_active: AtLeast


class DealTest(Part):
    """Asks about deals: exactly one state. `won` and `lost` are dated by their closing, the others by their creation."""

    won: AtLeast | None = None
    lost: AtLeast | None = None
    open: AtLeast | None = None
    created: AtLeast | None = None
    of: Literal["person", "account"] = "account"

    @model_validator(mode="after")
    def _one(self) -> "DealTest":
        if len(self._given()) != 1:
            raise ValueError("a deal rule asks for exactly one of won, lost, open and created")
        return self

    def _given(self) -> list[tuple[str, AtLeast]]:
        asked = {"won": self.won, "lost": self.lost, "open": self.open, "created": self.created}
        return [(state, test) for state, test in asked.items() if test is not None]

    @property
    def state(self) -> str:
        return self._given()[0][0]

    @property
    def test(self) -> AtLeast:
        return self._given()[0][1]


class _Rule(Part):
    id: Annotated[str, AfterValidator(_rule_id)]
    dimension: DimensionName
    label: Texts
    caution: Texts | None = None
    freshness: Freshness | None = None


class AttributeRule(_Rule):
    """A state of the person, never accumulated: `when` with `points`, or a `field` cut into `bins`."""

    when: When | None = None
    points: Points | None = None
    field: str | None = None
    bins: tuple[Bin, ...] | None = None

    @model_validator(mode="after")
    def _one_form(self) -> "AttributeRule":
        if self.when is not None and (self.points is None or self.field is not None or self.bins is not None):
            raise ValueError("a `when` rule has points, and neither field nor bins")
        if self.when is None and (self.field is None or self.bins is None or self.points is not None):
            raise ValueError("a rule with bins has a field, and its points inside the bins")
        return self


class ActivityRule(_Rule):
    """Points for activities: match, window, gate (`at_least`), newest `limit` per bucket, decay, sum, cap."""

    points: Points
    on: Annotated[tuple[str, ...], BeforeValidator(_kinds)]
    where: Where | None = None
    window: Days | None = None
    at_least: Count | None = None
    limit: Limit | None = None
    decay: Decay | None = None
    cap: Score | None = None
    floor: Score | None = None


class InactiveRule(_Rule):
    """A deduction for silence, bounded by `floor`, suspended while an `unless` holds."""

    points: Points
    inactive: Inactive
    floor: Score | None = None
    unless: tuple[Unless, ...] = ()


class AccountRule(_Rule):
    """Points once, when the person's company passes the test."""

    points: Points
    account: Account


class DealRule(_Rule):
    """Points once, when the deals of the account (or of the person) pass the test."""

    points: Points
    deal: DealTest


KIND_KEYS = {"when": "attribute", "bins": "attribute", "on": "activity"} | {
    key: key for key in ("inactive", "account", "deal")
}
"""The key that says what kind of rule it is."""


def _kind(value: Any) -> str | None:
    if isinstance(value, _Rule):
        return {
            AttributeRule: "attribute",
            ActivityRule: "activity",
            InactiveRule: "inactive",
            AccountRule: "account",
            DealRule: "deal",
        }[type(value)]
    if not isinstance(value, dict):
        return None
    kinds = [kind for key, kind in KIND_KEYS.items() if key in value]
    return kinds[0] if kinds else None


Rule = Annotated[
    Annotated[AttributeRule, Tag("attribute")]
    | Annotated[ActivityRule, Tag("activity")]
    | Annotated[InactiveRule, Tag("inactive")]
    | Annotated[AccountRule, Tag("account")]
    | Annotated[DealRule, Tag("deal")],
    Discriminator(_kind),
]


class Bounds(Part):
    """A dimension's bounds in points: clamped to them after rounding. No floor unless given."""

    cap: Score | None = None
    floor: Score | None = None


class Dimensions(Part):
    """The three dimensions; their names are fixed because CRM fields depend on them."""

    fit: Bounds = Bounds()
    engagement: Bounds = Bounds()
    relationship: Bounds = Bounds()

    def bounds(self, name: DimensionName) -> Bounds:
        return {"fit": self.fit, "engagement": self.engagement, "relationship": self.relationship}[name]


class Band(Part):
    """What a score needs for this band: at least these points in all that are named."""

    total: Score | None = None
    fit: Score | None = None
    engagement: Score | None = None
    relationship: Score | None = None

    def needs(self) -> dict[str, int]:
        return {name: points for name, points in self if points is not None}


class Bands(Part):
    """The four bands, tried from A down; D takes everyone else."""

    A: Band
    B: Band
    C: Band
    D: Band = Band()

    def ordered(self) -> tuple[tuple[BandName, Band], ...]:
        return (("A", self.A), ("B", self.B), ("C", self.C), ("D", self.D))

    def of(self, total: int, parts: dict[str, int]) -> BandName:
        """The band of a score: `total`, and `parts` by dimension name."""
        score = {"total": total, **parts}
        for name, band in self.ordered():
            if all(score[part] >= points for part, points in band.needs().items()):
                return name
        return "D"

    def short_of(self, total: int, parts: dict[str, int]) -> tuple[BandName, dict[str, int]] | None:
        """The highest band whose `total` is reached and that is missed all the same, and the parts that fall short with what
        it asks of them. None where the total alone decides.
        """
        reached = self.of(total, parts)
        for name, band in self.ordered():
            if name == reached:
                return None
            short = {part: points for part, points in band.needs().items() if part != "total" and parts[part] < points}
            if short and total >= (band.total or 0):
                return name, short
        return None


class Surge(Part):
    """A rise of `points` inside `window`: what counts as "now in motion"."""

    window: Days
    points: Whole


class Drain(Part):
    """Hand over those who are in the band on the first day a few at a time: this many per rep and day."""

    drain: Whole


class Handover(Part):
    """When a person is handed to sales: in `band`, with a human activity within `recent`; again after `rearm_below`."""

    name: Annotated[str, AfterValidator(_rule_id)] = "sales"
    band: BandName = "A"
    recent: Days = 14
    rearm_below: Score = 70
    initial: Literal["seed", "all"] | Drain = "seed"


class Rulebook(Part):
    """A whole rule file. Immutable and comparable; digests in `core.rulebook.digest`."""

    name: Annotated[str, AfterValidator(_rule_id)]
    timezone: Annotated[str, AfterValidator(_known_zone)]
    dimensions: Dimensions = Dimensions()
    rules: tuple[Rule, ...] = Field(min_length=1)
    bands: Bands
    surge: Surge | None = None
    handover: Handover = Handover()
    description: Texts | None = None

    def rule(self, rule_id: str) -> "AnyRule | None":
        """The rule with an id, or None."""
        return next((rule for rule in self.rules if rule.id == rule_id), None)


AnyRule = AttributeRule | ActivityRule | InactiveRule | AccountRule | DealRule


def freshness(rule: AnyRule) -> Freshness:
    """How soon a rule's points follow the facts: what the file promises, else what its kind can."""
    if rule.freshness is not None:
        return rule.freshness
    if isinstance(rule, InactiveRule):
        return "daily"
    return "realtime" if isinstance(rule, ActivityRule) else "on_update"
