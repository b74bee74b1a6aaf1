"""`mikomi log`: the audit log, for people; and whether it is whole."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from connectors import OUTPUT_FIELDS
from core.errors import InvalidInput
from core.records import Millis, day_start, to_date, to_datetime, to_day, to_millis
from sync import audit
from sync.app import App
from sync.changes import CONFIG, RULEBOOK, STAGE
from sync.cli.output import print_finding, print_json, print_line
from sync.state import State, now_ms
from sync.texts import Say, speaker
from sync.timing import parse_length
from sync.traces import OUTCOMES

CHANGES_SHOWN = 6
"""Of one entry: more changed values are counted."""

LINES_SHOWN = 30
"""Of changed settings or rules, where each value has a line of its own."""

LISTED = frozenset({CONFIG, RULEBOOK, STAGE})


def run_log(
    app: App,
    record: str | None,
    *,
    since: str | None,
    action: str | None,
    limit: int,
    verify: bool,
    as_json: bool,
    archive: Path | None = None,
    before: str | None = None,
) -> int:
    """Show entries, check the chain (exit code 1 where it is broken), or archive its beginning.

    Raises:
        InvalidInput: a time that cannot be read, an action that there is none of, or an archive without `before`.

    """
    settings = app.loaded.settings
    say = speaker(settings.language)
    if limit < 1:
        raise InvalidInput("at least 1", place="--limit")
    if action is not None and not any(known.startswith(action) for known in audit.ACTIONS):
        known = f"known are {', '.join(sorted(audit.ACTIONS))}"
        raise InvalidInput(f"no action is called {action!r}, or begins so", place="--action", hint=known)
    with app.state(create=False) as state:
        if archive is not None or before is not None:
            return _archive(state, archive, before, settings.zone, say)
        if verify:
            return _verify(state, say, as_json=as_json)
        begin = None if since is None else parse_since(since, settings.zone, now_ms(), place="--since")
        merged = action is None and not as_json
        with state.read() as connection:
            hidden = OUTCOMES if merged else ()
            found = audit.look(connection, about=record, since=begin, action=action, without=hidden, limit=limit)
            rows = [dict(row) for row in found]
            later = []
            if merged and rows:
                later = audit.following(connection, (row["subject"] for row in rows), OUTCOMES, rows[0]["seq"])
    if as_json:
        print_json({"entries": [_document(row) for row in rows]})
        return 0
    if not rows:
        print_line(say("No entry fits."))
        return 0
    _show(rows, _outcomes(dict(row) for row in later), settings.zone, say, merged=merged)
    return 0


def parse_since(text: str, zone: ZoneInfo, now: Millis, *, place: str) -> Millis:
    """A day (its beginning, local time), a moment, or a length before now (`7d`), as Millis."""
    text = text.strip()
    try:
        return now - parse_length(text)
    except ValueError:
        pass  # no length: a day or a moment
    try:
        moment = datetime.fromisoformat(text)
        if len(text) == 10:
            return day_start(to_day(moment.date()), zone)
        return to_millis(moment if moment.tzinfo else moment.replace(tzinfo=zone))
    except (ValueError, OverflowError) as error:
        hint = "write a day (2026-10-01), a moment (2026-10-01T15:00) or a length (7d)"
        raise InvalidInput(f"{text!r} is no day, moment or length", place=place, hint=hint) from error


def _verify(state: State, say: Say, *, as_json: bool) -> int:
    with state.read() as connection:
        verdict, start = audit.verify(connection), audit.anchor(connection)
    if as_json:
        print_json(
            {
                "intact": verdict.intact,
                "rows": verdict.rows,
                "broken": verdict.broken,
                "why": verdict.why,
                "archived_up_to": start.seq or None,
                "end": {"seq": verdict.end.seq, "hash": verdict.end.hash},
            }
        )
        return 0 if verdict.intact else 1
    if not verdict.intact:
        broken = say("entry {number}: {why}", number=verdict.broken, why=_why(verdict, say))
        hint = say(
            "The {count} {count:entry before it is|entries before it are} intact. Keep a copy of the database before anything else.",
            count=verdict.rows,
        )
        print_finding("error", say("audit log"), broken, hint)
        return 1
    print_finding(
        "ok",
        say("audit log"),
        say("{count} {count:entry|entries}, nothing altered or taken out", count=f"{verdict.rows:,}"),
    )
    if start.seq:
        print_line(
            "  " + say("Entries up to {number} were archived; the first one here follows them.", number=start.seq)
        )
    print_line(
        "  "
        + say("Note this outside the database, to compare later: {mark}", mark=f"{verdict.end.seq}:{verdict.end.hash}")
    )
    return 0


def _why(verdict: audit.Verdict, say: Say) -> str:
    texts = {
        audit.ALTERED: say("it was altered"),
        audit.MISSING: say("it is missing"),
        audit.UNLINKED: say("it does not follow the entry before it"),
        audit.CUT: say("it and all later ones were taken out"),
        audit.OTHER_END: say("the log does not end as was written down beside it"),
        audit.END_LOST: say(
            "the written end of the log was missing when it was made: entries before it may have been taken out"
        ),
    }
    return texts[verdict.why]


def _archive(state: State, file: Path | None, before: str | None, zone: ZoneInfo, say: Say) -> int:
    """Write the old entries into a file, durably, and only then take them out."""
    if file is None or before is None:
        raise InvalidInput(
            "give both --archive FILE and --before DAY",
            hint="mikomi log --archive audit-2025.jsonl --before 2026-01-01",
        )
    limit = parse_since(before, zone, now_ms(), place="--before")
    try:
        number = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise InvalidInput(
            f"cannot write {file}: {error.strerror}", place="--archive", hint="name a new file"
        ) from error
    with os.fdopen(number, "w", encoding="ascii") as stream, state.read() as connection:
        start, last = audit.anchor(connection), audit.export(connection, limit, stream)
        stream.flush()
        os.fsync(stream.fileno())
    if last == start:
        file.unlink()
        print_line(say("No entry is that old."))
        return 0
    with audit.acting(actor=audit.operator()), state.begin() as connection:
        count = audit.drop_archived(connection, last, why="archived on request")
    print_line(say("{count} {count:entry was|entries were} moved to {file}.", count=f"{count:,}", file=file))
    return 0


# --- entries as people read them ---------------------------------------------------------------------------------------


def _outcomes(rows: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The last outcome of each write, by the write's name."""
    return {row["new"]["write"]: row for row in rows if isinstance(row["new"], dict) and "write" in row["new"]}


def _show(
    rows: Sequence[Mapping[str, Any]],
    outcomes: Mapping[str, Mapping[str, Any]],
    zone: ZoneInfo,
    say: Say,
    *,
    merged: bool,
) -> None:
    """Two lines an entry: who did what to whom, and below it from what to what, and why; of settings and rules a line a value."""
    for row in rows:
        when = f"{to_datetime(row['at']).astimezone(zone):%Y-%m-%d %H:%M:%S}"
        outcome = _outcome(row, outcomes, say) if merged else ""
        print_line(
            "  ".join(
                part
                for part in (f"{row['seq']:>6}", when, row["actor"], row["action"], row["subject"], outcome)
                if part
            )
        )
        why = _reason(row["why"], say)
        if row["action"] in LISTED:
            for line in (why, *_shortened(_changes(row["old"], row["new"], zone), LINES_SHOWN, say)):
                print_line(f"        {line}", "dim")
            continue
        change = ", ".join(_shortened(_changes(row["old"], row["new"], zone), CHANGES_SHOWN, say))
        print_line(f"        {' | '.join(part for part in (change, why) if part)}", "dim")


AGAIN = " (another attempt)"


def _reason(why: str, say: Say) -> str:
    """The log keeps its reasons as they were written, in English: those that are fixed sentences are said in the reader's words."""
    texts = {
        "hand-over": say("hand-over"),
        "first write": say("first write"),
        "emptied": say("emptied"),
        "written again: the CRM may show something else": say("written again: the CRM may show something else"),
        "the CRM took it": say("the CRM took it"),
        "looked up in the CRM by its key": say("looked up in the CRM by its key"),
        "found in the CRM, forgotten here": say("found in the CRM, forgotten here"),
        "a second task with the same key, untouched": say("a second task with the same key, untouched"),
        "a second task with the same key, in use": say("a second task with the same key, in use"),
        "whether it was removed is not known": say("whether it was removed is not known"),
        "somebody else keeps changing them; `mikomi resume --field` writes them again": say(
            "somebody else keeps changing them; `mikomi resume --field` writes them again"
        ),
        "the settings name another stage": say("the settings name another stage"),
        "the settings were changed": say("the settings were changed"),
        "the first run with these settings": say("the first run with these settings"),
        "the first run with this rulebook": say("the first run with this rulebook"),
        "other numbers": say("other numbers"),
        "other wording, the same numbers": say("other wording, the same numbers"),
        "another hand-over, the same numbers": say("another hand-over, the same numbers"),
        "another order, the same numbers": say("another order, the same numbers"),
        "a person has it written again": say("a person has it written again"),
        "its time is over": say("its time is over"),
        "the connection's settings or secrets changed": say("the connection's settings or secrets changed"),
        "a person resumed it": say("a person resumed it"),
        "replayed by hand": say("replayed by hand"),
        "dropped by hand": say("dropped by hand"),
        "asked for by `mikomi forget`": say("asked for by `mikomi forget`"),
        "asked for by `mikomi restore`": say("asked for by `mikomi restore`"),
        "archived on request": say("archived on request"),
        "older than its retention": say("older than its retention"),
    }
    plain = why.removesuffix(AGAIN)
    said = texts.get(plain, plain)
    return said if plain == why else say("{why} (another attempt)", why=said)


def _changes(old: Any, new: Any, zone: ZoneInfo) -> list[str]:
    """`score 40 → 62`, `band C → B`: what both sides name, what is new, and what is no more; digests of the whole come last."""
    before = old if isinstance(old, dict) else {} if old is None else {"": old}
    after = new if isinstance(new, dict) else {} if new is None else {"": new}
    names = [name for name in dict.fromkeys([*after, *before]) if name not in {"write", "unchanged"}]
    names.sort(key=lambda name: (name in WHOLE, " " not in name))  # what rules were touched stands before their values
    return [
        f"{name} {_plain(name, before[name], zone)} → {_plain(name, after.get(name), zone)}"
        if name in before
        else f"{name} {_plain(name, after[name], zone)}".strip()
        for name in names
    ]


def _shortened(changes: list[str], most: int, say: Say) -> list[str]:
    left = len(changes) - most
    return [*changes[:most], say("and {count} more", count=left)] if left > 0 else changes


WHOLE = frozenset({"digest", "text"})
MOMENTS = {name for name, field in OUTPUT_FIELDS.items() if field.type == "datetime"} | {"until"}
DAYS = {name for name, field in OUTPUT_FIELDS.items() if field.type == "date"} | {"due"}


def _plain(name: str, value: Any, zone: ZoneInfo) -> str:
    """A value as people read it: moments and days are kept as numbers."""
    if value in (None, "None"):
        return "–"
    if name in MOMENTS and isinstance(value, int):
        return f"{to_datetime(value).astimezone(zone):%Y-%m-%d %H:%M:%S}"
    if name in DAYS and isinstance(value, int):
        return to_date(value).isoformat()
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _outcome(row: Mapping[str, Any], outcomes: Mapping[str, Mapping[str, Any]], say: Say) -> str:
    name = row["new"].get("write") if isinstance(row["new"], dict) else None
    if name is None:
        return ""
    found = outcomes.get(name)
    if found is None or found["action"] == "unknown":
        return say("no answer: it may have happened")
    if found["action"] in {"confirmed", "found"}:
        return say("done")
    return (
        say("refused: {code}", code=found["why"])
        if found["action"] == "refused"
        else say("later: {code}", code=found["why"])
    )


def _document(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "at": to_datetime(row["at"]).isoformat()}
