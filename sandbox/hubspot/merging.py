"""Merge and privacy deletion: the two ways in which a record leaves without passing the recycle bin."""

from sandbox.hubspot.associations import Associations
from sandbox.hubspot.errors import invalid
from sandbox.hubspot.history import HistoryLog
from sandbox.hubspot.object_types import CONTACTS, ObjectType
from sandbox.hubspot.records import Records
from sandbox.hubspot.schema import Schema
from sandbox.hubspot.store import Properties, Row, Store


def merge(
    store: Store,
    schema: Schema,
    records: Records,
    links: Associations,
    kind: ObjectType,
    primary: Row,
    other: Row,
    now_ms: int,
    lag_ms: int,
) -> Row:
    """Both records go, a new one with a new id takes their place; both old ids lead to it from then on.

    The primary's values win; gaps are filled from the other; a second email becomes an additional one.
    """
    if primary.id == other.id:
        raise invalid(f"Cannot merge object {primary.id} with itself.")
    new_id = store.next_id(kind)
    gone = [*_merged_ids(primary), str(primary.id), *_merged_ids(other), str(other.id)]
    values: Properties = {**other.properties, **primary.properties}
    values["hs_merged_object_ids"] = ";".join(dict.fromkeys(gone))
    if kind is CONTACTS:
        values["hs_calculated_merged_vids"] = ";".join(f"{old}:{now_ms}" for old in dict.fromkeys(gone))
        _merge_emails(values, primary.properties, other.properties)
    own = schema.unique_names(kind)
    for row in (primary, other):
        store.db.execute("DELETE FROM unique_value WHERE type = ? AND id = ?", (kind.number, row.id))
        store.remove(kind, row.id)
        store.db.execute("UPDATE merged SET new_id = ? WHERE type = ? AND new_id = ?", (new_id, kind.number, row.id))
        store.db.execute("INSERT OR REPLACE INTO merged VALUES (?, ?, ?)", (kind.number, row.id, new_id))
    created = min(primary.created_ms, other.created_ms)
    new = Row(new_id, created, now_ms, None, {name: value for name, value in values.items() if value is not None})
    if own:
        records.claim(kind, new)
    store.insert(kind, new, now_ms + lag_ms, now_ms)
    links.move(kind, primary.id, new_id)
    links.move(kind, other.id, new_id)
    log = HistoryLog(store)
    log.move(kind, primary.id, new_id)
    log.forget(kind, other.id)
    if kind is CONTACTS:
        _move_marketing(store, (primary.id, other.id), new_id)
    return new


def erase(store: Store, links: Associations, kind: ObjectType, row: Row) -> None:
    """Privacy deletion: nothing of the record stays."""
    links.remove_all(kind, row.id)
    HistoryLog(store).forget(kind, row.id)
    store.db.execute("DELETE FROM unique_value WHERE type = ? AND id = ?", (kind.number, row.id))
    store.db.execute("DELETE FROM membership WHERE record_id = ?", (row.id,))
    store.db.execute("DELETE FROM participation WHERE contact_id = ?", (row.id,))
    store.db.execute("DELETE FROM web_event WHERE object_type = ? AND object_id = ?", (kind.number, row.id))
    email = row.properties.get("email")
    if email:
        store.db.execute("DELETE FROM email_event WHERE recipient = ?", (email,))
    store.remove(kind, row.id)


def _merged_ids(row: Row) -> list[str]:
    return [old for old in (row.properties.get("hs_merged_object_ids") or "").split(";") if old]


def _merge_emails(values: Properties, primary: Properties, other: Properties) -> None:
    main = primary.get("email") or other.get("email")
    extra = [email for props in (primary, other) for email in (props.get("hs_additional_emails") or "").split(";")]
    extra = [email for email in (*extra, primary.get("email"), other.get("email")) if email and email != main]
    values["email"] = main
    values["hs_additional_emails"] = ";".join(dict.fromkeys(extra)) or None


def _move_marketing(store: Store, old_ids: tuple[int, int], new_id: int) -> None:
    for old_id in old_ids:
        for table, column in (("membership", "record_id"), ("participation", "contact_id")):
            store.db.execute(f"UPDATE OR REPLACE {table} SET {column} = ? WHERE {column} = ?", (new_id, old_id))
        store.db.execute(
            "UPDATE web_event SET object_id = ? WHERE object_type = ? AND object_id = ?",
            (new_id, CONTACTS.number, old_id),
        )
