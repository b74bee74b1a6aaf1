"""A connector that has not signed the contract does not ship."""

import importlib

import pytest

import connectors
from tests.contract.connector_contract import ConnectorContract


def test_there_are_connectors() -> None:
    assert {"salesforce", "hubspot"} <= set(connectors.names())


@pytest.mark.parametrize("vendor", connectors.names())
def test_every_vendor_signed_the_contract(vendor: str) -> None:
    module = importlib.import_module(f"tests.contract.test_{vendor}")
    signed = [
        thing
        for name, thing in vars(module).items()
        if isinstance(thing, type) and issubclass(thing, ConnectorContract) and name.startswith("Test")
    ]
    assert signed, f"tests/contract/test_{vendor}.py has no Test class that subclasses ConnectorContract"
