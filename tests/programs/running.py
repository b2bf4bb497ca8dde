"""Run a program to its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from colonysim import Simulation
from colonysim.programs.program import Program


def ran(code: Callable[..., Any], *args: Any, seed: int = 3, **options: Any) -> Program:
    """The program that this code was, after the run."""
    sim = Simulation(seed=seed)
    try:
        program = sim.program(code, *args, **options)
        sim.run()
        return program
    finally:
        sim.stop_programs()
