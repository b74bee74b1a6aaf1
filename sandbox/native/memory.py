"""What the integration remembers, among the portal's documents: links, what both sides last showed, errors, its state."""

from dataclasses import dataclass, field
from typing import Any, Literal

from sandbox.hubspot.store import Store
from sandbox.native.rules import Seen

Category = Literal[
    "associations", "custom_code", "duplicates", "permissions", "property_values", "rate_limits", "other"
]

_CATEGORIES: dict[str, Category] = {
    "APEX_ERROR": "custom_code",
    "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY": "custom_code",
    "FIELD_CUSTOM_VALIDATION_EXCEPTION": "custom_code",
    "DUPLICATES_DETECTED": "duplicates",
    "DUPLICATE_VALUE": "duplicates",
    "CONFLICT": "duplicates",
    "ENTITY_IS_DELETED": "associations",
    "INVALID_CROSS_REFERENCE_KEY": "associations",
    "CANNOT_UPDATE_CONVERTED_LEAD": "associations",
    "INSUFFICIENT_ACCESS_OR_READONLY": "permissions",
    "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY": "permissions",
    "INVALID_FIELD_FOR_INSERT_UPDATE": "permissions",
    "REQUEST_LIMIT_EXCEEDED": "rate_limits",
    "UNABLE_TO_LOCK_ROW": "rate_limits",
    "FIELD_INTEGRITY_EXCEPTION": "property_values",
    "INVALID_EMAIL_ADDRESS": "property_values",
    "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST": "property_values",
    "JSON_PARSER_ERROR": "property_values",
    "NUMBER_OUTSIDE_VALID_RANGE": "property_values",
    "REQUIRED_FIELD_MISSING": "property_values",
    "STRING_TOO_LONG": "property_values",
    "VALIDATION_ERROR": "property_values",
}


def categorise(code: str | None) -> Category:
    """The card of the sync-error page under which a refusal is shown."""
    return _CATEGORIES.get(code or "", "other")


@dataclass(slots=True)
class Link:
    """One record in both systems. `salesforce` is None once the Salesforce record is gone: it is not made again."""

    hubspot: int
    salesforce: str | None
    seen: dict[str, Seen] = field(default_factory=dict)


@dataclass(slots=True)
class State:
    """When the sync was switched on and last polled (UTC milliseconds; None: never), and the calls it spent today."""

    options: dict[str, Any] = field(default_factory=dict)
    enabled_ms: int | None = None
    polled_ms: int | None = None
    polls: int = 0
    call_day: int = 0
    calls: int = 0
    suspended: str | None = None


class Memory:
    """Used inside the portal's transaction only, so that what is remembered is true of what was written."""

    def __init__(self, store: Store) -> None:
        self._documents = store.documents

    def state(self) -> State:
        body = self._documents.get("native", "state")
        return State(**body) if body else State()

    def keep_state(self, state: State) -> None:
        self._documents.put("native", "state", {name: getattr(state, name) for name in State.__slots__})

    # links: by HubSpot id, and back by Salesforce id

    def link(self, kind: str, hubspot: int) -> Link | None:
        body = self._documents.get(f"native_{kind}", str(hubspot))
        if body is None:
            return None
        return Link(hubspot, body["salesforce"], {name: Seen(*pair) for name, pair in body["seen"].items()})

    def links(self, kind: str) -> dict[int, str | None]:
        """Salesforce ids by HubSpot id."""
        return {int(key): body["salesforce"] for key, body in self._documents.all(f"native_{kind}").items()}

    def keep_link(self, kind: str, link: Link) -> None:
        before = self.link(kind, link.hubspot)
        if before is not None and before.salesforce not in (None, link.salesforce):
            self._documents.drop("native_back", str(before.salesforce))
        seen = {name: [pair.hubspot, pair.salesforce] for name, pair in link.seen.items()}
        self._documents.put(f"native_{kind}", str(link.hubspot), {"salesforce": link.salesforce, "seen": seen})
        if link.salesforce is not None:
            self._documents.put("native_back", link.salesforce, link.hubspot)

    def drop_link(self, kind: str, link: Link) -> None:
        self._documents.drop(f"native_{kind}", str(link.hubspot))
        if link.salesforce is not None:
            self._documents.drop("native_back", link.salesforce)

    def linked_to(self, salesforce: str) -> int | None:
        """The HubSpot id of a linked Salesforce record."""
        found = self._documents.get("native_back", salesforce)
        return None if found is None else int(found)

    def let_go(self, salesforce: str) -> None:
        """A Salesforce record whose HubSpot record was deleted: no contact is made of it again."""
        self._documents.put("native_left", salesforce, True)

    def was_let_go(self, salesforce: str) -> bool:
        return self._documents.get("native_left", salesforce) is not None

    # copies of activities

    def copy(self, source: str) -> str | None:
        """The Task that holds the copy of `calls/<id>` or `forms/<conversion id>`."""
        found: str | None = self._documents.get("native_copy", source)
        return found

    def keep_copy(self, source: str, task_id: str) -> None:
        self._documents.put("native_copy", source, task_id)

    def copies(self) -> dict[str, str]:
        return self._documents.all("native_copy")

    # the error list

    def note_error(self, place: str, code: str | None, message: str, at_ms: int) -> None:
        """`place` is `contacts/<HubSpot id>` or a Salesforce id."""
        body = {"record": place, "category": categorise(code), "code": code, "message": message, "at_ms": at_ms}
        self._documents.put("native_error", place, body)

    def clear_error(self, place: str) -> None:
        self._documents.drop("native_error", place)

    def errors(self) -> list[dict[str, Any]]:
        return list(self._documents.all("native_error").values())
