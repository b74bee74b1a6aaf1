"""`mikomi pause` and `mikomi resume`; and how a pause is told."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, select

from connectors import OUTPUT_FIELDS
from core.errors import InvalidInput, InvalidSettings
from core.records import Millis, to_millis
from sync import audit
from sync.app import App
from sync.cli.output import print_line
from sync.pauses import begin_pause, end_pauses, local_time
from sync.settings import Settings
from sync.state import now_ms
from sync.state import schema as t
from sync.state.kept import keep_in
from sync.state.pause import EVERYTHING, Pause
from sync.texts import Say, speaker
from sync.timing import parse_length


def run_pause(app: App, connection: str | None, *, until: str | None, reason: str) -> int:
    """Begin a pause by a person's word. It holds from the next run on; one that is under way ends first.

    Raises:
        InvalidSettings: there is no such connection.
        InvalidInput: `until` is no moment to come.

    """
    settings = app.loaded.settings
    say = speaker(settings.language)
    _require_known(settings, connection)
    now = now_ms()
    end = None if until is None else parse_until(until, settings.zone, now)
    hint = f"mikomi resume {connection}" if connection else "mikomi resume"
    pause = Pause(connection or EVERYTHING, "admin", end, reason, hint, now)
    with app.state() as state, state.begin(fenced=False) as transaction:
        begin_pause(transaction, pause, actor=audit.operator())
    where = connection or say("all connections")
    if end is None:
        print_line(say("{where}: paused until `{command}`", where=where, command=hint))
    else:
        print_line(say("{where}: paused until {when}", where=where, when=local_time(end, settings.zone)))
    print_line(say("A sync that is running now ends first. What is owed stays owed."))
    return 0


def run_resume(app: App, connection: str | None, *, field: str | None) -> int:
    """End pauses, whoever began them; or have a contested field written again.

    Raises:
        InvalidSettings: there is no such connection.

    """
    settings = app.loaded.settings
    say = speaker(settings.language)
    _require_known(settings, connection)
    with app.state() as state, audit.acting(actor=audit.operator()), state.begin(fenced=False) as transaction:
        if field is not None:
            return _resume_field(transaction, settings, connection, field, say)
        _require_own_pause(transaction, connection)
        ended = end_pauses(transaction, connection, why="a person resumed it", actor=audit.operator())
    if not ended:
        print_line(say("Nothing was paused."))
    for pause in ended:
        where = say("all connections") if pause.system == EVERYTHING else pause.system
        print_line(
            say(
                "{where}: goes on ({told})",
                where=where,
                told=describe_pause(asdict(pause), local_time(pause.until, settings.zone), say),
            )
        )
    return 0


def _require_own_pause(transaction: Connection, connection: str | None) -> None:
    """A pause of all connections is not ended for one of them in silence."""
    if connection is None:
        return
    paused = set(transaction.execute(select(t.pause.c.system)).scalars())
    if EVERYTHING in paused and connection not in paused:
        raise InvalidInput(
            f"all connections are paused, not {connection} alone",
            hint="mikomi resume, then `mikomi pause NAME` for those that shall wait",
        )


def _resume_field(transaction: Any, settings: Settings, connection: str | None, field: str, say: Say) -> int:
    from sync.drift import resume_field

    for name in [connection] if connection else list(settings.connections):
        try:
            keep_in(transaction, f"delivered {name}", None)  # everybody's value is owed again: that is no mass change
            resume_field(transaction, name, field)
        except KeyError as error:
            raise InvalidInput(f"Mikomi has no field {field!r}", hint=", ".join(OUTPUT_FIELDS)) from error
        print_line(say("{where}: {field} is written again with the next sync", where=name, field=field))
    return 0


def parse_until(text: str, zone: ZoneInfo, now: Millis) -> Millis:
    """A length from now on (`90m`, `2h`, `3d`), a day, or a local moment (`2026-12-01T09:00`; with an offset, that one).

    Raises:
        InvalidInput: it is none of these, or past.

    """
    try:
        end = now + parse_length(text)
    except ValueError:
        try:
            moment = datetime.fromisoformat(text.strip())
        except ValueError:
            raise InvalidInput(f"--until {text!r} is no time", hint="2h, 3d, 2026-12-01 or 2026-12-01T09:00") from None
        end = to_millis(moment if moment.tzinfo is not None else moment.replace(tzinfo=zone))
    if end <= now:
        raise InvalidInput(f"--until {text!r} is past", hint="give a time to come, or leave it out")
    return end


def describe_pause(pause: Mapping[str, Any], until: str | None, say: Say) -> str:
    """Who paused it, until when, and why, in one line. `pause`: as in a report; `until`: its end in local time."""
    words = {
        "admin": say("paused by a person"),
        "quota": say("paused: the day's calls are used up"),
        "errors": say("paused: too much failed"),
        "credential": say("paused: the credential is refused"),
        "guard": say("paused: something it needs is gone"),
    }
    text = words[pause["cause"]]
    if until is not None:
        text += " " + say("(until {when})", when=until)
    return f"{text}: {pause['reason']}" if pause["reason"] else text


def _require_known(settings: Settings, connection: str | None) -> None:
    if connection is not None and connection not in settings.connections:
        known = ", ".join(settings.connections)
        raise InvalidSettings(f"there is no connection {connection!r}", hint=f"connections: {known}")
