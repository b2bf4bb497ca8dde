"""A simulation that stands still, and a colony in it."""

from __future__ import annotations

import pytest

from colonysim import ColonyClient, Simulation


@pytest.fixture
def sim() -> Simulation:
    return Simulation(mode="manual")


@pytest.fixture
def colony(sim: Simulation) -> ColonyClient:
    return ColonyClient.create(sim, "c")
