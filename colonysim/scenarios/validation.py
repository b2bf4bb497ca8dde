"""Check whether a scenario can be run, by starting a run and stopping before time moves."""

from __future__ import annotations

from msgspec.structs import replace

from colonysim.extensions import loaded
from colonysim.scenarios.lint import lint
from colonysim.scenarios.recorded import without_missing, without_missing_values
from colonysim.scenarios.runner import Run
from colonysim.scenarios.scenario import Scenario
from colonysim.scenarios.warnings import RunWarning


def check(scenario: Scenario) -> tuple[list[str], list[RunWarning]]:
    """Check a scenario as a run does at its start. Returns notes, and warnings for parts that can do nothing.

    Recorded files that do not exist are noted and left out, because traces are often not stored with scenarios.
    Raises ValueError as a run does: BadScenario, BadTrace, BadCode.
    """
    scenario, unmeasured = without_missing_values(scenario)
    reduced, missing = without_missing(scenario)
    run = Run(replace(reduced, journal=False))
    run.rehearse()
    notes = [f"{file} does not exist; a run needs it" for file in (*unmeasured, *missing)]
    notes += run.recorded_notes
    with run.loader.active():
        whole = loaded(scenario, run.loader)
    executors_known = not missing or scenario.sites is None  # those of sites depend on the recorded file
    return notes, lint(whole, run.groups) if executors_known else []
