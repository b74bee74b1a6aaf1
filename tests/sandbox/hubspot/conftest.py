"""One emulated account per test, its clock held, and a bare HTTP caller that shows codes and bodies as they are."""

import http.client
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import pytest

from sandbox.clock import Clock
from sandbox.hubspot import HubSpot, HubSpotOptions
from sandbox.server import Server

START_MS = 1_764_500_000_000  # 2025-11-30T10:53:20Z


@dataclass(slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass(slots=True)
class Account:
    """A running emulator and a token for it."""

    app: HubSpot
    server: Server
    clock: Clock
    token: str
    _connection: http.client.HTTPConnection = field(init=False)

    def __post_init__(self) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)

    def call(self, method: str, path: str, body: Any = None, *, token: str | None = None, **query: Any) -> Answer:
        if query:
            path += "?" + urlencode(query, doseq=True)
        headers = {"Authorization": f"Bearer {self.token if token is None else token}"}
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body).encode()
        return self.send(method, path, data, headers)

    def send(self, method: str, path: str, data: bytes | None, headers: dict[str, str]) -> Answer:
        self._connection.request(method, path, data, headers)
        response = self._connection.getresponse()
        text = response.read().decode()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, text)

    def get(self, path: str, **query: Any) -> Answer:
        return self.call("GET", path, **query)

    def post(self, path: str, body: Any) -> Answer:
        return self.call("POST", path, body)

    def control(self, name: str, body: Any) -> Any:
        answer = self.call("POST", f"/__sandbox__/{name}", body)
        assert answer.status == 200, answer.text
        return answer.json

    def create(self, kind: str, **properties: Any) -> str:
        answer = self.post(f"/crm/v3/objects/{kind}", {"properties": properties})
        assert answer.status == 201, answer.text
        return str(answer.json["id"])

    def search(self, kind: str, *filters: tuple[str, str, Any], **more: Any) -> Any:
        entries = [{"propertyName": name, "operator": operator, "value": value} for name, operator, value in filters]
        answer = self.post(f"/crm/v3/objects/{kind}/search", {"filterGroups": [{"filters": entries}], **more})
        assert answer.status == 200, answer.text
        return answer.json

    def close(self) -> None:
        self._connection.close()
        self.server.stop()
        self.app.close()


Opener = Callable[..., Account]


@pytest.fixture
def open_account() -> Iterator[Opener]:
    """Opens accounts with the given options; a held clock unless `held=False`."""
    opened: list[Account] = []

    def opener(*, held: bool = True, **options: Any) -> Account:
        clock = Clock(START_MS)
        if held:
            clock.hold(START_MS)
        app = HubSpot(clock, HubSpotOptions(**{"limits": False, **options}))
        account = Account(app, Server(app).start(), clock, app.issue_token())
        opened.append(account)
        return account

    yield opener
    for account in opened:
        account.close()


@pytest.fixture
def account(open_account: Opener) -> Account:
    """An account without limits and without index lag."""
    return open_account(index_lag_seconds=0)
