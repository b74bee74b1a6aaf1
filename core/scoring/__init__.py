"""Scores: a rulebook compiled to Ibis expressions, and its lines in words. Pure.

    plan = compile_rulebook(rulebook)          # expressions over the tables of core.scoring.facts, and their numbers
    reasons = choose_reasons(lines, today)     # what the state keeps
    reason_texts(reasons, rulebook, "ja")      # what the rep reads
    explain(lines, rulebook, "ja")             # every line, summing exactly to the score

Importing this does not import Ibis: only compiling does.
"""

from typing import TYPE_CHECKING

from core.rulebook import Rulebook
from core.scoring.lines import Line, Reason, as_stored, choose_reasons, from_stored, net_points, reason_key
from core.scoring.wording import ExplainRow, Explanation, dimension_name, exact_points, explain, reason_texts

if TYPE_CHECKING:
    from core.scoring.plan import ScoringPlan

__all__ = [
    "ExplainRow",
    "Explanation",
    "Line",
    "Reason",
    "as_stored",
    "choose_reasons",
    "compile_rulebook",
    "dimension_name",
    "exact_points",
    "explain",
    "from_stored",
    "net_points",
    "reason_key",
    "reason_texts",
]


def compile_rulebook(rulebook: Rulebook) -> "ScoringPlan":
    """Ibis expressions for totals, lines and trends, with the number tables they read. See `core.scoring.plan`."""
    from core.scoring.plan import compile_rulebook as build

    return build(rulebook)
