"""Compiled texts in the user's cache folder: found again by the next process, taken from nobody else, never in the way."""

import json
import logging
import os
import re
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

KEPT = 16
"""So many rulebooks' texts stay."""

_NAME = re.compile(r"[0-9a-f]{16,64}-[0-9a-f]{16}\.json", re.ASCII)
_log = logging.getLogger(__name__)


def cache_folder() -> Path | None:
    """`mikomi` in `$CACHE_DIRECTORY` (systemd), else in `$XDG_CACHE_HOME` or `~/.cache`; None where there is no such place."""
    given = os.environ.get("CACHE_DIRECTORY", "").split(":")[0]
    places = (given, os.environ.get("XDG_CACHE_HOME", ""))
    found = next((Path(place) for place in places if Path(place).is_absolute()), None)
    if found is None:
        try:
            found = Path.home() / ".cache"
        except RuntimeError:
            return None
    return found / "mikomi" if found.is_absolute() else None


def _is_ours_alone(seen: os.stat_result) -> bool:
    return seen.st_uid == os.geteuid() and not seen.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def read_texts(file: Path) -> dict[str, str]:
    """Texts kept before; none where there are none, or where somebody else could have put others in their place."""
    try:
        with os.fdopen(os.open(file, os.O_RDONLY | os.O_NOFOLLOW), "rb") as kept:
            if not (_is_ours_alone(os.fstat(kept.fileno())) and _is_ours_alone(file.parent.lstat())):
                _log.warning("cache left alone: not ours alone", extra={"file": str(file)})
                return {}
            document = json.load(kept)
        if not isinstance(document, dict):
            raise TypeError("not an object")
        return {name: text for name, text in document.items() if isinstance(text, str)}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, RecursionError) as error:
        _log.warning("cache not readable", extra={"file": str(file), "cause": type(error).__name__})
        return {}


def write_texts(file: Path, texts: Mapping[str, str]) -> None:
    """Keep texts, whole or not at all. Where that fails (no room, no right), the next process compiles again."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _is_ours_alone(file.parent.lstat()):
            return  # whoever reads would not believe it
        with tempfile.TemporaryDirectory(dir=file.parent, prefix="new-") as apart:
            made = Path(apart) / file.name
            made.touch(mode=0o600)
            made.write_text(json.dumps(texts), "utf-8")
            made.replace(file)
        kept = (one for one in file.parent.iterdir() if _NAME.fullmatch(one.name))
        for old in sorted(kept, key=lambda one: one.stat().st_mtime)[:-KEPT]:
            old.unlink()
    except OSError as error:
        _log.info("cache not written", extra={"file": str(file), "cause": type(error).__name__})
