"""Where things stand, as plain data: runs, bands, connections, what is owed, refused, unassigned or ambiguous."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Select, func, select

from core.identity import Ambiguity, identity_input, resolve
from core.records import Millis, RecordRef
from sync.drift import ContestedField, contested_fields
from sync.look.people import KnownPerson, load_people
from sync.pauses import longest
from sync.resolve import neighbourhood
from sync.state import deadletters, outbox
from sync.state import schema as t
from sync.state.loading import load_records, refs_of_people
from sync.state.pause import standing as standing_pauses
from sync.state.rows import chunks
from sync.state.stops import Stop, load_stops

RUNS_SHOWN = 5
MOST_ADDRESSES = 1_000
"""As many shared addresses, and as many equal names, are looked at for ambiguities."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Writes that a CRM refused for good, by cause. `letters` name it for `mikomi dead`; `example`: one of the records."""

    letters: str
    system: str
    effect: str
    code: str
    message: str
    count: int
    example: RecordRef


@dataclass(frozen=True, slots=True)
class ConnectionStanding:
    """One connection. Times are CRM time (UTC ms); `cursors`: stream to the time of its last page.

    `paused`: why it is not called now, as `sync.state.pause.Pause`; `paused_until`: until when the last run left its
    share of the calls alone, which nobody writes down.
    """

    name: str
    vendor: str
    records: int
    cursors: Mapping[str, Millis]
    swept_at: Millis | None
    task_key: bool | None
    outbox: Mapping[str, int]
    error: str | None = None
    hint: str | None = None
    paused_until: str | None = None
    paused: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class RunStanding:
    """One run as it was kept. `outcome` running with no end: it was killed, or still runs."""

    run_id: str
    started_at: Millis
    finished_at: Millis | None
    outcome: str
    dry_run: bool
    daily: bool
    people_scored: int
    scores_changed: int
    fields_written: int
    tasks_created: int


@dataclass(frozen=True, slots=True)
class Standing:
    """Everything `mikomi status` shows. `ambiguities_cut`: there were more shared addresses than were looked at."""

    stage: str
    people: int
    unscored: int
    bands: Mapping[str, int]
    runs: Sequence[RunStanding]
    connections: Sequence[ConnectionStanding]
    refused: Sequence[Refusal]
    handovers: Mapping[str, int]
    seeded: int
    unassigned: Sequence[KnownPerson]
    ambiguities: Sequence[Ambiguity]
    ambiguities_cut: bool
    stops: Sequence[Stop] = ()
    contested: Sequence[ContestedField] = ()

    def as_dict(self) -> dict[str, Any]:
        """For `--json`; records as `connection/kind/id`."""
        document = asdict(self)
        document["refused"] = [asdict(r) | {"example": str(r.example)} for r in self.refused]
        document["unassigned"] = [
            {"person": p.person_id, "records": [str(r.ref) for r in p.records]} for p in self.unassigned
        ]
        document["ambiguities"] = [asdict(a) | {"records": [str(r) for r in a.records]} for a in self.ambiguities]
        return document


def read_standing(connection: Connection, *, stage: str, vendors: Mapping[str, str]) -> Standing:
    """The whole picture from the state alone; no CRM is called. `stage` and `vendors` (by connection): of the settings."""
    scored = _counts(connection, select(t.score.c.band, func.count()).group_by(t.score.c.band))
    people = connection.execute(select(func.count()).select_from(t.person)).scalar_one()
    live = select(t.handover.c.state, func.count()).where(t.handover.c.seeded.is_(False)).group_by(t.handover.c.state)
    seeded = select(func.count()).select_from(t.handover).where(t.handover.c.seeded.is_(True))
    waiting = connection.execute(select(t.unassigned.c.person_id).order_by(t.unassigned.c.at)).scalars().all()
    ambiguities, cut = find_ambiguities(connection)
    return Standing(
        stage=stage,
        people=people,
        unscored=people - sum(scored.values()),
        bands={band: scored.get(band, 0) for band in "ABCD"},
        runs=_runs(connection),
        connections=_connections(connection, vendors),
        refused=_refusals(connection),
        handovers=_counts(connection, live),
        seeded=connection.execute(seeded).scalar_one(),
        unassigned=load_people(connection, waiting),
        ambiguities=ambiguities,
        ambiguities_cut=cut,
        stops=[stop for _, stop in sorted(load_stops(connection).items()) if not stop.allowed],
        contested=contested_fields(connection),
    )


# --- ambiguities -----------------------------------------------------------------------------------------------------


def find_ambiguities(connection: Connection) -> tuple[tuple[Ambiguity, ...], bool]:
    """Records that may be one person and were not joined, worked out anew; and whether there is more than was looked at.

    Every address that several people hold, role mailboxes too, and people with equal names in one company: identity is
    resolved again on the closed neighbourhoods of their records, and what it leaves open is listed.
    """
    addresses = _shared_addresses(connection)
    namesakes = _namesakes(connection)
    refs = _holders(connection, addresses[:MOST_ADDRESSES]) | set(
        refs_of_people(connection, namesakes[:MOST_ADDRESSES])
    )
    if not refs:
        return (), False
    records = load_records(connection, neighbourhood(connection, refs))
    found = resolve([identity_input(record) for record in records.values()]).ambiguities
    return found, len(addresses) > MOST_ADDRESSES or len(namesakes) > MOST_ADDRESSES


def _shared_addresses(connection: Connection) -> list[str]:
    record, held = t.record.c, t.record_email.c
    statement = (
        select(held.email)
        .join(t.record, (record.system == held.system) & (record.kind == held.kind) & (record.id == held.id))
        .where(record.person_id.is_not(None), record.deleted_at.is_(None), record.successor_id.is_(None))
        .group_by(held.email)
        .having(func.count(func.distinct(record.person_id)) > 1)
        .order_by(held.email)
        .limit(MOST_ADDRESSES + 1)
    )
    return list(connection.execute(statement).scalars())


def _holders(connection: Connection, addresses: Iterable[str]) -> set[RecordRef]:
    """All records with these addresses. A role mailbox ties nobody together, so its holders are named here."""
    found: set[RecordRef] = set()
    columns = (t.record_email.c.system, t.record_email.c.kind, t.record_email.c.id)
    for part in chunks(addresses):
        rows = connection.execute(select(*columns).where(t.record_email.c.email.in_(part)))
        found |= {RecordRef(*row) for row in rows}
    return found


def _namesakes(connection: Connection) -> list[int]:
    """People who share both names and the company with somebody."""
    person = t.person.c
    same = (
        select(person.last_name, person.first_name, person.company_id)
        .where(person.last_name.is_not(None), person.first_name.is_not(None), person.company_id.is_not(None))
        .group_by(person.last_name, person.first_name, person.company_id)
        .having(func.count() > 1)
        .subquery()
    )
    statement = (
        select(person.person_id)
        .join(
            same,
            (person.last_name == same.c.last_name)
            & (person.first_name == same.c.first_name)
            & (person.company_id == same.c.company_id),
        )
        .order_by(person.person_id)
        .limit(MOST_ADDRESSES + 1)
    )
    return list(connection.execute(statement).scalars())


# --- runs, connections, refusals -------------------------------------------------------------------------------------


def _runs(connection: Connection) -> tuple[RunStanding, ...]:
    rows = connection.execute(select(t.run).order_by(t.run.c.started_at.desc()).limit(RUNS_SHOWN)).mappings()
    found = []
    for row in rows:
        report: Mapping[str, Any] = row["report"]
        systems = report.get("systems", {}).values()
        found.append(
            RunStanding(
                run_id=row["run_id"],
                started_at=row["started_at"],
                finished_at=row["finished_at"],
                outcome=row["outcome"],
                dry_run=report.get("dry_run", False),
                daily=report.get("daily", False),
                people_scored=report.get("people_scored", 0),
                scores_changed=report.get("scores_changed", 0),
                fields_written=sum(system.get("fields_written", 0) for system in systems),
                tasks_created=sum(system.get("tasks_created", 0) for system in systems),
            )
        )
    return tuple(found)


def _connections(connection: Connection, vendors: Mapping[str, str]) -> tuple[ConnectionStanding, ...]:
    cursors: dict[str, dict[str, Millis]] = {}
    for system, stream, at in connection.execute(select(t.cursor.c.system, t.cursor.c.stream, t.cursor.c.updated_at)):
        cursors.setdefault(system, {})[stream] = at
    alive = (t.record.c.deleted_at.is_(None), t.record.c.successor_id.is_(None))
    records = _counts(connection, select(t.record.c.system, func.count()).where(*alive).group_by(t.record.c.system))
    owed = outbox.summary(connection)
    last = connection.execute(
        select(t.run.c.report).where(t.run.c.finished_at.is_not(None)).order_by(t.run.c.started_at.desc()).limit(1)
    ).scalar()
    said: Mapping[str, Mapping[str, Any]] = (last or {}).get("systems", {})
    kept = {row.name: row.value for row in connection.execute(select(t.setting.c.name, t.setting.c.value))}
    paused = longest(standing_pauses(connection), vendors)
    return tuple(
        ConnectionStanding(
            name=name,
            vendor=vendor,
            records=records.get(name, 0),
            cursors=cursors.get(name, {}),
            swept_at=kept.get(f"swept {name}"),
            task_key=kept.get(f"task key {name}"),
            outbox=owed.get(name, {}),
            error=said.get(name, {}).get("error"),
            hint=said.get(name, {}).get("hint"),
            # of a pause that was written down the state itself knows whether it still is one
            paused_until=None if said.get(name, {}).get("paused") else said.get(name, {}).get("paused_until"),
            paused=asdict(paused[name]) if name in paused else None,
        )
        for name, vendor in vendors.items()
    )


def _counts(connection: Connection, statement: Select[Any]) -> dict[str, int]:
    return {name: int(count) for name, count in connection.execute(statement)}


def _refusals(connection: Connection) -> tuple[Refusal, ...]:
    dead = deadletters.list_dead(connection)
    refs = {entry.outbox_id: entry.ref for entry in dead}
    return tuple(
        Refusal(c.letters, c.system, c.effect, c.code, c.message, len(c.ids), refs[c.ids[-1]])
        for c in deadletters.group_by_cause(dead)
    )
