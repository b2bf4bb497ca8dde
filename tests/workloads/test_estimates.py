"""Estimates of run times: stated by mixes and by traces, and used by the policy `shortest`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from colonysim.core.values import BadValue
from colonysim.scenarios.lint import lint
from colonysim.scenarios.runner import Run, run
from colonysim.scenarios.scenario import Scenario

SWF = "; a trace\n" + "".join(
    f"{number} 0 -1 {run_s} 1 -1 -1 1 {requested_s} -1 1 1 1 1 1 -1 -1 -1\n"
    for number, (run_s, requested_s) in enumerate([(50, 600), (30, 60), (40, 300), (20, -1)], 1)
)


def _read(policy: str, workload: dict[str, Any], folder: Path) -> Scenario:
    return Scenario(
        settings={"policy": policy},
        executors=({"name": "one", "service": {"kind": "process"}, "starts": 1},),  # type: ignore[arg-type]
        workload=({"name": "w", **workload},),  # type: ignore[arg-type]
        folder=str(folder),
    )


def kwargs_of(one: Run) -> list[Any]:
    one.execute()
    return [process.spec.kwargs for process in one.sim.world.processes.values()]


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "t.swf"
    path.write_text(SWF)
    return path


def test_the_requested_times_of_a_trace_are_the_estimates_of_its_processes(trace: Path) -> None:
    one = Run(_read("shortest", {"trace": {"file": trace.name}}, trace.parent))
    assert kwargs_of(one) == [{"expected_s": 600}, {"expected_s": 60}, {"expected_s": 300}, None]
    assert one.result is not None
    started = sorted(one.result.processes, key=lambda process: process.first_started_s or 0)
    assert [process.running_s for process in started] == [30, 40, 50, 20]
    assert one.result.warnings == ()


def test_as_limits_they_end_what_runs_longer(trace: Path) -> None:
    trace.write_text(SWF.replace(" 600 ", " 45 "))
    result = run(
        _read(
            "reference", {"trace": {"file": trace.name, "estimates": "limit"}, "mix": [{"maxretries": 0}]}, trace.parent
        )
    )
    assert [process.state for process in result.processes] == ["failed", "success", "success", "success"]


def test_a_trace_may_be_read_without_estimates_and_the_policy_says_that_it_knows_nothing(trace: Path) -> None:
    ignoring = _read("shortest", {"trace": {"file": trace.name, "estimates": "ignore"}}, trace.parent)
    (warning,) = run(ignoring).warnings
    assert "none has maxexectime or the keyword argument expected_s" in warning.text
    trace.write_text("\n".join(SWF.splitlines()[::4]))  # only the one that requests no time
    (warning,) = run(_read("shortest", {"trace": {"file": trace.name}}, trace.parent)).warnings
    assert "cannot rank any process" in warning.text


@pytest.mark.parametrize(
    ("given", "least", "most"),
    [("run", 1.0, 1.0), (7.0, None, 7.0), ({"times": 2}, 2.0, 2.0), ({"times": [1, 5]}, 1.0, 5.0)],
)
def test_a_mix_states_an_estimate_for_each_run_time(given: Any, least: float | None, most: float) -> None:
    mix = [{"run_s": [5, 100], "expected_s": given, "kwargs": {"k": 1}}]
    one = Run(_read("shortest", {"arrivals": {"kind": "constant", "every_s": 9}, "count": 50, "mix": mix}, Path()))
    assert lint(one.scenario) == []
    one.execute()
    ratios = set()
    for process in one.sim.world.processes.values():
        kwargs = process.spec.kwargs or {}
        assert kwargs.keys() == {"k", "expected_s"}
        ratios.add(kwargs["expected_s"] / (process.spec.args[0] if least else 1.0))
    assert min(ratios) >= (least or most) * 0.999
    assert max(ratios) <= most * 1.001
    assert (len(ratios) > 40) == (least not in (None, most))


def test_estimates_do_not_change_what_else_is_drawn() -> None:
    workload = {"arrivals": {"kind": "poisson", "per_hour": 500}, "count": 30}
    plain, estimated = (
        run(_read("reference", workload | {"mix": [{"run_s": [5, 100], **more}]}, Path())).digest
        for more in ({}, {"expected_s": {"times": [1, 5]}})
    )
    assert plain == estimated


def test_an_estimate_around_the_recorded_run_time_replaces_the_requested_one(trace: Path) -> None:
    workload = {"trace": {"file": trace.name}, "mix": [{"expected_s": "run"}]}
    assert kwargs_of(Run(_read("shortest", workload, trace.parent))) == [{"expected_s": n} for n in (50, 30, 40, 20)]


def test_processes_of_workflows_have_estimates_too() -> None:
    mix = [{"run_s": [5, 100], "expected_s": "run", "workflow": {"kind": "chain", "length": 3}}]
    one = Run(_read("shortest", {"arrivals": {"kind": "at", "times_s": [0]}, "mix": mix}, Path()))
    one.execute()
    specs = [process.spec for process in one.sim.world.processes.values()]
    assert len({spec.args[0] for spec in specs if spec.args}) == 3
    assert all((spec.kwargs or {})["expected_s"] == spec.args[0] for spec in specs if spec.args)


@pytest.mark.parametrize(
    ("mix", "words"),
    [
        ({"expected_s": "run"}, "mix.*expected_s.*goes by the run time: give `run_s` too"),
        ({"expected_s": {"times": 2}}, "goes by the run time"),
        ({"expected_s": 5, "kwargs": {"expected_s": 6}}, "kwargs has expected_s too"),
        ({"expected_s": "soon", "run_s": 5}, "give seconds, `run` for the run time itself"),
        ({"expected_s": -1, "run_s": 5}, "expected_s"),
        ({"expected_s": {"times": -1}, "run_s": 5}, "times"),
    ],
)
def test_a_wrong_estimate_is_refused(mix: dict[str, Any], words: str) -> None:
    with pytest.raises(BadValue, match=words):
        _read("shortest", {"arrivals": {"kind": "at", "times_s": [0]}, "mix": [mix]}, Path())


def test_what_a_cron_submits_again_and_again_has_no_estimate_of_its_own() -> None:
    submit = {"expected_s": "run", "run_s": 5}
    with pytest.raises(BadValue, match="crons and generators submit the same each time; give expected_s as a number"):
        Scenario(crons=({"name": "c", "every_s": 5, "submit": submit},), phases={"storm_s": 60})  # type: ignore[arg-type]
