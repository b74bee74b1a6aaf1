"""How the command line speaks: errors to stderr in two lines, tables and progress by Rich, JSON for machines."""

import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress
from rich.table import Table
from rich.text import Text

from core.errors import MikomiError
from sync.redaction import CONTROLS
from sync.texts import Say, speaker

PIPED_WIDTH = 160
"""Columns of tables where the output is no terminal."""

console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else PIPED_WIDTH)

MARKS = {"ok": ("✓", "green"), "info": ("·", "dim"), "warning": ("!", "yellow"), "error": ("✗", "red")}


_CONTROL = re.compile(f"[{CONTROLS}]")
_SPACE = re.compile("[\t-\r\x85\u2028\u2029]+")


def plain(text: str) -> str:
    """One line of text for the terminal: nothing in a name, a path or a CRM's sentence moves its cursor, ends or turns its line."""
    return _CONTROL.sub("", _SPACE.sub(" ", text))


def _lines(text: str, indent: int) -> str:
    """Text of several lines: those after the first are indented, so that none of them passes for a line of ours."""
    return f"\n{' ' * indent}".join(plain(line) for line in text.split("\n"))


def print_error(error: MikomiError, say: Say) -> None:
    """What is wrong, and what to type or change next."""
    message = _lines(error.message if not getattr(error, "place", "") else str(error), indent=4)
    sys.stderr.write(f"{say('error: {message}', message=message)}\n")
    if error.hint:
        sys.stderr.write(f"  {say('next: {hint}', hint=plain(error.hint))}\n")


def print_program_error(where: str, debug: str, say: Say) -> None:
    """What nobody foresaw: where it happened, and how to see more."""
    hint = say(
        "please report this line (no data is in it); with {debug} the command shows the traceback too, data included",
        debug=debug,
    )
    sys.stderr.write(say("error: {message}", message=say("an error of the program: {where}", where=where)) + "\n")
    sys.stderr.write(f"  {say('next: {hint}', hint=hint)}\n")


def print_stopped(say: Say) -> None:
    """After Ctrl-C."""
    sys.stderr.write(say("stopped; what was done is kept, `mikomi sync` goes on from here") + "\n")


def print_json(document: Any) -> None:
    text = json.dumps(document, ensure_ascii=False, indent=2, default=str)
    # The line breaks between its parts are JSON's own; in texts JSON escapes some control characters, this the others.
    escaped = re.sub(f"(?!\n)[{CONTROLS}]", lambda found: f"\\u{ord(found[0]):04x}", text)
    sys.stdout.write(escaped + "\n")


def ask(question: str) -> str:
    """What a person answers at the terminal."""
    sys.stdout.write(f"{plain(question)} ")
    sys.stdout.flush()
    return sys.stdin.readline().strip()


def print_line(text: str = "", style: str = "") -> None:
    """One line as it is: text from a CRM is never read as markup."""
    console.print(Text(plain(text), style=style))


def print_finding(level: str, subject: str, message: str, hint: str = "") -> None:
    mark, style = MARKS[level]
    console.print(Text(f"{mark} ", style), Text(f"{plain(subject)}: ", "bold"), Text(_lines(message, 4)), sep="")
    if hint:
        console.print(Text(f"    → {plain(hint)}", "cyan"))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, right: Sequence[int] = ()) -> None:
    """A plain table; columns in `right` are aligned to the right. Without any name there is no heading."""
    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False, show_header=any(columns))
    for place, name in enumerate(columns):
        table.add_column(Text(name), justify="right" if place in right else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(Text("" if cell is None else plain(str(cell))) for cell in row))
    # A row is one line: a narrow terminal breaks it itself, where copying still gives whole words and ids.
    width = max(console.width, Measurement.get(console, console.options.update(max_width=10_000), table).maximum)
    console.print(table, width=width, crop=False, no_wrap=True, overflow="ignore")


class ConsoleProgress:
    """Progress as bars with counts, rates and remaining time; plain lines where the output is no terminal."""

    def __init__(self, say: Say | None = None) -> None:
        self._say = say or speaker("en")
        self._bars = RichProgress(
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._started: dict[str, float] = {}

    @contextmanager
    def shown(self) -> Iterator["ConsoleProgress"]:
        with self._bars:
            yield self

    def start(self, step: str, total: int | None = None) -> None:
        self._tasks[step] = self._bars.add_task(describe_step(step, self._say), total=total, rate="")
        self._started[step] = self._bars.get_time()

    def advance(self, step: str, count: int = 1, total: int | None = None) -> None:
        task = self._tasks[step]
        self._bars.advance(task, count)
        done = self._bars.tasks[self._bars.task_ids.index(task)].completed
        if total is not None:
            self._bars.update(task, total=max(total, done))
        self._bars.update(task, rate=self._rate(step, done))

    def finish(self, step: str) -> None:
        task = self._tasks.pop(step)
        done = self._bars.tasks[self._bars.task_ids.index(task)].completed
        self._bars.update(task, total=done, completed=done)
        self._bars.stop_task(task)
        if not console.is_terminal:
            seconds = self._bars.get_time() - self._started[step]
            named = describe_step(step, self._say)
            took = self._say("{count} in {seconds} s", count=f"{done:,.0f}", seconds=f"{seconds:.1f}")
            print_line(f"  {named}: {took} {self._rate(step, done)}".rstrip())

    def _rate(self, step: str, done: float) -> str:
        seconds = self._bars.get_time() - self._started[step]
        return f"({done / seconds:,.0f}/s)" if seconds > 0.05 and done else ""


def describe_step(step: str, say: Say) -> str:
    """A step of the cycle in words; steps are named in English by whoever takes them (`read hubspot`)."""
    match step.split():
        case ["read", name]:
            return say("read {name}", name=name)
        case ["compare", name]:
            return say("compare {name}", name=name)
        case ["compare", name, "tasks"]:
            return say("compare tasks of {name}", name=name)
        case ["recognise", "people"]:
            return say("recognise people")
        case ["score"]:
            return say("score people")
        case ["write", name, "fields"]:
            return say("write scores to {name}", name=name)
        case ["write", name, "task"]:
            return say("write tasks to {name}", name=name)
    return step


def named_cause(code: str | None, message: str | None) -> str:
    """A refusal's code and words; many messages begin with the code already."""
    code, message = code or "", message or ""
    return message if code and message.startswith(code) else f"{code} {message}".strip()
