"""What the audit log and the log say of whole runs: every write, every change of settings and rules, and no person."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.rulebook import load_rulebook, template_text
from core.yamltext import read_source
from sandbox import Sandbox
from sync import audit
from sync.changes import flatten_settings, note_changes
from sync.settings import Settings
from sync.state import State
from sync.state import schema as t
from tests.canary import ADDRESS
from tests.sync.cli.rig import mikomi
from tests.sync.practice import MORNING_MS, Practice, control

RULES = template_text("b2b-japan-standard")


def rows(state: State, **filters: Any) -> list[dict[str, Any]]:
    with state.read() as connection:
        return [dict(row) for row in audit.look(connection, limit=10_000, **filters)]


# --- settings and rules ------------------------------------------------------------------------------------------------


def settings_with(**more: Any) -> Settings:
    return Settings(**({"connections": {"hubspot": {"vendor": "hubspot", "token": {"env": "TOKEN"}}}} | more))


def test_the_first_run_notes_what_it_begins_with_and_a_quiet_one_nothing(state: State) -> None:
    rulebook = load_rulebook(RULES, source="rulebook.yaml")
    note_changes(state, settings_with(), rulebook)
    found = rows(state)
    assert [(row["action"], row["subject"], row["old"]) for row in found] == [
        ("stage", "settings", None),
        ("config", "settings", None),
        ("rulebook", "rulebook", None),
    ]
    assert found[1]["new"]["connections.hubspot.token.env"] == "TOKEN"
    assert found[2]["new"]["name"] == rulebook.name
    note_changes(state, settings_with(), rulebook)
    assert len(rows(state)) == 3


def test_changes_are_noted_key_by_key(state: State) -> None:
    rulebook = load_rulebook(RULES, source="rulebook.yaml")
    note_changes(state, settings_with(), rulebook)
    note_changes(state, settings_with(stage="fields", deliver={"delta": 5}, signals={"call": "hubspot"}), rulebook)
    assert [(row["action"], row["old"], row["new"]) for row in rows(state)[3:]] == [
        ("stage", {"stage": "observe"}, {"stage": "fields"}),
        ("config", {"deliver.delta": 3, "signals": {}}, {"deliver.delta": 5, "signals.call": "hubspot"}),
    ]


def test_changed_rules_are_named(state: State) -> None:
    document: Any = read_source(RULES).value
    note_changes(state, settings_with(), load_rulebook(RULES, source="rulebook.yaml"))
    gone = document["rules"].pop()
    first = next(rule for rule in document["rules"] if isinstance(rule.get("points"), int))
    first["points"] = first["points"] - 1
    document["bands"]["A"]["total"] += 1
    changed = yaml.safe_dump(document, allow_unicode=True)
    note_changes(state, settings_with(), load_rulebook(changed, source="rulebook.yaml"))
    [noted] = rows(state)[3:]
    assert (noted["action"], noted["why"]) == ("rulebook", "other numbers")
    assert noted["new"]["rules changed"] == [first["id"]]
    assert noted["new"]["rules removed"] == [gone["id"]]
    assert "bands" in noted["new"]["parts changed"]
    assert noted["old"]["digest"] != noted["new"]["digest"]


def note_rules(state: State, change: Callable[[Any], object]) -> dict[str, Any]:
    """What is noted where a rulebook was in force and is changed."""
    document: Any = read_source(RULES).value
    note_changes(state, settings_with(), load_rulebook(RULES, source="rulebook.yaml"))
    before = len(rows(state))
    change(document)
    text = yaml.safe_dump(document, allow_unicode=True)
    note_changes(state, settings_with(), load_rulebook(text, source="rulebook.yaml"))
    [noted] = rows(state)[before:]
    return noted


def a_rule(document: Any, name: str) -> Any:
    return next(rule for rule in document["rules"] if rule["id"] == name)


def values(noted: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """From what to what, without the digests and lists that name the whole."""
    keys = [key for key in {*noted["old"], *noted["new"]} if key not in {"digest", "text"} and " " not in key]
    return {key: (noted["old"].get(key), noted["new"].get(key)) for key in keys}


NUMBERS, HANDOVER, WORDING = (
    "other numbers",
    "another hand-over, the same numbers",
    "other wording, the same numbers",
)


@pytest.mark.parametrize(
    ("change", "changed", "why"),
    [
        (
            lambda d: a_rule(d, "decision-maker").update(points=7.5),
            {"rules.decision-maker.points": (20, "7.5")},
            NUMBERS,
        ),
        (lambda d: d["bands"]["A"].update(total=85), {"bands.A.total": (80, 85)}, NUMBERS),
        (
            lambda d: a_rule(d, "company-size")["bins"][1].update(below=90),
            {"rules.company-size.bins.2.below": (100, 90)},
            NUMBERS,
        ),
        (
            lambda d: d["handover"].update(band="C", recent="900d", rearm_below=9, initial={"drain": 5}),
            {
                "handover.band": ("A", "C"),
                "handover.recent": (14, 900),
                "handover.rearm_below": (70, 9),
                "handover.initial": ("seed", None),
                "handover.initial.drain": (None, 5),
            },
            HANDOVER,
        ),
        (lambda d: d["handover"].update(name="field-sales"), {"handover.name": ("sales", "field-sales")}, HANDOVER),
        (lambda d: d["surge"].update(points=99), {"surge.points": (30, 99)}, HANDOVER),
        (
            lambda d: a_rule(d, "decision-maker")["label"].update(en="Boss"),
            {"rules.decision-maker.label.en": (audit.digest("Decision-maker title"), audit.digest("Boss"))},
            WORDING,
        ),
        (
            lambda d: (a_rule(d, "decision-maker")["label"].update(en="Boss"), d["surge"].update(points=99)),
            {
                "rules.decision-maker.label.en": (audit.digest("Decision-maker title"), audit.digest("Boss")),
                "surge.points": (30, 99),
            },
            HANDOVER,
        ),
        (lambda d: d["rules"].reverse(), {}, "another order, the same numbers"),
    ],
)
def test_old_and_new_of_every_changed_rule(
    state: State, change: Callable[[Any], object], changed: dict[str, tuple[Any, Any]], why: str
) -> None:
    noted = note_rules(state, change)
    assert (values(noted), noted["why"]) == (changed, why)


def test_rules_that_come_and_go_are_kept_whole(state: State) -> None:
    fresh = {"id": "label", "dimension": "fit", "points": 3, "when": {"field": "company", "contains": "鳴海 花梨"}}
    words = {"en": "New"}

    def change(document: Any) -> None:
        document["rules"] = [rule for rule in document["rules"] if rule["id"] != "company-size"]
        document["rules"].append(fresh | {"label": words})

    noted = note_rules(state, change)
    assert (noted["new"]["rules added"], noted["new"]["rules removed"]) == (["label"], ["company-size"])
    found = values(noted)
    assert found["rules.label.points"] == (None, 3)
    assert found["rules.label.label.en"] == (None, audit.digest("New"))
    assert found["rules.label.when.field"] == (None, "company")
    assert found["rules.label.when.contains"] == (None, [audit.digest("鳴海 花梨")])
    assert found["rules.company-size.bins.4.points"] == (10, None)
    assert "鳴海" not in json.dumps(noted, ensure_ascii=False)


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("sqlite:///mikomi.sqlite3", "sqlite:///mikomi.sqlite3"),
        ("sqlite:///mikomi.sqlite3?password=hunter2", "sqlite:///mikomi.sqlite3"),
        ("postgresql://mikomi:hunter2@db.example/mikomi", "postgresql://db.example/mikomi"),
        ("postgresql:///mikomi?host=/run/pg&user=u&password=hunter2", "postgresql:///mikomi"),
    ],
)
def test_where_the_state_is_is_noted_without_what_opens_it(url: str, kept: str) -> None:
    assert flatten_settings(settings_with(state=url))["state"] == kept


def test_people_and_secrets_in_settings_are_not_shown() -> None:
    found = flatten_settings(
        settings_with(
            state="postgresql://mikomi:hunter22@db.example/x",
            tasks={"fallback_owner": {"hubspot": ADDRESS}},
            connections={
                "crm": {"vendor": "salesforce", "username": ADDRESS, "client_secret": "written out", "token": "x"}
            },
        )
    )
    text = json.dumps(found)
    assert ADDRESS not in text
    assert "hunter22" not in text
    assert "written out" not in text
    assert found["connections.crm.client_secret"] == found["connections.crm.token"] == "hidden"


# --- writes --------------------------------------------------------------------------------------------------------------


def test_every_write_is_in_the_log_before_and_after(tmp_path: Path, database: str) -> None:
    with Sandbox(seed=3, people=40, now_ms=MORNING_MS) as box:
        practice = Practice(box, tmp_path, stage="all", state=database)
        practice.setup()
        url = box.salesforce.url
        control(url, "POST", "faults", {"kind": "drop_after", "method": "POST", "path": "composite", "skip": 3})
        for _ in range(3):
            practice.sync()
            practice.wait(900)
        with practice.state() as state:
            found = rows(state)
            with state.read() as connection:
                assert audit.verify(connection).intact
        written = practice.rows(t.acknowledged)
        tasks = {task["Mikomi_Key__c"] for task in practice.salesforce_tasks()}
        tasks |= {task["properties"]["mikomi_key"] for task in practice.hubspot_tasks()}
        texts = json.dumps(found, ensure_ascii=False)
        reasons = {row["values"]["reasons"] for row in written if row["values"].get("reasons")}
        names = {row["fields"].get("last_name", "") for row in practice.rows(t.record)} - {""}
    claimed = {row["new"]["write"]: row for row in found if row["action"] in {"write-fields", "create-task"}}
    confirmed = {row["new"]["write"] for row in found if row["action"] in {"confirmed", "found"}}
    assert confirmed <= claimed.keys()
    assert {f"{row['system']}/{row['kind']}/{row['id']}" for row in written} <= {
        claimed[write]["subject"] for write in confirmed
    }
    assert tasks
    assert tasks <= {row["new"].get("key") for row in claimed.values()}
    assert all(row["why"] for row in found)
    assert reasons
    assert not [text for text in reasons if text in texts]
    assert not [name for name in names if f'"{name}"' in texts]
    assert not re.search(r"[\w.]+@[\w.]+", texts)
    latest = {row["subject"]: row for row in claimed.values() if row["action"] == "write-fields"}
    for row in written:
        noted = latest[f"{row['system']}/{row['kind']}/{row['id']}"]["new"]
        assert all(row["values"][name] == noted[name] for name in ("score", "band") if name in noted)


def test_who_typed_a_sync_is_named(tmp_path: Path, database: str) -> None:
    with Sandbox(seed=3, people=8, now_ms=MORNING_MS) as box:
        practice = Practice(box, tmp_path, stage="fields", state=database)
        practice.setup()
        assert mikomi("sync", "-c", practice.config_file).code == 0
        with practice.state() as state:
            by_hand = rows(state)
        practice.write_config(deliver={"delta": 5})
        practice.sync()  # as the service does it
        with practice.state() as state:
            by_itself = rows(state)[len(by_hand) :]
    assert {row["action"] for row in by_hand} >= {"config", "rulebook", "stage", "write-fields", "confirmed"}
    assert {row["actor"] for row in by_hand} == {audit.operator()}
    assert {(row["action"], row["actor"]) for row in by_itself} >= {("config", audit.OURSELVES)}


# --- the command ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    document = {"language": "en", "connections": {"hubspot": {"vendor": "hubspot"}}}
    (tmp_path / "mikomi.yaml").write_text(yaml.safe_dump(document), "utf-8")
    from sync.state import open_state

    state = open_state(f"sqlite:///{tmp_path / 'mikomi.sqlite3'}")
    with state.begin() as connection:
        old, new = {"score": 40, "band": "C"}, {"write": "1.1.0", "score": 82, "band": "A"}
        audit.note_many(
            connection,
            [
                audit.Note("write-fields", "hubspot/contact/1", "band C → A", old=old, new=new, at=MORNING_MS),
                audit.Note("confirmed", "hubspot/contact/1", "the CRM took it", new={"write": "1.1.0"}, at=MORNING_MS),
                audit.Note(
                    "write-fields", "hubspot/contact/2", "x", new={"write": "2.1.0", "score": 1}, at=MORNING_MS + 1
                ),
                audit.Note("pause", "hubspot", "holidays\x1b[31m", actor="user sato", at=MORNING_MS + 2),
            ],
        )
    state.close()
    return tmp_path


def test_the_command_shows_entries_with_their_outcome(folder: Path) -> None:
    said = mikomi("log", "-c", folder / "mikomi.yaml")
    assert said.code == 0
    first, change, second, _, third, _ = said.out.splitlines()
    assert re.search(r"2026-11-24 10:00:00 +mikomi +write-fields +hubspot/contact/1 +done$", first)
    assert "band C → A, score 40 → 82" in change
    assert "it may have happened" in second
    assert "user sato" in third
    assert "\x1b" not in said.out


def test_the_command_shows_changed_rules_a_line_each(folder: Path) -> None:
    from sync.state import open_state

    state = open_state(f"sqlite:///{folder / 'mikomi.sqlite3'}")

    def change(document: Any) -> None:
        a_rule(document, "decision-maker").update(points=7)
        document["handover"]["recent"] = "900d"

    note_rules(state, change)
    state.close()
    said = mikomi("log", "-c", folder / "mikomi.yaml", "--action", "rulebook", "--limit", "1")
    lines = [line.strip() for line in said.out.splitlines()]
    assert lines[1:6] == [
        "other numbers",
        'parts changed ["handover"]',
        'rules changed ["decision-maker"]',
        "handover.recent 14 → 900",
        "rules.decision-maker.points 20 → 7",
    ]
    assert [line.partition(" ")[0] for line in lines[6:]] == ["digest", "text"]


def test_the_command_filters(folder: Path) -> None:
    def count(*options: str) -> int:
        said = mikomi("log", "-c", folder / "mikomi.yaml", "--json", *options)
        return len(json.loads(said.out)["entries"])

    assert count() == 4
    assert count("hubspot/contact/1") == 2
    assert count("--action", "write") == 2
    assert count("--since", "2026-11-24") == 4
    assert count("--since", "2026-11-25") == 0
    assert count("--limit", "1") == 1
    assert mikomi("log", "-c", folder / "mikomi.yaml", "--since", "yesterday").code == 2


def test_an_action_that_there_is_none_of_is_refused(folder: Path) -> None:
    said = mikomi("log", "-c", folder / "mikomi.yaml", "--action", "nosuch")
    assert said.code == 2
    assert "'nosuch'" in said.err
    assert "write-fields" in said.err
    assert "remove-double" in said.err


def test_every_action_in_the_program_is_known() -> None:
    import ast

    found = set()
    for path in sorted((Path(audit.__file__).parent).rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        constants = {
            name.id: value.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign)
            for target in node.targets
            for name, value in zip(
                target.elts if isinstance(target, ast.Tuple) else [target],
                node.value.elts if isinstance(node.value, ast.Tuple) else [node.value],
                strict=False,
            )
            if isinstance(name, ast.Name) and isinstance(value, ast.Constant)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and (called := getattr(node.func, "attr", getattr(node.func, "id", ""))) in {
                "note",
                "Note",
                "_note",
            }:
                action = node.args[0 if called == "Note" else 1] if len(node.args) > 1 else None
                if isinstance(action, ast.Constant):
                    found.add(action.value)
                elif isinstance(action, ast.Name) and action.id in constants:
                    found.add(constants[action.id])
    assert {"write-fields", "create-task", "config", "allow", "dead-drop", "forget", "restore"} <= found
    assert found <= set(audit.ACTIONS)


def test_reasons_are_said_in_the_readers_language(folder: Path) -> None:
    settings = folder / "mikomi.yaml"
    settings.write_text(settings.read_text("utf-8").replace("language: en", "language: ja"), "utf-8")
    said = mikomi("log", "-c", settings, "--action", "confirmed")
    assert "CRM が受け付けました" in said.out
    assert "the CRM took it" not in said.out


def test_the_command_names_the_first_broken_entry(folder: Path) -> None:
    from sqlalchemy import update

    from sync.state import open_state

    said = mikomi("log", "-c", folder / "mikomi.yaml", "--verify")
    assert said.code == 0
    assert re.search(r"4:[0-9a-f]{64}", said.out)
    state = open_state(f"sqlite:///{folder / 'mikomi.sqlite3'}")
    with state.begin() as connection:
        connection.execute(update(t.audit).where(t.audit.c.seq == 2).values(why="something else"))
    state.close()
    said = mikomi("log", "-c", folder / "mikomi.yaml", "--verify")
    assert said.code == 1
    assert "entry 2: it was altered" in said.out
    assert json.loads(mikomi("log", "-c", folder / "mikomi.yaml", "--verify", "--json").out)["broken"] == 2


def test_an_archived_beginning_is_anchored(folder: Path) -> None:
    config, file = folder / "mikomi.yaml", folder / "old.jsonl"
    assert mikomi("log", "-c", config, "--archive", file).code == 2
    said = mikomi("log", "-c", config, "--archive", file, "--before", "2026-11-24T10:00:00.001")
    assert said.code == 0, said.err
    assert file.stat().st_mode & 0o777 == 0o600
    lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    assert [line["seq"] for line in lines] == [1, 2]
    assert audit.verify_rows(lines).intact
    assert not audit.verify_rows(lines[1:]).intact
    verdict = json.loads(mikomi("log", "-c", config, "--verify", "--json").out)
    assert (verdict["intact"], verdict["rows"], verdict["archived_up_to"]) == (True, 3, 2)
    said = mikomi("log", "-c", config, "--archive", file, "--before", "2030-01-01")
    assert said.code == 2
    assert "another" in said.err or "new file" in said.err
