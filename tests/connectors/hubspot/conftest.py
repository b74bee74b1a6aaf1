from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.connectors.hubspot.practice import PracticePortal


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[PracticePortal]:
    portal = PracticePortal(tmp_path)
    yield portal
    portal.stop()
