"""Tasks by batch create under a unique key, and the one door for writes of both kinds.

Tasks are created, not upserted: only create takes associations in the same call, and an upsert sent again would undo what the
rep has done to the task since. The unique property makes HubSpot itself refuse a second task with the same key; the refusal is
answered by looking the first one up in the primary store. So attempts may repeat, and the effect does not.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from connectors.hubspot.api import HubSpotApi
from connectors.hubspot.writing import (
    FieldWriter,
    Outcome,
    iso,
    lost_or_refused,
    own_contact,
    stop_if_fields_are_missing,
)
from connectors.protocol import FieldWrite, TaskWrite, Write, WriteResult
from core.errors import ConnectorError, Forbidden, OutcomeUnknown, Rejected, Transient, Unexpected
from core.records import Day, Millis

BATCH_ROWS = 100
TASK_KEY = "mikomi_key"
_TASK_TO_CONTACT = 204


def write_all(fields: FieldWriter, tasks: "TaskWriter", writes: Sequence[Write]) -> Iterator[WriteResult]:
    """One result per write, in order, batch by batch. After a batch that could not be sent, the rest is not tried.

    Raises:
        ConnectorError: faults that concern every row: credential, quota, missing fields.
    """
    stopped: ConnectorError | None = None
    for batch in _batches(writes):
        if stopped is not None:
            yield from (WriteResult(write, "retryable", error=stopped) for write in batch)
            continue
        if isinstance(batch[0], TaskWrite):
            outcomes = tasks.send([w for w in batch if isinstance(w, TaskWrite)])
        else:
            outcomes = fields.send([w for w in batch if isinstance(w, FieldWrite)])
        for write, (status, crm_id, error) in zip(batch, outcomes, strict=True):
            yield WriteResult(write, status, crm_id, error)
            if status == "retryable":
                stopped = error


class TaskWriter:
    """Creates tasks, at most one per key.

    Args:
        api: calls.
        system: connection name.
        has_key: whether tasks carry the unique property; asked before the first task.
        due_at: the instant that a due day is shown as.
    """

    def __init__(
        self, api: HubSpotApi, system: str, has_key: Callable[[], bool], due_at: Callable[[Day], Millis]
    ) -> None:
        self._api = api
        self._system = system
        self._has_key = has_key
        self._due_at = due_at

    def send(self, writes: Sequence[TaskWrite]) -> list[Outcome]:
        if not self._has_key():
            raise Forbidden(
                f"tasks have no unique property {TASK_KEY}, so a task could be made twice",
                missing=(TASK_KEY,),
                system=self._system,
                hint="run mikomi setup --apply; if the portal refuses a unique property on tasks, stay at stage `fields`",
            )
        outcomes: dict[str, Outcome] = {}
        inputs: list[dict[str, Any]] = []
        for write in writes:
            try:
                inputs.append(self._task_input(write))
            except Rejected as error:
                outcomes[write.key] = ("rejected", None, error)
        self._create(inputs, outcomes)
        return [outcomes[write.key] for write in writes]

    def _task_input(self, write: TaskWrite) -> dict[str, Any]:
        contact = own_contact(write.ref, self._system)
        properties = {
            TASK_KEY: write.key,
            "hs_timestamp": iso(self._due_at(write.due)),
            "hs_task_subject": write.subject,
            "hs_task_body": _html(write.body),
            "hs_task_status": "NOT_STARTED",
            "hs_task_priority": "HIGH" if write.priority == "high" else "MEDIUM",
            "hs_task_type": "CALL",
            "hubspot_owner_id": write.owner_id,
        }
        link = {"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": _TASK_TO_CONTACT}
        association = {"to": {"id": contact}, "types": [link]}
        return {"objectWriteTraceId": write.key, "properties": properties, "associations": [association]}

    def _create(self, inputs: list[dict[str, Any]], outcomes: dict[str, Outcome]) -> None:
        """The trace id in every row makes HubSpot answer per row; a batch refused whole is halved all the same."""
        if not inputs:
            return
        keys = [row["objectWriteTraceId"] for row in inputs]
        try:
            answer = self._api.post(
                "/crm/v3/objects/{type}/batch/create",
                {"inputs": inputs},
                kind="write",
                effect="repeatable",
                type="tasks",
            )
        except (Transient, OutcomeUnknown) as error:
            outcomes.update(dict.fromkeys(keys, lost_or_refused(error)))
            return
        except Rejected as error:
            stop_if_fields_are_missing(error, self._system)
            if len(inputs) > 1:
                middle = len(inputs) // 2
                self._create(inputs[:middle], outcomes)
                self._create(inputs[middle:], outcomes)
            else:
                self._settle_refused({keys[0]: error}, outcomes)
            return
        self._settle_create(keys, answer, outcomes)

    def _settle_create(self, keys: list[str], answer: Mapping[str, Any], outcomes: dict[str, Outcome]) -> None:
        for row in answer.get("results") or ():
            key = row.get("objectWriteTraceId") or (row.get("properties") or {}).get(TASK_KEY)
            if key in keys:
                outcomes[key] = ("ok", str(row["id"]), None)
        refused: dict[str, ConnectorError] = {}
        for error in answer.get("errors") or ():
            category = str(error.get("category") or "")
            for key in (error.get("context") or {}).get("objectWriteTraceId") or ():
                refused[key] = Rejected(f"HubSpot refused the task: {category}", code=category, system=self._system)
        unmentioned = [key for key in keys if key not in outcomes and key not in refused]
        for key in unmentioned:
            refused[key] = OutcomeUnknown("HubSpot's answer does not mention the task", system=self._system)
        self._settle_refused(refused, outcomes)

    def _settle_refused(self, refused: Mapping[str, ConnectorError], outcomes: dict[str, Outcome]) -> None:
        """A refused key may be there already, from an attempt whose answer was lost: then that is the result."""
        if not refused:
            return
        try:
            existing = self.tasks_by_key(list(refused))
        except (Transient, OutcomeUnknown, Unexpected) as fault:
            outcomes.update(dict.fromkeys(refused, ("unknown", None, fault)))
            return
        for key, error in refused.items():
            if key in existing:
                outcomes[key] = ("ok", existing[key], None)
            else:
                outcomes[key] = ("unknown" if isinstance(error, OutcomeUnknown) else "rejected", None, error)

    def tasks_by_key(self, keys: Sequence[str]) -> dict[str, str]:
        """Ids of the tasks that carry these keys, from the primary store (the search index lags)."""
        body: dict[str, object] = {
            "idProperty": TASK_KEY,
            "properties": [TASK_KEY],
            "propertiesWithHistory": [],
            "inputs": [{"id": key} for key in keys],
        }
        answer = self._api.post("/crm/v3/objects/{type}/batch/read", body, type="tasks")
        rows = answer.get("results") or ()
        return {
            row["properties"][TASK_KEY]: str(row["id"]) for row in rows if (row.get("properties") or {}).get(TASK_KEY)
        }


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
