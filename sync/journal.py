"""What a run leaves in the log: that something changed for the worse or the better, and what the run did, in one line.

Transitions, not states: a connection that stays down is a line when it goes down and one when it comes back, with how often it
was tried in between. What is known to be so is kept in the state, because a run from cron is a new process each time.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from core.errors import AlreadyRunning, Interrupted, LeaseLost, MikomiError, StateError
from core.records import Millis
from sync import audit
from sync.log import get_log
from sync.redaction import redact
from sync.report import RunReport
from sync.state import State
from sync.state.kept import get_kept_in, keep_in

_log = get_log(__name__)
_STANDING = "standing"
_RUN = "run"


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that is not as it should be, once per subject: `connection hubspot`, `run`."""

    subject: str
    event: str
    over: str
    cause: str
    level: str = "warning"


@contextmanager
def watched(state: State, report: RunReport) -> Iterator[None]:
    """Everything in the block belongs to the run: its lines and audit rows carry its id. At the end it is logged."""
    with audit.acting(run_id=report.run_id):
        try:
            yield
        except (LeaseLost, Interrupted, AlreadyRunning) as error:
            _log.warning("run stopped", cause=type(error).__name__)
            raise
        except StateError as error:
            _log.error("run failed", cause=type(error).__name__, reason=error.message)
            raise
        except MikomiError as error:
            _settle(state, report, [Trouble(_RUN, "run failed", "runs work again", type(error).__name__, "error")])
            raise
        except Exception:
            _log.exception("run ended by an error of the program")
            raise
        _settle(state, report, _troubles(report))
        _tell(state, report)


def _troubles(report: RunReport) -> list[Trouble]:
    found = []
    for name, system in report.systems.items():
        if system.paused is not None:
            cause = redact(str(system.paused["reason"]))
            found.append(Trouble(f"connection {name}", "connection paused", "connection back", cause))
        elif system.error:
            found.append(Trouble(f"connection {name}", "connection down", "connection back", redact(system.error)))
        if system.refused:
            cause = f"{system.refused} writes"
            found.append(Trouble(f"refusals {name}", "writes refused", "no writes refused any more", cause))
        if system.problems:
            places = ", ".join(sorted(problem.partition(":")[0] for problem in system.problems))
            found.append(
                Trouble(f"problems {name}", "values left out", "no values left out any more", redact(places), "info")
            )
    return found


def _settle(state: State, report: RunReport, troubles: list[Trouble]) -> None:
    """Compare with what was known, say what is new, keep what is so."""
    now = report.finished_at or report.started_at
    with state.outside() as connection:
        known = get_kept_in(connection, _STANDING) or {}
    standing = {trouble.subject: _standing(trouble, known.get(trouble.subject), now) for trouble in troubles}
    touched = {f"{kind} {name}" for name in report.systems for kind in ("connection", "refusals", "problems")} | {_RUN}
    ended = {subject: was for subject, was in known.items() if subject in touched and subject not in standing}
    left = {subject: was for subject, was in known.items() if subject not in ended}
    if standing or ended:
        with state.begin() as connection:
            keep_in(connection, _STANDING, left | standing)
    for trouble in troubles:
        if standing[trouble.subject]["repeats"] == 0:
            _write_line(trouble.level, trouble.event, trouble.subject, cause=trouble.cause)
    for subject, was in ended.items():
        _write_line("info", was["over"], subject, seconds=(now - was["since"]) // 1000, repeats=was["repeats"])


def _standing(trouble: Trouble, was: Mapping[str, Any] | None, now: Millis) -> dict[str, Any]:
    if was is not None and was["event"] == trouble.event:
        return {**was, "repeats": was["repeats"] + 1}
    since = now if was is None else was["since"]
    return {"event": trouble.event, "over": trouble.over, "since": since, "repeats": 0}


def _write_line(level: str, event: str, subject: str, **more: Any) -> None:
    place = {"connection": subject.partition(" ")[2]} if " " in subject else {}
    getattr(_log, level)(event, **place, **more)


def _tell(state: State, report: RunReport) -> None:
    """One line a run; a quiet one only where somebody wants to see everything."""
    systems = report.systems.values()
    counts = {
        "rows": sum(system.rows_read for system in systems),
        "changed": report.scores_changed,
        "fields": sum(system.fields_written for system in systems),
        "tasks": sum(system.tasks_created for system in systems),
        "refused": sum(system.refused for system in systems),
        "postponed": sum(system.postponed for system in systems),
    }
    seconds = ((report.finished_at or report.started_at) - report.started_at) / 1000
    eventful = report.daily or report.outcome != "ok" or any(count for name, count in counts.items() if name != "rows")
    more: dict[str, Any] = {}
    if eventful:
        with state.read() as connection:
            end = audit.head(connection)
        more = {"audit_seq": end.seq, "audit_hash": end.hash}
    tell = _log.info if eventful else _log.debug
    calls = sum(system.stream_calls + system.other_calls + system.write_calls for system in systems)
    tell(
        "run finished",
        outcome=report.outcome,
        stage=report.stage,
        seconds=seconds,
        people=report.people,
        scored=report.people_scored,
        calls=calls,
        **counts,
        **more,
    )
