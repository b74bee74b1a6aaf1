"""Scoring: everyone from the state database against SQL written by hand, and one touched person.

Every measurement runs in a process of its own: CPU seconds and peak memory are the operating system's count of that
process. Loading is timed apart from scoring, because the SQL by hand needs the same load.
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.figures import Figure

ROOT = Path(__file__).resolve().parents[1]
PEOPLE, ACTIVITIES = 1_000_000, 20_000_000
TIMEOUT = 900
ROUNDS = 3  # alternating, the best of each: other work on the machine disturbs both alike


def run(scale: float = 1.0) -> list[Figure]:
    """The figures; `scale` multiplies people and activities alike."""
    people, activities = int(PEOPLE * scale), int(ACTIVITIES * scale)
    with tempfile.TemporaryDirectory(prefix="mikomi-bench-") as folder:  # about 2 GB; TMPDIR says where
        whole, half = Path(folder) / "whole.db", Path(folder) / "half.db"
        _child("make", whole, people, activities)
        plain = _child("plain", whole)
        both = _child("compare", whole)
        trend = _child("trend", whole)
        one = _child("one", whole)
        whole.unlink()
        _child("make", half, people, activities // 2)
        less = _child("plain", half)
    full = scale >= 1
    return [
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


def _child(mode: str, *arguments: object) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.scoring", mode, *map(str, arguments)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT, check=False)
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


def _make(path: Path, people: int, activities: int) -> dict[str, Any]:
    from bench.scoring_data import make_database

    make_database(path, people, activities)
    return {"cpu": _cpu()}


def _everyone(path: Path, mode: str) -> dict[str, Any]:
    from bench.scoring_by_hand import totals_by_hand
    from bench.scoring_data import NOW, TARGET_INDUSTRIES, TODAY, ZONE
    from core.records import DAY_MS
    from sync.engine.load import load_everything, spill_folder
    from sync.engine.needs import needs_of
    from sync.engine.session import Session, compiled
    from sync.state import open_state

    rulebook = _rulebook()
    state = open_state(f"sqlite:///{path}")
    moments = [(NOW, TODAY), (NOW - 7 * DAY_MS, TODAY - 7)] if mode == "trend" else [(NOW, TODAY)]
    with spill_folder(state.url) as folder:
        session = Session(memory_limit="1GB", spill=folder)
        load_everything(session, state, needs_of(rulebook), moments=moments, zone=ZONE)
        sql = compiled(rulebook)
        texts = (sql.totals, sql.trends)  # compiled once per process: a figure of its own
        assert all(texts)
        loaded = _cpu()
        engine, hand = [], []
        for _ in range(ROUNDS if mode == "compare" else 1):
            started = _cpu()
            session.install(sql)
            session.score(sql)
            engine.append(_cpu() - started)
            ours = _checks(session, f'(FROM "total" WHERE "as_of" = {NOW})')
            if mode == "compare":
                started = _cpu()
                session.connection.execute(
                    f"CREATE OR REPLACE TABLE result AS {totals_by_hand(NOW, TODAY, TARGET_INDUSTRIES)}"
                )
                hand.append(_cpu() - started)
                if _checks(session, "result") != ours:
                    raise AssertionError("the engine and the SQL by hand disagree")
                session.connection.execute("DROP TABLE result")
        scored = _cpu()
        session.close()
    return {
        "load_cpu": loaded,
        "score_cpu": min(engine),
        "hand_cpu": min(hand, default=0.0),
        "cpu": scored,
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _checks(session: Any, table: str) -> Mapping[str, Any]:
    """Sums over everyone's scores: equal scores have equal sums."""
    rows: list[Mapping[str, Any]] = session.rows(
        "SELECT count(*) AS people, sum(priority)::BIGINT AS priority, sum(withheld)::BIGINT AS withheld, "
        f"count(*) FILTER (band = 'A') AS a, sum(last_human_at % 1000003)::BIGINT AS human FROM {table}"
    )
    return rows[0]


def _one(path: Path) -> dict[str, Any]:
    from bench.scoring_data import NOW, ZONE
    from core.scoring import compile_rulebook
    from sync.engine import ScoreEngine
    from sync.engine.session import PlanSql
    from sync.state import open_state

    rulebook = _rulebook()
    engine = ScoreEngine(open_state(f"sqlite:///{path}"), rulebook, ZONE)
    engine.score_people([1], NOW)  # warm: the first call compiles and plans
    started = time.process_time()
    assert PlanSql(compile_rulebook(rulebook)).totals
    compile_ms = (time.process_time() - started) * 1000
    taken = []
    for person in range(2, 42):
        started = time.perf_counter()
        assert engine.score_people([person * 20], NOW)[0].lines is not None
        taken.append((time.perf_counter() - started) * 1000)
    return {"median_ms": statistics.median(taken), "compile_ms": compile_ms}


def _main(mode: str, path: str, *sizes: str) -> None:
    if mode == "make":
        result = _make(Path(path), *map(int, sizes))
    elif mode == "one":
        result = _one(Path(path))
    else:
        result = _everyone(Path(path), mode)
    print(json.dumps(result))


if __name__ == "__main__":
    _main(*sys.argv[1:])
