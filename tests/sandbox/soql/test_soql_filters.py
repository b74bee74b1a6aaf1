"""WHERE: operators, literals and dates."""

from datetime import date

import pytest

from sandbox.salesforce.soql.literals import Calendar, find_date_range
from tests.sandbox.soql.store import LEADS, NOW_MS, Org


def names(org: Org, condition: str) -> list[object]:
    return org.column(f"SELECT LastName FROM Lead WHERE {condition} ORDER BY Id", "LastName")


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ("LastName = 'ABE'", ["Abe"]),
        ("LastName = 'éto'", ["Éto"]),
        ("LastName != 'abe'", ["baba", "Chiba", "O'Date", "Éto"]),
        ("Status != 'open'", ["Chiba", "O'Date", "Éto"]),
        ("LastName > 'B' AND LastName < 'd'", ["baba", "Chiba"]),
        ("LastName LIKE '%BA'", ["baba", "Chiba"]),
        ("LastName LIKE '_b_'", ["Abe"]),
        ("LastName LIKE 'É%'", ["Éto"]),
        ("(NOT LastName LIKE '%a%')", ["Éto"]),
        ("Company LIKE '100\\%%'", ["O'Date"]),
        ("Company LIKE '100\\_%'", []),
        ("Company LIKE '%\\_P%'", ["O'Date"]),
        ("Company = 'a\\\\b'", ["Éto"]),
        ("Company LIKE 'a\\\\\\\\b'", []),
        ("Company LIKE 'a\\\\b'", ["Éto"]),
        ("LastName = 'O\\'Date'", ["O'Date"]),
        ("LastName = '\\u0041be'", ["Abe"]),
        ("Title = '係長'", ["O'Date"]),
        ("Title = ''", ["Abe", "baba", "Chiba", "Éto"]),
        ("Title != ''", ["O'Date"]),
        ("Title = null AND Status = 'Open'", ["Abe", "baba"]),
        ("Title != null", ["O'Date"]),
        ("Code__c = 'abc'", []),
        ("Code__c = 'abC'", ["Éto"]),
        ("Status IN ('open', 'none')", ["Abe", "baba"]),
        ("Status NOT IN ('open')", ["Chiba", "O'Date", "Éto"]),
        ("Status IN ('open', null)", ["Abe", "baba", "O'Date"]),
        ("Status NOT IN ('open', null)", ["Chiba", "Éto"]),
        ("NumberOfEmployees IN (30, 40)", ["baba"]),
        ("NumberOfEmployees = 30.0", ["baba"]),
        ("NumberOfEmployees >= 30", ["baba"]),
        ("NumberOfEmployees < 31", ["baba"]),
        ("Score__c < 0", ["Chiba"]),
        ("Score__c > +1.05e1", []),
        ("Score__c = 1.05e1", ["Abe"]),
        ("Score__c != 10.5", ["baba", "Chiba", "O'Date", "Éto"]),
        ("(NOT Score__c > 0)", ["baba", "Chiba", "O'Date", "Éto"]),
        ("(NOT (Score__c > 0 OR Status = 'closed'))", ["baba", "O'Date"]),
        ("NumberOfEmployees > 99999999999999999999", []),
        ("IsDeleted = FALSE AND LastName = 'Abe'", ["Abe"]),
        ("IsDeleted != false", []),
        ("Interests__c INCLUDES ('Red')", ["baba", "Chiba"]),
        ("Interests__c INCLUDES ('blue;red')", ["baba"]),
        ("Interests__c INCLUDES ('Blue', 'Green')", ["baba"]),
        ("Interests__c EXCLUDES ('Blue')", ["Abe", "Chiba", "O'Date", "Éto"]),
        ("Interests__c = 'Red'", ["Chiba"]),
        ("Called_At__c = 09:30:00Z", ["Éto"]),
        ("Called_At__c > 09:29:59.999Z", ["Éto"]),
        ("Id = '00Q000000000003'", ["Chiba"]),
        (f"Id IN ('{LEADS[0]}', '00Q000000000002')", ["Abe", "baba"]),
        (f"Id > '{LEADS[3]}'", ["Éto"]),
        ("Owner.Name = 'lead queue'", ["Chiba"]),
        ("LastActivityDate = 2024-11-01", ["O'Date"]),
        ("LastActivityDate < 2024-11-01", []),
        ("LastActivityDate = THIS_MONTH", ["O'Date"]),
        ("LastActivityDate = LAST_N_DAYS:17", ["O'Date"]),
        ("LastActivityDate = LAST_N_DAYS:16", []),
        ("LastActivityDate IN (TODAY, LAST_N_WEEKS:3)", ["O'Date"]),
        ("CreatedDate = 2024-11-18T04:00:00Z", ["Abe"]),
        ("CreatedDate = 2024-11-18T13:00:00+09:00", ["Abe"]),
        ("CreatedDate = 2024-11-18T13:00:00.000+0900", ["Abe"]),
        ("CreatedDate >= 2024-11-16T20:00:00-08:00", ["Abe", "baba"]),
        ("CreatedDate = TODAY", ["Abe"]),
        ("CreatedDate != TODAY", ["baba", "Chiba", "O'Date", "Éto"]),
        ("CreatedDate < TODAY", ["baba", "Chiba", "O'Date", "Éto"]),
        ("CreatedDate <= YESTERDAY", ["baba", "Chiba", "O'Date", "Éto"]),
        ("CreatedDate > YESTERDAY", ["Abe"]),
        ("CreatedDate >= YESTERDAY", ["Abe", "baba"]),
        ("CreatedDate = N_DAYS_AGO:2", ["Chiba"]),
        ("CreatedDate < LAST_N_DAYS:30", ["O'Date", "Éto"]),
        ("CreatedDate = last_n_days: 30", ["Abe", "baba", "Chiba"]),
        ("CreatedDate > NEXT_N_DAYS:1", []),
        ("CreatedDate = null", []),
        ("CreatedDate > null", []),
        ("CALENDAR_YEAR(CreatedDate) = 2023", ["Éto"]),
    ],
)  # fmt: skip
def test_conditions(org: Org, condition: str, found: list[str]) -> None:
    assert names(org, condition) == found


def test_days_begin_in_the_organisations_zone(org: Org) -> None:
    org.now_ms = NOW_MS + 12 * 3_600_000  # the 18th, 16:00 in UTC; the 19th, 01:00 in Tokyo
    assert names(org, "CreatedDate = TODAY") == ["Abe"]
    org.time_zone = "Asia/Tokyo"
    assert names(org, "CreatedDate = TODAY") == []
    assert names(org, "CreatedDate = YESTERDAY") == ["Abe"]


def test_days_of_summer_time_have_their_own_length() -> None:
    zone = Calendar(NOW_MS, "America/New_York")
    hours = (zone.midnight_ms(date(2024, 3, 11)) - zone.midnight_ms(date(2024, 3, 10))) / 3_600_000
    assert hours == 23


# Monday 2024-11-18: weeks start on Sunday.
@pytest.mark.parametrize(
    ("formula", "first", "end"),
    [
        ("TODAY", "2024-11-18", "2024-11-19"),
        ("YESTERDAY", "2024-11-17", "2024-11-18"),
        ("TOMORROW", "2024-11-19", "2024-11-20"),
        ("LAST_WEEK", "2024-11-10", "2024-11-17"),
        ("THIS_WEEK", "2024-11-17", "2024-11-24"),
        ("NEXT_WEEK", "2024-11-24", "2024-12-01"),
        ("LAST_MONTH", "2024-10-01", "2024-11-01"),
        ("THIS_MONTH", "2024-11-01", "2024-12-01"),
        ("NEXT_MONTH", "2024-12-01", "2025-01-01"),
        ("LAST_90_DAYS", "2024-08-20", "2024-11-19"),
        ("NEXT_90_DAYS", "2024-11-19", "2025-02-17"),
        ("THIS_QUARTER", "2024-10-01", "2025-01-01"),
        ("LAST_QUARTER", "2024-07-01", "2024-10-01"),
        ("NEXT_QUARTER", "2025-01-01", "2025-04-01"),
        ("THIS_YEAR", "2024-01-01", "2025-01-01"),
        ("LAST_YEAR", "2023-01-01", "2024-01-01"),
        ("NEXT_YEAR", "2025-01-01", "2026-01-01"),
        ("THIS_FISCAL_QUARTER", "2024-10-01", "2025-01-01"),
        ("LAST_FISCAL_YEAR", "2023-01-01", "2024-01-01"),
        ("LAST_N_DAYS:0", "2024-11-18", "2024-11-19"),
        ("LAST_N_DAYS:7", "2024-11-11", "2024-11-19"),
        ("NEXT_N_DAYS:7", "2024-11-19", "2024-11-26"),
        ("N_DAYS_AGO:3", "2024-11-15", "2024-11-16"),
        ("LAST_N_WEEKS:2", "2024-11-03", "2024-11-17"),
        ("NEXT_N_WEEKS:2", "2024-11-24", "2024-12-08"),
        ("N_WEEKS_AGO:1", "2024-11-10", "2024-11-17"),
        ("LAST_N_MONTHS:2", "2024-09-01", "2024-11-01"),
        ("NEXT_N_MONTHS:2", "2024-12-01", "2025-02-01"),
        ("N_MONTHS_AGO:12", "2023-11-01", "2023-12-01"),
        ("LAST_N_QUARTERS:4", "2023-10-01", "2024-10-01"),
        ("N_QUARTERS_AGO:1", "2024-07-01", "2024-10-01"),
        ("LAST_N_YEARS:2", "2022-01-01", "2024-01-01"),
        ("NEXT_N_FISCAL_YEARS:1", "2025-01-01", "2026-01-01"),
        ("N_FISCAL_QUARTERS_AGO:2", "2024-04-01", "2024-07-01"),
    ],
)
def test_date_literals(formula: str, first: str, end: str) -> None:
    found = find_date_range(formula, date(2024, 11, 18))
    assert found == (date.fromisoformat(first), date.fromisoformat(end))
    assert find_date_range(formula.lower(), date(2024, 11, 18)) == found


@pytest.mark.parametrize(
    "formula", ["NOW", "LAST_DAY", "N_DAYS:3", "LAST_N_DAYS_AGO:3", "LAST_N_YEARS:99999", "TODAY:1"]
)
def test_what_is_no_date_literal(formula: str) -> None:
    assert find_date_range(formula, date(2024, 11, 18)) is None
