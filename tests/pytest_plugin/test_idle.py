"""The pytest plugin says what did nothing: faults that never struck, seeds of which there are none, no records."""

from __future__ import annotations

import pytest

RARE = """
import pytest

LOST = {"kind": "lose_reply", "name": "lost", "match": {"types": "closesuccessfulmsg"}, "when": {"first": 1}}
MET = {"kind": "lose_reply", "name": "met", "match": {"types": "submitfuncspecmsg"}, "when": {"first": 1}}
"""
NEVER = (
    RARE
    + """
@pytest.mark.colonysim(faults=[LOST, MET])
def test_it(colony):
    with pytest.raises(ConnectionError):
        colony.submit("f")
"""
)


def _run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_subprocess("-p", "no:randomly", *arguments)


def test_a_fault_that_never_struck_is_a_warning(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(NEVER)
    result = _run(pytester, "-rP")
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(["*ColonysimWarning: fault 'lost' of the marker never struck: no request *"])
    result.stdout.fnmatch_lines(["fault lost struck 0 times", "fault met struck once"])
    result.stdout.no_fnmatch_line("*fault 'met' of the marker*")


@pytest.mark.parametrize("way", ["option", "environment", "ini"])
def test_it_is_an_error_where_that_is_asked(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    pytester.makepyfile(NEVER)
    if way == "environment":
        monkeypatch.setenv("COLONYSIM_STRICT", "yes")
    elif way == "ini":
        pytester.makeini("[pytest]\ncolonysim_strict = yes\n")
    result = _run(pytester, *(["--colonysim-strict"] if way == "option" else []))
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*fault 'lost' of the marker never struck*"])


def test_what_struck_before_it_was_cleared_or_reset_or_elsewhere_did_strike(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        RARE
        + """
@pytest.mark.colonysim(faults=MET)
@pytest.mark.parametrize("then", ["clear", "reset", "elsewhere", "failed"])
def test_it(colony, colonysim, make_colonysim, then):
    if then == "failed":
        assert False  # it says enough
    with pytest.raises(ConnectionError):
        colony.submit("f")
    if then == "clear":
        colonysim.faults.clear()
    elif then == "reset":
        colonysim.reset()
    elif then == "elsewhere":
        make_colonysim(stock_colony=True)
"""
    )
    _run(pytester, "--colonysim-strict").assert_outcomes(passed=3, failed=1)


def test_faults_of_a_test_without_a_simulation_are_told(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(RARE + "\n@pytest.mark.colonysim(faults=MET)\ndef test_it():\n    pass\n")
    result = _run(pytester, "--colonysim-strict")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*the test made no simulation; request the fixture colonysim*"])


def test_what_did_nothing_in_a_scenario_is_told(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from colonysim.scenarios.scenario import Scenario

        SCENARIO = Scenario.read('''
        version: 1
        executors: [{name: e}, {name: idle, type: gpu}]
        workload: [{name: w, arrivals: {kind: once, count: 3}}]
        ''')

        @pytest.mark.colonysim(scenario=SCENARIO)
        def test_it(colonysim_result):
            assert [one.name for one in colonysim_result.warnings] == ["idle"]
        """
    )
    result = _run(pytester)
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(["*executors.1: executors 'idle' can never get a process*"])
    _run(pytester, "--colonysim-strict").assert_outcomes(errors=1)


# ---------------------------------------------------------------- no seeds
@pytest.mark.parametrize("way", ["option -1", "option 0", "environment", "ini", "marker 0", "marker -2", "marker '3'"])
def test_fewer_than_one_seed_is_an_error_and_no_skip(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    kind, _, value = way.partition(" ")
    mark = f"import pytest\n@pytest.mark.colonysim(seeds={value})\n" if kind == "marker" else ""
    pytester.makepyfile(mark + "def test_it(colonysim):\n    assert False\n")
    if kind == "environment":
        monkeypatch.setenv("COLONYSIM_SEEDS", "-1")
    elif kind == "ini":
        pytester.makeini("[pytest]\ncolonysim_seeds = 0\n")
    result = _run(pytester, *([f"--colonysim-seeds={value}"] if kind == "option" else []))
    assert result.ret not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    told = result.stdout if kind == "marker" else result.stderr
    told.fnmatch_lines(["*no test would be run*"])
    told.fnmatch_lines(["*1 or more*"])


# ---------------------------------------------------------------- nothing to compare
def test_a_folder_without_journals_is_an_error(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(colonysim):\n    pass\n")
    pytester.mkdir("empty")
    result = _run(pytester, "--colonysim-replay", "empty")
    assert result.ret != 0
    result.stderr.fnmatch_lines(["*there is no journal in empty, so nothing to compare with*"])


def test_tests_of_which_none_has_a_record_are_not_green(pytester: pytest.Pytester) -> None:
    failing = "def test_it(colony):\n    colony.submit('f')\n    assert False\n"
    pytester.makepyfile(test_f=failing, test_g="def test_other(colony):\n    pass\n")
    _run(pytester, "--colonysim-artifacts", "kept", "--colonysim-seed", "7")
    pytester.makepyfile(test_f=failing.replace("assert False", "pass"))
    some = _run(pytester, "--colonysim-replay", "kept")
    assert some.ret == 0
    some.stdout.fnmatch_lines(["*1 of 2 tests were compared with a journal*"])
    none = _run(pytester, "--colonysim-replay", "kept", "test_g.py")
    assert none.ret == 1
    none.stdout.fnmatch_lines(["*0 of 1 tests were compared with a journal*"])


def test_a_history_that_is_not_kept_cannot_be_checked_for_determinism(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import pytest\n@pytest.mark.colonysim(journal=False)\ndef test_it(colonysim):\n    pass\n")
    result = _run(pytester, "--colonysim-check-determinism")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["**it has a simulation with journal=False*"])
