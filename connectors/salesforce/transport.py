"""The HTTP session of a connection: timeouts, no redirects, allowed hosts only; and the way to a practice server."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from urllib.request import getproxies

import requests
from requests.adapters import HTTPAdapter

from connectors.salesforce.settings import SalesforceSettings
from core.errors import ConnectorError, OutcomeUnknown, Transient, Unexpected


class _Adapter(HTTPAdapter):
    """Default timeouts and no redirects for calls through the SDK; and the way to a practice server."""

    def __init__(self, timeout_seconds: float, base_url: str | None) -> None:
        self._timeout = timeout_seconds
        self._base = urlsplit(base_url) if base_url else None
        super().__init__(pool_connections=2, pool_maxsize=2, max_retries=0)

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:  # type: ignore[override]
        if self._base is not None:
            parts = urlsplit(request.url or "")
            target = urlunsplit((self._base.scheme, self._base.netloc, str(parts.path), str(parts.query), ""))
            request.url = target
        kwargs["timeout"] = kwargs.get("timeout") or self._timeout
        return super().send(request, **kwargs)


class _NoHost(HTTPAdapter):
    """Every host that is not allowed: nothing is sent there."""

    def send(self, request: requests.PreparedRequest, **_kwargs: Any) -> requests.Response:  # type: ignore[override]
        raise requests.exceptions.InvalidURL(f"refused: {urlsplit(request.url or '').hostname} is no Salesforce host")


def open_session(settings: SalesforceSettings, hear: Callable[..., None]) -> requests.Session:
    """A session that speaks to the settings' hosts alone, calls `hear` with every response, and follows no redirect."""
    session = _Session()
    session.trust_env = False  # a .netrc would replace our credentials
    session.hooks["response"].append(hear)
    session.adapters.clear()
    adapter = _Adapter(settings.timeout_seconds, settings.base_url)
    if settings.base_url is not None:
        for scheme in ("https", "http"):
            session.mount(f"{scheme}://{urlsplit(settings.base_url).netloc}", adapter)
    else:
        session.proxies = getproxies()
        session.mount("https://", _Guarded(settings, adapter))
    session.mount("http://", _NoHost())
    if settings.base_url is not None:
        session.mount("https://", _NoHost())
    if settings.ca_file is not None:
        session.verify = settings.ca_file
    return session


class _Session(requests.Session):
    def request(self, *args: Any, **kwargs: Any) -> requests.Response:
        kwargs["allow_redirects"] = False
        return super().request(*args, **kwargs)


class _Guarded(HTTPAdapter):
    """Lets a request pass only to hosts that the settings allow, whoever built its URL."""

    def __init__(self, settings: SalesforceSettings, adapter: HTTPAdapter) -> None:
        self._settings = settings
        self._adapter = adapter
        super().__init__()

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:  # type: ignore[override]
        if not self._settings.allows(request.url or ""):
            return _NoHost().send(request)
        return self._adapter.send(request, **kwargs)

    def close(self) -> None:
        self._adapter.close()
        super().close()


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
