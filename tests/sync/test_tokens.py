"""Tokens in the state: encrypted, renewed once however many meet the expiry, and usable or clearly refused after any death."""

import json
import os
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import update

from connectors import open_connector
from connectors.salesforce.connector import SalesforceConnector
from connectors.secrets import SecretSource
from connectors.tokens import Refusal, Sealed, StoredToken
from core.errors import CannotStart, InvalidSettings, StateUnavailable, Transient, Unauthorized
from sync.pauses import end_pauses
from sync.report import RunReport
from sync.settings import Settings
from sync.start import start_run
from sync.state import open_state
from sync.state import schema as t
from sync.tokens import DatabaseTokens, StateKey, derive_key, key_file
from tests.connectors.hubspot.practice import PracticePortal
from tests.connectors.salesforce.org import EVERYTHING, NAME, TOKYO, PracticeOrg
from tests.sync import token_worker

KEY = "k" * 40
CANARY = "canary-5Aep861-secret"
FULL = StoredToken(
    access=SecretStr(f"{CANARY}-access"),
    refresh=SecretStr(f"{CANARY}-refresh"),
    expires_at=1_795_482_000_000,
    instance_url="https://acme.my.salesforce.com",
    scopes=("api", "refresh_token"),
    version=1,
    seed="0" * 32,
    inputs="1" * 32,
    asking=True,
    refusal=Refusal("why", "what next", 5),
)


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A state in a file, its key beside it."""
    monkeypatch.delenv("MIKOMI_STATE_KEY", raising=False)
    monkeypatch.delenv("MIKOMI_STATE_KEY_FILE", raising=False)
    return f"sqlite:///{tmp_path / 'state.sqlite3'}"


@pytest.fixture
def shared(database: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A state of either kind, its key in the environment."""
    monkeypatch.setenv("MIKOMI_STATE_KEY", KEY)
    return database


@pytest.fixture
def shared_store(shared: str) -> DatabaseTokens:
    return open_store(shared)


@pytest.fixture
def store(url: str) -> DatabaseTokens:
    return open_store(url)


@pytest.fixture
def rotating(tmp_path: Path) -> Iterator[PracticeOrg]:
    org = PracticeOrg(tmp_path)
    org.control("POST", "tokens", {"rotate": True})
    yield org
    org.stop()


def open_store(url: str, key: str | None = None) -> DatabaseTokens:
    source = None
    if key is not None:
        os.environ["TEST_STATE_KEY"] = key
        source = SecretSource(env="TEST_STATE_KEY")
    store = DatabaseTokens(url, StateKey(url, source), sleep=lambda _: None)
    OPENED.append(store)
    return store


OPENED: list[DatabaseTokens] = []


@pytest.fixture(autouse=True)
def closing() -> Iterator[None]:
    yield
    while OPENED:
        OPENED.pop().close()


def settings(org: PracticeOrg, auth: str = "refresh_token") -> dict[str, object]:
    given = org.credentials
    own: dict[str, Any] = {"auth": auth, "access_token": None, "setup_access_token": None}
    own |= {"client_id": given["client_id"], "client_secret": org.secret_file("client-secret", given["client_secret"])}
    if auth == "refresh_token":
        own["refresh_token"] = {"file": str(org.folder / "refresh-token")}
        if not (org.folder / "refresh-token").exists():
            org.secret_file("refresh-token", given["refresh_token"])
    return {key: value for key, value in org.settings(**own).items() if value is not None}


def connect(
    org: PracticeOrg, store: DatabaseTokens, auth: str = "refresh_token", **changes: object
) -> SalesforceConnector:
    given = {**settings(org, auth), **changes}
    connector = open_connector(NAME, given, zone=TOKYO, usage=EVERYTHING, clock=org.waits, tokens=store)
    assert isinstance(connector, SalesforceConnector)
    return connector


def asked(org: PracticeOrg) -> int:
    """Token requests that reached the CRM."""
    return int(org.control("GET", "calls").get("POST /services/oauth2/token", 0))


# --- what is stored ------------------------------------------------------------------------------------------------------


def test_a_token_comes_back_as_it_was(shared_store: DatabaseTokens) -> None:
    assert shared_store.load("crm") is None
    shared_store.save("crm", FULL)
    assert shared_store.load("crm") == FULL
    assert shared_store.load("other") is None


def test_no_secret_is_readable_in_the_database_or_in_a_repr(store: DatabaseTokens, url: str, tmp_path: Path) -> None:
    store.save("crm", FULL)
    store.close()
    with sqlite3.connect(tmp_path / "state.sqlite3") as connection:
        dump = "\n".join(connection.iterdump())
    connection.close()
    assert "credential" in dump
    everything = dump.encode() + b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert CANARY.encode() not in everything
    loaded = open_store(url).load("crm")
    assert CANARY not in f"{FULL!r} {loaded!r} {loaded}"


def test_a_token_moved_to_another_connection_or_version_does_not_open(store: DatabaseTokens, tmp_path: Path) -> None:
    store.save("crm", FULL)
    change(tmp_path, "insert into credential select 'other', name, secret, version, updated_at from credential")
    assert isinstance(store.load("other"), Sealed)
    change(tmp_path, "update credential set version = 7 where system = 'crm'")
    assert store.load("crm") == Sealed(7, FULL.seed, rotated=True)


@pytest.mark.parametrize(
    "how", ["substr(secret, 1, length(secret) - 6) || 'AAAAA='", "'v1.x'", "'nonsense'", "'v1.a.r.é'"]
)
def test_a_tampered_row_is_told_from_a_good_one(store: DatabaseTokens, tmp_path: Path, how: str) -> None:
    store.save("crm", FULL)
    change(tmp_path, f"update credential set secret = {how}")
    assert isinstance(store.load("crm"), Sealed)


def test_who_was_overtaken_cannot_overwrite(shared_store: DatabaseTokens) -> None:
    shared_store.save("crm", FULL)
    with pytest.raises(Transient):
        shared_store.save("crm", StoredToken(version=1, access=SecretStr("late")))
    with pytest.raises(Transient):
        shared_store.save("crm", StoredToken(version=9))
    assert shared_store.load("crm") == FULL


def test_who_stood_still_while_another_took_over_may_not_ask(shared_store: DatabaseTokens, shared: str) -> None:
    with shared_store.lock("crm") as still_ours:
        still_ours()
        state = open_state(shared)
        with state.begin() as connection:
            other = {"holder": "elsewhere/boot/space/1/1", "token": t.lease.c.token + 1}
            connection.execute(update(t.lease).where(t.lease.c.name == "token crm").values(**other))
        state.close()
        with pytest.raises(Transient, match="another process"):
            still_ours()


def test_a_lock_is_free_again_after_an_error(shared_store: DatabaseTokens) -> None:
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), shared_store.lock("crm"):
            raise ZeroDivisionError


def test_a_database_that_is_away_is_tried_again(store: DatabaseTokens, monkeypatch: pytest.MonkeyPatch) -> None:
    original, failures = DatabaseTokens._write, [StateUnavailable("away")] * 3

    def sometimes(self: DatabaseTokens, *given: Any) -> None:
        if failures:
            raise failures.pop()
        original(self, *given)

    monkeypatch.setattr(DatabaseTokens, "_write", sometimes)
    store.save("crm", FULL)
    assert store.load("crm") == FULL
    failures[:] = [StateUnavailable("away")] * 100
    with pytest.raises(StateUnavailable):
        store.save("crm", StoredToken(version=2))


def change(folder: Path, statement: str) -> None:
    connection = sqlite3.connect(folder / "state.sqlite3")
    connection.execute(statement)
    connection.commit()
    connection.close()


# --- the key -------------------------------------------------------------------------------------------------------------


def test_the_key_is_made_once_beside_the_database(url: str, tmp_path: Path) -> None:
    first = StateKey(url).derive("tokens")
    path = key_file(url)
    assert path == tmp_path / "state.sqlite3.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(first) == 32
    assert StateKey(url).derive("tokens") == first == derive_key("tokens", url)
    assert StateKey(url).derive("people") != first
    assert [p.name for p in tmp_path.iterdir()] == ["state.sqlite3.key"]


def test_two_that_make_the_key_at_once_agree(url: str) -> None:
    start, keys = threading.Barrier(8), []

    def derive() -> None:
        start.wait()
        keys.append(StateKey(url).derive("tokens"))

    run_all([derive] * 8)
    assert len(set(keys)) == 1


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_key_that_others_can_read_is_refused(url: str, mode: int) -> None:
    StateKey(url).derive("tokens")
    path = key_file(url)
    assert path is not None
    path.chmod(mode)
    with pytest.raises(InvalidSettings, match="can be read by others") as caught:
        open_store(url).save("crm", FULL)
    assert "chmod 600" in caught.value.hint


def test_the_key_comes_from_settings_then_environment_then_file(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIKOMI_STATE_KEY", "e" * 40)
    monkeypatch.setenv("OWN_KEY", "s" * 40)
    from_settings = StateKey(url, SecretSource(env="OWN_KEY")).derive("x")
    from_environment = StateKey(url).derive("x")
    assert not (key_file(url) or Path()).exists()
    monkeypatch.delenv("MIKOMI_STATE_KEY")
    from_beside = StateKey(url).derive("x")
    handed_over = tmp_path / "handed over"
    handed_over.write_text("f" * 40, "utf-8")
    handed_over.chmod(0o600)
    monkeypatch.setenv("MIKOMI_STATE_KEY_FILE", str(handed_over))
    assert len({from_settings, from_environment, from_beside, StateKey(url).derive("x")}) == 4
    handed_over.chmod(0o644)
    with pytest.raises(InvalidSettings, match="can be read by others"):
        StateKey(url).derive("x")


def test_a_key_that_is_too_short_or_nowhere_is_named(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIKOMI_STATE_KEY", "short")
    with pytest.raises(InvalidSettings, match="shorter"):
        StateKey(url).derive("x")
    monkeypatch.delenv("MIKOMI_STATE_KEY")
    with pytest.raises(InvalidSettings, match="no place for a key") as caught:
        StateKey("postgresql+psycopg://mikomi@db.example/mikomi").derive("x")
    assert "MIKOMI_STATE_KEY" in caught.value.hint


def test_a_lost_key_stops_a_rotated_connection_until_it_is_connected_again(rotating: PracticeOrg, url: str) -> None:
    org, first = rotating, open_store(url, "a" * 40)
    given = settings(org)
    (org.folder / "refresh-token").chmod(0o600)
    connect(org, first).prepare()
    org.secret_file("refresh-token", org.credentials["refresh_token"])  # as if it had not been written back
    other = open_store(url, "b" * 40)
    with pytest.raises(Unauthorized, match="cannot be decrypted") as caught:
        connect(org, other).prepare()
    assert "put the old key back" in caught.value.hint
    assert "connect again" in caught.value.hint
    assert asked(org) == 1
    connect(org, open_store(url, "a" * 40)).prepare()  # the old key is found again
    fresh = org.control("GET", "credentials")["refresh_token"]
    org.secret_file("refresh-token", fresh)
    connect(org, other).prepare()
    assert asked(org) == 2
    assert given["auth"] == "refresh_token"


def test_a_lost_key_costs_a_grant_without_rotation_one_login(rotating: PracticeOrg, url: str) -> None:
    connect(rotating, open_store(url, "a" * 40), "client_credentials").prepare()
    connect(rotating, open_store(url, "b" * 40), "client_credentials").prepare()
    assert asked(rotating) == 2


# --- one renewal ---------------------------------------------------------------------------------------------------------


def test_processes_that_follow_each_other_share_one_token(rotating: PracticeOrg, url: str) -> None:
    for auth in ("refresh_token", "client_credentials"):
        before = asked(rotating)
        for _ in range(3):
            store = open_store(url)
            connect(rotating, store, auth).prepare()
            store.close()
        assert asked(rotating) - before == 1, auth


@pytest.mark.parametrize("auth", ["refresh_token", "client_credentials"])
def test_eight_threads_that_meet_an_expiry_ask_once(
    rotating: PracticeOrg, shared_store: DatabaseTokens, auth: str
) -> None:
    org = rotating
    connectors = [connect(org, shared_store, auth) for _ in range(8)]
    for connector in connectors:
        connector.now()
    assert asked(org) == 1
    org.control("POST", "tokens", {"expire_now": True})
    start, failures = threading.Barrier(8), []

    def work(connector: SalesforceConnector) -> None:
        start.wait()
        try:
            connector.prepare()
        except Exception as error:
            failures.append(error)

    run_all([lambda c=connector: work(c) for connector in connectors])
    assert failures == []
    assert asked(org) == 2


def test_four_processes_that_meet_an_expiry_ask_once(rotating: PracticeOrg, shared: str, nursery: str) -> None:
    workers = [Worker(nursery, rotating, shared, calls=2) for _ in range(4)]
    for worker in workers:
        worker.wait_ready()
    assert asked(rotating) == 1
    rotating.control("POST", "tokens", {"expire_now": True})
    for worker in workers:
        worker.go()
    assert [worker.finish() for worker in workers] == [{"error": ""}] * 4
    assert asked(rotating) == 2


def test_a_token_that_lives_for_three_requests_is_renewed_on_the_way(
    rotating: PracticeOrg, store: DatabaseTokens
) -> None:
    refs = rotating.add_people(1_000)
    rotating.control("POST", "tokens", {"ttl_requests": 3})
    connector = connect(rotating, store)
    seen = {getattr(fact, "ref", None) for page in connector.read({}) for fact in page.facts} & set(refs)
    assert len(seen) == 1_000
    assert asked(rotating) >= 3


def test_hubspots_oauth_tokens_are_shared_too_and_may_rotate(tmp_path: Path, url: str) -> None:
    portal = PracticePortal(tmp_path)
    try:
        portal.control("tokens", {"rotate": True})
        given = portal.credentials()
        sources = {
            name: {"file": os.fspath(portal.keep_secret(given[name], name))}
            for name in ("client_secret", "refresh_token")
        }
        own = {"base_url": portal.server.url, "sandbox": True, "oauth": {"client_id": given["client_id"], **sources}}

        def open_one() -> Any:
            clock, store = portal.waiting, open_store(url)
            return open_connector("hubspot", own, zone=TOKYO, usage=EVERYTHING, clock=clock, tokens=store)

        first, second = open_one(), open_one()
        for connector in (first, second):
            connector.prepare()
        portal.control("tokens", {"expire_now": True})
        for connector in (first, second, open_one()):
            connector.prepare()
        assert portal.server.calls()["POST /oauth/{version}/token"] == 2
    finally:
        portal.stop()


# --- deaths and refusals -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", token_worker.STEPS)
def test_killed_at_any_step_it_connects_again_or_says_why_not(
    rotating: PracticeOrg, shared: str, nursery: str, step: str
) -> None:
    worker = Worker(nursery, rotating, shared, calls=1, die=step)
    worker.wait_ready()
    rotating.control("POST", "tokens", {"expire_now": True})
    worker.go()
    assert worker.finish() is None
    store = open_store(shared)
    if step != "asked":
        connect(rotating, store).prepare()
        return
    # The CRM spent the refresh token, and its answer died with the process: the one window that nobody can close.
    for _ in range(3):
        with pytest.raises(Unauthorized, match="interrupted after the CRM had spent the token") as caught:
            connect(rotating, store).prepare()
        assert "connect again" in caught.value.hint
    assert asked(rotating) == 3  # at first, by the one that died, and once more: never in a loop
    rotating.secret_file("refresh-token", rotating.control("GET", "credentials")["refresh_token"])
    connect(rotating, store).prepare()


@pytest.mark.parametrize("step", ["asked", "stored"])
def test_grants_without_a_refresh_token_survive_every_death(
    rotating: PracticeOrg, shared: str, nursery: str, step: str
) -> None:
    worker = Worker(nursery, rotating, shared, calls=1, die=step, auth="client_credentials")
    worker.wait_ready()
    rotating.control("POST", "tokens", {"expire_now": True})
    worker.go()
    assert worker.finish() is None
    connect(rotating, open_store(shared), "client_credentials").prepare()


def test_a_state_from_a_backup_connects_with_what_was_written_back(
    rotating: PracticeOrg, url: str, tmp_path: Path
) -> None:
    store = open_store(url)
    connect(rotating, store).prepare()
    store.close()
    old = (tmp_path / "state.sqlite3").read_bytes()
    rotating.control("POST", "tokens", {"expire_now": True})
    connect(rotating, store).prepare()
    store.close()
    for name in ("state.sqlite3-wal", "state.sqlite3-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / "state.sqlite3").write_bytes(old)
    rotating.control("POST", "tokens", {"expire_now": True})
    connect(rotating, open_store(url)).prepare()
    assert asked(rotating) == 3


def test_a_stolen_refresh_token_revokes_the_family_and_says_so(rotating: PracticeOrg, store: DatabaseTokens) -> None:
    org, stolen = rotating, rotating.credentials["refresh_token"]
    connector = connect(org, store)
    connector.prepare()
    form = f"grant_type=refresh_token&refresh_token={stolen}&client_id={org.credentials['client_id']}"
    form += f"&client_secret={org.credentials['client_secret']}"
    with pytest.raises(OSError, match="400"):
        post(f"{org.server.url}/services/oauth2/token", form)
    with pytest.raises(Unauthorized) as caught:
        list(connector.read({}))
    assert "spent or revoked" in caught.value.hint
    before = asked(org)
    with pytest.raises(Unauthorized):
        connect(org, store).prepare()
    assert asked(org) == before


def test_what_an_administrator_can_lift_is_asked_again_after_a_while_or_by_the_doctor(
    rotating: PracticeOrg, store: DatabaseTokens
) -> None:
    user = rotating.credentials["username"]
    rotating.control("POST", "permissions", {"user": user, "active": False})
    for _ in range(3):
        with pytest.raises(Unauthorized):
            connect(rotating, store, "client_credentials").prepare()
    assert asked(rotating) == 1
    rotating.control("POST", "permissions", {"user": user, "active": True})
    with pytest.raises(Unauthorized):
        connect(rotating, store, "client_credentials").prepare()
    findings = connect(rotating, store, "client_credentials").check().findings
    assert findings[0].level == "ok"
    connect(rotating, store, "client_credentials").prepare()
    assert asked(rotating) == 2


def test_overtaken_between_two_attempts_it_does_not_show_the_refresh_token_again(
    rotating: PracticeOrg, shared_store: DatabaseTokens, shared: str
) -> None:
    """The answer is lost after the CRM spent the token; then this process stands still, and another one takes over."""
    org = rotating
    connector = connect(org, shared_store)
    org.fail_next(kind="drop_after", path="oauth2/token")

    def stand_still(seconds: float) -> None:
        state = open_state(shared)
        with state.begin() as connection:
            other = {"holder": "elsewhere/boot/space/1/1", "token": t.lease.c.token + 1}
            connection.execute(update(t.lease).where(t.lease.c.name == "token salesforce").values(**other))
        state.close()

    org.waits.sleep = stand_still  # type: ignore[method-assign]
    with pytest.raises(Transient, match="another process is renewing"):
        connector.prepare()
    assert asked(org) == 1


def test_resumed_by_a_person_it_asks_exactly_once_more(rotating: PracticeOrg, shared: str, tmp_path: Path) -> None:
    """What the administrator has put right by then works again with the old refresh token; what not, stops again."""
    org, state = rotating, open_state(shared)
    given = Settings.model_validate({"stage": "observe", "language": "en", "connections": {NAME: settings(org)}})
    refused = '{"error": "invalid_grant", "error_description": "%s"}'

    def run() -> str | None:
        """One run's beginning with objects of its own; what stood against it."""
        report, store = RunReport("r", "observe", org.waits.now()), open_store(shared)
        with suppress(CannotStart):
            start_run(state, given, {NAME: connect(org, store)}, report, org.waits.now(), strict=False)
        store.close()
        system = report.system(NAME)
        return system.error or (system.paused or {}).get("reason")

    def resume() -> None:
        with state.begin() as connection:
            end_pauses(connection, NAME, why="a person resumed it", actor="user x")

    for number, cause in enumerate(("expired access/refresh token", "ip restricted"), 1):
        org.fail_next(status=400, body=refused % cause, path="oauth2/token")
        for _ in range(3):
            assert cause in str(run())
        assert asked_for(org) == number
        resume()
    assert run() is None
    assert asked(org) == 1, "the two others were refused by the fault"
    state.close()


def asked_for(org: PracticeOrg) -> int:
    """Token requests, those that a fault answered included."""
    return sum(n for name, n in org.control("GET", "calls").items() if "oauth2/token" in name or "fault" in name)


def test_a_rotated_token_is_written_back_to_the_usual_place(
    rotating: PracticeOrg, store: DatabaseTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Path(rotating.secret_file("usual", rotating.credentials["refresh_token"])["file"])
    monkeypatch.setenv("MIKOMI_SALESFORCE_REFRESH_TOKEN_FILE", str(place))
    given = settings(rotating)
    del given["refresh_token"]
    connector = open_connector(NAME, given, zone=TOKYO, usage=EVERYTHING, clock=rotating.waits, tokens=store)
    connector.prepare()
    written = place.read_text("utf-8").strip()
    assert written != rotating.credentials["refresh_token"]
    saved = store.load(NAME)
    assert isinstance(saved, StoredToken)
    assert saved.refresh == SecretStr(written)


def test_another_configured_secret_clears_a_refusal(rotating: PracticeOrg, store: DatabaseTokens) -> None:
    wrong = rotating.secret_file("wrong-secret", "hunter2-hunter2")
    for _ in range(2):
        with pytest.raises(Unauthorized):
            connect(rotating, store, client_secret=wrong).prepare()
    assert asked(rotating) == 1
    connect(rotating, store).prepare()


def test_a_token_that_cannot_be_stored_is_not_used_and_not_lost(
    rotating: PracticeOrg, store: DatabaseTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    connector = connect(rotating, store)
    connector.prepare()
    rotating.control("POST", "tokens", {"expire_now": True})
    original = DatabaseTokens.save

    def full(self: DatabaseTokens, name: str, token: StoredToken) -> None:
        if token.access is not None:
            raise StateUnavailable("disk full")
        original(self, name, token)

    monkeypatch.setattr(DatabaseTokens, "save", full)
    before = rotating.calls()
    with pytest.raises(StateUnavailable):
        list(connector.read({}))
    assert rotating.calls() - before == 1, "the refused call alone: the new token was not used"
    monkeypatch.undo()
    connector.prepare()
    list(connector.read({}))
    assert asked(rotating) == 2
    list(connect(rotating, store).read({}))
    assert asked(rotating) == 2


def post(url: str, form: str) -> bytes:
    import urllib.request

    with urllib.request.urlopen(urllib.request.Request(url, form.encode()), timeout=10) as answer:
        return bytes(answer.read())


# --- an administrator's visit --------------------------------------------------------------------------------------------


def test_the_administrators_token_is_never_stored(
    rotating: PracticeOrg, url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    admin = rotating.credentials["admin_access_token"]
    rotating.secret_file("admin", admin)
    store = open_store(url)
    connector = connect(rotating, store, setup_access_token={"file": str(tmp_path / "admin")})
    assert [r for r in connector.apply_setup() if r.status == "failed"] == []
    store.close()
    (tmp_path / "admin").unlink()
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert admin.encode() not in written
    assert admin not in caplog.text
    assert admin not in repr(vars(connector))
    connect(rotating, open_store(url), setup_access_token=None).prepare()


# --- workers -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The socket of a `token_worker` program."""
    path = os.fspath(tmp_path_factory.mktemp("workers") / "socket")
    command = [sys.executable, "-m", "tests.sync.token_worker", path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2], text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "listening\n"
        yield path
        process.kill()


class Worker:
    """One process of it."""

    def __init__(
        self, nursery: str, org: PracticeOrg, url: str, *, calls: int, die: str = "", auth: str = "refresh_token"
    ) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(60)
        self._socket.connect(nursery)
        self._lines = self._socket.makefile("rw", encoding="utf-8")
        self._tell(json.dumps({"state": url, "key": KEY, "settings": settings(org, auth), "calls": calls, "die": die}))

    def _tell(self, line: str) -> None:
        self._lines.write(line + "\n")
        self._lines.flush()

    def wait_ready(self) -> None:
        assert self._lines.readline() == "ready\n"

    def go(self) -> None:
        self._tell("")

    def finish(self) -> dict[str, Any] | None:
        """What happened; None: the process was killed."""
        line = self._lines.readline()
        self._lines.close()
        self._socket.close()
        return dict(json.loads(line)) if line else None


def run_all(works: list[Any]) -> None:
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in threads)
