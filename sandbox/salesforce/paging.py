"""`query`, `queryAll` and their locators."""

import json
import re
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from sandbox.salesforce.access import Rights
from sandbox.salesforce.call import Call
from sandbox.salesforce.errors import ApiError
from sandbox.salesforce.org import Org
from sandbox.salesforce.rows import empty_bin
from sandbox.salesforce.soql import QueryResult, SObjectInfo, SoqlError, run_query
from sandbox.salesforce.store import Slot
from sandbox.server import Response, reply

_CURSOR_LIFE_MS = 2 * 86_400_000
_MOST_CURSORS = 256  # the vendor has no cap; this one keeps a sandbox that runs for weeks from growing
_LOCATOR = re.compile(r"(01g[A-Za-z0-9]{15})-(\d+)")
_BATCH = re.compile(r"\bbatchSize\s*=\s*(\d+)", re.IGNORECASE)
_HOUR_MS = 3_600_000


@dataclass(slots=True)
class _Cursor:
    user_id: str
    result: QueryResult
    slot: Slot
    size: int
    made_ms: int


class _SeenSchema:
    """The schema without the objects that the user may not read."""

    def __init__(self, org: Org, rights: Rights) -> None:
        self._schema = org.schema
        self._rights = rights

    def sobject(self, name: str) -> SObjectInfo | None:
        info = self._schema.sobject(name)
        return info if info is not None and self._rights.may("read", info.name) else None


class Cursors:
    """The open query cursors of an org. Thread-safe."""

    def __init__(self, org: Org) -> None:
        self._org = org
        self._lock = threading.Lock()
        self._open: OrderedDict[str, _Cursor] = OrderedDict()
        self._last_purge = org.now()

    def query(self, call: Call) -> Response:
        """`GET /query?q=`."""
        return self._first(call, include_deleted=False)

    def query_all(self, call: Call) -> Response:
        """`GET /queryAll?q=`: the recycle bin and archived activities too."""
        if call.org.now() - self._last_purge > _HOUR_MS:
            self._last_purge = call.org.now()
            empty_bin(call.work())
        return self._first(call, include_deleted=True)

    def more(self, call: Call, locator: str) -> Response:
        """`GET /query/01g…-2000`."""
        found = _LOCATOR.fullmatch(locator)
        with self._lock:
            cursor = self._open.get(found.group(1)) if found else None
        fresh = cursor is not None and call.org.clock.now_ms() - cursor.made_ms < _CURSOR_LIFE_MS
        if found is None or cursor is None or not fresh or cursor.user_id != call.session.user_id:
            raise ApiError(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
        offset = int(found.group(2))
        if offset > cursor.result.total_size:
            raise ApiError(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
        with cursor.slot.lock:
            records = self._read(cursor.result, offset, cursor.size)
        return self._page(call, cursor, found.group(1), offset, records)

    def _first(self, call: Call, *, include_deleted: bool) -> Response:
        text = call.request.param("q")
        if text is None:
            raise ApiError(400, "MALFORMED_QUERY", "A query string has to be specified")
        with call.org.store.read() as slot:
            result = run_as(call.org, call.rights, text, slot, include_deleted=include_deleted, version=call.version)
            size = self._page_size(call, result)
            records = self._read(result, 0, size)
        if result.is_count or len(records) >= result.total_size:
            return reply(200, {"totalSize": result.total_size, "done": True, "records": records})
        cursor = _Cursor(call.session.user_id, result, slot, size, call.org.clock.now_ms())
        return self._page(call, cursor, self._keep(cursor), 0, records)

    def _read(self, result: QueryResult, offset: int, size: int) -> list[dict[str, object]]:
        """A page; compound addresses, held as JSON text, become objects."""
        records = result.page(offset, size)
        kind = self._org.schema.find(result.sobject)
        compounds = {one.name for one in kind.fields.values() if one.type == "address"} if kind and records else set()
        for name in compounds & records[0].keys() if records else ():
            for record in records:
                if isinstance(text := record[name], str):
                    record[name] = json.loads(text)
        return records

    def _keep(self, cursor: _Cursor) -> str:
        name = self._org.ids.next("01g")
        with self._lock:
            self._open[name] = cursor
            while len(self._open) > _MOST_CURSORS:
                self._open.popitem(last=False)
        return name

    def _page(self, call: Call, cursor: _Cursor, name: str, offset: int, records: list[dict[str, object]]) -> Response:
        end = offset + cursor.size
        document: dict[str, Any] = {"totalSize": cursor.result.total_size, "done": end >= cursor.result.total_size}
        if not document["done"]:
            document["nextRecordsUrl"] = f"{call.root}/query/{name}-{end}"
        document["records"] = records
        return reply(200, document)

    def _page_size(self, call: Call, result: QueryResult) -> int:
        size = call.org.options.page_size
        if found := _BATCH.search(call.request.headers.get("sforce-query-options", "")):
            size = min(size, max(200, min(2000, int(found.group(1)))))
        return min(size, 200) if result.long_text_columns >= 2 else size


def run_as(org: Org, rights: Rights, text: str, slot: Slot, *, include_deleted: bool, version: str) -> QueryResult:
    """Run SOQL with a user's eyes; raises ApiError as the vendor answers."""
    try:
        return run_query(
            text,
            schema=_SeenSchema(org, rights),
            connection=slot.connection,
            now_ms=org.clock.now_ms(),
            include_deleted=include_deleted,
            visible=lambda sobject, name: org.access.visible(rights, sobject, name),
            row_filter=lambda sobject: org.access.row_filter(rights, sobject),
            api_version=version,
            time_zone=rights.time_zone,
            user_id=rights.user_id,
        )
    except SoqlError as error:
        raise ApiError(400, error.code, error.message) from None
