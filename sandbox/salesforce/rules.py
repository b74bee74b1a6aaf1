"""What the org does by itself when a record is written: derived fields, cross-field checks, history rows.

`before` runs on a change that passed the field checks and may still alter or refuse it; `after` runs in the same
transaction once the row is written. Activity rules are in `activities`.
"""

import json
from collections.abc import Callable

from sandbox.salesforce.activities import after_activity, before_event, before_task
from sandbox.salesforce.catalog import SObject
from sandbox.salesforce.change import Change
from sandbox.salesforce.errors import RowError
from sandbox.salesforce.org import Work
from sandbox.salesforce.store import Row

_PARTS = ("Street", "City", "State", "PostalCode", "Country", "Latitude", "Longitude", "GeocodeAccuracy")
_KEYS = tuple(part[0].lower() + part[1:] for part in _PARTS)
_TRACKED = {"Status": "Text", "Title": "Text", "Company": "Text"}  # of Lead; Owner has its own form


def before(work: Work, change: Change) -> None:
    """Derive and check. Raises RowError."""
    _derive_name(change)
    _derive_addresses(change)
    if (rule := _BEFORE.get(change.sobject.name)) is not None:
        rule(work, change)


def after(work: Work, change: Change) -> None:
    """What follows from a written row."""
    if (rule := _AFTER.get(change.sobject.name)) is not None:
        rule(work, change)
    work.org.access.forget(change.sobject.name)


def completer(sobject: SObject) -> Callable[[Row, Row], None]:
    """Fills in the second row what a loaded one (the first) left out and what follows from it alone."""
    compounds = _compounds(sobject)
    named = sobject.has("LastName") and sobject.has("Name")
    name = sobject.name

    def complete(given: Row, row: Row) -> None:
        if named and "Name" not in row and "LastName" in row:
            row["Name"] = full_name(row.get("FirstName"), row["LastName"])
        for compound, parts in compounds:
            if compound not in row and not row.keys().isdisjoint(parts):
                row[compound] = _address(row, parts)
        if name == "CampaignMember":
            row.setdefault("LeadOrContactId", row.get("ContactId") or row.get("LeadId"))
            row.setdefault("Type", "Contact" if row.get("ContactId") else "Lead")
        elif name == "Task":
            row.setdefault("TaskSubtype", "Task")
            row.setdefault("Priority", "Normal")
            if "IsClosed" not in given:
                row["IsClosed"] = int(row.get("Status") == "Completed")
        elif name == "Opportunity" and "IsClosed" not in given:
            stage = str(row.get("StageName"))
            row["IsClosed"], row["IsWon"] = int(stage.startswith("Closed")), int(stage == "Closed Won")

    return complete


def full_name(first: object, last: object) -> str:
    return " ".join(str(part) for part in (first, last) if part)


def _derive_name(change: Change) -> None:
    if change.sobject.has("LastName") and change.touches("FirstName", "LastName"):
        change["Name"] = full_name(change["FirstName"], change["LastName"])


def _compounds(sobject: SObject) -> tuple[tuple[str, tuple[str, ...]], ...]:
    names = [one.name for one in sobject.fields.values() if one.type == "address"] if sobject.addressed else []
    return tuple((name, tuple(name.removesuffix("Address") + part for part in _PARTS)) for name in names)


def _derive_addresses(change: Change) -> None:
    for compound, parts in _compounds(change.sobject):
        if change.touches(*parts):
            change[compound] = _address(change.row(), parts)


def _address(row: Row, parts: tuple[str, ...]) -> str | None:
    values = [row.get(part) for part in parts]
    if not any(value is not None for value in values):
        return None
    return json.dumps(dict(zip(_KEYS, values, strict=True)), ensure_ascii=False)


def _before_lead(work: Work, change: Change) -> None:
    if change.old is not None and change.old["IsConverted"]:
        raise RowError("CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead")
    if change.old is None and change["IsConverted"]:
        change["ConvertedDate"] = work.today


def _after_lead(work: Work, change: Change) -> None:
    old = change.old
    if old is None:
        lead_history(work, change.record_id, "created", None, None, None)
        return
    for name, kind in _TRACKED.items():
        if change.differs(name):
            lead_history(work, change.record_id, name, kind, old[name], change[name])
    if change.differs("OwnerId"):
        names = [_owner_name(work, owner) for owner in (old["OwnerId"], change["OwnerId"])]
        lead_history(work, change.record_id, "Owner", "Text", *names)
        lead_history(work, change.record_id, "Owner", "EntityId", old["OwnerId"], change["OwnerId"])
    _refresh_members(work, change, "LeadId", "Company")


def lead_history(work: Work, lead_id: str, field: str, kind: str | None, old: object, new: object) -> None:
    """One LeadHistory row."""
    work.add("LeadHistory", {"LeadId": lead_id, "Field": field, "DataType": kind, "OldValue": old, "NewValue": new})


def _owner_name(work: Work, owner_id: str) -> object:
    table = "Group" if owner_id.startswith("00G") else "User"
    return work.store.value(f'SELECT Name FROM "{table}" WHERE Id = ?', (owner_id,))


def _refresh_members(work: Work, change: Change, key: str, company: str | None) -> None:
    """A campaign member shows the name, title and mail of its person."""
    names = [name for name in ("Name", "FirstName", "LastName", "Title", "Email") if change.differs(name)]
    values: Row = {name: change[name] for name in names}
    if company and change.differs(company):
        values["CompanyOrAccount"] = change[company]
    if values:
        assignments = ", ".join(f'"{name}" = ?' for name in values)
        sql = f'UPDATE "CampaignMember" SET {assignments} WHERE {key} = ?'
        work.store.execute(sql, (*values.values(), change.record_id))


def _before_contact(_work: Work, change: Change) -> None:
    if change.touches("EmailBouncedDate"):
        change["IsEmailBounced"] = int(change["EmailBouncedDate"] is not None)


def _after_contact(work: Work, change: Change) -> None:
    if change.old is not None:
        _refresh_members(work, change, "ContactId", None)


def _before_opportunity(work: Work, change: Change) -> None:
    if change.touches("StageName"):
        stage = work.store.rows('SELECT * FROM "OpportunityStage" WHERE MasterLabel = ?', (change["StageName"],))
        facts = stage[0] if stage else {"IsClosed": 0, "IsWon": 0, "ForecastCategory": "Pipeline"}
        change["IsClosed"], change["IsWon"] = facts["IsClosed"], facts["IsWon"]
        change["ForecastCategory"] = facts["ForecastCategory"]
        change["ForecastCategoryName"] = facts.get("ForecastCategoryName", "Pipeline")
        if "Probability" not in change.values and "DefaultProbability" in facts:
            change["Probability"] = facts["DefaultProbability"]
        if change.differs("StageName"):
            change["LastStageChangeDate"] = work.now
    if change["Amount"] is not None and change["Probability"] is not None:
        change["ExpectedRevenue"] = change["Amount"] * change["Probability"] / 100
    if close := change["CloseDate"]:
        year, month = int(close[:4]), int(close[5:7])
        quarter = (month + 2) // 3
        change["FiscalYear"], change["FiscalQuarter"], change["Fiscal"] = year, quarter, f"{year} {quarter}"


def _after_opportunity(work: Work, change: Change) -> None:
    if any(change.differs(name) for name in ("StageName", "Amount", "Probability", "CloseDate")):
        old = change.old or {}
        copied = ("StageName", "Amount", "ExpectedRevenue", "CloseDate", "Probability", "ForecastCategory")
        row = {"OpportunityId": change.record_id, **{name: change[name] for name in copied}}
        row |= {"PrevAmount": old.get("Amount"), "PrevCloseDate": old.get("CloseDate")}
        history_id = work.add("OpportunityHistory", row)
        for name in ("Amount", "CloseDate"):
            if change.differs(name):
                column = f"Last{name}ChangedHistoryId"
                work.store.update("Opportunity", change.record_id, {column: history_id})
    if change.old is None and change["ContactId"]:
        role = {"OpportunityId": change.record_id, "ContactId": change["ContactId"], "IsPrimary": 1}
        work.add("OpportunityContactRole", role)


def _after_role(work: Work, change: Change) -> None:
    """One contact is the primary one."""
    if change["IsPrimary"]:
        work.store.execute(
            'UPDATE "OpportunityContactRole" SET IsPrimary = 0, SystemModstamp = ? '
            "WHERE OpportunityId = ? AND IsPrimary = 1 AND Id <> ?",
            (work.now, change["OpportunityId"], change.record_id),
        )


def _after_campaign(work: Work, change: Change) -> None:
    if change.old is None:
        for order, (label, responded) in enumerate((("Sent", 0), ("Responded", 1)), 1):
            row = {"CampaignId": change.record_id, "Label": label, "SortOrder": order + 1}
            work.add("CampaignMemberStatus", row | {"IsDefault": 1 - responded, "HasResponded": responded})


def _before_member(work: Work, change: Change) -> None:
    person = change["ContactId"] or change["LeadId"]
    if person is None:
        raise RowError("REQUIRED_FIELD_MISSING", "Required fields are missing: [LeadId]", ("LeadId",))
    if change.old is None:
        _check_member(work, change)
        _copy_person(work, change, person)
        if "Status" not in change.given:
            sql = 'SELECT Label FROM "CampaignMemberStatus" WHERE CampaignId = ? AND IsDefault = 1 AND IsDeleted = 0'
            change["Status"] = work.store.value(sql, (change["CampaignId"],)) or "Sent"
    sql = 'SELECT HasResponded FROM "CampaignMemberStatus" WHERE CampaignId = ? AND Label = ? AND IsDeleted = 0'
    change["HasResponded"] = work.store.value(sql, (change["CampaignId"], change["Status"])) or 0
    if change["HasResponded"] and change["FirstRespondedDate"] is None:
        change["FirstRespondedDate"] = work.today
    elif not change["HasResponded"]:
        change["FirstRespondedDate"] = None


def _check_member(work: Work, change: Change) -> None:
    for key in ("ContactId", "LeadId"):
        sql = f'SELECT 1 FROM "CampaignMember" WHERE {key} = ? AND CampaignId = ? AND IsDeleted = 0'
        if change[key] and work.store.value(sql, (change[key], change["CampaignId"])):
            raise RowError("DUPLICATE_VALUE", "Already a campaign member.")
    if change["LeadId"] and not change["ContactId"]:
        refuse_converted(work, change["LeadId"])


def refuse_converted(work: Work, lead_id: str) -> None:
    """A converted lead can be named by no new record."""
    if work.store.value('SELECT IsConverted FROM "Lead" WHERE Id = ?', (lead_id,)):
        raise RowError("CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead")


def _copy_person(work: Work, change: Change, person_id: str) -> None:
    kind = "Contact" if change["ContactId"] else "Lead"
    person = work.store.get(kind, person_id) or {}
    for name in ("Name", "FirstName", "LastName", "Title", "Email"):
        change[name] = person.get(name)
    company = person.get("Company")
    if kind == "Contact":
        company = work.store.value('SELECT Name FROM "Account" WHERE Id = ?', (person.get("AccountId"),))
    change["CompanyOrAccount"], change["Type"], change["LeadOrContactId"] = company, kind, person_id


def _after_member_status(work: Work, change: Change) -> None:
    """A status that changes its meaning changes the members that have it, and their SystemModstamp."""
    if change.old is None or not change.differs("HasResponded"):
        return
    work.store.execute(
        'UPDATE "CampaignMember" SET HasResponded = ?, SystemModstamp = ? WHERE CampaignId = ? AND Status = ?',
        (change["HasResponded"], work.now, change["CampaignId"], change["Label"]),
    )


def _before_field_permission(work: Work, change: Change) -> None:
    entity, _, name = str(change["Field"]).partition(".")
    found = work.org.schema.find(entity)
    one = found.field(name) if found else None
    if found is None or one is None or found.name != change["SobjectType"]:
        message = f"Field Name: bad value for restricted picklist field: {change['Field']}"
        raise RowError("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", message, ("Field",))
    if change["PermissionsEdit"] and not change["PermissionsRead"]:
        message = "Field permission: Edit requires Read"
        raise RowError("FIELD_INTEGRITY_EXCEPTION", message, ("PermissionsEdit",))
    change["Field"] = f"{found.name}.{one.name}"
    sql = 'SELECT Id FROM "FieldPermissions" WHERE ParentId = ? AND Field = ? COLLATE NOCASE AND Id <> ?'
    _refuse_twin(work.store.value(sql, (change["ParentId"], change["Field"], change.record_id)), "Field")


def _before_object_permission(work: Work, change: Change) -> None:
    sql = 'SELECT Id FROM "ObjectPermissions" WHERE ParentId = ? AND SobjectType = ? AND Id <> ?'
    _refuse_twin(work.store.value(sql, (change["ParentId"], change["SobjectType"], change.record_id)), "SobjectType")


def _before_assignment(work: Work, change: Change) -> None:
    sql = 'SELECT Id FROM "PermissionSetAssignment" WHERE PermissionSetId = ? AND AssigneeId = ?'
    pair = (change["PermissionSetId"], change["AssigneeId"])
    if work.store.value(sql, pair):
        message = f"Duplicate PermissionSetAssignment. Assignee: {pair[1]}; Permission Set: {pair[0]}"
        raise RowError("DUPLICATE_VALUE", message, ("AssigneeId", "PermissionSetId"))


def _before_permission_set(work: Work, change: Change) -> None:
    change["IsCustom"] = 1
    sql = 'SELECT Id FROM "PermissionSet" WHERE Name = ? COLLATE NOCASE AND Id <> ?'
    if work.store.value(sql, (change["Name"], change.record_id)):
        message = f"The name you specified is already in use: {change['Name']}"
        raise RowError("DUPLICATE_DEVELOPER_NAME", message, ("Name",))


def _refuse_twin(record_id: str | None, field: str) -> None:
    if record_id is not None:
        message = f"duplicate value found: {field} duplicates value on record with id: {record_id[:15]}"
        raise RowError("DUPLICATE_VALUE", message)


Rule = Callable[[Work, Change], None]
_BEFORE: dict[str, Rule] = {
    "Lead": _before_lead,
    "Contact": _before_contact,
    "Opportunity": _before_opportunity,
    "CampaignMember": _before_member,
    "Task": before_task,
    "Event": before_event,
    "FieldPermissions": _before_field_permission,
    "ObjectPermissions": _before_object_permission,
    "PermissionSetAssignment": _before_assignment,
    "PermissionSet": _before_permission_set,
}
_AFTER: dict[str, Rule] = {
    "Lead": _after_lead,
    "Contact": _after_contact,
    "Opportunity": _after_opportunity,
    "OpportunityContactRole": _after_role,
    "Campaign": _after_campaign,
    "CampaignMemberStatus": _after_member_status,
    "Task": after_activity,
    "Event": after_activity,
}
