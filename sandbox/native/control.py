"""The control API of the native sync, on either emulator's port, under `/__sandbox__/native`.

- `GET native`: settings, last poll, links, copies, errors (`NativeSync.status`).
- `POST native` {settings…, "map": [{"object"?, "hubspot", "salesforce", "rule"?}], "poll_now": true}: change settings, then
  poll. `on` switches it on; `mapping` replaces the whole table, `map` adds or replaces rows.
"""

from sandbox.native.sync import NativeSync
from sandbox.server import App, Request, Response, reply


class WithNative:
    """An emulator that also answers the control calls of the native sync."""

    def __init__(self, app: App, native: NativeSync) -> None:
        self._app = app
        self._native = native
        self.name = app.name
        self.clock = app.clock
        self.compress = app.compress

    def handle(self, request: Request) -> tuple[str, Response]:
        return self._app.handle(request)

    def control(self, request: Request, name: str) -> Response | None:
        if name != "native" or request.method not in ("GET", "POST"):
            return self._app.control(request, name)
        if request.method == "POST":
            order = dict(request.json())
            poll_now = bool(order.pop("poll_now", False))
            if order:
                self._native.configure(order)
            if poll_now:
                self._native.poll()
        return reply(200, self._native.status())
