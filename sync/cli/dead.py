"""`mikomi dead`: what the CRMs refused for good, by cause; tried again, or given up."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from core.errors import InvalidInput
from core.records import Millis, to_datetime
from sync import audit
from sync.app import App
from sync.cli.output import named_cause, print_finding, print_json, print_line
from sync.state import deadletters, now_ms
from sync.state.deadletters import Cause
from sync.state.outbox import TASK, Entry
from sync.texts import Say, speaker

IDS_SHOWN = 10


def run_list(app: App, *, as_json: bool) -> int:
    """Every cause with its letters, its rows' numbers and the CRM's words. Exit code 0: looking is no judgement."""
    say = speaker(app.loaded.settings.language)
    with app.state(create=False) as state, state.read() as connection:
        causes = deadletters.group_by_cause(deadletters.list_dead(connection))
    if as_json:
        print_json([asdict(cause) for cause in causes])
        return 0
    if not causes:
        print_line(say("Nothing was refused for good."))
        return 0
    for cause in causes:
        _show_cause(cause, app.loaded.settings.zone, say)
    print_line(say("Next: {command}", command="mikomi dead show <number>, mikomi dead replay <letters>"), "cyan")
    return 0


def _show_cause(cause: Cause, zone: ZoneInfo, say: Say) -> None:
    count = f"{len(cause.ids):,}"
    what = (
        say("{count} {count:task|tasks}", count=count)
        if cause.effect == TASK
        else say("{count} {count:update|updates}", count=count)
    )
    print_finding("warning", f"[{cause.letters}] {cause.system}", f"{what}: {named_cause(cause.code, cause.message)}")
    numbers = ", ".join(map(str, cause.ids[:IDS_SHOWN])) + (" …" if len(cause.ids) > IDS_SHOWN else "")
    print_line("    " + say("numbers {numbers}; since {when}", numbers=numbers, when=_at(cause.since, zone)))
    if hint := _hint(cause.effect, cause.code, say):
        print_line(f"    → {hint}", "cyan")


def run_show(app: App, number: int, *, as_json: bool) -> int:
    """One refused write with everything that would be sent.

    Raises:
        InvalidInput: no dead letter has that number.

    """
    settings = app.loaded.settings
    say = speaker(settings.language)
    with app.state(create=False) as state, state.read() as connection:
        found = deadletters.list_dead(connection)
    [entry] = _chosen(found, [str(number)], say)
    [cause] = [cause for cause in deadletters.group_by_cause(found) if number in cause.ids]
    document = _document(entry, cause)
    if as_json:
        print_json(document)
        return 0
    rows = [
        (say("cause"), f"[{cause.letters}] {named_cause(entry.code, entry.message)}"),
        (say("record"), str(entry.ref)),
        (say("owed since"), _at(entry.created_at, settings.zone)),
        (say("last sent"), _at(entry.sent_at, settings.zone)),
        (say("attempts"), str(entry.attempts)),
    ]
    if entry.key is not None:
        rows.insert(2, (say("task key"), entry.key))
    for name, value in rows:
        print_line(f"{name}: {value}")
    contents = entry.payload if entry.effect == TASK else entry.payload["values"]
    for name, value in contents.items():
        first, *others = str(value).split("\n")
        print_line(f"  {name}: {first}")
        for line in others:
            print_line(f"    {line}")
    if hint := _hint(entry.effect, entry.code or "", say):
        print_line(f"→ {hint}", "cyan")
    return 0


def _document(entry: Entry, cause: Cause) -> dict[str, Any]:
    document = asdict(entry) | {"ref": str(entry.ref), "cause": cause.letters}
    document["payload"] = dict(entry.payload)
    return document


def run_replay(app: App, which: Sequence[str]) -> int:
    """Owe them again.

    Raises:
        InvalidInput: a number or letters that name no dead letter.

    """
    say = speaker(app.loaded.settings.language)
    with app.state(create=False) as state, state.begin() as connection:
        entries = _chosen(deadletters.list_dead(connection), which, say)
        count = deadletters.revive(connection, entries, now=now_ms())
        _note(connection, "dead-replay", entries, "replayed by hand")
    print_line(say("{count} owed again. Next: {command}", count=f"{count:,}", command="mikomi sync"))
    return 0


def run_drop(app: App, which: Sequence[str], *, reason: str) -> int:
    """Give them up.

    Raises:
        InvalidInput: a number or letters that name no dead letter.

    """
    say = speaker(app.loaded.settings.language)
    with app.state(create=False) as state, state.begin() as connection:
        entries = _chosen(deadletters.list_dead(connection), which, say)
        count = deadletters.drop(connection, entries, reason=reason or "dropped by hand", now=now_ms())
        _note(connection, "dead-drop", entries, reason or "dropped by hand")
    print_line(say("{count} given up and kept as cancelled.", count=f"{count:,}"))
    return 0


def _chosen(dead: Sequence[Entry], which: Sequence[str], say: Say) -> list[Entry]:
    """The dead letters that numbers, letters or `all` name."""
    numbers = {str(entry.outbox_id): [entry.outbox_id] for entry in dead}
    letters = {cause.letters: list(cause.ids) for cause in deadletters.group_by_cause(dead)}
    known = {**letters, **numbers, "all": [entry.outbox_id for entry in dead]}
    if unknown := [name for name in which if name not in known]:
        raise InvalidInput(
            say("no dead letter is named {names}", names=", ".join(dict.fromkeys(unknown))), hint="mikomi dead list"
        )
    wanted = {number for name in which for number in known[name]}
    return [entry for entry in dead if entry.outbox_id in wanted]


def _note(connection: Connection, action: str, entries: Sequence[Entry], why: str) -> None:
    actor = audit.operator()
    notes = [
        audit.Note(action, str(entry.ref), why, new={"number": entry.outbox_id, "code": entry.code}, actor=actor)
        for entry in entries
    ]
    if notes:
        audit.note_many(connection, notes)


def _at(at: Millis | None, zone: ZoneInfo) -> str:
    return "-" if at is None else f"{to_datetime(at).astimezone(zone):%Y-%m-%d %H:%M}"


def _hint(effect: str, code: str, say: Say) -> str:
    """What a person can do about it, where the code tells."""
    match code:
        case "FIELD_CUSTOM_VALIDATION_EXCEPTION":
            return say("a validation rule refuses the integration user's writes: exempt it, then replay")
        case "INACTIVE_OWNER_OR_USER":
            return say(
                "the owner has left: set tasks.fallback_owner, give the record another owner, then drop this one"
            )
        case "DUPLICATES_DETECTED":
            return say("a duplicate rule blocks updates by the integration user: let the rule allow them, then replay")
        case "INVALID_FIELD" | "INVALID_FIELD_FOR_INSERT_UPDATE" | "PROPERTY_DOESNT_EXIST":
            return say("a field is missing or locked: `mikomi setup --apply` makes it and replays")
        case deadletters.GONE if effect == TASK:
            return say("the record is gone: drop this one")
    return ""
