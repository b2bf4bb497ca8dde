"""What is known of a simulation or a journal afterwards agrees with what was measured while it ran."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from colonysim import ColonyClient, ExecutorClient, Simulation
from colonysim.experiments import report
from colonysim.reports import observed
from colonysim.reports.data import page_data
from colonysim.reports.metrics import Metrics
from colonysim.scenarios.runner import Run
from tests.scenarios.test_runner import FAULTS, SMALL

PER_PROCESS = (
    "submitted_ns", "eligible_ns", "first_start_ns", "start_of_last_ns", "ended_ns", "waited_ns", "state", "attempts",
    "misses",
)  # fmt: skip


def columns(metrics: Metrics) -> dict[str, dict[str, Any]]:
    return {
        process_id: {name: getattr(metrics, name)[row] for name in PER_PROCESS}
        for process_id, row in metrics.place.items()
    }


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from(["submit", "assign", "close", "fail", "cancel", "remove", "wait"]))))
def test_the_records_of_the_invariants_give_the_figures_that_were_measured(steps: list[tuple[str]]) -> None:
    sim = Simulation(mode="manual")
    measured = Metrics(sim.world)
    sim.observers.observe(measured.read)
    colony = ColonyClient.create(sim, "c")
    executor: ExecutorClient = colony.add_executor("t")
    processes, held = [], []
    for (step,) in steps:
        if step == "submit":
            processes.append(colony.submit("f", executortype="t", maxexectime=20, maxretries=1, maxwaittime=60))
        elif step == "assign":
            held += [executor.assign()] if colony.statistics().waitingprocesses else []
        elif step in ("close", "fail") and held:
            taken = held.pop()
            if taken.state.name == "RUNNING":
                getattr(taken, step)()
        elif step == "cancel" and processes and processes[-1].state.name == "WAITING":
            processes[-1].cancel()
        elif step == "remove" and processes:
            processes.pop().remove()
            held = [one for one in held if one.id in sim.world.processes]
        else:
            sim.advance(7)
    found = observed.of_simulation(sim).metrics
    assert columns(found) == columns(measured)
    assert found.gauges == measured.gauges


def test_a_journal_gives_the_report_of_its_run_without_what_only_the_scenario_knows(tmp_path: Path) -> None:
    run = Run(replace(SMALL, faults=tuple(FAULTS)), 2, journal=tmp_path / "j.jsonl")
    run.execute()
    replayed, found = observed.of_journal(tmp_path / "j.jsonl")
    assert replayed.same
    of_run, of_journal = report.data(run), page_data(found, run.scenario.measure.bins, run.scenario.measure.tau_s)
    for name in ("seed", "start", "causes", "kinds", "failed_processes", "slowest", "succeeded", "failed", "submitted"):
        assert of_journal[name] == of_run[name], name
    struck = {fault["name"]: fault["count"] for fault in of_run["faults"] if fault["count"]}
    assert {fault["name"]: fault["count"] for fault in of_journal["faults"]} == struck
    assert {one["type"] for one in of_journal["requests"]} == {one["type"] for one in of_run["requests"]}
    for kinds in (of_run, of_journal):
        assert {name for one in kinds["requests"] for name in one["faults"]}
    busy = {one["name"]: one["busy"] for one in of_run["executors"]["rows"]}
    for one in of_journal["executors"][
        "rows"
    ]:  # which does not know that an executor still works on what is taken back
        assert 0.8 * busy[one["name"]] < one["busy"] <= busy[one["name"]]


def test_a_restored_server_is_shown_with_the_processes_that_it_had(colony: ColonyClient) -> None:
    sim = colony.sim
    executor = colony.add_executor("t")
    for end in ("close", "fail", "hold"):
        colony.submit("f", executortype="t")
        sim.advance(5)
        taken = executor.assign()
        assert taken is not None
        sim.advance(3)
        if end != "hold":
            getattr(taken, end)()
    colony.submit("waits", executortype="t")
    before = columns(observed.of_simulation(sim).metrics)
    sim.restore(sim.snapshot())
    shown = observed.of_simulation(sim)
    assert columns(shown.metrics) == before
    sim.advance(1)
    colony.submit("later", executortype="t").cancel()
    after = observed.of_simulation(sim).metrics
    assert {key: value for key, value in columns(after).items() if key in before} == before
    assert after.gauges.cancelled == 1


def test_without_invariants_the_processes_themselves_tell_what_is_known() -> None:
    sim = Simulation(mode="manual", invariants=False)
    colony = ColonyClient.create(sim, "c")
    executor = colony.add_executor("t")
    colony.submit("f", executortype="t")
    sim.advance(4)
    taken = executor.assign()
    assert taken is not None
    sim.advance(2)
    taken.fail("disk full")
    data = page_data(observed.of_simulation(sim))
    assert (data["summary"]["failed"], data["summary"]["waiting_s"]["p50"]) == (1, 4.0)
    (failed,) = data["failed_processes"]["shown"]
    assert (failed["error"], failed["ended_s"], failed["story"]) == ("disk full", 6.0, "")


def test_an_executor_is_not_busy_with_what_the_server_took_back(colony: ColonyClient) -> None:
    """The server does not know when a real executor crashed, so holding a process does not count as working on it."""
    sim = colony.sim
    executor = colony.add_executor("t", "ann")
    colony.submit("f", executortype="t", maxexectime=50, maxretries=0)
    colony.submit("g", executortype="t")
    assert executor.assign() is not None
    sim.advance(100)
    taken = executor.assign()
    assert taken is not None
    sim.advance(100)
    taken.close()
    data = page_data(observed.of_simulation(sim), bins=200)
    (row,) = data["executors"]["rows"]
    assert (row["name"], row["runs"]) == ("ann", 2)
    assert row["busy"] == pytest.approx(0.5, abs=0.01)
    quarter = data["bins"] // 4
    assert data["left_behind"] == [1] * (quarter + 1) + [0] * (
        data["bins"] - quarter - 1
    )  # it is taken back after 51 s
