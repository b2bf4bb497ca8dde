"""Write reports of a run: a self-contained HTML page, the result as JSON, and the processes as CSV."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import msgspec

from colonysim.kernel.why_idle import name_of
from colonysim.reports.data import as_data, page_data
from colonysim.reports.observed import Observed, ShownExecutor
from colonysim.reports.page import page
from colonysim.reports.processes import ProcessResult
from colonysim.scenarios.result import Result
from colonysim.scenarios.runner import Run
from colonysim.scenarios.writer import as_text


def observed(run: Run) -> Observed:
    """Return what a report of a run shows."""
    fleet = run.fleet
    executors = [ShownExecutor(one.id, one.name, one.model.group.name) for one in fleet.executors]
    others = ((one, name_of(run.sim.world, one)) for one in run.metrics.executors if one not in fleet.by_id)
    executors += [ShownExecutor(one, name, name) for one, name in others]
    return Observed(
        run.sim.world,
        run.sim.observers.invariants,
        run.metrics,
        executors,
        run.strikes,
        run.requests.kinds(),
        fleet.dropped,
        fleet.by_id,
        part_of=fleet.part_of,
    )


def data(run: Run, command: str = "") -> dict[str, Any]:
    """Return the data of the HTML page of a run. `command`: the command that repeats the run."""
    result, measure = run.result, run.scenario.measure
    assert result is not None
    return page_data(observed(run), measure.bins, measure.tau_s) | {
        "name": result.scenario,
        "about": run.scenario.about,
        "digest": result.digest,
        "command": command,
        "scenario": as_text(run.scenario, run.scenario.base()),
        "storm_s": result.storm_s,
        "end_s": result.end_s,
        "verdict": "" if result.failures else "everything held",
        "summary": msgspec.to_builtins(result.summary),
        "notes": list(result.notes),
        "warnings": msgspec.to_builtins(result.warnings),
        "faults_struck": msgspec.to_builtins(result.faults),
        "findings": msgspec.to_builtins(result.findings),
        "failures": msgspec.to_builtins(result.failures),
        "causes": as_data(result.causes),
        "cost": msgspec.to_builtins(result.cost),
    }


def html_page(run: Run, command: str = "") -> str:
    """Return the HTML page of a run, which needs no other files. `command`: the command that repeats the run."""
    return page(data(run, command))


def write_html(run: Run, path: Path, command: str = "") -> None:
    """Write the HTML page of a run to a file. `command`: the command that repeats the run. Raises OSError."""
    path.write_text(html_page(run, command), encoding="utf-8")


def write_summary(result: Result, path: Path) -> None:
    """Write the whole result to a file as JSON. Raises OSError."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")


def write_csv(run: Run, path: Path) -> None:
    """Write a CSV file with a line for each process: the fields of ProcessResult. Raises OSError."""
    assert run.result is not None
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(ProcessResult.__struct_fields__)
        writer.writerows(map(msgspec.structs.astuple, run.result.processes))
