"""Conditions as Ibis booleans: SQL's three-valued logic is the rule language's own."""

import unicodedata
from collections.abc import Callable, Sequence
from functools import reduce
from operator import and_, or_
from typing import TypeVar

from ibis.expr.types import BooleanValue, Value

from core.records import FIELD_TYPES
from core.rulebook.check import span
from core.rulebook.conditions import PROPERTIES, Test, When, Where
from core.titles import TITLE_RANKS

ColumnOf = Callable[[str], Value]
C = TypeVar("C", When, Where)

EXACT_TEXTS = frozenset({"url"})
"""Texts compared as they are: an address has its own case and its own normal form."""


def holds_when(when: When, column_of: ColumnOf) -> BooleanValue:
    """Whether a condition on a person holds: true, false, or null where it is unknown."""
    parts = _groups(when, holds_when, column_of)
    if when.field is not None:
        parts.append(_passes(when, when.field, column_of(when.field)))
    return _all(parts)


def holds_where(where: Where, column_of: ColumnOf) -> BooleanValue:
    """Whether a condition on an activity holds: true, false, or null where it is unknown."""
    parts = _groups(where, holds_where, column_of)
    for name in PROPERTIES:
        test = getattr(where, name)
        if test is not None:
            parts.append(_passes(test, name, column_of(name)))
    return _all(parts)


def _groups(node: C, holds: Callable[[C, ColumnOf], BooleanValue], column_of: ColumnOf) -> list[BooleanValue]:
    parts: list[BooleanValue] = []
    if node.all is not None:
        parts.append(_all([holds(part, column_of) for part in node.all]))
    if node.any is not None:
        parts.append(reduce(or_, [holds(part, column_of) for part in node.any]))
    if node.not_ is not None:
        parts.append(~holds(node.not_, column_of))
    return parts


def _all(parts: Sequence[BooleanValue]) -> BooleanValue:
    return reduce(and_, parts)


def _passes(test: Test, field: str, column: Value) -> BooleanValue:
    if field == "title_rank":
        known = column.nullif("")
        parts = _passes_rank(test, known)
    elif field == "duration" or FIELD_TYPES.get(field) == "number":
        known = column
        parts = _passes_number(test, known)
    else:
        known = column.nullif("")
        parts = _passes_text(test, field, known)
    if test.exists is not None:
        parts.append(known.notnull() if test.exists else known.isnull())
    return _all(parts)


def _passes_rank(test: Test, column: Value) -> list[BooleanValue]:
    parts = []
    if test.equals is not None:
        parts.append(column == str(test.equals))
    if test.in_ is not None:
        parts.append(column.isin([str(value) for value in test.in_]))
    if test.at_least is not None or test.at_most is not None or test.between is not None:
        low, high = span(test, "title_rank")
        parts.append(column.isin([rank for at, rank in enumerate(TITLE_RANKS) if low <= at <= high]))
    return parts


def _passes_number(test: Test, column: Value) -> list[BooleanValue]:
    parts = []
    if test.equals is not None:
        parts.append(column == test.equals)
    if test.in_ is not None:
        parts.append(column.isin(list(test.in_)))
    if test.at_least is not None:
        parts.append(column >= test.at_least)
    if test.at_most is not None:
        parts.append(column <= test.at_most)
    if test.between is not None:
        parts += [column >= test.between[0], column <= test.between[1]]
    return parts


def _passes_text(test: Test, field: str, column: Value) -> list[BooleanValue]:
    exact = field in EXACT_TEXTS
    folded = column if exact else column.lower()
    parts = []
    if test.equals is not None:
        parts.append(folded.isin(spellings([str(test.equals)], exact=exact)))
    if test.in_ is not None:
        parts.append(folded.isin(spellings([str(value) for value in test.in_], exact=exact)))
    if test.contains is not None:
        parts.append(reduce(or_, [folded.contains(text) for text in spellings(test.contains, exact=exact)]))
    if test.starts_with is not None:
        parts.append(reduce(or_, [folded.startswith(text) for text in spellings(test.starts_with, exact=exact)]))
    if test.matches is not None:
        parts.append(column.re_search(test.matches if exact else f"(?i){test.matches}"))
    return parts


def spellings(texts: Sequence[str], *, exact: bool) -> list[str]:
    """How a rulebook's texts may be spelled in the facts: as written and in NFKC, in small letters; `exact`: as written."""
    if exact:
        return list(dict.fromkeys(texts))
    written = [form for text in texts for form in (text, unicodedata.normalize("NFKC", text))]
    return list(dict.fromkeys(form.lower() for form in written))
