"""How a run begins: what is paused is left out, what cannot work is found before anything is read, what was lost is gone without.

A connection that has never worked as it is configured stops the run: somebody is setting it up. One that has worked goes on with
what is left of it: a field that an administrator deleted or hid costs that field, not the others.
"""

from collections.abc import Mapping

from sqlalchemy import delete, select

from connectors import Connector
from core.errors import (
    CannotStart,
    ConnectorError,
    InvalidInput,
    InvalidMapping,
    MikomiError,
    QuotaExhausted,
    Transient,
)
from core.records import Millis
from sync.answers import readable
from sync.deliver import notice_description
from sync.pauses import apply_pauses, note_failure, note_tried, take_word
from sync.ready import cannot_start
from sync.report import RunReport
from sync.settings import Settings
from sync.state import State
from sync.state import schema as t
from sync.state.kept import get_kept, keep, keep_in
from sync.state.rows import digest
from sync.texts import speaker

NAMED = 5
"""So many missing things are named in one line."""


def start_run(
    state: State,
    settings: Settings,
    connectors: Mapping[str, Connector],
    report: RunReport,
    now: Millis,
    *,
    strict: bool,
) -> None:
    """Everything that would stop a run half-way is found before it begins.

    Args:
        strict: begin only if every connection that is not paused can be reached; else those that can are served.

    Raises:
        CannotStart: with the reason of each connection that does not work; nothing was read or written.
    """
    apply_pauses(state, settings, report, now)
    problems: list[tuple[str, MikomiError]] = []
    for name, connector in connectors.items():
        if report.system(name).paused:
            continue
        known = _is_known(state, settings, name)
        connector.lenient = known
        note_tried(state, settings, name)
        if take_word(state, name):
            connector.reconsider()
        try:
            with readable(name):
                connector.prepare()
                _note_lost_sources(state, settings, connector, report, known=known)
                if not report.dry_run and settings.stage != "observe":
                    _require_setup(state, settings, connector, report, now)
        except (ConnectorError, InvalidInput, CannotStart) as error:
            if isinstance(error, CannotStart) or (isinstance(error, InvalidInput) and not known):
                report.system(name).error, report.system(name).hint = error.message, error.hint
                problems.append((name, error))
                continue
            note_failure(state, settings, report, name, error, now)
            if not isinstance(error, QuotaExhausted | InvalidMapping):
                problems.append((name, error))
    nothing_left = all(report.system(name).stopped for name in connectors)
    if problems and (strict or (nothing_left and any(not isinstance(error, Transient) for _, error in problems))):
        found = cannot_start(problems)
        if not nothing_left:
            found.hint = (
                f"{found.hint}; without {', '.join(name for name, _ in problems)} until then: mikomi sync --partial"
            )
        raise found


# --- what a connection had, and has no more --------------------------------------------------------------------------------


def _is_known(state: State, settings: Settings, name: str) -> bool:
    """Whether the connection has worked with the mapping that it has now."""
    kept = get_kept(state, f"sources {name}")
    return kept is not None and kept["mapping"] == digest(settings.connections[name].get("mapping"))


def _note_lost_sources(
    state: State, settings: Settings, connector: Connector, report: RunReport, *, known: bool
) -> None:
    """Remember which optional fields have no source from the beginning; name those that lost theirs since."""
    name = connector.name
    if not known:
        mapping = digest(settings.connections[name].get("mapping"))
        keep(state, f"sources {name}", {"mapping": mapping, "lacking": sorted(connector.lacking)})
        return
    lacking: list[str] = get_kept(state, f"sources {name}")["lacking"]
    lost = sorted(set(connector.lacking) - set(lacking))
    say = speaker(settings.language)
    report.system(name).lost += [
        say("{place}: no longer there or hidden; counted as missing (mikomi doctor)", place=place) for place in lost
    ]


def _require_setup(state: State, settings: Settings, connector: Connector, report: RunReport, now: Millis) -> None:
    """Before anything is written: our fields must be there. Those that were there once are left out if they no longer are."""
    name = connector.name
    steps = connector.plan_setup()
    notice_description(state, connector, steps, now)
    missing = sorted(step.name for step in steps if not step.done)
    if missing and not _was_written(state, name):
        listed = ", ".join(missing[:NAMED]) + (" …" if len(missing) > NAMED else "")
        raise CannotStart(
            f"connection {name} is not set up for stage {settings.stage}: {listed}",
            hint="mikomi setup --plan, then mikomi setup --apply (or `stage: observe`)",
        )
    before: list[str] = get_kept(state, f"left out {name}") or []
    if set(before) - set(missing):
        refill(state, name)
    if before != missing:
        keep(state, f"left out {name}", missing)
    say = speaker(settings.language)
    report.system(name).lost += [
        say("{place}: missing or not ours to write; left out (mikomi setup --apply)", place=step) for step in missing
    ]


def refill(state: State, name: str) -> None:
    """A field came back empty, whatever the CRM once acknowledged: everybody's values are owed again."""
    with state.begin() as connection:
        connection.execute(delete(t.acknowledged).where(t.acknowledged.c.system == name))
        keep_in(connection, "pass", None)
        keep_in(connection, f"delivered {name}", None)


def _was_written(state: State, name: str) -> bool:
    with state.outside() as connection:
        found = select(t.acknowledged.c.id).where(t.acknowledged.c.system == name).limit(1)
        return connection.execute(found).first() is not None
