"""Our tasks in a portal, found by key: in the primary store first, in the recycle bin too.

A unique key is read directly. A plain one is found through what hangs on the contact (associations lag no index), and through
search for what somebody has moved away. Archived tasks have lost their associations, and their key is free again: the bin is
listed, which costs a call per 100 tasks deleted in the last 90 days, and only where a key was not found alive.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from connectors.hubspot.api import SEARCH_PATH, HubSpotApi
from connectors.hubspot.reading import ObjectReader
from connectors.hubspot.tasks import BATCH_ROWS, TASK_KEY
from connectors.hubspot.writing import objects_in
from connectors.protocol import FoundTask
from connectors.values import parse_millis
from core.errors import Forbidden, Unexpected
from core.handover.task import is_task_key
from core.records import RecordRef

UNTOUCHED_MS = 2_000
"""HubSpot stamps a task's own creation up to so much later as modified."""

_PROPERTIES = (TASK_KEY, "hs_task_status")


class TaskFinder:
    """Looks for tasks of ours.

    Args:
        api: calls.
        objects: reads rows and associations.
        system: connection name.
        unique: whether the key on tasks is unique; None where there is none.
    """

    def __init__(self, api: HubSpotApi, objects: ObjectReader, system: str, unique: Callable[[], bool | None]) -> None:
        self._api = api
        self._objects = objects
        self._system = system
        self._is_unique = unique

    def find(self, wanted: Mapping[str, RecordRef]) -> dict[str, list[FoundTask]]:
        """See `Connector.find_tasks`."""
        if not wanted:
            return {}
        unique = self._is_unique()
        if unique is None:  # nothing found would say nothing
            raise Forbidden(
                f"tasks have no property {TASK_KEY} to look for",
                missing=(TASK_KEY,),
                system=self._system,
                hint="run mikomi setup --apply",
            )
        keys = list(wanted)
        if unique:
            rows = self._read(keys, by_key=True)
        else:
            contacts = sorted({ref.id for ref in wanted.values() if ref.system == self._system and ref.id.isdigit()})
            hanging = {task for ids in self._objects.linked_ids("contacts", "tasks", contacts).values() for task in ids}
            rows = self._read(sorted(hanging | self._search(keys)), by_key=False)
        found = self._group(list(rows.values()), wanted)
        missing = set(wanted) - set(found)
        if missing:
            archived = (row for row in self._listed(archived=True) if _key(row) in missing)
            for key, tasks_ in self._group(list(archived), wanted).items():
                found.setdefault(key, []).extend(tasks_)
        return found

    def ours(self) -> Iterator[FoundTask]:
        """See `Connector.our_tasks`."""
        if self._is_unique() is None:
            return
        for archived in (False, True):
            for row in self._listed(archived=archived):
                if is_task_key(_key(row)):
                    block = (row.get("associations") or {}).get("contacts") or {}
                    people = [str(other.get("id")) for other in objects_in(block, "results")]
                    yield self._task(row, people[0] if people else None)

    def remove(self, crm_id: str) -> None:
        """See `Connector.remove_task`: into the recycle bin."""
        path = "/crm/v3/objects/{type}/batch/archive"
        self._api.post(path, {"inputs": [{"id": crm_id}]}, kind="write", effect="repeatable", type="tasks")

    def _read(self, names: Sequence[str], *, by_key: bool) -> dict[str, Mapping[str, Any]]:
        found: dict[str, Mapping[str, Any]] = {}
        for start in range(0, len(names), BATCH_ROWS):
            body: dict[str, object] = {
                "properties": list(_PROPERTIES),
                "propertiesWithHistory": [],
                "inputs": [{"id": name} for name in names[start : start + BATCH_ROWS]],
            }
            if by_key:
                body["idProperty"] = TASK_KEY
            answer = self._api.post("/crm/v3/objects/{type}/batch/read", body, type="tasks")
            if not isinstance(answer.get("results"), list):
                raise Unexpected("HubSpot's answer has no readable results", system=self._system)
            found |= {str(row.get("id")): row for row in objects_in(answer, "results")}
        return found

    def _search(self, keys: Sequence[str]) -> set[str]:
        """Ids alone: what else the index shows of a task may be old."""
        found: set[str] = set()
        for start in range(0, len(keys), BATCH_ROWS):
            names = list(keys[start : start + BATCH_ROWS])
            body: dict[str, object] = {
                "filterGroups": [{"filters": [{"propertyName": TASK_KEY, "operator": "IN", "values": names}]}],
                "properties": [TASK_KEY],
                "limit": 200,
                "after": "0",
            }
            answer = self._api.post(SEARCH_PATH, body, type="tasks")
            found |= {str(row["id"]) for row in objects_in(answer, "results") if str(row.get("id")).isdigit()}
        return found

    def _listed(self, *, archived: bool) -> Iterator[Mapping[str, Any]]:
        after = ""
        while True:
            query = [("limit", str(BATCH_ROWS)), ("properties", ",".join(_PROPERTIES))]
            query += [("archived", "true")] if archived else [("archived", "false"), ("associations", "contacts")]
            if after:
                query.append(("after", after))
            answer = self._api.get("/crm/v3/objects/{type}", query=query, type="tasks")
            if not isinstance(answer.get("results"), list):
                raise Unexpected("HubSpot's answer has no readable results", system=self._system)
            yield from objects_in(answer, "results")
            following = str(((answer.get("paging") or {}).get("next") or {}).get("after") or "")
            if not following:
                return
            if following == after:
                raise Unexpected("HubSpot's list of tasks does not advance", system=self._system)
            after = following

    def _group(self, rows: Sequence[Mapping[str, Any]], wanted: Mapping[str, RecordRef]) -> dict[str, list[FoundTask]]:
        """Tasks by key, those of other keys left out. What a live one hangs on is asked for all at once."""
        own = [row for row in rows if _key(row) in wanted]
        alive = [str(row.get("id")) for row in own if not row.get("archived")]
        people = self._objects.linked_ids("tasks", "contacts", alive) if alive else {}
        found: dict[str, list[FoundTask]] = {}
        for row in own:
            linked = people.get(str(row.get("id"))) or []
            preferred = wanted[_key(row)].id
            contact = preferred if preferred in linked else linked[0] if linked else None
            found.setdefault(_key(row), []).append(self._task(row, contact))
        return found

    def _task(self, row: Mapping[str, Any], contact: str | None) -> FoundTask:
        created, updated = parse_millis(str(row.get("createdAt"))), parse_millis(str(row.get("updatedAt")))
        status = (row.get("properties") or {}).get("hs_task_status")
        return FoundTask(
            key=_key(row),
            crm_id=str(row.get("id")),
            ref=RecordRef(self._system, "contact", contact) if contact is not None else None,
            created_at=created,
            deleted=bool(row.get("archived")),
            touched=updated - created > UNTOUCHED_MS or status not in {"NOT_STARTED", None},
        )


def _key(row: Mapping[str, Any]) -> str:
    properties = row.get("properties")
    return str(properties.get(TASK_KEY) or "") if isinstance(properties, dict) else ""
