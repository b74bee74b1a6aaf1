"""One row out of several records."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.identity import attributes
from core.records import Account, Consent, Record, RecordRef, Value

SF_LEAD, SF_CONTACT, HUBSPOT = (
    RecordRef("salesforce", "lead", "q1"),
    RecordRef("salesforce", "contact", "c1"),
    RecordRef("hubspot", "contact", "1"),
)
COMPANY = RecordRef("salesforce", "account", "a1")


def rec(ref: RecordRef, fields: dict[str, Value] | None = None, **facts: object) -> Record:
    facts.setdefault("created_at", 10)
    facts.setdefault("modified_at", 20)
    return Record(ref, fields or {}, **facts)  # type: ignore[arg-type]


def test_first_non_empty_in_the_order_of_systems_and_kinds() -> None:
    row = attributes(
        [
            rec(HUBSPOT, {"title": "課長", "phone": "03-0000-0000", "department": "総務部"}, modified_at=99),
            rec(SF_LEAD, {"title": "係長", "phone": " "}),
            rec(SF_CONTACT, {"title": "部長"}, created_at=11),
        ],
        {},
    )
    assert row.values["title"] == "部長"
    assert row.values["title_rank"] == "general_manager"
    assert row.values["phone"] == "03-0000-0000"
    assert row.sources["title"] == row.sources["title_rank"] == SF_CONTACT
    assert row.sources["department"] == HUBSPOT
    assert row.created_at == 10


def test_order_can_be_changed_and_connections_may_have_other_names() -> None:
    records = [
        rec(RecordRef("crm-jp", "contact", "c1"), {"title": "部長"}),
        rec(RecordRef("marketing", "contact", "1"), {"title": "課長"}),
    ]
    vendors = {"crm-jp": "salesforce", "marketing": "hubspot"}
    assert attributes(records, {}, vendors=vendors).values["title"] == "部長"
    assert attributes(records, {}, vendors=vendors, order=[("hubspot", "contact")]).values["title"] == "課長"
    assert attributes(records, {}, vendors=vendors, order=[("marketing", "contact")]).values["title"] == "課長"


def test_then_newest_then_lowest_id() -> None:
    records = [
        rec(RecordRef("salesforce", "lead", "q3"), {"title": "部長"}, modified_at=30),
        rec(RecordRef("salesforce", "lead", "q2"), {"title": "課長"}, modified_at=40),
        rec(RecordRef("salesforce", "lead", "q1"), {"title": "主任"}, modified_at=40),
    ]
    assert attributes(records, {}).values["title"] == "主任"


def test_a_converted_lead_only_fills_what_nobody_else_knows() -> None:
    records = [
        rec(SF_LEAD, {"title": "課長", "industry": "化学"}, successor=SF_CONTACT),
        rec(HUBSPOT, {"title": "部長"}),
        rec(SF_CONTACT, {}),
    ]
    row = attributes(records, {})
    assert (row.values["title"], row.values["industry"]) == ("部長", "化学")


def test_company_fields_come_from_the_account_first() -> None:
    account = Account(COMPANY, {"company": "株式会社アクメ", "employees": 300, "title": "no field of an account"}, 1)
    row = attributes(
        [rec(HUBSPOT, {"company": "アクメ", "employees": 5, "industry": "化学"}), rec(SF_CONTACT, {}, account=COMPANY)],
        {COMPANY: account},
    )
    assert (row.values["company"], row.values["employees"], row.values["industry"]) == ("株式会社アクメ", 300, "化学")
    assert row.sources["company"] == row.company == COMPANY
    assert "title" not in row.values


def test_an_account_that_is_not_known_is_passed_over() -> None:
    row = attributes([rec(SF_CONTACT, {"company": "アクメ"}, account=COMPANY)], {})
    assert row.values["company"] == "アクメ"
    assert row.company == SF_CONTACT


def test_domain_is_the_companys_not_the_providers() -> None:
    row = attributes([rec(SF_CONTACT, {"email": "t@gmail.com"}, emails=("t@gmail.com", "t@mail.acme.co.jp"))], {})
    assert (row.values["email"], row.values["domain"]) == ("t@gmail.com", "acme.co.jp")
    row = attributes([rec(SF_CONTACT, {"website": "https://www.acme.example/jp"}, emails=("t@gmail.com",))], {})
    assert (row.values["email"], row.values["domain"]) == ("t@gmail.com", "acme.example")
    assert "domain" not in attributes([rec(SF_CONTACT, {}, emails=("t@gmail.com",))], {}).values


def test_zero_and_false_are_values() -> None:
    row = attributes([rec(SF_CONTACT, {"employees": 0}), rec(HUBSPOT, {"employees": 7})], {})
    assert row.values["employees"] == 0


@pytest.mark.parametrize("consent", [Consent(email_opt_out=True), Consent(do_not_call=True)])
def test_any_opt_out_counts(consent: Consent) -> None:
    assert attributes([rec(SF_CONTACT), rec(HUBSPOT, consent=consent)], {}).opted_out
    assert not attributes([rec(SF_CONTACT, consent=Consent(False, False, True)), rec(HUBSPOT)], {}).opted_out


@pytest.mark.parametrize(
    ("answer", "day"),
    [
        ("1970-01-11", 10),
        ("1970-01-11T00:00:00Z", 10),
        (10, 10),
        (1_764_460_800_000, 20_422),
        ("soon", None),
        ("", None),
        (None, None),
        (True, None),
    ],
)
def test_recontact_date(answer: Value, day: int | None) -> None:
    assert attributes([rec(SF_CONTACT, answers={"recontact_on": answer})], {}).recontact_on == day


def test_recontact_date_follows_the_order() -> None:
    records = [
        rec(HUBSPOT, answers={"recontact_on": "1970-01-31"}),
        rec(SF_CONTACT, answers={"recontact_on": "1970-01-11"}),
    ]
    assert attributes(records, {}).recontact_on == 10


def test_a_person_without_records_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one record"):
        attributes([], {})


@given(
    st.lists(
        st.tuples(
            st.sampled_from([SF_LEAD, SF_CONTACT, HUBSPOT]), st.sampled_from(["部長", "", None]), st.integers(0, 2)
        ),
        min_size=1,
        max_size=4,
        unique_by=lambda row: row[0],
    ),
    st.randoms(),
)
def test_the_order_of_records_does_not_matter(
    rows: list[tuple[RecordRef, str | None, int]], rng: random.Random
) -> None:
    records = [rec(ref, {"title": title}, modified_at=at) for ref, title, at in rows]
    shuffled = list(records)
    rng.shuffle(shuffled)
    assert attributes(shuffled, {}) == attributes(records, {})
