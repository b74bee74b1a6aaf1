"""The one importer of HubSpot's SDK: endpoints in, plain JSON out, faults in our words.

The SDK brings authentication, addressing, escaping of path segments and the connection pool. Its typed models are left
out (`_preload_content=False`: they cost twenty times the JSON, and answer None where a success code is not the expected one),
its retries are off, and its one client object is kept, because each `client.crm…` access would open a new pool.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any, Protocol, cast

import urllib3
from hubspot import HubSpot
from hubspot.crm.objects.exceptions import ApiException
from pydantic import SecretStr
from urllib3.util.retry import Retry

from connectors.budget import Budget, CallLedger
from connectors.calls import CallKind, Calls, Clock, Effect, Pace, Policy
from connectors.hosts import AddressRefused, only_public
from connectors.hubspot.faults import read_refusal, to_error
from connectors.hubspot.pace import BurstPace
from connectors.hubspot.settings import HubSpotSettings
from connectors.protocol import CallCounts
from core.errors import ConnectorError, OutcomeUnknown, QuotaExhausted, Transient, Unexpected
from core.records import Millis, to_datetime

CONNECT_SECONDS = 10.0
SEARCH_PATH = "/crm/v3/objects/{type}/search"
_NOT_SENT = (
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
    urllib3.exceptions.NameResolutionError,
)


class Credential(Protocol):
    """Where the access token comes from."""

    def token(self, api: "HubSpotApi") -> SecretStr:
        """A token that holds for the next call."""
        ...

    def renew(self, api: "HubSpotApi") -> bool:
        """Get another one after HubSpot refused this one; False where somebody else had got it already.

        Raises:
            Unauthorized: there is no other.
        """
        ...

    def reread(self) -> bool:
        """Look whether a person has put another token where this one was read; whether it is another."""
        ...

    def reconsider(self, api: "HubSpotApi") -> None:
        """A person asks: put a remembered refusal to HubSpot again where another answer is possible."""
        ...

    def scopes(self, api: "HubSpotApi") -> frozenset[str] | None:
        """What the token may do; None where HubSpot does not say."""
        ...


class HubSpotApi:
    """Calls to one portal, one thread at a time. All raise `core.errors.ConnectorError` subclasses.

    Attributes:
        counts: calls by class and endpoint.
        server_now: the portal's time in the last `Date` header, or None before the first answer.
        daily: (calls used today by all private apps, the daily limit) as last reported, or None.
        budget: the share of them that is ours.
    """

    def __init__(
        self,
        system: str,
        settings: HubSpotSettings,
        clock: Clock,
        credential: Credential,
        ledger: CallLedger | None = None,
        allowed: Callable[[], None] | None = None,
    ) -> None:
        self.counts = CallCounts()
        self.server_now: Millis | None = None
        self.daily: tuple[int, int] | None = None
        self.next_reset: Callable[[], Millis | None] = lambda: None
        self._settings = settings
        self._clock = clock
        self._credential = credential
        self.budget = Budget(
            system,
            clock,
            own_calls=settings.daily_calls,
            stop_at_percent=settings.daily_share_percent,
            ledger=ledger,
        )
        self._paces: dict[str, Pace] = {}
        if settings.searches_per_second:
            self._paces["search"] = Pace(clock, calls=settings.searches_per_second, seconds=1.0)
        self._calls = Calls(
            system,
            clock,
            self._translate,
            policy=Policy(settings.timeout_seconds, settings.call_attempts, settings.call_budget_seconds),
            budget=self.budget,
            counts=self.counts,
            renew=lambda: credential.renew(self),
            paces=self._paces,
            allowed=allowed,
        )
        client = HubSpot(access_token="", host=settings.base_url.rstrip("/"), retry=Retry(total=0, redirect=0))
        self._client = client.crm.objects.search_api.api_client
        self._client.default_headers["Accept-Encoding"] = "gzip"
        if not settings.sandbox:
            only_public(self._client.rest_client.pool_manager)

    def get(
        self, path: str, *, kind: CallKind = "other", query: Sequence[tuple[str, str]] = (), **names: str
    ) -> dict[str, Any]:
        """`names` fill the `{…}` of the path, escaped."""
        return self._run("GET", path, names, kind, "none", query=query)

    def post(
        self, path: str, body: Mapping[str, object], *, kind: CallKind = "other", effect: Effect = "none", **names: str
    ) -> dict[str, Any]:
        """`effect` as in `connectors.calls`: none for searches and batch reads."""
        return self._run("POST", path, names, kind, effect, body=body)

    def post_form(self, path: str, form: Mapping[str, str], may_send: Callable[[], None]) -> dict[str, Any]:
        """A token request: without a bearer token, not billed. `may_send` raises before an attempt that must not be made."""

        def send(timeout: float) -> dict[str, Any]:
            may_send()
            return self._send("POST", path, {}, timeout, form=form)

        return self._calls.run(f"POST {path}", send, effect="none", cost=0)

    def scopes(self) -> frozenset[str] | None:
        """What the token may do; None where HubSpot does not say."""
        return self._credential.scopes(self)

    def reread_token(self) -> bool:
        """Use the token that is kept now; whether it is another one than before."""
        return self._credential.reread()

    def reconsider(self) -> None:
        """A person asks: what was refused before is tried again."""
        self._credential.reconsider(self)

    def now(self) -> Millis:
        """The portal's time; asks for it if no call has been answered yet."""
        if self.server_now is None:
            self.get("/account-info/v3/details")
        if self.server_now is None:
            raise Unexpected("HubSpot's answers carry no Date header")
        return self.server_now

    def close(self) -> None:
        self.budget.close()
        self._client.rest_client.pool_manager.clear()

    def _run(
        self,
        method: str,
        path: str,
        names: Mapping[str, str],
        kind: CallKind,
        effect: Effect,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: Mapping[str, object] | None = None,
    ) -> dict[str, Any]:
        searching = path == SEARCH_PATH
        paces = ("search",) if searching and "search" in self._paces else ()
        if not searching and "burst" in self._paces:
            paces = ("burst",)

        def send(timeout: float) -> dict[str, Any]:
            token = self._credential.token(self).get_secret_value()
            return self._send(method, path, names, timeout, query=query, body=body, token=token, effect=effect)

        endpoint = path
        for name in ("type", "source", "target"):  # few and fixed; ids stay out of the counts
            endpoint = endpoint.replace(f"{{{name}}}", names.get(name, ""))
        return self._calls.run(f"{method} {endpoint}", send, kind=kind, effect=effect, paces=paces)

    def _send(
        self,
        method: str,
        path: str,
        names: Mapping[str, str],
        timeout: float,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: Mapping[str, object] | None = None,
        form: Mapping[str, str] | None = None,
        token: str | None = None,
        effect: Effect = "none",
    ) -> dict[str, Any]:
        self._client.configuration.access_token = token
        headers = {"Accept": "application/json"}
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        raw = self._client.call_api(
            path,
            method,
            path_params=dict(names),
            query_params=list(query),
            header_params=headers,
            body=body,
            post_params=list(form.items()) if form is not None else None,
            auth_settings=["oauth2"] if token is not None else [],
            _preload_content=False,
            _request_timeout=(min(timeout, CONNECT_SECONDS), timeout),
        )
        self._observe(_lowered(raw.headers))
        return _parse(raw.data, raw.status, effect)

    def _observe(self, headers: Mapping[str, str]) -> None:
        """Keep what every answer tells about time and limits. Names are lower case."""
        if date := headers.get("date"):
            self.server_now = round(parsedate_to_datetime(date).timestamp() * 1000)
        daily, left = headers.get("x-hubspot-ratelimit-daily"), headers.get("x-hubspot-ratelimit-daily-remaining")
        if daily and left and daily.isdigit() and left.lstrip("-").isdigit():
            self.daily = (int(daily) - int(left), int(daily))
            self.budget.observe(used=self.daily[0], limit=self.daily[1], resets_at=self._own_time(self.next_reset()))
        maximum, remaining = headers.get("x-hubspot-ratelimit-max"), headers.get("x-hubspot-ratelimit-remaining")
        if maximum and maximum.isdigit() and remaining and remaining.isdigit():
            self._burst(headers, int(maximum)).observe(int(maximum), int(remaining))

    def _burst(self, headers: Mapping[str, str], maximum: int) -> BurstPace:
        """The pace for this app's ten-second window, made when the portal first tells its limit."""
        pace = self._paces.get("burst")
        if not isinstance(pace, BurstPace):
            interval = headers.get("x-hubspot-ratelimit-interval-milliseconds", "")
            seconds = int(interval) / 1000 if interval.isdigit() else 10.0
            share = self._settings.burst_share_percent
            pace = self._paces["burst"] = BurstPace(self._clock, maximum=maximum, share_percent=share, seconds=seconds)
        return pace

    def _own_time(self, at: Millis | None) -> Millis | None:
        """A time of the portal's clock as our clock will show it then."""
        if at is None or self.server_now is None:
            return None
        return at - self.server_now + self._clock.now()

    def _translate(self, error: Exception) -> ConnectorError | None:
        if isinstance(error, ApiException):
            return self._translate_answer(error)
        if isinstance(error, UnicodeDecodeError):  # an error page that is no text: the SDK decodes before it raises
            return OutcomeUnknown("HubSpot's error answer is not readable")
        if isinstance(error, urllib3.exceptions.MaxRetryError):
            return _lost(error.reason)
        if isinstance(error, urllib3.exceptions.HTTPError):
            return _lost(error)
        return None

    def _translate_answer(self, error: Any) -> ConnectorError:
        if not error.status:
            return Transient(
                "no secure connection to HubSpot (certificate refused)",
                hint="check the machine's clock and certificates",
            )
        headers = _lowered(error.headers or {})
        self._observe(headers)
        found = to_error(read_refusal(error.status, error.body, headers))
        error.body = error.headers = None  # a traceback would quote them: values of people
        if isinstance(found, QuotaExhausted) and (reset := self.next_reset()):
            found.resets_at = to_datetime(self._own_time(reset) or reset)
        return found


def _lowered(headers: Any) -> dict[str, str]:
    """Headers by lower-case name; the SDK gives them as a mapping or as pairs."""
    return {str(name).lower(): str(value) for name, value in dict(headers).items()}


def _lost(reason: Exception | None) -> ConnectorError:
    if isinstance(reason, AddressRefused):
        return Unexpected(f"refused: {reason}", hint="check this machine's DNS")
    if isinstance(reason, _NOT_SENT):
        return Transient("HubSpot cannot be reached", hint="check network, proxy and DNS; see status.hubspot.com")
    if isinstance(reason, urllib3.exceptions.ResponseError):
        return Unexpected("HubSpot answered with a redirect, which is not followed")
    return OutcomeUnknown(f"the answer was lost ({type(reason).__name__})")


def _parse(data: bytes, status: int, effect: Effect) -> dict[str, Any]:
    if status == 204:
        return {}
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict):
        return cast("dict[str, Any]", document)
    message = f"HubSpot answered {status} without a JSON object"
    raise Unexpected(message) if effect == "none" else OutcomeUnknown(message)
