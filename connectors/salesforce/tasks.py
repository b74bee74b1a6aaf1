"""Our tasks in an org, found by key. SOQL reads the database itself, the recycle bin and archived activities too."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from connectors.protocol import FoundTask, SetupResult, SetupStep
from connectors.salesforce.resources import SalesforceApi
from connectors.salesforce.schema import KEY_FIELD, Layout
from connectors.salesforce.soql import is_id, quote, quote_all, select
from connectors.salesforce.wording import Wording
from connectors.values import parse_millis
from core.errors import Forbidden, Gone, Rejected
from core.handover.task import TASK_KEY_PREFIX, is_task_key
from core.records import RecordRef

KEYS_PER_QUERY = 1_000
_COLUMNS = ("Id", KEY_FIELD, "WhoId", "IsDeleted", "IsClosed", "CreatedDate", "LastModifiedDate")
_PREFIXES = {"00Q": "lead", "003": "contact"}


def find_tasks(api: SalesforceApi, layout: Layout, system: str, keys: Sequence[str]) -> dict[str, list[FoundTask]]:
    """See `Connector.find_tasks`."""
    found: dict[str, list[FoundTask]] = {}
    if keys and not (layout.task_key or layout.plain_key):  # nothing found would say nothing
        raise Forbidden(
            f"tasks carry no {KEY_FIELD} to look for",
            missing=(f"Task.{KEY_FIELD}",),
            system=system,
            hint="mikomi setup --apply",
        )
    for start in range(0, len(keys), KEYS_PER_QUERY):
        where = f"{KEY_FIELD} IN {quote_all(keys[start : start + KEYS_PER_QUERY])}"
        for row in _rows(api, layout, where):
            task = _task(system, row)
            found.setdefault(task.key, []).append(task)
    return found


def our_tasks(api: SalesforceApi, layout: Layout, system: str) -> Iterator[FoundTask]:
    """See `Connector.our_tasks`."""
    if layout.task_key or layout.plain_key:
        for row in _rows(api, layout, f"{KEY_FIELD} LIKE {quote(TASK_KEY_PREFIX + '%')}"):
            if is_task_key(str(row[KEY_FIELD])):
                yield _task(system, row)


def remove_task(api: SalesforceApi, crm_id: str) -> None:
    """See `Connector.remove_task`: into the recycle bin. One that is gone already is as it should be."""
    if not is_id(crm_id):
        raise Rejected(f"{crm_id!r} is no id", code="MALFORMED_ID", system=api.name)
    try:
        api.send("DELETE", f"sobjects/Task/{crm_id}", None, endpoint="remove task", effect="repeatable")
    except Gone:
        return


def describe_key(layout: Layout, say: Wording) -> SetupResult:
    """The describe says whether the key is unique and ours to set: no task has to be made to find out."""
    if layout.task_key:
        return SetupResult(SetupStep("task key", say("key_step"), done=True), "unchanged")
    if layout.plain_key:
        message = say("key_plain", key=KEY_FIELD)
        return SetupResult(SetupStep("task key", message, done=True), "unchanged", message)
    message = say("key_fails", key=KEY_FIELD)
    return SetupResult(SetupStep("task key", say("key_step"), blocked=message), "failed", message)


def _rows(api: SalesforceApi, layout: Layout, where: str) -> Iterator[Mapping[str, Any]]:
    shape = layout.shapes["Task"]
    columns = [name for name in _COLUMNS if shape.has(name)]
    [answer] = api.query([select(columns, "Task", where)], endpoint="our tasks")
    if answer.error is not None:
        raise answer.error
    while True:
        yield from answer.rows
        if answer.next_url is None:
            return
        answer = api.more(answer.next_url, endpoint="our tasks (locator)", kind="other")


def _task(system: str, row: Mapping[str, Any]) -> FoundTask:
    created, modified = (
        parse_millis(row["CreatedDate"]),
        parse_millis(row.get("LastModifiedDate") or row["CreatedDate"]),
    )
    who = str(row.get("WhoId") or "")
    kind = _PREFIXES.get(who[:3])
    return FoundTask(
        key=str(row[KEY_FIELD]),
        crm_id=str(row["Id"]),
        ref=RecordRef(system, kind, who) if kind is not None else None,
        created_at=created,
        deleted=bool(row.get("IsDeleted")),
        touched=modified != created or bool(row.get("IsClosed")),
    )
