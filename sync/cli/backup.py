"""`mikomi backup` and `mikomi restore`."""

from pathlib import Path
from zoneinfo import ZoneInfo

from sqlalchemy import func, select

from core.records import Millis, to_datetime
from sync import audit
from sync.app import App
from sync.backup import WAIT_SECONDS, Origin, open_for_restore, read_origin, restore_backup, write_backup
from sync.cli.forget import confirm
from sync.cli.output import print_finding, print_line
from sync.state import State
from sync.state import schema as t
from sync.state.mirror.forgotten import use_key
from sync.texts import Say, speaker


def run_backup(app: App, file: Path) -> int:
    """Write the whole state into one file.

    Raises:
        InvalidInput: the file exists, or its folder does not.
    """
    say = speaker(app.loaded.settings.language)
    with app.state(create=False) as state:
        size = write_backup(state, file)
    print_line(say("{file}: {size} MB", file=file, size=f"{size / 1_000_000:,.1f}"), "green")
    print_finding(
        "info", say("state key"), say("Keep the state key apart from it: tokens in the file open with that key only.")
    )
    return 0


def run_restore(app: App, file: Path, *, yes: bool) -> int:
    """Put a backup in the place of the state. Exit code 1 if the question was answered with no.

    Raises:
        InvalidInput: it is no backup, or nobody could be asked.
    """
    settings = app.loaded.settings
    say, zone = speaker(settings.language), settings.zone
    origin = read_origin(file)
    print_line(_describe(origin, say, zone))
    with open_for_restore(app.loaded.state_url) as (state, aside):
        use_key(state, app.state_key)
        if aside is not None:
            print_finding(
                "warning", say("state"), say("The state could not be read and was put aside: {file}", file=aside)
            )
        known, last = _standing(state)
        if known or last is not None:
            text = say(
                "It replaces a state of {count} {count:person|people}, last run {when}.",
                count=f"{known:,}",
                when=_when(last, zone),
            )
            print_finding("warning", say("state"), text)
            if not yes and not confirm(say("Replace it?"), say):
                print_line(say("Nothing was changed."))
                return 1
        with audit.acting(actor=audit.operator()), state.alone(wait_seconds=WAIT_SECONDS):
            restored = restore_backup(state, file)
    print_line(say("Restored."), "green")
    if restored.forgotten_again:
        text = say(
            "{count} {count:record|records} of people who were forgotten since {count:was|were} erased again.",
            count=restored.forgotten_again,
        )
        print_finding("info", "forget", text)
    print_finding(
        "info", say("tokens"), say("Tokens that were renewed since the backup may be refused: then connect again.")
    )
    print_line(say("Next: {command}", command="mikomi reconcile --heal"), "cyan")
    print_line(
        say("It finds the tasks that were made since; they live in the CRM and are taken over, never made twice.")
    )
    return 0


def _describe(origin: Origin, say: Say, zone: ZoneInfo) -> str:
    return say(
        "Backup of {when} ({database}, schema {schema}): {count} {count:person|people}, last run {last}",
        when=_when(origin.made_at, zone),
        database=origin.database,
        schema=origin.revision,
        count=f"{origin.people:,}",
        last=_when(origin.last_run, zone),
    )


def _when(at: Millis | None, zone: ZoneInfo) -> str:
    return "-" if at is None else f"{to_datetime(at).astimezone(zone):%Y-%m-%d %H:%M}"


def _standing(state: State) -> tuple[int, Millis | None]:
    with state.read() as connection:
        people = connection.execute(select(func.count()).select_from(t.person)).scalar_one()
        return people, connection.execute(select(func.max(t.run.c.started_at))).scalar()
