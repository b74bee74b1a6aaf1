"""The commands for running it for years: the service, looking both ways, dead letters, people who leave, backups, the log."""

from pathlib import Path
from typing import Annotated

import typer

from sync.cli.entry import Config, Json, app, open_app

dead = typer.Typer(
    name="dead",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Writes that were refused for good: look, retry, drop.",
)
app.add_typer(dead)

Ids = Annotated[list[str], typer.Argument(help="Numbers from `mikomi dead list`, a cause's letter, or all.")]


@app.command()
def serve(config: Config = None) -> None:
    """Work on schedule until stopped: cycles, daily scoring, sweeps, weekly reconcile (see `schedule:`)."""
    from sync.cli.serve import run_serve

    raise typer.Exit(run_serve(open_app(config)))


@app.command()
def pause(
    connection: Annotated[str | None, typer.Argument(help="One connection; all if left out.")] = None,
    until: Annotated[
        str | None,
        typer.Option(help="A moment (2026-12-01, 2026-12-01T09:00) or a length (2h, 3d). Until resumed if left out."),
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; shown by status and kept in the audit log.")] = "",
    config: Config = None,
) -> None:
    """Stop calling the CRMs, for a while or until `mikomi resume`. What is owed stays owed."""
    from sync.cli.pausing import run_pause

    raise typer.Exit(run_pause(open_app(config), connection, until=until, reason=reason))


@app.command()
def resume(
    connection: Annotated[str | None, typer.Argument(help="One connection; all if left out.")] = None,
    field: Annotated[str | None, typer.Option(help="Write this contested field again (see `mikomi status`).")] = None,
    config: Config = None,
) -> None:
    """End a pause, whoever began it; or write a field again that was left alone."""
    from sync.cli.pausing import run_resume

    raise typer.Exit(run_resume(open_app(config), connection, field=field))


@app.command()
def reconcile(
    heal: Annotated[bool, typer.Option("--heal", help="Put right what can be; otherwise only say it.")] = False,
    config: Config = None,
    json: Json = False,
) -> None:
    """Are both sides equal? Records, score fields and tasks, in both directions."""
    from sync.cli.reconcile import run_reconcile

    raise typer.Exit(run_reconcile(open_app(config), heal=heal, as_json=json))


@app.command()
def forget(
    who: Annotated[str, typer.Argument(help="E-mail address, or a record (salesforce/contact/003…).")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    everyone: Annotated[bool, typer.Option("--everyone", help="All the people who hang on it, if several.")] = False,
    config: Config = None,
) -> None:
    """Erase a person here, for good: nothing personal stays, and nothing is stored of them again."""
    from sync.cli.forget import run_forget

    raise typer.Exit(run_forget(open_app(config), who, yes=yes, everyone=everyone))


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="Where to write it; must not exist.")],
    config: Config = None,
) -> None:
    """Write the whole state into one file, while everything goes on."""
    from sync.cli.backup import run_backup

    raise typer.Exit(run_backup(open_app(config), file))


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A file that `mikomi backup` wrote.")],
    yes: Annotated[bool, typer.Option("--yes", help="Replace what is there without asking.")] = False,
    config: Config = None,
) -> None:
    """Put a backup in the place of the state. Then `mikomi reconcile --heal`: tasks made since are found in the CRMs."""
    from sync.cli.backup import run_restore

    raise typer.Exit(run_restore(open_app(config), file, yes=yes))


@app.command()
def log(
    record: Annotated[str | None, typer.Argument(help="Only what concerns this record, connection or setting.")] = None,
    since: Annotated[str | None, typer.Option(help="From this day or moment on, or so far back (7d).")] = None,
    action: Annotated[str | None, typer.Option(help="Only this action, for example write.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many, the newest.")] = 50,
    verify: Annotated[bool, typer.Option("--verify", help="Check that nothing was altered or taken out.")] = False,
    archive: Annotated[
        Path | None, typer.Option(help="Move entries older than --before into this new file (JSON lines).")
    ] = None,
    before: Annotated[str | None, typer.Option(help="For --archive: a day, a moment, or so far back (365d).")] = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """The audit log: every write to a CRM, every change of settings and rules; who, what, old, new, why."""
    from sync.cli.log import run_log

    code = run_log(
        open_app(config),
        record,
        since=since,
        action=action,
        limit=limit,
        verify=verify,
        archive=archive,
        before=before,
        as_json=json,
    )
    raise typer.Exit(code)


@dead.command("list")
def dead_list(config: Config = None, json: Json = False) -> None:
    """What was refused, grouped by cause, with the CRM's own words."""
    from sync.cli.dead import run_list

    raise typer.Exit(run_list(open_app(config), as_json=json))


@dead.command("show")
def dead_show(
    number: Annotated[int, typer.Argument(help="From `mikomi dead list`.")], config: Config = None, json: Json = False
) -> None:
    """One refused write, whole."""
    from sync.cli.dead import run_show

    raise typer.Exit(run_show(open_app(config), number, as_json=json))


@dead.command("replay")
def dead_replay(which: Ids, config: Config = None) -> None:
    """Owe them again: the next sync tries. The key keeps a task single."""
    from sync.cli.dead import run_replay

    raise typer.Exit(run_replay(open_app(config), which))


@dead.command("drop")
def dead_drop(
    which: Ids, reason: Annotated[str, typer.Option(help="Why; kept in the audit log.")] = "", config: Config = None
) -> None:
    """No longer wanted: they are kept as cancelled, and not tried again."""
    from sync.cli.dead import run_drop

    raise typer.Exit(run_drop(open_app(config), which, reason=reason))
