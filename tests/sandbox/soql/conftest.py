from collections.abc import Iterator

import pytest

from tests.sandbox.soql.store import Org, open_org


@pytest.fixture
def org() -> Iterator[Org]:
    opened = open_org()
    yield opened
    opened.connection.close()
