"""What the README says is what the program does: configuration, commands, make targets."""

import re
from pathlib import Path

import pytest

from sync.cli.starter import settings_text

ROOT = Path(__file__).resolve().parents[2]
READMES = {"en": "README.md", "ja": "README.ja.md"}


@pytest.mark.parametrize("language", sorted(READMES))
def test_the_configuration_shown_is_what_init_writes(language: str) -> None:
    text = (ROOT / READMES[language]).read_text("utf-8")
    shown = re.findall(r"```yaml\n(.*?)\n```", text, re.DOTALL)
    assert settings_text(language).rstrip() in shown


@pytest.mark.parametrize("name", sorted(READMES.values()))
def test_every_command_and_target_is_documented(name: str) -> None:
    from typer.main import get_command

    from sync.cli.main import app

    text = (ROOT / name).read_text("utf-8")
    commands = get_command(app).commands  # type: ignore[attr-defined]
    assert [c for c in commands if f"mikomi {c}" not in text] == []
    assert [target for target in ("make demo", "make test", "make bench") if target not in text] == []
    assert "@@" not in text


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
