"""Apply the marker's `scenario` and `faults` to a test."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from msgspec.structs import replace

from colonysim.pytest_plugin.identity import folder_of

if TYPE_CHECKING:
    from colonysim.scenarios.result import Result
    from colonysim.scenarios.runner import Run
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


class RunOfScenario(NamedTuple):
    """The run of a scenario in a test. `file` is the scenario's own, if the test has changed nothing of it."""

    scenario: Scenario
    run: Run
    file: Path | None

    @property
    def result(self) -> Result:
        """The result of the run, which has ended."""
        assert self.run.result is not None
        return self.run.result


def run_of(given: Any, faults: Any, seed: int, request: pytest.FixtureRequest) -> RunOfScenario:
    """Run the scenario of a marker. Raises UsageError if it cannot be run."""
    from colonysim.scenarios.runner import Run

    if given is None:
        raise pytest.UsageError("colonysim_result needs @pytest.mark.colonysim(scenario='file.yaml')")
    scenario, path = scenario_of(given, faults, request)
    run = Run(scenario, seed)
    run.execute()
    return RunOfScenario(scenario, run, path if faults is None else None)


def check(ran: RunOfScenario, item: pytest.Item, strict: bool) -> Result:
    """Return the result of a run, and fail the test if it failed or, with `strict`, if a part of it did nothing."""
    from colonysim.pytest_plugin import idle

    result = ran.result
    if not result.ok:
        lines = [f"scenario {ran.scenario.name!r} failed with seed {result.seed}:"]
        for failure in result.failures:
            lines += [f"{failure.kind}: {failure.text}", *failure.story.splitlines()]
        pytest.fail("\n".join(lines), pytrace=False)
    idle.report(item, map(str, result.warnings), strict)
    return result


# ---------------------------------------------------------------- the report of a failure
def report(ran: RunOfScenario, repeat: str, test_id: str, folder: Path | None) -> Iterator[str]:
    """Yield the lines of the report of a failed test, and write the files into `folder` if there is one.

    `repeat` is the command that repeats the test.
    """
    from colonysim.core.wording import show_count, show_seconds
    from colonysim.pytest_plugin import failures

    result = ran.result
    figures = result.summary
    yield f"seed {result.seed}; repeat with: {repeat}"
    if ran.file is not None:
        words = [str(ran.file), "--seed", str(result.seed)]
        yield f"without pytest, repeat with: {shlex.join(['colonysim', 'run', *words])}"
        yield f"shrink it with: {shlex.join(['colonysim', 'shrink', *words])}"
    yield (
        f"{show_seconds(result.end_s)} of virtual time, {show_count(figures.submitted, 'process')}: "
        f"{figures.succeeded:,} succeeded, {figures.failed:,} failed, {figures.cancelled:,} cancelled, "
        f"{figures.unfinished:,} unfinished"
    )
    yield from failures.why_failed(result.causes)
    yield from failures.output_lines(ran.run.sim)
    if folder is not None:
        yield from _keep(ran, folder_of(folder, test_id))


def _keep(ran: RunOfScenario, folder: Path) -> Iterator[str]:
    """Write the scenario, its journal and its HTML report into a folder, and yield a line about each."""
    from colonysim.experiments.report import write_html
    from colonysim.pytest_plugin import failures
    from colonysim.scenarios.writer import as_text

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "scenario.yaml"
    command = ""
    try:
        path.write_text(as_text(ran.scenario, folder), encoding="utf-8")
    except ValueError as error:  # of code that no file can name
        yield f"the scenario cannot be written to a file: {error}"
    else:
        command = shlex.join(["colonysim", "run", str(path), "--seed", str(ran.result.seed)])
        yield f"scenario written to {path}; run it with: {command}"
    yield from _keep_journal(ran, failures.journal_in(folder, 0))
    page = failures.page_in(folder, 0)
    write_html(ran.run, page, command)
    yield f"HTML report written to {page}"
    yield from failures.keep_output(folder, [ran.run.sim])


def _keep_journal(ran: RunOfScenario, path: Path) -> Iterator[str]:
    """Write the journal of a run to a file. It is run once more for that, because most runs need none."""
    from colonysim.scenarios.runner import Run

    if (journal := ran.run.sim.journal) is not None:
        journal.save(path)
    elif Run(ran.scenario, ran.result.seed, journal=path).execute().digest != ran.result.digest:
        yield "run once more for its journal, the scenario did something else: it is not deterministic"
    yield f"journal written to {path}; replay it with: colonysim replay {shlex.quote(str(path))}"
