"""A rulebook's statements for DuckDB: compiled from its Ibis expressions once, then kept in the user's cache folder.

Compiling takes more than a second of a process that may live for three (a `mikomi sync` of cron, an `explain`). A kept text is only
used for the same rules, compiled by the same code with the same libraries, and if nobody else can have written it.
"""

import hashlib
import threading
from collections.abc import Callable, Mapping
from functools import cache, cached_property, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import core.scoring
from core.rulebook import Rulebook, scoring_digest
from core.scoring.facts import SCHEMAS
from core.scoring.numbers import Rows, number_tables
from sync.engine.kept_texts import cache_folder, read_texts, write_texts

if TYPE_CHECKING:
    from ibis.expr.types import Table

    from core.scoring.plan import ScoringPlan

TYPES = {
    "int16": "SMALLINT",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "float64": "DOUBLE",
    "string": "VARCHAR",
    "boolean": "BOOLEAN",
}
"""DuckDB's names of the types in `core.scoring.facts`."""

_LINE_TYPES = {
    "snapshot_id": "BIGINT",
    "rule_id": "VARCHAR",
    "dimension": "VARCHAR",
    "kind": "VARCHAR",
    "milli": "BIGINT",
    "newest_day": "INTEGER",
    "count": "BIGINT",
    "machine": "BOOLEAN",
}
_TREND_TYPES = {"snapshot_id": "BIGINT", "trend": "VARCHAR"}

_compiling = threading.Lock()


class PlanSql:
    """A rulebook's numbers and its SQL texts, typed: sums come back as 64-bit integers. Equal digests give equal texts.

    Each text is made when it is first asked for: a pass that needs no lines does not pay for them.

    Args:
        rulebook: what to score with.
        keep: where texts are kept, see `sync.engine.kept_texts`; None: nowhere.
    """

    def __init__(self, rulebook: Rulebook, keep: Path | None = None) -> None:
        self.digest = scoring_digest(rulebook)
        self._rulebook = rulebook
        self._file = None if keep is None else keep / f"{self.digest}-{_maker()}.json"
        self._kept = {} if self._file is None else read_texts(self._file)

    @cached_property
    def tables(self) -> Mapping[str, Rows]:
        """Rows of the number tables by name."""
        return number_tables(self._rulebook)

    @cached_property
    def totals(self) -> str:
        return self._text("totals", lambda plan: plan.totals, _types("total"))

    @cached_property
    def earned(self) -> str:
        return self._text("earned", lambda plan: plan.earned, _types("earned"))

    @cached_property
    def lines(self) -> str:
        return self._text("lines", lambda plan: plan.lines, _LINE_TYPES)

    @cached_property
    def trends(self) -> str:
        return self._text("trends", lambda plan: plan.trends, _TREND_TYPES)

    @cached_property
    def _plan(self) -> "ScoringPlan":
        return core.scoring.compile_rulebook(self._rulebook)

    def _text(self, name: str, expression: "Callable[[ScoringPlan], Table]", types: Mapping[str, str]) -> str:
        if name not in self._kept:
            self._kept[name] = _typed(expression(self._plan), types)
            if self._file is not None:
                write_texts(self._file, self._kept)
        return self._kept[name]


@lru_cache(maxsize=16)
def compiled(rulebook: Rulebook) -> PlanSql:
    """The SQL of a rulebook, compiled once per process, or found in the cache folder."""
    return PlanSql(rulebook, cache_folder())


def _types(name: str) -> dict[str, str]:
    return {column: TYPES[kind] for column, kind in SCHEMAS[name].items()}


def _typed(expression: "Table", types: Mapping[str, str]) -> str:
    import ibis  # only here and in the expressions themselves: it takes half a second

    columns = ", ".join(f'CAST("{name}" AS {kind}) AS "{name}"' for name, kind in types.items())
    with _compiling:  # the option is global to Ibis
        before = ibis.options.sql.fuse_selects
        ibis.options.sql.fuse_selects = False
        try:
            text = ibis.to_sql(expression, dialect="duckdb", pretty=False)
        finally:
            ibis.options.sql.fuse_selects = before
    return f"SELECT {columns} FROM ({text}) AS result"


@cache
def _maker() -> str:
    """What a text comes from besides the rules: the program that compiled it and the libraries' versions."""
    found = hashlib.sha256()
    for library in ("ibis-framework", "sqlglot", "duckdb"):
        found.update(f"{library} {version(library)}\n".encode())
    for file in sources():
        found.update(file.read_bytes())
    return found.hexdigest()[:16]


def sources() -> list[Path]:
    """The files whose code makes the texts: all of `core`, and this one."""
    return [*sorted(Path(core.scoring.__file__).parents[1].rglob("*.py")), Path(__file__)]
