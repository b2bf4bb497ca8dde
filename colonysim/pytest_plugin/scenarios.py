"""Apply the marker's `scenario` and `faults` to a test."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from colonysim.pytest_plugin.identity import folder_of, id_of

if TYPE_CHECKING:
    from colonysim.scenarios.result import Result
    from colonysim.scenarios.scenario import Scenario
    from colonysim.simulation.simulation import Simulation


def add_faults(simulation: Simulation, given: Any) -> list[str]:
    """Add the faults of a marker to a simulation and return the names of the enabled ones.

    `given` is one fault or several, as structs or plain data, or a plan. Raises UsageError for an invalid fault.
    """
    from colonysim.faults.plan import Plan
    from colonysim.faults.registry import read_faults
    from colonysim.faults.triggers import BadFault

    try:
        added = simulation.faults.add(*([given] if isinstance(given, Plan) else read_faults(given)))
    except BadFault as error:
        raise pytest.UsageError(f"@pytest.mark.colonysim(faults=...): {error}") from None
    return [fault.name for fault in added if fault.enabled]


def scenario_of(given: Any, faults: Any, request: pytest.FixtureRequest | pytest.Item) -> tuple[Scenario, Path | None]:
    """Return the scenario of a marker with the marker's faults added, and its file if it was read from one.

    Raises UsageError if the scenario or a fault is invalid.
    """
    from colonysim.faults.plan import Plan
    from colonysim.faults.registry import read_faults
    from colonysim.scenarios.scenario import Scenario

    path = None
    try:
        if not isinstance(given, Scenario):
            path = _found(given, request)
            given = Scenario.load(path)
        if faults is not None:
            more = faults.faults if isinstance(faults, Plan) else read_faults(faults)
            given = replace(given, faults=(*given.faults, *more))
    except ValueError as error:
        raise pytest.UsageError(f"@pytest.mark.colonysim(scenario=...): {error}") from None
    return given, path


def _found(given: str | Path, request: pytest.FixtureRequest | pytest.Item) -> Path:
    """Find a file in the folder of the test, else in the root folder of the test run."""
    places = (request.path.parent / given, request.config.rootpath / given)
    return next((place for place in places if place.exists()), places[0])


def result_of(given: Any, faults: Any, seed: int, request: pytest.FixtureRequest, strict: bool) -> Result:
    """Run the scenario of a marker and return its result.

    A failure in it fails the test; so does, with `strict`, a part of it that did nothing.
    """
    from colonysim.pytest_plugin import failures, idle, options
    from colonysim.scenarios.runner import Run

    if given is None:
        raise pytest.UsageError("colonysim_result needs @pytest.mark.colonysim(scenario='file.yaml')")
    scenario, path = scenario_of(given, faults, request)
    run = Run(scenario, seed)
    result = run.execute()
    if not result.ok:
        lines = [f"scenario {scenario.name!r} failed with seed {seed}:"]
        for failure in result.failures:
            lines += [f"{failure.kind}: {failure.text}", *failure.story.splitlines()]
        lines += failures.output_lines(run.sim)
        if (folder := options.value(request.config, "artifacts")) is not None:
            lines += failures.keep_output(folder_of(folder, id_of(request.node)), [run.sim])
        if path is not None and faults is None:
            lines.append("repeat with: " + shlex.join(["colonysim", "run", str(path), "--seed", str(seed)]))
            lines.append("shrink it with: " + shlex.join(["colonysim", "shrink", str(path), "--seed", str(seed)]))
        pytest.fail("\n".join(lines), pytrace=False)
    idle.report(request.node, map(str, result.warnings), strict)
    return result
