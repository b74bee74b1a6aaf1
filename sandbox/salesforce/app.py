"""The emulator: routes, the session at the door, the quota, and the doors for tests and simulators."""

from collections.abc import Callable, Iterable
from typing import Any

from sandbox.clock import Clock
from sandbox.salesforce import changes, composite, describe, many, records
from sandbox.salesforce.auth import Gate, bearer
from sandbox.salesforce.call import Call
from sandbox.salesforce.control import Control
from sandbox.salesforce.customize import restore_fields
from sandbox.salesforce.errors import ApiError, malformed_json, resource_missing, session_invalid
from sandbox.salesforce.metadata import Metadata
from sandbox.salesforce.options import SalesforceOptions
from sandbox.salesforce.org import Org
from sandbox.salesforce.paging import Cursors
from sandbox.salesforce.quota import Quota
from sandbox.salesforce.rules import completer
from sandbox.salesforce.seed import INTEGRATION, plant
from sandbox.salesforce.store import Row
from sandbox.salesforce.tokens import Session, Tokens
from sandbox.salesforce.tooling import Tooling
from sandbox.salesforce.values import loaded
from sandbox.server import Request, Response, Router, reply

_OLDEST, _NEWEST = 31, 68
_MOST_URI = 16_384
_SEASONS = ("Spring", "Summer", "Winter")
_DATA = "/services/data/v{version}"
_RESOURCES = ("tooling", "metadata", "query", "queryAll", "sobjects", "limits", "composite")


class Salesforce:
    """One emulated Salesforce org: an `App` for `sandbox.server.Server`. Thread-safe."""

    name = "salesforce"
    compress = True

    def __init__(self, clock: Clock, options: SalesforceOptions | None = None) -> None:
        self.clock = clock
        self.options = options or SalesforceOptions()
        self.org = Org(clock, self.options)
        restore_fields(self.org)
        plant(self.org)
        organization = str(self.org.store.value('SELECT Id FROM "Organization"'))
        ttl, key = self.options.token_ttl_seconds, self.options.jwt_public_key
        self._tokens = Tokens(clock, organization, ttl, key, rotate=self.options.refresh_rotation)
        self._quota = Quota(clock, self.options.daily_quota, enforced=self.options.limits)
        self._control = Control(self.org, self._tokens, self._quota)
        self._routes = _data_routes(Cursors(self.org), self._quota, Tooling(self.org))
        self._doors = _open_routes(Gate(self.org, self._tokens), Metadata(self.org, self._tokens, self._quota))

    def handle(self, request: Request) -> tuple[str, Response]:
        """See `App.handle`."""
        found = self._doors.match(request)
        if found is not None:
            template, handler, names = found
            return template, handler(request, **names)
        if not request.raw_path.startswith("/services/data/"):
            return "(unknown)", resource_missing().response()
        template, response = self._serve(request)
        response.headers.setdefault("Sforce-Limit-Info", self._quota.header())
        return template, response

    def control(self, request: Request, name: str) -> Response | None:
        """See `App.control`; the calls are listed in `control`."""
        return self._control.answer(request, name)

    def issue_token(self, user: str = INTEGRATION) -> str:
        """An access token for that username; raises KeyError for an unknown one."""
        user_id = self.org.store.value('SELECT Id FROM "User" WHERE Username = ? COLLATE NOCASE', (user,))
        if user_id is None:
            raise KeyError(user)
        return self._tokens.issue(user_id, self.options.client_id)

    def new_id(self, sobject: str) -> str:
        """A fresh 18-character id of that object; raises KeyError for an unknown one."""
        return self.org.new_id(sobject)

    def load(self, sobject: str, rows: Iterable[dict[str, object]]) -> int:
        """Load vendor-shaped rows fast, as they are: no rule runs, no history is written; how many there were.

        A row names its `Id` (else it gets one), and usually `CreatedDate`, `LastModifiedDate` and `SystemModstamp` as milliseconds or ISO
        text (cut to whole seconds; a missing stamp takes the next older one, then now). Derived columns that a row
        leaves out are filled. A row of a known id replaces the old one. Raises ValueError for an unknown field.
        """
        kind = self.org.schema.get(sobject)
        columns = {one.name: one.type for one in kind.fields.values()}
        blank: Row = {name: 0 for name, kind_of in columns.items() if kind_of == "boolean"}
        stamps = [name for name in ("CreatedDate", "LastModifiedDate", "SystemModstamp") if name in columns]
        author = self._control.administrator()
        authors = [name for name in ("CreatedById", "LastModifiedById", "OwnerId") if name in columns]
        now, seen, derive = self.org.now(), self.org.ids.seen, completer(kind)

        def complete(row: Row) -> Row:
            try:
                full = blank | {name: loaded(columns[name], value) for name, value in row.items()}
            except KeyError as error:
                raise ValueError(f"{sobject} has no field {error}") from None
            if "Id" in full:
                seen(full["Id"])
            else:
                full["Id"] = self.org.new_id(kind.name)
            last = now
            for name in stamps:
                last = full.setdefault(name, last)
            for by in authors:
                full.setdefault(by, author)
            derive(row, full)
            return full

        count = self.org.store.load(kind, rows, complete)
        self.org.access.forget()
        return count

    def close(self) -> None:
        """Close the database and remove it if it is private. Also happens when the object goes."""
        self.org.store.close()

    def _serve(self, request: Request) -> tuple[str, Response]:
        template = "(unknown)"
        try:
            _check_size(request)
            call = Call(self.org, self._admit(request), "", request, self._again)
            handler, template, names = self._route(call, request)
            self._quota.spend()
            return template, handler(call, **names)
        except ApiError as error:
            return template, error.response()
        except RecursionError:
            return template, malformed_json("The document is nested too deeply").response()

    def _admit(self, request: Request) -> Session:
        session = self._tokens.find(bearer(request) or "")
        rights = self.org.access.of(session.user_id) if session else None
        if session is None or rights is None or not rights.active:
            raise session_invalid()
        if "PermissionsApiEnabled" not in rights.flags:
            raise ApiError(403, "API_DISABLED_FOR_ORG", "The REST API is not enabled for this Organization.")
        return session

    def _again(self, outer: Call, request: Request) -> Response:
        """A subrequest in the outer call's session; it costs nothing by itself."""
        call = Call(self.org, outer.session, "", request, self._again)
        try:
            handler, _, names = self._route(call, request)
            return handler(call, **names)
        except ApiError as error:
            return error.response()

    def _route(self, call: Call, request: Request) -> tuple[Callable[..., Response], str, dict[str, str]]:
        version = request.raw_path.removeprefix("/services/data/").split("/")[0]
        _check_version(version)
        call.version = version.removeprefix("v")
        found = self._routes.match(request)
        if found is None:
            if self._routes.methods(request):
                raise ApiError(405, "METHOD_NOT_ALLOWED", f"HTTP Method '{request.method}' not allowed.")
            raise resource_missing()
        template, handler, names = found
        names.pop("version", None)
        return handler, template, names


def _check_size(request: Request) -> None:
    if len(request.target) > _MOST_URI:
        raise ApiError(414, "URI_TOO_LONG", "The length of the URI exceeds the 16,384-byte limit.")
    headers = sum(len(name) + len(value) for name, value in request.headers.items())
    if len(request.target) + headers > _MOST_URI:
        message = "The combined length of the URI and headers exceeds the 16,384-byte limit."
        raise ApiError(431, "REQUEST_HEADER_FIELDS_TOO_LARGE", message)


def _check_version(version: str) -> None:
    number, _, rest = version.removeprefix("v").partition(".")
    if not version.startswith("v") or rest != "0" or not number.isdigit() or int(number) > _NEWEST or int(number) < 7:
        raise resource_missing()
    if int(number) < _OLDEST:
        message = f"API version {version} is retired. Use {_OLDEST}.0 or later."
        raise ApiError(410, "UNSUPPORTED_API_VERSION", message)


def _versions(_request: Request) -> Response:
    """`GET /services/data`: no session is needed."""
    listing = []
    for number in range(_OLDEST, _NEWEST + 1):
        years, season = divmod(number - 30, 3)
        label = f"{_SEASONS[season]} '{14 + years + (season == 2)}"  # Winter is named after the year to come
        listing.append({"label": label, "url": f"/services/data/v{number}.0", "version": f"{number}.0"})
    return reply(200, listing)


def _resources(call: Call) -> Response:
    organization = call.org.store.value('SELECT Id FROM "Organization"')
    identity = f"{call.request.base_url}/id/{organization}/{call.session.user_id}"
    return reply(200, {"identity": identity, **{name: f"{call.root}/{name}" for name in _RESOURCES}})


def _open_routes(gate: Gate, metadata: Metadata) -> Router:
    routes = Router()
    routes.add("GET", "/services/data", _versions)
    routes.add("POST", "/services/oauth2/token", gate.token)
    routes.add("GET POST", "/services/oauth2/revoke", gate.revoke)
    routes.add("GET POST", "/services/oauth2/userinfo", gate.user_info)
    routes.add("GET", "/id/{organization}/{user}", lambda request, **_: gate.user_info(request))
    routes.add("POST", "/services/Soap/[uc]/{version}", gate.soap_login)
    routes.add("POST", "/services/Soap/m/{version}", metadata.answer)
    routes.add("POST", "/services/Soap/m/{version}/{rest:path}", metadata.answer)
    return routes


def _data_routes(cursors: Cursors, quota: Quota, tooling: Tooling) -> Router:
    routes = Router()

    def add(methods: str, path: str, handler: Callable[..., Response]) -> None:
        routes.add(methods, _DATA + path, handler)

    add("GET", "", _resources)
    add("GET", "/query", cursors.query)
    add("GET", "/queryAll", cursors.query_all)
    add("GET", "/query/{locator}", cursors.more)
    add("GET", "/queryAll/{locator}", cursors.more)
    add("GET", "/limits", lambda call: changes.limits(call, quota))
    add("GET", "/limits/recordCount", changes.record_count)
    add("POST", "/composite", composite.composite)
    add("POST", "/composite/batch", lambda call: composite.batch(call, quota))
    add("POST", "/composite/tree/{sobject}", composite.tree)
    add("POST", "/composite/sobjects", many.create)
    add("PATCH", "/composite/sobjects", many.update)
    add("DELETE", "/composite/sobjects", many.delete)
    add("GET", "/composite/sobjects/{sobject}", many.retrieve)
    add("POST", "/composite/sobjects/{sobject}", many.retrieve_many)
    add("PATCH", "/composite/sobjects/{sobject}/{field}", many.upsert)
    add("GET", "/sobjects", describe.describe_global)
    add("GET", "/sobjects/{sobject}", describe.basic_information)
    add("POST", "/sobjects/{sobject}", records.create)
    add("GET", "/sobjects/{sobject}/describe", describe.describe)
    add("GET", "/sobjects/{sobject}/updated", changes.updated)
    add("GET", "/sobjects/{sobject}/deleted", changes.deleted)
    add("GET", "/sobjects/{sobject}/{record_id}", records.read)
    add("PATCH", "/sobjects/{sobject}/{record_id}", records.update)
    add("DELETE", "/sobjects/{sobject}/{record_id}", records.delete)
    add("GET", "/sobjects/{sobject}/{field}/{value}", records.read_external)
    add("PATCH PUT", "/sobjects/{sobject}/{field}/{value}", records.upsert_external)
    add("POST", "/sobjects/{sobject}/{field}/{value}", _method_override(records.upsert_external))
    add("DELETE", "/sobjects/{sobject}/{field}/{value}", records.delete_external)
    add("GET", "/tooling/query", tooling.query)
    add("GET", "/tooling/sobjects", tooling.listing)
    add("POST", "/tooling/sobjects/CustomField", tooling.create)
    add("GET", "/tooling/sobjects/CustomField/{field_id}", tooling.read)
    add("PATCH", "/tooling/sobjects/CustomField/{field_id}", tooling.update)
    add("DELETE", "/tooling/sobjects/CustomField/{field_id}", tooling.delete)
    return routes


def _method_override(handler: Callable[..., Response]) -> Callable[..., Response]:
    """`POST …?_HTTP_METHOD=PATCH`, for clients without PATCH."""

    def answer(call: Call, **names: Any) -> Response:
        if call.request.param("_HTTP_METHOD") != "PATCH":
            raise ApiError(405, "METHOD_NOT_ALLOWED", "HTTP Method 'POST' not allowed.")
        return handler(call, **names)

    return answer
