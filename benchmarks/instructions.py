"""Count the processor's instructions for a life cycle: plain, with invariants, with invariants and journal.

    python -m benchmarks.instructions [FOLDER ...]

Each folder holds a version of the repository, the current one if none is given; several are counted turn by turn. Takes
valgrind, whose tool cachegrind counts the same to 0.1 % however busy the machine is. A count is the difference between
two sizes, so that it holds neither the start of Python nor of the simulation.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

SIZES: Final = (1000, 3000)
VARIANTS: Final = {
    "plain": "",
    "with invariants": ", invariants=True",
    "with invariants and journal": ", invariants=True, journal=True",
}
_COUNT: Final = re.compile(r"I\s+refs:\s+([\d,]+)")


def executed(folder: Path, count: int, options: str) -> int:
    """Return how many instructions a process executes that runs `count` life cycles with ten executors."""
    code = f"from colonysim.cli.measure import life_cycles; life_cycles({count}, 10{options})"
    tool = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONHASHSEED": "0"}
    command = [*tool, sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)
    found = _COUNT.search(done.stderr)
    if found is None:
        raise SystemExit(done.stderr)
    return int(found[1].replace(",", ""))


def main(folders: list[Path]) -> None:
    few, many = SIZES
    for variant, options in VARIANTS.items():
        for folder in folders:
            each = (executed(folder, many, options) - executed(folder, few, options)) / (many - few)
            print(f"{folder}: {variant}: {each:,.0f} instructions for each life cycle", flush=True)


if __name__ == "__main__":
    main([Path(name).resolve() for name in sys.argv[1:]] or [Path.cwd()])
