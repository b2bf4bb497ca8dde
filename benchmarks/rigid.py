"""Whole traces of parallel jobs on one executor with capacity, against the independent simulator of the tests.

Prints for each trace and policy how many jobs waited, their mean wait, and whether every job waited exactly as long as
in the other simulator: python -m benchmarks.rigid [conservative …]
"""

from __future__ import annotations

import sys
import time

from tests.workloads.rigid import simulate
from tests.workloads.test_rigid_jobs import TRACE_CASES, TRACES, recorded, records_of, rigid

POLICIES = ("none", "first_fit", "easy")
"""Conservative backfill is left out unless it is asked for: the other simulator takes hours with it."""


def main() -> None:
    for name, processors, speed in TRACE_CASES:
        found = next(TRACES.glob(f"{name}*"), None)
        if found is None:
            print(f"| {name} | not measured: there is no such file in {TRACES.resolve()} |")
            continue
        records = records_of(found, processors, speed, None)
        jobs = rigid(records)
        load = sum(one.run_ns * one.size[0] for one in jobs) / (jobs[-1].submit_ns or 1) / processors
        for policy in sys.argv[1:] or POLICIES:
            began = time.process_time()
            waits = recorded(records, policy, processors, invariants=False)
            took_s = time.process_time() - began
            same = waits == simulate(rigid(records), (processors,), policy)
            waited = sum(wait_ns > 0 for wait_ns in waits)
            mean_s = sum(waits) / len(waits) / 1e9
            print(
                f"| {name} × {speed:g}, {processors} processors, load {load:.2f} | `{policy}` | {len(waits):,} | "
                f"{waited:,} | {mean_s:,.1f} s | {'each job equal' if same else 'DIFFERENT'} | {took_s:.1f} s |",
                flush=True,
            )


if __name__ == "__main__":
    main()
