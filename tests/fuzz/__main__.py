"""Fuzz all message types: python -m tests.fuzz --messages 1000000 --seed 1. Exit code 1 where anything is found."""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict

from .running import NAMES, Fuzzer


def report(fuzzer: Fuzzer, seconds: float) -> None:
    """Print what was sent and what became of it."""
    by_type: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for (name, status), count in sorted(fuzzer.counts.items()):
        by_type[name][status] = count
    for name, found in by_type.items():
        print(f"{name:30} {sum(found.values()):8,}  {'  '.join(f'{status}: {n:,}' for status, n in found.items())}")
    kinds = [finding.what for finding in fuzzer.findings]
    changed = sum("a refusal changed" in kind for kind in kinds)
    hangs = sum(kind.startswith("Hang") or "events in" in kind for kind in kinds)
    print(
        f"{fuzzer.messages:,} messages of {len(by_type.keys() & set(NAMES))} types ({fuzzer.signed:,} signed) "
        f"in {fuzzer.worlds:,} worlds, {fuzzer.events:,} steps, {seconds:.0f} s, seed {fuzzer.seed}: "
        f"{len(kinds) - changed - hangs} tracebacks or wrong answers, {hangs} hangs, {changed} changes of state by a refusal"
    )
    for finding in fuzzer.findings:
        print(f"\n{finding.what}\n{finding.detail}\nsteps:")
        for step in finding.steps:
            print(f"  {step!r}")


def main() -> int:
    """Run, print, and tell by the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--findings", type=int, default=5, help="stop after so many")
    given = parser.parse_args()
    if given.messages < 1 or given.findings < 1:
        parser.error("give 1 message and 1 finding at least: a run of none shows nothing")
    fuzzer = Fuzzer(given.seed, watch=True)
    begun = time.monotonic()
    fuzzer.run(given.messages, given.findings)
    report(fuzzer, time.monotonic() - begun)
    return 1 if fuzzer.findings else 0


if __name__ == "__main__":
    sys.exit(main())
