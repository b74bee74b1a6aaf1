"""Loading hands every row of every block to the right door, parents first, and stops when told to."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from sandbox.market import Block, simulate
from sandbox.market.load import load_block, load_market, load_records
from tests.sandbox.market.gather import NOW


class RecordingSalesforce:
    def __init__(self) -> None:
        self.rows: Counter[str] = Counter()
        self.ids: set[object] = set()

    def load(self, sobject: str, rows: Iterable[dict[str, object]]) -> None:
        for row in rows:
            self.rows[sobject] += 1
            for parent in ("AccountId", "OpportunityId", "CampaignId", "LeadId", "ContactId", "WhoId"):
                assert row.get(parent) is None or row[parent] in self.ids, (sobject, parent)
            self.ids.add(row["Id"])


class RecordingHubSpot:
    def __init__(self) -> None:
        self.rows: Counter[str] = Counter()
        self.ids: Counter[str] = Counter()

    def load(self, object_type: str, rows: Iterable[dict[str, Any]]) -> None:
        self.rows[object_type] += len(list(rows))

    def load_associations(self, from_type: str, to_type: str, rows: Iterable[tuple[int, int, int]]) -> None:
        assert self.rows[from_type]
        assert self.rows[to_type]
        self.rows["associations"] += len(list(rows))

    def __getattr__(self, name: str) -> Callable[[Iterable[dict[str, Any]]], None]:
        if not name.startswith("load_"):
            raise AttributeError(name)

        def load(rows: Iterable[dict[str, Any]]) -> None:
            self.rows[name.removeprefix("load_")] += len(list(rows))

        return load


def test_every_row_arrives() -> None:
    market = simulate(4, 1_200, NOW)
    expected = sum(block.count() for block in market.blocks())
    salesforce, hubspot = RecordingSalesforce(), RecordingHubSpot()
    heard: list[int] = []
    assert load_market(market, salesforce, hubspot, lambda done, wanted: (heard.append(done), wanted == 1_200)[1])  # type: ignore[func-returns-value]
    assert salesforce.rows.total() + hubspot.rows.total() == expected
    assert heard == sorted(heard)
    assert heard[-1] == 1_200
    assert hubspot.rows["email_events"] > 1_000
    assert hubspot.rows["web_events"] > 1_000


def test_loading_stops_when_told_to() -> None:
    salesforce, hubspot = RecordingSalesforce(), RecordingHubSpot()
    assert not load_market(simulate(4, 3_000, NOW), salesforce, hubspot, lambda done, _: done < 1_000)
    assert hubspot.rows["contacts"] < 1_500
    assert not load_records(20_000, NOW, salesforce, hubspot, lambda *_: False)


def test_an_object_without_a_place_is_refused() -> None:
    block = Block()
    block.salesforce["Unknown__c"].append({"Id": "a00"})
    with pytest.raises(ValueError, match="Unknown__c"):
        load_block(block, RecordingSalesforce(), RecordingHubSpot())


def test_plain_records_are_distinct_and_in_the_past() -> None:
    salesforce, hubspot = RecordingSalesforce(), RecordingHubSpot()
    assert load_records(12_345, NOW, salesforce, hubspot)
    assert salesforce.rows == Counter({"Lead": 12_345})
    assert len(salesforce.ids) == 12_345
    assert hubspot.rows["contacts"] == 12_345
