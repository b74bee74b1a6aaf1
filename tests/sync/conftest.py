from collections.abc import Iterator

import pytest

from sync.settings import Settings
from sync.state import State, open_state
from tests.sync.databases import database, postgresql, spare

__all__ = ["database", "postgresql", "spare"]  # fixtures


@pytest.fixture
def state(database: str) -> Iterator[State]:
    opened = open_state(database)
    yield opened
    opened.close()


@pytest.fixture
def settings() -> Settings:
    return Settings(connections={"salesforce": {"vendor": "salesforce"}, "hubspot": {"vendor": "hubspot"}})
