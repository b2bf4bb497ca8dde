"""Fixtures of this project; those of colonysim need no import."""

import pytest
import worker


@pytest.fixture
def sleeper(colonysim, executor_factory):
    """The executor under test, running in virtual time."""
    executor = executor_factory("sleeper")
    return colonysim.program(worker.main, name="sleeper", env={"COLONIES_PRVKEY": executor.private_key}, forever=True)
