"""A deterministic in-memory Colonies server: what moto is to AWS, with a clock of one's own."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from colonysim.core.model import ProcessState
    from colonysim.core.settings import Settings
    from colonysim.fronts.inprocess import intercept
    from colonysim.fronts.servers import WebServer
    from colonysim.sim import faults
    from colonysim.sim.client import (
        AssignedProcess,
        ColonyClient,
        ExecutorClient,
        ProcessHandle,
        Refused,
        UserClient,
        function_spec,
    )
    from colonysim.sim.clock import Mode
    from colonysim.sim.driver import Stuck
    from colonysim.sim.invariants import InvariantViolation
    from colonysim.sim.journal import JournalFailed
    from colonysim.sim.pending import Lost
    from colonysim.sim.replay import BadJournal, Replayed, replay
    from colonysim.sim.simulation import Simulation
    from colonysim.sim.snapshots import BadSnapshot
    from colonysim.sim.stage import Crashed, ProgramFailed

__version__ = "0.1.0"

_HOMES = {
    "AssignedProcess": "sim.client",
    "BadJournal": "sim.replay",
    "BadSnapshot": "sim.snapshots",
    "ColonyClient": "sim.client",
    "Crashed": "sim.stage",
    "ExecutorClient": "sim.client",
    "InvariantViolation": "sim.invariants",
    "JournalFailed": "sim.journal",
    "Lost": "sim.pending",
    "Mode": "sim.clock",
    "ProcessHandle": "sim.client",
    "ProcessState": "core.model",
    "ProgramFailed": "sim.stage",
    "Refused": "sim.client",
    "Replayed": "sim.replay",
    "Settings": "core.settings",
    "Simulation": "sim.simulation",
    "Stuck": "sim.driver",
    "UserClient": "sim.client",
    "WebServer": "fronts.servers",
    "function_spec": "sim.client",
    "intercept": "fronts.inprocess",
    "replay": "sim.replay",
}

__all__ = [
    "AssignedProcess",
    "BadJournal",
    "BadSnapshot",
    "ColonyClient",
    "Crashed",
    "ExecutorClient",
    "InvariantViolation",
    "JournalFailed",
    "Lost",
    "Mode",
    "ProcessHandle",
    "ProcessState",
    "ProgramFailed",
    "Refused",
    "Replayed",
    "Settings",
    "Simulation",
    "Stuck",
    "UserClient",
    "WebServer",
    "__version__",
    "faults",
    "function_spec",
    "intercept",
    "replay",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for, when it is asked for: importing colonysim itself costs next to nothing."""
    if name == "faults":
        return import_module("colonysim.sim.faults")
    if name not in _HOMES:
        raise AttributeError(f"module 'colonysim' has no attribute {name!r}")
    value = getattr(import_module(f"colonysim.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
