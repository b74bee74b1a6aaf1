"""Lines and reasons as values: what a score is made of, and the few lines a rep is shown."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from core.records import Day

LineKind = Literal["rule", "cap", "floor", "rounding", "clamp", "withheld"]

REASONS = 3
SMALLEST_REASON = 500
"""Milli-points: less than this rounds to no point at all, and is no reason to call anybody."""

LONG_AGO = 300
"""Days after which a date is shown with its year."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a score.

    Attributes:
        rule_id: empty for rounding and clamp.
        dimension: empty for the clamp of the total.
        kind: `rule` (what a rule gave), `cap` and `floor` (what its bounds took), `rounding` and `clamp` (of a
            dimension or the total), `withheld` (not part of the score).
        milli: milli-points; all kinds but `withheld` sum to 1000 x total.
        newest_day: local day of the newest fact that earned, where the rule has one.
        count: activities that earned, 0 for other rules.
        machine: withheld because a machine probably did it (else because the other CRM shows the same fact).
    """

    rule_id: str
    dimension: str
    kind: LineKind
    milli: int
    newest_day: Day | None = None
    count: int = 0
    machine: bool = False


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason for a score, as the state keeps it; put into words when it is written.

    Attributes:
        milli: the rule's milli-points after its cap and floor.
        with_year: the day lies so far back that a date needs its year.
        withheld: points held back, not given.
    """

    rule_id: str
    milli: int
    newest_day: Day | None = None
    count: int = 0
    with_year: bool = False
    withheld: bool = False
    machine: bool = False


def net_points(lines: Iterable[Line]) -> dict[str, int]:
    """Milli-points by rule after cap and floor, in the order of the lines."""
    net: dict[str, int] = {}
    for line in lines:
        if line.kind in ("rule", "cap", "floor"):
            net[line.rule_id] = net.get(line.rule_id, 0) + line.milli
    return net


def choose_reasons(lines: Sequence[Line], today: Day) -> tuple[Reason, ...]:
    """The three strongest rules, gains and deductions alike; withheld points only where fewer rules speak.

    Equal strength: the newer one first, then the rule's id, so that the choice never depends on row order.
    """
    net = net_points(lines)
    given = [
        Reason(line.rule_id, net[line.rule_id], line.newest_day, line.count, _is_old(line.newest_day, today))
        for line in lines
        if line.kind == "rule" and abs(net[line.rule_id]) >= SMALLEST_REASON
    ]
    held = [
        Reason(line.rule_id, line.milli, withheld=True, machine=line.machine)
        for line in lines
        if line.kind == "withheld" and abs(line.milli) >= SMALLEST_REASON
    ]
    return tuple((sorted(given, key=_strength) + sorted(held, key=_strength))[:REASONS])


def _strength(reason: Reason) -> tuple[int, int, str]:
    return (-abs(reason.milli), -(reason.newest_day or 0), reason.rule_id)


def _is_old(day: Day | None, today: Day) -> bool:
    return day is not None and today - day >= LONG_AGO


def reason_key(lines: Iterable[Line]) -> str:
    """32 hex digits of the set of (rule, day of its newest activity): never of points or order."""
    pairs = sorted(
        {(line.rule_id, -1 if line.newest_day is None else line.newest_day) for line in lines if line.kind == "rule"}
    )
    return hashlib.sha256(json.dumps(pairs, separators=(",", ":")).encode()).hexdigest()[:32]


def as_stored(reason: Reason) -> dict[str, Any]:
    """A reason as a small JSON document; defaults are left out."""
    defaults = asdict(Reason(reason.rule_id, reason.milli))
    document = asdict(reason)
    return {name: value for name, value in document.items() if name in ("rule_id", "milli") or value != defaults[name]}


def from_stored(document: Mapping[str, Any]) -> Reason:
    """The reason that `as_stored` wrote."""
    return Reason(**document)
