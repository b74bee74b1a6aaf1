"""What happens to records: created, changed, archived, merged; by an app, a user in the UI, or HubSpot itself."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sandbox.clock import Clock
from sandbox.hubspot.associations import Associations, AssociationType
from sandbox.hubspot.derive import ROLLED_UP_ON, derived, moves_back, rolled_up
from sandbox.hubspot.errors import ApiError, conflict, invalid, invalid_values, not_found
from sandbox.hubspot.history import HistoryLog
from sandbox.hubspot.object_types import CONTACTS, DEALS, MEETINGS, ObjectType
from sandbox.hubspot.schema import Schema
from sandbox.hubspot.store import Properties, Row, Store
from sandbox.hubspot.values import check_values
from sandbox.hubspot.wire import stamp, whole


@dataclass(frozen=True, slots=True)
class Source:
    """Who writes. `kind` is the `sourceType` that property history shows."""

    kind: Literal["INTEGRATION", "CRM_UI", "CALCULATED", "ANALYTICS", "FORM", "IMPORT", "MERGE_OBJECTS", "SALESFORCE"]
    id: str | None = None
    user_id: int | None = None
    label: str | None = None


CALCULATED = Source("CALCULATED", "RollupProperties")
ANALYTICS = Source("ANALYTICS", "ContactAnalyticsDetailsUpdateWorker")

Links = Iterable[tuple[AssociationType, int]]


class Records:
    """`lag_ms`: how much later search sees a write. `stages` and `is_owner` answer for other parts of the portal."""

    def __init__(
        self,
        store: Store,
        schema: Schema,
        links: Associations,
        clock: Clock,
        portal_id: int,
        lag_ms: int,
        stages: Callable[[], Mapping[str, tuple[str, bool, float]]],
        is_owner: Callable[[str], bool],
    ) -> None:
        self._store = store
        self._schema = schema
        self._links = links
        self._clock = clock
        self._portal_id = portal_id
        self._lag_ms = lag_ms
        self._stages = stages
        self._is_owner = is_owner
        self._log = HistoryLog(store)

    def find(self, kind: ObjectType, key: str, id_property: str | None = None, *, archived: bool = False) -> Row:
        """The record behind an id (merged-away ids lead to the survivor) or a unique property's value; 404 if none."""
        if id_property and id_property != "hs_object_id":
            row_id = self.by_unique(kind, id_property, key)
        else:
            number = whole(key)
            row_id = None if number is None else self.survivor(kind, number)
        row = self._store.get(kind, [row_id]).get(row_id) if row_id is not None else None
        if row is None or (row.archived_ms is not None) != archived:
            raise not_found(key)
        return row

    def by_unique(self, kind: ObjectType, name: str, value: str) -> int | None:
        """The id that holds `value`; 400 if the property is not unique."""
        prop = self._schema.get(kind, name)
        if prop is None or not prop.unique:
            raise invalid(
                f"Unable to perform update/upsert by non-unique {kind.type_id} property {name} "
                f"in portal ID {self._portal_id}"
            )
        sql = "SELECT id FROM unique_value WHERE type = ? AND name = ? AND value = ?"
        found = self._store.db.execute(sql, (kind.number, name, value.strip().lower())).fetchone()
        return None if found is None else int(found[0])

    def survivor(self, kind: ObjectType, row_id: int) -> int:
        sql = "SELECT new_id FROM merged WHERE type = ? AND old_id = ?"
        found = self._store.db.execute(sql, (kind.number, row_id)).fetchone()
        return row_id if found is None else int(found[0])

    def create(self, kind: ObjectType, given: Mapping[str, Any], source: Source, links: Links = ()) -> Row:
        """A new record; 400 for bad values, 409 for a contact whose email exists."""
        now = self._clock.now_ms()
        clean = self._checked(kind, given, {}, source)
        if kind is CONTACTS and self._store.documents.get("blocked_email", clean.get("email") or ""):
            raise invalid(f"{clean['email']} is on the blocklist of privacy deletions.")
        if kind is MEETINGS and not clean.get("hs_timestamp") and clean.get("hs_meeting_start_time"):
            clean["hs_timestamp"] = clean["hs_meeting_start_time"]
        absent = [name for name in kind.required if not clean.get(name)]
        if absent:
            message = f"Error creating {kind.legacy}. Some required properties were not set."
            raise ApiError(400, message, "VALIDATION_ERROR", context={"properties": absent})
        if kind is DEALS and clean.get("dealstage"):
            clean.setdefault("pipeline", self._stages()[clean["dealstage"] or ""][0])
        values: Properties = dict(clean)
        values |= derived(kind, clean, values, now, self._stages())
        values |= _origin(source)
        if kind is DEALS:
            values.setdefault("createdate", stamp(now))
        row = Row(self._store.next_id(kind), now, now, None, {k: v for k, v in values.items() if v is not None})
        self._claim(kind, row.id, {}, row.properties, created=True)
        self._store.insert(kind, row, now + self._lag_ms, now)
        self.link(kind, row, links)
        return row

    def update(self, kind: ObjectType, row: Row, given: Mapping[str, Any], source: Source) -> Row:
        """Set the given properties; any write moves the modified date, even to equal values."""
        clean = self._checked(kind, given, row.properties, source)
        stage = "lifecyclestage"
        if source.kind == "INTEGRATION" and stage in clean and moves_back(row.properties.get(stage), clean[stage]):
            del clean[stage]
        changed = {name: value for name, value in clean.items() if value != row.properties.get(name)}
        after = {**row.properties, **changed}
        changed |= derived(kind, changed, after, self._clock.now_ms(), self._stages())
        return self.apply(kind, row, changed, source)

    def apply(self, kind: ObjectType, row: Row, changed: Properties, source: Source) -> Row:
        """Write checked values with history and a new modified date."""
        now = self._clock.now_ms()
        after: Properties = {k: v for k, v in {**row.properties, **changed}.items() if v is not None}
        self._claim(kind, row.id, row.properties, after, created=False)
        self._log.note(kind, row, changed, now, source.kind, source.id, source.user_id)
        new = Row(row.id, row.created_ms, now, row.archived_ms, after)
        self._store.replace(kind, new, now + self._lag_ms, now)
        return new

    def archive(self, kind: ObjectType, row: Row) -> None:
        """Into the recycle bin: gone from lists and search, its unique values free again."""
        if kind is CONTACTS:
            self._store.db.execute("DELETE FROM membership WHERE record_id = ?", (row.id,))
        now = self._clock.now_ms()
        self._claim(kind, row.id, row.properties, {}, created=False)
        # Search drops archived rows at once: the index is cleared of a row long before a changed one is seen.
        self._store.replace(kind, Row(row.id, row.created_ms, now, now, row.properties), now, now)
        self._store.db.execute(f"DELETE FROM {kind.name}_unindexed WHERE id = ?", (row.id,))

    def restore(self, kind: ObjectType, row: Row) -> Row:
        now = self._clock.now_ms()
        self._claim(kind, row.id, {}, row.properties, created=False)
        new = Row(row.id, row.created_ms, now, None, row.properties)
        self._store.replace(kind, new, now + self._lag_ms, now)
        return new

    def link(self, kind: ObjectType, row: Row, links: Links) -> None:
        """Associate; an activity newly linked to a contact, company or deal moves that record's roll-ups."""
        for link, target_id in links:
            if target_id not in self._store.get(link.target, [target_id]):
                raise invalid(f"No {link.target.singular} with ID {target_id} exists.", ids=[str(target_id)])
            plain = not (link.primary or link.label)
            if plain:
                new = self._links.add_plain(kind, row.id, link.target, target_id)
            else:
                new = self._links.add(row.id, target_id, link)
            if new:
                self._roll_up(kind, row, link.target, target_id)

    def _roll_up(self, kind: ObjectType, row: Row, other: ObjectType, other_id: int) -> None:
        if other.engagement and kind in ROLLED_UP_ON:
            activity = self._store.get(other, [other_id])[other_id]
            self._roll_up(other, activity, kind, row.id)
            return
        if not kind.engagement or other not in ROLLED_UP_ON:
            return
        record = self._store.get(other, [other_id])[other_id]
        changed = rolled_up(kind, row.properties, record.properties, self._clock.now_ms())
        self.apply(other, record, changed, CALCULATED)

    def _checked(self, kind: ObjectType, given: Mapping[str, Any], current: Properties, source: Source) -> Properties:
        by_user = source.kind != "INTEGRATION"
        clean, problems = check_values(self._schema, kind, given, current, self._is_owner, by_user=by_user)
        if problems:
            raise invalid_values(problems)
        return clean

    def claim(self, kind: ObjectType, row: Row) -> None:
        """Hold the unique values of a row written outside `create` and `update`."""
        self._claim(kind, row.id, {}, row.properties, created=False)

    def _claim(self, kind: ObjectType, row_id: int, before: Properties, after: Properties, *, created: bool) -> None:
        """Hold the unique values of a record; refuse those that another one holds."""
        names = self._schema.unique_names(kind)
        if not names:
            return
        old, new = _claims(kind, names, before), _claims(kind, names, after)
        for name, value in new - old:
            holder = self.by_unique(kind, name, value)
            if holder is not None and holder != row_id:
                raise self._taken(kind, row_id, name, value, holder, created)
        db = self._store.db
        sql = "DELETE FROM unique_value WHERE type = ? AND name = ? AND value = ? AND id = ?"
        db.executemany(sql, [(kind.number, name, value, row_id) for name, value in old - new])
        sql = "INSERT OR REPLACE INTO unique_value VALUES (?, ?, ?, ?)"
        db.executemany(sql, [(kind.number, name, value, row_id) for name, value in new - old])

    def _taken(self, kind: ObjectType, row_id: int, name: str, value: str, holder: int, created: bool) -> ApiError:
        if created and kind is CONTACTS and name == "email":
            return conflict(f"Contact already exists. Existing ID: {holder}")
        return invalid(
            f"Cannot set PropertyValueCoordinates{{portalId={self._portal_id}, "
            f"objectTypeId=ObjectTypeId{{legacyObjectType={kind.legacy}}}, propertyName={name}, value={value}}} "
            f"on {row_id}. {holder} already has that value."
        )


def _claims(kind: ObjectType, names: Iterable[str], values: Properties) -> set[tuple[str, str]]:
    claims = {(name, value.strip().lower()) for name in names if (value := values.get(name))}
    if kind is CONTACTS:
        others = (values.get("hs_additional_emails") or "").split(";")
        claims |= {("email", other.strip().lower()) for other in others if other}
    return claims


def _origin(source: Source) -> Properties:
    same = ("INTEGRATION", "CRM_UI", "IMPORT", "SALESFORCE")
    labels = {"FORM": "FORMS", **{kind: kind for kind in same}}
    return {
        "hs_object_source": source.kind,
        "hs_object_source_id": source.id,
        "hs_object_source_label": labels.get(source.kind, "INTERNAL_PROCESSING"),
        "hs_object_source_detail_1": source.label,
    }
