"""Incremental reading: keyset over (stamp, id), five streams a call, locators followed within a run, a cursor for every page.

The upper end of a newly opened window is Salesforce's time at the request less `settle`: a transaction that stamped a row
before that may still be committing. Rows stamped later are left for the next run; `lookback` reaches back for those that took
longer. Sources: reference/salesforce.md §3 (and the bugs listed there of readers that did otherwise).
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from connectors.protocol import Cursor, Page
from connectors.salesforce.cursor import Window, finished, resume
from connectors.salesforce.errors import LOCATOR_EXPIRED, TOO_LARGE_CODES
from connectors.salesforce.resources import QUERIES_PER_COMPOSITE, Answer, SalesforceApi
from connectors.salesforce.soql import is_id, keyset, select
from connectors.salesforce.streams import Stream
from connectors.soundness import EARLIEST, LATEST, UNREADABLE, check
from connectors.values import parse_millis
from core.errors import Rejected, StateError, Transient
from core.records import Fact, Millis

_log = logging.getLogger(__name__)

OLDEST_MS = 915_148_800_000
"""1999-01-01: no org is older; where slicing starts when a first load is too slow for one query."""

NARROWEST_MS = 60_000


@dataclass(frozen=True, slots=True)
class Reach:
    """How close to now reading goes and how far back; milliseconds."""

    lookback: Millis
    settle: Millis


@dataclass(slots=True)
class _Progress:
    """One stream on its way through a run.

    Attributes:
        limit: the end of the slice being read where the whole window was too slow for one query.
    """

    stream: Stream
    window: Window
    limit: Millis | None = None
    total: int | None = None

    def query(self) -> str:
        window, key = self.window, self.stream.key
        high = self.limit if self.limit is not None else window.high
        where = keyset(key, low=window.low, high=high, after=window.after)
        return select(self.stream.columns, self.stream.name, where, f"ORDER BY {key}, Id")


class Reader:
    """Reads the streams of one connection. `problems` counts rows and values that could not be read, by place."""

    def __init__(self, api: SalesforceApi, streams: tuple[Stream, ...], reach: Reach, problems: Counter[str]) -> None:
        self._api = api
        self._streams = streams
        self._reach = reach
        self._problems = problems

    def read(self, after: Mapping[str, Cursor]) -> Iterator[Page]:
        """See `Connector.read`."""
        waiting = [_Progress(stream, self._window(stream, after.get(stream.name))) for stream in self._streams]
        for start in range(0, len(waiting), QUERIES_PER_COMPOSITE):
            group = waiting[start : start + QUERIES_PER_COMPOSITE]
            answers = self._api.query([p.query() for p in group], endpoint="streams", kind="stream")
            answers.reverse()
            for progress in group:
                yield from self._drain(progress, answers.pop())  # popped: a drained page is freed before the next

    def _window(self, stream: Stream, cursor: Cursor | None) -> Window:
        try:
            return resume(cursor, lookback=self._reach.lookback)
        except (ValueError, KeyError) as error:
            raise StateError(
                f"the stored cursor of {stream.name} is not Salesforce's",
                hint="name a new database in `state:`; everything is read anew",
            ) from error

    def _drain(self, progress: _Progress, answer: Answer) -> Iterator[Page]:
        """All pages of one stream until this run's horizon."""
        horizon = (answer.at - self._reach.settle) // 1000 * 1000
        if progress.window.low is not None and progress.window.low > horizon:
            # The org's clock stood ahead when the cursor was stored: what was changed since is unknown, so all is read anew.
            progress.window = Window()
            answer = self._ask(progress)
        while True:
            if answer.error is not None:
                answer = self._recover(progress, answer, horizon)
                continue
            if progress.window.high is None:
                progress.window = Window(progress.window.low, horizon, progress.window.after)
            if progress.total is None:
                progress.total = answer.total
            # A first load takes what it sees beyond the horizon too, so that nobody is missing on the first day; the next
            # run reads it again.
            first_load = progress.window.low is None
            readable = self._placed(progress.stream, answer.rows)
            rows, cut = self._before_high(progress, readable)
            facts = self._facts(progress.stream, readable if first_load else rows)
            if rows:
                last = rows[-1]
                progress.window = Window(
                    progress.window.low, progress.window.high, (parse_millis(last[progress.stream.key]), last["Id"])
                )
            next_url = None if cut and not first_load else answer.next_url
            answer = Answer([], 0, None, answer.at)  # the rows are facts now: free them before the next call
            if next_url is not None:
                yield self._page(progress, facts)
                answer = self._more(progress, next_url)
            elif (following := self._follow(progress, horizon)) is not None:
                yield self._page(progress, facts, cursor=following)
                answer = self._ask(progress)
            else:
                yield self._page(progress, facts, cursor=finished(progress.window.high or horizon), final=True)
                return

    def _placed(self, stream: Stream, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The rows that say who they are and where they stand; reading goes on behind them, whatever the others are."""
        key = stream.key
        if all(_has_place(row, key) for row in rows):
            return rows
        found = [row for row in rows if _has_place(row, key)]
        self._problems[f"{stream.name} row"] += len(rows) - len(found)
        return found

    def _count(self, place: str) -> None:
        self._problems[place] += 1

    def _before_high(self, progress: _Progress, rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], bool]:
        """Rows below the window's end, and whether any lay beyond (they are in order of their stamps)."""
        high, key = progress.window.high, progress.stream.key
        end = len(rows)
        while end and high is not None and parse_millis(rows[end - 1][key]) >= high:
            end -= 1
        return (rows, False) if end == len(rows) else (rows[:end], True)

    def _follow(self, progress: _Progress, horizon: Millis) -> Cursor | None:
        """Move on to the next slice, or to the window behind one that an earlier run had left; its cursor, or None."""
        window = progress.window
        high = window.high or horizon
        if progress.limit is not None and progress.limit < high:
            width = max(progress.limit - (window.low or OLDEST_MS), NARROWEST_MS)
            after = window.after if window.after is not None and window.after[0] >= progress.limit else None
            progress.window = Window(progress.limit, high, after)
            progress.limit = min(high, progress.limit + 2 * width)
            return progress.window.to_cursor()
        if high < horizon:
            progress.window = Window(low=high - self._reach.lookback, high=horizon)
            progress.limit = progress.total = None
            return finished(high)
        return None

    def _page(
        self, progress: _Progress, facts: list[Fact], *, cursor: Cursor | None = None, final: bool = False
    ) -> Page:
        return Page(
            progress.stream.name, tuple(facts), cursor or progress.window.to_cursor(), final=final, total=progress.total
        )

    def _ask(self, progress: _Progress) -> Answer:
        [answer] = self._api.query([progress.query()], endpoint="streams", kind="stream")
        return answer

    def _more(self, progress: _Progress, next_url: str) -> Answer:
        try:
            return self._api.more(next_url, endpoint="streams (locator)")
        except Rejected as error:
            if error.code != LOCATOR_EXPIRED and error.code not in TOO_LARGE_CODES:
                raise
            more = {"connection": self._api.name, "stream": progress.stream.name}
            _log.info("locator lost, reading on by key", extra=more)
            return self._ask(progress)

    def _recover(self, progress: _Progress, answer: Answer, horizon: Millis) -> Answer:
        """Another answer for a query that failed inside a bundle; raises what cannot be helped."""
        error = answer.error
        assert error is not None
        if isinstance(error, Rejected) and error.code in TOO_LARGE_CODES:
            self._narrow(progress, horizon)
            return self._ask(progress)
        if isinstance(error, Transient):
            again = self._ask(progress)
            if again.error is not None:
                raise again.error
            return again
        raise error

    def _narrow(self, progress: _Progress, horizon: Millis) -> None:
        """Halve what the next query reads. Salesforce gives up on a query after two minutes."""
        window = progress.window
        high = window.high or horizon
        progress.window = Window(window.low, high, window.after)
        low = window.after[0] if window.after is not None else window.low if window.low is not None else OLDEST_MS
        width = ((progress.limit or high) - low) // 2
        if width < NARROWEST_MS:
            raise Transient(f"{progress.stream.name} is too slow to read even minute by minute", system=self._api.name)
        progress.limit = (low + width) // 1000 * 1000
        more = {"connection": self._api.name, "stream": progress.stream.name, "seconds": width // 1000}
        _log.info("too slow, reading a slice", extra=more)

    def _facts(self, stream: Stream, rows: list[dict[str, Any]]) -> list[Fact]:
        mapper = stream.mapper
        facts: list[Fact] = []
        for row in rows:
            try:
                fact = mapper(flatten(row, stream.columns))
                fact = None if fact is None else check(fact, self._count)
            except UNREADABLE as error:
                self._problems[f"{stream.name} row"] += 1
                more = {"connection": self._api.name, "stream": stream.name, "cause": type(error).__name__}
                _log.debug("row cannot be read", extra=more)
                continue
            if fact is not None:
                facts.append(fact)
        return facts


def _has_place(row: Any, key: str) -> bool:
    try:
        return is_id(row["Id"]) and EARLIEST <= parse_millis(row[key]) < LATEST
    except UNREADABLE:
        return False


def flatten(row: dict[str, Any], columns: tuple[str, ...]) -> dict[str, Any]:
    """A row as the mappers want it: always with IsDeleted and SystemModstamp, campaign fields under their dotted names."""
    if "IsDeleted" not in row:
        row["IsDeleted"] = False
    if "SystemModstamp" not in row:
        row["SystemModstamp"] = row["CreatedDate"]
    if "Campaign" in row:
        campaign = row["Campaign"] or {}
        for column in columns:
            if column.startswith("Campaign."):
                row[column] = campaign.get(column[9:])
    return row
