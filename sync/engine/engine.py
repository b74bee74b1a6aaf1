"""The score engine: facts from the state database, a compiled rulebook, scores out. Reads no clock; writes nothing."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import tzinfo
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from core.records import DAY_MS, Day, Millis, local_day
from core.rulebook import Rulebook
from core.scoring import Line, choose_reasons, from_stored, reason_key
from sync.engine.scored import Scored
from sync.engine.slices import SLICE, Slice, count_rows, cut_slices
from sync.state import State
from sync.state import schema as t
from sync.state.rows import chunks

if TYPE_CHECKING:
    from pathlib import Path

    from sync.engine.session import Session, Texts
    from sync.engine.sql import PlanSql

TREND_MS = 7 * DAY_MS
BATCH = 2_500
"""People per batch handed out: what is planned in one transaction."""
MEMORY = "1GB"
"""What a slice may take before it spills to disk: it takes a fraction, unless one company is half the market."""
THREADS = 1
"""DuckDB's threads in a full pass: more have buffers of their own, and whoever plans the batches is one thread anyway."""

SMALL = 500
"""People that a full pass scores as one small batch: setting up a slice takes longer than scoring them."""
SMALL_ACTIVITIES = 100_000
"""So many activities they may have together: a small batch holds them as Python values, and spills nothing."""

_SHOWN = ("total", "priority", "fit", "engagement", "relationship", "withheld", "band")


class ScoreEngine:
    """Scores people of one state database with one rulebook.

    Args:
        state: the open state database; only read.
        rulebook: what to score with.
        zone: the settings' time zone, in which days are counted.
        memory_limit: of one slice of a full pass.
        slice_size: people in a slice of a full pass.
        small: a full pass over no more people is one small batch (default: `SMALL`).
    """

    def __init__(
        self,
        state: State,
        rulebook: Rulebook,
        zone: tzinfo,
        *,
        memory_limit: str = MEMORY,
        slice_size: int = SLICE,
        small: int | None = None,
    ) -> None:
        self._state = state
        self._rulebook = rulebook
        self._zone = zone
        self._memory_limit = memory_limit
        self._slice = slice_size
        self._small = SMALL if small is None else small

    def score_people(self, ids: Sequence[int], as_of: Millis) -> list[Scored]:
        """Scores with lines and reasons of some people, as of a moment; ids that nobody has are left out."""
        from sync.engine.session import PREPARED
        from sync.engine.sql import compiled
        from sync.engine.warm import warm_session

        with warm_session(compiled(self._rulebook)) as session:
            people = self._load_some(session, ids, [as_of, as_of - TREND_MS])
            session.replace("asked", [self._moment(person, as_of) for person in people])
            session.score(PREPARED)
            lines = lines_by_snapshot(session.lines(PREPARED))
            today = local_day(as_of, self._zone)
            return [_with_lines(row, lines, today) for rows in session.batches(as_of, BATCH) for row in rows]

    def score_all(
        self, as_of: Millis, on_progress: Callable[[int, int], None] | None = None, *, trend: bool = True
    ) -> Iterator[list[Scored]]:
        """Scores of everyone, in batches, in an order that only depends on the facts; a large state company by company.

        Lines are computed for those whose score changed since the last one stored, who were touched, or who were last
        scored with other rules; the others keep their stored reasons.

        Args:
            on_progress: called with (people done, people in all) after every batch.
            trend: without it every trend is `unknown`, and the pass is about half as long.
        """
        count, done = count_rows(self._state, t.person), 0
        moments = [as_of, as_of - TREND_MS] if trend else [as_of]
        few = count <= self._small and count_rows(self._state, t.activity) <= SMALL_ACTIVITIES
        for batch in self._score_few(moments) if few else self._score_slices(moments):
            yield batch
            done += len(batch)
            if on_progress is not None:
                on_progress(done, count)

    def _score_few(self, moments: Sequence[Millis]) -> Iterator[list[Scored]]:
        """Everyone at once, where setting up a slice would take longer than scoring them."""
        from sync.engine.session import PREPARED
        from sync.engine.sql import compiled
        from sync.engine.warm import warm_session

        sql = compiled(self._rulebook)
        with self._state.outside() as connection:
            ids = connection.execute(select(t.person.c.person_id)).scalars().all()
        with warm_session(sql) as session:
            self._load_some(session, ids, moments)
            session.score(PREPARED)
            for rows in session.batches(moments[0], BATCH):
                yield self._batch(session, PREPARED, rows, moments[0], sql.digest)

    def _load_some(self, session: "Session", ids: Sequence[int], moments: Sequence[Millis]) -> list[int]:
        """Some people's facts and snapshots; who of them there is."""
        from sync.engine.fetch import fetch_facts
        from sync.engine.needs import needs_of

        earliest = min(moments)
        with self._state.read() as connection:
            facts = fetch_facts(
                connection,
                needs_of(self._rulebook),
                ids,
                earliest=earliest,
                earliest_day=local_day(earliest, self._zone),
                zone=self._zone,
            )
        for name, rows in facts.items():
            session.replace(name, rows)
        wanted = set(ids)
        people = [row["person_id"] for row in facts["person"] if row["person_id"] in wanted]
        snapshots = [self._moment(person, at, number) for person in people for number, at in enumerate(moments)]
        session.replace("snapshot", snapshots)
        return people

    def _score_slices(self, moments: Sequence[Millis]) -> Iterator[list[Scored]]:
        from sync.engine.load import spill_folder
        from sync.engine.release import release_memory
        from sync.engine.sql import compiled
        from sync.engine.warm import drop_warm

        sql = compiled(self._rulebook)
        # What small batches keep, and what reading and recognising left behind, would be added to what a slice takes.
        drop_warm()
        release_memory()
        with spill_folder(self._state.url) as folder:
            for people in cut_slices(self._state, self._slice):
                yield from self._score_slice(sql, people, moments, folder)

    def _score_slice(
        self, sql: "PlanSql", people: Slice, moments: Sequence[Millis], folder: "Path"
    ) -> Iterator[list[Scored]]:
        """A session of its own: closing it gives the memory back."""
        from sync.engine.load import load_slice
        from sync.engine.needs import needs_of
        from sync.engine.session import Session

        as_of = moments[0]
        with closing(Session(memory_limit=self._memory_limit, threads=THREADS, spill=folder)) as session:
            session.install(sql)
            load_slice(
                session,
                self._state,
                needs_of(self._rulebook),
                people,
                moments=[(at, local_day(at, self._zone)) for at in moments],
                zone=self._zone,
            )
            session.score(sql)
            for rows in session.batches(as_of, BATCH):
                yield self._batch(session, sql, rows, as_of, sql.digest)

    def _batch(
        self, session: "Session", sql: "Texts", rows: Sequence[Mapping[str, Any]], as_of: Millis, digest: str
    ) -> list[Scored]:
        stored = self._stored([row["person_id"] for row in rows])
        changed = [row["person_id"] for row in rows if self._differs(row, stored.get(row["person_id"]), digest)]
        session.replace("asked", [self._moment(person, as_of) for person in changed])
        lines = lines_by_snapshot(session.lines(sql)) if changed else {}
        asked, today = set(changed), local_day(as_of, self._zone)
        result = []
        for row in rows:
            if row["person_id"] in asked:
                result.append(_with_lines(row, lines, today))
            else:
                before = stored[row["person_id"]]
                reasons = tuple(from_stored(reason) for reason in before["reasons"])
                result.append(_scored(row, before["reason_key"], reasons, None))
        return result

    def _stored(self, ids: Sequence[int]) -> dict[int, Mapping[str, Any]]:
        columns = [t.score.c[name] for name in ("person_id", "digest", "reason_key", "reasons", *_SHOWN)]
        found: dict[int, Mapping[str, Any]] = {}
        with self._state.read() as connection:
            for part in chunks(ids):
                query = (
                    select(*columns, t.person.c.dirty)
                    .join(t.person, t.person.c.person_id == t.score.c.person_id)
                    .where(t.score.c.person_id.in_(part))
                )
                found |= {row["person_id"]: row for row in connection.execute(query).mappings()}
        return found

    @staticmethod
    def _differs(row: Mapping[str, Any], before: Mapping[str, Any] | None, digest: str) -> bool:
        if before is None or before["dirty"] or before["digest"] != digest:
            return True
        return any(row[name] != before[name] for name in _SHOWN)

    def _moment(self, person_id: int, at: Millis, number: int = 0) -> dict[str, int]:
        """A person's snapshot: number 0 is now, 1 a trend's distance before."""
        return {
            "snapshot_id": 2 * person_id + number,
            "person_id": person_id,
            "as_of": at,
            "day": local_day(at, self._zone),
        }


def lines_by_snapshot(rows: Iterable[Mapping[str, Any]]) -> dict[int, list[Line]]:
    """Lines as values, by snapshot, in a fixed order."""
    found: dict[int, list[Line]] = {}
    for row in rows:
        line = Line(
            row["rule_id"], row["dimension"], row["kind"], row["milli"], row["newest_day"], row["count"], row["machine"]
        )
        found.setdefault(row["snapshot_id"], []).append(line)
    for lines in found.values():
        lines.sort(key=lambda line: (line.dimension, line.rule_id, line.kind))
    return found


def _with_lines(row: Mapping[str, Any], lines: Mapping[int, list[Line]], today: Day) -> Scored:
    mine = tuple(lines.get(row["snapshot_id"], ()))
    return _scored(row, reason_key(mine), choose_reasons(mine, today), mine)


def _scored(row: Mapping[str, Any], key: str, reasons: tuple[Any, ...], lines: tuple[Line, ...] | None) -> Scored:
    return Scored(
        person_id=row["person_id"],
        as_of=row["as_of"],
        **{name: row[name] for name in _SHOWN},
        missing=row["missing"],
        trend=row["trend"],
        last_human_at=row["last_human_at"],
        reason_key=key,
        reasons=reasons,
        lines=lines,
    )
