"""colonysim explore and shrink as a user meets them, and what they must show: wrong programs found, made small, replayed."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from colonysim.experiments.exploration import explore, overview
from colonysim.experiments.parallel import Processes
from colonysim.scenarios.scenario import Scenario

SCENARIOS = Path(__file__).parents[2] / "scenarios"
EXACTLY_ONCE = SCENARIOS / "exactly_once.yaml"
BIN = Path(sys.executable).parent
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("COLONY")} | {
    "COLUMNS": "160",
    "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    "PYTHONPATH": str(SCENARIOS.parent),
}

TWICE = """
version: 1
name: submitted twice
phases: {storm_s: 1800}
executors:
  - {name: cli, count: 4, service: {kind: exponential, mean_s: 20}}
workload:
  - {name: people, arrivals: {kind: poisson, per_hour: 200}, count: 50, resends: 3}
faults:
  - {kind: lose_reply, match: {types: submitfuncspecmsg}, when: {probability: 0.005}, notice_s: 1}
checks:
  - {kind: probe, name: once each, that: submitted <= 50}
"""


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "colonysim", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env=ENVIRONMENT,
        cwd=cwd,
        check=False,
    )


def typed(command: str, *more: str, cwd: Path | None = None) -> dict[str, Any]:
    """Type a printed command, word for word, and read the result."""
    words = [*shlex.split(command), *more, "--json"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, env=ENVIRONMENT, cwd=cwd, check=False)
    assert done.returncode == 1, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.fixture
def twice(tmp_path: Path) -> Path:
    path = tmp_path / "twice.yaml"
    path.write_text(TWICE)
    return path


# ---------------------------------------------------------------- what must show
@pytest.mark.parametrize(
    ("careless", "text", "executors"), [("delivers", "was delivered 2 times", 2), ("invoices", "has 2 invoices", 1)]
)
def test_a_careless_executor_is_caught_made_small_and_replayed_word_for_word(
    careless: str, text: str, executors: int, tmp_path: Path
) -> None:
    """It delivers without looking whether it still holds the process; it submits again when the reply was lost."""
    small = tmp_path / "small.yaml"
    found = run(
        "explore", str(EXACTLY_ONCE), "--seeds", "200", "--from-seed", "1", "--workers", "2", "--stop-at-first",
        "--set", f"programs.0.kwargs.careless={careless}", "--shrunk", str(small), "--json",
    )  # fmt: skip
    assert found.returncode == 1, found.stderr
    told = json.loads(found.stdout)
    (seed,) = told["failed"]
    (failure,) = told["outcomes"][-1]["failures"]
    assert seed <= 200
    assert text in failure["text"]

    again = typed(told["command"])
    assert (again["seed"], again["digest"]) == (seed, told["outcomes"][-1]["digest"])
    assert [one["text"] for one in again["failures"]] == [failure["text"]]

    shrunk = told["shrunk"]
    assert shrunk["complete"]
    assert text in shrunk["failure"]["text"]
    assert shrunk["after"]["faults"] == 1
    assert shrunk["after"]["executors"] <= executors < shrunk["before"]["executors"]
    assert shrunk["after"]["processes"] <= 12 < 40 <= shrunk["before"]["processes"]
    replayed = typed(shrunk["command"])
    assert replayed["digest"] == shrunk["digest"]
    assert [one["text"] for one in replayed["failures"]] == [shrunk["failure"]["text"]]
    assert "AssertionError" in replayed["failures"][0]["story"]


def test_without_the_mistake_no_seed_fails() -> None:
    scenario = Scenario.load(EXACTLY_ONCE)
    view = overview(explore(scenario, range(1, 61), Processes(2)))
    assert view.failed == ()
    assert view.digests == view.seeds == 60


# ---------------------------------------------------------------- what is printed
def test_what_is_printed_is_what_there_is_to_know_and_to_type(twice: Path) -> None:
    done = run("explore", twice.name, "--seeds", "20", "--workers", "2", "--from-seed", "1", cwd=twice.parent)
    told = json.loads(run("explore", str(twice), "--seeds", "20", "--from-seed", "1", "--no-shrink", "--json").stdout)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[0] == f"20 seeds, {len(told['failed'])} failed, 20 different histories"
    assert any("check: once each" in line and str(told["failed"][0]) in line for line in lines)
    assert any(line.startswith("slowest seeds: ") for line in lines)
    commands = [line.strip() for line in lines if line.startswith("  colonysim run ")]
    digests = [line.split()[1].rstrip(";") for line in lines if line.startswith("digest ")]
    assert len(commands) == len(digests) == 2
    for command, digest in zip(commands, digests, strict=True):
        result = typed(command, cwd=twice.parent)
        assert result["digest"] == digest
        assert [failure["name"] for failure in result["failures"]] == ["once each"]


def test_the_shrunk_scenario_says_what_it_is_and_lies_beside_the_first(twice: Path) -> None:
    told = json.loads(run("explore", str(twice), "--seeds", "20", "--json").stdout)
    path = twice.with_name(f"twice-seed-{told['failed'][0]}.yaml")
    assert told["shrunk"]["file"] == str(path)
    head = path.read_text().splitlines()[:3]
    assert head[0].startswith(f"# Fails with seed {told['failed'][0]}, check: once each")
    assert head[1].startswith("# Shrunk to 1 fault, 1 executor, 51 processes")
    assert head[2] == "version: 1"
    assert run("validate", str(path)).returncode == 0


def test_what_was_set_is_a_part_of_the_command(twice: Path) -> None:
    told = json.loads(
        run("explore", str(twice), "--seeds", "20", "--no-shrink", "--json", "--set", "faults.0.notice_s=2",
            "--set", "name=a name").stdout
    )  # fmt: skip
    assert told["command"].endswith("--set faults.0.notice_s=2 --set 'name=a name'")
    assert typed(told["command"])["scenario"] == "a name"


def test_all_is_well_is_exit_code_0_and_writes_nothing(twice: Path) -> None:
    done = run("explore", str(twice), "--seeds", "5", "--set", "faults=[]")
    assert done.returncode == 0
    assert done.stdout.startswith("5 seeds, 0 failed, 5 different histories")
    assert list(twice.parent.iterdir()) == [twice]


def test_shrink_alone_takes_a_seed(twice: Path) -> None:
    told = json.loads(run("explore", str(twice), "--seeds", "20", "--json", "--shrunk", str(twice.parent / "a")).stdout)
    seed = told["failed"][0]
    alone = run("shrink", str(twice), "--seed", str(seed), "--json", "--shrunk", str(twice.parent / "b"))
    assert alone.returncode == 0
    assert json.loads(alone.stdout)["digest"] == told["shrunk"]["digest"]
    assert (twice.parent / "a").read_text() == (twice.parent / "b").read_text()
    fine = run("shrink", str(twice), "--seed", str(seed), "--set", "faults=[]")
    assert fine.returncode == 1
    assert "does not fail" in fine.stderr


# ---------------------------------------------------------------- what goes wrong
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.yaml"], ["nowhere.yaml", "No such file"]),
        (["twice.yaml", "--set", "executors.9.count=1"], ["executors.9.count"]),
        (["twice.yaml", "--set", "fualts=[]"], ["did you mean `faults`"]),
        (["twice.yaml", "--seeds", "0"], ["--seeds"]),
        (["twice.yaml", "--set", "workload=[{name: a, trace: {file: gone.swf}}]"], ["gone.swf"]),
        (["twice.yaml", "--dask", "nonsense"], ["nonsense"]),
    ],
)
def test_bad_input_is_exit_code_2_without_a_traceback(arguments: list[str], words: list[str], twice: Path) -> None:
    done = run("explore", *arguments, cwd=twice.parent)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr


def test_a_program_that_takes_its_process_with_it_costs_its_seed_alone(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text(
        "import ctypes\ndef main(seed):\n    if seed in '35':\n        ctypes.string_at(0)\n"
    )
    text = "version: 1\nprograms: [{name: one, code: 'code.py:main', args: [$seed]}]\n"
    (tmp_path / "scenario.yaml").write_text(text)
    done = run("explore", str(tmp_path / "scenario.yaml"), "--seeds", "8", "--workers", "2", "--no-shrink", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["seeds"], told["failed"]) == (1, 8, [3, 5])
    assert told["failures"] == {"error: process died": 2}


PIPE = """
import os
from pathlib import Path
def main(seed):
    if int(seed) >= 3:
        open('pipe', 'w').write(seed)
def second(seed):
    runs = Path('runs')
    runs.write_text(runs.read_text() + '.' if runs.exists() else '.')
    if len(runs.read_text()) == 2:
        open('pipe', 'w').write(seed * 1_000_000)  # more than a pipe holds: it goes on once the test has sent its signal
    raise AssertionError
"""


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a command whose program opens a pipe when it is under way, in a session of its own."""
    begun: list[subprocess.Popen[str]] = []

    def start(program: str, command: str, *arguments: str) -> subprocess.Popen[str]:
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "code.py").write_text(PIPE)
        text = f"version: 1\nprograms: [{{name: one, code: 'code.py:{program}', args: [$seed]}}]\n"
        (tmp_path / "scenario.yaml").write_text(text)
        words = [sys.executable, "-m", "colonysim", command, "scenario.yaml", *arguments]
        process = subprocess.Popen(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
            cwd=tmp_path,
            start_new_session=True,
        )
        begun.append(process)
        return process

    yield start
    for process in begun:
        with process, suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def ended(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What a command and all that it started have printed: the pipes close when the last of them has ended."""
    return process.communicate(timeout=120)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("send", [os.kill, os.killpg], ids=["process", "group"])
def test_a_signal_gives_the_results_so_far_and_ends_all_processes(
    begin: Callable[..., subprocess.Popen[str]], tmp_path: Path, number: int, send: Callable[[int, int], None]
) -> None:
    exploring = begin("main", "explore", "--seeds", "1000", "--workers", "1", "--no-shrink", "--json")
    with open(tmp_path / "pipe") as pipe:  # the fourth seed is under way
        send(exploring.pid, number)
        pipe.read(1)
    stdout, stderr = ended(exploring)
    told = json.loads(stdout)
    assert exploring.returncode == 128 + number
    assert not told["complete"]
    assert 0 < told["seeds"] < 1000
    assert ": these are the results of" in stderr
    assert "Traceback" not in stderr


def test_workers_end_when_the_command_is_killed(begin: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    exploring = begin("main", "explore", "--seeds", "1000", "--workers", "2")
    with open(tmp_path / "pipe"):
        exploring.kill()
        ended(exploring)
    assert exploring.returncode == -signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_shrinking_says_so(
    begin: Callable[..., subprocess.Popen[str]], tmp_path: Path, number: int
) -> None:
    shrinking = begin("second", "shrink", "--shrunk", "small.yaml")
    with open(tmp_path / "pipe"):  # the second run is under way
        shrinking.send_signal(number)
    stdout, stderr = ended(shrinking)
    assert shrinking.returncode == 128 + number
    assert "interrupted: it may become smaller with more runs" in stdout
    assert f"interrupted by {signal.Signals(number).name}" in stderr
    assert (tmp_path / "small.yaml").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("arguments", "cut_short"),
    [
        (["run"], "the run was cut short 0 s after its start, with 0 of 0 processes ended; no result was written"),
        (["run", "--check-determinism"], "the run was not done twice, so nothing was compared"),
        (["sweep", "--vary", "phases.calm_s=60,90"], "these are the results of 0 of 5 seeds"),
    ],
    ids=["run", "check-determinism", "sweep"],
)
def test_other_commands_end_what_they_started_too(
    begin: Callable[..., subprocess.Popen[str]], tmp_path: Path, number: int, arguments: list[str], cut_short: str
) -> None:
    command, *more = arguments
    running = begin("main", command, "--set", "seed=3", *more)
    with open(tmp_path / "pipe"):
        running.send_signal(number)
    stdout, stderr = ended(running)
    assert running.returncode == 128 + number
    assert stdout == ""
    assert stderr.strip() == f"colonysim: interrupted by {signal.Signals(number).name}: {cut_short}"
