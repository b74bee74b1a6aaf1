"""Fields that an administrator deleted or hid: the run goes on with what is left, says it, and fills them when they come back."""

from collections.abc import Iterator

import pytest

from core.errors import CannotStart
from core.records import DAY_MS
from sync.state import open_state
from tests.sync.brakes.crm import Firm


@pytest.fixture
def firm() -> Iterator[Firm]:
    state = open_state("sqlite://")
    yield Firm(state, people=5)
    state.close()


def test_a_connection_that_was_never_set_up_does_not_start(firm: Firm) -> None:
    firm.crm.missing = ("field score",)
    with pytest.raises(CannotStart, match="field score") as caught:
        firm.sync()
    assert "mikomi setup" in caught.value.hint
    assert firm.crm.calls["read"] == 0


def test_a_field_of_ours_that_is_gone_is_left_out_and_named(firm: Firm) -> None:
    firm.sync()
    firm.crm.missing = ("field score",)
    firm.crm.download([1], times=3)
    report = firm.sync()
    assert report.outcome == "partial"
    (line,) = report.systems["salesforce"].lost
    assert "field score" in line
    assert "mikomi setup" in line
    assert line in report.systems["salesforce"].problems
    assert firm.crm.fields[firm.crm.ref(1)]["band"] == "A"


def test_a_field_that_came_back_is_filled_for_everybody(firm: Firm) -> None:
    firm.sync()
    firm.crm.missing = ("field score",)
    firm.sync()
    firm.crm.missing = ()
    firm.crm.fields.clear()
    report = firm.sync()
    assert report.outcome == "ok"
    assert len(firm.crm.fields) == 5
    firm.crm.fields.clear()
    firm.sync()
    assert firm.crm.fields == {}


def test_filling_a_field_again_is_no_mass_change(firm: Firm) -> None:
    firm.values["guards"] = {"least": 0}
    firm.grow_old()
    firm.crm.missing = ("field score",)
    firm.sync()
    firm.crm.missing = ()
    assert firm.sync().guards == []


def test_an_optional_source_that_is_lost_is_named_and_one_that_never_was_is_not(firm: Firm) -> None:
    firm.crm.lacking = ("lead.website",)
    assert firm.sync().systems["salesforce"].lost == []
    assert firm.crm.lenient is False
    firm.clock.at += DAY_MS
    firm.crm.lacking = ("lead.phone", "lead.website")
    report = firm.sync()
    assert firm.crm.lenient is True
    (line,) = report.systems["salesforce"].lost
    assert line.startswith("lead.phone")


def test_a_changed_mapping_is_looked_at_strictly_once(firm: Firm) -> None:
    firm.sync()
    firm.sync()
    assert firm.crm.lenient is True
    firm.values["connections"] = {
        "salesforce": {"vendor": "salesforce", "mapping": {"fields": {"lead": {"phone": "X"}}}}
    }
    firm.sync()
    assert firm.crm.lenient is False
