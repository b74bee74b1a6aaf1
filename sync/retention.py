"""What is kept how long (`retention:`), and the daily purge: many short transactions, so that nobody waits for it.

Deleted people are emptied when they can no longer come back from their CRM's bin; activities, attribute history, reports of runs
and what sent tasks said go when they are old. Keys of tasks, the audit log and the hashes of forgotten people stay.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, bindparam, delete, literal_column, select, tuple_, update

from core.records import DAY_MS, Millis, RecordRef
from core.rulebook import Rulebook
from sync import audit
from sync.settings import Retention, Settings
from sync.state import State
from sync.state import schema as t
from sync.state.kept import get_kept, keep_in
from sync.state.mirror import NOBODY, mark_dirty
from sync.state.mirror.erase import (
    ERASED,
    LEFT,
    NOT_ERASED,
    drop_unused_companies,
    erase_accounts,
    erase_deals,
    erase_records,
)
from sync.state.pages import rewrite_pages, size_of, sqlite_file
from sync.state.rows import chunks

SLICE = 2_000
"""Rows in one transaction."""

CALLS_DAYS = 35
"""How long counted calls are kept: past the longest window of any quota."""

COPY_DAYS = 7
"""How long the copy from before a migration is kept at least."""

REWRITE_BYTES = 512 * 1024 * 1024
"""Up to this size a database is written anew whenever somebody left; a larger one once a week."""

REWRITE_EVERY_MS = 7 * DAY_MS


@dataclass(slots=True)
class Purged:
    """What one purge took away, in rows (`copies`: files)."""

    people: int = 0
    companies: int = 0
    deals: int = 0
    activities: int = 0
    changes: int = 0
    payloads: int = 0
    runs: int = 0
    calls: int = 0
    copies: int = 0
    rewritten: bool = False

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


def purge(state: State, settings: Settings, now: Millis) -> Purged:
    """Take away what is older than its retention. Safe to interrupt: the next purge goes on.

    Raises:
        StateUnavailable: the database went away; what was purged stays so.
        LeaseLost: another process took the run over.
    """
    keeping, done = settings.retention, Purged()
    deleted = now - keeping.deleted * DAY_MS
    old = now - keeping.activities * DAY_MS
    done.people = _purge_deleted(state, deleted)
    done.companies, done.deals = _purge_companies_and_deals(state, deleted)
    done.activities = _purge_activities(state, old)
    done.changes = _purge_rows(state, t.change, t.change.c.at < old)
    done.payloads = _purge_payloads(state, deleted)
    finished = (t.run.c.started_at < now - keeping.runs * DAY_MS) & (t.run.c.outcome != "running")
    done.runs = _purge_rows(state, t.run, finished)
    done.calls = _purge_rows(state, t.calls_made, t.calls_made.c.hour < (now - CALLS_DAYS * DAY_MS) // 3_600_000)
    done.copies = _remove_copies(state.url, now - max(keeping.deleted, COPY_DAYS) * DAY_MS)
    done.rewritten = _tidy(state, now)
    if any(count for name, count in done.as_dict().items() if name not in {"calls", "rewritten"}):
        with state.begin() as connection:
            audit.note(connection, "purge", "state", new=done.as_dict(), why="older than its retention")
    return done


def purge_daily(state: State, settings: Settings, now: Millis, *, daily: bool) -> Purged | None:
    """The purge, in the first pass of a day and in every pass in which somebody left for good.

    `now` is the CRMs' time, as of which the pass was made: a machine's clock that jumps purges nothing.
    """
    return purge(state, settings, now) if daily or get_kept(state, LEFT) else None


def short_retention(rulebook: Rulebook, retention: Retention) -> list[tuple[str, int]]:
    """(place in the rulebook, days) of everything that looks further back than activities are kept."""
    return [(place, days) for place, days in _windows(rulebook) if days > retention.activities]


def _windows(rulebook: Rulebook) -> Iterator[tuple[str, int]]:
    document = rulebook.model_dump()
    for rule in document["rules"]:
        for days in _days_within(rule):
            yield rule["id"], days
    if rulebook.surge is not None:
        yield "surge", rulebook.surge.window
    yield "handover", rulebook.handover.recent


def _days_within(part: Any) -> Iterator[int]:
    """Every `window` and `within`, and every silence that is waited for, however deep they stand."""
    if isinstance(part, dict):
        for name, value in part.items():
            if name in {"window", "within", "for_"} and isinstance(value, int):
                yield value
            else:
                yield from _days_within(value)
    elif isinstance(part, (list, tuple)):
        for one in part:
            yield from _days_within(one)


# --- people ----------------------------------------------------------------------------------------------------------


def _purge_deleted(state: State, before: Millis) -> int:
    """Records whose deletion lies so far back that no bin gives them back."""
    row = t.record.c
    gone = (row.deleted_at.is_not(None), NOT_ERASED, row.deleted_at <= before)
    done = 0
    while True:
        with state.begin() as connection:
            found = connection.execute(
                select(row.system, row.kind, row.id).where(*gone).order_by(row.deleted_at).limit(SLICE // 4)
            )
            refs = [RecordRef(*at) for at in found]
            if not refs:
                return done
            done += erase_records(connection, refs)


def _purge_companies_and_deals(state: State, before: Millis) -> tuple[int, int]:
    counts = []
    for table, kind, texts, erase in (
        (t.account, "account", t.account.c.fingerprint != ERASED, erase_accounts),
        (t.deal, "deal", t.deal.c.name.is_not(None) | t.deal.c.loss_reason.is_not(None), erase_deals),
    ):
        with state.outside() as connection:
            gone = (table.c.deleted_at.is_not(None), table.c.deleted_at <= before, texts)
            refs = [
                RecordRef(system, kind, id)
                for system, id in connection.execute(select(table.c.system, table.c.id).where(*gone))
            ]
        done = 0
        for part in chunks(refs, SLICE):
            with state.begin() as connection:
                done += erase(connection, part)
        counts.append(done)
    return counts[0], counts[1]


# --- old facts ---------------------------------------------------------------------------------------------------------


def _purge_activities(state: State, before: Millis) -> int:
    """Person by person along the table's own order: each is one look at their oldest."""
    activity, done = t.activity.c, 0
    while True:
        with state.begin() as connection:
            nobodys = select(activity.occurred_at, activity.id).where(
                activity.person_id == literal_column(str(NOBODY)), activity.occurred_at < before
            )
            rows = [(NOBODY, *row) for row in connection.execute(nobodys.limit(SLICE))]
            _delete_by_key(connection, t.activity, rows)
        done += len(rows)
        if len(rows) < SLICE:
            break
    last = NOBODY
    while True:
        with state.read() as connection:
            people = list(
                connection.execute(
                    select(t.person.c.person_id)
                    .where(t.person.c.person_id > last)
                    .order_by(t.person.c.person_id)
                    .limit(SLICE * 5)
                ).scalars()
            )
            if not people:
                return done
            within = t.person.c.person_id.between(people[0], people[-1])
            old = select(activity.person_id, activity.occurred_at, activity.id).join_from(
                t.person, t.activity, (activity.person_id == t.person.c.person_id) & (activity.occurred_at < before)
            )
            rows = [(a, b, c) for a, b, c in connection.execute(old.where(within))]
        for part in chunks(rows, SLICE):
            with state.begin() as connection:
                _delete_by_key(connection, t.activity, part)
                mark_dirty(connection, {row[0] for row in part})
        done += len(rows)
        last = people[-1]


def _delete_by_key(connection: Connection, table: Table, keys: Sequence[tuple[Any, ...]]) -> None:
    """One seek a row: a list of composite keys in one statement would be looked for in the whole table."""
    if not keys:
        return
    columns = list(table.primary_key)
    same = (column == bindparam(f"k{place}") for place, column in enumerate(columns))
    given = [{f"k{place}": value for place, value in enumerate(key)} for key in keys]
    connection.execute(delete(table).where(*same), given)


def _purge_payloads(state: State, before: Millis) -> int:
    """What tasks said that were made or are no longer wanted; their keys stay for ever."""
    out = t.outbox.c
    ended = (
        (out.effect == "task") & out.state.in_(("done", "cancelled")) & (out.digest != ERASED) & (out.done_at < before)
    )

    def empty(connection: Connection, keys: list[tuple[Any, ...]]) -> None:
        ids = [key[0] for key in keys]
        connection.execute(
            update(t.outbox).where(out.outbox_id.in_(ids)).values(payload={}, digest=ERASED, message=None)
        )

    return _purge_rows(state, t.outbox, ended, empty)


def _purge_rows(
    state: State, table: Table, where: Any, act: Callable[[Connection, list[tuple[Any, ...]]], None] | None = None
) -> int:
    """Delete (or treat) the rows that fit, along the primary key: every row is looked at once."""
    key = list(table.primary_key)
    last: tuple[Any, ...] | None = None
    done = 0
    while True:
        with state.begin() as connection:
            found = select(*key).where(where).order_by(*key).limit(SLICE // 4)
            if last is not None:
                found = found.where(tuple_(*key) > tuple_(*last))
            keys = [tuple(row) for row in connection.execute(found)]
            if not keys:
                return done
            if act is not None:
                act(connection, keys)
            else:
                _delete_by_key(connection, table, keys)
        done += len(keys)
        last = keys[-1]


# --- what is left behind ---------------------------------------------------------------------------------------------


def _remove_copies(url: str, before: Millis) -> int:
    """Copies that migrations made of the database: they hold everybody who has left since."""
    path = sqlite_file(url)
    if path is None:
        return 0
    done = 0
    for copy in path.parent.glob(f"{path.name}.before-*"):
        if _written_at(copy) < before:
            copy.unlink(missing_ok=True)
            done += 1
    return done


def _written_at(path: Path) -> Millis:
    try:
        return path.stat().st_mtime_ns // 1_000_000
    except FileNotFoundError:
        return 0


def _tidy(state: State, now: Millis) -> bool:
    """After somebody left: companies that nobody is of, and what the file still holds of deleted rows."""
    if not get_kept(state, LEFT):
        return False
    with state.begin() as connection:
        drop_unused_companies(connection)
    last = get_kept(state, "pages rewritten")
    if size_of(state) > REWRITE_BYTES and last is not None and now - int(last) < REWRITE_EVERY_MS:
        return False
    whole = rewrite_pages(state)
    if whole:
        with state.begin() as connection:
            keep_in(connection, LEFT, value=False)
            keep_in(connection, "pages rewritten", value=now)
    return whole
