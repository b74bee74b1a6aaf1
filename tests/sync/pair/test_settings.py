"""The `pair:` block: what is refused, and what follows from it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from core.errors import InvalidSettings
from sync.pair import check_pair, connection_section, copied_activities, silent_system, task_system
from sync.planning import written_fields
from sync.settings import Loaded, load_settings

PAIR = {"salesforce": "sf", "hubspot": "hs"}


def load(folder: Path, **more: Any) -> Loaded:
    connections = {"sf": {"vendor": "salesforce"}, "hs": {"vendor": "hubspot"}}
    text = yaml.safe_dump({"connections": connections, "pair": PAIR, **more})
    (folder / "mikomi.yaml").write_text(text, "utf-8")
    return load_settings(folder / "mikomi.yaml")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"pair": {"salesforce": "crm", "hubspot": "hs"}}, "pair.salesforce: 'crm' is no salesforce connection"),
        ({"pair": {"salesforce": "hs", "hubspot": "sf"}}, "no salesforce connection"),
        ({"pair": {**PAIR, "hubspot": "sf"}}, "no hubspot connection"),
        ({"pair": {**PAIR, "tasks": "fax"}}, "pair.tasks: 'fax' is no connection of the pair"),
        (
            {"pair": {**PAIR, "tasks": "hs"}, "tasks": {"systems": ["sf"]}},
            "tasks.systems: sf contradicts pair.tasks, which is hs",
        ),
        (
            {"connections": {"sf": {"vendor": "salesforce"}, "hs": {"vendor": "hubspot", "linked_system": None}}},
            "contradicts the pair",
        ),
    ],
)
def test_a_pair_that_cannot_be_is_refused_with_its_line(tmp_path: Path, more: dict[str, Any], words: str) -> None:
    loaded = load(tmp_path, **more)
    with pytest.raises(InvalidSettings, match=words) as caught:
        check_pair(loaded)
    assert "mikomi.yaml:" in str(caught.value)


def test_links_tasks_and_copies_follow_from_the_pair(tmp_path: Path) -> None:
    settings = load(tmp_path).settings
    check_pair(load(tmp_path))
    assert connection_section(settings, "hs")["linked_system"] == "sf"
    assert "linked_system" not in connection_section(settings, "sf")
    assert (task_system(settings), silent_system(settings)) == ("sf", "hs")
    assert copied_activities(settings.pair) == {"sf": "hs"}
    handover = {"handover_no", "handover_state", "handed_over_at"}
    fields = written_fields(settings)
    assert fields["sf"] - fields["hs"] == handover
    assert "score" in fields["hs"]


@pytest.mark.parametrize(
    ("more", "tasks"),
    [
        ({"pair": {**PAIR, "tasks": "hs"}}, "hs"),
        ({"tasks": {"systems": ["hs"]}}, "hs"),
        ({"tasks": {"systems": ["hs", "sf"]}}, "hs"),
        ({"pair": {**PAIR, "tasks": "sf"}, "tasks": {"systems": ["hs", "sf"]}}, "sf"),
    ],
)
def test_where_tasks_stand(tmp_path: Path, more: dict[str, Any], tasks: str) -> None:
    loaded = load(tmp_path, **more)
    check_pair(loaded)
    assert task_system(loaded.settings) == tasks


def test_without_a_pair_nothing_changes(tmp_path: Path) -> None:
    loaded = load(tmp_path, pair=None)
    check_pair(loaded)
    settings = loaded.settings
    assert connection_section(settings, "hs") is settings.connections["hs"]
    assert (task_system(settings), silent_system(settings), copied_activities(None)) == (None, None, {})
    assert len(set(written_fields(settings).values())) == 1
