"""Scores from the state database. The only package that knows DuckDB, ADBC and Ibis's dialects; they load on first use."""

from sync.engine.engine import ScoreEngine
from sync.engine.scored import Scored

__all__ = ["ScoreEngine", "Scored"]
