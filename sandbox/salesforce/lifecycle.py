"""What a person does to records in the user interface and the REST API cannot: convert a lead, merge records."""

from typing import Any

from sandbox.salesforce.activities import derive_account
from sandbox.salesforce.errors import RowError, entity_deleted
from sandbox.salesforce.ids import long_id
from sandbox.salesforce.org import Work
from sandbox.salesforce.rows import bury, create_row
from sandbox.salesforce.rules import full_name, lead_history
from sandbox.salesforce.store import Row
from sandbox.salesforce.values import to_day

_COPIED = ("FirstName", "Salutation", "Title", "Email", "Phone", "MobilePhone", "Fax", "LeadSource", "Description")
_ADDRESS = ("Street", "City", "State", "PostalCode", "Country")
_MERGEABLE = ("Lead", "Contact", "Account")


def convert_lead(work: Work, order: dict[str, Any]) -> dict[str, str | None]:
    """Make an account, a contact and (unless `opportunity` is false) an opportunity of a lead, or use given ones.

    `order` names `id`, and may name `account_id`, `contact_id`, `opportunity` (name or false), `status`, `owner_id`.
    Tasks and events follow to the contact; campaign members keep LeadId and gain ContactId. Existing records are only
    filled where they are blank.
    """
    lead_id = long_id(order["id"]) or ""
    with work.store.write():
        lead = work.store.get("Lead", lead_id)
        if lead is None:
            raise RowError("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", status=404)
        if lead["IsDeleted"]:
            raise entity_deleted()
        if lead["IsConverted"]:
            raise RowError("CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead")
        owner = order.get("owner_id") or (lead["OwnerId"] if lead["OwnerId"].startswith("005") else work.user_id)
        account_id = order.get("account_id") or _make_account(work, lead, owner)
        contact_id = _fill_contact(work, order["contact_id"], lead) if order.get("contact_id") else None
        contact_id = contact_id or _make_contact(work, lead, account_id, owner)
        opportunity_id = _make_opportunity(work, lead, order, account_id, contact_id, owner)
        _close_lead(work, lead, order, account_id, contact_id, opportunity_id)
        _follow(work, lead_id, contact_id)
    return {"lead": lead_id, "account": account_id, "contact": contact_id, "opportunity": opportunity_id}


def merge_records(work: Work, order: dict[str, Any]) -> dict[str, Any]:
    """Merge up to two losers into a master of the same object: `sobject`, `id`, `losers`, optional `fields`.

    Losers are deleted softly with MasterRecordId; their activities, members, roles, deals and contacts move to the master,
    whose blanks they do not fill.
    """
    kind = work.org.schema.get(order["sobject"])
    master_id = long_id(order["id"]) or ""
    losers = [long_id(one) or "" for one in order["losers"]]
    if kind.name not in _MERGEABLE or not 1 <= len(losers) <= 2 or master_id in losers:
        raise RowError("INVALID_OPERATION", f"cannot merge {len(losers) + 1} records of {kind.name}")
    with work.store.write():
        for record_id in (master_id, *losers):
            row = work.store.get(kind.name, record_id)
            if row is None or row["IsDeleted"]:
                raise entity_deleted()
            if row.get("IsConverted"):
                raise RowError("CANNOT_UPDATE_CONVERTED_LEAD", "cannot merge a converted lead")
        for loser in losers:
            _reparent(work, kind.name, loser, master_id)
            bury(work, kind, loser, root=loser, extra={"MasterRecordId": master_id})
            if kind.name == "Lead":
                lead_history(work, master_id, "leadMerged", None, None, None)
        changes: Row = dict(order.get("fields") or {})
        stamps = {"LastModifiedDate": work.now, "LastModifiedById": work.user_id, "SystemModstamp": work.now}
        work.store.update(kind.name, master_id, changes | stamps)
    return {"master": master_id, "losers": losers}


def _make_account(work: Work, lead: Row, owner: str) -> str:
    body = {"Name": lead["Company"], "OwnerId": owner, "Phone": lead["Phone"], "Website": lead["Website"]}
    body |= {name: lead[name] for name in ("Industry", "AnnualRevenue", "NumberOfEmployees")}
    body |= {f"Billing{part}": lead[part] for part in _ADDRESS}
    return create_row(work, work.org.schema.get("Account"), _given(body))


def _make_contact(work: Work, lead: Row, account_id: str, owner: str) -> str:
    body = {"LastName": lead["LastName"], "AccountId": account_id, "OwnerId": owner}
    body |= {name: lead[name] for name in _COPIED}
    body |= {f"Mailing{part}": lead[part] for part in _ADDRESS}
    return create_row(work, work.org.schema.get("Contact"), _given(body))


def _fill_contact(work: Work, contact_id: str, lead: Row) -> str:
    contact = work.store.get("Contact", contact_id)
    if contact is None or contact["IsDeleted"]:
        raise entity_deleted()
    blanks = {name: lead[name] for name in _COPIED if contact[name] is None and lead[name] is not None}
    if "FirstName" in blanks:
        blanks["Name"] = full_name(blanks["FirstName"], contact["LastName"])
    stamps = {"LastModifiedDate": work.now, "LastModifiedById": work.user_id, "SystemModstamp": work.now}
    work.store.update("Contact", contact_id, blanks | stamps)
    return contact_id


def _make_opportunity(
    work: Work, lead: Row, order: dict[str, Any], account_id: str, contact_id: str, owner: str
) -> str | None:
    wanted = order.get("opportunity", True)
    if wanted is False:
        return None
    body = {
        "Name": wanted if isinstance(wanted, str) else f"{lead['Company']}-",
        "AccountId": account_id,
        "OwnerId": owner,
        "StageName": "Prospecting",
        "CloseDate": to_day(work.now + 90 * 86_400_000, work.rights.time_zone),
        "LeadSource": lead["LeadSource"],
        "ContactId": contact_id,
    }
    return create_row(work, work.org.schema.get("Opportunity"), _given(body))


def _close_lead(
    work: Work, lead: Row, order: dict[str, Any], account_id: str, contact_id: str, opportunity_id: str | None
) -> None:
    sql = 'SELECT MasterLabel FROM "LeadStatus" WHERE IsConverted = 1 LIMIT 1'
    status = order.get("status") or work.store.value(sql)
    changes = {
        "IsConverted": 1,
        "ConvertedDate": work.today,
        "ConvertedAccountId": account_id,
        "ConvertedContactId": contact_id,
        "ConvertedOpportunityId": opportunity_id,
        "Status": status,
        "LastModifiedDate": work.now,
        "LastModifiedById": work.user_id,
        "SystemModstamp": work.now,
    }
    work.store.update("Lead", lead["Id"], changes)
    lead_history(work, lead["Id"], "leadConverted", None, None, None)
    if status != lead["Status"]:
        lead_history(work, lead["Id"], "Status", "Text", lead["Status"], status)


def _follow(work: Work, lead_id: str, contact_id: str) -> None:
    """Activities change their person, which moves their SystemModstamp."""
    account = derive_account(work, contact_id, None)
    for table in ("Task", "Event"):
        sql = f'UPDATE "{table}" SET WhoId = ?, AccountId = coalesce(AccountId, ?), SystemModstamp = ? WHERE WhoId = ?'
        work.store.execute(sql, (contact_id, account, work.now, lead_id))
    already = 'CampaignId IN (SELECT CampaignId FROM "CampaignMember" WHERE ContactId = ? AND IsDeleted = 0)'
    sql = (
        "UPDATE \"CampaignMember\" SET ContactId = ?, LeadOrContactId = ?, Type = 'Contact', SystemModstamp = ? "
        f"WHERE LeadId = ? AND IsDeleted = 0 AND NOT {already}"
    )
    work.store.execute(sql, (contact_id, contact_id, work.now, lead_id, contact_id))
    day = work.store.value('SELECT LastActivityDate FROM "Lead" WHERE Id = ?', (lead_id,))
    if day is not None:
        work.touch("Contact", contact_id, {"LastActivityDate": day})


_MOVED = {
    "Lead": (("Task", "WhoId"), ("Event", "WhoId"), ("CampaignMember", "LeadId"), ("LeadHistory", "LeadId")),
    "Contact": (
        ("Task", "WhoId"),
        ("Event", "WhoId"),
        ("CampaignMember", "ContactId"),
        ("OpportunityContactRole", "ContactId"),
        ("Lead", "ConvertedContactId"),
    ),
    "Account": (
        ("Task", "WhatId"),
        ("Event", "WhatId"),
        ("Task", "AccountId"),
        ("Event", "AccountId"),
        ("Contact", "AccountId"),
        ("Opportunity", "AccountId"),
        ("Lead", "ConvertedAccountId"),
    ),
}


def _reparent(work: Work, kind: str, loser: str, master: str) -> None:
    """Children move to the master. A membership of a campaign that the master is in too stays behind and is deleted."""
    for table, column in _MOVED[kind]:
        stamp = ", SystemModstamp = ?" if work.org.schema.get(table).has("SystemModstamp") else ""
        keep = ""
        parameters: list[object] = [master, *([work.now] if stamp else []), loser]
        if table == "CampaignMember":
            keep = (
                f' AND CampaignId NOT IN (SELECT CampaignId FROM "CampaignMember" WHERE {column} = ? AND IsDeleted = 0)'
            )
            parameters.append(master)
        work.store.execute(f'UPDATE "{table}" SET {column} = ?{stamp} WHERE {column} = ?{keep}', parameters)
        if table == "CampaignMember":
            sql = f'UPDATE "CampaignMember" SET LeadOrContactId = ? WHERE {column} = ? AND LeadOrContactId = ?'
            work.store.execute(sql, (master, master, loser))


def _given(body: Row) -> Row:
    return {name: value for name, value in body.items() if value is not None}
