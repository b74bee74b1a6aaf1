"""Machine bursts: mail gateways that open every link, crawlers that read a site faster than a person can.

Marked, never deleted: a suspect activity earns nothing, and what it would have earned is shown as points withheld. What
the CRM itself marked stays marked. Each finding depends only on activities within seconds of each other, so an unrelated
fact, earlier or later, changes nothing, and the order of reading does not matter.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from core.links import host_and_path
from core.records import Millis

SCATTER_LINKS = 3
SCATTER_SPAN: Millis = 10_000
"""Three different links within ten seconds: a person has to come back to the mail between clicks, a gateway has not."""

DELIVERY_SPAN: Millis = 5_000
"""A click within five seconds after the mail went out: gateways test links before they deliver. Only mail whose sending
the CRM shows (`email_out`) can be judged so. An open and a click in one second alone is no sign: where pictures are
blocked, the click is what makes the open known."""

PAGES = 10
PAGES_SPAN: Millis = 10_000
"""Ten different pages within ten seconds: more than one a second, sustained. Tabs opened in a row stay below it."""

CRAWL_PAGES = 40
CRAWL_SPAN: Millis = 60_000
"""Forty different pages within a minute: slow crawlers and link checkers."""

Why = Literal["crm", "link_burst", "at_delivery", "burst_echo", "page_burst"]


@dataclass(frozen=True, slots=True)
class Trace:
    """What one activity of a person left behind. `machine`: the CRM's own word."""

    id: int
    kind: str
    occurred_at: Millis
    url: str | None = None
    campaign: str | None = None
    machine: bool = False


def find_suspects(traces: Iterable[Trace]) -> Mapping[int, Why]:
    """Ids of one person's machine-suspect activities, each with the first reason that holds.

    - `crm`: marked by the CRM.
    - `link_burst`: `email_click` in a span of `SCATTER_SPAN` with `SCATTER_LINKS` different links.
    - `at_delivery`: `email_click` within `DELIVERY_SPAN` after an `email_out` (of the same campaign where both name one).
    - `burst_echo`: `email_open` or `page_view` within `SCATTER_SPAN` around a click of the two kinds above: the gateway's
      own fetch (a page view only if it shows one of the links that were clicked).
    - `page_burst`: `page_view` in a span with too many different pages.

    Spans are half-open: two acts exactly `SCATTER_SPAN` apart are not in one.
    """
    rows = sorted(traces, key=lambda t: (t.occurred_at, t.id))
    found: dict[int, Why] = {trace.id: "crm" for trace in rows if trace.machine}
    clicks = [trace for trace in rows if trace.kind == "email_click"]
    pages = [trace for trace in rows if trace.kind == "page_view"]
    burst = _crowded(clicks, SCATTER_LINKS, SCATTER_SPAN)
    sent = [trace for trace in rows if trace.kind == "email_out"]
    early = [click for click in clicks if click.id not in burst and any(_at_delivery(click, mail) for mail in sent)]
    for click in clicks:
        if click.id in burst:
            found.setdefault(click.id, "link_burst")
    for click in early:
        found.setdefault(click.id, "at_delivery")
    machine_clicks = [click for click in clicks if click.id in burst] + early
    for trace in rows:
        if trace.kind in {"email_open", "page_view"} and any(_echoes(trace, click) for click in machine_clicks):
            found.setdefault(trace.id, "burst_echo")
    for page in _crowded(pages, PAGES, PAGES_SPAN) | _crowded(pages, CRAWL_PAGES, CRAWL_SPAN):
        found.setdefault(page, "page_burst")
    return found


def _at_delivery(click: Trace, mail: Trace) -> bool:
    same = click.campaign is None or mail.campaign is None or click.campaign == mail.campaign
    return same and 0 <= click.occurred_at - mail.occurred_at < DELIVERY_SPAN


def _echoes(trace: Trace, click: Trace) -> bool:
    if abs(trace.occurred_at - click.occurred_at) >= SCATTER_SPAN:
        return False
    return trace.kind == "email_open" or (trace.url is not None and _page(trace.url) == _page(click.url))


def _crowded(rows: Sequence[Trace], enough: int, span: Millis) -> set[int]:
    """Ids of rows (ascending in time) that lie in some half-open span with `enough` different pages."""
    found: set[int] = set()
    counts: dict[str, int] = {}
    start = 0
    marked = 0  # rows before this place are marked as far as they ever will be
    for end, row in enumerate(rows):
        page = _page(row.url)
        counts[page] = counts.get(page, 0) + 1
        while row.occurred_at - rows[start].occurred_at >= span:
            gone = _page(rows[start].url)
            counts[gone] -= 1
            if not counts[gone]:
                del counts[gone]
            start += 1
        if len(counts) >= enough:
            found.update(one.id for one in rows[max(start, marked) : end + 1])
            marked = end + 1
    return found


def _page(url: str | None) -> str:
    """The link without query and fragment, where trackers put what differs; all unknown links are one."""
    return "".join(host_and_path(url)) if url else ""
