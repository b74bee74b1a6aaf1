"""Runs the command line in this process, and keeps golden texts."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from sandbox import Sandbox
from sync.cli.main import main

GOLDEN = Path(__file__).parent / "golden"


@dataclass(frozen=True, slots=True)
class Said:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str


def mikomi(*arguments: str | Path) -> Said:
    """`mikomi …` through its real entry, errors and exit codes included."""
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with (
        patch.object(sys, "argv", ["mikomi", *map(str, arguments)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    return Said(code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def spoken() -> Iterator[io.StringIO]:
    """What is printed in the block."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        yield out


def check_golden(name: str, text: str) -> None:
    """Compare with `golden/<name>.txt`; MIKOMI_GOLDEN=write writes it anew, for review in the diff."""
    path = GOLDEN / f"{name}.txt"
    plain = "".join(line.rstrip() + "\n" for line in text.splitlines())
    if os.environ.get("MIKOMI_GOLDEN") == "write":
        GOLDEN.mkdir(exist_ok=True)
        path.write_text(plain, "utf-8")
    assert plain == path.read_text("utf-8")


def configure(folder: Path, box: Sandbox, *, stage: str = "all", language: str = "en", initial: str = "all") -> Path:
    """Settings and rulebook for a sandbox, in `folder`; the settings file."""
    from core.rulebook import ADVISED, template_text

    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text(box.hubspot.token, "utf-8")
    secret = folder / "secret"
    secret.touch(mode=0o600)
    secret.write_text("sandbox-client-secret", "utf-8")
    admin = folder / "admin"
    admin.touch(mode=0o600)
    admin.write_text(box.salesforce_app.issue_token("admin@mikomi.example"), "utf-8")
    text = template_text(ADVISED).replace("initial: seed}", f"initial: {initial}}}")
    (folder / "rulebook.yaml").write_text(text, "utf-8")
    file = folder / "mikomi.yaml"
    file.write_text(
        f"""\
language: {language}
stage: {stage}
connections:
  salesforce:
    vendor: salesforce
    sandbox: true
    base_url: {box.salesforce.url}
    client_id: 3MVG9sandboxMikomiConnectedApp
    client_secret: {{file: {secret}}}
    setup_access_token: {{file: {admin}}}
  hubspot:
    vendor: hubspot
    sandbox: true
    base_url: {box.hubspot.url}
    token: {{file: {token}}}
    searches_per_second: 0
""",
        "utf-8",
    )
    return file
