"""What the state believes the CRMs hold, to be compared with what they do hold."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from core.records import RecordRef
from sync.state import schema as t
from sync.state.outbox import TASK


@dataclass(frozen=True, slots=True)
class Ledger:
    """One look at the outbox and at what was acknowledged.

    Attributes:
        tasks: key to (person, record) of every task owed or done; refused and cancelled ones are left out.
        records: every live record of a person.
        acknowledged: live record to the score it last took from us.
        scores: person to (total, band).
        states: outbox rows by state.
    """

    tasks: Mapping[str, tuple[int, RecordRef]]
    records: frozenset[RecordRef]
    acknowledged: Mapping[RecordRef, int]
    scores: Mapping[int, tuple[int, str]]
    states: Mapping[str, int]

    def count(self, state: str) -> int:
        return self.states.get(state, 0)


def read_ledger(connection: Connection) -> Ledger:
    """The whole ledger: for checks on a practice market, not for a million people."""
    box, taken = t.outbox.c, t.acknowledged.c
    tasks = connection.execute(
        select(box.key, box.person_id, box.system, box.kind, box.id).where(
            box.effect == TASK, box.state.in_(("new", "unknown", "done"))
        )
    )
    believed = connection.execute(select(taken.system, taken.kind, taken.id, taken["values"]))
    record = t.record.c
    alive = (record.person_id.is_not(None), record.deleted_at.is_(None), record.successor_id.is_(None))
    records = frozenset(
        RecordRef(*row) for row in connection.execute(select(record.system, record.kind, record.id).where(*alive))
    )
    scores = connection.execute(select(t.score.c.person_id, t.score.c.total, t.score.c.band))
    states: Counter[str] = Counter()
    for state, count in connection.execute(select(box.state, func.count()).group_by(box.state)):
        states[state] += count
    return Ledger(
        tasks={key: (person, RecordRef(*ref)) for key, person, *ref in tasks},
        records=records,
        acknowledged={ref: values["score"] for *parts, values in believed if (ref := RecordRef(*parts)) in records},
        scores={person: (total, band) for person, total, band in scores},
        states=states,
    )
