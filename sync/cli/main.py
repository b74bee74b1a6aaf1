"""The commands for setting up and looking. Each body imports what it needs, so that `mikomi --help` answers at once."""

import io
import logging
import os
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from core.errors import MikomiError
from sync.cli.entry import Config, Json, app, open_app, opened, spoken_language

DEBUG_VARIABLE = "MIKOMI_DEBUG"
PROGRAM_ERROR = 70
"""The exit code of an error that nobody foresaw (`EX_SOFTWARE` of sysexits.h)."""


def main() -> None:
    """Run a command; whatever goes wrong is two lines and an exit code, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without Japanese shows escapes, not a traceback
    logging.lastResort = None  # commands log into a file, or nowhere
    try:
        _run()
    except MikomiError as error:
        from sync.cli.output import print_error
        from sync.texts import speaker

        print_error(error, speaker(spoken_language()))
        sys.exit(error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except Exception as error:
        _tell_program_error(error)
        sys.exit(PROGRAM_ERROR)
    except KeyboardInterrupt:
        _say_stopped()
        sys.exit(130)


def _run() -> None:
    opened.clear()
    try:
        app()
    finally:
        for each in opened:
            with suppress(MikomiError):  # a database that is away is told where it was needed
                each.close()  # calls that were counted ahead and not made are given back


def _say_stopped() -> None:
    from sync.cli.output import print_stopped
    from sync.texts import speaker

    print_stopped(speaker(spoken_language()))


def _tell_program_error(error: Exception) -> None:
    """Type and places: what standard error shows may end in a journal, and a foreign message may quote anybody's data."""
    from sync.cli.output import print_program_error
    from sync.log import get_log, logging_to, places
    from sync.texts import speaker

    if os.environ.get(DEBUG_VARIABLE):
        traceback.print_exception(error)
    where = f"{type(error).__name__} ({places(error.__traceback__)})"
    print_program_error(where, f"{DEBUG_VARIABLE}=1", speaker(spoken_language()))
    for each in opened:
        if "loaded" in each.__dict__:
            with suppress(MikomiError), logging_to(each.loaded):  # one that cannot be opened is no second error
                get_log(__name__).error("ended by an error of the program", exc_info=error)


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        sys.stdout.write(f"mikomi {version('mikomi')}\n")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and end.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Lead scoring between your company and its CRMs (見込み度スコアリング)."""


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Where to put mikomi.yaml and rulebook.yaml.")] = Path(),
    language: Annotated[str, typer.Option(help="ja or en: comments, labels, and the texts reps will see.")] = "ja",
    template: Annotated[
        str, typer.Option(help="Rulebook template: b2b-japan-standard or article.")
    ] = "b2b-japan-standard",
) -> None:
    """Write a commented configuration and rulebook to start from."""
    from sync.cli.starter import write_starter

    write_starter(folder, language=language, template=template)


@app.command()
def doctor(config: Config = None, json: Json = False) -> None:
    """Can it work? Connection, permissions, fields, row visibility, quotas, signals. Writes nothing."""
    from sync.cli.doctor import run_doctor

    raise typer.Exit(run_doctor(open_app(config), as_json=json))


@app.command()
def setup(
    plan: Annotated[bool, typer.Option("--plan", help="Show what would be created.")] = False,
    apply: Annotated[bool, typer.Option("--apply", help="Create it.")] = False,
    config: Config = None,
    json: Json = False,
) -> None:
    """Create Mikomi's fields and permissions in the CRMs. Shows the plan unless --apply is given."""
    from sync.cli.setup import run_setup

    if plan and apply:
        raise typer.BadParameter("give --plan or --apply, not both")
    raise typer.Exit(run_setup(open_app(config), apply=apply, as_json=json))


@app.command()
def sync(
    config: Config = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read and score; show what would be written, write nothing.")
    ] = False,
    sweep: Annotated[
        bool, typer.Option("--sweep", help="Also look for deletions and association-only changes now.")
    ] = False,
    partial: Annotated[
        bool, typer.Option("--partial", help="Go on with the CRMs that can be reached when another cannot.")
    ] = False,
    allow: Annotated[
        list[str] | None, typer.Option(help="Let pass what a guard stopped, as its message names it. Repeatable.")
    ] = None,
    json: Json = False,
) -> None:
    """One pass: read what changed, score, write back what is worth a write."""
    from sync.cli.cycle import run_sync

    try:
        options = {"dry_run": dry_run, "sweep": sweep, "strict": not partial}
        code = run_sync(open_app(config), **options, as_json=json, allow=allow or ())
    except KeyboardInterrupt:
        _say_stopped()
        code = 130
    raise typer.Exit(code)


@app.command()
def explain(
    who: Annotated[str, typer.Argument(help="E-mail, name, CRM record id, or person number.")],
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="A past day (2026-10-01) or moment: the score as it was then.")
    ] = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """One score, line by line, summing exactly."""
    from sync.cli.people import run_explain

    raise typer.Exit(run_explain(open_app(config), _as_text(who), as_of=as_of, as_json=json))


@app.command()
def sample(config: Config = None, json: Json = False) -> None:
    """Twenty people by name, five per band, with their reasons: does it look right to the people who know them?"""
    from sync.cli.people import run_sample

    raise typer.Exit(run_sample(open_app(config), as_json=json))


@app.command()
def status(config: Config = None, json: Json = False) -> None:
    """Where things stand: last run, people per band, what is owed, refused or ambiguous."""
    from sync.cli.status import run_status

    raise typer.Exit(run_status(open_app(config), as_json=json))


@app.command()
def demo(
    people: Annotated[int, typer.Option(help="People in the practice market.")] = 2000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same market.")] = 1,
    language: Annotated[str, typer.Option(help="ja or en: reasons and tasks.")] = "ja",
    keep: Annotated[Path | None, typer.Option(help="Keep the demo's files in this folder.")] = None,
) -> None:
    """Both CRMs emulated on this machine: doctor, setup, sync, a crash, and a quiet second look. Ends by itself."""
    from sync.cli.demo import run_demo

    raise typer.Exit(run_demo(people=people, seed=seed, language=language, keep=keep))


@app.command()
def sandbox(
    salesforce_port: Annotated[int, typer.Option(help="0 picks a free port.")] = 0,
    hubspot_port: Annotated[int, typer.Option(help="0 picks a free port.")] = 0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same market.")] = 1,
    people: Annotated[int, typer.Option(help="People in the practice market.")] = 2000,
    no_limits: Annotated[bool, typer.Option("--no-limits", help="No rate limits: for benchmarks.")] = False,
    records: Annotated[int | None, typer.Option(help="Load this many plain records instead of the market.")] = None,
    tls: Annotated[bool, typer.Option("--tls", help="Also serve self-signed TLS ports.")] = False,
) -> None:
    """Serve both emulators until stopped; prints one JSON line with their addresses and tokens."""
    from sandbox import run

    raise typer.Exit(
        run(
            salesforce_port=salesforce_port,
            hubspot_port=hubspot_port,
            seed=seed,
            people=people,
            no_limits=no_limits,
            records=records,
            tls=tls,
        )
    )


def _as_text(argument: str) -> str:
    """An argument as the person typed it, also where the locale could not decode it."""
    return argument.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


from sync.cli import operations  # noqa: E402, F401 - registers its commands, after these in `--help`
