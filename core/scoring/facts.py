"""The tables a score is computed from: names, columns, types. Whoever runs a plan fills tables of these schemas.

Contract:
- Times are UTC milliseconds, days are local calendar days since 1970-01-01 (`core.records`). `day` belongs to
  `occurred_at`, `closed_day` to `closed_at`, `created_day` to `created_at`, a snapshot's `day` to its `as_of`.
- `snapshot` and `asked` have one row per (person_id, as_of), and `snapshot_id` is unique. `asked` is what lines are
  computed for; `snapshot` is what totals are computed for.
- `person`: one row per person. Empty text and null both mean unknown. `title` and `company` are NFKC.
- `deal`: `won` and `lost` say how it is today; a deal is open at `as_of` until its `closed_at`.
- `deal_person`: distinct rows.
- `change`: attribute history; `old` is what a field held until `at`. `id` breaks ties of equal stamps.
- `rule`, `trigger`, `weight`, `part`: the rulebook's numbers (`core.scoring.numbers`), made by the plan.
- `total` and `earned` hold what the plan's own steps computed: results of `totals` and `earned`.
"""

from typing import TYPE_CHECKING

from core.records import FIELD_TYPES

if TYPE_CHECKING:
    from ibis.expr.types import Table

_FIELD_COLUMN = {"string": "string", "number": "float64"}
_MOMENT = {"snapshot_id": "int64", "person_id": "int64", "as_of": "int64", "day": "int32"}

SCHEMAS: dict[str, dict[str, str]] = {
    "snapshot": _MOMENT,
    "asked": _MOMENT,
    "activity": {
        "person_id": "int64",
        "id": "int64",
        "kind": "int16",
        "occurred_at": "int64",
        "known_at": "int64",
        "day": "int32",
        "suspect": "boolean",
        "duplicate": "boolean",
        "url": "string",
        "asset": "string",
        "campaign": "string",
        "channel": "string",
        "direction": "string",
        "duration": "int32",
    },
    "person": {
        "person_id": "int64",
        "company_id": "int64",
        "created_at": "int64",
        "first_known_at": "int64",
        "opted_out": "boolean",
        "recontact_on": "int32",
        **{name: _FIELD_COLUMN[kind] for name, kind in FIELD_TYPES.items()},
    },
    "deal": {
        "deal_id": "int64",
        "company_id": "int64",
        "created_at": "int64",
        "created_day": "int32",
        "closed_at": "int64",
        "closed_day": "int32",
        "won": "boolean",
        "lost": "boolean",
    },
    "deal_person": {"deal_id": "int64", "person_id": "int64"},
    "change": {"id": "int64", "person_id": "int64", "field": "string", "old": "string", "new": "string", "at": "int64"},
    "rule": {
        "rule": "int16",
        "rule_id": "string",
        "dimension": "int16",
        "is_state": "boolean",
        "need": "int32",
        "cap": "int64",
        "floor": "int64",
    },
    "trigger": {
        "kind": "int16",
        "rule": "int16",
        "stream": "int16",
        "per": "int16",
        "keep": "int32",
        "reach": "int32",
        "gate_reach": "int32",
        "last_age": "int32",
        "first_slot": "int32",
    },
    "weight": {"slot": "int32", "milli": "int32"},
    "earned": {
        "snapshot_id": "int64",
        "rule": "int16",
        "raw": "int64",
        "held": "int64",
        "newest_day": "int32",
        "count": "int64",
        "machine": "int32",
    },
    "part": {"part": "int16", "dimension": "string", "kind": "string"},
    "total": {
        "snapshot_id": "int64",
        "person_id": "int64",
        "as_of": "int64",
        "fit": "int64",
        "engagement": "int64",
        "relationship": "int64",
        "priority": "int64",
        "total": "int64",
        "withheld": "int64",
        "missing": "int64",
        "band": "string",
        "last_human_at": "int64",
    },
}
"""Ibis type names by column, by table."""

FACTS = ("activity", "person", "deal", "deal_person", "change")
"""What comes from the state; all of it may be empty."""


def table(name: str) -> "Table":
    """The unbound Ibis table of a name."""
    import ibis  # whoever only needs the columns does without
    from ibis.expr.schema import Schema

    return ibis.table(Schema(SCHEMAS[name]), name=name)
