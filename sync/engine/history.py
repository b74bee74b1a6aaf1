"""Attribute history as the scoring tables want it: only changes that explain the value a person has today.

A person's fields are chosen among several records; the history of a record that lost the choice says nothing about
them. So each field is walked back from today's value: a change counts when what it led to is what we stand at.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, and_, select

from core.records import FIELD_TYPES, Millis
from core.titles import title_rank
from sync.engine.narrow import Narrow
from sync.state import schema as t

Row = Mapping[str, Any]

_DERIVED = {"title_rank": "title"}
_NORMALISED = frozenset({"title", "company"})


def stored_fields(fields: Collection[str]) -> frozenset[str]:
    """The fields whose history is kept for these: a rank's history is its title's."""
    return frozenset(_DERIVED.get(name, name) for name in fields)


def load_changes(connection: Connection, fields: Collection[str], after: Millis, people: Narrow) -> Iterator[Row]:
    """Changes of these fields after a moment, on the records of the people and on their accounts."""
    r, c = t.record, t.change
    same_record = and_(c.c.system == r.c.system, c.c.kind == r.c.kind, c.c.id == r.c.id)
    same_account = and_(c.c.system == r.c.system, c.c.kind == "account", c.c.id == r.c.account_id)
    columns = (r.c.person_id, c.c.field, c.c.old, c.c.new, c.c["at"], c.c.source_id)
    for join in (same_record, same_account):
        query = (
            select(*columns)
            .join(c, join)
            .where(c.c.field.in_(sorted(stored_fields(fields))), c.c["at"] > after, r.c.person_id.is_not(None))
        )
        for condition in people(r.c.person_id):
            yield from (dict(row) for row in connection.execute(query.where(condition)).mappings())


def trace_changes(changes: Iterable[Row], people: Mapping[int, Row], fields: Collection[str]) -> list[dict[str, Any]]:
    """Rows of the `change` fact table.

    Args:
        changes: person_id, field, old, new, at, source_id; any order, records of several systems mixed.
        people: today's values by person.
        fields: the fields that rules look at.
    """
    by_field: dict[tuple[int, str], list[Row]] = defaultdict(list)
    for change in changes:
        by_field[change["person_id"], change["field"]].append(change)
    rows: list[dict[str, Any]] = []
    for (person_id, field), found in sorted(by_field.items()):
        person = people.get(person_id)
        if person is None:
            continue
        here = _comparable(field, person[field])
        for change in sorted(found, key=lambda c: (c["at"], c["source_id"]), reverse=True):
            if _comparable(field, change["new"]) != here:
                continue
            here = _comparable(field, change["old"])
            old = change["old"]
            if old is not None and field in _NORMALISED:
                old = unicodedata.normalize("NFKC", old)
            row = {"person_id": person_id, "new": change["new"], "at": change["at"]}
            if field in fields:
                rows.append(row | {"field": field, "old": old})
            if field == "title" and "title_rank" in fields:
                rows.append(row | {"field": "title_rank", "old": title_rank(old)})
    # Walked newest first: of equal stamps, the one further back in time must win.
    return [row | {"id": number} for number, row in enumerate(reversed(rows))]


def _comparable(field: str, value: object) -> object:
    if value is None or value == "":
        return None
    if FIELD_TYPES[field] == "number":
        try:
            return float(str(value))
        except ValueError:
            return str(value)
    return unicodedata.normalize("NFKC", str(value)).strip()
