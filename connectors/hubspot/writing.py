"""Score fields by batch update. Results in order; a bad row never raises."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

from connectors.fields import OUTPUT_FIELDS
from connectors.hubspot.api import HubSpotApi
from connectors.protocol import FieldWrite
from core.errors import ConnectorError, Forbidden, Gone, OutcomeUnknown, Rejected, Transient
from core.records import RecordRef, Value, to_date, to_datetime

Outcome = tuple[Literal["ok", "rejected", "retryable", "unknown"], str | None, ConnectorError | None]
"""Status, the task's id, and what went wrong: the parts of a `WriteResult`."""


class FieldWriter:
    """Absolute values of our own properties, by contact id, up to 100 in a call.

    Args:
        api: calls.
        system: connection name.
        names: fields that exist in this portal (`fields: minimal` has six); others are left out of every write.
    """

    def __init__(self, api: HubSpotApi, system: str, names: Collection[str]) -> None:
        self._api = api
        self._system = system
        self._names = names

    def send(self, writes: Sequence[FieldWrite]) -> list[Outcome]:
        outcomes: dict[int, Outcome] = {}
        inputs: list[tuple[int, dict[str, Any]]] = []
        for place, write in enumerate(writes):
            try:
                row = self._field_input(write)
            except Rejected as error:
                outcomes[place] = ("rejected", None, error)
                continue
            if row["properties"]:
                inputs.append((place, row))
            else:
                outcomes[place] = ("ok", None, None)
        self._update(inputs, outcomes)
        return [outcomes[place] for place in range(len(writes))]

    def _field_input(self, write: FieldWrite) -> dict[str, Any]:
        identifier = own_contact(write.ref, self._system)
        wire = {name: self._wire(name, value) for name, value in write.values.items()}
        return {"id": identifier, "properties": {f"mikomi_{n}": value for n, value in wire.items() if n in self._names}}

    def _wire(self, name: str, value: Value) -> str:
        field = OUTPUT_FIELDS.get(name)
        if field is None or field.by_rep:
            raise Rejected(
                f"{name} is no field that Mikomi writes", code="WRONG_FIELD", fields=(name,), system=self._system
            )
        if value is None:
            return ""
        if field.type in {"integer", "date", "datetime"}:
            if isinstance(value, bool) or not isinstance(value, int):
                raise Rejected(f"{name} needs an integer", code="WRONG_TYPE", fields=(name,), system=self._system)
            if field.type == "date":
                return to_date(value).isoformat()
            return str(value) if field.type == "integer" else iso(value)
        text = str(value)
        return text[: field.length] if field.length else text

    def _update(self, inputs: list[tuple[int, dict[str, Any]]], outcomes: dict[int, Outcome]) -> None:
        """Send one batch; where HubSpot refuses it whole, halve it until the bad rows stand alone."""
        if not inputs:
            return
        body = {"inputs": [row for _, row in inputs]}
        try:
            answer = self._api.post(
                "/crm/v3/objects/{type}/batch/update", body, kind="write", effect="repeatable", type="contacts"
            )
        except (Transient, OutcomeUnknown) as error:
            outcomes.update(dict.fromkeys((place for place, _ in inputs), lost_or_refused(error)))
            return
        except Rejected as error:
            stop_if_fields_are_missing(error, self._system)
            if len(inputs) == 1:
                outcomes[inputs[0][0]] = ("rejected", None, error)
                return
            middle = len(inputs) // 2
            self._update(inputs[:middle], outcomes)
            self._update(inputs[middle:], outcomes)
            return
        self._settle_update(inputs, answer, outcomes)

    def _settle_update(
        self, inputs: list[tuple[int, dict[str, Any]]], answer: Mapping[str, Any], outcomes: dict[int, Outcome]
    ) -> None:
        done = {str(row.get("id")) for row in answer.get("results") or ()}
        failed = {i: e for e in answer.get("errors") or () for i in (e.get("context") or {}).get("ids") or ()}
        for place, row in inputs:
            identifier = row["id"]
            if identifier in done:
                outcomes[place] = ("ok", None, None)
            elif identifier in failed:
                outcomes[place] = ("rejected", None, self._refused_row(identifier, failed[identifier]))
            else:
                lost = OutcomeUnknown("HubSpot's answer does not mention the row", system=self._system)
                outcomes[place] = ("unknown", None, lost)

    def _refused_row(self, identifier: str, error: Mapping[str, Any]) -> ConnectorError:
        """A row that batch update does not find may live on under another id: merged records resolve only one by one."""
        category = str(error.get("category") or "")
        if category != "OBJECT_NOT_FOUND":
            return Rejected(f"HubSpot refused the row: {category}", code=category, system=self._system)
        survivor = self.survivor_of(identifier)
        if survivor is None:
            return Gone("the contact is deleted", code=category, system=self._system)
        return Gone("the contact lives on under another id", survivor=survivor, code=category, system=self._system)

    def survivor_of(self, identifier: str) -> str | None:
        """The id that a contact's id leads to now; None if it is gone."""
        try:
            path = "/crm/v3/objects/{type}/{id}"
            row = self._api.get(path, query=[("properties", "hs_object_id")], type="contacts", id=identifier)
        except Gone:
            return None
        return str(row.get("id"))


def own_contact(ref: RecordRef, system: str) -> str:
    """The id of a contact of this portal. Raises Rejected for any other record."""
    if ref.system != system or ref.kind != "contact" or not ref.id.isdigit():
        raise Rejected(f"{ref.system}/{ref.kind} is no contact of this portal", code="WRONG_RECORD", system=system)
    return ref.id


def stop_if_fields_are_missing(error: Rejected, system: str) -> None:
    """Missing properties are no fault of a row: the whole system stops, and a person runs setup."""
    if error.code == "PROPERTY_DOESNT_EXIST":
        raise Forbidden(
            f"Mikomi's fields are missing in this portal: {', '.join(error.fields) or 'see doctor'}",
            missing=error.fields,
            system=system,
            hint="run mikomi setup --apply",
        ) from error


def lost_or_refused(error: ConnectorError) -> Outcome:
    """A batch without an answer: nothing happened, or nobody knows."""
    return ("unknown" if isinstance(error, OutcomeUnknown) else "retryable", None, error)


def iso(at: int) -> str:
    return to_datetime(at).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at % 1000:03d}Z"
