"""Credentials go to known hosts on the open internet; whatever a CRM answers, nobody else ever sees them."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import urllib3
from hypothesis import example, given
from hypothesis import strategies as st

from connectors import open_connector
from connectors.hosts import is_public, leads_to
from connectors.mapping import Usage
from connectors.salesforce.settings import HOST_SUFFIXES, SalesforceSettings
from connectors.salesforce.transport import is_paging_path, open_session
from core.errors import ConnectorError, InvalidSettings, Unexpected
from tests.connectors.clocks import PatientClock
from tests.connectors.salesforce.org import EVERYTHING, NAME, TOKYO, PracticeOrg

HOME = "https://acme.my.salesforce.com"


class Stranger:
    """A server of somebody else on this machine. `seen`: what it was sent."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        stranger = self

        class Handler(BaseHTTPRequestHandler):
            def handle(self) -> None:
                stranger.seen.append(repr(self.connection.recv(4096)))

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    stranger = Stranger()
    yield stranger
    stranger.stop()


@pytest.fixture
def org(tmp_path: Path) -> Iterator[PracticeOrg]:
    org = PracticeOrg(tmp_path)
    yield org
    org.stop()


# --- URLs ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        HOME,
        f"{HOME}/",
        f"{HOME}:443/services/data/v62.0/query/01g-2000?x=1#y",
        "https://login.salesforce.com/services/oauth2/token",
        "https://acme--dev.sandbox.my.salesforce.com",
    ],
)
def test_salesforces_hosts_are_known(url: str) -> None:
    assert leads_to(url, HOST_SUFFIXES)


HOSTILE = [
    "http://acme.my.salesforce.com",
    "https://salesforce.com.evil.example",
    "https://evilsalesforce.com",
    "https://salesforce.com",
    "https://.salesforce.com",
    "https://a..salesforce.com",
    "https://-a.salesforce.com",
    "https://evil.example/.salesforce.com",
    "https://evil.example?.salesforce.com",
    "https://evil.example#.salesforce.com",
    "https://evil.example\\.salesforce.com",
    "https://evil.example\\@acme.salesforce.com",
    "https://user@acme.salesforce.com",
    "https://user:password@acme.salesforce.com",
    "https://acme.salesforce.com@evil.example",
    "https://acme.salesforce.com:8443",
    "https://acme.salesforce.com:443@evil.example",
    "https://acme.salesforce.com:",
    "https://acme.salesforce.com.",
    "https://ａcme.salesforce.com",
    "https://acme。salesforce.com",
    "https://acme%2esalesforce.com",
    "https://acme.salesforce.com%00.evil.example",
    "https://acme.salesforce.com\n.evil.example",
    "https://acme.salesforce.com\t",
    " https://acme.salesforce.com",
    "https://acme.salesforce.com/\n",
    "https://ACME.salesforce.com/\\evil.example",
    "https:acme.salesforce.com",
    "https:/acme.salesforce.com",
    "https:///acme.salesforce.com",
    "//acme.salesforce.com",
    "https://[::ffff:10.0.0.1].salesforce.com",
    "https://127.0.0.1",
    "https://[::1]",
    "https://169.254.169.254/latest/meta-data",
    "javascript://acme.salesforce.com",
    "",
]


@pytest.mark.parametrize("url", HOSTILE)
def test_hostile_urls_lead_nowhere(url: str) -> None:
    assert not leads_to(url, HOST_SUFFIXES)
    assert not SalesforceSettings(auth="jwt", client_id="x", username="y").allows(url)


PIECES = st.sampled_from(
    (
        *("https://", "http://", "acme", ".", "salesforce.com", ".salesforce.com", "evil.example", "@", ":", "443"),
        *(
            "/",
            "\\",
            "?",
            "#",
            "%2e",
            "%00",
            "[::1]",
            "127.0.0.1",
            "\t",
            "\n",
            " ",
            "。",
            "ａ",
            "ⓢ",
            "xn--",
            "..",
            "-",
            ";",
        ),
    )
)


@given(
    st.lists(PIECES, max_size=9).map("".join) | st.text(max_size=30).map(lambda text: f"https://{text}.salesforce.com")
)
@example("https://evil.example\\@acme.salesforce.com")
def test_what_is_let_through_means_the_same_host_to_every_parser(url: str) -> None:
    if not leads_to(url, HOST_SUFFIXES):
        return
    split, other = urlsplit(url), urllib3.util.parse_url(url)
    assert split.hostname == other.host
    assert (split.scheme, other.scheme) == ("https", "https")
    assert split.username is None
    assert other.auth is None
    assert split.port in {None, 443}
    assert split.hostname is not None
    assert split.hostname.isascii()
    assert split.hostname.endswith(".salesforce.com")


@pytest.mark.parametrize(
    ("link", "fits"),
    [
        ("/services/data/v62.0/query/01gD0000002HU6KIAW-2000", True),
        ("/services/data/v62.0/queryAll/0r8xx0000001-4000", True),
        ("https://evil.example/services/data/v62.0/query/01g-2000", False),
        ("//evil.example/services/data/v62.0/query/01g-2000", False),
        ("/services/data/v62.0/query/../../../oauth2/token", False),
        ("/services/data/v62.0/query/01g-2000@evil.example", False),
        ("/services/data/v62.0/query/01g\r\nHost: evil.example", False),
        ("@evil.example/services/data/v62.0/query/01g-2000", False),
        ("/services/apexrest/steal", False),
        (None, False),
        (7, False),
    ],
)
def test_paging_links_are_locators(link: object, fits: bool) -> None:
    assert is_paging_path(link) is fits


# --- addresses -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("13.108.0.1", True),
        ("2606:4700::1", True),
        ("10.0.0.1", False),
        ("172.16.5.4", False),
        ("192.168.1.1", False),
        ("127.0.0.1", False),
        ("0.0.0.0", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:13.108.0.1", True),
        ("64:ff9b::a00:1", False),
        ("2002:a00:1::", False),
        ("ff02::1", False),
        ("nonsense", False),
    ],
)
def test_only_addresses_of_the_open_internet_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public


def resolving(*addresses: str) -> Callable[..., list[Any]]:
    def resolve(_host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    return resolve


@pytest.fixture
def dialled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Addresses that were dialled; nobody answers."""
    called: list[str] = []

    def dial(place: tuple[str, int], *_: Any, **__: Any) -> socket.socket:
        called.append(place[0])
        raise OSError("nobody answers")

    monkeypatch.setattr("urllib3.util.connection.create_connection", dial)
    return called


@pytest.mark.parametrize("addresses", [("127.0.0.1",), ("13.108.0.1", "10.0.0.1")])
@pytest.mark.parametrize("vendor", ["salesforce", "hubspot"])
def test_a_name_that_leads_inside_is_not_dialled(
    monkeypatch: pytest.MonkeyPatch, dialled: list[str], addresses: tuple[str, ...], vendor: str
) -> None:
    monkeypatch.setattr("socket.getaddrinfo", resolving(*addresses))
    with pytest.raises(Unexpected, match="not on the open internet") as caught:
        real(vendor, monkeypatch).now()
    assert dialled == []
    assert "s3cret" not in f"{caught.value} {caught.value.__cause__!r}"


@pytest.mark.parametrize("vendor", ["salesforce", "hubspot"])
def test_the_address_that_was_checked_is_the_one_that_is_dialled(
    monkeypatch: pytest.MonkeyPatch, dialled: list[str], vendor: str
) -> None:
    monkeypatch.setattr("socket.getaddrinfo", resolving("13.108.0.1", "13.108.0.2"))
    with pytest.raises(ConnectorError, match="cannot be reached"):
        real(vendor, monkeypatch).now()
    assert set(dialled) == {"13.108.0.1"}


def real(vendor: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A connector that would speak to the real CRM."""
    for name in ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MIKOMI_CRM_TOKEN", "s3cret-token")
    monkeypatch.setenv("MIKOMI_CRM_ACCESS_TOKEN", "s3cret-token")
    own = (
        {"vendor": vendor, "auth": "access_token", "instance_url": HOME}
        if vendor == "salesforce"
        else {"vendor": vendor}
    )
    return open_connector("crm", own, zone=TOKYO, usage=Usage(), clock=PatientClock())


# --- answers that lead elsewhere -----------------------------------------------------------------------------------------


def grants(org: PracticeOrg) -> dict[str, Any]:
    given = org.credentials
    own: dict[str, Any] = {"auth": "client_credentials", "access_token": None, "client_id": given["client_id"]}
    return {**own, "client_secret": org.secret_file("client-secret", given["client_secret"])}


def elsewhere(stranger: Stranger, org: PracticeOrg) -> list[str]:
    here = urlsplit(org.server.url)
    return [
        f"http://127.0.0.1:{stranger.port}",
        f"http://localhost:{stranger.port}/",
        f"http://{here.netloc}@127.0.0.1:{stranger.port}",
        f"http://127.0.0.1:{stranger.port}#{here.netloc}",
        f"http://{here.netloc}\\@127.0.0.1:{stranger.port}",
        "https://evil.example",
        "http://127.0.0.1:99999999",
    ]


def test_a_token_answer_that_names_another_instance_is_not_used(org: PracticeOrg, stranger: Stranger) -> None:
    for place in elsewhere(stranger, org):
        answer = {"access_token": "00D!canary-token", "instance_url": place, "token_type": "Bearer"}
        org.fail_next(status=200, body=json.dumps(answer), path="oauth2/token")
        with pytest.raises(Unexpected, match="outside Salesforce"):
            org.connect(**grants(org)).prepare()
    assert stranger.seen == []


def test_a_paging_link_to_elsewhere_is_not_followed(org: PracticeOrg, stranger: Stranger) -> None:
    org.add_people(500)
    for place in elsewhere(stranger, org):
        page = {
            "totalSize": 900,
            "done": False,
            "records": [],
            "nextRecordsUrl": f"{place}/services/data/v62.0/query/1",
        }
        part = {"body": page, "httpHeaders": {}, "httpStatusCode": 200, "referenceId": "r0"}
        connector = org.connect()
        connector.prepare()
        parts = [{**part, "referenceId": f"r{n}"} for n in range(5)]
        org.fail_next(status=200, body=json.dumps({"compositeResponse": parts}), path="composite")
        with pytest.raises(Unexpected, match="leads outside"):
            list(connector.read({}))
        org.control("DELETE", "faults")
    assert stranger.seen == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_elsewhere_is_not_followed(org: PracticeOrg, stranger: Stranger, status: int) -> None:
    for path in ("oauth2/token", "composite"):
        rule = {"kind": "status", "status": status, "times": 1, "path": path}
        target = f"http://127.0.0.1:{stranger.port}/services/oauth2/token"
        org.control("POST", "faults", rule | {"headers": {"Location": target}})
        with pytest.raises(Unexpected, match="redirect"):
            org.connect(**grants(org)).prepare()
    assert stranger.seen == []


def test_the_session_itself_lets_nothing_out(org: PracticeOrg, stranger: Stranger) -> None:
    practice = SalesforceSettings(base_url=org.server.url, sandbox=True, auth="access_token")
    real = SalesforceSettings(auth="access_token", instance_url=HOME)
    for place in elsewhere(stranger, org):
        with open_session(practice, lambda *_, **__: None) as session, suppress(OSError):
            answer = session.get(f"{place}/", headers={"Authorization": "Bearer canary"}, timeout=5)
            assert answer.url.startswith(f"{org.server.url}/")  # requests itself read the practice server out of it
        with (
            open_session(real, lambda *_, **__: None) as session,
            pytest.raises(OSError, match=r"refused|Failed to parse"),
        ):
            session.get(f"{place}/", headers={"Authorization": "Bearer canary"}, timeout=5)
    assert stranger.seen == []


def test_the_practice_server_needs_the_flag(org: PracticeOrg) -> None:
    for wrong in ({"sandbox": False}, {"base_url": None}, {"base_url": "http://10.0.0.1:80"}):
        with pytest.raises(InvalidSettings):
            open_connector(NAME, {**org.settings(), **wrong}, zone=TOKYO, usage=EVERYTHING)
