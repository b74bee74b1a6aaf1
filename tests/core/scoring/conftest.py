from collections.abc import Iterator

import pytest

from sync.engine.session import Session


@pytest.fixture(scope="session")
def session() -> Iterator[Session]:
    session = Session(memory_limit="512MB", threads=1)
    yield session
    session.close()
