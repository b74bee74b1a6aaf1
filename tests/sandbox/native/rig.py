"""Two empty accounts joined by the native sync, and hands in both."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sandbox import Sandbox

MORNING_MS = 1_795_482_000_000
"""Tuesday 2026-11-24, ten in the morning in Tokyo."""


class Joined:
    """A sandbox with the clock held still: it moves by polls only."""

    def __init__(self, box: Sandbox) -> None:
        self.box = box

    def native(self, order: dict[str, Any] | None = None) -> Any:
        method = "GET" if order is None else "POST"
        return self._control(self.box.hubspot.url, method, "native", order)

    def poll(self) -> Any:
        return self.native({"poll_now": True})

    def tick(self, seconds: float = 60.0) -> None:
        self.box.clock.advance(seconds)

    def hubspot(self, **order: Any) -> Any:
        return self._control(self.box.hubspot.url, "POST", "records", order)

    def salesforce(self, **order: Any) -> Any:
        return self._control(self.box.salesforce.url, "POST", "records", order)

    def submit(self, form: str, email: str) -> None:
        """A visitor sends a form; its sender becomes a contact if they are none."""
        values = [{"name": "email", "value": email}]
        order = {"form_submissions": [{"formId": form, "values": values}]}
        self._control(self.box.hubspot.url, "POST", "events", order)

    def contact(self, row_id: str | int) -> dict[str, Any]:
        return dict(self._hubspot_get("contacts", row_id)["properties"])

    def contacts(self) -> list[dict[str, Any]]:
        names = "email,salesforceleadid,salesforcecontactid,hs_object_source"
        page = self._get(f"/crm/v3/objects/contacts?limit=100&properties={names}")
        return [row["properties"] | {"id": row["id"]} for row in page["results"]]

    def deal(self, row_id: str | int) -> dict[str, Any]:
        return dict(self._hubspot_get("deals", row_id)["properties"])

    def deals(self) -> list[dict[str, Any]]:
        names = "dealname,dealstage,amount,hs_salesforceopportunityid"
        page = self._get(f"/crm/v3/objects/deals?limit=100&properties={names}&associations=contacts")
        return [row["properties"] | {"id": row["id"], "links": row.get("associations")} for row in page["results"]]

    def history(self, row_id: str | int, name: str) -> list[dict[str, Any]]:
        path = f"/crm/v3/objects/contacts/{row_id}?propertiesWithHistory={name}"
        return list(self._get(path)["propertiesWithHistory"][name])

    def soql(self, query: str) -> list[dict[str, Any]]:
        return list(self._control(self.box.salesforce.url, "POST", "query", {"soql": query})["records"])

    def row(self, sobject: str, record_id: str, fields: str) -> dict[str, Any]:
        (found,) = self.soql(f"SELECT {fields} FROM {sobject} WHERE Id = '{record_id}'")
        return found

    def _hubspot_get(self, kind: str, row_id: str | int) -> Any:
        names = "email,firstname,lastname,jobtitle,company,phone,salesforceleadid,salesforcecontactid,hs_email_optout"
        names += ",dealname,dealstage,amount,closedate,hs_salesforceopportunityid,salesforceaccountid,lastmodifieddate"
        return self._get(f"/crm/v3/objects/{kind}/{row_id}?properties={names}")

    def _get(self, path: str) -> Any:
        headers = {"Authorization": f"Bearer {self.box.hubspot.token}"}
        with urllib.request.urlopen(
            urllib.request.Request(self.box.hubspot.url + path, headers=headers), timeout=30
        ) as answer:
            return json.loads(answer.read())

    @staticmethod
    def _control(url: str, method: str, name: str, body: Any) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{url}/__sandbox__/{name}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                text = answer.read()
        except urllib.error.HTTPError as refused:
            raise AssertionError(f"{refused.code}: {refused.read().decode()}") from None
        return json.loads(text) if text else None


@contextmanager
def joined(**options: Any) -> Iterator[Joined]:
    """Both accounts empty, the sync on with these settings, the clock held."""
    with Sandbox(people=0, now_ms=MORNING_MS, index_lag_seconds=0.0) as box:
        box.clock.hold(MORNING_MS)
        pair = Joined(box)
        pair.native({"on": True, **options})
        pair.tick()
        yield pair
