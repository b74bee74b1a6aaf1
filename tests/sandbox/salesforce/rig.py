"""A running org and a plain HTTP client for it: the tests know the API by its paths and bodies only."""

from typing import Any

import requests

from sandbox.clock import Clock
from sandbox.salesforce import Salesforce, SalesforceOptions
from sandbox.server import Server

START_MS = 1_780_000_000_000  # 2026-05-28T20:26:40Z
ADMIN = "admin@mikomi.example"
INTEGRATION = "integration@mikomi.example"


class Rig:
    """`api` paths are below /services/data/v62.0; `as_admin` calls with the administrator's token."""

    def __init__(self, **options: Any) -> None:
        self.clock = Clock(START_MS)
        self.clock.hold(START_MS)
        self.org = Salesforce(self.clock, SalesforceOptions(**options))
        self.server = Server(self.org).start()
        self.url = self.server.url
        self.session = requests.Session()
        self.session.trust_env = False
        self.token = self.org.issue_token(INTEGRATION)
        self.admin = self.org.issue_token(ADMIN)

    def close(self) -> None:
        self.session.close()
        self.server.stop()
        self.org.close()

    def call(self, method: str, path: str, *, token: str | None = None, **more: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {token or self.admin}", **more.pop("headers", {})}
        root = "" if path.startswith("/services") else "/services/data/v62.0"
        return self.session.request(method, self.url + root + path, headers=headers, timeout=20, **more)

    def query(self, soql: str, *, token: str | None = None) -> dict[str, Any]:
        response = self.call("GET", "/query", params={"q": soql}, token=token)
        assert response.status_code == 200, response.text
        return dict(response.json())

    def query_every(self, soql: str, *, token: str | None = None, **headers: str) -> tuple[list[dict[str, Any]], int]:
        """(all records, number of calls)."""
        response = self.call("GET", "/query", params={"q": soql}, token=token, headers=headers)
        assert response.status_code == 200, response.text
        page, calls = response.json(), 1
        records = list(page["records"])
        while not page["done"]:
            page = self.call("GET", page["nextRecordsUrl"], token=token).json()
            records += page["records"]
            calls += 1
        return records, calls

    def make(self, sobject: str, **fields: Any) -> str:
        response = self.call("POST", f"/sobjects/{sobject}", json=fields)
        assert response.status_code == 201, response.text
        return str(response.json()["id"])

    def row(self, sobject: str, record_id: str) -> dict[str, Any]:
        response = self.call("GET", f"/sobjects/{sobject}/{record_id}")
        assert response.status_code == 200, response.text
        return dict(response.json())

    def control(self, name: str, body: Any = None, *, expect: int = 200) -> Any:
        method = "GET" if body is None else "POST"
        response = self.session.request(method, f"{self.url}/__sandbox__/{name}", json=body, timeout=20)
        assert response.status_code == expect, response.text
        return response.json()

    def god(self, soql: str) -> list[dict[str, Any]]:
        return list(self.control("query", {"soql": soql})["records"])

    def make_lead(self, **fields: Any) -> str:
        return self.make("Lead", **{"LastName": "検証", "Company": "検証商事", **fields})

    def add_field(self, full_name: str, *, grant: bool = True, **metadata: Any) -> str:
        """A custom field through Tooling; `grant` shows it to both users through a permission set."""
        body = {"FullName": full_name, "Metadata": {"label": full_name.split(".")[1], **metadata}}
        response = self.call("POST", "/tooling/sobjects/CustomField", json=body)
        assert response.status_code == 201, response.text
        if grant:
            homes = ("Task", "Event") if full_name.startswith("Activity.") else (full_name.split(".", maxsplit=1)[0],)
            for home in homes:
                for user in (ADMIN, INTEGRATION):
                    self.control(
                        "permissions", {"user": user, "field": f"{home}.{full_name.split('.')[1]}", "read": True}
                    )
        return str(response.json()["id"])


def refusal(response: requests.Response) -> tuple[int, str, str]:
    """(status, errorCode, message) of a REST error."""
    entry = response.json()[0]
    return response.status_code, entry["errorCode"], entry["message"]
