"""`mikomi init` writes a configuration that an admin can fill in, that loads, and that shows every key."""

import re
import stat
from pathlib import Path

import pytest

from connectors.hubspot.settings import HubSpotSettings
from connectors.salesforce.settings import SalesforceSettings
from core.rulebook import template_text, templates
from sync.app import App
from sync.cli.starter import settings_text
from sync.pair import check_pair
from sync.schedule import plan_timings
from sync.settings import Pair, Settings, load_settings
from tests.sync.cli.rig import check_golden, mikomi

LANGUAGES = ("ja", "en")


@pytest.fixture(params=LANGUAGES)
def started(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    said = mikomi("init", tmp_path / "new", "--language", request.param)
    assert (said.code, said.err) == (0, "")
    return tmp_path / "new"


def test_what_is_written_loads(started: Path) -> None:
    loaded = load_settings(started / "mikomi.yaml")
    assert loaded.settings.stage == "observe"
    assert set(loaded.settings.connections) == {"salesforce", "hubspot"}
    assert App(started / "mikomi.yaml").rulebook.name == "b2b-japan-standard"


def test_filled_in_it_opens_both_connections(started: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = started / "mikomi.yaml"
    text = file.read_text("utf-8")
    text = text.replace("login_url: https://login.salesforce.com", "login_url: https://acme.my.salesforce.com")
    file.write_text(re.sub(r"client_id: +#", "client_id: 3MVG9key #", text), "utf-8")
    monkeypatch.setenv("MIKOMI_SALESFORCE_CLIENT_SECRET", "s")
    monkeypatch.setenv("MIKOMI_HUBSPOT_TOKEN", "pat-na1-x")
    app = App(file)
    assert {c.vendor for c in app.connectors.values()} == {"salesforce", "hubspot"}
    app.close()


def test_left_half_written_it_says_what_is_missing(started: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MIKOMI_SALESFORCE_CLIENT_SECRET", raising=False)
    said = mikomi("doctor", "--config", started / "mikomi.yaml")
    assert said.code == 2
    assert "connections.salesforce" in said.err
    assert "client_id" in said.err
    assert "next:" in said.err or "対処:" in said.err
    assert not (started / "mikomi.sqlite3").exists()


def uncommented(text: str) -> str:
    """The text with everything in force that it shows behind a `#`, outside of the connections."""
    shown = re.sub(r"^# (?=[a-z_]+:|  [a-z_]+:)", "", text, flags=re.MULTILINE)
    return re.sub(r"^  # (?=[a-z_]+:)", "  ", shown, flags=re.MULTILINE)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_key_is_shown_with_its_default(language: str) -> None:
    import yaml

    written = yaml.safe_load(uncommented(settings_text(language)))
    defaults = Settings(connections={"x": {"vendor": "salesforce"}}).model_dump(mode="json")
    assert written.keys() == defaults.keys()
    assert written["language"] == language
    for name, value in defaults.items():
        if name not in {"connections", "language", "pair", "state_key"}:
            assert written[name] == value, name
    assert set(written["pair"]) == set(Pair.model_fields)


@pytest.mark.parametrize("language", LANGUAGES)
def test_it_still_loads_with_everything_in_force(tmp_path: Path, language: str) -> None:
    file = tmp_path / "mikomi.yaml"
    file.write_text(uncommented(settings_text(language)), "utf-8")
    loaded = load_settings(file)
    check_pair(loaded)
    assert loaded.settings.pair is not None
    assert plan_timings(loaded.settings).keys() == {"cycle", "daily", "reconcile"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_commented_alternatives_are_real_keys(language: str) -> None:
    text = settings_text(language)
    salesforce, hubspot = text.split("  hubspot:\n")[0], text.split("  hubspot:\n")[1].split("\ndeliver:")[0]
    for part, model in ((salesforce, SalesforceSettings), (hubspot, HubSpotSettings)):
        named = set(re.findall(r"^    (?:# )?([a-z_]+):", part, re.MULTILINE)) - {"vendor"}
        assert named <= set(model.model_fields), named - set(model.model_fields)
        assert len(named) >= 6


@pytest.mark.parametrize("language", LANGUAGES)
def test_it_stays_short_and_comments_stay_in_one_language(language: str) -> None:
    text = settings_text(language)
    assert len(text.splitlines()) <= 100
    assert "«" not in text
    japanese = re.search(r"[ぁ-んァ-ヶ]", text)
    assert bool(japanese) is (language == "ja")


@pytest.mark.parametrize("name", ["mikomi.yaml", "rulebook.yaml"])
def test_what_is_there_is_left_and_what_is_missing_is_written(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine", "utf-8")
    assert mikomi("init", tmp_path).code == 0
    assert {path.name for path in tmp_path.iterdir()} == {"mikomi.yaml", "rulebook.yaml"}
    assert (tmp_path / name).read_text("utf-8") == "mine"


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    for name in ("mikomi.yaml", "rulebook.yaml"):
        (tmp_path / name).write_text("mine", "utf-8")
    said = mikomi("init", tmp_path)
    assert said.code == 2
    assert "mikomi.yaml" in said.err
    assert "next:" in said.err
    assert {path.read_text("utf-8") for path in tmp_path.iterdir()} == {"mine"}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [(("--language", "fr"), "--language ja"), (("--template", "none"), "--template b2b-japan-standard")],
)
def test_what_there_is_not_is_refused(tmp_path: Path, arguments: tuple[str, ...], named: str) -> None:
    said = mikomi("init", tmp_path, *arguments)
    assert said.code == 2
    assert named in said.err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    said = mikomi("init", tmp_path / "file" / "folder")
    assert said.code == 2
    assert len(said.err.splitlines()) == 2


@pytest.mark.parametrize("template", templates())
def test_every_template_can_be_had(tmp_path: Path, template: str) -> None:
    assert mikomi("init", tmp_path, "--template", template).code == 0
    assert (tmp_path / "rulebook.yaml").read_text("utf-8") == template_text(template)


def test_the_settings_file_is_an_ordinary_one(started: Path) -> None:
    """It holds no secret, so that it can be kept under version control and read by colleagues."""
    mode = stat.S_IMODE((started / "mikomi.yaml").stat().st_mode)
    assert mode & 0o600 == 0o600
    assert mode & 0o111 == 0


@pytest.mark.parametrize("language", LANGUAGES)
def test_wording(tmp_path: Path, language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = mikomi("init", "--language", language)
    check_golden(f"init.{language}", said.out)
    check_golden(f"settings.{language}", (tmp_path / "mikomi.yaml").read_text("utf-8"))
