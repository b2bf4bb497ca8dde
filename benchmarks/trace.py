"""How long eleven days of a real grid take, and how much memory: the LCG trace, with invariants on."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.measure import Row

SCENARIO = Path(__file__).parent.parent / "scenarios" / "grid_day.yaml"
TRACE = Path(os.environ.get("LCG_TRACE", SCENARIO.parent / "../../shared/traces/LCG.swf.gz"))


def replay(count: int | None) -> None:
    """Run in this process, and print jobs, seconds of processor time, days and mebibytes."""
    from colonysim.scenarios import Run, Scenario

    overrides = (f"workload.0.trace.file={TRACE.resolve()}", f"workload.0.trace.count={count or 'null'}")
    scenario = Scenario.load(SCENARIO, overrides)
    start = time.process_time()
    result = Run(scenario).execute()
    span_s = time.process_time() - start
    assert not [failure for failure in result.failures if failure.kind != "check"], result.failures
    print(result.summary.submitted, span_s, result.end_s / 86_400, peak_mib())


def peak_mib() -> float:
    """The most memory this process has had. `ru_maxrss` would count what its parent had when it made it."""
    status = Path("/proc/self/status")
    if status.exists() and (found := re.search(r"VmHWM:\s+(\d+) kB", status.read_text())):
        return int(found[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(short: bool) -> list[Row]:
    if not TRACE.exists():
        print(f"not measured: the LCG trace, for there is no {TRACE}; see scenarios/grid_day.yaml", file=sys.stderr)
        return []
    code = f"from benchmarks.trace import replay; replay({20_000 if short else None})"
    submitted, span_s, days, memory = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    note = f"{float(days):.1f} days, {float(days) * 86_400 / float(span_s):,.0f} x real time"
    question = f"LCG trace, {int(submitted):,} records, 24,515 executors, invariants on"
    return [
        Row(question, float(span_s), "s", None if short else 10.0, note=note),
        Row("the same, memory at its peak", float(memory), "MiB", 1024),
    ]
