"""The way without sockets says what HTTP says: to clients of both kinds, of whatever is asked and whatever goes wrong."""

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
import requests
import urllib3

from sandbox import Sandbox
from tests.simulation.wire import without_sockets

LEAD = "/services/data/v62.0/sobjects/Lead"
DESCRIBE = f"{LEAD}/describe"


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with Sandbox(people=0, limits=False) as made:
        made.clock.hold()
        yield made


def ask(box: Sandbox, *, wire: bool, method: str, path: str, fault: dict[str, Any] | None, **more: Any) -> Any:
    """What a client of `requests` gets: status, headers and body, or its exception's kind."""
    (server,) = [s for port, s in box.servers.items() if str(port) in box.salesforce.url]
    server.faults.clear()
    if fault:
        server.faults.add(fault)
    headers = {"Authorization": f"Bearer {box.salesforce.token}"}
    with without_sockets(box) if wire else nullcontext(), requests.Session() as session:
        try:
            answer = session.request(method, box.salesforce.url + path, headers=headers, timeout=10, **more)
        except requests.RequestException as error:
            return type(error), type(error.args[0])
        answer.headers.pop("Sforce-Limit-Info", None)  # counts every call
        return answer.status_code, answer.reason, dict(answer.headers), answer.content


@pytest.mark.parametrize(
    ("method", "path", "more"),
    [
        ("GET", DESCRIBE, {}),
        ("HEAD", DESCRIBE, {}),
        ("GET", "/services/data/v62.0/nothing", {}),
        ("POST", LEAD, {"json": {"LastName": "田中", "Nothing__c": "ü"}}),
        ("POST", LEAD, {"data": '{"LastName": "田中", "Nothing__c": "ü"}'}),
        ("GET", "/services/data/v62.0/query", {"params": {"q": "SELECT Id FROM Lead WHERE LastName = '田 中+&'"}}),
        ("DELETE", f"{LEAD}/00Q000000000000AAA", {}),
        ("GET", "/__sandbox__/health", {}),
    ],
)
def test_answers_are_the_same(box: Sandbox, method: str, path: str, more: dict[str, Any]) -> None:
    direct, over_http = (ask(box, wire=wire, method=method, path=path, fault=None, **more) for wire in (True, False))
    assert direct == over_http


@pytest.mark.parametrize(
    "fault",
    [
        {
            "kind": "status",
            "status": 503,
            "body": "<html>",
            "headers": {"Content-Type": "text/html", "Retry-After": "2"},
        },
        {"kind": "truncate"},
        {"kind": "drop_before"},
        {"kind": "drop_after"},
        {"kind": "late_commit", "seconds": 0.01},
    ],
    ids=lambda fault: fault["kind"],
)
def test_faults_are_the_same(box: Sandbox, fault: dict[str, Any]) -> None:
    direct, over_http = (ask(box, wire=wire, method="GET", path=DESCRIBE, fault=fault) for wire in (True, False))
    assert direct == over_http


@pytest.mark.parametrize("preload", [True, False])
def test_a_cut_body_is_noticed_however_it_is_read(box: Sandbox, preload: bool) -> None:
    """HubSpot's SDK reads bodies by urllib3 alone."""
    (server,) = [s for port, s in box.servers.items() if str(port) in box.hubspot.url]
    said = []
    for wire in (True, False):
        server.faults.clear()
        server.faults.add({"kind": "truncate"})
        url = f"{box.hubspot.url}/crm/v3/properties/contacts"
        with (
            without_sockets(box) if wire else nullcontext(),
            urllib3.PoolManager() as pool,
            pytest.raises(urllib3.exceptions.HTTPError) as caught,
        ):
            pool.request("GET", url, preload_content=preload, retries=0).data  # noqa: B018 - reading is what fails
        said.append(type(caught.value))
    assert said[0] is said[1]


def test_what_needs_real_time_is_refused(box: Sandbox) -> None:
    with pytest.raises(NotImplementedError, match="slow needs real sockets"):
        ask(box, wire=True, method="GET", path=DESCRIBE, fault={"kind": "slow", "seconds": 1})
