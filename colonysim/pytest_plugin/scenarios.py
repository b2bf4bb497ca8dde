"""What the marker's `scenario` and `faults` mean to a test."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

if TYPE_CHECKING:
    from colonysim.scenarios.runner import Result
    from colonysim.scenarios.scenario import Scenario
    from colonysim.simulation.simulation import Simulation


def strike(simulation: Simulation, given: Any) -> list[str]:
    """Add the faults of a marker: one, several, as structs or plain data, or a whole plan; gives their names.

    Errors: UsageError.
    """
    from colonysim.faults.model import BadFault, Plan, read_faults

    try:
        added = simulation.faults.add(*([given] if isinstance(given, Plan) else read_faults(given)))
    except BadFault as error:
        raise pytest.UsageError(f"@pytest.mark.colonysim(faults=...): {error}") from None
    return [fault.name for fault in added if fault.enabled]


def scenario_of(given: Any, faults: Any, request: pytest.FixtureRequest) -> tuple[Scenario, Path | None]:
    """The scenario of a marker, with the marker's faults added, and its file. Errors: UsageError."""
    from colonysim.faults.model import Plan, read_faults
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


def _found(given: str | Path, request: pytest.FixtureRequest) -> Path:
    """A file beside the test, or from the root of all tests."""
    places = (request.path.parent / given, request.config.rootpath / given)
    return next((place for place in places if place.exists()), places[0])


def result_of(given: Any, faults: Any, seed: int, request: pytest.FixtureRequest, strict: bool) -> Result:
    """Run the scenario of a marker; what must not be in it fails the test, and with `strict` what did nothing."""
    from colonysim.pytest_plugin import idle
    from colonysim.scenarios.runner import run

    if given is None:
        raise pytest.UsageError("colonysim_result needs @pytest.mark.colonysim(scenario='file.yaml')")
    scenario, path = scenario_of(given, faults, request)
    result = run(scenario, seed)
    if not result.ok:
        lines = [f"scenario {scenario.name!r} does not hold with seed {seed}:"]
        for failure in result.failures:
            lines += [f"{failure.kind}: {failure.text}", *failure.story.splitlines()]
        if path is not None and faults is None:
            lines.append("repeat with: " + shlex.join(["colonysim", "run", str(path), "--seed", str(seed)]))
            lines.append("make it small with: " + shlex.join(["colonysim", "shrink", str(path), "--seed", str(seed)]))
        pytest.fail("\n".join(lines), pytrace=False)
    idle.tell(request.node, map(str, result.warnings), strict)
    return result
