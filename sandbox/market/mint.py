"""Record ids and stamps in the vendors' spelling, and the block of rows that one household becomes."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sandbox.market.model import DAY
from sandbox.market.programme import JST

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SUFFIX = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
# The instance part keeps our ids apart from those an emulator mints later.
_INSTANCE = "5Mk"
_PREFIX = {
    "Account": "001",
    "Contact": "003",
    "Lead": "00Q",
    "Opportunity": "006",
    "OpportunityContactRole": "00K",
    "OpportunityHistory": "008",
    "LeadHistory": "017",
    "Campaign": "701",
    "CampaignMember": "00v",
    "CampaignMemberStatus": "01Y",
    "Task": "00T",
    "Event": "00U",
    "User": "005",
    "Group": "00G",
}
# Types start apart, so that an id used with the wrong type finds nothing.
FIRST_CONTACT = 40_000_000_001
_FIRST = {
    "contacts": FIRST_CONTACT,
    "companies": 41_000_000_001,
    "deals": 42_000_000_001,
    "calls": 43_000_000_001,
    "meetings": 44_000_000_001,
    "emails": 45_000_000_001,
    "notes": 46_000_000_001,
    "marketing_events": 47_000_000_001,
}

Row = dict[str, Any]


class Mint:
    """Numbers records in the order in which they are drawn, so the same market has the same ids."""

    def __init__(self) -> None:
        self._salesforce: dict[str, int] = defaultdict(int)
        self._hubspot: dict[str, int] = dict(_FIRST)
        self._events = 0

    def salesforce(self, sobject: str) -> str:
        """The next 18-character id of that object, checksum included."""
        self._salesforce[sobject] += 1
        return salesforce_id(_PREFIX[sobject], self._salesforce[sobject])

    def hubspot(self, object_type: str) -> int:
        number = self._hubspot[object_type]
        self._hubspot[object_type] = number + 1
        return number

    def event(self) -> str:
        """A UUID-shaped id of an e-mail or web event, or of a form submission."""
        self._events += 1
        return f"5a4d6b00-0000-4000-8000-{self._events:012x}"


def salesforce_id(prefix: str, number: int) -> str:
    """18 characters: key prefix, instance, nine digits in base 62, and the checksum of the letters' case."""
    high, low = divmod(number, 62 * 62)
    head, marks, fourth = _head(prefix, high)
    tail = _BASE62[low // 62] + _BASE62[low % 62]
    return head + tail + marks + _checksum(fourth + tail)


@lru_cache(maxsize=256)
def _head(prefix: str, high: int) -> tuple[str, str, str]:
    """What 3,844 neighbours share: 13 characters, two checksum characters, the letters before the last two."""
    digits = ""
    for _ in range(7):
        high, digit = divmod(high, 62)
        digits = _BASE62[digit] + digits
    plain = prefix + _INSTANCE + digits
    return plain, _checksum(plain[:5]) + _checksum(plain[5:10]), plain[10:]


@lru_cache(maxsize=65_536)
def _checksum(five: str) -> str:
    return _SUFFIX[sum(1 << place for place, letter in enumerate(five) if "A" <= letter <= "Z")]


@lru_cache(maxsize=8192)
def _day(number: int) -> str:
    return datetime.fromtimestamp(number * 86_400, UTC).strftime("%Y-%m-%d")


def iso(at_ms: int) -> str:
    """HubSpot's spelling: 2026-11-22T01:02:03.004Z."""
    day, rest = divmod(at_ms, DAY)
    seconds, ms = divmod(rest, 1000)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"{_day(day)}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z"


def second(at_ms: int) -> int:
    """Salesforce keeps whole seconds."""
    return at_ms - at_ms % 1000


def local_date(at_ms: int) -> str:
    """The calendar date in Japan."""
    return _day((at_ms + JST) // DAY)


@dataclass(slots=True)
class Block:
    """Rows of a few households in the vendors' shapes, ready for the emulators' load doors.

    salesforce: sObject name to rows. objects: HubSpot type to `{"id", "properties", "created_ms", "updated_ms"}`.
    associations: (from type, to type) to (from id, to id, type id). history: {"type", "id", "property", "versions"},
    newest version first.
    """

    salesforce: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    objects: dict[str, list[Row]] = field(default_factory=lambda: defaultdict(list))
    associations: dict[tuple[str, str], list[tuple[int, int, int]]] = field(default_factory=lambda: defaultdict(list))
    email_events: list[Row] = field(default_factory=list)
    submissions: list[Row] = field(default_factory=list)
    memberships: list[Row] = field(default_factory=list)
    participations: list[Row] = field(default_factory=list)
    web_events: list[Row] = field(default_factory=list)
    history: list[Row] = field(default_factory=list)
    owners: list[Row] = field(default_factory=list)
    forms: list[Row] = field(default_factory=list)
    lists: list[Row] = field(default_factory=list)
    marketing_events: list[Row] = field(default_factory=list)
    people_so_far: int = 0  # persons of this block and all before it

    def count(self) -> int:
        """Rows in all, associations and events included."""
        lists: list[Any] = [*self.salesforce.values(), *self.objects.values(), *self.associations.values()]
        lists += [self.email_events, self.submissions, self.memberships, self.participations, self.web_events]
        lists += [self.history, self.owners, self.forms, self.lists, self.marketing_events]
        return sum(len(rows) for rows in lists)
