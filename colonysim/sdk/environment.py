"""The environment for programs of a scenario: environment variables and intercepted SDK calls."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from colonysim.sdk.intercept import intercept
from colonysim.simulation.simulation import Simulation


@contextmanager
def sdk_environment(sim: Simulation, variables: dict[str, str]) -> Iterator[None]:
    """Within the context, redirect the SDK calls of this process to a simulation, and set environment variables."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        with intercept(sim):
            yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
