"""The emulator as the server sees it: routing, authentication, limits, errors; and the doors for bulk loads."""

import uuid
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from sandbox.clock import Clock
from sandbox.hubspot import control, routes
from sandbox.hubspot.auth import require
from sandbox.hubspot.errors import ApiError, invalid_json, missing_scopes
from sandbox.hubspot.loading import Loading
from sandbox.hubspot.marketing_loading import MarketingLoading
from sandbox.hubspot.object_types import resolve
from sandbox.hubspot.options import EDITIONS, HubSpotOptions
from sandbox.hubspot.portal import Call, Portal, answer
from sandbox.hubspot.routes import OpenRoute, Route
from sandbox.server import Request, Response

LONGEST_URI = 16_384
_PAGE = "<html>\n<head>\n<title>Error {status} {reason}</title>\n</head>\n<body><h2>HTTP ERROR {status} {reason}</h2>\n</body>\n</html>\n"


class HubSpot(Loading, MarketingLoading):
    """One HubSpot account over HTTP. Thread-safe: one lock around the account's database.

    `issue_token`, `load…` and `close` are for the process that runs it; all else goes through `sandbox.server.Server`.
    """

    name = "hubspot"
    compress = True

    def __init__(self, clock: Clock, options: HubSpotOptions | None = None) -> None:
        self.clock = clock
        self.options = options or HubSpotOptions()
        super().__init__(Portal(clock, self.options))
        self._router = routes.build()

    def issue_token(self, scopes: Iterable[str] | None = None) -> str:
        """A new token: `pat-na1-<uuid>`, or an OAuth access token if the app is one. None grants every scope."""
        return self._portal.tokens.issue(scopes)

    def close(self) -> None:
        """Close the database; a temporary one is deleted."""
        self._portal.store.close()

    def handle(self, request: Request) -> tuple[str, Response]:
        endpoint, response = self._answer(request)
        response.headers.setdefault("X-HubSpot-Correlation-Id", str(uuid.uuid4()))
        return endpoint, response

    def control(self, request: Request, name: str) -> Response | None:
        try:
            with self._portal.store.transaction():
                return control.run(self._portal, request, name)
        except ApiError as refused:
            return answer(400, {"error": refused.message})

    def _answer(self, request: Request) -> tuple[str, Response]:
        if len(request.target) > LONGEST_URI:
            return "(too long)", _html(414, "Request-URI Too Large")
        plain = replace(request, raw_path=routes.canonical(request.raw_path))
        found = self._router.match(plain)
        if found is None:
            known = self._router.methods(plain)
            return "(unknown)", _html(405, "Method Not Allowed") if known else _html(404, "Not Found")
        template, route, names = found
        try:
            endpoint = _endpoint(template, names)
        except ApiError as refused:
            endpoint, response = template, _refusal(refused, {})
            return endpoint, self._check_token_first(request) or response
        if isinstance(route, OpenRoute):
            return endpoint, self._run_open(route, request, names)
        assert isinstance(route, Route)
        return endpoint, self._run(route, request, names)

    def _run_open(self, route: OpenRoute, request: Request, names: dict[str, str]) -> Response:
        try:
            with self._portal.store.transaction():
                return route.handler(self._portal, request, names)
        except ApiError as refused:
            return _refusal(refused, {})
        except RecursionError:
            return _refusal(invalid_json("Document nesting depth exceeds the maximum allowed"), {})

    def _check_token_first(self, request: Request) -> Response | None:
        try:
            self._portal.tokens.authenticate(request.headers.get("authorization"))
        except ApiError as refused:
            return _refusal(refused, {})
        return None

    def _run(self, route: Route, request: Request, names: dict[str, str]) -> Response:
        headers: dict[str, str] = {}
        portal = self._portal
        try:
            with portal.store.transaction():
                token = portal.tokens.authenticate(request.headers.get("authorization"))
                app = str(token.app_id)
                headers = portal.limits.admit(app, oauth=token.oauth, search=route.search)
                require(token, route.scopes(names))
                _check_edition(route, portal.edition)
                _check_content_type(request)
                response = route.handler(Call(request, portal, token, names))
        except ApiError as refused:
            return _refusal(refused, headers)
        except RecursionError:
            return _refusal(invalid_json("Document nesting depth exceeds the maximum allowed"), headers)
        response.headers.update(headers)
        return response


def _endpoint(template: str, names: dict[str, str]) -> str:
    """The template with its object types filled in: call counts are then by stream."""
    for key in ("type", "to"):
        if key in names:
            template = template.replace(f"{{{key}}}", resolve(names[key]).name)
    return template


def _check_edition(route: Route, edition: str) -> None:
    """An account whose subscription lacks a feature cannot have its scope granted: the same 403 as a missing scope."""
    if route.edition and EDITIONS.index(edition) < EDITIONS.index(route.edition):
        raise missing_scopes(["business-intelligence", "event-detail-read", "web-analytics-api-access"])


def _check_content_type(request: Request) -> None:
    if request.method not in ("POST", "PUT", "PATCH") or not request.body:
        return
    content_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if content_type != "application/json":
        raise ApiError(415, f"Unsupported Media Type: {content_type or 'no Content-Type'}, expected application/json")


def _refusal(refused: ApiError, headers: dict[str, str]) -> Response:
    correlation_id = str(uuid.uuid4())
    sent = {**headers, **refused.headers, "X-HubSpot-Correlation-Id": correlation_id}
    return answer(refused.status, refused.document(correlation_id), sent)


def _html(status: int, reason: str) -> Response:
    """What the edge or the servlet container answers, before any API code runs."""
    body: Any = _PAGE.format(status=status, reason=reason).encode()
    return Response(status, body, content_type="text/html;charset=utf-8")
