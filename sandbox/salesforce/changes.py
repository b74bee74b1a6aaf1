"""getUpdated, getDeleted and the limits resources."""

from datetime import UTC, datetime, timedelta

from sandbox.salesforce.call import Call
from sandbox.salesforce.catalog import SObject
from sandbox.salesforce.errors import ApiError
from sandbox.salesforce.quota import Quota
from sandbox.salesforce.values import to_milliseconds, to_text
from sandbox.server import Response, reply

_DAYS_30 = timedelta(days=30)
_DAYS_15 = 15 * 86_400_000
_MOST_IDS = 600_000


def updated(call: Call, sobject: str) -> Response:
    """`GET /sobjects/X/updated?start=&end=`: at most 30 days back, by SystemModstamp; seconds are ignored."""
    kind = call.sobject(sobject)
    start, end = _window(call, kind)
    predicate = call.org.access.row_filter(call.rights, kind.name) or "1"
    alive = " AND IsDeleted = 0" if kind.has("IsDeleted") else ""
    sql = (
        f'SELECT Id FROM "{kind.name}" WHERE SystemModstamp >= ? AND SystemModstamp < ?{alive} AND {predicate} '
        f"ORDER BY SystemModstamp, Id LIMIT {_MOST_IDS + 1}"
    )
    ids = [row["Id"] for row in call.org.store.rows(sql, (start, end))]
    if len(ids) > _MOST_IDS:
        raise ApiError(400, "EXCEEDED_ID_LIMIT", "number of ids exceeds the limit of 600000")
    return reply(200, {"ids": ids, "latestDateCovered": to_text(min(end, call.org.now()))})


def deleted(call: Call, sobject: str) -> Response:
    """`GET /sobjects/X/deleted?start=&end=`: 15 days back; also what was deleted for good."""
    kind = call.sobject(sobject)
    start, end = _window(call, kind)
    earliest = call.org.now() - _DAYS_15
    sql = 'SELECT Id, DeletedDate FROM "_deletion" WHERE SObject = ? AND DeletedDate >= ? AND DeletedDate < ? ORDER BY 2, 1'
    rows = call.org.store.rows(sql, (kind.name, max(start, earliest), end))
    records = [{"id": row["Id"], "deletedDate": to_text(row["DeletedDate"])} for row in rows]
    document = {
        "deletedRecords": records,
        "earliestDateAvailable": to_text(earliest),
        "latestDateCovered": to_text(min(end, call.org.now())),
    }
    return reply(200, document)


def _window(call: Call, kind: SObject) -> tuple[int, int]:
    if not kind.replicateable:
        raise ApiError(400, "INVALID_TYPE", f"Entity {kind.name} is not replicatable")
    moments = []
    for name in ("start", "end"):
        text = call.request.param(name)
        if text is None:
            raise ApiError(400, "MISSING_ARGUMENT", f"{name} date is required")
        try:
            moments.append(to_milliseconds(text) // 60_000 * 60_000)
        except ValueError:
            message = f"{name}: a dateTime with offset is needed, not {text!r}"
            raise ApiError(400, "INVALID_REPLICATION_DATE", message) from None
    start, end = moments
    if start >= end:
        raise ApiError(
            400, "INVALID_REPLICATION_DATE", "startDate before org replication enabled date or after endDate"
        )
    if datetime.fromtimestamp(start / 1000, UTC) < call.org.clock.now() - _DAYS_30:
        raise ApiError(400, "INVALID_REPLICATION_DATE", "startDate cannot be more than 30 days ago")
    return start, end


def limits(call: Call, quota: Quota) -> Response:
    """`GET /limits`, for users with View Setup and Configuration (the refusal's words are ours: no recording of it is known)."""
    if not {"PermissionsViewSetup", "PermissionsModifyAllData"} & call.rights.flags:
        raise ApiError(403, "INSUFFICIENT_ACCESS", "insufficient access rights: View Setup and Configuration")
    used, most = quota.state()
    left = max(0, most - used)

    def pool(most: int, left: int | None = None) -> dict[str, int]:
        return {"Max": most, "Remaining": most if left is None else left}

    document = {
        "ConcurrentAsyncGetReportInstances": pool(200),
        "DailyApiRequests": pool(most, left),
        "DailyAsyncApexExecutions": pool(250_000),
        "DailyBulkApiBatches": pool(15_000),
        "DailyBulkV2QueryFileStorageMB": pool(976_562),
        "DailyBulkV2QueryJobs": pool(10_000),
        "DailyDeliveredPlatformEvents": pool(25_000),
        "DataStorageMB": pool(1_024),
        "FileStorageMB": pool(10_240),
        "HourlyAsyncReportRuns": pool(1_200),
        "SingleEmail": pool(5_000),
    }
    return reply(200, document)


def record_count(call: Call) -> Response:
    """`GET /limits/recordCount?sObjects=A,B`: all rows, sharing or not; unknown and empty objects are left out."""
    asked = call.request.param("sObjects")
    names = [name.strip() for name in asked.split(",")] if asked else [one.name for one in call.org.schema.all()]
    counts = []
    for name in names:
        kind = call.org.schema.find(name)
        if kind is None or not call.rights.may("read", kind.name):
            continue
        alive = " WHERE IsDeleted = 0" if kind.has("IsDeleted") else ""
        if count := call.org.store.value(f'SELECT count(*) FROM "{kind.name}"{alive}'):
            counts.append({"count": count, "name": kind.name})
    return reply(200, {"sObjects": counts})
