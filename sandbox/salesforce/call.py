"""One REST call inside its session, as the handlers see it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sandbox.salesforce.access import Rights
from sandbox.salesforce.catalog import SObject
from sandbox.salesforce.errors import ApiError, malformed_json, resource_missing
from sandbox.salesforce.org import Org, Work
from sandbox.salesforce.tokens import Session
from sandbox.server import Request, Response


@dataclass(slots=True)
class Call:
    """`version` is the number of the path (`59.0`); `again` runs a request of the same session (composite)."""

    org: Org
    session: Session
    version: str
    request: Request
    again: "Callable[[Call, Request], Response]"

    @property
    def rights(self) -> Rights:
        return self.org.access.of(self.session.user_id)

    @property
    def root(self) -> str:
        return f"/services/data/v{self.version}"

    def work(self) -> Work:
        return self.org.work(self.session.user_id)

    def sobject(self, name: str) -> SObject:
        """The object of a path; raises the 404 of one that is unknown or not readable."""
        found = self.org.schema.find(name)
        if found is None or not self.rights.may("read", found.name):
            raise resource_missing()
        return found

    def document(self) -> dict[str, Any]:
        """The body, a JSON object; raises the vendor's 400 or 415."""
        kind = self.request.headers.get("content-type", "application/json").split(";")[0].strip().lower()
        if kind not in ("application/json", "text/json", ""):
            message = f"Content-Type {kind} is not supported"
            raise ApiError(415, "UNSUPPORTED_MEDIA_TYPE", message)
        try:
            document = json.loads(self.request.body)
            if b"\\ud" in self.request.body.lower():
                json.dumps(document, ensure_ascii=False).encode()  # half of a surrogate pair is no text
        except (ValueError, RecursionError) as error:
            raise malformed_json(f"Unexpected character: {error}") from None
        if not isinstance(document, dict):
            raise malformed_json("The HTTP entity body is required, but this request has no entity body.")
        return document


def type_of(record: dict[str, Any]) -> str | None:
    """The object name in a record's `attributes`."""
    attributes = record.get("attributes")
    name = attributes.get("type") if isinstance(attributes, dict) else None
    return name if isinstance(name, str) else None


def flag(value: Any) -> bool:
    """A boolean of a body or a parameter."""
    return value is True or (isinstance(value, str) and value.lower() == "true")
