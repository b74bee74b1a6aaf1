"""One person's score line by line, computed anew at a moment, with what belongs to it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, func, select

from core.errors import InvalidInput, MikomiError
from core.handover import Episode, NextStep, describe_next_step, next_step
from core.records import Millis, day_start, local_day, to_datetime, to_day, to_millis
from core.rulebook import DIMENSIONS, Rulebook, scoring_digest
from core.scoring import Explanation, explain
from sync.engine import Scored, ScoreEngine
from sync.look.people import KnownPerson
from sync.planning import holidays_around
from sync.settings import Settings
from sync.state import State, now_ms
from sync.state import schema as t
from sync.state.episodes import load_episodes


class SumsDiffer(MikomiError):
    """The lines of a score do not sum to the total: a fault of Mikomi, never of the reader."""


@dataclass(frozen=True, slots=True)
class Explained:
    """Everything `mikomi explain` shows of one person.

    Attributes:
        stored: (total, band, as_of, digest) of the score the last run kept; None before the first.
        outdated: the rulebook changed since that run.
        read_at: connection to the CRM time of the last page read.
        short_of: a higher band that the total is enough for, and what it asks of the parts that fall short.
    """

    person: KnownPerson
    as_of: Millis
    scored: Scored
    explanation: Explanation
    step: NextStep
    episode: Episode | None
    stored: tuple[int, str, Millis, str] | None
    outdated: bool
    read_at: Mapping[str, Millis]
    rulebook: str
    short_of: tuple[str, Mapping[str, int]] | None = None

    def as_dict(self, language: str) -> dict[str, Any]:
        """For `--json`: times as ISO with zone, points as integers of 1/1000."""
        person, scored = self.person, self.scored
        return {
            "person": person.person_id,
            "name": person.name(language),
            "company": person.company,
            "title": person.title,
            "records": [str(record.ref) for record in person.records],
            "as_of": to_datetime(self.as_of).isoformat(),
            "rulebook": self.rulebook,
            "score": scored.total,
            "priority": scored.priority,
            "fit": scored.fit,
            "engagement": scored.engagement,
            "relationship": scored.relationship,
            "band": scored.band,
            "short_of": None if self.short_of is None else {"band": self.short_of[0], "asks": dict(self.short_of[1])},
            "trend": scored.trend,
            "withheld": scored.withheld,
            "missing": scored.missing,
            "lines": [asdict(row) for row in self.explanation.rows],
            "withheld_lines": [asdict(row) for row in self.explanation.withheld],
            "last_human_contact": None
            if scored.last_human_at is None
            else to_datetime(scored.last_human_at).isoformat(),
            "next_step": self.step.step,
            "next_action": describe_next_step(self.step, language),
            "handover": None
            if self.episode is None
            else {"state": self.episode.state, "number": self.episode.number, "seeded": self.episode.seeded},
            "read_at": {name: to_datetime(at).isoformat() for name, at in self.read_at.items()},
            "outdated": self.outdated,
        }


def explain_people(
    state: State, settings: Settings, rulebook: Rulebook, people: Sequence[KnownPerson], *, as_of: Millis | None = None
) -> list[Explained]:
    """Score these people at `as_of` (the last run's moment if None) and take the scores apart.

    Raises:
        SumsDiffer: lines and total disagree.
    """
    with state.read() as connection:
        moment = latest_moment(connection) if as_of is None else as_of
        episodes = load_episodes(connection, [person.person_id for person in people])
        stored = _stored(connection, people)
        read_at = _read_at(connection)
    zone = settings.zone
    scored_now = ScoreEngine(state, rulebook, zone).score_people([person.person_id for person in people], moment)
    scores = {score.person_id: score for score in scored_now}
    digest = scoring_digest(rulebook)
    holidays = holidays_around(settings, local_day(moment, zone))
    found = []
    for person in people:
        scored = scores[person.person_id]
        known = [e for e in episodes.get(person.person_id, ()) if e.state != "queued" and e.at <= moment]
        kept = stored.get(person.person_id)
        found.append(
            Explained(
                person=person,
                as_of=moment,
                scored=scored,
                explanation=_explained(scored, rulebook, settings),
                step=_step(state, scored, known, moment, zone, holidays),
                episode=max(known, default=None),
                stored=kept,
                outdated=kept is not None and kept[3] != digest,
                read_at=read_at,
                rulebook=rulebook.name,
                short_of=rulebook.bands.short_of(scored.total, {name: getattr(scored, name) for name in DIMENSIONS}),
            )
        )
    return found


def _explained(scored: Scored, rulebook: Rulebook, settings: Settings) -> Explanation:
    explanation = explain(scored.lines or (), rulebook, settings.language)
    lines = sum(row.milli for row in explanation.rows if row.kind not in ("dimension", "total"))
    if lines != 1000 * scored.total or explanation.total_milli != lines:
        raise SumsDiffer(
            f"the lines sum to {lines / 1000}, the score is {scored.total}",
            hint="report this as a bug, with the rulebook and `mikomi explain --json`",
        )
    return explanation


def _step(
    state: State,
    scored: Scored,
    episodes: Sequence[Episode],
    moment: Millis,
    zone: ZoneInfo,
    holidays: frozenset[int],
) -> NextStep:
    with state.read() as connection:
        columns = select(t.person.c.opted_out, t.person.c.recontact_on)
        opted_out, recontact_on = connection.execute(columns.where(t.person.c.person_id == scored.person_id)).one()
    live = [e for e in episodes if e.state == "offered" and not e.seeded]
    return next_step(
        scored.band,
        today=local_day(moment, zone),
        since=local_day(max(live).at, zone) if live else None,
        opted_out=opted_out,
        recontact_on=recontact_on,
        holidays=holidays,
    )


def _stored(connection: Connection, people: Sequence[KnownPerson]) -> dict[int, tuple[int, str, Millis, str]]:
    columns = (t.score.c.person_id, t.score.c.total, t.score.c.band, t.score.c.as_of, t.score.c.digest)
    rows = connection.execute(select(*columns).where(t.score.c.person_id.in_([p.person_id for p in people])))
    return {person: (total, band, as_of, digest) for person, total, band, as_of, digest in rows}


def _read_at(connection: Connection) -> dict[str, Millis]:
    statement = select(t.cursor.c.system, func.max(t.cursor.c.updated_at)).group_by(t.cursor.c.system)
    return {system: int(at) for system, at in connection.execute(statement)}


# --- moments ---------------------------------------------------------------------------------------------------------


def latest_moment(connection: Connection) -> Millis:
    """The moment of the newest scores; where nobody was scored yet, this machine's time."""
    newest = connection.execute(select(func.max(t.score.c.as_of))).scalar()
    return now_ms() if newest is None else int(newest)


def parse_moment(text: str, zone: ZoneInfo, now: Millis) -> Millis:
    """A past day (its end, local time; today: now) or moment (local time where no zone is given) as Millis.

    Raises:
        InvalidInput: neither, or in the future.
    """
    hint = "write a day (2026-10-01) or a moment (2026-10-01T15:00)"
    try:
        if len(text.strip()) == 10:
            day = to_day(date.fromisoformat(text.strip()))
            if day == local_day(now, zone):
                return now
            at = day_start(day + 1, zone) - 1
        else:
            moment = datetime.fromisoformat(text.strip())
            at = to_millis(moment if moment.tzinfo else moment.replace(tzinfo=zone))
    except (ValueError, OverflowError) as error:
        raise InvalidInput(f"{text!r} is no day or moment", place="--as-of", hint=hint) from error
    if at > now:
        raise InvalidInput("that lies in the future, of which nothing is known", place="--as-of", hint=hint)
    return at
