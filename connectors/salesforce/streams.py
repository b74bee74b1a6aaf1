"""Which objects are read, with which columns: one stream per object that exists, may be read, and is of use to someone."""

from collections.abc import Mapping
from dataclasses import dataclass

from connectors.mapping import Usage
from connectors.salesforce.facts import Mapper, Translator
from connectors.salesforce.schema import KEY_FIELD, OBJECTS, OUR_FIELDS, Layout, Shape

FIXED: Mapping[str, tuple[str, ...]] = {
    "User": ("Name", "Email", "IsActive"),
    "Group": ("Name", "Email", "Type"),
    "Account": ("ParentId", "OwnerId", "MasterRecordId"),
    "Lead": ("OwnerId", "MasterRecordId", "ConvertedContactId"),
    "Contact": ("OwnerId", "MasterRecordId", "AccountId"),
    "Opportunity": (
        "Name",
        "StageName",
        "IsClosed",
        "IsWon",
        "CloseDate",
        "LastStageChangeDate",
        "Amount",
        "CurrencyIsoCode",
        "AccountId",
        "OwnerId",
    ),
    "OpportunityContactRole": ("OpportunityId", "ContactId", "Role"),
    "OpportunityHistory": ("OpportunityId", "StageName", "CreatedById"),
    "LeadHistory": ("LeadId", "Field", "OldValue", "NewValue", "CreatedById"),
    "CampaignMember": ("LeadId", "ContactId", "Status", "FirstRespondedDate"),
    "Task": (
        "WhoId",
        "Subject",
        "IsClosed",
        "ActivityDate",
        "CompletedDateTime",
        "TaskSubtype",
        "CallType",
        "CallDurationInSeconds",
    ),
    "Event": (
        "WhoId",
        "Subject",
        "StartDateTime",
        "EndDateTime",
        "ActivityDate",
        "ActivityDateTime",
        "DurationInMinutes",
        "IsAllDayEvent",
        "IsChild",
        "IsRecurrence",
    ),
}
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "Opportunity": ("StageName", "IsClosed", "IsWon", "CloseDate"),
    "OpportunityContactRole": ("OpportunityId", "ContactId"),
    "OpportunityHistory": ("OpportunityId", "StageName"),
    "LeadHistory": ("LeadId", "Field", "NewValue"),
    "CampaignMember": ("Status",),
    "Task": ("WhoId", "IsClosed"),
    "Event": ("WhoId",),
    "User": ("IsActive",),
}
_STAMPS = ("SystemModstamp", "LastModifiedDate", "CreatedDate")
_EVERY_ROW = ("Id", "IsDeleted", "CreatedDate")
_CAMPAIGN = ("Campaign.Name", "Campaign.Type")


@dataclass(frozen=True, slots=True)
class Stream:
    """One object as it is read.

    Attributes:
        name: of the object and of the stream.
        key: the stamp it is read by: filterable and sortable.
        columns: of the SELECT.
        mapper: row to fact.
    """

    name: str
    key: str
    columns: tuple[str, ...]
    mapper: Mapper


def plan_streams(translator: Translator, usage: Usage) -> tuple[Stream, ...]:
    """The streams of this org for this use, in reading order."""
    layout = translator.layout
    streams = []
    for name in OBJECTS:
        shape = layout.shapes.get(name)
        if shape is None or not _is_wanted(name, layout, usage):
            continue
        key = stamp_of(shape)
        if key is None or lacking_columns(shape):
            continue
        columns = columns_of(name, layout)
        streams.append(Stream(name, key, columns, translator.mapper(name)))
    return tuple(streams)


def stamp_of(shape: Shape) -> str | None:
    """The stamp that this object can be read by, None if it has none."""
    for name in _STAMPS:
        column = shape.columns.get(name)
        if column is not None and column.filterable and column.sortable:
            return name
    return None


def lacking_columns(shape: Shape) -> tuple[str, ...]:
    """Columns without which the object says nothing to us."""
    return tuple(name for name in _NEEDED.get(shape.name, ()) if not shape.has(name))


def columns_of(name: str, layout: Layout) -> tuple[str, ...]:
    """Columns to read: what the mappers look at and the org has."""
    shape = layout.shapes[name]
    wanted = [*_EVERY_ROW, stamp_of(shape) or "", *FIXED[name]]
    kind = {"Lead": "lead", "Contact": "contact", "Account": "account"}.get(name)
    if kind is not None:
        wanted += [source for sources in layout.fields[kind].values() for source in sources]
    wanted += layout.consent.get(name, {}).values()
    wanted += [OUR_FIELDS[own] for own in layout.ours.get(name, ())]
    if name in layout.tables:
        wanted += layout.tables[name].properties
    if name == "Task":
        wanted.append(KEY_FIELD)
    if name == "CampaignMember" and "Campaign" in layout.shapes:
        wanted += _CAMPAIGN
    if name == "Opportunity" and layout.loss_reason:
        wanted.append(layout.loss_reason)
    return tuple(dict.fromkeys(column for column in wanted if _exists(column, shape, layout)))


def _exists(column: str, shape: Shape, layout: Layout) -> bool:
    parent, dot, rest = column.partition(".")
    if not dot:
        return shape.has(column)
    above = layout.shapes.get(parent)
    return shape.has(f"{parent}Id") and above is not None and above.has(rest)


def _is_wanted(name: str, layout: Layout, usage: Usage) -> bool:
    if name in layout.tables:
        return usage.any_of(layout.tables[name].kinds)
    if name == "LeadHistory":
        return bool(layout.history) and "Lead" in layout.shapes
    return name not in {"Task", "Event", "CampaignMember"}
