"""Changes of a process's state: each pair of states is tried against the table of legal changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest

from colonysim import ColonyClient, Simulation
from colonysim.core import transitions
from colonysim.core.records import CANCELLED, FAILED, NEW, REMOVED, RUNNING, STATES, SUCCESS, WAITING, Process
from colonysim.core.transitions import LEGAL
from colonysim.core.world import World
from colonysim.invariants.ledger import LEGAL as BY_CAUSE

ARROWS: Final[dict[str, tuple[int, Callable[[World, Process], None]]]] = {
    "start": (RUNNING, lambda world, process: transitions.start(world, process, "executor")),
    "succeed": (SUCCESS, transitions.succeed),
    "fail": (FAILED, lambda world, process: transitions.fail(world, process, ["error"], "close")),
    "fail_with_parent": (FAILED, transitions.fail_with_parent),
    "cancel": (CANCELLED, transitions.cancel),
    "requeue_after_timeout": (WAITING, transitions.requeue_after_timeout),
    "requeue_after_removal": (WAITING, transitions.requeue_after_removal),
    "leave": (REMOVED, lambda world, process: transitions.leave(world, process, "remove")),
}


def process_in(state: int) -> tuple[World, Process]:
    """A process that came into a state as a client would bring it there."""
    sim = Simulation(mode="manual", invariants=False)
    colony = ColonyClient.create(sim, "c")
    executor = colony.add_executor("cli")
    handle = colony.submit("f")
    if state in (RUNNING, SUCCESS, FAILED):
        assigned = executor.assign()
        assert assigned is not None
        if state == SUCCESS:
            assigned.close()
        elif state == FAILED:
            assigned.fail("error")
    elif state == CANCELLED:
        handle.cancel()
    process = sim.world.processes[handle.id]
    assert process.state == state
    return sim.world, process


@pytest.mark.parametrize("name", ARROWS)
@pytest.mark.parametrize("old", STATES)
def test_a_process_changes_only_to_the_states_that_the_table_permits(old: int, name: str) -> None:
    world, process = process_in(old)
    new, change = ARROWS[name]
    tables = {state: list(world.processes_in("c", state)) for state in STATES}
    if new in LEGAL[old]:
        change(world, process)
        assert process.state == new
        assert (process.process_id in world.processes) == (new != REMOVED)
    else:
        with pytest.raises(AssertionError, match=f"process {process.process_id} must not change from "):
            change(world, process)
        assert process.state == old
        assert {state: list(world.processes_in("c", state)) for state in STATES} == tables


def test_the_arrows_lead_to_every_state() -> None:
    assert {new for new, _ in ARROWS.values()} == {*STATES, REMOVED}


def test_a_removed_process_is_not_removed_again() -> None:
    world, process = process_in(WAITING)
    transitions.leave(world, process, "remove")
    with pytest.raises(AssertionError, match="must not change from REMOVED to REMOVED"):
        transitions.leave(world, process, "remove")


def test_the_core_and_the_invariants_state_the_same_changes() -> None:
    """Both tables are written from the protocol. Release by the parents has a cause, but changes no state."""
    by_cause = {old: {new for new in causes if (old, new) != (WAITING, WAITING)} for old, causes in BY_CAUSE.items()}
    assert {old: set(new) for old, new in LEGAL.items() if old != REMOVED} == by_cause
    assert set(LEGAL) == {NEW, *STATES, REMOVED}
