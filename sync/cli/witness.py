"""What the demo promises, and how it looks: the state's ledger held against what both CRMs really hold."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import MikomiError
from core.records import RecordRef
from sync.app import App
from sync.cli.practice import Holdings, Practice, PracticeTask
from sync.look.ledger import Ledger, read_ledger
from sync.look.people import load_people

SYSTEMS = ("salesforce", "hubspot")


class PromiseBroken(MikomiError):
    """The demo saw something that must not be."""


def promise(kept: bool, what: str) -> None:
    """Raises PromiseBroken, naming what was promised, if it was not kept."""
    if not kept:
        raise PromiseBroken(f"promise not kept: {what}", hint="mikomi demo --keep FOLDER keeps the files to look at")


class Witness:
    """Looks at one installation and its market from outside."""

    def __init__(self, market: Practice, config: Path) -> None:
        self._market = market
        self._holdings = Holdings(market)
        self._config = config

    @contextmanager
    def app(self) -> Iterator[App]:
        """A fresh start, as every command has one."""
        app = App(self._config)
        try:
            yield app
        finally:
            app.close()

    def ledger(self) -> Ledger:
        with self.app() as app, app.state() as state, state.read() as connection:
            return read_ledger(connection)

    def tasks(self, system: str) -> list[PracticeTask]:
        """Our tasks in one CRM, read back from it."""
        return self._holdings.tasks(system)

    def count_tasks(self) -> dict[str, int]:
        """Our tasks in each CRM."""
        return {system: len(self.tasks(system)) for system in SYSTEMS}

    def count_calls(self) -> int:
        """Calls that both CRMs saw since they were last forgotten."""
        return sum(sum(self._market.calls(system).values()) for system in SYSTEMS)

    def scores_of(self, people: Iterable[int]) -> dict[int, tuple[int, str]]:
        """Total and band."""
        scores = self.ledger().scores
        return {person: scores[person] for person in people}

    def task_places(self) -> tuple[int, int]:
        """How many people have their task in Salesforce, and how many elsewhere though Salesforce knows them."""
        with self.app() as app, app.state() as state, state.read() as connection:
            tasks = read_ledger(connection).tasks
            people = load_people(connection, sorted({person for person, _ in tasks.values()}))
        known = {p.person_id for p in people if any(r.ref.system == "salesforce" for r in p.records)}
        there = {person for person, ref in tasks.values() if ref.system == "salesforce"}
        return len(there), len(known - there)

    def check_tasks(self) -> None:
        """Every task we owe exists exactly once, and no other task of ours exists.

        Raises:
            PromiseBroken: naming what is wrong.

        """
        owed = self.ledger().tasks
        found: dict[str, list[str]] = {}
        for system in SYSTEMS:
            for task in self.tasks(system):
                found.setdefault(task.key, []).append(system)
        twice = [key for key, systems in found.items() if len(systems) > 1]
        promise(not twice, f"no task exists twice ({len(twice)} do)")
        promise(found.keys() >= owed.keys(), f"no task is lost ({len(owed.keys() - found.keys())} are)")
        promise(owed.keys() >= found.keys(), "no task exists that we do not know of")
        people = [person for person, _ in owed.values()]
        promise(len(people) == len(set(people)), "nobody was handed over twice")

    def check_scores(self) -> None:
        """Every live record carries a score, and it is the one we believe it took.

        Raises:
            PromiseBroken: naming how many differ.

        """
        ledger = self.ledger()
        shown: dict[RecordRef, int] = {}
        for system in SYSTEMS:
            scores = self._holdings.scores(system)
            shown |= {RecordRef(system, kind, id): score for (kind, id), score in scores.items()}
        wrong = [ref for ref, score in ledger.acknowledged.items() if shown.get(ref) != score]
        promise(not wrong, f"every score in the CRMs is ours ({len(wrong)} of {len(shown)} differ)")
        bare = [ref for ref in ledger.records if ref not in ledger.acknowledged]
        promise(not bare, f"every record carries a score ({len(bare)} of {len(ledger.records)} do not)")
