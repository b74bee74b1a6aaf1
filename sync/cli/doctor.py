"""`mikomi doctor`: each line ok, or what to do."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from sqlalchemy import Connection

from connectors import Diagnosis, Finding
from core.errors import ConnectorError, InvalidInput, MikomiError
from sync.answers import readable
from sync.app import App
from sync.cli.output import print_finding, print_json, print_line, print_table
from sync.drift import contested_fields, describe_contested
from sync.retention import short_retention
from sync.state import State, readable_by_others
from sync.state.mirror.forgotten import check_key, use_key
from sync.texts import Say, speaker
from sync.tokens import StateKey

PLACEHOLDER = "ここに"
"""How the rulebook templates mark a value that a company must replace by its own."""


def run_doctor(app: App, *, as_json: bool) -> int:
    """Examine settings, rulebook, state and every connection. Exit code 2 if anything keeps Mikomi from working."""
    say = speaker(app.loaded.settings.language)
    own = _own_findings(app, say)
    diagnoses: dict[str, Diagnosis] = {}
    for name, connector in app.connectors.items():
        try:
            with readable(name):
                diagnoses[name] = connector.check()
        except (ConnectorError, InvalidInput) as error:
            diagnoses[name] = Diagnosis((Finding("error", name, str(error), error.hint),))
    if as_json:
        print_json({"mikomi": [asdict(f) for f in own]} | {name: asdict(d) for name, d in diagnoses.items()})
    else:
        show_diagnoses(own, diagnoses, say)
    found = Counter(f.level for findings in (own, *(d.findings for d in diagnoses.values())) for f in findings)
    return 2 if found["error"] else 0


def _own_findings(app: App, say: Say) -> list[Finding]:
    """Settings and rulebook raise if they are wrong; the state is looked at without creating it."""
    loaded, rulebook = app.loaded, app.rulebook
    settings = loaded.settings
    described = say(
        "{file}, stage {stage}, {timezone}", file=loaded.file, stage=settings.stage, timezone=settings.timezone
    )
    findings = [
        Finding("ok", say("settings"), described),
        Finding(
            "ok",
            say("rulebook"),
            say("{name}, {count} {count:rule|rules}", name=rulebook.name, count=len(rulebook.rules)),
        ),
    ]
    text = loaded.rulebook_file.read_text("utf-8")
    open_lines = [n for n, line in enumerate(text.splitlines(), 1) if PLACEHOLDER in line.partition("#")[0]]
    if open_lines:
        lines = ", ".join(f"{loaded.rulebook_file.name}:{n}" for n in open_lines)
        message = say(
            "{count} {count:place is|places are} still to be filled in ({lines})", count=len(open_lines), lines=lines
        )
        hint = say("edit {file} where it says ★", file=loaded.rulebook_file)
        findings.append(Finding("warning", say("rulebook"), message, hint))
    for place, days in short_retention(rulebook, settings.retention):
        kept = settings.retention.activities
        message = say(
            "{place} looks {days} {days:day|days} back, activities are kept {kept}", place=place, days=days, kept=kept
        )
        findings.append(Finding("warning", say("retention"), message, say("raise `retention: activities`")))
    if not _has_state(loaded.state_url):
        return [*findings, Finding("info", say("state"), say("not created yet"), "mikomi sync")]
    try:
        with app.state(create=False) as state, state.read() as connection:
            findings.append(Finding("ok", say("state"), say("opened")))
            findings += _open_files(loaded.state_url, say)
            for field in contested_fields(connection):
                problem, remedy = describe_contested(field, settings.pair, settings.language, say)
                findings.append(Finding("warning", field.system, problem, remedy))
            findings += _lost_key(app, state, connection, say)
    except MikomiError as error:
        findings.append(Finding("error", say("state"), error.message, error.hint))
    return findings


def _open_files(url: str, say: Say) -> list[Finding]:
    """Files of the state that others can read, and that opening it could not narrow: they belong to somebody else."""
    from sqlalchemy.engine import make_url

    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        return []
    return [
        Finding(
            "warning",
            say("state"),
            say("{file} holds personal data and can be read by others", file=file),
            say("as its owner: {command}", command=f"chmod 600 {file}"),
        )
        for file in readable_by_others(Path(parsed.database))
    ]


def _lost_key(app: App, state: State, connection: Connection, say: Say) -> list[Finding]:
    """Where people were forgotten, passes stop without the key that tells them; nobody looking makes a new one."""
    use_key(state, StateKey(app.loaded.state_url, app.loaded.settings.state_key, make=False))
    try:
        check_key(connection)
    except MikomiError as error:
        return [Finding("error", say("state key"), error.message, error.hint)]
    return []


def _has_state(url: str) -> bool:
    """False only for an SQLite file that is not there yet; a server answers for itself."""
    from sqlalchemy.engine import make_url

    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or parsed.database in (None, "", ":memory:"):
        return True
    return Path(str(parsed.database)).exists()


def show_diagnoses(own: Sequence[Finding], diagnoses: Mapping[str, Diagnosis], say: Say) -> None:
    """Our own findings, then each connection's with its table of signals, then the verdict."""
    for finding in own:
        print_finding(finding.level, finding.subject, finding.message, finding.hint)
    for name, diagnosis in diagnoses.items():
        print_line()
        print_line(name, "bold underline")
        for finding in diagnosis.findings:
            print_finding(finding.level, finding.subject, finding.message, finding.hint)
        if diagnosis.signals:
            _show_signals(diagnosis, say)
    levels = Counter(f.level for findings in (own, *(d.findings for d in diagnoses.values())) for f in findings)
    print_line()
    if levels["error"]:
        print_line(
            say(
                "{errors} to put right before Mikomi can work, {warnings} worth a look.",
                errors=levels["error"],
                warnings=levels["warning"],
            ),
            "red",
        )
    elif levels["warning"]:
        print_line(say("Mikomi can work. {warnings} worth a look.", warnings=levels["warning"]), "green")
    else:
        print_line(say("Mikomi can work."), "green")


def _show_signals(diagnosis: Diagnosis, say: Say) -> None:
    rows = [
        (s.kind, say("yes") if s.available else say("no"), "" if s.rows is None else f"{s.rows:,}", s.origin, s.note)
        for s in diagnosis.signals
    ]
    columns = (say("signal"), say("here"), say("rows in 90 days"), say("comes from"), say("note"))
    print_line()
    print_table(columns, rows, right=(2,))
