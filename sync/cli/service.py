"""What `mikomi status` says of the service and of the last reconciliation."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any
from zoneinfo import ZoneInfo

from core.records import Millis, to_datetime
from sync.cli.output import print_finding, print_line
from sync.health import SILENT_MS, Health
from sync.texts import Say


def service_document(health: Health | None, reconciled: Mapping[str, Any] | None) -> dict[str, Any]:
    """For `--json`: `service` (None where there never was one) and `reconciled` (None where it never was)."""
    return {"service": None if health is None else asdict(health), "reconciled": reconciled}


def show_service(
    health: Health | None, reconciled: Mapping[str, Any] | None, zone: ZoneInfo, now: Millis, say: Say
) -> None:
    """Nothing where there never was a service; else whether it turns, and what it waits for."""
    if health is not None:
        print_line()
        print_line(say("Service"), "bold")
        seen = _time(health.seen_at, zone)
        if health.role == "stopped":
            print_line("  " + say("stopped at {when}", when=seen))
        elif now - health.seen_at > SILENT_MS:
            print_line("  " + say("not running: the last sign of life was at {when}", when=seen))
        else:
            print_line("  " + say("running; next at {when}", when=_time(health.next_at, zone)))
        print_line("  " + say("last good pass: {when}", when=_time(health.good_at, zone)))
        if health.error:
            print_finding(
                "error", say("{count} {count:pass failed|passes in a row failed}", count=health.failures), health.error
            )
        for job, trouble in health.troubles.items():
            again = say("tried again at {when}", when=_time(trouble.again_at, zone))
            print_finding("error", _describe_job(job, trouble.failures, say), trouble.error, again)
        if health.refused:
            problem = say("changed settings or rules are not in force")
            print_finding(
                "warning", problem, health.refused, say("correct the file; it is read again before the next pass")
            )
    if reconciled is not None:
        when = _time(reconciled["finished_at"], zone)
        if reconciled["left"]:
            text = say(
                "last reconciled at {when}: {count} {count:difference is|differences are} left",
                when=when,
                count=f"{reconciled['left']:,}",
            )
            print_finding("warning", say("reconcile"), text, "mikomi reconcile --heal")
        else:
            print_line("  " + say("last reconciled at {when}", when=when))


def _describe_job(job: str, failures: int, say: Say) -> str:
    match job:
        case "daily":
            return say("daily scoring failed {count} {count:time|times in a row}", count=failures)
        case "reconcile":
            return say("reconcile failed {count} {count:time|times in a row}", count=failures)
        case "backup":
            return say("the backup failed {count} {count:time|times in a row}", count=failures)
    return job


def _time(at: Millis | None, zone: ZoneInfo) -> str:
    return "–" if at is None else f"{to_datetime(at).astimezone(zone):%Y-%m-%d %H:%M:%S}"
