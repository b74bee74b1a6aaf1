"""Score fields by batch update. Results in order; a bad row never raises.

Every input of a batch has its own end, whatever the answer looks like: `ok`, `rejected`, `retryable` (nothing happened) or
`unknown` (nobody can tell). What an answer does not say clearly about a row is unknown.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from connectors.fields import OUTPUT_FIELDS
from connectors.hubspot.api import HubSpotApi
from connectors.hubspot.faults import read_refusal
from connectors.protocol import FieldWrite
from core.errors import ConnectorError, Forbidden, Gone, OutcomeUnknown, Rejected, Transient, Unexpected
from core.records import RecordRef, Value, to_date, to_datetime

Outcome = tuple[Literal["ok", "rejected", "retryable", "unknown"], str | None, ConnectorError | None]
"""Status, the task's id, and what went wrong: the parts of a `WriteResult`."""

Input = tuple[int, dict[str, Any]]
"""A row of a batch, and its place among the writes."""


@dataclass(slots=True)
class Sent:
    """What became of the writes of one batch, by place. Where `fault` ended it, those without an outcome were not sent."""

    outcomes: dict[int, Outcome] = field(default_factory=dict)
    fault: ConnectorError | None = None

    def settle(self, places: Collection[int], outcome: Outcome) -> None:
        self.outcomes.update(dict.fromkeys(places, outcome))


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

    def send(self, writes: Sequence[FieldWrite]) -> Sent:
        sent = Sent()
        inputs: list[Input] = []
        for place, write in enumerate(writes):
            try:
                row = self._field_input(write)
            except Rejected as error:
                sent.outcomes[place] = ("rejected", None, error)
                continue
            if row["properties"]:
                inputs.append((place, row))
            else:
                sent.outcomes[place] = ("ok", None, None)
        send_in_halves(inputs, sent, self._system, self._post, self._settle)
        return sent

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

    def _post(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        path = "/crm/v3/objects/{type}/batch/update"
        return self._api.post(path, {"inputs": rows}, kind="write", effect="repeatable", type="contacts")

    def _settle(self, inputs: Sequence[Input], answer: Mapping[str, Any], sent: Sent) -> None:
        done = {str(row.get("id")) for row in objects_in(answer, "results")}
        failed = {str(i): e for e in objects_in(answer, "errors") for i in names_in(e, "ids")}
        for place, row in inputs:
            identifier = row["id"]
            if identifier in done:
                sent.outcomes[place] = ("ok", None, None)
            elif identifier in failed:
                sent.outcomes[place] = outcome_of(self._refused_row(identifier, failed[identifier]))
            else:
                lost = OutcomeUnknown("HubSpot's answer does not mention the row", system=self._system)
                sent.outcomes[place] = outcome_of(lost)

    def _refused_row(self, identifier: str, error: Mapping[str, Any]) -> ConnectorError:
        """A row that batch update does not find may live on under another id: merged records resolve only one by one."""
        category = str(error.get("category") or "")
        if category != "OBJECT_NOT_FOUND":
            return row_error(error, "row", self._system)
        try:
            survivor = survivor_of(self._api, identifier)
        except (Transient, OutcomeUnknown) as fault:
            return fault  # not told apart yet: the next attempt asks again
        if survivor is None:
            return Gone("the contact is deleted", code=category, system=self._system)
        return Gone("the contact lives on under another id", survivor=survivor, code=category, system=self._system)


def survivor_of(api: HubSpotApi, identifier: str) -> str | None:
    """The id that a contact's id leads to now; None if it is gone."""
    try:
        path = "/crm/v3/objects/{type}/{id}"
        row = api.get(path, query=[("properties", "hs_object_id")], type="contacts", id=identifier)
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


def send_in_halves(
    inputs: Sequence[Input],
    sent: Sent,
    system: str,
    post: Callable[[list[dict[str, Any]]], Mapping[str, Any]],
    settle: Callable[[Sequence[Input], Mapping[str, Any], Sent], None],
    refused: Callable[[int, Rejected, Sent], None] | None = None,
) -> None:
    """Send one batch; where HubSpot refuses it whole, halve it until the bad rows stand alone.

    Args:
        post: makes the call.
        settle: says what an answer means for each row.
        refused: says what the refusal of a single row means; for good, if not given.

    """
    if not inputs or sent.fault is not None:
        return
    places = [place for place, _ in inputs]
    try:
        answer = post([row for _, row in inputs])
    except (Transient, OutcomeUnknown) as error:
        sent.settle(places, outcome_of(error))
    except Rejected as error:
        try:
            stop_if_fields_are_missing(error, system)
        except Forbidden as fault:
            sent.fault = fault
            return
        if len(inputs) == 1:
            if refused is None:
                sent.settle(places, outcome_of(error))
            else:
                refused(places[0], error, sent)
            return
        middle = len(inputs) // 2
        for half in (inputs[:middle], inputs[middle:]):
            send_in_halves(half, sent, system, post, settle, refused)
    except Unexpected as error:  # outside the API's contract: nothing says that it was not carried out
        sent.settle(places, ("unknown", None, error))
        sent.fault = error
    except ConnectorError as error:
        sent.fault = error
    else:
        settle(inputs, answer, sent)


def outcome_of(error: ConnectorError) -> Outcome:
    """The end of a row that was not answered with success."""
    if isinstance(error, Rejected):
        return ("rejected", None, error)
    return ("retryable" if isinstance(error, Transient) else "unknown", None, error)


def row_error(error: Mapping[str, Any], what: str, system: str) -> ConnectorError:
    """What the error of one row in an answer of 207 means. A shape that we do not know tells nothing."""
    refusal = read_refusal(400, dict(error))
    category = refusal.category
    if "RATE_LIMIT" in category:
        return Transient(f"HubSpot asks to slow down with the {what}", system=system)
    if not category or "INTERNAL" in category:
        return OutcomeUnknown(f"HubSpot's error does not say what became of the {what}", system=system)
    named = f" for {', '.join(refusal.fields)}" if refusal.fields else ""
    return Rejected(
        f"HubSpot refused the {what}: {category}{named}", code=category, fields=refusal.fields, system=system
    )


def objects_in(answer: Mapping[str, Any], name: str) -> Iterator[Mapping[str, Any]]:
    """The objects of a list in an answer; anything else in its place is left out."""
    rows = answer.get(name)
    return (row for row in (rows if isinstance(rows, list) else ()) if isinstance(row, dict))


def names_in(error: Mapping[str, Any], key: str) -> list[str]:
    """Ids or trace ids that the error of a row names."""
    context = error.get("context")
    found = context.get(key) if isinstance(context, dict) else None
    return [str(name) for name in (found if isinstance(found, list) else [found] if found else [])]


def iso(at: int) -> str:
    return to_datetime(at).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at % 1000:03d}Z"
