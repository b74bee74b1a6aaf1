"""What scoring a person yields."""

from dataclasses import dataclass

from core.records import Millis
from core.scoring import Line, Reason


@dataclass(frozen=True, slots=True)
class Scored:
    """One person's score at one moment.

    Attributes:
        priority: the sum of the dimensions before the clamp to 0-100; `total` is after it. Whole points, like fit,
            engagement, relationship and withheld.
        missing: attribute rules that could not be decided.
        trend: rising, flat, falling or unknown, against seven days before.
        reason_key: changes only when a rule begins, ends, or gets a newer activity.
        lines: every line, summing exactly to the total; None where a full pass found nothing changed and kept the
            stored reasons.
    """

    person_id: int
    as_of: Millis
    total: int
    priority: int
    fit: int
    engagement: int
    relationship: int
    withheld: int
    missing: int
    band: str
    trend: str
    last_human_at: Millis | None
    reason_key: str
    reasons: tuple[Reason, ...]
    lines: tuple[Line, ...] | None
