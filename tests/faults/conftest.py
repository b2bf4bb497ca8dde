"""What all tests of faults start from."""

from __future__ import annotations

import pytest

from colonysim import Simulation


@pytest.fixture
def sim() -> Simulation:
    """A simulation that keeps its journal, and moves time when all wait."""
    return Simulation(journal=True)
