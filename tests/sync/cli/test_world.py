"""The commands on a market that was really read, scored and written: what they say is so, and sums."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from core.records import DAY_MS
from sandbox import Sandbox
from sync.state import open_state
from sync.state import schema as t
from tests.sync.cli.rig import Said, configure, mikomi

MORNING = round(datetime(2026, 11, 20, 1, tzinfo=UTC).timestamp() * 1000)
"""10:00 in Tokyo, the market's first moment: the same people in the same bands on every run."""


class World:
    """A sandbox and an installation whose first sync is done."""

    def __init__(self, box: Sandbox, folder: Path) -> None:
        self.box = box
        self.config = configure(folder, box, language="en")
        self.folder = folder
        assert mikomi("setup", "--apply", "--config", self.config).code == 0
        self.first = mikomi("sync", "--config", self.config)
        assert self.first.code == 0, self.first

    def run(self, *arguments: str) -> Said:
        return mikomi(*arguments, "--config", self.config)

    def json(self, *arguments: str) -> Any:
        said = self.run(*arguments, "--json")
        assert said.code == 0, said
        return json.loads(said.out)

    def rows(self, table: Any) -> list[dict[str, Any]]:
        state = open_state(f"sqlite:///{self.folder / 'mikomi.sqlite3'}")
        with state.read() as connection:
            rows = [dict(row) for row in connection.execute(select(table)).mappings()]
        state.close()
        return rows


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with Sandbox(seed=3, people=90, limits=False, now_ms=MORNING) as box:
        yield World(box, tmp_path_factory.mktemp("world"))


def test_sync_says_what_it_did(world: World) -> None:
    assert "everyone was scored" in world.first.out
    assert re.search(r"read salesforce: [\d,]+ in ", world.first.out)
    people = len(world.rows(t.person))
    assert f"{people} people" in world.first.out


def test_the_explanation_of_everyone_sums_exactly(world: World) -> None:
    scores = {row["person_id"]: row for row in world.rows(t.score)}
    looked_at = sorted(scores)[:: max(1, len(scores) // 8)]
    for person in looked_at:
        explained = world.json("explain", f"#{person}")
        lines = [row["milli"] for row in explained["lines"] if row["kind"] not in ("dimension", "total")]
        assert sum(lines) == 1000 * explained["score"] == 1000 * scores[person]["total"]
        parts = {r["dimension"]: r["milli"] for r in explained["lines"] if r["kind"] == "dimension"}
        assert parts == {name: 1000 * explained[name] for name in ("fit", "engagement", "relationship")}
        assert explained["band"] == scores[person]["band"]
        assert not explained["outdated"]


def test_bands_of_all_kinds_are_explained(world: World) -> None:
    bands = {row["band"]: row["person_id"] for row in world.rows(t.score)}
    assert set(bands) == {"A", "B", "C", "D"}
    for band, person in bands.items():
        said = world.run("explain", f"#{person}")
        assert said.code == 0
        assert f"band {band}" in said.out


def test_the_printed_explanation_shows_the_sum(world: World) -> None:
    person = next(row for row in world.rows(t.score) if row["band"] == "A")
    said = world.run("explain", f"#{person['person_id']}")
    assert re.search(rf"Score +{person['total']} *\n", said.out), said.out
    assert "Offered" in said.out
    assert "Call by" in said.out
    assert "salesforce" in said.out


def test_everybody_in_band_a_may_be_found_by_address(world: World) -> None:
    found = 0
    for row in world.rows(t.person):
        if row["email"] and found < 5:
            said = world.run("explain", row["email"].upper())
            assert said.code in (0, 2)
            assert f"#{row['person_id']}" in said.out
            found += 1
    assert found == 5


def test_several_people_are_listed(world: World) -> None:
    names = [row["last_name"] for row in world.rows(t.person)]
    common = max(set(names) - {None}, key=names.count)
    assert names.count(common) > 1
    said = world.run("explain", common)
    assert said.code == 2
    assert f"{names.count(common)} people fit" in said.out
    assert "Next: mikomi explain" in said.out
    listed = json.loads(world.run("explain", common, "--json").out)["people"]
    assert len(listed) == names.count(common)


def test_nobody_is_one_message(world: World) -> None:
    said = world.run("explain", "nobody@nowhere.example")
    assert said.code == 2
    assert said.err.startswith("error: nobody here")
    assert "next:" in said.err


def test_as_of_a_day_before_anything_happened(world: World) -> None:
    person = next(row for row in world.rows(t.score) if row["band"] == "A")["person_id"]
    explained = world.json("explain", f"#{person}", "--as-of", "2001-01-01")
    assert (explained["score"], explained["band"], explained["handover"]) == (0, "D", None)
    assert explained["as_of"] == "2001-01-01T14:59:59.999000+00:00"


def test_as_of_today_is_now_and_a_moment_is_exact(world: World) -> None:
    person = next(row for row in world.rows(t.score) if row["band"] == "B")["person_id"]
    latest = max(datetime.now(UTC), datetime.fromtimestamp(max(r["as_of"] for r in world.rows(t.score)) / 1000, UTC))
    today = world.json("explain", f"#{person}", "--as-of", f"{latest + timedelta(hours=9):%Y-%m-%d}")
    assert timedelta(0) <= datetime.fromisoformat(today["as_of"]) - latest < timedelta(minutes=5)
    moment = world.json("explain", f"#{person}", "--as-of", "2026-01-31T12:30")
    assert moment["as_of"] == "2026-01-31T03:30:00+00:00"


def test_the_past_says_what_it_leaves_out(world: World) -> None:
    person = world.rows(t.score)[0]["person_id"]
    said = world.run("explain", f"#{person}", "--as-of", "2026-01-31")
    assert said.code == 0
    assert "what was known then" in said.out


@pytest.mark.parametrize("text", ["2999-01-01", "2999-01-01T00:00", "yesterday", "2026-13-01", ""])
def test_the_future_and_nonsense_are_refused(world: World, text: str) -> None:
    person = world.rows(t.score)[0]["person_id"]
    if not text:
        assert world.run("explain", f"#{person}", "--as-of", text).code == 0
        return
    said = world.run("explain", f"#{person}", "--as-of", text)
    assert said.code == 2
    assert "--as-of" in said.err


def test_a_sample_of_every_band(world: World) -> None:
    bands: dict[str, list[dict[str, Any]]] = world.json("sample")
    totals = {row["person_id"]: row["total"] for row in world.rows(t.score)}
    counts = {band: sum(row["band"] == band for row in world.rows(t.score)) for band in bands}
    assert list(bands) == ["A", "B", "C", "D"]
    for band, people in bands.items():
        assert len(people) == min(5, counts[band])
        for person in people:
            assert person["score"] == totals[person["person"]]
            assert person["band"] == band
            assert len(person["reasons"]) <= 3
        assert [p["priority"] for p in people] == sorted((p["priority"] for p in people), reverse=True)
    assert world.json("sample") == bands


def test_the_printed_sample(world: World) -> None:
    said = world.run("sample")
    assert said.code == 0
    assert said.out.index("Band A") < said.out.index("Band D")
    assert "mikomi explain" in said.out


def test_status_counts_what_is_there(world: World) -> None:
    document = world.json("status")
    scores = world.rows(t.score)
    assert document["bands"] == {band: sum(row["band"] == band for row in scores) for band in "ABCD"}
    assert document["runs"][-1]["outcome"] == "ok"
    done = {c["name"]: c["outbox"].get("task done", 0) for c in document["connections"]}
    assert sum(done.values()) == document["handovers"]["offered"]
    assert all("said" in ambiguity for ambiguity in document["ambiguities"])
    text = world.run("status")
    assert text.code == 0
    assert f"{len(world.rows(t.person))} people, stage all" in text.out


def test_looking_calls_no_crm_and_changes_nothing(world: World) -> None:
    calls, runs = world.box.calls(), world.rows(t.run)
    for command in (["status"], ["sample"], ["explain", "#1"]):
        world.run(*command)
    assert world.box.calls() == calls
    assert world.rows(t.run) == runs


def test_doctor_is_content(world: World) -> None:
    said = world.run("doctor")
    assert said.code == 0, said.out
    assert "Mikomi can work." in said.out
    document = world.json("doctor")
    assert set(document) == {"mikomi", "salesforce", "hubspot"}
    assert {s["kind"] for s in document["hubspot"]["signals"]} >= {"page_view", "inquiry"}


def test_setup_finds_everything_done(world: World) -> None:
    said = world.run("setup")
    assert said.code == 0
    assert "0 to create." in said.out
    assert "would be created" not in said.out


def test_a_changed_rulebook_is_shown_by_a_dry_run_only(world: World) -> None:
    rulebook = world.folder / "rulebook.yaml"
    before = rulebook.read_text("utf-8")
    outbox = world.rows(t.outbox)
    person = next(row for row in world.rows(t.score) if row["fit"] >= 20 and row["total"] < 80)
    try:
        rulebook.write_text(before.replace("points: 20\n    when", "points: 14\n    when", 1), "utf-8")
        explained = world.json("explain", f"#{person['person_id']}")
        assert explained["outdated"]
        said = world.run("sync", "--dry-run")
        assert said.code == 0, said
        assert "Dry run:" in said.out
        assert re.search(r"[1-9]\d* records would be updated", said.out), said.out
    finally:
        rulebook.write_text(before, "utf-8")
    assert world.rows(t.outbox) == outbox
    assert {row["digest"] for row in world.rows(t.score)} == {person["digest"]}


def test_json_of_a_quiet_sync(world: World) -> None:
    world.box.clock.advance(20 * 60)
    world.run("sync")
    world.box.clock.advance(20 * 60)
    report = world.json("sync")
    assert report["outcome"] == "ok"
    assert sum(system["write_calls"] for system in report["systems"].values()) == 0
    assert report["people_scored"] == 0
    assert max(abs(row["as_of"] - report["as_of"]) for row in world.rows(t.score)) < 2 * DAY_MS
