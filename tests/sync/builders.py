"""Facts with only the fields a test is about."""

from typing import Any

from core.records import DAY_MS, Account, Activity, ActivityRow, Consent, Deal, Record, RecordRef

NOW = 20_000 * DAY_MS


def ref(kind: str, id: str, system: str = "salesforce") -> RecordRef:
    return RecordRef(system, kind, id)


def a_record(
    id: str, *, system: str = "salesforce", kind: str = "contact", email: str | None = None, **more: Any
) -> Record:
    fields = {"last_name": "佐藤", "title": "部長", "company": "アクメ精機株式会社", **more.pop("fields", {})}
    emails = more.pop("emails", (email,) if email else ())
    if emails:
        fields["email"] = emails[0]
    defaults: dict[str, Any] = {"created_at": NOW - 90 * DAY_MS, "modified_at": NOW, "consent": Consent()}
    return Record(RecordRef(system, kind, id), fields, emails=tuple(emails), **(defaults | more))


def an_account(id: str, name: str, *, system: str = "salesforce", **fields: Any) -> Account:
    return Account(RecordRef(system, "account", id), {"company": name, **fields}, NOW)


def an_activity(
    id: str,
    kind: str,
    about: RecordRef | str,
    *,
    days_ago: int = 1,
    object: str = "Task",
    system: str = "salesforce",
    **more: Any,
) -> ActivityRow:
    """One CRM row with one activity, about a record or an address."""
    at = NOW - days_ago * DAY_MS
    who: dict[str, Any] = {"email": about} if isinstance(about, str) else {"record": about}
    source = RecordRef(system, object, id)
    values = {"occurred_at": at, "known_at": at, "day": at // DAY_MS, **more}
    return ActivityRow(source, (Activity(source, kind, **values, **who),))


def a_deal(id: str, *, system: str = "salesforce", **more: Any) -> Deal:
    defaults: dict[str, Any] = {
        "created_at": NOW - 30 * DAY_MS,
        "modified_at": NOW,
        "stage": "Prospecting",
        "is_closed": False,
        "is_won": False,
    }
    return Deal(RecordRef(system, "deal", id), **(defaults | more))
