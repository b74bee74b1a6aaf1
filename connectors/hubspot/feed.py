"""What the streams share that are no CRM objects: paging, the reach of a reading, tables."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connectors.calls import CallKind
from connectors.hubspot.api import HubSpotApi
from connectors.hubspot.facts import FactReader, Row
from connectors.hubspot.settings import HubSpotSettings
from connectors.mapping import KindTable
from core.errors import Unexpected
from core.records import Millis

PAGE_ROWS = 100


@dataclass(frozen=True, slots=True)
class Feed:
    """Access to one portal for the streams in `marketing` and `behaviour`."""

    api: HubSpotApi
    settings: HubSpotSettings
    facts: FactReader

    @property
    def overlap(self) -> Millis:
        return round(self.settings.overlap_minutes * 60_000)

    def horizon(self, now: Millis) -> Millis:
        """Up to when a reading at the portal's time `now` looks."""
        return now - round(self.settings.settle_seconds * 1000)

    def reach_back(self, state: Mapping[str, Any] | None, now: Millis, otherwise: Millis) -> Millis:
        """Where a reading begins: before the horizon of the last one, else where it is told.

        Where that lies ahead of now, the portal's clock stood ahead when it was stored: what came since is unknown.
        """
        begin = int(state["hi"]) - self.overlap if state and state.get("hi") else None
        return otherwise if begin is None or begin > self.horizon(now) else begin

    def table(self, stream: str) -> KindTable:
        return self.facts.meaning.tables[stream]

    def in_use(self, kinds: Sequence[str]) -> bool:
        return not self.facts.meaning.kinds.isdisjoint(kinds)

    def rows(self, path: str, query: Sequence[tuple[str, str]] = ()) -> Iterator[Row]:
        """Every row of a short directory (forms, events, owners): not a stream call."""
        for rows in self.pages(path, query, kind="other"):
            yield from rows

    def pages(
        self, path: str, query: Sequence[tuple[str, str]] = (), *, kind: CallKind = "stream", **names: str
    ) -> Iterator[list[Row]]:
        """Pages of `results` by `after`. Raises Unexpected where there are none, or they do not advance."""
        after = ""
        while True:
            parts = [*query, ("limit", str(PAGE_ROWS)), *([("after", after)] if after else [])]
            answer = self.api.get(path, kind=kind, query=parts, **names)
            rows = answer.get("results")
            if not isinstance(rows, list):
                raise Unexpected("HubSpot's answer has no list of results")
            following = next_page(answer)
            if following and following == after:
                raise Unexpected("HubSpot's pages do not advance")
            yield rows
            after = following
            if not after:
                return


def next_page(answer: Mapping[str, Any]) -> str:
    """The `after` of the next page; empty at the end."""
    return str(((answer.get("paging") or {}).get("next") or {}).get("after") or "")
