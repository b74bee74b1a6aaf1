"""What is wrong is one clear message with its place and the next command; exit code 2; nothing is written anywhere."""

import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from sandbox import Sandbox
from tests.sync.cli.rig import Said, configure, mikomi

COMMANDS = (("sync",), ("setup", "--apply"), ("doctor",))


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Set up once, so that only what a test spoils is wrong."""
    with Sandbox(seed=5, people=12, limits=False) as sandbox:
        folder = tmp_path_factory.mktemp("setup")
        assert mikomi("setup", "--apply", "--config", configure(folder, sandbox, stage="fields")).code == 0
        yield sandbox


@dataclass
class Installation:
    folder: Path
    box: Sandbox

    @property
    def config(self) -> Path:
        return self.folder / "mikomi.yaml"

    def change(self, old: str, new: str, *, file: str = "mikomi.yaml") -> None:
        path = self.folder / file
        before = path.read_text("utf-8")
        assert before.count(old) >= 1, old
        path.write_text(before.replace(old, new, 1), "utf-8")

    def run(self, *arguments: str) -> Said:
        return mikomi(*arguments, "--config", self.config)


@pytest.fixture
def installed(box: Sandbox, tmp_path: Path) -> Installation:
    configure(tmp_path, box, stage="fields")
    return Installation(tmp_path, box)


def writing_calls(box: Sandbox) -> dict[str, int]:
    """Calls by endpoint that could have changed something in a CRM."""
    reading = re.compile(r"(search|batch/read|oauth|token|query|composite$)")
    return {
        f"{system} {endpoint}": count
        for system, endpoints in box.calls().items()
        for endpoint, count in endpoints.items()
        if not endpoint.startswith(("GET ", "fault ")) and not reading.search(endpoint)
    }


def hubspot_token(box: Sandbox, folder: Path, *, without: str) -> None:
    """Give the installation a token that lacks one scope."""
    scopes = [
        "crm.objects.contacts.read",
        "crm.objects.contacts.write",
        "crm.objects.companies.read",
        "crm.objects.deals.read",
        "crm.objects.owners.read",
        "crm.schemas.contacts.read",
        "crm.schemas.companies.read",
        "crm.schemas.deals.read",
        "crm.schemas.contacts.write",
        "crm.objects.marketing_events.read",
        "crm.lists.read",
        "sales-email-read",
        "content",
        "forms",
    ]
    (folder / "token").write_text(box.hubspot_app.issue_token([s for s in scopes if s != without]), "utf-8")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def wrong_rule(i: Installation) -> None:
    i.change("points: 20\n    when", "pionts: 20\n    when", file="rulebook.yaml")


def wrong_zone(i: Installation) -> None:
    i.change("timezone: Asia/Tokyo", "timezone: Europe/Berlin", file="rulebook.yaml")


def no_rulebook(i: Installation) -> None:
    (i.folder / "rulebook.yaml").unlink()


def unknown_key(i: Installation) -> None:
    i.change("stage: fields", "stage: fields\nstagge: all")


def unknown_stage(i: Installation) -> None:
    i.change("stage: fields", "stage: everything")


def broken_yaml(i: Installation) -> None:
    i.change("connections:", "connections: [")


def half_written(i: Installation) -> None:
    i.change("    client_id: 3MVG9sandboxMikomiConnectedApp\n", "    client_id:\n")


def no_secret(i: Installation) -> None:
    (i.folder / "secret").unlink()


def open_secret(i: Installation) -> None:
    (i.folder / "secret").chmod(0o644)


def unknown_vendor_key(i: Installation) -> None:
    i.change("searches_per_second: 0", "searches_per_sec: 0")


def wrong_secret(i: Installation) -> None:
    (i.folder / "secret").write_text("not-the-secret", "utf-8")


def wrong_token(i: Installation) -> None:
    (i.folder / "token").write_text("pat-na1-00000000-0000-0000-0000-000000000000", "utf-8")


def lacking_scope(i: Installation) -> None:
    hubspot_token(i.box, i.folder, without="crm.objects.deals.read")


def lacking_write_scope(i: Installation) -> None:
    hubspot_token(i.box, i.folder, without="crm.objects.contacts.write")


def unknown_property(i: Installation) -> None:
    i.change(
        "searches_per_second: 0", "searches_per_second: 0\n    mapping: {contact: {fields: {title: no_such_property}}}"
    )


def unknown_field(i: Installation) -> None:
    i.change(
        "client_id: 3MVG9sandboxMikomiConnectedApp",
        "client_id: 3MVG9sandboxMikomiConnectedApp\n    mapping: {fields: {lead: {title: No_Such_Field__c}}}",
    )


def unreachable(i: Installation) -> None:
    i.change(i.box.hubspot.url, f"http://127.0.0.1:{free_port()}")
    i.change("searches_per_second: 0", "searches_per_second: 0\n    call_attempts: 1\n    call_budget_seconds: 2")


CASES: tuple[tuple[Callable[[Installation], None], str], ...] = (
    (wrong_rule, r"rulebook\.yaml:\d+.*pionts"),
    (wrong_zone, r"Europe/Berlin"),
    (no_rulebook, r"mikomi\.yaml:\d+.*rulebook"),
    (unknown_key, r"mikomi\.yaml:3: stagge"),
    (unknown_stage, r"mikomi\.yaml:2: stage"),
    (broken_yaml, r"mikomi\.yaml:\d+"),
    (half_written, r"connections\.salesforce.*client_id"),
    (no_secret, r"connections\.salesforce\.client_secret"),
    (open_secret, r"connections\.salesforce\.client_secret"),
    (unknown_vendor_key, r"connections\.hubspot.*searches_per_sec"),
    (wrong_secret, r"salesforce"),
    (wrong_token, r"hubspot"),
    (lacking_scope, r"hubspot.*crm\.objects\.deals\.read"),
    (lacking_write_scope, r"hubspot.*crm\.objects\.contacts\.write"),
    (unknown_property, r"hubspot.*no_such_property"),
    (unknown_field, r"salesforce.*No_Such_Field__c"),
    (unreachable, r"hubspot.*cannot be reached"),
)


@pytest.mark.parametrize(("spoil", "said"), CASES, ids=[case[0].__name__ for case in CASES])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_one_message_and_nothing_written(
    installed: Installation,
    command: tuple[str, ...],
    spoil: Callable[[Installation], None],
    said: str,
) -> None:
    spoil(installed)
    before = writing_calls(installed.box)
    ended = installed.run(*command)
    # A CRM that is away is nothing that somebody typed; to `doctor` it is one more thing to put right.
    assert ended.code == (1 if spoil is unreachable and command != ("doctor",) else 2), (ended.out, ended.err)
    told = ended.err if command != ("doctor",) else ended.out + ended.err
    assert re.search(said, told, re.DOTALL | re.IGNORECASE), told
    assert "next:" in ended.err or "→" in ended.out
    assert "Traceback" not in told
    assert "not-the-secret" not in told
    assert writing_calls(installed.box) == before
    assert owed(installed.folder) == 0


def owed(folder: Path) -> int:
    """Rows of the outbox, 0 where there is no state."""
    path = folder / "mikomi.sqlite3"
    if not path.exists():
        return 0
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        count = connection.execute(text("select count(*) from outbox")).scalar_one()
    engine.dispose()
    return int(count)


def test_missing_fields_stop_a_sync_that_writes(tmp_path: Path) -> None:
    with Sandbox(seed=5, people=2, limits=False) as bare:
        configure(tmp_path, bare, stage="fields")
        ended = Installation(tmp_path, bare).run("sync")
        assert writing_calls(bare) == {}
    assert ended.code == 2
    assert "not set up for stage fields" in ended.err
    assert "mikomi setup --plan" in ended.err
    assert owed(tmp_path) == 0


def test_setup_creates_nothing_in_one_crm_while_another_is_wrong(tmp_path: Path) -> None:
    with Sandbox(seed=5, people=2, limits=False) as bare:
        configure(tmp_path, bare)
        installation = Installation(tmp_path, bare)
        wrong_token(installation)
        ended = installation.run("setup", "--apply")
        assert ended.code == 2
        assert writing_calls(bare) == {}


def test_both_unreachable_is_nobodys_typing(installed: Installation) -> None:
    unreachable(installed)
    installed.change(installed.box.salesforce.url, f"http://127.0.0.1:{free_port()}")
    installed.change("    client_id: 3MVG", "    attempts: 1\n    call_budget_seconds: 2\n    client_id: 3MVG")
    for options in ((), ("--partial",)):
        ended = installed.run("sync", *options)
        assert ended.code == 1, (options, ended)


def test_a_lost_or_wrong_state_key_is_found_by_doctor(installed: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    assert installed.run("sync").code == 0
    assert installed.run("forget", "gone@somewhere.example", "--yes").code == 0
    assert installed.run("doctor").code == 0
    key = installed.folder / "mikomi.sqlite3.key"
    kept = key.read_text("ascii")
    key.unlink()
    lost = installed.run("doctor")
    assert (lost.code, "✗ state key: " in lost.out) == (2, True)
    monkeypatch.setenv("MIKOMI_STATE_KEY", "another" * 6)
    wrong, stopped = installed.run("doctor"), installed.run("sync")
    assert wrong.code == stopped.code == 2
    remedy = "put the key back (MIKOMI_STATE_KEY, `state_key:`, or the .key file beside the state)"
    assert f"→ {remedy}" in lost.out
    assert f"→ {remedy}" in wrong.out
    assert f"next: {remedy}" in stopped.err
    monkeypatch.setenv("MIKOMI_STATE_KEY", kept.strip())
    assert installed.run("doctor").code == 0


def test_a_database_server_that_is_away_names_the_setting(installed: Installation) -> None:
    installed.change("stage: fields", f"stage: fields\nstate: postgresql://nobody@127.0.0.1:{free_port()}/none")
    for command in (("status",), ("sync",), ("setup", "--plan")):
        ended = installed.run(*command)
        assert ended.code == 2
        assert "whether the database server runs" in ended.err
        assert "`state:` in the settings, or MIKOMI_STATE" in ended.err


NASTY = "\x1b]0;x\x07\x1b[31m\r\u2028\u2029\u202e\u2066\u200e\u200f\u061c\x9b\x85\x7f\b"
CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def wrong_name(i: Installation) -> None:
    i.change("  hubspot:", f'  "hub{escaped(NASTY)}":')


def wrong_key(i: Installation) -> None:
    i.change("stage: fields", f'stage: fields\n"odd{escaped(NASTY)}\\nerror: forged": 1')


def wrong_value(i: Installation) -> None:
    i.change("stage: fields", f'stage: "all{escaped(NASTY)}\\n  next: forged"')


def wrong_vendor(i: Installation) -> None:
    i.change("vendor: hubspot", f'vendor: "hub{escaped(NASTY)}"')


def wrong_path(i: Installation) -> None:
    i.change("stage: fields", f'stage: fields\nrulebook: "x{escaped(NASTY)}\\n  next: forged"')


def escaped(text: str) -> str:
    return "".join(f"\\u{ord(character):04x}" for character in text)


@pytest.mark.parametrize("spoil", [wrong_name, wrong_key, wrong_value, wrong_vendor, wrong_path])
def test_nothing_in_an_error_moves_the_cursor_or_forges_a_line(
    installed: Installation, spoil: Callable[[Installation], None]
) -> None:
    spoil(installed)
    ended = installed.run("doctor")
    assert ended.code == 2
    assert CONTROLS.search(ended.out + ended.err) is None, ended
    assert [line for line in ended.err.splitlines() if line.startswith(("error: forged", "  next: forged"))] == []


def test_a_nasty_path_of_the_settings_is_one_line(tmp_path: Path) -> None:
    ended = mikomi("doctor", "--config", tmp_path / f"none{NASTY}\n  next: rm.yaml")
    assert ended.code == 2
    assert CONTROLS.search(ended.err) is None
    assert [line for line in ended.err.splitlines() if line.startswith("  next:")] == [
        "  next: mikomi init; if they are elsewhere, --config PATH"
    ]


def test_settings_that_are_not_there(tmp_path: Path) -> None:
    ended = mikomi("doctor", "--config", tmp_path / "none.yaml")
    assert ended.code == 2
    assert ended.err.splitlines() == [
        f"error: there is no settings file {tmp_path / 'none.yaml'}",
        "  next: mikomi init; if they are elsewhere, --config PATH",
    ]


@pytest.mark.parametrize("command", [("status",), ("sample",), ("explain", "somebody")], ids=" ".join)
def test_looking_before_the_first_sync(installed: Installation, command: tuple[str, ...]) -> None:
    ended = installed.run(*command)
    assert ended.code == 2
    assert "next: mikomi sync" in ended.err
    assert not (installed.folder / "mikomi.sqlite3").exists()


def test_a_database_that_is_not_ours(installed: Installation) -> None:
    engine = create_engine(f"sqlite:///{installed.folder / 'mikomi.sqlite3'}")
    with engine.begin() as connection:
        connection.execute(text("create table invoices (id integer)"))
    engine.dispose()
    ended = installed.run("status")
    assert ended.code == 2
    assert "not Mikomi's" in ended.err


def test_an_error_of_the_program_is_a_place_and_never_a_value(
    installed: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sync.cycle import Cycle

    def fail(*_: object, **__: object) -> None:
        raise KeyError("karin.narumi@canary.example")

    installed.change("stage: fields", "stage: fields\nlog: {file: mikomi.log}")
    monkeypatch.setattr(Cycle, "_pass", fail)
    ended = installed.run("sync")
    assert ended.code == 70
    assert re.match(
        r"error: an error of the program: KeyError \(cli/test_failures\.py:\d+ < sync/cycle\.py:\d+ ", ended.err
    )
    assert "MIKOMI_DEBUG=1" in ended.err.splitlines()[1]
    logged = (installed.folder / "mikomi.log").read_text("utf-8")
    assert "ended by an error of the program" in logged
    assert "KeyError" in logged
    assert "narumi" not in ended.out + ended.err + logged
    monkeypatch.setenv("MIKOMI_DEBUG", "1")
    ended = installed.run("sync")
    assert ended.code == 70
    assert "Traceback" in ended.err
    assert "karin.narumi@canary.example" in ended.err


def test_a_state_that_others_can_read_and_that_is_not_ours_is_a_warning(
    installed: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert installed.run("sync").code == 0
    state = installed.folder / "mikomi.sqlite3"
    state.chmod(0o644)

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "chmod", refuse)
        ended = installed.run("doctor")
    assert ended.code == 0
    assert f"! state: {state} holds personal data and can be read by others" in ended.out
    assert f"chmod 600 {state}" in ended.out
    assert "can be read by others" not in installed.run("doctor").out
    assert state.stat().st_mode & 0o777 == 0o600


def test_plan_and_apply_together(installed: Installation) -> None:
    ended = installed.run("setup", "--plan", "--apply")
    assert ended.code == 2
    assert "not both" in ended.err
