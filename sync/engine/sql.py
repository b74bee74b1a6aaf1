"""A rulebook's statements for DuckDB: compiled from its Ibis expressions once, then kept in the user's cache folder.

Compiling takes more than a second of a process that may live for three (a `mikomi sync` of cron, an `explain`). A kept text is only
used for the same rules, compiled by the same code with the same libraries, and if nobody else can have written it.
"""

import hashlib
import json
import logging
import os
import re
import stat
import tempfile
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

KEPT = 16
"""So many rulebooks' texts stay in the cache folder."""

_NAME = re.compile(r"[0-9a-f]{16,64}-[0-9a-f]{16}\.json", re.ASCII)
_compiling = threading.Lock()
_log = logging.getLogger(__name__)


class PlanSql:
    """A rulebook's numbers and its SQL texts, typed: sums come back as 64-bit integers. Equal digests give equal texts.

    Each text is made when it is first asked for: a pass that needs no lines does not pay for them.

    Args:
        rulebook: what to score with.
        keep: where texts are kept, see `kept_texts`; None: nowhere.
    """

    def __init__(self, rulebook: Rulebook, keep: Path | None = None) -> None:
        self.digest = scoring_digest(rulebook)
        self._rulebook = rulebook
        self._file = None if keep is None else keep / f"{self.digest}-{_maker()}.json"
        self._kept = {} if self._file is None else _read(self._file)

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
                _write(self._file, self._kept)
        return self._kept[name]


@lru_cache(maxsize=16)
def compiled(rulebook: Rulebook) -> PlanSql:
    """The SQL of a rulebook, compiled once per process, or found in the cache folder."""
    return PlanSql(rulebook, _folder())


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


# --- the cache folder -------------------------------------------------------------------------------------------------


def _folder() -> Path | None:
    """`mikomi` in `$CACHE_DIRECTORY` (systemd), else in `$XDG_CACHE_HOME` or `~/.cache`; None where there is no such place."""
    given = os.environ.get("CACHE_DIRECTORY", "").split(":")[0]
    places = (given, os.environ.get("XDG_CACHE_HOME", ""))
    found = next((Path(place) for place in places if Path(place).is_absolute()), None)
    if found is None:
        try:
            found = Path.home() / ".cache"
        except RuntimeError:
            return None
    return found / "mikomi" if found.is_absolute() else None


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


def _is_ours_alone(seen: os.stat_result) -> bool:
    return seen.st_uid == os.geteuid() and not seen.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _read(file: Path) -> dict[str, str]:
    """Texts kept before; none where there are none, or where somebody else could have put others in their place."""
    try:
        with os.fdopen(os.open(file, os.O_RDONLY | os.O_NOFOLLOW), "rb") as kept:
            if not (_is_ours_alone(os.fstat(kept.fileno())) and _is_ours_alone(file.parent.lstat())):
                _log.warning("cache left alone: not ours alone", extra={"file": str(file)})
                return {}
            document = json.load(kept)
        if not isinstance(document, dict):
            raise TypeError("not an object")
        return {name: text for name, text in document.items() if isinstance(text, str)}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, RecursionError) as error:
        _log.warning("cache not readable", extra={"file": str(file), "cause": type(error).__name__})
        return {}


def _write(file: Path, texts: Mapping[str, str]) -> None:
    """Keep texts, whole or not at all. Where that fails (no room, no right), the next process compiles again."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _is_ours_alone(file.parent.lstat()):
            return  # whoever reads would not believe it
        with tempfile.TemporaryDirectory(dir=file.parent, prefix="new-") as apart:
            made = Path(apart) / file.name
            made.touch(mode=0o600)
            made.write_text(json.dumps(texts), "utf-8")
            made.replace(file)
        kept = (one for one in file.parent.iterdir() if _NAME.fullmatch(one.name))
        for old in sorted(kept, key=lambda one: one.stat().st_mtime)[:-KEPT]:
            old.unlink()
    except OSError as error:
        _log.info("cache not written", extra={"file": str(file), "cause": type(error).__name__})
