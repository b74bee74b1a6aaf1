"""The fields that Mikomi owns in a CRM: one table, from which each vendor derives its own names. Names are for ever."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

FieldType = Literal["integer", "text", "long_text", "picklist", "date", "datetime"]


@dataclass(frozen=True, slots=True)
class Option:
    value: str
    ja: str
    en: str


@dataclass(frozen=True, slots=True)
class OutputField:
    """One field on person records. `by_rep`: the rep writes it and we only read it; `minimal`: one of the six."""

    name: str
    type: FieldType
    ja: str
    en: str
    length: int = 0
    options: tuple[Option, ...] = ()
    by_rep: bool = False
    minimal: bool = False


def _options(table: str) -> tuple[Option, ...]:
    rows = (line.strip().split("|") for line in table.strip().splitlines())
    return tuple(Option(value, ja, en) for value, ja, en in rows)


_BANDS = _options("A|A|A\nB|B|B\nC|C|C\nD|D|D")
_TRENDS = _options("rising|上昇|Rising\nflat|横ばい|Flat\nfalling|下降|Falling\nunknown|データ不足|Not enough data")
_STEPS = _options("call|架電|Call\nnurture|育成|Nurture\nwait|待機|Wait\nleave|対応不要|Leave")
_STATES = _options(
    """offered|引き渡し済み|Offered
    accepted|受領|Accepted
    rejected|差し戻し|Rejected
    overdue|期限超過|Overdue
    nurture|育成|Nurture
    opportunity|商談化|Opportunity
    won|受注|Won
    lost|失注|Lost
    customer|既存顧客|Customer
    excluded|対象外|Excluded"""
)
_RESPONSES = _options("accepted|受領|Accepted\nrejected|差し戻し|Rejected")
_REJECTIONS = _options(
    """too_early|時期尚早|Too early
    unreachable|連絡がつかない|Unreachable
    insufficient_information|情報不足|Insufficient information
    wrong_person|担当者違い|Wrong person
    competitor|競合|Competitor
    student|学生|Student
    other|その他|Other"""
)
_FEEDBACK = _options("useful|役に立った|Useful\nnot_useful|役に立たなかった|Not useful")

OUTPUT_FIELDS: Mapping[str, OutputField] = {
    f.name: f
    for f in (
        OutputField("score", "integer", "見込み度", "Score", minimal=True),
        OutputField("fit", "integer", "属性スコア", "Fit"),
        OutputField("engagement", "integer", "行動スコア", "Engagement"),
        OutputField("relationship", "integer", "関係性スコア", "Relationship"),
        OutputField("priority", "integer", "優先度", "Priority"),
        OutputField("withheld", "integer", "保留ポイント", "Points withheld"),
        OutputField("handover_no", "integer", "引き渡し回数", "Hand-over number"),
        OutputField("score_version", "integer", "スコアのバージョン", "Score version"),
        OutputField("band", "picklist", "ランク", "Band", options=_BANDS, minimal=True),
        OutputField("trend", "picklist", "スコア推移", "Trend", options=_TRENDS),
        OutputField("reasons", "long_text", "スコアの理由", "Reasons", length=2000, minimal=True),
        OutputField("next_step", "picklist", "次の一手", "Next step", options=_STEPS, minimal=True),
        OutputField("next_action", "text", "次のアクション", "Next action", length=255),
        OutputField("next_due", "date", "次のアクション期日", "Next due"),
        OutputField("last_human_contact", "datetime", "最終反応・接触日時", "Last human activity"),
        OutputField("handover_state", "picklist", "引き渡し状況", "Hand-over state", options=_STATES, minimal=True),
        OutputField("handed_over_at", "datetime", "引き渡し日時", "Handed over at"),
        OutputField("rulebook", "text", "ルールブック", "Rulebook", length=80),
        OutputField("scored_at", "datetime", "スコア算出日時", "Scored at"),
        OutputField("response", "picklist", "営業の回答", "Response", options=_RESPONSES, by_rep=True, minimal=True),
        OutputField("reject_reason", "picklist", "差し戻し理由", "Reject reason", options=_REJECTIONS, by_rep=True),
        OutputField("recontact_on", "date", "再アプローチ日", "Recontact on", by_rep=True),
        OutputField("feedback", "picklist", "フィードバック", "Feedback", options=_FEEDBACK, by_rep=True),
        OutputField("feedback_note", "text", "フィードバックメモ", "Feedback note", length=255, by_rep=True),
    )
}
"""Canonical name to definition, in the order in which `setup` creates them."""

TASK_KEY = OutputField("key", "text", "Mikomiキー", "Mikomi key", length=64)
"""The unique field on tasks: at most one task per hand-over."""
