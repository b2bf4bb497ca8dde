"""The figures of a run, computed by hand and compared."""

from __future__ import annotations

from array import array
from typing import Any

import pytest

from colonysim import ColonyClient, ExecutorClient, Simulation
from colonysim.reports.counting import mean_over_time
from colonysim.reports.metrics import Metrics
from colonysim.reports.processes import ProcessResult, process_results
from colonysim.reports.summary import summarise
from colonysim.statistics.quantiles import quantiles


class Lab:
    """A colony whose books are kept, with one executor by hand."""

    def __init__(self, **settings: Any) -> None:
        self.sim = Simulation(mode="manual", **settings)
        self.metrics = Metrics(self.sim.world)
        self.sim.observers.observe(self.metrics.read)
        self.colony = ColonyClient.create(self.sim, "c")
        self.executor: ExecutorClient = self.colony.add_executor("cli")

    def rows(self) -> list[ProcessResult]:
        return list(process_results(self.metrics, self.sim.observers.invariants, {self.executor.id: "me"}))

    def run(self, seconds: float, close: bool = True) -> None:
        """Take a process and hold it for some time."""
        process = self.executor.assign()
        assert process is not None
        self.sim.advance(seconds)
        if close:
            process.close()

    def summary(self) -> Any:
        return summarise(self.metrics, self.sim.world.now_ns, 1)


def test_waiting_turnaround_slowdown_and_utilisation() -> None:
    lab = Lab()
    lab.colony.submit("a")
    lab.colony.submit("b")
    lab.sim.advance(10)
    lab.run(20)  # waited 10, ran 20
    lab.run(5)  # waited 30, ran 5
    lab.sim.advance(15)
    summary = lab.summary()
    assert (summary.submitted, summary.succeeded, summary.unfinished) == (2, 2, 0)
    assert (summary.waiting_s.p50, summary.waiting_s.max, summary.waiting_s.mean) == (10, 30, 20)
    assert summary.turnaround_s.max == 35
    assert summary.bounded_slowdown.max == 35 / 10  # five seconds count as ten
    assert summary.bounded_slowdown.p50 == 30 / 20
    assert summary.utilisation == 25 / 50
    assert summary.makespan_s == 35
    assert summary.throughput_per_hour == pytest.approx(2 / 35 * 3600, abs=0.01)
    assert summary.queue_depth_max == 2


def test_a_retry_is_counted_and_its_attempts_make_the_executor_busy() -> None:
    lab = Lab()
    process = lab.colony.submit("a", maxexectime=10, maxretries=1)
    lab.run(15, close=False)
    assert process.retries == 1
    lab.run(5)
    summary = lab.summary()
    assert (summary.attempts, summary.retries, summary.deadline_misses) == (2, 1, 1)
    assert summary.waiting_s.max == 0  # until its first start
    assert summary.running_s.max == 5  # its last attempt
    assert len(lab.metrics.run_start_ns) == 2


def test_who_waits_for_parents_does_not_queue() -> None:
    lab = Lab()
    lab.colony.submit_workflow({"a": {}, "b": {"after": ["a"]}})
    assert (lab.metrics.gauges.queue_depth, lab.metrics.gauges.blocked) == (1, 1)
    lab.run(30)
    assert (lab.metrics.gauges.queue_depth, lab.metrics.gauges.blocked) == (1, 0)
    lab.sim.advance(7)
    lab.run(1)
    assert lab.summary().waiting_s.max == 7
    assert lab.summary().turnaround_s.max == 38


def test_every_end_is_counted_and_nothing_is_left() -> None:
    lab = Lab()
    lab.colony.submit("a").cancel()
    lab.colony.submit("b").remove()
    failing = lab.colony.submit("c")
    taken = lab.executor.assign()
    assert taken is not None
    taken.fail("no")
    lab.colony.submit("d", maxwaittime=5)
    lab.sim.advance(10)
    gauges = lab.metrics.gauges
    assert (gauges.cancelled, gauges.removed, gauges.failed) == (1, 1, 2)
    assert gauges.unfinished == 0
    assert gauges.deadline_misses == 1
    failing.remove()
    assert (gauges.failed, gauges.removed) == (1, 2)


def test_the_table_has_a_row_for_each_process() -> None:
    lab = Lab()
    lab.colony.submit("a", executortype="cli", locationname="")
    lab.colony.submit("b")
    lab.run(4)
    rows = lab.rows()
    assert [row.function for row in rows] == ["a", "b"]
    assert (rows[0].state, rows[0].executor, rows[0].running_s) == ("success", "me", 4.0)
    assert (rows[1].state, rows[1].executor) == ("waiting", "")
    assert (rows[1].first_started_s, rows[1].last_started_s, rows[1].waiting_s) == (None, None, None)


def test_the_table_tells_the_first_start_from_the_last_and_the_first_wait_from_all() -> None:
    """Submitted at 0, taken at 3, given back at 13, taken again at 20, closed at 25; another one is never taken."""
    lab = Lab()
    lab.colony.submit("a", maxexectime=10, maxretries=1)
    lab.sim.advance(3)
    lab.executor.assign()
    lab.sim.advance(17)
    lab.run(5)
    lab.colony.submit("b", maxwaittime=4)
    lab.sim.advance(7)
    first, second = lab.rows()
    assert (first.first_started_s, first.last_started_s, first.ended_s) == (3.0, 20.0, 25.0)
    assert first.waiting_s == 3.0
    assert first.total_waiting_s == pytest.approx(3 + (20 - 13), abs=1)  # it is looked for once a second
    assert (first.running_s, first.turnaround_s) == (5.0, 25.0)
    assert (second.state, second.waiting_s) == ("failed", None)
    assert second.total_waiting_s == pytest.approx(4, abs=1)  # up to its end


def test_where_nothing_was_measured_there_is_no_figure() -> None:
    lab = Lab()
    lab.sim.advance(10)
    summary = lab.summary()
    assert (summary.makespan_s, summary.throughput_per_hour) == (None, None)
    assert summarise(lab.metrics, lab.sim.world.now_ns, 0).utilisation is None
    assert summarise(lab.metrics, lab.sim.world.now_ns, 3).utilisation == 0


def test_the_books_are_the_same_with_and_without_invariants() -> None:
    digests = set()
    for invariants in (True, False):
        lab = Lab(invariants=invariants)
        lab.colony.submit("a")
        lab.run(3)
        digests.add(lab.metrics.digest())
    assert len(digests) == 1
    lab.colony.submit("b")
    assert lab.metrics.digest() not in digests


@pytest.mark.parametrize(
    ("count", "p50", "p95", "p99"),
    [(1, 1, 1, 1), (2, 1, 2, 2), (10, 5, 10, 10), (100, 50, 95, 99), (1000, 500, 950, 990)],
)
def test_percentiles_are_of_the_nearest_rank(count: int, p50: int, p95: int, p99: int) -> None:
    spread = quantiles([float(value) for value in range(count, 0, -1)])
    assert (spread.p50, spread.p95, spread.p99, spread.max) == (p50, p95, p99, count)


def test_the_mean_of_a_step_function_weighs_by_time() -> None:
    assert mean_over_time(array("q", [0, 10, 10, 30]), array("i", [2, 5, 4, 0]), 50) == (20 + 80) / 50
    assert mean_over_time(array("q"), array("i"), 50) == 0.0
