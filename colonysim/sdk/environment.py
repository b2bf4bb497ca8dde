"""What the programs of scenarios run in: SDK calls reach the simulation, and find it by the environment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from colonysim.sdk.intercept import intercept
from colonysim.simulation.simulation import Simulation


@contextmanager
def surroundings(sim: Simulation, environment: dict[str, str]) -> Iterator[None]:
    """Lead the SDK calls of this process to a simulation, and set environment variables for as long."""
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        with intercept(sim):
            yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
