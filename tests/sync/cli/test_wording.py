"""What a run and a score look like in both languages, kept as golden texts; and that data is never read as markup."""

import json
import re
from typing import Any

import pytest

from connectors import Diagnosis, Finding, Signal
from core.handover import Episode, next_step
from core.records import DAY_MS, RecordRef
from core.rulebook import ADVISED, load_rulebook, template_text
from core.scoring import Line, Reason, explain
from sync.cli.cycle import show_report
from sync.cli.doctor import show_diagnoses
from sync.cli.output import ConsoleProgress, print_finding, print_json, print_line, print_table
from sync.cli.people import print_explained, print_short
from sync.engine import Scored
from sync.look.explain import Explained
from sync.look.people import KnownPerson, KnownRecord
from sync.look.sample import ScoredPerson
from sync.report import RunReport, SystemReport
from sync.settings import Settings
from sync.texts import speaker
from tests.sync.builders import NOW
from tests.sync.cli.rig import check_golden, spoken

LANGUAGES = ("ja", "en")
DAY = NOW // DAY_MS
RULEBOOK = load_rulebook(template_text(ADVISED), source="rulebook.yaml")
PERSON = KnownPerson(
    12,
    "佐藤",
    "健一",
    "アクメ精機株式会社",
    "部長",
    "sato@acme.example",
    (KnownRecord(RecordRef("salesforce", "contact", "0035i00001AbCdEAAV"), NOW, {}),),
)
LINES = (
    Line("decision-maker", "fit", "rule", 20_000),
    Line("pricing-page", "engagement", "rule", 36_593, DAY - 3, 3),
    Line("inquiry", "engagement", "rule", 61_200, DAY - 1, 2),
    Line("inquiry", "engagement", "cap", -11_200),
    Line("", "engagement", "rounding", 407),
    Line("", "engagement", "clamp", -27_000),
    Line("mail-click", "engagement", "withheld", 2_500, machine=True),
)


def settings(language: str) -> Settings:
    return Settings.model_validate({"language": language, "connections": {"salesforce": {"vendor": "salesforce"}}})


def explained(language: str, **changes: Any) -> Explained:
    scored = Scored(
        person_id=12,
        as_of=NOW,
        total=80,
        priority=80,
        fit=20,
        engagement=60,
        relationship=0,
        withheld=3,
        missing=2,
        band="A",
        trend="rising",
        last_human_at=NOW - DAY_MS,
        reason_key="0" * 32,
        reasons=(),
        lines=LINES,
    )
    values: dict[str, Any] = {
        "person": PERSON,
        "as_of": NOW,
        "scored": scored,
        "explanation": explain(LINES, RULEBOOK, "ja" if language == "ja" else "en"),
        "step": next_step("A", today=DAY),
        "episode": Episode(2, "sales", "offered", NOW - DAY_MS, record=PERSON.records[0].ref),
        "stored": (74, "B", NOW - DAY_MS, "0" * 16),
        "outdated": True,
        "read_at": {"salesforce": NOW, "hubspot": NOW - 60_000},
        "rulebook": RULEBOOK.name,
    }
    return Explained(**(values | changes))


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_explanation(language: str) -> None:
    with spoken() as out:
        print_explained(explained(language), settings(language), speaker(language))
    check_golden(f"explain.{language}", out.getvalue())


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_explanation_of_the_past_and_of_somebody_new(language: str) -> None:
    fresh = explained(
        language, stored=None, episode=None, outdated=False, short_of=("A", {"fit": 30, "relationship": 5})
    )
    with spoken() as out:
        print_explained(explained(language), settings(language), speaker(language), past=True)
        print_explained(fresh, settings(language), speaker(language))
    check_golden(f"explain-other.{language}", out.getvalue())


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_report(language: str) -> None:
    report = RunReport("1" * 32, "all", NOW, people=2_060, people_scored=17, scores_changed=12, unassigned=2)
    report.systems["salesforce"] = SystemReport(
        rows_read=1_594, rows_changed=29, stream_calls=3, write_calls=2, fields_written=10, tasks_created=1, refused=3
    )
    report.systems["hubspot"] = SystemReport(
        error="the day's calls are used up",
        hint="wait",
        paused_until="2026-11-23T15:00:00+00:00",
        problems=["a page was cut short"],
    )
    dry = RunReport("2" * 32, "observe", NOW, people=2, people_scored=2, daily=True, dry_run=True)
    dry.systems["salesforce"] = SystemReport(rows_read=2)
    dry.planned = [
        {"effect": "fields", "record": "salesforce/lead/00Q", "values": {"score": 80, "band": "A"}},
        {"effect": "task", "record": "salesforce/lead/00Q", "key": "mk1-x", "subject": "[A 80] Call Sato"},
    ]
    with spoken() as out:
        show_report(report, speaker(language))
        show_report(dry, speaker(language))
    check_golden(f"sync.{language}", out.getvalue())


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_diagnosis(language: str) -> None:
    findings = (Finding("ok", "connection", "fine"), Finding("error", "scopes", "one is missing", "add it"))
    signals = (Signal("call", "Task", True, 321), Signal("page_view", "", False, None, "not kept here"))
    say = speaker(language)
    with spoken() as out:
        show_diagnoses(
            [Finding("info", say("state"), say("not created yet"), "mikomi sync")],
            {"salesforce": Diagnosis(findings, signals)},
            say,
        )
        show_diagnoses([], {"hubspot": Diagnosis((Finding("warning", "x", "y"),))}, say)
        show_diagnoses([], {"hubspot": Diagnosis(())}, say)
    check_golden(f"doctor.{language}", out.getvalue())


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_short_line(language: str) -> None:
    reasons = (Reason("inquiry", 50_000, DAY - 1, 2), Reason("decision-maker", 20_000))
    one = ScoredPerson(PERSON, "A", 80, 80, "rising", NOW, reasons)
    with spoken() as out:
        print_short(one, RULEBOOK, settings(language), speaker(language), place=1)
        print_short(one, RULEBOOK, settings(language), speaker(language))
    check_golden(f"sample.{language}", out.getvalue())


def test_text_from_a_crm_is_never_markup() -> None:
    nasty = "[bold red]x[/] [link=https://a.example]y[/link] \\[z]"
    with spoken() as out:
        print_line(nasty)
        print_table(("[b]a[/b]",), [(nasty,)])
    assert out.getvalue().count(nasty) == 2
    assert "[b]a[/b]" in out.getvalue()


def test_no_text_moves_the_cursor_or_ends_its_line() -> None:
    nasty = "a\x1b[31m\r\n\x0b\x85\u2028\u2029\u202e\u2067\u200e\u200f\u061c\x9b\x7fb\tc"
    with spoken() as out:
        print_line(nasty)
        print_table(("x", "y"), [(nasty, nasty)])
        print_finding("warning", nasty, f"{nasty}\n✗ forged", nasty)
    text = out.getvalue()
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]", text)
    assert len(text.splitlines()) == 1 + 2 + 4  # a finding may have several lines, indented
    assert not re.search("^✗", text, re.MULTILINE)


def test_json_shows_every_character_and_lets_none_act() -> None:
    document = {"a\u202e": "b\x9b\u2028\x7f\n\x1b"}
    with spoken() as out:
        print_json(document)
    assert json.loads(out.getvalue()) == document
    assert not re.search("[\x7f-\x9f\u2028\u202e\x1b]", out.getvalue())


def test_somebody_who_was_only_counted_as_handed_over() -> None:
    seeded = explained("en", episode=Episode(1, "sales", "offered", NOW - DAY_MS, seeded=True))
    with spoken() as out:
        print_explained(seeded, settings("en"), speaker("en"))
    assert "hand-over: counted as handed over, number 1, since " in out.getvalue()
    assert "Offered" not in out.getvalue()


def test_a_run_that_a_guard_stopped_says_what_it_did() -> None:
    report = RunReport("1" * 32, "all", NOW, people=2_060, people_scored=500, daily=True, cut_short=True)
    with spoken() as out:
        show_report(report, speaker("en"))
    assert "A guard stopped the scoring: 500 of 2,060 people were scored. 0 scores changed." in out.getvalue()
    assert "everyone" not in out.getvalue()


def test_progress_without_a_terminal_is_one_line_a_step() -> None:
    with spoken() as out:
        progress = ConsoleProgress(speaker("en"))
        with progress.shown():
            for step in (
                "read hubspot",
                "recognise people",
                "score",
                "write hubspot fields",
                "write hubspot task",
                "odd",
            ):
                progress.start(step, 10)
                progress.advance(step, 4)
                progress.advance(step, 8, total=20)
                progress.finish(step)
    lines = [line.split(":")[0].strip() for line in out.getvalue().splitlines()]
    assert lines == [
        "read hubspot",
        "recognise people",
        "score people",
        "write scores to hubspot",
        "write tasks to hubspot",
        "odd",
    ]
    assert all(": 12 in " in line for line in out.getvalue().splitlines())
