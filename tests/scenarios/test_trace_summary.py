"""The summary of a recorded workload: how many processes, how long, whose and where."""

from __future__ import annotations

from pathlib import Path

import pytest

from colonysim import traces
from colonysim.scenarios import trace_summary
from tests.workloads.test_traces import SWF, written

ARCHIVE = Path(__file__).parents[3] / "shared" / "traces"


def test_a_summary_counts_in_one_pass(tmp_path: Path) -> None:
    taken = trace_summary.summarise(traces.read(written(tmp_path, "a.swf", SWF)))
    assert (taken.processes, taken.span_s, taken.users, taken.sites) == (3, 30, 2, 2)
    assert taken.work_s == 83 + 80 + 10
    assert taken.run_s.max == 83
    assert taken.busiest_sites == [("1", 1), ("2", 1)]
    assert trace_summary.summarise([]).processes == 0


@pytest.mark.skipif(not ARCHIVE.exists(), reason="no recorded workloads in ../shared/traces beside the clone")
def test_the_recorded_workloads_of_the_archives_are_read() -> None:
    grid = trace_summary.summarise(traces.read(ARCHIVE / "LCG.swf.gz"))
    assert (grid.processes, grid.sites, grid.users) == (188_041, 170, 216)
    for path in sorted((ARCHIVE / "wfformat").glob("*.gz")):
        assert len(traces.read_workflow(path).nodes) >= 10
