"""A DuckDB stage for scoring tests: facts in, totals and lines out."""

from typing import Any

from core.records import DAY_MS, FIELD_TYPES, Day
from core.rulebook import Rulebook, load_rulebook
from sync.engine.session import Session
from sync.engine.sql import compiled

Row = dict[str, Any]
TAIL = "\nbands: {A: {total: 80}, B: {total: 50}, C: {total: 20}}\n"
LABEL = "label: {ja: 規則, en: rule}"


def rulebook_of(*rules: str, head: str = "") -> Rulebook:
    """A rulebook of rules in YAML flow style, without their labels."""
    body = "\n".join(f"  - {{{rule}, {LABEL}}}" for rule in rules)
    return load_rulebook(f"name: test\ntimezone: Asia/Tokyo\n{head}\nrules:\n{body}{TAIL}")


def person_row(person_id: int = 1, **values: Any) -> Row:
    base: Row = {"person_id": person_id, "company_id": None, "created_at": 0, "first_known_at": 0, "opted_out": False,
                 "recontact_on": None}  # fmt: skip
    return base | dict.fromkeys(FIELD_TYPES) | values


def activity_row(number: int, kind: int, day: Day, person_id: int = 1, **values: Any) -> Row:
    stamp = day * DAY_MS - 9 * 3_600_000  # the day's start in Tokyo
    base: Row = {"person_id": person_id, "id": number, "kind": kind, "occurred_at": stamp, "known_at": stamp, "day": day,
                 "suspect": False, "duplicate": False, "url": None, "asset": None, "campaign": None, "channel": None,
                 "direction": None, "duration": None}  # fmt: skip
    return base | values


def snapshot_row(day: Day, person_id: int = 1, number: int = 1) -> Row:
    """Noon of a local day."""
    return {"snapshot_id": number, "person_id": person_id, "as_of": day * DAY_MS + 3 * 3_600_000, "day": day}


def world_of(**tables: list[Row]) -> dict[str, list[Row]]:
    empty: dict[str, list[Row]] = {
        "person": [person_row()],
        "activity": [],
        "deal": [],
        "deal_person": [],
        "change": [],
    }
    return empty | tables


def run(
    session: Session, rulebook: Rulebook, world: dict[str, list[Row]], snapshots: list[Row]
) -> tuple[dict[int, Row], dict[int, list[Row]]]:
    """Totals and lines by snapshot."""
    sql = compiled(rulebook)
    session.install(sql)
    for name, rows in world.items():
        session.replace(name, rows)
    session.replace("snapshot", snapshots)
    session.replace("asked", snapshots)
    session.score(sql)
    totals = {row["snapshot_id"]: row for row in session.rows('SELECT * FROM "total"')}
    lines: dict[int, list[Row]] = {row["snapshot_id"]: [] for row in snapshots}
    for line in session.lines(sql):
        lines[line["snapshot_id"]].append(line)
    return totals, lines
