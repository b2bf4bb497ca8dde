"""The report of a failed test says when time moved under it, and who asked what by name."""

from __future__ import annotations

import re

import pytest

PAUSES = """
import threading

def test_sleeps(colonysim, colony, executor_factory):
    executor = executor_factory("cli", name="poller")
    process = colony.submit("f", executortype="gpu", maxwaittime=5)
    waiting = threading.Thread(target=executor.assign, kwargs={"timeout_s": 10}, daemon=True)
    waiting.start()
    waiting.join()  # as any pause outside of the simulation
    assert process.state.name == "WAITING"
"""


def report_of(pytester: pytest.Pytester, text: str) -> str:
    pytester.makepyfile(text)
    return str(pytester.runpytest_subprocess("-p", "no:randomly").stdout)


def test_time_that_moved_while_the_test_slept_is_said(pytester: pytest.Pytester) -> None:
    told = report_of(pytester, PAUSES)
    assert re.search(r"time moved 10 s while MainThread slept [\d.]+ m?s", told)
    assert "see docs/time.md" in told


def test_time_that_the_test_moved_itself_is_not_said(pytester: pytest.Pytester) -> None:
    told = report_of(
        pytester,
        """
        def test_advances(colonysim, colony):
            process = colony.submit("f", maxwaittime=5)
            colonysim.advance(10)
            assert process.state.name == "WAITING"
        """,
    )
    assert "1 failed" in told
    assert "time moved" not in told


def test_the_last_events_name_who_asked(pytester: pytest.Pytester) -> None:
    told = report_of(
        pytester,
        """
        def test_asks(colony, executor_factory):
            executor_factory("cli", name="poller").assign(timeout_s=1)
            assert False
        """,
    )
    assert re.search(r"ask \d+ of poller: assignprocessmsg", told)
    assert re.search(r"ask \d+ of the owner of dev: addexecutormsg", told)


@pytest.mark.parametrize("name", ["colonysm", "colony_sim", "ColonySim", "colonysims"])
def test_a_misspelt_marker_is_an_error_without_a_stack(pytester: pytest.Pytester, name: str) -> None:
    told = report_of(
        pytester,
        f"""
        import pytest

        @pytest.mark.{name}(seed=7)
        def test_marked(colonysim):
            pass
        """,
    )
    assert f"@pytest.mark.{name} has no effect; did you mean @pytest.mark.colonysim?" in told
    assert "marker.py" not in told


def test_a_marker_that_somebody_registered_is_left_alone(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nmarkers =\n    colonysims: tests of several colonies")
    told = report_of(
        pytester,
        """
        import pytest

        @pytest.mark.colonysims
        def test_marked(colonysim):
            pass
        """,
    )
    assert "1 passed" in told
