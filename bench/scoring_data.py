"""A made-up state database for the scoring figures: deterministic, streamed, never all in memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
from sqlalchemy import BigInteger, Boolean, Float, Integer, SmallInteger
from sqlalchemy.engine import URL, make_url

from core.records import ACTIVITY_KINDS, DAY_MS, local_day
from core.titles import TITLE_RANKS
from sync.state import open_state
from sync.state.schema import metadata

ZONE = ZoneInfo("Asia/Tokyo")
NOW = int(datetime(2026, 1, 15, 3, 0, tzinfo=UTC).timestamp() * 1000)
TODAY = local_day(NOW, ZONE)
PEOPLE_PER_COMPANY = 5
CHUNK = 50_000
KINDS = {
    "page_view": 0.34, "email_open": 0.25, "email_click": 0.12, "download": 0.06, "webinar_attend": 0.04,
    "event_attend": 0.02, "meeting": 0.04, "call": 0.05, "call_attempt": 0.04, "email_reply": 0.02, "inquiry": 0.02,
}  # fmt: skip
PAGES = np.array(
    ["https://seller.example/pricing", "https://seller.example/cases/17", "https://seller.example/blog/how-to-begin"]
    + [f"https://seller.example/products/{number}?from=mail" for number in range(17)]
)
INDUSTRIES = ("製造業", "情報通信業", "卸売業", "建設業", "医療", None)
TARGET_INDUSTRIES = ["製造業", "情報通信業"]


def make_database(url: str, people: int, activities: int, seed: int = 7) -> None:
    """Fill a new state database with so many people and activities. The secondary indexes and the foreign key, which
    scoring never reads, are left out of the big table.
    """
    state = open_state(url)
    with state.begin() as connection:
        for index in metadata.tables["activity"].indexes:
            connection.exec_driver_sql(f'DROP INDEX "{index.name}"')
        connection.exec_driver_sql("INSERT INTO source (code, system, object) VALUES (1, 'hubspot', 'events')")
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("ALTER TABLE activity DROP CONSTRAINT fk_activity_source")
    state.close()
    random = np.random.default_rng(seed)
    with _target(make_url(url)) as target, target.cursor() as cursor:
        for first in range(1, people + 1, CHUNK):
            ids = np.arange(first, min(first + CHUNK, people + 1))
            _append(cursor, "person", _people(random, ids))
            share = activities * (ids[-1] + 1 - first) // people
            _append(cursor, "activity", _activities(random, ids, share))
        _append(cursor, "deal", _deals(random, max(1, people // 20), people // PEOPLE_PER_COMPANY + 1))
        target.commit()
    state = open_state(url)
    if state.engine.dialect.name == "postgresql":
        with state.outside() as connection:
            connection.exec_driver_sql("ANALYZE")  # as autovacuum would have
    state.close()


@contextmanager
def _target(url: URL) -> Iterator[Any]:
    if url.get_backend_name() == "postgresql":
        import adbc_driver_postgresql.dbapi as postgresql

        with postgresql.connect(url.render_as_string(hide_password=False)) as target:
            yield target
        return
    import adbc_driver_sqlite.dbapi as sqlite

    with sqlite.connect(str(url.database)) as target, target.cursor() as cursor:
        cursor.execute("PRAGMA foreign_keys=OFF")
        yield target


_WIRE = {
    BigInteger: pa.int64(),
    SmallInteger: pa.int16(),
    Integer: pa.int32(),
    Boolean: pa.bool_(),
    Float: pa.float64(),
}


def _append(cursor: Any, name: str, rows: pa.Table) -> None:
    """PostgreSQL takes columns only in its own widths."""
    columns = metadata.tables[name].c
    kinds = {
        column: _WIRE.get(type(columns[column].type), rows.schema.field(column).type) for column in rows.column_names
    }
    schema = pa.schema(list(kinds.items()))
    cursor.adbc_ingest(name, rows.cast(schema), mode="append")


def _people(random: np.random.Generator, ids: np.ndarray) -> pa.Table:
    count = len(ids)
    ranks = np.array([*TITLE_RANKS, None], dtype=object)
    return pa.table(
        {
            "person_id": ids,
            "company_id": ids // PEOPLE_PER_COMPANY + 1,
            "created_at": np.full(count, NOW - 900 * DAY_MS),
            "first_known_at": np.full(count, NOW - 900 * DAY_MS),
            "opted_out": (random.random(count) < 0.05).astype(np.int64),
            "title_rank": pa.array(ranks[random.integers(0, len(ranks), count)], pa.string()),
            "industry": pa.array(np.array(INDUSTRIES, dtype=object)[random.integers(0, 6, count)], pa.string()),
            "company": pa.array([f"株式会社見本{number}" for number in ids // PEOPLE_PER_COMPANY], pa.string()),
            "domain": pa.array([f"c{number}.example" for number in ids // PEOPLE_PER_COMPANY], pa.string()),
            "employees": np.round(10 ** random.uniform(1, 4, count)),
            "dirty": np.zeros(count, np.int64),
            "restated": np.zeros(count, np.int64),
        }
    )


def _activities(random: np.random.Generator, ids: np.ndarray, count: int) -> pa.Table:
    person = np.sort(random.choice(ids, count))
    ages = np.minimum(random.exponential(150, count), 850)
    occurred = (NOW - ages * DAY_MS).astype(np.int64)
    order = np.lexsort((occurred, person))
    person, occurred = person[order], occurred[order]
    codes = np.array([ACTIVITY_KINDS[kind] for kind in KINDS])
    kind = random.choice(codes, count, p=list(KINDS.values()))
    late = (random.random(count) < 0.05) * random.integers(1, 14 * DAY_MS, count)
    viewed = kind == ACTIVITY_KINDS["page_view"]
    url = PAGES[random.integers(0, len(PAGES), count)]
    twins = random.random(count) < 0.03
    empty = np.zeros(count, np.int64)
    number = np.arange(count)
    return pa.table(
        {
            "person_id": person,
            "occurred_at": occurred,
            "id": number + int(ids[0]) * 1_000,
            "kind": kind,
            "known_at": occurred + late,
            "day": ((occurred + 9 * 3_600_000) // DAY_MS).astype(np.int64),
            "suspect": (random.random(count) < 0.06).astype(np.int64),
            "duplicate_of": pa.array(np.where(twins, number, 0), pa.int64(), mask=~twins),
            "url": pa.array(url, pa.string(), mask=~viewed),
            "source": empty + 1,
            "source_id": pa.array(number.astype(str), pa.string()),
            "who": pa.array(np.char.add("contact/", person.astype(str)), pa.string()),
            "known_inexact": empty,
            "machine": empty,
        }
    )


def _deals(random: np.random.Generator, count: int, companies: int) -> pa.Table:
    created = (NOW - random.uniform(30, 1500, count) * DAY_MS).astype(np.int64)
    closed = created + (random.uniform(10, 200, count) * DAY_MS).astype(np.int64)
    over = closed < NOW
    number = np.arange(1, count + 1)
    return pa.table(
        {
            "deal_id": number,
            "system": pa.array(["salesforce"] * count),
            "id": pa.array([f"006{at}" for at in number]),
            "company_id": random.integers(1, companies, count),
            "stage": pa.array(["stage"] * count),
            "is_closed": over.astype(np.int64),
            "is_won": (over & (random.random(count) < 0.3)).astype(np.int64),
            "created_at": created,
            "closed_at": pa.array(closed, pa.int64(), mask=~over),
            "modified_at": created,
        }
    )
