"""Writing in the fewest calls: up to five Collections of 200 rows in one composite, each row with its own outcome.

Field writes are absolute values by record id: sent again freely. Tasks are upserts by our unique key; keys that the org has
already, in the recycle bin too, are not sent again: a rep's edits stay, and what a rep deleted stays deleted. Where the org
does not keep the key unique, tasks are created, once, and whoever calls looks for a lost one before it is sent again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from connectors.calls import Clock, Effect
from connectors.protocol import TaskWrite, Write, WriteResult
from connectors.salesforce.lookup import trace
from connectors.salesforce.payload import failed, object_of, to_result, to_row
from connectors.salesforce.resources import QUERIES_PER_COMPOSITE, Part, PartAnswer, SalesforceApi
from connectors.salesforce.schema import KEY_FIELD, Layout
from connectors.salesforce.soql import quote_all, select
from core.errors import ConnectorError, Forbidden, Gone, OutcomeUnknown, Rejected, Transient, Unexpected

ROWS_PER_COLLECTION = 200
ROWS_PER_CALL = ROWS_PER_COLLECTION * QUERIES_PER_COMPOSITE
LOCK_ATTEMPTS = 3
LOCK_WAIT_SECONDS = 1.0
_FOLLOWED = frozenset(
    {"ENTITY_IS_DELETED", "CANNOT_UPDATE_CONVERTED_LEAD", "INVALID_CROSS_REFERENCE_KEY"}
    | {"INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY"}
)
"""Refusals that may mean that the record is gone: it is looked for."""


@dataclass(frozen=True, slots=True)
class _Job:
    """A write with its row, and its place in the batch."""

    place: int
    write: Write
    row: dict[str, Any]


class Writer:
    """Carries out the writes of one connection."""

    def __init__(self, api: SalesforceApi, layout: Layout, system: str, clock: Clock) -> None:
        self._api = api
        self._layout = layout
        self._system = system
        self._clock = clock

    def write(self, writes: Sequence[Write]) -> Iterator[WriteResult]:
        """See `Connector.write`. A fault of the system is raised in the place of the first write that was not sent."""
        for batch in _batches(writes):
            results: list[WriteResult | None] = [None] * len(batch)
            fault = self._write_batch(batch, results)
            sent = max((place + 1 for place, result in enumerate(results) if result is not None), default=0)
            for write, result in zip(batch[:sent], results[:sent], strict=True):
                yield result or WriteResult(write, "retryable", error=fault)
            if fault is not None and (sent < len(batch) or not isinstance(fault, OutcomeUnknown)):
                raise fault

    def _write_batch(self, batch: Sequence[Write], results: list[WriteResult | None]) -> ConnectorError | None:
        """Fill in results; the fault that ended the batch early, if any: the rest was not sent."""
        jobs = self._prepare(batch, results)
        try:
            jobs = self._drop_existing_tasks(jobs, results)
            for start in range(0, len(jobs), ROWS_PER_CALL):
                self._send_patiently(jobs[start : start + ROWS_PER_CALL], results)
            self._name_survivors(batch, results)
        except ConnectorError as error:
            return error
        return None

    def _prepare(self, batch: Sequence[Write], results: list[WriteResult | None]) -> list[_Job]:
        jobs = []
        for place, write in enumerate(batch):
            if isinstance(write, TaskWrite) and not (self._layout.task_key or self._layout.plain_key):
                error = Forbidden(
                    f"tasks carry no {KEY_FIELD} here, so none is created",
                    missing=(f"Task.{KEY_FIELD}",),
                    system=self._system,
                    hint="mikomi setup --apply",
                )
                results[place] = WriteResult(write, "rejected", error=error)
                continue
            try:
                jobs.append(_Job(place, write, to_row(write, self._layout)))
            except Rejected as error:
                error.system = self._system
                results[place] = WriteResult(write, "rejected", error=error)
        # Sorted by object, a Collections request of mixed types stays below its limit of ten changes of type.
        return sorted(jobs, key=lambda job: (isinstance(job.write, TaskWrite), object_of(job.write)))

    def _drop_existing_tasks(self, jobs: list[_Job], results: list[WriteResult | None]) -> list[_Job]:
        """Tasks whose key is there already are done. One query per 1,000 keys, in the primary store, deleted ones too."""
        keys = [job.row[KEY_FIELD] for job in jobs if isinstance(job.write, TaskWrite)]
        if not keys:
            return jobs
        there = self._ids_by_key(keys)
        left = []
        for job in jobs:
            found = there.get(job.write.key) if isinstance(job.write, TaskWrite) else None
            if found is not None:
                results[job.place] = WriteResult(job.write, "ok", crm_id=found)
            else:
                left.append(job)
        return left

    def _ids_by_key(self, keys: Sequence[str]) -> dict[str, str]:
        """Of these keys, those that a task carries, with its id."""
        text = select(("Id", KEY_FIELD), "Task", f"{KEY_FIELD} IN {quote_all(keys)}")
        [answer] = self._api.query([text], endpoint="task keys")
        if answer.error is not None:
            raise answer.error
        rows, next_url = answer.rows, answer.next_url
        while next_url is not None:
            answer = self._api.more(next_url, endpoint="task keys", kind="other")
            rows, next_url = rows + answer.rows, answer.next_url
        return {row[KEY_FIELD]: row["Id"] for row in rows}

    def _send_patiently(self, jobs: list[_Job], results: list[WriteResult | None]) -> None:
        """Send, and send again the rows that another transaction had locked."""
        for attempt in range(LOCK_ATTEMPTS):
            self._send(jobs, results)
            jobs = [job for job in jobs if _is_locked(results[job.place])]
            if not jobs or attempt == LOCK_ATTEMPTS - 1:
                return
            self._clock.sleep(LOCK_WAIT_SECONDS * 2**attempt)

    def _send(self, jobs: list[_Job], results: list[WriteResult | None]) -> None:
        collections = _collections(jobs)
        for start in range(0, len(collections), QUERIES_PER_COMPOSITE):
            self._send_group(collections[start : start + QUERIES_PER_COMPOSITE], results)

    def _send_group(self, group: list[list[_Job]], results: list[WriteResult | None]) -> None:
        """One call for up to five collections. A fault that leaves open what happened marks its rows, and is raised."""
        try:
            answers = self._call(group)
        except (OutcomeUnknown, Unexpected) as error:
            for collection in group:
                _mark(collection, results, "unknown", error)
            raise
        for collection, answer in zip(group, answers, strict=True):
            self._settle(collection, answer, results)

    def _call(self, group: list[list[_Job]]) -> list[PartAnswer]:
        """A single collection needs no composite around it."""
        tasks = isinstance(group[0][0].write, TaskWrite)
        parts = [_part(collection, unique=self._layout.task_key) for collection in group]
        endpoint = "tasks" if tasks else "fields"
        effect: Effect = "once" if tasks and not self._layout.task_key else "repeatable"
        if len(parts) == 1:
            [part] = parts
            try:
                body = self._api.send(part.method, part.path, part.body, endpoint=endpoint, effect=effect)
            except Rejected as error:
                return [PartAnswer(400, [{"errorCode": error.code, "message": error.message}], 0)]
            return [PartAnswer(200, body, 0)]
        headers = {"Sforce-Auto-Assign": "FALSE", "Sforce-Duplicate-Rule-Header": "allowSave=true"}
        return self._api.composite(parts, endpoint=endpoint, kind="write", effect=effect, part_headers=headers)

    def _settle(self, jobs: list[_Job], answer: PartAnswer, results: list[WriteResult | None]) -> None:
        """Row outcomes of one collection. One refused whole is halved until the row that spoils it stands alone."""
        if answer.status in {200, 201}:
            self._settle_rows(jobs, answer.body, results)
            return
        error = self._api.part_error(answer)
        if not isinstance(error, Rejected):
            _mark(jobs, results, "unknown" if isinstance(error, (OutcomeUnknown, Unexpected)) else "retryable", error)
        elif len(jobs) == 1:
            results[jobs[0].place] = failed(jobs[0].write, error)
        else:
            middle = len(jobs) // 2
            for half in (jobs[:middle], jobs[middle:]):
                self._send_group([half], results)

    def _settle_rows(self, jobs: list[_Job], rows: object, results: list[WriteResult | None]) -> None:
        """Rows answer in the order sent; an answer that shows another order, or another number, says nothing."""
        if not isinstance(rows, list) or len(rows) != len(jobs) or not _in_order(jobs, rows):
            self._mark_mixed_up(jobs, results)
            return
        for job, row in zip(jobs, rows, strict=True):
            result = to_result(job.write, row)
            if result.error is not None:
                result.error.system = self._system
            results[job.place] = result
        if isinstance(jobs[0].write, TaskWrite):
            self._check_mixed_tasks(jobs, results)

    def _check_mixed_tasks(self, jobs: list[_Job], results: list[WriteResult | None]) -> None:
        """Rows of tasks do not say whose they are: where some were made and some not, the keys themselves are asked, once.

        Where they tell another story, rows were answered in another order, and no refusal is known to be whose.
        """
        said = {str(job.row[KEY_FIELD]) for job in jobs if _is_ok(results[job.place])}
        if len(said) in {0, len(jobs)}:
            return
        try:
            there = self._ids_by_key([job.row[KEY_FIELD] for job in jobs])
        except ConnectorError as error:
            _mark(jobs, results, "unknown", error)
            return
        if there.keys() == said:
            return
        self._mark_mixed_up(jobs, results)
        for job in jobs:
            if job.row[KEY_FIELD] in there:
                results[job.place] = WriteResult(job.write, "ok", crm_id=there[job.row[KEY_FIELD]])

    def _mark_mixed_up(self, jobs: list[_Job], results: list[WriteResult | None]) -> None:
        lost = OutcomeUnknown("the answer does not tell one row from another", system=self._system)
        _mark(jobs, results, "unknown", lost)

    def _name_survivors(self, batch: Sequence[Write], results: list[WriteResult | None]) -> None:
        """Records that are gone: ask once where they live on."""
        places = [
            place
            for place, result in enumerate(results)
            if result is not None and isinstance(result.error, Rejected) and result.error.code in _FOLLOWED
        ]
        if not places:
            return
        found = trace(self._api, self._layout, self._system, [batch[place].ref for place in places])
        for place in places:
            refusal, there = results[place], found.get(batch[place].ref)
            assert refusal is not None
            assert isinstance(refusal.error, Rejected)
            if there is None:
                continue
            if there.alive:  # it was another reference that the row named wrongly
                results[place] = _as_refusal(refusal)
                continue
            error = Gone(
                refusal.error.message,
                survivor=there.successor.id if there.successor is not None else None,
                code=refusal.error.code,
                system=self._system,
            )
            results[place] = WriteResult(batch[place], "rejected", error=error)


def _batches(writes: Sequence[Write]) -> Iterator[list[Write]]:
    """Writes in order, at most one call's worth, no record or task twice in a batch."""
    batch: list[Write] = []
    seen: set[object] = set()
    for write in writes:
        identity = write.key if isinstance(write, TaskWrite) else write.ref
        if len(batch) == ROWS_PER_CALL or identity in seen:
            yield batch
            batch, seen = [], set()
        batch.append(write)
        seen.add(identity)
    if batch:
        yield batch


def _collections(jobs: list[_Job]) -> list[list[_Job]]:
    """Jobs in lists of one request each: field writes may share one, upserts have their own path."""
    found = []
    for kind in (False, True):
        same = [job for job in jobs if isinstance(job.write, TaskWrite) is kind]
        found += [same[start : start + ROWS_PER_COLLECTION] for start in range(0, len(same), ROWS_PER_COLLECTION)]
    return found


def _part(jobs: list[_Job], *, unique: bool) -> Part:
    document = {"allOrNone": False, "records": [job.row for job in jobs]}
    if not isinstance(jobs[0].write, TaskWrite):
        return Part("PATCH", "composite/sobjects", document)
    if unique:
        return Part("PATCH", f"composite/sobjects/Task/{KEY_FIELD}", document)
    return Part("POST", "composite/sobjects", document)


def _in_order(jobs: list[_Job], rows: list[Any]) -> bool:
    """Updated rows answer with their own ids, made ones each with another: as far as they can, they say whose answer it is."""
    ids = [row.get("id") if isinstance(row, dict) else None for row in rows]
    named = [found for found in ids if found]
    if len(set(map(str, named))) != len(named):
        return False
    return all(
        isinstance(job.write, TaskWrite) or found is None or str(found)[:15] == job.write.ref.id[:15]
        for job, found in zip(jobs, ids, strict=True)
    )


def _is_ok(result: WriteResult | None) -> bool:
    return result is not None and result.status == "ok"


def _as_refusal(result: WriteResult) -> WriteResult:
    """What the CRM refused, without the conclusion that the record is gone."""
    error = result.error
    if not isinstance(error, Gone):
        return result
    plain = Rejected(error.message, code=error.code, fields=error.fields, system=error.system, hint=error.hint)
    return replace(result, error=plain)


def _is_locked(result: WriteResult | None) -> bool:
    return result is not None and result.status == "retryable" and isinstance(result.error, Transient)


def _mark(
    jobs: list[_Job],
    results: list[WriteResult | None],
    status: Literal["retryable", "unknown"],
    error: ConnectorError,
) -> None:
    for job in jobs:
        results[job.place] = WriteResult(job.write, status, error=error)
