"""`mikomi explain` and `mikomi sample`: scores of named people, in words."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from connectors import OUTPUT_FIELDS
from core.errors import InvalidInput
from core.handover import Episode, describe_next_step
from core.records import Millis, to_datetime
from core.rulebook import Rulebook
from core.scoring import ExplainRow, dimension_name, reason_texts
from sync.app import App
from sync.cli.output import print_json, print_line, print_table
from sync.look.explain import Explained, explain_people, latest_moment, parse_moment
from sync.look.people import KnownPerson, find_people
from sync.look.sample import ScoredPerson, sample_people
from sync.settings import Settings
from sync.state import now_ms
from sync.texts import Say, speaker

PER_BAND = 5


def run_explain(app: App, who: str, *, as_of: str | None, as_json: bool) -> int:
    """One score, line by line. Exit code 2 where nobody or more than one person fits.

    Raises:
        InvalidInput: nobody fits, or `as_of` is no past day or moment.
    """
    settings, rulebook = app.loaded.settings, app.rulebook
    say = speaker(settings.language)
    with app.state(create=False) as state:
        with state.read() as connection:
            people = find_people(connection, who)
            now = max(latest_moment(connection), now_ms())
        moment = parse_moment(as_of, settings.zone, now) if as_of else None
        if not people:
            raise InvalidInput(
                "nobody here has this address, name, record id or number",
                hint="try the e-mail address; `mikomi sync` reads people who are new in the CRMs",
            )
        if len(people) > 1:
            _list_people(people, settings, say, as_json=as_json)
            return 2
        [explained] = explain_people(state, settings, rulebook, people, as_of=moment)
    if as_json:
        print_json(explained.as_dict(settings.language))
    else:
        print_explained(explained, settings, say, past=moment is not None)
    return 0


def _list_people(people: Sequence[KnownPerson], settings: Settings, say: Say, *, as_json: bool) -> None:
    if as_json:
        found = [
            {"person": p.person_id, "name": p.name(settings.language), "records": [str(r.ref) for r in p.records]}
            for p in people
        ]
        print_json({"people": found})
        return
    print_line(say("{count} people fit:", count=len(people)), "bold")
    rows = [(f"#{p.person_id}", p.name(settings.language), p.company, p.title, _records(p)) for p in people]
    print_table((say("number"), say("name"), say("company"), say("title"), say("records")), rows)
    print_line(say("Next: {command}", command=f"mikomi explain '#{people[0].person_id}'"), "cyan")


def _records(person: KnownPerson) -> str:
    return ", ".join(str(record.ref) for record in person.records)


# --- one person ------------------------------------------------------------------------------------------------------


def print_explained(explained: Explained, settings: Settings, say: Say, *, past: bool = False) -> None:
    """Who, the score and its lines, what was withheld, and what comes next."""
    person, scored, language = explained.person, explained.scored, settings.language
    print_line(f"{person.name(language)}  #{person.person_id}", "bold underline")
    print_line("  " + " / ".join(part for part in (person.company, person.title, person.email) if part))
    for record in person.records:
        print_line(f"  {record.ref.system}: {record.ref.kind} {record.ref.id}", "dim")
    when = _moment(explained.as_of, settings.zone)
    head = say(
        "Score {score}, band {band}, trend {trend}",
        score=scored.total,
        band=scored.band,
        trend=_label("trend", scored.trend, language),
    )
    print_line()
    print_line(f"  {head}", "bold")
    if explained.short_of is not None:
        band, asks = explained.short_of
        parts = (
            say(
                "{part} {points} or more (here {score})",
                part=dimension_name(part, language),
                points=points,
                score=getattr(scored, part),
            )
            for part, points in asks.items()
        )
        listed = ("、" if language == "ja" else ", ").join(parts)
        print_line("  " + say("not band {band}: that asks for {parts}", band=band, parts=listed))
    print_line("  " + say("as of {when}, rulebook {rulebook}", when=when, rulebook=explained.rulebook), "dim")
    print_line()
    print_table(("", "", ""), [_cells(row) for row in explained.explanation.rows], right=(1,))
    if explained.explanation.withheld:
        print_line()
        print_line("  " + say("Withheld, not part of the score:"), "bold")
        rows = [(f"    {row.text}", row.points, row.note) for row in explained.explanation.withheld]
        print_table(("", "", ""), rows, right=(1,))
    if scored.missing:
        print_line(
            "  "
            + say(
                "{count} {count:attribute is unknown and counts|attributes are unknown and count} 0 points",
                count=scored.missing,
            ),
            "dim",
        )
    print_line()
    if not past:
        _print_next(explained, settings, say)
    else:
        print_line(
            "  " + say("Computed from what was known then; next step and hand-over are shown without --as-of."), "dim"
        )


def _cells(row: ExplainRow) -> tuple[str, str, str]:
    if row.kind in ("dimension", "total"):
        return (f"  {row.text}", row.points, "")
    indent = "      " if row.dimension else "  "
    return (f"{indent}{row.text}", row.points, row.note)


def _print_next(explained: Explained, settings: Settings, say: Say) -> None:
    language, zone, scored = settings.language, settings.zone, explained.scored
    last = say("none yet") if scored.last_human_at is None else f"{_local(scored.last_human_at, zone):%Y-%m-%d}"
    state = _handover(explained.episode, settings, say)
    read = ", ".join(f"{name} {_moment(at, zone)}" for name, at in sorted(explained.read_at.items()))
    for label, value in (
        (say("last activity of the person or contact"), last),
        (say("next step"), describe_next_step(explained.step, language)),
        (say("hand-over"), state),
        (say("data read"), read),
    ):
        print_line(f"  {label}: {value}")
    stored = explained.stored
    if stored is None:
        print_line("  " + say("Not scored by a run yet: `mikomi sync`"), "yellow")
    elif stored[0] != scored.total:
        why = say("the rulebook changed since") if explained.outdated else say("facts changed since")
        line = say(
            "The last run gave {score} ({why}); `mikomi sync` brings the CRMs up to date.", score=stored[0], why=why
        )
        print_line(f"  {line}", "yellow")


def _handover(episode: Episode | None, settings: Settings, say: Say) -> str:
    if episode is None:
        return say("not handed over")
    told = {"number": episode.number, "day": f"{_local(episode.at, settings.zone):%Y-%m-%d}"}
    if episode.seeded and episode.state == "offered":  # on the first day, or by a CRM's word: nobody was given a task
        return say("counted as handed over, number {number}, since {day}: no task is made for it", **told)
    state = _label("handover_state", episode.state, settings.language)
    return say("{state}, number {number}, since {day}", state=state, **told)


def _label(field: str, value: str, language: str) -> str:
    """A picklist value as the CRM shows it."""
    labels = {option.value: option for option in OUTPUT_FIELDS[field].options}
    return str(getattr(labels[value], language)) if value in labels else value


def _local(at: Millis, zone: ZoneInfo) -> datetime:
    return to_datetime(at).astimezone(zone)


def _moment(at: Millis, zone: ZoneInfo) -> str:
    return f"{_local(at, zone):%Y-%m-%d %H:%M %Z}"


# --- many people -----------------------------------------------------------------------------------------------------


def run_sample(app: App, *, as_json: bool) -> int:
    """Twenty people by name. Always exit code 0: fewer than twenty are said, not refused."""
    settings, rulebook = app.loaded.settings, app.rulebook
    say = speaker(settings.language)
    with app.state(create=False) as state, state.read() as connection:
        bands = sample_people(connection, PER_BAND)
    if as_json:
        print_json({band: [_document(one, rulebook, settings) for one in people] for band, people in bands.items()})
        return 0
    for band, people in bands.items():
        print_line(say("Band {band}", band=band), "bold underline")
        for one in people:
            print_short(one, rulebook, settings, say)
        if len(people) < PER_BAND:
            print_line(
                "  " + say("{count} in this band, fewer than {wanted}", count=len(people), wanted=PER_BAND), "dim"
            )
        print_line()
    if any(bands.values()):
        hint = say("Ask the people who know them whether this looks right; `mikomi explain NAME` shows every line.")
        print_line(hint, "cyan")
    else:
        print_line(say("Nobody is scored yet. Next: {command}", command="mikomi sync"), "cyan")
    return 0


def print_short(
    one: ScoredPerson, rulebook: Rulebook, settings: Settings, say: Say, *, place: int | None = None
) -> None:
    """A person in one line and their reasons in up to three."""
    person, language = one.person, settings.language
    number = "" if place is None else f"{place:2}. "
    about = " / ".join(part for part in (person.company, person.title) if part)
    score = say("score {score}, band {band}", score=one.total, band=one.band)
    print_line(f"{number}{person.name(language)}  {about}  [{score}]", "bold" if place else "")
    for text in reason_texts(one.reasons, rulebook, language):
        print_line(f"      {text}")


def _document(one: ScoredPerson, rulebook: Rulebook, settings: Settings) -> dict[str, Any]:
    return {
        "person": one.person.person_id,
        "name": one.person.name(settings.language),
        "company": one.person.company,
        "title": one.person.title,
        "records": [str(record.ref) for record in one.person.records],
        "score": one.total,
        "band": one.band,
        "priority": one.priority,
        "trend": one.trend,
        "as_of": to_datetime(one.as_of).isoformat(),
        "reasons": list(reason_texts(one.reasons, rulebook, settings.language)),
    }
