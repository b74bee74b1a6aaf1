"""How the command line speaks: errors to stderr in two lines, tables and progress by Rich, JSON for machines."""

import json
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
from sync.texts import Say, speaker

PIPED_WIDTH = 160
"""Columns of tables where the output is no terminal."""

console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else PIPED_WIDTH)

MARKS = {"ok": ("✓", "green"), "info": ("·", "dim"), "warning": ("!", "yellow"), "error": ("✗", "red")}


def print_error(error: MikomiError) -> None:
    """What is wrong, and what to type or change next."""
    sys.stderr.write(f"error: {plain(error.message if not getattr(error, 'place', '') else str(error))}\n")
    if error.hint:
        sys.stderr.write(f"  next: {plain(error.hint)}\n")


def print_json(document: Any) -> None:
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2, default=str) + "\n")


_CONTROLS = dict.fromkeys(
    (*range(9), 11, 12, *range(14, 32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
)


def plain(text: str) -> str:
    """Text from a CRM without control characters: an escape sequence in a name must not reach the terminal, nor turn its line."""
    return text.translate(_CONTROLS)


def print_line(text: str = "", style: str = "") -> None:
    """One line as it is: text from a CRM is never read as markup."""
    console.print(Text(plain(text), style=style))


def print_finding(level: str, subject: str, message: str, hint: str = "") -> None:
    mark, style = MARKS[level]
    console.print(Text(f"{mark} ", style), Text(f"{plain(subject)}: ", "bold"), Text(plain(message)), sep="")
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
