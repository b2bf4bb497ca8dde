"""Fixtures of this project; those of colonysim need no import."""

import pytest
import worker


@pytest.fixture
def adder(colonysim, executor_factory):
    """The executor under test, running in virtual time."""
    executor = executor_factory("adder")
    return colonysim.program(worker.main, name="adder", env={"COLONIES_PRVKEY": executor.private_key}, forever=True)
