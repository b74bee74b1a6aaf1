"""The way to an emulator without sockets: urllib3, below both SDKs, hands a request over in process instead of sending it.

Everything above (SDKs, sessions, pools, retries, reading of bodies) and behind (routes, faults, call counts) is as ever; what is
left out is a third of a history's time. Every ninth history, all process runs and the contract suites use real HTTP.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import IncompleteRead, RemoteDisconnected
from io import BytesIO
from typing import Any
from unittest.mock import patch

from urllib3 import HTTPResponse
from urllib3.connectionpool import HTTPConnectionPool

from sandbox import Sandbox
from sandbox.server import Request, Response, Server, false_answer, phrase_of


@contextmanager
def without_sockets(box: Sandbox) -> Iterator[None]:
    """Requests to this sandbox, which serves already, take the short way until the block ends."""
    servers = dict(box.servers)
    late: list[threading.Thread] = []
    real = HTTPConnectionPool._make_request

    def hand_over(pool: HTTPConnectionPool, conn: Any, method: str, url: str, **more: Any) -> Any:
        server = servers.get(pool.port or 0)
        if server is None:
            return real(pool, conn, method, url, **more)
        request = _request(pool, method, url, more.get("headers") or {}, more.get("body"))
        response = _answer(server, request, more, late)
        response.retries = more.get("retries")
        response._connection = more.get("response_conn")
        response._pool = pool
        return response

    try:
        with patch.object(HTTPConnectionPool, "_make_request", hand_over):
            yield
    finally:
        for thread in late:
            thread.join()


def _request(pool: HTTPConnectionPool, method: str, url: str, headers: Mapping[str, Any], body: Any) -> Request:
    sent = body.encode() if isinstance(body, str) else bytes(body or b"")
    lowered = {name.lower(): _text(value) for name, value in headers.items()}
    return Request.read(method, url, {"host": f"{pool.host}:{pool.port}", **lowered}, sent)


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _answer(server: Server, request: Request, more: Mapping[str, Any], late: list[threading.Thread]) -> HTTPResponse:
    fault = server.fault_of(request)
    if fault is None:
        return _response(server, server.answer(request), request, more)
    match fault.kind:
        case "status":
            return _response(server, false_answer(fault), request, more)
        case "truncate":
            return _response(server, server.answer(request), request, more, keep=0.5)
        case "drop_before":
            pass
        case "drop_after":
            server.answer(request)
        case "late_commit":
            late.append(_later(server, request, fault.seconds))
        case other:
            raise NotImplementedError(f"{other} needs real sockets")
    raise RemoteDisconnected("Remote end closed connection without response")


def _later(server: Server, request: Request, seconds: float) -> threading.Thread:
    def carry_out() -> None:
        time.sleep(seconds)
        server.answer(request)

    thread = threading.Thread(target=carry_out, daemon=True)
    thread.start()
    return thread


def _response(
    server: Server, answer: Response, request: Request, more: Mapping[str, Any], *, keep: float = 1.0
) -> HTTPResponse:
    headers, body = server.render(answer, request.method, request.headers.get("accept-encoding", ""))
    return HTTPResponse(
        body=_Body(body, keep),
        headers=headers,
        status=answer.status,
        version=11,
        version_string="HTTP/1.1",
        reason=phrase_of(answer.status),
        preload_content=more.get("preload_content", True),
        decode_content=more.get("decode_content", True),
        enforce_content_length=more.get("enforce_content_length", True),
        request_method=request.method,
        request_url=request.target,
    )


class _Body(BytesIO):
    """What arrives of a body. Whoever wants all of one that was cut is told so, as `http.client` does."""

    def __init__(self, body: bytes, keep: float) -> None:
        super().__init__(body[: int(len(body) * keep)])
        self._missing = len(body) - int(len(body) * keep)

    def read(self, size: int | None = -1, /) -> bytes:
        found = super().read(size)
        if self._missing and (size is None or size < 0):
            raise IncompleteRead(found, self._missing)
        return found
