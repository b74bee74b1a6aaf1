"""Plain records for load tests: one Lead and one HubSpot contact per number, no story, no activities."""

from collections.abc import Iterable, Iterator

from sandbox.market.mint import FIRST_CONTACT, Row, iso, salesforce_id, second
from sandbox.market.model import DAY, MINUTE
from sandbox.market.words import GIVEN_NAMES, SURNAMES

_SPAN = 30 * DAY


def plain_leads(numbers: Iterable[int], count: int, now_ms: int) -> Iterator[dict[str, object]]:
    """Salesforce Leads, created evenly over the last 30 days."""
    for number in numbers:
        last, first = _name(number)
        stamp = second(_created(number, count, now_ms))
        yield {
            "Id": salesforce_id("00Q", number + 1),
            "LastName": last,
            "FirstName": first,
            "Name": f"{last} {first}",
            "Company": f"株式会社サンプル{number % 9973}",
            "Title": "課長",
            "Email": f"load{number}@records.example",
            "Status": "Open - Not Contacted",
            "LeadSource": "Web",
            "IsConverted": False,
            "IsDeleted": False,
            "CreatedDate": stamp,
            "LastModifiedDate": stamp,
            "SystemModstamp": stamp,
        }


def plain_contacts(numbers: Iterable[int], count: int, now_ms: int) -> Iterator[Row]:
    """HubSpot contacts of other people than the Leads, created evenly over the last 30 days."""
    for number in numbers:
        last, first = _name(number + 7)
        created = _created(number, count, now_ms)
        properties = {
            "firstname": first,
            "lastname": last,
            "email": f"load{number}@contacts.example",
            "company": f"株式会社サンプル{number % 9973}",
            "jobtitle": "部長",
            "lifecyclestage": "lead",
            "createdate": iso(created),
        }
        yield {"id": FIRST_CONTACT + number, "properties": properties, "created_ms": created, "updated_ms": created}


def _name(number: int) -> tuple[str, str]:
    return SURNAMES[number % len(SURNAMES)][0], GIVEN_NAMES[number // len(SURNAMES) % len(GIVEN_NAMES)][0]


def _created(number: int, count: int, now_ms: int) -> int:
    return now_ms - MINUTE - _SPAN + _SPAN * number // max(count, 1)
