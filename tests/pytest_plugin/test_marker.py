"""The marker's `faults` and `scenario`, as the users of the plugin meet them: tests of tests."""

from __future__ import annotations

import shlex
import subprocess

import pytest

from tests.cli.test_explore import ENVIRONMENT, TWICE

FAULTS = """
import pytest
from colonysim.faults import LoseReply, Match, Plan, When

PLAIN = {"kind": "lose_reply", "match": {"types": "submitfuncspecmsg"}, "when": {"first": 1}}
STRUCT = LoseReply(match=Match(types="submitfuncspecmsg"), when=When(first=1))
"""


def lines_of(result: pytest.RunResult) -> str:
    return "\n".join(result.outlines)


@pytest.mark.parametrize("given", ["PLAIN", "STRUCT", "[PLAIN]", "Plan(faults=(STRUCT,))"])
def test_the_marker_s_faults_strike_in_whatever_form_they_come(pytester: pytest.Pytester, given: str) -> None:
    pytester.makepyfile(
        FAULTS
        + f"""
@pytest.mark.colonysim(faults={given})
def test_it(colony, colonysim):
    with pytest.raises(ConnectionError):
        colony.submit("f")
    assert len(colony.processes()) == 1
    assert colony.submit("g").id

def test_another(colony):
    assert colony.submit("f").id
"""
    )
    pytester.runpytest_subprocess("-p", "no:randomly").assert_outcomes(passed=2)


def test_faults_spare_what_sets_up_the_colony_but_not_what_the_test_makes_itself(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from colonysim import ColonyClient

        ALL = {"kind": "answer", "status": 503, "text": "away", "when": {"until_s": 10}}

        @pytest.mark.colonysim(faults=ALL)
        def test_it(colonysim, colony, make_colonysim):
            with pytest.raises(Exception, match="away"):
                colony.submit("f")
            with pytest.raises(Exception, match="away"):
                ColonyClient.create(make_colonysim())
            ready = make_colonysim(stock_colony=True)
            colonysim.advance(10)
            assert colony.submit("f").id
            assert "dev" in ready.world.colonies
        """
    )
    pytester.runpytest_subprocess("-p", "no:randomly").assert_outcomes(passed=1)


def test_one_seed_is_one_history_with_faults_too(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.colonysim(faults={"kind": "lose_reply", "when": {"probability": 0.5, "until_s": 100}})
        def test_it(colony):
            for _ in range(20):
                try:
                    colony.submit("f")
                except ConnectionError:
                    pass
        """
    )
    checked = pytester.runpytest_subprocess("-p", "no:randomly", "--colonysim-check-determinism")
    checked.assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        ("{'kind': 'lose_repyl'}", ["lose_repyl", "the kinds are"]),
        ("{'kind': 'restart', 'times': {'mean_every_s': 5}}", ["restart", "has no end"]),
    ],
)
def test_faults_that_make_no_sense_are_told(pytester: pytest.Pytester, faults: str, words: list[str]) -> None:
    pytester.makepyfile(f"import pytest\n@pytest.mark.colonysim(faults={faults})\ndef test_it(colonysim):\n    pass\n")
    result = pytester.runpytest_subprocess("-p", "no:randomly")
    result.assert_outcomes(errors=1)
    for word in words:
        assert word in lines_of(result)


# ---------------------------------------------------------------- scenarios
def test_a_scenario_is_run_with_the_test_s_seeds(pytester: pytest.Pytester) -> None:
    (pytester.path / "twice.yaml").write_text(TWICE)
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.colonysim(scenario="twice.yaml", seeds=20)
        def test_it(colonysim_result, colonysim_seed):
            assert colonysim_result.seed == colonysim_seed
            assert colonysim_result.summary.submitted == 50
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:randomly", "--colonysim-seed=1")
    outcomes = result.parseoutcomes()
    assert outcomes["errors"] + outcomes["passed"] == 20
    assert outcomes["errors"] >= 1
    shown = lines_of(result)
    assert "check: once each: submitted <= 50 at all times: violated " in shown
    command = next(line for line in result.outlines if "colonysim run" in line).partition("repeat with: ")[2]
    again = subprocess.run(
        shlex.split(command), capture_output=True, text=True, env=ENVIRONMENT, cwd=pytester.path, check=False
    )
    assert again.returncode == 1
    assert "once each" in again.stdout


def test_faults_are_added_to_those_of_the_scenario(pytester: pytest.Pytester) -> None:
    (pytester.path / "twice.yaml").write_text(TWICE)
    pytester.makepyfile(
        """
        import pytest

        LOST = {"kind": "lose_reply", "name": "more", "match": {"types": "submitfuncspecmsg"}, "when": {"first": 3}}

        @pytest.mark.colonysim(scenario="twice.yaml", faults=LOST, seed=1)
        def test_it(colonysim_result):
            pass
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:randomly")
    result.assert_outcomes(errors=1)
    assert "was 5" in lines_of(result)


def test_a_scenario_may_be_a_value_and_have_programs(pytester: pytest.Pytester) -> None:
    (pytester.path / "worker.py").write_text("import time\ndef main():\n    time.sleep(1000)\n")
    pytester.makepyfile(
        f"""
        import pytest
        from colonysim.scenarios.scenario import Scenario

        SCENARIO = Scenario.read('''
        version: 1
        programs: [{{name: one, code: "{pytester.path}/worker.py:main"}}]
        ''')

        @pytest.mark.colonysim(scenario=SCENARIO)
        def test_it(colonysim_result):
            assert colonysim_result.end_s == 1000
        """
    )
    pytester.runpytest_subprocess("-p", "no:randomly").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("marker", "fixtures", "words"),
    [
        ("scenario='gone.yaml'", "colonysim_result", ["gone.yaml", "No such file"]),
        ("scenario='gone.yaml'", "", ["the fixture colonysim_result: ask for it"]),
        ("seed=1", "colonysim_result", ["needs @pytest.mark.colonysim(scenario="]),
    ],
)
def test_what_makes_no_sense_is_told_with_what_would_do(
    pytester: pytest.Pytester, marker: str, fixtures: str, words: list[str]
) -> None:
    pytester.makepyfile(f"import pytest\n@pytest.mark.colonysim({marker})\ndef test_it({fixtures}):\n    pass\n")
    result = pytester.runpytest_subprocess("-p", "no:randomly")
    assert result.ret != 0
    for word in words:
        assert word in lines_of(result) + "\n".join(result.errlines)
