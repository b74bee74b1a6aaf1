"""Of the whole test run: where its files go, and the watch over what it logs."""

import gc
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.canary import Canary
from tests.compile_once import share_compiled_statements

MEMORY = Path("/dev/shm")
ROOM = 4_000_000_000

CANARY = pytest.StashKey[Canary]()
CACHE = pytest.StashKey["tempfile.TemporaryDirectory[str]"]()


def pytest_configure(config: pytest.Config) -> None:
    _write_to_memory()
    if "PYTEST_XDIST_WORKER" not in os.environ:
        config.stash[CACHE] = folder = tempfile.TemporaryDirectory(prefix="cache-")
        os.environ["XDG_CACHE_HOME"] = folder.name  # of all workers, and of the processes that they start
        os.environ.pop("CACHE_DIRECTORY", None)
    share_compiled_statements()
    canary = Canary()
    config.pluginmanager.register(canary, "canary")
    config.stash[CANARY] = canary


def _write_to_memory() -> None:
    """Thousands of small databases are flushed at every commit: where there is room they live in memory, as nothing here asks
    whether a disk keeps what it was given.
    """
    if "TMPDIR" not in os.environ and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM:
        os.environ["TMPDIR"] = str(MEMORY)
        tempfile.tempdir = None


def pytest_collection_finish() -> None:
    """Some hundred thousand objects live until the end: the collector need not look at them again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def pytest_sessionfinish() -> None:
    gc.unfreeze()  # libraries written with nanobind call what is left at the end leaked


def pytest_unconfigure(config: pytest.Config) -> None:
    if folder := config.stash.get(CACHE, None):
        folder.cleanup()


@pytest.fixture(scope="session")
def canary(request: pytest.FixtureRequest) -> Canary:
    """The watch, for tests that add what must not be seen."""
    return request.config.stash[CANARY]
