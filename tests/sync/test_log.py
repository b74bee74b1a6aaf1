"""The log: one JSON line an event, transitions only, and never a person or a secret in it."""

import io
import json
import logging
import re
import sys
import threading
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from core.errors import InvalidSettings, LeaseLost, Transient, Unauthorized
from sync import audit, journal
from sync.log import attached, get_log, line_formatter, logging_to, open_handler
from sync.redaction import LONGEST, redact
from sync.report import RunReport, SystemReport
from sync.settings import Loaded, Log, load_settings
from sync.state import State

NAME, ADDRESS, PHONE = "鳴海 花梨", "karin.narumi@canary.example", "03-5550-0147"


class Lines:
    """What was logged since the last look."""

    def __init__(self) -> None:
        self.text = io.StringIO()

    def take(self) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.text.getvalue().splitlines()]
        self.text.seek(0)
        self.text.truncate()
        return found

    def events(self) -> list[str]:
        return [line["event"] for line in self.take()]


@pytest.fixture
def lines() -> Iterator[Lines]:
    found = Lines()
    handler = logging.StreamHandler(found.text)
    handler.setFormatter(line_formatter("json"))
    with attached(handler, logging.INFO):
        yield found


def test_a_line_is_one_json_object_with_time_level_and_run(lines: Lines) -> None:
    with audit.acting(run_id="a" * 32):
        get_log("sync.x").warning("connection down", connection="hubspot", cause="Transient", seconds=1.5)
    [line] = lines.take()
    assert list(line)[:5] == ["time", "level", "event", "run_id", "connection"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line.pop("time"))
    assert line == {
        "level": "warning",
        "event": "connection down",
        "run_id": "a" * 32,
        "connection": "hubspot",
        "cause": "Transient",
        "logger": "sync.x",
        "seconds": 1.5,
    }


def test_keys_that_are_not_listed_are_dropped_with_their_values(lines: Lines) -> None:
    get_log("sync.x").info("read", rows=3, last_name=NAME, record={"Email": ADDRESS})
    [line] = lines.take()
    assert line["rows"] == 3
    assert line["dropped"] == ["last_name", "record"]
    assert NAME not in json.dumps(line, ensure_ascii=False)
    assert ADDRESS not in json.dumps(line)


SECRETS = [
    "Bearer 00Dxx0000001gPF!AQEAQB5qB1W0tK9",
    "Authorization: Bearer abc.def",
    "00D5g000004XyzA!AQcAQH0dMHZfz972Szmpkb58urFRkgeBGsxL_QJWwYMfAbUeeG7c1E6LYUfiDUkWe6H34r1AAwOR8B8fLEz6n04NPGRrq0FM",
    "pat-na1-0a1b2c3d-1111-2222-3333-444455556666",
    "refresh_token=5Aep861TSESvWeug_xvFHRBTTbf_YrTWgEyjBJrr",
    "client_secret=1234567890",
    "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.c2lnbmF0dXJl",
    "postgresql://mikomi:hunter22@db.example/state",
    "Zm9vYmFyYmF6Zm9vYmFyYmF6Zm9vYmFyYmF6Zm9vYmFyYmF6",
]
PERSONAL = [
    ADDRESS,
    "鳴海@会社.example",
    PHONE,
    "０３－５５５０－０１４７",
    "+81 90-1234-5678",
    "(03) 5550-0147",
    "09012345678",
    "a＠b.example",
    "taro%40x.example",
    "taro%2540x.example",
    "ｔａｒｏ＠ｘ．ｅｘａｍｐｌｅ",
    "０３ー１２３４ー５６７８",
    "０９０１２３４５６７８",
]
GLUED = [
    "ＴＥＬ０３ー１２３４ー５６７８",
    "TEL03-1234-5678",
    "電話03-1234-5678まで",
    "携帯０９０１２３４５６７８へ",
    "phone+81 90-1234-5678",
    "/search?email=taro%40x.example&limit=1",
    "宛先ｔａｒｏ＠ｘ．ｅｘａｍｐｌｅ",
]


@pytest.mark.parametrize("text", SECRETS + PERSONAL)
def test_what_looks_like_a_secret_or_an_address_is_blotted_out(text: str, lines: Lines) -> None:
    get_log("sync.x").error("call failed", reason=f"it said {text} there", connection=text)
    [line] = lines.take()
    core = re.sub(r"^(Bearer |Authorization: Bearer |\w+=|\w+://)", "", text)
    for shown in (line["reason"], line["connection"]):
        assert core not in shown
        assert core[:12] not in shown


@pytest.mark.parametrize("text", GLUED)
def test_what_stands_close_to_words_is_blotted_out_too(text: str) -> None:
    found = unicodedata.normalize("NFKC", redact(text))
    assert not re.search(r"\d{4}|taro", found), found


@pytest.mark.parametrize(
    "text",
    [
        "connection hubspot: 429, again in 12.5 s",
        "salesforce/contact/0035g00000AbCdEAAV",
        "2026-11-24 10:00:00",
        "1,234 of 15,000 daily calls",
        "0.5 s",
        "crm.objects.contacts.read",
        "sync/cycle.py:91 < sync/cli/cycle.py:40",
        "hubspot/contact/100000000123",
        "salesforce/contact/003XX0123456789",
        "correlation c3e1a2b0-8456-4123-8123-0123456789ab",
    ],
)
def test_what_an_operator_needs_is_left(text: str) -> None:
    assert redact(text) == text


@budget(max_examples=150, deadline=None)
@given(
    text=st.text(st.characters(codec=None), max_size=400),
    person=st.sampled_from([ADDRESS, PHONE, *SECRETS[2:4]]),
)
def test_redaction_finds_them_in_any_text_and_leaves_one_line(text: str, person: str) -> None:
    found = redact(f"{text} {person} {text}")
    assert person not in found
    assert len(found) <= LONGEST
    assert found.encode("utf-8").decode() == found
    assert "\n" not in found
    assert "\x1b" not in found


def test_hostile_text_stays_one_line(lines: Lines) -> None:
    get_log("sync.x").warning("call failed", reason='a\nb\r{"event": "forged"}\x1b[31m\u202e\ud800\0')
    assert len(lines.text.getvalue().splitlines()) == 1
    [line] = lines.take()
    assert line["event"] == "call failed"


@pytest.mark.parametrize("format", ["json", "text"])
def test_hostile_text_cannot_move_a_cursor(format: str) -> None:
    nasty = "a\r\n\x1b[2J\x9b\u2028\u2029\u200e\u202e\u2069\u061cb"
    found = Lines()
    handler = logging.StreamHandler(found.text)
    handler.setFormatter(line_formatter(format))
    with attached(handler, logging.INFO):
        get_log("sync.x").warning("call failed", reason=nasty, connection=nasty)
    line = found.text.getvalue().removesuffix("\n")
    assert "call failed" in line
    assert not re.search("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]", line), line


def test_what_others_log_is_reduced_to_its_template(lines: Lines) -> None:
    logging.getLogger("urllib3.connectionpool").warning("Retrying (%r) after %r: %s", 3, ADDRESS, f"/query?q={NAME}")
    logging.getLogger("simple_salesforce.api").warning(f"could not find 'Sato' {ADDRESS} in {NAME} 12345")  # noqa: G004
    logging.getLogger("urllib3.connectionpool").info("hidden")
    logging.getLogger("connectors.calls").warning("call repeated", extra={"connection": "hubspot", "Email": ADDRESS})
    found = lines.take()
    assert [line["event"] for line in found] == ["Retrying (%r) after %r: %s", "could not find in", "call repeated"]
    assert found[2]["connection"] == "hubspot"
    assert found[2]["dropped"] == ["Email"]
    assert NAME not in json.dumps(found, ensure_ascii=False)
    assert ADDRESS not in json.dumps(found)


def test_exceptions_are_type_place_and_our_own_words(lines: Lines) -> None:
    def fail(payload: str) -> None:
        raise ValueError(f"cannot read {payload}")

    for error in (None, Unauthorized("the token was refused")):
        try:
            try:
                fail(f"{NAME} {ADDRESS}")
            except ValueError as cause:
                if error is not None:
                    raise error from cause
                raise
        except Exception:
            get_log("sync.x").exception("run failed")
    plain, ours = lines.take()
    assert (plain["error"], plain.get("cause")) == ("ValueError", None)
    assert re.match(r"sync/test_log\.py:\d+ < sync/test_log\.py:\d+", plain["where"])
    assert (ours["error"], ours["cause"], ours["caused_by"]) == ("Unauthorized", "the token was refused", "ValueError")
    assert ADDRESS not in json.dumps([plain, ours])


# --- where it goes -----------------------------------------------------------------------------------------------------


def written_settings(folder: Path, **log: Any) -> Loaded:
    document = {"connections": {"hubspot": {"vendor": "hubspot"}}, "log": log}
    (folder / "mikomi.yaml").write_text(json.dumps(document), "utf-8")
    return load_settings(folder / "mikomi.yaml")


def test_the_file_is_private_and_rotated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sync.log.FILE_BYTES", 2_000)
    (tmp_path / "mikomi.log").touch(0o644)
    with logging_to(written_settings(tmp_path, file="mikomi.log")):
        for n in range(60):
            get_log("sync.x").info("run finished", rows=n)
        get_log("sync.x").debug("unseen")
    files = sorted(tmp_path.glob("mikomi.log*"))
    assert len(files) > 3
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    newest = [json.loads(line) for line in (tmp_path / "mikomi.log").read_text("utf-8").splitlines()]
    assert newest[-1]["rows"] == 59


def test_a_command_without_a_file_logs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to(written_settings(tmp_path)):
        get_log("sync.x").error("run failed")
    assert capsys.readouterr() == ("", "")


def test_a_service_logs_to_standard_error_even_what_nobody_caught(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sys.excepthook  # a library of the test run may have set its own
    with logging_to(written_settings(tmp_path, level="warning"), service=True):
        get_log("sync.x").info("unseen")
        try:
            raise KeyError(ADDRESS)
        except KeyError as error:
            sys.excepthook(KeyError, error, error.__traceback__)
        thread = threading.Thread(target=lambda: dict[str, str]()[ADDRESS], name="beat")
        thread.start()
        thread.join()
    out, err = capsys.readouterr()
    assert out == ""
    found = [json.loads(line) for line in err.splitlines()]
    assert [(line["event"], line["error"]) for line in found] == [
        ("ended by an error of the program", "KeyError"),
        ("a thread ended by an error of the program", "KeyError"),
    ]
    assert ADDRESS not in err
    assert sys.excepthook is before


def test_text_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to(written_settings(tmp_path, format="text"), service=True):
        get_log("sync.x").warning("connection down", connection="hubspot")
    err = capsys.readouterr().err
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d warning connection down  connection=hubspot\n", err)


def test_a_file_that_cannot_be_opened_is_named_with_its_line(tmp_path: Path) -> None:
    loaded = written_settings(tmp_path, file="no/such/folder.log")
    refused = pytest.raises(InvalidSettings, match=r"mikomi.yaml:1: log.file: the log cannot be written")
    with refused, logging_to(loaded):
        pass


def test_a_full_disk_is_said_once_without_the_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    handler = open_handler(Log(file=Path("x.log")), tmp_path)
    assert isinstance(handler, logging.StreamHandler)
    handler.stream.close()
    with attached(handler, logging.INFO):
        for _ in range(3):
            get_log("sync.x").info("run finished", name=NAME)
    assert capsys.readouterr().err == "the log cannot be written: ValueError\n"


# --- transitions -------------------------------------------------------------------------------------------------------


def run(state: State, at: int, systems: dict[str, SystemReport] | None = None, *, quiet: bool = True) -> None:
    report = RunReport(f"{at:032d}", "all", at * 1000, finished_at=at * 1000 + 500)
    report.systems = systems or {"hubspot": SystemReport()}
    report.scores_changed = 0 if quiet else 5
    with journal.watched(state, report):
        pass


def test_a_quiet_run_is_no_line(state: State, lines: Lines) -> None:
    run(state, 1)
    assert lines.take() == []


def test_what_a_run_did_is_one_line_with_the_audit_logs_end(state: State, lines: Lines) -> None:
    with state.begin() as connection:
        end = audit.note(connection, "pause", "hubspot", why="x")
    run(state, 1, {"hubspot": SystemReport(rows_read=7, fields_written=3)}, quiet=False)
    [line] = lines.take()
    told = {
        key: line[key] for key in ("event", "run_id", "outcome", "rows", "fields", "seconds", "audit_seq", "audit_hash")
    }
    assert told == {
        "event": "run finished",
        "run_id": f"{1:032d}",
        "outcome": "ok",
        "rows": 7,
        "fields": 3,
        "seconds": 0.5,
        "audit_seq": end.seq,
        "audit_hash": end.hash,
    }


def test_a_connection_that_stays_down_is_said_once_and_when_it_is_back(state: State, lines: Lines) -> None:
    down = {"hubspot": SystemReport(error=f"no answer from {ADDRESS}"), "salesforce": SystemReport()}
    run(state, 100, down)
    first = [line for line in lines.take() if line["event"] != "run finished"]
    assert [(line["event"], line["connection"], line["level"]) for line in first] == [
        ("connection down", "hubspot", "warning")
    ]
    assert ADDRESS not in json.dumps(first)
    for at in range(101, 110):
        run(state, at, down)
    assert set(lines.events()) == {"run finished"}
    run(state, 160)
    [back] = lines.take()
    assert (back["event"], back["connection"], back["seconds"], back["repeats"]) == (
        "connection back",
        "hubspot",
        60,
        9,
    )
    run(state, 170)
    assert lines.take() == []


def test_what_a_run_did_not_touch_stays_as_it_was(state: State, lines: Lines) -> None:
    run(state, 1, {"hubspot": SystemReport(error="x")})
    run(state, 2, {"salesforce": SystemReport()})
    lines.take()
    run(state, 3, {"hubspot": SystemReport(error="x")})
    assert set(lines.events()) == {"run finished"}


def test_a_run_that_cannot_begin_is_said_once_until_one_works(state: State, lines: Lines) -> None:
    for at in (1, 2, 3):
        with pytest.raises(Transient), journal.watched(state, RunReport("r", "all", at * 1000)):
            raise Transient("x")
    assert lines.events() == ["run failed"]
    run(state, 9)
    assert lines.events() == ["runs work again"]


def test_an_overtaken_run_writes_nothing(state: State, lines: Lines) -> None:
    with pytest.raises(LeaseLost), journal.watched(state, RunReport("r", "all", 1)):
        raise LeaseLost("sync")
    assert lines.events() == ["run stopped"]


def test_lines_of_a_run_carry_its_id(state: State, lines: Lines) -> None:
    with journal.watched(state, RunReport("e" * 32, "all", 1, systems={"hubspot": SystemReport()})):
        logging.getLogger("connectors.calls").warning("call repeated")
        get_log("sync.x").info("x")
    assert {line["run_id"] for line in lines.take()} == {"e" * 32}
