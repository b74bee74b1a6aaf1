"""Of the whole test run: the watch over what it logs."""

import pytest

from tests.canary import Canary


def pytest_configure(config: pytest.Config) -> None:
    canary = Canary()
    config.pluginmanager.register(canary, "canary")
    config.stash[CANARY] = canary


CANARY = pytest.StashKey[Canary]()


@pytest.fixture(scope="session")
def canary(request: pytest.FixtureRequest) -> Canary:
    """The watch, for tests that add what must not be seen."""
    return request.config.stash[CANARY]
