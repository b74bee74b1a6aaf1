"""A practice market for the demo: both emulators in a child process, and what users, time and bad luck do to them.

Everything here goes over HTTP to this machine: the emulators' control API (`/__sandbox__/…`, not counted as calls), and
HubSpot's own list endpoints where the demo reads back what was written.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import ProxyHandler, Request, build_opener

from core.errors import MikomiError

START_SECONDS = 120.0
STOP_SECONDS = 10.0
ASK_SECONDS = 60.0

_opener = build_opener(ProxyHandler({}))  # loopback is never asked through a proxy


class PracticeFailed(MikomiError):
    """The practice market did not start or did not answer."""


@dataclass(frozen=True, slots=True)
class PracticeTask:
    """A task of ours as the CRM has it."""

    id: str
    key: str
    subject: str


class Practice:
    """`with Practice(people=2000, seed=1, log=path) as market:` serves both CRMs until the block ends, however it ends."""

    def __init__(self, *, people: int, seed: int, log: Path) -> None:
        self._command = [sys.executable, "-m", "sync.cli", "sandbox", "--people", str(people), "--seed", str(seed)]
        self._log = log
        self._child: subprocess.Popen[bytes] | None = None
        self._ends: Mapping[str, Mapping[str, str]] = {}

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            # A session of its own: Ctrl-C reaches the demo, which then stops this child in order.
            self._child = subprocess.Popen(  # noqa: S603 - our own program
                self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, start_new_session=True
            )
        try:
            self._ends = self._read_ends(self._child)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Ask the child to end, and make it if it does not."""
        if self._child is not None:
            stop_process(self._child)
            if self._child.stdout is not None:
                self._child.stdout.close()
            self._child = None

    def _read_ends(self, child: subprocess.Popen[bytes]) -> Mapping[str, Mapping[str, str]]:
        """The line that says where both answer."""
        assert child.stdout is not None
        deadline, line = time.monotonic() + START_SECONDS, b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([child.stdout], [], [], max(0.0, deadline - time.monotonic()))
            part = os.read(child.stdout.fileno(), 65_536) if ready else b""
            if not part:
                tail = self._log.read_text("utf-8", "replace").strip().splitlines()[-3:]
                why = " / ".join(tail) or (
                    "it ended without a word" if ready else f"no answer in {START_SECONDS:.0f} s"
                )
                raise PracticeFailed(f"the practice CRMs did not start: {why}", hint="mikomi sandbox")
            line += part
        ends: Mapping[str, Mapping[str, str]] = json.loads(line)
        return ends

    def url(self, system: str) -> str:
        return self._ends[system]["url"]

    def token(self, system: str) -> str:
        return self._ends[system]["token"]

    # --- what happens to the market ----------------------------------------------------------------------------------

    def control(self, system: str, name: str, order: object = None, *, method: str | None = None) -> Any:
        """One control call: GET without an order, POST with one."""
        verb = method or ("GET" if order is None else "POST")
        return ask(verb, f"{self.url(system)}/__sandbox__/{name}", order)

    def now_ms(self) -> int:
        return int(self.control("salesforce", "clock")["now_ms"])

    def advance(self, seconds: float) -> None:
        """Move the clock of both CRMs on (they share one)."""
        self.control("salesforce", "clock", {"advance": seconds})

    def calls(self, system: str) -> dict[str, int]:
        """Calls by endpoint since they were last forgotten."""
        return dict(self.control(system, "calls"))

    def forget_calls(self) -> None:
        for system in self._ends:
            self.control(system, "calls", method="DELETE")

    @contextmanager
    def faults(self, rules: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[None]:
        """These faults by system, until the block ends."""
        for system, listed in rules.items():
            self.control(system, "faults", list(listed))
        try:
            yield
        finally:
            for system in rules:
                self.control(system, "faults", method="DELETE")

    def struck(self) -> int:
        """How often a fault was met so far."""
        return sum(int(rule["struck"]) for system in self._ends for rule in self.control(system, "faults"))


class Holdings:
    """What both CRMs hold of ours, read back from them."""

    def __init__(self, market: Practice) -> None:
        self._market = market

    def tasks(self, system: str) -> list[PracticeTask]:
        """Every task that carries a key of ours, read back from the CRM."""
        if system == "salesforce":
            soql = "SELECT Id, Mikomi_Key__c, Subject FROM Task WHERE Mikomi_Key__c != null AND IsDeleted = false"
            return [PracticeTask(r["Id"], r["Mikomi_Key__c"], r["Subject"]) for r in self._query(soql)]
        rows = self._list("tasks", ("mikomi_key", "hs_task_subject"))
        return [
            PracticeTask(id, p["mikomi_key"], p.get("hs_task_subject") or "") for id, p in rows if p.get("mikomi_key")
        ]

    def scores(self, system: str) -> dict[tuple[str, str], int]:
        """(kind, id) of every live record with a score, to the score the CRM shows."""
        if system == "salesforce":
            found: dict[tuple[str, str], int] = {}
            for entity, where in (("Lead", " AND IsConverted = false"), ("Contact", "")):
                soql = f"SELECT Id, Mikomi_Score__c FROM {entity} WHERE Mikomi_Score__c != null AND IsDeleted = false"
                rows = self._query(soql + where)
                found |= {(entity.lower(), row["Id"]): round(row["Mikomi_Score__c"]) for row in rows}
            return found
        rows_of = self._list("contacts", ("mikomi_score",))
        return {("contact", id): int(float(p["mikomi_score"])) for id, p in rows_of if p.get("mikomi_score")}

    def forms(self) -> list[dict[str, Any]]:
        """HubSpot's forms: `id`, `name`."""
        return list(self._hubspot("/marketing/v3/forms?limit=100")["results"])

    def _query(self, soql: str) -> list[dict[str, Any]]:
        return list(self._market.control("salesforce", "query", {"soql": soql})["records"])

    def _list(self, kind: str, properties: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        after = ""
        while True:
            query = f"limit=100&properties={','.join(properties)}" + (f"&after={quote(after)}" if after else "")
            page = self._hubspot(f"/crm/v3/objects/{kind}?{query}")
            yield from ((row["id"], row["properties"]) for row in page["results"])
            after = page.get("paging", {}).get("next", {}).get("after", "")
            if not after:
                return

    def _hubspot(self, path: str) -> Any:
        return ask(
            "GET",
            self._market.url("hubspot") + path,
            None,
            {"Authorization": f"Bearer {self._market.token('hubspot')}"},
        )


def ask(method: str, url: str, order: object, headers: Mapping[str, str] | None = None) -> Any:
    """One request with a JSON body (none for None); the JSON answer, or None where it is empty.

    Raises:
        PracticeFailed: no answer, or any status but success; a rate limit is waited for.

    """
    body = None if order is None else json.dumps(order).encode()
    for attempt in range(12):
        request = Request(  # noqa: S310 - http to this machine
            url, body, {"Content-Type": "application/json", **(headers or {})}, method=method
        )
        try:
            with _opener.open(request, timeout=ASK_SECONDS) as answer:
                text = answer.read()
            return json.loads(text) if text else None
        except HTTPError as error:
            if error.code != 429 or attempt == 11:
                said = error.read().decode("utf-8", "replace")[:300]
                raise PracticeFailed(f"{method} {url}: {error.code} {said}") from error
            time.sleep(1.0)  # the portal's ten-second limit holds for the demo's own looks as well
        except OSError as error:
            raise PracticeFailed(f"{method} {url}: {error}") from error
    raise AssertionError("unreachable")


def stop_process(child: subprocess.Popen[bytes]) -> None:
    """SIGTERM, and SIGKILL for one that does not listen."""
    if child.poll() is None:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
