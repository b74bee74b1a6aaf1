"""`mikomi demo`: the whole main job on two emulated CRMs, told step by step. Ends by itself; fails if a promise fails."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from core.records import day_start, local_day
from sync.cli.cycle import show_report, take_pass
from sync.cli.demo_files import lower_threshold, write_configuration
from sync.cli.doctor import run_doctor
from sync.cli.output import print_line, print_table
from sync.cli.people import print_explained, print_short
from sync.cli.practice import Practice, stop_process
from sync.cli.setup import apply_setup
from sync.cli.tampering import Edit, choose_edits, make_edits
from sync.cli.witness import PromiseBroken, Witness, promise
from sync.look.explain import explain_people
from sync.look.sample import best_people
from sync.report import RunReport
from sync.texts import Say, speaker

TO_CALL = 10
MINUTES_ON = 20
EVENING_MS = 3 * 3_600_000
"""This near to midnight the practice clock is set to the next morning: midnight is decay, and decay is not quiet."""

OFFICE_SECONDS = 9 * 3600.0

WRITING_SECONDS = 90.0


def run_demo(*, people: int, seed: int, language: str, keep: Path | None) -> int:
    """Tell the story. Exit code 0, or 1 where a promise did not hold.

    Raises:
        PromiseBroken: naming what was promised and what was found.
    """
    began = time.monotonic()
    say = speaker(language)
    folder = keep.absolute() if keep else Path(tempfile.mkdtemp(prefix="mikomi-demo-"))
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise PromiseBroken(f"{folder} is not empty", hint="name an empty folder: mikomi demo --keep FOLDER")
    try:
        with _orderly_end() as go_on:
            print_line(
                say("Starting Salesforce and HubSpot on this machine, with {people} people …", people=f"{people:,}")
            )
            with Practice(people=people, seed=seed, log=folder / "sandbox.log") as market:
                Story(market, folder, language, say).tell(go_on)
        print_line()
        print_line(say("Done in {seconds} s.", seconds=f"{time.monotonic() - began:.0f}"), "bold green")
        if keep:
            print_line(say("Files are in {folder}: try `mikomi explain` and `mikomi status` there.", folder=folder))
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


@contextmanager
def _orderly_end() -> Iterator[Callable[[], None]]:
    """SIGTERM ends the demo as Ctrl-C does: children are stopped, files removed.

    What is yielded raises KeyboardInterrupt once either was heard: the first one can be lost where Python cannot raise (a finaliser,
    a C library's import).
    """
    heard = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal heard
        heard = True
        raise KeyboardInterrupt

    def go_on() -> None:
        if heard:
            raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    heeded = [
        number for number, handler in before.items() if handler is not signal.SIG_IGN
    ]  # `(mikomi demo &)` ignores Ctrl-C
    try:
        for number in heeded:
            signal.signal(number, stop)
        yield go_on
    finally:
        for number in heeded:
            signal.signal(number, before[number] or signal.SIG_DFL)


class Story:
    """The steps, in order; each prints a headline, real numbers, and what the reader just saw."""

    def __init__(self, market: Practice, folder: Path, language: str, say: Say) -> None:
        self._market = market
        self._folder = folder
        self._witness = Witness(market, folder / "mikomi.yaml")
        self._language = language
        self._say = say
        self._step = 0
        self._edits: Sequence[Edit] = ()

    def tell(self, go_on: Callable[[], None]) -> None:
        """All steps; `go_on` is asked before each, and at the end.

        Raises:
            PromiseBroken: the first promise that did not hold.
        """
        write_configuration(self._folder, self._market, self._language)
        self._start_in_the_morning()
        steps: Sequence[Callable[[], None]] = (
            self._look_first,
            self._set_up,
            self._first_pass,
            self._whom_to_call,
            self._why,
            self._tasks,
            self._crash,
            self._a_day_at_work,
            self._quiet,
        )
        for step in steps:
            go_on()
            step()
        go_on()

    # --- steps -------------------------------------------------------------------------------------------------------

    def _look_first(self) -> None:
        self._headline(self._say("Can it work? — mikomi doctor"))
        with self._witness.app() as app:
            promise(run_doctor(app, as_json=False) == 0, "doctor finds nothing that keeps Mikomi from working")
        self._saw(self._say("Each line is ok or says what to do; the tables show which signals each CRM really has."))

    def _set_up(self) -> None:
        say = self._say
        self._headline(say("Fields and permissions — mikomi setup"))
        with self._witness.app() as app:
            for name, connector in app.connectors.items():
                steps = connector.plan_setup()
                missing = sum(not step.done for step in steps)
                print_line(say("plan for {name}: {count} {count:thing|things} to create", name=name, count=missing))
            promise(apply_setup(app, say, brief=True) == 0, "setup creates what is missing")
        self._saw(say("The plan came first; only Mikomi's own fields were created, nothing else was touched."))

    def _first_pass(self) -> None:
        self._headline(self._say("The first pass — mikomi sync"))
        self._pass()
        self._witness.check_scores()
        self._saw(self._say("Everyone was read, recognised across both CRMs, scored, and written back."))

    def _whom_to_call(self) -> None:
        say = self._say
        self._headline(say("The {count} people to call first", count=TO_CALL))
        with self._witness.app() as app, app.state() as state, state.read() as connection:
            best = best_people(connection, TO_CALL)
            promise(bool(best), "somebody is worth a call")
            for place, person in enumerate(best, 1):
                print_short(person, app.rulebook, app.loaded.settings, say, place=place)
        self._saw(say("Three reasons each, dated and with points: what a rep sees on the record."))

    def _why(self) -> None:
        say = self._say
        self._headline(say("Why this score? — mikomi explain"))
        with self._witness.app() as app, app.state() as state:
            with state.read() as connection:
                first = best_people(connection, 1)[0].person
            settings = app.loaded.settings
            [explained] = explain_people(state, settings, app.rulebook, [first])
            print_explained(explained, settings, say)
        self._saw(say("Every line, rounding and cap is shown, and the lines sum exactly to the score."))

    def _tasks(self) -> None:
        say = self._say
        self._headline(say("The tasks in the CRMs"))
        self._witness.check_tasks()
        known, other = self._witness.task_places()
        for system in ("salesforce", "hubspot"):
            tasks = self._witness.tasks(system)
            print_line(say("{system}: {count} {count:task|tasks}, for example", system=system, count=len(tasks)))
            for task in tasks[:3]:
                print_line(f"    {task.subject}")
        promise(other == 0, "whoever is known in Salesforce has the task there")
        self._saw(
            say(
                "One task per person: in Salesforce for the {known} known there, in HubSpot for the others.",
                known=known,
            )
        )

    def _crash(self) -> None:
        say = self._say
        self._headline(say("Killed in the middle of writing"))
        lower_threshold(self._folder)
        print_line(say("Marketing and sales agree on a lower threshold for band A, so there is much to write."))
        before = self._witness.count_tasks()
        self._kill_while_writing(before)
        there = sum(self._witness.count_tasks().values()) - sum(before.values())
        ledger = self._witness.ledger()
        unanswered = ledger.count("unknown")
        print_line(
            say(
                "SIGKILL: {unanswered} writes without an answer, {owed} not sent yet; {there} new tasks are in the CRM already.",
                unanswered=unanswered,
                owed=ledger.count("new"),
                there=there,
            ),
            "yellow",
        )
        promise(unanswered > 0, "the sync was killed while a request was on its way")
        self._pass()
        after = self._witness.count_tasks()
        for system, count in before.items():
            print_line(
                say(
                    "{system}: {before} tasks before, {after} now",
                    system=system,
                    before=count,
                    after=after[system],
                )
            )
        self._witness.check_tasks()
        self._witness.check_scores()
        self._saw(say("No task twice, none lost, and every score in the CRMs is the one we believe is there."))

    def _a_day_at_work(self) -> None:
        say = self._say
        self._headline(say("People work in the CRMs"))
        with self._witness.app() as app, app.state() as state, state.read() as connection:
            self._edits = choose_edits(connection, self._language)
        scores = self._witness.scores_of(edit.person_id for edit in self._edits)
        promise(len(self._edits) >= 3, "there are people to work with")
        make_edits(self._market, self._edits)
        for edit in self._edits:
            print_line(f"  {edit.describe(say)}")
        self._advance()
        report = self._pass()
        after = self._witness.scores_of(edit.person_id for edit in self._edits)
        rows = []
        for edit in self._edits:
            (old, old_band), (new, new_band) = scores[edit.person_id], after[edit.person_id]
            rows.append((edit.who, f"{old} {old_band}", f"{new} {new_band}", edit.describe(say)))
            if edit.raises:
                promise(new > old, f"{edit.kind} raises the score ({old} to {new})")
        print_line()
        print_table((say("person"), say("before"), say("after"), say("because")), rows)
        self._witness.check_tasks()
        self._witness.check_scores()
        everyone = report.people
        promise(report.people_scored < everyone // 2, "only people whom something concerned are scored again")
        self._saw(
            say(
                "{scored} of {people} people were looked at again, with {calls} calls in all.",
                scored=f"{report.people_scored:,}",
                people=f"{everyone:,}",
                calls=sum(s.stream_calls + s.other_calls + s.write_calls for s in report.systems.values()),
            )
        )

    def _quiet(self) -> None:
        say = self._say
        self._headline(say("Nothing happened"))
        self._advance()
        report = self._pass()
        calls = self._witness.count_calls()
        written = sum(system.write_calls for system in report.systems.values())
        salesforce = report.systems["salesforce"]
        promise(
            salesforce.stream_calls <= 3, f"Salesforce is looked at in three bundled calls ({salesforce.stream_calls})"
        )
        promise(written == 0, f"a quiet pass writes nothing ({written} write calls)")
        promise(report.people_scored == 0, f"a quiet pass scores nobody ({report.people_scored} scored)")
        self._witness.check_tasks()
        self._saw(say("A quiet pass: {calls} calls to look, no write, nobody scored again.", calls=calls))

    # --- how ---------------------------------------------------------------------------------------------------------

    def _pass(self) -> RunReport:
        self._market.forget_calls()
        with self._witness.app() as app:
            report = take_pass(app, self._say)
        show_report(report, self._say)
        wrong = [f"{name}: {system.error}" for name, system in report.systems.items() if system.error]
        promise(report.outcome == "ok", f"the pass goes well ({'; '.join(wrong) or report.outcome})")
        return report

    def _kill_while_writing(self, before: Mapping[str, int]) -> None:
        """Start a sync whose writes are answered very slowly, and kill it at the worst moment: when the CRM has carried out
        the first and the answer is still on its way.
        """
        slow = {"kind": "slow", "seconds": 2 * WRITING_SECONDS, "times": None}
        rules = {
            "salesforce": [slow | {"method": "PATCH", "path": "/composite/sobjects"}],
            "hubspot": [slow | {"method": "POST", "path": "/batch/(create|update)"}],
        }
        command = [sys.executable, "-m", "sync.cli", "sync", "--config", str(self._folder / "mikomi.yaml"), "--json"]
        with self._market.faults(rules), (self._folder / "killed.log").open("wb") as log:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)  # noqa: S603 - our own program
            try:
                deadline = time.monotonic() + WRITING_SECONDS
                while self._market.struck() == 0 or self._witness.count_tasks() == before:
                    if child.poll() is not None or time.monotonic() > deadline:
                        raise PromiseBroken(f"the sync did not come to write anything: see {log.name}")
                    time.sleep(0.05)
                os.kill(child.pid, signal.SIGKILL)
                child.wait()
            finally:
                stop_process(child)

    def _advance(self) -> None:
        self._market.advance(MINUTES_ON * 60)
        print_line(self._say("The practice clock is moved on by {minutes} minutes.", minutes=MINUTES_ON), "cyan")

    def _start_in_the_morning(self) -> None:
        with self._witness.app() as app:
            zone = app.loaded.settings.zone
        now = self._market.now_ms()
        midnight = day_start(local_day(now, zone) + 1, zone)
        if midnight - now < EVENING_MS:
            self._market.advance((midnight - now) / 1000 + OFFICE_SECONDS)
            print_line(self._say("It is late: the practice clock is set to the next morning."), "cyan")

    def _headline(self, text: str) -> None:
        self._step += 1
        print_line()
        print_line(f"━━ {self._step}. {text}", "bold")

    def _saw(self, text: str) -> None:
        print_line(f"→ {text}", "green")
