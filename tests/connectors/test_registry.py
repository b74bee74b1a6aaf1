"""Opening a connection by name: vendors are folders, wrong settings are one clear message."""

import subprocess
import sys
from zoneinfo import ZoneInfo

import pytest

from connectors import names, open_connector
from connectors.mapping import Usage
from core.errors import InvalidSettings

TOKYO = ZoneInfo("Asia/Tokyo")


def opened(settings: dict[str, object], name: str = "crm") -> object:
    return open_connector(name, settings, zone=TOKYO, usage=Usage())


def test_the_known_vendors() -> None:
    assert "salesforce" in names()


def test_an_unknown_vendor_lists_the_known_ones() -> None:
    with pytest.raises(InvalidSettings, match=r"unknown vendor 'pipedrive'.*salesforce") as caught:
        opened({"vendor": "pipedrive"})
    assert caught.value.place == "connections.crm.vendor"
    assert caught.value.exit_code == 2


def test_a_connection_named_like_its_vendor_needs_none() -> None:
    with pytest.raises(InvalidSettings, match="client_credentials needs client_id"):
        opened({}, name="salesforce")


def test_unknown_keys_and_wrong_values_are_named_together() -> None:
    with pytest.raises(InvalidSettings) as caught:
        opened({"vendor": "salesforce", "page_sise": 3, "page_size": 5, "client_id": "x"})
    assert caught.value.problem.splitlines() == [
        "page_size: must be a whole number from 200 to 2000",
        "page_sise: unknown key; did you mean 'page_size'?",
    ]


def test_a_secret_in_the_settings_is_not_repeated() -> None:
    with pytest.raises(InvalidSettings) as caught:
        opened({"vendor": "salesforce", "client_id": "x", "client_secret": "hunter2"})
    assert "hunter2" not in f"{caught.value} {caught.value!r} {caught.value.__cause__!r}"
    assert "client_secret" in str(caught.value)


def test_the_front_door_opens_without_any_sdk() -> None:
    code = (
        "import sys, connectors; print([m for m in ('simple_salesforce', 'hubspot', 'requests') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
