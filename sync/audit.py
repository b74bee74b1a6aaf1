"""The audit log: what was done, to what, by whom, from what to what, and why. Append-only; every row seals the ones before.

    with state.begin() as connection:
        ...                                   # the thing itself
        audit.note(connection, "pause", "hubspot", new={"until": until}, why="maintenance")

A row's hash is the SHA-256 of its canonical JSON, which holds the hash of the row before: whoever alters, takes out or inserts
a row has to write all later ones anew. No key is involved, so that an auditor can check with this page alone; the newest hash
belongs outside the database (each run's log line carries it, `mikomi log --verify` prints it), where it convicts one who did
write all of them anew. Rows hold record references, numbers, field names and digests, never names, addresses or texts.

Appending takes a lock until the transaction's end (one chain has one end): note last, after everything else.
"""

import getpass
import hashlib
import json
import re
import time
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TextIO

from sqlalchemy import Connection, Select, Text, delete, select, text, type_coerce

from core.errors import StateError
from core.records import Millis
from sync.state import schema as t
from sync.state.kept import get_kept_in
from sync.state.rows import chunks, upsert

OURSELVES = "mikomi"
"""The actor of everything that the program decides by itself."""

ACTIONS = (
    *(
        "write-fields",
        "create-task",
        "confirmed",
        "refused",
        "unknown",
        "postponed",
        "found",
        "double",
        "remove-double",
    ),
    *("config", "rulebook", "stage", "setup", "pause", "resume", "allow", "leave-alone", "dead-replay", "dead-drop"),
    *("adopt", "forget", "purge", "restore", "archive", "end-lost"),
)
"""Everything that is noted: what `mikomi log --action` can ask for."""

GENESIS = "0" * 64
"""What the first row of a log carries for the row before it."""

LOST = "end-lost"
"""What is noted where the log goes on behind an end that nobody can vouch for any more."""

ALTERED, MISSING, UNLINKED, CUT, OTHER_END, END_LOST = "altered", "missing", "unlinked", "cut", "other end", "end lost"
"""What can be wrong with a row: its content, that it is not there, that it does not follow the one before, that it and all later
ones are gone, that it is not the last one that was written down beside the log."""

_HEAD = "audit head"
_ANCHOR = "audit anchor"
_LOCK = 7_736_201_812  # any number, the same in every Mikomi; the migrations' is one less
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), default=str).encode
_decode = json.JSONDecoder().decode
_REFUSED = re.compile("[\0\ud800-\udfff]")
_DOCUMENTS = ("old", "new")
_UNREADABLE = {"unreadable": True}
_COLUMNS = ("seq", "at", "run_id", "actor", "action", "subject", "old", "new", "why", "before")


@dataclass(frozen=True, slots=True)
class Note:
    """One thing that was done.

    Attributes:
        action: a short verb, one of `ACTIONS`.
        subject: what it was done to: `salesforce/contact/003…`, a connection, `settings`, `rulebook`.
        why: one sentence without personal data.
        old, new: JSON documents of numbers, codes, references and digests; a bare number becomes `{"value": …}`.
        run_id, actor: those of `acting` where left out.
        at: when, if not now.

    """

    action: str
    subject: str
    why: str
    old: Any = None
    new: Any = None
    run_id: str | None = None
    actor: str | None = None
    at: Millis | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """A row's place in the chain: what the next row must refer to."""

    seq: int
    hash: str


_START = Link(0, GENESIS)
_actor: ContextVar[str] = ContextVar("audit_actor", default=OURSELVES)
_run: ContextVar[str | None] = ContextVar("audit_run", default=None)


@contextmanager
def acting(*, run_id: str | None = None, actor: str | None = None) -> Iterator[None]:
    """Who acts, and in which run, until the block ends: for notes (and log lines) that do not say it themselves."""
    tokens = _run.set(run_id if run_id is not None else _run.get()), _actor.set(actor or _actor.get())
    try:
        yield
    finally:
        _run.reset(tokens[0])
        _actor.reset(tokens[1])


def current_run() -> str | None:
    """The run that is under way in this context."""
    return _run.get()


def operator() -> str:
    """The actor of a command that a person typed: their name on this machine."""
    try:
        return f"user {getpass.getuser()}"
    except (KeyError, OSError):  # a container may run as a number without a name
        return "user"


def note(
    connection: Connection,
    action: str,
    subject: str,
    *,
    old: Any = None,
    new: Any = None,
    why: str,
    run_id: str | None = None,
    actor: str | None = None,
) -> Link:
    """Append one row, in the transaction that does the thing; see `Note`."""
    return note_many(connection, [Note(action, subject, why, old=old, new=new, run_id=run_id, actor=actor)])


def note_many(connection: Connection, notes: Sequence[Note]) -> Link:
    """Append rows in their order; the chain's new end. As cheap a row as an insert: one look at the end, one statement."""
    last = _lock_head(connection)
    if not notes:
        return last
    if (
        last == _START and (newest := _newest(connection)) != _START
    ):  # somebody took out what is written beside the chain
        last = newest
        why = "the written end of the log was missing: entries before this one may have been taken out"
        notes = [Note(LOST, "audit", why, actor=OURSELVES), *notes]
    now = time.time_ns() // 1_000_000
    run_id, actor = _run.get(), _actor.get()
    rows = []
    for item in notes:
        row: dict[str, Any] = {
            "seq": last.seq + 1,
            "at": now if item.at is None else item.at,
            "run_id": item.run_id or run_id,
            "actor": _printable(item.actor or actor, 64),
            "action": _printable(item.action, 32),
            "subject": _printable(item.subject, 200),
            "old": _plain(item.old),
            "new": _plain(item.new),
            "why": _printable(item.why, 1_000),
            "before": last.hash,
        }
        last = Link(row["seq"], seal(row))
        rows.append(row | {"hash": last.hash})
    connection.execute(t.audit.insert(), rows)
    upsert(connection, t.setting, [{"name": _HEAD, "value": {"seq": last.seq, "hash": last.hash}}])
    return last


def head(connection: Connection) -> Link:
    """The end of the chain as it was last written down beside it."""
    return _kept(connection, _HEAD) or _START


def anchor(connection: Connection) -> Link:
    """What the first row refers to: the start, or the last row that was archived."""
    return _kept(connection, _ANCHOR) or _START


def seal(row: Mapping[str, Any]) -> str:
    """The hash of a row: SHA-256 of its canonical JSON (sorted keys, ASCII, no spaces), 64 hex digits."""
    document = {name: row[name] for name in _COLUMNS}
    return hashlib.sha256(_encode(document).encode("ascii")).hexdigest()


def digest(value: object) -> str:
    """A text or document that may be personal, as 16 hex digits: equal texts can be told, nothing can be read."""
    return "#" + hashlib.sha256(_encode(value).encode("ascii")).hexdigest()[:16]


# --- checking ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found. `broken` is the first row (its number) that does not fit, `why` what is wrong: `ALTERED` …"""

    rows: int
    end: Link
    broken: int | None = None
    why: str = ""

    @property
    def intact(self) -> bool:
        return self.broken is None


def verify(connection: Connection) -> Verdict:
    """Walk the whole chain from the anchor to the head."""
    with closing(_chain(connection)) as rows:
        verdict = verify_rows(rows, anchor(connection))
    written = head(connection)
    if not verdict.intact or verdict.end == written:
        return verdict
    last = verdict.end
    if last.seq < written.seq:
        return Verdict(verdict.rows, last, last.seq + 1, CUT)
    return Verdict(verdict.rows, last, last.seq, OTHER_END)


def verify_rows(rows: Iterable[Mapping[str, Any]], start: Link = _START) -> Verdict:
    """Whether rows follow each other from `start` on, unaltered: those of a table, or the lines of an archive."""
    count, last = 0, start
    for row in rows:
        if why := _misfit(row, last):
            return Verdict(count, last, min(row["seq"], last.seq + 1), why)
        last = Link(row["seq"], row["hash"])
        count += 1
    return Verdict(count, last)


def _chain(connection: Connection) -> Generator[dict[str, Any]]:
    yield from _rows(connection, select(t.audit).order_by(t.audit.c.seq).execution_options(yield_per=1_000))


def _rows(connection: Connection, query: Select[Any]) -> Generator[dict[str, Any]]:
    """The rows of a query over the whole table. SQLite keeps documents as texts, and an altered one may be no JSON any more."""
    as_texts = connection.dialect.name == "sqlite"
    if as_texts:
        chosen = (type_coerce(c, Text).label(c.name) if c.name in _DOCUMENTS else c for c in t.audit.c)
        query = query.with_only_columns(*chosen)
    with connection.execute(query) as found:
        for row in found.mappings():
            yield dict(row) | ({name: _document(row[name]) for name in _DOCUMENTS} if as_texts else {})


def _document(told: str | None) -> Any:
    """What a text says; a word in the place of one that cannot be read, which the row's hash does not fit."""
    try:
        return None if told is None else _decode(told)
    except ValueError:
        return _UNREADABLE


def _misfit(row: Mapping[str, Any], last: Link) -> str:
    if row["seq"] != last.seq + 1:
        return MISSING
    if row["before"] != last.hash:
        return UNLINKED
    if row["action"] == LOST:
        return END_LOST
    return "" if seal(row) == row["hash"] else ALTERED


# --- reading -----------------------------------------------------------------------------------------------------------


def look(
    connection: Connection,
    *,
    about: str | None = None,
    since: Millis | None = None,
    action: str | None = None,
    without: Collection[str] = (),
    limit: int,
) -> list[dict[str, Any]]:
    """The newest rows that fit, oldest first.

    Args:
        about: a subject, or its beginning up to a slash (`salesforce`, `salesforce/contact`).
        action: an action or the beginning of one (`write` for `write-fields`).
        without: actions that are left out.
        limit: at most so many.

    """
    column = t.audit.c
    query = select(t.audit).order_by(column.seq.desc()).limit(limit)
    if about is not None:
        query = query.where((column.subject == about) | column.subject.startswith(about + "/", autoescape=True))
    if since is not None:
        query = query.where(column.at >= since)
    if action is not None:
        query = query.where(column.action.startswith(action, autoescape=True))
    if without:
        query = query.where(column.action.not_in(without))
    return list(_rows(connection, query))[::-1]


def following(
    connection: Connection, subjects: Iterable[str], actions: Collection[str], seq: int
) -> list[dict[str, Any]]:
    """The rows of some subjects and actions after one row: what became of it."""
    column = t.audit.c
    found: list[dict[str, Any]] = []
    for part in chunks(sorted(set(subjects))):
        query = select(t.audit).where(column.subject.in_(part), column.action.in_(actions), column.seq > seq)
        found += _rows(connection, query.order_by(column.seq))
    return found


# --- archiving ---------------------------------------------------------------------------------------------------------


def export(connection: Connection, before: Millis, stream: TextIO) -> Link:
    """Write the rows from the beginning up to the first one of `before` or later as JSON lines; the last one written.

    Raises:
        StateError: the log does not verify: what is broken is not archived.

    """
    if not (verdict := verify(connection)).intact:
        raise StateError(f"the audit log is broken at row {verdict.broken}: {verdict.why}", hint="mikomi log --verify")
    last = anchor(connection)
    with closing(_chain(connection)) as rows:
        for row in rows:
            if row["at"] >= before:
                break
            stream.write(json.dumps(row, ensure_ascii=True) + "\n")
            last = Link(row["seq"], row["hash"])
    return last


def drop_archived(connection: Connection, last: Link, *, why: str) -> int:
    """Take the rows up to `last` out, now that they are kept elsewhere: the chain is anchored in it. How many."""
    _lock_head(connection)
    gone = connection.execute(delete(t.audit).where(t.audit.c.seq <= last.seq)).rowcount
    upsert(connection, t.setting, [{"name": _ANCHOR, "value": {"seq": last.seq, "hash": last.hash}}])
    note(connection, "archive", "audit", new={"rows": gone, "last": last.seq, "hash": last.hash}, why=why)
    return gone


# --- the chain's end ---------------------------------------------------------------------------------------------------


def _lock_head(connection: Connection) -> Link:
    """The chain's end, which nobody else extends until this transaction has ended."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    return head(connection)


def _newest(connection: Connection) -> Link:
    """The chain's end as its rows show it."""
    row = connection.execute(
        select(t.audit.c.seq, t.audit.c.hash).order_by(t.audit.c.seq.desc()).limit(1)
    ).one_or_none()
    return Link(row.seq, row.hash) if row is not None else anchor(connection)


def _kept(connection: Connection, name: str) -> Link | None:
    value = get_kept_in(connection, name)
    return None if value is None else Link(value["seq"], value["hash"])


def _plain(value: Any) -> Any:
    """As a database gives it back: what is sealed must be what is read. SQLite rounds a number that stands alone."""
    if value is None:
        return None
    decoded = _decode(_encode(value))
    return decoded if isinstance(decoded, dict | list | str) else {"value": decoded}


def _printable(value: str, length: int) -> str:
    """Without what a database refuses (NUL, lone surrogates), and no longer than its column."""
    return _REFUSED.sub("\ufffd", value[:length])
