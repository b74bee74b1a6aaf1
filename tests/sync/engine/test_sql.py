"""Kept statements: found again by the next process, never taken from strangers, never in the way."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from core.rulebook import Rulebook, load_rulebook, template_text
from sync.engine import kept_texts, sql
from sync.engine.sql import PlanSql


@pytest.fixture
def book() -> Rulebook:
    return load_rulebook(template_text("b2b-japan-standard"))


@pytest.fixture
def never_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> str:
        raise AssertionError("compiled again")

    monkeypatch.setattr(sql, "_typed", refuse)


def keep(folder: Path, texts: object) -> Path:
    """Put texts where the next process looks for them."""
    (file,) = folder.glob("*.json")
    file.write_text(json.dumps(texts), "utf-8")
    return file


def test_the_next_process_finds_what_one_has_compiled(
    book: Rulebook, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    first = PlanSql(book, tmp_path / "kept")
    texts = [first.totals, first.earned, first.lines, first.trends]
    request.getfixturevalue("never_compiled")
    second = PlanSql(book, tmp_path / "kept")
    assert [second.totals, second.earned, second.lines, second.trends] == texts
    assert len(list((tmp_path / "kept").iterdir())) == 1
    with pytest.raises(AssertionError, match="compiled again"):
        assert PlanSql(book).totals


def test_what_is_kept_is_readable_by_its_owner_only(book: Rulebook, tmp_path: Path) -> None:
    assert PlanSql(book, tmp_path / "kept").trends
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "kept", *(tmp_path / "kept").iterdir())] == [
        0o700,
        0o600,
    ]


def test_other_rules_have_other_texts(book: Rulebook, tmp_path: Path) -> None:
    other = load_rulebook(re.sub(r"A: \{total: \d+", "A: {total: 99", template_text("b2b-japan-standard")))
    assert PlanSql(book, tmp_path).totals != PlanSql(other, tmp_path).totals
    assert len(list(tmp_path.glob("*.json"))) == 2


def test_texts_of_another_program_are_not_used(book: Rulebook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = PlanSql(book, tmp_path).trends
    keep(tmp_path, {"trends": "SELECT 'old'"})
    assert PlanSql(book, tmp_path).trends == "SELECT 'old'"
    monkeypatch.setattr(sql, "_maker", lambda: "newer")
    assert PlanSql(book, tmp_path).trends == right


@pytest.mark.parametrize("open_to_others", ["the file", "the folder"])
def test_what_others_could_have_written_is_not_used(book: Rulebook, tmp_path: Path, open_to_others: str) -> None:
    right = PlanSql(book, tmp_path).trends
    file = keep(tmp_path, {"trends": "SELECT 'stranger'"})
    place = file if open_to_others == "the file" else tmp_path
    place.chmod(place.stat().st_mode | 0o020)
    assert PlanSql(book, tmp_path).trends == right


def test_what_another_user_wrote_is_not_used(book: Rulebook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = PlanSql(book, tmp_path).trends
    file = keep(tmp_path, {"trends": "SELECT 'stranger'"})
    other = os.geteuid() + 1
    monkeypatch.setattr("os.geteuid", lambda: other)
    assert PlanSql(book, tmp_path).trends == right
    assert json.loads(file.read_bytes()) == {"trends": "SELECT 'stranger'"}, "nor written over"


def test_a_link_is_not_followed(book: Rulebook, tmp_path: Path) -> None:
    right = PlanSql(book, tmp_path / "kept").trends
    file = keep(tmp_path / "kept", {"trends": "SELECT 'elsewhere'"})
    file.rename(tmp_path / "elsewhere.json")
    file.symlink_to(tmp_path / "elsewhere.json")
    assert PlanSql(book, tmp_path / "kept").trends == right


def test_whatever_makes_a_text_is_part_of_its_name() -> None:
    """Another version of any of it, and what was kept is not used."""
    program = "import sys, core.scoring.plan; print(*[m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'core'])"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    made_by = {Path(file) for file in said.stdout.split()}
    assert len(made_by) > 10
    assert made_by | {Path(sql.__file__)} <= set(sql.sources())


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[1]", b'"text"', b'{"trends": null}', b"[" * 100_000])
def test_a_broken_file_is_replaced(book: Rulebook, tmp_path: Path, content: bytes) -> None:
    right = PlanSql(book, tmp_path).trends
    (file,) = tmp_path.glob("*.json")
    file.write_bytes(content)
    assert PlanSql(book, tmp_path).trends == right
    assert json.loads(file.read_bytes()) == {"trends": right}


def test_without_a_place_to_keep_them_texts_are_compiled(book: Rulebook, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert PlanSql(book, tmp_path / "file").trends == PlanSql(book).trends


def test_the_oldest_make_room(book: Rulebook, tmp_path: Path) -> None:
    (tmp_path / "package-lock.json").write_text("{}")  # somebody else's
    os.utime(tmp_path / "package-lock.json", (0, 0))
    old = [f"{number:016x}-{number:016x}.json" for number in range(kept_texts.KEPT + 3)]
    for number, name in enumerate(old):
        (tmp_path / name).write_text("{}")
        os.utime(tmp_path / name, (number, number))
    assert PlanSql(book, tmp_path).trends
    left = {file.name for file in tmp_path.iterdir()} - {"package-lock.json"}
    assert (tmp_path / "package-lock.json").exists()
    assert len(left) == kept_texts.KEPT
    assert not left & set(old[:4])


@pytest.mark.parametrize(
    ("given", "folder"),
    [
        ({"CACHE_DIRECTORY": "/var/cache/mikomi:/other"}, "/var/cache/mikomi/mikomi"),
        ({"XDG_CACHE_HOME": "/elsewhere"}, "/elsewhere/mikomi"),
        ({"HOME": "/home/operator"}, "/home/operator/.cache/mikomi"),
        (
            {"CACHE_DIRECTORY": ":", "XDG_CACHE_HOME": "below/here", "HOME": "/home/operator"},
            "/home/operator/.cache/mikomi",
        ),
    ],
)
def test_where_they_are_kept(given: dict[str, str], folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CACHE_DIRECTORY", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert kept_texts.cache_folder() == Path(folder)


def test_a_process_that_finds_them_needs_neither_ibis_nor_pandas(
    book: Rulebook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    texts = PlanSql(book, tmp_path / "mikomi")
    assert texts.totals
    assert texts.earned
    assert texts.lines
    assert texts.trends
    program = (
        "import sys\n"
        "from core.rulebook import load_rulebook, template_text\n"
        "from sync.engine import ScoreEngine\n"
        "from sync.state import open_state\n"
        "from zoneinfo import ZoneInfo\n"
        "engine = ScoreEngine(open_state('sqlite://'), load_rulebook(template_text('b2b-japan-standard')), ZoneInfo('Asia/Tokyo'))\n"
        "assert engine.score_people([1], 0) == [] == list(engine.score_all(0))\n"
        "print({'ibis', 'sqlglot', 'pandas'} & sys.modules.keys())"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout == "set()\n"
