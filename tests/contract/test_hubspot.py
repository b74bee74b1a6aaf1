"""HubSpot signs the contract, over real HTTP against the emulator."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.connectors.hubspot.practice import PracticePortal
from tests.contract.connector_contract import ConnectorContract


class TestHubSpot(ConnectorContract):
    @pytest.fixture
    def crm(self, tmp_path: Path) -> Iterator[PracticePortal]:
        portal = PracticePortal(tmp_path)
        yield portal
        portal.stop()
