"""The REST resources that are used, each as one method: queries, composites, rows, limits. Bodies checked, pages cut out."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote as quote_url

from pydantic import SecretStr

from connectors.budget import Budget, CallLedger
from connectors.calls import CallKind, Clock, Effect
from connectors.protocol import CallCounts
from connectors.salesforce.api import Line
from connectors.salesforce.errors import first_error, row_error, translate
from connectors.salesforce.settings import SalesforceSettings
from connectors.salesforce.transport import is_paging_path
from connectors.tokens import TokenStore
from core.errors import ConnectorError, Forbidden, Unexpected
from core.records import Millis

QUERIES_PER_COMPOSITE = 5
PARTS_PER_COMPOSITE = 25
SAFE_HEADERS = {
    "Sforce-Auto-Assign": "FALSE",
    "Sforce-Duplicate-Rule-Header": "allowSave=true",
    "Sforce-Call-Options": "client=mikomi",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """One page of a query, or why there is none.

    Attributes:
        rows: as Salesforce sent them.
        total: rows of the whole query.
        next_url: path of the next page, None at the end.
        at: Salesforce's time when the request was sent.
        error: of this query alone (its neighbours in the bundle are fine).
    """

    rows: list[dict[str, Any]]
    total: int
    next_url: str | None
    at: Millis
    error: ConnectorError | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """One subrequest of a composite. `path` is below `/services/data/vNN.0/`."""

    method: str
    path: str
    body: Any = None


@dataclass(frozen=True, slots=True)
class PartAnswer:
    status: int
    body: Any
    at: Millis


class SalesforceApi:
    """What one org answers, over one line."""

    def __init__(self, line: Line) -> None:
        self.name = line.name
        self._line = line
        self._settings = line.settings

    @property
    def budget(self) -> Budget:
        return self._line.budget

    def now(self) -> Millis:
        """Salesforce's time; asks once if there was no answer yet."""
        if self._line.now() is None:
            with suppress(Forbidden):  # for want of View Setup: the refusal tells the time as well
                self.limits()
        now = self._line.now()
        if now is None:
            raise Unexpected("Salesforce answered without a Date header", system=self.name)
        return now

    # --- calls -------------------------------------------------------------------------------------------------------

    def query(
        self, queries: Sequence[str], *, endpoint: str, kind: CallKind = "other", deleted: bool = True
    ) -> list[Answer]:
        """First pages of up to five queries in one call. One that fails carries its error; its neighbours do not."""
        assert len(queries) <= QUERIES_PER_COMPOSITE
        resource = "queryAll" if deleted else "query"
        parts = [Part("GET", f"{resource}?q={quote_url(text, safe='')}") for text in queries]
        headers = {"Sforce-Query-Options": f"batchSize={self._settings.page_size}"}
        return [self._page(part) for part in self.composite(parts, endpoint=endpoint, kind=kind, part_headers=headers)]

    def more(self, next_url: str, *, endpoint: str, kind: CallKind = "stream") -> Answer:
        """The page behind a locator. Raises Rejected (INVALID_QUERY_LOCATOR) where it has expired."""
        if not is_paging_path(next_url):
            raise Unexpected("a paging link leads outside the org; it was not followed", system=self.name)
        headers = {"Sforce-Query-Options": f"batchSize={self._settings.page_size}"}
        body = self._line.run(
            endpoint,
            lambda sdk, timeout: sdk.query_more(next_url, identifier_is_url=True, timeout=timeout, headers=headers),
            kind=kind,
        )
        return self._page(PartAnswer(200, body, self._line.sent_at))

    def composite(
        self,
        parts: Sequence[Part],
        *,
        endpoint: str,
        kind: CallKind = "other",
        effect: Effect = "none",
        part_headers: Mapping[str, str] | None = None,
    ) -> list[PartAnswer]:
        """Up to 25 independent subrequests in one call, answers in their order."""
        assert len(parts) <= PARTS_PER_COMPOSITE
        version = self._settings.api_version
        requests_ = []
        for number, part in enumerate(parts):
            request: dict[str, Any] = {
                "method": part.method,
                "url": f"/services/data/v{version}/{part.path}",
                "referenceId": f"r{number}",
            }
            if part.body is not None:
                request["body"] = part.body
            if part_headers:
                request["httpHeaders"] = dict(part_headers)
            requests_.append(request)
        document = {"allOrNone": False, "collateSubrequests": False, "compositeRequest": requests_}
        body = self.send("POST", "composite", document, endpoint=endpoint, kind=kind, effect=effect)
        return self._match(body, len(parts))

    def get(self, path: str, *, endpoint: str, params: Mapping[str, str] | None = None) -> Any:
        """GET below `/services/data/vNN.0/`; the parsed body."""
        return self._line.run(
            endpoint, lambda sdk, timeout: sdk.restful(path, params=dict(params or {}), timeout=timeout), kind="other"
        )

    def send(
        self, method: str, path: str, document: Any, *, endpoint: str, kind: CallKind = "write", effect: Effect
    ) -> Any:
        """POST, PATCH or DELETE below `/services/data/vNN.0/`; the parsed body, None if empty."""
        return self._line.run(
            endpoint,
            lambda sdk, timeout: sdk.restful(path, method=method, json=document, timeout=timeout, headers=SAFE_HEADERS),
            kind=kind,
            effect=effect,
        )

    def limits(self) -> dict[str, Any]:
        body = self._line.run("limits", lambda sdk, timeout: sdk.limits(timeout=timeout))
        return self._need_object(body)

    def versions(self) -> list[str]:
        """API versions that the org serves, oldest first."""
        body = self._line.fetch("/services/data/", endpoint="versions")
        if not isinstance(body, list):
            raise Unexpected("Salesforce's answer is no list", system=self.name)
        return [str(item["version"]) for item in body if isinstance(item, dict) and "version" in item]

    def identity(self) -> dict[str, Any]:
        """Who we are: `user_id`, `organization_id`, `preferred_username`, …"""
        return self._need_object(self._line.run("userinfo", lambda sdk, _timeout: sdk.oauth2("userinfo")))

    def close(self) -> None:
        self._line.close()

    def reconsider(self) -> None:
        """A person asks: a remembered refusal that only Salesforce's word stands behind is put to it again."""
        self._line.reconsider()

    def reread_token(self) -> bool:
        """Use the token that is kept now, where one was given; whether it is another one than before."""
        return self._line.reread_token()

    def with_token(self, token: SecretStr, counts: CallCounts) -> "SalesforceApi":
        """The same org with another credential (an administrator's, for setting up)."""
        return SalesforceApi(self._line.with_token(token, counts))

    def _match(self, body: Any, count: int) -> list[PartAnswer]:
        """Answers of a composite by referenceId: their order is not promised."""
        items = body.get("compositeResponse") if isinstance(body, dict) else None
        if not isinstance(items, list):
            raise Unexpected("the composite answer has no compositeResponse", system=self.name)
        found: dict[str, PartAnswer] = {}
        for item in items:
            status = item.get("httpStatusCode") if isinstance(item, dict) else None
            if not isinstance(status, int):
                raise Unexpected("a part of the composite answer has no status", system=self.name)
            found[str(item.get("referenceId"))] = PartAnswer(status, item.get("body"), self._line.sent_at)
        lacking = [f"r{n}" for n in range(count) if f"r{n}" not in found]
        if lacking:
            raise Unexpected(f"the composite answer lacks {', '.join(lacking)}", system=self.name)
        return [found[f"r{n}"] for n in range(count)]

    def _page(self, part: PartAnswer) -> Answer:
        if part.status != 200:
            return Answer([], 0, None, part.at, self.part_error(part))
        body = part.body
        if not isinstance(body, dict) or not isinstance(body.get("records"), list):
            raise Unexpected("the query answer has no records", system=self.name)
        next_url = None if body.get("done", True) else body.get("nextRecordsUrl")
        return Answer(body["records"], int(body.get("totalSize") or 0), next_url, part.at)

    def part_error(self, part: PartAnswer) -> ConnectorError:
        """The error of a subrequest whose status is none of success."""
        code, message, fields = first_error(part.body)
        if part.status in {400, 404} and code:
            error = row_error(code, message, fields)
        else:
            error = translate(part.status, part.body, now=part.at)
        error.system = self.name
        return error

    def _need_object(self, body: Any) -> dict[str, Any]:
        if not isinstance(body, dict):
            raise Unexpected("Salesforce's answer is no object", system=self.name)
        return body


def open_api(
    name: str,
    settings: SalesforceSettings,
    *,
    clock: Clock,
    counts: CallCounts,
    tokens: TokenStore,
    ledger: CallLedger | None = None,
    allowed: Callable[[], None] | None = None,
) -> SalesforceApi:
    """The API of one connection. Makes no call. Raises InvalidSettings for a secret that cannot be read."""
    return SalesforceApi(Line(name, settings, clock=clock, counts=counts, store=tokens, ledger=ledger, allowed=allowed))
