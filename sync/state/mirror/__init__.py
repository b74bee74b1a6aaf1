"""The mirror: what each CRM last said. Storing is idempotent; only a change of what scoring or identity reads is a change.

Our own writes come back with every read. They move `modified_at` and `written`, never the fingerprint, so they touch
nobody (echo suppression).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from core.records import Account, ActivityRow, Change, Deal, DealRole, Fact, Owner, Record, Tombstone
from sync.state.mirror.activities import keep_activities
from sync.state.mirror.deals import keep_changes, keep_deals, keep_owners, keep_roles
from sync.state.mirror.forgotten import screen
from sync.state.mirror.graves import keep_tombstones
from sync.state.mirror.marks import NOBODY, PERSON_KINDS, mark_dirty, touch
from sync.state.mirror.people import keep_accounts, keep_records
from sync.state.mirror.storable import make_storable

__all__ = ["NOBODY", "PERSON_KINDS", "Stored", "mark_dirty", "store", "touch"]


@dataclass(slots=True)
class Stored:
    """What storing a page did: rows read, rows that changed something, rows of forgotten people that were turned away.

    `problems`: rows and values that no database could hold and were left out, by place; never their content.
    """

    read: int = 0
    changed: int = 0
    refused: int = 0
    by_kind: dict[str, int] = field(default_factory=dict)
    problems: Counter[str] = field(default_factory=Counter)

    def add(self, kind: str, read: int, changed: int) -> None:
        self.read += read
        self.changed += changed
        if changed:
            self.by_kind[kind] = self.by_kind.get(kind, 0) + changed


def store(connection: Connection, facts: Iterable[Fact]) -> Stored:
    """Take facts into the mirror, mark what they touch, and count what changed."""
    by_type: dict[type, list[Any]] = {}
    stored = Stored()
    clean, stored.problems = make_storable(facts)
    welcome, stored.refused = screen(connection, clean)
    for fact in welcome:
        by_type.setdefault(type(fact), []).append(fact)
    for kind, keep in _KEEPERS.items():  # owners and accounts before records before what hangs on them
        if found := by_type.pop(kind, None):
            stored.add(kind.__name__, len(found), keep(connection, found))
    if by_type:
        raise TypeError(f"the mirror has no place for {', '.join(k.__name__ for k in by_type)}")
    return stored


_KEEPERS: Mapping[type, Callable[[Connection, Any], int]] = {
    Owner: keep_owners,
    Account: keep_accounts,
    Record: keep_records,
    Deal: keep_deals,
    DealRole: keep_roles,
    Change: keep_changes,
    ActivityRow: keep_activities,
    Tombstone: keep_tombstones,
}
