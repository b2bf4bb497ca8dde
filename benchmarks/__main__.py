"""Run the benchmarks: prints a table, and writes it as JSON where that is asked for."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from importlib import import_module
from pathlib import Path

import msgspec

from benchmarks.measure import Row

ALL = ("life_cycles", "scenario", "queues", "graphs", "memory", "http", "sdk", "startup", "trace")


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    name = platform.processor()
    try:
        with open("/proc/cpuinfo") as info:
            name = next(line.partition(":")[2].strip() for line in info if line.startswith("model name"))
    except (OSError, StopIteration):
        pass  # not Linux
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return {"processor": name, "cores": str(os.cpu_count()), "python": python, "load": load}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ones: {', '.join(ALL)}; all of them if none")
    parser.add_argument("--short", action="store_true", help="smaller sizes: a minute in place of ten")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows, with the points of the plots")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="write plots of cost against size (matplotlib)")
    given = parser.parse_args()
    unknown = [name for name in given.names if name not in ALL]
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]!r}; there are {', '.join(ALL)}")
    print(", ".join(f"{key} {value}" for key, value in machine().items()), flush=True)
    rows: dict[str, list[Row]] = {}
    for name in given.names or ALL:
        rows[name] = import_module(f"benchmarks.{name}").measure(given.short)
        for row in rows[name]:
            print(show(row), flush=True)
        if given.json:
            given.json.write_bytes(msgspec.json.format(msgspec.json.encode({"machine": machine(), "rows": rows})))
    if given.plots:
        from benchmarks.plots import draw

        draw([row for group in rows.values() for row in group], given.plots)
    return 0


def show(row: Row) -> str:
    """A line of the table."""
    value = f"{row.value:,.0f}" if abs(row.value) >= 1000 else f"{row.value:.3g}"
    target = "" if row.target is None else f"{'≤' if row.bound == 'at most' else '≥'} {row.target:,g}"
    met = {True: "met", False: "MISSED", None: ""}[row.met]
    return f"{row.question:<78} {value:>9} {row.unit:<4} {target:>10} {met:<7} {row.note}"


if __name__ == "__main__":
    sys.exit(main())
