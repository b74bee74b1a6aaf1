"""Scoring: everyone from the state database against SQL written by hand, and one touched person.

Every measurement runs in a process of its own: CPU seconds and peak memory are the operating system's count of that
process. Loading is timed apart from scoring, because the SQL by hand needs the same load.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from bench.figures import Figure

ROOT = Path(__file__).resolve().parents[1]
PEOPLE, ACTIVITIES = 1_000_000, 20_000_000
TIMEOUT = 900
ROUNDS = 3  # alternating, the best of each: other work on the machine disturbs both alike


def run(scale: float = 1.0) -> list[Figure]:
    """The figures; `scale` multiplies people and activities alike.

    Those of PostgreSQL are added where `MIKOMI_BENCH_PG` names an empty database.
    """
    people, activities = int(PEOPLE * scale), int(ACTIVITIES * scale)
    with tempfile.TemporaryDirectory(prefix="mikomi-bench-") as folder:  # about 2 GB; TMPDIR says where
        whole, half = Path(folder) / "whole.db", Path(folder) / "half.db"
        _child("make", f"sqlite:///{whole}", people, activities)
        plain = _child("plain", f"sqlite:///{whole}")
        both = _child("compare", f"sqlite:///{whole}")
        trend = _child("trend", f"sqlite:///{whole}")
        one = _child("one", f"sqlite:///{whole}")
        whole.unlink()
        _child("make", f"sqlite:///{half}", people, activities // 2)
        less = _child("plain", f"sqlite:///{half}")
    full = scale >= 1
    figures = [
        Figure("engine against SQL by hand, CPU", both["score_cpu"] / both["hand_cpu"], "x", "<= 1.3"),
        Figure("score everyone, load included", plain["cpu"], "CPU s", "<= 60" if full else ""),
        Figure("of it loading", plain["load_cpu"], "CPU s"),
        Figure("of it scoring", plain["score_cpu"], "CPU s"),
        Figure("SQL by hand, scoring", both["hand_cpu"], "CPU s"),
        Figure("peak memory", plain["rss_mb"], "MB", "<= 1500" if full else ""),
        Figure("half the activities", less["score_cpu"] / plain["score_cpu"], "x", "<= 0.75"),
        Figure("with trend, load included", trend["cpu"], "CPU s"),
        Figure("with trend, peak memory", trend["rss_mb"], "MB", "<= 1500" if full else ""),
        Figure("one touched person, lines and reasons, median", one["median_ms"], "ms", "<= 100"),
        Figure("rulebook compiled, SQL of the totals", one["compile_ms"], "CPU ms", "<= 500"),
    ]
    if server := os.environ.get("MIKOMI_BENCH_PG"):
        figures += _on_postgresql(server, people, activities)
    return figures


def _on_postgresql(url: str, people: int, activities: int) -> list[Figure]:
    """CPU of our own process; the server's is its own affair, so seconds are given too."""
    _child("make", url, people, activities)
    plain, one = _child("plain", url), _child("one", url)
    return [
        Figure("PostgreSQL: score everyone, load included", plain["cpu"], "CPU s"),
        Figure("PostgreSQL: the same", plain["wall"], "s"),
        Figure("PostgreSQL: peak memory", plain["rss_mb"], "MB"),
        Figure("PostgreSQL: one touched person, median", one["median_ms"], "ms"),
    ]


def _child(mode: str, *arguments: object) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.scoring", mode, *map(str, arguments)]
    with tempfile.TemporaryDirectory() as cache:  # nothing compiled by an earlier run
        env = os.environ | {"XDG_CACHE_HOME": cache, "CACHE_DIRECTORY": ""}
        result = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT, check=False, env=env
        )
    if result.returncode != 0:
        raise RuntimeError(f"the measurement {mode!r} failed:\n{result.stderr[-2_000:]}")
    answer: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return answer


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _rulebook() -> Any:
    from bench.scoring_data import TARGET_INDUSTRIES
    from core.rulebook import ADVISED, load_rulebook, template_text

    placeholders = "[ここにターゲット業種1を記入, ここにターゲット業種2を記入]"
    text = template_text(ADVISED)
    assert placeholders in text
    return load_rulebook(text.replace(placeholders, json.dumps(TARGET_INDUSTRIES, ensure_ascii=False)))


def _make(url: str, people: int, activities: int) -> dict[str, Any]:
    from bench.scoring_data import make_database

    make_database(url, people, activities)
    return {"cpu": _cpu()}


def _everyone(url: str, mode: str) -> dict[str, Any]:
    """The full pass as a sync takes it, slice by slice, without the lines of those whose score changed."""
    from bench.scoring_data import NOW, TODAY, ZONE
    from core.records import DAY_MS
    from sync.engine.engine import MEMORY, THREADS
    from sync.engine.load import load_slice, spill_folder
    from sync.engine.needs import needs_of
    from sync.engine.session import Session
    from sync.engine.slices import cut_slices
    from sync.engine.sql import compiled
    from sync.state import open_state

    rulebook = _rulebook()
    state = open_state(url)
    moments = [(NOW, TODAY), (NOW - 7 * DAY_MS, TODAY - 7)] if mode == "trend" else [(NOW, TODAY)]
    load, score, people, began = 0.0, 0.0, 0, time.perf_counter()
    sql = compiled(rulebook)
    texts = (sql.totals, sql.trends)  # compiled once per process: a figure of its own
    assert all(texts)
    with spill_folder(state.url) as folder:
        for part in cut_slices(state):
            started = _cpu()
            with closing(Session(memory_limit=MEMORY, threads=THREADS, spill=folder)) as session:
                session.install(sql)
                people += load_slice(session, state, needs_of(rulebook), part, moments=moments, zone=ZONE)
                loaded = _cpu()
                session.score(sql)
                score += _cpu() - loaded
            load += loaded - started
    return {
        "load_cpu": load,
        "score_cpu": score,
        "people": people,
        "cpu": _cpu(),
        "wall": time.perf_counter() - began,
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _compare(url: str) -> dict[str, Any]:
    """Everyone in one session, scored by the engine's SQL and by SQL written by hand, in turns."""
    from bench.scoring_by_hand import totals_by_hand
    from bench.scoring_data import NOW, TARGET_INDUSTRIES, TODAY, ZONE
    from sync.engine.load import load_slice, spill_folder
    from sync.engine.needs import needs_of
    from sync.engine.session import Session
    from sync.engine.slices import Slice
    from sync.engine.sql import compiled
    from sync.state import open_state

    rulebook = _rulebook()
    state = open_state(url)
    sql = compiled(rulebook)
    engine, hand = [], []
    with spill_folder(state.url) as folder, closing(Session(memory_limit="1GB", spill=folder)) as session:
        everyone = Slice(companies=True, after=0, last=2**62)
        load_slice(session, state, needs_of(rulebook), everyone, moments=[(NOW, TODAY)], zone=ZONE)
        session.install(sql)
        for _ in range(ROUNDS):
            started = _cpu()
            session.score(sql)
            engine.append(_cpu() - started)
            ours = _checks(session, f'(FROM "total" WHERE "as_of" = {NOW})')
            started = _cpu()
            session.connection.execute(
                f"CREATE OR REPLACE TABLE result AS {totals_by_hand(NOW, TODAY, TARGET_INDUSTRIES)}"
            )
            hand.append(_cpu() - started)
            if _checks(session, "result") != ours:
                raise AssertionError("the engine and the SQL by hand disagree")
            session.connection.execute("DROP TABLE result")
    return {"score_cpu": min(engine), "hand_cpu": min(hand)}


def _checks(session: Any, table: str) -> Mapping[str, Any]:
    """Sums over everyone's scores: equal scores have equal sums."""
    rows: list[Mapping[str, Any]] = session.rows(
        "SELECT count(*) AS people, sum(priority)::BIGINT AS priority, sum(withheld)::BIGINT AS withheld, "
        f"count(*) FILTER (band = 'A') AS a, sum(last_human_at % 1000003)::BIGINT AS human FROM {table}"
    )
    return rows[0]


def _one(url: str) -> dict[str, Any]:
    from bench.scoring_data import NOW, ZONE
    from sync.engine import ScoreEngine
    from sync.engine.sql import PlanSql
    from sync.state import open_state

    rulebook = _rulebook()
    engine = ScoreEngine(open_state(url), rulebook, ZONE)
    engine.score_people([1], NOW)  # warm: the first call plans, and compiles where nothing is kept
    assert PlanSql(rulebook).trends  # imports Ibis
    started = time.process_time()
    assert PlanSql(rulebook).totals
    compile_ms = (time.process_time() - started) * 1000
    taken = []
    for person in range(2, 42):
        started = time.perf_counter()
        assert engine.score_people([person * 20], NOW)[0].lines is not None
        taken.append((time.perf_counter() - started) * 1000)
    return {"median_ms": statistics.median(taken), "compile_ms": compile_ms}


def _main(mode: str, url: str, *sizes: str) -> None:
    if mode == "make":
        result = _make(url, *map(int, sizes))
    elif mode == "one":
        result = _one(url)
    elif mode == "compare":
        result = _compare(url)
    else:
        result = _everyone(url, mode)
    print(json.dumps(result))


if __name__ == "__main__":
    _main(*sys.argv[1:])
