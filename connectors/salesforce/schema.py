"""What the integration user can see of the org: describes reduced to what decides, and the mapping held against them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from connectors.fields import OUTPUT_FIELDS, TASK_KEY
from connectors.mapping import FieldSources, KindTable, Usage, check_fields, parse_fields, parse_table
from connectors.protocol import Finding
from connectors.salesforce.settings import SalesforceSettings
from connectors.salesforce.soql import checked_name
from core.errors import InvalidMapping
from core.records import COMPANY_FIELDS, FIELD_TYPES, REQUIRED_FIELDS

PERSON_OBJECTS: Mapping[str, str] = {"lead": "Lead", "contact": "Contact"}
KIND_OBJECTS: Mapping[str, str] = {**PERSON_OBJECTS, "account": "Account", "deal": "Opportunity"}
OBJECTS = (
    "User",
    "Group",
    "Account",
    "Lead",
    "Contact",
    "Opportunity",
    "OpportunityContactRole",
    "OpportunityHistory",
    "LeadHistory",
    "CampaignMember",
    "Task",
    "Event",
)
"""Every object that is read, in the order of the streams: owners and accounts before the people who name them."""

CONSENT_FLAGS = ("email_opt_out", "do_not_call", "bounced", "legal_basis")
ACTIVITY_OBJECTS = ("CampaignMember", "Task", "Event")


def api_name(name: str) -> str:
    """Salesforce's name of one of our fields: `handover_no` is `Mikomi_Handover_No__c`."""
    return "Mikomi_" + "_".join(word.capitalize() for word in name.split("_")) + "__c"


OUR_FIELDS: Mapping[str, str] = {name: api_name(name) for name in OUTPUT_FIELDS}
KEY_FIELD = api_name(TASK_KEY.name)


@dataclass(frozen=True, slots=True)
class Column:
    """One field as the integration user sees it."""

    name: str
    type: str
    createable: bool
    updateable: bool
    filterable: bool
    sortable: bool
    groupable: bool
    unique_key: bool  # unique, external id, and usable to look records up
    length: int
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shape:
    """One object as the integration user sees it."""

    name: str
    columns: Mapping[str, Column]
    createable: bool
    updateable: bool

    def has(self, name: str) -> bool:
        return name in self.columns


def shape_of(body: Any) -> Shape:
    """A describe answer, reduced. Raises TypeError for an answer that is none."""
    fields = body.get("fields") if isinstance(body, dict) else None
    if not isinstance(fields, list) or not isinstance(body.get("name"), str):
        raise TypeError("no describe")
    columns = {}
    for item in fields:
        if not isinstance(item, Mapping) or not all(isinstance(item.get(key), str) for key in ("name", "type")):
            raise TypeError("no describe")
        columns[item["name"]] = Column(
            name=item["name"],
            type=item["type"],
            createable=bool(item.get("createable")),
            updateable=bool(item.get("updateable")),
            filterable=bool(item.get("filterable")),
            sortable=bool(item.get("sortable")),
            groupable=bool(item.get("groupable")),
            unique_key=bool(item.get("unique") and item.get("externalId") and item.get("idLookup", True)),
            length=int(item.get("length") or 0),
            values=tuple(v["value"] for v in item.get("picklistValues") or () if v.get("active", True)),
        )
    return Shape(body["name"], columns, bool(body.get("createable")), bool(body.get("updateable")))


@dataclass(frozen=True, slots=True)
class Layout:
    """The mapping as this org can carry it out.

    Attributes:
        shapes: object to what is visible of it; objects that are not are missing.
        fields: `lead`, `contact`, `account` to usable sources.
        tables: activity object to its table.
        consent: person object to consent flag to field.
        ours: person object to canonical names of our own fields that are visible.
        writable: person object to those of them that may be written.
        loss_reason: field of Opportunity, None if there is none.
        history: object kind to history field to canonical field, restricted to what is used.
        findings: what is missing and optional.
    """

    shapes: Mapping[str, Shape]
    fields: Mapping[str, FieldSources]
    tables: Mapping[str, KindTable]
    consent: Mapping[str, Mapping[str, str]]
    ours: Mapping[str, tuple[str, ...]]
    writable: Mapping[str, frozenset[str]]
    loss_reason: str | None
    history: Mapping[str, str]
    findings: tuple[Finding, ...] = ()

    @property
    def person_kinds(self) -> tuple[str, ...]:
        return tuple(kind for kind in PERSON_OBJECTS if kind in self.fields)

    @property
    def task_key(self) -> bool:
        """Tasks carry our unique key, and the integration user may set it."""
        column = self._key_column()
        return bool(column and column.unique_key)

    @property
    def plain_key(self) -> bool:
        """Tasks carry our key, but the org does not keep it unique."""
        column = self._key_column()
        return bool(column and not column.unique_key)

    def _key_column(self) -> Column | None:
        task = self.shapes.get("Task")
        column = task.columns.get(KEY_FIELD) if task is not None and task.createable else None
        return column if column is not None and column.createable else None


@dataclass(slots=True)
class WrittenMapping:
    """The mapping as written: the folder's default with the settings' own over it, parsed but not yet checked."""

    fields: dict[str, dict[str, tuple[str, ...]]]
    tables: dict[str, KindTable]
    consent: dict[str, tuple[str, ...]]
    loss_reason: tuple[str, ...]
    history: dict[str, str]
    explicit: dict[str, frozenset[str]] = field(default_factory=dict)


_SECTIONS = frozenset({"fields", "deal", "history", "consent", "activities"})


def parse_mapping(name: str, raw: Mapping[str, Any], settings: SalesforceSettings) -> WrittenMapping:
    """Raises InvalidMapping for anything that no org could carry out."""
    place = f"connections.{name}.mapping"
    for key in raw:
        if key not in _SECTIONS:
            raise InvalidMapping(
                f"unknown section {key!r}", place=place, hint=f"known are {', '.join(sorted(_SECTIONS))}"
            )
    sections = {key: _need_mapping(raw.get(key), f"{place}.{key}") for key in _SECTIONS}
    own = settings.mapping.get("fields")
    own_fields = own if isinstance(own, Mapping) else {}
    fields, explicit = {}, {}
    for kind in ("lead", "contact", "account"):
        fields[kind] = parse_fields(
            _need_mapping(sections["fields"].get(kind), f"{place}.fields.{kind}"), place=f"{place}.fields.{kind}"
        )
        explicit[kind] = frozenset(_need_mapping(own_fields.get(kind), f"{place}.fields.{kind}"))
        _check_names(fields[kind].values(), f"{place}.fields.{kind}")
    unknown = set(sections["fields"]) - set(fields)
    if unknown:
        raise InvalidMapping(
            f"unknown object {min(unknown)!r}", place=f"{place}.fields", hint="lead, contact or account"
        )
    tables = {}
    for sobject, rows in sections["activities"].items():
        if sobject not in ACTIVITY_OBJECTS:
            raise InvalidMapping(
                f"unknown object {sobject!r}", place=f"{place}.activities", hint=", ".join(ACTIVITY_OBJECTS)
            )
        tables[sobject] = parse_table(rows, place=f"{place}.activities.{sobject}")
        _check_names([tables[sobject].properties], f"{place}.activities.{sobject}")
    for flag in sections["consent"]:
        if flag not in CONSENT_FLAGS:
            raise InvalidMapping(f"unknown flag {flag!r}", place=f"{place}.consent", hint=", ".join(CONSENT_FLAGS))
    consent = {flag: _names(value) for flag, value in sections["consent"].items()}
    _check_names(consent.values(), f"{place}.consent")
    loss_reason = _names(sections["deal"].get("loss_reason"))
    _check_names([loss_reason], f"{place}.deal.loss_reason")
    history = {k: str(v) for k, v in _need_mapping(sections["history"].get("lead"), f"{place}.history.lead").items()}
    for own, canonical in history.items():
        if canonical not in FIELD_TYPES:
            hint = "a canonical field: " + ", ".join(FIELD_TYPES)
            raise InvalidMapping(f"unknown field {canonical!r}", place=f"{place}.history.lead.{own}", hint=hint)
    return WrittenMapping(fields, tables, consent, loss_reason, history, explicit)


def lay_out(
    name: str, mapping: WrittenMapping, shapes: Mapping[str, Shape], account: Shape | None, usage: Usage
) -> Layout:
    """Hold the mapping against the org.

    Raises:
        InvalidMapping: a required field has no source, or the settings name a field that is not there.
    """
    fields: dict[str, FieldSources] = {}
    findings: list[Finding] = []
    wanted = usage.fields | set(REQUIRED_FIELDS) | {"first_name", "website", "corporate_number"}
    for kind in ("lead", "contact", "account"):
        shape = shapes.get(KIND_OBJECTS[kind])
        if shape is None:
            continue
        sources = {
            canonical: names
            for canonical, names in mapping.fields[kind].items()
            if canonical in wanted and (kind != "account" or canonical in COMPANY_FIELDS)
        }
        required = () if kind == "account" else REQUIRED_FIELDS
        usable, lacking = check_fields(
            sources,
            _available(shape, account),
            place=f"{name}: mapping.fields.{kind}",
            explicit=mapping.explicit[kind],
            required=required,
        )
        fields[kind] = usable
        findings.extend(_weighed(finding, sources) for finding in lacking)
    people = {kind: PERSON_OBJECTS[kind] for kind in PERSON_OBJECTS if kind in fields}
    if not people:
        raise InvalidMapping(
            "neither Lead nor Contact can be read",
            place=f"connections.{name}",
            hint="give the integration user read access to Lead and Contact",
        )
    opportunity = shapes.get("Opportunity")
    return Layout(
        shapes=shapes,
        fields=fields,
        tables=mapping.tables,
        consent={sobject: _consent(mapping, shapes[sobject]) for sobject in people.values()},
        ours={sobject: tuple(_ours(shapes[sobject])) for sobject in people.values()},
        writable={
            sobject: frozenset(n for n, column in _ours(shapes[sobject]).items() if column.updateable)
            for sobject in people.values()
        },
        loss_reason=next((n for n in mapping.loss_reason if opportunity and opportunity.has(n)), None),
        history={own: canonical for own, canonical in mapping.history.items() if canonical in usage.history},
        findings=tuple(findings),
    )


def _weighed(finding: Finding, sources: FieldSources) -> Finding:
    """A guess at a custom field's name that did not hit is worth a remark; a standard field that is hidden, a warning."""
    names = sources.get(finding.subject.rpartition(".")[2], ())
    return replace(finding, level="info") if all(name.endswith("__c") for name in names) else finding


def _ours(shape: Shape) -> dict[str, Column]:
    return {name: shape.columns[own] for name, own in OUR_FIELDS.items() if shape.has(own)}


def _consent(mapping: WrittenMapping, shape: Shape) -> dict[str, str]:
    chosen = {flag: next((n for n in names if shape.has(n)), None) for flag, names in mapping.consent.items()}
    return {flag: own for flag, own in chosen.items() if own is not None}


def _available(shape: Shape, account: Shape | None) -> frozenset[str]:
    parent = frozenset(f"Account.{n}" for n in account.columns) if account and shape.has("AccountId") else frozenset()
    return frozenset(shape.columns) | parent


def _need_mapping(value: object, place: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidMapping("give a block of `name: value` lines", place=place)
    return value


def _names(value: object) -> tuple[str, ...]:
    return () if value is None else (value,) if isinstance(value, str) else tuple(str(v) for v in _listed(value))


def _listed(value: object) -> list[object]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _check_names(groups: Any, place: str) -> None:
    for names in groups:
        for name in names:
            try:
                checked_name(name)
            except ValueError as error:
                raise InvalidMapping(str(error), place=place, hint="use the field's API name") from error
