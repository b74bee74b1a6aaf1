"""Properties: hostile strings stay one literal, and WHERE agrees with a plain Python reading of it."""

import operator
import sqlite3
import string
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from simple_salesforce.format import format_soql

from sandbox.salesforce.soql import SoqlError, lengthen_id, parse
from sandbox.salesforce.soql.nodes import Compare, FieldItem, InList, Literal, Path
from tests.sandbox.soql.store import NOW_MS, Org, create_tables, insert, make_id

EXAMPLES = settings(max_examples=150, deadline=None)
# Characters that SOQL or SQL could trip over are drawn far more often than chance would.
HOSTILE = st.text(
    st.one_of(
        st.sampled_from("'\"\\%_;-()\n\r\t\b\f:{}あ𠮷é"),
        st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
    ),
    max_size=40,
)


def open_empty_org() -> Org:
    connection = sqlite3.connect(":memory:")
    create_tables(connection)
    return Org(connection)


@EXAMPLES
@given(HOSTILE)
def test_an_escaped_string_is_exactly_one_literal(value: str) -> None:
    query = parse(format_soql("SELECT Id FROM Lead WHERE Name = {} LIMIT 1", value))
    assert query.items == (FieldItem(Path(("Id",), 7), None),)
    assert query.limit == 1
    assert isinstance(query.where, Compare)
    assert query.where.value.kind == "string"
    listed = parse(format_soql("SELECT Id FROM Lead WHERE Name IN {}", [value, "x", value]))
    assert isinstance(listed.where, InList)
    assert [literal.kind for literal in listed.where.values] == ["string"] * 3


@EXAMPLES
@given(HOSTILE, HOSTILE)
def test_an_escaped_string_equals_itself_and_nothing_else(value: str, other: str) -> None:
    org = open_empty_org()
    stored = value or None
    insert(org.connection, "Lead", {"Id": make_id("00Q", 1), "Name": stored, "Code__c": stored})
    insert(org.connection, "Lead", {"Id": make_id("00Q", 2), "Name": other + "x", "Code__c": other + "x"})
    found = set(org.column(format_soql("SELECT Id FROM Lead WHERE Code__c = {}", value), "Id"))
    expected = {make_id("00Q", 1)} | ({make_id("00Q", 2)} if other + "x" == value else set())
    assert found == expected
    assert make_id("00Q", 1) in org.column(format_soql("SELECT Id FROM Lead WHERE Name = {}", value), "Id")
    if value:
        starts = format_soql("SELECT Id FROM Lead WHERE Name LIKE '{:like}%'", value)
        inside = org.column(starts, "Id")
        assert make_id("00Q", 1) in inside
        assert (make_id("00Q", 2) in inside) == (other + "x").lower().startswith(value.lower())
    org.connection.close()


@EXAMPLES
@given(st.text(max_size=60))
def test_any_text_is_parsed_or_refused_with_a_soql_error(noise: str) -> None:
    for text in (noise, f"SELECT Id FROM Lead WHERE {noise}", f"SELECT {noise} FROM Lead"):
        codes = set()
        try:
            parse(text)
        except SoqlError as error:
            codes.add(error.code)
        assert codes <= {"MALFORMED_QUERY"}


@given(st.text(string.ascii_letters + string.digits, min_size=15, max_size=15))
def test_both_lengths_of_an_id_compare_equal(short: str) -> None:
    org = open_empty_org()
    insert(org.connection, "Lead", {"Id": lengthen_id(short)})
    assert org.run(f"SELECT COUNT() FROM Lead WHERE Id = '{short}'").total_size == 1
    assert org.run(f"SELECT COUNT() FROM Lead WHERE Id IN ('{lengthen_id(short)}')").total_size == 1
    org.connection.close()


Row = dict[str, object]
Test = Callable[[Row], bool]


@dataclass(frozen=True)
class Clause:
    """A condition as SOQL text and as a Python function of a row."""

    text: str
    holds: Test
    compound: str = ""

    def wrapped(self) -> str:
        return f"({self.text})" if self.compound else self.text


WORDS = st.sampled_from(["", "a", "A", "ab", "AB", "b%", "b_", "b\\", "o'c", "係長", "Éa", "éA"])
NUMBERS = st.sampled_from([-5, 0, 1, 2, 7])
DAYS = st.sampled_from([date(2024, 11, 17) + timedelta(days=n) for n in range(-3, 4)])
MOMENTS = st.sampled_from([NOW_MS + hours * 3_600_000 for hours in (-50, -28, -4, 0, 1, 20, 30)])
ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "Title": st.none() | WORDS.filter(bool),
            "NumberOfEmployees": st.none() | NUMBERS,
            "Score__c": st.none() | NUMBERS.map(float),
            "LastActivityDate": st.none() | DAYS.map(date.isoformat),
            "CreatedDate": MOMENTS,
            "Interests__c": st.none() | st.lists(st.sampled_from(["Red", "Blue", "Bl"]), min_size=1, unique=True).map(";".join),
        }
    ),
    max_size=8,
)  # fmt: skip


def fold(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def compare(name: str, op: str, literal: str, value: object) -> Clause:
    """One comparison. Null equals null and the empty string only; order against null is never true."""
    wanted = fold(value) or None if isinstance(value, str) else value

    def holds(row: Row) -> bool:
        actual = fold(row[name])
        if op == "=":
            return actual == wanted
        if op == "!=":
            return actual != wanted
        return actual is not None and wanted is not None and ORDERS[op](actual, wanted)

    return Clause(f"{name} {op} {literal}", holds)


def compare_text() -> st.SearchStrategy[Clause]:
    ops = st.sampled_from(["=", "!="])
    return st.builds(lambda op, word: compare("Title", op, format_soql("{}", word), word), ops, WORDS)


def compare_number() -> st.SearchStrategy[Clause]:
    names = st.sampled_from(["NumberOfEmployees", "Score__c"])
    ops = st.sampled_from(["=", "!=", *ORDERS])
    plain = st.builds(lambda name, op, value: compare(name, op, str(value), value), names, ops, NUMBERS)
    null = st.builds(lambda name, op: compare(name, op, "null", None), names, st.sampled_from(["=", "!=", "<"]))
    return plain | null


def compare_day() -> st.SearchStrategy[Clause]:
    ops = st.sampled_from(["=", "!=", *ORDERS])
    return st.builds(lambda op, day: compare("LastActivityDate", op, day.isoformat(), day.isoformat()), ops, DAYS)


def compare_moment() -> st.SearchStrategy[Clause]:
    def build(op: str, moment: int) -> Clause:
        literal = datetime.fromtimestamp(moment / 1000, UTC).isoformat().replace("+00:00", "Z")
        return compare("CreatedDate", op, literal, moment)

    return st.builds(build, st.sampled_from(["=", "!=", *ORDERS]), MOMENTS)


def compare_relative() -> st.SearchStrategy[Clause]:
    spans = {"TODAY": (0, 1), "YESTERDAY": (-1, 0), "LAST_N_DAYS:2": (-2, 1), "NEXT_N_DAYS:1": (1, 2)}

    def build(name: str, op: str, literal: str) -> Clause:
        today = date(2024, 11, 18)
        first, end = (today + timedelta(days=shift) for shift in spans[literal])

        def holds(row: Row) -> bool:
            stored = row[name]
            if stored is None:
                return op == "!="
            day = (
                datetime.fromtimestamp(stored / 1000, UTC).date()
                if isinstance(stored, int)
                else date.fromisoformat(str(stored))
            )
            inside = first <= day < end
            return {
                "=": inside, "!=": not inside, "<": day < first, "<=": day < end, ">": day >= end, ">=": day >= first,
            }[op]  # fmt: skip

        return Clause(f"{name} {op} {literal}", holds)

    names = st.sampled_from(["CreatedDate", "LastActivityDate"])
    return st.builds(build, names, st.sampled_from(["=", "!=", *ORDERS]), st.sampled_from(sorted(spans)))


def among() -> st.SearchStrategy[Clause]:
    def build(words: list[str | None], negated: bool) -> Clause:
        listed = ", ".join("null" if word is None else format_soql("{}", word) for word in words)
        wanted = {fold(word) or None for word in words}
        return Clause(
            f"Title {'NOT IN' if negated else 'IN'} ({listed})", lambda row: (fold(row["Title"]) in wanted) != negated
        )

    return st.builds(build, st.lists(st.none() | WORDS, min_size=1, max_size=4), st.booleans())


def includes() -> st.SearchStrategy[Clause]:
    def build(groups: list[list[str]], negated: bool) -> Clause:
        listed = ", ".join(f"'{';'.join(group)}'" for group in groups)

        def holds(row: Row) -> bool:
            chosen = {part.lower() for part in str(row["Interests__c"] or "").split(";")}
            return any({part.lower() for part in group} <= chosen for group in groups) != negated

        return Clause(f"Interests__c {'EXCLUDES' if negated else 'INCLUDES'} ({listed})", holds)

    choices = st.lists(st.sampled_from(["Red", "blue", "Bl"]), min_size=1, max_size=2, unique=True)
    return st.builds(build, st.lists(choices, min_size=1, max_size=2), st.booleans())


def like() -> st.SearchStrategy[Clause]:
    shapes: dict[str, Callable[[str, str], bool]] = {
        "{}%": str.startswith,
        "%{}": str.endswith,
        "%{}%": lambda value, part: part in value,
        "{}": lambda value, part: value == part,
    }

    def build(shape: str, word: str) -> Clause:
        pattern = shape.format(format_soql("{:like}", word))

        def holds(row: Row) -> bool:
            value = fold(row["Title"])
            return isinstance(value, str) and shapes[shape](value, word.lower())

        return Clause(f"Title LIKE '{pattern}'", holds)

    return st.builds(build, st.sampled_from(sorted(shapes)), WORDS.filter(bool))


def combine(parts: st.SearchStrategy[Clause]) -> st.SearchStrategy[Clause]:
    def build(word: str, clauses: list[Clause]) -> Clause:
        verdict: Callable[[list[bool]], bool] = all if word == "AND" else any
        return Clause(
            f" {word} ".join(clause.wrapped() for clause in clauses),
            lambda row: verdict([clause.holds(row) for clause in clauses]),
            word,
        )

    joined = st.builds(build, st.sampled_from(["AND", "OR"]), st.lists(parts, min_size=2, max_size=4))
    negated = st.builds(
        lambda clause: Clause(f"NOT {clause.wrapped()}", lambda row: not clause.holds(row), "NOT"), parts
    )
    return joined | negated


def keyset() -> st.SearchStrategy[Clause]:
    """``x > v OR (x = v AND id > w)``, as clients read on from the last row they have; and its mirror image."""

    def build(name: str, op: str, value: int, later_id: int, other: int) -> Clause:
        literal = str(value)
        beyond = compare(name, op, literal, value)
        same = compare(name, "=", literal, value)
        tie = compare("NumberOfEmployees", op[0], str(later_id), later_id)
        loose = compare(name, op[0], str(other), other)
        return Clause(
            f"{beyond.text} OR ({same.text} AND {tie.text}) OR ({loose.text} AND {beyond.text})",
            lambda row: beyond.holds(row) or (same.holds(row) and tie.holds(row)),
            "OR",
        )

    names = st.sampled_from(["NumberOfEmployees", "Score__c"])
    return st.builds(build, names, st.sampled_from(sorted(ORDERS)), NUMBERS, NUMBERS, NUMBERS)


LEAVES = st.one_of(
    keyset(),
    compare_text(),
    compare_number(),
    compare_day(),
    compare_moment(),
    compare_relative(),
    among(),
    includes(),
    like(),
)
CLAUSES = st.recursive(LEAVES, combine, max_leaves=12)


@settings(max_examples=300, deadline=None)
@given(ROWS, CLAUSES)
def test_where_agrees_with_python(rows: list[Row], clause: Clause) -> None:
    org = open_empty_org()
    for number, row in enumerate(rows):
        insert(org.connection, "Lead", {"Id": make_id("00Q", number), **row})
    expected = [make_id("00Q", number) for number, row in enumerate(rows) if clause.holds(row)]
    assert org.column(f"SELECT Id FROM Lead WHERE {clause.text} ORDER BY Id", "Id") == expected
    assert org.run(f"SELECT COUNT() FROM Lead WHERE {clause.text}").total_size == len(expected)
    org.connection.close()


def test_a_literal_keeps_its_text() -> None:
    where = parse("SELECT Id FROM Lead WHERE Name = 'O\\'Brien'").where
    assert where == Compare(Path(("Name",), 26), "=", Literal("string", "'O\\'Brien'", 33))
