"""Records written one at a time: the checks of the API, the rules of the org, the recycle bin.

Every function runs in one transaction (a savepoint inside another) and raises ApiError or RowError with nothing
written.
"""

from typing import Any

from sandbox.salesforce.access import Rights
from sandbox.salesforce.catalog import Field, SObject
from sandbox.salesforce.change import Change
from sandbox.salesforce.errors import ApiError, RowError, entity_deleted, record_missing
from sandbox.salesforce.ids import long_id
from sandbox.salesforce.org import Work
from sandbox.salesforce.rules import after, before
from sandbox.salesforce.store import Row
from sandbox.salesforce.values import stored

_AUDIT = frozenset({"Id", "IsDeleted", "SystemModstamp"})
_BIN_DAYS = 15 * 86_400_000


def create_row(work: Work, sobject: SObject, body: dict[str, Any]) -> str:
    """Create one record; its id."""
    _demand_kind("inserted", sobject, allowed=sobject.createable)
    work.org.access.demand(work.rights, "create", sobject.name)
    with work.store.write():
        values = read_body(work, sobject, body, creating=True)
        work.org.strike(sobject.name, None)
        record_id = work.org.new_id(sobject.name)
        change = Change(sobject, record_id, None, values, frozenset(values))
        _fill_defaults(work, change)
        _check_required(change)
        _check_references(work, change)
        before(work, change)
        _check_unique(work, change)
        _stamp(work, change)
        work.store.insert(sobject.name, change.values)
        after(work, change)
    return record_id


def update_row(work: Work, sobject: SObject, record_id: str, body: dict[str, Any]) -> None:
    """Change one record. A missing one is a 404 RowError, a deleted one ENTITY_IS_DELETED."""
    _demand_kind("updated", sobject, allowed=sobject.updateable)
    work.org.access.demand(work.rights, "edit", sobject.name)
    with work.store.write():
        old = existing(work, sobject, record_id)
        values = read_body(work, sobject, body, creating=False)
        work.org.strike(sobject.name, record_id)
        change = Change(sobject, record_id, old, values, frozenset(values))
        _check_required(change)
        _check_references(work, change)
        before(work, change)
        _check_unique(work, change)
        _stamp(work, change)
        work.store.update(sobject.name, record_id, change.values)
        after(work, change)


def delete_row(work: Work, sobject: SObject, record_id: str) -> None:
    """Move one record and what belongs to it into the recycle bin; objects without one lose the row."""
    _demand_kind("deleted", sobject, allowed=sobject.createable and sobject.name != "User")
    work.org.access.demand(work.rights, "delete", sobject.name)
    with work.store.write():
        existing(work, sobject, record_id)
        bury(work, sobject, record_id, root=record_id)
    work.org.access.forget(sobject.name)


def _demand_kind(done: str, sobject: SObject, *, allowed: bool) -> None:
    if not allowed:
        raise RowError("INVALID_TYPE_FOR_OPERATION", f"entity type cannot be {done}: {sobject.name}")


def bury(work: Work, sobject: SObject, record_id: str, *, root: str, extra: Row | None = None) -> None:
    """Delete a row softly, its children with it; `root` is the record whose undeletion brings them all back."""
    for child in sobject.children:
        if child.cascade:
            kind = work.org.schema.get(child.sobject)
            alive = " AND IsDeleted = 0" if kind.has("IsDeleted") else ""
            for row in work.store.rows(f'SELECT Id FROM "{kind.name}" WHERE "{child.field}" = ?{alive}', (record_id,)):
                bury(work, kind, row["Id"], root=root)
    note = 'INSERT OR REPLACE INTO "_deletion" (Id, SObject, DeletedDate) VALUES (?, ?, ?)'
    work.store.execute(note, (record_id, sobject.name, work.now))
    if not sobject.has("IsDeleted"):
        work.store.execute(f'DELETE FROM "{sobject.name}" WHERE Id = ?', (record_id,))
        return
    changes: Row = {"IsDeleted": 1, **(extra or {})}
    audit = {"SystemModstamp": work.now, "LastModifiedDate": work.now, "LastModifiedById": work.user_id}
    changes |= {name: value for name, value in audit.items() if sobject.has(name)}
    work.store.update(sobject.name, record_id, changes)
    work.store.execute('INSERT OR REPLACE INTO "_bin" VALUES (?, ?, ?)', (root, sobject.name, record_id))


def undelete_row(work: Work, record_id: str) -> int:
    """Bring a record back from the bin with what was deleted with it; the number of rows."""
    with work.store.write():
        members = work.store.rows('SELECT SObject, Id FROM "_bin" WHERE Root = ?', (record_id,))
        if not members:
            raise RowError("UNDELETE_FAILED", "Entity is not in the recycle bin")
        for member in members:
            sobject = work.org.schema.get(member["SObject"])
            changes: Row = {"IsDeleted": 0, "SystemModstamp": work.now, "MasterRecordId": None}
            changes = {name: value for name, value in changes.items() if sobject.has(name)}
            work.store.update(sobject.name, member["Id"], changes)
            work.store.execute('DELETE FROM "_deletion" WHERE Id = ?', (member["Id"],))
        work.store.execute('DELETE FROM "_bin" WHERE Root = ?', (record_id,))
    return len(members)


def purge_row(work: Work, sobject: SObject, record_id: str) -> None:
    """Delete for good: invisible even to queryAll."""
    with work.store.write():
        row = work.store.get(sobject.name, record_id)
        if row is None:
            raise RowError("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", status=404)
        if not row.get("IsDeleted"):
            bury(work, sobject, record_id, root=record_id)
        for member in work.store.rows('SELECT SObject, Id FROM "_bin" WHERE Root = ?', (record_id,)):
            work.store.execute(f'DELETE FROM "{member["SObject"]}" WHERE Id = ?', (member["Id"],))
        work.store.execute('DELETE FROM "_bin" WHERE Root = ? OR Id = ?', (record_id, record_id))
        work.store.execute(f'DELETE FROM "{sobject.name}" WHERE Id = ?', (record_id,))


def empty_bin(work: Work) -> None:
    """Drop what has lain in the bin for 15 days."""
    with work.store.write():
        for sobject in work.org.schema.all():
            stamp = "SystemModstamp" if sobject.has("SystemModstamp") else "CreatedDate"
            if sobject.has("IsDeleted"):
                sql = f'DELETE FROM "{sobject.name}" WHERE IsDeleted = 1 AND {stamp} < ?'
                work.store.execute(sql, (work.now - _BIN_DAYS,))
        work.store.execute(
            'DELETE FROM "_bin" WHERE Id IN (SELECT Id FROM "_deletion" WHERE DeletedDate < ?)', (work.now - _BIN_DAYS,)
        )


def existing(work: Work, sobject: SObject, record_id: str) -> Row:
    """The row to be changed; raises where it is missing, deleted or not visible."""
    row = work.store.get(sobject.name, record_id)
    if row is None or not (work.person or work.org.access.sees(work.rights, sobject.name, record_id)):
        raise RowError("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", status=404)
    if row.get("IsDeleted"):
        raise entity_deleted()
    return row


def external_field(work: Work, sobject: SObject, name: str) -> Field:
    """The field of an external-id path; raises the 404 of one that is none or not visible."""
    one = sobject.field(name)
    usable = one is not None and (one.external_id or one.has("i")) and can_read(work.rights, sobject, one)
    if one is None or not usable:
        raise record_missing(name)
    return one


def find_external(work: Work, sobject: SObject, one: Field, value: str) -> list[str]:
    """Ids of the live records with that external id (letter case matters only where the field says so)."""
    if one.name == "Id":
        record_id = long_id(value)
        row = work.store.get(sobject.name, record_id) if record_id else None
        return [row["Id"]] if row and not row.get("IsDeleted") else []
    folded = "" if one.case_sensitive or one.sql_type != "TEXT" else " COLLATE NOCASE"
    alive = " AND IsDeleted = 0" if sobject.has("IsDeleted") else ""
    sql = f'SELECT Id FROM "{sobject.name}" WHERE "{one.name}" = ?{folded}{alive} LIMIT 20'
    found = [row["Id"] for row in work.store.rows(sql, (stored(one, value),))]
    return [
        record_id for record_id in found if work.person or work.org.access.sees(work.rights, sobject.name, record_id)
    ]


def can_read(rights: Rights, sobject: SObject, one: Field) -> bool:
    return rights.reads(sobject.name, one.name, custom=one.custom)


def read_body(work: Work, sobject: SObject, body: dict[str, Any], *, creating: bool) -> Row:
    """The fields of a request body in stored form. Raises the vendor's error for the first wrong one."""
    values: Row = {}
    refused: list[str] = []
    for name, given in body.items():
        if name == "attributes":
            continue
        value = given
        if name.lower() == "id":
            if creating:
                message = "cannot specify Id in an insert call"
                raise RowError("INVALID_FIELD_FOR_INSERT_UPDATE", message, ("Id",))
            raise ApiError(400, "INVALID_FIELD", "The Id field should not be specified in the sobject data.")
        if isinstance(given, dict):
            one, value = _referenced(work, sobject, name, given)
        else:
            one = _named(work, sobject, name)
        if one is None:
            message = f"No such column '{name}' on sobject of type {sobject.name}"
            raise ApiError(400, "INVALID_FIELD", message)
        if not _writeable(work, sobject, one, creating=creating):
            refused.append(one.name)
            continue
        values[one.name] = stored(one, value)
        if one.type == "boolean" and values[one.name] is None:
            values[one.name] = 0
    if refused:
        message = (
            f"Unable to create/update fields: {', '.join(refused)}. Please check the security settings of this field "
            "and verify that it is read/write for your profile or permission set."
        )
        raise RowError("INVALID_FIELD_FOR_INSERT_UPDATE", message, tuple(refused))
    return values


def _named(work: Work, sobject: SObject, name: str) -> Field | None:
    one = sobject.field(name)
    if one is None or not (work.person or can_read(work.rights, sobject, one)):
        return None
    return one


def _writeable(work: Work, sobject: SObject, one: Field, *, creating: bool) -> bool:
    if not (one.createable if creating else one.updateable):
        return False
    return work.person or work.rights.edits(sobject.name, one.name, custom=one.custom)


def _referenced(work: Work, sobject: SObject, name: str, value: dict[str, Any]) -> tuple[Field | None, str | None]:
    """`{"Account": {"Ext__c": "x"}}`: a lookup set by the external id of its target."""
    one = next((f for f in sobject.fields.values() if f.relationship and f.relationship.lower() == name.lower()), None)
    keys = [key for key in value if key != "attributes"]
    if one is None or len(keys) != 1:
        return None, None
    target = work.org.schema.get(value.get("attributes", {}).get("type", one.refers_to[0]))
    key = target.field(keys[0])
    if key is None or not (key.external_id or key.has("i")):
        message = f"Field name provided, {keys[0]} is not an External ID or indexed field for {target.name}"
        raise RowError("INVALID_FIELD", message)
    found = find_external(work, target, key, str(value[keys[0]]))
    if len(found) != 1:
        what = "not found" if not found else "matched more than one record"
        message = f"Foreign key external ID: {value[keys[0]]} {what} for field {key.name} in entity {target.name}"
        raise RowError("INVALID_FIELD", message)
    return one, found[0]


def _fill_defaults(work: Work, change: Change) -> None:
    for one in change.sobject.fields.values():
        if change.values.get(one.name) is None and one.name not in _AUDIT:
            given_null = one.name in change.given and one.has("n")
            if (default := one.default_value) is not None and not given_null:
                change.values[one.name] = default
    if change.sobject.has("OwnerId") and change["OwnerId"] is None:
        change["OwnerId"] = work.user_id


def _check_required(change: Change) -> None:
    missing = []
    for one in change.sobject.fields.values():
        if not one.required and (one.has("n") or one.name not in change.given):
            continue
        if change[one.name] is None:
            missing.append(one.name)
    if missing:
        message = f"Required fields are missing: [{', '.join(missing)}]"
        raise RowError("REQUIRED_FIELD_MISSING", message, tuple(missing))


def _check_references(work: Work, change: Change) -> None:
    for name, value in list(change.values.items()):
        one = change.sobject.field(name)
        if value is None or one is None or one.type != "reference":
            continue
        target = work.org.schema.of_id(value)
        if target is None or target.name not in one.refers_to:
            raise RowError("MALFORMED_ID", f"{one.label}: id value of incorrect type: {value}", (one.name,))
        row = work.store.get(target.name, value)
        if row is None:
            raise RowError("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", (one.name,))
        if row.get("IsDeleted"):
            raise entity_deleted(status=400)
        if not work.person and not work.org.access.sees(work.rights, target.name, value):
            message = f"insufficient access rights on cross-reference id: {value[:15]}"
            raise RowError("INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY", message)
        if name == "OwnerId" and target.name == "User" and not row["IsActive"] and change.differs(name):
            kind = change.sobject.label.lower()
            message = f"operation performed with inactive user [{value[:15]}] as owner of {kind}"
            raise RowError("INACTIVE_OWNER_OR_USER", message, ("OwnerId",))


def _check_unique(work: Work, change: Change) -> None:
    for one in change.sobject.fields.values():
        value = change.values.get(one.name)
        if not one.unique or value is None:
            continue
        folded = "" if one.case_sensitive or one.sql_type != "TEXT" else " COLLATE NOCASE"
        alive = " AND IsDeleted = 0" if change.sobject.has("IsDeleted") else ""
        sql = f'SELECT Id FROM "{change.sobject.name}" WHERE "{one.name}" = ?{folded} AND Id <> ?{alive} LIMIT 1'
        if (twin := work.store.value(sql, (value, change.record_id))) is not None:
            message = f"duplicate value found: {one.name} duplicates value on record with id: {twin[:15]}"
            raise RowError("DUPLICATE_VALUE", message)


def _stamp(work: Work, change: Change) -> None:
    change["SystemModstamp"] = work.now
    change["LastModifiedDate"] = work.now
    change["LastModifiedById"] = work.user_id
    if change.old is None:
        change["Id"] = change.record_id
        change["CreatedDate"] = work.now
        change["CreatedById"] = work.user_id
        change["IsDeleted"] = 0
