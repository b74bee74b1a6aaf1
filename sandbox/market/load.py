"""Load a market, or plain records, into both emulators through their bulk doors."""

from collections.abc import Callable, Collection, Iterable
from typing import Any, Protocol

from sandbox.market.market import Market
from sandbox.market.mint import Block, Row
from sandbox.market.plain import plain_contacts, plain_leads

# Parents first, so that a reader who looks in between finds no dangling reference.
_SOBJECTS = (
    "User",
    "Group",
    "Account",
    "Contact",
    "Opportunity",
    "Lead",
    "OpportunityContactRole",
    "OpportunityHistory",
    "LeadHistory",
    "Campaign",
    "CampaignMemberStatus",
    "CampaignMember",
    "Task",
    "Event",
)
_RECORDS_PER_BATCH = 5_000


class SalesforceDoor(Protocol):
    """What loading needs of the Salesforce emulator."""

    def load(self, sobject: str, rows: Iterable[dict[str, object]]) -> Any: ...


class HubSpotDoor(Protocol):
    """What loading needs of the HubSpot emulator."""

    def load(self, object_type: str, rows: Iterable[dict[str, Any]]) -> Any: ...

    def load_associations(self, from_type: str, to_type: str, rows: Iterable[tuple[int, int, int]]) -> Any: ...

    def load_email_events(self, rows: Iterable[dict[str, Any]]) -> Any: ...

    def load_forms(self, rows: Iterable[dict[str, Any]]) -> Any: ...

    def load_form_submissions(self, rows: Iterable[dict[str, Any]]) -> Any: ...

    def load_lists(self, rows: Iterable[dict[str, Any]]) -> Any: ...

    def load_memberships(self, rows: Iterable[dict[str, Any]]) -> Any: ...

    def load_marketing_events(self, rows: Iterable[dict[str, Any]]) -> Any: ...

    def load_participations(self, rows: Iterable[dict[str, Any]]) -> Any: ...

    def load_web_events(self, rows: Iterable[dict[str, Any]]) -> Any: ...

    def load_owners(self, rows: Iterable[dict[str, Any]]) -> Any: ...

    def load_history(self, rows: Iterable[dict[str, Any]]) -> Any: ...


Report = Callable[[int, int], bool]


def load_market(
    market: Market,
    salesforce: SalesforceDoor,
    hubspot: HubSpotDoor,
    report: Report | None = None,
    *,
    hidden: Collection[str] = (),
) -> bool:
    """Load every block of the market. `report(done, all)` hears the people so far; False from it stops the load.

    `hidden` names Salesforce fields that this org does not have (opt-out flags are often taken away): they are left
    out. Returns whether all is loaded.
    """
    for block in market.blocks():
        for name in hidden:
            for row in (*block.salesforce["Lead"], *block.salesforce["Contact"]):
                row.pop(name, None)
        load_block(block, salesforce, hubspot)
        if report is not None and not report(block.people_so_far, market.options.people):
            return False
    return True


def load_block(block: Block, salesforce: SalesforceDoor, hubspot: HubSpotDoor) -> None:
    """Load one block."""
    unknown = block.salesforce.keys() - set(_SOBJECTS)
    if unknown:
        raise ValueError(f"no place in the load order for {', '.join(sorted(unknown))}")
    for sobject in _SOBJECTS:
        rows = block.salesforce.get(sobject)
        if rows:
            salesforce.load(sobject, rows)
    for object_type, rows in block.objects.items():
        hubspot.load(object_type, rows)
    for (from_type, to_type), pairs in block.associations.items():
        hubspot.load_associations(from_type, to_type, pairs)
    steps: tuple[tuple[Callable[[Iterable[Row]], Any], list[Row]], ...] = (
        (hubspot.load_owners, block.owners),
        (hubspot.load_forms, block.forms),
        (hubspot.load_lists, block.lists),
        (hubspot.load_marketing_events, block.marketing_events),
        (hubspot.load_history, block.history),
        (hubspot.load_email_events, block.email_events),
        (hubspot.load_form_submissions, block.submissions),
        (hubspot.load_memberships, block.memberships),
        (hubspot.load_participations, block.participations),
        (hubspot.load_web_events, block.web_events),
    )
    for load, rows in steps:
        if rows:
            load(rows)


def load_records(
    count: int, now_ms: int, salesforce: SalesforceDoor, hubspot: HubSpotDoor, report: Report | None = None
) -> bool:
    """Load `count` plain Leads and as many HubSpot contacts, without activities. Returns whether all are loaded."""
    for start in range(0, count, _RECORDS_PER_BATCH):
        numbers = range(start, min(start + _RECORDS_PER_BATCH, count))
        salesforce.load("Lead", plain_leads(numbers, count, now_ms))
        hubspot.load("contacts", plain_contacts(numbers, count, now_ms))
        if report is not None and not report(numbers.stop, count):
            return False
    return True
