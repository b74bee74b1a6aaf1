"""From SQL rows to records: which column goes where in the nested JSON."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sandbox.salesforce.soql.values import Formatter

Row = Sequence[object]


@dataclass(frozen=True, slots=True)
class Leaf:
    """A plain value: the column's position in the row."""

    position: int
    formatter: Formatter | None


@dataclass(slots=True)
class ParentShape:
    """A nested parent. ``targets`` are its possible types with the position of each one's Id."""

    targets: list[tuple[str, int]]
    entries: "dict[str, Leaf | ParentShape | ChildSlot]" = field(default_factory=dict)
    branches: dict[str, dict[str, Leaf]] | None = None
    otherwise: dict[str, Leaf] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChildSlot:
    """The place of a child subquery's result; filled after the parents of a page are built."""


Entry = Leaf | ParentShape | ChildSlot
_Step = tuple[str, int, Callable[[object], object] | None, Callable[[Row], object] | None]


def describe_record(sobject: str, record_id: object, api_version: str) -> dict[str, object]:
    """The ``attributes`` of a record."""
    return {"type": sobject, "url": f"/services/data/v{api_version}/sobjects/{sobject}/{record_id}"}


def _compile_steps(entries: dict[str, Entry], api_version: str) -> list[_Step]:
    steps: list[_Step] = []
    for key, entry in entries.items():
        if isinstance(entry, Leaf):
            steps.append((key, entry.position, entry.formatter, None))
        elif isinstance(entry, ParentShape):
            steps.append((key, -1, None, _build_parent(entry, api_version)))
        else:
            steps.append((key, -1, None, lambda _row: None))
    return steps


def _fill(record: dict[str, object], steps: list[_Step], row: Row) -> dict[str, object]:
    for key, position, formatter, nested in steps:
        if nested is not None:
            record[key] = nested(row)
        elif formatter is None:
            record[key] = row[position]
        else:
            record[key] = formatter(row[position])
    return record


def build_record(sobject: str, entries: dict[str, Entry], api_version: str) -> Callable[[Row], dict[str, object]]:
    """A function from a row, whose first column is the Id, to its record."""
    steps = _compile_steps(entries, api_version)

    def build(row: Row) -> dict[str, object]:
        return _fill({"attributes": describe_record(sobject, row[0], api_version)}, steps, row)

    return build


def _build_parent(shape: ParentShape, api_version: str) -> Callable[[Row], object]:
    shared = _compile_steps(dict(shape.entries), api_version)
    branches = {
        sobject: _compile_steps(dict(leaves), api_version) for sobject, leaves in (shape.branches or {}).items()
    }
    otherwise = _compile_steps(dict(shape.otherwise), api_version)

    def build(row: Row) -> object:
        for sobject, position in shape.targets:
            if row[position] is not None:
                record: dict[str, object] = {"attributes": describe_record(sobject, row[position], api_version)}
                _fill(record, shared, row)
                if shape.branches is not None:
                    _fill(record, branches.get(sobject, otherwise), row)
                return record
        return None

    return build
