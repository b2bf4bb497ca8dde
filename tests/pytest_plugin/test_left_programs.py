"""A test that does not stop its programs leaves nothing of their patches to the next one."""

from __future__ import annotations

import pytest

SUITE = """
import random, time, unittest
import pytest
from colonysim import Simulation

SLEEP, RANDOM = time.sleep.__self__, type(random._inst)
failed = []

def is_patched():
    return time.sleep.__self__ is not SLEEP or type(random._inst) is not RANDOM

def busy(forever=True):
    sim = Simulation(seed=1)
    sim.program(time.sleep, 100, name="sleeper", forever=forever)
    sim.run(for_s=2)
    return sim

def test_1_leaves_a_program():
    busy()
    assert is_patched()

def test_2_finds_nothing():
    assert not is_patched()

def test_3_fails_in_the_middle():
    busy(forever=False)
    failed.append(busy)
    raise AssertionError

def test_4_finds_nothing():
    assert failed and not is_patched()

@pytest.fixture(scope="module")
def shared():
    sim = busy()
    yield sim
    sim.stop_programs()

def test_5_shares_a_simulation(shared):
    assert is_patched()

def test_6_shares_it_too(shared):
    shared.run(for_s=50)
    assert is_patched() and shared.now_ns - shared.world.started_ns == 52 * 10**9

class TestLast(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.sim = busy()

    @classmethod
    def tearDownClass(cls):
        cls.sim.stop_programs()

    def test_7(self):
        self.sim.run(for_s=5)

    def test_8(self):
        self.sim.run(for_s=5)
        assert self.sim.now_ns - self.sim.world.started_ns == 12 * 10**9
"""


@pytest.mark.parametrize("more", [(), ("-n1",)])
def test_programs_that_a_test_leaves_are_stopped(pytester: pytest.Pytester, more: tuple[str, ...]) -> None:
    pytester.makepyfile(SUITE)
    result = pytester.runpytest_subprocess("-p", "no:randomly", *more)
    result.assert_outcomes(passed=7, failed=1)
    result.stdout.fnmatch_lines(["*test_3_fails_in_the_middle*"])
