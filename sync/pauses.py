"""Connections that are left alone for a while: because a person said so, the day's calls are used up, the credential is refused,
too much failed, or a guard stopped. A paused connection is not called at all; the others go on.

A pause for errors begins after three failed runs in a row, or when half of an hour's calls failed; each one in a row is twice as
long as the last (five minutes to an hour). The first call after it is made once, without another try: if that fails, the next
pause begins (`connectors.budget.CallLedger.doubtful`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, delete

from connectors.fingerprint import fingerprint
from core.errors import InvalidMapping, MikomiError, QuotaExhausted, QuotaReserved, Unauthorized
from core.records import Millis, to_datetime, to_millis
from sync import audit
from sync.report import RunReport
from sync.settings import Settings
from sync.state import State
from sync.state import schema as t
from sync.state.calls_made import breaker_name, forget_failures, health
from sync.state.kept import get_kept, keep, keep_in, unkeep
from sync.state.pause import EVERYTHING, Pause, lift, put, standing
from sync.texts import speaker

FAILED_RUNS = 3
ENOUGH_CALLS = 20
FIRST_PAUSE_MS = 5 * 60_000
LONGEST_PAUSE_MS = 60 * 60_000
HOUR_MS = 60 * 60_000


# --- at the start of a run ---------------------------------------------------------------------------------------------


def apply_pauses(state: State, settings: Settings, report: RunReport, now: Millis) -> None:
    """Lift the pauses that are over; mark the connections of the others in the report, so that nothing calls them."""
    with state.outside() as connection:
        found = standing(connection)
    if not found:
        return
    over = {pause: why for pause in found if (why := _why_over(state, settings, pause, now))}
    if over:
        with state.begin() as connection:
            lift(connection, over)
            audit.note_many(
                connection,
                [
                    audit.Note("resume", _subject(p), why, old=_told(p), run_id=report.run_id, actor=audit.OURSELVES)
                    for p, why in over.items()
                ],
            )
    for name, pause in longest([p for p in found if p not in over], settings.connections).items():
        mark_paused(report, name, pause, settings.zone)


def longest(pauses: Iterable[Pause], names: Iterable[str]) -> dict[str, Pause]:
    """Of each connection that is paused, the pause that ends last."""
    known = list(names)
    found: dict[str, Pause] = {}
    for pause in pauses:
        for name in known if pause.system == EVERYTHING else [n for n in known if n == pause.system]:
            if name not in found or _end(pause) > _end(found[name]):
                found[name] = pause
    return found


def mark_paused(report: RunReport, name: str, pause: Pause, zone: ZoneInfo) -> None:
    system = report.system(name)
    system.paused = asdict(pause)
    system.paused_until = local_time(pause.until, zone)


def local_time(at: Millis | None, zone: ZoneInfo) -> str | None:
    """`2026-12-01 09:00 JST`; None where there is no end."""
    return None if at is None else f"{to_datetime(at).astimezone(zone):%Y-%m-%d %H:%M %Z}"


def _why_over(state: State, settings: Settings, pause: Pause, now: Millis) -> str:
    if pause.until is not None and pause.until <= now:
        return "its time is over"
    if pause.cause != "admin" and pause.at > now:
        return "it began by a clock that stood ahead"
    if pause.cause in {"credential", "guard"}:
        section = settings.connections.get(pause.system)
        if section is None or get_kept(state, _tried_name(pause.system)) != fingerprint(pause.system, section):
            return "the connection's settings or secrets changed"
    return ""


def note_tried(state: State, settings: Settings, name: str) -> None:
    """Remember with which settings and secrets a connection is used from now on: before it reads them itself, so that one
    replaced in between is noticed.
    """
    found = fingerprint(name, settings.connections[name])
    if get_kept(state, _tried_name(name)) != found:
        keep(state, _tried_name(name), found)


def take_word(state: State, name: str) -> bool:
    """Whether a person has resumed a refused connection since it was last asked; once."""
    if get_kept(state, _word_name(name)) is None:
        return False
    unkeep(state, _word_name(name))
    return True


# --- when something failed, or worked ------------------------------------------------------------------------------------


def note_failure(
    state: State, settings: Settings, report: RunReport, name: str, error: MikomiError, now: Millis
) -> None:
    """Put a connection's fault into the report, and begin the pause that it calls for."""
    system, say = report.system(name), speaker(settings.language)
    system.error, system.hint = error.message, error.hint
    pause: Pause | None = None
    if isinstance(error, QuotaReserved):
        at = None if error.resets_at is None else to_millis(error.resets_at)
        system.paused_until = local_time(at, settings.zone)
    elif isinstance(error, QuotaExhausted):
        until = now + HOUR_MS if error.resets_at is None else max(now, to_millis(error.resets_at))
        pause = Pause(name, "quota", until, error.message, error.hint, now)
    elif isinstance(error, Unauthorized):
        again = None if error.final else now + HOUR_MS
        then = say("then `mikomi resume {name}` (a changed secret resumes it by itself)", name=name)
        hint = f"{error.hint}; {then}".lstrip("; ")
        pause = Pause(name, "credential", again, error.message, hint, now)
    elif isinstance(error, InvalidMapping):
        then = say("then `mikomi resume {name}` (it is looked at again by itself)", name=name)
        hint = f"{error.hint}; {then}".lstrip("; ")
        pause = Pause(name, "guard", now + HOUR_MS, str(error), hint, now)
    else:
        pause = _count_failed_run(state, name, error, error.hint or say("it is tried again by itself"), now)
    if pause is not None:
        with state.begin() as connection:
            begin_pause(connection, pause, run_id=report.run_id)
        mark_paused(report, name, pause, settings.zone)


def note_success(state: State, settings: Settings, report: RunReport, name: str, now: Millis) -> None:
    """A run in which nothing of this connection failed for good: forget its failed runs, unless half of its calls failed."""
    with state.outside() as connection:
        went = health(connection, name, now)
    broken = get_kept(state, breaker_name(name))
    if went.calls >= ENOUGH_CALLS and went.failed * 2 >= went.calls:
        say = speaker(settings.language)
        reason = say("{failed} of the last {count} calls failed", failed=went.failed, count=went.calls)
        with state.begin() as connection:
            pause = _trip(connection, name, broken or {}, reason, say("see the CRM's status page"), now)
            begin_pause(connection, pause, run_id=report.run_id)
        mark_paused(report, name, pause, settings.zone)
    elif broken is not None:
        with state.begin() as connection:
            connection.execute(delete(t.setting).where(t.setting.c.name == breaker_name(name)))
            forget_failures(connection, name, now)


def begin_pause(
    connection: Connection, pause: Pause, *, run_id: str | None = None, actor: str = audit.OURSELVES
) -> None:
    """Write a pause down, and who began it: a run that a person started pauses a connection by itself all the same."""
    put(connection, pause)
    audit.note(connection, "pause", _subject(pause), new=_told(pause), why=pause.reason, run_id=run_id, actor=actor)


def end_pauses(connection: Connection, system: str | None, *, why: str, actor: str) -> list[Pause]:
    """End every pause of a connection (None: of all), whoever began it. Failed runs are forgotten too; a credential that
    was refused is put to the CRM once more.
    """
    ended = [pause for pause in standing(connection) if system is None or pause.system in {system, EVERYTHING}]
    lift(connection, ended)
    for name in {pause.system for pause in ended}:
        connection.execute(delete(t.setting).where(t.setting.c.name == breaker_name(name)))
    for pause in ended:
        if pause.cause == "credential":
            keep_in(connection, _word_name(pause.system), True)
    if ended:
        notes = [audit.Note("resume", _subject(p), why, old=_told(p), actor=actor) for p in ended]
        audit.note_many(connection, notes)
    return ended


def _count_failed_run(state: State, name: str, error: MikomiError, hint: str, now: Millis) -> Pause | None:
    broken: dict[str, Any] = get_kept(state, breaker_name(name)) or {}
    runs = int(broken.get("runs", 0)) + 1
    with state.begin() as connection:
        went = health(connection, name, now)
        if runs >= FAILED_RUNS or (went.calls >= ENOUGH_CALLS and went.failed * 2 >= went.calls):
            return _trip(connection, name, broken, error.message, hint, now)
        keep_in(connection, breaker_name(name), broken | {"runs": runs})
    return None


def _trip(connection: Connection, name: str, broken: Mapping[str, Any], reason: str, hint: str, now: Millis) -> Pause:
    """The next pause for errors. After it one failed run is enough for a longer one."""
    trips = int(broken.get("trips", 0))
    length = min(FIRST_PAUSE_MS * 2 ** min(trips, 10), LONGEST_PAUSE_MS)
    keep_in(connection, breaker_name(name), {"runs": FAILED_RUNS - 1, "trips": trips + 1, "tripped_at": now})
    forget_failures(connection, name, now)
    return Pause(name, "errors", now + length, reason, hint, now)


def _tried_name(system: str) -> str:
    return f"tried {system}"


def _word_name(system: str) -> str:
    return f"resumed {system}"


def _end(pause: Pause) -> float:
    return float("inf") if pause.until is None else float(pause.until)


def _subject(pause: Pause) -> str:
    return "connections" if pause.system == EVERYTHING else pause.system


def _told(pause: Pause) -> dict[str, Any]:
    return {"cause": pause.cause, "until": pause.until}
