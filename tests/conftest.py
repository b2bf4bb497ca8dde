"""What all tests share."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from colonysim import ColonyClient, Simulation

pytest_plugins = ["pytester"]

# One revision is one outcome; `pytest --hypothesis-profile=search` looks further, elsewhere each time.
_UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("default", parent=_UNHURRIED, derandomize=True)
settings.register_profile("search", parent=_UNHURRIED, max_examples=2000)
settings.load_profile("default")


@pytest.fixture
def sim() -> Simulation:
    """A simulation that stands still; some folders and files have another one."""
    return Simulation(mode="manual")


@pytest.fixture
def colony(sim: Simulation) -> ColonyClient:
    return ColonyClient.create(sim, "c")


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests see none of the user's own settings."""
    import os

    for name in list(os.environ):
        if name.startswith(("COLONIES_", "COLONYSIM_")):
            monkeypatch.delenv(name)
