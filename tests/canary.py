"""Watches the whole test run: no person and no secret may stand in a log line, on standard error, or in a run's report.

Known to be secret are the tokens of every sandbox that is started; personal are the canaries below, the people of every
sandbox, and whatever looks like a mail address. Every log record of every test is rendered as the program would write it
and held against them; so is what commands print and what runs report. A finding fails the session, and names the test.
"""

import json
import logging
import os
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import pytest

from sync.log import OURS, line_formatter

NAME, ADDRESS, PHONE = "鳴海 花梨", "karin.narumi@canary.example", "03-5550-0147"
TOKEN = "pat-na1-canary00-0000-4000-8000-feedfacecafe"

_ADDRESS = re.compile(r"[\w.+-]{1,64}[@＠][\w-]+\.[\w.-]+")
_SHORTEST = 5
"""Shorter words stand in texts by chance."""


@dataclass(frozen=True, slots=True)
class Leak:
    test: str
    place: str
    kind: str
    shown: str  # only where: the text around it may be a person's

    def __str__(self) -> str:
        return f"{self.test}: {self.kind} in {self.place}: {self.shown}"


@dataclass(slots=True)
class Watch:
    """What must not be seen, and where it was seen."""

    secrets: set[str] = field(default_factory=lambda: {TOKEN})
    personal: set[str] = field(default_factory=lambda: {NAME, NAME.replace(" ", ""), ADDRESS, PHONE})
    leaks: list[Leak] = field(default_factory=list)
    checked: int = 0

    def look(self, text: str, place: str, *, people: bool = True, addresses: bool = False) -> None:
        """Hold a text against everything known."""
        self.checked += 1
        for secret in self.secrets:
            if secret in text:
                self._tell(place, "a secret", secret[:6] + "…")
        if people:
            for person in self.personal:
                if person in text:
                    self._tell(place, "a person", person)
        if addresses and (found := _ADDRESS.search(text)):
            self._tell(place, "an address", found[0])

    def _tell(self, place: str, kind: str, shown: str) -> None:
        test = os.environ.get("PYTEST_CURRENT_TEST", "between tests").partition(" (")[0]
        self.leaks.append(Leak(test, place, kind, shown))

    def learn(self, secrets: Iterable[str], personal: Iterable[str] = ()) -> None:
        self.secrets.update(secret for secret in secrets if len(secret) >= _SHORTEST)
        self.personal.update(person for person in personal if len(person) >= _SHORTEST)


class Recorder(logging.Handler):
    """Renders every record as the program's own log would, and holds the line against the watch."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch
        self.setFormatter(line_formatter("json"))

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno < logging.WARNING and not record.name.startswith(OURS):
            return  # not written by the program either
        again = logging.makeLogRecord(record.__dict__)  # formatting changes a record; others want it as it was
        self._watch.look(self.format(again), f"a log line of {record.name}", addresses=True)


class Canary:
    """The pytest plugin. One per process; with xdist each worker reports its own leaks to the first process."""

    def __init__(self) -> None:
        self.watch = Watch()
        self._recorder = Recorder(self.watch)
        self._patch = pytest.MonkeyPatch()

    def pytest_sessionstart(self) -> None:
        logging.getLogger().addHandler(self._recorder)
        self._watch_sandboxes()
        self._watch_reports()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            self.watch.look(report.capstderr, "standard error", people=False)
            self.watch.look(report.capstdout, "standard output", people=False)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        logging.getLogger().removeHandler(self._recorder)
        self._patch.undo()
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output["leaks"] = [str(leak) for leak in self.watch.leaks]
        elif self.watch.leaks:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_testnodedown(self, node: Any) -> None:
        for leak in getattr(node, "workeroutput", {}).get("leaks", []):
            test, _, rest = leak.partition(": ")
            self.watch.leaks.append(Leak(test, rest, "leak", ""))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.watch.leaks:
            terminalreporter.section("personal data or secrets were shown", sep="=", red=True)
            for leak in dict.fromkeys(map(str, self.watch.leaks)):
                terminalreporter.write_line(leak)

    def _watch_sandboxes(self) -> None:
        from sandbox import Sandbox

        begin = Sandbox.start
        watch = self.watch

        def start(box: Sandbox, *arguments: Any, **named: Any) -> bool:
            begun = begin(box, *arguments, **named)
            if begun:
                watch.learn((box.salesforce.token, box.hubspot.token))
            return begun

        self._patch.setattr(Sandbox, "start", start)

    def _watch_reports(self) -> None:
        from sync.cycle import Cycle

        store = Cycle._store
        watch = self.watch

        def keep(cycle: Cycle, report: Any, outcome: str) -> None:
            row = asdict(report) | {"planned": []}
            watch.look(json.dumps(row, ensure_ascii=False, default=str), "a run's report", addresses=True)
            store(cycle, report, outcome)

        self._patch.setattr(Cycle, "_store", keep)
