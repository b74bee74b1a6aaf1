"""Private files that are whole or not there: written under a scratch name, made durable, then given their own."""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SCRATCH = ".mikomi-scratch-"


@contextmanager
def scratch_file(folder: Path) -> Iterator[Path]:
    """An empty file of mode 0600, removed at the end with what a database put beside it.

    What killed processes left in the folder may hold personal data: it is removed first.
    """
    for left in folder.glob(f"{_SCRATCH}*"):
        owner = re.match(rf"{re.escape(_SCRATCH)}([0-9]+)-", left.name)
        if owner is not None and not _is_running(int(owner.group(1))):
            left.unlink(missing_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f"{_SCRATCH}{os.getpid()}-", dir=folder)
    os.close(descriptor)
    path = Path(name)
    try:
        yield path
    finally:
        for end in ("", "-wal", "-shm", "-journal"):
            Path(f"{path}{end}").unlink(missing_ok=True)


def publish(scratch: Path, path: Path, *, replace: bool = False) -> None:
    """Give a scratch file its name, durably.

    Raises:
        FileExistsError: there is such a file, and `replace` is false.
    """
    with scratch.open("rb") as file:
        os.fsync(file.fileno())
    if replace:
        scratch.replace(path)
    else:
        os.link(scratch, path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # somebody else's process
    return True
