"""`python -m bench [--scale S] [--only extract|scoring|memory]`: measure, print, end. Memory takes an hour: only when named."""

import argparse
import os
import platform
import time

from bench import extract, memory, scoring
from bench.figures import show

SUITES = {"extract": extract.run, "scoring": scoring.run, "memory": memory.run}
LONG = {"memory"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="1.0 is what the README states")
    parser.add_argument("--only", choices=sorted(SUITES))
    options = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}, scale {options.scale}")
    for name, suite in SUITES.items():
        if options.only == name or (options.only is None and name not in LONG):
            started = time.perf_counter()
            print(show(suite(options.scale)), flush=True)
            print(f"  ({name}: {time.perf_counter() - started:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
