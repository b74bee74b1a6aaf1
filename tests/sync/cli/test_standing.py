"""`mikomi status` from a state made by hand: every part of it, in both languages."""

from dataclasses import asdict
from zoneinfo import ZoneInfo

import pytest

from core.records import DAY_MS
from sync.cli.status import show_standing
from sync.health import Health, Trouble, read_health
from sync.look.standing import Standing, read_standing
from sync.pauses import mark_paused
from sync.progress import Silent
from sync.report import RunReport, SystemReport
from sync.resolve import resolve_touched, vendors_of
from sync.settings import Settings
from sync.state import State, outbox
from sync.state import schema as t
from sync.state.kept import keep, keep_in
from sync.state.mirror import store
from sync.state.pause import Pause, put
from tests.sync.builders import NOW, a_record, ref
from tests.sync.cli.rig import check_golden, spoken

MINUTE = 60_000


@pytest.fixture
def busy(state: State, settings: Settings) -> State:
    """Shared addresses, refused writes, a killed run, somebody nobody can take."""
    with state.begin() as connection:
        store(
            connection,
            [
                a_record("003A", email="info@acme.example", fields={"first_name": "健一"}),
                a_record("003B", email="info@acme.example", fields={"last_name": "鈴木", "first_name": "愛"}),
                a_record("003C", email="ken@beta.example", fields={"last_name": "高橋", "first_name": "健"}),
                a_record(
                    "77", system="hubspot", email="ken@beta.example", fields={"last_name": "田中", "first_name": "健"}
                ),
                a_record("003D", fields={"last_name": "森", "first_name": "舞", "company": "青嶺精機株式会社"}),
                a_record(
                    "003E",
                    email="m@aomine.example",
                    fields={"last_name": "森", "first_name": "舞", "company": "青嶺精機(株)"},
                ),
            ],
        )
    resolve_touched(state, settings, RunReport("r", "observe", NOW), Silent())
    with state.begin() as connection:
        people = [row[0] for row in connection.execute(t.person.select().order_by(t.person.c.person_id))]
        for place, person in enumerate(people[:5]):
            connection.execute(t.score.insert().values(a_score(person, "AABCD"[place])))
        _owe(connection, people)
        done = {"started_at": NOW - 30 * MINUTE, "finished_at": NOW - 29 * MINUTE, "outcome": "partial"}
        report = RunReport("1" * 32, "all", NOW, people_scored=5, scores_changed=2, daily=True)
        report.systems["salesforce"] = SystemReport(fields_written=7, tasks_created=1)
        report.systems["hubspot"] = SystemReport(
            error="the token is not valid", hint="mikomi doctor", paused_until="2024-10-05T00:00:00+00:00"
        )
        connection.execute(t.run.insert().values(run_id="1" * 32, report=report.as_dict(), **done))
        killed = {"started_at": NOW - 5 * MINUTE, "finished_at": None, "outcome": "running"}
        connection.execute(t.run.insert().values(run_id="2" * 32, report={}, **killed))
        cursor = {"value": "{}", "updated_at": NOW - 29 * MINUTE}
        connection.execute(t.cursor.insert().values(system="salesforce", stream="Lead", **cursor))
        keep_in(connection, "swept salesforce", NOW - DAY_MS)
        keep_in(connection, "task key salesforce", True)
        at = {"at": NOW - DAY_MS, "name": "sales", "armed": False}
        connection.execute(
            t.handover.insert().values(person_id=people[0], number=1, state="offered", seeded=False, **at)
        )
        connection.execute(
            t.handover.insert().values(person_id=people[1], number=1, state="offered", seeded=True, **at)
        )
        connection.execute(t.unassigned.insert().values(person_id=people[2], at=NOW))
    return state


def a_score(person: int, band: str) -> dict[str, object]:
    total = {"A": 90, "B": 60, "C": 30, "D": 5}[band]
    points = {"total": total, "priority": total, "fit": 5, "engagement": 0, "relationship": 0, "withheld": 0}
    more = {"as_of": NOW, "digest": "0" * 16, "trend": "flat", "reason_key": "0" * 32, "reasons": [], "version": 1}
    return {"person_id": person, "band": band, **points, **more}


def _owe(connection: object, people: list[int]) -> None:
    from sqlalchemy import Connection

    assert isinstance(connection, Connection)
    wanted = {
        ref("contact", record): (people[place], {"values": {"score": place}, "reason_key": ""})
        for place, record in enumerate(("003A", "003B", "003C"))
    }
    assert outbox.want_fields(connection, wanted, now=NOW) == list(wanted)
    outbox.want_task(connection, ref("contact", "003D"), people[3], "mk1-x", {"subject": "s"}, now=NOW)
    taken = outbox.claim(connection, "salesforce", "fields", 2, now=NOW)
    for entry in taken:
        outbox.settle_dead(
            connection, entry, state="dead", code="FIELD_CUSTOM_VALIDATION", message="Phone is required", now=NOW
        )


def standing_of(state: State, settings: Settings) -> Standing:
    with state.read() as connection:
        return read_standing(connection, stage="all", vendors=vendors_of(settings))


def test_ambiguities_are_listed_with_their_reasons(busy: State, settings: Settings) -> None:
    found = {(a.reason, tuple(r.id for r in a.records)) for a in standing_of(busy, settings).ambiguities}
    assert found == {
        ("role_mailbox", ("003A", "003B")),
        ("family_name", ("77", "003C")),
        ("suggestion", ("003D", "003E")),
    }


def test_refused_rows_are_grouped_by_cause(busy: State, settings: Settings) -> None:
    [refusal] = standing_of(busy, settings).refused
    assert (refusal.count, refusal.code, refusal.effect) == (2, "FIELD_CUSTOM_VALIDATION", "fields")
    assert refusal.example in {ref("contact", "003A"), ref("contact", "003B")}


def test_counts(busy: State, settings: Settings) -> None:
    standing = standing_of(busy, settings)
    assert (standing.people, standing.unscored) == (6, 1)
    assert dict(standing.bands) == {"A": 2, "B": 1, "C": 1, "D": 1}
    assert dict(standing.handovers) == {"offered": 1}
    assert standing.seeded == 1
    assert [run.outcome for run in standing.runs] == ["running", "partial"]
    salesforce, hubspot = standing.connections
    assert salesforce.outbox == {"fields dead": 2, "fields new": 1, "task new": 1}
    assert (salesforce.swept_at, salesforce.task_key, salesforce.error) == (NOW - DAY_MS, True, None)
    assert (hubspot.records, hubspot.error, hubspot.cursors) == (1, "the token is not valid", {})


def test_of_a_pause_the_state_itself_knows_whether_it_still_is_one(busy: State, settings: Settings) -> None:
    """The last run was turned away by a pause that somebody has ended since."""
    pause = Pause("hubspot", "admin", NOW + 1, "because", "mikomi resume hubspot", NOW - 1)
    report = RunReport("3" * 32, "all", NOW - MINUTE)
    mark_paused(report, "hubspot", pause, settings.zone)
    ended = {"started_at": NOW - MINUTE, "finished_at": NOW, "outcome": "ok"}
    with busy.begin() as connection:
        connection.execute(t.run.insert().values(run_id="3" * 32, report=report.as_dict(), **ended))
    _, hubspot = standing_of(busy, settings).connections
    assert (hubspot.paused, hubspot.paused_until) == (None, None)
    with busy.begin() as connection:
        put(connection, pause)
    _, hubspot = standing_of(busy, settings).connections
    assert hubspot.paused is not None
    assert hubspot.paused["cause"] == "admin"


def test_as_data_it_is_json(busy: State, settings: Settings) -> None:
    import json

    document = json.loads(json.dumps(standing_of(busy, settings).as_dict()))
    assert document["refused"][0]["example"].startswith("salesforce/contact/003")
    assert all(isinstance(r, str) for a in document["ambiguities"] for r in a["records"])
    assert len(document["unassigned"]) == 1


def test_an_empty_state(state: State, settings: Settings) -> None:
    standing = standing_of(state, settings)
    assert (standing.people, standing.runs, standing.ambiguities, standing.refused) == (0, (), (), ())
    with spoken() as out:
        show_standing(standing, settings, NOW)
    assert "mikomi sync" in out.getvalue()


@pytest.mark.parametrize("language", ["ja", "en"])
def test_wording(busy: State, settings: Settings, language: str) -> None:
    worded = settings.model_copy(update={"language": language})
    assert worded.zone == ZoneInfo("Asia/Tokyo")
    with spoken() as out:
        show_standing(standing_of(busy, settings), worded, NOW)
    check_golden(f"status.{language}", out.getvalue())


@pytest.mark.parametrize(
    ("language", "told", "again"),
    [
        ("en", "reconcile failed 2 times in a row: hubspot: paused", "tried again at 2024-"),
        ("ja", "照合が2回連続で失敗しています: hubspot: paused", "次の再試行: 2024-"),
    ],
)
def test_a_job_that_failed_is_shown_until_it_works(
    state: State, settings: Settings, language: str, told: str, again: str
) -> None:
    troubles = {"reconcile": Trouble(2, "hubspot: paused", NOW + 30 * MINUTE)}
    keep(state, "serve", asdict(Health(role="active", seen_at=NOW, good_at=NOW, troubles=troubles)))
    found = read_health(state)
    assert found is not None
    assert found.troubles == troubles
    with spoken() as out:
        show_standing(
            standing_of(state, settings), settings.model_copy(update={"language": language}), NOW, service=found
        )
    assert told in out.getvalue()
    assert again in out.getvalue()
