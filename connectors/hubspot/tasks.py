"""Tasks by batch create, and the one door for writes of both kinds.

Tasks are created, not upserted: only create takes associations in the same call, and an upsert sent again would undo what the
rep has done to the task since. Where the key is a unique property, HubSpot itself refuses a second task with the same key; the
refusal is answered by looking the first one up in the primary store. So attempts may repeat, and the effect does not. Where it
is a plain one, a create is sent once and never repeated by itself; the key also stands in the body, for people to see.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from connectors.hubspot.api import HubSpotApi
from connectors.hubspot.writing import (
    FieldWriter,
    Input,
    Sent,
    iso,
    names_in,
    objects_in,
    outcome_of,
    own_contact,
    row_error,
    send_in_halves,
    survivor_of,
)
from connectors.protocol import FieldWrite, TaskWrite, Write, WriteResult
from core.errors import ConnectorError, Forbidden, Gone, OutcomeUnknown, Rejected, Transient, Unexpected
from core.records import Day, Millis

BATCH_ROWS = 100
TASK_KEY = "mikomi_key"
_TASK_TO_CONTACT = 204


def write_all(fields: FieldWriter, tasks: "TaskWriter", writes: Sequence[Write]) -> Iterator[WriteResult]:
    """One result per write, in order, batch by batch. After a batch that could not be sent, the rest is not tried.

    Raises:
        ConnectorError: faults that concern every row: credential, quota, missing fields. In the place of the first write
            that was not sent.
    """
    stopped: ConnectorError | None = None
    for batch in _batches(writes):
        if stopped is not None:
            yield from (WriteResult(write, "retryable", error=stopped) for write in batch)
            continue
        if isinstance(batch[0], TaskWrite):
            sent = tasks.send([w for w in batch if isinstance(w, TaskWrite)])
        else:
            sent = fields.send([w for w in batch if isinstance(w, FieldWrite)])
        known = max(sent.outcomes, default=-1) + 1
        for place, write in enumerate(batch[:known]):
            status, crm_id, error = sent.outcomes.get(place, ("retryable", None, sent.fault))
            yield WriteResult(write, status, crm_id, error)
            if status == "retryable":
                stopped = error
        if sent.fault is not None:
            raise sent.fault


class TaskWriter:
    """Creates tasks, at most one per key.

    Args:
        api: calls.
        system: connection name.
        unique: whether the key on tasks is unique, asked before each batch; None where tasks have no key at all.
        due_at: the instant that a due day is shown as.
    """

    def __init__(
        self, api: HubSpotApi, system: str, unique: Callable[[], bool | None], due_at: Callable[[Day], Millis]
    ) -> None:
        self._api = api
        self._system = system
        self._is_unique = unique
        self._due_at = due_at

    def send(self, writes: Sequence[TaskWrite]) -> Sent:
        unique = self._is_unique()
        if unique is None:
            raise Forbidden(
                f"tasks have no property {TASK_KEY}, so a task could be made twice",
                missing=(TASK_KEY,),
                system=self._system,
                hint="run mikomi setup --apply",
            )
        sent = Sent()
        inputs: list[Input] = []
        for place, write in enumerate(writes):
            try:
                inputs.append((place, self._task_input(write, unique=unique)))
            except Rejected as error:
                sent.outcomes[place] = ("rejected", None, error)
        if unique:
            send_in_halves(inputs, sent, self._system, self._post, self._settle, self._refuse(inputs))
        else:
            send_in_halves(inputs, sent, self._system, self._post_once, self._settle_once)
        self._name_survivors(writes, sent)
        return sent

    def _name_survivors(self, writes: Sequence[TaskWrite], sent: Sent) -> None:
        """A refusal names no cause: the contact may be gone, and live on under another id."""
        refused = {
            place: writes[place].ref.id
            for place, (status, _, error) in sent.outcomes.items()
            if status == "rejected" and type(error) is Rejected and writes[place].ref.system == self._system
        }
        if not refused or sent.fault is not None:
            return
        try:
            moved = self._moved(set(refused.values()))
        except ConnectorError:
            return  # the refusals stand as they are, and are tried again some day
        for place, contact in refused.items():
            if contact in moved:
                survivor = moved[contact]
                what = "lives on under another id" if survivor else "is deleted"
                gone = Gone(f"the contact {what}", survivor=survivor, code="CONTACT_GONE", system=self._system)
                sent.outcomes[place] = outcome_of(gone)

    def _moved(self, contacts: set[str]) -> dict[str, str | None]:
        """Contacts that are not there any more, with the id that each leads to now (None: deleted)."""
        body = {
            "properties": ["hs_object_id"],
            "propertiesWithHistory": [],
            "inputs": [{"id": c} for c in sorted(contacts)],
        }
        answer = self._api.post("/crm/v3/objects/{type}/batch/read", body, type="contacts")
        there = {str(row.get("id")) for row in objects_in(answer, "results")}
        return {contact: survivor_of(self._api, contact) for contact in contacts - there}

    def _task_input(self, write: TaskWrite, *, unique: bool) -> dict[str, Any]:
        contact = own_contact(write.ref, self._system)
        properties = {
            TASK_KEY: write.key,
            "hs_timestamp": iso(self._due_at(write.due)),
            "hs_task_subject": write.subject,
            "hs_task_body": _html(write.body if unique else with_reference(write)),
            "hs_task_status": "NOT_STARTED",
            "hs_task_priority": "HIGH" if write.priority == "high" else "MEDIUM",
            "hs_task_type": "CALL",
            "hubspot_owner_id": write.owner_id,
        }
        link = {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": _TASK_TO_CONTACT}
        association = {"to": {"id": contact}, "types": [link]}
        return {"objectWriteTraceId": write.key, "properties": properties, "associations": [association]}

    def _post(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """The trace id in every row makes HubSpot answer per row; a batch refused whole is halved all the same."""
        path = "/crm/v3/objects/{type}/batch/create"
        return self._api.post(path, {"inputs": rows}, kind="write", effect="repeatable", type="tasks")

    def _post_once(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        path = "/crm/v3/objects/{type}/batch/create"
        return self._api.post(path, {"inputs": rows}, kind="write", effect="once", type="tasks")

    def _settle(self, inputs: Sequence[Input], answer: Mapping[str, Any], sent: Sent) -> None:
        refused = self._read(inputs, answer, sent)
        self._settle_refused({place: (key_of(row), refused[place]) for place, row in inputs if place in refused}, sent)

    def _settle_once(self, inputs: Sequence[Input], answer: Mapping[str, Any], sent: Sent) -> None:
        for place, error in self._read(inputs, answer, sent).items():
            sent.outcomes[place] = outcome_of(error)

    def _read(self, inputs: Sequence[Input], answer: Mapping[str, Any], sent: Sent) -> dict[int, ConnectorError]:
        """Fill in what the answer says was made; what it says of the others, by place."""
        places = {key_of(row): place for place, row in inputs}
        ids: set[str] = set()
        for row in objects_in(answer, "results"):
            properties = row.get("properties")
            key = row.get("objectWriteTraceId") or (properties.get(TASK_KEY) if isinstance(properties, dict) else None)
            identifier = str(row.get("id") or "")
            if key in places and places[key] not in sent.outcomes and identifier.isdigit() and identifier not in ids:
                sent.outcomes[places[key]] = ("ok", identifier, None)
                ids.add(identifier)
        refused: dict[int, ConnectorError] = {}
        for error in objects_in(answer, "errors"):
            for key in names_in(error, "objectWriteTraceId"):
                if key in places and places[key] not in sent.outcomes:
                    refused[places[key]] = row_error(error, "task", self._system)
        for place in places.values():
            if place not in sent.outcomes and place not in refused:
                refused[place] = OutcomeUnknown("HubSpot's answer does not mention the task", system=self._system)
        return refused

    def _refuse(self, inputs: Sequence[Input]) -> Callable[[int, Rejected, Sent], None]:
        keys = {place: key_of(row) for place, row in inputs}

        def refuse(place: int, error: Rejected, sent: Sent) -> None:
            self._settle_refused({place: (keys[place], error)}, sent)

        return refuse

    def _settle_refused(self, refused: Mapping[int, tuple[str, ConnectorError]], sent: Sent) -> None:
        """A refused key may be there already, from an attempt whose answer was lost: then that is the result."""
        if not refused:
            return
        try:
            existing = self._tasks_by_key([key for key, _ in refused.values()])
        except (Transient, OutcomeUnknown, Unexpected) as fault:
            sent.settle(list(refused), ("unknown", None, fault))
            return
        except ConnectorError as fault:
            sent.settle(list(refused), ("unknown", None, fault))
            sent.fault = fault
            return
        for place, (key, error) in refused.items():
            sent.outcomes[place] = ("ok", existing[key], None) if key in existing else outcome_of(error)

    def _tasks_by_key(self, keys: Sequence[str]) -> dict[str, str]:
        """Ids of the tasks that carry these keys, from the primary store (the search index lags)."""
        body: dict[str, object] = {
            "idProperty": TASK_KEY,
            "properties": [TASK_KEY],
            "propertiesWithHistory": [],
            "inputs": [{"id": key} for key in keys],
        }
        answer = self._api.post("/crm/v3/objects/{type}/batch/read", body, type="tasks")
        rows = (row for row in objects_in(answer, "results") if isinstance(row.get("properties"), dict))
        return {str(r["properties"][TASK_KEY]): str(r.get("id")) for r in rows if r["properties"].get(TASK_KEY)}


def key_of(row: Mapping[str, Any]) -> str:
    return str(row["objectWriteTraceId"])


def with_reference(write: TaskWrite) -> str:
    """The body with the key in sight: where the CRM does not keep keys unique, a person may have to."""
    return f"{write.body}\n\n[ref: {write.key}]"


def _batches(writes: Sequence[Write]) -> Iterator[list[Write]]:
    """Runs of one kind, at most 100 long, no record or key twice in one (HubSpot refuses doubles in a batch)."""
    for _, run in groupby(writes, key=type):
        batch: list[Write] = []
        seen: set[str] = set()
        for write in run:
            key = write.key if isinstance(write, TaskWrite) else str(write.ref)
            if len(batch) == BATCH_ROWS or key in seen:
                yield batch
                batch, seen = [], set()
            batch.append(write)
            seen.add(key)
        yield batch


def _html(text: str) -> str:
    """Task bodies are HTML: what people wrote must stay text."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    return escaped.replace("\r\n", "\n").replace("\n", "<br>")
