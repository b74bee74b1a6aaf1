"""The only importer of simple_salesforce: one line to one org, with its counts, budget, time and translation.

The SDK is used in its direct mode (token and host given), because its own refresh recurses without end when a 401 lasts
(issue #804), and with a session that sets timeouts, refuses redirects and, for practice, speaks to this machine.
"""

import math
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any

import requests
import simple_salesforce.api
from pydantic import SecretStr
from simple_salesforce.exceptions import SalesforceError

from connectors.budget import Budget, CallLedger
from connectors.calls import CallKind, Calls, Clock, Effect, Policy
from connectors.protocol import CallCounts
from connectors.salesforce.auth import Access, GivenToken, TokenSource, open_tokens
from connectors.salesforce.errors import translate
from connectors.salesforce.settings import SalesforceSettings
from connectors.salesforce.transport import open_session, translate_network
from connectors.tokens import MemoryTokens, TokenStore
from core.errors import ConnectorError, OutcomeUnknown, Unexpected
from core.records import Millis, to_millis


class Line:
    """One org, one credential, one thread: sends calls through the SDK, and listens to what every answer's headers say.

    Attributes:
        sent_at: Salesforce's time when the last call was sent, rounded down to a second.
        budget: the share of the org's calls that is ours.
    """

    def __init__(
        self,
        name: str,
        settings: SalesforceSettings,
        *,
        clock: Clock,
        counts: CallCounts,
        store: TokenStore | None = None,
        given: TokenSource | None = None,
        ledger: CallLedger | None = None,
        allowed: Callable[[], None] | None = None,
    ) -> None:
        self.name = name
        self.settings = settings
        self.sent_at: Millis = 0
        self._clock = clock
        self._session = open_session(settings, self._hear)
        self._ledger = ledger
        self.budget = Budget(
            name,
            clock,
            own_calls=settings.quota_calls_per_day,
            stop_at_percent=settings.quota_stop_at_percent,
            ledger=ledger,
        )
        make_calls = partial(Calls, name, clock, self._translate, _policy(settings), self.budget, counts)
        self._tokens = given or open_tokens(
            name, settings, session=self._session, calls=make_calls(), clock=clock, store=store or MemoryTokens()
        )
        self._calls = make_calls(renew=self._renew, allowed=allowed)
        self._sdk: Any = None
        self._date: tuple[Millis, float] | None = None
        self._retry_after: float | None = None

    def now(self) -> Millis | None:
        """Salesforce's time: its last `Date` header plus what has passed since; None before the first answer."""
        if self._date is None:
            return None
        at, heard = self._date
        return at + round((self._clock.monotonic() - heard) * 1000)

    def run(
        self,
        endpoint: str,
        send: Callable[[Any, float], Any],
        *,
        kind: CallKind = "other",
        effect: Effect = "none",
    ) -> Any:
        """Carry out one call: `send` gets the SDK's client and a timeout in seconds. See `Calls.run`."""
        self._client()  # a token is got before the call begins, so that its time is not the call's
        return self._calls.run(endpoint, lambda timeout: send(self._client(), timeout), kind=kind, effect=effect)

    def fetch(self, path: str, *, endpoint: str) -> Any:
        """GET a path of the instance that needs no token."""
        url = f"{self._tokens.current().instance_url}{path}"
        return self._calls.run(endpoint, lambda timeout: self._fetch(url, timeout), cost=0)

    def with_token(self, token: SecretStr, counts: CallCounts) -> "Line":
        """A line to the same org with another credential."""
        given = GivenToken(self.name, self._tokens.current().instance_url, lambda: token)
        return Line(self.name, self.settings, clock=self._clock, counts=counts, given=given, ledger=self._ledger)

    def reconsider(self) -> None:
        self._tokens.reconsider()

    def reread_token(self) -> bool:
        if not self._tokens.reread():
            return False
        self._sdk = None
        return True

    def close(self) -> None:
        self.budget.close()
        self._session.close()

    def _client(self) -> Any:
        if self._sdk is None:
            self._sdk = self._connect(self._tokens.current())
        return self._sdk

    def _connect(self, access: Access) -> Any:
        if not self.settings.allows(access.instance_url):
            raise Unexpected("the instance is outside Salesforce's hosts", system=self.name)
        sdk = simple_salesforce.api.Salesforce(
            session_id=access.token.get_secret_value(),
            instance_url=access.instance_url,
            version=self.settings.api_version,
            session=self._session,
            object_pairs_hook=None,
        )
        del sdk.headers["X-PrettyPrint"]  # a third more bytes for nobody to read
        return sdk

    def _renew(self) -> bool:
        self._sdk = None
        return self._tokens.renew()

    def _hear(self, response: requests.Response, seconds: float) -> None:
        """Take time and quota from every answer's headers."""
        headers = response.headers
        if date := headers.get("Date"):
            at = to_millis(parsedate_to_datetime(date))
            self._date = (at, self._clock.monotonic())
            # Rounded down: nothing committed later than `settle` after this second carries an older stamp.
            self.sent_at = at - math.ceil(seconds) * 1000
        retry_after = headers.get("Retry-After", "")
        self._retry_after = float(retry_after) if retry_after.isdigit() else None
        if usage := _parse_usage(headers.get("Sforce-Limit-Info", "")):
            self.budget.observe(used=usage[0], limit=usage[1])

    def _fetch(self, url: str, timeout: float) -> Any:
        response = self._session.get(url, timeout=timeout)
        if response.status_code != 200:
            raise translate(response.status_code, _json_or_none(response), now=self._clock.now())
        return response.json()

    def _translate(self, error: Exception) -> ConnectorError | None:
        if isinstance(error, SalesforceError):
            content, error.content = error.content, b""  # a traceback would quote it: values of people
            return translate(error.status, content, now=self._clock.now(), retry_after=self._retry_after)
        if isinstance(error, requests.JSONDecodeError):
            if error.doc.lstrip()[:1] in {"{", "["}:
                return OutcomeUnknown("the answer was cut short")
            return Unexpected("the answer is no JSON", hint="is there a proxy or a login page in between?")
        if isinstance(error, requests.exceptions.SSLError):
            return Unexpected("the TLS certificate is not trusted", hint="set ca_file to your proxy's CA certificate")
        if isinstance(error, requests.RequestException):
            return translate_network(error)
        if isinstance(error, (ValueError, TypeError, RecursionError)):  # the SDK stumbles over what is no document
            return Unexpected("the answer cannot be read")
        return None


def _policy(settings: SalesforceSettings) -> Policy:
    return Policy(
        timeout_seconds=settings.timeout_seconds,
        attempts=settings.attempts,
        budget_seconds=settings.call_budget_seconds,
    )


def _parse_usage(header: str) -> tuple[int, int] | None:
    """`api-usage=18/5000`, alone or followed by per-app figures."""
    for part in header.split(";"):
        name, _, value = part.strip().partition("=")
        used, slash, limit = value.partition("/")
        if name == "api-usage" and slash and used.isdigit() and limit.isdigit():
            return int(used), int(limit)
    return None


def _json_or_none(response: requests.Response) -> Any:
    try:
        return response.json()
    except requests.JSONDecodeError:
        return None
