from collections.abc import Iterator
from pathlib import Path

import pytest

from sync.settings import Settings
from sync.state import State, open_state


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    opened = open_state(f"sqlite:///{tmp_path}/state.sqlite3")
    yield opened
    opened.close()


@pytest.fixture
def settings() -> Settings:
    return Settings(connections={"salesforce": {"vendor": "salesforce"}, "hubspot": {"vendor": "hubspot"}})
