"""The parts of one emulated account, put together, and what every handler is given."""

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from sandbox.clock import Clock
from sandbox.hubspot.associations import Associations
from sandbox.hubspot.auth import Token, Tokens
from sandbox.hubspot.errors import ApiError, invalid, invalid_json, missing_fields
from sandbox.hubspot.limits import Limits
from sandbox.hubspot.object_types import ObjectType, resolve
from sandbox.hubspot.options import HubSpotOptions
from sandbox.hubspot.pipelines import Pipelines
from sandbox.hubspot.records import Records, Source
from sandbox.hubspot.schema import Schema
from sandbox.hubspot.search_index import SearchIndex
from sandbox.hubspot.shapes import check_shape
from sandbox.hubspot.store import Store, dump
from sandbox.hubspot.wire import split_names, stamp, whole
from sandbox.server import Request, Response


class Portal:
    """One account: its data, its rules, its counters."""

    def __init__(self, clock: Clock, options: HubSpotOptions) -> None:
        self.clock = clock
        self.options = options
        self.lag_ms = round(options.index_lag_seconds * 1000)
        self.store = Store(options.database)
        self.schema = Schema(self.store)
        self.links = Associations(self.store)
        self.tokens = Tokens(clock, options)
        self.limits = Limits(clock, options)
        self.pipelines = Pipelines(self.store, self.schema)
        self.search = SearchIndex(self.store, self.schema, clock)
        self.records = Records(
            self.store,
            self.schema,
            self.links,
            clock,
            options.portal_id,
            self.lag_ms,
            self.pipelines.stages,
            self.is_owner,
        )
        if not self.store.documents.all("owner"):
            self._first_owner()

    @property
    def edition(self) -> str:
        return self.limits.edition

    def is_owner(self, owner_id: str) -> bool:
        owner = self.store.documents.get("owner", owner_id)
        return owner is not None and not owner["archived"]

    def _first_owner(self) -> None:
        """Every account has the super admin who opened it."""
        now = stamp(self.clock.now_ms())
        owner = {"id": "41629779", "email": "admin@portal.example", "type": "PERSON", "firstName": "Portal"}
        owner |= {"lastName": "Admin", "createdAt": now, "updatedAt": now}
        user = {"userId": self.tokens.user_id, "userIdIncludingInactive": self.tokens.user_id}
        with self.store.transaction():
            self.store.documents.put("owner", "41629779", {**owner, **user, "archived": False})


@dataclass(slots=True)
class Call:
    """One authenticated call on its way to a handler. `names` are the path's values."""

    request: Request
    portal: Portal
    token: Token
    names: dict[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> ObjectType:
        """The object type in the path."""
        return resolve(self.names["type"])

    @property
    def source(self) -> Source:
        return Source("INTEGRATION", str(self.token.app_id), None, self.portal.options.app_name)

    def body(self) -> dict[str, Any]:
        """The JSON object sent; 400 if it is none."""
        document = self.any_body()
        if not isinstance(document, dict):
            token = "START_ARRAY" if isinstance(document, list) else "VALUE_STRING"
            raise invalid_json(f"Cannot deserialize value of type `Json` from Array value (token `JsonToken.{token}`)")
        return document

    def any_body(self) -> Any:
        try:
            document = self.request.json()
        except json.JSONDecodeError as error:
            raise invalid_json(error.msg, error.lineno, error.colno) from None
        except UnicodeDecodeError:
            raise invalid_json("Invalid UTF-8 in the body") from None
        except ValueError as error:  # half a surrogate pair, thousands of digits, thousands of brackets
            raise invalid_json(f"Invalid value in the body ({type(error).__name__})") from None
        check_shape(document)
        return document

    def inputs(self, most: int, document: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """The `inputs` of a batch: 1 to `most` objects."""
        document = self.body() if document is None else document
        if "inputs" not in document:
            raise missing_fields(["inputs"])
        inputs = document["inputs"]
        if not isinstance(inputs, list) or not all(isinstance(entry, dict) for entry in inputs):
            raise invalid_json("Cannot deserialize value of type `ArrayList` from Object value")
        if not inputs:
            raise invalid("Batch input provided should have at least one object.")
        if len(inputs) > most:
            raise invalid(f"The maximum number of inputs supported in a batch request is {most}; got {len(inputs)}.")
        return inputs

    def number(self, name: str, default: int, most: int, least: int = 1) -> int:
        """A whole number from the query, between `least` and `most`; 400 otherwise."""
        text = self.request.param(name)
        if text is None or text == "":
            return default
        try:
            value = int(text)
        except ValueError:
            raise invalid(f"{name} must be a number, was {text}") from None
        if not least <= value <= most:
            raise invalid(f"{name} must be between {least} and {most}, was {value}")
        return value

    def flag(self, name: str) -> bool:
        return (self.request.param(name) or "").lower() == "true"

    def listed(self, name: str) -> list[str] | None:
        """Comma-separated or repeated query values; None if the parameter is absent."""
        values = self.request.query.get(name)
        return None if values is None else split_names(values)

    def next_page(self, after: str) -> dict[str, Any]:
        """The `paging` of an answer with more to come; the link repeats the call with the new `after`."""
        query = [(k, v) for k, values in self.request.query.items() if k != "after" for v in values]
        link = f"{self.request.base_url}{self.request.raw_path}?{urlencode([*query, ('after', after)])}"
        return {"next": {"after": after, "link": link}}


def answer(status: int, document: Any, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer. Figures and texts only: encoded without a second pass over strings."""
    return encoded(status, dump(document), headers)


def encoded(status: int, text: str, headers: dict[str, str] | None = None) -> Response:
    """An answer that is JSON already."""
    return Response(status, text.encode("utf-8", "surrogatepass"), headers or {})


def batch_answer(
    call: Call, status: int, results: list[Any], errors: list[dict[str, Any]], started_ms: int
) -> Response:
    """`status` if nothing failed, else 207 with the errors counted, as the real batch endpoints do."""
    times = {"startedAt": stamp(started_ms), "completedAt": stamp(call.portal.clock.now_ms())}
    document: dict[str, Any] = {"status": "COMPLETE", "results": results}
    if errors:
        document |= {"numErrors": len(errors), "errors": errors}
        status = 207
    return answer(status, document | times)


def object_id(value: Any) -> int:
    """A record id from a body: digits, as text or number."""
    number = whole(value)
    if number is not None:
        return number
    raise ApiError(400, f"Invalid object id: {value}", "VALIDATION_ERROR")
