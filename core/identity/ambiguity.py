"""Ambiguities in words, for the list that a person works through."""

from core.identity.model import Ambiguity, AmbiguityReason

_SENTENCES: dict[AmbiguityReason, tuple[str, str]] = {
    "role_mailbox": (
        "{detail} は部署などの共有アドレスのため、同一人物とはみなしていません",
        "{detail} is a role mailbox, so records that share it are not taken for one person",
    ),
    "shared_mailbox": (
        "{detail} は複数の人が使っているため({names})、同一人物とはみなしていません",
        "{detail} is used by several people ({names}), so records that share it are not taken for one person",
    ),
    "family_name": (
        "{detail} が同じですが、姓が異なります({names})",
        "Same address {detail}, but different family names ({names})",
    ),
    "links_contradict": (
        "{detail} が同じですが、CRM間の連携では別々のレコードに紐づいています",
        "Same address {detail}, but the native sync links them to different records",
    ),
    "between": (
        "{detail} が同じですが、互いに別人とみられる複数のレコードに当てはまるため、どれと同じ人か決められません",
        "Same address {detail}, but this fits several records that are different people, so it is left open which it is",
    ),
    "suggestion": (
        "氏名と会社名が同じです({detail})。同一人物であれば、CRMで統合するかメールアドレスを揃えてください",
        "Same name and company ({detail}). If this is one person, merge the records in the CRM or give them one address",
    ),
}


def describe(ambiguity: Ambiguity, language: str) -> str:
    """Why these records stay apart, in one sentence, `ja` or `en`. Contains the shared address and family names."""
    sentence = _SENTENCES[ambiguity.reason][0 if language == "ja" else 1]
    names = ("・" if language == "ja" else ", ").join(ambiguity.names)
    return sentence.format(detail=ambiguity.detail, names=names)
