"""Salesforce signs the contract, over real HTTP against the emulator."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.connectors.salesforce.org import PracticeOrg
from tests.contract.connector_contract import ConnectorContract


class TestSalesforce(ConnectorContract):
    @pytest.fixture
    def crm(self, tmp_path: Path) -> Iterator[PracticeOrg]:
        org = PracticeOrg(tmp_path)
        yield org
        org.stop()
