"""The ready-made files for running it: they parse, they fit together, and what they name exists."""

import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import sync.cli.main  # noqa: F401 - registers the commands
from connectors.secrets import need_secret
from sync.cli.entry import app
from sync.cli.serve import HARD_STOP_SECONDS
from sync.health import FILE_VARIABLE
from sync.tokens import StateKey

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").iterdir())
MANIFESTS = sorted((DEPLOY / "kubernetes").iterdir())
SECRET = re.compile(r"(?i)(pat-|secret\s*[:=]\s*[A-Za-z0-9+/]{12,}|password\s*[:=]\s*\w|-----BEGIN)")


def commands() -> set[str]:
    return {c.name or str(getattr(c.callback, "__name__", "")) for c in app.registered_commands}


def options(command: str) -> set[str]:
    from typer.main import get_command

    group: Any = get_command(app)
    return {
        name for parameter in group.commands[command].params for name in (*parameter.opts, *parameter.secondary_opts)
    }


def assert_command(words: list[str]) -> None:
    assert words[0] in commands()
    assert {word for word in words[1:] if word.startswith("--")} <= options(words[0])


def pods() -> Iterator[dict[str, Any]]:
    for file in MANIFESTS:
        document = yaml.safe_load(file.read_text("utf-8"))
        spec = document["spec"]
        yield (spec["jobTemplate"]["spec"]["template"] if document["kind"] == "CronJob" else spec["template"])["spec"]


@pytest.mark.parametrize("file", sorted(f for f in DEPLOY.rglob("*") if f.is_file()), ids=lambda f: f.name)
def test_no_secret_lies_in_it(file: Path) -> None:
    assert SECRET.search(file.read_text("utf-8")) is None


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    for unit in UNITS:
        text = unit.read_text("utf-8").replace("/opt/mikomi/bin/mikomi", shutil.which("true") or "/bin/true")
        (tmp_path / unit.name).write_text(text, "utf-8")
    files = [str(tmp_path / unit.name) for unit in UNITS]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *files], capture_output=True, text=True, timeout=60, check=False
    )
    ours = [line for line in done.stderr.splitlines() if str(tmp_path) in line or "mikomi" in line]
    assert ours == [], done.stderr


@pytest.mark.parametrize("unit", [u for u in UNITS if u.suffix == ".service"], ids=lambda u: u.name)
def test_units_are_confined_and_end_in_time(unit: Path) -> None:
    lines = unit.read_text("utf-8").splitlines()
    settings = dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    start = settings["ExecStart"].split()
    assert_command(start[1:])
    for name in ("DynamicUser", "NoNewPrivileges", "PrivateTmp", "PrivateDevices", "ProtectHome"):
        assert settings[name] == "yes"
    assert settings["ProtectSystem"] == "strict"
    assert (settings["CapabilityBoundingSet"], settings["StateDirectory"], settings["UMask"]) == ("", "mikomi", "0077")
    assert int(settings["TimeoutStopSec"].rstrip("s")) > HARD_STOP_SECONDS


@pytest.mark.parametrize("unit", [u for u in UNITS if u.suffix == ".service"], ids=lambda u: u.name)
def test_each_secret_of_a_unit_is_read_from_its_own_credentials_directory(
    unit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Placed as current systemd places them, and looked for as the unit says, no secret is missing."""
    text = unit.read_text("utf-8")
    given = re.findall(r"^LoadCredential=([\w-]+):", text, re.MULTILINE)
    named = dict(re.findall(r"^Environment=(MIKOMI_\w+_FILE)=%d/([\w-]+)$", text, re.MULTILINE))
    assert sorted(named.values()) == sorted(given) == ["hubspot", "salesforce", "state-key"]
    assert "/run/credentials/" not in text, "the directory carries the unit's name"
    for credential in given:
        (tmp_path / credential).write_text("x" * 40, "utf-8")
        (tmp_path / credential).chmod(0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    for variable, credential in named.items():
        monkeypatch.delenv(variable.removesuffix("_FILE"), raising=False)
        monkeypatch.setenv(variable, str(tmp_path / credential))
    assert need_secret("hubspot", "token", None)
    assert need_secret("salesforce", "client_secret", None)
    assert StateKey("postgresql+psycopg://mikomi@db.example/mikomi").derive("x")


def test_both_units_read_the_same_secrets() -> None:
    found = [
        {line for line in unit.read_text("utf-8").splitlines() if line.startswith(("LoadCredential=", "Environment="))}
        for unit in UNITS
        if unit.suffix == ".service"
    ]
    assert len(found) == 2
    assert {line for line in found[0] ^ found[1] if "HEALTH" not in line} == set()


def test_the_image_is_built_from_what_is_here() -> None:
    text = (DEPLOY / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    lines = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    copied = [word for line in lines if line[0] == "COPY" and "--from=build" not in line for word in line[1:-1]]
    allowed = {line.strip("!\n") for line in (DEPLOY / "Dockerfile.dockerignore").read_text("utf-8").splitlines()}
    assert copied
    for name in copied:
        assert (ROOT / name).exists()
        assert name.removeprefix("./") in allowed
    packages = re.search(
        r"\[tool.hatch.build.targets.wheel\]\npackages = \[(.*)\]", (ROOT / "pyproject.toml").read_text("utf-8")
    )
    assert packages is not None
    assert set(re.findall(r'"(\w+)"', packages[1])) <= set(copied)
    assert "--require-hashes -r requirements.lock" in text
    assert "--hash=sha256:" in (ROOT / "requirements.lock").read_text("utf-8")
    assert ["USER", "10001:10001"] in lines
    assert ["ENTRYPOINT", '["mikomi"]'] in lines
    assert ["CMD", '["serve"]'] in lines
    assert FILE_VARIABLE in text
    health = next(line for line in lines if line[0] == "HEALTHCHECK")
    assert health[-3:] == ['["python",', '"-m",', '"sync.health"]']
    assert importlib.util.find_spec("sync.health") is not None
    assert len([line for line in lines if line[0] == "FROM"]) == 2


def test_compose_fits_the_image() -> None:
    document = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
    service = document["services"]["mikomi"]
    assert_command(service["command"])
    assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).exists()
    assert set(service["secrets"]) <= set(document["secrets"])
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert int(service["stop_grace_period"].rstrip("s")) > HARD_STOP_SECONDS
    named = {v.split(":")[0] for s in document["services"].values() for v in s["volumes"] if not v.startswith(".")}
    assert named == set(document["volumes"])


def test_pods_are_confined_and_whole() -> None:
    found = list(pods())
    assert len(found) == len(MANIFESTS) == 2
    for pod in found:
        volumes = {volume["name"] for volume in pod["volumes"]}
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        assert pod["terminationGracePeriodSeconds"] > HARD_STOP_SECONDS
        for container in (*pod["initContainers"], *pod["containers"]):
            locked = container["securityContext"]
            assert locked == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
        [container] = pod["containers"]
        assert_command(container["args"])
        assert all("value" not in e or "SECRET" not in e["name"] for e in container["env"])


def test_the_service_stands_by_and_jobs_never_overlap() -> None:
    deployment, job = (
        yaml.safe_load((DEPLOY / "kubernetes" / f"{n}.yaml").read_text("utf-8")) for n in ("deployment", "cronjob")
    )
    assert (deployment["apiVersion"], deployment["kind"]) == ("apps/v1", "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
    probe = deployment["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]
    assert probe["exec"]["command"] == ["python", "-m", "sync.health"]
    assert (job["apiVersion"], job["kind"], job["spec"]["concurrencyPolicy"]) == ("batch/v1", "CronJob", "Forbid")


def test_the_probe_as_a_program(tmp_path: Path) -> None:
    environment = {FILE_VARIABLE: str(tmp_path / "health"), "PATH": "/usr/bin", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "sync.health"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    assert done.returncode == 1
    assert "has not started" in done.stdout
