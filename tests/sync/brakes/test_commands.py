"""`mikomi pause`, `mikomi resume`, `mikomi sync --allow`, and how `status` and reports tell of pauses and stops."""

from dataclasses import asdict
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import yaml

from core.errors import GuardStop, InvalidInput, InvalidSettings
from core.records import DAY_MS
from sync import audit
from sync.app import App
from sync.cli.cycle import GUARDED, run_sync, show_report
from sync.cli.pausing import parse_until, run_pause, run_resume
from sync.cli.status import run_status
from sync.report import RunReport
from sync.state.pause import EVERYTHING, Pause, standing
from sync.state.stops import Stop, keep_stop
from sync.texts import speaker
from tests.sync.brakes.crm import HOUR, START

TOKYO = ZoneInfo("Asia/Tokyo")


@pytest.fixture
def app(tmp_path: Path) -> App:
    config = {
        "language": "en",
        "connections": {"salesforce": {"vendor": "salesforce"}, "hubspot": {"vendor": "hubspot"}},
    }
    (tmp_path / "mikomi.yaml").write_text(yaml.safe_dump(config), "utf-8")
    return App(tmp_path / "mikomi.yaml")


def pauses(app: App) -> list[Pause]:
    with app.state() as state, state.read() as connection:
        return standing(connection)


def test_pause_and_resume_of_one_and_of_all(app: App, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_pause(app, "hubspot", until="2h", reason="nightly load") == 0
    assert run_pause(app, None, until=None, reason="") == 0
    one, every = sorted(pauses(app), key=lambda pause: pause.system, reverse=True)
    assert (one.system, one.cause, one.reason) == ("hubspot", "admin", "nightly load")
    assert one.until is not None
    assert one.until - one.at == 2 * HOUR
    assert (every.system, every.until) == (EVERYTHING, None)
    assert run_resume(app, None, field=None) == 0
    assert pauses(app) == []
    assert run_resume(app, None, field=None) == 0
    said = capsys.readouterr().out
    assert "hubspot: paused until 20" in said
    assert "all connections: paused until `mikomi resume`" in said
    assert "nightly load" in said
    assert "Nothing was paused." in said


def test_a_field_that_is_written_again_is_in_the_audit_log(app: App) -> None:
    assert run_resume(app, None, field="score") == 0
    with app.state() as state, state.read() as connection:
        rows = [dict(row) for row in audit.look(connection, limit=10)]
    assert [(row["actor"], row["action"], row["subject"], row["new"]) for row in rows] == [
        (audit.operator(), "resume", name, {"field": "score", "records": 0}) for name in ("hubspot", "salesforce")
    ]


def test_unknown_connections_and_fields_are_refused_by_name(app: App) -> None:
    with pytest.raises(InvalidSettings, match="nobody"):
        run_pause(app, "nobody", until=None, reason="")
    with pytest.raises(InvalidSettings, match="nobody"):
        run_resume(app, "nobody", field=None)
    with pytest.raises(InvalidInput, match="nothing"):
        run_resume(app, "hubspot", field="nothing")


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("2h", START + 2 * HOUR),
        ("3d", START + 3 * DAY_MS),
        ("2026-01-28", START + 15 * HOUR),
        ("2026-01-27T12:30", START + 3 * HOUR + HOUR // 2),
        ("2026-01-27T12:30+00:00", START + 12 * HOUR + HOUR // 2),
    ],
)
def test_an_end_is_a_length_a_day_or_a_local_moment(text: str, end: int) -> None:
    assert parse_until(text, TOKYO, START) == end


@pytest.mark.parametrize("text", ["", "soon", "2h30m", "2026-13-01", "2026-01-27T08:00", "-2h"])
def test_an_end_that_is_no_time_or_past_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_until(text, TOKYO, START)


def test_a_pause_without_an_end_in_the_distant_past_is_told_by_status(
    app: App, capsys: pytest.CaptureFixture[str]
) -> None:
    run_pause(app, "hubspot", until=None, reason="moving")
    with app.state() as state, state.begin() as connection:
        stop = Stop("emptied:hubspot:2026-01-27", "60 of 60 are gone", "look", START, START)
        keep_stop(connection, "emptied hubspot", stop)
        keep_stop(connection, "offered", Stop("offered:2026-01-26", "allowed", "", START, START, allowed=True))
    capsys.readouterr()
    assert run_status(app, as_json=False) == 0
    said = capsys.readouterr().out
    assert "hubspot: paused by a person: moving" in said
    assert "mikomi resume hubspot" in said
    assert "emptied:hubspot:2026-01-27: 60 of 60 are gone" in said
    assert "offered:" not in said
    run_status(app, as_json=True)
    document = yaml.safe_load(capsys.readouterr().out)
    assert document["stops"][0]["guard"] == "emptied:hubspot:2026-01-27"
    assert [c["paused"]["cause"] for c in document["connections"] if c["paused"]] == ["admin"]


def test_a_report_tells_who_paused_until_when_why_and_what_a_guard_stopped(capsys: pytest.CaptureFixture[str]) -> None:
    report = RunReport("r", "all", START)
    pause = Pause("hubspot", "errors", START + HOUR, "HTTP 503", "it is tried again by itself", START)
    report.system("hubspot").paused = asdict(pause)
    report.system("hubspot").paused_until = "2026-01-27 10:00 JST"
    report.guards.append({"guard": "offered:2026-01-27", "message": "40 people", "hint": "mikomi sync --allow …"})
    show_report(report, speaker("en"))
    said = capsys.readouterr().out
    assert "hubspot: paused: too much failed (until 2026-01-27 10:00 JST): HTTP 503" in said
    assert "offered:2026-01-27: 40 people" in said


def test_a_stop_is_exit_code_four(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    from sync.cli import cycle

    report = RunReport("r", "all", START)
    report.guards.append({"guard": "offered:2026-01-27", "message": "40 people", "hint": ""})
    asked: dict[str, object] = {}

    def take(*_: object, **options: object) -> RunReport:
        asked.update(options)
        return report

    monkeypatch.setattr(cycle, "take_pass", take)
    code = run_sync(app, dry_run=False, sweep=False, strict=True, as_json=True, allow=["x"])
    assert code == GUARDED == GuardStop("x", "y").exit_code
    assert asked["allow"] == ["x"]
