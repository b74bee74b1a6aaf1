"""Mapping is data: parsed, checked, compiled."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.mapping import Usage, check_fields, compile_fields, load_mapping, parse_fields, parse_table
from core.errors import InvalidMapping
from core.records import ACTIVITY_KINDS

REQUIRED = {"email": ("email",), "last_name": ("lastname",), "company": ("company",), "title": ("jobtitle",)}
NAMES = {"email", "lastname", "company", "jobtitle", "phone", "mobilephone"}


def test_fields_name_one_property_or_several() -> None:
    parsed = parse_fields({"phone": ["phone", "mobilephone"], "email": "email", "title": None}, place="x")
    assert parsed == {"phone": ("phone", "mobilephone"), "email": ("email",)}


@pytest.mark.parametrize(
    "raw", [{"colour": "x"}, {"domain": "x"}, {"title_rank": "x"}, {"email": 3}, {"email": []}, {"email": [""]}]
)
def test_wrong_fields_are_refused_with_their_place(raw: dict[str, Any]) -> None:
    with pytest.raises(InvalidMapping) as caught:
        parse_fields(raw, place="hubspot: mapping.contact")
    assert caught.value.place == f"hubspot: mapping.contact.{next(iter(raw))}"
    assert caught.value.exit_code == 2


def test_a_misspelt_field_is_guessed() -> None:
    with pytest.raises(InvalidMapping) as caught:
        parse_fields({"emial": "email"}, place="x")
    assert "'email'" in caught.value.hint


def test_missing_optional_fields_are_findings() -> None:
    usable, findings = check_fields(REQUIRED | {"department": ("dept",), "phone": ("fax", "phone")}, NAMES, place="c")
    assert usable == REQUIRED | {"phone": ("phone",)}
    [finding] = findings
    assert (finding.level, finding.subject) == ("warning", "c.department")
    assert "dept" in finding.message
    assert finding.hint


def test_missing_required_fields_are_errors() -> None:
    with pytest.raises(InvalidMapping, match=r"c\.title: .*jobtitle"):
        check_fields(REQUIRED, NAMES - {"jobtitle"}, place="c")
    with pytest.raises(InvalidMapping, match="nothing is mapped"):
        check_fields({k: v for k, v in REQUIRED.items() if k != "title"}, NAMES, place="c")


def test_what_the_settings_name_must_exist() -> None:
    with pytest.raises(InvalidMapping) as caught:
        check_fields(REQUIRED | {"phone": ("fone", "phone")}, NAMES, place="c", explicit={"phone"})
    assert caught.value.place == "c.phone"
    assert "'phone'" in caught.value.hint


def test_a_mapper_takes_the_first_value_that_is_not_empty() -> None:
    problems: list[str] = []
    read = compile_fields({"phone": ("a", "b"), "employees": ("n",), "title": ("t",)}, problems.append)
    assert read({"a": "", "b": "０３", "n": "1,200", "t": None}) == {"phone": "03", "employees": 1200}
    assert read({"a": None, "b": None, "n": "many", "t": " "}) == {}
    assert problems == ["employees"]


def test_dotted_sources_are_paths() -> None:
    read = compile_fields({"company": ("Account.Name", "Company")}, lambda _: None)
    assert read({"Account": {"Name": "架空"}, "Company": "別"}) == {"company": "架空"}
    assert read({"Account": None, "Company": "別"}) == {"company": "別"}
    assert read({"Account": "odd"}) == {}


@given(
    st.dictionaries(
        st.sampled_from(["a", "b"]), st.one_of(st.none(), st.text(), st.integers(), st.floats(), st.booleans())
    )
)
def test_no_value_breaks_a_mapper(row: dict[str, Any]) -> None:
    read = compile_fields({"title": ("a", "b"), "employees": ("b",)}, lambda _: None)
    assert set(read(row)) <= {"title", "employees"}


def test_overrides_are_laid_over_key_by_key() -> None:
    raw = load_mapping(
        "connectors.hubspot",
        {
            "contact": {"fields": {"title": "yakushoku", "department": None}},
            "activities": {"notes": [{"kind": "call"}]},
        },
    )
    contact: Any = raw["contact"]
    activities: Any = raw["activities"]
    assert contact["fields"]["title"] == "yakushoku"
    assert contact["fields"]["department"] is None
    assert contact["fields"]["email"] == "email"
    assert activities["notes"] == [{"kind": "call"}]
    assert activities["calls"]


TABLE = [
    {"kind": None, "when": {"status": ["BUSY", None]}},
    {
        "kind": ["webinar_register", "webinar_attend"],
        "when": {"status": "attended", "name": {"contains": ["ウェビナー", "webinar"]}},
    },
    {"kind": "download", "when": {"name": {"contains": "資料", "not_contains": ["採用"]}}},
    {"kind": "page_view", "when": {"name": {"matches": "^visited /"}}},
    {"kind": "call", "when": {"status": {"not": ["x"]}, "flag": {"exists": True}}},
]


@pytest.mark.parametrize(
    ("row", "kinds"),
    [
        ({"status": "busy"}, ()),
        ({}, ()),
        ({"status": "ＡＴＴＥＮＤＥＤ", "name": "DX ｳｪﾋﾞﾅｰ"}, ("webinar_register", "webinar_attend")),
        ({"status": "attended", "name": "資料"}, ("download",)),
        ({"status": "attended", "name": "採用資料"}, ()),
        ({"status": "s", "name": "Visited /pricing"}, ("page_view",)),
        ({"status": "x", "flag": True}, ()),
        ({"status": "y", "flag": True}, ("call",)),
        ({"status": "y", "flag": 0}, ("call",)),
    ],
)
def test_the_first_row_that_holds_says_what_it_is(row: dict[str, Any], kinds: tuple[str, ...]) -> None:
    assert parse_table(TABLE, place="x")(row) == kinds


def test_a_table_knows_its_kinds_and_properties() -> None:
    table = parse_table(TABLE, place="x")
    assert table.kinds == {"webinar_register", "webinar_attend", "download", "page_view", "call"}
    assert table.properties == ("status", "name", "flag")
    assert parse_table(None, place="x").kinds == frozenset()


@pytest.mark.parametrize(
    "raw",
    [
        "call",
        ["call"],
        [{"when": {}}],
        [{"kind": "cal"}],
        [{"kind": "call", "if": {}}],
        [{"kind": "call", "when": "x"}],
        [{"kind": "call", "when": {"a": {"like": "x"}}}],
        [{"kind": "call", "when": {"a": {"matches": "("}}}],
    ],
)
def test_wrong_tables_are_refused_with_their_row(raw: Any) -> None:
    with pytest.raises(InvalidMapping, match="hubspot: calls"):
        parse_table(raw, place="hubspot: calls")


def test_usage_is_everything_unless_said() -> None:
    assert Usage().kinds == frozenset(ACTIVITY_KINDS)
    assert Usage(kinds=frozenset({"call"})).any_of({"call", "meeting"})
    assert not Usage(kinds=frozenset()).any_of({"call"})
