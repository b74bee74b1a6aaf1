"""`mikomi status`: where things stand, from the state alone."""

from collections.abc import Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

from connectors import OUTPUT_FIELDS
from core.identity import describe
from core.records import Millis, to_datetime
from sync.app import App
from sync.cli.output import named_cause, print_finding, print_json, print_line, print_table
from sync.cli.pausing import describe_pause
from sync.cli.service import service_document, show_service
from sync.drift import describe_contested
from sync.health import Health, read_health
from sync.look.standing import ConnectionStanding, Refusal, RunStanding, Standing, read_standing
from sync.pauses import local_time
from sync.resolve import vendors_of
from sync.settings import Settings
from sync.state import now_ms
from sync.state.kept import get_kept
from sync.texts import Say, speaker

LISTED = 20
LONGEST_LINE = 300
"""Of what a record says of itself: a name may be anything."""
HOUR_MS = 3_600_000
OWED = ("new", "unknown")
ROUTINE = frozenset({"role_mailbox", "shared_mailbox"})
"""Ambiguities that are listed last: a shared mailbox stays what it is, the others can be put right in the CRM."""


def run_status(app: App, *, as_json: bool) -> int:
    """Show the standing. Exit code 0 whatever it is: looking is no judgement."""
    settings = app.loaded.settings
    with app.state(create=False) as state, state.read() as connection:
        standing = read_standing(connection, stage=settings.stage, vendors=vendors_of(settings))
        service, reconciled = read_health(state), get_kept(state, "reconciled")
    if as_json:
        document = standing.as_dict()
        for row, ambiguity in zip(document["ambiguities"], standing.ambiguities, strict=True):
            row["said"] = describe(ambiguity, settings.language)
        print_json(document | service_document(service, reconciled))
    else:
        show_standing(standing, settings, now_ms(), service, reconciled)
    return 0


def show_standing(
    standing: Standing,
    settings: Settings,
    now: Millis,
    service: Health | None = None,
    reconciled: Mapping[str, Any] | None = None,
) -> None:
    """Everything: how it stands, then what somebody must see to, and last the list that can wait, which may be long."""
    say = speaker(settings.language)
    machine_now = now
    now = max(now, *(at for c in standing.connections for at in c.cursors.values()), 0)
    _show_bands(standing, say)
    _show_runs(standing.runs, settings.zone, say)
    _show_connections(standing.connections, now, say)
    _show_handovers(standing, settings, say)
    show_service(service, reconciled, settings.zone, machine_now, say)
    _show_refused(standing.refused, say)
    for field in standing.contested:
        print_finding("warning", field.system, *describe_contested(field, settings.pair, settings.language, say))
    for stop in standing.stops:
        print_finding("error", stop.guard, stop.message, stop.hint)
    for connection in standing.connections:
        _show_pause(connection, settings.zone, machine_now, say)
        if connection.error:
            print_finding("error", connection.name, connection.error, connection.hint or "mikomi doctor")
    _show_ambiguities(standing, settings, say)


def _show_bands(standing: Standing, say: Say) -> None:
    print_line(
        say("{count} {count:person|people}, stage {stage}", count=f"{standing.people:,}", stage=standing.stage), "bold"
    )
    print_line("  " + "   ".join(f"{band} {count:,}" for band, count in standing.bands.items()))
    if standing.unscored:
        print_line("  " + say("{count} not scored yet", count=f"{standing.unscored:,}"))


def _show_runs(runs: Sequence[RunStanding], zone: ZoneInfo, say: Say) -> None:
    print_line()
    print_line(say("Last runs"), "bold")
    if not runs:
        print_line("  " + say("none yet. Next: {command}", command="mikomi sync"))
        return
    rows = [
        (
            f"{to_datetime(run.started_at).astimezone(zone):%Y-%m-%d %H:%M:%S}",
            _outcome(run, say) + (" " + say("(dry run)") if run.dry_run else ""),
            "" if run.finished_at is None else f"{(run.finished_at - run.started_at) / 1000:.1f} s",
            f"{run.people_scored:,}",
            f"{run.scores_changed:,}",
            f"{run.fields_written:,}",
            f"{run.tasks_created:,}",
        )
        for run in runs
    ]
    columns = (
        say("started"),
        say("outcome"),
        say("took"),
        say("scored"),
        say("changed"),
        say("records updated"),
        say("tasks"),
    )
    print_table(columns, rows, right=(2, 3, 4, 5, 6))


def _outcome(run: RunStanding, say: Say) -> str:
    words: Mapping[str, str] = {
        "ok": say("ok"),
        "partial": say("in part"),
        "failed": say("failed"),
        "running": say("not ended"),
    }
    return words.get(run.outcome, run.outcome)


def _show_connections(connections: Sequence[ConnectionStanding], now: Millis, say: Say) -> None:
    print_line()
    print_line(say("Connections"), "bold")
    rows = [
        (
            c.name,
            f"{c.records:,}",
            _age(max(c.cursors.values(), default=None), now, say),
            _age(c.swept_at, now, say),
            {True: say("unique"), False: say("quarantine"), None: say("not probed")}[c.task_key],
            *(
                f"{sum(c.outbox.get(f'{effect} {state}', 0) for state in states):,}"
                for effect in ("fields", "task")
                for states in (OWED, ("done",), ("dead",))
            ),
        )
        for c in connections
    ]
    columns = (
        say("connection"),
        say("records"),
        say("last read"),
        say("last sweep"),
        say("task key"),
        say("updates owed"),
        say("done"),
        say("refused"),
        say("tasks owed"),
        say("done"),
        say("refused"),
    )
    print_table(columns, rows, right=(1, 5, 6, 7, 8, 9, 10))


def _show_pause(connection: ConnectionStanding, zone: ZoneInfo, now: Millis, say: Say) -> None:
    pause = connection.paused
    if pause is not None and (pause["until"] is None or pause["until"] > now):
        told = describe_pause(pause, local_time(pause["until"], zone), say)
        print_finding("info" if pause["cause"] == "admin" else "warning", connection.name, told, pause["hint"])
    elif pause is None and connection.paused_until:
        print_finding("info", connection.name, say("paused until {when}", when=connection.paused_until))


def _age(at: Millis | None, now: Millis, say: Say) -> str:
    if at is None:
        return say("never")
    minutes = max(0, now - at) // 60_000
    if minutes < 120:
        return say("{count} min ago", count=minutes)
    return say("{count} h ago", count=minutes // 60)


def _show_handovers(standing: Standing, settings: Settings, say: Say) -> None:
    print_line()
    print_line(say("Hand-overs"), "bold")
    labels = {option.value: getattr(option, settings.language) for option in OUTPUT_FIELDS["handover_state"].options}
    counted = [f"{labels.get(state, say('queued'))} {count:,}" for state, count in sorted(standing.handovers.items())]
    if standing.seeded:
        counted.append(say("counted as handed over at the start: {count}", count=f"{standing.seeded:,}"))
    print_line("  " + ("   ".join(counted) or say("none yet")))
    if standing.unassigned:
        print_line(
            "  " + say("{count} {count:waits|wait} for somebody who can take them:", count=len(standing.unassigned)),
            "yellow",
        )
        for person in standing.unassigned[:LISTED]:
            about = ", ".join(str(record.ref) for record in person.records)
            print_line(f"    {person.name(settings.language)}  {person.company or ''}  {about}")
        hint = say("give the records an active owner, or set tasks.fallback_owner")
        print_line(f"    → {hint}", "cyan")


def _show_ambiguities(standing: Standing, settings: Settings, say: Say) -> None:
    count = len(standing.ambiguities)
    if not count:
        return
    print_line()
    more = "+" if standing.ambiguities_cut else ""
    print_line(say("Kept apart, for a person to look at: {count}", count=f"{count:,}{more}"), "bold")
    listed = sorted(standing.ambiguities, key=lambda a: (a.reason in ROUTINE, a))
    for ambiguity in listed[:LISTED]:
        told = describe(ambiguity, settings.language)
        print_line(f"  {told if len(told) <= LONGEST_LINE else told[:LONGEST_LINE] + ' …'}")
        print_line(
            f"      {', '.join(str(ref) for ref in ambiguity.records[:6])}{' …' if len(ambiguity.records) > 6 else ''}",
            "dim",
        )
    if count > LISTED:
        print_line("  " + say("… and {count} more: `mikomi status --json`", count=f"{count - LISTED:,}"))


def _show_refused(refused: Sequence[Refusal], say: Say) -> None:
    if not refused:
        return
    print_line()
    print_line(say("Refused for good, by cause"), "bold")
    for cause in refused:
        count = f"{cause.count:,}"
        what = (
            say("{count} {count:task|tasks}", count=count)
            if cause.effect == "task"
            else say("{count} {count:update|updates}", count=count)
        )
        example = say("for example {record}", record=cause.example)
        print_finding(
            "warning",
            f"[{cause.letters}] {cause.system}",
            f"{what}: {named_cause(cause.code, cause.message)} ({example})",
        )
    print_line("    → mikomi dead list", "cyan")
