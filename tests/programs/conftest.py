"""What tests of programs share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from colonysim import Simulation


@pytest.fixture
def sim() -> Iterator[Simulation]:
    """A simulation that keeps a journal; whatever a test leaves in it is stopped."""
    simulation = Simulation(seed=3, journal=True)
    yield simulation
    simulation.stop_programs()
    simulation.check()
