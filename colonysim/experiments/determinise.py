"""Determinise faults: replace a random fault by one fault for each time it struck, with fixed time and duration."""

from __future__ import annotations

from typing import Any

from colonysim.faults.fault import Strike
from colonysim.simulation.simulation import Simulation

_NO_STRIKE = ("back", "healed", "on", "stopped", "push")


def read_strike(sim: Simulation, line: dict[str, Any]) -> Strike | None:
    """Make a strike from a line of the fault log at the time it is written; None if the line is not a strike."""
    if "fault" not in line or any(key in line for key in _NO_STRIKE):
        return None
    world = sim.world
    spans = ((key.removesuffix("_ns"), line[key]) for key in line if key.endswith("_ns") and line[key] is not None)
    actor, type_name = line.get("actor", ""), ""
    if "ask" in line:
        type_name = line["type"]
        acting = sim.kernel.programs.acting if sim.kernel.programs is not None else None
        records = world.executors_by_id.get(line["caller"])
        actor = acting.name if acting is not None else records[0].name if records else ""
    return Strike(line["fault"], world.now_ns - world.started_ns, actor, type_name, tuple(spans))
