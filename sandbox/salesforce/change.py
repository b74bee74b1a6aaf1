"""One record's change while it is checked and written."""

from dataclasses import dataclass, field
from typing import Any

from sandbox.salesforce.catalog import SObject
from sandbox.salesforce.store import Row


@dataclass(slots=True)
class Change:
    """`old` is the row before (None for a new one), `values` what will be written, `given` what the caller named."""

    sobject: SObject
    record_id: str
    old: Row | None
    values: Row
    given: frozenset[str] = field(default_factory=frozenset)

    def __getitem__(self, name: str) -> Any:
        if name in self.values:
            return self.values[name]
        return self.old.get(name) if self.old is not None else None

    def __setitem__(self, name: str, value: object) -> None:
        if self.sobject.has(name):
            self.values[name] = value

    def touches(self, *names: str) -> bool:
        """Any of these will be written (a new record touches what it has a value for)."""
        return any(name in self.values for name in names)

    def differs(self, name: str) -> bool:
        """The value after is another than before; a new record differs where it has one."""
        return name in self.values and self.values[name] != (self.old or {}).get(name)

    def row(self) -> Row:
        """The whole row as it will be."""
        return {**(self.old or {}), **self.values}
