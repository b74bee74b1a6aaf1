"""The CRM object types: their names in paths, type ids, system properties and defaults."""

from dataclasses import dataclass

from sandbox.hubspot.errors import unknown_type


@dataclass(frozen=True, slots=True)
class ObjectType:
    """`first_id`: types start apart, so that an id used with the wrong type finds nothing."""

    name: str
    singular: str
    type_id: str
    first_id: int
    created: str
    modified: str
    defaults: tuple[str, ...]
    history_cap: int = 45
    required: tuple[str, ...] = ()
    searchable: tuple[str, ...] = ()
    engagement: bool = False

    @property
    def number(self) -> int:
        return int(self.type_id.removeprefix("0-"))

    @property
    def legacy(self) -> str:
        return self.singular.upper()


def _engagement(name: str, singular: str, type_id: str, first_id: int, *searchable: str) -> ObjectType:
    return ObjectType(
        name,
        singular,
        type_id,
        first_id,
        "hs_createdate",
        "hs_lastmodifieddate",
        ("hs_createdate", "hs_lastmodifieddate", "hs_object_id"),
        required=("hs_timestamp",),
        searchable=searchable,
        engagement=True,
    )


CONTACTS = ObjectType(
    "contacts",
    "contact",
    "0-1",
    1_001,
    "createdate",
    "lastmodifieddate",
    ("createdate", "email", "firstname", "hs_object_id", "lastmodifieddate", "lastname"),
    history_cap=20,
    searchable=("firstname", "lastname", "email", "phone", "company", "hs_additional_emails"),
)
COMPANIES = ObjectType(
    "companies",
    "company",
    "0-2",
    20_000_001,
    "createdate",
    "hs_lastmodifieddate",
    ("createdate", "domain", "hs_lastmodifieddate", "hs_object_id", "name"),
    searchable=("name", "domain", "website", "phone"),
)
DEALS = ObjectType(
    "deals",
    "deal",
    "0-3",
    300_000_001,
    "createdate",
    "hs_lastmodifieddate",
    ("amount", "closedate", "createdate", "dealname", "dealstage", "hs_lastmodifieddate", "hs_object_id", "pipeline"),
    searchable=("dealname", "description"),
)
TASKS = _engagement("tasks", "task", "0-27", 27_000_000_001, "hs_task_subject", "hs_task_body")
NOTES = _engagement("notes", "note", "0-46", 46_000_000_001, "hs_note_body")
MEETINGS = _engagement("meetings", "meeting", "0-47", 47_000_000_001, "hs_meeting_title", "hs_meeting_body")
CALLS = _engagement("calls", "call", "0-48", 48_000_000_001, "hs_call_title", "hs_call_body")
EMAILS = _engagement("emails", "email", "0-49", 49_000_000_001, "hs_email_subject")

TYPES = (CONTACTS, COMPANIES, DEALS, TASKS, NOTES, MEETINGS, CALLS, EMAILS)
_BY_NAME = {name: kind for kind in TYPES for name in (kind.name, kind.singular, kind.type_id)}
BY_NUMBER = {kind.number: kind for kind in TYPES}


def resolve(name: str) -> ObjectType:
    """The type that a path segment names: plural, singular or type id, in any case."""
    kind = _BY_NAME.get(name.lower())
    if kind is None:
        raise unknown_type(name)
    return kind
