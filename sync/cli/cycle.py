"""`mikomi sync`: one pass, with progress, and what it came to."""

from collections.abc import Collection

from sync import audit
from sync.app import App
from sync.cli.output import ConsoleProgress, print_finding, print_json, print_line, print_table
from sync.cli.pausing import describe_pause
from sync.cycle import Cycle
from sync.log import logging_to
from sync.progress import Silent
from sync.report import RunReport, SystemReport
from sync.state.stops import load_stops
from sync.texts import Say, speaker

PLANNED_SHOWN = 10


GUARDED = 4
"""The exit code where a guard stopped something."""


def run_sync(app: App, *, dry_run: bool, sweep: bool, strict: bool, as_json: bool, allow: Collection[str] = ()) -> int:
    """Run one cycle. Exit code 0: all well; 1: a system failed on the way, or refused rows; 4: a guard stopped something.

    Raises:
        CannotStart: something is wrong before the first read (exit code 2); `strict` counts an unreachable CRM as such.
    """
    say = speaker(app.loaded.settings.language)
    if allow and not as_json:
        _say_unknown(app, allow, say)
    report = take_pass(app, say, dry_run=dry_run, sweep=sweep, strict=strict, quiet=as_json, allow=allow)
    if as_json:
        print_json(report.as_dict())
    else:
        show_report(report, say)
    if report.guards:
        return GUARDED
    return {"ok": 0, "partial": 1, "failed": 1}[report.outcome]


def _say_unknown(app: App, allow: Collection[str], say: Say) -> None:
    """A name that nothing is stopped by is a slip of the pen."""
    with app.state() as state, state.read() as connection:
        stopped = {stop.guard for stop in load_stops(connection).values()}
    for name in sorted(set(allow) - stopped):
        print_finding("warning", "--allow", say("nothing is stopped by the name {name}", name=name), "mikomi status")


def take_pass(
    app: App,
    say: Say,
    *,
    dry_run: bool = False,
    sweep: bool = False,
    strict: bool = True,
    quiet: bool = False,
    allow: Collection[str] = (),
) -> RunReport:
    """One cycle with progress on the terminal, in the name of whoever typed it."""
    loaded, rulebook, connectors = app.loaded, app.rulebook, app.connectors
    with logging_to(loaded), audit.acting(actor=audit.operator()), app.state() as state:
        if quiet:
            cycle = Cycle(state, loaded.settings, rulebook, connectors, progress=Silent())
            return cycle.run(dry_run=dry_run, sweep=sweep, strict=strict, allow=allow)
        with ConsoleProgress(say).shown() as progress:
            cycle = Cycle(state, loaded.settings, rulebook, connectors, progress=progress)
            return cycle.run(dry_run=dry_run, sweep=sweep, strict=strict, allow=allow)


def show_report(report: RunReport, say: Say) -> None:
    """The run in a few lines and one row per connection."""
    rows = [
        (
            name,
            f"{s.rows_read:,}",
            f"{s.rows_changed:,}",
            s.stream_calls,
            s.other_calls,
            s.write_calls,
            f"{s.fields_written:,}",
            s.tasks_created,
            s.refused,
            s.postponed,
        )
        for name, s in report.systems.items()
    ]
    columns = (
        say("connection"),
        say("rows read"),
        say("changed"),
        say("stream calls"),
        say("other calls"),
        say("write calls"),
        say("records updated"),
        say("tasks"),
        say("refused"),
        say("later"),
    )
    print_table(columns, rows, right=tuple(range(1, 10)))
    _show_counts(report, say)
    for name, system in report.systems.items():
        _show_findings(name, system, say)
    for guard in report.guards:
        print_finding("error", guard["guard"], guard["message"], guard["hint"])


def _show_findings(name: str, system: SystemReport, say: Say) -> None:
    """What somebody ought to know of one connection, and what to type next."""
    if system.error:
        hint = "" if system.paused is not None else system.hint or ""
        print_finding("error", name, system.error, hint)
    if system.paused is not None:
        level = "info" if system.paused["cause"] == "admin" else "warning"
        print_finding(level, name, describe_pause(system.paused, system.paused_until, say), system.paused["hint"])
    elif system.paused_until:
        print_finding("info", name, say("paused until {when}", when=system.paused_until))
    if system.refused:
        told = say("{count} {count:write was|writes were} refused for good", count=system.refused)
        print_finding("warning", name, told, "mikomi dead list")
    elif system.dead:
        told = say("{count} {count:write stands|writes stand} refused", count=system.dead)
        print_finding("warning", name, told, "mikomi dead list")
    if system.doubled:
        told = say(
            "{count} second {count:task of a hand-over was|tasks of a hand-over were} found", count=system.doubled
        )
        print_finding("error", name, told, "mikomi log --action double; mikomi log --action remove-double")
    for problem in system.problems:
        print_finding("warning", name, problem)
    if system.forgotten:
        told = say(
            "{count} {count:row|rows} of forgotten people {count:was|were} turned away, as it should be",
            count=system.forgotten,
        )
        print_finding("info", name, told)


def _show_counts(report: RunReport, say: Say) -> None:
    counts = {name: f"{getattr(report, name):,}" for name in ("people", "people_scored", "scores_changed")}
    if report.cut_short:
        print_line(
            say(
                "A guard stopped the scoring: {people_scored} of {people} {people:person|people} {people_scored:was|were} "
                "scored. {scores_changed} {scores_changed:score|scores} changed.",
                **counts,
            )
        )
    elif report.daily:
        print_line(
            say(
                "{people} {people:person|people}; everyone was scored ({people_scored}). {scores_changed} {scores_changed:score|scores} changed.",
                **counts,
            )
        )
    else:
        print_line(
            say(
                "{people} {people:person|people}; {people_scored} affected by a change {people_scored:was|were} scored. {scores_changed} {scores_changed:score|scores} changed.",
                **counts,
            )
        )
    if report.stage == "observe":
        print_line(
            say(
                "Stage observe: nothing is written to the CRMs. Look with `mikomi sample`; then `mikomi setup --apply`, and set `stage: fields`."
            ),
            "cyan",
        )
    if report.dry_run:
        _show_plan(report, say)
    if report.seeded:
        print_line(
            say(
                "{count} {count:person already in the band counts|people already in the band count} as handed over, without a task (`handover: initial: seed`).",
                count=f"{report.seeded:,}",
            )
        )
    if report.unassigned:
        print_line(
            say(
                "{count} {count:hand-over waits|hand-overs wait} for an owner: `mikomi status`", count=report.unassigned
            ),
            "yellow",
        )


def _show_plan(report: RunReport, say: Say) -> None:
    """What a dry run would have done."""
    tasks = [item for item in report.planned if item["effect"] == "task"]
    updates = len(report.planned) - len(tasks)
    print_line(
        say(
            "Dry run: {updates} {updates:record|records} would be updated and {tasks} {tasks:task|tasks} created; nothing was.",
            updates=f"{updates:,}",
            tasks=len(tasks),
        ),
        "cyan",
    )
    for item in [*tasks, *(i for i in report.planned if i["effect"] != "task")][:PLANNED_SHOWN]:
        if item["effect"] == "task":
            print_line(f"  {item['record']}: " + say("task: {subject}", subject=item["subject"]))
        else:
            values = item["values"]
            shown = say("score {score}, band {band}", score=values.get("score"), band=values.get("band"))
            print_line(f"  {item['record']}: {shown}")
    if (left := len(report.planned) - PLANNED_SHOWN) > 0:
        print_line("  " + say("… and {count} more (all of them with --json)", count=f"{left:,}"))
