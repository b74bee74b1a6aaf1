"""Watches the whole test run: no person and no secret may stand in a log line, on standard error, or in a run's report.

Known to be secret are the tokens of every sandbox that is started; personal are the canaries below, the people and companies of
every sandbox's market, and whatever looks like a mail address. Every log record of every test, of our own loggers from debugging
on, is rendered as the program would write it and held against them; so is what runs report. What commands print is held against
the secrets: they name people because somebody asked. A finding fails the session, and names the test.
"""

import json
import logging
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from sync.log import OURS, line_formatter

if TYPE_CHECKING:
    from sandbox import Sandbox

NAME, ADDRESS, PHONE = "鳴海 花梨", "karin.narumi@canary.example", "03-5550-0147"
TOKEN = "pat-na1-canary00-0000-4000-8000-feedfacecafe"

_ADDRESS = re.compile(r"[\w.+-]{1,64}[@＠][\w-]+\.[\w.-]+")
_SHORTEST = 5
"""Shorter words stand in texts by chance."""

_MOST = 2_000
"""Of a market: so many records of a kind are learnt."""


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
    """What must not be seen, and where it was seen. `people`: those of markets, thousands, by how they begin."""

    secrets: set[str] = field(default_factory=lambda: {TOKEN})
    personal: set[str] = field(default_factory=lambda: {NAME, NAME.replace(" ", ""), ADDRESS, PHONE})
    people: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    leaks: list[Leak] = field(default_factory=list)
    checked: int = 0

    def look(self, text: str, place: str, *, people: bool = True, addresses: bool = False) -> None:
        """Hold a text against everything known."""
        self.checked += 1
        for secret in self.secrets:
            if secret in text:
                self._tell(place, "a secret", secret[:6] + "…")
        if people:
            for person in (*(person for person in self.personal if person in text), *self._people_in(text)):
                self._tell(place, "a person", person)
        if addresses and (found := _ADDRESS.search(text)):
            self._tell(place, "an address", found[0])

    def _people_in(self, text: str) -> Iterator[str]:
        for at in range(len(text) - _SHORTEST + 1):
            for person in self.people.get(text[at : at + _SHORTEST], ()):
                if text.startswith(person, at):
                    yield person

    def _tell(self, place: str, kind: str, shown: str) -> None:
        test = os.environ.get("PYTEST_CURRENT_TEST", "between tests").partition(" (")[0]
        self.leaks.append(Leak(test, place, kind, shown))

    def learn(self, secrets: Iterable[str], people: Iterable[str] = ()) -> None:
        self.secrets.update(secret for secret in secrets if len(secret) >= _SHORTEST)
        for person in people:
            if len(person) >= _SHORTEST:
                self.people[person[:_SHORTEST]].add(person)


def people_of(box: "Sandbox") -> Iterator[str]:
    """Names, addresses, telephone numbers and companies as they stand in both accounts of a market."""
    store = box.salesforce_app.org.store
    for sobject in ("Lead", "Contact"):
        for row in store.rows(f'SELECT * FROM "{sobject}" LIMIT {_MOST}'):
            yield from _said_of(row, "FirstName", "LastName", "Email", "Phone", "MobilePhone", "Company")
    yield from (str(row["Name"]) for row in store.rows(f'SELECT Name FROM "Account" LIMIT {_MOST}'))
    portal = box.hubspot_app.portal.store
    with portal.transaction():
        contacts = portal.db.execute("SELECT properties FROM contacts LIMIT ?", (_MOST,)).fetchall()
        companies = portal.db.execute("SELECT properties FROM companies LIMIT ?", (_MOST,)).fetchall()
    for (text,) in contacts:
        yield from _said_of(json.loads(text), "firstname", "lastname", "email", "phone", "mobilephone", "company")
    yield from (str(json.loads(text).get("name")) for (text,) in companies)


def _said_of(row: Mapping[str, Any], first: str, last: str, *others: str) -> Iterator[str]:
    """What a record says of a person; a name in both orders, with and without a space between its parts."""
    if row.get(first) and row.get(last):
        for one, two in ((row[first], row[last]), (row[last], row[first])):
            yield from (f"{one} {two}", f"{one}{two}")
    yield from (str(row[name]) for name in others if row.get(name))


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
        self._levels: dict[str, int] = {}

    def pytest_sessionstart(self) -> None:
        logging.getLogger().addHandler(self._recorder)
        for name in OURS:  # the service writes lines that no test asks for
            self._levels[name] = logging.getLogger(name).level
            logging.getLogger(name).setLevel(logging.DEBUG)
        self._watch_sandboxes()
        self._watch_reports()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            self.watch.look(report.capstderr, "standard error", people=False)
            self.watch.look(report.capstdout, "standard output", people=False)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        logging.getLogger().removeHandler(self._recorder)
        for name, level in self._levels.items():
            logging.getLogger(name).setLevel(level)
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
            if begun:  # plain records are numbered, and nobody's
                watch.learn(
                    (box.salesforce.token, box.hubspot.token), people_of(box) if box.options.records is None else ()
                )
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
