"""One key per buyer."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from core.companies import (
    CompanyInput,
    account_company,
    company_evidence,
    corporate_number,
    is_site,
    mail_domain,
    record_company,
    resolve_companies,
)
from core.records import Account, Record, RecordRef

NUMBERS = [
    next(f"{check}{body}" for check in range(10) if corporate_number(f"{check}{body}"))
    for body in ("010401100001", "010401100002")
]


def account(name: str, company: str | None = None, *, system: str = "sf", **facts: object) -> CompanyInput:
    facts.setdefault("parent", None)
    if isinstance(facts["parent"], str):
        facts["parent"] = RecordRef(system, "account", facts["parent"])
    return CompanyInput(RecordRef(system, "account", name), company, is_account=True, **facts)  # type: ignore[arg-type]


def person(name: str, company: str | None = None, *, system: str = "sf", **facts: object) -> CompanyInput:
    if "account" in facts:
        facts["account"] = RecordRef(system, "account", str(facts["account"]))
    return CompanyInput(RecordRef(system, "lead", name), company, **facts)  # type: ignore[arg-type]


def together(*inputs: CompanyInput) -> set[frozenset[str]]:
    found: dict[str, set[str]] = {}
    for ref, key in resolve_companies(inputs).items():
        found.setdefault(key, set()).add(ref.id)
    return {frozenset(ids) for ids in found.values()}


def sets(*groups: str) -> set[frozenset[str]]:
    return {frozenset(group.split()) for group in groups}


def test_a_record_belongs_to_its_account() -> None:
    assert together(account("a", "アクメ"), person("p", "別の名前", account="a")) == sets("a p")


def test_name_and_domain_join_across_systems() -> None:
    found = together(
        account("a", "株式会社アクメ", domain="acme.example"),
        account("b", "アクメ(株)", system="hs", domain="acme.example"),
        person("p", "アクメ", domain="acme.example"),
    )
    assert found == sets("a b p")


def test_equal_names_with_different_domains_are_different_companies() -> None:
    found = together(person("p", "山田工業", domain="one.example"), person("q", "山田工業", domain="two.example"))
    assert found == sets("p", "q")


def test_an_equal_name_without_domain_joins_when_it_is_clear_to_whom() -> None:
    one, two = person("p", "山田工業", domain="one.example"), person("q", "山田工業", domain="two.example")
    bare = person("r", "山田工業")
    assert together(one, bare) == sets("p r")
    assert together(one, two, bare) == sets("p", "q", "r")


def test_equal_corporate_numbers_join_different_names_and_different_ones_never() -> None:
    one, two = NUMBERS
    assert together(account("a", "アクメ", number=one), account("b", "新アクメ", system="hs", number=one)) == sets(
        "a b"
    )
    assert together(
        account("a", "アクメ", number=one, domain="acme.example"),
        account("b", "アクメ", system="hs", number=two, domain="acme.example"),
    ) == sets("a", "b")


def test_head_office_and_plant_are_different_buyers() -> None:
    number = NUMBERS[0]
    head = account("head", "アクメ精機", number=number, domain="acme.example")
    plant = account("plant", "アクメ精機 浜松工場", number=number, domain="acme.example", parent="head")
    other = person("p", "アクメ精機株式会社浜松工場", domain="acme.example")
    keys = resolve_companies([head, plant, other])
    assert keys[head.ref] == f"n:{number}"
    assert keys[plant.ref] == keys[other.ref] == f"n:{number}/a:sf/account/plant"


def test_a_child_account_of_the_same_name_and_number_is_its_own_buyer() -> None:
    number = NUMBERS[0]
    assert together(account("a", "アクメ", number=number), account("b", "アクメ", number=number, parent="a")) == sets(
        "a", "b"
    )


def test_two_accounts_of_one_crm_are_two_buyers_unless_their_numbers_say_otherwise() -> None:
    number = NUMBERS[0]
    assert together(account("a", "アクメ"), account("b", "アクメ")) == sets("a", "b")
    assert together(account("a", "アクメ", number=number), account("b", "アクメ", number=number)) == sets("a b")


def test_a_record_that_fits_two_accounts_is_given_to_neither() -> None:
    found = together(account("a", "アクメ"), account("b", "アクメ"), person("p", "アクメ"))
    assert found == sets("a", "b", "p")


def test_domain_alone_joins_the_nameless() -> None:
    found = together(account("a", "アクメ", domain="acme.example"), person("p", domain="acme.example"))
    assert found == sets("a p")
    found = together(person("p", domain="acme.example"), person("q", "acme.example", domain="acme.example"))
    assert found == sets("p q")


def test_domain_alone_does_not_choose_among_several() -> None:
    found = together(
        account("a", "アクメ", domain="acme.example"),
        account("b", "アクメ販売", domain="acme.example"),
        person("p", domain="acme.example"),
    )
    assert found == sets("a", "b", "p")
    found = together(
        account("a", "アクメ", domain="acme.example"),
        account("b", "アクメ販売", system="hs", domain="acme.example"),
        person("p", domain="acme.example"),
    )
    assert found == sets("a", "b", "p")


def test_a_japanese_and_a_latin_name_of_one_domain() -> None:
    ja = account("a", "株式会社アクメ精機", domain="acme.example")
    en = account("b", "Acme Precision Inc.", system="hs", domain="acme.example")
    plant = account("c", "アクメ精機 浜松工場", domain="acme.example", parent="a")
    assert together(ja, en, plant) == sets("a b", "c")
    assert together(ja, en, account("d", "Acme Sales K.K.", system="hs", domain="acme.example")) == sets("a", "b", "d")


def test_what_says_nothing_has_no_key() -> None:
    assert resolve_companies([person("p"), person("q", "  ")]) == {}
    assert resolve_companies([person("p", account="unknown", domain="acme.example")]) == {
        RecordRef("sf", "lead", "p"): "d:acme.example"
    }


def test_keys_say_what_they_are_made_of_and_stay_short() -> None:
    keys = resolve_companies([person("p", "ア" * 300, domain="acme.example"), account("a"), person("q", "アクメ")])
    assert keys[RecordRef("sf", "account", "a")] == "a:sf/account/a"
    assert keys[RecordRef("sf", "lead", "q")] == "c:アクメ|"
    assert all(len(key) <= 255 for key in keys.values())
    shorter = resolve_companies([person("p", "ア" * 299, domain="acme.example")])
    assert keys[RecordRef("sf", "lead", "p")] != shorter[RecordRef("sf", "lead", "p")]


def test_inputs_from_records_and_accounts() -> None:
    ref, acc = RecordRef("sf", "contact", "c"), RecordRef("sf", "account", "a")
    record = Record(ref, {"company": "アクメ"}, 0, 0, emails=("t@gmail.com", "t@acme.co.jp"), account=acc)
    assert record_company(record) == CompanyInput(ref, "アクメ", "acme.co.jp", account=acc)
    found = account_company(Account(acc, {"company": "アクメ", "website": "http://www.acme.co.jp"}, 0, parent=acc))
    assert found == CompanyInput(acc, "アクメ", "acme.co.jp", parent=acc, is_account=True)
    assert mail_domain("t@acme.co.jp") == found.domain


# --- properties ------------------------------------------------------------------------------------------------------

COMPANIES = [None, "アクメ", "㈱アクメ", "アクメ 浜松工場", "Acme Inc.", "Acme Plant", "山田工業"]
ACCOUNTS = [RecordRef(system, "account", str(i)) for system in ("sf", "hs") for i in range(3)]
PEOPLE = [RecordRef("sf", "lead", str(i)) for i in range(4)]


@st.composite
def company_input(draw: st.DrawFn, ref: RecordRef) -> CompanyInput:
    is_account = ref in ACCOUNTS
    relatives = [other for other in ACCOUNTS if other.system == ref.system and other != ref]
    return CompanyInput(
        ref,
        draw(st.sampled_from(COMPANIES)),
        draw(st.sampled_from([None, "acme.example", "other.example"])),
        draw(st.sampled_from([None, None, *NUMBERS])),
        parent=draw(st.sampled_from([None, None, *relatives])) if is_account else None,
        account=None if is_account else draw(st.sampled_from([None, *ACCOUNTS])),
        is_account=is_account,
    )


WORLDS = st.lists(st.sampled_from([*ACCOUNTS, *PEOPLE]), unique=True, max_size=9).flatmap(
    lambda refs: st.tuples(*map(company_input, refs))
)


@settings(max_examples=200, deadline=None)
@given(WORLDS, st.randoms())
def test_order_does_not_matter(world: tuple[CompanyInput, ...], rng: random.Random) -> None:
    shuffled = list(world)
    rng.shuffle(shuffled)
    assert resolve_companies(shuffled) == resolve_companies(world)


@settings(max_examples=200, deadline=None)
@given(WORLDS)
def test_contradictions_never_share_a_key(world: tuple[CompanyInput, ...]) -> None:
    keys = resolve_companies(world)
    free = [one for one in world if one.ref in keys and not one.account]
    for one in free:
        for other in free:
            if one.ref < other.ref and keys[one.ref] == keys[other.ref]:
                numbers = {corporate_number(one.number), corporate_number(other.number)} - {None}
                assert len(numbers) < 2
                assert one.parent != other.ref
                assert other.parent != one.ref
                if one.name and other.name:
                    assert is_site(one.name) == is_site(other.name)
                if not numbers:
                    assert len({one.domain, other.domain} - {None}) < 2
                if one.is_account and other.is_account and one.ref.system == other.ref.system:
                    assert one.number == other.number is not None


@settings(max_examples=200, deadline=None)
@given(WORLDS)
def test_accounts_have_keys_and_their_records_share_them(world: tuple[CompanyInput, ...]) -> None:
    keys = resolve_companies(world)
    for one in world:
        if one.is_account:
            assert one.ref in keys
        elif one.account in {other.ref for other in world}:
            assert one.account is not None
            assert keys[one.ref] == keys[one.account]


@settings(max_examples=200, deadline=None)
@given(WORLDS)
def test_neighbourhoods_give_what_the_whole_gives(world: tuple[CompanyInput, ...]) -> None:
    whole = resolve_companies(world)
    for start in world:
        reached, part = set(company_evidence(start)), [start]
        while more := [one for one in world if one not in part and company_evidence(one) & reached]:
            part += more
            reached = reached.union(*map(company_evidence, more))
        found = resolve_companies(part)
        assert found.items() <= whole.items()
        assert (start.ref in found) == (start.ref in whole)
