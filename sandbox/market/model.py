"""The values of the market: companies, people with their hidden state, what they did, and what became of it.

All times are UTC milliseconds. Everything marked *hidden* is truth that no CRM shows.
"""

from dataclasses import dataclass, field
from typing import Literal

DAY = 86_400_000
HOUR = 3_600_000
MINUTE = 60_000

Channel = Literal["inbound", "outbound", "trade_show"]
CHANNELS: tuple[Channel, ...] = ("inbound", "outbound", "trade_show")
Kind = Literal["buyer", "student", "competitor", "trend_watcher"]


@dataclass(frozen=True, slots=True)
class Options:
    """How a market is drawn.

    people: persons, not records. activities: mean per person, as the CRMs show them. both: share of people in both
    CRMs (the rest is halved); linked: share of those that the native sync has joined by link ids. history_days: how
    long ago the first of them became known.
    """

    seed: int
    people: int
    now_ms: int
    activities: float = 20.0
    both: float = 0.30
    linked: float = 0.70
    noise: float = 0.07
    history_days: int = 720

    def __post_init__(self) -> None:
        if self.people < 0:
            raise ValueError(f"people must not be negative: {self.people}")
        if not 0 <= self.both <= 1 or not 0 <= self.linked <= 1 or not 0 <= self.noise < 1:
            raise ValueError("both, linked and noise are shares between 0 and 1")
        if self.activities < 0 or self.history_days < 30:
            raise ValueError("activities must not be negative, history_days at least 30")


@dataclass(slots=True)
class Company:
    index: int
    core: str  # 蒼峰精機
    legal: str  # 蒼峰精機株式会社
    english: str
    domain: str
    industry: int  # place in words.INDUSTRIES
    employees: int
    place: int  # place in words.PLACES
    plant: str | None  # a second site that buys by itself
    need: float  # hidden: how much the firm needs the product, N(0, 1)
    past_won_ms: int | None  # a deal won before the history starts
    past_lost_ms: int | None
    scanner: bool  # its mail gateway opens every link
    created_ms: int


@dataclass(slots=True)
class Wave:
    """One wave of buying intent (hidden). `chance` is the probability that it ends in an opportunity."""

    start_ms: int
    decision_ms: int  # middle of the time in which the opportunity opens, if it does
    intent: float
    z: float
    chance: float
    opens_ms: int | None  # realised


@dataclass(slots=True)
class Act:
    """Something that happened to or by a person, once, in the world; a CRM may hold it twice or late."""

    kind: str
    at: int
    known: int
    topic: int = 0  # webinar, show, asset, newsletter or page number, by kind
    held: bool = True  # call connected, meeting took place
    closed: bool = True  # meeting marked completed afterwards
    machine: str = ""  # "scanner" or "mpp"
    system: str = ""  # "salesforce" or "hubspot" for what a rep logs, "" for what systems record
    seconds: int = 0
    link: int = 0  # which link of the mail was clicked


@dataclass(slots=True)
class Person:
    index: int
    surname: int
    given: int
    rank: str
    title: int
    department: int
    kind: Kind  # hidden
    channel: Channel
    entered_ms: int
    email: str
    role_mailbox: bool
    at_plant: bool
    english: bool  # signs in Latin letters
    apple_mail: bool
    rapport: int  # hidden, 0 to 2: how well the rep knows them
    in_salesforce: bool
    in_hubspot: bool
    linked: bool
    opted_out_ms: int | None = None
    bounced_ms: int | None = None
    promoted_ms: int | None = None  # title changed then; `rank` is the new one
    previous_rank: str = ""
    moved: bool = False  # changed jobs: Salesforce knows the new firm, HubSpot the old
    salesforce_email: str = ""  # Salesforce holds this address instead: a colleague's, or that of the new firm
    hubspot_surname: int | None = None  # HubSpot still shows the name before marriage
    waves: list[Wave] = field(default_factory=list)
    acts: list[Act] = field(default_factory=list)
    opens_ms: int | None = None  # realised: first opportunity, perhaps after now
    deal: "Deal | None" = None


@dataclass(slots=True)
class Deal:
    """An opportunity of a company; the people on it joined at their own dates."""

    opened_ms: int
    closes_ms: int  # real end, perhaps after now
    planned_ms: int  # the end as the rep expects it while the deal is open
    won: bool  # realised at closes_ms
    reason: int  # loss reason, place in words.LOSS_REASONS
    amount: int  # yen
    stages_ms: list[int]  # when each open stage was entered
    people: list[Person]
    past: bool = False


@dataclass(slots=True)
class Household:
    """One company with its people and deals: the unit that is drawn, recorded and loaded at a time."""

    company: Company
    people: list[Person]
    deals: list[Deal]
