"""`mikomi setup`: a plan before a change."""

from dataclasses import asdict

from core.errors import CannotStart
from sync.app import App
from sync.cli.output import print_finding, print_json, print_line
from sync.ready import cannot_start, require_ready
from sync.state.kept import keep
from sync.texts import Say, speaker


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
        for step in open_steps:
            if step.blocked:
                print_finding("error", step.name, step.description, step.blocked)
            else:
                print_finding("info", step.name, say("would be created: {what}", what=step.description))
        there = len(steps) - len(open_steps)
        print_line(say("{there} already there, {missing} to create.", there=there, missing=len(open_steps)))
    if any(not step.done for steps in plans.values() for step in steps):
        print_line(say("Nothing was changed. Next: {command}", command="mikomi setup --apply"), "cyan")
    return 2 if any(step.blocked for steps in plans.values() for step in steps) else 0


def _refuse_blocked(app: App) -> None:
    """Nothing is created anywhere while something needs a person first."""
    problems = [
        (name, CannotStart(f"{name}: {step.name}: {step.description}", hint=step.blocked))
        for name, connector in app.connectors.items()
        for step in connector.plan_setup()
        if step.blocked
    ]
    if problems:
        raise cannot_start(problems)


def apply_setup(app: App, say: Say, *, as_json: bool = False, brief: bool = False) -> int:
    """Create what is missing, connection by connection. `brief`: only counts and failures are shown."""
    failed = 0
    document: dict[str, list[dict[str, object]]] = {}
    for name, connector in app.connectors.items():
        if not as_json:
            print_line(name, "bold underline")
        created = 0
        for result in connector.apply_setup():
            document.setdefault(name, []).append(asdict(result))
            created += result.status == "created"
            failed += result.status == "failed"
            if not as_json and result.status != "unchanged" and (not brief or result.status == "failed"):
                level = "ok" if result.status == "created" else "error"
                print_finding(level, result.step.name, result.message or result.step.description)
        if not as_json:
            kept = len(document.get(name, [])) - created
            print_line(say("{created} created, {kept} as they were.", created=created, kept=kept))
        with app.state() as state:
            keep(state, f"task key {name}", connector.capabilities.task_key)
    if as_json:
        print_json(document)
    elif not failed and not brief:
        print_line(say("Next: {command}", command="mikomi sync"), "cyan")
    return 2 if failed else 0
