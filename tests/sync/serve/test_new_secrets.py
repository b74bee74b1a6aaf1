"""A secret that is replaced while the service runs: the next pass works with it, without a restart. On both databases."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from core.rulebook import ADVISED, template_text
from sync.state import open_state
from sync.state import schema as t
from sync.state.pause import standing
from tests.connectors.hubspot.practice import PracticePortal
from tests.sync.serve.test_service import MINUTE, START, World


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[PracticePortal]:
    made = PracticePortal(tmp_path)
    made.add_people(3)
    yield made
    made.stop()


def causes(world: World) -> list[str]:
    state = open_state(world.url)
    with state.read() as connection:
        found = [str(pause.cause) for pause in standing(connection)]
    state.close()
    return found


def outcomes(world: World) -> list[str]:
    state = open_state(world.url)
    with state.read() as connection:
        found = list(connection.execute(select(t.run.c.outcome).order_by(t.run.c.started_at)).scalars())
    state.close()
    return found


@pytest.mark.parametrize("named", [True, False], ids=["named in the settings", "in the usual place"])
def test_a_replaced_private_app_token_ends_the_pause_and_works(
    portal: PracticePortal, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    world, token = World(tmp_path, database), portal.keep_secret(portal.secret, "hubspot")
    place = f"token: {{file: {token}}}," if named else ""
    monkeypatch.setenv("MIKOMI_HUBSPOT_TOKEN_FILE", "" if named else str(token))
    (tmp_path / "rulebook.yaml").write_text(template_text(ADVISED), "utf-8")
    world.file.write_text(
        f"state: {database}\nconnections: {{hubspot: {{vendor: hubspot, {place} sandbox: true, "
        f"base_url: '{portal.server.url}'}}}}\n",
        "utf-8",
    )
    paused: list[str] = []

    def act(world: World) -> None:
        """After the first pass the token is revoked; after the second, which is refused, a person stores another."""
        minute = (world.now - START) / MINUTE
        if minute == 1:
            portal.control("tokens", {"revoke": portal.secret})
        if minute == 6:
            paused.extend(causes(world))
            portal.keep_secret(portal.app.issue_token(), "hubspot")

    health = world.run(11, act=act)
    assert paused == ["credential"]
    assert causes(world) == []
    assert (health.failures, health.good_at) == (0, START + 10 * MINUTE)
    assert outcomes(world)[-1] == "ok"
