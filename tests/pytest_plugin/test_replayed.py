"""`--colonysim-replay`: an unchanged test agrees with its record, wherever pytest is called."""

from __future__ import annotations

from pathlib import Path

import pytest

FAILING = """
import pytest

def test_with_a_program(executor_factory, colonysim):
    executor = executor_factory("cli")

    def work():
        while True:
            executor.assign(timeout_s=100)

    colonysim.program(work, forever=True)
    colonysim.run(for_s=10)
    raise AssertionError("as it was recorded")

@pytest.fixture
def registered(colony):
    executor = colony.add_executor("cli", "e")
    yield executor
    colony.processes()

def test_with_a_fixture_that_cleans_up(registered):
    raise AssertionError("as it was recorded")

@pytest.fixture
def broken(colony):
    colony.submit("f")
    raise AssertionError("as it was recorded")

def test_that_fails_while_it_is_set_up(broken):
    pass

@pytest.fixture
def breaks(colony):
    yield
    colony.submit("f")
    raise AssertionError("as it was recorded")

def test_that_fails_while_it_cleans_up(breaks):
    pass

def test_with_two_simulations(colony, make_colonysim):
    make_colonysim(stock_colony=True)
    raise AssertionError("as it was recorded")

@pytest.mark.colonysim(faults={"kind": "restart", "times": {"at_s": 10}, "down_s": 50})
def test_whose_fault_is_under_way(colony, colonysim):
    colonysim.advance(20)
    raise AssertionError("as it was recorded")
"""


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_subprocess("-p", "no:randomly", *arguments)


def test_an_unchanged_failed_test_agrees_with_its_record(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(FAILING)
    first = run(pytester, "--colonysim-artifacts", "kept")
    first.assert_outcomes(failed=4, passed=1, errors=2)
    again = run(pytester, "--colonysim-replay", "kept")
    again.assert_outcomes(failed=4, passed=1, errors=2)
    again.stdout.no_fnmatch_line("*differs from its recording*")
    again.stdout.fnmatch_lines(["*6 of 6 tests were compared with a journal*"])


def test_a_failed_test_that_does_something_else_is_told(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_f=FAILING)
    run(pytester, "--colonysim-artifacts", "kept")
    changed = FAILING.replace('"cli", "e"', '"cli", "other"').replace("run(for_s=10)", "run(for_s=1000)")
    changed = changed.replace('submit("f")', 'submit("other")').replace(
        "    make_colonysim(", "    colony.submit('f')\n    make_colonysim("
    )
    pytester.makepyfile(test_f=changed)
    again = run(pytester, "--colonysim-replay", "kept", "--deselect", "test_f.py::test_whose_fault_is_under_way")
    assert str(again.stdout).count("differs from its recording") >= 5


def test_a_test_without_a_record_in_the_folder_is_told(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_f="def test_one(colony):\n    assert False\n\ndef test_new(colony):\n    pass\n\ndef test_plain():\n    pass\n"
    )
    run(pytester, "--colonysim-artifacts", "kept", "-k", "one")
    both = run(pytester, "--colonysim-replay", "kept")
    both.stdout.fnmatch_lines(
        [
            "*1 of 3 tests were compared with a journal*",
            "*there is no record of test_f.py::test_new: expected kept/test_f.py__test_new/journal.jsonl",
        ]
    )
    both.stdout.no_fnmatch_line("*no record of *test_plain*")
    alone = run(pytester, "--colonysim-replay", "kept", "-k", "new")
    assert alone.ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize("way", ["folder", "rootdir", "option"])
def test_ids_and_seeds_do_not_depend_on_how_pytest_is_called(pytester: pytest.Pytester, way: str) -> None:
    """By itself pytest takes the folder that all paths have in common as its root, also those of options."""
    project = pytester.mkdir("project")
    (project / "test_f.py").write_text("def test_it(colony):\n    colony.submit('f')\n    assert False\n")
    elsewhere = pytester.mkdir("elsewhere")
    first = run(pytester, "project/test_f.py", "--colonysim-artifacts", "kept")
    first.stdout.fnmatch_lines(["*repeat with: pytest project/test_f.py::test_it --colonysim-seed=*"])
    if way == "folder":
        (pytester.path / "kept").rename(project / "kept")
        pytester.chdir()
        again = pytester.runpytest_subprocess(
            "--rootdir=project", "-c", "/dev/null", "project/test_f.py", "--colonysim-replay", "project/kept"
        )
    elif way == "rootdir":
        again = run(pytester, f"--rootdir={pytester.path.parent}", "project/test_f.py", "--colonysim-replay", "kept")
    else:
        Path(pytester.path, "kept").rename(elsewhere / "kept")
        again = run(pytester, "project/test_f.py", "--colonysim-replay", "elsewhere/kept")
    again.assert_outcomes(failed=1)
    again.stdout.fnmatch_lines(["*1 of 1 tests were compared with a journal*"])


def test_tests_of_packages_and_projects_have_ids_of_their_own(pytester: pytest.Pytester) -> None:
    for folder in ("a", "b"):
        place = pytester.mkpydir(folder)
        (place / "test_f.py").write_text("def test_it(colony):\n    assert False\n")
    run(pytester, "--colonysim-artifacts", "kept").assert_outcomes(failed=2)
    assert sorted(path.name for path in (pytester.path / "kept").iterdir()) == [
        "a_test_f.py__test_it",
        "b_test_f.py__test_it",
    ]
