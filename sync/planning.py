"""What planning needs, gathered once per run from settings, rulebook and state."""

from collections.abc import Mapping
from datetime import date
from functools import lru_cache, partial
from typing import Any

from sqlalchemy import Connection, select

from connectors import OUTPUT_FIELDS
from core.handover import TASK_RECORD_ORDER, Policy, Waiting, drain
from core.records import Day, local_day, to_date, to_day
from core.rulebook import Drain, Rulebook, scoring_digest, text_digest
from sync.pair import HANDOVER_FIELDS, silent_system
from sync.plan import Moment, PlanSettings
from sync.resolve import vendors_of
from sync.settings import Settings
from sync.state import State
from sync.state import schema as t
from sync.state.contested import left_alone
from sync.state.kept import get_kept, keep_in
from sync.state.loading import load_owners
from sync.state.rows import digest
from sync.texts import speaker

DAY_MS = 86_400_000
_WORDED = "language of texts"


def build_plan(state: State, settings: Settings, rulebook: Rulebook, moment: Moment) -> PlanSettings:
    """Everything `plan_people` reads besides the people themselves."""
    handover = rulebook.handover
    initial = handover.initial.drain if isinstance(handover.initial, Drain) else handover.initial
    policy = Policy(handover.name, handover.band, handover.recent, handover.rearm_below, initial)
    with state.read() as connection:
        owners = load_owners(connection)
        alone = left_alone(connection)
    systems = settings.tasks.systems or tuple(settings.connections)
    silent = silent_system(settings)
    started_at = get_kept(state, f"handover started {policy.name}")
    return PlanSettings(
        rulebook=rulebook,
        digest=scoring_digest(rulebook),
        policy=policy,
        stage=settings.stage,
        fields={name: fields - alone.get(name, frozenset()) for name, fields in written_fields(settings).items()},
        retired={silent: HANDOVER_FIELDS - alone.get(silent, frozenset())} if silent else {},
        delta=settings.deliver.delta,
        refresh_ms=settings.deliver.refresh_days * DAY_MS,
        language=settings.language,
        say=speaker(settings.language),
        local_day=partial(local_day, zone=settings.zone),
        holidays=holidays_around(settings, moment.today),
        task_systems=frozenset(systems) - {silent},
        task_order=_task_order(settings),
        vendors=vendors_of(settings),
        owners=owners,
        fallback_owner=settings.tasks.fallback_owner,
        started_at=started_at,
        released=_released(state, policy, moment) if isinstance(initial, int) else frozenset(),
        reworded=get_kept(state, _WORDED) not in (None, settings.language),
    )


def note_wording(connection: Connection, plan: PlanSettings) -> None:
    """Everybody was planned: their texts are written, or owed, in the language of this plan."""
    if plan.stage != "observe":
        keep_in(connection, _WORDED, plan.language)


def pass_signature(settings: Settings, rulebook: Rulebook, today: Day) -> str:
    """Differs when everyone must be looked at again: a new day, other rules or texts, another stage or selection."""
    parts = [
        today,
        scoring_digest(rulebook),
        text_digest(rulebook),
        settings.stage,
        settings.language,
        settings.deliver.model_dump(),
        settings.tasks.model_dump(),
        dict(settings.signals),
        settings.pair.model_dump() if settings.pair else None,
        {name: sorted(fields) for name, fields in written_fields(settings).items()},
    ]
    return digest(parts)


def holidays_around(settings: Settings, today: Day) -> frozenset[Day]:
    """Days off near `today`: the country's public holidays and the company's closures."""
    public = _public_holidays(settings.calendar.country, to_date(today).year)
    return frozenset(to_day(day) for day in (*public, *settings.calendar.closures))


@lru_cache(maxsize=8)
def _public_holidays(country: str, year: int) -> tuple[date, ...]:
    """A country's public holidays of a year and the next: a service asks in every pass."""
    import holidays

    found: Mapping[date, str] = holidays.country_holidays(country, years=(year, year + 1))
    return tuple(found)


def written_fields(settings: Settings) -> dict[str, frozenset[str]]:
    """Canonical names of the fields written in each connection; hand-over fields in one of a pair only."""
    silent = silent_system(settings)
    return {
        name: _fields(section) - (HANDOVER_FIELDS if name == silent else frozenset())
        for name, section in settings.connections.items()
    }


def _fields(section: Mapping[str, Any]) -> frozenset[str]:
    """Canonical names of the fields written in one connection: all of ours, or the six-field minimum."""
    minimal = section.get("fields") == "minimal"
    return frozenset(f.name for f in OUTPUT_FIELDS.values() if not f.by_rep and (f.minimal or not minimal))


def _task_order(settings: Settings) -> tuple[tuple[str, str], ...]:
    """The connections that settings name, each with its kinds; else core's default."""
    kinds = ("contact", "lead")
    return tuple((system, kind) for system in settings.tasks.systems for kind in kinds) or TASK_RECORD_ORDER


def _released(state: State, policy: Policy, moment: Moment) -> frozenset[int]:
    """Queued people whose turn has come today."""
    per_owner = policy.initial
    assert isinstance(per_owner, int)
    with state.read() as connection:
        queued = (
            select(t.handover.c.person_id, t.score.c.priority, t.record.c.owner_id)
            .join(t.score, t.score.c.person_id == t.handover.c.person_id)
            .join(
                t.record,
                (t.record.c.system == t.handover.c.system)
                & (t.record.c.kind == t.handover.c.kind)
                & (t.record.c.id == t.handover.c.id),
                isouter=True,
            )
            .where(t.handover.c.state == "queued")
        )
        waiting = [Waiting(person, owner, priority) for person, priority, owner in connection.execute(queued)]
        offered = (
            select(t.record.c.owner_id)
            .join(
                t.handover,
                (t.record.c.system == t.handover.c.system)
                & (t.record.c.kind == t.handover.c.kind)
                & (t.record.c.id == t.handover.c.id),
            )
            .where(t.handover.c.state == "offered", t.handover.c.at >= moment.as_of - DAY_MS)
        )
        today: dict[str | None, int] = {}
        for owner in connection.execute(offered).scalars():
            today[owner] = today.get(owner, 0) + 1
    return frozenset(drain(waiting, per_owner, today))
