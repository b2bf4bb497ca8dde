"""The report of a failed test: its seed, the command that repeats it, what happened, and the files kept."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from colonysim.core.records import RUNNING, WAITING
from colonysim.core.wording import show_count
from colonysim.evidence.causes import Cause, cause_lines, causes_in
from colonysim.evidence.replay import show_line
from colonysim.kernel.clock import show_time
from colonysim.kernel.why_idle import name_of
from colonysim.programs.output import SHOWN_LINES
from colonysim.pytest_plugin.identity import folder_of
from colonysim.simulation.simulation import Simulation

EVENTS: Final = 20
TIMELINES_SHOWN: Final = 3  # in the report; the file has more
TIMELINES_KEPT: Final = 1000
OUTPUTS_SHOWN: Final = 5
SLEEPS_SHOWN: Final = 3
_WIDTH: Final = 200


def command(tests: list[str], seed: int, one_of_many: bool = False) -> str:
    """Return the command that repeats tests.

    `one_of_many`: the option --colonysim-seeds made this test. Its name has a suffix that exists only with that option.
    """
    return f"{shlex.join(['pytest', *tests])} --colonysim-seed={seed}" + (" --colonysim-seeds=1" if one_of_many else "")


def report(
    repeat: str, test_id: str, simulations: list[Simulation], folder: Path | None, problem: str
) -> Iterator[str]:
    """Yield the lines of the report, and write the files into `folder` if there is one.

    `repeat` is the command that repeats the test, and `problem` the error with which it failed.
    """
    for number, simulation in enumerate(simulations, 1):
        if len(simulations) > 1:
            yield f"simulation {number} of {len(simulations)}"
        yield f"seed {simulation.settings.seed}; repeat with: {repeat}"
        yield from _sleeps(simulation)
        calls = show_count(len(simulation.calls), "call")
        yield f"virtual time {show_time(simulation.now_ns)} UTC, {calls}; last events:"
        yield from (f"  {line[:_WIDTH]}" for line in _events(simulation))
        yield from why_failed(_causes(simulation))
        unfinished = _unfinished(simulation)
        if unfinished:
            yield f"{show_count(len(unfinished), 'process')} unfinished:"
            for process_id in unfinished[:TIMELINES_SHOWN]:
                yield from _timeline(simulation, process_id)
        yield from output_lines(simulation)
    if folder is not None:
        yield from _keep(folder_of(folder, test_id), simulations)
        yield from _keep_pages(folder_of(folder, test_id), simulations, test_id, repeat, problem)


def why_failed(causes: Iterable[Cause]) -> Iterator[str]:
    """Yield why processes ended without success; nothing if none did."""
    lines = list(cause_lines(causes))
    if lines:
        yield "processes that ended without success:"
        yield from (f"  {line}" for line in lines)


def _causes(simulation: Simulation) -> tuple[Cause, ...]:
    with simulation.kernel.locked() as world:
        return causes_in(world, simulation.observers.invariants)


def _sleeps(simulation: Simulation) -> Iterator[str]:
    """Yield how far time moved while threads of the test slept, the latest last."""
    sleeps = list(simulation.kernel.actors.sleeps)
    yield from map(str, sleeps[-SLEEPS_SHOWN:])
    if sleeps:
        yield "(time moves while all sleep or wait: see docs/time.md; with mode='manual' only the test moves it)"


def _events(simulation: Simulation) -> list[str]:
    def name(caller_id: str) -> str:
        with simulation.kernel.locked() as world:
            return name_of(world, caller_id)

    if simulation.journal is not None:
        return [show_line(line, name) for line in simulation.journal.lines[-EVENTS:]]
    return [
        f"{show_time(call.at_ns)}  {name(call.caller_id)}  {call.payload_type or 'unreadable'}  "
        f"{'parked' if call.status is None else call.status}"
        for call in list(simulation.calls)[-EVENTS:]
    ]


def _unfinished(simulation: Simulation) -> list[str]:
    with simulation.kernel.locked() as world:
        states = (tables[state] for tables in world.by_state.values() for state in (RUNNING, WAITING))
        return list(islice((process_id for table in states for process_id in table), TIMELINES_KEPT))


def _timeline(simulation: Simulation, process_id: str) -> Iterator[str]:
    """Yield the timeline of a process, and the reasons why it is unfinished."""
    yield f"  process {process_id}"
    yield from (f"  {line}" for line in simulation.story(process_id).splitlines())
    yield from (f"    {text}" for text in simulation.why_not(process_id).texts)


def output_lines(
    simulation: Simulation, programs: int | None = OUTPUTS_SHOWN, lines: int | None = SHOWN_LINES
) -> Iterator[str]:
    """Yield what the programs have written: of so many programs, and the last so many lines of each (None: of all)."""
    written = [(name, output) for name, output in simulation.kernel.outputs.items() if output.shown()]
    for name, output in written[:programs]:
        yield f"output of program {name}:"
        yield from output.shown() if lines is None else output.shown(lines)
    if programs is not None and len(written) > programs:
        yield f"{show_count(len(written) - programs, 'more program')} wrote something"


# ---------------------------------------------------------------- files
def journal_in(folder: Path, number: int) -> Path:
    """Return the path of the journal of a test's simulation; the first simulation has number 0."""
    return folder / ("journal.jsonl" if number == 0 else f"journal-{number + 1}.jsonl")


def keep_output(folder: Path, simulations: list[Simulation]) -> Iterator[str]:
    """Write what programs have written into a file of `folder`, and yield a line that says so."""
    if lines := [line for simulation in simulations for line in output_lines(simulation, None, None)]:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "output.txt"
        path.write_text("\n".join((*lines, "")), encoding="utf-8")
        yield f"output of programs written to {path}"


def _keep(folder: Path, simulations: list[Simulation]) -> Iterator[str]:
    folder.mkdir(parents=True, exist_ok=True)
    for number, simulation in enumerate(simulations):
        if simulation.journal is not None:
            path = journal_in(folder, number)
            simulation.journal.save(path)
            yield f"journal written to {path}; replay it with: colonysim replay {shlex.quote(str(path))}"
    timelines = [line for each in simulations for i in _unfinished(each) for line in _timeline(each, i)]
    if timelines:
        path = folder / "stories.txt"
        path.write_text("\n".join((*timelines, "")), encoding="utf-8")
        yield f"timelines of unfinished processes written to {path}"
    yield from keep_output(folder, simulations)


def _keep_pages(folder: Path, simulations: list[Simulation], test_id: str, repeat: str, problem: str) -> Iterator[str]:
    """Write the HTML report of each simulation into a file of `folder`, and yield a line that says so."""
    from colonysim.reports import observed, page

    for number, simulation in enumerate(simulations, 1):
        path = page_in(folder, number - 1)
        try:
            with simulation.kernel.locked():
                text = page.page_of(observed.of_simulation(simulation), test_id, command=repeat, problems=[problem])
            path.write_text(text, encoding="utf-8")
        except Exception as error:  # the state may be broken, which is why the test failed; that must still be shown
            yield f"no HTML report could be made: {type(error).__name__}: {error}"
        else:
            yield f"HTML report written to {path}"


def page_in(folder: Path, number: int) -> Path:
    """Return the path of the HTML report of a test's simulation; the first simulation has number 0."""
    return folder / ("report.html" if number == 0 else f"report-{number + 1}.html")


# ---------------------------------------------------------------- against a recorded journal
def first_difference(first: list[bytes], second: list[bytes], one: str, other: str) -> str | None:
    """Describe the first difference between two journals called `one` and `other`; None if they are equal.

    Both come without their header, so the first line has number 2.
    """
    for number, (line, other_line) in enumerate(zip(first, second, strict=False), 2):
        if line != other_line:
            return (
                f"line {number} of the journal differs\n  {one}: {show_line(line)}\n  {other}: {show_line(other_line)}"
            )
    if len(first) != len(second):
        lines = f"{one} {show_count(len(first), 'line')}, {other} {show_count(len(second), 'line')}"
        return f"the journals have different lengths: {lines}"
    return None
