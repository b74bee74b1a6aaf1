"""`mikomi forget`: shows what will go, asks, erases, and says what it cannot reach."""

import sys
from collections.abc import Sequence

from core.errors import InvalidInput
from sync import audit
from sync.app import App
from sync.cli.output import ask, print_finding, print_line, print_table
from sync.forget import WAIT_SECONDS, Leaver, find_leaver, forget, known_backups, require_one
from sync.look.people import KnownPerson, load_people
from sync.texts import Say, speaker

LISTED = 20


def run_forget(app: App, who: str, *, yes: bool, everyone: bool = False) -> int:
    """Erase a person here, for good. Exit code 1 if the question was answered with no.

    Args:
        everyone: all the people who hang on the address or record, where there are several.

    Raises:
        InvalidInput: `who` is neither an address nor a record, or means several people, or nobody could be asked.
    """
    settings = app.loaded.settings
    say = speaker(settings.language)
    with app.state(create=False) as state:
        with state.read() as connection:
            leaver = find_leaver(connection, who)
            people = load_people(connection, leaver.people)
        # Names are for whoever is asked: what a script prints ends up in a log, which must keep nothing of the person.
        asked = not yes and sys.stdin.isatty()
        _show(leaver, [_named(person, settings.language) for person in people] if asked else [], say)
        if not everyone:
            require_one(leaver)
        question = say("Erase this person here, for good?") if leaver.refs else say("Refuse this person from now on?")
        if not yes and not confirm(question, say):
            print_line(say("Nothing was changed."))
            return 1
        with audit.acting(actor=audit.operator()), state.alone(wait_seconds=WAIT_SECONDS):
            gone, whole = forget(state, who, everyone=everyone)
    print_line(
        say("Erased. Nothing of this person is stored here again.")
        if gone.refs
        else say("Noted: nothing of this person is stored here from now on."),
        "green",
    )
    _show_limits(app, gone, say, whole=whole)
    return 0


def confirm(question: str, say: Say) -> bool:
    """A yes or no from the person at the terminal.

    Raises:
        InvalidInput: there is none.
    """
    if not sys.stdin.isatty():
        raise InvalidInput(say("there is no terminal to ask at"), hint=say("add --yes"))
    return ask(f"{question} [y/N]").lower() in {"y", "yes", "はい"}


def _named(person: KnownPerson, language: str) -> str:
    """Who it is, for whoever must confirm it."""
    known = (person.name(language), person.company, person.title)
    return f"#{person.person_id}  " + " / ".join(part for part in known if part)


def _show(leaver: Leaver, people: Sequence[str], say: Say) -> None:
    if not leaver.refs:
        print_line(say("Nothing is stored here under this address or record."))
        return
    for person in people:
        print_line(person, "bold")
    print_line(say("Stored of this person, all of which would go:"))
    rows = [
        (say("records"), f"{len(leaver.refs):,}"),
        (say("activities"), f"{leaver.activities:,}"),
        (say("changes of attributes"), f"{leaver.changes:,}"),
        (say("tasks that were not sent"), f"{leaver.unsent:,}"),
        (say("names of deals that are theirs alone"), f"{len(leaver.deals):,}"),
    ]
    print_table(("", ""), rows, right=(1,))
    for ref in leaver.refs[:LISTED]:
        print_line(f"  {ref}", "dim")
    if len(leaver.refs) > LISTED:
        print_line(say("  … and {count} more", count=len(leaver.refs) - LISTED), "dim")


def _show_limits(app: App, leaver: Leaver, say: Say, *, whole: bool) -> None:
    """What stays where this command does not reach."""
    settings = app.loaded.settings
    if leaver.written:
        text = say(
            "Mikomi's own fields of {count} {count:record|records} are emptied by the next sync.",
            count=len(leaver.written),
        )
        print_finding("info", "CRM", text)
    print_finding(
        "warning",
        "CRM",
        say("The CRM's own record of the person is not touched."),
        say("delete it there, if that was asked for, too"),
    )
    folder = settings.schedule.backup_folder
    folder = folder if folder.is_absolute() else app.file.parent / folder
    for path in known_backups(app.loaded.state_url, folder):
        text = say("{file} still holds the person.", file=path)
        print_finding(
            "warning", say("backup"), text, say("delete the file, or keep it: a restore erases the person again")
        )
    if not whole:
        text = say("The database's files may still hold deleted text: a program was reading, or the disk is full.")
        print_finding("warning", say("state"), text, say("run the same command again later"))
