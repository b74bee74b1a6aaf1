"""Digests of a rulebook: one of what changes numbers, one of everything."""

import hashlib
import json
from decimal import Decimal

from core.rulebook.model import Rulebook

_WORDS = {"label", "caution", "freshness"}
_NOT_NUMBERS = {"name", "description", "handover", "surge"}


def scoring_digest(rulebook: Rulebook) -> str:
    """16 hex digits of everything that can change a number or a band.

    Labels, cautions, promises, the name, the hand-over and the order of keys leave it alone: a new wording is not a
    new model.
    """
    document = rulebook.model_dump(mode="python", exclude_none=True, by_alias=True)
    numbers = {key: value for key, value in document.items() if key not in _NOT_NUMBERS}
    numbers["rules"] = [{k: v for k, v in rule.items() if k not in _WORDS} for rule in document["rules"]]
    return _digest(numbers)


def text_digest(rulebook: Rulebook) -> str:
    """16 hex digits of the whole rulebook, wording included."""
    return _digest(rulebook.model_dump(mode="python", exclude_none=True, by_alias=True))


def _digest(document: object) -> str:
    text = json.dumps(document, sort_keys=True, ensure_ascii=True, separators=(",", ":"), default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(value: object) -> str:
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    raise TypeError(f"{type(value).__name__} has no canonical form")
