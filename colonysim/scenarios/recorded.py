"""The recorded files of a scenario (traces, workflows, measured values): read, list notes, and find missing ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from colonysim.capacity.resources import cpu_text
from colonysim.core.golang.units import parse_cpu
from colonysim.core.values import BadValue
from colonysim.extensions import BadCode
from colonysim.kernel.randomness import Constant, Empirical
from colonysim.scenarios.checks import CHECKS
from colonysim.scenarios.scenario import Scenario
from colonysim.traces import MissingTrace, Recording, read_workflow
from colonysim.workloads.arrivals import ARRIVALS
from colonysim.workloads.executors import UNLIMITED, most_cpu_milli
from colonysim.workloads.submissions import Recorded, Submission
from colonysim.workloads.workload import Trace, Workload


def recordings_of(scenario: Scenario) -> dict[str, Recording]:
    """Return the traces of a scenario by the name of their workload. Raises BadTrace, BadValue for a format."""
    found = {}
    for place, one in enumerate(scenario.workload):
        if one.trace is not None:
            with _format_of(place):
                found[one.name] = one.trace.load(scenario.base())
    return found


@contextmanager
def _format_of(place: int) -> Iterator[None]:
    """Raise BadCode as BadValue of the workload's format."""
    try:
        yield
    except BadCode as error:
        raise BadValue(str(error), ("workload", place, "trace", "format")) from error


def files_of(scenario: Scenario) -> list[Path]:
    """Return the files that a run reads besides the scenario: traces, workflows, measured values and code."""
    traces = [one.trace.file for one in scenario.workload if one.trace is not None]
    places = (code.rpartition(":")[0] for code in _code_of(scenario))
    code = [place for place in places if place.endswith(".py")]
    return [scenario.base() / name for name in (*traces, *_workflow_files(scenario), *_measured_files(scenario), *code)]


def _code_of(scenario: Scenario) -> Iterator[str]:
    """Return the names of all code in a scenario."""
    yield from (group.code for group in scenario.programs)
    yield from (ARRIVALS.name_of(one.arrivals) for one in scenario.workload if one.arrivals is not None)
    yield from (CHECKS.name_of(check) for check in scenario.checks)
    others: list[Any] = [scenario.settings.get("policy"), *(one.trace.format for one in scenario.workload if one.trace)]
    others += [] if isinstance(scenario.invariants, bool) else scenario.invariants
    yield from (name for name in others if isinstance(name, str))


def notes_of(scenario: Scenario, recordings: dict[str, Recording]) -> tuple[str, ...]:
    """Return notes on deviations from the recorded traces and workflows. Raises BadTrace."""
    notes = []
    for one in scenario.workload:
        if one.trace is not None and one.name in recordings:
            notes += [f"trace {one.trace.file}: {note}" for note in recordings[one.name].notes]
            if one.trace.processors == "occupy":
                notes += _too_large(scenario, one, recordings[one.name])
    for file in _workflow_files(scenario):
        notes += [f"workflow {file}: {note}" for note in read_workflow(scenario.base() / file).notes]
    return tuple(dict.fromkeys(notes))


def _measured_files(part: Any) -> Iterator[str]:
    """Yield the files with measured values in a part of a scenario."""
    if isinstance(part, Empirical):
        yield from [part.file] if part.file else []
    elif isinstance(part, msgspec.Struct):
        for name in part.__struct_fields__:
            yield from _measured_files(getattr(part, name))
    elif isinstance(part, (tuple, dict)):
        for one in part.values() if isinstance(part, dict) else part:
            yield from _measured_files(one)


def without_missing_values(scenario: Scenario) -> tuple[Scenario, list[str]]:
    """Return the scenario with 1 s in place of measured values whose files do not exist, and the names of the files."""
    base = scenario.base()
    missing = [file for file in dict.fromkeys(_measured_files(scenario)) if not _exists(base / file)]
    return (_with_a_second(scenario, missing), missing) if missing else (scenario, [])


def _with_a_second(part: Any, missing: list[str]) -> Any:
    if isinstance(part, Empirical):
        return Constant(1.0) if part.file in missing else part
    if isinstance(part, msgspec.Struct) and any(_measured_files(part)):
        return replace(part, **{name: _with_a_second(getattr(part, name), missing) for name in part.__struct_fields__})
    if isinstance(part, tuple):
        return tuple(_with_a_second(one, missing) for one in part)
    return {name: _with_a_second(one, missing) for name, one in part.items()} if isinstance(part, dict) else part


def _too_large(scenario: Scenario, workload: Workload, recording: Recording) -> list[str]:
    """Return a note on recorded jobs that need more CPUs than any executor of the scenario has."""
    groups = [*scenario.executors, *([scenario.sites.like] if scenario.sites is not None else [])]
    most = max((most_cpu_milli(group) for group in groups), default=UNLIMITED)
    each_milli = parse_cpu(cpu_text(workload.mix[0].cpu)) or 1000
    too_large = sum(record.processors * each_milli > most for record in recording.records)
    if not too_large or workload.trace is None:
        return []
    count, name = len(recording.records), workload.trace.file
    return [
        f"trace {name}: {too_large:,} of {count:,} processes need more CPUs than any executor has ({most / 1000:g}), "
        "and never start"
    ]


def without_missing(scenario: Scenario) -> tuple[Scenario, list[str]]:
    """Return the scenario without the traces and workflows whose files do not exist, and the names of these files.

    Raises BadTrace for a trace with an invalid name, BadValue for a format.
    """
    base = scenario.base()
    missing = []
    for place, one in enumerate(scenario.workload):
        with _format_of(place):
            if one.trace is not None and _is_missing(one.trace, base):
                missing.append(one.trace.file)
    missing += [file for file in _workflow_files(scenario) if not _exists(base / file)]
    missing = list(dict.fromkeys(missing))
    if not missing:
        return scenario, []
    kept = tuple(one for one in scenario.workload if one.trace is None or one.trace.file not in missing)
    names = [one.name for one in kept]
    sites = scenario.sites if scenario.sites is not None and scenario.sites.workload in names else None
    reduced = replace(
        scenario,
        workload=tuple(replace(one, mix=tuple(_plain(part, missing) for part in one.mix)) for one in kept),
        crons=tuple(replace(one, submit=_plain(one.submit, missing)) for one in scenario.crons),
        generators=tuple(replace(one, submit=_plain(one.submit, missing)) for one in scenario.generators),
        sites=sites,
    )
    return reduced, missing


def _is_missing(trace: Trace, base: Path) -> bool:
    try:
        trace.check_format(base)
    except MissingTrace:
        return True
    return not _exists(base / trace.file)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # reading it raises the error for the name
        return True


def _plain(submission: Submission, missing: list[str]) -> Submission:
    """Return the submission with a single process in place of a missing workflow."""
    shape = submission.workflow
    return replace(submission, workflow=None) if isinstance(shape, Recorded) and shape.file in missing else submission


def _workflow_files(scenario: Scenario) -> Iterator[str]:
    """Return the files of recorded workflows, each once."""
    parts = [submission for one in scenario.workload if one.trace is None for submission in one.mix]
    parts += [one.submit for one in scenario.crons]
    parts += [one.submit for one in scenario.generators]
    yield from dict.fromkeys(one.workflow.file for one in parts if isinstance(one.workflow, Recorded))
