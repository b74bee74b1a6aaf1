"""`mikomi setup`: a plan before a change."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

from sqlalchemy import delete

from connectors import SetupStep
from core.errors import CannotStart
from sync import audit
from sync.app import App
from sync.cli.output import print_finding, print_json, print_line
from sync.ready import cannot_start, require_ready
from sync.state import deadletters, now_ms
from sync.state import schema as t
from sync.state.kept import keep_in
from sync.texts import Say, speaker

NAMES_SHOWN = 3


def run_setup(app: App, *, apply: bool, as_json: bool) -> int:
    """Show, or carry out, what the CRMs still lack. Exit code 2 if something cannot be created."""
    say = speaker(app.loaded.settings.language)
    require_ready(app.connectors)
    if apply:
        _refuse_blocked(app)
    return apply_setup(app, say, as_json=as_json) if apply else _plan(app, say, as_json=as_json)


def _plan(app: App, say: Say, *, as_json: bool) -> int:
    plans = {name: list(connector.plan_setup()) for name, connector in app.connectors.items()}
    if as_json:
        print_json({name: [asdict(step) for step in steps] for name, steps in plans.items()})
        return 2 if any(step.blocked for steps in plans.values() for step in steps) else 0
    for name, steps in plans.items():
        print_line(name, "bold underline")
        open_steps = [step for step in steps if not step.done]
        for reason, names in _blocked(open_steps).items():
            print_finding("error", _listed(names, say), say("needs a person first"), reason)
        for step in open_steps:
            if not step.blocked:
                print_finding("info", step.name, say("would be created: {what}", what=step.description))
        there = len(steps) - len(open_steps)
        print_line(say("{there} already there, {missing} to create.", there=there, missing=len(open_steps)))
    blocked = any(step.blocked for steps in plans.values() for step in steps)
    if not blocked and any(not step.done for steps in plans.values() for step in steps):
        print_line(say("Nothing was changed. Next: {command}", command="mikomi setup --apply"), "cyan")
    return 2 if blocked else 0


def _refuse_blocked(app: App) -> None:
    """Nothing is created anywhere while something needs a person first."""
    say = speaker(app.loaded.settings.language)
    problems = [
        (name, CannotStart(f"{name}: {_listed(names, say)}: {say('needs a person first')}", hint=reason))
        for name, connector in app.connectors.items()
        for reason, names in _blocked(connector.plan_setup()).items()
    ]
    if problems:
        raise cannot_start(problems)


def _blocked(steps: Iterable[SetupStep]) -> dict[str, list[str]]:
    """The names of steps that need a person first, by what that person must do."""
    found: dict[str, list[str]] = {}
    for step in steps:
        if step.blocked:
            found.setdefault(step.blocked, []).append(step.name)
    return found


def _listed(names: Sequence[str], say: Say) -> str:
    if len(names) <= NAMES_SHOWN:
        return ", ".join(names)
    return ", ".join(names[:NAMES_SHOWN]) + " " + say("and {count} more", count=len(names) - NAMES_SHOWN)


def _remember(app: App, name: str, *, task_key: bool | None, created: int) -> None:
    """What the probe found; and that fields created just now are empty, whatever the CRM once acknowledged."""
    with app.state() as state, state.begin() as connection:
        keep_in(connection, f"task key {name}", task_key)
        deadletters.revive_all(connection, system=name, now=now_ms())  # what was refused for lack of it may pass now
        if created:
            connection.execute(delete(t.acknowledged).where(t.acknowledged.c.system == name))
            keep_in(connection, "pass", None)
            keep_in(connection, f"delivered {name}", None)  # everybody is written anew: that is no mass change


def _note(app: App, name: str, new: Mapping[str, Sequence[str]]) -> None:
    """In the audit log: what is about to be created in a CRM, and then what was."""
    if any(new.values()):
        with app.state() as state, state.begin() as connection:
            audit.note(connection, "setup", name, new=new, why="mikomi setup --apply", actor=audit.operator())


def apply_setup(app: App, say: Say, *, as_json: bool = False, brief: bool = False) -> int:
    """Create what is missing, connection by connection. `brief`: only counts and failures are shown."""
    failed = 0
    document: dict[str, list[dict[str, object]]] = {}
    for name, connector in app.connectors.items():
        if not as_json:
            print_line(name, "bold underline")
        created = 0
        _note(app, name, {"to create": [step.name for step in connector.plan_setup() if not step.done]})
        results = []
        for result in connector.apply_setup():
            results.append(result)
            document.setdefault(name, []).append(asdict(result))
            created += result.status == "created"
            failed += result.status == "failed"
            said = result.status != "unchanged" or result.message  # what is as it was may still be worth a word
            if not as_json and said and (not brief or result.status == "failed"):
                level = {"created": "ok", "unchanged": "info", "failed": "error"}[result.status]
                print_finding(level, result.step.name, result.message or result.step.description)
        if not as_json:
            kept = len(document.get(name, [])) - created
            print_line(say("{created} created, {kept} as they were.", created=created, kept=kept))
        ended: dict[str, list[str]] = {}
        for result in results:
            if result.status != "unchanged":
                ended.setdefault(result.status, []).append(result.step.name)
        _note(app, name, ended)
        _remember(app, name, task_key=connector.capabilities.task_key, created=created)
    if as_json:
        print_json(document)
    elif not failed and not brief:
        print_line(say("Next: {command}", command="mikomi sync"), "cyan")
    return 2 if failed else 0
