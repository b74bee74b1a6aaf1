"""The index behind search: it sees rows late, and keeps the ids of recent results so that paging stays quick.

A result is kept as the sorted ids that match everything but the lower bound on `hs_object_id`: the next page of a
keyset walk is then two bisections. Rows indexed since are re-checked one by one, so writes between pages cost little.
"""

from array import array
from bisect import bisect_left
from collections import OrderedDict
from dataclasses import dataclass

from sandbox.clock import Clock
from sandbox.hubspot.object_types import ObjectType
from sandbox.hubspot.schema import Schema
from sandbox.hubspot.search_filters import TRUE, Condition, matches_query, matches_token
from sandbox.hubspot.store import Row, Store

_KEPT = 64
_KEPT_IDS = 4_000_000
_RECHECKED = 2_000


@dataclass(slots=True)
class _Kept:
    generation: int
    seen: int  # how much of the type's change log this result knows
    ids: "array[int]"


class SearchIndex:
    """What search answers with, per object type."""

    def __init__(self, store: Store, schema: Schema, clock: Clock) -> None:
        self._store = store
        self._schema = schema
        self._clock = clock
        self._kept: OrderedDict[tuple[str, str, tuple[object, ...], str | None], _Kept] = OrderedDict()
        store.db.create_function("matches_token", 2, matches_token, deterministic=True)
        store.db.create_function("matches_query", 2, matches_query, deterministic=True)

    def find(
        self, kind: ObjectType, where: Condition, order: str | None, above: int, offset: int, limit: int
    ) -> tuple[int, list[Row]]:
        """(total, one page). `order` None: by id, from `above` + 1 on; else an ORDER BY text."""
        generation, changes = self._store.settle_index(kind, self._clock.now_ms())
        if where.volatile:
            ids = self._select(kind, where, order or "id")
        else:
            ids = self._current(kind, where, order, generation, changes)
        start = 0 if order else bisect_left(ids, above + 1)
        page = list(ids[start + offset : start + offset + limit])
        rows = self._store.indexed(kind, page) if page else {}
        return len(ids) - start, [rows[row_id] for row_id in page]

    def _current(
        self, kind: ObjectType, where: Condition, order: str | None, generation: int, changes: "array[int]"
    ) -> "array[int]":
        """The matching ids: kept ones where they still hold or, in id order, can be brought up to date."""
        key = (kind.name, where.sql, where.values, order)
        kept = self._kept.get(key)
        behind = 0 if kept is None else len(changes) - kept.seen
        if kept is None or kept.generation != generation or behind > (0 if order else _RECHECKED):
            kept = _Kept(generation, len(changes), self._select(kind, where, order or "id"))
            self._kept[key] = kept
            self._kept.move_to_end(key)
            self._forget_oldest()
        elif behind:
            self._recheck(kind, where, kept, set(changes[kept.seen :]))
            kept.seen = len(changes)
        self._kept.move_to_end(key)
        return kept.ids

    def _forget_oldest(self) -> None:
        held = sum(len(kept.ids) for kept in self._kept.values())
        while len(self._kept) > 1 and (len(self._kept) > _KEPT or held > _KEPT_IDS):
            _, oldest = self._kept.popitem(last=False)
            held -= len(oldest.ids)

    def _recheck(self, kind: ObjectType, where: Condition, kept: _Kept, changed: set[int]) -> None:
        listed = ",".join(str(row_id) for row_id in changed)
        narrowed = Condition(f"id IN ({listed}) AND ({where.sql})", where.values, where.hint)
        matching = set(self._select(kind, narrowed, "id"))
        for row_id in changed:
            place = bisect_left(kept.ids, row_id)
            present = place < len(kept.ids) and kept.ids[place] == row_id
            if present and row_id not in matching:
                del kept.ids[place]
            elif not present and row_id in matching:
                kept.ids.insert(place, row_id)

    def _select(self, kind: ObjectType, where: Condition, order: str) -> "array[int]":
        """Ids of the rows that match as indexed: current rows, but for those changed lately their version before."""
        name = kind.name
        live = f"archived_ms IS NULL AND ({where.sql})"
        hint = where.hint or TRUE
        now = f"({hint.sql}) AND {live}"
        values = hint.values + where.values
        db = self._store.db
        if db.execute(f"SELECT 1 FROM {name}_unindexed LIMIT 1").fetchone() is None:
            sql = f"SELECT id FROM {name} WHERE {now} ORDER BY {order}"
            return array("q", (row[0] for row in db.execute(sql, values)))
        columns = "id, created_ms, updated_ms, archived_ms, properties"
        sql = (
            f"SELECT id FROM (SELECT {columns} FROM {name} WHERE id NOT IN (SELECT id FROM {name}_unindexed) AND {now} "
            f"UNION ALL SELECT {columns} FROM {name}_unindexed AS late WHERE properties IS NOT NULL AND seq = "
            f"(SELECT min(seq) FROM {name}_unindexed AS other WHERE other.id = late.id) AND {live}) ORDER BY {order}"
        )
        return array("q", (row[0] for row in db.execute(sql, values + where.values)))
