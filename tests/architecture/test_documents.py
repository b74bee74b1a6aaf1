"""What the documents say is what the program does: configuration, commands, make targets, defaults, links."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core import errors
from sync.cli.starter import settings_text
from sync.settings import Guards, Retention, Schedule

ROOT = Path(__file__).resolve().parents[2]
READMES = {"en": "README.md", "ja": "README.ja.md"}
OPERATIONS = {"en": "docs/operations.md", "ja": "docs/operations.ja.md"}
DOCUMENTS = sorted([*READMES.values(), *OPERATIONS.values(), "deploy/README.md"])
TARGETS = ("demo", "test", "bench", "soak")


def read(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def anchors(text: str) -> set[str]:
    """The anchors that a page's headings get: lower case, without punctuation, spaces as hyphens."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def shape(text: str) -> list[tuple[str, int]]:
    """The headings' levels, and under each how many list items, table rows and code blocks follow."""
    found: list[tuple[str, int]] = []
    for part in re.split(r"^(?=#)", re.sub(r"```.*?```", "```", text, flags=re.DOTALL), flags=re.MULTILINE):
        level = re.match(r"#*", part)
        assert level is not None
        found.append((level.group(), len(re.findall(r"^(?:- |\d+\. |\||```)", part, re.MULTILINE))))
    return found


def all_commands(group: Any, prefix: str = "mikomi") -> Iterator[str]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from all_commands(command, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}"


@pytest.mark.parametrize("language", sorted(READMES))
def test_the_configuration_shown_is_what_init_writes(language: str) -> None:
    text = (ROOT / READMES[language]).read_text("utf-8")
    shown = re.findall(r"```yaml\n(.*?)\n```", text, re.DOTALL)
    assert settings_text(language).rstrip() in shown


@pytest.mark.parametrize("name", sorted(READMES.values()))
def test_every_command_and_target_is_documented(name: str) -> None:
    from typer.main import get_command

    from sync.cli import entry, main

    assert callable(main)  # importing it registers the commands
    text = read(name)
    commands = list(all_commands(get_command(entry.app)))
    assert "mikomi dead replay" in commands
    assert [command for command in commands if f"`{command}" not in text] == []
    assert [target for target in TARGETS if f"make {target}" not in text] == []
    assert "@@" not in text


def test_every_documented_target_is_there() -> None:
    made = re.findall(r"^([a-z]+):", read("Makefile"), re.MULTILINE)
    named = {target for name in DOCUMENTS for target in re.findall(r"\bmake ([a-z]+)\b", code_of(read(name)))}
    assert set(TARGETS) <= named
    assert named - set(made) == set()


def code_of(text: str) -> str:
    return "\n".join(re.findall(r"```.*?```|`[^`\n]+`", text, re.DOTALL))


@pytest.mark.parametrize("name", sorted(READMES.values()))
def test_every_exit_code_is_documented(name: str) -> None:
    codes = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "exit_code")}
    [line] = [part for part in read(name).split("\n\n") if "130" in part and "--json" in part]
    assert codes > {1, 2, 3, 4}
    assert [code for code in sorted(codes) if not re.search(rf"\b{code}(?=[ :])", line)] == []


@pytest.mark.parametrize("name", sorted(OPERATIONS.values()))
def test_the_defaults_shown_are_the_defaults(name: str) -> None:
    shown = dict(re.findall(r"`([a-z_]+): (\d+)`", read(name)))
    defaults = {field: str(value) for model in (Guards(), Retention()) for field, value in model if value != ()}
    assert {field: shown.get(field) for field in defaults} == defaults
    timings = dict(re.findall(r"^\| `([a-z]+)` \| `([^`]+)` \|", read(name), re.MULTILINE))
    schedule = Schedule()
    assert timings == {"cycle": schedule.cycle, "sweep": schedule.sweep, "reconcile": schedule.reconcile}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_leads_somewhere(name: str) -> None:
    text, dead = read(name), []
    for link in re.findall(r"\]\((?!https?://)([^)\s]+)\)", text):
        file, _, anchor = link.partition("#")
        target = (ROOT / name).parent / file if file else ROOT / name
        if not target.exists() or (anchor and anchor not in anchors(target.read_text("utf-8"))):
            dead.append(link)
    assert dead == []


@pytest.mark.parametrize("pair", [READMES, OPERATIONS], ids=["README", "operations"])
def test_both_languages_have_the_same_parts(pair: dict[str, str]) -> None:
    assert shape(read(pair["ja"])) == shape(read(pair["en"]))


@pytest.mark.parametrize("name", sorted(READMES.values()))
def test_the_code_map_names_what_is_there(name: str) -> None:
    [map_] = re.findall(r"```\n(core/ .*?)```", read(name), re.DOTALL)
    inside = map_[map_.index("\nsync/") : map_.index("\nsandbox/")]
    words = set(re.findall(r"\b[a-z]+\b", re.sub(r"`[^`]+`", "", inside)))
    modules = {path.stem for path in (ROOT / "sync").iterdir() if path.suffix == ".py" or path.is_dir()}
    folders = re.findall(r"^([a-z]+)/|(?<= )((?:tests/)?[a-z]+)/(?= )", map_, re.MULTILINE)
    assert len(words & modules) > 30
    parents = (ROOT, ROOT / "sync", ROOT / "sync" / "state", ROOT / "core", ROOT / "sandbox")
    named = [one or other for one, other in folders]
    assert [folder for folder in named if not any((parent / folder).is_dir() for parent in parents)] == []


def test_the_changelog_has_an_unreleased_part() -> None:
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_lock_files_name_no_address() -> None:
    for name in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / name).read_text("utf-8")
        assert "http" not in text
        packages = re.findall(r"^[a-z0-9][^=\n]*==", text, re.MULTILINE)
        assert len(packages) > 20
        assert text.count("--hash=sha256:") >= len(packages)
    for path in (ROOT / "tests" / "js").glob("*/package-lock.json"):
        assert '"resolved"' not in path.read_text("utf-8"), path
