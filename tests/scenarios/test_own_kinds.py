"""Arrivals and checks of users' own: from a file, a package or Python, with errors that lead to the user's code."""

from __future__ import annotations

import gc
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from colonysim.core.history import Transition
from colonysim.core.values import BadValue
from colonysim.experiments.exploration import run_seed
from colonysim.experiments.shrinker import shrink
from colonysim.extensions import BadCode
from colonysim.invariants import Invariant, InvariantViolation
from colonysim.invariants.ledger import ProcessRecord
from colonysim.reports.summary import Summary
from colonysim.scenarios import writer
from colonysim.scenarios.checks import Check, Checks, Watch
from colonysim.scenarios.files import BadScenario, located
from colonysim.scenarios.recorded import files_of
from colonysim.scenarios.runner import Run, run
from colonysim.scenarios.scenario import Phases, Scenario
from colonysim.scenarios.validation import check as validate
from colonysim.workloads.arrivals import Arrivals, Once
from colonysim.workloads.executors import ExecutorGroup
from colonysim.workloads.workload import Workload

MINE = """
from collections.abc import Iterator
from random import Random
from typing import Annotated

from msgspec import Meta

from colonysim.scenarios import Arrivals, Check, Watch

runs = []

class Pairs(Arrivals):
    every_s: Annotated[float, Meta(gt=0, le=1000)]
    count: int = 5

    @property
    def ends(self) -> bool:
        return self.count > 0

    def times(self, random: Random, midnight_s: float) -> Iterator[float]:
        runs.append(1)
        assert len(runs) == 1, "the file is loaded anew for each run"
        number = 0
        while number < self.count or self.count <= 0:
            yield number * self.every_s
            yield number * self.every_s + random.random()
            number += 1

class AtMost(Check):
    most: int

    def watch(self, checks, name):
        return Running(checks, name, f"at most {self.most} run", self.most)

class Running(Watch):
    def __init__(self, checks, name, what, most):
        super().__init__(checks, name, what)
        self.most = most

    def happened(self, step):
        self.looked += 1
        if self.checks.read("running") > self.most:
            self.fail(step.now_ns, self.checks.read("running"), step.process_id)

def quick(summary, limit_s=60.0):
    if summary.turnaround_s.max > limit_s:
        return f"one took {summary.turnaround_s.max:g} s"

def asserts(summary):
    assert summary.submitted > 1000, "too few"
"""
TEXT = """
version: 1
executors: [{name: e, count: 2, service: 3}]
workload: [{name: w, arrivals: {kind: 'mine.py:Pairs', every_s: 30}}]
checks: [{kind: 'mine.py:quick'}, {kind: 'mine.py:AtMost', name: one, most: 2}]
"""


class Trickle(Arrivals, frozen=True):
    """One submission each `every_s` seconds, four times."""

    every_s: float

    @property
    def ends(self) -> bool:
        return True

    def times(self, random: Random, midnight_s: float) -> Iterator[float]:
        return iter([self.every_s * number for number in range(4)])


class Succeeded(Check, frozen=True, kw_only=True):
    """At least `least` processes succeed."""

    least: int

    def watch(self, checks: Checks, name: str) -> Watch:
        return SucceededWatch(checks, name, f"at least {self.least} succeed", self.least)


class SucceededWatch(Watch):
    def __init__(self, checks: Checks, name: str, what: str, least: int) -> None:
        super().__init__(checks, name, what)
        self.least = least

    def happened(self, step: Transition) -> None:
        self.looked += 1

    def phase(self, now_ns: int, name: str) -> None:
        if name == "end" and self.checks.read("succeeded") < self.least:
            self.fail(now_ns, self.checks.read("succeeded"))


def all_succeed(summary: Summary, least: int = 1) -> bool:
    return summary.succeeded >= least


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "s.yaml").write_text(TEXT)
    return tmp_path / "s.yaml"


def outcome(scenario: Scenario) -> list[str]:
    return [str(one) for one in run(scenario).findings]


# ---------------------------------------------------------------- from a file
def test_a_scenario_names_arrivals_and_checks_of_a_file(file: Path) -> None:
    scenario = Scenario.load(file)
    result = run(scenario)
    assert result.ok, result.failures
    assert result.summary.submitted == 10
    assert [str(one) for one in result.findings] == ["check 1: quick holds at the end", "one: at most 2 run"]
    assert result.warnings == ()
    assert validate(scenario) == ([], [])


def test_each_run_loads_the_file_anew_so_a_seed_is_one_history(file: Path) -> None:
    scenario = Scenario.load(file)
    assert run(scenario, 4).digest == run(scenario, 4).digest != run(scenario, 5).digest
    assert "mine_program" not in sys.modules


def test_checks_of_a_file_fail_with_their_values(file: Path) -> None:
    sets = ("checks.0.limit_s=2", "checks.1.most=0", "checks.2.kind=mine.py:asserts")
    scenario = Scenario.load(file, sets[:2])
    scenario = replace(scenario, checks=(*scenario.checks, {"kind": "mine.py:asserts"}))
    quick, one, asserts = outcome(scenario)
    assert re.fullmatch(r"check 1: one took 3(\.\d+)? s", quick)
    assert one == "one: at most 0 run: violated 20 times, first 0 s after the start, when the value was 1"
    assert asserts == "check 3: AssertionError: too few (mine.py, line 50)"


def test_an_arrival_that_never_ends_needs_an_end_whoever_wrote_it(file: Path) -> None:
    for scenario in (Scenario.load(file, ("workload.0.arrivals.count=0",)),):
        for ask in (run, validate):
            with pytest.raises(BadValue, match=r"workload 'w' never ends: give it a count or until_s"):
                ask(scenario)
    assert run(Scenario.load(file, ("workload.0.arrivals.count=0", "workload.0.count=7"))).summary.submitted == 7


WRONG: list[tuple[str, str, str, str]] = [
    ("", "workload.0.arrivals.kind=nowhere.py:Pairs", "4: workload.0.arrivals.kind: ", "nowhere.py cannot be read: No such file"),
    ("", "workload.0.arrivals.kind=mine.py:Pears", "4: workload.0.arrivals.kind: ", "no subclass of Arrivals is named 'Pears'; the module defines Pairs"),
    ("", "workload.0.arrivals.kind=mine.py:quick", "4: workload.0.arrivals.kind: ", "'quick' is a function, not a subclass of Arrivals; the module defines Pairs"),
    ("", "workload.0.arrivals.kind=mine.py:AtMost", "4: workload.0.arrivals.kind: ", "'AtMost' is a class, not a subclass of Arrivals; the module defines Pairs"),
    ("", "workload.0.arrivals.kind=mine", "4: workload.0.arrivals.kind: ", "there is no kind `mine` here; the kinds are once, constant"),
    ("", "workload.0.arrivals.kind='mine.py:'", "4: workload.0.arrivals.kind: ", "does not name code; write file.py:name"),
    ("", "workload.0.arrivals.every_s=0", "4: workload.0.arrivals.every_s: ", "invalid every_s=0: must be greater than 0"),
    ("", "workload.0.arrivals.evry_s=1", "4: workload.0.arrivals: ", "there is no `evry_s` here; did you mean `every_s`?"),
    ("", "checks.0.kind=mine.py:runs", "5: checks.0.kind: ", "'runs' is a list, not a subclass of Check or function; the module defines AtMost, quick"),
    ("", "checks.0.limt_s=1", "5: checks.0: ", "got an unexpected keyword argument 'limt_s'"),
    ("1 / 0", "name=x", "4: workload.0.arrivals.kind: ", "mine.py cannot be loaded: ZeroDivisionError: division by zero (mine.py, line 52)"),
    ("def (", "name=x", "4: workload.0.arrivals.kind: ", "mine.py:52: SyntaxError: invalid syntax"),
    ("import nothing_there", "name=x", "4: workload.0.arrivals.kind: ", "No module named 'nothing_there' (mine.py, line 52)"),
    ("class Idle(Arrivals): pass", "workload.0.arrivals.kind=mine.py:Idle", "4: workload.0.arrivals.kind: ", "no method `times`, which arrivals must define"),
    ("class Odd(Arrivals):\n  every_s: float\n  def times(self, r, m): return []\n  def check(self): self.x", "workload.0.arrivals.kind=mine.py:Odd", "4: workload.0.arrivals: ", "AttributeError: 'Odd' object has no attribute 'x' (mine.py, line 55)"),
]  # fmt: skip


@pytest.mark.parametrize(("more", "override", "place", "words"), WRONG)
def test_code_that_cannot_be_used_is_refused_alike_by_validate_and_run(
    file: Path, more: str, override: str, place: str, words: str
) -> None:
    (file.parent / "mine.py").write_text(f"{MINE}\n{more}\n")

    def refusal(ask: Callable[[Scenario], object]) -> str:
        try:
            ask(Scenario.load(file, (override,)))
        except BadScenario as error:
            return str(error)
        except BadValue as error:
            return str(located(error, file))
        return ""

    said = refusal(validate)
    assert said == refusal(run)
    assert said.startswith(f"{file}:{place}")
    assert words in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("yield 3; yield 1", "its arrivals yield 1 s after 3 s; times start at 0 and must not decrease"),
        ("yield -1", "its arrivals yield -1 s; times start at 0"),
        ("yield float('nan')", "its arrivals yield nan s"),
        ("yield 'soon'", "its arrivals raise TypeError"),
        ("yield 0; {}['x']", "its arrivals raise KeyError: 'x' (mine.py, line 55)"),
        ("return None", "its arrivals raise TypeError: 'NoneType' object is not iterable"),
        ("raise ValueError('no')", "its arrivals raise ValueError: no (mine.py, line 55)"),
    ],
)
def test_arrivals_that_break_are_told_by_their_workload(file: Path, body: str, words: str) -> None:
    own = f"class Own(Arrivals):\n    ends = True\n    def times(self, random, midnight_s):\n        {body}\n"
    (file.parent / "mine.py").write_text(f"{MINE}\n{own}")
    scenario = Scenario.load(file, ("workload.0.arrivals={kind: 'mine.py:Own'}",))
    with pytest.raises(BadCode) as refused:
        run(scenario)
    assert words in str(refused.value)
    assert str(refused.value).startswith("workload 'w': ")


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ("def own(summary): return summary.nothing", "check 'mine' raises AttributeError"),
        ("def own(summary): return 3", "check 'mine' returns a int; return None if it holds"),
        ("class own(Check):\n    def watch(self, checks, name): return 3", "returns a int from `watch`, not a Watch"),
        ("class own(Check):\n    def watch(self, checks, name): return x", "raises NameError: name 'x' is not defined"),
        (
            "class own(Check):\n    def watch(self, checks, name): return W(checks, name, '')\n"
            "class W(Watch):\n    def happened(self, step): return step.x",
            "check 'mine' raises AttributeError: 'Transition' object has no attribute 'x' (mine.py, line 55)",
        ),
        (
            "class own(Check):\n    def watch(self, checks, name): return W(checks, name, '')\n"
            "class W(Watch):\n    def phase(self, now_ns, name): 1 / 0",
            "check 'mine' raises ZeroDivisionError: division by zero (mine.py, line 55)",
        ),
    ],
)  # fmt: skip
def test_checks_that_break_are_told_by_their_name(file: Path, own: str, words: str) -> None:
    (file.parent / "mine.py").write_text(f"{MINE}\n{own}\n")
    scenario = Scenario.load(file, ("checks=[{kind: 'mine.py:own', name: mine}]",))
    with pytest.raises(BadCode) as refused:
        run(scenario)
    assert words in str(refused.value)


def test_a_check_that_never_looked_is_warned_of(file: Path) -> None:
    own = "class Idle(Check):\n    def watch(self, checks, name): return Watch(checks, name, 'nothing')\n"
    (file.parent / "mine.py").write_text(f"{MINE}\n{own}")
    scenario = Scenario.load(file, ("checks=[{kind: 'mine.py:Idle'}]",))
    (warning,) = run(scenario).warnings
    assert warning.text == "check 'check 1' was never evaluated: there was no process for it to check"


# ---------------------------------------------------------------- in Python
def in_python(**fields: Any) -> Scenario:
    workload = Workload(name="w", arrivals=Trickle(10.0))
    return Scenario(executors=(ExecutorGroup(name="e", count=1),), workload=(workload,), **fields)


def test_python_takes_instances_and_functions() -> None:
    checks = (Succeeded(least=4), Succeeded(least=5), all_succeed, lambda summary: "it is Monday")
    assert outcome(in_python(checks=checks)) == [
        "check 1: at least 4 succeed",
        "check 2: at least 5 succeed: violated 31 s after the start, when the value was 4",
        "check 3: all_succeed holds at the end",
        "check 4: it is Monday",
    ]


def test_a_workload_that_begins_after_the_storm_is_warned_of_by_its_first_time() -> None:
    class Late(Trickle, frozen=True):
        first_s = 500.0

    late = Workload(name="w", arrivals=Late(10.0))
    scenario = replace(in_python(), workload=(late,), phases=Phases(storm_s=100))
    (warning, *_) = validate(scenario)[1]
    assert warning.text == "workload 'w' submits nothing: it would begin after 8 min 20 s, and ends after 100 s"


@pytest.mark.parametrize("checks", [(3,), ("mine.py:f",), (Once(),), (int,)])
def test_what_is_no_check_is_refused(checks: tuple[Any, ...]) -> None:
    with pytest.raises(BadValue, match=r"checks\[0\]=.*expected a Check, or a mapping whose kind is probe or"):
        in_python(checks=checks)


def test_values_of_python_can_be_sent_to_other_processes_and_run_there() -> None:
    scenario = in_python(checks=(Succeeded(least=4), all_succeed))
    sent = pickle.loads(pickle.dumps(scenario))
    assert run_seed(sent, 3).digest == run(scenario, 3).digest


# ---------------------------------------------------------------- written down
def test_names_are_kept_where_a_scenario_is_written_and_lead_from_the_new_folder(file: Path) -> None:
    scenario = Scenario.load(file)
    for folder in (file.parent, file.parent / "below"):
        folder.mkdir(exist_ok=True)
        text = writer.as_text(scenario, folder)
        (folder / "copy.yaml").write_text(text)
        assert ("kind: mine.py:Pairs" in text.replace("'", "")) == (folder == file.parent)
        assert run(Scenario.load(folder / "copy.yaml"), 2).digest == run(scenario, 2).digest


def test_a_module_has_the_same_name_from_every_folder(tmp_path: Path) -> None:
    arrivals = {"kind": "package.module:Name", "x": 1.0}
    scenario = Scenario(workload=({"name": "w", "arrivals": arrivals, "count": 1},), folder=str(tmp_path))
    programs = "programs: [{name: p, code: 'package.module:main'}]"
    scenario = replace(scenario, programs=Scenario.read(f"version: 1\n{programs}\n").programs)
    text = writer.as_text(scenario, tmp_path / "below")
    assert "kind: package.module:Name" in text.replace("'", "")
    assert "code: package.module:main" in text.replace("'", "")
    assert "x: 1.0" in text


def test_values_of_python_are_written_by_their_reference(tmp_path: Path) -> None:
    data = writer.as_data(in_python(checks=(Succeeded(least=4, name="four"), all_succeed)))
    here = __name__
    assert data["workload"] == [{"name": "w", "arrivals": {"kind": f"{here}:Trickle", "every_s": 10}}]
    assert data["checks"] == [
        {"kind": f"{here}:Succeeded", "name": "four", "least": 4},
        {"kind": f"{here}:all_succeed"},
    ]
    (tmp_path / "s.yaml").write_text(writer.as_text(in_python(checks=(all_succeed,)), tmp_path))
    assert run(Scenario.load(tmp_path / "s.yaml")).digest == run(in_python()).digest


def test_shrinking_keeps_users_kinds(file: Path) -> None:
    scenario = Scenario.load(file, ("checks.1.most=0", "workload.0.arrivals.count=40"))
    small = shrink(scenario, 1)
    assert small.failure.name == "one"
    assert small.after.processes == 1
    assert "kind: mine.py:Pairs" in writer.as_text(small.scenario, file.parent).replace("'", "")


def test_the_scenario_of_a_run_has_the_values_in_place_of_the_names(file: Path) -> None:
    made = Run(Scenario.load(file)).scenario.workload[0].arrivals
    assert isinstance(made, Arrivals)
    assert type(made).__name__ == "Pairs"


# ---------------------------------------------------------------- packages and the command line
@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The folder of an installed package that offers its kinds as entry points."""
    folder = tmp_path / "site"
    (folder / "mykinds-1.0.dist-info").mkdir(parents=True)
    (folder / "mykinds.py").write_text(MINE.replace("len(runs) == 1", "runs"))
    (folder / "mykinds-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: mykinds\nVersion: 1.0\n")
    (folder / "mykinds-1.0.dist-info" / "entry_points.txt").write_text(
        "[colonysim.arrivals]\npairs = mykinds:Pairs\nbroken = mykinds:nothing\nother = mykinds:quick\n"
        "[colonysim.checks]\nquick = mykinds:quick\n"
    )
    monkeypatch.syspath_prepend(folder)
    yield str(folder)  # type: ignore[misc]
    sys.modules.pop("mykinds", None)


OFFERED = TEXT.replace("mine.py:Pairs", "pairs").replace("mine.py:quick", "quick").replace("mine.py", "mykinds")


@pytest.mark.usefixtures("package")
def test_an_installed_package_offers_kinds_by_name() -> None:
    scenario = Scenario.read(OFFERED)
    assert run(scenario).summary.submitted == 10
    assert "kind: pairs" in writer.as_text(scenario, Path())


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("broken", "'broken', an entry point of colonysim.arrivals, cannot be loaded: AttributeError"),
        ("other", "'other', an entry point of colonysim.arrivals, is a function, not a subclass of Arrivals"),
        ("pear", "diurnal, at, renewal, mmpp, batches, closed, broken, other, pairs, or your own"),
    ],
)
def test_an_entry_point_that_cannot_be_used_is_refused(name: str, words: str) -> None:
    with pytest.raises(BadValue, match=re.escape(words)):
        run(Scenario.read(OFFERED.replace("kind: 'pairs'", f"kind: '{name}'")))


def test_classes_of_files_do_not_pile_up_with_the_runs(file: Path) -> None:
    for seed in range(5):
        run(Scenario.load(file), seed)
    for _ in range(4):  # some of what a run leaves has finalizers
        gc.collect()
    assert sum(isinstance(one, type) and one.__name__ == "Pairs" for one in gc.get_objects()) <= 1


def test_a_check_that_breaks_does_not_hide_why_a_run_was_broken_off(file: Path) -> None:
    class NoProcess(Invariant):
        def moved(self, step: Transition, record: ProcessRecord) -> None:
            raise InvariantViolation("there must be none")

    (file.parent / "mine.py").write_text(f"{MINE}\ndef breaks(summary):\n    return summary.nothing\n")
    scenario = Scenario.load(file, ("checks=[{kind: 'mine.py:breaks'}]",))
    (failure,) = run(replace(scenario, invariants=[NoProcess])).failures
    assert (failure.kind, failure.text) == ("invariant", "there must be none")


def test_no_report_is_written_over_code_that_the_scenario_names(file: Path) -> None:
    (file.parent / "others.py").write_text("def read(path):\n    return []\n\ndef rank(process):\n    return 0\n")
    scenario = Scenario.load(file, ("settings={policy: others.py:rank}", "invariants=['third.py:Own']"))
    names = {path.name for path in files_of(scenario)}
    assert names == {"mine.py", "others.py", "third.py"}


def test_the_command_line_runs_checks_and_explores_them(file: Path, package: str) -> None:
    def done(*words: object) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": package}
        return subprocess.run(
            [sys.executable, "-m", "colonysim", *map(str, words)],
            capture_output=True, text=True, timeout=120, env=environment, check=False, cwd="/",
        )  # fmt: skip

    (file.parent / "offered.yaml").write_text(OFFERED)
    assert done("validate", file, file.parent / "offered.yaml").stdout.count(": good") == 2
    shown = done("run", file)
    assert (shown.returncode, "10 submitted, 10 succeeded" in shown.stdout) == (0, True)
    assert "workload w: mine.py:Pairs" in done("run", file, "--dry-run").stdout
    explored = done("explore", file.parent / "offered.yaml", "--seeds", 3, "--workers", 2)
    assert (explored.returncode, "3 seeds" in explored.stdout) == (0, True), explored.stderr
    names = {"workload.0.arrivals.kind='mine.py:star:x'", "checks=[{kind: 'mine.py:smile:'}]"}
    for name in names:  # not little pictures
        assert name.partition("mine.py")[2].partition("'")[0] in done("run", file, "--set", name).stderr
    for command in ("validate", "run", "explore"):
        refused = done(command, file, *(() if command == "validate" else ("--set", "name=x")))
        assert refused.returncode == 0, refused.stderr
    (file.parent / "mine.py").write_text("import nothing_there")
    for command in ("validate", "run", "explore"):
        refused = done(command, file)
        assert refused.returncode == 2
        assert refused.stderr.startswith(f"colonysim: {file}:4: workload.0.arrivals.kind: ")
        assert "No module named 'nothing_there' (mine.py, line 1)" in refused.stderr
        assert "Traceback" not in refused.stderr
