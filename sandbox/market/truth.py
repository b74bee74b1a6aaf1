"""What is really so in a market, in SQLite: people, their hidden waves, their records in both CRMs, deals.

Claims about scoring are checked against it. Nothing of it is visible through the emulators.
"""

import json
import sqlite3
import threading
import weakref
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from sandbox.market import chance
from sandbox.market.model import DAY, Channel, Household, Kind, Options, Wave
from sandbox.market.presence import Presence
from sandbox.market.words import INDUSTRIES, LOSS_REASONS

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS company (id INTEGER PRIMARY KEY, name TEXT, domain TEXT, industry TEXT, employees INTEGER,
    need REAL, past_won_ms INTEGER, past_lost_ms INTEGER, scanner INTEGER);
CREATE TABLE IF NOT EXISTS person (id INTEGER PRIMARY KEY, company INTEGER, kind TEXT, channel TEXT, rank TEXT,
    entered_ms INTEGER, rapport INTEGER, linked INTEGER, opportunity_ms INTEGER, deal INTEGER, waves TEXT);
CREATE TABLE IF NOT EXISTS record (system TEXT, kind TEXT, id TEXT, person INTEGER, role TEXT, created_ms INTEGER,
    ended_ms INTEGER, survivor TEXT, PRIMARY KEY (system, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS deal (id INTEGER PRIMARY KEY, company INTEGER, opened_ms INTEGER, closes_ms INTEGER,
    won INTEGER, loss_reason TEXT, amount INTEGER, past INTEGER, salesforce_id TEXT, hubspot_id INTEGER);
CREATE INDEX IF NOT EXISTS record_person ON record (person);
"""


@dataclass(frozen=True, slots=True)
class TrueRecord:
    """A CRM record and whose it is. role: original, converted, duplicate, merged, deleted."""

    system: str
    kind: str
    id: str
    person: int
    role: str
    created_ms: int
    ended_ms: int | None
    survivor: str | None


@dataclass(frozen=True, slots=True)
class TruePerson:
    """A person as they are. `opportunity_ms` is realised and may lie after the market's now."""

    id: int
    company: int
    kind: Kind
    channel: Channel
    rank: str
    entered_ms: int
    rapport: int
    linked: bool
    opportunity_ms: int | None
    deal: int | None
    waves: tuple[Wave, ...]

    def chance(self, at_ms: int, days: int) -> float:
        """The true probability of an opportunity within `days` after `at_ms` given the hidden state.

        0 once there has been one: a person's first opportunity is what is meant.
        """
        if self.opportunity_ms is not None and self.opportunity_ms <= at_ms:
            return 0.0
        return chance.chance_within(self.waves, at_ms, days)


class Truth:
    """Read it while or after a market is loaded. Thread-safe. `path` is the database file, or ":memory:"."""

    def __init__(self, path: str = ":memory:") -> None:
        self.path = path
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False)
        self._close = weakref.finalize(self, self._db.close)
        self._db.execute("PRAGMA journal_mode=OFF")
        self._db.execute("PRAGMA synchronous=OFF")
        self._db.executescript(_SCHEMA)
        self._deals = 0

    def close(self) -> None:
        with self._lock:
            self._close()

    def clear(self, options: Options) -> None:
        """Forget everything and note what the next market is drawn from."""
        with self._lock:
            for table in ("meta", "company", "person", "record", "deal"):
                self._db.execute(f"DELETE FROM {table}")
            law = {name: getattr(chance, name) for name in _COEFFICIENTS}
            self._db.execute("INSERT INTO meta VALUES ('options', ?)", (json.dumps(asdict(options)),))
            self._db.execute("INSERT INTO meta VALUES ('coefficients', ?)", (json.dumps(law),))
            self._deals = 0

    def note(self, household: Household, presence: Presence) -> None:
        """Record one household. Call `commit` now and then."""
        company = household.company
        with self._lock:
            self._db.execute(
                "INSERT INTO company VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    company.index,
                    company.legal,
                    company.domain,
                    INDUSTRIES[company.industry][0],
                    company.employees,
                    company.need,
                    company.past_won_ms,
                    company.past_lost_ms,
                    company.scanner,
                ),
            )
            numbers = self._note_deals(household, presence)
            self._db.executemany(
                "INSERT INTO person VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        p.index,
                        company.index,
                        p.kind,
                        p.channel,
                        p.rank,
                        p.entered_ms,
                        p.rapport,
                        p.linked,
                        p.opens_ms,
                        numbers.get(id(p.deal)),
                        json.dumps([[w.start_ms, w.decision_ms, w.intent, w.z, w.chance, w.opens_ms] for w in p.waves]),
                    )
                    for p in household.people
                ],
            )
            self._db.executemany(
                "INSERT INTO record VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        e.system,
                        e.kind,
                        e.id,
                        e.person.index,
                        e.role,
                        e.created_ms,
                        e.ended_ms,
                        e.survivor.id if e.survivor else None,
                    )
                    for e in presence.entries
                ],
            )

    def _note_deals(self, household: Household, presence: Presence) -> dict[int, int]:
        numbers: dict[int, int] = {}
        for place, deal in enumerate(household.deals):
            self._deals += 1
            numbers[id(deal)] = self._deals
            salesforce_id, hubspot_id = presence.deal_ids.get(place, ("", 0))
            row = (
                self._deals,
                household.company.index,
                deal.opened_ms,
                deal.closes_ms,
                deal.won,
                None if deal.won else LOSS_REASONS[deal.reason][1],
                deal.amount,
                deal.past,
                salesforce_id or None,
                hubspot_id or None,
            )
            self._db.execute("INSERT INTO deal VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        return numbers

    def commit(self) -> None:
        with self._lock:
            self._db.commit()

    def people(self) -> Iterator[TruePerson]:
        """Everybody, in the order of their numbers."""
        last = -1
        while rows := self._rows("SELECT * FROM person WHERE id > ? ORDER BY id LIMIT 1000", (last,)):
            last = rows[-1][0]
            yield from map(_person, rows)

    def person(self, person_id: int) -> TruePerson | None:
        rows = self._rows("SELECT * FROM person WHERE id = ?", (person_id,))
        return _person(rows[0]) if rows else None

    def person_of(self, system: str, record_id: str) -> int | None:
        """Whose record this is; system is "salesforce" or "hubspot"."""
        rows = self._rows("SELECT person FROM record WHERE system = ? AND id = ?", (system, record_id))
        return int(rows[0][0]) if rows else None

    def records(self, person_id: int | None = None) -> list[TrueRecord]:
        """The records of one person, or all."""
        where, values = ("", ()) if person_id is None else ("WHERE person = ?", (person_id,))
        return [TrueRecord(*row) for row in self._rows(f"SELECT * FROM record {where} ORDER BY system, id", values)]

    def deals(self) -> list[dict[str, Any]]:
        """All deals, those that open after now included."""
        return [dict(zip(_DEAL, row, strict=True)) for row in self._rows("SELECT * FROM deal ORDER BY id")]

    def coefficients(self) -> dict[str, Any]:
        """The law's coefficients that this market was drawn with."""
        rows = self._rows("SELECT value FROM meta WHERE name = 'coefficients'")
        found: dict[str, Any] = json.loads(rows[0][0]) if rows else {}
        return found

    def conversion_by_channel(self, days: int = 365, *, entered_before_ms: int | None = None) -> dict[str, float]:
        """Share of people with an opportunity within `days` of becoming known, realised (the future included)."""
        sql = (
            "SELECT channel, avg(opportunity_ms IS NOT NULL AND opportunity_ms <= entered_ms + ?) FROM person "
            "WHERE entered_ms < ? GROUP BY channel ORDER BY channel"
        )
        limit = entered_before_ms if entered_before_ms is not None else 1 << 62
        return {channel: float(share) for channel, share in self._rows(sql, (days * DAY, limit))}

    def describe(self, record_id: str, now_ms: int) -> dict[str, Any] | None:
        """Everything true about the person behind a record of either CRM, ready for JSON; None if unknown."""
        rows = self._rows("SELECT person FROM record WHERE id = ?", (record_id,))
        person = self.person(rows[0][0]) if rows else None
        if person is None:
            return None
        document = asdict(person)
        document["chance_90"] = person.chance(now_ms, 90)
        document["chance_180"] = person.chance(now_ms, 180)
        document["records"] = [asdict(record) for record in self.records(person.id)]
        return document

    def _rows(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._db.execute(sql, values).fetchall()


_DEAL = [
    "id",
    "company",
    "opened_ms",
    "closes_ms",
    "won",
    "loss_reason",
    "amount",
    "past",
    "salesforce_id",
    "hubspot_id",
]
_COEFFICIENTS = [
    "BASE",
    "RANK",
    "TARGET",
    "OFF_TARGET",
    "INTENT",
    "PAST_WON",
    "PAST_LOST",
    "RAPPORT",
    "COLLEAGUE",
    "LATER_WAVE",
    "NOISE",
    "SPREAD",
    "LATEST",
    "DECISION_DAYS",
]


def _person(row: tuple[Any, ...]) -> TruePerson:
    waves = tuple(Wave(*wave) for wave in json.loads(row[10]))
    return TruePerson(row[0], row[1], row[2], row[3], row[4], row[5], row[6], bool(row[7]), row[8], row[9], waves)
