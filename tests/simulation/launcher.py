"""`mikomi` as a process whose wall clock is the simulation's: shifted by a number of milliseconds that a file holds.

The file is read at every look at the clock, so that it can jump while the process runs. What the machine counts since its
start (leases, waiting) is left alone: no clock that people or NTP set has to do with it.
"""

import os
import struct
import sys
import time
from pathlib import Path


def shift_clock(file: Path) -> None:
    real = time.time_ns

    def shifted() -> int:
        (offset_ms,) = struct.unpack("<q", file.read_bytes())
        return real() + int(offset_ms) * 1_000_000

    time.time_ns = shifted
    time.time = lambda: shifted() / 1e9


def main() -> None:
    if clock := os.environ.get("SIMULATED_CLOCK"):
        shift_clock(Path(clock))
    from sync.cli import main as mikomi

    mikomi()


if __name__ == "__main__":
    sys.argv[0] = "mikomi"
    main()
