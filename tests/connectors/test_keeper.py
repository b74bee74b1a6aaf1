"""The keeper against a grant in memory: when it asks, what it stores first, and what it never shows."""

import logging
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from connectors.keeper import Configured, Granted, TokenKeeper
from connectors.tokens import MemoryTokens, StoredToken, digest
from core.errors import ConnectorError, InvalidSettings, OutcomeUnknown, StateUnavailable, Transient, Unauthorized
from tests.connectors.clocks import StillClock
from tests.connectors.hubspot.practice import PracticePortal
from tests.connectors.salesforce.org import PracticeOrg


@dataclass
class Grant:
    """Hands out `access-1`, `access-2`, …; `rotates`: a refresh token works once; `requests`: it takes so many each time."""

    seed: str | None = "seed"
    rotates: bool = False
    seconds: int | None = None
    clock: StillClock = field(default_factory=StillClock)
    shown: list[str | None] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)
    unkept: list[Exception] = field(default_factory=list)
    inputs: str = "inputs"
    requests: int = 1

    def configured(self) -> Configured:
        return Configured(SecretStr(self.seed) if self.seed else None, digest(self.inputs))

    def ask(self, refresh: SecretStr | None, still_ours: Callable[[], None]) -> Granted:
        for _ in range(self.requests):
            still_ours()
        self.shown.append(refresh.get_secret_value() if refresh else None)
        if self.failures:
            raise self.failures.pop(0)
        number = len(self.shown)
        ends = None if self.seconds is None else self.clock.now() + self.seconds * 1000
        return Granted(SecretStr(f"access-{number}"), SecretStr(f"r-{number}") if self.rotates else None, ends)

    def keep(self, refresh: SecretStr) -> bool:
        if self.unkept:
            raise self.unkept.pop(0)
        self.kept.append(refresh.get_secret_value())
        return True


class Watched(MemoryTokens):
    """Keeps every saved state; refuses to save while `broken`."""

    durable = True

    def __init__(self) -> None:
        super().__init__()
        self.history: list[StoredToken] = []
        self.broken = False

    def save(self, name: str, token: StoredToken) -> None:
        if self.broken and token.access is not None:
            raise StateUnavailable("disk full")
        self.history.append(token)
        super().save(name, token)


def access(token: StoredToken) -> str:
    assert token.access is not None
    return token.access.get_secret_value()


def test_a_renewal_is_announced_before_and_stored_before_use() -> None:
    grant, store = Grant(rotates=True), Watched()
    keeper = TokenKeeper(store, "crm", grant, grant.clock)
    assert access(keeper.current()) == "access-1"
    assert [(token.version, token.asking, token.access is None) for token in store.history] == [
        (1, True, True),
        (2, False, False),
    ]
    assert grant.kept == ["r-1"]
    assert keeper.renew()
    assert grant.shown == ["seed", "r-1"]


def test_a_grant_without_a_refresh_token_announces_nothing() -> None:
    grant, store = Grant(seed=None), Watched()
    TokenKeeper(store, "crm", grant, grant.clock).current()
    assert [token.asking for token in store.history] == [False]


def test_who_comes_second_takes_what_the_first_got() -> None:
    grant, store = Grant(), Watched()
    first, second = (TokenKeeper(store, "crm", grant, grant.clock) for _ in range(2))
    assert access(first.current()) == access(second.current()) == "access-1"
    assert first.renew() is True
    assert second.renew() is False
    assert access(second.current()) == "access-2"
    assert len(grant.shown) == 2


def test_a_token_is_renewed_when_its_time_has_come() -> None:
    grant = Grant(seconds=100)
    keeper = TokenKeeper(Watched(), "crm", grant, grant.clock)
    keeper.current()
    grant.clock.seconds += 99
    keeper.current()
    assert len(grant.shown) == 1
    grant.clock.seconds += 1
    assert access(keeper.current()) == "access-2"


def test_a_lost_answer_is_asked_for_again_with_the_same_refresh_token() -> None:
    grant, store = Grant(failures=[OutcomeUnknown("lost"), Transient("away")]), Watched()
    keeper = TokenKeeper(store, "crm", grant, grant.clock)
    for expected in (OutcomeUnknown, Transient):
        with pytest.raises(expected):
            keeper.current()
    assert access(keeper.current()) == "access-3"
    assert grant.shown == ["seed"] * 3


def test_an_interrupted_renewal_is_named_when_the_token_proves_spent() -> None:
    grant, store = (
        Grant(failures=[OutcomeUnknown("lost"), Unauthorized("no", hint="connect again", final=True)]),
        Watched(),
    )
    with pytest.raises(OutcomeUnknown):
        TokenKeeper(store, "crm", grant, grant.clock).current()
    for _ in range(3):
        with pytest.raises(Unauthorized, match="no; an earlier renewal was interrupted") as caught:
            TokenKeeper(store, "crm", grant, grant.clock).current()
        assert (caught.value.hint, caught.value.final) == ("connect again", True)
    assert len(grant.shown) == 2


def test_a_final_refusal_holds_until_the_secret_changes_and_another_for_a_while() -> None:
    grant, store = Grant(failures=[Unauthorized("spent", final=True)]), Watched()
    keeper = TokenKeeper(store, "crm", grant, grant.clock)
    for days in range(3):
        grant.clock.seconds += days * 86_400
        with pytest.raises(Unauthorized, match="spent"):
            keeper.current()
    assert len(grant.shown) == 1
    grant.seed = "new"
    assert access(keeper.current()) == "access-2"
    grant.failures = [Unauthorized("inactive user")]
    with pytest.raises(Unauthorized):
        keeper.renew()
    with pytest.raises(Unauthorized):
        keeper.current()
    assert len(grant.shown) == 3
    grant.clock.seconds += 15 * 60
    assert access(keeper.current()) == "access-4"
    grant.failures = [Unauthorized("inactive user")]
    with pytest.raises(Unauthorized):
        keeper.renew()
    keeper.reconsider()
    assert access(keeper.current()) == "access-6"


def test_a_refusal_that_a_clock_ahead_wrote_down_ends_when_the_clock_is_right() -> None:
    grant, store = Grant(failures=[Unauthorized("inactive user")]), Watched()
    keeper = TokenKeeper(store, "crm", grant, grant.clock)
    grant.clock.seconds += 300 * 86_400
    with pytest.raises(Unauthorized):
        keeper.current()
    grant.clock.seconds -= 300 * 86_400
    assert access(keeper.current()) == "access-2"


@pytest.mark.parametrize("final", [True, False])
def test_a_persons_word_puts_a_refusal_to_the_crm_once(final: bool) -> None:
    grant, store = Grant(failures=[Unauthorized("no", final=final)] * 2), Watched()
    keeper = TokenKeeper(store, "crm", grant, grant.clock)
    for asked in (1, 2):  # at first, and by a person's word
        for _ in range(3):
            with pytest.raises(Unauthorized):
                keeper.current()
        assert len(grant.shown) == asked
        keeper.reconsider()
    assert access(keeper.current()) == "access-3"


def test_a_persons_word_holds_until_the_crm_has_answered() -> None:
    grant, store = Grant(seed=None, failures=[Unauthorized("no"), Transient("away")]), Watched()
    keeper = TokenKeeper(store, "crm", grant, grant.clock)
    with pytest.raises(Unauthorized):
        keeper.current()
    keeper.reconsider()
    with pytest.raises(Transient):
        keeper.current()
    assert access(keeper.current()) == "access-3"


def test_a_refresh_token_known_to_be_spent_is_shown_to_nobody_whoever_asks() -> None:
    """An answer was lost, and a refusal that proves nothing came in between: shown again, it would end the whole family."""
    lost, lifted, spent = OutcomeUnknown("lost"), Unauthorized("ip restricted"), Unauthorized("expired", final=True)
    grant, store = Grant(rotates=True, failures=[lost, lifted, spent]), Watched()
    for secret in ("one", "one", "one", "one", "another"):
        grant.inputs = f"client secret {secret}"
        keeper = TokenKeeper(store, "crm", grant, grant.clock)
        keeper.reconsider()
        with pytest.raises((OutcomeUnknown, Unauthorized)):
            keeper.current()
    assert len(grant.shown) == 3
    grant.seed = "connected again"
    assert access(TokenKeeper(store, "crm", grant, grant.clock).current()) == "access-4"


def test_an_answer_lost_within_one_renewal_counts_as_interrupted_too() -> None:
    grant, store = Grant(requests=2, failures=[Unauthorized("expired", final=True)]), Watched()
    for _ in range(3):
        keeper = TokenKeeper(store, "crm", grant, grant.clock)
        keeper.reconsider()
        with pytest.raises(Unauthorized, match="interrupted"):
            keeper.current()
    assert len(grant.shown) == 1


def test_a_place_that_cannot_be_written_costs_a_warning_not_the_token(caplog: pytest.LogCaptureFixture) -> None:
    grant = Grant(
        rotates=True, unkept=[PermissionError(13, "Permission denied"), InvalidSettings("the keyring is locked")]
    )
    keeper = TokenKeeper(Watched(), "crm", grant, grant.clock)
    assert access(keeper.current()) == "access-1"
    assert keeper.renew()
    assert "Permission denied" in caplog.text
    assert "the keyring is locked" in caplog.text


def test_a_token_written_back_is_the_same_line_and_another_one_a_new_line() -> None:
    grant, store = Grant(rotates=True), Watched()
    TokenKeeper(store, "crm", grant, grant.clock).current()
    grant.seed = "r-1"  # read back from the file
    assert access(TokenKeeper(store, "crm", grant, grant.clock).current()) == "access-1"
    grant.seed = "connected again"
    assert access(TokenKeeper(store, "crm", grant, grant.clock).current()) == "access-2"
    assert grant.shown == ["seed", "connected again"]


def test_other_settings_make_the_stored_access_void_but_not_the_refresh_token() -> None:
    grant, store = Grant(rotates=True), Watched()
    TokenKeeper(store, "crm", grant, grant.clock).current()
    grant.inputs = "another client secret"
    TokenKeeper(store, "crm", grant, grant.clock).current()
    assert grant.shown == ["seed", "r-1"]


def test_what_could_not_be_stored_is_stored_later_instead_of_asking_again() -> None:
    grant, store = Grant(rotates=True), Watched()
    keeper = TokenKeeper(store, "crm", grant, grant.clock)
    store.broken = True
    with pytest.raises(StateUnavailable):
        keeper.current()
    assert grant.kept == ["r-1"], "the file has it at least"
    store.broken = False
    assert access(keeper.current()) == "access-1"
    assert len(grant.shown) == 1
    assert store.history[-1].refresh == SecretStr("r-1")


# --- nothing shows -------------------------------------------------------------------------------------------------------


class Gossip(logging.Handler):
    """Everything that any logger says, with its traceback."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))


@pytest.fixture
def gossip() -> Any:
    handler, root = Gossip(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler
    root.removeHandler(handler)
    root.setLevel(level)


FAULTS: list[dict[str, Any]] = [
    {"status": 400, "body": '{"error":"invalid_grant","error_description":"expired access/refresh token"}'},
    {"status": 200, "body": '{"access_token": "canary-answer", "refresh_token": "canary-answer'},
    {"status": 200, "body": '{"access_token": "canary-answer", "instance_url": "https://evil.example"}'},
    {"status": 200, "body": "<html>canary-answer</html>"},
    {"status": 500, "body": "canary-answer"},
    {"status": 302, "headers": {"Location": "https://evil.example/canary-answer"}},
    {"kind": "drop_after"},
    {"kind": "drop_before"},
    {"kind": "truncate"},
]


@pytest.mark.parametrize(
    "fault", FAULTS, ids=lambda f: f"{f.get('kind', '')}{f.get('status', '')}{f.get('body', '')[:20]}"
)
@pytest.mark.parametrize("vendor", ["salesforce", "hubspot"])
def test_no_failure_shows_a_secret(vendor: str, fault: dict[str, Any], tmp_path: Path, gossip: Gossip) -> None:
    crm: Any = PracticeOrg(tmp_path) if vendor == "salesforce" else PracticePortal(tmp_path)
    try:
        given = crm.credentials if vendor == "salesforce" else crm.credentials()
        secrets = [given["client_secret"], given["refresh_token"]]
        sources = {name: {"file": str(tmp_path / name)} for name in ("client_secret", "refresh_token")}
        for name, secret in zip(sources, secrets, strict=True):
            (tmp_path / name).write_text(secret)
            (tmp_path / name).chmod(0o600)
        if vendor == "salesforce":
            own = {"auth": "refresh_token", "access_token": None, "client_id": given["client_id"], **sources}
            connector = crm.connect(**own)
        else:
            connector = crm.connect(token=None, oauth={"client_id": given["client_id"], **sources})
        rule = {"kind": "status", "times": 1_000, "path": "/token", **fault}
        crm.control("POST", "faults", rule) if vendor == "salesforce" else crm.control("faults", rule)
        for _ in range(2):
            with pytest.raises(ConnectorError) as caught:
                connector.prepare()
            shown = "".join(traceback.format_exception(caught.value)) + caught.value.hint
            assert not [secret for secret in (*secrets, "canary-answer") if secret in shown]
        crm.control("DELETE", "faults") if vendor == "salesforce" else crm.heal()
        (tmp_path / "refresh_token").write_text(new_refresh_token(crm, vendor))
        connector.prepare()
        secrets += [new_refresh_token(crm, vendor), *tokens_in(connector)]
        assert len(secrets) == 4
        assert not [
            secret for secret in (*secrets, "canary-answer") if secret in "".join(gossip.texts) + repr(connector)
        ]
    finally:
        crm.stop()


def new_refresh_token(crm: Any, vendor: str) -> str:
    given = crm.control("GET", "credentials") if vendor == "salesforce" else crm.credentials()
    return str(given["refresh_token"])


def tokens_in(connector: Any) -> list[str]:
    """The access token that a connector holds."""
    if connector.vendor == "salesforce":
        return [connector._api._line._tokens.current().token.get_secret_value()]
    return [connector._api._credential.token(connector._api).get_secret_value()]
