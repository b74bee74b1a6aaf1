"""Reasons and explanations in words, ja and en. Plain and kind: dates without times, facts without blame."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from core.records import Day, to_date
from core.rulebook import DIMENSIONS, DealRule, InactiveRule, Language, Rulebook
from core.scoring.lines import Line, LineKind, Reason

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_DIMENSION_NAMES = {
    "ja": {"fit": "属性スコア", "engagement": "行動スコア", "relationship": "関係性スコア", "": "見込み度"},
    "en": {"fit": "Fit", "engagement": "Engagement", "relationship": "Relationship", "": "Score"},
}


def dimension_name(name: str, language: Language) -> str:
    """`fit`, `engagement` or `relationship` as people call it."""
    return _DIMENSION_NAMES[language][name]


_KIND_NAMES = {
    "ja": {
        "cap": "上限による調整",
        "floor": "下限による調整",
        "rounding": "端数の四捨五入",
        "clamp": "上限・下限による調整",
    },
    "en": {"cap": "held at its cap", "floor": "held at its floor", "rounding": "rounded", "clamp": "held at the limit"},
}
_HELD = {"ja": "0〜100点に収める調整", "en": "held within 0 to 100"}
_WITHHELD = {
    ("ja", True): "自動アクセスの可能性",
    ("ja", False): "もう一方のCRMと重複",
    ("en", True): "probably automatic",
    ("en", False): "the other CRM shows the same",
}


def reason_texts(reasons: Sequence[Reason], rulebook: Rulebook, language: Language) -> tuple[str, ...]:
    """One line of text per reason, such as `11/22 料金ページの閲覧 +14点` or `Nov 22 Pricing page viewed +14`.

    A rule that the rulebook no longer has is shown by its id.
    """
    return tuple(_reason_text(reason, rulebook, language) for reason in reasons)


def _reason_text(reason: Reason, rulebook: Rulebook, language: Language) -> str:
    rule = rulebook.rule(reason.rule_id)
    label = rule.label.text(language) if rule is not None else reason.rule_id
    points = whole_points(reason.milli, language)
    if reason.withheld:
        why = _WITHHELD[language, reason.machine]
        held = points.lstrip("+")
        return f"{label} {held}は保留({why})" if language == "ja" else f"{label}: {held} held back ({why})"
    if isinstance(rule, InactiveRule):
        return f"しばらく動きなし({label}) {points}" if language == "ja" else f"Quiet for a while ({label}) {points}"
    times = ""
    if reason.count > 1:
        times = f"({reason.count}回)" if language == "ja" else f" ({reason.count}x)"
    if reason.newest_day is None:
        return f"{label}{times} {points}"
    day = day_text(reason.newest_day, language, with_year=reason.with_year or isinstance(rule, DealRule))
    return f"{day} {label}{times} {points}"


def day_text(day: Day, language: Language, *, with_year: bool = False) -> str:
    """`11/22`, `2024/11/22`, `Nov 22`, `Nov 22, 2024`."""
    date = to_date(day)
    if language == "ja":
        return f"{date.year}/{date.month}/{date.day}" if with_year else f"{date.month}/{date.day}"
    short = f"{_MONTHS[date.month - 1]} {date.day}"
    return f"{short}, {date.year}" if with_year else short


def whole_points(milli: int, language: Language) -> str:
    """Signed points, rounded half up: `+14点`, `-10`."""
    points = (milli + 500) // 1000
    return f"{points:+d}点" if language == "ja" else f"{points:+d}"


def exact_points(milli: int) -> str:
    """Signed points with all their decimals and no more: `+14.323`, `-10`, `+0.5`."""
    sign = "-" if milli < 0 else "+"
    whole, rest = divmod(abs(milli), 1000)
    return f"{sign}{whole}.{rest:03d}".rstrip("0") if rest else f"{sign}{whole}"


@dataclass(frozen=True, slots=True)
class ExplainRow:
    """One printable row.

    Attributes:
        kind: a line's kind, or `dimension` (a heading with the dimension's points) or `total`.
        milli: milli-points; of headings and totals the sum of what stands under them.
        text: the label or the name of the adjustment.
        points: `milli` as signed points with decimals.
        note: when and how often, or why withheld.
    """

    kind: LineKind | Literal["dimension", "total"]
    dimension: str
    rule_id: str
    milli: int
    text: str
    points: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """A score line by line.

    Attributes:
        rows: headings and lines in reading order, ending with the total. The lines (all rows but `dimension` and
            `total`) sum exactly to `total_milli`.
        withheld: points that were not given, each with its reason; not part of the sum.
        total_milli: 1000 x the total shown.
    """

    rows: tuple[ExplainRow, ...]
    withheld: tuple[ExplainRow, ...]
    total_milli: int


def explain(lines: Iterable[Line], rulebook: Rulebook, language: Language) -> Explanation:
    """Lines in reading order: each dimension with its rules, caps and rounding, then the total."""
    order = {rule.id: at for at, rule in enumerate(rulebook.rules)}
    kinds: tuple[LineKind, ...] = ("rule", "cap", "floor", "rounding", "clamp", "withheld")

    def place(line: Line) -> tuple[bool, int, str, int]:
        return (not line.rule_id, order.get(line.rule_id, len(order)), line.rule_id, kinds.index(line.kind))

    ordered = sorted(lines, key=place)
    counted = [line for line in ordered if line.kind != "withheld"]
    names = _DIMENSION_NAMES[language]
    rows: list[ExplainRow] = []
    for name in DIMENSIONS:
        part = [line for line in counted if line.dimension == name]
        subtotal = sum(line.milli for line in part)
        rows.append(ExplainRow("dimension", name, "", subtotal, names[name], exact_points(subtotal)))
        rows += [_row(line, rulebook, language) for line in part]
    rows += [_row(line, rulebook, language) for line in counted if not line.dimension]
    total = sum(line.milli for line in counted)
    rows.append(ExplainRow("total", "", "", total, names[""], exact_points(total).removeprefix("+")))
    withheld = tuple(_row(line, rulebook, language) for line in ordered if line.kind == "withheld")
    return Explanation(tuple(rows), withheld, total)


def _row(line: Line, rulebook: Rulebook, language: Language) -> ExplainRow:
    rule = rulebook.rule(line.rule_id)
    label = rule.label.text(language) if rule is not None else line.rule_id
    text, note = label, ""
    if line.kind == "withheld":
        note = f"{'保留' if language == 'ja' else 'held back'}: {_WITHHELD[language, line.machine]}"
    elif line.kind != "rule":
        adjustment = (
            _KIND_NAMES[language][line.kind] if label or line.dimension or line.kind != "clamp" else _HELD[language]
        )
        text = f"{label}: {adjustment}" if label else adjustment
    else:
        notes = []
        if line.newest_day is not None:
            notes.append(day_text(line.newest_day, language, with_year=True))
        if line.count > 1:
            notes.append(f"{line.count}回" if language == "ja" else f"{line.count}x")
        note = "、".join(notes) if language == "ja" else ", ".join(notes)
    return ExplainRow(line.kind, line.dimension, line.rule_id, line.milli, text, exact_points(line.milli), note)
