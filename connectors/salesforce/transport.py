"""The HTTP session of a connection: timeouts, no redirects, allowed hosts only; and the way to a practice server."""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from urllib.request import getproxies

import requests
from requests.adapters import HTTPAdapter

from connectors.calls import seconds_since_start
from connectors.hosts import AddressRefused, only_public
from connectors.salesforce.settings import SalesforceSettings
from core.errors import ConnectorError, OutcomeUnknown, Transient, Unexpected

Hear = Callable[[requests.Response, float], None]
"""Told of every response, and how many seconds it took: `Response.elapsed` is a difference of two looks at the wall clock."""

_PAGING = re.compile(r"/services/data/v\d{1,3}\.\d/query(?:All)?/[A-Za-z0-9_-]{1,200}", re.ASCII)


def is_paging_path(link: object) -> bool:
    """Whether a `nextRecordsUrl` is what Salesforce sends: a path to a query locator, and nothing that leads elsewhere."""
    return isinstance(link, str) and _PAGING.fullmatch(link) is not None


class _Gate(HTTPAdapter):
    """The only adapter of a session: lets requests pass to allowed hosts, whoever built their URL, and to nobody else.

    With a `base_url` everything goes to that practice server. Without one, the addresses of a host are checked when a
    connection is opened; through a proxy, which resolves names itself, they cannot be.
    """

    def __init__(self, settings: SalesforceSettings, hear: Hear) -> None:
        self._settings = settings
        self._hear = hear
        self._base = urlsplit(settings.base_url) if settings.base_url else None
        super().__init__(pool_connections=2, pool_maxsize=2, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        if self._base is None:
            only_public(self.poolmanager)

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:  # type: ignore[override]
        if not self._settings.allows(request.url or ""):
            host = urlsplit(request.url or "").hostname
            raise requests.exceptions.InvalidURL(f"refused: {host} is no Salesforce host")
        if self._base is not None:
            parts = urlsplit(request.url or "")
            target = urlunsplit((self._base.scheme, self._base.netloc, str(parts.path), str(parts.query), ""))
            request.url = target
        kwargs["timeout"] = kwargs.get("timeout") or self._settings.timeout_seconds
        began = seconds_since_start()
        try:
            response = super().send(request, **kwargs)
        except AddressRefused as error:
            raise requests.exceptions.InvalidURL(f"refused: {error}") from error
        self._hear(response, seconds_since_start() - began)
        return response


def open_session(settings: SalesforceSettings, hear: Hear) -> requests.Session:
    """A session that speaks to the settings' hosts alone, calls `hear` with every response, and follows no redirect."""
    session = _Session()
    session.trust_env = False  # a .netrc would replace our credentials
    session.adapters.clear()
    gate = _Gate(settings, hear)
    for scheme in ("https://", "http://"):
        session.mount(scheme, gate)
    if settings.base_url is None:
        session.proxies = getproxies()
    if settings.ca_file is not None:
        session.verify = settings.ca_file
    return session


class _Session(requests.Session):
    def request(self, *args: Any, **kwargs: Any) -> requests.Response:
        kwargs["allow_redirects"] = False
        return super().request(*args, **kwargs)


def translate_network(error: requests.RequestException) -> ConnectorError:
    """What a failure below HTTP means: refused and unsent, or an answer lost."""
    if isinstance(error, requests.exceptions.InvalidURL):
        return Unexpected(str(error), hint="check login_url and instance_url")
    if isinstance(error, requests.exceptions.ConnectTimeout) or "NewConnectionError" in repr(error.args):
        return Transient("Salesforce cannot be reached", hint="check the network, the proxy and login_url")
    if "NameResolutionError" in repr(error.args):
        return Transient("Salesforce's host name does not resolve", hint="check the network and login_url")
    if isinstance(error, requests.exceptions.ReadTimeout):
        return OutcomeUnknown("no answer in time")
    return OutcomeUnknown("the connection broke before the answer was complete")
