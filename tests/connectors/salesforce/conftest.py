from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.connectors.salesforce.org import PracticeOrg


@pytest.fixture
def org(tmp_path: Path) -> Iterator[PracticeOrg]:
    org = PracticeOrg(tmp_path)
    yield org
    org.stop()
