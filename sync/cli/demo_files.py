"""The files of the demo: settings, rulebook and secrets for a practice market."""

from collections.abc import Mapping
from pathlib import Path

from core.rulebook import ADVISED, template_text
from sync.cli.practice import Practice

THRESHOLD, LOWER_THRESHOLD = "A: {total: 80, engagement: 20}", "A: {total: 70, engagement: 15}"


def write_configuration(folder: Path, market: Practice, language: str) -> None:
    """Settings, rulebook and secrets of the demo: stage all, everyone in A is handed over."""
    credentials = market.control("salesforce", "credentials")
    secrets = {
        "salesforce.secret": credentials["client_secret"],
        "admin.secret": credentials["admin_access_token"],
        "hubspot.secret": market.token("hubspot"),
    }
    for name, secret in secrets.items():
        path = folder / name
        path.touch(mode=0o600)
        path.write_text(secret, "utf-8")
    reps = market.control(
        "salesforce",
        "query",
        {"soql": "SELECT Email FROM User WHERE IsActive = true AND Email LIKE '%@seller.example' ORDER BY Id LIMIT 1"},
    )["records"]
    leader = reps[0]["Email"] if reps else ""
    fallback = f"{{salesforce: {leader}, hubspot: {leader}}}" if leader else "{}"
    (folder / "mikomi.yaml").write_text(
        f"""\
language: {language}
stage: all
tasks: {{fallback_owner: {fallback}}}
connections:
  salesforce:
    vendor: salesforce
    sandbox: true
    base_url: {market.url("salesforce")}
    client_id: {credentials["client_id"]}
    client_secret: {{file: {folder / "salesforce.secret"}}}
    setup_access_token: {{file: {folder / "admin.secret"}}}
  hubspot:
    vendor: hubspot
    sandbox: true
    base_url: {market.url("hubspot")}
    token: {{file: {folder / "hubspot.secret"}}}
""",
        "utf-8",
    )
    text = template_text(ADVISED)
    industries = "Manufacturing, Technology, Transportation, MACHINERY, INFORMATION_TECHNOLOGY_AND_SERVICES, LOGISTICS_AND_SUPPLY_CHAIN"
    replacements = {
        "ここにターゲット業種1を記入, ここにターゲット業種2を記入": industries,
        "initial: seed}": "initial: all}",
    }
    (folder / "rulebook.yaml").write_text(_replaced(text, replacements), "utf-8")


def lower_threshold(folder: Path) -> None:
    """Band A from fewer points: more people to hand over, and a rulebook that differs for everyone."""
    path = folder / "rulebook.yaml"
    path.write_text(_replaced(path.read_text("utf-8"), {THRESHOLD: LOWER_THRESHOLD}), "utf-8")


def _replaced(text: str, replacements: Mapping[str, str]) -> str:
    for old, new in replacements.items():
        if text.count(old) != 1:
            raise ValueError(f"the rulebook template no longer says {old!r} once")
        text = text.replace(old, new)
    return text
