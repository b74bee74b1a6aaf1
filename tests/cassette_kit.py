"""Cassettes: answers recorded through the real SDKs, scrubbed, and replayed without a network.

A vendor's recordings live in `tests/connectors/<vendor>/recordings.py`, which offers

- `SCENARIOS`: name to a function of a connector; its cassette is `cassettes/<vendor>/<name>.yaml`;
- `practice(folder)`: a context manager that starts the sandbox with fixed content and yields a `Session`;
- `real(environ)`: a `Session` for a real org if its credentials are in the environment, else None;
- `replayed(folder)`: the `Session` under which cassettes are played: same settings, made-up secrets, nobody listening.

Requests match by method, path, query and body, never by host or port. Token requests match without body (it is signed anew
each time).
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

import vcr

from connectors.protocol import Connector

FOLDER = Path(__file__).parent.parent / "cassettes"
NOWHERE = "http://127.0.0.1:1"
"""Where all recorded hosts point after scrubbing, and where replaying connectors believe to speak to."""

RESERVED_DOMAINS = re.compile(r"(?:^|\.)(?:example|example\.(?:com|jp|net|org)|invalid|test)$", re.IGNORECASE)
EMAIL = re.compile(r"[A-Za-z0-9._%+-]+@([A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)")
KEPT_REQUEST_HEADERS = frozenset({"content-type", "accept", "sforce-auto-assign", "sforce-query-options"})
KEPT_RESPONSE_HEADERS = re.compile(
    r"content-type|date|location|retry-after|sforce-.*|x-hubspot-ratelimit-.*", re.IGNORECASE
)
SECRET_KEYS = frozenset(
    {
        "access_token",
        "refresh_token",
        "id_token",
        "client_secret",
        "assertion",
        "signature",
        "token",
        "tokenKey",
        "hapikey",
    }
)
TOKEN_PATHS = re.compile(r"/oauth2?/(?:v\d+/|[\d-]+/)?token$")


@dataclass(frozen=True, slots=True)
class Session:
    """One connection to record or to replay.

    Attributes:
        connect: makes the connector.
        base_url: of the recorded host; replaced by `NOWHERE` everywhere.
        secrets: texts that must not be on a cassette.
        provenance: what was recorded: the sandbox, or a real org.
        names: personal texts of a real org and what stands for them (names, companies), beside what patterns find.
        slim: cuts an answer's JSON to what is read, where whole answers are megabytes.
    """

    connect: Callable[[], Connector]
    base_url: str
    secrets: tuple[str, ...]
    provenance: str
    names: Mapping[str, str] = field(default_factory=dict)
    slim: Callable[[Any], Any] | None = None


class Recordings(Protocol):
    """What a vendor's module offers."""

    SCENARIOS: Mapping[str, Callable[[Any], Any]]

    def practice(self, folder: Path) -> AbstractContextManager[Session]: ...

    def real(self, environ: Mapping[str, str]) -> Session | None: ...

    def replayed(self, folder: Path) -> Session: ...


def recordings_of(module: ModuleType) -> Recordings:
    return cast("Recordings", module)


def tape(vendor: str, scenario: str, session: Session | None = None) -> AbstractContextManager[Any]:
    """Play a cassette (no session), or record one anew."""
    path = FOLDER / vendor / f"{scenario}.yaml"
    if session is not None:
        path.unlink(missing_ok=True)
    player = vcr.VCR(record_mode="none" if session is None else "once", decode_compressed_response=True)
    player.register_matcher("body_or_token", _match_body)
    scrubber = Scrubber(session)
    return cast(
        "AbstractContextManager[Any]",
        player.use_cassette(
            str(path),
            match_on=["method", "path", "query", "body_or_token"],
            before_record_request=scrubber.request,
            before_record_response=scrubber.response,
            allow_playback_repeats=False,
        ),
    )


def _match_body(one: Any, other: Any) -> None:
    if TOKEN_PATHS.search(one.path):
        return
    assert _plain(one.body) == _plain(other.body)


def _plain(body: Any) -> Any:
    if not body:
        return None
    try:
        return json.loads(body)
    except ValueError:
        return body


class Scrubber:
    """Takes out of requests and responses what must not be kept."""

    def __init__(self, session: Session | None) -> None:
        self._session = session

    def request(self, request: Any) -> Any:
        parts = urlsplit(request.uri)
        request.uri = f"{NOWHERE}{parts.path}{'?' + parts.query if parts.query else ''}"
        request.headers = {k: v for k, v in request.headers.items() if k.lower() in KEPT_REQUEST_HEADERS}
        if TOKEN_PATHS.search(parts.path):
            request.body = b"scrubbed"
        elif request.body:
            request.body = self._clean(_text(request.body)).encode()
        return request

    def response(self, response: dict[str, Any]) -> dict[str, Any]:
        headers = response["headers"]
        response["headers"] = {k: v for k, v in headers.items() if KEPT_RESPONSE_HEADERS.fullmatch(k)}
        text = self._clean(self._slim(_text(response["body"].get("string") or b"")))
        response["body"] = {"string": text.encode()}
        return response

    def _slim(self, text: str) -> str:
        if self._session is None or self._session.slim is None:
            return text
        try:
            document = json.loads(text)
        except ValueError:
            return text
        return json.dumps(self._session.slim(document), ensure_ascii=False, separators=(",", ":"))

    def _clean(self, text: str) -> str:
        text = _without_secret_values(text)
        if self._session is not None:
            text = text.replace(self._session.base_url, NOWHERE)
            for secret in self._session.secrets:
                text = text.replace(secret, "scrubbed")
            for name, stand_in in self._session.names.items():
                text = text.replace(name, stand_in)
        return EMAIL.sub(_reserved_address, text)


def _without_secret_values(text: str) -> str:
    names = "|".join(SECRET_KEYS)
    return re.sub(rf'("(?:{names})"\s*:\s*)"[^"]*"', r'\1"scrubbed"', text)


def _reserved_address(found: re.Match[str]) -> str:
    if RESERVED_DOMAINS.search(found.group(1)):
        return found.group(0)
    return f"someone{sum(found.group(0).encode()) % 1000}@scrubbed.example"


def _text(body: bytes | str) -> str:
    return body if isinstance(body, str) else body.decode("utf-8", "surrogateescape")


def all_cassettes() -> list[Path]:
    return sorted(FOLDER.glob("*/*.yaml"))


def faults_of(text: str) -> Iterable[str]:
    """What a cassette must not hold, by name; nothing for a clean one."""
    checks = {
        "an Authorization header": r"(?i)^\s*authorization:",
        "a bearer token": r"(?i)bearer\s+[A-Za-z0-9._!-]{8}",
        "a cookie": r"(?i)^\s*(?:set-)?cookie:",
        "a Salesforce session id": r"00D[A-Za-z0-9]{12,15}!",
        "a HubSpot private-app token": r"\bpat-[a-z]{2}\d-[0-9a-f-]{8}",
        "a JSON Web Token": r"\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.",
        "a private key": r"BEGIN (?:RSA |EC )?PRIVATE KEY",
        "a real host": r"https?://(?!127\.0\.0\.1:1\b|developers\.hubspot\.com/)[A-Za-z0-9.-]*(?:salesforce|force|hubspot|hubapi)\.com",
        "a live port": r"127\.0\.0\.1:(?!1\b)\d+",
    }
    for name, pattern in checks.items():
        if re.search(pattern, text, re.MULTILINE):
            yield name
    for key in SECRET_KEYS:
        if re.search(rf'"{key}\\?"\s*:\s*\\?"(?!scrubbed)[^"]', text):
            yield f"the value of {key}"
    for found in EMAIL.finditer(text):
        if not RESERVED_DOMAINS.search(found.group(1)):
            yield f"a mail address outside reserved domains (…@{found.group(1)})"
