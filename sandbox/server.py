"""The HTTP server under both emulators: threads, keep-alive, the sandbox's clock in `Date`, faults, call counts.

An emulator is an `App`: it turns a `Request` into a `Response`. All it shares with its sibling is here: the control API
for clock, faults and counts under `/__sandbox__/`, connection handling, compression and TLS.
"""

import gzip
import json
import re
import socket
import ssl
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

from sandbox.clock import Clock
from sandbox.faults import Fault, Faults

MAX_BODY = 64 * 1024 * 1024
CONTROL = "/__sandbox__/"


@dataclass(slots=True)
class Request:
    """One call as it came in. Header names are lower case; `path` is percent-decoded, `target` is as sent."""

    method: str
    target: str
    path: str
    raw_path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes
    base_url: str  # scheme and host as the client called them

    @classmethod
    def read(cls, method: str, target: str, headers: dict[str, str], body: bytes, scheme: str = "http") -> "Request":
        """A call as it was sent. `headers`: names in lower case."""
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        parts = urlsplit(target)
        return cls(
            method=method,
            target=target,
            path=unquote(parts.path),
            raw_path=parts.path,
            query=parse_qs(parts.query, keep_blank_values=True),
            headers=headers,
            body=body,
            base_url=f"{scheme}://{headers.get('host', '')}",
        )

    def param(self, name: str, default: str | None = None) -> str | None:
        values = self.query.get(name)
        return values[0] if values else default

    def json(self) -> Any:
        """The body as JSON; raises ValueError (JSONDecodeError, UnicodeDecodeError) if it is none, or no text."""
        try:
            document = json.loads(self.body)
        except RecursionError:
            raise ValueError("the document is nested too deeply") from None
        if b"\\ud" in self.body.lower():
            json.dumps(document, ensure_ascii=False).encode()  # half of a surrogate pair is no text
        return document

    def form(self) -> dict[str, str]:
        pairs = parse_qs(self.body.decode("utf-8"), keep_blank_values=True)
        return {name: values[0] for name, values in pairs.items()}


@dataclass(slots=True)
class Response:
    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str | None = "application/json;charset=UTF-8"


def reply(status: int, document: Any, headers: dict[str, str] | None = None) -> Response:
    """A JSON answer."""
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    return Response(status, body, headers or {})


def empty(status: int = 204, headers: dict[str, str] | None = None) -> Response:
    return Response(status, b"", headers or {}, content_type=None)


Handler = Callable[..., Response]


class Router:
    """Paths with `{name}` segments to handlers: `handler(request, **names)`. `{name:path}` matches slashes too."""

    def __init__(self) -> None:
        self._routes: list[tuple[str, re.Pattern[str], str, Handler]] = []

    def add(self, methods: str, template: str, handler: Handler, *, ignore_case: bool = False) -> None:
        """Register `handler` for space-separated `methods`; the first registered match wins."""
        pattern = re.sub(r"\{(\w+):path\}", r"(?P<\1>.+)", template)
        pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern)
        compiled = re.compile(pattern + "/?", re.IGNORECASE if ignore_case else 0)
        for method in methods.split():
            self._routes.append((method, compiled, template, handler))

    def match(self, request: Request) -> tuple[str, Handler, dict[str, str]] | None:
        """(template, handler, decoded path values) or None; match on the raw path so an encoded slash stays one value."""
        for method, pattern, template, handler in self._routes:
            if method == request.method and (found := pattern.fullmatch(request.raw_path)):
                return template, handler, {k: unquote(v) for k, v in found.groupdict().items()}
        return None

    def methods(self, request: Request) -> set[str]:
        """The methods that this path would answer: empty means 404, else 405."""
        return {method for method, pattern, _, _ in self._routes if pattern.fullmatch(request.raw_path)}


class App(Protocol):
    """An emulator as the server sees it."""

    name: str
    clock: Clock
    compress: bool

    def handle(self, request: Request) -> tuple[str, Response]:
        """Answer, and name the endpoint (the route's template) for the call counts."""
        ...

    def control(self, request: Request, name: str) -> Response | None:
        """Answer an emulator-specific control call `/__sandbox__/<name>`; None where there is none."""
        ...


class Server:
    """One emulator on one port, in threads of this process."""

    def __init__(self, app: App, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.app = app
        self.faults = Faults()
        self._calls: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._httpd = _Httpd(
            (host, port), type("_Bound", (_Handler,), {"server_of": self, "scheme": "https" if tls else "http"})
        )
        if tls is not None:
            self._httpd.socket = tls.wrap_socket(self._httpd.socket, server_side=True, do_handshake_on_connect=False)
        self.port: int = self._httpd.server_address[1]
        self.url = f"{'https' if tls else 'http'}://{host}:{self.port}"
        self._thread: threading.Thread | None = None

    def start(self) -> "Server":
        self._thread = threading.Thread(target=self._httpd.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop listening and cut every open connection."""
        if self._thread is not None:
            self._httpd.shutdown()
            self._thread.join()
        self._httpd.server_close()
        self._httpd.cut_connections()

    def count(self, endpoint: str) -> None:
        with self._lock:
            self._calls[endpoint] += 1

    def calls(self) -> dict[str, int]:
        with self._lock:
            return dict(self._calls)

    def fault_of(self, request: Request) -> Fault | None:
        """What goes wrong with this call, counted; control calls always work."""
        fault = None if request.path.startswith(CONTROL) else self.faults.next(request.method, request.target)
        if fault is not None:
            self.count(f"fault {fault.kind}")
        return fault

    def answer(self, request: Request) -> Response:
        """Process a call: the control API here, all else in the emulator."""
        if request.path.startswith(CONTROL):
            return self._control(request, request.path.removeprefix(CONTROL))
        endpoint, response = self.app.handle(request)
        self.count(f"{request.method} {endpoint}")
        return response

    def render(self, response: Response, method: str, accepted: str) -> tuple[dict[str, str], bytes]:
        """An answer's headers and body as they are sent. `accepted`: the call's `Accept-Encoding`."""
        body = response.body
        headers = {"Date": formatdate(self.app.clock.now_ms() / 1000, usegmt=True), **response.headers}
        if response.content_type is not None:
            headers["Content-Type"] = response.content_type
        if self.app.compress and len(body) > 1024 and "gzip" in accepted:
            body = gzip.compress(body, compresslevel=1)
            headers["Content-Encoding"] = "gzip"
        if response.status != HTTPStatus.NO_CONTENT:
            headers["Content-Length"] = str(len(body))
        return headers, b"" if method == "HEAD" else body

    def _control(self, request: Request, name: str) -> Response:
        try:
            response = self._common_control(request, name)
            if response is None:
                response = self.app.control(request, name)
        except (ValueError, TypeError, KeyError) as error:
            return reply(400, {"error": f"{type(error).__name__}: {error}"})
        return response or reply(404, {"error": f"no control call {request.method} {name!r}"})

    def _common_control(self, request: Request, name: str) -> Response | None:
        clock = self.app.clock
        match request.method, name:
            case "GET", "health":
                return reply(200, {"name": self.app.name, "now_ms": clock.now_ms()})
            case "GET", "clock":
                return reply(200, {"now_ms": clock.now_ms()})
            case "POST", "clock":
                return reply(200, {"now_ms": _move(clock, request.json())})
            case "GET", "faults":
                return reply(200, self.faults.listing())
            case "POST", "faults":
                rules = request.json()
                for rule in rules if isinstance(rules, list) else [rules]:
                    self.faults.add(rule)
                return reply(200, self.faults.listing())
            case "DELETE", "faults":
                self.faults.clear()
                return empty()
            case "GET", "calls":
                return reply(200, self.calls())
            case "DELETE", "calls":
                with self._lock:
                    self._calls.clear()
                return empty()
        return None


def _move(clock: Clock, order: dict[str, Any]) -> int:
    """`{"advance": seconds}`, `{"set": ms}`, `{"hold": true}` or `{"hold": false}`."""
    if "advance" in order:
        return clock.advance(float(order["advance"]))
    if "set" in order:
        return clock.set(int(order["set"]))
    return clock.hold() if order["hold"] else clock.release()


class _Httpd(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *args: Any) -> None:
        self._stopped = False
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._open_lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def cut_connections(self) -> None:
        self._stopped = True
        with self._open_lock:
            for connection in self._open:
                _cut(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no event, nor is work left over when we stop; anything else prints its traceback."""
        if not (self._stopped or isinstance(sys.exc_info()[1], OSError)):
            super().handle_error(request, client_address)


def _cut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # already gone: that is what we want


class _Handler(BaseHTTPRequestHandler):
    """One connection: reads calls, has them answered, and does wrong what a fault says."""

    server_of: Server
    scheme: str
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 300

    def setup(self) -> None:
        if isinstance(self.request, ssl.SSLSocket):
            self.request.do_handshake()
        super().setup()

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet: the control API counts calls."""

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if length > MAX_BODY:
            self._send(Response(413))
            self.close_connection = True
            return
        body = self._chunks() if self.headers.get("Transfer-Encoding") == "chunked" else self.rfile.read(length)
        self._answer(self._request(body))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = _serve

    def _chunks(self) -> bytes:
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _request(self, body: bytes) -> Request:
        headers = {name.lower(): value for name, value in self.headers.items()}
        return Request.read(self.command, self.path, headers, body, self.scheme)

    def _answer(self, request: Request) -> None:
        fault = self.server_of.fault_of(request)
        if fault is None:
            self._send(self.server_of.answer(request))
        else:
            self._strike(fault, request)

    def _strike(self, fault: Fault, request: Request) -> None:
        match fault.kind:
            case "status" | "replace":
                if fault.kind == "replace":
                    self.server_of.answer(request)
                self._send(false_answer(fault))
            case "drop_before":
                self._hang_up()
            case "drop_after":
                self.server_of.answer(request)
                self._hang_up()
            case "late_commit":
                self._hang_up()
                time.sleep(fault.seconds)
                self.server_of.answer(request)
            case "delay":
                time.sleep(fault.seconds)
                self._send(self.server_of.answer(request))
            case "truncate":
                self._send(self.server_of.answer(request), keep=0.5)
                self._hang_up()
            case "slow":
                self._send(self.server_of.answer(request), dribble=fault.seconds)

    def _hang_up(self) -> None:
        self.close_connection = True
        _cut(self.connection)

    def _send(self, response: Response, *, keep: float = 1.0, dribble: float = 0.0) -> None:
        headers, body = self.server_of.render(response, self.command, self.headers.get("Accept-Encoding", ""))
        head = f"HTTP/1.1 {response.status} {phrase_of(response.status)}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
        if dribble:
            self._dribble(head.encode("latin-1"), body, dribble)
        else:  # one send: headers and body apart would meet Nagle's delay
            self.wfile.write(head.encode("latin-1") + body[: int(len(body) * keep)])

    def _dribble(self, head: bytes, body: bytes, seconds: float) -> None:
        self.wfile.write(head)
        step = max(1, len(body) // 20)
        for start in range(0, len(body), step):
            self.wfile.write(body[start : start + step])
            time.sleep(seconds / 20)


def false_answer(fault: Fault) -> Response:
    """What a fault answers in the emulator's place."""
    extra = {name: value for name, value in fault.headers.items() if name != "Content-Type"}
    content_type = fault.headers.get("Content-Type", "application/json;charset=UTF-8")
    return Response(fault.status, fault.body.encode(), extra, content_type)


_KNOWN = {status.value for status in HTTPStatus}


def phrase_of(status: int) -> str:
    """What HTTP calls a status."""
    return HTTPStatus(status).phrase if status in _KNOWN else "Unknown"
