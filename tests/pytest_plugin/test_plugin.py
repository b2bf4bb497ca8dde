"""The plugin as its users meet it: tests of tests."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from colonysim import replay

ECHO = """
def test_echo(colony):
    executor = colony.add_executor("cli")
    process = colony.submit("echo", ["hello"])
    assigned = executor.assign(timeout_s=60)
    assigned.close(assigned.args)
    assert process.output == ["hello"]
"""


def test_a_test_in_a_few_lines(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(ECHO)
    pytester.runpytest_subprocess("-p", "no:randomly").assert_outcomes(passed=1)


def test_tests_do_not_see_each_other(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        def test_one(colony):
            colony.submit("f")

        def test_other(colony, colonysim):
            assert colonysim.world.processes == {}
        """
    )
    pytester.runpytest_subprocess("-p", "no:randomly").assert_outcomes(passed=2)


def test_fixtures_together(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import os, requests

        def test_all(colonysim, colony, executor_factory, colonysim_server, colonysim_url, make_colonysim):
            assert executor_factory("cli", name="e").name == "e"
            assert requests.get(colonysim_url + "/health").status_code == 200
            assert colonysim_url == colonysim_server.url
            assert requests.get("http://localhost:50080/health").status_code == 200
            assert os.environ["COLONIES_COLONY_NAME"] == "dev"
            other = make_colonysim(mode="manual", timezone="Europe/Stockholm")
            assert other.world.colonies == {}
            assert other.settings.seed == colonysim.settings.seed
        """
    )
    pytester.runpytest_subprocess("-p", "no:randomly").assert_outcomes(passed=1)


def test_the_marker_sets_up_the_simulation(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.colonysim(seed=7, mode="manual", start="2030-01-01T00:00:00Z", exclusive_assign=False)
        def test_it(colonysim):
            assert colonysim.settings.seed == 7
            assert colonysim.kernel.clock.mode == "manual"
            assert colonysim.now.year == 2030
            assert colonysim.settings.exclusive_assign is False

        @pytest.mark.colonysim(seeds=3)
        def test_thrice(colonysim, colonysim_seed):
            assert colonysim.settings.seed == colonysim_seed
        """
    )
    pytester.runpytest_subprocess("-p", "no:randomly", "--strict-markers").assert_outcomes(passed=4)


FAILING = """
def test_it(colony, executor_factory):
    executor_factory("cli", name="e1")
    colony.submit("f")
    colony.submit("g", executortype="nowhere")
    assert False
"""


def test_a_failure_tells_seed_command_last_events_and_what_is_unfinished(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_f=FAILING)
    result = pytester.runpytest_subprocess("-p", "no:randomly", "--colonysim-artifacts", "kept")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*seed *; repeat with: pytest test_f.py::test_it --colonysim-seed=*",
            "*virtual time 2026-01-01 *, 6 calls; last events:",
            "*ask 6 of *: submitfuncspecmsg*",
            "*answer 6: 200 submitfuncspecmsg*WAITING*",
            "*2 processes unfinished:",
            "*NEW → WAITING  submit by myuser: f for 'cli'*",
            "*nobody asks: no assign call is waiting from e1*",
            "*no executor of type 'nowhere' is registered*",
            "*journal written to kept/test_f.py__test_it/journal.jsonl; replay it with: colonysim replay *",
        ]
    )
    kept = Path(pytester.path, "kept", "test_f.py__test_it")
    assert sorted(path.name for path in kept.iterdir()) == ["journal.jsonl", "report.html", "stories.txt"]
    assert replay(kept / "journal.jsonl").same
    assert "no executor of type 'nowhere'" in (kept / "stories.txt").read_text()


def test_the_printed_command_repeats_the_history(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_f=FAILING)
    arguments = ("-p", "no:randomly", "--colonysim-artifacts")
    result = pytester.runpytest_subprocess(*arguments, "first")
    told = next(line for line in result.outlines if "repeat with: pytest " in line)
    pytester.runpytest_subprocess(*arguments, "again", *told.split("repeat with: pytest ")[1].split())
    journals = [Path(pytester.path, name, "test_f.py__test_it", "journal.jsonl") for name in ("first", "again")]
    assert journals[0].read_bytes() == journals[1].read_bytes()


def test_each_of_many_seeds_can_be_repeated(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_f="""
        import pytest

        @pytest.mark.colonysim(seeds=5)
        def test_it(colony, colonysim_seed):
            colony.submit("f")
            assert colonysim_seed % 5
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:randomly")
    result.assert_outcomes(passed=4, failed=1)
    told = next(line for line in result.outlines if "repeat with: pytest " in line)
    node_id, option = shlex.split(told.split("repeat with: pytest ")[1])
    pytester.runpytest_subprocess("-p", "no:randomly", node_id, option).assert_outcomes(failed=1)


def test_one_of_many_seeds_of_an_option_can_be_repeated(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_f="def test_it(colony, make_colonysim):\n    make_colonysim(seed=5)\n    assert False\n")
    result = pytester.runpytest_subprocess("-p", "no:randomly", "--colonysim-seeds=2")
    result.assert_outcomes(failed=2)
    told = next(line for line in result.outlines if "repeat with: pytest " in line)
    repeated = pytester.runpytest_subprocess("-p", "no:randomly", *shlex.split(told.split("repeat with: pytest ")[1]))
    repeated.assert_outcomes(failed=1)
    repeated.stdout.fnmatch_lines([told])


@pytest.mark.parametrize("way", ["option", "environment", "ini"])
def test_many_seeds_are_asked_for_three_ways(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    pytester.makepyfile(ECHO + "\ndef test_plain():\n    pass\n")
    args = ["-p", "no:randomly"]
    if way == "option":
        args += ["--colonysim-seeds", "4"]
    elif way == "environment":
        monkeypatch.setenv("COLONYSIM_SEEDS", "4")
    else:
        pytester.makeini("[pytest]\ncolonysim_seeds = 4\n")
    pytester.runpytest_subprocess(*args).assert_outcomes(passed=5)


def _recorded(pytester: pytest.Pytester, failing: str) -> Path:
    pytester.makepyfile(test_f=failing)
    pytester.runpytest_subprocess("-p", "no:randomly", "--colonysim-artifacts", "kept", "--colonysim-seed", "77")
    return Path(pytester.path, "kept", "test_f.py__test_it", "journal.jsonl")


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_recorded_history_is_repeated_with_its_seed(pytester: pytest.Pytester, what: str) -> None:
    journal = _recorded(pytester, FAILING)
    given = str(journal) if what == "file" else "kept"
    result = pytester.runpytest_subprocess("-p", "no:randomly", "--colonysim-replay", given)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*seed 77; repeat with*"])


def test_a_test_that_does_something_else_than_recorded_is_told(pytester: pytest.Pytester) -> None:
    journal = _recorded(pytester, FAILING)
    pytester.makepyfile(test_f=FAILING.replace('"f"', '"other"').replace("assert False", "pass"))
    result = pytester.runpytest_subprocess("-p", "no:randomly", "--colonysim-replay", str(journal))
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*the test differs from its recording *journal.jsonl: line * of the journal differs",
            '*recorded: *"funcname":"f"*',
            '*now: *"funcname":"other"*',
        ]
    )


@pytest.mark.parametrize(
    ("given", "told"), [("nowhere", "there is no nowhere"), ("test_f.py", "not a colonysim journal")]
)
def test_a_record_that_is_none_is_told(pytester: pytest.Pytester, given: str, told: str) -> None:
    pytester.makepyfile(test_f=FAILING)
    result = pytester.runpytest_subprocess("-p", "no:randomly", "--colonysim-replay", given)
    result.stderr.fnmatch_lines([f"*--colonysim-replay*{told}*"])


@pytest.mark.parametrize("way", ["option", "environment", "ini"])
def test_options_three_ways(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    pytester.makepyfile("def test_it(colonysim):\n    assert colonysim.settings.seed == 4711\n")
    args = ["-p", "no:randomly"]
    if way == "option":
        args += ["--colonysim-seed", "4711"]
    elif way == "environment":
        monkeypatch.setenv("COLONYSIM_SEED", "4711")
    else:
        pytester.makeini("[pytest]\ncolonysim_seed = 4711\n")
    pytester.runpytest_subprocess(*args).assert_outcomes(passed=1)


def test_histories_are_compared(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        ECHO
        + """
import os
def test_chance(colony):
    colony.submit(os.urandom(8).hex())
"""
    )
    result = pytester.runpytest_subprocess("-p", "no:randomly", "--colonysim-check-determinism")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*run twice with one seed, line * of the journal differs*"])


def test_violated_invariants_fail_a_test_that_did_not_look(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        def test_it(colony, colonysim):
            process = colony.submit("f")
            del colonysim.world.processes_in("dev", 0)[process.id]
            try:
                colony.submit("g")
            except AssertionError:
                pass
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:randomly")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*processes are lost or doubled*"])


def test_errors_in_server_threads_fail_the_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import requests

        def test_it(colonysim_server, monkeypatch):
            def broken(*args):
                raise ZeroDivisionError("planted")
            monkeypatch.setattr(colonysim_server.app, "_route", broken)
            assert requests.post(colonysim_server.url + "/api").status_code == 500
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:randomly")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*ZeroDivisionError: planted*"])


def test_with_xdist_and_in_random_order(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(ECHO, test_more=ECHO.replace("test_echo", "test_echo_too"))
    pytester.runpytest_subprocess("-n", "2").assert_outcomes(passed=2)
    pytester.runpytest_subprocess("-p", "randomly").assert_outcomes(passed=2)


def test_without_fixtures_nothing_heavy_is_imported(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_it():
            assert "colonysim.pytest_plugin.plugin" in sys.modules
            assert not {"msgspec", "coincurve", "werkzeug", "colonysim.core.engine"} & set(sys.modules)
        """
    )
    pytester.runpytest_subprocess("-p", "no:randomly", "-p", "no:hypothesispytest").assert_outcomes(passed=1)


def test_a_real_server_in_place_of_the_simulated_one(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(colonysim_url):\n    assert colonysim_url == 'http://elsewhere:1'\n")
    result = pytester.runpytest_subprocess("-p", "no:randomly", "--colonysim-real", "http://elsewhere:1/")
    result.assert_outcomes(passed=1)
