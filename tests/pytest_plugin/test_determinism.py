"""`--colonysim-check-determinism`: each test is run twice, and shown once."""

from __future__ import annotations

import pytest

pytest.importorskip("pytest_rerunfailures")

TESTS = """
import os
import pytest

attempts = []

def test_that_is_deterministic(colony):
    colony.submit("f")

def test_that_is_not(colony):
    colony.submit(os.urandom(8).hex())

def test_that_fails(colony):
    assert False

@pytest.mark.flaky(reruns=2)
def test_that_fails_once(colony):
    attempts.append(colony)
    assert len(attempts) != 1

def test_without_a_simulation():
    attempts.append(None)
    assert len(attempts) == 4  # two runs and a repetition of the test before, and one of this
"""


@pytest.mark.parametrize("arguments", [(), ("-n", "1"), ("-v",)])
def test_it_goes_together_with_reruns(pytester: pytest.Pytester, arguments: tuple[str, ...]) -> None:
    pytester.makepyfile(TESTS)
    result = pytester.runpytest_subprocess("-p", "no:randomly", "--colonysim-check-determinism", *arguments)
    assert result.parseoutcomes() == {"passed": 3, "failed": 2, "rerun": 1}
    result.stdout.fnmatch_lines(["*run twice with one seed, line * of the journal differs*"])


def test_what_is_not_deterministic_is_rerun_as_any_failure(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TESTS)
    arguments = ("-p", "no:randomly", "--colonysim-check-determinism", "--reruns", "1", "-k", "that_is_not")
    result = pytester.runpytest_subprocess(*arguments)
    assert result.parseoutcomes() == {"failed": 1, "rerun": 1, "deselected": 4}


def test_cleaning_up_may_fail_in_either_run(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        runs = []

        @pytest.fixture(params=[1, 2])
        def breaks(colony, request):
            runs.append(request.param)
            yield
            assert runs.count(request.param) != request.param

        def test_it(breaks):
            pass
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:randomly", "--colonysim-check-determinism")
    assert result.parseoutcomes()["errors"] == 2


def test_tests_that_share_a_simulation_are_not_checked_which_is_said(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture(scope="module")
        def shared(make_colonysim_module):
            return make_colonysim_module()

        def test_shared(shared):
            shared.advance(1)

        def test_own(colonysim):
            colonysim.advance(1)

        def test_without():
            pass
        """
    )
    result = pytester.runpytest_subprocess("--colonysim-check-determinism")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["colonysim: not checked for determinism, * changed: *::test_shared"])
    pytester.runpytest_subprocess().stdout.no_fnmatch_line("*not checked*")
