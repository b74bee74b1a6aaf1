"""One row per person out of several records: which value wins (SETTLED 14)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date

from core.companies import mail_domain, web_domain
from core.identity.model import Attributes
from core.records import COMPANY_FIELDS, DAY_MS, FIELD_TYPES, Account, Day, Record, RecordRef, Value, to_day
from core.titles import title_rank

ATTRIBUTE_ORDER: tuple[tuple[str, str], ...] = (
    ("salesforce", "contact"),
    ("salesforce", "lead"),
    ("hubspot", "contact"),
)
"""(vendor or connection, kind): whose values count first. Kinds that are not listed come after all that are."""

_DERIVED = frozenset({"title_rank", "domain"})
_DAY_LIMIT: Day = 200_000  # larger numbers are milliseconds: day 200,000 is in the year 2517


def attributes(
    records: Iterable[Record],
    accounts: Mapping[RecordRef, Account],
    *,
    order: Sequence[tuple[str, str]] = ATTRIBUTE_ORDER,
    vendors: Mapping[str, str] | None = None,
) -> Attributes:
    """The canonical row of one person.

    Each field takes the first value that is not empty: live records before those merged away or converted; in `order`;
    then newest modified; then lowest id. Company fields are looked for on the records' accounts first, in the same order.
    The order of `records` does not matter. A person without records is a mistake: `ValueError`.

    Args:
        records: all records of one person.
        accounts: by reference; those that `records` name, as far as known.
        order: see `ATTRIBUTE_ORDER`.
        vendors: connection name to vendor, where connections are not named like their vendor.
    """
    ranked = sorted(records, key=_rank(order, vendors or {}))
    if not ranked:
        raise ValueError("a person has at least one record")
    values: dict[str, Value] = {}
    sources: dict[str, RecordRef] = {}
    employers = [accounts[record.account] for record in ranked if record.account and record.account in accounts]
    for name in FIELD_TYPES:
        if name in _DERIVED:
            continue
        places: list[Account | Record] = [*(employers if name in COMPANY_FIELDS else ()), *ranked]
        for place in places:
            value = _value(place, name)
            if value is not None:
                values[name], sources[name] = value, place.ref
                break
    _derive(values, sources, ranked)
    return Attributes(
        values=values,
        sources=sources,
        created_at=min(record.created_at for record in ranked),
        opted_out=any(record.consent.email_opt_out or record.consent.do_not_call for record in ranked),
        recontact_on=next(
            (day for record in ranked if (day := _day(record.answers.get("recontact_on"))) is not None), None
        ),
        company=next((account.ref for account in employers), None) or _company_record(ranked),
    )


def _rank(
    order: Sequence[tuple[str, str]], vendors: Mapping[str, str]
) -> Callable[[Record], tuple[bool, int, int, RecordRef]]:
    def rank(record: Record) -> tuple[bool, int, int, RecordRef]:
        names = {record.ref.system, vendors.get(record.ref.system, record.ref.system)}
        place = next(
            (i for i, (system, kind) in enumerate(order) if system in names and kind == record.ref.kind), len(order)
        )
        return (record.successor is not None, place, -record.modified_at, record.ref)

    return rank


def _value(place: Account | Record, name: str) -> Value:
    value = place.fields.get(name)
    if name == "email" and value is None and isinstance(place, Record) and place.emails:
        value = place.emails[0]
    if isinstance(value, str):
        value = value.strip() or None
    return value


def _derive(values: dict[str, Value], sources: dict[str, RecordRef], ranked: Sequence[Record]) -> None:
    rank = title_rank(_text(values.get("title")))
    if rank:
        values["title_rank"], sources["title_rank"] = rank, sources["title"]
    for record in ranked:
        for email in (_text(record.fields.get("email")), *record.emails):
            domain = mail_domain(email)
            if domain:
                values["domain"], sources["domain"] = domain, record.ref
                return
    domain = web_domain(_text(values.get("website")))
    if domain:
        values["domain"], sources["domain"] = domain, sources["website"]


def _company_record(ranked: Sequence[Record]) -> RecordRef | None:
    for record in ranked:
        known = any(_value(record, name) for name in ("company", "corporate_number", "website"))
        if known or any(mail_domain(email) for email in record.emails):
            return record.ref
    return None


def _text(value: Value) -> str | None:
    return value if isinstance(value, str) else None


def _day(value: Value) -> Day | None:
    """A date as text (`2026-11-30`, with or without a time), a day, or milliseconds at UTC midnight; else None."""
    if isinstance(value, str):
        try:
            return to_day(date.fromisoformat(value.strip()[:10]))
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if value < _DAY_LIMIT else value // DAY_MS
