"""`mikomi reconcile`: are both sides equal?"""

from collections.abc import Mapping

from sync import audit
from sync.app import App
from sync.cli.output import ConsoleProgress, print_finding, print_json, print_line, print_table
from sync.progress import Progress, Silent
from sync.reconcile import KINDS, Kind, ReconcileReport, SystemFindings, reconcile
from sync.state import State
from sync.texts import Say, speaker

SHOWN = 5


def run_reconcile(app: App, *, heal: bool, as_json: bool) -> int:
    """Look, and with `heal` put right. Exit code 0: both sides are equal now; 1: differences are left, or not all was seen."""
    say = speaker(app.loaded.settings.language)
    with app.state(create=False) as state, audit.acting(actor=audit.operator()):
        if as_json:
            report = _take(app, state, Silent(), heal=heal)
            print_json(report.as_dict())
        else:
            with ConsoleProgress(say).shown() as progress:
                report = _take(app, state, progress, heal=heal)
            show_reconciliation(report, say)
    return 0 if report.equal else 1


def _take(app: App, state: State, progress: Progress, *, heal: bool) -> ReconcileReport:
    settings, name = app.loaded.settings, app.rulebook.handover.name
    return reconcile(state, settings, app.connectors, name, heal=heal, progress=progress)


def show_reconciliation(report: ReconcileReport, say: Say) -> None:
    """One row per connection, then what was found by class, with examples."""
    rows = [
        (name, f"{s.records:,}", f"{s.tasks:,}", f"{sum(d.count for d in s.differences.values()):,}", f"{_healed(s):,}", f"{s.left:,}", s.calls)
        for name, s in report.systems.items()
    ]  # fmt: skip
    columns = (
        say("connection"),
        say("records compared"),
        say("tasks compared"),
        say("differences"),
        say("put right"),
        say("left"),
        say("calls"),
    )
    print_table(columns, rows, right=tuple(range(1, 7)))
    for name, system in report.systems.items():
        _show_system(name, system, report, say)
    if report.equal and any(_healed(system) for system in report.systems.values()):
        print_line(say("No difference is left; what is owed to the CRMs is written by the next sync."), "green")
    elif report.equal:
        print_line(say("Both sides are equal."), "green")
    elif report.left and not report.heal:
        print_line(say("Nothing was changed. To put right what can be: `mikomi reconcile --heal`"), "cyan")


def _show_system(name: str, system: SystemFindings, report: ReconcileReport, say: Say) -> None:
    words = describe_kinds(say)
    for kind in KINDS:
        if (found := system.differences.get(kind)) is None or not found.count:
            continue
        text = f"{words[kind]}: {found.count:,}"
        if found.healed:
            text += say(" ({count} put right)", count=f"{found.healed:,}")
        level = "error" if kind == "second_tasks" and found.left else "warning" if found.left else "info"
        print_finding(level, name, text)
        listed = ", ".join(found.examples[:SHOWN])
        print_line(f"      {listed}{' …' if found.count > len(found.examples[:SHOWN]) else ''}", "dim")
    if report.heal and system.differences.get("fields"):
        print_line("      " + say("The next `mikomi sync` writes the fields again."), "dim")
    for count, text in (
        (system.removed_tasks, say("{count} {count:task of ours was|tasks of ours were} deleted by somebody and {count:is|are} not made again", count=system.removed_tasks)),
        (system.waiting, say("{count} {count:record waits|records wait} for values that are on their way", count=system.waiting)),
        (system.contested, say("{count} {count:field is|fields are} left to somebody else who keeps changing {count:it|them}", count=system.contested)),
    ):  # fmt: skip
        if count:
            print_finding("info", name, text)
    if system.skipped:
        print_finding("warning", name, say("not looked at: {reason}", reason=system.skipped), "mikomi status")
    if system.error:
        print_finding("error", name, system.error, system.hint or "")


def describe_kinds(say: Say) -> Mapping[Kind, str]:
    """Classes of differences in words."""
    return {
        "missing_here": say("only in the CRM"),
        "gone_there": say("only here, no longer in the CRM"),
        "different": say("different content"),
        "fields": say("score fields that do not read as they were written"),
        "forgotten_tasks": say("tasks in the CRM that this state did not know"),
        "unsettled_tasks": say("tasks in the CRM that this state believed were not made"),
        "second_tasks": say("second tasks of one hand-over"),
    }


def _healed(system: SystemFindings) -> int:
    return sum(difference.healed for difference in system.differences.values())
