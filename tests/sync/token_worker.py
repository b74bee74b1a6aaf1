"""Processes of their own that connect to an emulated org with tokens kept in a state database; killed where a test says so.

This program imports everything once, then forks one process for every connection to its socket. Such a process reads one
JSON line: state, key, settings, calls, die ("" or a step); says that it is ready; waits for a further line; works; and writes one
JSON line: what happened. One that was killed writes nothing.
"""

import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

from connectors import open_connector
from connectors.mapping import Usage
from connectors.salesforce.auth import SalesforceGrant
from core.errors import MikomiError
from sync.tokens import DatabaseTokens, StateKey

STEPS = ("locked", "before asking", "asked", "stored", "written back")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def plant(step: str) -> None:
    """Let this process be killed right after a step."""
    places: dict[str, tuple[Any, str]] = {
        "locked": (DatabaseTokens, "load"),
        "before asking": (SalesforceGrant, "ask"),
        "asked": (SalesforceGrant, "ask"),
        "stored": (DatabaseTokens, "save"),
        "written back": (SalesforceGrant, "keep"),
    }
    owner, name = places[step]
    original: Callable[..., Any] = getattr(owner, name)

    def planted(*given: Any, **named: Any) -> Any:
        if step in {"locked", "before asking"}:
            die()
        result = original(*given, **named)
        if step != "stored" or given[-1].access is not None:  # the announcement of a renewal has none
            die()
        return result

    setattr(owner, name, planted)


def work(lines: Any) -> None:
    order = json.loads(lines.readline())
    os.environ["MIKOMI_STATE_KEY"] = order["key"]
    store = DatabaseTokens(order["state"], StateKey(order["state"]))
    usage = Usage(frozenset(), frozenset(), frozenset())
    settings = order["settings"]
    connector = open_connector("salesforce", settings, zone=ZoneInfo("Asia/Tokyo"), usage=usage, tokens=store)
    connector.now()  # with the token that is there
    lines.write("ready\n")
    lines.flush()
    lines.readline()
    if order["die"]:
        plant(order["die"])
    outcome: dict[str, Any] = {"error": ""}
    try:
        for _ in range(order["calls"]):
            connector.plan_setup()
    except MikomiError as error:
        outcome = {"error": type(error).__name__, "message": str(error), "hint": error.hint}
    store.close()
    lines.write(json.dumps(outcome) + "\n")
    lines.flush()


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children are not waited for
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(sys.argv[1])
        listener.listen()
        print("listening", flush=True)
        while True:
            peer, _ = listener.accept()
            if os.fork() == 0:
                with peer, peer.makefile("rw", encoding="utf-8") as lines:
                    work(lines)
                os._exit(0)
            peer.close()


if __name__ == "__main__":
    main()
