"""What is told of a failed test: its seed, how to repeat it, what happened last, and the files that are kept."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from colonysim.core.records import RUNNING, WAITING
from colonysim.evidence.replay import show_line
from colonysim.simulation.simulation import Simulation

EVENTS: Final = 20
STORIES: Final = 3  # told in the report; the file has more
STORIES_KEPT: Final = 1000
_WIDTH: Final = 200


def command(node_id: str, seed: int, one_of_many: bool = False) -> str:
    """What repeats a test; one of many by an option keeps its name only where the option is given again."""
    return f"pytest {shlex.quote(node_id)} --colonysim-seed={seed}" + (" --colonysim-seeds=1" if one_of_many else "")


def told(repeat: str, node_id: str, simulations: list[Simulation], folder: Path | None) -> Iterator[str]:
    """The lines of the report. `repeat` is the command that repeats the test."""
    for number, simulation in enumerate(simulations, 1):
        if len(simulations) > 1:
            yield f"simulation {number} of {len(simulations)}"
        yield f"seed {simulation.settings.seed}; repeat with: {repeat}"
        yield f"virtual time {simulation.now:%Y-%m-%d %H:%M:%S.%f} UTC, {len(simulation.calls)} calls; what came last:"
        yield from (f"  {line[:_WIDTH]}" for line in _events(simulation))
        unfinished = _unfinished(simulation)
        if unfinished:
            yield f"{len(unfinished)} processes have not come to their end:"
            for process_id in unfinished[:STORIES]:
                yield from _life(simulation, process_id)
    if folder is not None:
        yield from _keep(folder_of(folder, node_id), simulations)


def _events(simulation: Simulation) -> list[str]:
    if simulation.journal is not None:
        return [show_line(line) for line in simulation.journal.lines[-EVENTS:]]
    return [
        f"{call.at_ns / 1e9:.6f}  {call.caller_id[:8]:8}  {call.payload_type or 'unreadable'}  "
        f"{'parked' if call.status is None else call.status}"
        for call in list(simulation.calls)[-EVENTS:]
    ]


def _unfinished(simulation: Simulation) -> list[str]:
    with simulation.kernel.locked() as world:
        states = (tables[state] for tables in world.by_state.values() for state in (RUNNING, WAITING))
        return list(islice((process_id for table in states for process_id in table), STORIES_KEPT))


def _life(simulation: Simulation, process_id: str) -> Iterator[str]:
    """The story of a process, and why it goes no further."""
    yield f"  process {process_id}"
    yield from (f"  {line}" for line in simulation.story(process_id).splitlines())
    yield from (f"    {text}" for text in simulation.why_not(process_id).texts)


# ---------------------------------------------------------------- files
def folder_of(folder: Path, node_id: str) -> Path:
    """Where the files of one test are kept."""
    return folder / "".join(char if char.isalnum() or char in "-_." else "_" for char in node_id)


def journal_in(folder: Path, number: int) -> Path:
    """The journal of a test's simulation, the first one being 0."""
    return folder / ("journal.jsonl" if number == 0 else f"journal-{number + 1}.jsonl")


def _keep(folder: Path, simulations: list[Simulation]) -> Iterator[str]:
    folder.mkdir(parents=True, exist_ok=True)
    for number, simulation in enumerate(simulations):
        if simulation.journal is not None:
            path = journal_in(folder, number)
            simulation.journal.save(path)
            yield f"history written to {path}; replay it with: colonysim replay {shlex.quote(str(path))}"
    stories = [line for each in simulations for i in _unfinished(each) for line in _life(each, i)]
    if stories:
        path = folder / "stories.txt"
        path.write_text("\n".join((*stories, "")), encoding="utf-8")
        yield f"stories of what has not come to its end written to {path}"


# ---------------------------------------------------------------- against a record
def difference(recorded: Path, simulation: Simulation) -> str | None:
    """Where the history of a simulation parts from a recorded one; None where both are the same."""
    if simulation.journal is None:
        return "it cannot be compared with a record: it has journal=False"
    return first_difference(recorded.read_bytes().split(b"\n")[1:-1], simulation.journal.lines, "recorded", "now")


def first_difference(first: list[bytes], second: list[bytes], one: str, other: str) -> str | None:
    """The first line in which two histories differ; None where they are the same."""
    for number, (was, came) in enumerate(zip(first, second, strict=False), 2):
        if was != came:
            return f"line {number} of the history was\n  {one}: {show_line(was)}\n  {other}: {show_line(came)}"
    if len(first) != len(second):
        return f"the history had {len(first)} lines {one}, and has {len(second)} {other}"
    return None
