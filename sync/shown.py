"""Numbers that a CRM shows in our fields. Anybody can write there: what we cannot have written says nothing."""

from collections.abc import Mapping
from typing import Any

LARGEST = 1_000_000
"""No hand-over number and no version of a score comes near it."""


def shown_number(written: Mapping[str, Any], name: str) -> int:
    """The number of ours that a record shows; 0 where there is none."""
    value = written.get(name)
    return value if isinstance(value, int) and 0 <= value <= LARGEST else 0
