"""The rule language: one YAML file that two departments can read, checked to the line.

rulebook = load_rulebook(text, source="rulebook.yaml")   # InvalidRulebook lists every mistake
scoring_digest(rulebook)                                 # what changes numbers; stored with every score
"""

from core.rulebook.digest import scoring_digest, text_digest
from core.rulebook.load import check_timezone, load_rulebook
from core.rulebook.model import (
    AccountRule,
    ActivityRule,
    AnyRule,
    AttributeRule,
    Band,
    Bands,
    Count,
    DealRule,
    Drain,
    Handover,
    InactiveRule,
    Rulebook,
    Surge,
    freshness,
)
from core.rulebook.needs import fields_needed, kinds_needed
from core.rulebook.templates import ADVISED, template_text, templates
from core.rulebook.values import BANDS, DIMENSIONS, BandName, DimensionName, Language, Texts, milli

__all__ = [
    "ADVISED",
    "BANDS",
    "DIMENSIONS",
    "AccountRule",
    "ActivityRule",
    "AnyRule",
    "AttributeRule",
    "Band",
    "BandName",
    "Bands",
    "Count",
    "DealRule",
    "DimensionName",
    "Drain",
    "Handover",
    "InactiveRule",
    "Language",
    "Rulebook",
    "Surge",
    "Texts",
    "check_timezone",
    "fields_needed",
    "freshness",
    "kinds_needed",
    "load_rulebook",
    "milli",
    "scoring_digest",
    "template_text",
    "templates",
    "text_digest",
]
