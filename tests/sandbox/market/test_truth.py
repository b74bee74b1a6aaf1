"""The truth file knows who is who and what became of them, and it says the same as the CRMs show."""

import gc
import json
import subprocess
import sys
import tracemalloc
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.market import Market, Truth, simulate
from sandbox.market.model import DAY
from tests.sandbox.market.gather import NOW, gather


def digest(market: Market) -> str:
    total = sha256()
    for block in market.blocks():
        document = {name: getattr(block, name) for name in block.__slots__ if name != "associations"}
        document["links"] = {"/".join(pair): links for pair, links in block.associations.items()}
        total.update(json.dumps(document, ensure_ascii=False, sort_keys=True).encode())
    return total.hexdigest()


def test_same_arguments_same_bytes() -> None:
    market = simulate(5, 400, NOW)
    first = digest(market)
    assert digest(market) == first
    assert digest(simulate(5, 400, NOW)) == first
    assert digest(simulate(6, 400, NOW)) != first
    assert digest(simulate(5, 400, NOW + DAY)) != first


def test_same_bytes_in_another_process() -> None:
    """Neither hash randomisation nor anything else of the process leaks in."""
    code = (
        "from tests.sandbox.market.test_truth import digest, simulate, NOW;"
        "import sys; sys.stdout.write(digest(simulate(5, 200, NOW)))"
    )
    found = [
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[3])},
        ).stdout
        for seed in ("1", "2")
    ]
    assert found[0] == found[1] == digest(simulate(5, 200, NOW))


@settings(max_examples=15, deadline=None)
@given(st.integers(min_value=-3, max_value=2**40), st.integers(min_value=0, max_value=60))
def test_any_seed_gives_exactly_the_people_asked_for(seed: int, people: int) -> None:
    market = simulate(seed, people, NOW)
    assert [person.id for person in market.truth.people()] == list(range(people))
    market.close()


def test_every_live_record_has_a_true_owner() -> None:
    rows = gather()
    truth = rows.market.truth
    for name in ("Lead", "Contact"):
        for row in rows.salesforce[name]:
            assert truth.person_of("salesforce", row["Id"]) is not None
    for row in rows.hubspot["contacts"]:
        assert truth.person_of("hubspot", str(row["id"])) is not None
    merged = {record.id: record for record in truth.records() if record.role == "merged"}
    for row in rows.hubspot["contacts"]:
        for old in filter(None, (row["properties"].get("hs_merged_object_ids") or "").split(";")):
            assert merged[old].survivor == str(row["id"])


def test_outcomes_in_the_crm_are_the_realised_ones() -> None:
    """A Lead is converted with an opportunity when, and only when, its person's opportunity has opened."""
    rows = gather()
    truth = rows.market.truth
    for row in rows.salesforce["Lead"]:
        if row["ConvertedOpportunityId"]:
            number = truth.person_of("salesforce", row["Id"])
            assert number is not None
            person = truth.person(number)
            assert person is not None
            assert person.opportunity_ms is not None
            assert person.opportunity_ms <= NOW
            assert person.chance(NOW, 90) == 0
    future = [p for p in truth.people() if p.opportunity_ms is not None and p.opportunity_ms > NOW]
    assert len(future) > 30
    assert all(p.chance(NOW, 400) > 0 for p in future)
    shown = {row["Id"]: row for row in rows.salesforce["Opportunity"]}
    deals = [deal for deal in truth.deals() if deal["salesforce_id"]]
    assert len(deals) == len(shown)
    for deal in deals:
        row = shown[deal["salesforce_id"]]
        assert row["IsClosed"] == (deal["closes_ms"] <= NOW - 3_600_000)
        assert row["IsWon"] == (row["IsClosed"] and bool(deal["won"]))


def test_channel_shares_from_the_truth_file() -> None:
    truth = gather().market.truth
    shares = truth.conversion_by_channel()
    assert set(shares) == {"inbound", "outbound", "trade_show"}
    assert shares["outbound"] < shares["trade_show"] < shares["inbound"]
    early = truth.conversion_by_channel(entered_before_ms=NOW - 365 * DAY)
    assert early["inbound"] == pytest.approx(shares["inbound"], abs=0.08)


def test_the_truth_of_a_record_as_a_document() -> None:
    rows = gather()
    row = rows.hubspot["contacts"][10]
    found = rows.market.truth.describe(str(row["id"]), NOW)
    assert found is not None
    assert 0 <= found["chance_90"] <= found["chance_180"] <= 1
    assert str(row["id"]) in {record["id"] for record in found["records"]}
    assert json.loads(json.dumps(found))["waves"][0]["chance"] == found["waves"][0]["chance"]
    assert rows.market.truth.describe("nobody", NOW) is None


def test_the_truth_file_can_be_read_by_another_process(tmp_path: Path) -> None:
    path = str(tmp_path / "truth.sqlite3")
    market = simulate(2, 100, NOW, truth_path=path)
    assert market.truth.coefficients()["INTENT"] == 1.1
    market.close()
    again = Truth(path)
    assert len(list(again.people())) == 100
    again.close()


def test_a_large_market_takes_no_more_memory_than_a_small_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sandbox.market.market.PEOPLE_PER_BLOCK", 60)

    def measure(people: int) -> int:
        market = simulate(8, people, NOW, activities=5, truth_path=str(tmp_path / f"{people}.sqlite3"))
        tracemalloc.start()
        for _ in market.blocks():
            pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        market.close()
        return peak

    usual = gc.get_threshold()
    gc.set_threshold(700, 10, 10)  # Python's own: what is left lying counts, and the test run collects seldom
    try:
        measure(300)  # fills the caches
        assert measure(1_200) < 1.5 * measure(300)
    finally:
        gc.set_threshold(*usual)


def test_options_out_of_range_are_refused() -> None:
    for wrong in ({"both": 1.5}, {"noise": 1.0}, {"activities": -1.0}, {"history_days": 5}):
        with pytest.raises(ValueError, match=r"must|between"):
            simulate(1, 10, NOW, **wrong)
    with pytest.raises(ValueError, match="people"):
        simulate(1, -1, NOW)


def test_shares_follow_the_options() -> None:
    market = simulate(3, 600, NOW, both=1.0, linked=0.0, activities=5)
    people = list(market.truth.people())
    assert not any(person.linked for person in people)
    systems = {(record.person, record.system) for record in market.truth.records()}
    assert len(systems) == 1200
    acts = sum(len(person.acts) for household in market.households() for person in household.people)
    assert 4 < acts / 600 < 10
    silent = simulate(3, 50, NOW, activities=0)
    assert not any(person.acts for household in silent.households() for person in household.people)
