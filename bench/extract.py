"""Extraction: 10,000 records from each emulator, over HTTP, in a process of its own.

CPU seconds and peak memory are the reading process's alone (the emulators run in another); calls are what it made. Memory
is measured again with five times the records: it must not grow with them.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

from bench.figures import Figure

RECORDS = 10_000
PEER_PER_CPU_SECOND = 3_400  # dlt's extract, reference: reliability §6
START_SECONDS = 120


def run(scale: float = 1.0) -> list[Figure]:
    """The figures of both connectors."""
    records = max(1_000, int(RECORDS * scale))
    small, large = _measure_both(records), _measure_both(5 * records)
    figures = []
    for vendor, got in small.items():
        speed = got["records"] / got["cpu"]
        pages = -(-got["records"] // got["page_rows"])
        figures += [
            Figure(f"extract {vendor}: records per CPU second", speed, "1/s", f">= {3 * PEER_PER_CPU_SECOND:,}"),
            Figure(f"extract {vendor}: calls for {got['records']:,} records", got["calls"], "calls", f"<= {pages + 3}"),
            Figure(f"extract {vendor}: peak memory", got["rss"] / 1e6, "MB", ""),
            Figure(f"extract {vendor}: memory at 5x the records", large[vendor]["rss"] / got["rss"], "x", "<= 1.15"),
        ]
    return figures


def _measure_both(records: int) -> dict[str, dict[str, Any]]:
    command = [sys.executable, "-m", "sandbox", "--no-limits", "--records", str(records)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as sandbox:
        try:
            assert sandbox.stdout is not None
            box = json.loads(sandbox.stdout.readline())
            return {vendor: _measure(vendor, box[vendor]) for vendor in ("salesforce", "hubspot")}
        finally:
            sandbox.terminate()
            sandbox.wait(timeout=30)


def _measure(vendor: str, endpoint: Mapping[str, str]) -> dict[str, Any]:
    """Read everything in a fresh process and return what it measured of itself."""
    environment = os.environ | {"BENCH_TOKEN": endpoint["token"]}
    command = [sys.executable, "-m", "bench.extract", vendor, endpoint["url"]]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=600)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _read(vendor: str, url: str) -> dict[str, Any]:
    from connectors import open_connector
    from connectors.mapping import Usage
    from core.records import Record

    settings: dict[str, Any] = {"vendor": vendor, "base_url": url, "sandbox": True}
    if vendor == "salesforce":
        settings |= {"auth": "access_token", "access_token": {"env": "BENCH_TOKEN"}}
        page_rows = 2000
    else:
        settings |= {"token": {"env": "BENCH_TOKEN"}, "searches_per_second": 0, "burst_share_percent": 100}
        page_rows = 100  # a first load lists
    usage = Usage(kinds=frozenset(), history=frozenset())
    connector = open_connector(vendor, settings, zone=ZoneInfo("Asia/Tokyo"), usage=usage)
    connector.prepare()
    before = connector.counts.stream
    cpu, wall, records = time.process_time(), time.perf_counter(), 0
    for page in connector.read({}):
        records += sum(isinstance(fact, Record) for fact in page.facts)
    return {
        "records": records,
        "page_rows": page_rows,
        "cpu": time.process_time() - cpu,
        "wall": time.perf_counter() - wall,
        "calls": connector.counts.stream - before,
        "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


if __name__ == "__main__":
    print(json.dumps(_read(sys.argv[1], sys.argv[2])))
