"""Wrong values of every option, variable and ini key, and of every argument of the marker: an error, and no test run."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from colonysim import Simulation
from colonysim.core.settings import Settings
from colonysim.pytest_plugin import marker, options

HUGE = "9" * 23

WRONG_VALUES: dict[str, list[tuple[str, str]]] = {
    "seed": [
        ("x", "a whole number"), ("1.5", "a whole number"), ("1e3", "a whole number"), ("nan", "a whole number"),
        ("1_000", "a whole number"), ("0x10", "a whole number"), (" ", "it is empty"), ("--", "a whole number"),
        (HUGE, "more than 64 bits"), (f"-{HUGE}", "more than 64 bits"), (str(2**64), "more than 64 bits"),
        ("9" * 5000, "a whole number"), ("٣", "a whole number"),
    ],
    "seeds": [
        ("0", "no test would be run"), ("-1", "no test would be run"), ("1.0", "a whole number"), ("x", "1 or more"),
        (HUGE, "100000 at most"), ("100001", "100000 at most"), ("9" * 5000, "a whole number"),
    ],
    "replay": [
        ("nope", "there is no nope"), ("empty", "there is no journal in empty"), ("text", "not a colonysim journal"),
        ("binary", "not a colonysim journal"), ("x" * 300, "File name too long"), ("text/x", "there is no text/x"),
        ("/dev/zero", "not a colonysim journal"), ("broken", "not a colonysim journal"), (" ", "it is empty"),
    ],
    "check_determinism": [("perhaps", "yes or no"), ("2", "yes or no"), ("on", "yes or no"), (" ", "yes or no")],
    "strict": [("perhaps", "yes or no"), ("-1", "yes or no"), ("on", "yes or no"), (" ", "yes or no")],
    "artifacts": [
        ("text", "text is a file"), ("text/below", "text is a file"), ("x" * 300, "File name too long"),
        ("/dev/null", "/dev/null is a file"), (" ", "it is empty"),
    ],
    "real": [
        ("x", "http:// or https://"), ("localhost:50080", "http:// or https://"), ("ftp://x", "http:// or https://"),
        ("http://", "it names no host"), ("http://:80", "it names no host"), ("http://a b", "it names no host"),
        ("http://x:99999", "Port out of range"), ("http://x:0", "port 0"), ("http://x:y", "such as http://127.0.0.1"),
        ("http://[::1", "such as http://127.0.0.1"), ("http://x?a=b", "a query"), ("http://u@x", "a user"),
        ("http://a..b", "it names no host"), (" ", "it is empty"),
    ],
}  # fmt: skip
RIGHT_VALUES = {
    "seed": ["0", "-7", "+7", str(2**64 - 1), str(-(2**63))],
    "seeds": ["1", "100000"],
    "replay": [],  # there are none yet
    "check_determinism": ["yes", "No", "TRUE", "0"],
    "strict": ["yes", "no", "false", "1"],
    "artifacts": ["empty", "new", "new/deeper", "."],
    "real": ["http://x", "https://x.example:443/", "http://127.0.0.1:50080", "http://[::1]:50080/below"],
}
CASES = [(name, text, reason) for name, values in WRONG_VALUES.items() for text, reason in values]


@pytest.fixture(autouse=True)
def _files(pytester: pytest.Pytester) -> None:
    pytester.mkdir("empty")
    (pytester.path / "text").write_text("no journal\n")
    (pytester.path / "binary").write_bytes(b"\xff\xfe\x00")
    (pytester.mkdir("broken") / "t").mkdir()
    (pytester.path / "broken" / "t" / "journal.jsonl").write_text("{}\n")
    pytester.makepyfile("def test_it():\n    pass\n")


def _run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_inprocess("-p", "no:randomly", "-p", "no:cacheprovider", "-p", "no:benchmark", *arguments)


def _give(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, way: str, name: str, text: str
) -> pytest.RunResult:
    if way == "environment":
        monkeypatch.setenv(f"COLONYSIM_{name.upper()}", text)
    elif way == "ini":
        return _run(pytester, "-o", f"colonysim_{name}={text}")
    else:
        return _run(pytester, f"--colonysim-{name}={text}")
    return _run(pytester)


def _tree(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if "__pycache__" not in path.parts}


# ---------------------------------------------------------------- options
def test_every_option_is_in_the_table_of_wrong_values(request: pytest.FixtureRequest) -> None:
    found = {name.removeprefix("colonysim_") for name in vars(request.config.option) if name.startswith("colonysim_")}
    assert found == set(options.OPTIONS) == set(WRONG_VALUES) == set(RIGHT_VALUES)


@pytest.mark.parametrize("way", ["option", "environment", "ini"])
@pytest.mark.parametrize(("name", "text", "reason"), CASES, ids=[f"{name}={text[:30]}" for name, text, _ in CASES])
def test_a_wrong_value_is_refused_before_any_test_runs(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, way: str, name: str, text: str, reason: str
) -> None:
    if way == "option" and options.OPTIONS[name].is_flag:
        pytest.skip("it takes no value on the command line")
    before = _tree(pytester.path)
    result = _give(pytester, monkeypatch, way, name, text)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    said = result.stderr.str()
    sources = {"option": f"--colonysim-{name}", "environment": f"COLONYSIM_{name.upper()}", "ini": f"colonysim_{name}"}
    assert f"of {sources[way]}" in said.replace("the variable ", "").replace("the ini key ", "")
    assert reason in said
    assert options.OPTIONS[name].expected in said
    assert "Traceback" not in said + result.stdout.str()
    assert len(said) < 1000
    assert _tree(pytester.path) == before


@pytest.mark.parametrize("way", ["option", "environment", "ini"])
@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in RIGHT_VALUES.items() for text in texts])
def test_a_right_value_is_taken(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, way: str, name: str, text: str
) -> None:
    if way == "option" and options.OPTIONS[name].is_flag:
        pytest.skip("it takes no value on the command line")
    before = _tree(pytester.path)
    assert _give(pytester, monkeypatch, way, name, text).ret == pytest.ExitCode.OK
    assert _tree(pytester.path) == before


@pytest.mark.parametrize("name", [name for name, option in options.OPTIONS.items() if not option.is_flag])
def test_an_empty_value_is_refused_on_the_command_line_only(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    result = _give(pytester, monkeypatch, "option", name, "")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*invalid value '' of --colonysim-{name}: it is empty; *"])
    assert _give(pytester, monkeypatch, "ini", name, "").ret == pytest.ExitCode.OK
    assert _give(pytester, monkeypatch, "environment", name, "").ret == pytest.ExitCode.OK


def test_a_wrong_value_is_refused_where_another_one_replaces_it(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLONYSIM_SEED", "x")
    result = _run(pytester, "--colonysim-seed=7")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*invalid value 'x' of the variable COLONYSIM_SEED; *"])


def test_seeds_whose_last_one_is_too_high_are_refused(pytester: pytest.Pytester) -> None:
    result = _run(pytester, f"--colonysim-seed={2**64 - 1}", "--colonysim-seeds=2")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--colonysim-seed and --colonysim-seeds: the last of 2 seeds *more than 64 bits*"])


@pytest.mark.parametrize(("variable", "meant"), [("SEDE", "SEED"), ("STRIKT", "STRICT"), ("DETERMINISM", "CHECK_D")])
def test_a_misspelt_variable_is_a_warning(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, variable: str, meant: str
) -> None:
    monkeypatch.setenv(f"COLONYSIM_{variable}", "1")
    result = _run(pytester)
    result.assert_outcomes(passed=1, warnings=1)
    said = " ".join(result.stdout.str().split())
    assert f"the variable COLONYSIM_{variable} has no effect; did you mean COLONYSIM_{meant}" in said


def test_variables_of_the_command_line_are_no_misspelt_options(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*Settings.__struct_fields__, "clock", "control_token", "host", "limits", "port", "server"):
        monkeypatch.setenv(f"COLONYSIM_{name.upper()}", "1")
    _run(pytester).assert_outcomes(passed=1, warnings=0)


def test_a_wrong_value_is_refused_with_xdist(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_subprocess("-n", "2", "--colonysim-seed=x")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*invalid value 'x' of --colonysim-seed; *"])


# ---------------------------------------------------------------- the marker
ALL = "colonysim, colonysim_seed"
WRONG_ARGUMENTS: list[tuple[str, str]] = [
    ("5", "takes keywords only, such as seed=7"), ("None", "takes keywords only"), ("'auto', seed=1", "keywords only"),
    ("moed='auto'", "did you mean mode"), ("sed=1", "did you mean seed"), ("fault=[]", "did you mean faults"),
    ("timezon='UTC'", "did you mean timezone"), ("qqqq=1", "the arguments are seed, seeds, faults, scenario,"),
    ("overrides={}", "there is no such argument"), ("moed=None", "did you mean mode"),
    ("frozen='yes'", "True or False"), ("frozen=1", "True or False"),
    ("seed='x'", "a whole number"), ("seed=1.0", "a whole number"), ("seed=True", "a whole number"),
    ("seed=2**64", "more than 64 bits"), ("seeds=0", "no test would be run"), ("seeds='3'", "1 or more"),
    ("seeds=True", "1 or more"), ("seeds=10**9", "100000 at most"), ("seed=2**64-1, seeds=2", "the last of 2 seeds"),
    ("settings=5", "expected Settings"), ("settings={}", "expected Settings"),
    ("mode='moed'", "'manual', 'auto', 'scaled' and 'real'"), ("mode=5", "'manual', 'auto'"), ("mode=[]", "'manual'"),
    ("rate='x'", "a number"), ("rate=5", "has no effect while the clock is auto"), ("rate=True", "a number"),
    ("mode='scaled', rate=0", "greater than 0"), ("mode='scaled', rate=float('nan')", "greater than 0"),
    ("invariants='no'", "True or False"), ("invariants=1", "True or False"), ("journal=5", "True, False or a file"),
    ("journal_errors='x'", "'continue' or 'stop'"), ("threshold_s='x'", "a number of seconds"),
    ("threshold_s=-1", "expected 0 to 86,400 seconds"), ("start='tomorrow'", "not an RFC 3339 time"), ("start=5", "expected str"),
    ("timezone='Mars'", "invalid timezone='Mars': unknown time zone"), ("timezone=5", "expected str"), ("policy='x'", "invalid policy='x'"),
    ("exclusive_assign='no'", "expected bool"), ("allow_reregister=1", "expected bool"),
    ("retention='yes'", "expected bool"), ("verify_signatures=0", "expected bool"),
    ("server_key='x'", "a private key of 64 hex digits"), ("build_version='\\n'", "must be printable"),
    ("user_weights='x'", "write weights as alice=3,bob=1"), ("user_weights='a=-1'", "a number from 0 to 100,000"),
    ("factor_weights='ages=1'", "the factors are age"), ("factor_weights=5", "expected str"),
    ("full_age_s=0", "must be at least 3,600"), ("full_size_cpus=0", "must be at least 1"),
    ("usage_half_life_s='x'", "expected int"),
    ("build_time='\\n'", "must be printable"), ("retention_policy_s=-1", "must be at least 0"),
    *((f"{name}=0", f"invalid {name}=0: must be at least 1") for name in (
        "cron_checker_period_ms", "generator_checker_period_ms", "cleanup_interval_s", "stale_executor_duration_s")),
    ("faults=5", "faults=5"), ("faults='lose_reply'", "faults='lose_reply'"), ("faults={'kind': 'fire'}", "the kinds are"),
    ("faults=[{'kind': 'delay', 'by_s': -1}]", "by_s=-1"), ("faults={'kind': 'lose_reply', 'wehn': 1}", "wehn"),
    ("faults={'kind': 'restart', 'times': {'every_s': 1}}", "has no end: give it until_s"),
    ("faults=[{'kind': 'reorder', 'name': 'a'}] * 2", "a fault of that name exists already"),
    ("scenario=5", "a scenario file or a Scenario"), ("scenario='gone.yaml'", "gone.yaml"), ("scenario=''", "cannot be read"),
    ("scenario='text'", "text"), ("scenario='binary'", "binary"), ("scenario='x' * 300", "File name too long"),
    ("faults={'kind': 'reorder'}, scenario='s.yaml', timezone='UTC', mode='manual'", "timezone has no effect on a scenario"),
]  # fmt: skip


def _marked(pytester: pytest.Pytester, arguments: str, fixtures: str) -> None:
    (pytester.path / "s.yaml").write_text("version: 1\nexecutors: [{name: e}]\n")
    pytester.makepyfile(
        f"import pytest\n\n@pytest.mark.colonysim({arguments})\ndef test_marked({fixtures}):\n    pass\n"
        "\ndef test_other():\n    pass\n"
    )


def test_every_argument_is_in_the_table_of_wrong_arguments() -> None:
    tried = " ".join(f" {text}" for text, _ in WRONG_ARGUMENTS)
    assert [name for name in marker.known() if f" {name}=" not in tried] == []
    of_simulation = set(inspect.signature(Simulation).parameters) - {"overrides"}
    assert of_simulation == set(marker.of_simulation()) == set(marker.EXPECTED) - set(marker.OF_TESTS)


@pytest.mark.parametrize(("arguments", "reason"), WRONG_ARGUMENTS)
def test_a_wrong_argument_is_a_collection_error_that_names_test_and_argument(
    pytester: pytest.Pytester, arguments: str, reason: str
) -> None:
    _marked(pytester, arguments, "colonysim_result" if "scenario" in arguments else ALL)
    before = _tree(pytester.path)
    result = _run(pytester)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.assert_outcomes(errors=1)
    said = result.stdout.str()
    assert "::test_marked: " in said
    assert "::test_other: " not in said
    assert reason in said
    assert "Traceback" not in said
    assert "INTERNALERROR" not in said
    assert _tree(pytester.path) == before


@pytest.mark.parametrize(
    ("arguments", "fixtures"),
    [
        ("seed=7, seeds=2, mode='scaled', rate=2, journal=False, journal_errors='stop', threshold_s=0.5", ALL),
        ("seed=-1, seeds=None, mode=None", ALL),
        ("invariants=False, timezone='Europe/Stockholm', start='now', policy='fair'", ALL),
        ("faults=[{'kind': 'reorder'}, {'kind': 'reorder'}], seeds=1", ALL),
        ("scenario='s.yaml', seeds=2", "colonysim_result"),
        ("scenario='s.yaml', timezone='UTC'", "colonysim_result, colonysim"),
        ("", ALL),
    ],
)
def test_right_arguments_are_taken(pytester: pytest.Pytester, arguments: str, fixtures: str) -> None:
    _marked(pytester, arguments, fixtures)
    assert _run(pytester, "--collect-only").ret == pytest.ExitCode.OK


NO_EFFECT = {
    "seeds of a test without a fixture": """
        @pytest.mark.colonysim(seeds=3)
        def test_marked():
            pass
        """,
    "seeds of one parameter": """
        @pytest.mark.parametrize("number", [pytest.param(1, marks=pytest.mark.colonysim(seeds=3))])
        def test_marked(colonysim, number):
            pass
        """,
    "seeds of a unittest": """
        @pytest.mark.usefixtures("colonysim")
        @pytest.mark.colonysim(seeds=3)
        class TestCase(unittest.TestCase):
            def test_marked(self):
                pass
        """,
    "two markers": """
        @pytest.mark.colonysim(seed=3)
        @pytest.mark.colonysim(mode="manual")
        def test_marked(colonysim):
            pass
        """,
    "a wrong argument of one parameter": """
        @pytest.mark.parametrize("number", [pytest.param(1, marks=pytest.mark.colonysim(sede=3))])
        def test_marked(colonysim, number):
            pass
        """,
    "a wrong argument of a module": """
        pytestmark = pytest.mark.colonysim(sede=3)

        def test_marked():
            pass
        """,
}


@pytest.mark.parametrize("case", NO_EFFECT)
def test_a_marker_without_effect_is_a_collection_error(pytester: pytest.Pytester, case: str) -> None:
    pytester.makepyfile("import unittest, pytest\n" + inspect.cleandoc(NO_EFFECT[case]) + "\n")
    result = _run(pytester)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*::test_marked*: *"])


def test_tests_that_share_a_wrong_marker_share_one_line(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        "import pytest\npytestmark = pytest.mark.colonysim(seed='x')\n"
        + "".join(f"def test_{number}(colonysim):\n    pass\n" for number in range(50))
    )
    lines = _run(pytester).outlines
    errors = lines[: next(number for number, line in enumerate(lines) if "short test summary info" in line)]
    assert sum("a whole number" in line for line in errors) == 1


def test_a_scenario_is_read_once_for_all_seeds(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    from colonysim.scenarios.scenario import Scenario

    reads: list[str] = []
    load = Scenario.load.__func__  # type: ignore[attr-defined]
    monkeypatch.setattr(Scenario, "load", classmethod(lambda cls, path: (reads.append(str(path)), load(cls, path))[1]))
    _marked(pytester, "scenario='s.yaml', seeds=50", "colonysim_result")
    assert _run(pytester, "--collect-only").ret == pytest.ExitCode.OK
    assert len(reads) == 1


def test_seeds_of_a_marker_that_are_too_high_for_the_seed_of_an_option_are_refused(pytester: pytest.Pytester) -> None:
    _marked(pytester, "seeds=2", ALL)
    result = _run(pytester, f"--colonysim-seed={2**64 - 1}")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*::test_marked: the last of 2 seeds from *more than 64 bits*"])


def test_a_wrong_argument_is_told_with_xdist(pytester: pytest.Pytester) -> None:
    _marked(pytester, "moed='auto'", ALL)
    result = pytester.runpytest_subprocess("-n", "2")
    assert result.ret != pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*::test_marked: @pytest.mark.colonysim(moed=...): * did you mean mode[?]"])
    result.stdout.no_fnmatch_line("*INTERNALERROR*")
