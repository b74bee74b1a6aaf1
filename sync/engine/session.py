"""One DuckDB session that runs scoring plans. Beside `sql` the only module that knows DuckDB's types and SQL."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from core.scoring.facts import FACTS, SCHEMAS
from sync.engine.sql import TYPES, PlanSql

Row = Mapping[str, Any]

_ARROW = {
    "int16": pa.int16(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "string": pa.string(),
    "boolean": pa.bool_(),
}
STREAM_ERRORS = (duckdb.InvalidInputException, duckdb.IOException, duckdb.OutOfMemoryException)
"""What `append` raises where the rows stop coming, or have no room."""

_FETCHED = 4_096  # rows taken from DuckDB at once


def arrow_schema(name: str, columns: Sequence[str] | None = None) -> pa.Schema:
    """The Arrow schema of a fact table, or of some of its columns."""
    schema = SCHEMAS[name]
    return pa.schema([(column, _ARROW[schema[column]]) for column in columns or schema])


class Prepared:
    """The names under which a session keeps a plan's statements prepared: planning a small batch costs more than it."""

    totals = "EXECUTE mikomi_totals"
    earned = "EXECUTE mikomi_earned"
    lines = "EXECUTE mikomi_lines"
    trends = "EXECUTE mikomi_trends"


PREPARED = Prepared()
Texts = PlanSql | Prepared


class Session:
    """A DuckDB database in memory (spilling to `spill`) with the fact tables of `core.scoring.facts`.

    Args:
        memory_limit: DuckDB's own limit, e.g. `1GB`; the process needs about 0.2 GB more.
        threads: None for all cores.
        spill: a folder for temporary files; none are written without it.
    """

    def __init__(self, *, memory_limit: str = "1GB", threads: int | None = None, spill: Path | None = None) -> None:
        config: dict[str, Any] = {"memory_limit": memory_limit, "preserve_insertion_order": False}
        if threads is not None:
            config["threads"] = threads
        config["temp_directory"] = str(spill) if spill is not None else ""
        self.connection = duckdb.connect(":memory:", config=config)
        self._database = "memory"
        if spill is not None:
            self._database = "facts"
            # Sorted ids and stamps shrink to a fifth.
            self.connection.execute("ATTACH ':memory:' AS facts (COMPRESS true)")
            self.connection.execute("USE facts")
        self.installed = ""
        for name, columns in SCHEMAS.items():
            body = ", ".join(f'"{column}" {TYPES[kind]}' for column, kind in columns.items())
            self.connection.execute(f'CREATE TABLE "{name}" ({body})')
        self.connection.execute('CREATE TABLE "trend" ("snapshot_id" BIGINT, "trend" VARCHAR)')

    def close(self) -> None:
        """Give memory and temporary files back."""
        self.connection.close()

    def empty(self) -> None:
        """Forget all people; a rulebook's numbers and prepared statements stay."""
        for name in (*FACTS, "snapshot", "asked", "earned", "total", "trend"):
            self.connection.execute(f'DELETE FROM "{name}"')
        self.connection.execute("CHECKPOINT")  # until then deleted rows are only marked so, and keep their memory

    def install(self, sql: PlanSql) -> None:
        """Put a rulebook's numbers into their tables."""
        if self.installed == sql.digest:
            return
        for name, rows in sql.tables.items():
            self.replace(name, rows)
        self.installed = sql.digest

    def replace(self, name: str, rows: Sequence[Row]) -> None:
        """Empty a table and fill it with rows; keys that are no column are ignored, missing ones are null."""
        self.connection.execute(f'DELETE FROM "{name}"')
        if rows:
            self.append(name, pa.Table.from_pylist(list(rows), schema=arrow_schema(name)))

    def append(self, name: str, rows: Any, *, chosen: str = "*") -> None:
        """Append Arrow rows; columns go by name, absent ones are null. `chosen` may rewrite columns on the way."""
        self.connection.register("incoming", rows)
        try:
            self.connection.execute(f'INSERT INTO "{name}" BY NAME SELECT {chosen} FROM incoming')
        finally:
            self.connection.unregister("incoming")

    def prepare(self, sql: PlanSql) -> None:
        """Plan a rulebook's statements once, for many small batches.

        Unoptimised: the texts already filter early and build on the small side, and for a few people the optimiser's
        plan with its statistics and dynamic filters takes longer to run than this one (measured: 38 ms against 14).
        """
        self.connection.execute("PRAGMA disable_optimizer")
        self.connection.execute(f'PREPARE mikomi_totals AS INSERT INTO "total" BY NAME {sql.totals}')
        self.connection.execute(f'PREPARE mikomi_earned AS INSERT INTO "earned" BY NAME {sql.earned}')
        self.connection.execute(f"PREPARE mikomi_lines AS {sql.lines}")
        self.connection.execute(f'PREPARE mikomi_trends AS INSERT INTO "trend" {sql.trends}')

    def score(self, sql: Texts) -> None:
        """Fill `total` with the totals of every row of `snapshot`, and `trend` with the trends they show."""
        self.connection.execute('DELETE FROM "total"')
        self.connection.execute(
            sql.totals if isinstance(sql, Prepared) else f'INSERT INTO "total" BY NAME {sql.totals}'
        )
        self.connection.execute('DELETE FROM "trend"')
        self.connection.execute(sql.trends if isinstance(sql, Prepared) else f'INSERT INTO "trend" {sql.trends}')

    def lines(self, sql: Texts) -> Iterator[dict[str, Any]]:
        """The lines of the snapshots in `asked`; to be taken before the session is asked anything else."""
        self.connection.execute('DELETE FROM "earned"')
        self.connection.execute(
            sql.earned if isinstance(sql, Prepared) else f'INSERT INTO "earned" BY NAME {sql.earned}'
        )
        yield from self._rows(sql.lines)

    def batches(self, as_of: int, size: int) -> Iterator[list[dict[str, Any]]]:
        """The totals of one moment with their trends, by ascending person, `size` at a time."""
        cursor = self.connection.cursor()  # its own result, while lines are asked for in between
        cursor.execute(f"USE {self._database}")
        cursor.execute(
            'SELECT "total".*, COALESCE("trend"."trend", \'unknown\') AS "trend" FROM "total" '
            'LEFT JOIN "trend" USING ("snapshot_id") WHERE "as_of" = ? ORDER BY "person_id"',
            [as_of],
        )
        names = [column[0] for column in cursor.description]
        while rows := cursor.fetchmany(size):
            yield [dict(zip(names, row, strict=True)) for row in rows]

    def people(self, ids: Collection[int], fields: Sequence[str]) -> dict[int, dict[str, Any]]:
        """Some people's values, by person."""
        names = ", ".join(f'"{name}"' for name in ("person_id", *fields))
        query = f'SELECT {names} FROM "person" WHERE "person_id" IN (SELECT unnest(?))'
        return {row["person_id"]: row for row in self.rows(query, [sorted(ids)])}

    def take_snapshots(self, moments: Sequence[tuple[int, int]]) -> int:
        """One snapshot per person and moment (stamp, local day), numbered as small batches number them."""
        self.connection.execute('DELETE FROM "snapshot"')
        for number, (at, day) in enumerate(moments):
            self.connection.execute(
                'INSERT INTO "snapshot" SELECT 2 * "person_id" + ?, "person_id", ?, ? FROM "person"', [number, at, day]
            )
        return int(self.rows('SELECT count(*) AS people FROM "person"')[0]["people"])

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Run a query; rows as dicts."""
        return list(self._rows(sql, values))

    def _rows(self, sql: str, values: Sequence[Any] = ()) -> Iterator[dict[str, Any]]:
        cursor = self.connection.execute(sql, list(values))
        names = [column[0] for column in cursor.description]
        while rows := cursor.fetchmany(_FETCHED):
            yield from (dict(zip(names, row, strict=True)) for row in rows)
