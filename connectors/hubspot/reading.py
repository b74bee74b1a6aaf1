"""Reading one object type so that nothing is lost: a full list first, then search windows by modified time.

A window is `lo ≤ modified ≤ hi` with `hi` behind the portal's clock (the index lags) and `lo` before the last `hi` (rows become
visible late). Inside it, paging is by record id alone: always the first page of "id greater than the last one", so that any
number of equal stamps passes and the ceiling of 10,000 results is never met. A row that changes meanwhile leaves the
window and comes with the next. Cursors are JSON: `{"m": digest, "hi"}` drained, with `lo` and `last` inside a window, with
`after` inside the first list.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from connectors.hubspot.api import SEARCH_PATH, HubSpotApi
from connectors.hubspot.settings import HubSpotSettings
from connectors.protocol import Cursor, Page
from connectors.soundness import UNREADABLE
from core.errors import Unexpected
from core.records import Fact, Millis

LIST_ROWS_WITH_HISTORY = 50
_BATCH_READ = 100
_BATCH_READ_WITH_HISTORY = 50
_ASSOCIATION_INPUTS = 1000
_ID = re.compile(r"[0-9]{1,18}")
_PRIMARY_TYPES = frozenset({1, 5})

ListedRow = dict[str, Any]
MakeFacts = Callable[[Sequence[ListedRow]], Sequence[Fact]]


@dataclass(frozen=True, slots=True)
class Query:
    """What to ask of one object type.

    Attributes:
        modified: the property that windows filter by.
        associations: object types whose linked ids are needed with each row.
        history: properties whose past values are needed with each row.
        digest: of the mapping; cursors made under another one start anew.
    """

    object_type: str
    modified: str
    properties: tuple[str, ...]
    digest: str
    associations: tuple[str, ...] = ()
    history: tuple[str, ...] = ()


class ObjectReader:
    """Pages of facts of one object type. Rows come to `make` with `linked` and `propertiesWithHistory` filled in."""

    def __init__(self, api: HubSpotApi, settings: HubSpotSettings, problem: Callable[[str], None]) -> None:
        """`problem` is told the place of every row that cannot be read; the others are not kept waiting by it."""
        self._api = api
        self._settings = settings
        self._problem = problem

    def read(self, query: Query, cursor: Cursor | None, now: Millis, make: MakeFacts) -> Iterator[Page]:
        """Everything changed since `cursor` up to `now` minus the settling time; the last page is final."""
        horizon = now - round(self._settings.settle_seconds * 1000)
        overlap = round(self._settings.overlap_minutes * 60_000)
        state = load_state(cursor, query.digest)
        if state is not None and state.get("hi", 0) - overlap > horizon:
            state = None  # the portal's clock stood ahead when this was stored: what was changed since is unknown
        if state is None or "hi" not in state:
            state = {"m": query.digest, "hi": horizon, "after": ""}
        if "after" in state:
            yield from self._load(query, state, horizon, make)
        elif "last" in state:
            yield from self._window(query, state, horizon, make)
        if state["hi"] < horizon:
            window = {"m": query.digest, "lo": state["hi"] - overlap, "hi": horizon, "last": 0}
            yield from self._window(query, window, horizon, make)
        elif "after" not in state and "last" not in state:  # read again within the same instant: nothing can be new
            yield Page(query.object_type, (), save_state(state), final=True)

    def everything(self, query: Query, make: MakeFacts) -> Iterator[tuple[Fact, ...]]:
        """All live rows by list, for sweeps."""
        after = ""
        while True:
            rows, after = self.list_page(query, after)
            yield tuple(make(rows))
            if not after:
                return

    def archived(self, object_type: str) -> Iterator[list[ListedRow]]:
        """The recycle bin (90 days), page by page."""
        query = Query(object_type, "", ("hs_object_id",), "")
        after = ""
        while True:
            rows, after = self.list_page(query, after, archived=True)
            yield rows
            if not after:
                return

    def list_page(self, query: Query, after: str, *, archived: bool = False) -> tuple[list[ListedRow], str]:
        """One page of the list from the record id `after` on, and where the next one begins ("" at the end)."""
        size = self._settings.list_page_rows
        parts = [("properties", ",".join(query.properties)), ("archived", "true" if archived else "false")]
        if query.history:
            parts.append(("propertiesWithHistory", ",".join(query.history)))
            size = min(size, LIST_ROWS_WITH_HISTORY)
        if query.associations:
            parts.append(("associations", ",".join(query.associations)))
        if after:
            parts.append(("after", after))
        parts.append(("limit", str(size)))
        answer = self._api.get("/crm/v3/objects/{type}", kind="stream", query=parts, type=query.object_type)
        rows = self._rows(answer, query.object_type)
        following = _following(answer)
        if following and following == after:
            raise Unexpected(f"HubSpot's list of {query.object_type} does not advance")
        if query.associations and not archived:
            self._link_listed(query, rows)
        return rows, following

    def by_ids(self, query: Query, ids: Sequence[str]) -> list[ListedRow]:
        """These records as they are now; missing ones are left out."""
        found: list[ListedRow] = []
        size = _BATCH_READ_WITH_HISTORY if query.history else _BATCH_READ
        for start in range(0, len(ids), size):
            body: dict[str, object] = {
                "properties": list(query.properties),
                "propertiesWithHistory": list(query.history),
                "inputs": [{"id": i} for i in ids[start : start + size]],
            }
            answer = self._api.post("/crm/v3/objects/{type}/batch/read", body, type=query.object_type)
            found += self._rows(answer, query.object_type)
        self._link(query, found)
        return found

    def count(self, object_type: str) -> int | None:
        """How many live records there are, as search's total says."""
        body = {"filterGroups": [], "properties": ["hs_object_id"], "limit": 1, "after": "0"}
        total = self._api.post(SEARCH_PATH, body, type=object_type).get("total")
        return total if isinstance(total, int) else None

    def _rows(self, answer: Mapping[str, Any], object_type: str) -> list[ListedRow]:
        """The rows that say who they are. What is none is counted: it must not keep its page waiting for ever."""
        rows = answer.get("results")
        if not isinstance(rows, list):
            raise Unexpected("HubSpot's answer has no readable results")
        found = [row for row in rows if _is_row(row)]
        for _ in range(len(rows) - len(found)):
            self._problem(f"{object_type}.row")
        return cast("list[ListedRow]", found)

    # --- first list ---------------------------------------------------------------------------------------------

    def _load(self, query: Query, state: dict[str, Any], horizon: Millis, make: MakeFacts) -> Iterator[Page]:
        after, total = str(state["after"]), None
        first = not after
        while True:
            rows, after = self.list_page(query, after)
            facts = tuple(make(rows))
            if first and after:
                total, first = self.count(query.object_type), False
            if not after:
                final = state["hi"] >= horizon
                yield Page(query.object_type, facts, _drained(query, state["hi"]), final=final, total=total)
                return
            cursor = save_state({"m": query.digest, "hi": state["hi"], "after": after})
            yield Page(query.object_type, facts, cursor, total=total)
            total = None

    # --- windows ------------------------------------------------------------------------------------------------

    def _window(self, query: Query, state: Mapping[str, Any], horizon: Millis, make: MakeFacts) -> Iterator[Page]:
        last, first = int(state["last"]), True
        while True:
            rows, left = self.search_page(query, int(state["lo"]), int(state["hi"]), last)
            if query.history and rows:
                self._add_history(query, rows)
            self._link(query, rows)
            facts = tuple(make(rows))
            total = len(rows) + left if first else None
            first = False
            if left <= 0:
                final = state["hi"] >= horizon
                yield Page(query.object_type, facts, _drained(query, state["hi"]), final=final, total=total)
                return
            last = self._advance(query, rows, last)
            cursor = save_state({"m": query.digest, "lo": state["lo"], "hi": state["hi"], "last": last})
            yield Page(query.object_type, facts, cursor, total=total)

    def search_page(self, query: Query, lo: Millis, hi: Millis | None, last: int) -> tuple[list[ListedRow], int]:
        """The first page of rows modified from `lo` to `hi` with an id above `last`, and how many come behind it."""
        filters: list[dict[str, str]] = [{"propertyName": query.modified, "operator": "GTE", "value": str(lo)}]
        if hi is not None:
            filters.append({"propertyName": query.modified, "operator": "LTE", "value": str(hi)})
        if last:
            filters.append({"propertyName": "hs_object_id", "operator": "GT", "value": str(last)})
        body: dict[str, object] = {
            "filterGroups": [{"filters": filters}],
            "sorts": [{"propertyName": "hs_object_id", "direction": "ASCENDING"}],
            "properties": list(query.properties),
            "limit": self._settings.search_page_rows,
            "after": "0",
        }
        answer = self._api.post(SEARCH_PATH, body, kind="stream", type=query.object_type)
        total = answer.get("total")
        if not isinstance(total, int):
            raise Unexpected("HubSpot's search answer has no total")
        rows = self._rows(answer, query.object_type)
        return rows, total - len(answer["results"]) if answer["results"] else 0

    @staticmethod
    def _advance(query: Query, rows: Sequence[ListedRow], last: int) -> int:
        highest = max((int(row["id"]) for row in rows), default=last)
        if highest <= last:
            raise Unexpected(f"HubSpot's search of {query.object_type} does not advance")
        return highest

    def _add_history(self, query: Query, rows: Sequence[ListedRow]) -> None:
        ask = Query(query.object_type, query.modified, ("hs_object_id",), query.digest, history=query.history)
        found = {row["id"]: row.get("propertiesWithHistory") for row in self.by_ids(ask, [row["id"] for row in rows])}
        for row in rows:
            row["propertiesWithHistory"] = found.get(row["id"]) or {}

    # --- associations -------------------------------------------------------------------------------------------

    def _link(self, query: Query, rows: Sequence[ListedRow]) -> None:
        """Fill `linked` of rows that came without associations: one call per 1,000 rows and target."""
        if not query.associations or not rows:
            return
        for target in query.associations:
            ids = self.linked_ids(query.object_type, target, [row["id"] for row in rows])
            for row in rows:
                row.setdefault("linked", {})[target] = ids.get(row["id"], [])

    def _link_listed(self, query: Query, rows: Sequence[ListedRow]) -> None:
        for row in rows:
            blocks = _as_map(row.get("associations"))
            row["linked"] = {}
            for target in query.associations:
                block = _as_map(blocks.get(target))
                if block.get("paging"):  # more than the list shows
                    ids = self.linked_ids(query.object_type, target, [row["id"]])
                    row["linked"][target] = ids.get(row["id"], [])
                    continue
                listed = block.get("results") or ()
                if not isinstance(listed, list | tuple) or not all(
                    isinstance(r, dict) and _is_id(r.get("id")) for r in listed
                ):
                    raise Unexpected("HubSpot's associations cannot be read")
                row["linked"][target] = _ordered((r["id"], _is_primary(r)) for r in listed)

    def linked_ids(self, source: str, target: str, ids: Sequence[str]) -> dict[str, list[str]]:
        """Ids of `target` records linked to each of `ids`, the primary one first."""
        found: dict[str, list[tuple[str, bool]]] = {}
        inputs: list[dict[str, str]] = [{"id": i} for i in ids]
        while inputs:
            batch, inputs = inputs[:_ASSOCIATION_INPUTS], inputs[_ASSOCIATION_INPUTS:]
            answer = self._api.post(
                "/crm/v4/associations/{source}/{target}/batch/read", {"inputs": batch}, source=source, target=target
            )
            for result in answer.get("results") or ():  # records without any are errors of a 207, or left out
                try:
                    identifier, links, following = _links_in(result)
                except UNREADABLE as error:  # leaving one out would say that two records have parted
                    raise Unexpected("HubSpot's associations cannot be read") from error
                found.setdefault(identifier, []).extend(links)
                if following:
                    inputs.append({"id": identifier, "after": following})
        return {identifier: _ordered(links) for identifier, links in found.items()}


def _is_row(row: object) -> bool:
    return isinstance(row, dict) and _is_id(row.get("id")) and isinstance(row.get("properties"), dict)


def _is_id(value: object) -> bool:
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def _following(answer: Mapping[str, Any]) -> str:
    """Where the next page begins; empty at the end."""
    try:
        return str(((answer.get("paging") or {}).get("next") or {}).get("after") or "")
    except AttributeError as error:
        raise Unexpected("HubSpot's answer has no readable paging") from error


def _links_in(result: Mapping[str, Any]) -> tuple[str, list[tuple[str, bool]], str]:
    """(from id, (to id, is primary) …, where the next page begins) of one result of an association batch.

    Raises one of `UNREADABLE` where it is none.
    """
    links = [
        (str(to["toObjectId"]), any(t.get("typeId") in _PRIMARY_TYPES for t in to.get("associationTypes") or ()))
        for to in result.get("to") or ()
    ]
    following = ((result.get("paging") or {}).get("next") or {}).get("after") or ""
    if not all(_is_id(identifier) for identifier, _ in links) or not _is_id(result["from"]["id"]):
        raise ValueError("an association with something that has no id")
    return result["from"]["id"], links, str(following)


def _as_map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_primary(result: Mapping[str, Any]) -> bool:
    """In lists the primary company's link is `x_to_company`, every other `x_to_company_unlabeled`."""
    kind = str(result.get("type") or "")
    return kind.endswith("_to_company")


def _ordered(links: Any) -> list[str]:
    """Each id once, primary ones first, then in the order given."""
    pairs = list(links)
    return list(dict.fromkeys([i for i, primary in pairs if primary] + [i for i, _ in pairs]))


def _drained(query: Query, hi: Millis) -> Cursor:
    return save_state({"m": query.digest, "hi": hi})


def save_state(state: Mapping[str, Any]) -> Cursor:
    return Cursor(json.dumps(state, separators=(",", ":"), sort_keys=True))


def load_state(cursor: Cursor | None, digest: str) -> dict[str, Any] | None:
    """A cursor's content; None where there is none, it cannot be read, or the mapping has changed since."""
    if not cursor:
        return None
    try:
        state = json.loads(cursor)
    except ValueError:
        return None
    return state if isinstance(state, dict) and state.get("m") == digest else None
