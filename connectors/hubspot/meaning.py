"""The mapping of one connection, parsed: which properties to ask for, and what they mean."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from connectors.fields import OUTPUT_FIELDS, OutputField
from connectors.mapping import KindTable, Usage, load_mapping, parse_fields, parse_table
from core.errors import InvalidMapping

ENGAGEMENTS = ("calls", "meetings", "emails", "notes")
SOURCES = ("email_events", "forms", "lists", "marketing_events", "web_events")
_FORM = 1
"""Raise it when what is asked of HubSpot, or what facts it becomes, changes: every portal is then read anew."""

_MAIL_KINDS = frozenset({"email_open", "email_click"})
_DEAL_PARTS = ("name", "amount", "currency", "loss_reason", "link")
_CONSENT_PARTS = ("email_opt_out", "do_not_call", "bounced", "legal_basis")

ENGAGEMENT_PROPERTIES: Mapping[str, tuple[str, ...]] = {
    "calls": ("hs_call_title", "hs_call_direction", "hs_call_duration"),
    "meetings": ("hs_meeting_title", "hs_meeting_start_time", "hs_meeting_end_time"),
    "emails": ("hs_email_direction",),
    "notes": (),
}
"""What is read of an engagement beside its stamps and whatever its table looks at. Never bodies."""

OWN_PROPERTIES: Mapping[str, OutputField] = {f"mikomi_{name}": field for name, field in OUTPUT_FIELDS.items()}
"""Our properties on contacts, by HubSpot's name for them."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """Canonical names to property names, and tables for what each activity source means here.

    Attributes:
        explicit: (`contact` or `company`, canonical field) that the settings map themselves.
        tables: by stream name; only kinds in use are left, and streams without any are not read.
        digests: per stream, changes with its part of the mapping; cursors carry it, so that a changed mapping reads anew.
    """

    contact: Mapping[str, tuple[str, ...]]
    more_emails: tuple[str, ...]
    consent: Mapping[str, tuple[str, ...]]
    links: Mapping[str, str]
    company: Mapping[str, tuple[str, ...]]
    parent: str | None
    deal: Mapping[str, str]
    tables: Mapping[str, KindTable]
    list_url: re.Pattern[str]
    explicit: frozenset[tuple[str, str]]
    history: frozenset[str]
    kinds: frozenset[str]
    digests: Mapping[str, str]

    @property
    def contact_properties(self) -> tuple[str, ...]:
        """All that is asked of a contact, each once."""
        names = [name for sources in self.contact.values() for name in sources]
        names += [*self.more_emails, *(n for sources in self.consent.values() for n in sources), *self.links.values()]
        names += ["hubspot_owner_id", "associatedcompanyid", "hs_merged_object_ids", "createdate", "lastmodifieddate"]
        return tuple(dict.fromkeys([*names, *OWN_PROPERTIES]))

    @property
    def company_properties(self) -> tuple[str, ...]:
        names = [name for sources in self.company.values() for name in sources]
        names += ["hubspot_owner_id", "hs_merged_object_ids", "createdate", "hs_lastmodifieddate"]
        return tuple(dict.fromkeys([*names, *([self.parent] if self.parent else [])]))

    @property
    def deal_properties(self) -> tuple[str, ...]:
        fixed = ("dealstage", "pipeline", "closedate", "hs_is_closed", "hs_is_closed_won", "hubspot_owner_id")
        stamps = ("createdate", "hs_lastmodifieddate", "hs_merged_object_ids")
        return tuple(dict.fromkeys([*self.deal.values(), *fixed, *stamps]))

    def engagement_properties(self, stream: str) -> tuple[str, ...]:
        names = ["hs_timestamp", "hs_createdate", "hs_lastmodifieddate", *ENGAGEMENT_PROPERTIES[stream]]
        return tuple(dict.fromkeys([*names, *self.tables[stream].properties]))

    def history_properties(self) -> tuple[str, ...]:
        """Contact properties whose past values are read."""
        return tuple(dict.fromkeys(self.contact[name][0] for name in sorted(self.history) if name in self.contact))


def read_meaning(overrides: Mapping[str, Any], usage: Usage, *, connection: str) -> Meaning:
    """The shipped mapping with the settings' one over it, restricted to what is used.

    Raises:
        InvalidMapping: unknown canonical names, kinds or keys, or values of the wrong form.
    """
    place = f"{connection}: mapping"
    raw = load_mapping("connectors.hubspot", overrides)
    known = {"contact", "company", "deal", "activities", "list_url"}
    _refuse_unknown(raw, known, place)
    contact, company = _section(raw, "contact", place), _section(raw, "company", place)
    deal, activities = _section(raw, "deal", place), _section(raw, "activities", place)
    _refuse_unknown(contact, {"fields", "more_emails", "consent", "links"}, f"{place}.contact")
    _refuse_unknown(company, {"fields", "parent"}, f"{place}.company")
    _refuse_unknown(deal, set(_DEAL_PARTS), f"{place}.deal")
    _refuse_unknown(activities, {*ENGAGEMENTS, *SOURCES}, f"{place}.activities")
    consent, links = _section(contact, "consent", f"{place}.contact"), _section(contact, "links", f"{place}.contact")
    _refuse_unknown(consent, set(_CONSENT_PARTS), f"{place}.contact.consent")
    _refuse_unknown(links, {"lead", "contact"}, f"{place}.contact.links")
    return Meaning(
        contact=parse_fields(_section(contact, "fields", f"{place}.contact"), place=f"{place}.contact"),
        more_emails=_names(contact.get("more_emails"), f"{place}.contact.more_emails"),
        consent={key: _names(consent.get(key), f"{place}.contact.consent.{key}") for key in _CONSENT_PARTS},
        links={
            key: name for key in ("lead", "contact") for name in _names(links.get(key), f"{place}.contact.links")[:1]
        },
        company=parse_fields(_section(company, "fields", f"{place}.company"), place=f"{place}.company"),
        parent=next(iter(_names(company.get("parent"), f"{place}.company.parent")), None),
        deal={key: name for key in _DEAL_PARTS for name in _names(deal.get(key), f"{place}.deal.{key}")[:1]},
        tables=_used_tables(activities, usage, f"{place}.activities"),
        list_url=_pattern(raw.get("list_url"), f"{place}.list_url"),
        explicit=_explicit(overrides),
        history=usage.history,
        kinds=usage.kinds,
        digests=_digests(raw, usage),
    )


def _used_tables(activities: Mapping[str, Any], usage: Usage, place: str) -> dict[str, KindTable]:
    tables = {}
    for name in (*ENGAGEMENTS, *SOURCES):
        table = parse_table(activities.get(name), place=f"{place}.{name}")
        if usage.any_of(table.kinds):
            tables[name] = table
    return tables


def _explicit(overrides: Mapping[str, Any]) -> frozenset[tuple[str, str]]:
    found = set()
    for part in ("contact", "company"):
        section = overrides.get(part)
        fields = section.get("fields") if isinstance(section, Mapping) else None
        if isinstance(fields, Mapping):
            found |= {(part, str(name)) for name in fields}
    return frozenset(found)


def _digests(raw: Mapping[str, Any], usage: Usage) -> dict[str, str]:
    activities = raw.get("activities") or {}
    parts: dict[str, object] = {name: activities.get(name) for name in (*ENGAGEMENTS, *SOURCES)}
    parts["lists"] = [parts["lists"], raw.get("list_url")]
    parts["email_events"] = [parts["email_events"], sorted(usage.kinds & _MAIL_KINDS)]
    parts |= {
        "contacts": [raw.get("contact"), sorted(usage.history)],
        "companies": raw.get("company"),
        "deals": raw.get("deal"),
    }
    return {name: _digest(part) for name, part in parts.items()}


def _digest(part: object) -> str:
    text = json.dumps([_FORM, part], sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _section(raw: Mapping[str, Any], key: str, place: str) -> Mapping[str, Any]:
    value = raw.get(key)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidMapping("give a mapping of names", place=f"{place}.{key}")
    return value


def _refuse_unknown(raw: Mapping[str, Any], known: set[str], place: str) -> None:
    if unknown := sorted(set(raw) - known):
        raise InvalidMapping(f"unknown key {unknown[0]!r}", place=place, hint=f"known are {', '.join(sorted(known))}")


def _names(value: object, place: str) -> tuple[str, ...]:
    if value is None:
        return ()
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(n, str) and n for n in names):
        raise InvalidMapping("give a property name or a list of them", place=place)
    return tuple(names)


def _pattern(value: object, place: str) -> re.Pattern[str]:
    try:
        return re.compile(str(value) if value else "(?!)", re.IGNORECASE)
    except re.error as error:
        raise InvalidMapping(f"not a regular expression: {error}", place=place) from error


def without_missing(
    meaning: Meaning, contact: Mapping[str, tuple[str, ...]], company: Mapping[str, tuple[str, ...]]
) -> Meaning:
    """The same mapping with only the sources that this portal has."""
    return replace(meaning, contact=contact, company=company)
