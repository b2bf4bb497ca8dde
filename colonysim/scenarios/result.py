"""The result of one run of a scenario: figures, failures, and why processes ended without success."""

from __future__ import annotations

from typing import Any

import msgspec

from colonysim.evidence.causes import Cause
from colonysim.extras import needed_for
from colonysim.reports.groups import GroupFigures
from colonysim.reports.processes import ProcessResult
from colonysim.reports.summary import Summary
from colonysim.scenarios.findings import Finding
from colonysim.scenarios.vacuity import FaultCount
from colonysim.scenarios.warnings import RunWarning


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A failure of a run. `story` is the timeline of the process, or the stack of the program.

    `kind`: invariant, check, rest (something is unfinished after the calm), submit, program (one has failed), stuck,
    nothing (no process was submitted, so nothing was tested).
    """

    kind: str
    name: str
    text: str
    at_s: float | None = None
    process_id: str = ""
    story: str = ""


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What a run cost on this machine; it differs between runs with the same seed."""

    real_s: float
    events: int
    calls: int


class Result(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """The result of a run. Two runs of one scenario with one seed differ in their `cost` alone.

    `faults` counts how often each fault struck; `warnings` name parts that did nothing, and do not make a run fail.
    `causes` say why processes ended without success, with up to three timelines each. `groups` has figures by function,
    user, priority and group of executors, where there are several.
    """

    scenario: str
    seed: int
    digest: str
    journal_digest: str = ""
    storm_s: float
    end_s: float
    summary: Summary
    findings: tuple[Finding, ...]
    failures: tuple[Failure, ...]
    faults: tuple[FaultCount, ...] = ()
    warnings: tuple[RunWarning, ...] = ()
    notes: tuple[str, ...]
    causes: tuple[Cause, ...] = ()
    groups: tuple[GroupFigures, ...] = ()
    cost: Cost

    @property
    def ok(self) -> bool:
        return not self.failures

    @property
    def processes(self) -> tuple[ProcessResult, ...]:
        """What became of each process, in the order of submission.

        It is computed when it is first asked for, and so keeps the records of the run alive. Raises ValueError for a
        result that has left the process in which it was made: one of a file, or of another process.
        """
        kept: dict[str, Any] = self.__dict__
        if "processes" not in kept:
            if "make_processes" not in kept:
                raise ValueError(
                    "this result was read or received from elsewhere, without its processes: run the scenario in this "
                    "process, with colonysim.scenarios.run(scenario, seed)"
                )
            kept["processes"] = tuple(kept["make_processes"]())
        found: tuple[ProcessResult, ...] = kept["processes"]
        return found

    def frame(self) -> Any:
        """Return `processes` as a pandas DataFrame: a row for each process, a column for each field.

        Raises MissingExtra without pandas, and ValueError as `processes`.
        """
        with needed_for("result.frame()"):
            import pandas
        names = ProcessResult.__struct_fields__
        return pandas.DataFrame(map(msgspec.structs.astuple, self.processes), columns=list(names))
